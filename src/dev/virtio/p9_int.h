/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 9P2000.L server's inside. Requests run on a thread pool, several at once; p9.c hands them
 * over and takes answers back on the queue's loop.
 *
 * A fid is a path below the shared folder; every use of it walks from the folder's descriptor with
 * openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), so that neither "..", nor a symlink that the guest
 * has made, nor a race between the two can lead outside. Symlinks are the guest's to follow.
 *
 * Locks, in order: fid->lock, server->paths (fids' paths; written by renames), server->table.
 */
#pragma once

#include "aio/pool.h"
#include "dev/virtio/p9.h"

#include <limits.h>
#include <sys/stat.h>

enum p9_security { P9_PASSTHROUGH, P9_MAPPED_XATTR, P9_NONE };

enum p9_type {
	P9_RLERROR = 7, P9_TSTATFS = 8, P9_TLOPEN = 12, P9_TLCREATE = 14, P9_TSYMLINK = 16,
	P9_TMKNOD = 18, P9_TRENAME = 20, P9_TREADLINK = 22, P9_TGETATTR = 24, P9_TSETATTR = 26,
	P9_TXATTRWALK = 30, P9_TXATTRCREATE = 32, P9_TREADDIR = 40, P9_TFSYNC = 50, P9_TLOCK = 52,
	P9_TGETLOCK = 54, P9_TLINK = 70, P9_TMKDIR = 72, P9_TRENAMEAT = 74, P9_TUNLINKAT = 76,
	P9_TVERSION = 100, P9_TAUTH = 102, P9_TATTACH = 104, P9_TFLUSH = 108, P9_TWALK = 110,
	P9_TREAD = 116, P9_TWRITE = 118, P9_TCLUNK = 120, P9_TREMOVE = 122,
};

#define P9_HEADER     7          /* size[4] type[1] tag[2] */
#define P9_QID        13
#define P9_MSIZE_MIN  4096
#define P9_MSIZE_MAX  (1024 * 1024)
#define P9_WALK_MAX   16
#define P9_XATTR_MAX  65536
#define P9_FIDS_MAX   65536
#define P9_PATHS_MAX  (64 * 1024 * 1024) /* bytes of all fids' paths */
#define P9_BUCKETS    1024

/* ---- Messages (p9_wire.c) ---- */

/* A request being read: errors stick in `bad`, and what is read then is zero or empty. */
struct p9_in {
	const struct virtq_chain *chain;
	uint64_t at, end;
	bool bad;
};
uint8_t p9_u8(struct p9_in *in);
uint16_t p9_u16(struct p9_in *in);
uint32_t p9_u32(struct p9_in *in);
uint64_t p9_u64(struct p9_in *in);
/* A string of at most `size` - 1 bytes, without zeroes inside. */
void p9_string(struct p9_in *in, char *text, size_t size);
/* A name in a folder: not empty, no slash, neither "." nor "..". */
void p9_name(struct p9_in *in, char name[NAME_MAX + 1]);

/* An answer being written, from behind the header on; what does not fit sets `bad`. */
struct p9_out {
	struct virtq_chain *chain;
	uint64_t at, end;
	bool bad;
};
void p9_put(struct p9_out *out, const void *bytes, size_t length);
void p9_put8(struct p9_out *out, uint8_t v);
void p9_put16(struct p9_out *out, uint16_t v);
void p9_put32(struct p9_out *out, uint32_t v);
void p9_put64(struct p9_out *out, uint64_t v);
void p9_put_string(struct p9_out *out, const char *text);

/* ---- Fids (p9_fid.c) ---- */

enum p9_kind { P9_KIND_FILE, P9_KIND_XATTR_READ, P9_KIND_XATTR_WRITE };

struct p9_fid {
	struct p9_fid *next;   /* in its bucket */
	uint32_t number;
	unsigned refs;         /* under server->table */
	char *path;            /* "" is the shared folder; under server->paths */
	uint32_t uid;          /* who attached; owns what is created. UINT32_MAX: nobody said */
	pthread_mutex_t lock;  /* guards what follows; `fd` is set once and stays until the end */
	enum p9_kind kind;
	_Atomic int fd;        /* opened by Tlopen or Tlcreate, or -1 */
	bool is_dir;
	uint8_t *xattr;        /* value, read or to be written at clunk */
	uint64_t xattr_size, xattr_filled;
	char *xattr_name;
	int xattr_flags;
};

struct p9_request {
	struct aio_job job;
	struct p9_server *server;
	struct virtq_chain *chain;
	uint16_t tag;
	uint8_t type;
	uint32_t length;             /* of the answer */
	bool active;
	struct p9_request *flushes;  /* Tflush requests that wait for this one */
	struct p9_request *next;     /* free, or in another's `flushes` */
};

struct p9_server {
	struct virtio_9p *device;
	enum p9_security security;
	bool readonly;
	int root;                    /* the shared folder, O_PATH */
	dev_t root_dev;
	_Atomic uint32_t msize;
	struct aio_pool *pool;

	pthread_rwlock_t paths;
	pthread_mutex_t table;
	struct p9_fid *buckets[P9_BUCKETS];
	unsigned fids;
	uint64_t path_bytes;

	/* On the queue's loop. */
	struct p9_request *requests, *free;
	unsigned request_count;
};

/* All return NULL or a negative errno as the kernel does. References go back with p9_fid_put(). */
struct p9_fid *p9_fid_get(struct p9_server *server, uint32_t number);
void p9_fid_put(struct p9_server *server, struct p9_fid *fid);
/* Takes `path`. 0, -EEXIST, or -ENFILE if there are too many. */
int p9_fid_add(struct p9_server *server, uint32_t number, char *path, uint32_t uid,
	       enum p9_kind kind, struct p9_fid **added);
/* Give a fid another path, which is taken. */
void p9_fid_move(struct p9_server *server, struct p9_fid *fid, char *path);
/* Out of the table; the caller's reference stays. */
void p9_fid_remove(struct p9_server *server, struct p9_fid *fid);
void p9_fid_remove_all(struct p9_server *server);
/* Under server->paths for writing: `from` (and what is below it) is now `to`. */
void p9_fid_renamed(struct p9_server *server, const char *from, const char *to);
/* Under server->paths: open a path relative to the shared folder. Descriptor or -errno. */
int p9_open(struct p9_server *server, const char *path, int flags);
/* Under server->paths: an O_PATH descriptor of the folder that holds `path`, and its last name. */
int p9_open_parent(struct p9_server *server, const char *path, const char **name);
char *p9_join(const char *path, const char *name);

/* A fid for the scope: held.fid, or NULL if there is none of that number. */
struct p9_held {
	struct p9_server *server;
	struct p9_fid *fid;
};
static inline void p9_held_release(struct p9_held *held)
{
	p9_fid_put(held->server, held->fid);
}
#define P9_HELD(name, server_, number_)                                                            \
	__attribute__((cleanup(p9_held_release))) struct p9_held name = {                          \
		server_, p9_fid_get(server_, number_)}

/* ---- The host's files, as the guest sees them (p9_host.c). 0 or -errno ---- */

/* `fd` may be O_PATH. In mapped mode owner, mode and device come from extended attributes. */
int p9_stat(struct p9_server *server, int fd, struct stat *st);
struct p9_attributes {
	uint32_t mode, uid, gid, rdev;
};
/* What a new object gets: `name` in `parent` exists already. */
int p9_own(struct p9_server *server, int parent, const char *name,
	   const struct p9_attributes *attributes);
int p9_chmod(struct p9_server *server, int fd, uint32_t mode);
int p9_chown(struct p9_server *server, int fd, uint32_t uid, uint32_t gid);
int p9_mknod(struct p9_server *server, int parent, const char *name,
	     const struct p9_attributes *attributes);
int p9_symlink(struct p9_server *server, int parent, const char *name, const char *target,
	       const struct p9_attributes *attributes);
ssize_t p9_readlink(struct p9_server *server, int fd, char *target, size_t size);
/* Host mode for a new file or folder of this guest mode. */
mode_t p9_host_mode(const struct p9_server *server, uint32_t mode, bool folder);
bool p9_xattr_hidden(const struct p9_server *server, const char *name);
/* A name that reaches the object behind `fd`, also O_PATH, in calls that take only paths. */
struct p9_proc_path {
	char text[32];
};
struct p9_proc_path p9_proc(int fd);

/* ---- Requests. 0 or a positive errno for Rlerror ---- */

/* p9_ops.c: reading and writing. p9_tree.c: names. p9_attr.c: attributes. */
typedef int p9_op(struct p9_server *server, struct p9_in *in, struct p9_out *out);
p9_op p9_version, p9_attach, p9_walk, p9_clunk, p9_lopen, p9_read, p9_write, p9_readdir, p9_fsync;
p9_op p9_lcreate, p9_symlink_op, p9_mknod_op, p9_mkdir, p9_link, p9_rename, p9_renameat;
p9_op p9_unlinkat, p9_remove, p9_readlink_op;
p9_op p9_statfs, p9_getattr, p9_setattr, p9_xattrwalk, p9_xattrcreate, p9_lock, p9_getlock;
void p9_put_qid(struct p9_server *server, struct p9_out *out, const struct stat *st);
