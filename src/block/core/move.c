/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nodes that change their loop: see block/core/move.h. */
#include "block/core/move.h"

#include "base/error.h"
#include "block/core/driver.h"
#include "block/core/graph.h"
#include "block/core/root.h"

static const char *name_of(const struct block_node *node)
{
	return node->node_name ? node->node_name : node->filename ? node->filename : "without a name";
}

static bool has_child(struct block_node *parent, const struct block_node *child)
{
	struct block_node **place;
	for (unsigned c = 0; (place = block_child_place(parent, c)); c++) {
		if (*place == child)
			return true;
	}
	return false;
}

struct check {
	struct block_node *root;
	bool (*unused)(void *opaque, const struct block_node *root);
	void *opaque;
};

static bool is_shared(const struct check *check, const struct block_node *node, GError **error)
{
	const GPtrArray *all = block_graph_all(node->graph);
	for (unsigned i = 0; i < all->len; i++) {
		struct block_node *parent = all->pdata[i];
		if (!has_child(parent, node) || block_is_below(check->root, parent) ||
		    (block_is_root(parent) && check->unused(check->opaque, parent)))
			continue;
		error_set(error, BERTH_ERR_BUSY, "the block node '%s' is not used by this disk alone", name_of(node));
		return true;
	}
	return false;
}

static bool can_move(const struct check *check, struct block_node *node, GError **error)
{
	if (!node->driver->moves)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "the block node '%s' of driver '%s' can be served by the main loop only",
				 name_of(node), node->driver->name);
	if ((block_is_root(node) && block_root_throttle(node)) || node->write_threshold || node->job)
		return error_set(error, BERTH_ERR_BUSY,
				 "the block node '%s' has limits, a write threshold or a job", name_of(node));
	if (node != check->root && is_shared(check, node, error))
		return false;
	struct block_node **place;
	for (unsigned c = 0; (place = block_child_place(node, c)); c++) {
		if (*place && !can_move(check, *place, error))
			return false;
	}
	return true;
}

bool block_can_move(struct block_node *root, bool (*unused)(void *opaque, const struct block_node *root),
		    void *opaque, GError **error)
{
	const struct check check = {root, unused, opaque};
	if (!root->graph || block_graph_held(root->graph))
		return error_set(error, BERTH_ERR_BUSY, "the graph of '%s' is being changed", name_of(root));
	return can_move(&check, root, error);
}

bool block_is_idle(struct block_node *node)
{
	struct block_node **place;
	if (node->in_flight || node->plugged)
		return false;
	for (unsigned c = 0; (place = block_child_place(node, c)); c++) {
		if (*place && !block_is_idle(*place))
			return false;
	}
	return true;
}

void block_leave_loop(struct block_node *node)
{
	struct block_node **place;
	g_assert(!node->in_flight && !node->plugged);
	if (node->driver->leave_loop)
		node->driver->leave_loop(node);
	for (unsigned c = 0; (place = block_child_place(node, c)); c++) {
		if (*place)
			block_leave_loop(*place);
	}
}

void block_enter_loop(struct block_node *node, struct aio_loop *loop)
{
	struct block_node **place;
	node->loop = loop;
	if (node->driver->enter_loop)
		node->driver->enter_loop(node);
	for (unsigned c = 0; (place = block_child_place(node, c)); c++) {
		if (*place)
			block_enter_loop(*place, loop);
	}
}
