/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/job/job_int.h"

#include "aio/loop.h"
#include "base/error.h"

#include <errno.h>
#include <string.h>

#define SLICE_NS (INT64_C(100) * 1000 * 1000)

const char *const block_on_error_names[] = {"report", "ignore", "enospc", "stop", "auto", NULL};
const char *const block_sync_names[] = {"full", "top", "none", "incremental", "bitmap", NULL};

static const char *const status_names[] = {
	"created", "running", "paused", "ready", "standby", "waiting", "pending", "aborting",
	"concluded", "null",
};

/* --- the list -----------------------------------------------------------------------------------------*/

struct block_jobs *block_jobs_new(struct block_graph *graph, const struct block_jobs_owner *owner)
{
	struct block_jobs *jobs = g_new0(struct block_jobs, 1);
	jobs->graph = graph;
	jobs->owner = *owner;
	jobs->list = g_ptr_array_new();
	return jobs;
}

static bool is_there(const struct block_jobs *jobs, const struct block_job *job)
{
	for (unsigned i = 0; i < jobs->list->len; i++)
		if (jobs->list->pdata[i] == job)
			return true;
	return false;
}

void block_job_cancel_now(struct block_job *job)
{
	struct block_jobs *jobs = job->jobs;
	job->manual_dismiss = job->manual_finalize = false;
	job->user_paused = false;
	job->cancelled = true;
	if (job->status == JOB_CONCLUDED) {
		block_job_dismiss(job, NULL);
		return;
	}
	block_job_wake(job);
	while (is_there(jobs, job))
		aio_loop_iterate(block_graph_loop(jobs->graph), SLICE_NS);
}

void block_jobs_free(struct block_jobs *jobs)
{
	if (!jobs)
		return;
	while (jobs->list->len)
		block_job_cancel_now(jobs->list->pdata[0]);
	g_ptr_array_unref(jobs->list);
	g_free(jobs);
}

const GPtrArray *block_jobs_list(const struct block_jobs *jobs)
{
	return jobs->list;
}

struct block_job *block_jobs_find(const struct block_jobs *jobs, const char *id)
{
	for (unsigned i = 0; i < jobs->list->len; i++) {
		struct block_job *job = jobs->list->pdata[i];
		if (strcmp(job->id, id) == 0)
			return job;
	}
	return NULL;
}

static void tell(struct block_job *job, enum block_job_event event, const char *operation,
		 const char *action)
{
	const struct block_jobs_owner *owner = &job->jobs->owner;
	if (owner->event)
		owner->event(owner->opaque, job, event, operation, action);
}

static void set_status(struct block_job *job, enum block_job_status status)
{
	if (job->status == status)
		return;
	job->status = status;
	tell(job, JOB_EVENT_STATUS, NULL, NULL);
}

/* --- groups -------------------------------------------------------------------------------------------*/

struct block_job_group {
	unsigned references;
	bool failed;
	GPtrArray *jobs; /* that are not ended */
};

struct block_job_group *block_job_group_new(void)
{
	struct block_job_group *group = g_new0(struct block_job_group, 1);
	group->references = 1;
	group->jobs = g_ptr_array_new();
	return group;
}

void block_job_group_unref(struct block_job_group *group)
{
	if (!group || --group->references)
		return;
	g_ptr_array_unref(group->jobs);
	g_free(group);
}

static void group_enter(struct block_job_group *group, struct block_job *job)
{
	if (!group)
		return;
	group->references++;
	g_ptr_array_add(group->jobs, job);
	job->group = group;
}

static void group_leave(struct block_job *job)
{
	if (job->group)
		g_ptr_array_remove(job->group->jobs, job);
	block_job_group_unref(g_steal_pointer(&job->group));
}

static void group_wake(struct block_job_group *group)
{
	/* Who is woken may end and leave. */
	g_autoptr(GPtrArray) jobs = g_ptr_array_copy(group->jobs, NULL, NULL);
	for (unsigned i = 0; i < jobs->len; i++)
		if (g_ptr_array_find(group->jobs, jobs->pdata[i], NULL))
			block_job_wake(jobs->pdata[i]);
}

/* What one of them has come to, all have. */
static void group_fail(struct block_job *job)
{
	struct block_job_group *group = job->group;
	if (!group || group->failed)
		return;
	group->failed = true;
	group->references++;
	for (unsigned i = 0; i < group->jobs->len; i++) {
		struct block_job *other = group->jobs->pdata[i];
		other->cancelled |= other != job;
	}
	group_wake(group);
	block_job_group_unref(group);
}

