/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Roots: see block/core/graph.h. Requests are passed on as they are, or kept while held. What waits
 * because of a limit on throughput counts as kept, so that holding does not wait for it.
 */
#include "block/core/root.h"

#include "block/core/graph.h"
#include "block/core/throttle.h"

struct root_node {
	struct block_node node;
	unsigned held;
	unsigned waiting; /* requests in the queue, and those that a limit keeps */
	struct throttle_group *throttle; /* or NULL */
	struct block_request *first, **last;
};

bool block_is_root(const struct block_node *node)
{
	return node->driver == &block_root_driver;
}

static void pass_or_keep(struct block_node *node, struct block_request *request)
{
	struct root_node *root = (struct root_node *)node;
	if (!root->held) {
		block_forward(node->file, request, 0);
		return;
	}
	request->next = NULL;
	*root->last = request;
	root->last = &request->next;
	root->waiting++;
}

static void wait_for_limit(void *opaque)
{
	struct block_request *request = opaque;
	struct block_node *node = request->node;
	struct root_node *root = (struct root_node *)node;
	root->waiting++;
	throttle_group_wait(root->throttle, node->loop, request->op != BLOCK_READ,
			    request->op == BLOCK_DISCARD ? 0 : request->length);
	root->waiting--;
	pass_or_keep(node, request);
}

static void root_submit(struct block_node *node, struct block_request *request)
{
	struct root_node *root = (struct root_node *)node;
	bool limited = root->throttle && request->op != BLOCK_FLUSH &&
		       throttle_group_limits(root->throttle);
	if (limited)
		fiber_start(wait_for_limit, request);
	else
		pass_or_keep(node, request);
}

static void root_hurry(struct block_node *node, bool on)
{
	struct root_node *root = (struct root_node *)node;
	if (root->throttle)
		throttle_group_hurry(root->throttle, on);
}

bool block_root_set_throttle(struct block_node *node, const char *group,
			     const struct throttle_config *config, GError **error)
{
	struct root_node *root = (struct root_node *)node;
	if (!throttle_config_check(config, error))
		return false;
	struct throttle_group *next =
		throttle_config_any(config) ? throttle_group_get(node->graph, group) : NULL;
	/* What waits for the old group must not be left there. */
	block_drain(node);
	throttle_group_put(root->throttle);
	root->throttle = next;
	if (next)
		throttle_group_set(next, config);
	return true;
}

const struct throttle_group *block_root_throttle(const struct block_node *node)
{
	return ((const struct root_node *)node)->throttle;
}

static void root_plug(struct block_node *node)
{
	block_plug(node->file);
}

static void root_unplug(struct block_node *node)
{
	block_unplug(node->file);
}

static void root_close(struct block_node *node)
{
	throttle_group_put(((struct root_node *)node)->throttle);
}

const struct block_driver block_root_driver = {
	.name = "root",
	.kind = BLOCK_FILTER,
	.transparent = true,
	.moves = true,
	.node_size = sizeof(struct root_node),
	.submit = root_submit,
	.plug = root_plug,
	.unplug = root_unplug,
	.close = root_close,
	.hurry = root_hurry,
};

bool block_filter_open(struct block_node *node, json_t *dict, GError **error)
{
	node->file = block_open_child(node, dict, "file", NULL, error);
	if (!node->file)
		return false;
	node->size = node->file->size;
	node->limits = node->file->limits;
	node->readonly |= node->file->readonly;
	node->discard = true; /* the child decides */
	return true;
}

struct block_node *block_filter_new(const struct block_driver *driver, struct block_graph *graph,
				    struct block_node *child)
{
	struct block_node *node = g_malloc0(driver->node_size);
	const struct block_open_options options = {.graph = graph, .readonly = child->readonly,
						   .discard = true, .anonymous = true};
	block_node_init(node, driver, &options, child->loop);
	node->filename = g_strdup(child->filename);
	node->format_name = child->format_name;
	node->size = child->size;
	node->limits = child->limits;
	node->file = child;
	return node;
}

struct block_node *block_root_new(struct block_graph *graph, struct block_node *child)
{
	struct block_node *node = block_filter_new(&block_root_driver, graph, child);
	struct root_node *root = (struct root_node *)node;
	node->node_name = g_strdup(child->node_name);
	node->writethrough = child->writethrough;
	root->last = &root->first;
	root->held = block_graph_held(graph);
	return node;
}

void block_root_hold(struct block_node *node)
{
	if (block_is_root(node))
		((struct root_node *)node)->held++;
}

bool block_root_busy(const struct block_node *node)
{
	return block_is_root(node) &&
	       node->in_flight > ((const struct root_node *)node)->waiting;
}

void block_root_release(struct block_node *node)
{
	struct root_node *root = (struct root_node *)node;
	if (!block_is_root(node) || --root->held)
		return;
	struct block_request *request = root->first;
	root->first = NULL;
	root->last = &root->first;
	while (request) {
		struct block_request *next = request->next;
		root->waiting--;
		pass_or_keep(node, request);
		request = next;
	}
}
