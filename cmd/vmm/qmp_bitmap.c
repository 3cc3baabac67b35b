/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: dirty bitmaps. */
#include "qmp_jobs.h"

#include "base/error.h"
#include "block/core/dirty.h"
#include "block/core/driver.h"
#include "block/core/graph.h"
#include "block/core/image.h"
#include "qmp_args.h"

#include <string.h>

static struct block_node *find_node(struct vmm *vmm, const json_t *args, GError **error)
{
	return disks_find_node(&vmm->backends, arg_text(args, "node"), error);
}

static struct block_dirty *find_bitmap(struct vmm *vmm, const json_t *args, GError **error)
{
	struct block_node *node = find_node(vmm, args, error);
	const char *name = arg_text(args, "name");
	struct block_dirty *found = node ? block_dirty_find(node, name) : NULL;
	if (node && !found)
		qmp_error(error, QMP_ERROR_GENERIC, "Dirty bitmap '%s' not found", name);
	return found;
}

/* One that may be changed. */
static struct block_dirty *find_usable(struct vmm *vmm, const json_t *args, GError **error)
{
	struct block_dirty *found = find_bitmap(vmm, args, error);
	return found && block_dirty_check_usable(found, error) ? found : NULL;
}

/* --- undoing, for transactions --------------------------------------------------------------------------*/

static void undo_add(struct qmp_undo *undo)
{
	block_dirty_free(undo->bitmap);
}

static void undo_content(struct qmp_undo *undo)
{
	struct block_dirty *bitmap = undo->bitmap, *was = undo->saved;
	block_dirty_clear(bitmap, 0, bitmap->node->size);
	block_dirty_merge(bitmap, was);
	bitmap->enabled = undo->was_enabled;
}

/* Keep what the bitmap is, before it changes. */
static void save(struct qmp_undo *undo, struct block_dirty *bitmap)
{
	undo->bitmap = bitmap;
	undo->was_enabled = bitmap->enabled;
	undo->saved = block_dirty_copy(bitmap);
	undo->saved->enabled = false;
	undo->run = undo_content;
}

/* --- what can be done -----------------------------------------------------------------------------------*/

bool qmp_do_bitmap_add(struct vmm *vmm, const json_t *args, struct qmp_undo *undo, GError **error)
{
	struct block_node *node = find_node(vmm, args, error);
	const char *name = arg_text(args, "name");
	json_int_t granularity = arg_int(args, "granularity", 1 << BLOCK_DIRTY_SHIFT_DEFAULT);
	if (!node)
		return false;
	if (!*name || strlen(name) > BLOCK_DIRTY_NAME_MAX)
		return qmp_error(error, QMP_ERROR_GENERIC, "Bitmap name cannot be empty, or longer than "
				 "%d bytes", BLOCK_DIRTY_NAME_MAX), false;
	if (granularity < 1 << BLOCK_DIRTY_SHIFT_MIN || granularity > INT64_C(1) << BLOCK_DIRTY_SHIFT_MAX ||
	    granularity & (granularity - 1))
		return qmp_error(error, QMP_ERROR_GENERIC, "Granularity must be a power of 2, at least "
				 "512"), false;
	if (block_dirty_find(node, name))
		return qmp_error(error, QMP_ERROR_GENERIC, "Bitmap already exists: %s", name), false;
	bool persistent = arg_flag(args, "persistent", false);
	if (persistent && !block_can_keep_bitmaps(node, error))
		return false;
	struct block_dirty *bitmap = block_dirty_new(node, name, __builtin_ctzll(granularity));
	bitmap->persistent = persistent;
	bitmap->enabled = !arg_flag(args, "disabled", false);
	*undo = (struct qmp_undo){.run = undo_add, .bitmap = bitmap};
	return true;
}

bool qmp_do_bitmap_clear(struct vmm *vmm, const json_t *args, struct qmp_undo *undo, GError **error)
{
	struct block_dirty *bitmap = find_usable(vmm, args, error);
	if (!bitmap)
		return false;
	save(undo, bitmap);
	block_dirty_clear(bitmap, 0, bitmap->node->size);
	return true;
}

static bool set_enabled(struct vmm *vmm, const json_t *args, bool enabled, struct qmp_undo *undo,
			GError **error)
{
	struct block_dirty *bitmap = find_usable(vmm, args, error);
	if (!bitmap)
		return false;
	save(undo, bitmap);
	bitmap->enabled = enabled;
	return true;
}

bool qmp_do_bitmap_enable(struct vmm *vmm, const json_t *args, struct qmp_undo *undo, GError **error)
{
	return set_enabled(vmm, args, true, undo, error);
}

