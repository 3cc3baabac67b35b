/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A filter that keeps a moment: before a guest's write changes bytes that are wanted as they are
 * now, they are copied to a target. A backup is this filter and a job that copies the rest.
 */
#pragma once

#include "block/core/dirty.h"
#include "block/core/driver.h"

/*
 * Over `child`, whose reference it takes. `target` is borrowed, `todo` too: a bit for each cluster
 * that is still to be copied. The target is no root: guests' writes wait for what is written to it,
 * so it must not be held.
 */
struct block_node *block_snapshot_filter_new(struct block_graph *graph, struct block_node *child,
					     struct block_node *target, struct block_dirty *todo,
					     bool compress);
/*
 * On a fiber: copy what of [offset, offset + length) is still to be copied, whole clusters. 0 or
 * -errno; then it is still to be copied.
 */
int block_snapshot_copy(struct block_node *filter, uint64_t offset, uint64_t length);
/*
 * The first copy for the sake of a guest's write that failed: 0 or -errno. Guests are not made to
 * wait or fail for it: the moment is lost, and writes are let through from then on.
 */
int block_snapshot_failed(const struct block_node *filter);
uint64_t block_snapshot_copied(const struct block_node *filter);
