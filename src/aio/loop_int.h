/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event loop's parts: life, posts and iterations (loop.c), timers (timer.c), watches (watch.c). Only
 * for src/aio.
 */
#pragma once

#include "aio/loop.h"

#include <pthread.h>
#include <stdatomic.h>

enum { LOOP_EVENTS_PER_WAIT = 64 };

struct aio_watch {
	struct aio_loop *loop;
	int fd;
	int polled_fd; /* what epoll knows: fd, or a duplicate if fd was already watched, or -1 */
	uint32_t events;
	bool registered; /* with epoll */
	bool always;     /* a regular file: epoll refuses it, and it is always ready */
	bool dead;
	aio_watch_fn *fn;
	void *opaque;
	struct aio_watch *prev, *next;
};

struct loop_post {
	void (*fn)(void *opaque);
	void *opaque;
};

struct aio_loop {
	int epoll_fd, wake_fd;
	_Atomic uint64_t owner; /* the pthread_t that holds the loop; 0: nobody */
	_Atomic bool quit;
	bool running;           /* in aio_loop_run() */
	unsigned depth;         /* of nested iterations */
	unsigned always_count;  /* live watches with `always` and interest */
	struct aio_watch *watches, *garbage;
	struct aio_deferred *deferred, **deferred_tail;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t returned;
	bool borrowed;        /* the holder is not the loop's thread */
	bool asleep;          /* the loop's thread waits, or is about to: tell it by wake_fd */
	bool lent;            /* asleep, in aio_loop_run() and not below a callback */
	bool woken;           /* wake_fd has been written since it was last drained */
	int64_t sleeps_until; /* while asleep: the deadline; INT64_MAX: none */
	struct loop_post *posts; /* ring of a power of two */
	unsigned post_head, post_count, post_capacity;
	struct aio_timer **heap; /* the earliest deadline at index 0 */
	unsigned heap_count, heap_capacity;
};

/* Make a sleeping loop look at its posts, timers and quit flag. Under loop->lock. */
void loop_wake_locked(struct aio_loop *loop);

/* timer.c */
void loop_timers_init(struct aio_loop *loop);
/* Timers that are still armed are so no longer. */
void loop_timers_free(struct aio_loop *loop);
/* Call what has expired. */
void loop_run_timers(struct aio_loop *loop);

/* watch.c */
void loop_free_watches(struct aio_watch *list);
/* Call the watch's owner with what of `ready` (epoll's) it wants to know. */
void loop_dispatch(struct aio_watch *watch, uint32_t ready);
/* The same for regular files, which epoll refuses: they are always ready. */
void loop_dispatch_always(struct aio_loop *loop);
bool loop_always_ready(const struct aio_loop *loop);
