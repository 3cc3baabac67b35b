/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Far jumps, calls and returns: direct, through call gates, to conforming segments, to tasks, in
 * real, VM86, protected, compatibility and 64-bit mode (SDM vol. 3, 5.8; vol. 2, JMP, CALL, RET).
 */
#include "cpu/soft/system/system.h"

void soft_check_target(struct soft_vcpu *c, const struct x86_segment *cs, uint64_t rip)
{
	if (soft_long_mode(c) && cs->attr & X86_SEG_L) {
		if (!soft_canonical(rip))
			soft_raise_gp(c);
	} else if ((uint32_t)rip > cs->limit) {
		soft_raise_gp(c);
	}
}

/* In IA-32e mode a code segment with both L and D is reserved. */
static bool code_size_valid(const struct soft_vcpu *c, const struct soft_descriptor *d)
{
	return !soft_long_mode(c) || (d->raw >> 53 & 3) != 3;
}

static uint64_t truncate_rip(uint64_t rip, unsigned size)
{
	return size == 2 ? (uint16_t)rip : size == 4 ? (uint32_t)rip : rip;
}

struct x86_segment soft_code_segment(struct soft_vcpu *c, uint16_t selector,
				     struct soft_descriptor *d, unsigned cpl)
{
	uint32_t error = selector & SELECTOR_MASK;
	unsigned rpl = selector & SELECTOR_RPL, dpl = descriptor_dpl(d);
	bool conforming = descriptor_type(d) & 4;

	if (!descriptor_is_segment(d) || !descriptor_is_code(d) || !code_size_valid(c, d))
		soft_raise_error(c, X86_EXC_GP, error);
	if (conforming ? dpl > cpl : (rpl > cpl || dpl != cpl))
		soft_raise_error(c, X86_EXC_GP, error);
	if (!descriptor_present(d))
		soft_raise_error(c, X86_EXC_NP, error);
	return soft_descriptor_segment((selector & ~SELECTOR_RPL) | cpl, d);
}

static void commit_cs(struct soft_vcpu *c, const struct x86_segment *cs, uint64_t rip)
{
	c->s.seg[X86_CS] = *cs;
	c->s.rip = soft_long_mode(c) && cs->attr & X86_SEG_L ? rip : (uint32_t)rip;
	soft_mode_changed(c);
}

/* A gate's code segment, checked for a transfer from CPL: `inward` if its privilege is higher. */
static struct x86_segment gate_target(struct soft_vcpu *c, const struct soft_descriptor *gate,
				      bool jump, bool *inward)
{
	struct soft_descriptor d;
	uint16_t selector = gate_selector(gate);
	uint32_t error = selector & SELECTOR_MASK;

	if (!error)
		soft_raise_gp(c);
	soft_descriptor_read(c, selector, X86_EXC_GP, &d);
	if (!descriptor_is_segment(&d) || !descriptor_is_code(&d) || descriptor_dpl(&d) > c->cpl)
		soft_raise_error(c, X86_EXC_GP, error);
	if (soft_long_mode(c) && (d.raw >> 53 & 3) != 1)
		soft_raise_error(c, X86_EXC_GP, error);
	bool conforming = descriptor_type(&d) & 4;
	*inward = !conforming && descriptor_dpl(&d) < c->cpl;
	if (jump && *inward)
		soft_raise_error(c, X86_EXC_GP, error);
	if (!descriptor_present(&d))
		soft_raise_error(c, X86_EXC_NP, error);
	soft_descriptor_touch(c, &d);
	unsigned cpl = *inward ? descriptor_dpl(&d) : c->cpl;
	return soft_descriptor_segment((selector & ~SELECTOR_RPL) | cpl, &d);
}

/* Reads the gate's upper half in IA-32e mode; returns the offset. */
static uint64_t gate_offset(struct soft_vcpu *c, uint16_t selector, struct soft_descriptor *gate)
{
	uint64_t offset = gate_offset32(gate);

	if (soft_long_mode(c)) {
		soft_descriptor_read_high(c, selector, X86_EXC_GP, gate);
		return offset | gate->high << 32;
	}
	return descriptor_type(gate) == TYPE_CALL16 ? (uint16_t)offset : offset;
}

