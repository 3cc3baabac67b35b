/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host files with a guest's owners and modes. Three models, by QEMU's names and formats:
 *   passthrough   the guest's owners and modes are set on the host's files
 *   none          the same, but a host that refuses a change of owner is no error
 *   mapped-xattr  the host's files belong to this process; what the guest sees is in extended
 *                 attributes user.virtfs.{uid,gid,mode,rdev}, 32 bits little-endian; symlinks and
 *                 special files are plain files on the host
 */
#include "dev/virtio/p9_int.h"

#include "base/bytes.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define MAPPED_PREFIX "user.virtfs."

struct p9_proc_path p9_proc(int fd)
{
	struct p9_proc_path path;
	snprintf(path.text, sizeof(path.text), "/proc/self/fd/%d", fd);
	return path;
}

bool p9_xattr_hidden(const struct p9_server *server, const char *name)
{
	return server->security == P9_MAPPED_XATTR &&
	       !strncmp(name, MAPPED_PREFIX, strlen(MAPPED_PREFIX));
}

mode_t p9_host_mode(const struct p9_server *server, uint32_t mode, bool folder)
{
	if (server->security == P9_MAPPED_XATTR)
		return folder ? 0700 : 0600;
	return mode & 07777;
}

static bool mapped_get(const struct p9_proc_path *path, const char *name, uint32_t *value)
{
	uint8_t raw[4];
	if (getxattr(path->text, name, raw, sizeof(raw)) != sizeof(raw))
		return false;
	*value = le32_load(raw);
	return true;
}

static int mapped_set(const struct p9_proc_path *path, const char *name, uint32_t value)
{
	uint8_t raw[4];
	le32_store(raw, value);
	return setxattr(path->text, name, raw, sizeof(raw), 0) < 0 ? -errno : 0;
}

int p9_stat(struct p9_server *server, int fd, struct stat *st)
{
	if (fstatat(fd, "", st, AT_EMPTY_PATH) < 0)
		return -errno;
	if (server->security != P9_MAPPED_XATTR || S_ISLNK(st->st_mode))
		return 0;
	struct p9_proc_path path = p9_proc(fd);
	uint32_t value;
	if (mapped_get(&path, MAPPED_PREFIX "uid", &value))
		st->st_uid = value;
	if (mapped_get(&path, MAPPED_PREFIX "gid", &value))
		st->st_gid = value;
	/* A folder stays a folder and a file no folder, whatever the attribute says. */
	if (mapped_get(&path, MAPPED_PREFIX "mode", &value)) {
		bool agree = S_ISDIR(value) == S_ISDIR(st->st_mode);
		st->st_mode = agree ? value : (st->st_mode & S_IFMT) | (value & 07777);
	}
	if (mapped_get(&path, MAPPED_PREFIX "rdev", &value))
		st->st_rdev = value;
	return 0;
}

/* 9P has one 32-bit number for a device, in the kernel's own encoding. */
static dev_t host_rdev(uint32_t rdev)
{
	unsigned minor_bits = (rdev & 0xff) | (rdev >> 12 & 0xfff00);
	return makedev(rdev >> 8 & 0xfff, minor_bits);
}

static int own_mapped(int parent, const char *name, const struct p9_attributes *a)
{
	auto_fd fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct p9_proc_path path = p9_proc(fd);
	/* An unnamed user is root, as it is the guest's kernel that speaks. */
	int result = mapped_set(&path, MAPPED_PREFIX "uid", a->uid == UINT32_MAX ? 0 : a->uid);
	if (!result)
		result = mapped_set(&path, MAPPED_PREFIX "gid", a->gid);
	if (!result)
		result = mapped_set(&path, MAPPED_PREFIX "mode", a->mode);
	if (!result && a->rdev)
		result = mapped_set(&path, MAPPED_PREFIX "rdev", host_rdev(a->rdev));
	return result;
}

