/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs on the disks of a running domain: pull, commit, copy; looking at them and ending them. */
#include "daemon/domain/blockjob.h"
#include "daemon/domain/disk_now.h"
#include "daemon/domain/images.h"
#include "daemon/domain/vmm.h"

#include "base/log.h"
#include "daemon/rpc/serve.h"

#include <string.h>

#define MIB UINT64_C(1048576)
#define POLL_NS (INT64_C(20) * 1000000)

struct block_op {
	char *alias, *target;
	enum block_job_type type;
	const char *command;
	json_t *args;
	bool pivot, async;
	bool shallow; /* commit: into the next image below `top` */
	char *job; /* the one found, to be ended */
};

static void op_free(void *opaque)
{
	struct block_op *op = opaque;
	json_decref(op->args);
	g_free(op->alias);
	g_free(op->target);
	g_free(op->job);
	g_free(op);
}

static void fail_with(struct rpc_call *call, enum virt_code code, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
static void fail_with(struct rpc_call *call, enum virt_code code, const char *format, ...)
{
	va_list values;
	va_start(values, format);
	g_autofree char *text = g_strdup_vprintf(format, values);
	va_end(values);
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_QEMU, code, "%s", text);
	rpc_call_fail(call, error);
}

/* The disk of a running domain by its target or path, or NULL with the call failed. */
static const struct conf_domain_disk *find(struct rpc_call *call, const struct remote_domain *wire,
					   const char *path, uint32_t flags, uint32_t allowed,
					   struct domain **dom)
{
	*dom = domain_find(call, wire);
	if (!*dom || !rpc_call_check_flags(call, flags, allowed) || !domain_runs(call, *dom))
		return NULL;
	const struct conf_domain_disk *disk = conf_domain_find_disk((*dom)->live, path);
	if (disk && !disk->cdrom && disk->source.encryption.given) {
		fail_with(call, VIRT_OPERATION_UNSUPPORTED,
			  "block jobs of disk '%s' are not supported, as it is encrypted", disk->target);
		return NULL;
	}
	if (disk && !disk->cdrom && conf_domain_disk_has_medium(disk))
		return disk;
	fail_with(call, VIRT_INVALID_ARG, "disk '%s' not found in domain", path);
	return NULL;
}

