/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A filter that writes to a second image too: what a mirror with copy-mode=write-blocking has over its
 * source. A write ends when both have it, so a mirror whose guest never rests gets ready all the same.
 */
#pragma once

#include "block/core/claims.h"
#include "block/core/dirty.h"
#include "block/core/driver.h"

/*
 * Over `child`, whose reference it takes. `target`, `dirty` (what the mirror has still to copy; it does
 * not record by itself) and `claims` are borrowed. Copies of the mirror hold an exclusive claim on whole granules of `dirty`, and
 * so does a write here. The target is no root: it must not be held while guests' writes wait for it.
 */
struct block_node *block_write_both_new(struct block_graph *graph, struct block_node *child,
					struct block_node *target, struct block_dirty *dirty,
					struct block_claims *claims);
