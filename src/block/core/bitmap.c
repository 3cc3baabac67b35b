/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent bitmaps of an image as berth-img changes them. Drivers only read and write them. */
#include "base/error.h"
#include "block/core/dirty.h"
#include "block/core/driver.h"

#include <string.h>

bool block_can_keep_bitmaps(struct block_node *node, GError **error)
{
	if (!node->driver->can_keep_bitmaps)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "'%s': format %s has no persistent "
				 "bitmaps", node->filename, node->format_name);
	return node->driver->can_keep_bitmaps(node, error) &&
	       (!node->readonly ||
		error_set(error, BERTH_ERR_INVALID, "'%s' is read-only", node->filename));
}

static bool add(struct block_node *node, const struct block_bitmap_op *op, GError **error)
{
	if (!*op->name || strlen(op->name) > BLOCK_DIRTY_NAME_MAX)
		return error_set(error, BERTH_ERR_INVALID, "Bitmap name is empty or too long");
	if (block_dirty_find(node, op->name))
		return error_set(error, BERTH_ERR_INVALID, "Bitmap already exists: %s", op->name);
	uint32_t granularity = op->granularity ? op->granularity : 1 << BLOCK_DIRTY_SHIFT_DEFAULT;
	if (granularity < 1 << BLOCK_DIRTY_SHIFT_MIN || granularity & (granularity - 1))
		return error_set(error, BERTH_ERR_INVALID, "Granularity must be power of 2 and at least %d",
				 1 << BLOCK_DIRTY_SHIFT_MIN);
	block_dirty_new(node, op->name, __builtin_ctz(granularity))->persistent = true;
	return true;
}

static bool merge(struct block_dirty *to, const struct block_bitmap_op *op, GError **error)
{
	const struct block_dirty *from = block_dirty_find(op->source, op->source_name);
	if (!from)
		return error_set(error, BERTH_ERR_NOT_FOUND, "Dirty bitmap '%s' not found",
				 op->source_name);
	if (from->inconsistent)
		return block_dirty_check_usable(from, error);
	if (from->node->size != to->node->size)
		return error_set(error, BERTH_ERR_INVALID, "Bitmaps are of different sizes");
	block_dirty_merge(to, from);
	return true;
}

bool block_bitmap(struct block_node *node, const struct block_bitmap_op *op, GError **error)
{
	if (!block_can_keep_bitmaps(node, error))
		return false;
	if (op->action == BLOCK_BITMAP_ADD)
		return add(node, op, error);
	struct block_dirty *dirty = block_dirty_find(node, op->name);
	if (!dirty)
		return error_set(error, BERTH_ERR_NOT_FOUND, "Dirty bitmap '%s' not found", op->name);
	if (op->action == BLOCK_BITMAP_REMOVE)
		return block_dirty_free(dirty), true;
	if (!block_dirty_check_usable(dirty, error))
		return false;
	if (op->action == BLOCK_BITMAP_MERGE)
		return merge(dirty, op, error);
	if (op->action == BLOCK_BITMAP_CLEAR)
		block_dirty_clear(dirty, 0, node->size);
	else
		dirty->enabled = op->action == BLOCK_BITMAP_ENABLE;
	return true;
}
