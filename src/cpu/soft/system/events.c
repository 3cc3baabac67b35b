/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between instructions: debug traps, INIT, SIPI, NMI, external interrupts and instruction
 * breakpoints, in the order of SDM vol. 3, table 6-2.
 *
 * Bits of c->pending that cannot be served now are not left set (they would keep the vCPU on the
 * slow path): irq_blocked and nmi_waiting remember them, and what lifts the block posts again.
 */
#include "cpu/soft/system/system.h"

static void clear_pending(struct soft_vcpu *c, uint32_t bits)
{
	atomic_fetch_and(&c->pending, ~bits);
}

void soft_interrupts_enabled(struct soft_vcpu *c)
{
	if (c->irq_blocked) {
		c->irq_blocked = false;
		soft_pend(c, SOFT_PENDING_INTERRUPT);
	}
}

void soft_nmi_unblock(struct soft_vcpu *c)
{
	c->nmi_blocked = false;
	if (c->sys->nmi_waiting) {
		c->sys->nmi_waiting = false;
		soft_pend(c, SOFT_PENDING_NMI);
	}
}

/* INIT, or with `reset` RESET. The time-stamp counter goes on: all processors share its zero. */
void soft_processor_init(struct soft_vcpu *c, bool reset)
{
	bool boot = c->vcpu->index == 0;

	if (reset)
		x86_state_reset(&c->s, boot);
	else
		x86_state_init(&c->s, boot);
	c->s.gpr[X86_RDX] = c->sys->signature;
	c->flags = 0;
	c->x87_ready = false;
	c->vectors_allowed = 0;
	c->interrupt_shadow = c->nmi_blocked = false;
	c->irq_blocked = c->sys->nmi_waiting = false;
	c->sys->step_armed = c->sys->rf_armed = c->sys->ss_shadow = false;
	c->sys->debug_hits = 0;
	c->sys->data_breakpoints = false;
	atomic_store(&c->sys->kicked, false);
	atomic_store(&c->halted, false);
	clear_pending(c, SOFT_PENDING_NMI | SOFT_PENDING_TRAP | SOFT_PENDING_INTERRUPT);
	/* After an INIT these two are what came since: they must not be lost. */
	if (reset)
		clear_pending(c, SOFT_PENDING_INIT | SOFT_PENDING_SIPI);
	lapic_reset(c->lapic, !reset);
	soft_memory_changed(c);
	soft_tlb_flush_all(c);
	soft_mode_changed(c);
	/* The PIC's line is a level: it is still there afterwards. */
	if (atomic_load(&c->sys->extint))
		soft_pend(c, SOFT_PENDING_INTERRUPT);
}

static void start_up(struct soft_vcpu *c)
{
	uint8_t vector = atomic_load(&c->sys->sipi_vector);

	if (c->s.activity != X86_WAIT_SIPI)
		return;
	c->s.seg[X86_CS].selector = vector << 8;
	c->s.seg[X86_CS].base = vector << 12;
	c->s.rip = 0;
	c->s.activity = X86_RUNNING;
	soft_mode_changed(c);
}

static bool deliver(struct soft_vcpu *c, uint8_t vector, enum soft_event_kind kind)
{
	struct soft_event e = { .vector = vector, .kind = kind, .rip = c->s.rip };
	return soft_event_deliver(c, &e);
}

/* --- #DB -------------------------------------------------------------------------------------- */

static bool deliver_debug(struct soft_vcpu *c, uint64_t dr6_bits)
{
	/* The low four are set afresh, BD BS BT only ever added (SDM vol. 3, 18.2.3). */
	c->s.dr[6] = (c->s.dr[6] & ~UINT64_C(15)) | dr6_bits | 0xffff0ff0;
	c->s.dr[7] &= ~UINT64_C(0x2000); /* GD */
	c->sys->debug_hits = 0;
	return deliver(c, X86_EXC_DB, EVENT_TRAP);
}

/* Traps of the instruction that has just completed. */
static bool debug_traps(struct soft_vcpu *c)
{
	struct soft_system *sys = c->sys;
	uint64_t bits = sys->debug_hits;

	if (sys->rf_armed) {
		c->s.rflags &= ~(uint64_t)X86_FLAG_RF;
		sys->rf_armed = false;
	}
	/* After MOV SS everything waits for the instruction that loads the stack pointer. */
	if (c->interrupt_shadow && sys->ss_shadow)
		return true;
	if (sys->step_armed)
		bits |= 1 << 14; /* BS */
	sys->step_armed = false;
	return bits ? deliver_debug(c, bits) : true;
}

/* Breakpoints on the instruction that comes next: a fault, so RF says whether it has been seen. */
static bool instruction_breakpoints(struct soft_vcpu *c)
{
	if (!(c->s.dr[7] & 0xff) || c->s.rflags & X86_FLAG_RF)
		return true;
	uint64_t linear = c->long64 ? c->s.rip : (uint32_t)(c->s.seg[X86_CS].base + c->s.rip);
	uint64_t hits = soft_debug_execute_hits(c, linear);
	return hits ? deliver_debug(c, hits) : true;
}

