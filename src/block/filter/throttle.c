/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -blockdev driver=throttle,throttle-group=ID,file=NODE: a node that keeps to a group's limits. */
#include "block/core/throttle.h"

#include "base/error.h"
#include "block/core/drivers.h"
#include "block/core/options.h"

struct throttle_node {
	struct block_node node;
	struct throttle_group *group;
};

static int perform(struct block_node *node, struct block_request *r)
{
	struct throttle_group *group = ((struct throttle_node *)node)->group;
	if (r->op != BLOCK_FLUSH && throttle_group_limits(group))
		throttle_group_wait(group, node->loop, r->op != BLOCK_READ,
				    r->op == BLOCK_DISCARD ? 0 : r->length);
	return block_io(node->file, r->op, r->flags, r->offset, r->length, r->iov, r->iov_count);
}

static void hurry(struct block_node *node, bool on)
{
	throttle_group_hurry(((struct throttle_node *)node)->group, on);
}

static void throttle_close(struct block_node *node)
{
	throttle_group_put(((struct throttle_node *)node)->group);
}

static bool throttle_open(struct block_node *node, json_t *dict, GError **error)
{
	struct throttle_node *filter = (struct throttle_node *)node;
	g_autofree char *name = block_take_string(dict, "throttle-group");
	if (!name)
		return error_set(error, BERTH_ERR_INVALID, "driver 'throttle' needs throttle-group=ID");
	if (!node->graph || !throttle_group_find(node->graph, name))
		return error_set(error, BERTH_ERR_NOT_FOUND, "Throttle group '%s' does not exist", name);
	if (!block_filter_open(node, dict, error))
		return false;
	filter->group = throttle_group_get(node->graph, name);
	return true;
}

const struct block_driver block_throttle_driver = {
	.name = "throttle",
	.kind = BLOCK_FILTER,
	.transparent = true,
	.node_size = sizeof(struct throttle_node),
	.open = throttle_open,
	.close = throttle_close,
	.perform = perform,
	.hurry = hurry,
};