/* What a far JMP or CALL to a system descriptor finds; raises what is not allowed. */
static enum soft_system_type system_target(struct soft_vcpu *c, uint16_t selector,
					   const struct soft_descriptor *d)
{
	unsigned type = descriptor_type(d), rpl = selector & SELECTOR_RPL;
	uint32_t error = selector & SELECTOR_MASK;
	bool ok = type == TYPE_CALL || (!soft_long_mode(c) &&
		  (type == TYPE_CALL16 || type == TYPE_TASK_GATE || type == TYPE_TSS ||
		   type == TYPE_TSS16));

	if (!ok || descriptor_dpl(d) < c->cpl || descriptor_dpl(d) < rpl)
		soft_raise_error(c, X86_EXC_GP, error);
	if (!descriptor_present(d))
		soft_raise_error(c, X86_EXC_NP, error);
	return type;
}

void soft_far_jump(struct soft_vcpu *c, uint16_t selector, uint64_t offset, unsigned size)
{
	struct soft_descriptor d;
	struct x86_segment cs;

	offset = truncate_rip(offset, size);
	if (!soft_protected(c)) {
		cs = soft_real_segment(c, X86_CS, selector);
		soft_check_target(c, &cs, offset);
		commit_cs(c, &cs, offset);
		return;
	}
	if (!(selector & SELECTOR_MASK))
		soft_raise_gp(c);
	soft_descriptor_read(c, selector, X86_EXC_GP, &d);
	if (descriptor_is_segment(&d)) {
		cs = soft_code_segment(c, selector, &d, c->cpl);
		soft_check_target(c, &cs, offset);
		soft_descriptor_touch(c, &d);
		cs.attr |= X86_SEG_ACCESSED;
		commit_cs(c, &cs, offset);
		return;
	}
	switch (system_target(c, selector, &d)) {
	case TYPE_TASK_GATE:
		selector = gate_selector(&d);
		G_GNUC_FALLTHROUGH;
	case TYPE_TSS:
	case TYPE_TSS16:
		soft_task_switch(c, selector, TASK_JUMP, soft_next_rip(c, c->insn), false, 0);
		break;
	default: {
		bool inward;
		offset = gate_offset(c, selector, &d);
		cs = gate_target(c, &d, true, &inward);
		soft_check_target(c, &cs, offset);
		commit_cs(c, &cs, offset);
	}
	}
}

static void push_return(struct soft_vcpu *c, struct soft_stack *stack, unsigned size,
			uint64_t return_rip)
{
	soft_stack_push(c, stack, c->s.seg[X86_CS].selector, size);
	soft_stack_push(c, stack, return_rip, size);
}

static void call_same(struct soft_vcpu *c, const struct x86_segment *cs, uint64_t rip,
		      unsigned size, uint64_t return_rip)
{
	struct soft_stack stack = soft_stack_current(c);

	push_return(c, &stack, size, return_rip);
	soft_check_target(c, cs, rip);
	soft_stack_commit_sp(c, &stack);
	commit_cs(c, cs, rip);
}

/* A call gate to more privilege: the stack of the new level, with the caller's and parameters. */
static void call_inward(struct soft_vcpu *c, const struct soft_descriptor *gate,
			const struct x86_segment *cs, uint64_t rip, uint64_t return_rip)
{
	unsigned cpl = cs->selector & SELECTOR_RPL;
	bool is_long = soft_long_mode(c);
	unsigned size = is_long ? 8 : descriptor_type(gate) == TYPE_CALL ? 4 : 2;
	unsigned count = is_long ? 0 : gate->raw >> 32 & 31;
	struct soft_stack old = soft_stack_current(c), new;
	uint32_t parameters[31];

	soft_check_target(c, cs, rip);
	if (is_long) {
		new = (struct soft_stack){ .flat = true, .system = true };
		new.ss = soft_null_segment(cpl, cpl);
		new.sp = soft_rsp_from_tss(c, cpl, 0);
	} else {
		new = soft_stack_from_tss(c, cpl);
	}
	for (unsigned i = 0; i < count; i++)
		parameters[i] = soft_stack_pop(c, &old, size);
	soft_stack_push(c, &new, c->s.seg[X86_SS].selector, size);
	soft_stack_push(c, &new, c->s.gpr[X86_RSP], size);
	while (count-- > 0)
		soft_stack_push(c, &new, parameters[count], size);
	push_return(c, &new, size, return_rip);

	c->s.seg[X86_SS] = new.ss;
	if (is_long)
		c->s.gpr[X86_RSP] = new.sp;
	else
		soft_stack_commit_sp(c, &new);
	commit_cs(c, cs, rip);
}

