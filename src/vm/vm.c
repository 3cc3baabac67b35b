/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VM's life cycle. vm->pause_depth counts the reasons for the vCPUs to stay out of the guest:
 * one while the state is not RUNNING, one for each vm_quiesce(). Requests are flags under vm->lock,
 * handled by one function posted to the main loop.
 */
#include "vm/vm_int.h"

#include "aio/loop.h"
#include "base/error.h"
#include "base/lock.h"

#include <string.h>

const char *vm_state_name(enum vm_state state)
{
	static const char *const names[] = {
		[VM_STATE_PRELAUNCH] = "prelaunch",
		[VM_STATE_RUNNING] = "running",
		[VM_STATE_PAUSED] = "paused",
		[VM_STATE_SHUTDOWN] = "shutdown",
		[VM_STATE_IO_ERROR] = "io-error",
		[VM_STATE_INTERNAL_ERROR] = "internal-error",
		[VM_STATE_GUEST_PANICKED] = "guest-panicked",
		[VM_STATE_WATCHDOG] = "watchdog",
		[VM_STATE_SUSPENDED] = "suspended",
		[VM_STATE_SAVE_VM] = "save-vm",
	};
	return names[state];
}

struct vm *vm_new(const struct vm_config *config, struct aio_loop *loop, GError **error)
{
	if (config->vcpus == 0) {
		error_set(error, BERTH_ERR_INVALID, "a VM needs at least one vCPU");
		return NULL;
	}
	struct vm *vm = g_new0(struct vm, 1);
	vm->config = *config;
	vm->loop = loop;
	vm->state = VM_STATE_PRELAUNCH;
	vm->pause_depth = 1;
	vm->epoch_ns = aio_now_ns();
	vm_clock_init(vm);
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->vcpus_changed, NULL);
	pthread_cond_init(&vm->resumed, NULL);
	vm->memory = space_new("memory", UINT64_C(1) << 52);
	vm->ports = space_new("I/O", UINT64_C(1) << 16);
	vm->engine = config->engine;
	if (!vm->engine->vm_create(vm, error)) {
		vm->engine = NULL;
		vm_free(vm);
		return NULL;
	}
	return vm;
}

/* SDM vol. 3, 9.9.3.2: each level of the topology takes a power of two of APIC ids. */
static unsigned id_bits(unsigned count)
{
	return count > 1 ? 32 - __builtin_clz(count - 1) : 0;
}

static uint32_t apic_id(const struct vm_config *c, unsigned index)
{
	unsigned threads = MAX(c->threads, 1), cores = MAX(c->cores, 1), dies = MAX(c->dies, 1);
	uint32_t id = index / threads / cores / dies;
	id = id << id_bits(dies) | index / threads / cores % dies;
	id = id << id_bits(cores) | index / threads % cores;
	return id << id_bits(threads) | index % threads;
}

bool vm_create_vcpus(struct vm *vm, GError **error)
{
	vm->vcpus = g_new0(struct vcpu, vm->config.vcpus);
	for (unsigned i = 0; i < vm->config.vcpus; i++) {
		struct vcpu *vcpu = &vm->vcpus[i];
		vcpu->vm = vm;
		vcpu->index = i;
		vcpu->apic_id = apic_id(&vm->config, i);
		vcpu->parked = true;
		vcpu->present = !vm->config.vcpus_present || vm->config.vcpus_present[i];
		if (!vm->engine->vcpu_create(vcpu, error))
			return false;
		vm->vcpu_count++;
	}
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vm->engine->vcpu_reset(&vm->vcpus[i]);
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		if (!vcpu_thread_start(&vm->vcpus[i], error))
			return false;
	return true;
}

void vm_stop_vcpus(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->quitting = true;
	vcpus_interrupt_locked(vm);
	pthread_cond_broadcast(&vm->resumed);
	pthread_mutex_unlock(&vm->lock);
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		if (vm->vcpus[i].thread_started)
			pthread_join(vm->vcpus[i].thread, NULL);
		vm->vcpus[i].thread_started = false;
	}
}

