/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Beginning a backup of a running domain's disks: images, NBD server, bitmaps and jobs. */
#include "base/error.h"
#include "base/log.h"
#include "block/core/image.h"
#include "daemon/domain/backup.h"
#include "daemon/domain/blockjob.h"
#include "daemon/domain/checkpoint.h"
#include "daemon/domain/images.h"
#include "daemon/domain/steps.h"
#include "daemon/domain/vmm.h"

#include "daemon/rpc/serve.h"

#include <string.h>
#include <unistd.h>

struct image {
	char *file, *format, *backing, *backing_format;
	uint64_t size;
	bool made;
};

struct beginning {
	struct conf_backup *conf;           /* NULL: the domain has it */
	struct conf_checkpoint *checkpoint; /* or NULL, or the registry has it */
	char *checkpoint_name;              /* or NULL */
	json_t *blocks;                     /* of query-block */
	struct steps *steps, *exports;
	/* What is made on a thread. */
	struct aio_job work;
	GPtrArray *images; /* struct image */
	GError *error;
};

static void image_free(void *opaque)
{
	struct image *image = opaque;
	g_free(image->file);
	g_free(image->format);
	g_free(image->backing);
	g_free(image->backing_format);
	g_free(image);
}

static void beginning_free(void *opaque)
{
	struct beginning *beginning = opaque;
	conf_backup_free(beginning->conf);
	conf_checkpoint_free(beginning->checkpoint);
	g_free(beginning->checkpoint_name);
	json_decref(beginning->blocks);
	steps_free(beginning->steps);
	steps_free(beginning->exports);
	g_ptr_array_unref(beginning->images);
	g_clear_error(&beginning->error);
	g_free(beginning);
}

static bool find_disk(const struct domain *dom, const struct beginning *beginning,
		      const struct conf_backup_disk *disk, struct disk_now *now)
{
	const struct conf_domain_disk *its = dom->live ? conf_domain_find_disk(dom->live, disk->name) : NULL;
	return its && disk_now_find(beginning->blocks, its->dev.alias, now);
}

static bool unknown_disk(const struct conf_backup_disk *disk, GError **error)
{
	return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED, "the VMM does not know the disk '%s'",
			  disk->name);
}

/* --- Commands --------------------------------------------------------------------------------- */

static void add_image(const struct domain *dom, const struct beginning *beginning,
		      const struct conf_backup_disk *disk, const struct disk_now *now)
{
	g_autofree char *node = backup_node_name(disk);
	/* What pull mode shows is the disk wherever the guest has not overwritten it. */
	json_t *backing = backup_conf(dom)->pull ? json_string(now->node) : json_null();
	steps_add(beginning->steps, "blockdev-add",
		  json_pack("{s:s, s:s, s:o, s:{s:s, s:s}}", "node-name", node, "driver", disk->format,
			    "backing", backing, "file", "driver", disk->block ? "host_device" : "file",
			    "filename", disk->file),
		  "blockdev-del", json_pack("{s:s}", "node-name", node));
}

static void add_server(const struct domain *dom, struct steps *steps)
{
	const struct conf_backup *conf = backup_conf(dom);
	json_t *address = conf->socket
		? json_pack("{s:s, s:{s:s}}", "type", "unix", "data", "path", conf->socket)
		: json_pack("{s:s, s:{s:s, s:s}}", "type", "inet", "data", "host", conf->host, "port",
			    conf->port);
	json_t *args = json_pack("{s:o}", "addr", address);
	if (conf->tls) {
		json_object_set_new(args, "tls-creds", json_string(BACKUP_TLS_ID));
		steps_add(steps, "object-add",
			  json_pack("{s:s, s:s, s:s, s:s, s:b}", "qom-type", "tls-creds-x509", "id",
				    BACKUP_TLS_ID, "dir", dom->all->daemon->nbd_tls_dir, "endpoint", "server",
				    "verify-peer", 1),
			  "object-del", json_pack("{s:s}", "id", BACKUP_TLS_ID));
	}
	steps_add(steps, "nbd-server-start", args, "nbd-server-stop", NULL);
}

static void add_action(json_t *actions, const char *type, json_t *data)
{
	json_array_append_new(actions, json_pack("{s:s, s:o}", "type", type, "data", data));
}

/* Of pull mode: what has changed, as the scratch image's own, which stays as it is from this moment on. */
static void add_bitmap(json_t *actions, const struct conf_backup_disk *disk, const char *node,
		       const char *source)
{
	add_action(actions, "block-dirty-bitmap-add",
		   json_pack("{s:s, s:s, s:b}", "node", node, "name", disk->export_bitmap, "disabled", 1));
	add_action(actions, "block-dirty-bitmap-merge",
		   json_pack("{s:s, s:s, s:[{s:s, s:s}]}", "node", node, "target", disk->export_bitmap,
			     "bitmaps", "node", source, "name", disk->incremental));
}