static bool group_any(const struct block_job *job, bool (*is)(const struct block_job *))
{
	for (unsigned i = 0; job->group && i < job->group->jobs->len; i++)
		if (is(job->group->jobs->pdata[i]))
			return true;
	return is(job);
}

static bool is_under_way(const struct block_job *job)
{
	return job->status < JOB_WAITING;
}

static bool wants_finalize(const struct block_job *job)
{
	return job->manual_finalize && !job->finalize_asked;
}

/* --- making and ending --------------------------------------------------------------------------------*/

static void release_nodes(struct block_job *job)
{
	for (unsigned i = 0; i < job->nodes->len; i++) {
		struct block_node *node = job->nodes->pdata[i];
		node->job = NULL;
		block_close(node);
	}
	g_ptr_array_set_size(job->nodes, 0);
}

static void job_free(struct block_job *job)
{
	if (job->kind->free)
		job->kind->free(job);
	group_leave(job);
	release_nodes(job);
	g_ptr_array_unref(job->nodes);
	g_clear_error(&job->error);
	g_free(job->id);
	g_free(job);
}

struct block_job *block_job_new(struct block_jobs *jobs, const struct block_job_kind *kind,
				const struct block_job_options *options, GError **error)
{
	if (!options->id || !*options->id) {
		error_set(error, BERTH_ERR_INVALID, "An explicit job ID is required for this node");
		return NULL;
	}
	if (block_jobs_find(jobs, options->id)) {
		error_set(error, BERTH_ERR_INVALID, "Job ID '%s' already in use", options->id);
		return NULL;
	}
	struct block_job *job = g_malloc0(kind->size);
	job->kind = kind;
	job->jobs = jobs;
	job->loop = block_graph_loop(jobs->graph);
	job->id = g_strdup(options->id);
	job->speed = options->speed;
	job->manual_finalize = options->manual_finalize;
	job->manual_dismiss = options->manual_dismiss;
	job->on_source_error = options->on_source_error;
	job->on_target_error = options->on_target_error;
	job->io_status = "ok";
	job->nodes = g_ptr_array_new();
	group_enter(options->group, job);
	return job;
}

bool block_job_claim_node(struct block_job *job, struct block_node *node, GError **error)
{
	if (node->job)
		return error_set(error, BERTH_ERR_BUSY,
				 "Node '%s' is busy: block device is in use by block job: %s",
				 node->node_name ? node->node_name : node->filename, node->job);
	node->job = job->kind->name;
	g_ptr_array_add(job->nodes, block_ref(node));
	return true;
}

bool block_job_check_target(const struct block_node *source, const struct block_node *target,
			    GError **error)
{
	if (target->readonly)
		return error_set(error, BERTH_ERR_INVALID, "the target '%s' is read-only",
				 target->filename);
	return target->size == source->size ||
	       error_set(error, BERTH_ERR_INVALID, "source and target have different sizes: %"
			 G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT, source->size, target->size);
}

void block_job_discard(struct block_job *job)
{
	if (job)
		job_free(job);
}

static void end(struct block_job *job)
{
	set_status(job, JOB_NULL);
	g_ptr_array_remove(job->jobs->list, job);
	job_free(job);
}

static void report_end(struct block_job *job)
{
	if (job->kind->quiet)
		return;
	tell(job, job->cancelled && !job->error ? JOB_EVENT_CANCELLED : JOB_EVENT_COMPLETED, NULL, NULL);
}

static void wait_for_group(struct block_job *job)
{
	set_status(job, JOB_WAITING);
	if (job->group)
		group_wake(job->group);
	while (group_any(job, is_under_way) && !job->cancelled)
		fiber_queue_wait(&job->changed);
}

static void wait_for_finalize(struct block_job *job)
{
	set_status(job, JOB_PENDING);
	if (job->manual_finalize && !job->kind->quiet)
		tell(job, JOB_EVENT_PENDING, NULL, NULL);
	while (group_any(job, wants_finalize) && !job->cancelled)
		fiber_queue_wait(&job->changed);
}