int p9_own(struct p9_server *server, int parent, const char *name, const struct p9_attributes *a)
{
	if (server->security == P9_MAPPED_XATTR)
		return own_mapped(parent, name, a);
	if (fchownat(parent, name, a->uid, a->gid, AT_SYMLINK_NOFOLLOW) < 0 &&
	    server->security != P9_NONE)
		return -errno;
	if (S_ISLNK(a->mode))
		return 0;
	/* The process's umask, or a change of owner, may have taken bits away. */
	auto_fd fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return chmod(p9_proc(fd).text, a->mode & 07777) < 0 && server->security != P9_NONE ? -errno : 0;
}

int p9_chmod(struct p9_server *server, int fd, uint32_t mode)
{
	struct stat st;
	int result = p9_stat(server, fd, &st);
	if (result)
		return result;
	if (S_ISLNK(st.st_mode))
		return -EOPNOTSUPP;
	struct p9_proc_path path = p9_proc(fd);
	if (server->security == P9_MAPPED_XATTR)
		return mapped_set(&path, MAPPED_PREFIX "mode",
				  (st.st_mode & S_IFMT) | (mode & 07777));
	return chmod(path.text, mode & 07777) < 0 ? -errno : 0;
}

int p9_chown(struct p9_server *server, int fd, uint32_t uid, uint32_t gid)
{
	struct p9_proc_path path = p9_proc(fd);
	if (server->security == P9_MAPPED_XATTR) {
		int result = 0;
		if (uid != UINT32_MAX)
			result = mapped_set(&path, MAPPED_PREFIX "uid", uid);
		if (!result && gid != UINT32_MAX)
			result = mapped_set(&path, MAPPED_PREFIX "gid", gid);
		return result;
	}
	if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		return server->security == P9_NONE ? 0 : -errno;
	return 0;
}

/* An empty, or given, plain file that stands for something else (mapped-xattr). */
static int stand_in(int parent, const char *name, const char *content)
{
	auto_fd fd = openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	size_t length = strlen(content);
	if (length && write(fd, content, length) != (ssize_t)length) {
		int error = errno;
		unlinkat(parent, name, 0);
		return -error;
	}
	return 0;
}

int p9_mknod(struct p9_server *server, int parent, const char *name, const struct p9_attributes *a)
{
	int result;
	if (server->security == P9_MAPPED_XATTR)
		result = stand_in(parent, name, "");
	else
		result = mknodat(parent, name, a->mode & (S_IFMT | 07777), host_rdev(a->rdev)) < 0
				 ? -errno : 0;
	if (result)
		return result;
	result = p9_own(server, parent, name, a);
	if (result)
		unlinkat(parent, name, 0);
	return result;
}

int p9_symlink(struct p9_server *server, int parent, const char *name, const char *target,
	       const struct p9_attributes *a)
{
	int result;
	if (server->security == P9_MAPPED_XATTR)
		result = stand_in(parent, name, target);
	else
		result = symlinkat(target, parent, name) < 0 ? -errno : 0;
	if (result)
		return result;
	result = p9_own(server, parent, name, a);
	if (result)
		unlinkat(parent, name, 0);
	return result;
}

ssize_t p9_readlink(struct p9_server *server, int fd, char *target, size_t size)
{
	struct stat st;
	int result = p9_stat(server, fd, &st);
	if (result)
		return result;
	if (!S_ISLNK(st.st_mode))
		return -EINVAL;
	ssize_t n;
	if (server->security == P9_MAPPED_XATTR && fstatat(fd, "", &st, AT_EMPTY_PATH) == 0 &&
	    S_ISREG(st.st_mode)) {
		auto_fd file = open(p9_proc(fd).text, O_RDONLY | O_CLOEXEC);
		n = file < 0 ? -1 : pread(file, target, size, 0);
	} else {
		n = readlinkat(fd, "", target, size);
	}
	return n < 0 ? -errno : n;
}
