/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which nodes there are, by name and by who has whom as a child. */
#include "block/core/graph.h"

#include "base/error.h"
#include "block/core/driver.h"
#include "block/core/object.h"
#include "block/core/root.h"

#include <string.h>

struct block_graph {
	struct aio_loop *loop;
	GPtrArray *nodes; /* those with a name */
	GPtrArray *all;
	GPtrArray *throttles; /* struct throttle_group */
	GPtrArray *objects;   /* struct block_object, owned */
	unsigned held;
	unsigned named;       /* by block_graph_name() */
};

struct block_graph *block_graph_new(struct aio_loop *loop)
{
	struct block_graph *graph = g_new0(struct block_graph, 1);
	graph->loop = loop;
	graph->nodes = g_ptr_array_new();
	graph->all = g_ptr_array_new();
	graph->throttles = g_ptr_array_new();
	graph->objects = g_ptr_array_new_with_free_func(block_object_free);
	return graph;
}

void block_graph_free(struct block_graph *graph)
{
	if (!graph)
		return;
	g_assert(graph->all->len == 0);
	g_ptr_array_free(graph->nodes, true);
	g_ptr_array_free(graph->all, true);
	g_ptr_array_free(graph->throttles, true);
	g_ptr_array_free(graph->objects, true);
	g_free(graph);
}

struct block_node *block_graph_find(struct block_graph *graph, const char *node_name)
{
	for (unsigned i = 0; graph && i < graph->nodes->len; i++) {
		struct block_node *node = graph->nodes->pdata[i];
		/* One that is being closed, which takes a while, is nobody's any more. */
		if (node->references && strcmp(node->node_name, node_name) == 0)
			return node;
	}
	return NULL;
}

GPtrArray *block_graph_objects(struct block_graph *graph)
{
	return graph->objects;
}

GPtrArray *block_graph_throttles(struct block_graph *graph)
{
	return graph->throttles;
}

const GPtrArray *block_graph_nodes(struct block_graph *graph)
{
	return graph->nodes;
}

struct aio_loop *block_graph_loop(const struct block_graph *graph)
{
	return graph->loop;
}

bool block_graph_add(struct block_node *node, GError **error)
{
	if (!node->graph || !node->node_name || node->options.anonymous)
		return true;
	if (block_graph_find(node->graph, node->node_name)) {
		g_clear_pointer(&node->node_name, g_free);
		return error_set(error, BERTH_ERR_INVALID,
				 "there is a block node of that name already: choose another "
				 "node-name");
	}
	g_ptr_array_add(node->graph->nodes, node);
	return true;
}

void block_graph_name(struct block_node *node)
{
	if (!node->graph || node->node_name)
		return;
	node->node_name = g_strdup_printf("#image%u", ++node->graph->named);
	g_ptr_array_add(node->graph->nodes, node);
}

void block_graph_enter(struct block_graph *graph, struct block_node *node)
{
	if (graph)
		g_ptr_array_add(graph->all, node);
}

void block_graph_leave(struct block_graph *graph, struct block_node *node)
{
	if (!graph)
		return;
	g_ptr_array_remove(graph->nodes, node);
	g_ptr_array_remove_fast(graph->all, node);
}

const GPtrArray *block_graph_all(const struct block_graph *graph)
{
	return graph->all;
}

static bool any_busy(const struct block_graph *graph)
{
	for (unsigned i = 0; i < graph->all->len; i++) {
		if (block_root_busy(graph->all->pdata[i]))
			return true;
	}
	return false;
}

void block_graph_hold(struct block_graph *graph)
{
	graph->held++;
	for (unsigned i = 0; i < graph->all->len; i++)
		block_root_hold(graph->all->pdata[i]);
	/* Nodes may come and go while the loop goes on. */
	while (any_busy(graph)) {
		if (fiber_self())
			fiber_pause(graph->loop);
		else
			aio_loop_iterate(graph->loop, -1);
	}
}

unsigned block_graph_held(const struct block_graph *graph)
{
	return graph ? graph->held : 0;
}

void block_graph_release(struct block_graph *graph)
{
	/* What waited may close nodes when it completes: do not walk a list that shrinks. */
	g_autoptr(GPtrArray) roots = g_ptr_array_new();
	for (unsigned i = 0; i < graph->all->len; i++) {
		struct block_node *node = graph->all->pdata[i];
		if (block_is_root(node))
			g_ptr_array_add(roots, block_ref(node));
	}
	graph->held--;
	for (unsigned i = 0; i < roots->len; i++)
		block_root_release(roots->pdata[i]);
	for (unsigned i = 0; i < roots->len; i++)
		block_close(roots->pdata[i]);
}

struct block_node **block_child_place(struct block_node *node, unsigned index)
{
	struct block_node **const places[] = {&node->file, &node->backing, &node->data_file};
	if (index < G_N_ELEMENTS(places))
		return places[index];
	index -= G_N_ELEMENTS(places);
	return node->extra && index < node->extra->len
		       ? (struct block_node **)&node->extra->pdata[index] : NULL;
}

void block_graph_replace(struct block_graph *graph, struct block_node *from, struct block_node *to,
			 const struct block_node *except)
{
	unsigned moved = 0;
	for (unsigned i = 0; i < graph->all->len; i++) {
		struct block_node *parent = graph->all->pdata[i], **place;
		if (parent == to || parent == except)
			continue;
		for (unsigned c = 0; (place = block_child_place(parent, c)); c++) {
			if (*place == from) {
				*place = block_ref(to);
				moved++;
			}
		}
	}
	block_graph_refresh(graph);
	/* Closing waits, and the walk is over. */
	while (moved--)
		block_close(from);
}

void block_set_backing(struct block_node *node, struct block_node *backing)
{
	struct block_node *old = node->backing;
	node->backing = backing ? block_ref(backing) : NULL;
	block_close(old);
}

bool block_is_below(const struct block_node *top, const struct block_node *node)
{
	if (top == node)
		return true;
	struct block_node **place;
	for (unsigned c = 0; (place = block_child_place((struct block_node *)top, c)); c++) {
		if (*place && block_is_below(*place, node))
			return true;
	}
	return false;
}

struct block_node *block_graph_overlay_of(struct block_graph *graph, const struct block_node *node)
{
	for (unsigned i = 0; i < graph->all->len; i++) {
		struct block_node *other = graph->all->pdata[i];
		if (other->backing && block_below_filters(other->backing) == node)
			return other;
	}
	return NULL;
}

struct block_node *block_below_filters(struct block_node *node)
{
	while (node && node->driver->transparent && node->file)
		node = node->file;
	return node;
}

/* Filters may lie on each other: as often as something changes. */
void block_graph_refresh(struct block_graph *graph)
{
	bool changed;
	do {
		changed = false;
		for (unsigned i = 0; i < graph->all->len; i++) {
			struct block_node *node = graph->all->pdata[i];
			if (!node->driver->transparent || !node->file || node->size == node->file->size)
				continue;
			node->size = node->file->size;
			node->limits = node->file->limits;
			changed = true;
		}
	} while (changed);
}
