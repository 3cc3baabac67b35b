/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fibers: straight-line code over asynchronous requests.
 *
 * Image formats have long metadata paths: look up, read a table, allocate, copy, write, link. As
 * callbacks they are unreadable; on threads every step costs a wake-up (55 us) and needs locks. A
 * fiber is a call stack that can be set aside: code that waits for a child's request gives the
 * thread back to the event loop, and the completion continues it. Between two waits nothing else
 * of the node runs, so metadata in memory needs no lock; what must stay unchanged across a wait is
 * guarded by struct fiber_mutex. Switching costs some 10 ns. Stacks are recycled per thread, and
 * AddressSanitizer and ThreadSanitizer are told of every switch.
 *
 * A fiber runs where its node's loop is: on the loop's thread, or on one that has borrowed the loop
 * (aio/loop.h) and started or resumed it there. So it may go on on another thread after a wait, but
 * never runs on two, and whoever resumes it holds the loop. Pure computation that takes long (compression,
 * ciphers) goes to a thread pool with fiber_on_pool(), which gives parallelism where it pays.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct aio_loop;
struct aio_pool;
struct fiber;

typedef void fiber_fn(void *opaque);

/* Run fn(opaque) on a fiber of its own, at once, until it first waits or ends. */
void fiber_start(fiber_fn *fn, void *opaque);
/* The running fiber, or NULL on a plain stack. */
struct fiber *fiber_self(void);
/* Set the running fiber aside until fiber_resume(). */
void fiber_yield(void);
/* Continue a fiber that has yielded, at once and nested in the caller. Holds the same loop. */
void fiber_resume(struct fiber *fiber);
/* Let the loop go on and continue from its top: what is on the stack below has returned by then. */
void fiber_pause(struct aio_loop *loop);
/* Continue from the loop's top when `ns` nanoseconds have passed. */
void fiber_sleep(struct aio_loop *loop, int64_t ns);
/*
 * Run fn(opaque) to its end: directly if already on a fiber, else on a new one while `loop`
 * iterates. This is how a plain stack calls code that waits.
 */
void fiber_run(struct aio_loop *loop, fiber_fn *fn, void *opaque);
/* As fiber_run(), but always with a fresh stack: for recursion of unknown depth. */
void fiber_run_fresh(struct aio_loop *loop, fiber_fn *fn, void *opaque);
/* fn(opaque) on a thread of the pool; the calling fiber waits. */
void fiber_on_pool(struct aio_pool *pool, struct aio_loop *loop, fiber_fn *fn, void *opaque);

struct fiber_waiter;

/* Fibers that wait for something; first come, first served. Zero-initialised. */
struct fiber_queue {
	struct fiber_waiter *first, *last;
};
void fiber_queue_wait(struct fiber_queue *queue);
bool fiber_queue_wake_one(struct fiber_queue *queue);
void fiber_queue_wake_all(struct fiber_queue *queue);

/* A lock that may be held across waits. Zero-initialised; only for fibers of one loop. */
struct fiber_mutex {
	bool locked;
	struct fiber_queue waiters;
};
void fiber_lock(struct fiber_mutex *mutex);
void fiber_unlock(struct fiber_mutex *mutex);

static inline void fiber_mutex_release(struct fiber_mutex **mutex)
{
	fiber_unlock(*mutex);
}

static inline struct fiber_mutex *fiber_mutex_take(struct fiber_mutex *mutex)
{
	fiber_lock(mutex);
	return mutex;
}

/* Hold the mutex for the rest of the scope; once a scope. */
#define FIBER_LOCK_SCOPE(mutex)                                                                    \
	__attribute__((cleanup(fiber_mutex_release), unused)) struct fiber_mutex *fiber_lock_ =    \
		fiber_mutex_take(mutex)
