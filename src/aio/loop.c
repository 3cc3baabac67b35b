/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event loop: epoll for descriptors (watch.c), a binary heap for timers (timer.c), a ring of posted
 * calls behind an eventfd.
 *
 * Watches belong to whoever holds the loop and need no lock. Who holds it, timers and posts are
 * under loop->lock, which is never held across a callback. Iterations may nest (a callback may wait
 * for something by iterating its own loop); a removed watch is therefore freed only by the
 * outermost iteration of the loop's own thread, so that neither a stack frame nor what epoll has
 * already reported is left with a dangling pointer.
 */
#include "aio/loop_int.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/lock.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

enum { POSTS_INITIAL = 32 };

int64_t aio_now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* --- Life ----------------------------------------------------------------------------------- */

struct aio_loop *aio_loop_new(GError **error)
{
	auto_fd epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0) {
		error_set_errno(error, errno, "cannot create an event loop (epoll)");
		return NULL;
	}
	auto_fd wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake_fd < 0) {
		error_set_errno(error, errno, "cannot create an event loop (eventfd)");
		return NULL;
	}
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, wake_fd, &event) < 0) {
		error_set_errno(error, errno, "cannot create an event loop (epoll_ctl)");
		return NULL;
	}
	struct aio_loop *loop = g_new0(struct aio_loop, 1);
	loop->epoll_fd = fd_steal(&epoll_fd);
	loop->wake_fd = fd_steal(&wake_fd);
	loop->owner = (uint64_t)pthread_self();
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->returned, NULL);
	loop->deferred_tail = &loop->deferred;
	loop->post_capacity = POSTS_INITIAL;
	loop->posts = g_new(struct loop_post, loop->post_capacity);
	loop_timers_init(loop);
	return loop;
}

void aio_loop_free(struct aio_loop *loop)
{
	if (!loop)
		return;
	g_assert(loop->depth == 0);
	loop_timers_free(loop);
	loop_free_watches(loop->watches);
	loop_free_watches(loop->garbage);
	close(loop->epoll_fd);
	close(loop->wake_fd);
	pthread_cond_destroy(&loop->returned);
	pthread_mutex_destroy(&loop->lock);
	g_free(loop->posts);
	g_free(loop);
}

bool aio_loop_is_current(const struct aio_loop *loop)
{
	return atomic_load_explicit(&loop->owner, memory_order_relaxed) ==
	       (uint64_t)pthread_self();
}

void loop_wake_locked(struct aio_loop *loop)
{
	/* Awake it looks at all that by itself before it sleeps. */
	if (loop->woken || !loop->asleep)
		return;
	loop->woken = true;
	uint64_t one = 1;
	/* Cannot fail: the counter is far from its limit and the descriptor is ours. */
	ssize_t n = write(loop->wake_fd, &one, sizeof(one));
	g_assert(n == sizeof(one));
}

void aio_loop_quit(struct aio_loop *loop)
{
	atomic_store(&loop->quit, true);
	LOCK_SCOPE(&loop->lock);
	loop_wake_locked(loop);
}

/* --- Posts ---------------------------------------------------------------------------------- */

void aio_loop_post(struct aio_loop *loop, void (*fn)(void *opaque), void *opaque)
{
	LOCK_SCOPE(&loop->lock);
	if (loop->post_count == loop->post_capacity) {
		unsigned grown = loop->post_capacity * 2;
		struct loop_post *posts = g_new(struct loop_post, grown);
		for (unsigned i = 0; i < loop->post_count; i++)
			posts[i] = loop->posts[(loop->post_head + i) & (loop->post_capacity - 1)];
		g_free(loop->posts);
		loop->posts = posts;
		loop->post_capacity = grown;
		loop->post_head = 0;
	}
	unsigned tail = (loop->post_head + loop->post_count++) & (loop->post_capacity - 1);
	loop->posts[tail] = (struct loop_post){fn, opaque};
	loop_wake_locked(loop);
}

