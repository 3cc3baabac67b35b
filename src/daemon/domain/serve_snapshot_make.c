/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making, deleting and going back to snapshots. A running domain's are of its disks alone, and external:
 * new images over those that it has. A stopped one's can be internal, in its qcow2 images.
 */
#include "base/error.h"
#include "daemon/domain/change.h"
#include "daemon/domain/checkpoint.h"
#include "daemon/domain/disk_now.h"
#include "daemon/domain/images.h"
#include "daemon/domain/snapshot.h"
#include "daemon/domain/vmm.h"

#include "daemon/rpc/serve.h"

#include <inttypes.h>
#include <string.h>

enum {
	CREATE_REDEFINE = 1, CREATE_CURRENT = 2, CREATE_NO_METADATA = 4, CREATE_DISK_ONLY = 16,
	CREATE_REUSE = 32, CREATE_QUIESCE = 64, CREATE_ATOMIC = 128, CREATE_VALIDATE = 512,
};

struct making {
	struct conf_snapshot *snapshot; /* NULL: the registry has it */
	char *name;
	uint32_t flags;
};

static void making_free(void *opaque)
{
	struct making *making = opaque;
	conf_snapshot_free(making->snapshot);
	g_free(making->name);
	g_free(making);
}

static struct moment_work *files_only(const struct domain_job *job)
{
	return moment_work_new(job->dom, job->dom->snapshots, MOMENT_FILES_ONLY, NULL);
}

/* --- What is written down ----------------------------------------------------------------------- */

static void on_written(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	const struct making *making = job->data;
	struct conf_snapshot *known = snapshot_find(job->dom, making->name);
	struct remote_domain_snapshot_create_xml_ret ret = {
		.snap = {.name = making->name, .dom = domain_wire(job->dom)}};
	if (!error) {
		job_reply(job, &ret);
		return;
	}
	/* The next daemon would not know it either. */
	if (known && !(making->flags & CREATE_NO_METADATA))
		moments_remove(job->dom->snapshots, &known->moment);
	job_fail(job, g_error_copy(error));
}

/* The snapshot becomes known, and the current one; `work` is what is still to be done before. */
static void write_metadata(struct domain_job *job, struct moment_work *work)
{
	struct making *making = job->data;
	struct domain *dom = job->dom;
	bool redefined = making->flags & CREATE_REDEFINE;
	if (making->flags & CREATE_NO_METADATA) {
		moment_work_run(work, on_written, job);
		return;
	}
	if (!redefined) {
		g_free(making->snapshot->moment.parent);
		making->snapshot->moment.parent = g_strdup(dom->snapshots->current);
	}
	moments_add(dom->snapshots, &g_steal_pointer(&making->snapshot)->moment);
	if (!redefined || making->flags & CREATE_CURRENT)
		moments_set_current(dom->snapshots, making->name);
	moment_work_add_metadata(work, making->name);
	moment_work_run(work, on_written, job);
}

/* --- Documents ------------------------------------------------------------------------------- */

static const struct conf_snapshot_disk *external(const struct making *making, unsigned i)
{
	const struct conf_snapshot_disk *disk = making->snapshot->disks->pdata[i];
	return disk->where == CONF_SNAPSHOT_EXTERNAL ? disk : NULL;
}

/* A disk of the definition may be another one than what runs has by that name: it is left alone. */
static bool edit_overlays(xmlNode *root, void *opaque, GError **error)
{
	const struct domain_job *job = opaque;
	const struct making *making = job->data;
	for (unsigned i = 0; i < making->snapshot->disks->len; i++) {
		const struct conf_snapshot_disk *disk = external(making, i);
		const struct conf_domain_disk *its =
			disk ? conf_domain_find_disk(domain_conf(job->dom), disk->name) : NULL;
		xml_for_each(node, its ? xml_child(root, "devices") : NULL, "disk") {
			g_autofree char *target = conf_domain_child_attribute(node, "target", "dev");
			g_autofree char *source = conf_disk_source_key(node);
			if (g_strcmp0(target, disk->name) == 0 && g_strcmp0(source, its->source.key) == 0)
				disk_now_edit(node, disk->file, disk->format);
		}
	}
	return true;
}