void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	vm_stop_vcpus(vm);
	/* A posted handle_requests() must come before the memory goes; it shall do nothing. */
	vm->events = (struct vm_events){0};
	memset(vm->request_pending, 0, sizeof(vm->request_pending));
	while (vm->requests_posted || vm->notices_posted)
		aio_loop_iterate(vm->loop, 0);
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vm->engine->vcpu_destroy(&vm->vcpus[i]);
	if (vm->engine)
		vm->engine->vm_destroy(vm);
	g_clear_pointer(&vm->kept, g_ptr_array_unref);
	space_free(vm->memory);
	space_free(vm->ports);
	pthread_cond_destroy(&vm->vcpus_changed);
	pthread_cond_destroy(&vm->resumed);
	pthread_mutex_destroy(&vm->lock);
	vm_clock_destroy(vm);
	g_free(vm->vcpus);
	g_free(vm);
}

static void free_kept(gpointer block)
{
	ram_block_free(block);
}

void vm_keep_ram(struct vm *vm, struct ram_block *block)
{
	if (!vm->kept)
		vm->kept = g_ptr_array_new_with_free_func(free_kept);
	ram_block_retire(block);
	g_ptr_array_add(vm->kept, block);
}

/* --- Run and pause -------------------------------------------------------------------------- */

bool vm_is_running(struct vm *vm)
{
	LOCK_SCOPE(&vm->lock);
	return vm->state == VM_STATE_RUNNING;
}

void vm_quiesce(struct vm *vm)
{
	LOCK_SCOPE(&vm->lock);
	vm->pause_depth++;
	vcpus_interrupt_locked(vm);
	vcpus_wait_parked_locked(vm);
}

void vm_unquiesce(struct vm *vm)
{
	LOCK_SCOPE(&vm->lock);
	g_assert(vm->pause_depth > 0);
	if (--vm->pause_depth == 0)
		pthread_cond_broadcast(&vm->resumed);
}

/* The running state only changes on the main thread, so reading it there needs no lock. */
static void set_state(struct vm *vm, enum vm_state state)
{
	pthread_mutex_lock(&vm->lock);
	bool changed = vm->state != state;
	vm->state = state;
	pthread_mutex_unlock(&vm->lock);
	if (changed && vm->events.state_changed)
		vm->events.state_changed(vm->events.opaque, state);
}

/* Clocks stand still while devices may not run: they stop after and start before the devices. */
static void tell_running(struct vm *vm, bool running)
{
	if (running)
		vm_clock_run(vm, true);
	if (running && vm->engine->run_changed)
		vm->engine->run_changed(vm, true);
	if (vm->run_devices)
		vm->run_devices(vm->reset_opaque, running);
	if (!running && vm->engine->run_changed)
		vm->engine->run_changed(vm, false);
	if (!running)
		vm_clock_run(vm, false);
}

void vm_resume(struct vm *vm)
{
	if (vm->state == VM_STATE_RUNNING)
		return;
	tell_running(vm, true);
	set_state(vm, VM_STATE_RUNNING);
	vm_unquiesce(vm);
}

static void tell_notices(struct vm *vm);

void vm_pause(struct vm *vm, enum vm_state state)
{
	g_assert(state != VM_STATE_RUNNING);
	if (vm->state == VM_STATE_SUSPENDED) {
		/* What comes after such a pause would run a guest that waits for its wake-up. */
		if (state != VM_STATE_SHUTDOWN && state != VM_STATE_INTERNAL_ERROR)
			return;
		tell_running(vm, false);
	} else if (vm->state == VM_STATE_RUNNING) {
		vm_quiesce(vm);
		tell_running(vm, false);
	}
	/* First what it pauses for. */
	tell_notices(vm);
	set_state(vm, state);
}

/* ACPI S3. Devices go on, as one of them is to wake the guest. */
static void fall_asleep(struct vm *vm)
{
	if (vm->state != VM_STATE_RUNNING)
		return;
	vm_quiesce(vm);
	set_state(vm, VM_STATE_SUSPENDED);
}

static void reset(struct vm *vm)
{
	vm_quiesce(vm);
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vm->engine->vcpu_reset(&vm->vcpus[i]);
	if (vm->reset_devices)
		vm->reset_devices(vm->reset_opaque);
	vm_unquiesce(vm);
	if (vm->state == VM_STATE_SUSPENDED) {
		set_state(vm, VM_STATE_RUNNING);
		vm_unquiesce(vm);
	}
}

void vm_reset(struct vm *vm, bool by_guest)
{
	reset(vm);
	if (vm->events.was_reset)
		vm->events.was_reset(vm->events.opaque, by_guest);
}

