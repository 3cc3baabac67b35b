/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Swallows output, gives no input. */
#include "chardev/internal.h"

static struct chardev *null_create(const struct args *args, struct aio_loop *loop, GError **error)
{
	struct chardev *chr = g_new0(struct chardev, 1);
	chardev_init(chr, &chardev_null, loop, g_strdup("null"));
	chr->open = true;
	return chr;
}

static size_t null_write(struct chardev *chr, const void *data, size_t length)
{
	return length;
}

static void null_update_input(struct chardev *chr)
{
}

static void null_free(struct chardev *chr)
{
	g_free(chr);
}

const struct chardev_ops chardev_null = {
	.type = "null",
	.create = null_create,
	.write = null_write,
	.update_input = null_update_input,
	.free = null_free,
};
