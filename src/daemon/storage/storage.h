/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Storage pools and volumes.
 *
 * What is known of pools and volumes is in memory, and most queries are answered from there. All
 * that touches a disk is a job: a short look before, on the loop; the work, on a thread; and the
 * answer, on the loop again. Jobs that change a pool wait for each other in its queue. Long work on
 * one volume (copying, wiping, streams) only begins in its turn there, and goes on beside the
 * others; the pool cannot be stopped meanwhile. The threads are the room's own, so that a file
 * server that hangs holds up nothing but storage.
 */
#pragma once

#include "conf/storage.h"
#include "daemon/rpc/rpc.h"

#include <stdatomic.h>

/* libvirt's numbers. */
enum storage_state { STORAGE_INACTIVE = 0, STORAGE_RUNNING = 2 };
enum storage_event {
	STORAGE_DEFINED = 0, STORAGE_UNDEFINED = 1, STORAGE_STARTED = 2, STORAGE_STOPPED = 3,
	STORAGE_CREATED = 4, STORAGE_DELETED = 5,
};

struct storage {
	struct daemon *daemon;
	struct aio_pool *workers;
	GHashTable *by_uuid; /* text of 36 characters to struct storage_pool, of which it owns one reference */
	GHashTable *by_name;
	struct storage_watcher *watcher;
	_Atomic bool ending; /* long work is to give up */
};

struct storage_volume {
	struct conf_volume *conf;
	bool building;  /* being made: not yet to be used */
	unsigned users; /* jobs that read or write it */
	int64_t known_ns; /* when `conf` was learnt */
};

struct storage_pool {
	struct storage *all;
	unsigned references;
	uint8_t uuid[16];
	char uuid_text[37];
	char *name;
	char *first_path;             /* until it is defined or active for the first time */
	struct conf_pool *definition; /* NULL: transient */
	struct conf_pool *live;       /* while it is active */
	bool autostart;
	bool removed;                 /* gone from the tables */
	struct conf_pool_usage usage; /* while it is active, as are those below */
	struct conf_permissions permissions;
	GHashTable *volumes;          /* name to struct storage_volume, which it owns */
	GQueue queue;                 /* struct storage_job; the first has its turn */
	unsigned background;          /* jobs and streams that go on beside the queue */
	/* watch.c */
	int watch;                    /* of inotify; -1: none */
	GHashTable *changed;          /* names of files to look at */
	struct aio_timer rest;        /* until the next look */
	bool resting;
};

/* --- Pools (registry.c) --------------------------------------------------------------------- */

/* Loads definitions; pools that were active, or have autostart, are started. */
struct storage *storage_new(struct daemon *daemon, GError **error);
/* After the last client is gone. Work that is under way is given up. NULL is fine. */
void storage_free(struct storage *storage);
/* A new pool with `conf`'s name and UUID; it takes nothing of it. */
struct storage_pool *storage_pool_add(struct storage *storage, const struct conf_pool *conf);
void storage_pool_remove(struct storage_pool *pool);
struct storage_pool *storage_pool_ref(struct storage_pool *pool);
void storage_pool_unref(struct storage_pool *pool);
/* By the wire form; NULL with the call failed if there is none. */
struct storage_pool *storage_pool_find(struct rpc_call *call, const struct remote_storage_pool *wire);
struct storage_pool *storage_pool_by_uuid(struct storage *storage, const uint8_t uuid[16]);
struct storage_pool *storage_pool_by_name(struct storage *storage, const char *name);
const struct conf_pool *storage_pool_conf(const struct storage_pool *pool);
/* The wire form; its strings are the pool's and the volume's. */
struct remote_storage_pool storage_pool_wire(const struct storage_pool *pool);
struct remote_storage_vol storage_volume_wire(const struct storage_pool *pool,
					      const struct conf_volume *conf);
/* Fails in libvirt's words if it is not as wanted. */
bool storage_pool_check_active(const struct storage_pool *pool, GError **error);
bool storage_pool_check_idle(const struct storage_pool *pool, GError **error);
struct storage_volume *storage_volume_find(struct storage_pool *pool, const char *name,
					   GError **error);
/* Not being made any more. */
bool storage_volume_check_made(const struct storage_volume *volume, GError **error);
/* Neither being made nor in use. */
bool storage_volume_check_free(const struct storage_volume *volume, GError **error);
/*
 * Somebody is at work on the volume, or has learnt of it since the job began: what the job has seen
 * of it is not to be kept.
 */