static void job_body(void *opaque)
{
	struct block_job *job = opaque;
	/* The constructor's caller gets its answer before the job's first event but "created". */
	fiber_pause(job->loop);
	set_status(job, JOB_RUNNING);
	bool good = block_job_check_point(job) && job->kind->run(job);
	/* From here on things are changed that belong to the main thread. */
	fiber_pause(job->loop);
	if (good) {
		wait_for_group(job);
		wait_for_finalize(job);
		fiber_pause(job->loop);
		good = !job->cancelled;
	}
	if (!good)
		group_fail(job);
	good = job->kind->finish(job, good) && good;
	if (!good)
		set_status(job, JOB_ABORTING);
	group_leave(job);
	release_nodes(job);
	job->ended = true;
	set_status(job, JOB_CONCLUDED);
	report_end(job);
	if (!job->manual_dismiss)
		end(job);
}

void block_job_start(struct block_job *job)
{
	g_ptr_array_add(job->jobs->list, job);
	tell(job, JOB_EVENT_STATUS, NULL, NULL);
	fiber_start(job_body, job);
}

/* --- what the kinds use -------------------------------------------------------------------------------*/

void block_job_wake(struct block_job *job)
{
	fiber_queue_wake_all(&job->changed);
}

bool block_job_check_point(struct block_job *job)
{
	while (job->user_paused && !job->cancelled) {
		set_status(job, job->ready ? JOB_STANDBY : JOB_PAUSED);
		fiber_queue_wait(&job->changed);
	}
	if (job->status == JOB_PAUSED || job->status == JOB_STANDBY)
		set_status(job, job->ready ? JOB_READY : JOB_RUNNING);
	return !job->cancelled;
}

static void wake_later(void *opaque)
{
	block_job_wake(opaque);
}

void block_job_idle(struct block_job *job, int64_t ns)
{
	struct aio_timer timer;
	aio_timer_init(&timer, job->loop, wake_later, job);
	aio_timer_arm(&timer, aio_now_ns() + ns);
	fiber_queue_wait(&job->changed);
	aio_timer_cancel(&timer);
}

void block_job_account(struct block_job *job, uint64_t bytes)
{
	int64_t now = aio_now_ns();
	if (now - job->slice_ns >= SLICE_NS) {
		job->slice_ns = now;
		job->slice_bytes = 0;
	}
	job->slice_bytes += bytes;
	uint64_t allowed = MAX(job->speed / 10, 1);
	while (job->speed && job->slice_bytes > allowed && !job->cancelled) {
		int64_t left = job->slice_ns + SLICE_NS - aio_now_ns();
		if (left > 0) {
			block_job_idle(job, left);
			continue;
		}
		job->slice_ns = aio_now_ns();
		job->slice_bytes -= allowed;
	}
}

bool block_job_failed_io(struct block_job *job, bool write, int result, bool *skip)
{
	enum block_on_error policy = write ? job->on_target_error : job->on_source_error;
	if (policy == ON_ERROR_AUTO)
		policy = ON_ERROR_ENOSPC;
	if (policy == ON_ERROR_ENOSPC)
		policy = result == -ENOSPC ? ON_ERROR_STOP : ON_ERROR_REPORT;
	const char *action = policy == ON_ERROR_STOP ? "stop" : policy == ON_ERROR_IGNORE ? "ignore"
											  : "report";
	tell(job, JOB_EVENT_ERROR, write ? "write" : "read", action);
	if (policy == ON_ERROR_REPORT) {
		if (!job->error)
			error_set_errno(&job->error, -result, "the job could not %s",
					write ? "write to its target" : "read its source");
		return false;
	}
	if (policy == ON_ERROR_STOP) {
		job->io_status = result == -ENOSPC ? "nospace" : "failed";
		job->user_paused = true;
	} else if (skip) {
		*skip = true;
	} else {
		block_job_idle(job, SLICE_NS); /* it will be tried again: not without end at full speed */
	}
	return block_job_check_point(job);
}

void block_job_set_ready(struct block_job *job)
{
	if (job->ready)
		return;
	fiber_pause(job->loop);
	job->ready = true;
	set_status(job, JOB_READY);
	tell(job, JOB_EVENT_READY, NULL, NULL);
}

/* --- looking ------------------------------------------------------------------------------------------*/

const char *block_job_id(const struct block_job *job)
{
	return job->id;
}

const char *block_job_type(const struct block_job *job)
{
	return job->kind->name;
}

bool block_job_is_quiet(const struct block_job *job)
{
	return job->kind->quiet;
}

const char *block_job_status_name(const struct block_job *job)
{
	return status_names[job->status];
}

static const char *error_text(const struct block_job *job)
{
	return job->error ? job->error->message : NULL;
}

