/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An event loop: one thread runs it, any thread may post to it. Watches and timers belong to the
 * loop's thread: add, change and remove them only there (or before the loop runs). Data paths
 * (disk completions, packets, consoles) and device timers live on such loops.
 *
 * While the loop's thread sleeps in aio_loop_run(), another thread may borrow the loop
 * (aio_loop_borrow()): until it returns it, it is "the loop's thread" to everything that lives
 * there, and the real one waits when it wakes up. So a vCPU can serve its own doorbell without two
 * threads having to wake each other. Callbacks of watches, timers and posts always run on the real
 * thread.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct aio_loop;
struct aio_watch;

struct aio_loop *aio_loop_new(GError **error);
/* The loop must not be running. Remaining watches are freed, their descriptors are not closed. */
void aio_loop_free(struct aio_loop *loop);

/* Run until aio_loop_quit(). The calling thread becomes the loop's thread. */
void aio_loop_run(struct aio_loop *loop);
/* Run one iteration: wait at most `timeout_ns` (-1: for ever) and dispatch what is ready. */
void aio_loop_iterate(struct aio_loop *loop, int64_t timeout_ns);
/* Any thread. */
void aio_loop_quit(struct aio_loop *loop);
/* Call fn(opaque) once on the loop's thread, in order of posting. Any thread. */
void aio_loop_post(struct aio_loop *loop, void (*fn)(void *opaque), void *opaque);
/* Like aio_loop_post(), but waits until fn has returned. Not from the loop's own thread. */
void aio_loop_call(struct aio_loop *loop, void (*fn)(void *opaque), void *opaque);
/* Is the caller the loop's thread, or has it borrowed the loop? */
bool aio_loop_is_current(const struct aio_loop *loop);

/*
 * Take the loop if its thread is asleep, for a short time: what runs now holds up everything else on
 * the loop, and may not iterate it or wait for its thread. False: the loop's thread is awake (or
 * somebody else was faster); it will soon look at its descriptors and posts. Any other thread.
 */
bool aio_loop_borrow(struct aio_loop *loop);
/* Runs what was deferred meanwhile. */
void aio_loop_return(struct aio_loop *loop);

/*
 * A call at the end of what the loop does now (an iteration, or a borrower's turn), however often it
 * is asked for until then. Embed the struct in the owner. On the loop's thread.
 */
struct aio_deferred {
	void (*fn)(void *opaque);
	void *opaque;
	struct aio_deferred *next;
	bool queued;
};
void aio_defer(struct aio_loop *loop, struct aio_deferred *deferred);
void aio_defer_cancel(struct aio_loop *loop, struct aio_deferred *deferred);

/* `events` and what the callback is given are poll(2)'s POLLIN, POLLOUT, POLLERR, POLLHUP. */
typedef void aio_watch_fn(void *opaque, int fd, uint32_t events);
struct aio_watch *aio_watch_add(struct aio_loop *loop, int fd, uint32_t events, aio_watch_fn *fn,
				void *opaque);
void aio_watch_modify(struct aio_watch *watch, uint32_t events);
/* Safe inside any callback of this loop; the watch's callback is not called again. */
void aio_watch_remove(struct aio_watch *watch);

/*
 * One-shot timers on CLOCK_MONOTONIC. Embed the struct in the owner. Arming and cancelling are
 * thread-safe; the callback runs on the loop's thread. aio_timer_cancel() from another thread does
 * not wait for a callback that has already begun.
 */
struct aio_timer {
	struct aio_loop *loop;
	void (*fn)(void *opaque);
	void *opaque;
	int64_t deadline_ns;
	int heap_index; /* -1: not armed */
};
void aio_timer_init(struct aio_timer *timer, struct aio_loop *loop, void (*fn)(void *opaque),
		    void *opaque);
void aio_timer_arm(struct aio_timer *timer, int64_t deadline_ns);
void aio_timer_cancel(struct aio_timer *timer);
/* On the loop's thread. */
static inline bool aio_timer_is_armed(const struct aio_timer *timer)
{
	return timer->heap_index >= 0;
}

/* CLOCK_MONOTONIC in nanoseconds. */
int64_t aio_now_ns(void);
