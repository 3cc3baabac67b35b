/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * KVM_RUN and its exits (api 4.10 and 5).
 *
 * Getting a vCPU out: the poker sets a flag (kicked, nmi_pending, extint, gate_closed), then
 * run->immediate_exit, then signals if the vCPU is in_run. The vCPU sets in_run, clears
 * immediate_exit, then looks at the flags. Whatever the interleaving, either the vCPU sees the flag,
 * or KVM_RUN sees immediate_exit or the signal. All of these are sequentially consistent.
 */
#include "base/bytes.h"
#include "base/error.h"
#include "base/lock.h"
#include "base/log.h"
#include "cpu/kvm/kvm_int.h"

#include <errno.h>
#include <inttypes.h>

#define IMMEDIATE_EXIT(v) (*(volatile uint8_t *)&(v)->run->immediate_exit)

void kvm_poke(struct kvm_vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (atomic_load(&v->in_run))
		pthread_kill(v->thread, KVM_KICK_SIGNAL);
}

void kvm_vcpu_kick(struct vcpu *vcpu)
{
	struct kvm_vcpu *v = kvm_vcpu_of(vcpu);
	atomic_store(&v->kicked, true);
	kvm_poke(v);
}

void kvm_nmi(struct vcpu *vcpu)
{
	struct kvm_vcpu *v = kvm_vcpu_of(vcpu);
	atomic_store(&v->nmi_pending, true);
	kvm_poke(v);
}

/* --- The gate ------------------------------------------------------------------------------- */

static bool any_in_run(struct kvm_vm *kvm)
{
	for (unsigned i = 0; i < kvm->vm->vcpu_count; i++)
		if (atomic_load(&kvm_vcpu_of(&kvm->vm->vcpus[i])->in_run))
			return true;
	return false;
}

void kvm_gate_close(struct kvm_vm *kvm)
{
	atomic_store(&kvm->gate_closed, true);
	for (unsigned i = 0; i < kvm->vm->vcpu_count; i++)
		kvm_poke(kvm_vcpu_of(&kvm->vm->vcpus[i]));
	LOCK_SCOPE(&kvm->gate_lock);
	while (any_in_run(kvm))
		pthread_cond_wait(&kvm->gate_changed, &kvm->gate_lock);
}

void kvm_gate_open(struct kvm_vm *kvm)
{
	LOCK_SCOPE(&kvm->gate_lock);
	atomic_store(&kvm->gate_closed, false);
	pthread_cond_broadcast(&kvm->gate_changed);
}

static void leave_run(struct kvm_vcpu *v)
{
	struct kvm_vm *kvm = v->kvm;
	atomic_store(&v->in_run, false);
	if (G_UNLIKELY(atomic_load(&kvm->gate_closed))) {
		LOCK_SCOPE(&kvm->gate_lock);
		pthread_cond_broadcast(&kvm->gate_changed);
	}
}

/* To the state in which pokes signal. Waits at a closed gate. */
static void enter_run(struct kvm_vcpu *v)
{
	struct kvm_vm *kvm = v->kvm;
	for (;;) {
		atomic_store(&v->in_run, true);
		__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
		if (G_LIKELY(!atomic_load(&kvm->gate_closed)))
			return;
		leave_run(v);
		LOCK_SCOPE(&kvm->gate_lock);
		while (atomic_load(&kvm->gate_closed))
			pthread_cond_wait(&kvm->gate_changed, &kvm->gate_lock);
	}
}

/* --- Before the guest ------------------------------------------------------------------------- */

static void adopt_thread(struct kvm_vcpu *v)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, KVM_KICK_SIGNAL);
	v->thread = pthread_self();
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	atomic_store(&v->thread_known, true);
}

