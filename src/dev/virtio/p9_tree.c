/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 9P2000.L requests that make, move and remove names. Each opens the folder by its path beneath the
 * share and then works on one name in it, which has been checked to be a name and no path.
 */
#include "dev/virtio/p9_int.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The folder of a fid, O_PATH, or -errno. Under server->paths. */
static int open_folder(struct p9_server *server, const struct p9_fid *fid)
{
	if (!fid || fid->kind != P9_KIND_FILE)
		return -EBADF;
	return p9_open(server, fid->path, O_PATH | O_DIRECTORY);
}

/* The new object's qid, or its error. Takes nothing away: the object stays. */
static int answer_qid(struct p9_server *server, struct p9_out *out, int parent, const char *name)
{
	struct stat st;
	auto_fd fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int result = fd < 0 ? -errno : p9_stat(server, fd, &st);
	if (!result)
		p9_put_qid(server, out, &st);
	return -result;
}

int p9_symlink_op(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char name[NAME_MAX + 1], target[PATH_MAX];
	P9_HELD(held, server, p9_u32(in));
	p9_name(in, name);
	p9_string(in, target, sizeof(target));
	struct p9_attributes a = {.mode = S_IFLNK | 0777, .gid = p9_u32(in)};
	if (in->bad)
		return EINVAL;
	if (server->readonly)
		return EROFS;
	pthread_rwlock_rdlock(&server->paths);
	auto_fd parent = open_folder(server, held.fid);
	pthread_rwlock_unlock(&server->paths);
	if (parent < 0)
		return -parent;
	a.uid = held.fid->uid;
	int result = p9_symlink(server, parent, name, target, &a);
	return result ? -result : answer_qid(server, out, parent, name);
}

int p9_mknod_op(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char name[NAME_MAX + 1];
	P9_HELD(held, server, p9_u32(in));
	p9_name(in, name);
	struct p9_attributes a = {.mode = p9_u32(in)};
	uint32_t major = p9_u32(in), minor = p9_u32(in);
	a.gid = p9_u32(in);
	/* The kernel's encoding of a device number in 32 bits. */
	a.rdev = (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~0xffu) << 12;
	if (in->bad || S_ISDIR(a.mode) || S_ISLNK(a.mode))
		return EINVAL;
	if (server->readonly)
		return EROFS;
	pthread_rwlock_rdlock(&server->paths);
	auto_fd parent = open_folder(server, held.fid);
	pthread_rwlock_unlock(&server->paths);
	if (parent < 0)
		return -parent;
	a.uid = held.fid->uid;
	int result = p9_mknod(server, parent, name, &a);
	return result ? -result : answer_qid(server, out, parent, name);
}

int p9_mkdir(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char name[NAME_MAX + 1];
	P9_HELD(held, server, p9_u32(in));
	p9_name(in, name);
	uint32_t mode = p9_u32(in);
	struct p9_attributes a = {.mode = S_IFDIR | (mode & 07777), .gid = p9_u32(in)};
	if (in->bad)
		return EINVAL;
	if (server->readonly)
		return EROFS;
	pthread_rwlock_rdlock(&server->paths);
	auto_fd parent = open_folder(server, held.fid);
	pthread_rwlock_unlock(&server->paths);
	if (parent < 0)
		return -parent;
	if (mkdirat(parent, name, p9_host_mode(server, mode, true)) < 0)
		return errno;
	a.uid = held.fid->uid;
	int result = p9_own(server, parent, name, &a);
	if (result) {
		unlinkat(parent, name, AT_REMOVEDIR);
		return -result;
	}
	return answer_qid(server, out, parent, name);
}

int p9_link(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char name[NAME_MAX + 1];
	P9_HELD(folder, server, p9_u32(in));
	P9_HELD(file, server, p9_u32(in));
	p9_name(in, name);
	if (in->bad)
		return EINVAL;
	if (server->readonly)
		return EROFS;
	if (!file.fid || file.fid->kind != P9_KIND_FILE)
		return EBADF;
	const char *old_name;
	pthread_rwlock_rdlock(&server->paths);
	auto_fd parent = open_folder(server, folder.fid);
	auto_fd old_parent = p9_open_parent(server, file.fid->path, &old_name);
	int result = parent < 0 ? parent : old_parent < 0 ? old_parent : 0;
	/* Without AT_SYMLINK_FOLLOW a symlink is linked itself. */
	if (!result && linkat(old_parent, old_name, parent, name, 0) < 0)
		result = -errno;
	pthread_rwlock_unlock(&server->paths);
	return -result;
}