static void add_job(const struct domain *dom, const struct conf_backup_disk *disk,
		    const struct disk_now *now, json_t *actions)
{
	bool pull = backup_conf(dom)->pull;
	g_autofree char *node = backup_node_name(disk);
	g_autofree char *job = block_job_name(BLOCK_JOB_BACKUP, disk->alias);
	if (pull && disk->incremental)
		add_bitmap(actions, disk, node, now->node);
	/* The checkpoint's bitmap goes on as it is: later backups may be since the same moment. */
	const char *sync = pull ? "none" : disk->incremental ? "bitmap" : "full";
	json_t *data = json_pack("{s:s, s:s, s:s, s:s, s:b}", "device", now->name, "target", node, "job-id",
				 job, "sync", sync, "auto-dismiss", 0);
	if (!pull && disk->incremental) {
		json_object_set_new(data, "bitmap", json_string(disk->incremental));
		json_object_set_new(data, "bitmap-mode", json_string("never"));
	}
	add_action(actions, "blockdev-backup", data);
}

static void add_export(struct steps *steps, const struct conf_backup_disk *disk)
{
	g_autofree char *node = backup_node_name(disk);
	json_t *args = json_pack("{s:s, s:s, s:s, s:s}", "type", "nbd", "id", node, "node-name", node, "name",
				 disk->export_name);
	if (disk->incremental)
		json_object_set_new(args, "bitmaps", json_pack("[s]", disk->export_bitmap));
	steps_add(steps, "block-export-add", args, NULL, NULL);
}

/* The guest may have let go of a disk while the images were made. */
static bool add_disks(const struct domain *dom, struct beginning *beginning, json_t *actions, GError **error)
{
	const struct conf_backup *conf = backup_conf(dom);
	for (unsigned i = 0; i < conf->disks->len; i++) {
		const struct conf_backup_disk *disk = conf->disks->pdata[i];
		struct disk_now now;
		if (disk->excluded)
			continue;
		if (!find_disk(dom, beginning, disk, &now))
			return unknown_disk(disk, error);
		add_image(dom, beginning, disk, &now);
		add_job(dom, disk, &now, actions);
	}
	return true;
}

/* All jobs and the new checkpoint begin at one moment. */
static bool add_steps(const struct domain *dom, struct beginning *beginning, GError **error)
{
	const struct conf_backup *conf = backup_conf(dom);
	json_t *actions = json_array();
	beginning->steps = steps_new();
	if ((beginning->checkpoint &&
	     !checkpoint_add_actions(dom, beginning->checkpoint, beginning->blocks, actions, error)) ||
	    !add_disks(dom, beginning, actions, error)) {
		json_decref(actions);
		return false;
	}
	if (conf->pull)
		add_server(dom, beginning->steps);
	steps_add(beginning->steps, "transaction", json_pack("{s:o}", "actions", actions), NULL, NULL);
	return true;
}

/* --- The end of beginning --------------------------------------------------------------------- */

static void on_exported(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	if (!error) {
		job_reply(job, NULL);
		return;
	}
	if (backup_conf(job->dom))
		backup_cancel(job->dom);
	job_fail(job, g_error_copy(error));
}

/* `error` is of writing the new checkpoint: without it no later backup could be since this one. */
static void on_written(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	struct beginning *beginning = job->data;
	const struct conf_backup *conf = backup_conf(job->dom);
	if (error) {
		checkpoint_unmake(job->dom, beginning->checkpoint_name, error, on_exported, job);
		return;
	}
	if (!conf || !conf->pull || backup_given_up(job->dom)) {
		on_exported(job, NULL);
		return;
	}
	beginning->exports = steps_new();
	for (unsigned i = 0; i < conf->disks->len; i++) {
		const struct conf_backup_disk *disk = conf->disks->pdata[i];
		if (!disk->excluded)
			add_export(beginning->exports, disk);
	}
	steps_run(beginning->exports, job->dom, on_exported, job);
}

static void on_begun(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	struct beginning *beginning = job->data;
	struct domain *dom = job->dom;
	if (error) {
		backup_give_back_images(dom, backup_conf(dom), true);
		backup_take_back(dom);
		job_fail(job, g_error_copy(error));
		return;
	}
	if (backup_given_up(dom))
		backup_cancel(dom);
	if (!beginning->checkpoint) {
		on_written(job, NULL);
		return;
	}
	beginning->checkpoint_name = g_strdup(beginning->checkpoint->moment.name);
	struct moment_work *work = moment_work_new(dom, dom->checkpoints, MOMENT_FILES_ONLY, NULL);
	checkpoint_made(dom, g_steal_pointer(&beginning->checkpoint), work);
	moment_work_run(work, on_written, job);
}