/* SPLIT: the PIC's vector, when the guest can take it; else ask for an exit when it can. */
static void offer_extint(struct kvm_vcpu *v)
{
	struct kvm_run *run = v->run;
	const struct vm_irq_hooks *hooks = &v->kvm->vm->irq_hooks;
	bool wanted = atomic_load(&v->extint);
	if (wanted && run->ready_for_interrupt_injection && hooks->pic_acknowledge) {
		int vector = hooks->pic_acknowledge(hooks->opaque);
		struct kvm_interrupt interrupt = {.irq = vector};
		if (vector >= 0 && kvm_ioctl(v->fd, KVM_INTERRUPT, &interrupt) < 0)
			log_debug("KVM does not take PIC vector %d: %s", vector, g_strerror(errno));
		run->ready_for_interrupt_injection = 0;
		wanted = atomic_load(&v->extint);
	}
	run->request_interrupt_window = wanted;
}

static void offer_events(struct kvm_vcpu *v)
{
	if (G_UNLIKELY(atomic_exchange(&v->nmi_pending, false)))
		kvm_ioctl(v->fd, KVM_NMI, NULL);
	if (!v->kvm->full_irqchip && v->vcpu->index == 0)
		offer_extint(v);
}

/* --- Exits ---------------------------------------------------------------------------------- */

static void handle_io(struct kvm_vcpu *v)
{
	struct kvm_run *run = v->run;
	struct space *ports = v->kvm->vm->ports;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned size = run->io.size;
	/* String instructions come in batches. */
	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			space_write(ports, run->io.port, le_load(data, size), size);
		else
			le_store(data, space_read(ports, run->io.port, size), size);
	}
	v->pending_io = true;
}

static void handle_mmio(struct kvm_vcpu *v)
{
	struct kvm_run *run = v->run;
	struct space *memory = v->kvm->vm->memory;
	if (run->mmio.is_write)
		space_write(memory, run->mmio.phys_addr, le_load(run->mmio.data, run->mmio.len),
			    run->mmio.len);
	else
		le_store(run->mmio.data, space_read(memory, run->mmio.phys_addr, run->mmio.len),
			 run->mmio.len);
	v->pending_io = true;
}

static void handle_system_event(struct kvm_vcpu *v)
{
	struct vm *vm = v->kvm->vm;
	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vm_request(vm, VM_REQUEST_SHUTDOWN, 0);
		break;
	case KVM_SYSTEM_EVENT_CRASH:
		vm_request(vm, VM_REQUEST_PANIC, 0);
		break;
	case KVM_SYSTEM_EVENT_RESET:
	default:
		vm_request(vm, VM_REQUEST_RESET, 0);
		break;
	}
}

static const char *internal_error_name(uint32_t suberror)
{
	switch (suberror) {
	case KVM_INTERNAL_ERROR_EMULATION:
		return "it cannot emulate an instruction";
	case KVM_INTERNAL_ERROR_SIMUL_EX:
		return "two exceptions at once";
	case KVM_INTERNAL_ERROR_DELIVERY_EV:
		return "a fault while an event was being delivered";
	case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
		return "the processor left the guest for a reason it does not know";
	default:
		return "of unknown kind";
	}
}

static bool fail(struct kvm_vcpu *v, GError **error, const char *format, ...) G_GNUC_PRINTF(3, 4);

static bool fail(struct kvm_vcpu *v, GError **error, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	g_autofree char *dump = kvm_dump(v);
	return error_set(error, BERTH_ERR_INTERNAL, "%s\n%s", text, dump);
}

static bool internal_error(struct kvm_vcpu *v, GError **error)
{
	struct kvm_run *run = v->run;
	GString *data = g_string_new(NULL);
	for (uint32_t i = 0; i < MIN(run->internal.ndata, G_N_ELEMENTS(run->internal.data)); i++)
		g_string_append_printf(data, " %#" PRIx64, (uint64_t)run->internal.data[i]);
	fail(v, error, "KVM internal error %u: %s; its data:%s", run->internal.suberror,
	     internal_error_name(run->internal.suberror), data->len ? data->str : " none");
	g_string_free(data, TRUE);
	return false;
}

