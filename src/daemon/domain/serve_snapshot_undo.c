/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deleting snapshots, and going back to them. */
#include "base/log.h"
#include "daemon/domain/change.h"
#include "daemon/domain/disk_now.h"
#include "daemon/domain/images.h"
#include "daemon/domain/snapshot_merge.h"
#include "daemon/domain/vmm.h"
#include "daemon/rpc/serve.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct undoing {
	char *name, *before; /* which was the current one */
	uint32_t flags;
	GPtrArray *merges;   /* struct snapshot_merge, of an external one; or NULL */
	GPtrArray *rest;     /* names (char *) of more to be deleted, the last one first; or NULL */
};

static void undoing_free(void *opaque)
{
	struct undoing *undoing = opaque;
	g_free(undoing->name);
	g_free(undoing->before);
	g_clear_pointer(&undoing->merges, g_ptr_array_unref);
	g_clear_pointer(&undoing->rest, g_ptr_array_unref);
	g_free(undoing);
}

static void fail_with(struct domain_job *job, enum virt_code code, const char *text)
{
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_QEMU, code, "%s", text);
	job_fail(job, error);
}

/* NULL with the job failed. */
static struct conf_snapshot *find(struct domain_job *job)
{
	const struct undoing *undoing = job->data;
	GError *error = NULL;
	struct conf_moment *moment = moments_need(job->dom->snapshots, undoing->name, &error);
	if (!moment)
		job_fail(job, error);
	return (struct conf_snapshot *)moment;
}

static unsigned count(const struct conf_snapshot *snapshot, enum conf_snapshot_where where)
{
	unsigned number = 0;
	for (unsigned i = 0; i < snapshot->disks->len; i++)
		number += ((struct conf_snapshot_disk *)snapshot->disks->pdata[i])->where == where;
	return number;
}

/* The images of the definition that have the snapshot in them. */
static void add_images(struct moment_work *work, const struct domain *dom,
		       const struct conf_snapshot *snapshot)
{
	for (unsigned i = 0; i < snapshot->disks->len; i++) {
		const struct conf_snapshot_disk *disk = snapshot->disks->pdata[i];
		const struct conf_domain_disk *its = conf_domain_find_disk(dom->definition, disk->name);
		if (disk->where == CONF_SNAPSHOT_INTERNAL && its && its->file)
			moment_work_add_image(work, its->file, its->format, NULL);
	}
}

static void submit(struct rpc_call *call, const struct remote_snapshot *wire, uint32_t flags,
		   uint32_t allowed, void (*run)(struct domain_job *job))
{
	struct domain *dom = domain_find(call, &wire->dom);
	if (!dom || !rpc_call_check_flags(call, flags, allowed))
		return;
	struct undoing *undoing = g_new(struct undoing, 1);
	*undoing = (struct undoing){.name = g_strdup(wire->name), .flags = flags};
	struct domain_job *job = domain_submit(dom, call, run);
	job->data = undoing;
	job->free_data = undoing_free;
	domain_run_jobs(dom);
}

/* --- Delete --------------------------------------------------------------------------------- */

enum { DELETE_CHILDREN = 1, DELETE_METADATA_ONLY = 2, DELETE_CHILDREN_ONLY = 4 };

static void delete_next(struct domain_job *job);

static void on_metadata_gone(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	struct undoing *undoing = job->data;
	if (error) {
		job_fail(job, g_error_copy(error));
		return;
	}
	/* No document names them any more. */
	for (unsigned i = 0; undoing->merges && i < undoing->merges->len; i++) {
		const struct snapshot_merge *merge = undoing->merges->pdata[i];
		if (unlink(merge->overlay) < 0)
			log_warning("domain '%s': cannot remove '%s': %s", job->dom->name, merge->overlay,
				    g_strerror(errno));
	}
	g_clear_pointer(&undoing->merges, g_ptr_array_unref);
	delete_next(job);
}

