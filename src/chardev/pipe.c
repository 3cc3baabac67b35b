/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Named pipes that exist already: PATH.in and PATH.out, or one PATH for both directions. */
#include "base/error.h"
#include "base/fd.h"
#include "chardev/internal.h"

#include <errno.h>
#include <fcntl.h>

struct pipe_chardev {
	struct chardev chr;
	struct chardev_stream stream;
	int in, out;
};

/* O_RDWR never blocks and never sees an end of file when the other side closes. */
static int open_end(const char *path, const char *suffix)
{
	g_autofree char *name = g_strconcat(path, suffix, NULL);
	return open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

static struct chardev *pipe_create(const struct args *args, struct aio_loop *loop, GError **error)
{
	const char *path = args_required(args, "path", error);
	if (!path)
		return NULL;
	auto_fd in = open_end(path, ".in");
	auto_fd out = open_end(path, ".out");
	if (in < 0 || out < 0) {
		fd_clear(&in);
		fd_clear(&out);
		in = open_end(path, "");
		out = in < 0 ? -1 : dup(in);
	}
	if (in < 0 || out < 0) {
		error_set_errno(error, errno,
				"cannot open the pipe '%s' (make it with mkfifo %s.in %s.out)", path,
				path, path);
		return NULL;
	}
	struct pipe_chardev *pipe = g_new0(struct pipe_chardev, 1);
	chardev_init(&pipe->chr, &chardev_pipe, loop, g_strdup_printf("pipe:%s", path));
	chardev_stream_init(&pipe->stream, &pipe->chr, NULL);
	pipe->in = fd_steal(&in);
	pipe->out = fd_steal(&out);
	chardev_stream_open(&pipe->stream, pipe->in, pipe->out);
	return &pipe->chr;
}

static size_t pipe_write(struct chardev *chr, const void *data, size_t length)
{
	return chardev_stream_write(&((struct pipe_chardev *)chr)->stream, data, length);
}

static void pipe_update_input(struct chardev *chr)
{
	chardev_stream_update_input(&((struct pipe_chardev *)chr)->stream);
}

static void pipe_free(struct chardev *chr)
{
	struct pipe_chardev *pipe = (struct pipe_chardev *)chr;
	chardev_stream_destroy(&pipe->stream);
	close(pipe->in);
	close(pipe->out);
	g_free(pipe);
}

static const char *const pipe_options[] = {"path", NULL};

const struct chardev_ops chardev_pipe = {
	.type = "pipe",
	.options = pipe_options,
	.create = pipe_create,
	.write = pipe_write,
	.update_input = pipe_update_input,
	.free = pipe_free,
};
