/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fids and the way from a fid's path to a descriptor. See p9_int.h. */
#include "dev/virtio/p9_int.h"

#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

/* ---- Table ---- */

static struct p9_fid **slot_of(struct p9_server *server, uint32_t number)
{
	struct p9_fid **at = &server->buckets[number % P9_BUCKETS];
	while (*at && (*at)->number != number)
		at = &(*at)->next;
	return at;
}

struct p9_fid *p9_fid_get(struct p9_server *server, uint32_t number)
{
	LOCK_SCOPE(&server->table);
	struct p9_fid *fid = *slot_of(server, number);
	if (fid)
		fid->refs++;
	return fid;
}

static void fid_free(struct p9_fid *fid)
{
	int fd = atomic_load(&fid->fd);
	if (fd >= 0)
		close(fd);
	pthread_mutex_destroy(&fid->lock);
	g_free(fid->path);
	g_free(fid->xattr);
	g_free(fid->xattr_name);
	g_free(fid);
}

void p9_fid_put(struct p9_server *server, struct p9_fid *fid)
{
	if (!fid)
		return;
	pthread_mutex_lock(&server->table);
	bool last = --fid->refs == 0;
	if (last) {
		server->fids--;
		server->path_bytes -= strlen(fid->path);
	}
	pthread_mutex_unlock(&server->table);
	if (last)
		fid_free(fid);
}

int p9_fid_add(struct p9_server *server, uint32_t number, char *path, uint32_t uid,
	       enum p9_kind kind, struct p9_fid **added)
{
	g_autofree char *owned = path;
	LOCK_SCOPE(&server->table);
	struct p9_fid **slot = slot_of(server, number);
	if (*slot)
		return -EEXIST;
	if (server->fids >= P9_FIDS_MAX || server->path_bytes + strlen(path) > P9_PATHS_MAX)
		return -ENFILE;
	struct p9_fid *fid = g_new0(struct p9_fid, 1);
	fid->number = number;
	fid->refs = 1;
	fid->path = g_steal_pointer(&owned);
	fid->kind = kind;
	fid->uid = uid;
	atomic_init(&fid->fd, -1);
	pthread_mutex_init(&fid->lock, NULL);
	*slot = fid;
	server->fids++;
	server->path_bytes += strlen(fid->path);
	if (added) {
		fid->refs++;
		*added = fid;
	}
	return 0;
}

void p9_fid_move(struct p9_server *server, struct p9_fid *fid, char *path)
{
	pthread_rwlock_wrlock(&server->paths);
	pthread_mutex_lock(&server->table);
	char *old = fid->path;
	server->path_bytes += strlen(path);
	server->path_bytes -= strlen(old);
	fid->path = path;
	pthread_mutex_unlock(&server->table);
	pthread_rwlock_unlock(&server->paths);
	g_free(old);
}

void p9_fid_remove(struct p9_server *server, struct p9_fid *fid)
{
	pthread_mutex_lock(&server->table);
	struct p9_fid **slot = slot_of(server, fid->number);
	bool mine = *slot == fid;
	if (mine)
		*slot = fid->next;
	pthread_mutex_unlock(&server->table);
	if (mine)
		p9_fid_put(server, fid);
}

void p9_fid_remove_all(struct p9_server *server)
{
	for (unsigned i = 0; i < P9_BUCKETS; i++) {
		pthread_mutex_lock(&server->table);
		struct p9_fid *fid = server->buckets[i];
		server->buckets[i] = NULL;
		pthread_mutex_unlock(&server->table);
		while (fid) {
			struct p9_fid *next = fid->next;
			p9_fid_put(server, fid);
			fid = next;
		}
	}
}

void p9_fid_renamed(struct p9_server *server, const char *from, const char *to)
{
	size_t length = strlen(from);
	LOCK_SCOPE(&server->table);
	for (unsigned i = 0; i < P9_BUCKETS; i++) {
		for (struct p9_fid *fid = server->buckets[i]; fid; fid = fid->next) {
			if (strncmp(fid->path, from, length) ||
			    (fid->path[length] && fid->path[length] != '/'))
				continue;
			char *path = g_strconcat(to, fid->path + length, NULL);
			server->path_bytes += strlen(path);
			server->path_bytes -= strlen(fid->path);
			g_free(fid->path);
			fid->path = path;
		}
	}
}

/* ---- Paths ---- */

char *p9_join(const char *path, const char *name)
{
	return path[0] ? g_strconcat(path, "/", name, NULL) : g_strdup(name);
}

int p9_open(struct p9_server *server, const char *path, int flags)
{
	const struct open_how how = {
		.flags = flags | O_CLOEXEC | O_NOFOLLOW,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd;
	/* EAGAIN: something was renamed meanwhile and the kernel could not be sure; try again. */
	for (unsigned tries = 0; tries < 16; tries++) {
		fd = syscall(SYS_openat2, server->root, path[0] ? path : ".", &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd < 0 ? -errno : fd;
}

int p9_open_parent(struct p9_server *server, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	if (!path[0])
		return -EBUSY; /* the shared folder itself is nobody's to move */
	*name = slash ? slash + 1 : path;
	g_autofree char *parent = slash ? g_strndup(path, slash - path) : g_strdup("");
	return p9_open(server, parent, O_PATH | O_DIRECTORY);
}
