/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPU threads. A thread is either parked (waiting under vm->lock) or on its way through the
 * engine's vcpu_run(). To get it out of there: set vcpu->attention and kick. The thread clears
 * attention under vm->lock only when it has looked at everything that can have set it, so none is
 * ever lost.
 */
#include "vm/vm_int.h"

#include "base/error.h"
#include "base/lock.h"
#include "base/log.h"

#include <signal.h>
#include <stdio.h>

struct vcpu_call {
	void (*fn)(struct vcpu *vcpu, void *opaque);
	void *opaque;
	bool done;
	struct vcpu_call *next;
};

/* A fact about the thread, not about the process: which vCPU it runs. */
static _Thread_local struct vcpu *current_vcpu;

struct vcpu *vcpu_current(void)
{
	return current_vcpu;
}

static void interrupt(struct vcpu *vcpu)
{
	if (!vcpu->thread_started || vcpu->parked)
		return;
	atomic_store(&vcpu->attention, true);
	vcpu->vm->engine->vcpu_kick(vcpu);
}

void vcpus_interrupt_locked(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		interrupt(&vm->vcpus[i]);
}

static bool all_parked(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		if (vm->vcpus[i].thread_started && !vm->vcpus[i].parked)
			return false;
	return true;
}

void vcpus_wait_parked_locked(struct vm *vm)
{
	g_assert(!current_vcpu || current_vcpu->vm != vm);
	while (!all_parked(vm))
		pthread_cond_wait(&vm->vcpus_changed, &vm->lock);
}

/* Under vm->lock, which is released while a call runs. */
static void run_calls_locked(struct vcpu *vcpu)
{
	while (vcpu->calls) {
		struct vcpu_call *call = vcpu->calls;
		vcpu->calls = call->next;
		pthread_mutex_unlock(&vcpu->vm->lock);
		call->fn(vcpu, call->opaque);
		pthread_mutex_lock(&vcpu->vm->lock);
		call->done = true;
		pthread_cond_broadcast(&vcpu->vm->vcpus_changed);
	}
}

/* Wait until the vCPU may enter the guest. False: the thread is to end. */
static bool wait_runnable(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	LOCK_SCOPE(&vm->lock);
	for (;;) {
		run_calls_locked(vcpu);
		if (vm->quitting)
			break;
		if (vm->pause_depth == 0 && !vcpu->held && vcpu->present) {
			vcpu->parked = false;
			atomic_store(&vcpu->attention, false);
			return true;
		}
		if (!vcpu->parked) {
			vcpu->parked = true;
			pthread_cond_broadcast(&vm->vcpus_changed);
		}
		pthread_cond_wait(&vm->resumed, &vm->lock);
	}
	vcpu->parked = true;
	pthread_cond_broadcast(&vm->vcpus_changed);
	return false;
}

static void *vcpu_thread(void *opaque)
{
	struct vcpu *vcpu = opaque;
	struct vm *vm = vcpu->vm;
	char name[16];
	snprintf(name, sizeof(name), "vcpu%u", vcpu->index);
	pthread_setname_np(pthread_self(), name);
	current_vcpu = vcpu;
	while (wait_runnable(vcpu)) {
		g_autoptr(GError) error = NULL;
		switch (vm->engine->vcpu_run(vcpu, &error)) {
		case VCPU_EXIT_KICKED:
			break;
		case VCPU_EXIT_SHUTDOWN:
			log_guest_fault("vCPU %u shut down (triple fault): the VM resets",
					vcpu->index);
			vm_request(vm, VM_REQUEST_RESET, 0);
			break;
		case VCPU_EXIT_ERROR:
			log_error("vCPU %u cannot go on: %s", vcpu->index,
				  error ? error->message : "the engine gave no reason");
			vm_request(vm, VM_REQUEST_INTERNAL_ERROR, 0);
			break;
		}
	}
	return NULL;
}

bool vcpu_thread_start(struct vcpu *vcpu, GError **error)
{
	sigset_t all, old;
	vcpu->parked = true;
	vcpu->thread_started = true;
	/* Signals are the main thread's; an engine unblocks on this thread what it kicks with. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r) {
		vcpu->thread_started = false;
		return error_set_errno(error, r, "cannot start the thread of vCPU %u", vcpu->index);
	}
	return true;
}

void vcpu_set_present(struct vcpu *vcpu, bool present)
{
	struct vm *vm = vcpu->vm;
	g_assert(vcpu->index);
	vm_quiesce(vm);
	vm->engine->vcpu_reset(vcpu);
	pthread_mutex_lock(&vm->lock);
	vcpu->present = present;
	pthread_mutex_unlock(&vm->lock);
	vm_unquiesce(vm);
}

void vcpu_call(struct vcpu *vcpu, void (*fn)(struct vcpu *vcpu, void *opaque), void *opaque)
{
	struct vm *vm = vcpu->vm;
	g_assert(!current_vcpu || current_vcpu->vm != vm);
	pthread_mutex_lock(&vm->lock);
	if (!vcpu->thread_started || vm->quitting) {
		pthread_mutex_unlock(&vm->lock);
		fn(vcpu, opaque);
		return;
	}
	struct vcpu_call call = {.fn = fn, .opaque = opaque};
	struct vcpu_call **tail = &vcpu->calls;
	while (*tail)
		tail = &(*tail)->next;
	*tail = &call;
	interrupt(vcpu);
	pthread_cond_broadcast(&vm->resumed);
	while (!call.done)
		pthread_cond_wait(&vm->vcpus_changed, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
}
