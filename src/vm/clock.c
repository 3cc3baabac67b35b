/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm/clock.h"

#include "base/lock.h"
#include "vm/vm.h"

int64_t vm_clock_ns(struct vm *vm)
{
	int64_t stopped = atomic_load_explicit(&vm->clock.stopped_ns, memory_order_acquire);
	return stopped >= 0 ? stopped :
			      aio_now_ns() - atomic_load_explicit(&vm->clock.shift_ns,
								  memory_order_relaxed);
}

/* Under the clock's lock. */
static void arm_host(struct vm_timer *timer)
{
	struct vm_clock *clock = &timer->vm->clock;
	int64_t at;
	if (timer->deadline_ns < 0 || atomic_load(&clock->stopped_ns) >= 0)
		aio_timer_cancel(&timer->host);
	else if (__builtin_add_overflow(timer->deadline_ns, atomic_load(&clock->shift_ns), &at))
		aio_timer_cancel(&timer->host); /* in 292 years */
	else
		aio_timer_arm(&timer->host, at);
}

static void fired(void *opaque)
{
	struct vm_timer *timer = opaque;
	pthread_mutex_lock(&timer->vm->clock.lock);
	/* Another thread may have moved it while this callback was on its way. */
	bool due = timer->deadline_ns >= 0 && vm_clock_ns(timer->vm) >= timer->deadline_ns;
	if (due)
		timer->deadline_ns = -1;
	else
		arm_host(timer);
	pthread_mutex_unlock(&timer->vm->clock.lock);
	if (due)
		timer->fn(timer->opaque);
}

void vm_timer_init(struct vm_timer *timer, struct vm *vm, void (*fn)(void *opaque), void *opaque)
{
	*timer = (struct vm_timer){.vm = vm, .fn = fn, .opaque = opaque, .deadline_ns = -1};
	aio_timer_init(&timer->host, vm->loop, fired, timer);
	LOCK_SCOPE(&vm->clock.lock);
	timer->next = vm->clock.timers;
	vm->clock.timers = timer;
}

void vm_timer_arm(struct vm_timer *timer, int64_t deadline_ns)
{
	LOCK_SCOPE(&timer->vm->clock.lock);
	timer->deadline_ns = MAX(deadline_ns, 0);
	arm_host(timer);
}

void vm_timer_cancel(struct vm_timer *timer)
{
	LOCK_SCOPE(&timer->vm->clock.lock);
	timer->deadline_ns = -1;
	aio_timer_cancel(&timer->host);
}

void vm_timer_destroy(struct vm_timer *timer)
{
	vm_timer_cancel(timer);
	LOCK_SCOPE(&timer->vm->clock.lock);
	struct vm_timer **at = &timer->vm->clock.timers;
	while (*at != timer)
		at = &(*at)->next;
	*at = timer->next;
}

void vm_clock_init(struct vm *vm)
{
	pthread_mutex_init(&vm->clock.lock, NULL);
}

void vm_clock_run(struct vm *vm, bool running)
{
	struct vm_clock *clock = &vm->clock;
	int64_t now = vm_clock_ns(vm);
	LOCK_SCOPE(&clock->lock);
	if (running)
		atomic_store(&clock->shift_ns, aio_now_ns() - now);
	atomic_store(&clock->stopped_ns, running ? -1 : now);
	for (struct vm_timer *timer = clock->timers; timer; timer = timer->next)
		arm_host(timer);
}

void vm_clock_destroy(struct vm *vm)
{
	pthread_mutex_destroy(&vm->clock.lock);
}
