/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 9P2000.L requests that open, walk, read and write. Layouts: Linux, Documentation of the 9P2000.L
 * protocol ("size[4] Tlopen tag[2] fid[4] flags[4]" and so on). Data moves straight between the
 * file and guest memory.
 */
#include "dev/virtio/p9_int.h"

#include "base/bytes.h"
#include "base/fd.h"
#include "base/lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#define DATA_SEGMENTS 256

/* ---- Qids ---- */

enum { QID_DIR = 0x80, QID_SYMLINK = 0x02 };

void p9_put_qid(struct p9_server *server, struct p9_out *out, const struct stat *st)
{
	uint8_t type = S_ISDIR(st->st_mode) ? QID_DIR : S_ISLNK(st->st_mode) ? QID_SYMLINK : 0;
	uint64_t path = st->st_ino;
	/* A mount below the shared folder has inode numbers of its own: keep them apart. */
	if (st->st_dev != server->root_dev)
		path ^= (uint64_t)st->st_dev * UINT64_C(0x9e3779b97f4a7c15);
	p9_put8(out, type);
	p9_put32(out, (uint32_t)st->st_mtim.tv_sec ^ (uint32_t)st->st_mtim.tv_nsec ^
			      (uint32_t)st->st_size << 8);
	p9_put64(out, path);
}

/* ---- Session ---- */

int p9_version(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char version[32];
	uint32_t msize = p9_u32(in);
	p9_string(in, version, sizeof(version));
	if (in->bad || msize < P9_MSIZE_MIN)
		return EINVAL;
	/* A new session: fids of the one before are gone. */
	p9_fid_remove_all(server);
	msize = MIN(msize, P9_MSIZE_MAX);
	atomic_store(&server->msize, msize);
	p9_put32(out, msize);
	p9_put_string(out, strcmp(version, "9P2000.L") ? "unknown" : "9P2000.L");
	return 0;
}

int p9_attach(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char name[256], tree[PATH_MAX];
	struct stat st;
	uint32_t number = p9_u32(in);
	p9_u32(in); /* afid: there is no authentication */
	p9_string(in, name, sizeof(name));
	p9_string(in, tree, sizeof(tree));
	uint32_t uid = p9_u32(in);
	if (in->bad)
		return EINVAL;
	int result = p9_stat(server, server->root, &st);
	if (!result)
		result = p9_fid_add(server, number, g_strdup(""), uid, P9_KIND_FILE, NULL);
	if (result)
		return -result;
	p9_put_qid(server, out, &st);
	return 0;
}

int p9_clunk(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	P9_HELD(held, server, p9_u32(in));
	struct p9_fid *fid = held.fid;
	if (in->bad || !fid)
		return EBADF;
	p9_fid_remove(server, fid);
	if (fid->kind != P9_KIND_XATTR_WRITE)
		return 0;
	/* Txattrcreate announced a value, writes delivered it, and this applies it. */
	LOCK_SCOPE(&fid->lock);
	if (fid->xattr_filled != fid->xattr_size)
		return EINVAL;
	pthread_rwlock_rdlock(&server->paths);
	auto_fd fd = p9_open(server, fid->path, O_PATH);
	pthread_rwlock_unlock(&server->paths);
	if (fd < 0)
		return -fd_steal(&fd);
	struct p9_proc_path path = p9_proc(fd);
	int status = fid->xattr_size ? setxattr(path.text, fid->xattr_name, fid->xattr,
						fid->xattr_size, fid->xattr_flags)
				     : removexattr(path.text, fid->xattr_name);
	return status < 0 ? errno : 0;
}

/* One step of a walk, under server->paths. The new path, or NULL with *error set. */
static char *walk_step(struct p9_server *server, const char *path, const char *name,
		       struct stat *st, int *error)
{
	g_autofree char *next = NULL;
	if (!strcmp(name, "..")) {
		/* Paths have no links in them, so the one above is what is left of the last slash. */
		const char *slash = strrchr(path, '/');
		next = slash ? g_strndup(path, slash - path) : g_strdup("");
	} else {
		next = p9_join(path, name);
	}
	if (strlen(next) >= PATH_MAX) {
		*error = ENAMETOOLONG;
		return NULL;
	}
	auto_fd fd = p9_open(server, next, O_PATH);
	int result = fd < 0 ? fd : p9_stat(server, fd, st);
	if (result) {
		*error = -result;
		return NULL;
	}
	return g_steal_pointer(&next);
}