/* The images below have taken the overlays' place in the definition, and in what runs. */
static bool merge_documents(struct domain *dom, const GPtrArray *merges, struct moment_work *work,
			    GError **error)
{
	struct conf_domain *live =
		dom->live ? change_edit(dom, true, snapshot_merge_edit, (void *)merges, error) : NULL;
	if (dom->live && !live)
		return false;
	if (live) {
		change_live(dom, live);
		images_release(dom);
	}
	struct conf_domain *next =
		dom->definition ? change_edit(dom, false, snapshot_merge_edit, (void *)merges, error) : NULL;
	if (!next)
		return !dom->definition;
	g_autofree char *path = store_path(dom->all->daemon, "domains", dom->uuid_text, ".xml");
	g_autofree char *xml = conf_domain_format(next, -1);
	conf_domain_free(dom->definition);
	dom->definition = next;
	conf_domain_compact(next);
	moment_work_add_file(work, path, xml);
	return true;
}

/* What a child says that the domain was names the overlay. */
static bool merge_child(struct conf_moment *child, const GPtrArray *merges, GError **error)
{
	struct conf_domain *then = child->domain ? conf_domain_parse(child->domain, false, error) : NULL;
	char *text = then ? conf_domain_edit(then, snapshot_merge_edit, (void *)merges, error) : NULL;
	conf_domain_free(then);
	if (!text)
		return !child->domain;
	g_free(child->domain);
	child->domain = text;
	return true;
}

static void on_images_done(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	const struct undoing *undoing = job->data;
	struct moments *all = job->dom->snapshots;
	GError *failure = NULL;
	if (error) {
		job_fail(job, g_error_copy(error));
		return;
	}
	struct conf_snapshot *snapshot = find(job);
	if (!snapshot)
		return;
	struct moment_work *work = moment_work_new(job->dom, all, MOMENT_FILES_ONLY, NULL);
	g_autoptr(GPtrArray) children = moments_select(all, snapshot->moment.name, 0);
	bool good = !undoing->merges || merge_documents(job->dom, undoing->merges, work, &failure);
	for (unsigned i = 0; good && undoing->merges && i < children->len; i++)
		good = merge_child(children->pdata[i], undoing->merges, &failure);
	if (!good) {
		moment_work_free(work);
		job_fail(job, failure);
		return;
	}
	moments_remove(all, &snapshot->moment);
	/* The children, whose parent is another one now, before the file is gone. */
	for (unsigned i = 0; i < children->len; i++)
		moment_work_add_metadata(work, ((struct conf_moment *)children->pdata[i])->name);
	moment_work_add_metadata(work, undoing->name);
	moment_work_run(work, on_metadata_gone, job);
}

static void delete_external(struct domain_job *job, const struct conf_snapshot *snapshot)
{
	struct undoing *undoing = job->data;
	GError *error = NULL;
	if (count(snapshot, CONF_SNAPSHOT_INTERNAL))
		virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
			   "deletion of snapshot with both internal and external disks is not supported");
	else
		undoing->merges = snapshot_merge_plan(job->dom, snapshot, &error);
	if (error) {
		job_fail(job, error);
	} else if (job->dom->vmm) {
		snapshot_merge_live(job->dom, undoing->merges, on_images_done, job);
	} else {
		struct moment_work *work =
			moment_work_new(job->dom, job->dom->snapshots, MOMENT_COMMIT, undoing->name);
		snapshot_merge_stopped(job->dom, undoing->merges, work);
		moment_work_run(work, on_images_done, job);
	}
}

