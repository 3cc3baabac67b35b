/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/proto/file_lock.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>

enum {
	PERM_READ = 1 << 0, PERM_WRITE = 1 << 1, PERM_WRITE_UNCHANGED = 1 << 2, PERM_RESIZE = 1 << 3,
	PERM_COUNT = 4,
};

#define USED_BASE     100
#define UNSHARED_BASE 200

static bool lock_byte(int fd, off_t byte)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

static bool byte_held_by_others(int fd, off_t byte)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool file_lock(int fd, bool writable, const char *filename, GError **error)
{
	unsigned used = PERM_READ | (writable ? PERM_WRITE | PERM_RESIZE : 0);
	unsigned unshared = PERM_WRITE | PERM_RESIZE; /* a disk must not change under a guest */

	/* First announce, then look: of two that start together at least one sees the other. */
	for (unsigned i = 0; i < PERM_COUNT; i++) {
		if ((used >> i & 1 && !lock_byte(fd, USED_BASE + i)) ||
		    (unshared >> i & 1 && !lock_byte(fd, UNSHARED_BASE + i))) {
			if (errno == EINVAL || errno == ENOLCK || errno == EOPNOTSUPP)
				return true; /* the file system has no locks */
			break;
		}
	}
	for (unsigned i = 0; i < PERM_COUNT; i++) {
		if ((used >> i & 1 && byte_held_by_others(fd, UNSHARED_BASE + i)) ||
		    (unshared >> i & 1 && byte_held_by_others(fd, USED_BASE + i)))
			return error_set(error, BERTH_ERR_BUSY,
					 "'%s' is in use by another virtual machine or image program: "
					 "end it first, open with readonly=on, or use a copy",
					 filename);
	}
	return true;
}

void file_unlock(int fd)
{
	/* A range that is not locked is no error. */
	struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = USED_BASE,
			     .l_len = UNSHARED_BASE + PERM_COUNT - USED_BASE};
	fcntl(fd, F_OFD_SETLK, &lock);
}
