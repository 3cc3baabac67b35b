/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: jobs that copy to another image: mirror and backup. */
#include "qmp_jobs.h"

#include "base/error.h"
#include "block/core/dirty.h"
#include "block/core/driver.h"
#include "block/core/graph.h"
#include "block/core/image.h"
#include "qmp_args.h"

#include <string.h>

static const char *const modes[] = {"existing", "absolute-paths", NULL};

/* The target of drive-*: an image that this makes, or that is there. */
static struct block_node *drive_target(struct vmm *vmm, struct block_node *source, const json_t *args,
				       enum block_sync sync, GError **error)
{
	bool existing = arg_enum(args, "mode", modes, 1) == 0;
	struct block_node *backing = sync == SYNC_TOP ? block_below_filters(block_backing(source))
				     : sync == SYNC_NONE ? source : NULL;
	return qmp_new_image(vmm, source, arg_text(args, "target"), arg_text(args, "format"), existing,
			     arg_text(args, "node-name"), backing, error);
}

static struct block_node *named_target(struct vmm *vmm, const json_t *args, GError **error)
{
	struct block_node *target = disks_find_node(&vmm->backends, arg_text(args, "target"), error);
	return target ? block_ref(target) : NULL;
}

/* --- mirror -------------------------------------------------------------------------------------------*/

static bool mirror_options(struct vmm *vmm, const json_t *args, struct block_mirror_options *o,
			   GError **error)
{
	static const char *const copy_modes[] = {"background", "write-blocking", NULL};
	const char *device = arg_text(args, "device");
	o->source = disks_find_node(&vmm->backends, device, error);
	o->sync = arg_enum(args, "sync", block_sync_names, SYNC_FULL);
	o->replaces = arg_text(args, "replaces");
	o->granularity = arg_int(args, "granularity", 0);
	o->unmap = arg_flag(args, "unmap", true);
	o->write_blocking = arg_enum(args, "copy-mode", copy_modes, 0) == 1;
	return o->source && qmp_job_options(args, device, &o->job, error);
}

static json_t *run_drive_mirror(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct block_mirror_options o = {0};
	if (!mirror_options(vmm, args, &o, error))
		return NULL;
	if (o.source->job)
		return qmp_error(error, QMP_ERROR_GENERIC,
				 "Node '%s' is busy: block device is in use by block job: %s",
				 arg_text(args, "device"), o.source->job);
	o.target = drive_target(vmm, o.source, args, o.sync, error);
	/* What we have just made is empty. */
	o.target_is_zero = arg_enum(args, "mode", modes, 1) == 1;
	if (o.target)
		block_mirror_start(qmp_jobs(vmm), &o, error);
	block_close(o.target);
	return NULL;
}

static json_t *run_blockdev_mirror(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct block_mirror_options o = {0};
	if (!mirror_options(vmm, args, &o, error))
		return NULL;
	o.target = named_target(vmm, args, error);
	if (o.target)
		block_mirror_start(qmp_jobs(vmm), &o, error);
	block_close(o.target);
	return NULL;
}

/* --- backup -------------------------------------------------------------------------------------------*/

static bool backup_options(struct vmm *vmm, const json_t *args, struct block_backup_options *o,
			   GError **error)
{
	static const char *const bitmap_modes[] = {"on-success", "never", "always", NULL};
	const char *device = arg_text(args, "device"), *bitmap = arg_text(args, "bitmap");
	o->source = disks_find_node(&vmm->backends, device, error);
	o->sync = arg_enum(args, "sync", block_sync_names, SYNC_FULL);
	o->compress = arg_flag(args, "compress", false);
	o->bitmap_mode = arg_enum(args, "bitmap-mode", bitmap_modes, BITMAP_ON_SUCCESS);
	if (!o->source || !qmp_job_options(args, device, &o->job, error))
		return false;
	if (bitmap && !(o->bitmap = block_dirty_find_in_chain(o->source, bitmap)))
		return qmp_error(error, QMP_ERROR_GENERIC, "Bitmap '%s' could not be found", bitmap),
		       false;
	if (o->sync == SYNC_BITMAP && !arg_text(args, "bitmap-mode"))
		return qmp_error(error, QMP_ERROR_GENERIC, "Bitmap sync mode must be given when a "
				 "bitmap is provided"), false;
	if (o->sync == SYNC_INCREMENTAL && o->bitmap_mode != BITMAP_ON_SUCCESS)
		return qmp_error(error, QMP_ERROR_GENERIC, "Bitmap sync mode must be 'on-success' when "
				 "using sync mode 'incremental'"), false;
	return true;
}

static void undo_backup(struct qmp_undo *undo)
{
	struct block_job *job = block_jobs_find(qmp_jobs(undo->vmm), undo->job);
	if (job)
		block_job_cancel_now(job);
}

static bool start_backup(struct vmm *vmm, const struct block_backup_options *o,
			 struct qmp_undo *undo, GError **error)
{
	if (!block_backup_start(qmp_jobs(vmm), o, error))
		return false;
	*undo = (struct qmp_undo){.run = undo_backup, .vmm = vmm, .job = g_strdup(o->job.id)};
	return true;
}

bool qmp_do_drive_backup(struct vmm *vmm, const json_t *args, struct qmp_undo *undo,
			    GError **error)
{
	struct block_backup_options o = {.job.group = undo->group};
	if (!backup_options(vmm, args, &o, error))
		return false;
	o.target = drive_target(vmm, o.source, args, o.sync, error);
	bool good = o.target != NULL;
	/* What the target is based on shows through where nothing was copied. */
	struct block_node *shown = o.sync == SYNC_TOP ? o.source->backing
				   : o.sync == SYNC_NONE ? o.source : NULL;
	if (good && shown)
		block_set_backing(o.target, shown);
	good = good && start_backup(vmm, &o, undo, error);
	block_close(o.target);
	return good;
}

bool qmp_do_blockdev_backup(struct vmm *vmm, const json_t *args, struct qmp_undo *undo,
			    GError **error)
{
	struct block_backup_options o = {.job.group = undo->group};
	if (!backup_options(vmm, args, &o, error))
		return false;
	o.target = named_target(vmm, args, error);
	bool good = o.target && start_backup(vmm, &o, undo, error);
	block_close(o.target);
	return good;
}

static json_t *run_drive_backup(void *opaque, const json_t *args, GError **error)
{
	return qmp_run_action(qmp_do_drive_backup, opaque, args, error);
}

static json_t *run_blockdev_backup(void *opaque, const json_t *args, GError **error)
{
	return qmp_run_action(qmp_do_blockdev_backup, opaque, args, error);
}

#define MIRROR_ARGS                                                                                \
	"job-id?:str device:str target:str replaces?:str sync:MirrorSyncMode speed?:int "          \
	"granularity?:int copy-mode?:MirrorCopyMode on-source-error?:BlockdevOnError "                        \
	"on-target-error?:BlockdevOnError auto-finalize?:bool auto-dismiss?:bool"

static const struct qmp_command commands[] = {
	{"drive-mirror",
	 MIRROR_ARGS " format?:str node-name?:str mode?:NewImageMode unmap?:bool", NULL,
	 run_drive_mirror},
	{"blockdev-mirror", MIRROR_ARGS, NULL, run_blockdev_mirror},
	{"drive-backup", QMP_DRIVE_BACKUP_ARGS, NULL, run_drive_backup},
	{"blockdev-backup", QMP_BLOCKDEV_BACKUP_ARGS, NULL, run_blockdev_backup},
	{NULL},
};

const struct qmp_table qmp_copy_table = {commands, NULL, NULL, NULL};