static void delete_one(struct domain_job *job)
{
	const struct undoing *undoing = job->data;
	struct conf_snapshot *snapshot = find(job);
	if (!snapshot)
		return;
	bool images = !(undoing->flags & DELETE_METADATA_ONLY);
	if (images && count(snapshot, CONF_SNAPSHOT_EXTERNAL)) {
		delete_external(job, snapshot);
	} else if (images && job->dom->vmm) {
		fail_with(job, VIRT_OPERATION_UNSUPPORTED,
			  "an internal snapshot of a running domain cannot be "
			  "deleted yet: shut it down first");
	} else {
		struct moment_work *work = moment_work_new(
			job->dom, job->dom->snapshots, images ? MOMENT_DELETE : MOMENT_FILES_ONLY,
			snapshot->moment.name);
		if (images)
			add_images(work, job->dom, snapshot);
		moment_work_run(work, on_images_done, job);
	}
}

static void delete_next(struct domain_job *job)
{
	struct undoing *undoing = job->data;
	if (!undoing->rest->len) {
		job_reply(job, NULL);
		return;
	}
	g_free(undoing->name);
	undoing->name = g_ptr_array_steal_index(undoing->rest, undoing->rest->len - 1);
	delete_one(job);
}

static void run_delete(struct domain_job *job)
{
	struct undoing *undoing = job->data;
	struct conf_snapshot *snapshot = find(job);
	if (!snapshot)
		return;
	bool below = undoing->flags & (DELETE_CHILDREN | DELETE_CHILDREN_ONLY);
	g_autoptr(GPtrArray) chosen = below ? moments_select(job->dom->snapshots, undoing->name,
							     MOMENTS_DESCENDANTS) : g_ptr_array_new();
	if (!(undoing->flags & DELETE_CHILDREN_ONLY))
		g_ptr_array_insert(chosen, 0, snapshot);
	undoing->rest = g_ptr_array_new_with_free_func(g_free);
	for (unsigned i = 0; i < chosen->len; i++) {
		const struct conf_snapshot *one = chosen->pdata[i];
		if (below && !(undoing->flags & DELETE_METADATA_ONLY) && count(one, CONF_SNAPSHOT_EXTERNAL)) {
			fail_with(job, VIRT_OPERATION_UNSUPPORTED,
				  "deletion of external disk snapshots with children not supported");
			return;
		}
		g_ptr_array_add(undoing->rest, g_strdup(one->moment.name));
	}
	delete_next(job);
}

void serve_domain_snapshot_delete(struct rpc_call *call,
				  const struct remote_domain_snapshot_delete_args *args)
{
	submit(call, &args->snap, args->flags,
	       DELETE_CHILDREN | DELETE_METADATA_ONLY | DELETE_CHILDREN_ONLY, run_delete);
}

/* --- Revert --------------------------------------------------------------------------------- */

static void on_reverted(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	enum { RUNNING = 1, PAUSED = 2 };
	struct undoing *undoing = job->data;
	struct domain *dom = job->dom;
	if (error) {
		moments_set_current(dom->snapshots, undoing->before);
		job_fail(job, g_error_copy(error));
		return;
	}
	conf_domain_free(dom->definition);
	dom->definition = g_steal_pointer(&job->conf);
	conf_domain_compact(dom->definition);
	domain_emit(dom, EVENT_DEFINED, 3); /* by a snapshot */
	if (undoing->flags & (RUNNING | PAUSED))
		vmm_start(job, dom->definition, undoing->flags & PAUSED);
	else
		job_reply(job, NULL);
}

static bool check_revert(const struct domain *dom, const struct conf_snapshot *snapshot, GError **error)
{
	if (dom->vmm)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "a running domain cannot go back to a snapshot yet: shut it down first");
	if (!dom->definition || !snapshot->moment.domain)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
				  "the snapshot does not say what the domain was");
	if (!moments_allow_stopped(dom, error))
		return false;
	if (!count(snapshot, CONF_SNAPSHOT_EXTERNAL))
		return true;
	if (count(snapshot, CONF_SNAPSHOT_INTERNAL))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
				  "revert to snapshot with both internal and external disks is not supported");
	g_autoptr(GPtrArray) children = moments_select(dom->snapshots, snapshot->moment.name, 0);
	return !children->len ||
	       virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
			  "revert to external snapshot '%s' is not supported while there are snapshots after it, "
			  "whose images lie on its own: delete '%s' and others first", snapshot->moment.name,
			  ((struct conf_moment *)children->pdata[0])->name);
}