void soft_far_call(struct soft_vcpu *c, uint16_t selector, uint64_t offset, unsigned size,
		   uint64_t return_rip)
{
	struct soft_descriptor d;
	struct x86_segment cs;

	offset = truncate_rip(offset, size);
	if (!soft_protected(c)) {
		cs = soft_real_segment(c, X86_CS, selector);
		call_same(c, &cs, offset, size, return_rip);
		return;
	}
	if (!(selector & SELECTOR_MASK))
		soft_raise_gp(c);
	soft_descriptor_read(c, selector, X86_EXC_GP, &d);
	if (descriptor_is_segment(&d)) {
		cs = soft_code_segment(c, selector, &d, c->cpl);
		soft_descriptor_touch(c, &d);
		cs.attr |= X86_SEG_ACCESSED;
		call_same(c, &cs, offset, size, return_rip);
		return;
	}
	switch (system_target(c, selector, &d)) {
	case TYPE_TASK_GATE:
		selector = gate_selector(&d);
		G_GNUC_FALLTHROUGH;
	case TYPE_TSS:
	case TYPE_TSS16:
		soft_task_switch(c, selector, TASK_CALL, return_rip, false, 0);
		break;
	default: {
		bool inward;
		offset = gate_offset(c, selector, &d);
		cs = gate_target(c, &d, false, &inward);
		if (inward)
			call_inward(c, &d, &cs, offset, return_rip);
		else
			call_same(c, &cs, offset,
				  soft_long_mode(c) ? 8 :
				  descriptor_type(&d) == TYPE_CALL ? 4 : 2, return_rip);
	}
	}
}

/* The code segment of a RET or IRET: same or less privilege than now. */
static struct x86_segment return_segment(struct soft_vcpu *c, uint16_t selector)
{
	struct soft_descriptor d;
	uint32_t error = selector & SELECTOR_MASK;
	unsigned rpl = selector & SELECTOR_RPL;

	if (!error)
		soft_raise_gp(c);
	soft_descriptor_read(c, selector, X86_EXC_GP, &d);
	if (!descriptor_is_segment(&d) || !descriptor_is_code(&d) || !code_size_valid(c, &d) ||
	    rpl < c->cpl)
		soft_raise_error(c, X86_EXC_GP, error);
	bool conforming = descriptor_type(&d) & 4;
	if (conforming ? descriptor_dpl(&d) > rpl : descriptor_dpl(&d) != rpl)
		soft_raise_error(c, X86_EXC_GP, error);
	if (!descriptor_present(&d))
		soft_raise_error(c, X86_EXC_NP, error);
	soft_descriptor_touch(c, &d);
	return soft_descriptor_segment(selector, &d);
}

/* SS of a return to `cpl`; 64-bit targets below CPL 3 may have a null one. */
static struct x86_segment return_stack_segment(struct soft_vcpu *c, uint16_t selector, unsigned cpl,
					       const struct x86_segment *cs)
{
	if (!(selector & SELECTOR_MASK) && soft_long_mode(c) && cs->attr & X86_SEG_L && cpl < 3 &&
	    (selector & SELECTOR_RPL) == cpl)
		return soft_null_segment(selector, cpl);
	return soft_stack_segment(c, selector, cpl, X86_EXC_GP);
}

static void set_stack_pointer(struct soft_vcpu *c, uint64_t sp, const struct x86_segment *ss,
			      const struct x86_segment *cs)
{
	if (soft_long_mode(c) && cs->attr & X86_SEG_L)
		c->s.gpr[X86_RSP] = sp;
	else if (ss->attr & X86_SEG_DB)
		c->s.gpr[X86_RSP] = (uint32_t)sp;
	else
		c->s.gpr[X86_RSP] = (c->s.gpr[X86_RSP] & ~UINT64_C(0xffff)) | (uint16_t)sp;
}

