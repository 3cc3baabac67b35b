/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "aio/pool.h"

#include <stdatomic.h>
#include <unistd.h>

enum { JOBS = 200 };

struct task {
	struct aio_job job;
	_Atomic unsigned *running, *peak;
	unsigned *finished;
	unsigned rounds;
	struct aio_pool *pool;
};

static void work(void *opaque)
{
	struct task *t = opaque;
	unsigned now = ++*t->running, peak = *t->peak;
	while (now > peak && !atomic_compare_exchange_weak(t->peak, &peak, now))
		;
	usleep(50);
	--*t->running;
}

static void done(void *opaque)
{
	struct task *t = opaque;
	if (--t->rounds)
		aio_pool_submit(t->pool, &t->job);
	else
		++*t->finished;
}

static void test_jobs(void)
{
	struct aio_loop *loop = aio_loop_new(NULL);
	struct aio_pool *pool = aio_pool_new(3);
	_Atomic unsigned running = 0, peak = 0;
	unsigned finished = 0;
	struct task tasks[JOBS];
	for (int i = 0; i < JOBS; i++) {
		tasks[i] = (struct task){.running = &running, .peak = &peak, .finished = &finished,
					 .rounds = 3, .pool = pool,
					 .job = {work, done, &tasks[i], loop}};
		aio_pool_submit(pool, &tasks[i].job);
	}
	while (finished < JOBS)
		aio_loop_iterate(loop, -1);
	g_assert_cmpuint(peak, >=, 1);
	g_assert_cmpuint(peak, <=, 3);
	aio_pool_free(pool);
	aio_loop_free(loop);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/aio/pool/jobs", test_jobs);
	return g_test_run();
}
