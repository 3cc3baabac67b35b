/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 9P2000.L requests for attributes: of the file system, of files, extended ones, and locks. */
#include "dev/virtio/p9_int.h"

#include "base/fd.h"
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define V9FS_MAGIC 0x01021997
/* Bits of Tgetattr's mask that struct stat answers. */
#define GETATTR_BASIC 0x000007ff

enum {
	SET_MODE = 1 << 0, SET_UID = 1 << 1, SET_GID = 1 << 2, SET_SIZE = 1 << 3, SET_ATIME = 1 << 4,
	SET_MTIME = 1 << 5, SET_CTIME = 1 << 6, SET_ATIME_GIVEN = 1 << 7, SET_MTIME_GIVEN = 1 << 8,
};

/* An O_PATH descriptor of the fid's object, or -errno. */
static int open_object(struct p9_server *server, const struct p9_fid *fid)
{
	if (!fid || fid->kind != P9_KIND_FILE)
		return -EBADF;
	pthread_rwlock_rdlock(&server->paths);
	int fd = p9_open(server, fid->path, O_PATH);
	pthread_rwlock_unlock(&server->paths);
	return fd;
}

int p9_statfs(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct statfs fs;
	P9_HELD(held, server, p9_u32(in));
	auto_fd fd = in->bad ? -EINVAL : open_object(server, held.fid);
	if (fd < 0)
		return -fd;
	if (fstatfs(fd, &fs) < 0)
		return errno;
	uint64_t id;
	memcpy(&id, &fs.f_fsid, sizeof(id));
	p9_put32(out, V9FS_MAGIC);
	p9_put32(out, fs.f_bsize);
	p9_put64(out, fs.f_blocks);
	p9_put64(out, fs.f_bfree);
	p9_put64(out, fs.f_bavail);
	p9_put64(out, fs.f_files);
	p9_put64(out, fs.f_ffree);
	p9_put64(out, id);
	p9_put32(out, fs.f_namelen);
	return 0;
}

static void put_time(struct p9_out *out, const struct timespec *t)
{
	p9_put64(out, t->tv_sec);
	p9_put64(out, t->tv_nsec);
}

int p9_getattr(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	struct stat st;
	P9_HELD(held, server, p9_u32(in));
	p9_u64(in);
	if (in->bad)
		return EINVAL;
	/* An open file answers for itself: its name may be gone. */
	int open_fd = held.fid ? atomic_load(&held.fid->fd) : -1;
	auto_fd fd = open_fd >= 0 ? -1 : open_object(server, held.fid);
	int result = open_fd >= 0 ? p9_stat(server, open_fd, &st)
		     : fd < 0	  ? fd
				  : p9_stat(server, fd, &st);
	if (result)
		return -result;
	p9_put64(out, GETATTR_BASIC);
	p9_put_qid(server, out, &st);
	p9_put32(out, st.st_mode);
	p9_put32(out, st.st_uid);
	p9_put32(out, st.st_gid);
	p9_put64(out, st.st_nlink);
	p9_put64(out, st.st_rdev);
	p9_put64(out, st.st_size);
	p9_put64(out, st.st_blksize);
	p9_put64(out, st.st_blocks);
	put_time(out, &st.st_atim);
	put_time(out, &st.st_mtim);
	put_time(out, &st.st_ctim);
	for (unsigned i = 0; i < 4; i++) /* birth time, generation, data version: not known */
		p9_put64(out, 0);
	return 0;
}

static int set_size(struct p9_server *server, struct p9_fid *fid, uint64_t size)
{
	struct stat st;
	int open_fd = atomic_load(&fid->fd);
	if (size > INT64_MAX)
		return -EINVAL;
	if (open_fd >= 0 && (fcntl(open_fd, F_GETFL) & O_ACCMODE) != O_RDONLY)
		return ftruncate(open_fd, size) < 0 ? -errno : 0;
	pthread_rwlock_rdlock(&server->paths);
	auto_fd at = p9_open(server, fid->path, O_PATH);
	auto_fd fd = -1;
	int result = at < 0 ? at : fstat(at, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EINVAL;
	if (!result) {
		fd = p9_open(server, fid->path, O_WRONLY | O_NONBLOCK);
		result = fd < 0 ? fd : 0;
	}
	pthread_rwlock_unlock(&server->paths);
	if (!result && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || ftruncate(fd, size) < 0))
		result = errno ? -errno : -EINVAL;
	return result;
}

