/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The switch saves what the System V ABI says a function must preserve and changes the stack
 * pointer. (swapcontext() would make a system call for the signal mask each time.)
 */
#include "block/core/fiber.h"

#include "aio/loop.h"
#include "aio/pool.h"

#include <glib.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define FIBER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FIBER_TSAN 1
#endif
#endif
#ifdef FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

/* Address space, not memory: only touched pages count. The lowest page is a guard. */
#define STACK_SIZE (256 * 1024)
#define GUARD_SIZE 4096
/* Stacks kept per thread for the next fibers. */
#define KEEP_MAX 64

struct fiber {
	void *sp;
	struct fiber *caller; /* who resumed it: where a yield goes */
	fiber_fn *fn;
	void *opaque;
	bool ended;
	uint8_t *stack;
	struct fiber *next_free;
#ifdef FIBER_ASAN
	void *fake_stack;
	const void *bottom; /* of the stack it runs on, for the sanitizer */
	size_t size;
#endif
#ifdef FIBER_TSAN
	void *tsan;
#endif
};

struct fiber_thread {
	struct fiber root; /* the thread's plain stack */
	struct fiber *current, *free;
	unsigned free_count;
};

static void destroy(struct fiber *fiber)
{
#ifdef FIBER_TSAN
	__tsan_destroy_fiber(fiber->tsan);
#endif
	munmap(fiber->stack, STACK_SIZE);
	g_free(fiber);
}

static void thread_ends(gpointer data)
{
	struct fiber_thread *thread = data;
	while (thread->free) {
		struct fiber *fiber = thread->free;
		thread->free = fiber->next_free;
		destroy(fiber);
	}
	g_free(thread);
}

/* What each thread has of its own; nothing is shared between threads. */
static GPrivate thread_key = G_PRIVATE_INIT(thread_ends);

static struct fiber_thread *this_thread(void)
{
	struct fiber_thread *thread = g_private_get(&thread_key);
	if (!thread) {
		thread = g_new0(struct fiber_thread, 1);
		thread->current = &thread->root;
#ifdef FIBER_TSAN
		thread->root.tsan = __tsan_get_current_fiber();
#endif
#ifdef FIBER_ASAN
		pthread_attr_t attributes;
		void *bottom;
		if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
			pthread_attr_getstack(&attributes, &bottom, &thread->root.size);
			pthread_attr_destroy(&attributes);
			thread->root.bottom = bottom;
		}
#endif
		g_private_set(&thread_key, thread);
	}
	return thread;
}

void fiber_switch_stack(void **save, void *load);
__asm__(".text\n"
	".local fiber_switch_stack\n"
	".type fiber_switch_stack,@function\n"
	"fiber_switch_stack:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size fiber_switch_stack, .-fiber_switch_stack\n");

/* From `from`, which is running, to `to`. Returns when somebody switches back. */
static void switch_to(struct fiber_thread *thread, struct fiber *from, struct fiber *to)
{
	thread->current = to;
#ifdef FIBER_ASAN
	/* A fiber that has ended gives up its fake stack. */
	__sanitizer_start_switch_fiber(from->ended ? NULL : &from->fake_stack, to->bottom, to->size);
#endif
#ifdef FIBER_TSAN
	__tsan_switch_to_fiber(to->tsan, 0);
#endif
	fiber_switch_stack(&from->sp, to->sp);
#ifdef FIBER_ASAN
	__sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}

static void first_entry(void)
{
	struct fiber *fiber = this_thread()->current;
#ifdef FIBER_ASAN
	__sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
	for (;;) {
		fiber->fn(fiber->opaque);
		fiber->ended = true;
		/* Perhaps not the thread that it began on. */
		switch_to(this_thread(), fiber, fiber->caller);
	}
}

static struct fiber *create(void)
{
	struct fiber *fiber = g_new0(struct fiber, 1);
	fiber->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (fiber->stack == MAP_FAILED || mprotect(fiber->stack, GUARD_SIZE, PROT_NONE) < 0)
		g_error("out of memory for a fiber's stack");
#ifdef FIBER_TSAN
	fiber->tsan = __tsan_create_fiber(0);
#endif
	return fiber;
}

/* A stack on which the first switch returns into first_entry(), aligned as after a call. */
static void prepare(struct fiber *fiber, fiber_fn *fn, void *opaque)
{
	void **top = (void **)(fiber->stack + STACK_SIZE);
	*--top = NULL;
	*--top = NULL;
	*--top = NULL; /* the return address that first_entry() never uses */
	*--top = (void *)first_entry;
	for (unsigned i = 0; i < 6; i++)
		*--top = NULL;
	fiber->sp = top;
	fiber->fn = fn;
	fiber->opaque = opaque;
	fiber->ended = false;
#ifdef FIBER_ASAN
	fiber->bottom = fiber->stack;
	fiber->size = STACK_SIZE;
#endif
}

