/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a protocol, format or filter implements. Only for block/. */
#pragma once

#include "aio/loop.h"
#include "block/core/block.h"

#include <stdatomic.h>

struct block_driver {
	const char *name; /* "file", "host_device", "overlay" */
	/* Start the request; block_complete() follows. Already checked against size and rights. */
	void (*submit)(struct block_node *node, struct block_request *request);
	void (*plug)(struct block_node *node);   /* may be NULL */
	void (*unplug)(struct block_node *node); /* may be NULL */
	bool (*resize)(struct block_node *node, uint64_t size, GError **error); /* may be NULL */
	void (*close)(struct block_node *node); /* frees the object that embeds the node */
};

struct block_node {
	const struct block_driver *driver;
	char *node_name, *filename;
	const char *format_name;
	struct aio_loop *loop;
	_Atomic uint64_t size;
	bool readonly, writethrough, no_flush, discard, detect_zeroes;
	struct block_limits limits;
	_Atomic unsigned in_flight;
	unsigned plugged;
	struct block_stats stats; /* the loop's thread writes; readers may see a torn moment */
};

/* Fill what the options say; `size` and `limits` are the driver's to set. */
void block_node_init(struct block_node *node, const struct block_driver *driver,
		     const struct block_open_options *options, struct aio_loop *loop);
/* The driver's last word on a request: `result` is 0 or -errno. On the node's loop. */
void block_complete(struct block_request *request, int result);

/* block/proto/file.c: a regular file or a block device. */
struct block_node *block_file_open(const struct block_open_options *options, struct aio_loop *loop,
				   GError **error);
/* block/filter/overlay.c: writes to a temporary file over `base`, which it takes over. */
struct block_node *block_overlay_open(struct block_node *base,
				      const struct block_open_options *options, GError **error);
/* block/core/probe.c: the name of the image format that `head` begins like, or "raw". */
const char *block_probe_format(const uint8_t *head, size_t length);
