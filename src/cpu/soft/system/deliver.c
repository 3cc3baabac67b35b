/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entering a handler: real mode's vector table, protected mode's gates and tasks, 64-bit gates with
 * IST (SDM vol. 3, 6.12 and 6.14). Everything is checked and pushed before a register changes, so
 * that a nested fault finds the state of the interrupted program.
 */
#include "cpu/soft/system/system.h"
#include "cpu/soft/trace.h"

/* Error codes that name a selector or vector say whether the event came from outside. */
static uint32_t ext(const struct soft_vcpu *c)
{
	return c->sys->external;
}

static uint64_t pushed_flags(const struct soft_vcpu *c, const struct soft_event *e)
{
	uint64_t flags = soft_rflags_get(c);

	/* A fault's handler returns to the instruction: its breakpoint has been seen. */
	if (e->kind == EVENT_FAULT && e->vector != X86_EXC_DB)
		flags |= X86_FLAG_RF;
	return flags;
}

static void enter_real(struct soft_vcpu *c, const struct soft_event *e)
{
	struct soft_stack stack = soft_stack_current(c);

	if (e->vector * 4u + 3 > c->s.idtr.limit)
		soft_raise_error(c, X86_EXC_GP, e->vector * 8 + 2 + ext(c));
	uint64_t entry = soft_load_system(c, c->s.idtr.base + e->vector * 4, 4);
	soft_stack_push(c, &stack, soft_rflags_get(c), 2);
	soft_stack_push(c, &stack, c->s.seg[X86_CS].selector, 2);
	soft_stack_push(c, &stack, e->rip, 2);
	soft_stack_commit_sp(c, &stack);
	c->s.seg[X86_CS] = soft_real_segment(c, X86_CS, entry >> 16);
	c->s.rip = entry & 0xffff;
	soft_flags_commit(c, soft_rflags_get(c) & ~(uint64_t)(X86_FLAG_IF | X86_FLAG_TF |
							     X86_FLAG_AC | X86_FLAG_RF));
	soft_mode_changed(c);
}

/* The handler's code segment; *dpl is the privilege it runs at. */
static struct x86_segment handler_segment(struct soft_vcpu *c, uint16_t selector, bool is_long,
					  unsigned *cpl)
{
	struct soft_descriptor d;
	uint32_t error = (selector & SELECTOR_MASK) | ext(c);

	if (!(selector & SELECTOR_MASK))
		soft_raise_error(c, X86_EXC_GP, ext(c));
	if (!soft_descriptor_try(c, selector, &d))
		soft_raise_error(c, X86_EXC_GP, error);
	if (!descriptor_is_segment(&d) || !descriptor_is_code(&d) || descriptor_dpl(&d) > c->cpl)
		soft_raise_error(c, X86_EXC_GP, error);
	if (is_long && (d.raw >> 53 & 3) != 1)
		soft_raise_error(c, X86_EXC_GP, error);
	if (!descriptor_present(&d))
		soft_raise_error(c, X86_EXC_NP, error);
	bool conforming = descriptor_type(&d) & 4;
	*cpl = conforming ? c->cpl : descriptor_dpl(&d);
	/* From VM86 only a handler at CPL 0 will do (SDM vol. 3, 21.3.1.1). */
	if (soft_vm86(c) && *cpl != 0)
		soft_raise_error(c, X86_EXC_GP, error);
	soft_descriptor_touch(c, &d);
	return soft_descriptor_segment((selector & ~SELECTOR_RPL) | *cpl, &d);
}

static void commit(struct soft_vcpu *c, const struct x86_segment *cs, uint64_t rip,
		   bool interrupt_gate)
{
	uint64_t clear = X86_FLAG_TF | X86_FLAG_NT | X86_FLAG_RF | X86_FLAG_VM;

	if (interrupt_gate)
		clear |= X86_FLAG_IF;
	c->s.seg[X86_CS] = *cs;
	c->s.rip = rip;
	soft_flags_commit(c, soft_rflags_get(c) & ~clear);
	soft_mode_changed(c);
}

