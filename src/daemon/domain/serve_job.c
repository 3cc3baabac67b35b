/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VMM directly: reboots, block sizes, its monitor; and jobs that take long. */
#include "daemon/domain/domain.h"

#include "base/log.h"
#include "daemon/domain/agent_call.h"
#include "daemon/domain/backup.h"
#include "daemon/domain/disk_now.h"
#include "daemon/domain/disk_source.h"
#include "daemon/domain/dump.h"
#include "daemon/domain/notify.h"
#include "daemon/domain/params.h"
#include "daemon/domain/vmm.h"
#include "daemon/rpc/qemu.h"
#include "daemon/rpc/serve.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void fail_job(struct domain_job *job, const GError *cause)
{
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED, "domain '%s': %s", job->dom->name,
		   cause->message);
	job_fail(job, error);
}

/* --- Reboot --------------------------------------------------------------------------------- */

/*
 * A guest is asked to power off by its button; when it has, and the VMM waits instead of ending, the
 * machine is reset and goes on.
 */
static char *mark_file(const struct domain *dom)
{
	return g_build_filename(vmm_run_dir(dom), "rebooting", NULL);
}

bool reboot_begin(struct domain *dom, GError **error)
{
	g_autofree char *path = mark_file(dom);
	dom->rebooting = g_file_set_contents(path, "", 0, error);
	return dom->rebooting;
}

void reboot_forget(struct domain *dom)
{
	g_autofree char *path = mark_file(dom);
	if (dom->rebooting && unlink(path) < 0)
		log_warning("domain '%s': cannot remove '%s'", dom->name, path);
	dom->rebooting = false;
}

void reboot_recall(struct domain *dom)
{
	g_autofree char *path = mark_file(dom);
	dom->rebooting = g_file_test(path, G_FILE_TEST_EXISTS);
}

static void on_button(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	if (error)
		fail_job(job, error);
	else
		job_reply(job, NULL);
}

static void on_pause_set(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	g_autoptr(GError) cause = NULL;
	if (error || !reboot_begin(job->dom, &cause)) {
		fail_job(job, error ? error : cause);
		return;
	}
	vmm_execute(job->dom, "system_powerdown", NULL, on_button, job);
}

/* `flag`: by the agent. */
static void run_reboot(struct domain_job *job)
{
	if (!job_needs_running(job))
		return;
	if (job->flag)
		agent_end_guest(job, "reboot");
	else
		vmm_execute(job->dom, "set-action", json_pack("{s:s}", "shutdown", "pause"), on_pause_set,
			    job);
}

void serve_domain_reboot(struct rpc_call *call, const struct remote_domain_reboot_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	bool by_agent;
	if (!dom || !agent_chosen(call, dom, args->flags, &by_agent))
		return;
	domain_submit(dom, call, run_reboot)->flag = by_agent;
	domain_run_jobs(dom);
}

static void on_restarted(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	if (error)
		fail_job(job, error);
	else
		job_reply(job, NULL);
}

static void on_poweroff_set(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	if (error)
		fail_job(job, error);
	else
		vmm_execute(job->dom, "cont", NULL, on_restarted, job);
}

static void on_was_reset(void *opaque, json_t *result, const GError *error)
{
	struct domain_job *job = opaque;
	if (error)
		fail_job(job, error);
	else
		vmm_execute(job->dom, "set-action", json_pack("{s:s}", "shutdown", "poweroff"),
			    on_poweroff_set, job);
}

static void run_restart(struct domain_job *job)
{
	if (job_needs_running(job))
		vmm_execute(job->dom, "system_reset", NULL, on_was_reset, job);
}

void reboot_after_shutdown(struct domain *dom)
{
	reboot_forget(dom);
	domain_submit(dom, NULL, run_restart);
	domain_run_jobs(dom);
}

/* --- Size of a disk -------------------------------------------------------------------------- */

struct resize {
	char *alias;
	uint64_t bytes;
};

static void resize_free(void *opaque)
{
	struct resize *resize = opaque;
	g_free(resize->alias);
	g_free(resize);
}

static void on_resizable(void *opaque, const struct disk_now *now, const GError *error)
{
	struct domain_job *job = opaque;
	const struct resize *resize = job->data;
	if (error)
		fail_job(job, error);
	else
		vmm_execute(job->dom, "block_resize",
			    json_pack("{s:s, s:I}", now->is_node ? "node-name" : "device", now->name,
				      "size", (json_int_t)resize->bytes), on_restarted, job);
}

static void run_resize(struct domain_job *job)
{
	const struct resize *resize = job->data;
	if (job_needs_running(job))
		disk_now_query(job->dom, resize->alias, on_resizable, job);
}

void serve_domain_block_resize(struct rpc_call *call,
			       const struct remote_domain_block_resize_args *args)
{
	enum { BYTES = 1 };
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, BYTES) || !domain_runs(call, dom))
		return;
	const struct conf_domain_disk *disk = conf_domain_find_disk(dom->live, args->disk);
	uint64_t unit = args->flags & BYTES ? 1 : 1024;
	if (!disk || disk->cdrom)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "disk '%s' was not found in the domain "
			   "config", args->disk);
	else if (args->size > INT64_MAX / unit)
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "size must be less than 2^63 bytes");
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	struct domain_job *job = domain_submit(dom, call, run_resize);
	struct resize *resize = g_new(struct resize, 1);
	*resize = (struct resize){g_strdup(disk->dev.alias), args->size * unit};
	job->data = resize;
	job->free_data = resize_free;
	domain_run_jobs(dom);
}

/* --- The monitor ----------------------------------------------------------------------------- */

struct monitor {
	struct rpc_call *call;
	struct domain *dom;
	bool hmp;
};

