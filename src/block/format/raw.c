/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * raw: the file's bytes are the disk's; optionally only a window of them (offset, size). If raw was
 * only guessed, a guest must not be able to turn its disk into an image that names other files of
 * the host when it is probed next time: such writes to the first sector are refused.
 */
#include "block/core/drivers.h"
#include "block/core/options.h"

#include "base/error.h"
#include "base/bytes.h"

#include <errno.h>
#include <string.h>

struct raw_node {
	struct block_node node;
	uint64_t offset;
	bool window; /* a size was given: the end does not move */
};

static bool raw_open(struct block_node *node, json_t *dict, GError **error)
{
	struct raw_node *raw = (struct raw_node *)node;
	uint64_t size = UINT64_MAX;
	node->file = block_open_child(node, dict, "file", NULL, error);
	if (!node->file || !block_take_size(dict, "offset", &raw->offset, error) ||
	    !block_take_size(dict, "size", &size, error))
		return false;
	raw->window = size != UINT64_MAX;
	uint64_t have = node->file->size;
	if (raw->offset > have || (raw->window && size > have - raw->offset))
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' has %" G_GUINT64_FORMAT " bytes: offset and size reach beyond "
				 "its end",
				 node->file->filename, have);
	node->size = raw->window ? size : have - raw->offset;
	node->limits = node->file->limits;
	return true;
}

static void raw_close(struct block_node *node)
{
}

static bool makes_magic(const struct block_request *request)
{
	uint8_t head[512] = {0};
	if (request->op != BLOCK_WRITE || request->offset >= sizeof(head))
		return false;
	block_iov_copy(request->iov, request->iov_count, 0, head + request->offset,
		       MIN(request->length, sizeof(head) - request->offset), true);
	return strcmp(block_probe(head, sizeof(head), ""), "raw") != 0;
}

static void raw_submit(struct block_node *node, struct block_request *request)
{
	struct raw_node *raw = (struct raw_node *)node;
	if (node->probed && makes_magic(request))
		block_complete(request, -EPERM);
	else
		block_forward(node->file, request, raw->offset);
}

static void raw_plug(struct block_node *node)
{
	block_plug(node->file);
}

static void raw_unplug(struct block_node *node)
{
	block_unplug(node->file);
}

static int raw_status(struct block_node *node, uint64_t offset, uint64_t length,
		      struct block_extent *extent)
{
	return block_status(node->file, offset + ((struct raw_node *)node)->offset, length, extent);
}

static bool raw_resize(struct block_node *node, uint64_t size, GError **error)
{
	struct raw_node *raw = (struct raw_node *)node;
	if (raw->window)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s' was opened with a fixed size and cannot be resized",
				 node->filename);
	if (!block_resize(node->file, raw->offset + size, error))
		return false;
	node->size = size;
	return true;
}

struct block_node *block_raw_window(struct block_node *node, uint64_t offset, GError **error)
{
	if (offset > node->size) {
		error_set(error, BERTH_ERR_INVALID, "'%s' has only %" G_GUINT64_FORMAT " bytes",
			  node->filename, node->size);
		return NULL;
	}
	struct block_node *window = block_filter_new(&block_raw_driver, node->graph, block_ref(node));
	((struct raw_node *)window)->offset = offset;
	window->size = node->size - offset;
	return window;
}

static bool raw_set_readonly(struct block_node *node, bool readonly, GError **error)
{
	return true; /* it has nothing of its own */
}

static bool raw_create(const struct block_create *create, GError **error)
{
	return block_create_in(create->graph, create->filename, "file", create->size, create->options,
			       create->loop, error) &&
	       (json_object_clear(create->options), true);
}

static bool raw_measure(struct block_node *source, uint64_t size, json_t *options,
			struct block_measure *measure, GError **error)
{
	/* It is about the file's length, whatever is a hole in it. */
	size = align_up(size, 512);
	*measure = (struct block_measure){.required = size, .fully_allocated = size};
	return true;
}

static const struct block_option raw_options[] = {
	{"nocow", "bool", "Turn off copy-on-write (valid only on btrfs)"},
	{"preallocation", "str", "Preallocation mode (allowed values: off, falloc, full)"},
	{"size", "size", "Virtual disk size"},
	{NULL},
};

struct block_node *block_raw_below(struct block_node *node, uint64_t *offset)
{
	while (node->driver == &block_raw_driver) {
		*offset += ((struct raw_node *)node)->offset;
		node = node->file;
	}
	return node;
}

const struct block_driver block_raw_driver = {
	.name = "raw",
	.kind = BLOCK_FORMAT,
	.moves = true,
	.node_size = sizeof(struct raw_node),
	.open = raw_open,
	.close = raw_close,
	.submit = raw_submit,
	.plug = raw_plug,
	.unplug = raw_unplug,
	.status = raw_status,
	.resize = raw_resize,
	.set_readonly = raw_set_readonly,
	.create_bare = true,
	.create = raw_create,
	.create_options = raw_options,
	.measure = raw_measure,
};