struct call {
	void (*fn)(void *opaque);
	void *opaque;
	pthread_mutex_t lock;
	pthread_cond_t done_changed;
	bool done;
};

static void call_run(void *opaque)
{
	struct call *call = opaque;
	call->fn(call->opaque);
	LOCK_SCOPE(&call->lock);
	call->done = true;
	pthread_cond_signal(&call->done_changed);
}

void aio_loop_call(struct aio_loop *loop, void (*fn)(void *opaque), void *opaque)
{
	g_assert(!aio_loop_is_current(loop));
	struct call call = {.fn = fn, .opaque = opaque};
	pthread_mutex_init(&call.lock, NULL);
	pthread_cond_init(&call.done_changed, NULL);
	aio_loop_post(loop, call_run, &call);
	pthread_mutex_lock(&call.lock);
	while (!call.done)
		pthread_cond_wait(&call.done_changed, &call.lock);
	pthread_mutex_unlock(&call.lock);
	pthread_cond_destroy(&call.done_changed);
	pthread_mutex_destroy(&call.lock);
}

static bool take_post(struct aio_loop *loop, struct loop_post *post)
{
	LOCK_SCOPE(&loop->lock);
	if (!loop->post_count)
		return false;
	*post = loop->posts[loop->post_head];
	loop->post_head = (loop->post_head + 1) & (loop->post_capacity - 1);
	loop->post_count--;
	return true;
}

/* Runs what is posted now; what these calls post waits for the next iteration. */
static void run_posts(struct aio_loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	unsigned budget = loop->post_count;
	pthread_mutex_unlock(&loop->lock);
	struct loop_post post;
	/* One at a time, since a call that nests an iteration must let later posts run in it. */
	while (budget-- && take_post(loop, &post))
		post.fn(post.opaque);
}

/* --- Deferred calls ------------------------------------------------------------------------- */

void aio_defer(struct aio_loop *loop, struct aio_deferred *deferred)
{
	if (deferred->queued)
		return;
	deferred->queued = true;
	deferred->next = NULL;
	*loop->deferred_tail = deferred;
	loop->deferred_tail = &deferred->next;
}

void aio_defer_cancel(struct aio_loop *loop, struct aio_deferred *deferred)
{
	struct aio_deferred **at = &loop->deferred;
	if (!deferred->queued)
		return;
	while (*at != deferred)
		at = &(*at)->next;
	*at = deferred->next;
	if (!*at)
		loop->deferred_tail = at;
	deferred->queued = false;
}

/* What these calls defer waits for the next time. */
static void run_deferred(struct aio_loop *loop)
{
	struct aio_deferred *last = NULL;
	for (struct aio_deferred *d = loop->deferred; d; d = d->next)
		last = d;
	while (last && loop->deferred) {
		struct aio_deferred *d = loop->deferred;
		loop->deferred = d->next;
		if (!loop->deferred)
			loop->deferred_tail = &loop->deferred;
		d->queued = false;
		if (d == last)
			last = NULL;
		d->fn(d->opaque);
	}
}

/* --- Borrowing ------------------------------------------------------------------------------ */

bool aio_loop_borrow(struct aio_loop *loop)
{
	LOCK_SCOPE(&loop->lock);
	if (!loop->lent || loop->woken || loop->borrowed)
		return false;
	loop->borrowed = true;
	atomic_store_explicit(&loop->owner, (uint64_t)pthread_self(), memory_order_relaxed);
	return true;
}

void aio_loop_return(struct aio_loop *loop)
{
	run_deferred(loop);
	LOCK_SCOPE(&loop->lock);
	g_assert(loop->borrowed);
	loop->borrowed = false;
	atomic_store_explicit(&loop->owner, 0, memory_order_relaxed);
	if (loop->deferred || loop->always_count)
		loop_wake_locked(loop);
	pthread_cond_signal(&loop->returned);
}

