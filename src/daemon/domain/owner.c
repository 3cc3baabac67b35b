/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/owner.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <utmpx.h>

/* Names and values are libvirt's: "+UID:+GID", a count, and when the host has started. */
#define ATTRIBUTE       "trusted.libvirt.security."
#define ATTRIBUTE_OWNER ATTRIBUTE "dac"
#define ATTRIBUTE_COUNT ATTRIBUTE "ref_dac"
#define ATTRIBUTE_BOOT  ATTRIBUTE "timestamp_dac"

enum { VALUE_SIZE = 64 };

/* The file, whatever happens to its path meanwhile; attributes cannot be set by an O_PATH descriptor. */
struct file {
	const char *path;
	int fd;
	char by_fd[32];
	struct stat st;
};

enum found { FOUND, NOT_FOUND, NOT_SUPPORTED, FAILED };

static enum found get(const struct file *file, const char *name, char value[VALUE_SIZE], GError **error)
{
	ssize_t length = getxattr(file->by_fd, name, value, VALUE_SIZE - 1);
	if (length >= 0) {
		value[length] = '\0';
		return FOUND;
	}
	if (errno == ENODATA)
		return NOT_FOUND;
	if (errno == ENOTSUP || errno == ENOSYS || errno == EPERM)
		return NOT_SUPPORTED;
	error_set_errno(error, errno, "cannot read the attribute %s of '%s'", name, file->path);
	return FAILED;
}

static bool set(const struct file *file, const char *name, const char *value, GError **error)
{
	return setxattr(file->by_fd, name, value, strlen(value), 0) == 0 ||
	       error_set_errno(error, errno, "cannot set the attribute %s of '%s'", name, file->path);
}

static bool forget(const struct file *file, GError **error)
{
	static const char *const names[] = {ATTRIBUTE_COUNT, ATTRIBUTE_OWNER, ATTRIBUTE_BOOT};
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		if (removexattr(file->by_fd, names[i]) < 0 && errno != ENODATA)
			return error_set_errno(error, errno, "cannot remove the attribute %s of '%s'", names[i],
					       file->path);
	}
	return true;
}

/* --- Since when it counts --------------------------------------------------------------------- */

/* In seconds since 1970, out of utmp as libvirt has it, or else what the kernel says. 0: not known. */
static int64_t boot_time(void)
{
	const struct utmpx wanted = {.ut_type = BOOT_TIME};
	const struct utmpx *entry = getutxid(&wanted);
	int64_t time = entry ? entry->ut_tv.tv_sec : 0;
	endutxent();
	g_autofree char *text = NULL;
	if (!time && g_file_get_contents("/proc/stat", &text, NULL, NULL)) {
		const char *line = strstr(text, "\nbtime "); /* proc(5) */
		time = line ? g_ascii_strtoll(line + strlen("\nbtime "), NULL, 10) : 0;
	}
	return time;
}

/* A host that went down gave nothing back: who was counted before it started does not use the file now. */
static bool is_of_this_boot(const char *value)
{
	enum { TOLERANCE_S = 5 }; /* the clock is set, and its second is rounded */
	gint64 then;
	return g_ascii_string_to_signed(value, 10, 0, G_MAXINT64, &then, NULL) &&
	       ABS(then - boot_time()) <= TOLERANCE_S;
}

/* How many use the file; 0 if it is not known, or only of a time before the host started. */
static enum found get_count(const struct file *file, unsigned *count, GError **error)
{
	char value[VALUE_SIZE];
	guint64 number = 0;
	*count = 0;
	enum found found = get(file, ATTRIBUTE_BOOT, value, error);
	if (found == FOUND && !is_of_this_boot(value))
		return forget(file, error) ? NOT_FOUND : FAILED;
	if (found == NOT_SUPPORTED || found == FAILED)
		return found;
	found = get(file, ATTRIBUTE_COUNT, value, error);
	if (found != FOUND)
		return found;
	if (!g_ascii_string_to_unsigned(value, 10, 1, G_MAXUINT - 1, &number, NULL)) {
		error_set(error, BERTH_ERR_INVALID,
			  "the attribute " ATTRIBUTE_COUNT " of '%s' is '%s', which is no count: remove it",
			  file->path, value);
		return FAILED;
	}
	*count = number;
	return FOUND;
}

static bool set_count(const struct file *file, unsigned count, GError **error)
{
	char text[VALUE_SIZE];
	g_snprintf(text, sizeof(text), "%u", count);
	return set(file, ATTRIBUTE_COUNT, text, error);
}

/* --- Counting --------------------------------------------------------------------------------- */

