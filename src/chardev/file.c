/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Output to a file. */
#include "base/error.h"
#include "base/log.h"
#include "chardev/internal.h"

#include <errno.h>
#include <fcntl.h>

struct file_chardev {
	struct chardev chr;
	int out;
	_Atomic bool failed; /* reported once: the disk may stay full for long */
};

static struct chardev *file_create(const struct args *args, struct aio_loop *loop, GError **error)
{
	bool append = false;
	const char *path = args_required(args, "path", error);
	if (!path || !args_bool(args, "append", &append, error))
		return NULL;
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0666);
	if (fd < 0) {
		error_set_errno(error, errno, "cannot write '%s'", path);
		return NULL;
	}
	struct file_chardev *file = g_new0(struct file_chardev, 1);
	chardev_init(&file->chr, &chardev_file, loop, g_strdup_printf("file:%s", path));
	file->out = fd;
	file->chr.open = true;
	return &file->chr;
}

static size_t file_write(struct chardev *chr, const void *data, size_t length)
{
	struct file_chardev *file = (struct file_chardev *)chr;
	size_t done = 0;
	while (done < length) {
		ssize_t n = write(file->out, (const char *)data + done, length - done);
		if (n > 0) {
			done += n;
		} else if (n < 0 && errno != EINTR) {
			if (!file->failed)
				log_warning("%s: %s: output is lost", chr->description, g_strerror(errno));
			file->failed = true;
			break; /* a console must not stop the guest because a disk is full */
		}
	}
	return length;
}

static void file_update_input(struct chardev *chr)
{
}

static void file_free(struct chardev *chr)
{
	struct file_chardev *file = (struct file_chardev *)chr;
	close(file->out);
	g_free(file);
}

static const char *const file_options[] = {"path", "append", NULL};

const struct chardev_ops chardev_file = {
	.type = "file",
	.options = file_options,
	.create = file_create,
	.write = file_write,
	.update_input = file_update_input,
	.free = file_free,
};
