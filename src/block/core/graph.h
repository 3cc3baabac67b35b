/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing a graph of nodes while a guest uses it.
 *
 * Who uses a disk (a device, an export, a job) does so through a root: a node of its own whose
 * child may be exchanged under it. Roots can be held: requests that have begun end, new ones wait
 * in the root. So a change is: hold, change, release, on the main thread or a fiber of its loop;
 * nobody else needs to know. What is below a root is one loop's business, and so is the root.
 */
#pragma once

#include "block/core/block.h"

/* A root over `child`, whose reference it takes. `graph` may be NULL: then it cannot be held. */
struct block_node *block_root_new(struct block_graph *graph, struct block_node *child);
bool block_is_root(const struct block_node *node);
/* What is below the root, or below any filter that shows its child's bytes. Borrowed. */
struct block_node *block_below_filters(struct block_node *node);

/* Limit what goes by this root, as a member of a group; without any limits: not any more. */
struct throttle_config;
struct throttle_group;
bool block_root_set_throttle(struct block_node *root, const char *group,
			     const struct throttle_config *config, GError **error);
const struct throttle_group *block_root_throttle(const struct block_node *root); /* NULL: none */

/* Nests. Waits until no request is under way below any root. */
void block_graph_hold(struct block_graph *graph);
void block_graph_release(struct block_graph *graph);

/*
 * Wherever `from` is a child, `to` is from now on; not in `to` itself, nor in `except` (or NULL).
 * Only while held. The references move along.
 */
void block_graph_replace(struct block_graph *graph, struct block_node *from, struct block_node *to,
			 const struct block_node *except);
/* Exchange one child; the old one loses a reference. Only while held. */
void block_set_backing(struct block_node *node, struct block_node *backing);
/* Is `node` at or below `top`? */
bool block_is_below(const struct block_node *top, const struct block_node *node);
/* The node that has `node` as its backing file, or NULL. */
struct block_node *block_graph_overlay_of(struct block_graph *graph, const struct block_node *node);
/* Sizes and limits of roots and filters, after something below them was resized. */
void block_graph_refresh(struct block_graph *graph);
struct aio_loop *block_graph_loop(const struct block_graph *graph);
