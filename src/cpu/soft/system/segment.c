/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Segmentation: the limit, type and canonical checks of an access, and loading data segments
 * (SDM vol. 3, chapter 5).
 */
#include "cpu/soft/system/system.h"

static bool limit_allows(const struct x86_segment *seg, uint64_t offset, unsigned size)
{
	uint64_t last = offset + size - 1;
	bool data = !(seg->attr & X86_SEG_CODE);

	if (data && seg->attr & X86_SEG_EXPAND_DOWN)
		return offset > seg->limit &&
		       last <= (seg->attr & X86_SEG_DB ? 0xffffffff : 0xffff);
	return last <= seg->limit;
}

void soft_check_segment_access(struct soft_vcpu *c, const struct x86_segment *seg, uint64_t offset,
			       unsigned size, enum soft_access access, enum x86_vector vector,
			       uint32_t error)
{
	if (seg->attr & X86_SEG_UNUSABLE)
		soft_raise_error(c, vector, error);
	/* Real mode and VM86 have no types, only limits. */
	if (soft_protected(c)) {
		bool code = seg->attr & X86_SEG_CODE;
		if (access == SOFT_WRITE && (code || !(seg->attr & X86_SEG_WRITE)))
			soft_raise_error(c, vector, error);
		if (access == SOFT_READ && code && !(seg->attr & X86_SEG_READ))
			soft_raise_error(c, vector, error);
	}
	if (!limit_allows(seg, offset, size))
		soft_raise_error(c, vector, error);
}

uint64_t soft_segment_linear(struct soft_vcpu *c, enum x86_seg_index index, uint64_t offset,
			     unsigned size, enum soft_access access)
{
	const struct x86_segment *seg = &c->s.seg[index];
	enum x86_vector vector = index == X86_SS ? X86_EXC_SS : X86_EXC_GP;

	if (c->long64) {
		uint64_t linear = index >= X86_FS ? seg->base + offset : offset;
		if (!soft_canonical(linear))
			soft_raise_error(c, vector, 0);
		return linear;
	}
	offset = (uint32_t)offset;
	/* base 0, limit 4 GiB, writable: nothing can fail but the wrap at the top. */
	if (c->flat_data && (index == X86_DS || index == X86_SS || index == X86_ES) &&
	    offset <= UINT32_MAX - 15)
		return offset;
	soft_check_segment_access(c, seg, offset, size, access, vector, 0);
	return (uint32_t)(seg->base + offset);
}

/* MOV SS, POP SS, LSS (SDM vol. 2, MOV). */
static struct x86_segment check_ss(struct soft_vcpu *c, uint16_t selector)
{
	/* A null SS is legal in 64-bit mode below CPL 3, if RPL is CPL. */
	if (!(selector & SELECTOR_MASK)) {
		if (c->long64 && c->cpl < 3 && (selector & SELECTOR_RPL) == c->cpl)
			return soft_null_segment(selector, c->cpl);
		soft_raise_gp(c);
	}
	return soft_stack_segment(c, selector, c->cpl, X86_EXC_GP);
}

static struct x86_segment check_data(struct soft_vcpu *c, uint16_t selector)
{
	struct soft_descriptor d;
	uint32_t error = selector & SELECTOR_MASK;

	if (!error)
		return soft_null_segment(selector, 0);
	soft_descriptor_read(c, selector, X86_EXC_GP, &d);
	bool code = descriptor_is_code(&d), conforming = code && descriptor_type(&d) & 4;
	if (!descriptor_is_segment(&d) || (code && !(descriptor_type(&d) & 2)))
		soft_raise_error(c, X86_EXC_GP, error);
	if (!conforming && (descriptor_dpl(&d) < c->cpl ||
			    descriptor_dpl(&d) < (unsigned)(selector & SELECTOR_RPL)))
		soft_raise_error(c, X86_EXC_GP, error);
	if (!descriptor_present(&d))
		soft_raise_error(c, X86_EXC_NP, error);
	soft_descriptor_touch(c, &d);
	return soft_descriptor_segment(selector, &d);
}

void soft_load_segment(struct soft_vcpu *c, enum x86_seg_index index, uint16_t selector)
{
	struct x86_segment new;

	if (!soft_protected(c))
		new = soft_real_segment(c, index, selector);
	else if (index == X86_SS)
		new = check_ss(c, selector);
	else
		new = check_data(c, selector);
	c->s.seg[index] = new;
	if (index == X86_SS || index == X86_DS || index == X86_ES)
		soft_mode_changed(c);
}

void soft_drop_segments(struct soft_vcpu *c, unsigned cpl)
{
	static const uint8_t data[] = { X86_ES, X86_FS, X86_GS, X86_DS };

	for (unsigned i = 0; i < sizeof(data); i++) {
		struct x86_segment *s = &c->s.seg[data[i]];
		bool conforming = (s->attr & (X86_SEG_CODE | X86_SEG_CONFORMING)) ==
				  (X86_SEG_CODE | X86_SEG_CONFORMING);
		if (s->attr & X86_SEG_UNUSABLE) {
			/* A null selector comes out as zero, whatever its RPL was. */
			s->selector = 0;
			continue;
		}
		if (!conforming && (s->attr >> X86_SEG_DPL_SHIFT & 3) < cpl) {
			/* In 64-bit mode FS and GS keep their base, which selectors do not rule. */
			uint64_t base = s->base;
			*s = soft_null_segment(0, 0);
			if (soft_long_mode(c))
				s->base = base;
		}
	}
}

/* The I/O permission bitmap (SDM vol. 1, 19.5.2): all bits of the ports must be clear. */
void soft_check_io(struct soft_vcpu *c, uint16_t port, unsigned size)
{
	const struct x86_segment *tr = &c->s.seg[X86_TR];
	unsigned type = tr->attr & 15;

	if (soft_unlikely(c->s.dr[7] & 0xff))
		soft_debug_io(c, port, size);
	if (!(c->s.cr0 & X86_CR0_PE) || (c->cpl <= soft_iopl(c) && !soft_vm86(c)))
		return;
	if ((type != TYPE_TSS && type != TYPE_TSS_BUSY) || tr->limit < 0x67)
		soft_raise_gp(c);
	uint32_t map = soft_load_system(c, tr->base + 0x66, 2), at = map + port / 8;
	/* Two bytes are always read: the bits may straddle them. */
	if (at + 1 > tr->limit)
		soft_raise_gp(c);
	uint64_t bits = soft_load_system(c, tr->base + at, 2) >> (port & 7);
	if (bits & ((1u << size) - 1))
		soft_raise_gp(c);
}
