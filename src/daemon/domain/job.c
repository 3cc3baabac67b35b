/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queue of a domain: one job at a time, in order; a job that waits too long fails. */
#include "daemon/domain/domain.h"

#include "base/log.h"

/* libvirt's limit for the wait for a domain's turn. */
#define WAIT_NS (INT64_C(30) * 1000000000)

static void job_free(struct domain_job *job)
{
	aio_timer_cancel(&job->timer);
	conf_domain_free(job->conf);
	if (job->free_data)
		job->free_data(job->data);
	g_free(job);
}

static void run_next(struct domain *dom)
{
	struct domain_job *job = g_queue_peek_head(&dom->jobs);
	if (!job || job->started)
		return;
	job->started = true;
	aio_timer_cancel(&job->timer);
	job->run(job);
}

static void end(struct domain_job *job)
{
	struct domain *dom = job->dom;
	g_queue_remove(&dom->jobs, job);
	job_free(job);
	if (dom->removed)
		domain_release(dom);
	else
		run_next(dom);
}

static void on_wait_over(void *opaque)
{
	struct domain_job *job = opaque;
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_TIMEOUT,
		   "cannot acquire state change lock: another job of domain '%s' does not end",
		   job->dom->name);
	job_fail(job, error);
}

struct domain_job *domain_submit(struct domain *dom, struct rpc_call *call,
				 void (*run)(struct domain_job *job))
{
	struct domain_job *job = g_new0(struct domain_job, 1);
	job->dom = dom;
	job->call = call;
	job->run = run;
	aio_timer_init(&job->timer, dom->all->daemon->loop, on_wait_over, job);
	g_queue_push_tail(&dom->jobs, job);
	return job;
}

void domain_run_jobs(struct domain *dom)
{
	struct domain_job *last = g_queue_peek_tail(&dom->jobs);
	/* What the daemon itself has to do waits as long as it takes. */
	if (last->call)
		aio_timer_arm(&last->timer, aio_now_ns() + WAIT_NS);
	run_next(dom);
}

void domain_fail_waiting(struct domain *dom)
{
	for (GList *link = dom->jobs.head; link;) {
		struct domain_job *job = link->data;
		link = link->next;
		GError *error = NULL;
		if (job->started)
			continue;
		virt_error(&error, VIRT_FROM_QEMU, VIRT_NO_DOMAIN, "domain '%s' is gone", dom->name);
		g_queue_remove(&dom->jobs, job);
		if (job->call)
			rpc_call_fail(job->call, error);
		else
			g_error_free(error);
		job_free(job);
	}
}

void domain_drop_jobs(struct domain *dom)
{
	struct domain_job *job;
	while ((job = g_queue_pop_head(&dom->jobs))) {
		GError *error = NULL;
		virt_error(&error, VIRT_FROM_QEMU, VIRT_OPERATION_FAILED, "the daemon ends");
		if (job->call)
			rpc_call_fail(job->call, error);
		else
			g_error_free(error);
		job_free(job);
	}
}

void job_reply(struct domain_job *job, const void *ret)
{
	if (job->call)
		rpc_call_reply(job->call, ret);
	end(job);
}

void job_fail(struct domain_job *job, GError *error)
{
	if (job->call) {
		rpc_call_fail(job->call, error);
	} else {
		log_warning("domain '%s': %s", job->dom->name, error->message);
		g_error_free(error);
	}
	end(job);
}

static bool needs(struct domain_job *job, bool running)
{
	if ((job->dom->vmm != NULL) == running)
		return true;
	GError *error = NULL;
	virt_error(&error, running ? VIRT_FROM_DOMAIN : VIRT_FROM_QEMU, VIRT_OPERATION_INVALID,
		   running ? "domain is not running" : "domain is already running");
	job_fail(job, error);
	return false;
}

bool job_needs_running(struct domain_job *job)
{
	return needs(job, true);
}

bool job_needs_stopped(struct domain_job *job)
{
	return needs(job, false);
}