enum step { STEP_ON, STEP_SHUTDOWN, STEP_ERROR };

static enum step handle_exit(struct kvm_vcpu *v, GError **error)
{
	struct kvm_run *run = v->run;
	const struct vm_irq_hooks *hooks = &v->kvm->vm->irq_hooks;
	v->exits++;
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(v);
		return STEP_ON;
	case KVM_EXIT_MMIO:
		handle_mmio(v);
		return STEP_ON;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_INTR:
	case KVM_EXIT_SET_TPR:
	case KVM_EXIT_X86_BUS_LOCK:
		return STEP_ON;
	case KVM_EXIT_IOAPIC_EOI:
		if (hooks->ioapic_eoi)
			hooks->ioapic_eoi(hooks->opaque, run->eoi.vector);
		return STEP_ON;
	case KVM_EXIT_SHUTDOWN:
		return STEP_SHUTDOWN;
	case KVM_EXIT_SYSTEM_EVENT:
		handle_system_event(v);
		return STEP_ON;
	case KVM_EXIT_INTERNAL_ERROR:
		internal_error(v, error);
		return STEP_ERROR;
	case KVM_EXIT_FAIL_ENTRY:
		fail(v, error, "the processor refuses the guest's state: hardware reason %#" PRIx64,
		     (uint64_t)run->fail_entry.hardware_entry_failure_reason);
		return STEP_ERROR;
	default:
		fail(v, error, "KVM left the guest for reason %u, which Berth does not know",
		     run->exit_reason);
		return STEP_ERROR;
	}
}

/* --- The loop ------------------------------------------------------------------------------- */

/* KVM_RUN once. False: interrupted, or failed with *error set. */
static bool run_once(struct kvm_vcpu *v, GError **error)
{
	int r = ioctl(v->fd, KVM_RUN, 0);
	int failure = r < 0 ? errno : 0;
	leave_run(v);
	if (failure == 0 || failure == EINTR || failure == EAGAIN) {
		/* An interrupted KVM_RUN has completed the previous exit's instruction first. */
		if (failure != EAGAIN)
			v->pending_io = false;
		return failure == 0;
	}
	if (failure == EFAULT)
		fail(v, error, "KVM_RUN: guest memory at the current address is not accessible");
	else
		fail(v, error, "KVM_RUN failed: %s", g_strerror(failure));
	return false;
}

void kvm_complete_io(struct kvm_vcpu *v)
{
	g_autoptr(GError) error = NULL;
	/* Each further exit belongs to the same instruction (api 5, "complete_userspace_io"). */
	while (v->pending_io && !error) {
		enter_run(v);
		IMMEDIATE_EXIT(v) = 1;
		if (run_once(v, &error))
			handle_exit(v, &error);
	}
	v->pending_io = false;
}

static bool take_kick(struct kvm_vcpu *v)
{
	if (G_LIKELY(!atomic_load(&v->kicked)))
		return false;
	return atomic_exchange(&v->kicked, false);
}

enum vcpu_exit kvm_vcpu_run(struct vcpu *vcpu, GError **error)
{
	struct kvm_vcpu *v = kvm_vcpu_of(vcpu);
	if (G_UNLIKELY(!atomic_load(&v->thread_known)))
		adopt_thread(v);
	for (;;) {
		GError *failure = NULL;
		enter_run(v);
		if (take_kick(v)) {
			leave_run(v);
			kvm_complete_io(v);
			return VCPU_EXIT_KICKED;
		}
		offer_events(v);
		bool exited = run_once(v, &failure);
		enum step step = exited ? handle_exit(v, &failure) : STEP_ON;
		if (G_UNLIKELY(failure)) {
			g_propagate_error(error, failure);
			return VCPU_EXIT_ERROR;
		}
		if (G_UNLIKELY(step == STEP_SHUTDOWN))
			return VCPU_EXIT_SHUTDOWN;
	}
}
