/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Segment and system descriptors in memory and what they become in a register (SDM vol. 3, 3.4). */
#include "cpu/soft/system/system.h"

bool soft_descriptor_try(struct soft_vcpu *c, uint16_t selector, struct soft_descriptor *d)
{
	uint64_t base = c->s.gdtr.base;
	uint32_t limit = c->s.gdtr.limit, offset = selector & ~7u;

	if (selector & SELECTOR_TI) {
		const struct x86_segment *ldt = &c->s.seg[X86_LDTR];
		if (ldt->attr & X86_SEG_UNUSABLE)
			return false;
		base = ldt->base;
		limit = ldt->limit;
	}
	if (offset + 7 > limit)
		return false;
	d->linear = soft_long_mode(c) ? base + offset : (uint32_t)(base + offset);
	d->raw = soft_load_system(c, d->linear, 8);
	d->high = 0;
	return true;
}

void soft_descriptor_read(struct soft_vcpu *c, uint16_t selector, enum x86_vector vector,
			  struct soft_descriptor *d)
{
	if (!soft_descriptor_try(c, selector, d))
		soft_raise_error(c, vector, selector & SELECTOR_MASK);
}

void soft_descriptor_read_high(struct soft_vcpu *c, uint16_t selector, enum x86_vector vector,
			       struct soft_descriptor *d)
{
	struct soft_descriptor high;

	if (!soft_descriptor_try(c, (selector & ~3u) + 8, &high) || selector >= 0xfff8)
		soft_raise_error(c, vector, selector & SELECTOR_MASK);
	/* The type field of the upper half must be zero (SDM vol. 3, 8.2.3). */
	if (high.raw >> 40 & 0x1f)
		soft_raise_error(c, vector, selector & SELECTOR_MASK);
	d->high = high.raw;
}

void soft_descriptor_touch(struct soft_vcpu *c, struct soft_descriptor *d)
{
	if (d->raw >> 40 & 1)
		return;
	d->raw |= UINT64_C(1) << 40;
	soft_store_system(c, d->linear + 5, d->raw >> 40 & 0xff, 1);
}

void soft_descriptor_set_busy(struct soft_vcpu *c, struct soft_descriptor *d, bool busy)
{
	uint64_t bit = UINT64_C(2) << 40;
	d->raw = busy ? d->raw | bit : d->raw & ~bit;
	soft_store_system(c, d->linear + 5, d->raw >> 40 & 0xff, 1);
}

struct x86_segment soft_descriptor_segment(uint16_t selector, const struct soft_descriptor *d)
{
	struct x86_segment s = {
		.selector = selector,
		.attr = d->raw >> 40 & 0xf0ff,
		.base = (d->raw >> 16 & 0xffffff) | (d->raw >> 32 & 0xff000000) | d->high << 32,
		.limit = (d->raw & 0xffff) | (d->raw >> 32 & 0xf0000),
	};
	if (s.attr & X86_SEG_G)
		s.limit = s.limit << 12 | 0xfff;
	return s;
}

struct x86_segment soft_null_segment(uint16_t selector, unsigned dpl)
{
	return (struct x86_segment){
		.selector = selector,
		.attr = X86_SEG_UNUSABLE | dpl << X86_SEG_DPL_SHIFT,
	};
}

struct x86_segment soft_real_segment(const struct soft_vcpu *c, enum x86_seg_index index,
				     uint16_t selector)
{
	struct x86_segment s = c->s.seg[index];

	s.selector = selector;
	s.base = (uint32_t)selector << 4;
	if (soft_vm86(c)) {
		s.limit = 0xffff;
		s.attr = X86_SEG_P | X86_SEG_S | X86_SEG_WRITE | X86_SEG_ACCESSED |
			 3 << X86_SEG_DPL_SHIFT;
		return s;
	}
	/* "Unreal" mode: limits and sizes from protected mode stay until it is entered again. */
	if (s.attr & X86_SEG_UNUSABLE) {
		s.limit = 0xffff;
		s.attr = X86_SEG_P | X86_SEG_S | X86_SEG_WRITE | X86_SEG_ACCESSED;
	}
	s.attr &= ~(3u << X86_SEG_DPL_SHIFT);
	return s;
}
