/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "user.h"

#include "base/error.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

/* A number, after a + if there could be a name like it, as in qemu.conf. */
static bool is_number(const char *text, uint32_t *number)
{
	guint64 value;
	if (!g_ascii_string_to_unsigned(text + (*text == '+'), 10, 0, G_MAXUINT32 - 1, &value, NULL))
		return false;
	*number = value;
	return true;
}

/* NULL: there is no such user in the host's list, though *uid may be one. */
static const struct passwd *find_user(const char *text, uid_t *uid, GError **error)
{
	const struct passwd *entry = *text == '+' ? NULL : getpwnam(text);
	if (entry)
		*uid = entry->pw_uid;
	else if (is_number(text, uid))
		entry = getpwuid(*uid);
	else
		error_set(error, BERTH_ERR_NOT_FOUND, "user: there is no user '%s' on this host", text);
	return entry;
}

static bool find_group(const char *text, gid_t *gid, GError **error)
{
	const struct group *entry = *text == '+' ? NULL : getgrnam(text);
	if (entry)
		*gid = entry->gr_gid;
	return entry || is_number(text, gid) ||
	       error_set(error, BERTH_ERR_NOT_FOUND, "group: there is no group '%s' on this host", text);
}

/* Those that the user is in: one of them may be that of /dev/kvm. */
static bool find_groups(const char *name, struct vmm_user *user, GError **error)
{
	int count = 0;
	getgrouplist(name, user->gid, NULL, &count);
	user->groups = g_new0(gid_t, count);
	if (getgrouplist(name, user->gid, user->groups, &count) < 0)
		return error_set(error, BERTH_ERR_INTERNAL, "user: cannot tell the groups of '%s'", name);
	user->group_count = count;
	return true;
}

static bool fill(const struct settings *settings, struct vmm_user *user, GError **error)
{
	g_autoptr(GError) missing = NULL;
	const struct passwd *entry =
		settings->user ? find_user(settings->user, &user->uid, &missing) : getpwuid(user->uid);
	if (missing) {
		g_propagate_error(error, g_steal_pointer(&missing));
		return false;
	}
	if (entry)
		user->gid = entry->pw_gid;
	else if (settings->user && !settings->group)
		return error_set(error, BERTH_ERR_INVALID,
				 "user: the host does not know a group of user '%s': set the key group as well",
				 settings->user);
	/* Before the entry is another one's. */
	g_autofree char *name = entry ? g_strdup(entry->pw_name) : NULL;
	return (!settings->group || find_group(settings->group, &user->gid, error)) &&
	       (!name || find_groups(name, user, error));
}

bool user_find(const struct settings *settings, struct vmm_user **user, GError **error)
{
	*user = NULL;
	if (!settings->user && !settings->group)
		return true;
	if (geteuid() != 0)
		return error_set(error, BERTH_ERR_INVALID,
				 "the keys user and group are for root's berthd: others cannot run VMMs as "
				 "somebody else");
	struct vmm_user *found = g_new0(struct vmm_user, 1);
	found->dynamic_ownership = settings->dynamic_ownership;
	found->remember_owner = settings->remember_owner;
	found->gid = getegid();
	if (fill(settings, found, error)) {
		*user = found;
		return true;
	}
	user_free(found);
	return false;
}

void user_free(struct vmm_user *user)
{
	if (user)
		g_free(user->groups);
	g_free(user);
}
