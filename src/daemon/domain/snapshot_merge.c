/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/snapshot_merge.h"

#include "base/log.h"
#include "daemon/domain/blockjob.h"
#include "daemon/domain/disk_now.h"
#include "daemon/domain/images.h"
#include "daemon/domain/vmm.h"

#include <string.h>

#define POLL_NS (INT64_C(20) * 1000000)

/* --- What is to be done ----------------------------------------------------------------------- */

static void merge_free(void *opaque)
{
	struct snapshot_merge *merge = opaque;
	g_free(merge->target);
	g_free(merge->overlay);
	g_free(merge->base);
	g_free(merge->base_format);
	g_free(merge);
}

static bool add(GPtrArray *merges, const struct domain *dom, const struct conf_domain *then,
		const struct conf_snapshot_disk *disk, GError **error)
{
	const struct conf_domain *now = dom->vmm ? dom->live : dom->definition;
	const struct conf_domain_disk *below = conf_domain_find_disk(then, disk->name);
	const struct conf_domain_disk *its = conf_domain_find_disk(now, disk->name);
	if (!below || !below->file || !its || !its->file)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "deletion of external snapshot: disk '%s' has no image of its own, %s",
				  disk->name, its && its->file ? "in the snapshot" : "in the domain");
	struct snapshot_merge *merge = g_new(struct snapshot_merge, 1);
	*merge = (struct snapshot_merge){g_strdup(its->target), g_strdup(disk->file), g_strdup(below->file),
					 g_strdup(below->format)};
	g_ptr_array_add(merges, merge);
	return true;
}

GPtrArray *snapshot_merge_plan(const struct domain *dom, const struct conf_snapshot *snapshot, GError **error)
{
	g_autoptr(GPtrArray) children = moments_select(dom->snapshots, snapshot->moment.name, 0);
	g_autoptr(GPtrArray) merges = g_ptr_array_new_with_free_func(merge_free);
	if (children->len > 1)
		return (void *)virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
					  "deletion of external disk snapshot with %u children is not supported: "
					  "delete them first", children->len);
	struct conf_domain *then =
		snapshot->moment.domain ? conf_domain_parse(snapshot->moment.domain, false, error) : NULL;
	if (!then && !snapshot->moment.domain)
		virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
			   "the snapshot does not say what the domain was");
	bool good = then != NULL;
	for (unsigned i = 0; good && i < snapshot->disks->len; i++) {
		const struct conf_snapshot_disk *disk = snapshot->disks->pdata[i];
		good = disk->where != CONF_SNAPSHOT_EXTERNAL || add(merges, dom, then, disk, error);
	}
	conf_domain_free(then);
	return good ? g_steal_pointer(&merges) : NULL;
}

/* --- Documents ------------------------------------------------------------------------------- */

bool snapshot_merge_edit(xmlNode *root, void *opaque, GError **error)
{
	const GPtrArray *merges = opaque;
	xml_for_each(disk, xml_child(root, "devices"), "disk") {
		g_autofree char *target = conf_domain_child_attribute(disk, "target", "dev");
		g_autofree char *file = conf_domain_child_attribute(disk, "source", "file");
		for (unsigned i = 0; i < merges->len; i++) {
			const struct snapshot_merge *merge = merges->pdata[i];
			if (g_strcmp0(target, merge->target) == 0 && g_strcmp0(file, merge->overlay) == 0)
				disk_now_edit(disk, merge->base, merge->base_format);
		}
	}
	return true;
}

/* --- Of a stopped domain ------------------------------------------------------------------------ */

void snapshot_merge_stopped(const struct domain *dom, const GPtrArray *merges, struct moment_work *work)
{
	for (unsigned i = 0; i < merges->len; i++) {
		const struct snapshot_merge *merge = merges->pdata[i];
		const struct conf_domain_disk *its = conf_domain_find_disk(dom->definition, merge->target);
		moment_work_add_commit(work, its->file, its->format, merge->overlay, merge->base);
	}
}

/* --- Of a running domain ------------------------------------------------------------------------ */

struct merging {
	struct domain *dom;
	const GPtrArray *merges;
	unsigned at;
	char *job;      /* the id of the block job of `at` */
	bool active, completing;
	struct aio_timer timer;
	GError *error;
	moment_done_fn *done;
	void *opaque;
};

static void begin(struct merging *merging);
static void look(void *opaque);

static const struct snapshot_merge *current(const struct merging *merging)
{
	return merging->merges->pdata[merging->at];
}

static const char *alias_of(const struct merging *merging)
{
	const struct domain *dom = merging->dom;
	const struct conf_domain_disk *disk =
		dom->live ? conf_domain_find_disk(dom->live, current(merging)->target) : NULL;
	return disk ? disk->dev.alias : "";
}

