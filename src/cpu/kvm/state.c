/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vCPU's state between struct x86_state and KVM's structs; reset; the guest's clock. */
#include "cpu/x86/state.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "cpu/kvm/kvm_int.h"

#include <errno.h>
#include <string.h>

/* One transfer: true if it worked, else *error tells which part and whose. */
static bool transfer(struct kvm_vcpu *v, unsigned long request, void *data, const char *what,
		     GError **error)
{
	if (kvm_ioctl(v->fd, request, data) >= 0)
		return true;
	return error_set_errno(error, errno, "KVM: %s of vCPU %u", what, v->vcpu->index);
}

/* --- General and system registers --------------------------------------------------------------- */

static void regs_from(struct x86_state *s, const struct kvm_regs *r)
{
	const uint64_t gpr[16] = {r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi,
				  r->r8,  r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15};
	memcpy(s->gpr, gpr, sizeof(gpr));
	s->rip = r->rip;
	s->rflags = r->rflags;
}

static void regs_to(struct kvm_regs *r, const struct x86_state *s)
{
	*r = (struct kvm_regs){
		.rax = s->gpr[0], .rcx = s->gpr[1], .rdx = s->gpr[2], .rbx = s->gpr[3],
		.rsp = s->gpr[4], .rbp = s->gpr[5], .rsi = s->gpr[6], .rdi = s->gpr[7],
		.r8 = s->gpr[8], .r9 = s->gpr[9], .r10 = s->gpr[10], .r11 = s->gpr[11],
		.r12 = s->gpr[12], .r13 = s->gpr[13], .r14 = s->gpr[14], .r15 = s->gpr[15],
		.rip = s->rip, .rflags = s->rflags,
	};
}

static struct x86_segment segment_from(const struct kvm_segment *k)
{
	return (struct x86_segment){
		.base = k->base,
		.limit = k->limit,
		.selector = k->selector,
		.attr = k->type | k->s << 4 | k->dpl << 5 | k->present << 7 | k->avl << 12 |
			k->l << 13 | k->db << 14 | k->g << 15 |
			(k->unusable || !k->present ? X86_SEG_UNUSABLE : 0),
	};
}

static struct kvm_segment segment_to(const struct x86_segment *x)
{
	return (struct kvm_segment){
		.base = x->base,
		.limit = x->limit,
		.selector = x->selector,
		.type = x->attr & 15,
		.s = x->attr >> 4 & 1,
		.dpl = x->attr >> 5 & 3,
		.present = x->attr & X86_SEG_UNUSABLE ? 0 : x->attr >> 7 & 1,
		.avl = x->attr >> 12 & 1,
		.l = x->attr >> 13 & 1,
		.db = x->attr >> 14 & 1,
		.g = x->attr >> 15 & 1,
		.unusable = x->attr & X86_SEG_UNUSABLE ? 1 : 0,
	};
}

static struct kvm_segment *segment_at(struct kvm_sregs *r, enum x86_seg_index i)
{
	struct kvm_segment *const at[X86_SEG_COUNT] = {
		[X86_ES] = &r->es, [X86_CS] = &r->cs, [X86_SS] = &r->ss, [X86_DS] = &r->ds,
		[X86_FS] = &r->fs, [X86_GS] = &r->gs, [X86_LDTR] = &r->ldt, [X86_TR] = &r->tr,
	};
	return at[i];
}

static void sregs_from(struct x86_state *s, struct kvm_sregs *r)
{
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		s->seg[i] = segment_from(segment_at(r, i));
	s->gdtr = (struct x86_table){r->gdt.base, r->gdt.limit};
	s->idtr = (struct x86_table){r->idt.base, r->idt.limit};
	s->cr0 = r->cr0;
	s->cr2 = r->cr2;
	s->cr3 = r->cr3;
	s->cr4 = r->cr4;
	s->cr8 = r->cr8;
	s->efer = r->efer;
	s->msr.apic_base = r->apic_base;
}

/* `r` holds the present state: what struct x86_state has no field for stays. */
static void sregs_to(struct kvm_sregs *r, const struct x86_state *s)
{
	for (unsigned i = 0; i < X86_SEG_COUNT; i++)
		*segment_at(r, i) = segment_to(&s->seg[i]);
	r->gdt.base = s->gdtr.base;
	r->gdt.limit = s->gdtr.limit;
	r->idt.base = s->idtr.base;
	r->idt.limit = s->idtr.limit;
	r->cr0 = s->cr0;
	r->cr2 = s->cr2;
	r->cr3 = s->cr3;
	r->cr4 = s->cr4;
	r->cr8 = s->cr8;
	r->efer = s->efer;
	r->apic_base = s->msr.apic_base;
	memset(r->interrupt_bitmap, 0, sizeof(r->interrupt_bitmap));
}

