/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Roots: see block/core/graph.h. Requests are passed on as they are, or kept while held. */
#include "block/core/root.h"

#include "block/core/graph.h"

struct root_node {
	struct block_node node;
	unsigned held;
	unsigned waiting; /* requests in the queue */
	struct block_request *first, **last;
};

bool block_is_root(const struct block_node *node)
{
	return node->driver == &block_root_driver;
}

static void root_submit(struct block_node *node, struct block_request *request)
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

static void root_plug(struct block_node *node)
{
	block_plug(node->file);
}

static void root_unplug(struct block_node *node)
{
	block_unplug(node->file);
}

static bool root_resize(struct block_node *node, uint64_t size, GError **error)
{
	return block_resize(node->file, size, error);
}

static void root_close(struct block_node *node)
{
}

const struct block_driver block_root_driver = {
	.name = "root",
	.kind = BLOCK_FILTER,
	.transparent = true,
	.node_size = sizeof(struct root_node),
	.submit = root_submit,
	.plug = root_plug,
	.unplug = root_unplug,
	.resize = root_resize,
	.close = root_close,
};

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
	root->waiting = 0;
	while (request) {
		struct block_request *next = request->next;
		root_submit(node, request);
		request = next;
	}
}
