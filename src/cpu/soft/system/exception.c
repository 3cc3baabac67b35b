/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raising faults, and what happens when delivering one raises another: SDM vol. 3, 6.15, table 6-5.
 * Contributory after contributory, and page fault or contributory after page fault, are a double
 * fault; anything wrong in delivering that shuts the processor down.
 */
#include "cpu/soft/system/system.h"

#include <string.h>

void soft_raise(struct soft_vcpu *c, enum x86_vector vector)
{
	c->fault.vector = vector;
	c->fault.has_error = false;
	c->fault.error = 0;
	siglongjmp(c->unwind, 1);
}

void soft_raise_error(struct soft_vcpu *c, enum x86_vector vector, uint32_t error)
{
	c->fault.vector = vector;
	c->fault.has_error = true;
	c->fault.error = error;
	siglongjmp(c->unwind, 1);
}

void soft_raise_gp(struct soft_vcpu *c)
{
	soft_raise_error(c, X86_EXC_GP, 0);
}

static bool is_contributory(uint8_t vector)
{
	return vector == X86_EXC_DE || (vector >= X86_EXC_TS && vector <= X86_EXC_GP);
}

static bool makes_double_fault(const struct soft_event *first, uint8_t second)
{
	/* Interrupts and INT n are benign whatever their vector is. */
	if (first->kind == EVENT_EXTERNAL || first->kind == EVENT_SOFTWARE)
		return false;
	if (first->vector == X86_EXC_PF)
		return second == X86_EXC_PF || is_contributory(second);
	return is_contributory(first->vector) && is_contributory(second);
}

/* One attempt; true if a nested fault was raised (it is in c->fault). */
static bool enter_guarded(struct soft_vcpu *c, const struct soft_event *e)
{
	sigjmp_buf saved;
	bool faulted;

	memcpy(&saved, &c->unwind, sizeof(saved));
	if (sigsetjmp(c->unwind, 0) == 0) {
		soft_event_enter(c, e);
		faulted = false;
	} else {
		faulted = true;
	}
	memcpy(&c->unwind, &saved, sizeof(saved));
	return faulted;
}

bool soft_event_deliver(struct soft_vcpu *c, const struct soft_event *event)
{
	struct soft_event e = *event;
	bool double_fault = false;

	for (;;) {
		c->sys->external = e.kind != EVENT_SOFTWARE;
		c->sys->restarted = false;
		bool faulted = enter_guarded(c, &e);
		c->sys->external = false;
		if (!faulted)
			return true;
		if (double_fault)
			return false;
		/* A task switch that got past its commit point faults in the new task. */
		uint64_t rip = c->sys->restarted ? c->s.rip : e.rip;
		if (makes_double_fault(&e, c->fault.vector)) {
			double_fault = true;
			e = (struct soft_event){ X86_EXC_DF, EVENT_FAULT, true, 0, rip };
		} else {
			e = (struct soft_event){ c->fault.vector, EVENT_FAULT, c->fault.has_error,
						 c->fault.error, rip };
		}
	}
}

static bool has_error_code(uint8_t vector)
{
	return vector == X86_EXC_DF || (vector >= X86_EXC_TS && vector <= X86_EXC_PF) ||
	       vector == X86_EXC_AC;
}

bool soft_deliver_fault(struct soft_vcpu *c)
{
	struct soft_event e = {
		.vector = c->fault.vector,
		.kind = EVENT_FAULT,
		/* Real mode pushes none: enter_real() does not look. */
		.has_error = has_error_code(c->fault.vector),
		.error = c->fault.has_error ? c->fault.error : 0,
		.rip = c->insn ? insn_rip(c, c->insn) : c->s.rip,
	};

	if (!c->long64)
		e.rip = (uint32_t)e.rip;
	/* What the instruction had triggered before it faulted did not complete. */
	c->sys->debug_hits = 0;
	return soft_event_deliver(c, &e);
}
