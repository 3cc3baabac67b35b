/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/user.h"

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
		error_set(error, BERTH_ERR_NOT_FOUND, "there is no user '%s' on this host", text);
	return entry;
}

static bool find_group(const char *text, gid_t *gid, GError **error)
{
	const struct group *entry = *text == '+' ? NULL : getgrnam(text);
	if (entry)
		*gid = entry->gr_gid;
	return entry || is_number(text, gid) ||
	       error_set(error, BERTH_ERR_NOT_FOUND, "there is no group '%s' on this host", text);
}

/* Those that the user is in: one of them may be that of /dev/kvm. */
static bool find_groups(const char *name, struct vmm_user *user, GError **error)
{
	int count = 0;
	getgrouplist(name, user->gid, NULL, &count);
	user->groups = g_new0(gid_t, count);
	if (getgrouplist(name, user->gid, user->groups, &count) < 0)
		return error_set(error, BERTH_ERR_INTERNAL, "cannot tell the groups of '%s'", name);
	user->group_count = count;
	return true;
}

static bool fill(struct vmm_user *found, const char *user, const char *group, GError **error)
{
	g_autoptr(GError) missing = NULL;
	const struct passwd *entry = user ? find_user(user, &found->uid, &missing) : getpwuid(found->uid);
	if (missing) {
		g_propagate_error(error, g_steal_pointer(&missing));
		return false;
	}
	if (entry)
		found->gid = entry->pw_gid;
	else if (!group)
		return error_set(error, BERTH_ERR_INVALID,
				 "the host does not know a group of user %u: name one", found->uid);
	/* Before the entry is another one's. */
	g_autofree char *name = entry ? g_strdup(entry->pw_name) : NULL;
	return (!group || find_group(group, &found->gid, error)) && (!name || find_groups(name, found, error));
}

struct vmm_user *user_find(const char *user, const char *group, GError **error)
{
	if (geteuid() != 0) {
		error_set(error, BERTH_ERR_INVALID, "only root's berthd can run a VMM as another user");
		return NULL;
	}
	struct vmm_user *found = g_new0(struct vmm_user, 1);
	if (fill(found, user, group, error))
		return found;
	user_free(found);
	return NULL;
}

struct vmm_user *user_copy(const struct vmm_user *user)
{
	struct vmm_user *copy = user ? g_memdup2(user, sizeof(*user)) : NULL;
	if (copy)
		copy->groups = g_memdup2(user->groups, user->group_count * sizeof(*user->groups));
	return copy;
}

void user_free(struct vmm_user *user)
{
	if (user)
		g_free(user->groups);
	g_free(user);
}
