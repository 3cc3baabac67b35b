/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event loop: epoll for descriptors, a binary heap for timers, a ring of posted calls behind an
 * eventfd.
 *
 * Watches belong to whoever holds the loop and need no lock. Who holds it, timers and posts are
 * under loop->lock, which is never held across a callback. Iterations may nest (a callback may wait
 * for something by iterating its own loop); a removed watch is therefore freed only by the
 * outermost iteration of the loop's own thread, so that neither a stack frame nor what epoll has
 * already reported is left with a dangling pointer.
 */
#include "aio/loop.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

enum { EVENTS_PER_WAIT = 64, POSTS_INITIAL = 32, HEAP_INITIAL = 16 };

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

struct post {
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
	struct post *posts;   /* ring of a power of two */
	unsigned post_head, post_count, post_capacity;
	struct aio_timer **heap; /* the earliest deadline at index 0 */
	unsigned heap_count, heap_capacity;
};

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
	loop->posts = g_new(struct post, loop->post_capacity);
	loop->heap_capacity = HEAP_INITIAL;
	loop->heap = g_new(struct aio_timer *, loop->heap_capacity);
	return loop;
}

static void free_watches(struct aio_watch *list)
{
	while (list) {
		struct aio_watch *watch = list;
		list = watch->next;
		if (watch->polled_fd >= 0 && watch->polled_fd != watch->fd)
			close(watch->polled_fd);
		g_free(watch);
	}
}

void aio_loop_free(struct aio_loop *loop)
{
	if (!loop)
		return;
	g_assert(loop->depth == 0);
	for (unsigned i = 0; i < loop->heap_count; i++)
		loop->heap[i]->heap_index = -1;
	free_watches(loop->watches);
	free_watches(loop->garbage);
	close(loop->epoll_fd);
	close(loop->wake_fd);
	pthread_cond_destroy(&loop->returned);
	pthread_mutex_destroy(&loop->lock);
	g_free(loop->posts);
	g_free(loop->heap);
	g_free(loop);
}

bool aio_loop_is_current(const struct aio_loop *loop)
{
	return atomic_load_explicit(&loop->owner, memory_order_relaxed) ==
	       (uint64_t)pthread_self();
}

/* Make a sleeping loop look at its posts, timers and quit flag. Under loop->lock. */
static void wake_locked(struct aio_loop *loop)
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
	wake_locked(loop);
}

/* --- Posts ---------------------------------------------------------------------------------- */

void aio_loop_post(struct aio_loop *loop, void (*fn)(void *opaque), void *opaque)
{
	LOCK_SCOPE(&loop->lock);
	if (loop->post_count == loop->post_capacity) {
		unsigned grown = loop->post_capacity * 2;
		struct post *posts = g_new(struct post, grown);
		for (unsigned i = 0; i < loop->post_count; i++)
			posts[i] = loop->posts[(loop->post_head + i) & (loop->post_capacity - 1)];
		g_free(loop->posts);
		loop->posts = posts;
		loop->post_capacity = grown;
		loop->post_head = 0;
	}
	unsigned tail = (loop->post_head + loop->post_count++) & (loop->post_capacity - 1);
	loop->posts[tail] = (struct post){fn, opaque};
	wake_locked(loop);
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

static bool take_post(struct aio_loop *loop, struct post *post)
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
	struct post post;
	/* One at a time, since a call that nests an iteration must let later posts run in it. */
	while (budget-- && take_post(loop, &post))
		post.fn(post.opaque);
}

/* --- Timers --------------------------------------------------------------------------------- */

static void heap_put(struct aio_loop *loop, unsigned i, struct aio_timer *timer)
{
	loop->heap[i] = timer;
	timer->heap_index = i;
}