/* The disks get the snapshot's overlays, whose content goes. */
static bool edit_overlays(xmlNode *root, void *opaque, GError **error)
{
	const struct conf_snapshot *snapshot = opaque;
	xml_for_each(node, xml_child(root, "devices"), "disk") {
		g_autofree char *target = conf_domain_child_attribute(node, "target", "dev");
		for (unsigned i = 0; i < snapshot->disks->len; i++) {
			const struct conf_snapshot_disk *disk = snapshot->disks->pdata[i];
			if (disk->where == CONF_SNAPSHOT_EXTERNAL && g_strcmp0(target, disk->name) == 0)
				disk_now_edit(node, disk->file, disk->format);
		}
	}
	return true;
}

/* `then` is what the domain was, and becomes what it is to be. */
static bool renew_overlays(struct moment_work *work, struct conf_domain **then,
			   const struct conf_snapshot *snapshot, GError **error)
{
	for (unsigned i = 0; i < snapshot->disks->len; i++) {
		const struct conf_snapshot_disk *disk = snapshot->disks->pdata[i];
		const struct conf_domain_disk *below = conf_domain_find_disk(*then, disk->name);
		if (disk->where == CONF_SNAPSHOT_EXTERNAL && below && below->file)
			moment_work_add_image(work, below->file, below->format, disk->file);
	}
	g_autofree char *text = conf_domain_edit(*then, edit_overlays, (void *)snapshot, error);
	struct conf_domain *next = text ? conf_domain_parse(text, false, error) : NULL;
	if (!next)
		return false;
	conf_domain_free(*then);
	*then = next;
	return true;
}

static void run_revert(struct domain_job *job)
{
	struct domain *dom = job->dom;
	struct undoing *undoing = job->data;
	struct conf_snapshot *snapshot = find(job);
	GError *error = NULL;
	if (!snapshot)
		return;
	/* What the document of then says is checked as anything else: a client may have written it. */
	if (!check_revert(dom, snapshot, &error) ||
	    !(job->conf = conf_domain_parse(snapshot->moment.domain, false, &error))) {
		job_fail(job, error);
		return;
	}
	if (memcmp(job->conf->uuid, dom->uuid, sizeof(dom->uuid)) != 0 ||
	    strcmp(job->conf->name, dom->name) != 0) {
		fail_with(job, VIRT_OPERATION_INVALID,
			  "the snapshot is of a domain with another name or uuid");
		return;
	}
	bool external = count(snapshot, CONF_SNAPSHOT_EXTERNAL);
	struct moment_work *work = moment_work_new(
		dom, dom->snapshots, external ? MOMENT_RENEW : MOMENT_APPLY, snapshot->moment.name);
	if (external && !renew_overlays(work, &job->conf, snapshot, &error)) {
		moment_work_free(work);
		job_fail(job, error);
		return;
	}
	add_images(work, dom, snapshot);
	g_autofree char *path = store_path(dom->all->daemon, "domains", dom->uuid_text, ".xml");
	g_autofree char *xml = conf_domain_format(job->conf, -1);
	moment_work_add_file(work, path, xml);
	undoing->before = g_strdup(dom->snapshots->current);
	moments_set_current(dom->snapshots, snapshot->moment.name);
	moment_work_add_metadata(work, snapshot->moment.name);
	moment_work_run(work, on_reverted, job);
}

void serve_domain_revert_to_snapshot(struct rpc_call *call,
				     const struct remote_domain_revert_to_snapshot_args *args)
{
	enum { RUNNING = 1, PAUSED = 2, FORCE = 4 };
	submit(call, &args->snap, args->flags, RUNNING | PAUSED | FORCE, run_revert);
}