/* The definition with the overlays in it is one of the files to be written. */
static bool replace_definition(struct domain_job *job, struct moment_work *work, GError **error)
{
	struct domain *dom = job->dom;
	if (!dom->definition)
		return true;
	job->conf = change_edit(dom, false, edit_overlays, job, error);
	if (!job->conf)
		return false;
	g_autofree char *path = store_path(dom->all->daemon, "domains", dom->uuid_text, ".xml");
	g_autofree char *xml = conf_domain_format(job->conf, -1);
	moment_work_add_file(work, path, xml);
	return true;
}

static void on_documents_written(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	struct domain *dom = job->dom;
	if (error) {
		job_fail(job, g_error_copy(error));
		return;
	}
	if (job->conf) {
		conf_domain_free(dom->definition);
		dom->definition = g_steal_pointer(&job->conf);
		conf_domain_compact(dom->definition);
	}
	write_metadata(job, files_only(job));
}

/* --- Of a running domain ------------------------------------------------------------------------ */

/* The VMM must be able to write the overlays. */
static bool give_overlays(const struct domain_job *job, GError **error)
{
	const struct making *making = job->data;
	for (unsigned i = 0; i < making->snapshot->disks->len; i++) {
		const struct conf_snapshot_disk *disk = external(making, i);
		if (disk && !images_add(job->dom, disk->file, !(making->flags & CREATE_REUSE), error))
			return false;
	}
	return true;
}

static void drop_overlays(const struct domain_job *job)
{
	const struct making *making = job->data;
	for (unsigned i = 0; i < making->snapshot->disks->len; i++) {
		const struct conf_snapshot_disk *disk = external(making, i);
		if (disk)
			images_drop(job->dom, disk->file, !(making->flags & CREATE_REUSE));
	}
}

static void taken(struct domain_job *job, GError *error)
{
	struct domain *dom = job->dom;
	if (!error && !dom->vmm)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED, "the domain has ended");
	if (error) {
		drop_overlays(job);
		job_fail(job, error);
		return;
	}
	struct moment_work *work = files_only(job);
	struct conf_domain *live = NULL;
	/* First the definition, which is compared with what runs. */
	if (!replace_definition(job, work, &error) ||
	    !(live = change_edit(dom, true, edit_overlays, job, &error))) {
		moment_work_free(work);
		job_fail(job, error);
		return;
	}
	change_live(dom, live);
	moment_work_run(work, on_documents_written, job);
}

/* Its node gets a name by which the transaction can go on with the bitmaps of checkpoints. */
static void add_overlay(const struct making *making, const struct conf_snapshot_disk *disk,
			const struct disk_now *now, json_t *actions)
{
	g_autofree char *node = g_strdup_printf("overlay-%s-%" PRIx64, disk->name, g_get_real_time());
	json_array_append_new(actions, json_pack("{s:s, s:{s:s, s:s, s:s, s:s, s:s}}", "type",
						 "blockdev-snapshot-sync", "data",
						 now->is_node ? "node-name" : "device", now->name, "snapshot-file",
						 disk->file, "snapshot-node-name", node, "format", disk->format,
						 "mode", making->flags & CREATE_REUSE ? "existing"
										      : "absolute-paths"));
	checkpoint_carry_over(now, node, NULL, actions);
}