static void heap_up(struct aio_loop *loop, unsigned i, struct aio_timer *timer)
{
	while (i && loop->heap[(i - 1) / 2]->deadline_ns > timer->deadline_ns) {
		heap_put(loop, i, loop->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(loop, i, timer);
}

static void heap_down(struct aio_loop *loop, unsigned i, struct aio_timer *timer)
{
	for (;;) {
		unsigned child = 2 * i + 1;
		if (child + 1 < loop->heap_count &&
		    loop->heap[child + 1]->deadline_ns < loop->heap[child]->deadline_ns)
			child++;
		if (child >= loop->heap_count ||
		    loop->heap[child]->deadline_ns >= timer->deadline_ns)
			break;
		heap_put(loop, i, loop->heap[child]);
		i = child;
	}
	heap_put(loop, i, timer);
}

static void heap_remove(struct aio_loop *loop, struct aio_timer *timer)
{
	unsigned i = timer->heap_index;
	timer->heap_index = -1;
	struct aio_timer *last = loop->heap[--loop->heap_count];
	if (last == timer)
		return;
	if (i && loop->heap[(i - 1) / 2]->deadline_ns > last->deadline_ns)
		heap_up(loop, i, last);
	else
		heap_down(loop, i, last);
}

void aio_timer_init(struct aio_timer *timer, struct aio_loop *loop, void (*fn)(void *opaque),
		    void *opaque)
{
	*timer = (struct aio_timer){.loop = loop, .fn = fn, .opaque = opaque, .heap_index = -1};
}

void aio_timer_arm(struct aio_timer *timer, int64_t deadline_ns)
{
	struct aio_loop *loop = timer->loop;
	LOCK_SCOPE(&loop->lock);
	if (timer->heap_index >= 0)
		heap_remove(loop, timer);
	if (loop->heap_count == loop->heap_capacity) {
		loop->heap_capacity *= 2;
		loop->heap = g_renew(struct aio_timer *, loop->heap, loop->heap_capacity);
	}
	timer->deadline_ns = deadline_ns;
	heap_up(loop, loop->heap_count++, timer);
	if (deadline_ns < loop->sleeps_until)
		wake_locked(loop);
}

void aio_timer_cancel(struct aio_timer *timer)
{
	if (!timer->loop)
		return;
	LOCK_SCOPE(&timer->loop->lock);
	if (timer->heap_index >= 0)
		heap_remove(timer->loop, timer);
}

static bool take_expired(struct aio_loop *loop, int64_t now, struct post *post)
{
	LOCK_SCOPE(&loop->lock);
	if (!loop->heap_count || loop->heap[0]->deadline_ns > now)
		return false;
	struct aio_timer *timer = loop->heap[0];
	heap_remove(loop, timer);
	*post = (struct post){timer->fn, timer->opaque};
	return true;
}

static void run_timers(struct aio_loop *loop)
{
	int64_t now = aio_now_ns();
	struct post post;
	/* A timer that re-arms itself for a time already gone must not starve descriptors. */
	for (unsigned budget = 1000; budget && take_expired(loop, now, &post); budget--)
		post.fn(post.opaque);
}

/* --- Watches -------------------------------------------------------------------------------- */

/* Tell epoll of the watch's interest. A watch with no interest is not registered at all. */
static void watch_apply(struct aio_watch *watch)
{
	struct aio_loop *loop = watch->loop;
	struct epoll_event event = {.events = watch->events, .data.ptr = watch};
	if (watch->always)
		return;
	if (!watch->events) {
		if (watch->registered)
			epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->polled_fd, NULL);
		watch->registered = false;
		return;
	}
	int op = watch->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	int r = epoll_ctl(loop->epoll_fd, op, watch->polled_fd, &event);
	if (r < 0 && errno == EEXIST) {
		/* Two watches of one descriptor: epoll tells them apart by a duplicate. */
		watch->polled_fd = fcntl(watch->fd, F_DUPFD_CLOEXEC, 3);
		g_assert(watch->polled_fd >= 0);
		r = epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->polled_fd, &event);
	}
	if (r < 0 && errno == EPERM) {
		watch->always = true;
		loop->always_count++;
		return;
	}
	g_assert(r == 0); /* a bad descriptor is a bug of the caller */
	watch->registered = true;
}

struct aio_watch *aio_watch_add(struct aio_loop *loop, int fd, uint32_t events, aio_watch_fn *fn,
				void *opaque)
{
	struct aio_watch *watch = g_new0(struct aio_watch, 1);
	*watch = (struct aio_watch){.loop = loop, .fd = fd, .polled_fd = fd, .events = events,
				    .fn = fn, .opaque = opaque, .next = loop->watches};
	if (loop->watches)
		loop->watches->prev = watch;
	loop->watches = watch;
	watch_apply(watch);
	return watch;
}

