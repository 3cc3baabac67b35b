/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs on the disks of a running domain are begun: pull, commit, copy. serve_blockjob_end.c has what follows. */
#include "daemon/domain/blockjob_int.h"
#include "daemon/domain/blockjob_delete.h"
#include "daemon/domain/disk_now.h"
#include "daemon/domain/images.h"
#include "daemon/domain/vmm.h"

#include "base/log.h"
#include "daemon/rpc/serve.h"

#include <string.h>


static void op_free(void *opaque)
{
	struct block_op *op = opaque;
	json_decref(op->args);
	g_free(op->alias);
	g_free(op->target);
	g_free(op->job);
	g_free(op);
}

void block_op_fail(struct rpc_call *call, enum virt_code code, const char *format, ...)
{
	va_list values;
	va_start(values, format);
	g_autofree char *text = g_strdup_vprintf(format, values);
	va_end(values);
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_QEMU, code, "%s", text);
	rpc_call_fail(call, error);
}

void block_op_refused(struct domain_job *job, const GError *error)
{
	const struct block_op *op = job->data;
	GError *failure = NULL;
	virt_error(&failure, VIRT_FROM_QEMU, VIRT_INTERNAL, "unable to execute QEMU command '%s': %s",
		   op->command, error->message);
	job_fail(job, failure);
}

const struct conf_domain_disk *block_op_disk(struct rpc_call *call, const struct remote_domain *wire,
					   const char *path, uint32_t flags, uint32_t allowed,
					   struct domain **dom)
{
	*dom = domain_find(call, wire);
	if (!*dom || !rpc_call_check_flags(call, flags, allowed) || !domain_runs(call, *dom))
		return NULL;
	const struct conf_domain_disk *disk = conf_domain_find_disk((*dom)->live, path);
	if (disk && !disk->cdrom && disk->source.encryption.given) {
		block_op_fail(call, VIRT_OPERATION_UNSUPPORTED,
			  "block jobs of disk '%s' are not supported, as it is encrypted", disk->target);
		return NULL;
	}
	if (disk && !disk->cdrom && conf_domain_disk_has_medium(disk))
		return disk;
	block_op_fail(call, VIRT_INVALID_ARG, "disk '%s' not found in domain", path);
	return NULL;
}

bool block_op_bandwidth(struct rpc_call *call, uint64_t bandwidth, bool bytes, json_t *args)
{
	uint64_t unit = bytes ? 1 : MIB;
	if (bandwidth > G_MAXINT64 / unit) {
		block_op_fail(call, VIRT_INVALID_ARG, "bandwidth must be less than %" G_GINT64_FORMAT,
			  (gint64)(G_MAXINT64 / unit));
		return false;
	}
	if (bandwidth)
		json_object_set_new(args, "speed", json_integer(bandwidth * unit));
	return true;
}

/* --- Beginning ------------------------------------------------------------------------------- */

/* The image that a copy goes to, or NULL. */
static const char *target_of(const struct block_op *op)
{
	return op->type == BLOCK_JOB_COPY ? json_string_value(json_object_get(op->args, "target")) : NULL;
}

static bool makes_target(const struct block_op *op)
{
	return g_strcmp0(json_string_value(json_object_get(op->args, "mode")), "existing") != 0;
}

/* The commit runs: backups will miss the bitmaps and say so. */
static void on_commit_carried(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	if (error)
		log_warning("domain '%s': %s", job->dom->name, error->message);
	job_reply(job, NULL);
}

static void on_begun(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	const struct block_op *op = job->data;
	if (!error && op->type == BLOCK_JOB_ACTIVE_COMMIT) {
		block_job_carry_bitmaps(job->dom, op->alias, op->type,
					json_string_value(json_object_get(op->args, "base")),
					on_commit_carried, job);
		return;
	}
	if (!error) {
		job_reply(job, NULL);
		return;
	}
	if (target_of(op))
		images_drop(job->dom, target_of(op), makes_target(op));
	if (op->deletes)
		block_delete_forget(job->dom, op->alias);
	block_op_refused(job, error);
}

/* The image below the top of what is committed, as the base. */
static bool choose_base(const struct block_op *op, const struct disk_now *now, GError **error)
{
	const char *top = json_string_value(json_object_get(op->args, "top"));
	const json_t *image = now->image;
	while (top && image && g_strcmp0(json_string_value(json_object_get(image, "filename")), top) != 0)
		image = json_object_get(image, "backing-image");
	const json_t *below = json_object_get(image, "backing-image");
	if (!below)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
				  "top '%s' in chain for '%s' has no backing file", top ? top : now->file,
				  now->file);
	json_object_set(op->args, "base", json_object_get(below, "filename"));
	return true;
}

