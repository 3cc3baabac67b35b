/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk on a loop of its own. All nodes of a graph belong to its loop, except that a root and all that is
 * below it may be lent to another loop while nobody else has any of it. Who wants to look at the graph or change
 * it brings them back first, so that jobs, exports, holding and closing know of one loop only.
 */
#pragma once

#include "block/core/block.h"

/*
 * May another loop serve `root`? Not if a driver below is tied to its loop, limits or a threshold are set, the
 * graph is held, or somebody has a node below it who is not below it himself. Of other roots `unused` tells
 * whether that does not count, as nobody uses them. Requests may be in flight. On the graph's loop.
 */
bool block_can_move(struct block_node *root, bool (*unused)(void *opaque, const struct block_node *root),
		    void *opaque, GError **error);
