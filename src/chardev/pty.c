/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A pseudo-terminal whose other end a program like screen or minicom opens. The kernel does not
 * tell the master when the slave is opened, so a closed one is looked at once a second.
 */
#include "base/error.h"
#include "base/fd.h"
#include "chardev/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <termios.h>

#define PTY_LOOK_NS 500000000

struct pty_chardev {
	struct chardev chr;
	struct chardev_stream stream;
	struct aio_timer look;
	int master;
};

static void look_later(struct pty_chardev *pty)
{
	aio_timer_arm(&pty->look, aio_now_ns() + PTY_LOOK_NS);
}

static void look(void *opaque)
{
	struct pty_chardev *pty = opaque;
	struct pollfd p = {pty->master, POLLIN, 0};
	if (poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP))
		chardev_stream_open(&pty->stream, pty->master, pty->master);
	else
		look_later(pty);
}

static void pty_hangup(struct chardev_stream *stream)
{
	look_later((struct pty_chardev *)stream->chr);
}

static struct chardev *pty_create(const struct args *args, struct aio_loop *loop, GError **error)
{
	char name[64];
	auto_fd slave = -1;
	auto_fd master = -1;
	if (openpty(&master, &slave, name, NULL, NULL) < 0) {
		error_set_errno(error, errno, "cannot make a pseudo-terminal");
		return NULL;
	}
	struct termios raw;
	tcgetattr(slave, &raw);
	cfmakeraw(&raw);
	tcsetattr(slave, TCSAFLUSH, &raw);
	fcntl(master, F_SETFL, fcntl(master, F_GETFL) | O_NONBLOCK);
	fcntl(master, F_SETFD, FD_CLOEXEC);

	struct pty_chardev *pty = g_new0(struct pty_chardev, 1);
	chardev_init(&pty->chr, &chardev_pty, loop, g_strdup_printf("pty:%s", name));
	chardev_stream_init(&pty->stream, &pty->chr, pty_hangup);
	aio_timer_init(&pty->look, loop, look, pty);
	pty->master = fd_steal(&master);
	look_later(pty);
	return &pty->chr;
}

static size_t pty_write(struct chardev *chr, const void *data, size_t length)
{
	return chardev_stream_write(&((struct pty_chardev *)chr)->stream, data, length);
}

static void pty_update_input(struct chardev *chr)
{
	chardev_stream_update_input(&((struct pty_chardev *)chr)->stream);
}

static void pty_free(struct chardev *chr)
{
	struct pty_chardev *pty = (struct pty_chardev *)chr;
	aio_timer_cancel(&pty->look);
	chardev_stream_destroy(&pty->stream);
	close(pty->master);
	g_free(pty);
}

const struct chardev_ops chardev_pty = {
	.type = "pty",
	.create = pty_create,
	.write = pty_write,
	.update_input = pty_update_input,
	.free = pty_free,
};