/* One more. *count is 0 if the file system has no such attributes. */
static bool count_up(const struct file *file, unsigned *count, GError **error)
{
	char text[VALUE_SIZE];
	enum found found = get_count(file, count, error);
	if (found == FAILED || found == NOT_SUPPORTED)
		return found == NOT_SUPPORTED;
	if (*count == 0) {
		g_snprintf(text, sizeof(text), "+%u:+%u", file->st.st_uid, file->st.st_gid);
		/* Between the checks and here it can turn out that the file system takes none. */
		if (setxattr(file->by_fd, ATTRIBUTE_OWNER, text, strlen(text), 0) < 0 &&
		    (errno == ENOTSUP || errno == EPERM))
			return true;
		if (!set(file, ATTRIBUTE_OWNER, text, error))
			return false;
		g_snprintf(text, sizeof(text), "%" G_GINT64_FORMAT, boot_time());
		if (!set(file, ATTRIBUTE_BOOT, text, error))
			return false;
	}
	return set_count(file, ++*count, error);
}

static bool parse_owner(const char *text, uid_t *uid, gid_t *gid)
{
	g_auto(GStrv) parts = g_strsplit(text, ":", 2);
	guint64 numbers[2];
	for (unsigned i = 0; i < 2; i++) {
		if (!parts[i] || *parts[i] != '+' ||
		    !g_ascii_string_to_unsigned(parts[i] + 1, 10, 0, G_MAXUINT32 - 1, &numbers[i], NULL))
			return false;
	}
	*uid = numbers[0];
	*gid = numbers[1];
	return true;
}

/* One less. *used: others still use it; if not, uid and gid are whose it was, unless that is not known. */
static bool count_down(const struct file *file, bool *used, uid_t *uid, gid_t *gid, GError **error)
{
	char owner[VALUE_SIZE];
	unsigned count;
	enum found found = get_count(file, &count, error);
	*used = count > 1;
	if (found != FOUND)
		return found != FAILED;
	if (*used)
		return set_count(file, count - 1, error);
	found = get(file, ATTRIBUTE_OWNER, owner, error);
	if (found == FAILED || !forget(file, error))
		return false;
	return found != FOUND || parse_owner(owner, uid, gid) ||
	       error_set(error, BERTH_ERR_INVALID, "the attribute " ATTRIBUTE_OWNER " of '%s' was '%s', which "
						   "is no owner: set the owner by hand", file->path, owner);
}

/* --- Giving ------------------------------------------------------------------------------------ */

/* False with `fd` -1: errno says why. */
static void close_file(struct file *file)
{
	fd_clear(&file->fd);
}

/* Closed when the scope ends. */
#define auto_file __attribute__((cleanup(close_file))) struct file

static bool open_file(struct file *file, const char *path)
{
	file->path = path;
	file->fd = open(path, O_PATH | O_CLOEXEC);
	if (file->fd < 0 || fstat(file->fd, &file->st) < 0) {
		fd_clear(&file->fd);
		return false;
	}
	g_snprintf(file->by_fd, sizeof(file->by_fd), "/proc/self/fd/%d", file->fd);
	return true;
}

static bool is_owned(const struct file *file, uid_t uid, gid_t gid)
{
	return file->st.st_uid == uid && file->st.st_gid == gid;
}

static bool change(const struct file *file, uid_t uid, gid_t gid, GError **error)
{
	return is_owned(file, uid, gid) || fchownat(file->fd, "", uid, gid, AT_EMPTY_PATH) == 0 ||
	       error_set_errno(error, errno, "cannot give '%s' to user %u and group %u", file->path, uid, gid);
}

static bool change_unless_used(const struct file *file, unsigned others, uid_t uid, gid_t gid, GError **error)
{
	if (others && !is_owned(file, uid, gid))
		return error_set(error, BERTH_ERR_BUSY,
				 "'%s' is already in use by a virtual machine of another user (%u, group %u): "
				 "end it first", file->path, file->st.st_uid, file->st.st_gid);
	return change(file, uid, gid, error);
}

/* Images do, and the groups of VFIO; of other devices and sockets the host says who may use them. */
static bool changes_hands(const struct file *file)
{
	return S_ISREG(file->st.st_mode) || S_ISBLK(file->st.st_mode) ||
	       (S_ISCHR(file->st.st_mode) && g_str_has_prefix(file->path, "/dev/vfio/"));
}

bool owner_give(const char *path, uid_t uid, gid_t gid, bool remember, GError **error)
{
	auto_file file = {.fd = -1};
	unsigned count = 0;
	if (!open_file(&file, path))
		return error_set_errno(error, errno, "cannot look at '%s'", path);
	if (!changes_hands(&file))
		return true;
	/* Also what is not counted must not take away what others use. */
	if (remember ? !count_up(&file, &count, error) : get_count(&file, &count, error) == FAILED)
		return false;
	if (change_unless_used(&file, count - (remember && count), uid, gid, error))
		return true;
	bool used;
	if (remember && count)
		count_down(&file, &used, &uid, &gid, NULL);
	return false;
}

bool owner_take_back(const char *path, uid_t uid, gid_t gid, GError **error)
{
	auto_file file = {.fd = -1};
	bool used;
	uid_t owner = 0;
	gid_t group = 0;
	if (!open_file(&file, path))
		return errno == ENOENT || error_set_errno(error, errno, "cannot look at '%s'", path);
	if (!changes_hands(&file))
		return true;
	if (!count_down(&file, &used, &owner, &group, error))
		return false;
	return used || !is_owned(&file, uid, gid) || change(&file, owner, group, error);
}
