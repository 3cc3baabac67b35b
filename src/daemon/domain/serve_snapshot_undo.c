/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deleting snapshots, and going back to them. */
#include "daemon/domain/snapshot.h"
#include "daemon/rpc/serve.h"

#include <string.h>

struct undoing {
	char *name, *before; /* which was the current one */
	uint32_t flags;
};

static void undoing_free(void *opaque)
{
	struct undoing *undoing = opaque;
	g_free(undoing->name);
	g_free(undoing->before);
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

static void on_metadata_gone(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	if (error)
		job_fail(job, g_error_copy(error));
	else
		job_reply(job, NULL);
}

static void on_images_done(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	if (error) {
		job_fail(job, g_error_copy(error));
		return;
	}
	struct conf_snapshot *snapshot = find(job);
	if (!snapshot)
		return;
	struct moment_work *work = moment_work_new(job->dom, job->dom->snapshots, MOMENT_FILES_ONLY, NULL);
	g_autoptr(GPtrArray) children = moments_select(job->dom->snapshots, snapshot->moment.name, 0);
	g_autofree char *name = g_strdup(snapshot->moment.name);
	moments_remove(job->dom->snapshots, &snapshot->moment);
	/* The children, whose parent is another one now, before the file is gone. */
	for (unsigned i = 0; i < children->len; i++)
		moment_work_add_metadata(work, ((struct conf_moment *)children->pdata[i])->name);
	moment_work_add_metadata(work, name);
	moment_work_run(work, on_metadata_gone, job);
}

static void run_delete(struct domain_job *job)
{
	enum { METADATA_ONLY = 2 };
	const struct undoing *undoing = job->data;
	struct conf_snapshot *snapshot = find(job);
	if (!snapshot)
		return;
	bool images = !(undoing->flags & METADATA_ONLY);
	if (images && count(snapshot, CONF_SNAPSHOT_EXTERNAL)) {
		GError *error = NULL;
		virt_error(&error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
			   "deletion of %u external disk snapshots not supported yet",
			   count(snapshot, CONF_SNAPSHOT_EXTERNAL));
		job_fail(job, error);
	} else if (images && job->dom->vmm) {
		fail_with(job, VIRT_OPERATION_UNSUPPORTED,
			  "an internal snapshot of a running domain cannot be deleted yet: shut it down first");
	} else {
		struct moment_work *work = moment_work_new(
			job->dom, job->dom->snapshots, images ? MOMENT_DELETE : MOMENT_FILES_ONLY,
			snapshot->moment.name);
		if (images)
			add_images(work, job->dom, snapshot);
		moment_work_run(work, on_images_done, job);
	}
}

void serve_domain_snapshot_delete(struct rpc_call *call,
				  const struct remote_domain_snapshot_delete_args *args)
{
	enum { METADATA_ONLY = 2 };
	submit(call, &args->snap, args->flags, METADATA_ONLY, run_delete);
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
	return !count(snapshot, CONF_SNAPSHOT_EXTERNAL) ||
	       virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
			  "revert to external snapshot not supported yet");
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
	g_autofree char *path = store_path(dom->all->daemon, "domains", dom->uuid_text, ".xml");
	g_autofree char *xml = conf_domain_format(job->conf, -1);
	struct moment_work *work = moment_work_new(dom, dom->snapshots, MOMENT_APPLY, snapshot->moment.name);
	add_images(work, dom, snapshot);
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