/* --- interrupts ------------------------------------------------------------------------------- */

static bool extint_ready(struct soft_vcpu *c)
{
	return atomic_load_explicit(&c->sys->extint, memory_order_acquire) &&
	       c->vm->irq_hooks.pic_acknowledge && lapic_accepts_extint(c->lapic);
}

static bool interrupt_waits(struct soft_vcpu *c)
{
	return lapic_pending_vector(c->lapic) >= 0 || extint_ready(c);
}

static bool take_nmi(struct soft_vcpu *c)
{
	if (c->nmi_blocked) {
		c->sys->nmi_waiting = true;
		return true;
	}
	c->nmi_blocked = true;
	return deliver(c, X86_EXC_NMI, EVENT_EXTERNAL);
}

static bool take_interrupt(struct soft_vcpu *c)
{
	int vector = -1;

	soft_timer_arm(c);
	if (!(c->s.rflags & X86_FLAG_IF)) {
		c->irq_blocked = interrupt_waits(c);
		return true;
	}
	if (extint_ready(c))
		vector = c->vm->irq_hooks.pic_acknowledge(c->vm->irq_hooks.opaque);
	if (vector < 0)
		vector = lapic_acknowledge(c->lapic);
	if (vector < 0)
		return true;
	bool ok = deliver(c, vector, EVENT_EXTERNAL);
	/* One more may wait for the handler's end; if IF is still 1 it comes at once. */
	if (interrupt_waits(c)) {
		c->irq_blocked = true;
		if (c->s.rflags & X86_FLAG_IF)
			soft_interrupts_enabled(c);
	}
	return ok;
}

bool soft_has_wakeup(struct soft_vcpu *c)
{
	uint32_t pending = atomic_load(&c->pending);

	if (pending & SOFT_PENDING_INIT)
		return true;
	if (c->s.activity == X86_WAIT_SIPI)
		return pending & SOFT_PENDING_SIPI;
	if (c->s.activity == X86_WAIT_INIT)
		return false;
	if (pending & SOFT_PENDING_NMI && !c->nmi_blocked)
		return true;
	if (atomic_load(&c->sys->kicked))
		return true;
	lapic_timer_poll(c->lapic);
	return c->s.rflags & X86_FLAG_IF && interrupt_waits(c);
}

int64_t soft_timer_deadline(struct soft_vcpu *c)
{
	return lapic_timer_deadline(c->lapic);
}

/* The rest of the table, once INIT and SIPI are out of the way. */
static bool running_events(struct soft_vcpu *c, uint32_t pending)
{
	if (!debug_traps(c))
		return false;
	if (c->interrupt_shadow && c->s.activity == X86_RUNNING) {
		/* Exactly one more instruction; what is pending stays so. */
		c->interrupt_shadow = false;
		soft_pend(c, SOFT_PENDING_TRAP);
		return true;
	}
	c->interrupt_shadow = c->sys->ss_shadow = false;
	if (pending & SOFT_PENDING_NMI) {
		clear_pending(c, SOFT_PENDING_NMI);
		if (!take_nmi(c))
			return false;
	}
	if (pending & SOFT_PENDING_INTERRUPT || c->s.activity == X86_HALTED) {
		clear_pending(c, SOFT_PENDING_INTERRUPT);
		if (!take_interrupt(c))
			return false;
	}
	return c->s.activity == X86_RUNNING ? instruction_breakpoints(c) : true;
}

bool soft_handle_events(struct soft_vcpu *c)
{
	uint32_t pending = atomic_load_explicit(&c->pending, memory_order_acquire);

	if (pending & SOFT_PENDING_TLB_FLUSH) {
		clear_pending(c, SOFT_PENDING_TLB_FLUSH);
		soft_memory_changed(c);
	}
	if (pending & SOFT_PENDING_INIT) {
		clear_pending(c, SOFT_PENDING_INIT);
		soft_processor_init(c, false);
		pending = atomic_load(&c->pending);
	}
	if (pending & SOFT_PENDING_SIPI) {
		clear_pending(c, SOFT_PENDING_SIPI);
		start_up(c);
	}
	if (c->s.activity == X86_WAIT_SIPI || c->s.activity == X86_WAIT_INIT)
		return true;

	if (c->s.activity == X86_HALTED && atomic_exchange(&c->sys->kicked, false)) {
		c->s.activity = X86_RUNNING;
		atomic_store(&c->halted, false);
	}
	clear_pending(c, SOFT_PENDING_TRAP);
	if (!running_events(c, pending))
		return false;
	c->sys->step_armed |= (c->s.rflags & X86_FLAG_TF) != 0;
	c->sys->rf_armed = c->s.rflags & X86_FLAG_RF;
	if (soft_unlikely(soft_debug_stepping(c)))
		soft_pend(c, SOFT_PENDING_TRAP);
	return true;
}