static void recycle(struct fiber_thread *thread, struct fiber *fiber)
{
	if (thread->free_count == KEEP_MAX) {
		destroy(fiber);
		return;
	}
	fiber->next_free = thread->free;
	thread->free = fiber;
	thread->free_count++;
}

static void enter(struct fiber_thread *thread, struct fiber *fiber)
{
	fiber->caller = thread->current;
	switch_to(thread, thread->current, fiber);
	if (fiber->ended)
		recycle(thread, fiber);
}

void fiber_start(fiber_fn *fn, void *opaque)
{
	struct fiber_thread *thread = this_thread();
	struct fiber *fiber = thread->free;
	if (fiber) {
		thread->free = fiber->next_free;
		thread->free_count--;
	} else {
		fiber = create();
	}
	prepare(fiber, fn, opaque);
	enter(thread, fiber);
}

struct fiber *fiber_self(void)
{
	struct fiber_thread *thread = this_thread();
	return thread->current == &thread->root ? NULL : thread->current;
}

void fiber_yield(void)
{
	struct fiber_thread *thread = this_thread();
	struct fiber *self = thread->current;
	g_assert(self != &thread->root);
	switch_to(thread, self, self->caller);
}

void fiber_resume(struct fiber *fiber)
{
	enter(this_thread(), fiber);
}

static void resume_posted(void *opaque)
{
	fiber_resume(opaque);
}

void fiber_pause(struct aio_loop *loop)
{
	aio_loop_post(loop, resume_posted, fiber_self());
	fiber_yield();
}

void fiber_sleep(struct aio_loop *loop, int64_t ns)
{
	struct aio_timer timer;
	aio_timer_init(&timer, loop, resume_posted, fiber_self());
	aio_timer_arm(&timer, aio_now_ns() + ns);
	fiber_yield();
}

struct run {
	fiber_fn *fn;
	void *opaque;
	struct fiber *waiter;
	bool done;
};

static void run_body(void *opaque)
{
	struct run *run = opaque;
	run->fn(run->opaque);
	run->done = true;
	if (run->waiter)
		fiber_resume(run->waiter);
}

void fiber_run_fresh(struct aio_loop *loop, fiber_fn *fn, void *opaque)
{
	struct run run = {.fn = fn, .opaque = opaque};
	fiber_start(run_body, &run);
	if (run.done)
		return;
	if (fiber_self()) {
		run.waiter = fiber_self();
		fiber_yield();
		return;
	}
	while (!run.done)
		aio_loop_iterate(loop, -1);
}

void fiber_run(struct aio_loop *loop, fiber_fn *fn, void *opaque)
{
	if (fiber_self())
		fn(opaque);
	else
		fiber_run_fresh(loop, fn, opaque);
}

struct pool_call {
	fiber_fn *fn;
	void *opaque;
	struct fiber *fiber;
};

static void pool_work(void *opaque)
{
	struct pool_call *call = opaque;
	call->fn(call->opaque);
}

static void pool_call_done(void *opaque)
{
	fiber_resume(((struct pool_call *)opaque)->fiber);
}

void fiber_on_pool(struct aio_pool *pool, struct aio_loop *loop, fiber_fn *fn, void *opaque)
{
	struct pool_call call = {fn, opaque, fiber_self()};
	g_assert(call.fiber);
	struct aio_job job = {pool_work, pool_call_done, &call, loop, NULL};
	aio_pool_submit(pool, &job);
	fiber_yield();
}

struct fiber_waiter {
	struct fiber *fiber;
	struct fiber_waiter *next;
};

void fiber_queue_wait(struct fiber_queue *queue)
{
	struct fiber_waiter waiter = {fiber_self(), NULL};
	g_assert(waiter.fiber);
	if (queue->last)
		queue->last->next = &waiter;
	else
		queue->first = &waiter;
	queue->last = &waiter;
	fiber_yield();
}

bool fiber_queue_wake_one(struct fiber_queue *queue)
{
	struct fiber_waiter *waiter = queue->first;
	if (!waiter)
		return false;
	queue->first = waiter->next;
	if (!queue->first)
		queue->last = NULL;
	fiber_resume(waiter->fiber);
	return true;
}

void fiber_queue_wake_all(struct fiber_queue *queue)
{
	/* Who waits anew while this runs is not woken: take the list first. */
	struct fiber_waiter *waiter = queue->first;
	queue->first = queue->last = NULL;
	while (waiter) {
		struct fiber_waiter *next = waiter->next;
		fiber_resume(waiter->fiber);
		waiter = next;
	}
}

void fiber_lock(struct fiber_mutex *mutex)
{
	if (mutex->locked)
		fiber_queue_wait(&mutex->waiters); /* the lock is handed over */
	mutex->locked = true;
}

void fiber_unlock(struct fiber_mutex *mutex)
{
	g_assert(mutex->locked);
	if (!fiber_queue_wake_one(&mutex->waiters))
		mutex->locked = false;
}
