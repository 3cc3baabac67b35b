/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block jobs: long work on images that are in use. This is the part that all have: states, pausing,
 * speed, cancelling, errors; the kinds are in files beside it, their constructors below.
 *
 * States are QMP's JobStatus: created - running (paused) - [ready (standby)] - waiting - pending -
 * concluded - null, with aborting on the way to concluded after a failure. Everything happens on
 * the graph's loop: a job's code on a fiber of its own.
 */
#pragma once

#include "block/core/block.h"

#include <jansson.h>

struct block_dirty;
struct block_driver;
struct block_job;
struct block_jobs;

enum block_job_status {
	JOB_CREATED, JOB_RUNNING, JOB_PAUSED, JOB_READY, JOB_STANDBY, JOB_WAITING, JOB_PENDING,
	JOB_ABORTING, JOB_CONCLUDED, JOB_NULL,
};
enum block_job_event {
	JOB_EVENT_STATUS, JOB_EVENT_READY, JOB_EVENT_PENDING, JOB_EVENT_COMPLETED,
	JOB_EVENT_CANCELLED, JOB_EVENT_ERROR,
};
/* What to do when an image cannot be read or written. */
enum block_on_error { ON_ERROR_REPORT, ON_ERROR_IGNORE, ON_ERROR_ENOSPC, ON_ERROR_STOP, ON_ERROR_AUTO };
extern const char *const block_on_error_names[];

struct block_jobs_owner {
	/* `operation` ("read", "write") and `action` are for JOB_EVENT_ERROR. */
	void (*event)(void *opaque, const struct block_job *job, enum block_job_event event,
		      const char *operation, const char *action);
	void *opaque;
};

/* The jobs of one graph. */
struct block_jobs *block_jobs_new(struct block_graph *graph, const struct block_jobs_owner *owner);
/* Cancels all and waits. Main thread. */
void block_jobs_free(struct block_jobs *jobs);
/* Of struct block_job, oldest first. Borrowed. */
const GPtrArray *block_jobs_list(const struct block_jobs *jobs);
struct block_job *block_jobs_find(const struct block_jobs *jobs, const char *id);

/* What every constructor takes. */
struct block_job_options {
	const char *id; /* must be new */
	uint64_t speed; /* bytes a second; 0: no limit */
	bool manual_finalize, manual_dismiss;
	enum block_on_error on_source_error, on_target_error;
	struct block_job_group *group; /* borrowed, or NULL: on its own */
};

/*
 * Jobs that succeed together or not at all: each waits for the others before it is finalized, and one
 * that fails or is cancelled cancels the rest. The first reference is the caller's.
 */
struct block_job_group *block_job_group_new(void);
void block_job_group_unref(struct block_job_group *group);

enum block_sync { SYNC_FULL, SYNC_TOP, SYNC_NONE, SYNC_INCREMENTAL, SYNC_BITMAP };
extern const char *const block_sync_names[];

/*
 * Constructors: false with *error set. Nodes are borrowed; the job has references of its own. The
 * job runs by itself once this returns; its first step is atomic with the constructor if the graph
 * is held by the caller, as transactions do.
 */
struct block_mirror_options {
	struct block_job_options job;
	struct block_node *source, *target;
	enum block_sync sync;
	const char *replaces;      /* name of the node whose place the target takes; NULL: the source's */
	bool target_is_zero;       /* new images need no zeroes written */
	uint32_t granularity;      /* 0: 64 KiB */
	bool unmap;
	bool write_blocking;       /* a guest's write ends when it is in the target too */
};
bool block_mirror_start(struct block_jobs *jobs, const struct block_mirror_options *options,
			GError **error);

struct block_commit_options {
	struct block_job_options job;
	struct block_node *top, *base; /* images of one chain */
	const char *backing_file;      /* what the image above `top` is to say; NULL: base's name */
};
/* If nothing is above `top` this is a mirror into `base` that ends with block_job_complete(). */
bool block_commit_start(struct block_jobs *jobs, const struct block_commit_options *options,
			GError **error);

struct block_stream_options {
	struct block_job_options job;
	struct block_node *node, *base; /* base: NULL for none */
	const char *backing_file;
};
bool block_stream_start(struct block_jobs *jobs, const struct block_stream_options *options,
			GError **error);

enum block_bitmap_mode { BITMAP_ON_SUCCESS, BITMAP_NEVER, BITMAP_ALWAYS };
struct block_backup_options {
	struct block_job_options job;
	struct block_node *source, *target;
	enum block_sync sync;
	struct block_dirty *bitmap;
	enum block_bitmap_mode bitmap_mode;
	bool compress;
};
bool block_backup_start(struct block_jobs *jobs, const struct block_backup_options *options,
			GError **error);

/* Make an image, or amend one. `options` as for -o; they are copied. */
struct block_image_options {
	struct block_job_options job;
	struct block_node *node;   /* create: the file that becomes one, or NULL; amend: the image */
	const struct block_driver *driver; /* create */
	const char *filename;      /* create, without a node */
	uint64_t size;             /* create */
	const json_t *options;
	bool force;                /* amend: even if it may lose the last key */
};
bool block_create_start(struct block_jobs *jobs, const struct block_image_options *options,
			GError **error);
bool block_amend_start(struct block_jobs *jobs, const struct block_image_options *options,
		       GError **error);

/* --- looking ------------------------------------------------------------------------------------------*/

const char *block_job_id(const struct block_job *job);
const char *block_job_type(const struct block_job *job); /* "mirror"... */
const char *block_job_status_name(const struct block_job *job);
/* One that block-job commands and BLOCK_JOB events know nothing of: create, amend. */
bool block_job_is_quiet(const struct block_job *job);
json_t *block_job_info(const struct block_job *job);       /* JobInfo */
json_t *block_job_block_info(const struct block_job *job); /* BlockJobInfo */
/* The data of BLOCK_JOB_READY, COMPLETED and CANCELLED. */
json_t *block_job_event_data(const struct block_job *job);

/* --- steering: each may be refused in the job's state -------------------------------------------------*/

bool block_job_pause(struct block_job *job, GError **error);
bool block_job_resume(struct block_job *job, GError **error);
bool block_job_set_speed(struct block_job *job, uint64_t speed, GError **error);
/* `force`: also give up a mirror that is ready (else that ends it well, without the switch). */
bool block_job_cancel(struct block_job *job, bool force, GError **error);
/* Cancel and wait until it is gone, whatever state it is in. Main thread; the graph may be held. */
void block_job_cancel_now(struct block_job *job);
bool block_job_complete(struct block_job *job, GError **error);
bool block_job_finalize(struct block_job *job, GError **error);
bool block_job_dismiss(struct block_job *job, GError **error);
