/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile qcow2 images: open, look, check, read, and write into a copy. The input is the file. The
 * seeds hold valid images and malformed ones: tables that overlap or point to themselves, sizes
 * that are out of bounds, clusters in use with refcount 0.
 */
#include "block/core/drivers.h"

#include "base/bytes.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Writes of the driver beyond this fail, as on a full disk. */
#define FILE_MAX_BYTES (2 << 20)
#define READ_MAX       (256 * 1024)

struct input {
	struct block_node node;
	uint8_t *bytes;
	size_t length;
};

static int transfer(struct input *in, const struct block_request *r)
{
	if (r->op == BLOCK_FLUSH || r->op == BLOCK_DISCARD)
		return 0;
	bool fits = range_fits(r->offset, r->length, FILE_MAX_BYTES);
	if (r->op == BLOCK_READ) {
		block_iov_zero(r->iov, r->iov_count, 0, r->length);
		if (r->offset < in->length)
			block_iov_copy(r->iov, r->iov_count, 0, in->bytes + r->offset,
				       MIN(r->length, in->length - r->offset), false);
		return 0;
	}
	if (!fits)
		return -ENOSPC;
	if (r->op == BLOCK_WRITE)
		block_iov_copy(r->iov, r->iov_count, 0, in->bytes + r->offset, r->length, true);
	else
		memset(in->bytes + r->offset, 0, r->length);
	in->length = MAX(in->length, r->offset + r->length);
	return 0;
}

static void input_submit(struct block_node *node, struct block_request *r)
{
	block_complete(r, transfer((struct input *)node, r));
}

static void input_close(struct block_node *node)
{
	g_free(((struct input *)node)->bytes);
}

static const struct block_driver input_driver = {.name = "file", .kind = BLOCK_PROTOCOL,
						 .submit = input_submit, .close = input_close};

static struct block_node *open_input(struct block_graph *graph, struct aio_loop *loop,
				     const uint8_t *data, size_t size)
{
	struct input *in = g_new0(struct input, 1);
	const struct block_open_options options = {.node_name = "input", .graph = graph,
						   .discard = true};
	block_node_init(&in->node, &input_driver, &options, loop);
	in->node.filename = g_strdup("input");
	in->bytes = g_malloc0(FILE_MAX_BYTES);
	in->length = MIN(size, FILE_MAX_BYTES);
	memcpy(in->bytes, data, in->length);
	in->node.size = align_up(in->length, 512);
	in->node.growable = true;
	block_graph_add(&in->node, NULL);
	return &in->node;
}

static void amend(struct block_node *node, const char *option, const char *value)
{
	json_t *options = json_pack("{s:s}", option, value);
	block_amend(node, options, false, NULL, NULL);
	json_decref(options);
}

static void exercise(struct block_node *node, bool write)
{
	uint64_t size = block_size(node), n = MIN(size, READ_MAX);
	g_autofree uint8_t *bytes = g_malloc0(READ_MAX);
	struct block_extent extent;
	struct block_check check = {0};
	json_decref(block_info(node, NULL));
	if (write) {
		check.fix = BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS;
		block_pwrite(node, 0, bytes, MIN(n, 10000));
		block_pwrite(node, size - n, bytes, MIN(n, 70000));
		block_io(node, BLOCK_DISCARD, 0, 0, n, NULL, 0);
		struct block_snapshot wish = {.name = (char *)"s"};
		block_snapshot_create(node, &wish, NULL);
		block_flush(node);
		amend(node, "refcount_bits", size % 3 ? "64" : "8");
		block_pwrite(node, 0, bytes, MIN(n, 10000));
		block_snapshot_apply(node, "s", NULL);
		amend(node, "compat", "0.10");
		block_snapshot_delete(node, "s", NULL);
	}
	block_check(node, &check, NULL);
	block_pread(node, 0, bytes, n);
	block_pread(node, size - n, bytes, n);
	for (uint64_t at = 0, step = 0; at < size && step < 64; at += extent.length, step++)
		if (block_status(node, at, size - at, &extent) < 0 || !extent.length)
			break;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	log_setup("fuzz", LOG_LEVEL_ERROR, stderr);
	for (unsigned write = 0; write < 2; write++) {
		struct aio_loop *loop = aio_loop_new(NULL);
		struct block_graph *graph = block_graph_new(loop);
		struct block_node *input = open_input(graph, loop, data, size);
		json_t *dict = json_pack("{s:s, s:s, s:n}", "driver", "qcow2", "file", "input", "backing");
		const struct block_open_options options = {.dict = dict, .graph = graph,
							   .readonly = !write, .discard = true,
							   .check_later = write,
							   .locked = true, .legacy_aes = true};
		struct block_node *node = block_open(&options, loop, NULL);
		if (node)
			exercise(node, write);
		block_close(node);
		block_close(input);
		block_graph_free(graph);
		json_decref(dict);
		aio_loop_free(loop);
	}
	return 0;
}
