/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A filter through which the image below can be filled from its backing files while it is in use:
 * block jobs put it over a node, and -blockdev driver=copy-on-read does for good.
 */
#pragma once

#include "block/core/driver.h"

/* Over `child`, whose reference it takes. Copies nothing on its own account. */
struct block_node *block_copy_up_new(struct block_graph *graph, struct block_node *child);
/*
 * On a fiber: copy what of [offset, offset + length) the image has only from backing files above
 * `base` (NULL: from any). Guest writes to it wait. 0 or -errno; *copied counts bytes.
 */
int block_copy_up(struct block_node *filter, struct block_node *base, uint64_t offset,
		  uint64_t length, uint64_t *copied);
