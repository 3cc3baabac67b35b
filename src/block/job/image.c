/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs on images that no guest uses: make one on a node that is there, or change an image's options. */
#include "block/job/job_int.h"

#include "base/error.h"
#include "block/core/image.h"

struct image_job {
	struct block_job job;
	struct block_node *node; /* borrowed: claimed; NULL: a file is made */
	const struct block_driver *driver;
	char *filename;
	json_t *options;
	uint64_t size;
	bool force;
};

static struct image_job *image_job(struct block_job *job)
{
	return (struct image_job *)job;
}

/* QEMU's job of this kind ends at 1 of 1, however it ends. */
static bool finish(struct block_job *job, bool success)
{
	job->offset = job->length = 1;
	return success;
}

static void free_image_job(struct block_job *job)
{
	g_free(image_job(job)->filename);
	json_decref(image_job(job)->options);
}

static bool create_run(struct block_job *job)
{
	struct image_job *i = image_job(job);
	struct block_graph *graph = job->jobs->graph;
	if (i->node)
		return block_create_on(i->node, i->driver->name, i->size, i->options, &job->error);
	return block_create_in(graph, i->filename, i->driver->name, i->size, i->options, job->loop,
			       &job->error);
}

static void report_progress(void *opaque, uint64_t done, uint64_t total)
{
	struct block_job *job = opaque;
	job->offset = done;
	job->length = total;
}

static bool amend_run(struct block_job *job)
{
	struct block_progress progress = {.report = report_progress, .opaque = job};
	const struct image_job *i = image_job(job);
	return block_amend(i->node, i->options, i->force, &progress, &job->error);
}

static const struct block_job_kind create_kind = {
	.name = "create",
	.size = sizeof(struct image_job),
	.quiet = true,
	.run = create_run,
	.finish = finish,
	.free = free_image_job,
};
static const struct block_job_kind amend_kind = {
	.name = "amend",
	.size = sizeof(struct image_job),
	.quiet = true,
	.run = amend_run,
	.finish = finish,
	.free = free_image_job,
};

static bool start(struct block_jobs *jobs, const struct block_job_kind *kind,
		  const struct block_image_options *o, GError **error)
{
	struct image_job *i = image_job(block_job_new(jobs, kind, &o->job, error));
	if (!i)
		return false;
	i->node = o->node;
	i->driver = o->driver;
	i->filename = g_strdup(o->filename);
	i->options = json_deep_copy(o->options);
	i->size = o->size;
	i->force = o->force;
	if (i->node && !block_job_claim_node(&i->job, i->node, error)) {
		block_job_discard(&i->job);
		return false;
	}
	block_job_start(&i->job);
	return true;
}

bool block_create_start(struct block_jobs *jobs, const struct block_image_options *options,
			GError **error)
{
	return start(jobs, &create_kind, options, error);
}

bool block_amend_start(struct block_jobs *jobs, const struct block_image_options *options,
		       GError **error)
{
	return start(jobs, &amend_kind, options, error);
}