struct storage_job;
bool storage_volume_is_newer(const struct storage_volume *volume, const struct storage_job *job);
/* Put `conf`, which is taken, in place of what is known of the volume, or make it known. */
void storage_volume_set(struct storage_pool *pool, struct conf_volume *conf);
void storage_emit(struct storage_pool *pool, enum storage_event event);
void storage_emit_refresh(struct storage_pool *pool);

/* --- Jobs (job.c) --------------------------------------------------------------------------- */

struct storage_job_ops {
	size_t size;
	bool queued;     /* waits for its turn in the pool's queue */
	bool background; /* queued only to begin */
	/* On the loop, in its turn: take what the work needs. May be NULL, as all below. */
	bool (*begin)(struct storage_job *job, GError **error);
	/* On a thread; it uses nothing of the pool but what begin() has copied. */
	bool (*work)(struct storage_job *job, GError **error);
	/* On the loop after work that succeeded: end job->call, if there is one. */
	void (*done)(struct storage_job *job);
	/* On the loop after work that failed: what begin() did is undone. */
	void (*undo)(struct storage_job *job);
	void (*clear)(struct storage_job *job);
};

/* Embedded first in the struct of each kind of job. */
struct storage_job {
	const struct storage_job_ops *ops;
	struct storage_pool *pool; /* a reference */
	struct rpc_call *call;     /* NULL: the daemon's own */
	int64_t began_ns;
	char *folder;              /* set by begin(): measure what is free there after the work */
	struct conf_pool_usage usage;
	GError *error;
	struct aio_job job;
};

/* A new job, zeroed but for these; it must be submitted. */
void *storage_job_new(struct storage_pool *pool, struct rpc_call *call,
		      const struct storage_job_ops *ops);
/* The job, the call, and the pool may be gone when this returns. */
void storage_submit(void *job);
/* Fail with an error of the storage family; `error` is taken, and may come from any layer. */
void storage_fail(struct rpc_call *call, GError *error);
/* What a parser of XML complains of, likewise. */
void storage_fail_xml(struct rpc_call *call, GError *error);

/* Start an inactive pool; build.c, used by registry.c. */
void storage_start(struct storage_pool *pool, struct rpc_call *call, bool build);
/* Fill in what is free in a folder. On a thread. */
bool storage_measure(const char *folder, struct conf_pool_usage *usage, GError **error);

/* --- Folders and images (scan.c, probe.c, make.c): on a thread ------------------------------- */

struct storage_scan {
	GPtrArray *volumes; /* struct conf_volume */
	struct conf_permissions permissions;
};
/* What is in the folder. A file that cannot be understood is a raw volume. */
bool storage_scan(const char *folder, struct storage_scan *scan, GError **error);
/* One file of it. NULL: it is no volume. */
struct conf_volume *storage_look_at(const char *folder, const char *name);
/* Make the folder, with the permissions that are asked for. */
bool storage_build(const struct conf_pool *conf, GError **error);

/* Nothing at `path` can be a volume: a pipe, a socket, or it has gone. */
enum storage_probe_result { STORAGE_PROBED, STORAGE_NO_VOLUME, STORAGE_PROBE_FAILED };
/*
 * Look at what is at `path`; the volume's fields are filled in. Of other files that an image names
 * only the backing file is looked at, and opened only if it is a regular file.
 */
enum storage_probe_result storage_probe(const char *path, struct conf_volume *volume, GError **error);
/* As storage_probe(), but a volume must be there. */
bool storage_look(const char *path, struct conf_volume *volume, GError **error);

struct storage_make {
	const struct conf_volume *wanted; /* with its path */
	const struct conf_volume *source; /* copy this one; or NULL */
	bool preallocate_metadata, reflink;
	const _Atomic bool *cancel;
};
/* Make a volume; nothing is left of it after a failure. */
bool storage_make(const struct storage_make *make, GError **error);
/* Fails if somebody, as a VM, may write to the image: changing it from below would destroy it. */
bool storage_check_unused(const char *path, GError **error);
bool storage_delete(const struct conf_volume *volume, GError **error);
bool storage_resize(const struct conf_volume *volume, uint64_t size, bool allocate, GError **error);
/* Nothing that was in the volume can be read from it any more. */
bool storage_wipe(const struct conf_volume *volume, const _Atomic bool *cancel, GError **error);