static void end(struct merging *merging)
{
	aio_timer_cancel(&merging->timer);
	merging->done(merging->opaque, merging->error);
	domain_unpin(merging->dom);
	g_clear_error(&merging->error);
	g_free(merging->job);
	g_free(merging);
}

static void fail(struct merging *merging, const GError *cause)
{
	const struct snapshot_merge *merge = current(merging);
	virt_error(&merging->error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
		   "the overlay '%s' of disk '%s' cannot be committed into '%s': %s", merge->overlay, merge->target,
		   merge->base, cause ? cause->message : "the block job has failed");
	end(merging);
}

/* The job is gone: if it has done its work, the overlay is in the chain no more. */
static void on_after(void *opaque, json_t *result, const GError *error)
{
	struct merging *merging = opaque;
	struct disk_now now;
	bool good = !error && disk_now_find(result, alias_of(merging), &now);
	const json_t *image = good ? now.image : NULL;
	for (; image; image = json_object_get(image, "backing-image"))
		good &= g_strcmp0(json_string_value(json_object_get(image, "filename")),
				  current(merging)->overlay) != 0;
	if (!good) {
		fail(merging, error);
		return;
	}
	merging->at++;
	begin(merging);
}

static void on_completing(void *opaque, json_t *result, const GError *error)
{
	if (error)
		fail(opaque, error);
	else
		look(opaque);
}

static void on_jobs(void *opaque, json_t *result, const GError *error)
{
	struct merging *merging = opaque;
	const char *status = NULL;
	size_t i;
	json_t *job;
	json_array_foreach(result, i, job) {
		if (g_strcmp0(json_string_value(json_object_get(job, "id")), merging->job) == 0)
			status = json_string_value(json_object_get(job, "status"));
	}
	if (error) {
		fail(merging, error);
	} else if (!status) {
		vmm_execute(merging->dom, "query-block", NULL, on_after, merging);
	} else if (strcmp(status, "ready") == 0 && !merging->completing) {
		merging->completing = true;
		vmm_execute(merging->dom, "job-complete", json_pack("{s:s}", "id", merging->job),
			    on_completing, merging);
	} else {
		aio_timer_arm(&merging->timer, aio_now_ns() + POLL_NS);
	}
}

static void look(void *opaque)
{
	struct merging *merging = opaque;
	vmm_execute(merging->dom, "query-jobs", NULL, on_jobs, merging);
}

static void on_carried(void *opaque, const GError *error)
{
	struct merging *merging = opaque;
	/* Backups will miss the bitmaps and say so. */
	if (error)
		log_warning("domain '%s': %s", merging->dom->name, error->message);
	look(merging);
}

static void on_begun(void *opaque, json_t *result, const GError *error)
{
	struct merging *merging = opaque;
	if (error)
		fail(merging, error);
	else if (merging->active)
		block_job_carry_bitmaps(merging->dom, alias_of(merging), BLOCK_JOB_ACTIVE_COMMIT,
					current(merging)->base, on_carried, merging);
	else
		look(merging);
}

static void on_disk(void *opaque, const struct disk_now *now, const GError *error)
{
	struct merging *merging = opaque;
	const struct snapshot_merge *merge = current(merging);
	if (error) {
		fail(merging, error);
		return;
	}
	g_autoptr(GError) failure = NULL;
	if (!images_let_write_below(merging->dom, now->image, &failure)) {
		fail(merging, failure);
		return;
	}
	bool active = strcmp(now->file, merge->overlay) == 0;
	merging->job = block_job_name(active ? BLOCK_JOB_ACTIVE_COMMIT : BLOCK_JOB_COMMIT, alias_of(merging));
	json_t *args = json_pack("{s:s, s:s, s:s}", "device", now->name, "job-id", merging->job, "base",
				 merge->base);
	if (!active)
		json_object_set_new(args, "top", json_string(merge->overlay));
	merging->active = active;
	vmm_execute(merging->dom, "block-commit", args, on_begun, merging);
}

static void begin(struct merging *merging)
{
	g_clear_pointer(&merging->job, g_free);
	merging->completing = false;
	if (merging->at < merging->merges->len)
		disk_now_query(merging->dom, alias_of(merging), on_disk, merging);
	else
		end(merging);
}

void snapshot_merge_live(struct domain *dom, const GPtrArray *merges, moment_done_fn *done, void *opaque)
{
	struct merging *merging = g_new0(struct merging, 1);
	merging->dom = domain_pin(dom);
	merging->merges = merges;
	merging->done = done;
	merging->opaque = opaque;
	aio_timer_init(&merging->timer, dom->all->daemon->loop, look, merging);
	begin(merging);
}
