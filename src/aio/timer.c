/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An event loop's timers: a binary heap under the loop's lock. */
#include "aio/loop_int.h"

#include "base/lock.h"

#define HEAP_INITIAL 16

void loop_timers_init(struct aio_loop *loop)
{
	loop->heap_capacity = HEAP_INITIAL;
	loop->heap = g_new(struct aio_timer *, loop->heap_capacity);
}

void loop_timers_free(struct aio_loop *loop)
{
	for (unsigned i = 0; i < loop->heap_count; i++)
		loop->heap[i]->heap_index = -1;
	g_free(loop->heap);
}

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
		loop_wake_locked(loop);
}

void aio_timer_cancel(struct aio_timer *timer)
{
	if (!timer->loop)
		return;
	LOCK_SCOPE(&timer->loop->lock);
	if (timer->heap_index >= 0)
		heap_remove(timer->loop, timer);
}

static bool take_expired(struct aio_loop *loop, int64_t now, struct loop_post *post)
{
	LOCK_SCOPE(&loop->lock);
	if (!loop->heap_count || loop->heap[0]->deadline_ns > now)
		return false;
	struct aio_timer *timer = loop->heap[0];
	heap_remove(loop, timer);
	*post = (struct loop_post){timer->fn, timer->opaque};
	return true;
}

void loop_run_timers(struct aio_loop *loop)
{
	int64_t now = aio_now_ns();
	struct loop_post post;
	/* A timer that re-arms itself for a time already gone must not starve descriptors. */
	for (unsigned budget = 1000; budget && take_expired(loop, now, &post); budget--)
		post.fn(post.opaque);
}
