/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of roots (block/core/graph.h), for the graph. Each is without effect on other nodes. */
#pragma once

#include "block/core/driver.h"

extern const struct block_driver block_root_driver;
/* New requests wait from now on. Nests. */
void block_root_hold(struct block_node *node);
/* Have some that had begun not ended yet? */
bool block_root_busy(const struct block_node *node);
void block_root_release(struct block_node *node);
/* How often the graph is held now: what a new root begins with. */
unsigned block_graph_held(const struct block_graph *graph);