/* The loop's thread takes the loop after sleeping. */
static void hold(struct aio_loop *loop)
{
	LOCK_SCOPE(&loop->lock);
	while (loop->borrowed)
		pthread_cond_wait(&loop->returned, &loop->lock);
	loop->asleep = loop->lent = false;
	loop->sleeps_until = INT64_MIN;
	atomic_store_explicit(&loop->owner, (uint64_t)pthread_self(), memory_order_relaxed);
	if (!loop->woken)
		return;
	uint64_t count;
	loop->woken = false;
	ssize_t n = read(loop->wake_fd, &count, sizeof(count));
	g_assert(n == sizeof(count));
}

/* --- Iterations ----------------------------------------------------------------------------- */

/*
 * How long to sleep, given the caller's limit: nanoseconds, or -1 for ever. From here on others are
 * told to wake this thread, and may borrow the loop if this is no nested iteration.
 */
static int64_t fall_asleep(struct aio_loop *loop, int64_t limit)
{
	bool busy = loop->deferred || loop_always_ready(loop);
	bool outermost = loop->running && loop->depth == 1;
	LOCK_SCOPE(&loop->lock);
	g_assert(!loop->borrowed); /* who has borrowed a loop may not wait for its events */
	if (limit == 0 || busy || loop->post_count || (outermost && atomic_load(&loop->quit)))
		return 0;
	int64_t now = aio_now_ns();
	if (loop->heap_count) {
		int64_t left = MAX(loop->heap[0]->deadline_ns - now, 0);
		if (limit < 0 || left < limit)
			limit = left;
	}
	if (limit == 0)
		return 0;
	loop->sleeps_until = limit < 0 ? INT64_MAX : now + limit;
	loop->asleep = true;
	loop->lent = outermost;
	if (outermost)
		atomic_store_explicit(&loop->owner, 0, memory_order_relaxed);
	return limit;
}

/* epoll_wait() with nanoseconds; by ppoll() on kernels older than 5.11. */
static int wait_events(struct aio_loop *loop, struct epoll_event *events, int64_t timeout_ns)
{
	if (timeout_ns == 0)
		return epoll_wait(loop->epoll_fd, events, LOOP_EVENTS_PER_WAIT, 0);
	struct timespec t = {timeout_ns / 1000000000, timeout_ns % 1000000000};
	struct timespec *limit = timeout_ns < 0 ? NULL : &t;
	int n = epoll_pwait2(loop->epoll_fd, events, LOOP_EVENTS_PER_WAIT, limit, NULL);
	if (n >= 0 || (errno != ENOSYS && errno != EPERM))
		return n;
	struct pollfd pfd = {.fd = loop->epoll_fd, .events = POLLIN};
	if (ppoll(&pfd, 1, limit, NULL) <= 0)
		return 0;
	return epoll_wait(loop->epoll_fd, events, LOOP_EVENTS_PER_WAIT, 0);
}

void aio_loop_iterate(struct aio_loop *loop, int64_t timeout_ns)
{
	struct epoll_event events[LOOP_EVENTS_PER_WAIT];
	loop->depth++;
	run_deferred(loop); /* of a caller that is in no iteration, or begins one of its own */
	int n = wait_events(loop, events, fall_asleep(loop, timeout_ns));
	hold(loop);
	for (int i = 0; i < n; i++)
		if (events[i].data.ptr)
			loop_dispatch(events[i].data.ptr, events[i].events);
	if (loop->always_count)
		loop_dispatch_always(loop);
	loop_run_timers(loop);
	run_posts(loop);
	run_deferred(loop);
	if (--loop->depth == 0)
		loop_free_watches(g_steal_pointer(&loop->garbage));
}

void aio_loop_run(struct aio_loop *loop)
{
	loop->running = true;
	while (!atomic_exchange(&loop->quit, false))
		aio_loop_iterate(loop, -1);
	loop->running = false;
}
