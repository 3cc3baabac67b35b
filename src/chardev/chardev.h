/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Byte streams: what a serial port, a virtio console port or a monitor is connected to (stdio, pty,
 * unix or TCP socket, file, pipe, null, ring buffer, and a mux that shares one among several).
 *
 * Threads: all callbacks come on the stream's loop. chardev_write() may come from any thread.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aio_loop;
struct chardev;

enum chardev_event {
	CHARDEV_OPENED,
	CHARDEV_CLOSED,
	CHARDEV_BREAK,
	CHARDEV_FOCUS, /* a mux now gives its input to this user */
};

/* The user's (device's) side. */
struct chardev_user {
	/* How many bytes it can take now; 0 stops reading until chardev_accept_input(). */
	size_t (*can_read)(void *opaque);
	void (*read)(void *opaque, const uint8_t *data, size_t length);
	void (*event)(void *opaque, enum chardev_event event); /* may be NULL */
	/* There is room again after a short chardev_write(). May be NULL. */
	void (*writable)(void *opaque);
	void *opaque;
};

/* `spec` is QEMU's: "stdio", "pty", "null", "unix:PATH,server=on,wait=off", "tcp:HOST:PORT,...",
 * "file:PATH", "mon:stdio", "pipe:PATH", "vc" (an error without a display). */
struct chardev *chardev_new_from_spec(const char *spec, const char *id, struct aio_loop *loop,
				      GError **error);
/* -chardev TYPE,id=..,k=v: `keys` and `values` are parallel, NULL-ended. */
struct chardev *chardev_new(const char *type, const char *id, const char *const *keys,
			    const char *const *values, struct aio_loop *loop, GError **error);
void chardev_free(struct chardev *chr);
const char *chardev_id(const struct chardev *chr);
/* What `info chardev` shows: "pty:/dev/pts/3". Borrowed. */
const char *chardev_describe(const struct chardev *chr);

/* One user at a time, several on a mux (each call adds one). */
bool chardev_attach(struct chardev *chr, const struct chardev_user *user, GError **error);
void chardev_detach(struct chardev *chr, void *opaque);
void chardev_accept_input(struct chardev *chr);
/* Returns how many bytes were taken, maybe fewer than `length` if the peer is slow. */
size_t chardev_write(struct chardev *chr, const void *data, size_t length);
bool chardev_is_open(const struct chardev *chr);
/*
 * The descriptor that the peer has passed with its bytes (unix(7), SCM_RIGHTS), which becomes the
 * caller's; -1: none. One is kept until the next comes, or the peer is gone. On the stream's loop.
 */
int chardev_take_fd(struct chardev *chr);
/*
 * For protocols between programs, on a socket; others fail. All on the stream's loop.
 * chardev_send() sends all of it, with descriptors that stay the caller's, or nothing: false if the
 * peer is gone or does not read. chardev_wait() waits until there is input, or until somebody connects,
 * at most `timeout_ms`, and hands it to the user; false if there was none. chardev_hang_up() ends the
 * connection as if the peer had.
 */
bool chardev_send(struct chardev *chr, const void *data, size_t length, const int *fds, unsigned count);
bool chardev_wait(struct chardev *chr, int timeout_ms);
void chardev_hang_up(struct chardev *chr);
#define CHARDEV_SEND_FDS 16
/*
 * From now on the log goes to a copy of `fd`. No byte is lost or written twice: each write() goes to the old
 * or to the new one, in their order. Any thread. Fails if there is no log.
 */
bool chardev_switch_log(struct chardev *chr, int fd, GError **error);
bool chardev_is_mux(const struct chardev *chr);

/* Ctrl-a x on a mux: what the program does then. The default is nothing. Main thread. */
void chardev_mux_set_quit(struct chardev *chr, void (*quit)(void *opaque), void *opaque);

/* The last bytes that a ring buffer kept, oldest first, which are then forgotten; NULL if `chr` is
 * no ring buffer. Free with g_bytes_unref(). */
GBytes *chardev_ringbuf_read(struct chardev *chr, size_t length);

/* Ended by a NULL name, for -chardev help. */
struct chardev_type {
	const char *name, *help;
};
const struct chardev_type *chardev_types(void);