json_t *block_job_info(const struct block_job *job)
{
	json_t *info = json_pack("{s:s, s:s, s:s, s:I, s:I}", "id", job->id, "type", job->kind->name,
				 "status", status_names[job->status], "current-progress",
				 (json_int_t)job->offset, "total-progress", (json_int_t)job->length);
	if (job->error)
		json_object_set_new(info, "error", json_string(error_text(job)));
	return info;
}

json_t *block_job_block_info(const struct block_job *job)
{
	bool busy = job->status == JOB_RUNNING || job->status == JOB_READY;
	json_t *info = json_pack(
		"{s:s, s:s, s:I, s:I, s:b, s:b, s:I, s:s, s:b, s:s, s:b, s:b}", "device", job->id,
		"type", job->kind->name, "len", (json_int_t)job->length, "offset",
		(json_int_t)job->offset, "busy", (int)busy, "paused", (int)job->user_paused, "speed",
		(json_int_t)job->speed, "io-status", job->io_status, "ready", (int)job->ready, "status",
		status_names[job->status], "auto-finalize", (int)!job->manual_finalize, "auto-dismiss",
		(int)!job->manual_dismiss);
	if (job->error)
		json_object_set_new(info, "error", json_string(error_text(job)));
	return info;
}

json_t *block_job_event_data(const struct block_job *job)
{
	json_t *data = json_pack("{s:s, s:s, s:I, s:I, s:I}", "type", job->kind->name, "device",
				 job->id, "len", (json_int_t)job->length, "offset",
				 (json_int_t)job->offset, "speed", (json_int_t)job->speed);
	if (job->error)
		json_object_set_new(data, "error", json_string(error_text(job)));
	return data;
}

/* --- steering -----------------------------------------------------------------------------------------*/

static bool refuse(const struct block_job *job, const char *verb, GError **error)
{
	return error_set(error, BERTH_ERR_BUSY,
			 "Job '%s' in state '%s' cannot accept command verb '%s'", job->id,
			 status_names[job->status], verb);
}

static bool is_active(const struct block_job *job)
{
	return job->status <= JOB_STANDBY;
}

bool block_job_pause(struct block_job *job, GError **error)
{
	if (!is_active(job))
		return refuse(job, "pause", error);
	if (job->user_paused)
		return error_set(error, BERTH_ERR_BUSY, "Job is already paused");
	job->user_paused = true;
	block_job_wake(job);
	return true;
}

bool block_job_resume(struct block_job *job, GError **error)
{
	if (!is_active(job))
		return refuse(job, "resume", error);
	if (!job->user_paused)
		return error_set(error, BERTH_ERR_BUSY, "Can't resume a job that was not paused");
	job->user_paused = false;
	job->io_status = "ok";
	block_job_wake(job);
	return true;
}

bool block_job_set_speed(struct block_job *job, uint64_t speed, GError **error)
{
	if (!is_active(job))
		return refuse(job, "set-speed", error);
	job->speed = speed;
	job->slice_bytes = 0;
	block_job_wake(job);
	return true;
}

bool block_job_cancel(struct block_job *job, bool force, GError **error)
{
	if (job->ended || job->status >= JOB_ABORTING)
		return refuse(job, "cancel", error);
	if (job->user_paused && !force)
		return error_set(error, BERTH_ERR_BUSY,
				 "The block job for device '%s' is currently paused", job->id);
	/* Of a mirror that is ready something good is left: a copy of this moment. */
	if (job->ready && !force)
		job->stop_asked = true;
	else
		job->cancelled = true;
	block_job_wake(job);
	return true;
}

bool block_job_complete(struct block_job *job, GError **error)
{
	if (!job->kind->can_complete || job->cancelled ||
	    (job->status != JOB_READY && job->status != JOB_STANDBY))
		return refuse(job, "complete", error);
	job->complete_asked = true;
	block_job_wake(job);
	return true;
}

bool block_job_finalize(struct block_job *job, GError **error)
{
	if (job->status != JOB_PENDING)
		return refuse(job, "finalize", error);
	if (!job->group) {
		job->finalize_asked = true;
		block_job_wake(job);
		return true;
	}
	for (unsigned i = 0; i < job->group->jobs->len; i++)
		((struct block_job *)job->group->jobs->pdata[i])->finalize_asked = true;
	group_wake(job->group);
	return true;
}

bool block_job_dismiss(struct block_job *job, GError **error)
{
	if (job->status != JOB_CONCLUDED)
		return refuse(job, "dismiss", error);
	end(job);
	return true;
}