/*
 * How the image `above` may name `base` without an absolute path: as the headers in between name each other. NULL if
 * one of them has an absolute path. `above` is an ImageInfo. Free with g_free().
 */
static char *relative_name(const json_t *above, const char *base)
{
	g_autofree char *path = NULL;
	for (const json_t *image = above; image; image = json_object_get(image, "backing-image")) {
		const char *name = json_string_value(json_object_get(image, "backing-filename"));
		const json_t *below = json_object_get(image, "backing-image");
		if (!name || *name == '/' || !below || strchr(name, ':'))
			return NULL;
		g_autofree char *folder = path ? g_path_get_dirname(path) : NULL;
		char *next = folder && strcmp(folder, ".") != 0 ? g_build_filename(folder, name, NULL)
								  : g_strdup(name);
		g_free(path);
		path = next;
		if (g_strcmp0(json_string_value(json_object_get(below, "filename")), base) == 0 ||
		    (!base && !json_object_get(below, "backing-image")))
			return g_steal_pointer(&path);
	}
	return NULL;
}

/* Of a pull the disk's image will name the base; of a commit, the image above the one that is committed. */
static bool keep_relative(const struct block_op *op, const struct disk_now *now, GError **error)
{
	const char *top = json_string_value(json_object_get(op->args, "top"));
	const char *base = json_string_value(json_object_get(op->args, "base"));
	const json_t *above = now->image;
	while (top && above &&
	       g_strcmp0(json_string_value(json_object_get(json_object_get(above, "backing-image"), "filename")),
			 top) != 0)
		above = json_object_get(above, "backing-image");
	g_autofree char *name = relative_name(above, base);
	if (!name)
		return virt_error(error, VIRT_FROM_QEMU, VIRT_OPERATION_UNSUPPORTED,
				  "can't keep relative backing relationship");
	json_object_set_new(op->args, "backing-file", json_string(name));
	return true;
}

/* What has to be known of the chain before the command. */
static bool prepare_chain(struct domain *dom, const struct block_op *op, const struct disk_now *now,
			  GError **error)
{
	if (op->shallow && !choose_base(op, now, error))
		return false;
	if (op->relative && !keep_relative(op, now, error))
		return false;
	if (!op->deletes)
		return true;
	const struct conf_domain_disk *disk = conf_domain_find_disk(dom->live, op->target);
	return disk && block_delete_plan(dom, disk, json_string_value(json_object_get(op->args, "top")),
					 json_string_value(json_object_get(op->args, "base")), error);
}

static void on_disk(void *opaque, const struct disk_now *now, const GError *error)
{
	struct domain_job *job = opaque;
	const struct block_op *op = job->data;
	GError *failure = error ? g_error_copy(error) : NULL;
	if (!failure)
		prepare_chain(job->dom, op, now, &failure);
	if (failure) {
		job_fail(job, failure);
		return;
	}
	if (target_of(op) && !images_add(job->dom, target_of(op), makes_target(op), &failure)) {
		job_fail(job, failure);
		return;
	}
	bool commits = op->type == BLOCK_JOB_COMMIT || op->type == BLOCK_JOB_ACTIVE_COMMIT;
	if (commits && !images_let_write_below(job->dom, now->image, &failure)) {
		job_fail(job, failure);
		return;
	}
	if (target_of(op)) {
		g_autofree char *node = block_job_copy_node(op->alias);
		json_object_set_new(op->args, "node-name", json_string(node));
	}
	json_object_set_new(op->args, "device", json_string(now->name));
	vmm_execute(job->dom, op->command, json_incref(op->args), on_begun, job);
}

static void run_begin(struct domain_job *job)
{
	const struct block_op *op = job->data;
	if (job_needs_running(job))
		disk_now_query(job->dom, op->alias, on_disk, job);
}

void block_op_submit(struct rpc_call *call, struct domain *dom, struct block_op *op,
		   void (*run)(struct domain_job *job))
{
	struct domain_job *job = domain_submit(dom, call, run);
	job->data = op;
	job->free_data = op_free;
	domain_run_jobs(dom);
}

/* `args` are taken. */
static struct block_op *beginning(const struct conf_domain_disk *disk, enum block_job_type type,
				  const char *command, json_t *args)
{
	struct block_op *op = g_new0(struct block_op, 1);
	g_autofree char *name = block_job_name(type, disk->dev.alias);
	op->alias = g_strdup(disk->dev.alias);
	op->target = g_strdup(disk->target);
	op->type = type;
	op->command = command;
	op->args = args;
	json_object_set_new(args, "job-id", json_string(name));
	return op;
}