/* Move `from` to `name` in the folder `to`; under server->paths for writing. */
static int move(struct p9_server *server, const char *from, const char *to_folder, const char *name)
{
	const char *old_name;
	g_autofree char *old_path = g_strdup(from), *new_path = p9_join(to_folder, name);
	auto_fd old_parent = p9_open_parent(server, old_path, &old_name);
	auto_fd parent = p9_open(server, to_folder, O_PATH | O_DIRECTORY);
	if (old_parent < 0 || parent < 0)
		return old_parent < 0 ? old_parent : parent;
	if (strlen(new_path) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (renameat(old_parent, old_name, parent, name) < 0)
		return -errno;
	if (strcmp(old_path, new_path))
		p9_fid_renamed(server, old_path, new_path);
	return 0;
}

int p9_rename(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char name[NAME_MAX + 1];
	P9_HELD(file, server, p9_u32(in));
	P9_HELD(folder, server, p9_u32(in));
	p9_name(in, name);
	if (in->bad)
		return EINVAL;
	if (server->readonly)
		return EROFS;
	if (!file.fid || !folder.fid || file.fid->kind != P9_KIND_FILE ||
	    folder.fid->kind != P9_KIND_FILE)
		return EBADF;
	pthread_rwlock_wrlock(&server->paths);
	int result = move(server, file.fid->path, folder.fid->path, name);
	pthread_rwlock_unlock(&server->paths);
	return -result;
}

int p9_renameat(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char old_name[NAME_MAX + 1], new_name[NAME_MAX + 1];
	P9_HELD(old_folder, server, p9_u32(in));
	p9_name(in, old_name);
	P9_HELD(new_folder, server, p9_u32(in));
	p9_name(in, new_name);
	if (in->bad)
		return EINVAL;
	if (server->readonly)
		return EROFS;
	if (!old_folder.fid || !new_folder.fid || old_folder.fid->kind != P9_KIND_FILE ||
	    new_folder.fid->kind != P9_KIND_FILE)
		return EBADF;
	pthread_rwlock_wrlock(&server->paths);
	g_autofree char *from = p9_join(old_folder.fid->path, old_name);
	int result = move(server, from, new_folder.fid->path, new_name);
	pthread_rwlock_unlock(&server->paths);
	return -result;
}

int p9_unlinkat(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char name[NAME_MAX + 1];
	P9_HELD(held, server, p9_u32(in));
	p9_name(in, name);
	uint32_t flags = p9_u32(in);
	if (in->bad || flags & ~AT_REMOVEDIR)
		return EINVAL;
	if (server->readonly)
		return EROFS;
	pthread_rwlock_rdlock(&server->paths);
	auto_fd parent = open_folder(server, held.fid);
	pthread_rwlock_unlock(&server->paths);
	if (parent < 0)
		return -parent;
	return unlinkat(parent, name, flags) < 0 ? errno : 0;
}

int p9_remove(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	P9_HELD(held, server, p9_u32(in));
	const char *name;
	if (in->bad || !held.fid)
		return EBADF;
	/* The fid is gone whether or not the file goes. */
	p9_fid_remove(server, held.fid);
	if (server->readonly)
		return EROFS;
	if (held.fid->kind != P9_KIND_FILE)
		return EINVAL;
	pthread_rwlock_rdlock(&server->paths);
	auto_fd parent = p9_open_parent(server, held.fid->path, &name);
	int result = parent < 0 ? parent : 0;
	if (!result && unlinkat(parent, name, 0) < 0)
		result = errno == EISDIR && unlinkat(parent, name, AT_REMOVEDIR) == 0 ? 0 : -errno;
	pthread_rwlock_unlock(&server->paths);
	return -result;
}

int p9_readlink_op(struct p9_server *server, struct p9_in *in, struct p9_out *out)
{
	char target[PATH_MAX];
	P9_HELD(held, server, p9_u32(in));
	if (in->bad || !held.fid || held.fid->kind != P9_KIND_FILE)
		return EBADF;
	pthread_rwlock_rdlock(&server->paths);
	auto_fd fd = p9_open(server, held.fid->path, O_PATH);
	pthread_rwlock_unlock(&server->paths);
	if (fd < 0)
		return -fd;
	ssize_t n = p9_readlink(server, fd, target, sizeof(target) - 1);
	if (n < 0)
		return -n;
	target[n] = 0;
	p9_put_string(out, target);
	return 0;
}
