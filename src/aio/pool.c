/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The thread pool: one queue under one lock. A submission starts a thread if none is idle and the
 * limit allows it. Threads are detached; aio_pool_free() waits until their count is zero.
 */
#include "aio/pool.h"

#include "base/lock.h"
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

enum { IDLE_SECONDS = 5 };

struct aio_pool {
	pthread_mutex_t lock;
	pthread_cond_t queued, ended;
	struct aio_job *head, **tail;
	unsigned limit, threads, idle;
	unsigned wakeups; /* signalled but not yet running threads: they are not idle any more */
	bool closing;
};

/* Under the lock. Returns the next job, or NULL when this thread should end. */
static struct aio_job *next_job_locked(struct aio_pool *pool)
{
	struct timespec deadline;
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += IDLE_SECONDS;
	int r = 0;
	while (!pool->head) {
		if (pool->closing || r == ETIMEDOUT)
			return NULL;
		pool->idle++;
		r = pthread_cond_timedwait(&pool->queued, &pool->lock, &deadline);
		pool->idle--;
		if (pool->wakeups)
			pool->wakeups--;
	}
	struct aio_job *job = pool->head;
	pool->head = job->next;
	if (!pool->head)
		pool->tail = &pool->head;
	return job;
}

static void *pool_thread(void *opaque)
{
	struct aio_pool *pool = opaque;
	struct aio_job *job;
	pthread_mutex_lock(&pool->lock);
	while ((job = next_job_locked(pool))) {
		pthread_mutex_unlock(&pool->lock);
		job->work(job->opaque);
		aio_loop_post(job->loop, job->done, job->opaque);
		pthread_mutex_lock(&pool->lock);
	}
	pool->threads--;
	pthread_cond_signal(&pool->ended);
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

struct aio_pool *aio_pool_new(unsigned threads)
{
	g_assert(threads >= 1);
	struct aio_pool *pool = g_new0(struct aio_pool, 1);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->queued, &attr);
	pthread_cond_init(&pool->ended, NULL);
	pthread_condattr_destroy(&attr);
	pool->limit = threads;
	pool->tail = &pool->head;
	return pool;
}

void aio_pool_free(struct aio_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->closing = true;
	pthread_cond_broadcast(&pool->queued);
	while (pool->threads)
		pthread_cond_wait(&pool->ended, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	pthread_cond_destroy(&pool->ended);
	pthread_cond_destroy(&pool->queued);
	pthread_mutex_destroy(&pool->lock);
	g_free(pool);
}

/* Signals are for the main thread and the vCPUs: a pool thread takes none. */
static int start_thread(struct aio_pool *pool)
{
	sigset_t all, old;
	pthread_t thread;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&thread, NULL, pool_thread, pool);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		pthread_detach(thread);
	return r;
}

void aio_pool_submit(struct aio_pool *pool, struct aio_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&pool->lock);
	g_assert(!pool->closing);
	*pool->tail = job;
	pool->tail = &job->next;
	int failure = 0;
	if (pool->idle > pool->wakeups) {
		pool->wakeups++;
		pthread_cond_signal(&pool->queued);
	} else if (pool->threads < pool->limit) {
		failure = start_thread(pool);
		if (!failure)
			pool->threads++;
	}
	/* A running thread will come to it. With none at all, the work is done here and now. */
	bool inline_work = failure && pool->threads == 0;
	if (inline_work) {
		pool->head = NULL;
		pool->tail = &pool->head;
	}
	pthread_mutex_unlock(&pool->lock);
	if (inline_work) {
		log_warning("cannot start a worker thread: %s", g_strerror(failure));
		job->work(job->opaque);
		aio_loop_post(job->loop, job->done, job->opaque);
	}
}
