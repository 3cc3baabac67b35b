/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sandbox/sandbox.h"

#include "base/error.h"
#include "base/units.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

/* "UID:GID" or a name. */
static bool find_user(const char *user, uid_t *uid, gid_t *gid, GError **error)
{
	const char *colon = strchr(user, ':');
	if (colon) {
		uint64_t numbers[2];
		g_autofree char *first = g_strndup(user, colon - user);
		if (!units_parse_number(first, 0, UINT32_MAX - 1, &numbers[0], error) ||
		    !units_parse_number(colon + 1, 0, UINT32_MAX - 1, &numbers[1], error)) {
			g_prefix_error(error, "-runas: ");
			return false;
		}
		*uid = numbers[0];
		*gid = numbers[1];
		return true;
	}
	errno = 0;
	const struct passwd *entry = getpwnam(user);
	if (!entry)
		return error_set(error, BERTH_ERR_NOT_FOUND,
				 "-runas: there is no user '%s' on this host", user);
	*uid = entry->pw_uid;
	*gid = entry->pw_gid;
	return true;
}

bool sandbox_drop_user(const char *user, GError **error)
{
	uid_t uid = 0;
	gid_t gid = 0;
	if (!find_user(user, &uid, &gid, error))
		return false;
	bool named = !strchr(user, ':');
	if ((named ? initgroups(user, gid) : setgroups(0, NULL)) < 0 || setgid(gid) < 0 ||
	    setuid(uid) < 0)
		return error_set_errno(error, errno, "-runas: cannot become '%s' (start as root)",
				       user);
	if (uid != 0 && setuid(0) == 0)
		return error_set(error, BERTH_ERR_INTERNAL, "-runas: root's rights did not go away");
	return true;
}

bool sandbox_chroot(const char *folder, GError **error)
{
	if (chroot(folder) < 0)
		return error_set_errno(error, errno, "-chroot: cannot make '%s' the root folder",
				       folder);
	if (chdir("/") < 0)
		return error_set_errno(error, errno, "-chroot: cannot enter '%s'", folder);
	return true;
}