int p9_walk(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	uint32_t number = p9_u32(in), new_number = p9_u32(in);
	unsigned count = p9_u16(in), done = 0;
	struct stat stats[P9_WALK_MAX];
	P9_HELD(held, server, number);
	if (in->bad || count > P9_WALK_MAX)
		return EINVAL;
	if (!held.fid)
		return EBADF;
	/* A fid that is open, or is an attribute, is no place to start from. */
	if (held.fid->kind != P9_KIND_FILE ||
	    (new_number == number && atomic_load(&held.fid->fd) >= 0))
		return EINVAL;

	pthread_rwlock_rdlock(&server->paths);
	char *path = g_strdup(held.fid->path);
	int error = 0;
	for (; done < count; done++) {
		char name[NAME_MAX + 1];
		p9_string(in, name, sizeof(name));
		if (in->bad || !name[0] || strchr(name, '/') || !strcmp(name, ".")) {
			error = in->bad ? EINVAL : ENOENT;
			break;
		}
		char *next = walk_step(server, path, name, &stats[done], &error);
		if (!next)
			break;
		g_free(path);
		path = next;
	}
	/* The first name must be found; later ones may not be, which the count tells. */
	if (done < count) {
		g_free(path);
		path = NULL;
	} else if (new_number != number) {
		error = -p9_fid_add(server, new_number, path, held.fid->uid, P9_KIND_FILE, NULL);
		path = NULL;
	}
	pthread_rwlock_unlock(&server->paths);
	if (path && count) {
		p9_fid_move(server, held.fid, path);
		path = NULL;
	}
	g_free(path);
	if (error && (done == count || done == 0))
		return error;
	p9_put16(out, done);
	for (unsigned i = 0; i < done; i++)
		p9_put_qid(server, out, &stats[i]);
	return 0;
}

/* ---- Opening ---- */

/* Linux's generic open flags, as 9P2000.L has them: x86's. */
static int host_flags(uint32_t flags)
{
	const uint32_t known = O_ACCMODE | O_TRUNC | O_APPEND | O_DSYNC | O_SYNC | O_DIRECTORY |
			       O_LARGEFILE | O_NOATIME;
	return (flags & known) | O_NONBLOCK;
}

static int open_file(struct p9_server *server, struct p9_fid *fid, uint32_t flags, struct stat *st)
{
	bool writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
	if (server->readonly && writes)
		return -EROFS;
	pthread_rwlock_rdlock(&server->paths);
	auto_fd at = p9_open(server, fid->path, O_PATH);
	struct stat host;
	int result = at < 0 ? at : fstatat(at, "", &host, AT_EMPTY_PATH) < 0 ? -errno : 0;
	/* Opening a pipe or a device would reach things of the host that are no files of ours. */
	if (!result && !S_ISREG(host.st_mode) && !S_ISDIR(host.st_mode))
		result = -ENXIO;
	int fd = -1;
	if (!result) {
		fd = p9_open(server, fid->path, host_flags(flags));
		if (fd == -EPERM && flags & O_NOATIME)
			fd = p9_open(server, fid->path, host_flags(flags) & ~O_NOATIME);
		result = fd < 0 ? fd : p9_stat(server, fd, st);
	}
	pthread_rwlock_unlock(&server->paths);
	if (!result && (fstat(fd, &host) < 0 || (!S_ISREG(host.st_mode) && !S_ISDIR(host.st_mode))))
		result = -ENXIO; /* exchanged in between */
	if (result) {
		if (fd >= 0)
			close(fd);
		return result;
	}
	fid->is_dir = S_ISDIR(host.st_mode);
	return fd;
}