static void on_monitor(void *opaque, json_t *result, const GError *error)
{
	struct monitor *monitor = opaque;
	GError *failure = NULL;
	g_autofree char *text = NULL;
	if (!error && monitor->hmp) {
		text = g_strdup(json_string_value(result));
	} else if (!error && result) {
		g_autoptr(GString) answer = g_string_new("{\"return\":");
		char *dump = json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY);
		g_string_append_printf(answer, "%s}", dump);
		free(dump);
		text = g_strdup(answer->str);
	} else if (error && !monitor->hmp && monitor->dom->vmm) {
		/* The client asked for QMP, and errors are part of it. */
		json_t *answer = json_pack("{s:{s:s, s:s}}", "error", "class", "GenericError", "desc",
					   error->message);
		char *dump = json_dumps(answer, JSON_COMPACT);
		text = g_strdup(dump);
		free(dump);
		json_decref(answer);
	}
	if (text) {
		rpc_call_reply(monitor->call, &(struct remote_qemu_monitor_result){text});
	} else {
		virt_error(&failure, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED, "%s",
			   error ? error->message : "the VMM's answer is no text");
		rpc_call_fail(monitor->call, failure);
	}
	domain_unpin(monitor->dom);
	g_free(monitor);
}

void serve_qemu_monitor_command(struct rpc_call *call, const void *opaque)
{
	enum { HMP = 1 };
	const struct remote_qemu_monitor_command *args = opaque;
	struct domain *dom = domain_find(call, &args->dom);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, args->flags, HMP) || !domain_runs(call, dom))
		return;
	json_t *command = args->flags & HMP
		? json_pack("{s:s, s:{s:s}}", "execute", "human-monitor-command", "arguments",
			    "command-line", args->cmd)
		: json_loads(args->cmd, 0, NULL);
	const char *name = json_string_value(json_object_get(command, "execute"));
	if (!name) {
		virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG,
			   "the command is no QMP like {\"execute\": \"query-status\"}");
		rpc_call_fail(call, error);
		json_decref(command);
		return;
	}
	struct monitor *monitor = g_new(struct monitor, 1);
	*monitor = (struct monitor){call, domain_pin(dom), args->flags & HMP};
	vmm_execute(dom, name, json_incref(json_object_get(command, "arguments")), on_monitor, monitor);
	json_decref(command);
}

/* --- Long jobs ------------------------------------------------------------------------------- */

/* Saving and migration, which are such jobs, are not there. */
enum { JOB_NONE = 0, JOB_UNBOUNDED = 2 };

void serve_domain_get_job_info(struct rpc_call *call,
			       const struct remote_domain_get_job_info_args *args)
{
	struct domain *dom = domain_find(call, &args->dom);
	struct remote_domain_get_job_info_ret ret = {.type = JOB_NONE};
	if (!dom || backup_reply_info(call, dom))
		return;
	if (dom->dump) {
		struct dump_progress now;
		dump_progress(dom, &now);
		ret = (struct remote_domain_get_job_info_ret){
			.type = JOB_UNBOUNDED, .time_elapsed = now.elapsed_ms, .data_total = now.total,
			.data_processed = now.done, .data_remaining = now.total - now.done,
			.mem_total = now.total, .mem_processed = now.done,
			.mem_remaining = now.total - now.done};
	}
	rpc_call_reply(call, &ret);
}

static struct params dump_stats(struct rpc_call *call, const struct domain *dom)
{
	enum { OPERATION_DUMP = 8 };
	struct params params = {.arena = rpc_call_arena(call)};
	struct dump_progress now;
	dump_progress(dom, &now);
	params_add_int(&params, "operation", OPERATION_DUMP);
	params_add_ullong(&params, "time_elapsed", now.elapsed_ms);
	params_add_ullong(&params, "memory_total", now.total);
	params_add_ullong(&params, "memory_processed", now.done);
	params_add_ullong(&params, "memory_remaining", now.total - now.done);
	return params;
}

void serve_domain_get_job_stats(struct rpc_call *call,
				const struct remote_domain_get_job_stats_args *args)
{
	enum { COMPLETED = 1, KEEP_COMPLETED = 2 };
	struct domain *dom = domain_find(call, &args->dom);
	struct remote_domain_get_job_stats_ret ret = {.type = JOB_NONE};
	if (!dom || !rpc_call_check_flags(call, args->flags, COMPLETED | KEEP_COMPLETED) ||
	    backup_reply_stats(call, dom, args->flags & COMPLETED, args->flags & KEEP_COMPLETED))
		return;
	if (dom->dump && !(args->flags & COMPLETED)) {
		struct params params = dump_stats(call, dom);
		ret.type = JOB_UNBOUNDED;
		ret.params.items = params.items;
		ret.params.count = params.count;
	}
	rpc_call_reply(call, &ret);
}

static void abort_job(struct rpc_call *call, const struct remote_domain *wire, uint32_t flags)
{
	enum { POSTCOPY = 1 };
	struct domain *dom = domain_find(call, wire);
	GError *error = NULL;
	if (!dom || !rpc_call_check_flags(call, flags, POSTCOPY) || !domain_runs(call, dom) ||
	    backup_abort(call, dom))
		return;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_INVALID, "%s",
		   dom->dump ? "cannot abort memory-only dump" : "no job is active on the domain");
	rpc_call_fail(call, error);
}

void serve_domain_abort_job(struct rpc_call *call, const struct remote_domain_abort_job_args *args)
{
	abort_job(call, &args->dom, 0);
}

void serve_domain_abort_job_flags(struct rpc_call *call,
				  const struct remote_domain_abort_job_flags_args *args)
{
	abort_job(call, &args->dom, args->flags);
}