/* --- Debug registers, FPU, events --------------------------------------------------------------- */

static void debug_from(struct x86_state *s, const struct kvm_debugregs *d)
{
	memset(s->dr, 0, sizeof(s->dr));
	for (unsigned i = 0; i < 4; i++)
		s->dr[i] = d->db[i];
	s->dr[6] = d->dr6;
	s->dr[7] = d->dr7;
}

static void debug_to(struct kvm_debugregs *d, const struct x86_state *s)
{
	*d = (struct kvm_debugregs){.dr6 = s->dr[6], .dr7 = s->dr[7]};
	for (unsigned i = 0; i < 4; i++)
		d->db[i] = s->dr[i];
}

static enum x86_activity activity_from(uint32_t mp_state)
{
	switch (mp_state) {
	case KVM_MP_STATE_HALTED:
		return X86_HALTED;
	case KVM_MP_STATE_UNINITIALIZED:
		return X86_WAIT_INIT;
	case KVM_MP_STATE_INIT_RECEIVED:
	case KVM_MP_STATE_SIPI_RECEIVED:
		return X86_WAIT_SIPI;
	default:
		return X86_RUNNING;
	}
}

static uint32_t activity_to(enum x86_activity activity)
{
	switch (activity) {
	case X86_HALTED:
		return KVM_MP_STATE_HALTED;
	case X86_WAIT_INIT:
		return KVM_MP_STATE_UNINITIALIZED;
	case X86_WAIT_SIPI:
		return KVM_MP_STATE_INIT_RECEIVED;
	case X86_RUNNING:
		break;
	}
	return KVM_MP_STATE_RUNNABLE;
}

static void events_from(struct x86_events *x, const struct kvm_vcpu_events *k)
{
	*x = (struct x86_events){
		.nmi_pending = k->nmi.pending || k->nmi.injected,
		.nmi_blocked = k->nmi.masked,
		.interrupt_shadow = k->interrupt.shadow,
		.exception_pending = k->exception.injected,
		.has_error_code = k->exception.has_error_code,
		.exception_vector = k->exception.nr,
		.error_code = k->exception.error_code,
		.sipi_vector = k->sipi_vector,
	};
}

static void events_to(struct kvm_vcpu_events *k, const struct x86_events *x)
{
	*k = (struct kvm_vcpu_events){
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
		.nmi = {.pending = x->nmi_pending, .masked = x->nmi_blocked},
		.interrupt = {.shadow = x->interrupt_shadow ? KVM_X86_SHADOW_INT_STI : 0},
		.exception = {.injected = x->exception_pending,
			      .has_error_code = x->has_error_code,
			      .nr = x->exception_vector,
			      .error_code = x->error_code},
	};
}

static bool xsave_get(struct kvm_vcpu *v, struct x86_state *s, GError **error)
{
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs = {0};
	if (!transfer(v, KVM_GET_XSAVE, &xsave, "reading the FPU", error) ||
	    (v->kvm->has_xcrs && !transfer(v, KVM_GET_XCRS, &xcrs, "reading XCR0", error)))
		return false;
	memcpy(&s->fpu, xsave.region, sizeof(s->fpu));
	s->xcr0 = 1;
	for (uint32_t i = 0; i < xcrs.nr_xcrs; i++)
		if (xcrs.xcrs[i].xcr == 0)
			s->xcr0 = xcrs.xcrs[i].value;
	return true;
}

/* AVX-512 and later components lie behind struct x86_fpu: what the vCPU has there stays. */
static bool xsave_set(struct kvm_vcpu *v, const struct x86_state *s, GError **error)
{
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = s->xcr0}}};
	if (!transfer(v, KVM_GET_XSAVE, &xsave, "reading the FPU", error))
		return false;
	memcpy(xsave.region, &s->fpu, sizeof(s->fpu));
	return (!v->kvm->has_xcrs || transfer(v, KVM_SET_XCRS, &xcrs, "writing XCR0", error)) &&
	       transfer(v, KVM_SET_XSAVE, &xsave, "writing the FPU", error);
}

/* --- All of it ------------------------------------------------------------------------------ */

bool kvm_get_state(struct vcpu *vcpu, struct x86_state *s, GError **error)
{
	struct kvm_vcpu *v = kvm_vcpu_of(vcpu);
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debug;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
	struct kvm_vcpu_events events;
	*s = (struct x86_state){0};
	if (!transfer(v, KVM_GET_REGS, &regs, "reading registers", error) ||
	    !transfer(v, KVM_GET_SREGS, &sregs, "reading system registers", error) ||
	    !transfer(v, KVM_GET_DEBUGREGS, &debug, "reading debug registers", error) ||
	    !transfer(v, KVM_GET_LAPIC, &lapic, "reading the local APIC", error) ||
	    !transfer(v, KVM_GET_MP_STATE, &mp, "reading the activity", error) ||
	    !transfer(v, KVM_GET_VCPU_EVENTS, &events, "reading pending events", error) ||
	    !xsave_get(v, s, error) || !kvm_msrs_get(v, s, error))
		return false;
	regs_from(s, &regs);
	sregs_from(s, &sregs);
	debug_from(s, &debug);
	memcpy(s->lapic, lapic.regs, sizeof(s->lapic));
	s->activity = activity_from(mp.mp_state);
	events_from(&s->events, &events);
	return true;
}

