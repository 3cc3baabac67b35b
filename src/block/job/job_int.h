/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kinds of jobs use of job.c. */
#pragma once

#include "block/core/driver.h"
#include "block/core/fiber.h"
#include "block/core/graph.h"
#include "block/job/job.h"

struct block_job;

struct block_job_kind {
	const char *name;
	size_t size;       /* of the struct that begins with struct block_job */
	bool can_complete; /* has a ready state */
	bool quiet;        /* no job on a guest's disk */
	/* On the job's fiber: the long part. False with job->error set, or cancelled. */
	bool (*run)(struct block_job *job);
	/*
	 * On the job's fiber and the main thread, after run(): make it good, or undo. `success` is
	 * false after an error or cancelling. False with job->error set turns success into failure.
	 */
	bool (*finish)(struct block_job *job, bool success);
	void (*free)(struct block_job *job); /* may be NULL */
};

struct block_job {
	const struct block_job_kind *kind;
	struct block_jobs *jobs;
	struct aio_loop *loop;
	char *id;
	enum block_job_status status;
	bool manual_finalize, manual_dismiss;
	bool user_paused, cancelled, complete_asked, stop_asked, finalize_asked, ended;
	bool ready; /* has been; stays true */
	enum block_on_error on_source_error, on_target_error;
	const char *io_status; /* "ok", "failed", "nospace" */
	uint64_t speed, offset, length;
	int64_t slice_ns; /* when the present slice of the speed limit began */
	uint64_t slice_bytes;
	GError *error;
	struct block_job_group *group; /* a reference, or NULL */
	GPtrArray *nodes; /* struct block_node: marked as busy, with a reference */
	struct fiber_queue changed; /* the job's fiber waits here when it has nothing to do */
};

struct block_jobs {
	struct block_graph *graph;
	struct block_jobs_owner owner;
	GPtrArray *list;
};

/* NULL with *error set: the id is taken or no id. The caller fills the rest, then starts it. */
struct block_job *block_job_new(struct block_jobs *jobs, const struct block_job_kind *kind,
				const struct block_job_options *options, GError **error);
/* Let the job have the node: an error if another job has it. */
bool block_job_claim_node(struct block_job *job, struct block_node *node, GError **error);
void block_job_start(struct block_job *job);
/* Undo block_job_new(): what failed before it was started. */
void block_job_discard(struct block_job *job);

/* --- on the job's fiber -------------------------------------------------------------------------------*/

/* Waits while the job is paused. False: it is cancelled, stop. */
bool block_job_check_point(struct block_job *job);
/* So much was copied: sleep if that is more than the speed allows. */
void block_job_account(struct block_job *job, uint64_t bytes);
/*
 * A read or write failed: what now? True: try again (the job may have been paused meanwhile).
 * False: give up, job->error is set. *skip (may be NULL): leave it out instead of trying again.
 */
bool block_job_failed_io(struct block_job *job, bool write, int result, bool *skip);
/* Everything is copied; BLOCK_JOB_READY. */
void block_job_set_ready(struct block_job *job);
void block_job_wake(struct block_job *job);
/* Let the loop run for a moment, or until block_job_wake(). */
void block_job_idle(struct block_job *job, int64_t ns);

/* A target that is written and has the source's size. */
bool block_job_check_target(const struct block_node *source, const struct block_node *target,
			    GError **error);

/* --- commit.c -----------------------------------------------------------------------------------------*/

/* Claim the chain from `top` down to `base`, and make base writable and as large as top. */
bool block_job_take_chain(struct block_job *job, struct block_node *top, struct block_node *base,
			  GError **error);

/* --- commit.c: what an image says of its backing file -------------------------------------------------*/

/* `backing_file` NULL: `base`'s own name; `base` NULL: none. The graph is held. */
bool block_job_rewrite_backing(struct block_node *overlay, struct block_node *base,
			       const char *backing_file, GError **error);
char *block_job_backing_name(const struct block_node *base);