int p9_lopen(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	P9_HELD(held, server, p9_u32(in));
	uint32_t flags = p9_u32(in);
	struct stat st;
	if (in->bad)
		return EINVAL;
	if (!held.fid || held.fid->kind != P9_KIND_FILE)
		return EBADF;
	LOCK_SCOPE(&held.fid->lock);
	if (atomic_load(&held.fid->fd) >= 0)
		return EINVAL;
	int fd = open_file(server, held.fid, flags, &st);
	if (fd < 0)
		return -fd;
	atomic_store(&held.fid->fd, fd);
	p9_put_qid(server, out, &st);
	p9_put32(out, 0); /* iounit: as much as a message holds */
	return 0;
}

int p9_lcreate(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char name[NAME_MAX + 1];
	P9_HELD(held, server, p9_u32(in));
	p9_name(in, name);
	uint32_t flags = p9_u32(in), mode = p9_u32(in), gid = p9_u32(in);
	struct p9_fid *fid = held.fid;
	if (in->bad)
		return EINVAL;
	if (!fid || fid->kind != P9_KIND_FILE || atomic_load(&fid->fd) >= 0)
		return EBADF;
	if (server->readonly)
		return EROFS;
	LOCK_SCOPE(&fid->lock);
	struct stat st;
	pthread_rwlock_rdlock(&server->paths);
	auto_fd parent = p9_open(server, fid->path, O_PATH | O_DIRECTORY);
	auto_fd fd = -1;
	int result = parent < 0 ? parent : 0;
	if (!result) {
		/* Exclusive, so that it is ours to own; the name has no slash to lead away. */
		fd = openat(parent, name, (host_flags(flags) & ~O_DIRECTORY) | O_CREAT | O_EXCL |
					  O_NOFOLLOW | O_CLOEXEC,
			    p9_host_mode(server, mode, false));
		result = fd < 0 ? -errno : 0;
	}
	if (!result) {
		const struct p9_attributes a = {.mode = S_IFREG | (mode & 07777),
						.uid = fid->uid, .gid = gid};
		result = p9_own(server, parent, name, &a);
		if (!result)
			result = p9_stat(server, fd, &st);
		if (result)
			unlinkat(parent, name, 0);
	}
	char *path = result ? NULL : p9_join(fid->path, name);
	pthread_rwlock_unlock(&server->paths);
	if (result)
		return -result;
	p9_fid_move(server, fid, path);
	atomic_store(&fid->fd, fd_steal(&fd));
	p9_put_qid(server, out, &st);
	p9_put32(out, 0);
	return 0;
}

/* ---- Data ---- */

static int xattr_read(struct p9_fid *fid, uint64_t offset, uint32_t count, struct p9_out *out)
{
	LOCK_SCOPE(&fid->lock);
	uint64_t left = offset < fid->xattr_size ? fid->xattr_size - offset : 0;
	count = MIN(count, left);
	p9_put32(out, count);
	p9_put(out, fid->xattr + offset, count);
	return 0;
}

int p9_read(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	P9_HELD(held, server, p9_u32(in));
	uint64_t offset = p9_u64(in);
	uint32_t count = p9_u32(in);
	if (in->bad || offset > INT64_MAX)
		return EINVAL;
	if (!held.fid)
		return EBADF;
	uint32_t room = out->end - out->at < 4 ? 0 : out->end - out->at - 4;
	count = MIN(count, room);
	if (held.fid->kind == P9_KIND_XATTR_READ)
		return xattr_read(held.fid, offset, count, out);
	int fd = atomic_load(&held.fid->fd);
	if (fd < 0 || held.fid->is_dir)
		return EBADF;
	struct iovec iov[DATA_SEGMENTS];
	int segments = -1;
	while (count && (segments = virtq_iov_slice(out->chain->in, out->chain->in_count,
						    out->at + 4, count, iov, DATA_SEGMENTS)) < 0)
		count /= 2;
	ssize_t n = count ? preadv(fd, iov, segments, offset) : 0;
	if (n < 0)
		return errno;
	p9_put32(out, n);
	out->at += n;
	return 0;
}

