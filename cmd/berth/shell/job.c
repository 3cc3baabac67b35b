/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "job.h"

#include <signal.h>
#include <stdio.h>

enum { INTERVAL_MS = 500, JOB_BOUNDED = 1, JOB_UNBOUNDED = 2 };

static volatile sig_atomic_t caught;
static struct sigaction before;

static void on_interrupt(int number)
{
	caught = 1;
}

void interrupts_catch(void)
{
	/* Without SA_RESTART, so that poll() ends. */
	struct sigaction action = {.sa_handler = on_interrupt};
	caught = 0;
	sigaction(SIGINT, &action, &before);
}

void interrupts_restore(void)
{
	sigaction(SIGINT, &before, NULL);
}

bool interrupted(void)
{
	return caught;
}

void job_progress(const char *label, uint64_t remaining, uint64_t total)
{
	/* 100 is for what is done: as long as something remains it is 99 at most. */
	int percent = !remaining ? 100 : (int)(100.0 - remaining * 100.0 / total);
	if (remaining && percent >= 100)
		percent = 99;
	fflush(stdout);
	fprintf(stderr, "\r%s: [%3d %%]", label, percent);
	fflush(stderr);
}

struct watched {
	struct job *job;
	gint64 end; /* of the timeout; 0: none */
	bool aborted;
};

static void tick(void *opaque)
{
	struct watched *watched = opaque;
	struct job *job = watched->job;
	struct shell *sh = job->sh;
	struct remote_domain_get_job_info_ret info;
	if (interrupted() && !watched->aborted) {
		watched->aborted = true;
		CALL(sh, domain_abort_job, job->dom);
	}
	if (watched->end && g_get_monotonic_time() >= watched->end) {
		watched->end = 0;
		job->on_timeout(job, job->opaque);
	}
	if (job->verbose && GET(sh, domain_get_job_info, &info, job->dom) && info.data_total &&
	    (info.type == JOB_BOUNDED || info.type == JOB_UNBOUNDED))
		job_progress(job->label, info.data_remaining, info.data_total);
	shell_forget_error(sh);
}

bool job_run(struct job *job, enum remote_procedure procedure, const void *args, void *ret)
{
	struct watched watched = {.job = job};
	g_autoptr(GError) error = NULL;
	if (job->timeout)
		watched.end = g_get_monotonic_time() + (gint64)job->timeout * G_USEC_PER_SEC;
	interrupts_catch();
	bool good = client_call_watched(job->sh->client, procedure, args, ret, INTERVAL_MS, tick, &watched,
					&error);
	interrupts_restore();
	if (good && job->verbose)
		job_progress(job->label, 0, 1);
	shell_forget_error(job->sh);
	if (!good)
		job->sh->error = g_steal_pointer(&error);
	return good;
}