/* --- Images ----------------------------------------------------------------------------------- */

static bool make_image(struct image *image, struct aio_loop *loop, GError **error)
{
	json_t *options = json_object();
	if (image->backing) {
		json_object_set_new(options, "backing_file", json_string(image->backing));
		json_object_set_new(options, "backing_fmt", json_string(image->backing_format));
	}
	image->made = block_create(image->file, image->format, image->size, options, loop, error);
	json_decref(options);
	return image->made || (g_prefix_error(error, "failed to create image file '%s': ", image->file),
			       false);
}

static void make_images(void *opaque)
{
	struct domain_job *job = opaque;
	struct beginning *beginning = job->data;
	struct aio_loop *loop = aio_loop_new(&beginning->error);
	for (unsigned i = 0; loop && i < beginning->images->len; i++) {
		if (!make_image(beginning->images->pdata[i], loop, &beginning->error))
			break;
	}
	aio_loop_free(loop);
}

static bool give_images(struct domain *dom, GError **error)
{
	const struct conf_backup *conf = backup_conf(dom);
	for (unsigned i = 0; i < conf->disks->len; i++) {
		const struct conf_backup_disk *disk = conf->disks->pdata[i];
		if (!disk->excluded && !images_add(dom, disk->file, false, error))
			return false;
	}
	return true;
}

static void drop_made(const struct beginning *beginning)
{
	for (unsigned i = 0; i < beginning->images->len; i++) {
		const struct image *image = beginning->images->pdata[i];
		if (image->made && unlink(image->file) < 0)
			log_warning("cannot remove '%s'", image->file);
	}
}

static void on_images(void *opaque)
{
	struct domain_job *job = opaque;
	struct beginning *beginning = job->data;
	struct domain *dom = job->dom;
	g_autoptr(GError) failure = NULL;
	if (beginning->error)
		virt_error(&failure, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED, "%s", beginning->error->message);
	else if (!dom->vmm)
		virt_error(&failure, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED, "the domain has ended");
	if (failure) {
		drop_made(beginning);
		job_fail(job, g_steal_pointer(&failure));
		return;
	}
	/* Known before it runs: a daemon that is killed now leaves one that knows what to look for. */
	backup_begin(dom, g_steal_pointer(&beginning->conf));
	if (give_images(dom, &failure) && add_steps(dom, beginning, &failure))
		steps_run(beginning->steps, dom, on_begun, job);
	else
		on_begun(job, failure);
}

/* --- What is asked for ------------------------------------------------------------------------ */

static bool check_disk(const struct domain *dom, struct beginning *beginning, struct conf_backup_disk *disk,
		       GError **error)
{
	const struct conf_domain_disk *its = dom->live ? conf_domain_find_disk(dom->live, disk->name) : NULL;
	struct disk_now now;
	bool reuse = beginning->conf->reuse, there = g_file_test(disk->file, G_FILE_TEST_EXISTS);
	if (!find_disk(dom, beginning, disk, &now))
		return unknown_disk(disk, error);
	disk->alias = g_strdup(its->dev.alias);
	if (disk->incremental && !checkpoint_find(dom, disk->incremental))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_NO_CHECKPOINT,
				  "Checkpoint '%s' for incremental backup of disk '%s' not found",
				  disk->incremental, disk->name);
	if (disk->incremental && checkpoint_bitmap_size(its, beginning->blocks, disk->incremental, error) < 0)
		return false;
	if (!reuse && !disk->block && there)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
				  "store '%s' for backup of '%s' exists", disk->file, disk->name);
	if ((reuse || disk->block) && !there)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
				  "store '%s' for backup of '%s' is not there", disk->file, disk->name);
	if (reuse || (disk->block && strcmp(disk->format, "raw") == 0))
		return true;
	struct image *image = g_new0(struct image, 1);
	g_ptr_array_add(beginning->images, image);
	image->file = g_strdup(disk->file);
	image->format = g_strdup(disk->format);
	image->size = now.size;
	/*
	 * As libvirt: what an incremental one lacks is in the disk, until somebody rebases it to a full one.
	 */
	if (!beginning->conf->pull && disk->incremental && strcmp(disk->format, "qcow2") == 0) {
		image->backing = g_strdup(now.file);
		image->backing_format = g_strdup(now.format);
	}
	return true;
}