int p9_write(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	P9_HELD(held, server, p9_u32(in));
	uint64_t offset = p9_u64(in);
	uint32_t count = p9_u32(in);
	struct p9_fid *fid = held.fid;
	if (in->bad || count > in->end - in->at || offset > INT64_MAX - UINT32_MAX)
		return EINVAL;
	if (!fid)
		return EBADF;
	if (fid->kind == P9_KIND_XATTR_WRITE) {
		LOCK_SCOPE(&fid->lock);
		if (offset != fid->xattr_filled || count > fid->xattr_size - offset)
			return ENOSPC;
		virtq_read(in->chain, in->at, fid->xattr + offset, count);
		fid->xattr_filled += count;
		p9_put32(out, count);
		return 0;
	}
	int fd = atomic_load(&fid->fd);
	if (fd < 0 || fid->is_dir)
		return EBADF;
	if (server->readonly)
		return EROFS;
	struct iovec iov[DATA_SEGMENTS];
	int segments = -1;
	while (count && (segments = virtq_iov_slice(in->chain->out, in->chain->out_count, in->at,
						    count, iov, DATA_SEGMENTS)) < 0)
		count /= 2;
	ssize_t n = count ? pwritev(fd, iov, segments, offset) : 0;
	if (n < 0)
		return errno;
	p9_put32(out, n);
	return 0;
}

int p9_fsync(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	P9_HELD(held, server, p9_u32(in));
	uint32_t data_only = in->end - in->at >= 4 ? p9_u32(in) : 0;
	if (in->bad)
		return EINVAL;
	int fd = held.fid ? atomic_load(&held.fid->fd) : -1;
	if (fd < 0)
		return EBADF;
	return (data_only ? fdatasync(fd) : fsync(fd)) < 0 ? errno : 0;
}

/* ---- Folders ---- */

/* What getdents64(2) returns. */
struct host_dirent {
	uint64_t ino;
	int64_t next;
	uint16_t length;
	uint8_t type;
	char name[];
};

/* False: the answer is full. */
static bool put_entry(struct p9_server *server, struct p9_out *out, uint64_t end,
		      const struct host_dirent *entry)
{
	size_t length = strlen(entry->name);
	uint8_t type = entry->type;
	if (out->at + P9_QID + 8 + 1 + 2 + length > end)
		return false;
	/* A plain file may stand for something else; the guest asks for attributes if it is told. */
	if (server->security == P9_MAPPED_XATTR && type != DT_DIR)
		type = DT_UNKNOWN;
	struct stat st = {.st_ino = entry->ino, .st_dev = server->root_dev,
			  .st_mode = type == DT_DIR ? S_IFDIR : type == DT_LNK ? S_IFLNK : S_IFREG};
	p9_put_qid(server, out, &st);
	p9_put64(out, entry->next);
	p9_put8(out, type);
	p9_put_string(out, entry->name);
	return true;
}

int p9_readdir(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	P9_HELD(held, server, p9_u32(in));
	uint64_t offset = p9_u64(in);
	uint32_t count = p9_u32(in);
	if (in->bad)
		return EINVAL;
	int fd = held.fid ? atomic_load(&held.fid->fd) : -1;
	if (fd < 0 || !held.fid->is_dir)
		return EBADF;
	struct p9_out size = *out;
	uint64_t start = out->at + 4, end = MIN(start + count, out->end);
	if (start > out->end)
		return EINVAL;
	out->at = start;
	/* The position is the descriptor's, and two requests may read one folder. */
	LOCK_SCOPE(&held.fid->lock);
	if (lseek(fd, offset, SEEK_SET) < 0)
		return errno;
	bool room = true;
	while (room) {
		_Alignas(struct host_dirent) uint8_t raw[8192];
		long n = syscall(SYS_getdents64, fd, raw, MIN(sizeof(raw), MAX(end - out->at, 512)));
		if (n < 0)
			return errno;
		if (n == 0)
			break;
		for (long at = 0; at < n && room;) {
			const struct host_dirent *entry = (const struct host_dirent *)(raw + at);
			room = put_entry(server, out, end, entry);
			at += entry->length;
		}
	}
	p9_put32(&size, out->at - start);
	return 0;
}
