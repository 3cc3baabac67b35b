/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commands that begin block jobs and change chains share. */
#pragma once

#include "block/core/dirty.h"
#include "block/job/job.h"
#include "vmm.h"

/* Made when first asked for. */
struct block_jobs *qmp_jobs(struct vmm *vmm);
/* job-id, speed, auto-*, on-*-error. `default_id` (or NULL) if there is no job-id. */
bool qmp_job_options(const json_t *args, const char *default_id, struct block_job_options *job,
		     GError **error);

/*
 * How to take back what an action of a transaction did. Zero-initialised; references and what it
 * owns go with qmp_undo_clear(), whether it was run or not.
 */
struct qmp_undo {
	void (*run)(struct qmp_undo *undo); /* NULL: nothing to take back */
	struct vmm *vmm;
	struct block_node *node, *overlay;  /* references */
	struct block_dirty *bitmap, *saved; /* saved: owned */
	struct block_dirty *removed;        /* owned, without its name until that is certain */
	char *removed_name;
	char *snapshot; /* its id */
	bool was_enabled, was_readonly;
	char *job; /* id */
	struct block_job_group *group; /* of the transaction: for the job that an action begins; or NULL */
};
void qmp_undo_clear(struct qmp_undo *undo);

/* Commands that are actions of transactions too, with their arguments. */
#define QMP_SNAPSHOT_ARGS "node:str overlay:str"
#define QMP_SNAPSHOT_INTERNAL_ARGS "device:str name:str"
#define QMP_SNAPSHOT_SYNC_ARGS                                                                     \
	"device?:str node-name?:str snapshot-file:str snapshot-node-name?:str format?:str "        \
	"mode?:NewImageMode"
#define QMP_BACKUP_COMMON_ARGS                                                                     \
	"job-id?:str device:str sync:MirrorSyncMode speed?:int bitmap?:str "                       \
	"bitmap-mode?:BitmapSyncMode compress?:bool on-source-error?:BlockdevOnError "             \
	"on-target-error?:BlockdevOnError auto-finalize?:bool auto-dismiss?:bool"
#define QMP_DRIVE_BACKUP_ARGS    QMP_BACKUP_COMMON_ARGS " target:str format?:str mode?:NewImageMode"
#define QMP_BLOCKDEV_BACKUP_ARGS QMP_BACKUP_COMMON_ARGS " target:str"
#define QMP_BITMAP_ARGS          "node:str name:str"
#define QMP_BITMAP_ADD_ARGS      QMP_BITMAP_ARGS " granularity?:int persistent?:bool disabled?:bool"
#define QMP_BITMAP_MERGE_ARGS    "node:str target:str bitmaps:[any]"

typedef bool qmp_action(struct vmm *vmm, const json_t *args, struct qmp_undo *undo, GError **error);
qmp_action qmp_do_snapshot_internal;
qmp_action qmp_do_snapshot, qmp_do_snapshot_sync, qmp_do_drive_backup, qmp_do_blockdev_backup;
qmp_action qmp_do_bitmap_add, qmp_do_bitmap_clear, qmp_do_bitmap_enable, qmp_do_bitmap_disable,
	qmp_do_bitmap_merge, qmp_do_bitmap_remove;
/* False with *error set if a job has the node. */
bool qmp_check_free(const struct block_node *node, GError **error);
/* An action by itself. Returns NULL, as a command's handler does. */
json_t *qmp_run_action(qmp_action *action, struct vmm *vmm, const json_t *args, GError **error);

/*
 * Make (mode=absolute-paths) or take (existing) an image like `node` as the target of a job or the
 * next of its chain; it is open, writable and without its backing file. `backing` (or NULL) is what
 * a new image says it is based on. NULL with *error set.
 */
struct block_node *qmp_new_image(struct vmm *vmm, const struct block_node *node,
				 const char *filename, const char *format, bool existing,
				 const char *node_name, struct block_node *backing, GError **error);