/* The board, which sees vm->waking, keeps memory and makes the firmware resume the guest. */
static bool wake(struct vm *vm)
{
	if (vm->state != VM_STATE_SUSPENDED)
		return false;
	vm->waking = true;
	reset(vm);
	vm->waking = false;
	return true;
}

/* --- Requests --------------------------------------------------------------------------------- */

static void handle_request(struct vm *vm, enum vm_request request)
{
	switch (request) {
	case VM_REQUEST_RESET:
		if (vm->config.pause_on_reset_request)
			vm_pause(vm, VM_STATE_SHUTDOWN);
		else
			vm_reset(vm, true);
		break;
	case VM_REQUEST_SHUTDOWN:
		vm_pause(vm, VM_STATE_SHUTDOWN);
		break;
	case VM_REQUEST_PANIC:
		vm_pause(vm, VM_STATE_GUEST_PANICKED);
		break;
	case VM_REQUEST_SUSPEND:
		fall_asleep(vm);
		break;
	case VM_REQUEST_WAKE:
		if (!wake(vm))
			return;
		break;
	case VM_REQUEST_INTERNAL_ERROR:
		vm_pause(vm, VM_STATE_INTERNAL_ERROR);
		break;
	case VM_REQUEST_WATCHDOG:
		break;
	case VM_REQUEST_COUNT:
		g_assert_not_reached();
	}
	if (vm->events.requested)
		vm->events.requested(vm->events.opaque, request,
				     request == VM_REQUEST_SHUTDOWN ? vm->exit_code : 0);
}

/* Posted to the main loop by the first request. */
static void handle_requests(void *opaque)
{
	struct vm *vm = opaque;
	bool wanted[VM_REQUEST_COUNT];
	pthread_mutex_lock(&vm->lock);
	vm->requests_posted = false;
	memcpy(wanted, vm->request_pending, sizeof(wanted));
	memset(vm->request_pending, 0, sizeof(wanted));
	if (wanted[VM_REQUEST_SHUTDOWN])
		vm->exit_code = vm->request_code;
	pthread_mutex_unlock(&vm->lock);

	for (unsigned i = 0; i < VM_REQUEST_COUNT; i++)
		if (wanted[i])
			handle_request(vm, i);

	LOCK_SCOPE(&vm->lock);
	if (vm->requests_posted)
		return; /* newer ones: their vCPUs stay held until we come again */
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vm->vcpus[i].held = false;
	pthread_cond_broadcast(&vm->resumed);
}

void vm_request(struct vm *vm, enum vm_request request, int code)
{
	struct vcpu *vcpu = vcpu_current();
	LOCK_SCOPE(&vm->lock);
	if (vcpu && vcpu->vm == vm) {
		vcpu->held = true;
		atomic_store(&vcpu->attention, true);
		vm->engine->vcpu_kick(vcpu);
	}
	if (!vm->request_pending[request] && request == VM_REQUEST_SHUTDOWN)
		vm->request_code = code;
	vm->request_pending[request] = true;
	if (vm->requests_posted || vm->quitting)
		return;
	vm->requests_posted = true;
	aio_loop_post(vm->loop, handle_requests, vm);
}

/* --- Notices ---------------------------------------------------------------------------------- */

#define NOTICES_MAX 64

/* In order. */
static void tell_notices(struct vm *vm)
{
	for (;;) {
		pthread_mutex_lock(&vm->lock);
		g_autofree struct vm_notice *notice = g_queue_pop_head(&vm->notices);
		pthread_mutex_unlock(&vm->lock);
		if (!notice)
			return;
		if (vm->events.noticed)
			vm->events.noticed(vm->events.opaque, notice);
	}
}

static void handle_notices(void *opaque)
{
	struct vm *vm = opaque;
	pthread_mutex_lock(&vm->lock);
	vm->notices_posted = false;
	pthread_mutex_unlock(&vm->lock);
	tell_notices(vm);
}

void vm_notify(struct vm *vm, const struct vm_notice *notice, const char *device)
{
	LOCK_SCOPE(&vm->lock);
	if (g_queue_get_length(&vm->notices) >= NOTICES_MAX)
		return;
	struct vm_notice *copy = g_memdup2(notice, sizeof(*notice));
	g_strlcpy(copy->device, device ? device : "", sizeof(copy->device));
	g_queue_push_tail(&vm->notices, copy);
	if (vm->notices_posted)
		return;
	vm->notices_posted = true;
	aio_loop_post(vm->loop, handle_notices, vm);
}
