/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP: several changes at one moment. Requests of guests wait meanwhile, so all actions see the same
 * content; if one fails, those before it are undone in reverse order.
 */
#include "qmp_jobs.h"

#include "block/core/dirty.h"
#include "block/core/graph.h"
#include "qmp_args.h"

#include <string.h>

#define ACTIONS_MAX 256

static bool do_abort(struct vmm *vmm, const json_t *args, struct qmp_undo *undo, GError **error)
{
	qmp_error(error, QMP_ERROR_GENERIC, "Transaction aborted using Abort action");
	return false;
}

static const struct {
	const char *type, *args;
	qmp_action *run;
} actions[] = {
	{"abort", "", do_abort},
	{"blockdev-snapshot-sync", QMP_SNAPSHOT_SYNC_ARGS, qmp_do_snapshot_sync},
	{"blockdev-snapshot", QMP_SNAPSHOT_ARGS, qmp_do_snapshot},
	{"blockdev-snapshot-internal-sync", QMP_SNAPSHOT_INTERNAL_ARGS, qmp_do_snapshot_internal},
	{"drive-backup", QMP_DRIVE_BACKUP_ARGS, qmp_do_drive_backup},
	{"blockdev-backup", QMP_BLOCKDEV_BACKUP_ARGS, qmp_do_blockdev_backup},
	{"block-dirty-bitmap-add", QMP_BITMAP_ADD_ARGS, qmp_do_bitmap_add},
	{"block-dirty-bitmap-clear", QMP_BITMAP_ARGS, qmp_do_bitmap_clear},
	{"block-dirty-bitmap-enable", QMP_BITMAP_ARGS, qmp_do_bitmap_enable},
	{"block-dirty-bitmap-disable", QMP_BITMAP_ARGS, qmp_do_bitmap_disable},
	{"block-dirty-bitmap-merge", QMP_BITMAP_MERGE_ARGS, qmp_do_bitmap_merge},
	{"block-dirty-bitmap-remove", QMP_BITMAP_ARGS, qmp_do_bitmap_remove},
};

static bool run_action(struct vmm *vmm, const json_t *action, struct qmp_undo *undo, GError **error)
{
	const char *type = arg_text(action, "type");
	json_t *none = json_object();
	const json_t *data = json_object_get(action, "data") ? json_object_get(action, "data") : none;
	bool good = false, known = false;
	for (unsigned i = 0; i < G_N_ELEMENTS(actions) && !known; i++) {
		known = strcmp(actions[i].type, type) == 0;
		good = known && monitor_check(vmm->monitor, actions[i].args, data, error) &&
		       actions[i].run(vmm, data, undo, error);
	}
	if (!known)
		qmp_error(error, QMP_ERROR_GENERIC, "a transaction has no action '%s'", type);
	json_decref(none);
	return good;
}

static json_t *run_transaction(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const json_t *list = json_object_get(args, "actions");
	const char *mode = arg_text(json_object_get(args, "properties"), "completion-mode");
	size_t count = json_array_size(list), done = 0;
	if (count > ACTIONS_MAX)
		return qmp_error(error, QMP_ERROR_GENERIC, "a transaction has at most %d actions",
				 ACTIONS_MAX);
	struct block_job_group *group =
		mode && strcmp(mode, "grouped") == 0 ? block_job_group_new() : NULL;
	g_autofree struct qmp_undo *undo = g_new0(struct qmp_undo, count + 1);
	for (size_t i = 0; i < count; i++)
		undo[i].group = group;
	block_graph_hold(vmm->backends.graph);
	while (done < count && run_action(vmm, json_array_get(list, done), &undo[done], error))
		done++;
	for (size_t i = done; done < count && i-- > 0;)
		if (undo[i].run)
			undo[i].run(&undo[i]);
	for (size_t i = 0; i < count; i++)
		qmp_undo_clear(&undo[i]);
	block_graph_release(vmm->backends.graph);
	block_job_group_unref(group);
	return NULL;
}

void qmp_undo_clear(struct qmp_undo *undo)
{
	block_dirty_free(undo->saved);
	block_dirty_free(undo->removed);
	g_free(undo->removed_name);
	g_free(undo->snapshot);
	block_close(undo->node);
	block_close(undo->overlay);
	g_free(undo->job);
}

json_t *qmp_run_action(qmp_action *action, struct vmm *vmm, const json_t *args, GError **error)
{
	struct qmp_undo undo = {0};
	action(vmm, args, &undo, error);
	qmp_undo_clear(&undo);
	return NULL;
}

static const struct qmp_command commands[] = {
	{"transaction", "actions:[TransactionAction] properties?:TransactionProperties", NULL,
	 run_transaction},
	{NULL},
};

static const struct qmp_type types[] = {
	{"TransactionAction", "type:str data?:any"},
	{"ActionCompletionMode", "=individual grouped"},
	{"TransactionProperties", "completion-mode?:ActionCompletionMode"},
	{NULL},
};

const struct qmp_table qmp_transaction_table = {commands, types, NULL, NULL};
