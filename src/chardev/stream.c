/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes between non-blocking descriptors and a chardev's user. Input is read only as fast as the
 * user takes it; a short write is followed by one writable callback.
 */
#include "base/lock.h"
#include "chardev/internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void chardev_stream_init(struct chardev_stream *stream, struct chardev *chr,
			 void (*hangup)(struct chardev_stream *stream))
{
	stream->chr = chr;
	stream->in = stream->out = -1;
	stream->hangup = hangup;
	pthread_mutex_init(&stream->lock, NULL);
}

static void output_ready(struct chardev_stream *stream);

static void fd_ready(void *opaque, int fd, uint32_t events)
{
	struct chardev_stream *stream = opaque;
	if (fd == stream->out && events & (POLLOUT | POLLERR | POLLHUP))
		output_ready(stream);
	if (fd == stream->in && events & (POLLIN | POLLERR | POLLHUP))
		chardev_stream_input(stream);
}

/* A watch with no events is removed: a descriptor that hung up would report that for ever. */
static void set_watch(struct chardev_stream *stream, struct aio_watch **watch, int fd,
		      uint32_t events)
{
	if (events && *watch) {
		aio_watch_modify(*watch, events);
	} else if (events) {
		*watch = aio_watch_add(stream->chr->loop, fd, events, fd_ready, stream);
	} else if (*watch) {
		aio_watch_remove(*watch);
		*watch = NULL;
	}
}

static void update_watches(struct chardev_stream *stream)
{
	uint32_t in = stream->in >= 0 && chardev_wanted(stream->chr) ? POLLIN : 0;
	uint32_t out = stream->out >= 0 && stream->blocked ? POLLOUT : 0;
	if (stream->in == stream->out) {
		set_watch(stream, &stream->in_watch, stream->in, in | out);
	} else {
		set_watch(stream, &stream->in_watch, stream->in, in);
		set_watch(stream, &stream->out_watch, stream->out, out);
	}
}

void chardev_stream_close(struct chardev_stream *stream)
{
	set_watch(stream, &stream->in_watch, -1, 0);
	set_watch(stream, &stream->out_watch, -1, 0);
	pthread_mutex_lock(&stream->lock);
	stream->in = stream->out = -1;
	bool waited = stream->blocked;
	stream->blocked = false;
	pthread_mutex_unlock(&stream->lock);
	chardev_keep_fd(stream->chr, -1);
	chardev_set_open(stream->chr, false);
	/* Whoever waits for room must not wait for a peer that is gone. */
	if (waited)
		chardev_signal_writable(stream->chr);
}

void chardev_stream_destroy(struct chardev_stream *stream)
{
	stream->hangup = NULL;
	stream->chr->attached = false;
	chardev_stream_close(stream);
	/* A posted request to watch for room still points here: let it run first. */
	while (stream->watch_posted)
		aio_loop_iterate(stream->chr->loop, 0);
	pthread_mutex_destroy(&stream->lock);
}

/* Of a socket: descriptors that come along are kept, the last of them. */
static ssize_t receive(struct chardev_stream *stream, void *buffer, size_t length)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {buffer, length};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t n = recvmsg(stream->in, &message, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
	int fd;
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
	    header->cmsg_len >= CMSG_LEN(sizeof(fd))) {
		memcpy(&fd, CMSG_DATA(header), sizeof(fd));
		chardev_keep_fd(stream->chr, fd);
	}
	return n;
}

void chardev_stream_input(struct chardev_stream *stream)
{
	uint8_t buffer[4096];
	size_t wanted = chardev_wanted(stream->chr);
	if (wanted == 0) {
		update_watches(stream);
		return;
	}
	size_t length = MIN(wanted, sizeof(buffer));
	ssize_t n = stream->is_socket ? receive(stream, buffer, length) : read(stream->in, buffer, length);
	if (n > 0) {
		chardev_deliver(stream->chr, buffer, n);
	} else if (n == 0 && stream->output_outlives_input) {
		set_watch(stream, &stream->in_watch, -1, 0);
		stream->in = -1;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		chardev_stream_close(stream);
		if (stream->hangup)
			stream->hangup(stream);
	}
}

static void output_ready(struct chardev_stream *stream)
{
	pthread_mutex_lock(&stream->lock);
	stream->blocked = false;
	pthread_mutex_unlock(&stream->lock);
	update_watches(stream);
	chardev_signal_writable(stream->chr);
}

void chardev_stream_update_input(struct chardev_stream *stream)
{
	update_watches(stream);
}

void chardev_stream_open(struct chardev_stream *stream, int in, int out)
{
	pthread_mutex_lock(&stream->lock);
	stream->in = in;
	stream->out = out;
	stream->blocked = false;
	pthread_mutex_unlock(&stream->lock);
	chardev_set_open(stream->chr, true);
	update_watches(stream);
}

static void watch_output(void *opaque)
{
	struct chardev_stream *stream = opaque;
	/* A writer that is blocked now is seen here, or sees that it must post again. */
	pthread_mutex_lock(&stream->lock);
	stream->watch_posted = false;
	pthread_mutex_unlock(&stream->lock);
	update_watches(stream);
}

/* `out` is full: have the writable callback called. */
static void note_blocked(struct chardev_stream *stream)
{
	stream->blocked = true;
	if (!stream->watch_posted) {
		stream->watch_posted = true;
		aio_loop_post(stream->chr->loop, watch_output, stream);
	}
}

size_t chardev_stream_write(struct chardev_stream *stream, const void *data, size_t length)
{
	LOCK_SCOPE(&stream->lock);
	size_t sent = 0;
	while (stream->out >= 0 && sent < length) {
		const char *p = (const char *)data + sent;
		ssize_t n = stream->is_socket ? send(stream->out, p, length - sent, MSG_NOSIGNAL)
					      : write(stream->out, p, length - sent);
		if (n > 0) {
			sent += n;
		} else if (n < 0 && errno == EAGAIN) {
			note_blocked(stream);
			return sent;
		} else if (n < 0 && errno != EINTR) {
			break; /* the input side will see the hang-up */
		}
	}
	return length;
}
