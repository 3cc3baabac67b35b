/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File requests on threads. Finished jobs are kept for the next request. */
#include "block/proto/file.h"

#include "aio/pool.h"

#define POOL_THREADS 4

struct file_job {
	struct aio_job job;
	struct file_node *file;
	struct block_request *request;
	int result;
	struct file_job *next_free;
};

static void job_work(void *opaque)
{
	struct file_job *job = opaque;
	job->result = file_perform(job->file, job->request);
}

static void job_done(void *opaque)
{
	struct file_job *job = opaque;
	struct block_request *request = job->request;
	int result = job->result;
	job->next_free = job->file->free_jobs;
	job->file->free_jobs = job;
	block_complete(request, result);
}

static struct file_job *take_job(struct file_node *file)
{
	struct file_job *job = file->free_jobs;
	if (job) {
		file->free_jobs = job->next_free;
		return job;
	}
	job = g_new0(struct file_job, 1);
	job->job = (struct aio_job){job_work, job_done, job, NULL, NULL};
	job->file = file;
	return job;
}

void file_pool_submit(struct file_node *file, struct block_request *request)
{
	if (!file->pool)
		file->pool = aio_pool_new(POOL_THREADS);
	struct file_job *job = take_job(file);
	job->request = request;
	job->job.loop = file->node.loop; /* which may be another one than last time */
	aio_pool_submit(file->pool, &job->job);
}

void file_pool_destroy(struct file_node *file)
{
	if (file->pool)
		aio_pool_free(file->pool);
	while (file->free_jobs) {
		struct file_job *job = file->free_jobs;
		file->free_jobs = job->next_free;
		g_free(job);
	}
}
