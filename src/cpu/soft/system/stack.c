/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stacks of far transfers and events: the current one, or an inner one out of the TSS. */
#include "cpu/soft/system/system.h"

static uint64_t sp_mask(const struct soft_stack *s)
{
	return s->flat ? UINT64_MAX : s->ss.attr & X86_SEG_DB ? 0xffffffff : 0xffff;
}

struct soft_stack soft_stack_current(struct soft_vcpu *c)
{
	return (struct soft_stack){
		.ss = c->s.seg[X86_SS],
		.sp = c->s.gpr[X86_RSP],
		.flat = c->long64,
	};
}

static uint64_t stack_linear(struct soft_vcpu *c, const struct soft_stack *s, uint64_t offset,
			     unsigned size, enum soft_access access)
{
	if (s->flat) {
		if (!soft_canonical(offset))
			soft_raise_error(c, X86_EXC_SS, s->error);
		return offset;
	}
	soft_check_segment_access(c, &s->ss, offset, size, access, X86_EXC_SS, s->error);
	return (uint32_t)(s->ss.base + offset);
}

void soft_stack_push(struct soft_vcpu *c, struct soft_stack *s, uint64_t value, unsigned size)
{
	uint64_t mask = sp_mask(s), offset = (s->sp - size) & mask;
	uint64_t linear = stack_linear(c, s, offset, size, SOFT_WRITE);

	if (s->system)
		soft_store_system(c, linear, value, size);
	else
		soft_store(c, linear, value, size);
	s->sp = (s->sp & ~mask) | offset;
}

uint64_t soft_stack_pop(struct soft_vcpu *c, struct soft_stack *s, unsigned size)
{
	uint64_t mask = sp_mask(s), offset = s->sp & mask;
	uint64_t linear = stack_linear(c, s, offset, size, SOFT_READ);
	uint64_t value = s->system ? soft_load_system(c, linear, size) : soft_load(c, linear, size);

	s->sp = (s->sp & ~mask) | ((offset + size) & mask);
	return value;
}

void soft_stack_commit_sp(struct soft_vcpu *c, const struct soft_stack *s)
{
	uint64_t mask = sp_mask(s);
	c->s.gpr[X86_RSP] = (c->s.gpr[X86_RSP] & ~mask) | (s->sp & mask);
}

/* SDM vol. 3, 6.12.1: the faults of an inner stack are #TS, or #SS if it is not present. */
struct x86_segment soft_stack_segment(struct soft_vcpu *c, uint16_t selector, unsigned cpl,
				      enum x86_vector vector)
{
	struct soft_descriptor d;
	uint32_t error = selector & SELECTOR_MASK;

	if (!error)
		soft_raise_error(c, vector, 0);
	soft_descriptor_read(c, selector, vector, &d);
	bool writable_data = descriptor_is_segment(&d) && !descriptor_is_code(&d) &&
			     descriptor_type(&d) & 2;
	if ((selector & SELECTOR_RPL) != cpl || descriptor_dpl(&d) != cpl || !writable_data)
		soft_raise_error(c, vector, error);
	if (!descriptor_present(&d))
		soft_raise_error(c, X86_EXC_SS, error);
	soft_descriptor_touch(c, &d);
	return soft_descriptor_segment(selector, &d);
}

struct soft_stack soft_stack_from_tss(struct soft_vcpu *c, unsigned dpl)
{
	const struct x86_segment *tr = &c->s.seg[X86_TR];
	bool wide = (tr->attr & 15) == TYPE_TSS_BUSY || (tr->attr & 15) == TYPE_TSS;
	unsigned at = wide ? 4 + dpl * 8 : 2 + dpl * 4, size = wide ? 4 : 2;
	struct soft_stack s = { .system = true };

	if (at + size + 1 > tr->limit)
		soft_raise_error(c, X86_EXC_TS, tr->selector & SELECTOR_MASK);
	s.sp = soft_load_system(c, tr->base + at, size);
	uint16_t selector = soft_load_system(c, tr->base + at + size, 2);
	s.ss = soft_stack_segment(c, selector, dpl, X86_EXC_TS);
	s.error = selector & SELECTOR_MASK;
	return s;
}

uint64_t soft_rsp_from_tss(struct soft_vcpu *c, unsigned dpl, unsigned ist)
{
	const struct x86_segment *tr = &c->s.seg[X86_TR];
	unsigned at = ist ? 0x24 + (ist - 1) * 8 : 4 + dpl * 8;

	if (at + 7 > tr->limit)
		soft_raise_error(c, X86_EXC_TS, tr->selector & SELECTOR_MASK);
	uint64_t rsp = soft_load_system(c, tr->base + at, 8);
	if (!soft_canonical(rsp))
		soft_raise_error(c, X86_EXC_SS, 0);
	return rsp;
}
