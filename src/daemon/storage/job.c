/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs: before, the work, after. */
#include "daemon/storage/storage.h"

#include "base/error.h"
#include "base/log.h"

static void advance(struct storage_pool *pool);

void *storage_job_new(struct storage_pool *pool, struct rpc_call *call,
		      const struct storage_job_ops *ops)
{
	struct storage_job *job = g_malloc0(ops->size);
	job->ops = ops;
	job->pool = storage_pool_ref(pool);
	job->call = call;
	return job;
}

/* An image's own trouble is an operation that failed; only the kernel's is a system error. */
static enum virt_code code_of(const GError *error)
{
	switch ((enum berth_error)error->code) {
	case BERTH_ERR_IO:
		return VIRT_SYSTEM_ERROR;
	case BERTH_ERR_NOT_SUPPORTED:
		return VIRT_CONFIG_UNSUPPORTED;
	case BERTH_ERR_INTERNAL:
		return VIRT_INTERNAL;
	case BERTH_ERR_INVALID:
	case BERTH_ERR_NOT_FOUND:
	case BERTH_ERR_BUSY:
		break;
	}
	return VIRT_OPERATION_FAILED;
}

static void fail_as(struct rpc_call *call, enum virt_code code, GError *error)
{
	GError *answer = NULL;
	virt_error(&answer, VIRT_FROM_STORAGE, code, "%s", error->message);
	g_error_free(error);
	rpc_call_fail(call, answer);
}

void storage_fail(struct rpc_call *call, GError *error)
{
	if (error->domain == BERTH_ERROR)
		fail_as(call, code_of(error), error);
	else
		rpc_call_fail(call, error);
}

void storage_fail_xml(struct rpc_call *call, GError *error)
{
	enum virt_code code = code_of(error);
	if (code == VIRT_OPERATION_FAILED)
		code = *error->message == '(' ? VIRT_XML_DETAIL : VIRT_XML_ERROR;
	fail_as(call, code, error);
}

/* --- The end -------------------------------------------------------------------------------- */

static void answer(struct storage_job *job)
{
	if (job->error && job->ops->undo)
		job->ops->undo(job);
	if (!job->error) {
		job->ops->done(job);
	} else if (job->call) {
		storage_fail(job->call, g_steal_pointer(&job->error));
	} else {
		log_warning("storage pool '%s': %s", job->pool->name, job->error->message);
	}
}

static void release(struct storage_job *job)
{
	if (job->ops->clear)
		job->ops->clear(job);
	storage_pool_unref(job->pool);
	g_clear_error(&job->error);
	g_free(job->folder);
	g_free(job);
}

/* The work has ended: on the loop. */
static void finished(void *opaque)
{
	struct storage_job *job = opaque;
	struct storage_pool *pool = storage_pool_ref(job->pool);
	const struct storage_job_ops *ops = job->ops;
	if (!job->error && job->folder && pool->live)
		pool->usage = job->usage;
	if (ops->background)
		pool->background--;
	answer(job);
	if (ops->queued && !ops->background)
		g_queue_pop_head(&pool->queue);
	release(job);
	if (ops->queued && !ops->background)
		advance(pool);
	storage_pool_unref(pool);
}

static void work(void *opaque)
{
	struct storage_job *job = opaque;
	if (job->ops->work(job, &job->error) && job->folder)
		storage_measure(job->folder, &job->usage, &job->error);
}

/* --- The beginning -------------------------------------------------------------------------- */

/* False: it has ended already. */
static bool begin(struct storage_job *job)
{
	struct storage_pool *pool = job->pool;
	bool good = true;
	job->began_ns = aio_now_ns();
	if (pool->removed)
		good = virt_error(&job->error, VIRT_FROM_STORAGE, VIRT_NO_STORAGE_POOL,
				  "no storage pool with matching uuid '%s' (%s)", pool->uuid_text,
				  pool->name);
	else if (pool->all->ending)
		good = virt_error(&job->error, VIRT_FROM_STORAGE, VIRT_OPERATION_FAILED,
				  "the daemon is ending");
	else if (job->ops->begin)
		good = job->ops->begin(job, &job->error);
	if (good)
		return true;
	if (job->call)
		storage_fail(job->call, g_steal_pointer(&job->error));
	release(job);
	return false;
}

static void launch(struct storage_job *job)
{
	struct storage *storage = job->pool->all;
	if (job->ops->background)
		job->pool->background++;
	job->job = (struct aio_job){.work = work, .done = finished, .opaque = job,
				    .loop = storage->daemon->loop};
	aio_pool_submit(storage->workers, &job->job);
}

/* Let the first of the queue have its turn, and those behind it that need no turn for themselves. */
static void advance(struct storage_pool *pool)
{
	storage_pool_ref(pool);
	struct storage_job *job;
	while ((job = g_queue_peek_head(&pool->queue))) {
		const struct storage_job_ops *ops = job->ops;
		bool begun = begin(job);
		if (begun)
			launch(job);
		if (begun && !ops->background)
			break;
		g_queue_pop_head(&pool->queue);
	}
	storage_pool_unref(pool);
}

void storage_submit(void *opaque)
{
	struct storage_job *job = opaque;
	if (!job->ops->queued) {
		if (begin(job))
			launch(job);
		return;
	}
	struct storage_pool *pool = job->pool;
	g_queue_push_tail(&pool->queue, job);
	if (pool->queue.length == 1)
		advance(pool);
}