int p9_setattr(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	P9_HELD(held, server, p9_u32(in));
	uint32_t valid = p9_u32(in), mode = p9_u32(in), uid = p9_u32(in), gid = p9_u32(in);
	uint64_t size = p9_u64(in);
	struct timespec times[2];
	for (unsigned i = 0; i < 2; i++) {
		times[i].tv_sec = p9_u64(in);
		times[i].tv_nsec = p9_u64(in);
		if (!(valid & (i ? SET_MTIME : SET_ATIME)))
			times[i].tv_nsec = UTIME_OMIT;
		else if (!(valid & (i ? SET_MTIME_GIVEN : SET_ATIME_GIVEN)))
			times[i].tv_nsec = UTIME_NOW;
		else if (times[i].tv_nsec < 0 || times[i].tv_nsec > 999999999)
			in->bad = true;
	}
	if (in->bad)
		return EINVAL;
	if (server->readonly)
		return EROFS;
	auto_fd fd = open_object(server, held.fid);
	if (fd < 0)
		return -fd;
	int result = 0;
	if (valid & SET_MODE)
		result = p9_chmod(server, fd, mode);
	/* ctime alone, too, is a change of owner that changes none. */
	if (!result && valid & (SET_UID | SET_GID | SET_CTIME))
		result = p9_chown(server, fd, valid & SET_UID ? uid : UINT32_MAX,
				  valid & SET_GID ? gid : UINT32_MAX);
	if (!result && valid & SET_SIZE)
		result = set_size(server, held.fid, size);
	if (!result && valid & (SET_ATIME | SET_MTIME) &&
	    utimensat(fd, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		result = -errno;
	return -result;
}

/* ---- Extended attributes ---- */

/* A list without the names that are this server's own. Returns its new size. */
static size_t hide_names(struct p9_server *server, char *list, size_t size)
{
	size_t kept = 0;
	for (size_t at = 0; at < size;) {
		size_t length = strlen(list + at) + 1;
		if (!p9_xattr_hidden(server, list + at)) {
			memmove(list + kept, list + at, length);
			kept += length;
		}
		at += length;
	}
	return kept;
}

/* A value, or with an empty name the list of names; g_free() it. Size or -errno. */
static ssize_t fetch_xattr(struct p9_server *server, int fd, const char *name, uint8_t **value)
{
	struct p9_proc_path path = p9_proc(fd);
	/* One byte more, so that a list always ends in a zero. */
	g_autofree uint8_t *buffer = g_malloc0(P9_XATTR_MAX + 1);
	ssize_t n = name[0] ? getxattr(path.text, name, buffer, P9_XATTR_MAX)
			    : listxattr(path.text, (char *)buffer, P9_XATTR_MAX);
	if (n < 0)
		return -errno;
	if (!name[0])
		n = hide_names(server, (char *)buffer, n);
	*value = g_memdup2(buffer, MAX(n, 1));
	return n;
}

int p9_xattrwalk(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char name[XATTR_NAME_MAX + 1];
	P9_HELD(held, server, p9_u32(in));
	uint32_t new_number = p9_u32(in);
	p9_string(in, name, sizeof(name));
	if (in->bad)
		return EINVAL;
	if (p9_xattr_hidden(server, name))
		return ENODATA;
	auto_fd fd = open_object(server, held.fid);
	if (fd < 0)
		return -fd;
	g_autofree uint8_t *value = NULL;
	ssize_t size = fetch_xattr(server, fd, name, &value);
	if (size < 0)
		return -size;
	struct p9_fid *fid;
	int result = p9_fid_add(server, new_number, g_strdup(""), held.fid->uid,
				P9_KIND_XATTR_READ, &fid);
	if (result)
		return -result;
	pthread_mutex_lock(&fid->lock);
	fid->xattr = g_steal_pointer(&value);
	fid->xattr_size = size;
	pthread_mutex_unlock(&fid->lock);
	p9_fid_put(server, fid);
	p9_put64(out, size);
	return 0;
}

int p9_xattrcreate(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char name[XATTR_NAME_MAX + 1];
	P9_HELD(held, server, p9_u32(in));
	p9_string(in, name, sizeof(name));
	uint64_t size = p9_u64(in);
	uint32_t flags = p9_u32(in);
	struct p9_fid *fid = held.fid;
	if (in->bad || !name[0] || flags & ~(XATTR_CREATE | XATTR_REPLACE))
		return EINVAL;
	if (size > P9_XATTR_MAX)
		return E2BIG;
	if (server->readonly)
		return EROFS;
	if (p9_xattr_hidden(server, name))
		return EPERM;
	if (!fid)
		return EBADF;
	LOCK_SCOPE(&fid->lock);
	if (fid->kind != P9_KIND_FILE || atomic_load(&fid->fd) >= 0)
		return EBADF;
	fid->kind = P9_KIND_XATTR_WRITE;
	fid->xattr_name = g_strdup(name);
	fid->xattr_flags = flags;
	fid->xattr_size = size;
	fid->xattr = g_malloc0(MAX(size, 1));
	return 0;
}

/* ---- Locks ---- */

/*
 * The guest's kernel keeps its own processes apart; that they are kept apart from the host's is not
 * offered, and a lock is always granted.
 */
int p9_lock(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	P9_HELD(held, server, p9_u32(in));
	if (in->bad || !held.fid || atomic_load(&held.fid->fd) < 0)
		return EBADF;
	p9_put8(out, 0); /* success */
	return 0;
}

int p9_getlock(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char client[256];
	P9_HELD(held, server, p9_u32(in));
	p9_u8(in);
	uint64_t start = p9_u64(in), length = p9_u64(in);
	uint32_t process = p9_u32(in);
	p9_string(in, client, sizeof(client));
	if (in->bad)
		return EINVAL;
	if (!held.fid || atomic_load(&held.fid->fd) < 0)
		return EBADF;
	p9_put8(out, 2); /* unlocked */
	p9_put64(out, start);
	p9_put64(out, length);
	p9_put32(out, process);
	p9_put_string(out, client);
	return 0;
}