static void begin(struct rpc_call *call, struct domain *dom, const struct conf_domain_disk *disk,
		  enum block_job_type type, const char *command, json_t *args)
{
	block_op_submit(call, dom, beginning(disk, type, command, args), run_begin);
}

/* --- Pull and commit -------------------------------------------------------------------------- */

/* libvirt's vda[1] means an image by its place in the chain, which is not kept here. */
static bool is_path(struct rpc_call *call, const char *image)
{
	if (!image || *image == '/')
		return true;
	block_op_fail(call, VIRT_CONFIG_UNSUPPORTED, "'%s': name an image of the chain by its absolute path",
		  image);
	return false;
}

static void pull(struct rpc_call *call, const struct remote_domain *wire, const char *path,
		 const char *base, uint64_t bandwidth, uint32_t flags)
{
	enum { RELATIVE = 16, BYTES = 64 };
	struct domain *dom;
	const struct conf_domain_disk *disk = block_op_disk(call, wire, path, flags, RELATIVE | BYTES, &dom);
	if (!disk || !is_path(call, base))
		return;
	if (flags & RELATIVE && !base) {
		block_op_fail(call, VIRT_INVALID_ARG,
			      "flag VIR_DOMAIN_BLOCK_REBASE_RELATIVE is valid only with non-null base");
		return;
	}
	json_t *args = json_object();
	if (base)
		json_object_set_new(args, "base", json_string(base));
	if (!block_op_bandwidth(call, bandwidth, flags & BYTES, args)) {
		json_decref(args);
		return;
	}
	struct block_op *op = beginning(disk, BLOCK_JOB_PULL, "block-stream", args);
	op->relative = flags & RELATIVE;
	block_op_submit(call, dom, op, run_begin);
}

void serve_domain_block_pull(struct rpc_call *call, const struct remote_domain_block_pull_args *args)
{
	pull(call, &args->dom, args->path, NULL, args->bandwidth, args->flags);
}

void serve_domain_block_commit(struct rpc_call *call, const struct remote_domain_block_commit_args *args)
{
	enum { SHALLOW = 1, DELETE = 2, ACTIVE = 4, RELATIVE = 8, BYTES = 16 };
	struct domain *dom;
	const struct conf_domain_disk *disk =
		block_op_disk(call, &args->dom, args->disk, args->flags, SHALLOW | DELETE | ACTIVE | RELATIVE | BYTES,
			      &dom);
	if (!disk || !is_path(call, args->top) || !is_path(call, args->base))
		return;
	bool active = !args->top || g_strcmp0(args->top, disk->file) == 0;
	const char *base = args->base;
	if (active && !(args->flags & ACTIVE)) {
		block_op_fail(call, VIRT_INVALID_ARG, "commit of '%s' active layer requires active flag",
			  disk->target);
		return;
	}
	if (args->flags & SHALLOW && base) {
		block_op_fail(call, VIRT_INVALID_ARG, "a shallow commit has its base already: '%s' cannot be it",
			  base);
		return;
	}
	json_t *command = json_object();
	if (!active)
		json_object_set_new(command, "top", json_string(args->top));
	if (base)
		json_object_set_new(command, "base", json_string(base));
	if (!block_op_bandwidth(call, args->bandwidth, args->flags & BYTES, command)) {
		json_decref(command);
		return;
	}
	struct block_op *op = beginning(disk, active ? BLOCK_JOB_ACTIVE_COMMIT : BLOCK_JOB_COMMIT,
					"block-commit", command);
	op->shallow = args->flags & SHALLOW;
	op->deletes = args->flags & DELETE;
	/* Above the active layer there is no image that would name the one below. */
	op->relative = args->flags & RELATIVE && !active;
	block_op_submit(call, dom, op, run_begin);
}

/* --- Copy ------------------------------------------------------------------------------------- */

enum { COPY_SHALLOW = 1, COPY_REUSE = 2 };

static json_t *mirror_arguments(const char *target, const char *format, uint32_t flags)
{
	json_t *args = json_pack("{s:s, s:s, s:s}", "target", target, "sync",
				 flags & COPY_SHALLOW ? "top" : "full", "mode",
				 flags & COPY_REUSE ? "existing" : "absolute-paths");
	if (format)
		json_object_set_new(args, "format", json_string(format));
	return args;
}