static bool add_actions(struct domain_job *job, const json_t *blocks, json_t *actions, GError **error)
{
	const struct making *making = job->data;
	for (unsigned i = 0; i < making->snapshot->disks->len; i++) {
		const struct conf_snapshot_disk *disk = external(making, i);
		const struct conf_domain_disk *its =
			disk ? conf_domain_find_disk(job->dom->live, disk->name) : NULL;
		struct disk_now now;
		if (!disk)
			continue;
		if (!its || !disk_now_find(blocks, its->dev.alias, &now))
			return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
					  "the VMM does not know the disk '%s'", disk->name);
		add_overlay(making, disk, &now, actions);
	}
	return give_overlays(job, error);
}

static const struct moment_taker snapshot_taker = {add_actions, taken};

/* --- Of a stopped domain ------------------------------------------------------------------------ */

static void take_stopped(struct domain_job *job)
{
	const struct making *making = job->data;
	struct domain *dom = job->dom;
	bool overlays = making->flags & CREATE_DISK_ONLY;
	struct moment_work *work =
		moment_work_new(dom, dom->snapshots, overlays ? MOMENT_OVERLAY : MOMENT_CREATE, making->name);
	GError *error = NULL;
	for (unsigned i = 0; i < making->snapshot->disks->len; i++) {
		const struct conf_snapshot_disk *disk = making->snapshot->disks->pdata[i];
		const struct conf_domain_disk *its = conf_domain_find_disk(dom->definition, disk->name);
		if (disk->where != CONF_SNAPSHOT_NONE && !(making->flags & CREATE_REUSE))
			moment_work_add_image(work, its->file, its->format, disk->file);
	}
	if (!overlays || replace_definition(job, work, &error)) {
		moment_work_run(work, on_documents_written, job);
		return;
	}
	moment_work_free(work);
	job_fail(job, error);
}

/* --- Create --------------------------------------------------------------------------------- */

static bool check_files(const struct making *making, GError **error)
{
	bool reuse = making->flags & CREATE_REUSE, any = false;
	for (unsigned i = 0; i < making->snapshot->disks->len; i++) {
		const struct conf_snapshot_disk *disk = making->snapshot->disks->pdata[i];
		any |= disk->where != CONF_SNAPSHOT_NONE;
		if (disk->where != CONF_SNAPSHOT_EXTERNAL ||
		    g_file_test(disk->file, G_FILE_TEST_EXISTS) == reuse)
			continue;
		return virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
				  reuse ? "the image '%s', which is to be used again, is not there"
					: "external snapshot file for disk already exists and is not a block "
					  "device: %s", disk->file);
	}
	return any || virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
				 "nothing selected for snapshot");
}

static bool check_kind(const struct making *making, GError **error)
{
	bool disk_only = making->flags & CREATE_DISK_ONLY;
	for (unsigned i = 0; i < making->snapshot->disks->len; i++) {
		const struct conf_snapshot_disk *disk = making->snapshot->disks->pdata[i];
		if (disk->where != (disk_only ? CONF_SNAPSHOT_INTERNAL : CONF_SNAPSHOT_EXTERNAL))
			continue;
		return virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED,
				  disk_only ? "disk '%s': a disk-only snapshot is external"
					    : "disk '%s': external snapshots are made with --disk-only",
				  disk->name);
	}
	return true;
}

