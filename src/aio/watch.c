/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An event loop's descriptors, by epoll. */
#include "aio/loop_int.h"

#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

void loop_free_watches(struct aio_watch *list)
{
	while (list) {
		struct aio_watch *watch = list;
		list = watch->next;
		if (watch->polled_fd >= 0 && watch->polled_fd != watch->fd)
			close(watch->polled_fd);
		g_free(watch);
	}
}

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
		loop_free_watches(g_steal_pointer(&loop->garbage));
}

void loop_dispatch(struct aio_watch *watch, uint32_t ready)
{
	ready &= watch->events | EPOLLERR | EPOLLHUP;
	if (!watch->dead && watch->events && ready)
		watch->fn(watch->opaque, watch->fd, ready);
}

/* Regular files. A callback may remove any watch, so the walk restarts from what is still live. */
void loop_dispatch_always(struct aio_loop *loop)
{
	struct aio_watch *ready[LOOP_EVENTS_PER_WAIT];
	unsigned count = 0;
	for (struct aio_watch *w = loop->watches; w && count < LOOP_EVENTS_PER_WAIT; w = w->next)
		if (w->always && w->events)
			ready[count++] = w;
	for (unsigned i = 0; i < count; i++)
		loop_dispatch(ready[i], ready[i]->events & (POLLIN | POLLOUT));
}

bool loop_always_ready(const struct aio_loop *loop)
{
	for (struct aio_watch *w = loop->always_count ? loop->watches : NULL; w; w = w->next)
		if (w->always && w->events)
			return true;
	return false;
}