static void name_export(const struct conf_backup *conf, struct conf_backup_disk *disk)
{
	if (!conf->pull)
		return;
	if (!disk->export_name)
		disk->export_name = g_strdup(disk->name);
	if (!disk->export_bitmap && disk->incremental)
		disk->export_bitmap = backup_node_name(disk);
}

static void on_blocks(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	struct beginning *beginning = job->data;
	struct aio_pool *pool = job->dom->all->daemon->pool;
	GError *failure = error ? g_error_copy(error) : NULL;
	unsigned chosen = 0;
	beginning->blocks = json_incref(result);
	for (unsigned i = 0; !failure && i < beginning->conf->disks->len; i++) {
		struct conf_backup_disk *disk = beginning->conf->disks->pdata[i];
		if (disk->excluded)
			continue;
		chosen++;
		name_export(beginning->conf, disk);
		check_disk(job->dom, beginning, disk, &failure);
	}
	if (!failure && !chosen)
		virt_error(&failure, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED, "no disks selected for backup");
	if (failure) {
		job_fail(job, failure);
		return;
	}
	beginning->work = (struct aio_job){.work = make_images, .done = on_images, .opaque = job,
					   .loop = job->dom->all->daemon->loop};
	aio_pool_submit(pool, &beginning->work);
}

static bool check_server(const struct domain *dom, struct conf_backup *conf, GError **error)
{
	if (!conf->pull || conf->socket)
		return true;
	if (!conf->host)
		conf->host = g_strdup("localhost");
	return conf->port || virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
					"<domainbackup> must specify TCP port for now");
}

static bool prepare(const struct domain *dom, struct beginning *beginning, GError **error)
{
	g_autoptr(GError) cause = NULL;
	g_autofree char *suffix = beginning->checkpoint
		? g_strdup(beginning->checkpoint->moment.name)
		: g_strdup_printf("%" G_GINT64_FORMAT, g_get_real_time() / G_USEC_PER_SEC);
	if (!dom->vmm)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "cannot perform disk backup for inactive domain");
	if (!conf_backup_align(beginning->conf, dom->live, suffix, &cause))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_CONFIG_UNSUPPORTED, "%s", cause->message);
	if (backup_conf(dom))
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
				  "another backup job is already running");
	return check_server(dom, beginning->conf, error) &&
	       (!beginning->checkpoint || checkpoint_prepare(dom, beginning->checkpoint, error));
}

static void run_begin(struct domain_job *job)
{
	struct beginning *beginning = job->data;
	GError *error = NULL;
	if (prepare(job->dom, beginning, &error))
		vmm_execute(job->dom, "query-block", NULL, on_blocks, job);
	else
		job_fail(job, error);
}

static bool parse(const struct remote_domain_backup_begin_args *args, struct beginning *beginning,
		  GError **error)
{
	g_autoptr(GError) cause = NULL;
	beginning->conf = conf_backup_parse(args->backup_xml, false, &cause);
	if (beginning->conf && args->checkpoint_xml)
		beginning->checkpoint = conf_checkpoint_parse(args->checkpoint_xml, false, &cause);
	return !cause || virt_error(error, VIRT_FROM_DOMAIN,
				    cause->code == BERTH_ERR_NOT_SUPPORTED ? VIRT_CONFIG_UNSUPPORTED : VIRT_XML_ERROR,
				    "%s", cause->message);
}

void serve_domain_backup_begin(struct rpc_call *call, const struct remote_domain_backup_begin_args *args)
{
	enum { REUSE_EXTERNAL = 1 };
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, REUSE_EXTERNAL))
		return;
	struct beginning *beginning = g_new0(struct beginning, 1);
	beginning->images = g_ptr_array_new_with_free_func(image_free);
	if (!parse(args, beginning, &error)) {
		beginning_free(beginning);
		rpc_call_fail(call, error);
		return;
	}
	beginning->conf->reuse = args->flags & REUSE_EXTERNAL;
	struct domain_job *job = domain_submit(dom, call, run_begin);
	job->data = beginning;
	job->free_data = beginning_free;
	domain_run_jobs(dom);
}

void serve_domain_backup_get_xml_desc(struct rpc_call *call,
				      const struct remote_domain_backup_get_xml_desc_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, 0))
		return;
	if (backup_conf(dom)) {
		g_autofree char *xml = conf_backup_format(backup_conf(dom), false);
		rpc_call_reply(call, &(struct remote_domain_backup_get_xml_desc_ret){xml});
		return;
	}
	virt_error(&error, VIRT_FROM_QEMU, VIRT_NO_BACKUP, "no domain backup job present");
	rpc_call_fail(call, error);
}
