/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VM's own clock: nanoseconds for which it has been running. It stands still while the VM is
 * paused, and so do the timers on it: a guest that is stopped for a week neither gets a week's ticks
 * at once nor finds its counters jumped. A vm_quiesce() does not stop it.
 */
#pragma once

#include "aio/loop.h"

#include <pthread.h>
#include <stdatomic.h>

struct vm;
struct vm_timer;

struct vm_clock {
	/* Of the two one is true: the time at which it stands, or (-1) monotonic time less a shift. */
	_Atomic int64_t stopped_ns, shift_ns;
	pthread_mutex_t lock; /* guards the list and each timer's members; a leaf but for the loop's */
	struct vm_timer *timers;
};

/* Any thread. */
int64_t vm_clock_ns(struct vm *vm);

/* A one-shot timer. Embed it in the owner; its callback runs on the main thread, unlocked. */
struct vm_timer {
	struct vm *vm;
	void (*fn)(void *opaque);
	void *opaque;
	struct aio_timer host;
	int64_t deadline_ns; /* by the VM's clock; -1: not armed */
	struct vm_timer *next;
};
void vm_timer_init(struct vm_timer *timer, struct vm *vm, void (*fn)(void *opaque), void *opaque);
/* Any thread. Arming again moves the deadline. */
void vm_timer_arm(struct vm_timer *timer, int64_t deadline_ns);
void vm_timer_cancel(struct vm_timer *timer);
/* Main thread: the callback is not called again. */
void vm_timer_destroy(struct vm_timer *timer);

/* For vm.c. Main thread. */
void vm_clock_init(struct vm *vm);
void vm_clock_run(struct vm *vm, bool running);
void vm_clock_destroy(struct vm *vm);