void soft_far_return(struct soft_vcpu *c, unsigned size, unsigned pop_bytes)
{
	struct soft_stack stack = soft_stack_current(c);
	uint64_t rip = soft_stack_pop(c, &stack, size);
	uint16_t selector = soft_stack_pop(c, &stack, size);
	struct x86_segment cs, ss;

	if (!soft_protected(c)) {
		cs = soft_real_segment(c, X86_CS, selector);
		soft_check_target(c, &cs, rip);
		stack.sp += pop_bytes;
		soft_stack_commit_sp(c, &stack);
		commit_cs(c, &cs, rip);
		return;
	}
	cs = return_segment(c, selector);
	stack.sp += pop_bytes;
	unsigned cpl = selector & SELECTOR_RPL;
	if (cpl == c->cpl) {
		soft_check_target(c, &cs, rip);
		soft_stack_commit_sp(c, &stack);
		commit_cs(c, &cs, rip);
		return;
	}
	uint64_t sp = soft_stack_pop(c, &stack, size);
	uint16_t ss_selector = soft_stack_pop(c, &stack, size);
	ss = return_stack_segment(c, ss_selector, cpl, &cs);
	soft_check_target(c, &cs, rip);
	c->s.seg[X86_SS] = ss;
	set_stack_pointer(c, sp + pop_bytes, &ss, &cs);
	commit_cs(c, &cs, rip);
	soft_drop_segments(c, cpl);
	soft_mode_changed(c);
}

/* --- IRET ------------------------------------------------------------------------------------- */

/* The flags that a return may change, by what it comes from (SDM vol. 2, IRET). */
static uint64_t iret_flags(const struct soft_vcpu *c, uint64_t popped, unsigned size)
{
	uint64_t mask = X86_FLAGS_ARITH | X86_FLAG_TF | X86_FLAG_DF | X86_FLAG_NT;

	if (size > 2)
		mask |= X86_FLAG_RF | X86_FLAG_AC | X86_FLAG_ID;
	if (!(c->s.cr0 & X86_CR0_PE) || (soft_protected(c) && c->cpl == 0)) {
		mask |= X86_FLAG_IOPL | X86_FLAG_IF;
		if (size > 2)
			mask |= X86_FLAG_VIF | X86_FLAG_VIP;
	} else if (c->cpl <= soft_iopl(c)) {
		mask |= X86_FLAG_IF;
	}
	return (soft_rflags_get(c) & ~mask) | (popped & mask);
}

/* NMIs come again, an RF that is set now lasts for one instruction, and no shadow is left. */
static void iret_done(struct soft_vcpu *c)
{
	soft_nmi_unblock(c);
	c->sys->rf_armed = false;
	c->interrupt_shadow = false;
}

static void iret_real(struct soft_vcpu *c, unsigned size)
{
	struct soft_stack stack = soft_stack_current(c);
	uint64_t rip = soft_stack_pop(c, &stack, size);
	uint16_t selector = soft_stack_pop(c, &stack, size);
	uint64_t flags = soft_stack_pop(c, &stack, size);
	struct x86_segment cs = soft_real_segment(c, X86_CS, selector);

	soft_check_target(c, &cs, rip);
	flags = iret_flags(c, flags, size);
	soft_stack_commit_sp(c, &stack);
	commit_cs(c, &cs, rip);
	soft_rflags_set(c, flags);
	iret_done(c);
}