/* Bytes a second, or false with the call failed. */
static bool read_bandwidth(struct rpc_call *call, uint64_t bandwidth, bool bytes, json_t *args)
{
	uint64_t unit = bytes ? 1 : MIB;
	if (bandwidth > G_MAXINT64 / unit) {
		fail_with(call, VIRT_INVALID_ARG, "bandwidth must be less than %" G_GINT64_FORMAT,
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
	GError *failure = NULL;
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
	virt_error(&failure, VIRT_FROM_QEMU, VIRT_INTERNAL, "unable to execute QEMU command '%s': %s",
		   op->command, error->message);
	job_fail(job, failure);
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

static void on_disk(void *opaque, const struct disk_now *now, const GError *error)
{
	struct domain_job *job = opaque;
	const struct block_op *op = job->data;
	GError *failure = error ? g_error_copy(error) : NULL;
	if (!failure && op->shallow)
		choose_base(op, now, &failure);
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

static void submit(struct rpc_call *call, struct domain *dom, struct block_op *op,
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
	submit(call, dom, beginning(disk, type, command, args), run_begin);
}

/* --- Pull and commit -------------------------------------------------------------------------- */

/* libvirt's vda[1] means an image by its place in the chain, which is not kept here. */
static bool is_path(struct rpc_call *call, const char *image)
{
	if (!image || *image == '/')
		return true;
	fail_with(call, VIRT_CONFIG_UNSUPPORTED, "'%s': name an image of the chain by its absolute path",
		  image);
	return false;
}

static void pull(struct rpc_call *call, const struct remote_domain *wire, const char *path,
		 const char *base, uint64_t bandwidth, uint32_t flags)
{
	enum { RELATIVE = 16, BYTES = 64 };
	struct domain *dom;
	const struct conf_domain_disk *disk = find(call, wire, path, flags, RELATIVE | BYTES, &dom);
	if (!disk || !is_path(call, base))
		return;
	if (flags & RELATIVE) {
		fail_with(call, VIRT_CONFIG_UNSUPPORTED, "pull of '%s': a relative name of the image below cannot "
			  "be kept: the disk's image will have its absolute path", disk->target);
		return;
	}
	json_t *args = json_object();
	if (base)
		json_object_set_new(args, "base", json_string(base));
	if (read_bandwidth(call, bandwidth, flags & BYTES, args))
		begin(call, dom, disk, BLOCK_JOB_PULL, "block-stream", args);
	else
		json_decref(args);
}

void serve_domain_block_pull(struct rpc_call *call, const struct remote_domain_block_pull_args *args)
{
	pull(call, &args->dom, args->path, NULL, args->bandwidth, args->flags);
}

void serve_domain_block_commit(struct rpc_call *call, const struct remote_domain_block_commit_args *args)
{
	enum { SHALLOW = 1, ACTIVE = 4, RELATIVE = 8, BYTES = 16 };
	struct domain *dom;
	const struct conf_domain_disk *disk =
		find(call, &args->dom, args->disk, args->flags, SHALLOW | ACTIVE | RELATIVE | BYTES, &dom);
	if (!disk || !is_path(call, args->top) || !is_path(call, args->base))
		return;
	bool active = !args->top || g_strcmp0(args->top, disk->file) == 0;
	const char *base = args->base;
	if (active && !(args->flags & ACTIVE)) {
		fail_with(call, VIRT_INVALID_ARG, "commit of '%s' active layer requires active flag",
			  disk->target);
		return;
	}
	/* Above the active layer there is no image that would name the one below. */
	if (args->flags & RELATIVE && !active) {
		fail_with(call, VIRT_CONFIG_UNSUPPORTED, "commit of '%s': a relative name of the image below "
			  "cannot be kept: the image above will have its absolute path", args->top);
		return;
	}
	if (args->flags & SHALLOW && base) {
		fail_with(call, VIRT_INVALID_ARG, "a shallow commit has its base already: '%s' cannot be it",
			  base);
		return;
	}
	json_t *command = json_object();
	if (!active)
		json_object_set_new(command, "top", json_string(args->top));
	if (base)
		json_object_set_new(command, "base", json_string(base));
	if (!read_bandwidth(call, args->bandwidth, args->flags & BYTES, command)) {
		json_decref(command);
		return;
	}
	struct block_op *op = beginning(disk, active ? BLOCK_JOB_ACTIVE_COMMIT : BLOCK_JOB_COMMIT,
					"block-commit", command);
	op->shallow = args->flags & SHALLOW;
	submit(call, dom, op, run_begin);
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
		fail_with(call, VIRT_INVALID_ARG, "the destination '%s' must be an absolute path", file);
	else if (there)
		fail_with(call, VIRT_CONFIG_UNSUPPORTED, "external destination file %s already exists and is "
			  "not a block device: use --reuse-external", file);
	else
		fail_with(call, VIRT_CONFIG_UNSUPPORTED, "missing destination file: %s", file);
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
	const struct conf_domain_disk *disk = find(call, &args->dom, args->path, args->flags,
						   SHALLOW | REUSE | RAW | COPY | DEV | BYTES, &dom);
	if (!disk)
		return; /* and the call's arguments have gone with it */
	bool reuse = args->flags & (REUSE | DEV);
	if (!check_target(call, args->base ? args->base : "", reuse))
		return;
	json_t *command = mirror_arguments(args->base, args->flags & RAW ? "raw" : NULL,
					   (args->flags & SHALLOW) | (reuse ? COPY_REUSE : 0));
	if (read_bandwidth(call, args->bandwidth, args->flags & BYTES, command))
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
		fail_with(call, VIRT_XML_ERROR, "%s", cause ? cause->message : "<disk> is expected");
		return false;
	}
	g_autofree char *type = xml_attribute(root, "type");
	*block = g_strcmp0(type, "block") == 0;
	*file = conf_domain_child_attribute(root, "source", *block ? "dev" : "file");
	*format = conf_domain_child_attribute(root, "driver", "type");
	if (*file && (*block || !type || strcmp(type, "file") == 0))
		return true;
	fail_with(call, VIRT_CONFIG_UNSUPPORTED, "the destination must be a file or a block device");
	return false;
}

static bool read_copy_params(struct rpc_call *call, const struct remote_domain_block_copy_args *args,
			     json_t *command)
{
	for (unsigned i = 0; i < args->params.count; i++) {
		const struct xdr_param *param = &args->params.items[i];
		if (strcmp(param->name, "bandwidth") == 0 && param->type == XDR_PARAM_ULLONG) {
			if (!read_bandwidth(call, param->ul, true, command))
				return false;
		} else if (strcmp(param->name, "granularity") == 0 && param->type == XDR_PARAM_UINT) {
			json_object_set_new(command, "granularity", json_integer(param->u));
		} else {
			fail_with(call, VIRT_ARGUMENT_UNSUPPORTED, "parameter '%s' not supported",
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
		find(call, &args->dom, args->path, args->flags,
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

/* --- Looking --------------------------------------------------------------------------------- */

struct looking {
	struct rpc_call *call;
	struct domain *dom;
	char *alias;
	bool bytes;
	struct aio_timer timer;
};

static void look(void *opaque);

static uint64_t number(const json_t *entry, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(entry, key));
	return MAX(value, 0);
}

static void on_look(void *opaque, json_t *result, const GError *error)
{
	struct looking *looking = opaque;
	enum block_job_type type = 0;
	const json_t *entry = error ? NULL : block_job_find(result, looking->alias, &type);
	struct remote_domain_get_block_job_info_ret ret = {0};
	/*
	 * A client that sees that a job is gone may begin the next one, and must not take the end of the one
	 * before for the end of that.
	 */
	if (!error && !entry && block_job_is_untold(looking->dom, looking->alias)) {
		aio_timer_arm(&looking->timer, aio_now_ns() + POLL_NS);
		return;
	}
	if (error)
		fail_with(looking->call, VIRT_OPERATION_FAILED, "%s", error->message);
	if (entry) {
		bool unready = (type == BLOCK_JOB_COPY || type == BLOCK_JOB_ACTIVE_COMMIT) &&
			       !json_is_true(json_object_get(entry, "ready"));
		ret = (struct remote_domain_get_block_job_info_ret){
			.found = 1, .type = type, .cur = number(entry, "offset"), .end = number(entry, "len"),
			.bandwidth = number(entry, "speed") / (looking->bytes ? 1 : MIB)};
		/* To clients equal numbers say that it can be pivoted; a copy of nothing is 1 of 1. */
		if (unready && ret.cur >= ret.end)
			ret.cur = (ret.end = MAX(ret.end, 1)) - 1;
		else if (!ret.end)
			ret.cur = ret.end = 1;
	}
	if (!error)
		rpc_call_reply(looking->call, &ret);
	domain_unpin(looking->dom);
	g_free(looking->alias);
	g_free(looking);
}

static void look(void *opaque)
{
	struct looking *looking = opaque;
	vmm_execute(looking->dom, "query-block-jobs", NULL, on_look, looking);
}

void serve_domain_get_block_job_info(struct rpc_call *call,
				     const struct remote_domain_get_block_job_info_args *args)
{
	enum { BYTES = 1 };
	struct domain *dom;
	const struct conf_domain_disk *disk = find(call, &args->dom, args->path, args->flags, BYTES, &dom);
	if (!disk)
		return;
	struct looking *looking = g_new(struct looking, 1);
	*looking = (struct looking){call, domain_pin(dom), g_strdup(disk->dev.alias), args->flags & BYTES};
	aio_timer_init(&looking->timer, dom->all->daemon->loop, look, looking);
	look(looking);
}

/* --- Steering and ending ------------------------------------------------------------------------ */

static void no_job(struct domain_job *job)
{
	const struct block_op *op = job->data;
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
		   "disk %s does not have an active block job", op->target);
	job_fail(job, error);
}

static void on_gone(void *opaque, json_t *result, const GError *error);

static void poll_gone(void *opaque)
{
	struct domain_job *job = opaque;
	vmm_execute(job->dom, "query-block-jobs", NULL, on_gone, job);
}

/* The job has been told to end; the call returns when it has, and the document is right. */
static void on_gone(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	const struct block_op *op = job->data;
	enum block_job_type type;
	if (error) {
		job_fail(job, g_error_copy(error));
		return;
	}
	if (block_job_find(result, op->alias, &type)) {
		job->timer.fn = poll_gone;
		aio_timer_arm(&job->timer, aio_now_ns() + POLL_NS);
		return;
	}
	disk_now_refresh(job->dom, op->alias, g_steal_pointer(&job->call), NULL, NULL);
	job_reply(job, NULL);
}

static void on_told(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	const struct block_op *op = job->data;
	if (error)
		on_begun(opaque, result, error);
	else if (op->async || !op->job)
		job_reply(job, NULL);
	else
		poll_gone(job);
}

static void on_copy_carried(void *opaque, const GError *error)
{
	struct domain_job *job = opaque;
	const struct block_op *op = job->data;
	if (error)
		job_fail(job, g_error_copy(error));
	else
		vmm_execute(job->dom, op->command, json_incref(op->args), on_told, job);
}

static void on_found(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	struct block_op *op = job->data;
	GError *failure = NULL;
	const json_t *entry = error ? NULL : block_job_find(result, op->alias, &op->type);
	if (error) {
		job_fail(job, g_error_copy(error));
		return;
	}
	if (!entry) {
		no_job(job);
		return;
	}
	if (op->pivot && op->type != BLOCK_JOB_COPY && op->type != BLOCK_JOB_ACTIVE_COMMIT)
		virt_error(&failure, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
			   "job type of disk %s does not support pivot", op->target);
	else if (op->pivot && !json_is_true(json_object_get(entry, "ready")))
		virt_error(&failure, VIRT_FROM_QEMU, VIRT_BLOCK_COPY_ACTIVE,
			   "disk '%s' not ready for pivot yet", op->target);
	if (failure) {
		job_fail(job, failure);
		return;
	}
	const char *name = json_string_value(json_object_get(entry, "device"));
	json_object_set_new(op->args, "device", json_string(name));
	if (strcmp(op->command, "block-job-set-speed") != 0)
		op->job = g_strdup(name);
	if (op->pivot && op->type == BLOCK_JOB_COPY)
		block_job_carry_bitmaps(job->dom, op->alias, op->type, NULL, on_copy_carried, job);
	else
		vmm_execute(job->dom, op->command, json_incref(op->args), on_told, job);
}

static void run_steer(struct domain_job *job)
{
	if (job_needs_running(job))
		vmm_execute(job->dom, "query-block-jobs", NULL, on_found, job);
}

static struct block_op *steering(const struct conf_domain_disk *disk, const char *command, json_t *args)
{
	struct block_op *op = g_new0(struct block_op, 1);
	op->alias = g_strdup(disk->dev.alias);
	op->target = g_strdup(disk->target);
	op->command = command;
	op->args = args;
	return op;
}

void serve_domain_block_job_abort(struct rpc_call *call,
				  const struct remote_domain_block_job_abort_args *args)
{
	enum { ASYNC = 1, PIVOT = 2 };
	struct domain *dom;
	const struct conf_domain_disk *disk =
		find(call, &args->dom, args->path, args->flags, ASYNC | PIVOT, &dom);
	if (!disk)
		return;
	bool pivot = args->flags & PIVOT;
	struct block_op *op =
		steering(disk, pivot ? "block-job-complete" : "block-job-cancel", json_object());
	op->pivot = pivot;
	op->async = args->flags & ASYNC;
	submit(call, dom, op, run_steer);
}

void serve_domain_block_job_set_speed(struct rpc_call *call,
				      const struct remote_domain_block_job_set_speed_args *args)
{
	enum { BYTES = 1 };
	struct domain *dom;
	const struct conf_domain_disk *disk = find(call, &args->dom, args->path, args->flags, BYTES, &dom);
	json_t *command = json_pack("{s:i}", "speed", 0);
	if (disk && read_bandwidth(call, args->bandwidth, args->flags & BYTES, command))
		submit(call, dom, steering(disk, "block-job-set-speed", command), run_steer);
	else
		json_decref(command);
}
