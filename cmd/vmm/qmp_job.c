/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: block jobs that are there: looking at them, steering them, and what they report. */
#include "vmm.h"

#include "block/job/job.h"
#include "qmp_args.h"
#include "qmp_jobs.h"

/* --- events -------------------------------------------------------------------------------------------*/

static void on_event(void *opaque, const struct block_job *job, enum block_job_event event,
		     const char *operation, const char *action)
{
	struct vmm *vmm = opaque;
	static const char *const names[] = {
		[JOB_EVENT_READY] = "BLOCK_JOB_READY", [JOB_EVENT_COMPLETED] = "BLOCK_JOB_COMPLETED",
		[JOB_EVENT_CANCELLED] = "BLOCK_JOB_CANCELLED",
	};
	const char *id = block_job_id(job);
	/* At the very end jobs are cancelled, and there is nobody left to be told. */
	if (!vmm->monitor)
		return;
	iothreads_reconsider(vmm);
	switch (event) {
	case JOB_EVENT_STATUS:
		monitor_emit(vmm->monitor, "JOB_STATUS_CHANGE",
			     json_pack("{s:s, s:s}", "id", id, "status", block_job_status_name(job)));
		break;
	case JOB_EVENT_PENDING:
		monitor_emit(vmm->monitor, "BLOCK_JOB_PENDING",
			     json_pack("{s:s, s:s}", "id", id, "type", block_job_type(job)));
		break;
	case JOB_EVENT_ERROR:
		monitor_emit(vmm->monitor, "BLOCK_JOB_ERROR",
			     json_pack("{s:s, s:s, s:s}", "device", id, "operation", operation, "action",
				       action));
		break;
	default:
		monitor_emit(vmm->monitor, names[event], block_job_event_data(job));
	}
}

struct block_jobs *qmp_jobs(struct vmm *vmm)
{
	if (!vmm->backends.jobs) {
		const struct block_jobs_owner owner = {on_event, vmm};
		vmm->backends.jobs = block_jobs_new(vmm->backends.graph, &owner);
	}
	return vmm->backends.jobs;
}

bool qmp_job_options(const json_t *args, const char *default_id, struct block_job_options *job,
		     GError **error)
{
	const char *id = arg_text(args, "job-id");
	json_int_t speed = arg_int(args, "speed", 0);
	if (speed < 0)
		return qmp_error(error, QMP_ERROR_GENERIC, "speed is not negative"), false;
	*job = (struct block_job_options){
		.group = job->group,
		.id = id ? id : default_id,
		.speed = speed,
		.manual_finalize = !arg_flag(args, "auto-finalize", true),
		.manual_dismiss = !arg_flag(args, "auto-dismiss", true),
		.on_source_error = arg_enum(args, "on-source-error", block_on_error_names, ON_ERROR_REPORT),
		.on_target_error = arg_enum(args, "on-target-error", block_on_error_names, ON_ERROR_REPORT),
	};
	return true;
}

/* --- commands -----------------------------------------------------------------------------------------*/

static json_t *list_jobs(struct vmm *vmm, json_t *(*describe)(const struct block_job *job), bool quiet)
{
	json_t *list = json_array();
	const GPtrArray *jobs = block_jobs_list(qmp_jobs(vmm));
	for (unsigned i = 0; i < jobs->len; i++)
		if (quiet || !block_job_is_quiet(jobs->pdata[i]))
			json_array_append_new(list, describe(jobs->pdata[i]));
	return list;
}

static json_t *run_query_jobs(void *opaque, const json_t *args, GError **error)
{
	return list_jobs(opaque, block_job_info, true);
}

static json_t *run_query_block_jobs(void *opaque, const json_t *args, GError **error)
{
	return list_jobs(opaque, block_job_block_info, false);
}

/* job-* name a job by "id", block-job-* by "device" (or "id"). */
static struct block_job *find_job(struct vmm *vmm, const json_t *args, GError **error)
{
	const char *id = arg_text(args, "id"), *device = arg_text(args, "device");
	struct block_job *job = block_jobs_find(qmp_jobs(vmm), device ? device : id ? id : "");
	if (!job && device)
		qmp_error(error, QMP_ERROR_DEVICE_NOT_ACTIVE, "Block job '%s' not found", device);
	else if (!job)
		qmp_error(error, QMP_ERROR_GENERIC, "Job not found");
	return job;
}

static json_t *steer(void *opaque, const json_t *args, bool (*verb)(struct block_job *, GError **),
		     GError **error)
{
	struct block_job *job = find_job(opaque, args, error);
	if (job)
		verb(job, error);
	return NULL;
}