/* VM86 with IOPL below 3 and CR4.VME: IF is VIF, 16-bit operands only (SDM vol. 3, 21.3). */
static void iret_vme(struct soft_vcpu *c)
{
	struct soft_stack stack = soft_stack_current(c);
	uint64_t rip = soft_stack_pop(c, &stack, 2);
	uint16_t selector = soft_stack_pop(c, &stack, 2);
	uint64_t popped = soft_stack_pop(c, &stack, 2), flags = soft_rflags_get(c);
	struct x86_segment cs = soft_real_segment(c, X86_CS, selector);

	if ((popped & X86_FLAG_IF && flags & X86_FLAG_VIP) || popped & X86_FLAG_TF)
		soft_raise_gp(c);
	soft_check_target(c, &cs, rip);
	uint64_t mask = X86_FLAGS_ARITH | X86_FLAG_TF | X86_FLAG_DF | X86_FLAG_NT;
	flags = (flags & ~(mask | X86_FLAG_VIF)) | (popped & mask);
	if (popped & X86_FLAG_IF)
		flags |= X86_FLAG_VIF;
	soft_stack_commit_sp(c, &stack);
	commit_cs(c, &cs, rip);
	soft_rflags_set(c, flags);
	iret_done(c);
}

static void iret_to_vm86(struct soft_vcpu *c, struct soft_stack *stack, uint32_t eip,
			 uint16_t cs, uint32_t flags)
{
	static const uint8_t order[] = { X86_SS, X86_ES, X86_DS, X86_FS, X86_GS };
	uint16_t selectors[5];
	uint32_t esp = soft_stack_pop(c, stack, 4);

	for (unsigned i = 0; i < 5; i++)
		selectors[i] = soft_stack_pop(c, stack, 4);
	if (eip > 0xffff)
		soft_raise_gp(c);
	soft_flags_commit(c, flags); /* VM is set now: real-mode segments follow */
	for (unsigned i = 0; i < 5; i++)
		c->s.seg[order[i]] = soft_real_segment(c, order[i], selectors[i]);
	c->s.seg[X86_CS] = soft_real_segment(c, X86_CS, cs);
	c->s.gpr[X86_RSP] = esp;
	c->s.rip = eip;
	soft_mode_changed(c);
	iret_done(c);
}

static void iret_protected(struct soft_vcpu *c, unsigned size)
{
	struct soft_stack stack = soft_stack_current(c);
	uint64_t rip = soft_stack_pop(c, &stack, size);
	uint16_t selector = soft_stack_pop(c, &stack, size);
	uint64_t popped = soft_stack_pop(c, &stack, size);

	if (popped & X86_FLAG_VM && c->cpl == 0 && size == 4 && !soft_long_mode(c)) {
		iret_to_vm86(c, &stack, rip, selector, popped);
		return;
	}
	struct x86_segment cs = return_segment(c, selector);
	unsigned cpl = selector & SELECTOR_RPL;
	bool outward = cpl != c->cpl;
	/* In 64-bit mode SS:RSP is always popped. */
	if (outward || c->long64) {
		uint64_t sp = soft_stack_pop(c, &stack, size);
		uint16_t ss_selector = soft_stack_pop(c, &stack, size);
		struct x86_segment ss = return_stack_segment(c, ss_selector, cpl, &cs);
		soft_check_target(c, &cs, rip);
		uint64_t flags = iret_flags(c, popped, size);
		c->s.seg[X86_SS] = ss;
		set_stack_pointer(c, sp, &ss, &cs);
		soft_flags_commit(c, flags);
	} else {
		soft_check_target(c, &cs, rip);
		soft_stack_commit_sp(c, &stack);
		soft_flags_commit(c, iret_flags(c, popped, size));
	}
	if (outward)
		soft_drop_segments(c, cpl);
	commit_cs(c, &cs, rip);
	iret_done(c);
}

void soft_iret(struct soft_vcpu *c, unsigned size)
{
	if (!(c->s.cr0 & X86_CR0_PE)) {
		iret_real(c, size);
	} else if (soft_vm86(c)) {
		if (soft_iopl(c) == 3)
			iret_real(c, size);
		else if (c->s.cr4 & X86_CR4_VME && size == 2)
			iret_vme(c);
		else
			soft_raise_gp(c);
	} else if (c->s.rflags & X86_FLAG_NT) {
		const struct x86_segment *tr = &c->s.seg[X86_TR];
		if (soft_long_mode(c))
			soft_raise_gp(c);
		uint16_t link = soft_load_system(c, tr->base, 2);
		soft_task_switch(c, link, TASK_IRET, soft_next_rip(c, c->insn), false, 0);
		iret_done(c);
	} else {
		iret_protected(c, size);
	}
}
