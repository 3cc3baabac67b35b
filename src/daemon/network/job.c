/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs: one after the other, before, the work, after. */
#include "base/log.h"
#include "daemon/network/life.h"

static void advance(struct networks *networks);

struct network_job *network_job_new(struct network *network, struct rpc_call *call,
				    const struct network_job_ops *ops)
{
	struct network_job *job = g_new0(struct network_job, 1);
	job->ops = ops;
	job->network = network_ref(network);
	job->call = call;
	return job;
}

static void release(struct network_job *job)
{
	conf_network_free(job->conf);
	conf_network_free(job->live);
	char *const texts[] = {job->path, job->text, job->also, job->mark, job->mark_text, job->folder,
			       job->port,
			       job->listing, job->host.listing};
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	network_unref(job->network);
	g_clear_error(&job->error);
	g_free(job);
}

/* Without an error there was nothing to do. */
static void fail(struct network_job *job)
{
	if (job->ops->undo)
		job->ops->undo(job);
	if (job->call)
		network_fail(job->call, g_steal_pointer(&job->error));
	else if (job->error)
		log_warning("network '%s': %s", job->network->name, job->error->message);
}

static void work(void *opaque)
{
	struct network_job *job = opaque;
	job->ops->work(job, &job->error);
}

/* On the loop. */
static void finished(void *opaque)
{
	struct network_job *job = opaque;
	struct networks *networks = job->network->all;
	if (job->error)
		fail(job);
	else
		job->ops->done(job);
	g_queue_pop_head(&networks->jobs);
	release(job);
	advance(networks);
}

static bool begin(struct network_job *job)
{
	struct network *network = job->network;
	/* Who brings a document needs no network that is there. */
	if (network->removed && job->conf && !network_return(network, &job->error))
		return false;
	if (network->removed)
		return virt_error(&job->error, VIRT_FROM_NETWORK, VIRT_NO_NETWORK,
				  "no network with matching uuid '%s' (%s)", network->uuid_text,
				  network->name);
	return !job->ops->begin || job->ops->begin(job, &job->error);
}

static void advance(struct networks *networks)
{
	struct network_job *job;
	while ((job = g_queue_peek_head(&networks->jobs))) {
		if (begin(job)) {
			job->job = (struct aio_job){.work = work, .done = finished, .opaque = job,
						    .loop = networks->daemon->loop};
			aio_pool_submit(networks->worker, &job->job);
			return;
		}
		fail(job);
		g_queue_pop_head(&networks->jobs);
		release(job);
	}
}

void network_submit(struct network_job *job)
{
	struct networks *networks = job->network->all;
	g_queue_push_tail(&networks->jobs, job);
	if (networks->jobs.length == 1)
		advance(networks);
}
