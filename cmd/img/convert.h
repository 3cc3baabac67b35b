/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The copying machine of convert and of dd: several sources in a row into one target. */
#pragma once

#include "block/core/fiber.h"
#include "image.h"

enum {
	COPY_CHUNK = 2 << 20,    /* the largest cluster */
	COPY_CACHED = 512 << 10, /* as much for each worker that what was read is still in the CPU's cache */
};

struct copy {
	/* Set by the caller. */
	struct block_node **sources;
	unsigned source_count;
	struct block_node *target;
	unsigned workers;      /* chunks under way at once */
	uint64_t sparse;       /* zero runs this long are not stored; 0: store everything */
	uint64_t rate;         /* bytes per second, 0: unlimited */
	uint32_t cluster;      /* compress: the target's clusters */
	bool compressed, any_order, salvage;
	bool offload;          /* try to have the kernel copy; becomes false where it cannot */
	bool target_is_zero;   /* what is not written reads as zeroes */
	bool target_backing;   /* leave out what the source's backing image has */
	bool quiet;
	struct progress *progress;

	/* The machine's own. */
	uint64_t cursor, total, done;
	uint64_t next_write;   /* the offset whose turn to be written it is */
	struct fiber_queue turn;
	struct fiber_mutex cursor_lock;
	unsigned active;
	int64_t started_us;
	struct aio_pool *pool; /* for that; or NULL */
	char *failure; /* the first one, with its place */
};

/* False after a complaint. The loop is the target's and the sources'. */
bool copy_run(struct copy *copy, struct aio_loop *loop);
