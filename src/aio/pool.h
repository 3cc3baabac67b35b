/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pool of threads for work that blocks (system calls without an asynchronous form, compression).
 * Threads start when work waits and end after some idle seconds, so an unused pool costs nothing.
 */
#pragma once

#include "aio/loop.h"

struct aio_pool;

/* One piece of work. Embed it in the owner, who keeps it alive until done() is called. */
struct aio_job {
	void (*work)(void *opaque); /* on a thread of the pool */
	void (*done)(void *opaque); /* then, on the thread of `loop`; may submit the job again */
	void *opaque;
	struct aio_loop *loop;
	struct aio_job *next; /* the pool's */
};

/* At most `threads` (>= 1) run at once. */
struct aio_pool *aio_pool_new(unsigned threads);
/* Waits for work that has begun or is queued. Each done() is still posted to its loop. */
void aio_pool_free(struct aio_pool *pool);
/* Any thread. Jobs begin in order of submission. */
void aio_pool_submit(struct aio_pool *pool, struct aio_job *job);