static void enter_long(struct soft_vcpu *c, const struct soft_event *e)
{
	uint32_t gate_error = e->vector * 8 + 2 + ext(c);
	unsigned cpl;

	if (e->vector * 16u + 15 > c->s.idtr.limit)
		soft_raise_error(c, X86_EXC_GP, gate_error);
	uint64_t at = c->s.idtr.base + e->vector * 16;
	struct soft_descriptor gate = {
		.raw = soft_load_system(c, at, 8),
		.high = soft_load_system(c, at + 8, 8),
	};
	unsigned type = descriptor_type(&gate);
	if ((type != TYPE_INT && type != TYPE_TRAP) || descriptor_is_segment(&gate) ||
	    (e->kind == EVENT_SOFTWARE && descriptor_dpl(&gate) < c->cpl))
		soft_raise_error(c, X86_EXC_GP, gate_error);
	if (!descriptor_present(&gate))
		soft_raise_error(c, X86_EXC_NP, gate_error);
	struct x86_segment cs = handler_segment(c, gate_selector(&gate), true, &cpl);
	uint64_t rip = gate_offset32(&gate) | gate.high << 32;
	unsigned ist = gate.raw >> 32 & 7;

	struct soft_stack stack = { .flat = true, .system = cpl != 3 };
	if (ist || cpl != c->cpl)
		stack.sp = soft_rsp_from_tss(c, cpl, ist);
	else
		stack.sp = c->s.gpr[X86_RSP];
	stack.sp &= ~UINT64_C(15);
	soft_stack_push(c, &stack, c->s.seg[X86_SS].selector, 8);
	soft_stack_push(c, &stack, c->s.gpr[X86_RSP], 8);
	soft_stack_push(c, &stack, pushed_flags(c, e), 8);
	soft_stack_push(c, &stack, c->s.seg[X86_CS].selector, 8);
	soft_stack_push(c, &stack, e->rip, 8);
	if (e->has_error)
		soft_stack_push(c, &stack, e->error, 8);
	if (!soft_canonical(rip))
		soft_raise_error(c, X86_EXC_GP, ext(c));

	c->s.gpr[X86_RSP] = stack.sp;
	if (cpl != c->cpl)
		c->s.seg[X86_SS] = soft_null_segment(cpl, cpl);
	commit(c, &cs, rip, type == TYPE_INT);
}

/* The interrupted program's stack frame, common to all 16- and 32-bit gates. */
static void push_frame(struct soft_vcpu *c, struct soft_stack *stack, const struct soft_event *e,
		       unsigned size)
{
	soft_stack_push(c, stack, pushed_flags(c, e), size);
	soft_stack_push(c, stack, c->s.seg[X86_CS].selector, size);
	soft_stack_push(c, stack, e->rip, size);
	if (e->has_error)
		soft_stack_push(c, stack, e->error, size);
}

static void push_vm86_segments(struct soft_vcpu *c, struct soft_stack *stack, unsigned size)
{
	static const uint8_t order[] = { X86_GS, X86_FS, X86_DS, X86_ES };

	for (unsigned i = 0; i < sizeof(order); i++)
		soft_stack_push(c, stack, c->s.seg[order[i]].selector, size);
}

static void enter_gate(struct soft_vcpu *c, const struct soft_event *e,
		       const struct soft_descriptor *gate)
{
	unsigned type = descriptor_type(gate), size = type & 8 ? 4 : 2, cpl;
	struct x86_segment cs = handler_segment(c, gate_selector(gate), false, &cpl);
	uint32_t rip = size == 4 ? gate_offset32(gate) : (uint16_t)gate_offset32(gate);
	bool from_vm86 = soft_vm86(c);
	struct soft_stack stack;

	if (cpl == c->cpl) {
		stack = soft_stack_current(c);
		stack.error = ext(c);
		push_frame(c, &stack, e, size);
	} else {
		stack = soft_stack_from_tss(c, cpl);
		stack.error |= ext(c);
		if (from_vm86)
			push_vm86_segments(c, &stack, size);
		soft_stack_push(c, &stack, c->s.seg[X86_SS].selector, size);
		soft_stack_push(c, &stack, c->s.gpr[X86_RSP], size);
		push_frame(c, &stack, e, size);
	}
	if (rip > cs.limit)
		soft_raise_error(c, X86_EXC_GP, ext(c));

	if (cpl != c->cpl)
		c->s.seg[X86_SS] = stack.ss;
	soft_stack_commit_sp(c, &stack);
	if (from_vm86) {
		c->s.seg[X86_GS] = c->s.seg[X86_FS] = c->s.seg[X86_DS] = c->s.seg[X86_ES] =
			soft_null_segment(0, 0);
	}
	commit(c, &cs, rip, type == TYPE_INT || type == TYPE_INT16);
}