bool kvm_set_state(struct vcpu *vcpu, const struct x86_state *s, GError **error)
{
	struct kvm_vcpu *v = kvm_vcpu_of(vcpu);
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debug;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp = {.mp_state = activity_to(s->activity)};
	struct kvm_vcpu_events events;
	if (!transfer(v, KVM_GET_SREGS, &sregs, "reading system registers", error))
		return false;
	regs_to(&regs, s);
	sregs_to(&sregs, s);
	debug_to(&debug, s);
	memcpy(lapic.regs, s->lapic, sizeof(lapic.regs));
	events_to(&events, &s->events);
	/* In xAPIC mode the id register holds the id in its top byte, in x2APIC mode all of it. */
	bool x2apic = s->msr.apic_base & 1 << 10;
	le32_store(lapic.regs + 0x20, x2apic ? vcpu->apic_id : vcpu->apic_id << 24);
	return transfer(v, KVM_SET_SREGS, &sregs, "writing system registers", error) &&
	       transfer(v, KVM_SET_REGS, &regs, "writing registers", error) &&
	       xsave_set(v, s, error) &&
	       transfer(v, KVM_SET_DEBUGREGS, &debug, "writing debug registers", error) &&
	       transfer(v, KVM_SET_LAPIC, &lapic, "writing the local APIC", error) &&
	       kvm_msrs_set(v, s, error) &&
	       transfer(v, KVM_SET_MP_STATE, &mp, "writing the activity", error) &&
	       transfer(v, KVM_SET_VCPU_EVENTS, &events, "writing pending events", error);
}

/* --- Reset ------------------------------------------------------------------------------------ */

enum { LAPIC_LVT_LINT0 = 0x350, LAPIC_LVT_LINT1 = 0x360, LVT_EXTINT = 0x700, LVT_NMI = 0x400 };

void kvm_vcpu_reset(struct vcpu *vcpu)
{
	struct kvm_vcpu *v = kvm_vcpu_of(vcpu);
	struct x86_state reset, *s = &reset;
	g_autoptr(GError) error = NULL;
	bool boot = vcpu->index == 0;
	kvm_complete_io(v);
	atomic_store(&v->nmi_pending, false);
	x86_state_reset(s, boot);
	/* KVM's name for an application processor that nobody has started. */
	if (!boot)
		s->activity = X86_WAIT_INIT;
	/* Host polling in HLT is on unless the guest turns it off (msr.rst, MSR_KVM_POLL_CONTROL). */
	s->msr.kvm_poll = 1;
	if (boot) {
		/* "Virtual wire": PCs hand a PIC's interrupts and NMIs to the boot processor's pins. */
		le32_store(s->lapic + LAPIC_LVT_LINT0, LVT_EXTINT);
		le32_store(s->lapic + LAPIC_LVT_LINT1, LVT_NMI);
		kvm_irq_reset(v->kvm);
	}
	if (!kvm_set_state(vcpu, s, &error))
		log_error("cannot reset vCPU %u: %s", vcpu->index, error->message);
	v->run->ready_for_interrupt_injection = 0;
}

/* --- The guest's clock -------------------------------------------------------------------------- */

/* kvmclock stands still while the VM is paused, and guests' watchdogs are told (api 4.29, 4.76). */
void kvm_run_changed(struct vm *vm, bool running)
{
	struct kvm_vm *kvm = kvm_of(vm);
	if (!running) {
		kvm->clock_valid = kvm_ioctl(kvm->vm_fd, KVM_GET_CLOCK, &kvm->clock) == 0;
		return;
	}
	if (!kvm->clock_valid)
		return;
	struct kvm_clock_data clock = {.clock = kvm->clock.clock};
	if (kvm_ioctl(kvm->vm_fd, KVM_SET_CLOCK, &clock) < 0)
		log_warning("the guest's clock jumps over the pause: %s", g_strerror(errno));
	kvm->clock_valid = false;
	/* Fails with EINVAL for a guest that has not set kvmclock up: nothing to tell it then. */
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		kvm_ioctl(kvm_vcpu_of(&vm->vcpus[i])->fd, KVM_KVMCLOCK_CTRL, NULL);
}