void aio_watch_modify(struct aio_watch *watch, uint32_t events)
{
	if (watch->events == events)
		return;
	watch->events = events;
	watch_apply(watch);
}

/* Is no iteration of the loop's thread under way that could still look at a removed watch? */
static bool may_free(struct aio_loop *loop)
{
	LOCK_SCOPE(&loop->lock);
	return loop->depth == 0 && !loop->borrowed;
}

void aio_watch_remove(struct aio_watch *watch)
{
	if (!watch)
		return;
	struct aio_loop *loop = watch->loop;
	g_assert(!watch->dead);
	/* May fail with EBADF if the owner closed it first; then the kernel has forgotten it. */
	if (watch->registered)
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->polled_fd, NULL);
	if (watch->always)
		loop->always_count--;
	if (watch->prev)
		watch->prev->next = watch->next;
	else
		loop->watches = watch->next;
	if (watch->next)
		watch->next->prev = watch->prev;
	watch->dead = true;
	watch->next = loop->garbage;
	loop->garbage = watch;
	if (may_free(loop))
		free_watches(g_steal_pointer(&loop->garbage));
}

static void dispatch(struct aio_watch *watch, uint32_t ready)
{
	ready &= watch->events | EPOLLERR | EPOLLHUP;
	if (!watch->dead && watch->events && ready)
		watch->fn(watch->opaque, watch->fd, ready);
}

/* Regular files. A callback may remove any watch, so the walk restarts from what is still live. */
static void dispatch_always(struct aio_loop *loop)
{
	struct aio_watch *ready[EVENTS_PER_WAIT];
	unsigned count = 0;
	for (struct aio_watch *w = loop->watches; w && count < EVENTS_PER_WAIT; w = w->next)
		if (w->always && w->events)
			ready[count++] = w;
	for (unsigned i = 0; i < count; i++)
		dispatch(ready[i], ready[i]->events & (POLLIN | POLLOUT));
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
		wake_locked(loop);
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

static bool always_ready(const struct aio_loop *loop)
{
	for (struct aio_watch *w = loop->always_count ? loop->watches : NULL; w; w = w->next)
		if (w->always && w->events)
			return true;
	return false;
}

/*
 * How long to sleep, given the caller's limit: nanoseconds, or -1 for ever. From here on others are
 * told to wake this thread, and may borrow the loop if this is no nested iteration.
 */
static int64_t fall_asleep(struct aio_loop *loop, int64_t limit)
{
	bool busy = loop->deferred || always_ready(loop);
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
		return epoll_wait(loop->epoll_fd, events, EVENTS_PER_WAIT, 0);
	struct timespec t = {timeout_ns / 1000000000, timeout_ns % 1000000000};
	struct timespec *limit = timeout_ns < 0 ? NULL : &t;
	int n = epoll_pwait2(loop->epoll_fd, events, EVENTS_PER_WAIT, limit, NULL);
	if (n >= 0 || (errno != ENOSYS && errno != EPERM))
		return n;
	struct pollfd pfd = {.fd = loop->epoll_fd, .events = POLLIN};
	if (ppoll(&pfd, 1, limit, NULL) <= 0)
		return 0;
	return epoll_wait(loop->epoll_fd, events, EVENTS_PER_WAIT, 0);
}

void aio_loop_iterate(struct aio_loop *loop, int64_t timeout_ns)
{
	struct epoll_event events[EVENTS_PER_WAIT];
	loop->depth++;
	run_deferred(loop); /* of a caller that is in no iteration, or begins one of its own */
	int n = wait_events(loop, events, fall_asleep(loop, timeout_ns));
	hold(loop);
	for (int i = 0; i < n; i++)
		if (events[i].data.ptr)
			dispatch(events[i].data.ptr, events[i].events);
	if (loop->always_count)
		dispatch_always(loop);
	run_timers(loop);
	run_posts(loop);
	run_deferred(loop);
	if (--loop->depth == 0)
		free_watches(g_steal_pointer(&loop->garbage));
}

void aio_loop_run(struct aio_loop *loop)
{
	loop->running = true;
	while (!atomic_exchange(&loop->quit, false))
		aio_loop_iterate(loop, -1);
	loop->running = false;
}
