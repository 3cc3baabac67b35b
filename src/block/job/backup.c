/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backup: the target gets the source as it is at this moment (all of it, its top image, what a
 * bitmap says), while guests go on writing. A filter over the source copies what a guest is about
 * to overwrite; the job copies the rest. If the target cannot take what a guest's write needs
 * copied, the backup fails, not the guest.
 */
#include "block/job/job_int.h"

#include "base/error.h"
#include "block/core/dirty.h"
#include "block/core/image.h"
#include "block/filter/copy_before_write.h"

#define PIECE_BYTES (UINT64_C(1) << 20)
#define NONE_IDLE_NS (INT64_C(100) * 1000 * 1000)

struct backup {
	struct block_job job;
	struct block_node *source, *target; /* borrowed: claimed */
	struct block_node *filter;          /* over source; a reference of the job's own */
	struct block_dirty *todo;           /* on source: never records */
	struct block_dirty *bitmap, *since; /* the user's, and what came since the moment */
	enum block_sync sync;
	enum block_bitmap_mode bitmap_mode;
};

/* --- the job ------------------------------------------------------------------------------------------*/

static bool check_filter(struct backup *b)
{
	int rc = block_snapshot_failed(b->filter);
	if (rc == 0)
		return true;
	if (!b->job.error)
		error_set_errno(&b->job.error, -rc,
				"what the guest overwrote could not be copied before");
	return false;
}

/* sync=top: leave out what the source has from its backing files. */
static bool drop_unallocated(struct backup *b)
{
	uint64_t size = b->source->size, cluster = UINT64_C(1) << b->todo->shift;
	struct block_node *base = block_below_filters(block_below_filters(b->source)->backing);
	for (uint64_t at = 0; at < size;) {
		struct block_extent extent;
		int rc = block_status_above(b->source, base, at, size - at, &extent, NULL);
		if (rc < 0 && !block_job_failed_io(&b->job, false, rc, NULL))
			return false;
		if (rc < 0)
			continue;
		uint64_t next = at + extent.length;
		/* Only clusters of which nothing is allocated. */
		uint64_t first = (at + cluster - 1) / cluster * cluster;
		uint64_t end = next >= size ? next : next / cluster * cluster;
		if (!(extent.flags & BLOCK_STATUS_ALLOCATED) && first < end)
			block_dirty_clear(b->todo, first, end - first);
		at = next;
		fiber_pause(b->job.loop);
		if (!block_job_check_point(&b->job))
			return false;
	}
	return true;
}

/* sync=none: only the filter copies, until somebody ends the job. */
static bool watch_only(struct backup *b)
{
	b->job.length = b->source->size;
	while (block_job_check_point(&b->job) && check_filter(b)) {
		b->job.offset = block_snapshot_copied(b->filter);
		block_job_idle(&b->job, NONE_IDLE_NS);
	}
	return false;
}

static bool backup_run(struct block_job *job)
{
	struct backup *b = (struct backup *)job;
	uint64_t start, length, at = 0;
	if (b->sync == SYNC_NONE)
		return watch_only(b);
	if (b->sync == SYNC_TOP && !drop_unallocated(b))
		return false;
	job->length = MIN(b->todo->count << b->todo->shift, b->source->size) +
		      block_snapshot_copied(b->filter);
	while (block_dirty_next(b->todo, at, &start, &length)) {
		bool skip = false;
		if (!block_job_check_point(job) || !check_filter(b))
			return false;
		uint64_t before = block_snapshot_copied(b->filter);
		length = MIN(MAX(length, PIECE_BYTES), b->source->size - start);
		int rc = block_snapshot_copy(b->filter, start, length);
		if (rc < 0 && !block_job_failed_io(job, true, rc, &skip))
			return false;
		at = rc < 0 && !skip ? start : start + length;
		job->offset = block_snapshot_copied(b->filter);
		block_job_account(job, job->offset - before);
	}
	int rc = check_filter(b) ? block_flush(b->target) : 0;
	if (rc < 0)
		error_set_errno(&job->error, -rc, "cannot flush '%s'", b->target->filename);
	return rc == 0 && !job->error;
}

/* --- the end ------------------------------------------------------------------------------------------*/

/*
 * The bitmap is to say what changed since the last backup that counts: since this one's moment if
 * it succeeded, since the one before if not; with bitmap-mode=always what was not copied stays.
 */
