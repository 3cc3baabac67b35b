/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long requests took: counts of them in intervals of time. One set for each node that wants it. */
#pragma once

#include "block/core/block.h"

enum block_histogram_kind { BLOCK_HISTOGRAM_READ, BLOCK_HISTOGRAM_WRITE, BLOCK_HISTOGRAM_FLUSH,
			    BLOCK_HISTOGRAMS };

struct block_histogram {
	unsigned count;       /* of boundaries; there is one bin more */
	uint64_t *boundaries; /* nanoseconds, rising */
	uint64_t *bins;
};

enum { BLOCK_HISTOGRAM_BOUNDARIES_MAX = 1024 };

/* `count` 0: none from now on. The boundaries are copied; false: they do not rise. */
bool block_histogram_set(struct block_node *node, enum block_histogram_kind kind,
			 const uint64_t *boundaries, unsigned count);
/* NULL: none. Borrowed. */
const struct block_histogram *block_histogram_get(const struct block_node *node,
						  enum block_histogram_kind kind);

/* For the core. */
void block_histogram_add(struct block_node *node, enum block_op op, uint64_t ns);
void block_histograms_free(struct block_node *node);