/* Must not run over a file that somebody forgot; one to be used must be there. */
static bool check_target(struct rpc_call *call, const char *file, bool reuse)
{
	bool there = g_file_test(file, G_FILE_TEST_EXISTS);
	if (*file == '/' && there == reuse)
		return true;
	if (*file != '/')
		block_op_fail(call, VIRT_INVALID_ARG, "the destination '%s' must be an absolute path", file);
	else if (there)
		block_op_fail(call, VIRT_CONFIG_UNSUPPORTED, "external destination file %s already exists and is "
			  "not a block device: use --reuse-external", file);
	else
		block_op_fail(call, VIRT_CONFIG_UNSUPPORTED, "missing destination file: %s", file);
	return false;
}

void serve_domain_block_rebase(struct rpc_call *call, const struct remote_domain_block_rebase_args *args)
{
	enum { SHALLOW = 1, REUSE = 2, RAW = 4, COPY = 8, DEV = 32, BYTES = 64 };
	if (!(args->flags & COPY)) {
		pull(call, &args->dom, args->path, args->base, args->bandwidth, args->flags);
		return;
	}
	struct domain *dom;
	const struct conf_domain_disk *disk = block_op_disk(call, &args->dom, args->path, args->flags,
						   SHALLOW | REUSE | RAW | COPY | DEV | BYTES, &dom);
	if (!disk)
		return; /* and the call's arguments have gone with it */
	bool reuse = args->flags & (REUSE | DEV);
	if (!check_target(call, args->base ? args->base : "", reuse))
		return;
	json_t *command = mirror_arguments(args->base, args->flags & RAW ? "raw" : NULL,
					   (args->flags & SHALLOW) | (reuse ? COPY_REUSE : 0));
	if (block_op_bandwidth(call, args->bandwidth, args->flags & BYTES, command))
		begin(call, dom, disk, BLOCK_JOB_COPY, "drive-mirror", command);
	else
		json_decref(command);
}

/* The file and format of <disk>; false with the call failed. */
static bool read_destination(struct rpc_call *call, const char *xml, char **file, char **format, bool *block)
{
	g_autoptr(GError) cause = NULL;
	g_autoptr(xmlDoc) doc = xml_parse(xml, "disk_definition", &cause);
	const xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
	if (!root || !xml_is(root, "disk")) {
		block_op_fail(call, VIRT_XML_ERROR, "%s", cause ? cause->message : "<disk> is expected");
		return false;
	}
	g_autofree char *type = xml_attribute(root, "type");
	*block = g_strcmp0(type, "block") == 0;
	*file = conf_domain_child_attribute(root, "source", *block ? "dev" : "file");
	*format = conf_domain_child_attribute(root, "driver", "type");
	if (*file && (*block || !type || strcmp(type, "file") == 0))
		return true;
	block_op_fail(call, VIRT_CONFIG_UNSUPPORTED, "the destination must be a file or a block device");
	return false;
}

static bool read_copy_params(struct rpc_call *call, const struct remote_domain_block_copy_args *args,
			     json_t *command)
{
	for (unsigned i = 0; i < args->params.count; i++) {
		const struct xdr_param *param = &args->params.items[i];
		if (strcmp(param->name, "bandwidth") == 0 && param->type == XDR_PARAM_ULLONG) {
			if (!block_op_bandwidth(call, param->ul, true, command))
				return false;
		} else if (strcmp(param->name, "granularity") == 0 && param->type == XDR_PARAM_UINT) {
			json_object_set_new(command, "granularity", json_integer(param->u));
		} else {
			block_op_fail(call, VIRT_ARGUMENT_UNSUPPORTED, "parameter '%s' not supported",
				  param->name);
			return false;
		}
	}
	return true;
}

void serve_domain_block_copy(struct rpc_call *call, const struct remote_domain_block_copy_args *args)
{
	enum { TRANSIENT_JOB = 4, SYNCHRONOUS_WRITES = 8 };
	struct domain *dom;
	const struct conf_domain_disk *disk =
		block_op_disk(call, &args->dom, args->path, args->flags,
		     COPY_SHALLOW | COPY_REUSE | TRANSIENT_JOB | SYNCHRONOUS_WRITES, &dom);
	g_autofree char *file = NULL, *format = NULL;
	bool block;
	if (!disk || !read_destination(call, args->destxml, &file, &format, &block) ||
	    !check_target(call, file, block || args->flags & COPY_REUSE))
		return;
	json_t *command = mirror_arguments(file, format, args->flags | (block ? COPY_REUSE : 0));
	if (args->flags & SYNCHRONOUS_WRITES)
		json_object_set_new(command, "copy-mode", json_string("write-blocking"));
	if (read_copy_params(call, args, command))
		begin(call, dom, disk, BLOCK_JOB_COPY, "drive-mirror", command);
	else
		json_decref(command);
}