static void settle_bitmap(struct backup *b, bool good)
{
	if (!b->bitmap)
		return;
	b->bitmap->busy--;
	bool fresh = (good && b->bitmap_mode != BITMAP_NEVER) || b->bitmap_mode == BITMAP_ALWAYS;
	if (fresh) {
		block_dirty_clear(b->bitmap, 0, b->source->size);
		block_dirty_merge(b->bitmap, b->since);
	}
	if (!good && b->bitmap_mode == BITMAP_ALWAYS)
		block_dirty_merge(b->bitmap, b->todo);
	block_dirty_free(b->since);
	b->bitmap = b->since = NULL;
}

static bool backup_finish(struct block_job *job, bool success)
{
	struct backup *b = (struct backup *)job;
	struct block_graph *graph = job->jobs->graph;
	block_graph_hold(graph);
	/* Until now guests may have made the filter fail. */
	bool good = success && check_filter(b);
	block_graph_replace(graph, b->filter, b->source, b->filter);
	settle_bitmap(b, good);
	block_graph_release(graph);
	g_clear_pointer(&b->filter, block_close);
	g_clear_pointer(&b->todo, block_dirty_free);
	return good;
}

static void backup_free(struct block_job *job)
{
	struct backup *b = (struct backup *)job;
	block_close(b->filter);
	block_dirty_free(b->todo);
	block_dirty_free(b->since);
}

static const struct block_job_kind backup_kind = {
	.name = "backup",
	.size = sizeof(struct backup),
	.run = backup_run,
	.finish = backup_finish,
	.free = backup_free,
};

/* --- beginning ----------------------------------------------------------------------------------------*/

static bool check_options(const struct block_backup_options *o, GError **error)
{
	/* A target that is based on the source shows the moment while the backup runs (sync=none). */
	if (block_is_below(o->source, o->target))
		return error_set(error, BERTH_ERR_INVALID, "Source and target cannot be the same");
	if (!block_job_check_target(o->source, o->target, error))
		return false;
	if (o->sync >= SYNC_INCREMENTAL && !o->bitmap)
		return error_set(error, BERTH_ERR_INVALID,
				 "must provide a valid bitmap name for '%s' sync mode",
				 block_sync_names[o->sync]);
	if (o->sync < SYNC_INCREMENTAL && o->bitmap)
		return error_set(error, BERTH_ERR_INVALID, "sync mode '%s' does not use a bitmap",
				 block_sync_names[o->sync]);
	return !o->bitmap || block_dirty_check_usable(o->bitmap, error);
}

/* Whole clusters of the target, so that nothing has to be filled up from its backing file. */
static unsigned cluster_shift(struct block_node *target)
{
	json_t *info = block_info(target, NULL);
	json_int_t size = json_integer_value(json_object_get(info, "cluster-size"));
	json_decref(info);
	unsigned shift = BLOCK_DIRTY_SHIFT_DEFAULT;
	while (shift < 26 && (INT64_C(1) << shift) < size)
		shift++;
	return shift;
}

static void prepare_bitmaps(struct backup *b, const struct block_backup_options *o)
{
	b->todo = block_dirty_new(b->source, NULL, cluster_shift(o->target));
	b->todo->enabled = false;
	if (!o->bitmap) {
		block_dirty_set(b->todo, 0, b->source->size);
		return;
	}
	block_dirty_merge(b->todo, o->bitmap);
	b->bitmap = o->bitmap;
	b->bitmap->busy++;
	b->bitmap_mode = o->sync == SYNC_INCREMENTAL ? BITMAP_ON_SUCCESS : o->bitmap_mode;
	b->since = block_dirty_new(o->bitmap->node, NULL, o->bitmap->shift);
	b->since->enabled = o->bitmap->enabled;
}

bool block_backup_start(struct block_jobs *jobs, const struct block_backup_options *o, GError **error)
{
	if (!check_options(o, error))
		return false;
	struct backup *b = (struct backup *)block_job_new(jobs, &backup_kind, &o->job, error);
	if (!b)
		return false;
	b->source = o->source;
	b->target = o->target;
	b->sync = o->sync == SYNC_TOP && !block_below_filters(o->source)->backing ? SYNC_FULL : o->sync;
	if (!block_job_claim_node(&b->job, o->source, error) ||
	    !block_job_claim_node(&b->job, o->target, error)) {
		block_job_discard(&b->job);
		return false;
	}
	block_graph_hold(jobs->graph);
	prepare_bitmaps(b, o);
	b->filter = block_snapshot_filter_new(jobs->graph, block_ref(o->source), o->target, b->todo,
					      o->compress);
	block_graph_replace(jobs->graph, o->source, b->filter, b->filter);
	block_graph_release(jobs->graph);
	block_job_start(&b->job);
	return true;
}