static void enter_protected(struct soft_vcpu *c, const struct soft_event *e)
{
	uint32_t gate_error = e->vector * 8 + 2 + ext(c);

	if (e->vector * 8u + 7 > c->s.idtr.limit)
		soft_raise_error(c, X86_EXC_GP, gate_error);
	struct soft_descriptor gate = {
		.raw = soft_load_system(c, (uint32_t)(c->s.idtr.base + e->vector * 8), 8),
	};
	unsigned type = descriptor_type(&gate);
	bool known = type == TYPE_TASK_GATE || type == TYPE_INT || type == TYPE_TRAP ||
		     type == TYPE_INT16 || type == TYPE_TRAP16;
	if (!known || descriptor_is_segment(&gate) ||
	    (e->kind == EVENT_SOFTWARE && descriptor_dpl(&gate) < c->cpl))
		soft_raise_error(c, X86_EXC_GP, gate_error);
	if (!descriptor_present(&gate))
		soft_raise_error(c, X86_EXC_NP, gate_error);
	if (type == TYPE_TASK_GATE)
		soft_task_switch(c, gate_selector(&gate), TASK_CALL, e->rip, e->has_error,
				 e->error);
	else
		enter_gate(c, e, &gate);
}

void soft_event_enter(struct soft_vcpu *c, const struct soft_event *e)
{
	if (soft_traces(c, VM_TRACE_INT))
		soft_trace_event(c, e);
	if (!(c->s.cr0 & X86_CR0_PE))
		enter_real(c, e);
	else if (soft_long_mode(c))
		enter_long(c, e);
	else
		enter_protected(c, e);
	/* TF is clear now; a trap that was due for the interrupted program comes after its IRET. */
	c->sys->step_armed = c->sys->rf_armed = false;
	c->interrupt_shadow = false;
	if (c->s.activity == X86_HALTED) {
		c->s.activity = X86_RUNNING;
		atomic_store(&c->halted, false);
	}
}

/*
 * INT n in VM86 (SDM vol. 3, table 21-2). With VME a clear bit in the redirection map makes it a
 * real-mode interrupt through the program's own vector table; else it traps when IOPL is below 3.
 */
static bool vm86_redirected(struct soft_vcpu *c, uint8_t vector)
{
	const struct x86_segment *tr = &c->s.seg[X86_TR];

	if (!(c->s.cr4 & X86_CR4_VME) || (tr->attr & 15) != TYPE_TSS_BUSY || tr->limit < 0x67)
		return false;
	uint32_t map = soft_load_system(c, tr->base + 0x66, 2);
	if (map < 32 || map - 32 + vector / 8 > tr->limit)
		soft_raise_gp(c);
	return !(soft_load_system(c, tr->base + map - 32 + vector / 8, 1) >> (vector & 7) & 1);
}

static void enter_vm86_redirected(struct soft_vcpu *c, uint8_t vector, uint64_t rip)
{
	struct soft_stack stack = soft_stack_current(c);
	uint64_t flags = soft_rflags_get(c), pushed = flags;
	uint64_t entry = soft_load(c, vector * 4, 4);

	if (soft_iopl(c) < 3) {
		/* The program sees IOPL 3 and VIF as its IF. */
		pushed = (pushed & ~(uint64_t)X86_FLAG_IF) | X86_FLAG_IOPL;
		if (flags & X86_FLAG_VIF)
			pushed |= X86_FLAG_IF;
	}
	soft_stack_push(c, &stack, pushed, 2);
	soft_stack_push(c, &stack, c->s.seg[X86_CS].selector, 2);
	soft_stack_push(c, &stack, rip, 2);
	soft_stack_commit_sp(c, &stack);
	c->s.seg[X86_CS] = soft_real_segment(c, X86_CS, entry >> 16);
	c->s.rip = entry & 0xffff;
	flags &= ~(uint64_t)(X86_FLAG_TF | X86_FLAG_RF |
			     (soft_iopl(c) < 3 ? X86_FLAG_VIF : X86_FLAG_IF));
	soft_rflags_set(c, flags);
	c->sys->step_armed = false;
}

void soft_software_interrupt(struct soft_vcpu *c, uint8_t vector, uint64_t return_rip)
{
	bool is_int_n = c->insn && c->insn->x.opcode == 0xcd;
	bool icebp = c->insn && c->insn->x.opcode == 0xf1;
	struct soft_event e = {
		.vector = vector,
		/* INT1 passes the gate's DPL by, as hardware events do. */
		.kind = icebp ? EVENT_TRAP : EVENT_SOFTWARE,
		.rip = return_rip,
	};

	if (soft_vm86(c) && is_int_n) {
		if (vm86_redirected(c, vector)) {
			enter_vm86_redirected(c, vector, return_rip);
			return;
		}
		if (soft_iopl(c) < 3)
			soft_raise_gp(c);
	}
	c->sys->external = icebp;
	soft_event_enter(c, &e);
	c->sys->external = false;
}
