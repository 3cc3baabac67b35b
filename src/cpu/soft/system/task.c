/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hardware task switches (SDM vol. 3, 8.3): JMP, CALL, IRET and task gates, with 16- and 32-bit
 * TSSs. 32-bit Linux handles its double faults in a task of their own.
 *
 * What is wrong with the new TSS itself faults in the old task. After the switch has been committed,
 * bad selectors in it fault (#TS) in the new one, before its first instruction.
 */
#include "cpu/soft/system/system.h"

#include <string.h>

struct tss_layout {
	unsigned size; /* of a register */
	unsigned limit; /* smallest legal one */
	unsigned eip, flags, gpr, segments, segment_stride, segment_count, ldt;
};

static const struct tss_layout layout16 = {
	.size = 2, .limit = 0x2b, .eip = 14, .flags = 16, .gpr = 18, .segments = 34,
	.segment_stride = 2, .segment_count = 4, .ldt = 42,
};
static const struct tss_layout layout32 = {
	.size = 4, .limit = 0x67, .eip = 32, .flags = 36, .gpr = 40, .segments = 72,
	.segment_stride = 4, .segment_count = 6, .ldt = 96,
};

static const struct tss_layout *layout_of(unsigned type)
{
	return type == TYPE_TSS || type == TYPE_TSS_BUSY ? &layout32 : &layout16;
}

struct task {
	uint32_t cr3, eip, eflags, gpr[8];
	uint16_t segment[6]; /* ES CS SS DS FS GS, as enum x86_seg_index counts */
	uint16_t ldt;
	bool trap;
};

static void save_old(struct soft_vcpu *c, uint64_t eip, uint32_t eflags)
{
	const struct x86_segment *tr = &c->s.seg[X86_TR];
	const struct tss_layout *l = layout_of(tr->attr & 15);

	/* The last byte first, so that a page fault comes before anything is written. */
	soft_store_system(c, tr->base + l->segments + (l->segment_count - 1) * l->segment_stride,
			  c->s.seg[l->segment_count - 1].selector, 2);
	soft_store_system(c, tr->base + l->eip, eip, l->size);
	soft_store_system(c, tr->base + l->flags, eflags, l->size);
	for (unsigned i = 0; i < 8; i++)
		soft_store_system(c, tr->base + l->gpr + i * l->size, c->s.gpr[i], l->size);
	for (unsigned i = 0; i < l->segment_count; i++)
		soft_store_system(c, tr->base + l->segments + i * l->segment_stride,
				  c->s.seg[i].selector, 2);
}

static void load_new(struct soft_vcpu *c, uint64_t base, const struct tss_layout *l,
		     struct task *t)
{
	memset(t, 0, sizeof(*t));
	for (unsigned i = 0; i < 8; i++)
		t->gpr[i] = soft_load_system(c, base + l->gpr + i * l->size, l->size);
	for (unsigned i = 0; i < l->segment_count; i++)
		t->segment[i] = soft_load_system(c, base + l->segments + i * l->segment_stride, 2);
	t->eip = soft_load_system(c, base + l->eip, l->size);
	t->eflags = soft_load_system(c, base + l->flags, l->size);
	t->ldt = soft_load_system(c, base + l->ldt, 2);
	if (l->size == 4) {
		t->cr3 = soft_load_system(c, base + 28, 4);
		t->trap = soft_load_system(c, base + 100, 2) & 1;
	}
}

static void load_ldt(struct soft_vcpu *c, uint16_t selector)
{
	struct soft_descriptor d;
	uint32_t error = selector & SELECTOR_MASK;

	c->s.seg[X86_LDTR] = soft_null_segment(selector, 0);
	if (!error)
		return;
	if (selector & SELECTOR_TI)
		soft_raise_error(c, X86_EXC_TS, error);
	soft_descriptor_read(c, selector, X86_EXC_TS, &d);
	if (descriptor_is_segment(&d) || descriptor_type(&d) != TYPE_LDT || !descriptor_present(&d))
		soft_raise_error(c, X86_EXC_TS, error);
	c->s.seg[X86_LDTR] = soft_descriptor_segment(selector, &d);
}

static void load_cs(struct soft_vcpu *c, uint16_t selector)
{
	struct soft_descriptor d;
	uint32_t error = selector & SELECTOR_MASK;
	unsigned rpl = selector & SELECTOR_RPL;

	if (!error)
		soft_raise_error(c, X86_EXC_TS, 0);
	soft_descriptor_read(c, selector, X86_EXC_TS, &d);
	bool conforming = descriptor_type(&d) & 4;
	if (!descriptor_is_segment(&d) || !descriptor_is_code(&d) ||
	    (conforming ? descriptor_dpl(&d) > rpl : descriptor_dpl(&d) != rpl))
		soft_raise_error(c, X86_EXC_TS, error);
	if (!descriptor_present(&d))
		soft_raise_error(c, X86_EXC_NP, error);
	soft_descriptor_touch(c, &d);
	c->s.seg[X86_CS] = soft_descriptor_segment(selector, &d);
}

static void load_data(struct soft_vcpu *c, enum x86_seg_index index, uint16_t selector,
		      unsigned cpl)
{
	struct soft_descriptor d;
	uint32_t error = selector & SELECTOR_MASK;

	if (!error)
		return;
	soft_descriptor_read(c, selector, X86_EXC_TS, &d);
	bool code = descriptor_is_code(&d), conforming = code && descriptor_type(&d) & 4;
	if (!descriptor_is_segment(&d) || (code && !(descriptor_type(&d) & 2)) ||
	    (!conforming && (descriptor_dpl(&d) < cpl ||
			     descriptor_dpl(&d) < (unsigned)(selector & SELECTOR_RPL))))
		soft_raise_error(c, X86_EXC_TS, error);
	if (!descriptor_present(&d))
		soft_raise_error(c, X86_EXC_NP, error);
	soft_descriptor_touch(c, &d);
	c->s.seg[index] = soft_descriptor_segment(selector, &d);
}

/* The new task's segments. It has begun: a fault here is its own, with EIP at its start. */
static void load_segments(struct soft_vcpu *c, const struct task *t)
{
	unsigned cpl = t->segment[X86_CS] & SELECTOR_RPL;

	if (soft_vm86(c)) {
		for (unsigned i = 0; i < 6; i++)
			c->s.seg[i] = soft_real_segment(c, i, t->segment[i]);
		soft_mode_changed(c);
		load_ldt(c, t->ldt);
		return;
	}
	/* Until they are loaded the selectors are there but no segment is usable. */
	for (unsigned i = 0; i < 6; i++)
		c->s.seg[i] = soft_null_segment(t->segment[i], i == X86_SS ? cpl : 0);
	soft_mode_changed(c);
	load_ldt(c, t->ldt);
	c->s.seg[X86_SS] = soft_stack_segment(c, t->segment[X86_SS], cpl, X86_EXC_TS);
	load_cs(c, t->segment[X86_CS]);
	soft_mode_changed(c);
	load_data(c, X86_ES, t->segment[X86_ES], cpl);
	load_data(c, X86_DS, t->segment[X86_DS], cpl);
	load_data(c, X86_FS, t->segment[X86_FS], cpl);
	load_data(c, X86_GS, t->segment[X86_GS], cpl);
	soft_mode_changed(c);
}

static void check_new_tss(struct soft_vcpu *c, uint16_t selector, enum soft_task_cause cause,
			  struct soft_descriptor *d)
{
	/* A return that finds its link wrong is #TS, a jump or call that does is #GP. */
	enum x86_vector vector = cause == TASK_IRET ? X86_EXC_TS : X86_EXC_GP;
	uint32_t error = selector & SELECTOR_MASK;

	if (!error || selector & SELECTOR_TI)
		soft_raise_error(c, vector, error);
	soft_descriptor_read(c, selector, vector, d);
	unsigned type = descriptor_type(d), want = cause == TASK_IRET ? 2 : 0;
	if (descriptor_is_segment(d) || (type & ~8u) != (1u | want))
		soft_raise_error(c, vector, error);
	if (!descriptor_present(d))
		soft_raise_error(c, X86_EXC_NP, error);
	if (soft_descriptor_segment(selector, d).limit < layout_of(type)->limit)
		soft_raise_error(c, X86_EXC_TS, error);
}

void soft_task_switch(struct soft_vcpu *c, uint16_t selector, enum soft_task_cause cause,
		      uint64_t return_rip, bool has_error, uint32_t error)
{
	struct soft_descriptor new_d, old_d;
	struct task t;
	uint16_t old_selector = c->s.seg[X86_TR].selector;

	check_new_tss(c, selector, cause, &new_d);
	struct x86_segment new_tr = soft_descriptor_segment(selector, &new_d);
	const struct tss_layout *layout = layout_of(descriptor_type(&new_d));
	uint32_t old_flags = soft_rflags_get(c);

	load_new(c, new_tr.base, layout, &t);
	if (t.cr3 & ~UINT32_C(0xfff) && layout->size == 4 && c->s.cr0 & X86_CR0_PG &&
	    c->s.cr4 & X86_CR4_PAE && !soft_pdptes_load(c, t.cr3, false))
		soft_raise_error(c, X86_EXC_TS, selector & SELECTOR_MASK);
	if (cause == TASK_IRET)
		old_flags &= ~(uint32_t)X86_FLAG_NT;
	save_old(c, return_rip, old_flags);
	if (cause != TASK_CALL && soft_descriptor_try(c, old_selector, &old_d))
		soft_descriptor_set_busy(c, &old_d, false);
	if (cause == TASK_CALL)
		soft_store_system(c, new_tr.base, old_selector, 2);
	if (cause != TASK_IRET)
		soft_descriptor_set_busy(c, &new_d, true);

	/* The commit point. */
	if (cause == TASK_CALL)
		t.eflags |= X86_FLAG_NT;
	new_tr.attr |= 2;
	c->s.seg[X86_TR] = new_tr;
	c->s.cr0 |= X86_CR0_TS;
	c->x87_ready = false;
	c->vectors_allowed = 0;
	c->s.dr[7] &= ~UINT64_C(0x55); /* local breakpoints belong to a task */
	soft_dr7_changed(c);
	if (layout->size == 4 && c->s.cr0 & X86_CR0_PG && c->s.cr3 != t.cr3) {
		if (c->s.cr4 & X86_CR4_PAE)
			soft_pdptes_load(c, t.cr3, true);
		c->s.cr3 = t.cr3;
		soft_tlb_cr3_changed(c, false);
	}
	for (unsigned i = 0; i < 8; i++)
		c->s.gpr[i] = layout->size == 4 ? t.gpr[i] :
						  (c->s.gpr[i] & 0xffff0000) | t.gpr[i];
	c->s.rip = t.eip;
	/* Faults from here on are the new task's, at its first instruction. */
	c->block_rip = c->s.rip - (c->insn ? c->insn->offset : 0);
	c->sys->restarted = true;
	soft_flags_commit(c, t.eflags);
	load_segments(c, &t);
	if (has_error) {
		struct soft_stack stack = soft_stack_current(c);
		soft_stack_push(c, &stack, error, layout->size);
		soft_stack_commit_sp(c, &stack);
	}
	soft_check_target(c, &c->s.seg[X86_CS], c->s.rip);
	if (t.trap)
		soft_debug_note(c, 1 << 15); /* DR6.BT */
}
