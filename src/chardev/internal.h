/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kinds of byte streams share. Only for chardev/. */
#pragma once

#include "aio/loop.h"
#include "base/args.h"
#include "chardev/chardev.h"

#include <pthread.h>

struct chardev_ops {
	const char *type; /* -chardev TYPE */
	const char *help;
	const char *const *options; /* NULL-terminated, besides the common ones */
	/* Returns the embedding object's `struct chardev`, not yet with id and loop, or NULL. */
	struct chardev *(*create)(const struct args *args, struct aio_loop *loop, GError **error);
	size_t (*write)(struct chardev *chr, const void *data, size_t length); /* any thread */
	/* The user can take bytes again, or has come or gone: read on if so. Loop's thread. */
	void (*update_input)(struct chardev *chr);
	void (*free)(struct chardev *chr); /* with the object */
	/* chardev_send() and so on; all NULL: no socket. */
	bool (*send)(struct chardev *chr, const void *data, size_t length, const int *fds, unsigned count);
	bool (*wait)(struct chardev *chr, int timeout_ms);
	void (*hang_up)(struct chardev *chr);
};

extern const struct chardev_ops chardev_null, chardev_ringbuf, chardev_file, chardev_stdio,
	chardev_pty, chardev_pipe, chardev_socket;

struct chardev {
	const struct chardev_ops *ops;
	char *id, *description;
	struct aio_loop *loop;
	struct chardev_user user;
	bool attached;
	_Atomic bool open;
	int log_fd; /* logfile=, or -1 */
	int passed_fd; /* of the peer; or -1 */
};

/* Fill the base part. `description` is taken over. */
void chardev_init(struct chardev *chr, const struct chardev_ops *ops, struct aio_loop *loop,
		  char *description);
void chardev_describe_as(struct chardev *chr, char *description);
/* How much the user takes now: 0 without a user. Loop's thread. */
size_t chardev_wanted(struct chardev *chr);
void chardev_deliver(struct chardev *chr, const uint8_t *data, size_t length);
/* The peer has passed a descriptor, which is taken; -1 forgets the one before. Loop's thread. */
void chardev_keep_fd(struct chardev *chr, int fd);
/* Note that the peer came or went, and tell the user. Loop's thread. */
void chardev_set_open(struct chardev *chr, bool open);
/* There is room for output again. Loop's thread. */
void chardev_signal_writable(struct chardev *chr);

/* chardev/mux.c: share `base`, which it then owns, among several users with Ctrl-a commands. */
struct chardev *chardev_mux_new(struct chardev *base, const char *id);
bool chardev_mux_attach(struct chardev *chr, const struct chardev_user *user);
void chardev_mux_detach(struct chardev *chr, void *opaque);
extern const struct chardev_ops chardev_mux;

/*
 * A pair of non-blocking descriptors with flow control in both directions: the engine under stdio,
 * pty, pipe and socket. Not connected while `in` is -1.
 */
struct chardev_stream {
	struct chardev *chr;
	int in, out; /* may be the same */
	struct aio_watch *in_watch, *out_watch;
	bool output_outlives_input; /* end of file on `in` is no hang-up: stdin from /dev/null */
	bool is_socket;       /* send(2) without SIGPIPE, not write(2) */
	pthread_mutex_t lock; /* writers of `in`, `out`, `blocked`; readers off the loop */
	_Atomic bool blocked; /* a write was short: someone waits for room */
	_Atomic bool watch_posted;
	/* The peer is gone; the stream is closed already. May be NULL. */
	void (*hangup)(struct chardev_stream *stream);
};
void chardev_stream_init(struct chardev_stream *stream, struct chardev *chr,
			 void (*hangup)(struct chardev_stream *stream));
/* Start to move bytes. The descriptors stay the caller's to close. Loop's thread. */
void chardev_stream_open(struct chardev_stream *stream, int in, int out);
void chardev_stream_close(struct chardev_stream *stream);
/* Before the embedding object is freed. */
void chardev_stream_destroy(struct chardev_stream *stream);
/* Bytes to a stream that is not connected vanish, as on a serial line without a cable. */
size_t chardev_stream_write(struct chardev_stream *stream, const void *data, size_t length);
void chardev_stream_update_input(struct chardev_stream *stream);
/* Read once, if the user wants bytes. Loop's thread. */
void chardev_stream_input(struct chardev_stream *stream);
