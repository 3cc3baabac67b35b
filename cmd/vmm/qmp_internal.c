/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: internal snapshots of a disk, by themselves and in transactions. They hold no memory. */
#include "qmp_jobs.h"

#include "block/core/driver.h"
#include "block/core/graph.h"
#include "block/core/image.h"
#include "qmp_args.h"
#include "vm/clock.h"

#include <string.h>

static struct block_node *find_disk(struct vmm *vmm, const char *device, GError **error)
{
	struct block_node *node = disks_find_node(&vmm->backends, device, error);
	if (!node || !qmp_check_free(node, error))
		return NULL;
	if (node->readonly)
		return (void *)qmp_error(error, QMP_ERROR_GENERIC, "Device '%s' is read only", device);
	if (!node->driver->snapshot_create)
		return (void *)qmp_error(error, QMP_ERROR_GENERIC, "Block format '%s' used by device '%s' does "
					 "not support internal snapshots", node->driver->name, device);
	return node;
}

/* The snapshot with this id and this name, of which one may be NULL, as query-block has it; or NULL. */
static json_t *describe(struct block_node *node, const char *id, const char *name, GError **error)
{
	json_t *info = block_info(node, error), *found = NULL, *one;
	size_t i;
	json_array_foreach(json_object_get(info, "snapshots"), i, one) {
		bool wanted = (!id || strcmp(arg_text(one, "id"), id) == 0) &&
			      (!name || strcmp(arg_text(one, "name"), name) == 0);
		if (wanted && !found)
			found = json_incref(one);
	}
	json_decref(info);
	return found;
}

static void delete_again(struct qmp_undo *undo)
{
	block_snapshot_delete(undo->node, undo->snapshot, NULL);
}

/* Under a hold of the graph: what is under way has ended, so that the snapshot is of one moment. */
static bool make(struct vmm *vmm, struct block_node *node, const char *name, GError **error)
{
	int64_t now = g_get_real_time();
	const struct block_snapshot wish = {
		.name = (char *)name, .date_sec = now / G_USEC_PER_SEC,
		.date_nsec = now % G_USEC_PER_SEC * 1000, .vm_clock_ns = vm_clock_ns(vmm->vm)};
	block_graph_hold(vmm->backends.graph);
	bool good = block_snapshot_create(node, &wish, error);
	block_graph_release(vmm->backends.graph);
	return good;
}

bool qmp_do_snapshot_internal(struct vmm *vmm, const json_t *args, struct qmp_undo *undo, GError **error)
{
	const char *device = arg_text(args, "device"), *name = arg_text(args, "name");
	struct block_node *node = find_disk(vmm, device, error);
	if (!node)
		return false;
	json_t *there = *name ? describe(node, NULL, name, error) : NULL;
	if (!*name)
		qmp_error(error, QMP_ERROR_GENERIC, "Name is empty");
	else if (there)
		qmp_error(error, QMP_ERROR_GENERIC, "Snapshot with name '%s' already exists on device '%s'",
			  name, device);
	json_decref(there);
	if (!*name || there || (error && *error) || !make(vmm, node, name, error))
		return false;
	json_t *made = describe(node, NULL, name, error);
	if (made)
		*undo = (struct qmp_undo){.run = delete_again, .vmm = vmm, .node = block_ref(node),
					  .snapshot = g_strdup(arg_text(made, "id")), .group = undo->group};
	json_decref(made);
	return made != NULL;
}

static json_t *run_create(void *opaque, const json_t *args, GError **error)
{
	return qmp_run_action(qmp_do_snapshot_internal, opaque, args, error);
}

static json_t *run_delete(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *device = arg_text(args, "device");
	const char *id = arg_text(args, "id"), *name = arg_text(args, "name");
	struct block_node *node = find_disk(vmm, device, error);
	if (!node)
		return NULL;
	if (!id && !name)
		return qmp_error(error, QMP_ERROR_GENERIC, "Name or id must be provided");
	json_t *found = describe(node, id, name, error);
	if (!found)
		return error && *error ? NULL
				       : qmp_error(error, QMP_ERROR_GENERIC, "Snapshot with id '%s' and name "
						   "'%s' does not exist on device '%s'", id ? id : "null",
						   name ? name : "null", device);
	block_graph_hold(vmm->backends.graph);
	bool good = block_snapshot_delete(node, arg_text(found, "id"), error);
	block_graph_release(vmm->backends.graph);
	if (!good)
		g_clear_pointer(&found, json_decref);
	return found;
}

static const struct qmp_command commands[] = {
	{"blockdev-snapshot-internal-sync", QMP_SNAPSHOT_INTERNAL_ARGS, NULL, run_create},
	{"blockdev-snapshot-delete-internal-sync", "device:str id?:str name?:str", "SnapshotInfo", run_delete},
	{NULL},
};

static const struct qmp_type types[] = {
	{"SnapshotInfo", "id:str name:str vm-state-size:int date-sec:int date-nsec:int vm-clock-sec:int "
			 "vm-clock-nsec:int icount?:int"},
	{NULL},
};

const struct qmp_table qmp_internal_table = {commands, types, NULL, NULL};