/* Everything that can be known before something is done. */
static bool prepare(struct domain *dom, struct making *making, GError **error)
{
	struct conf_snapshot *snapshot = making->snapshot;
	g_autoptr(GError) cause = NULL;
	bool disk_only = making->flags & CREATE_DISK_ONLY;
	if (dom->vmm && (!disk_only || snapshot->memory == CONF_SNAPSHOT_EXTERNAL))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "a running domain's memory cannot be saved in a snapshot yet: use --disk-only, "
				  "or shut the domain down");
	if (!dom->vmm && !moments_allow_stopped(dom, error))
		return false;
	if (!dom->vmm && making->flags & CREATE_QUIESCE)
		return virt_error(error, VIRT_FROM_DOMAIN, VIRT_OPERATION_INVALID, "domain is not running");
	if (!dom->definition && !dom->vmm)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID, "the domain is gone");
	if (snapshot_find(dom, snapshot->moment.name))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED,
				  "domain snapshot %s already exists", snapshot->moment.name);
	if (!conf_snapshot_align(snapshot, domain_conf(dom),
				 disk_only ? CONF_SNAPSHOT_EXTERNAL : CONF_SNAPSHOT_INTERNAL, &cause))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED, "%s", cause->message);
	if (!check_kind(making, error) || !check_files(making, error))
		return false;
	g_free(snapshot->state);
	snapshot->state = g_strdup(dom->vmm ? "disk-snapshot" : "shutoff");
	snapshot->moment.created = g_get_real_time() / G_USEC_PER_SEC;
	snapshot->memory = CONF_SNAPSHOT_NONE;
	g_free(snapshot->moment.domain);
	snapshot->moment.domain = dom->definition ? conf_domain_format(dom->definition, -1)
					   : conf_domain_format(dom->live, -1);
	return true;
}

/* A document that tells of a snapshot is as good as those that are made here. */
static bool check_redefined(const struct domain *dom, struct conf_snapshot *snapshot, GError **error)
{
	g_autoptr(GError) cause = NULL;
	bool external = g_strcmp0(snapshot->state, "disk-snapshot") == 0;
	if (!snapshot->moment.domain || !snapshot->state)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_XML_ERROR, "missing %s in snapshot",
				  snapshot->moment.domain ? "state" : "domain");
	if (!moments_check_parent(dom->snapshots, &snapshot->moment, error))
		return false;
	struct conf_domain *then = conf_domain_parse(snapshot->moment.domain, false, &cause);
	if (then && memcmp(then->uuid, dom->uuid, sizeof(dom->uuid)) != 0)
		error_set(&cause, BERTH_ERR_INVALID, "definition for snapshot %s must use uuid %s",
			  snapshot->moment.name, dom->uuid_text);
	else if (then)
		conf_snapshot_align(snapshot, then, external
				    ? CONF_SNAPSHOT_EXTERNAL : CONF_SNAPSHOT_INTERNAL,
				    &cause);
	conf_domain_free(then);
	return !cause || virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED, "%s", cause->message);
}

static void run_create(struct domain_job *job)
{
	struct making *making = job->data;
	GError *error = NULL;
	if (making->flags & CREATE_REDEFINE) {
		if (check_redefined(job->dom, making->snapshot, &error))
			write_metadata(job, files_only(job));
		else
			job_fail(job, error);
		return;
	}
	if (!prepare(job->dom, making, &error))
		job_fail(job, error);
	else if (job->dom->vmm)
		moment_take(job, &snapshot_taker, making->flags & CREATE_QUIESCE);
	else
		take_stopped(job);
}

void serve_domain_snapshot_create_xml(struct rpc_call *call,
				      const struct remote_domain_snapshot_create_xml_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	g_autoptr(GError) cause = NULL;
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags,
					  CREATE_REDEFINE | CREATE_CURRENT | CREATE_NO_METADATA |
						  CREATE_DISK_ONLY | CREATE_REUSE | CREATE_QUIESCE |
						  CREATE_ATOMIC | CREATE_VALIDATE))
		return;
	struct conf_snapshot *snapshot = conf_snapshot_parse(args->xml, &cause);
	if (!snapshot) {
		virt_error(&error, VIRT_FROM_DOMAIN,
			   cause->code == BERTH_ERR_NOT_SUPPORTED ? VIRT_CONFIG_UNSUPPORTED : VIRT_XML_ERROR,
			   "%s", cause->message);
		rpc_call_fail(call, error);
		return;
	}
	struct making *making = g_new0(struct making, 1);
	making->snapshot = snapshot;
	making->name = g_strdup(snapshot->moment.name);
	making->flags = args->flags;
	struct domain_job *job = domain_submit(dom, call, run_create);
	job->data = making;
	job->free_data = making_free;
	domain_run_jobs(dom);
}
