/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs on the disks of a running domain: looking at them, steering and ending them. */
#include "daemon/domain/blockjob_int.h"
#include "daemon/domain/disk_now.h"
#include "daemon/domain/vmm.h"

#include "daemon/rpc/serve.h"

#include <string.h>

#define POLL_NS (INT64_C(20) * 1000000)

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
		block_op_fail(looking->call, VIRT_OPERATION_FAILED, "%s", error->message);
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
	const struct conf_domain_disk *disk = block_op_disk(call, &args->dom, args->path, args->flags, BYTES, &dom);
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
		block_op_refused(job, error);
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
		block_op_disk(call, &args->dom, args->path, args->flags, ASYNC | PIVOT, &dom);
	if (!disk)
		return;
	bool pivot = args->flags & PIVOT;
	struct block_op *op =
		steering(disk, pivot ? "block-job-complete" : "block-job-cancel", json_object());
	op->pivot = pivot;
	op->async = args->flags & ASYNC;
	block_op_submit(call, dom, op, run_steer);
}

void serve_domain_block_job_set_speed(struct rpc_call *call,
				      const struct remote_domain_block_job_set_speed_args *args)
{
	enum { BYTES = 1 };
	struct domain *dom;
	const struct conf_domain_disk *disk = block_op_disk(call, &args->dom, args->path, args->flags, BYTES, &dom);
	json_t *command = json_pack("{s:i}", "speed", 0);
	if (disk && block_op_bandwidth(call, args->bandwidth, args->flags & BYTES, command))
		block_op_submit(call, dom, steering(disk, "block-job-set-speed", command), run_steer);
	else
		json_decref(command);
}