bool qmp_do_bitmap_disable(struct vmm *vmm, const json_t *args, struct qmp_undo *undo,
			   GError **error)
{
	return set_enabled(vmm, args, false, undo, error);
}

/* A source is a name on the same node, or {"node": N, "name": M}. */
static struct block_dirty *find_source(struct vmm *vmm, const struct block_node *node,
				       const json_t *source, GError **error)
{
	struct block_dirty *found = NULL;
	if (json_is_object(source))
		found = monitor_check(vmm->monitor, "node:str name:str", source, error)
				? find_bitmap(vmm, source, error) : NULL;
	else if (json_is_string(source) &&
		 !(found = block_dirty_find(node, json_string_value(source))))
		qmp_error(error, QMP_ERROR_GENERIC, "Dirty bitmap '%s' not found",
			  json_string_value(source));
	else if (!found)
		qmp_error(error, QMP_ERROR_GENERIC, "bitmaps are names, or objects of node and name");
	if (found && found->inconsistent)
		return block_dirty_check_usable(found, error), NULL;
	if (found && found->node->size != node->size)
		return (void *)qmp_error(error, QMP_ERROR_GENERIC, "Bitmaps are of different sizes "
					 "(destination size is %" G_GUINT64_FORMAT ")", node->size);
	return found;
}

bool qmp_do_bitmap_merge(struct vmm *vmm, const json_t *args, struct qmp_undo *undo, GError **error)
{
	struct block_node *node = find_node(vmm, args, error);
	const char *name = arg_text(args, "target");
	struct block_dirty *target = node ? block_dirty_find(node, name) : NULL;
	const json_t *list = json_object_get(args, "bitmaps");
	if (node && !target)
		qmp_error(error, QMP_ERROR_GENERIC, "Dirty bitmap '%s' not found", name);
	if (!target || !block_dirty_check_usable(target, error))
		return false;
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!find_source(vmm, node, json_array_get(list, i), error))
			return false;
	save(undo, target);
	for (size_t i = 0; i < json_array_size(list); i++)
		block_dirty_merge(target, find_source(vmm, node, json_array_get(list, i), NULL));
	return true;
}

static void undo_remove(struct qmp_undo *undo)
{
	struct block_dirty *bitmap = g_steal_pointer(&undo->removed);
	bitmap->name = g_steal_pointer(&undo->removed_name);
}

bool qmp_do_bitmap_remove(struct vmm *vmm, const json_t *args, struct qmp_undo *undo, GError **error)
{
	struct block_dirty *bitmap = find_bitmap(vmm, args, error);
	if (!bitmap)
		return false;
	if (!bitmap->inconsistent && !block_dirty_check_usable(bitmap, error))
		return false;
	/* Actions before this one may know it, and have to take back what they did. */
	undo->removed_name = g_steal_pointer(&bitmap->name);
	undo->removed = bitmap;
	undo->run = undo_remove;
	return true;
}

/* --- commands -------------------------------------------------------------------------------------------*/

static json_t *run_add(void *opaque, const json_t *args, GError **error)
{
	return qmp_run_action(qmp_do_bitmap_add, opaque, args, error);
}

static json_t *run_clear(void *opaque, const json_t *args, GError **error)
{
	return qmp_run_action(qmp_do_bitmap_clear, opaque, args, error);
}

static json_t *run_enable(void *opaque, const json_t *args, GError **error)
{
	return qmp_run_action(qmp_do_bitmap_enable, opaque, args, error);
}

static json_t *run_disable(void *opaque, const json_t *args, GError **error)
{
	return qmp_run_action(qmp_do_bitmap_disable, opaque, args, error);
}

static json_t *run_merge(void *opaque, const json_t *args, GError **error)
{
	return qmp_run_action(qmp_do_bitmap_merge, opaque, args, error);
}

static json_t *run_remove(void *opaque, const json_t *args, GError **error)
{
	return qmp_run_action(qmp_do_bitmap_remove, opaque, args, error);
}

static const struct qmp_command commands[] = {
	{"block-dirty-bitmap-add", QMP_BITMAP_ADD_ARGS, NULL, run_add},
	{"block-dirty-bitmap-remove", QMP_BITMAP_ARGS, NULL, run_remove},
	{"block-dirty-bitmap-clear", QMP_BITMAP_ARGS, NULL, run_clear},
	{"block-dirty-bitmap-enable", QMP_BITMAP_ARGS, NULL, run_enable},
	{"block-dirty-bitmap-disable", QMP_BITMAP_ARGS, NULL, run_disable},
	{"block-dirty-bitmap-merge", QMP_BITMAP_MERGE_ARGS, NULL, run_merge},
	{NULL},
};

const struct qmp_table qmp_bitmap_table = {commands, NULL, NULL, NULL};