static json_t *run_pause(void *opaque, const json_t *args, GError **error)
{
	return steer(opaque, args, block_job_pause, error);
}

static json_t *run_resume(void *opaque, const json_t *args, GError **error)
{
	return steer(opaque, args, block_job_resume, error);
}

static json_t *run_complete(void *opaque, const json_t *args, GError **error)
{
	return steer(opaque, args, block_job_complete, error);
}

static json_t *run_finalize(void *opaque, const json_t *args, GError **error)
{
	return steer(opaque, args, block_job_finalize, error);
}

static json_t *run_dismiss(void *opaque, const json_t *args, GError **error)
{
	return steer(opaque, args, block_job_dismiss, error);
}

/* job-cancel always gives the job up; block-job-cancel ends a mirror that is ready well. */
static json_t *run_job_cancel(void *opaque, const json_t *args, GError **error)
{
	struct block_job *job = find_job(opaque, args, error);
	if (job)
		block_job_cancel(job, true, error);
	return NULL;
}

static json_t *run_block_job_cancel(void *opaque, const json_t *args, GError **error)
{
	struct block_job *job = find_job(opaque, args, error);
	if (job)
		block_job_cancel(job, arg_flag(args, "force", false), error);
	return NULL;
}

static json_t *run_set_speed(void *opaque, const json_t *args, GError **error)
{
	struct block_job *job = find_job(opaque, args, error);
	json_int_t speed = arg_int(args, "speed", 0);
	if (job && speed < 0)
		return qmp_error(error, QMP_ERROR_GENERIC, "speed is not negative");
	if (job)
		block_job_set_speed(job, speed, error);
	return NULL;
}

static const struct qmp_command commands[] = {
	{"query-jobs", NULL, "[JobInfo]", run_query_jobs},
	{"job-pause", "id:str", NULL, run_pause},
	{"job-resume", "id:str", NULL, run_resume},
	{"job-cancel", "id:str", NULL, run_job_cancel},
	{"job-complete", "id:str", NULL, run_complete},
	{"job-finalize", "id:str", NULL, run_finalize},
	{"job-dismiss", "id:str", NULL, run_dismiss},
	{"query-block-jobs", NULL, "[BlockJobInfo]", run_query_block_jobs},
	{"block-job-pause", "device:str", NULL, run_pause},
	{"block-job-resume", "device:str", NULL, run_resume},
	{"block-job-cancel", "device:str force?:bool", NULL, run_block_job_cancel},
	{"block-job-complete", "device:str", NULL, run_complete},
	{"block-job-finalize", "id:str", NULL, run_finalize},
	{"block-job-dismiss", "id:str", NULL, run_dismiss},
	{"block-job-set-speed", "device:str speed:int", NULL, run_set_speed},
	{NULL},
};

#define BLOCK_JOB_EVENT "type:JobType device:str len:int offset:int speed:int"

static const struct qmp_type types[] = {
	{"JobType", "=commit stream mirror backup create amend"},
	{"JobStatus", "=created running paused ready standby waiting pending aborting concluded null"},
	{"JobInfo", "id:str type:JobType status:JobStatus current-progress:int total-progress:int "
		    "error?:str"},
	{"BlockJobInfo", "type:JobType device:str len:int offset:int busy:bool paused:bool speed:int "
			 "io-status:str ready:bool status:JobStatus auto-finalize:bool auto-dismiss:bool "
			 "error?:str"},
	{"BlockdevOnError", "=report ignore enospc stop auto"},
	{"MirrorCopyMode", "=background write-blocking"},
	{"MirrorSyncMode", "=full top none incremental bitmap"},
	{"BitmapSyncMode", "=on-success never always"},
	{"NewImageMode", "=existing absolute-paths"},
	{NULL},
};

static const struct qmp_event events[] = {
	{"JOB_STATUS_CHANGE", "id:str status:JobStatus"},
	{"BLOCK_JOB_READY", BLOCK_JOB_EVENT},
	{"BLOCK_JOB_COMPLETED", BLOCK_JOB_EVENT " error?:str"},
	{"BLOCK_JOB_CANCELLED", BLOCK_JOB_EVENT},
	{"BLOCK_JOB_PENDING", "type:JobType id:str"},
	{"BLOCK_JOB_ERROR", "device:str operation:str action:str"},
	{NULL},
};

const struct qmp_table qmp_job_table = {commands, types, events, NULL};
