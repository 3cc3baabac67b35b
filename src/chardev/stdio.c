/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The terminal or pipe that the program was started on. A terminal is put into raw mode while the
 * stream exists, so that keys go to the guest one by one; Ctrl-C too, unless signal=on, once the
 * loop runs. Before, while the program waits for a client of another stream, say, it ends it.
 */
#include "base/error.h"
#include "chardev/internal.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

struct stdio_chardev {
	struct chardev chr;
	struct chardev_stream stream;
	bool is_terminal;
	struct termios saved;
	struct aio_timer quiet; /* at the loop's start: no signals from keys any more */
	int saved_flags[2]; /* of descriptors 0 and 1, which other programs may share */
};

static void set_raw(struct stdio_chardev *stdio, bool signals)
{
	struct termios raw = stdio->saved;
	raw.c_iflag &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	raw.c_oflag |= OPOST;
	raw.c_lflag &= ~(ECHO | ECHONL | ICANON | IEXTEN);
	if (!signals)
		raw.c_lflag &= ~ISIG;
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	tcsetattr(0, TCSANOW, &raw);
}

static void loop_runs(void *opaque)
{
	set_raw(opaque, false);
}

static struct chardev *stdio_create(const struct args *args, struct aio_loop *loop, GError **error)
{
	/* As in QEMU: Ctrl-C ends the program, except that -nographic and mux turn that off. */
	bool signals = args_string(args, "mux") == NULL;
	if (!args_bool(args, "signal", &signals, error))
		return NULL;
	struct stdio_chardev *stdio = g_new0(struct stdio_chardev, 1);
	chardev_init(&stdio->chr, &chardev_stdio, loop, g_strdup("stdio"));
	chardev_stream_init(&stdio->stream, &stdio->chr, NULL);
	stdio->stream.output_outlives_input = true;
	stdio->is_terminal = isatty(0) && tcgetattr(0, &stdio->saved) == 0;
	aio_timer_init(&stdio->quiet, loop, loop_runs, stdio);
	if (stdio->is_terminal) {
		set_raw(stdio, true);
		if (!signals)
			aio_timer_arm(&stdio->quiet, 0);
	}
	for (int fd = 0; fd < 2; fd++) {
		stdio->saved_flags[fd] = fcntl(fd, F_GETFL);
		fcntl(fd, F_SETFL, stdio->saved_flags[fd] | O_NONBLOCK);
	}
	chardev_stream_open(&stdio->stream, 0, 1);
	return &stdio->chr;
}

static size_t stdio_write(struct chardev *chr, const void *data, size_t length)
{
	return chardev_stream_write(&((struct stdio_chardev *)chr)->stream, data, length);
}

static void stdio_update_input(struct chardev *chr)
{
	chardev_stream_update_input(&((struct stdio_chardev *)chr)->stream);
}

static void stdio_free(struct chardev *chr)
{
	struct stdio_chardev *stdio = (struct stdio_chardev *)chr;
	chardev_stream_destroy(&stdio->stream);
	aio_timer_cancel(&stdio->quiet);
	for (int fd = 0; fd < 2; fd++)
		fcntl(fd, F_SETFL, stdio->saved_flags[fd]);
	if (stdio->is_terminal)
		tcsetattr(0, TCSANOW, &stdio->saved);
	g_free(stdio);
}

static const char *const stdio_options[] = {"signal", NULL};

const struct chardev_ops chardev_stdio = {
	.type = "stdio",
	.options = stdio_options,
	.create = stdio_create,
	.write = stdio_write,
	.update_input = stdio_update_input,
	.free = stdio_free,
};
