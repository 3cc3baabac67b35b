/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keeps the last bytes written, for `ringbuf-read` and for tests. */
#include "base/lock.h"
#include "base/units.h"
#include "base/error.h"
#include "chardev/internal.h"

struct ringbuf {
	struct chardev chr;
	pthread_mutex_t lock; /* what follows */
	uint8_t *bytes;
	uint64_t size, start, used;
};

static struct chardev *ringbuf_create(const struct args *args, struct aio_loop *loop, GError **error)
{
	uint64_t size = 64 * KIB;
	const char *text = args_string(args, "size");
	if (text && !units_parse_size(text, 1, &size, error))
		return NULL;
	if (size < 1 || size > 64 * MIB || size & (size - 1)) {
		error_set(error, BERTH_ERR_INVALID,
			  "%s, size=: must be a power of two, at most 64M", args->what);
		return NULL;
	}
	struct ringbuf *ring = g_new0(struct ringbuf, 1);
	chardev_init(&ring->chr, &chardev_ringbuf, loop, g_strdup("ringbuf"));
	ring->chr.open = true;
	ring->bytes = g_malloc(size);
	ring->size = size;
	pthread_mutex_init(&ring->lock, NULL);
	return &ring->chr;
}

static size_t ringbuf_write(struct chardev *chr, const void *data, size_t length)
{
	struct ringbuf *ring = (struct ringbuf *)chr;
	LOCK_SCOPE(&ring->lock);
	for (size_t i = 0; i < length; i++) {
		ring->bytes[(ring->start + ring->used) & (ring->size - 1)] = ((const uint8_t *)data)[i];
		if (ring->used < ring->size)
			ring->used++;
		else
			ring->start++;
	}
	return length;
}

GBytes *chardev_ringbuf_read(struct chardev *chr, size_t length)
{
	if (chr->ops != &chardev_ringbuf)
		return NULL;
	struct ringbuf *ring = (struct ringbuf *)chr;
	LOCK_SCOPE(&ring->lock);
	length = MIN(length, ring->used);
	uint8_t *copy = g_malloc(length ? length : 1);
	for (size_t i = 0; i < length; i++)
		copy[i] = ring->bytes[(ring->start + i) & (ring->size - 1)];
	ring->start += length;
	ring->used -= length;
	return g_bytes_new_take(copy, length);
}

static void ringbuf_update_input(struct chardev *chr)
{
}

static void ringbuf_free(struct chardev *chr)
{
	struct ringbuf *ring = (struct ringbuf *)chr;
	pthread_mutex_destroy(&ring->lock);
	g_free(ring->bytes);
	g_free(ring);
}

static const char *const ringbuf_options[] = {"size", NULL};

const struct chardev_ops chardev_ringbuf = {
	.type = "ringbuf",
	.options = ringbuf_options,
	.create = ringbuf_create,
	.write = ringbuf_write,
	.update_input = ringbuf_update_input,
	.free = ringbuf_free,
};
