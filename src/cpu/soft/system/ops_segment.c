/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Instructions on segment registers, descriptors and descriptor tables. */
#include "cpu/soft/system/ops.h"

/* A 16-bit operand: register or memory. */
static uint16_t operand16(struct soft_vcpu *c, const struct soft_insn *i)
{
	if (i->x.mod == 3)
		return c->s.gpr[i->x.rm];
	return soft_load(c, soft_operand(c, i, 2, SOFT_READ), 2);
}

/* A selector-like result: memory gets 16 bits, a register the operand size, zero-extended. */
static void store16(struct soft_vcpu *c, const struct soft_insn *i, uint64_t value)
{
	if (i->x.mod == 3)
		soft_reg_set(c, i->x.rm, value, i->x.op_size);
	else
		soft_store(c, soft_operand(c, i, 2, SOFT_WRITE), (uint16_t)value, 2);
}

static void set_zf(struct soft_vcpu *c, bool set)
{
	c->flags = (c->flags & ~(uint64_t)X86_FLAG_ZF) | (set ? X86_FLAG_ZF : 0);
}

static void require_protected(struct soft_vcpu *c)
{
	if (!soft_protected(c))
		soft_raise(c, X86_EXC_UD);
}

/* No interrupt and no trap before the instruction that loads the stack pointer. */
static void shadow_after_ss(struct soft_vcpu *c)
{
	c->interrupt_shadow = true;
	c->sys->ss_shadow = true;
}

void soft_op_mov_from_seg(struct soft_vcpu *c, const struct soft_insn *i)
{
	if ((i->x.reg & 7) > X86_GS)
		soft_raise(c, X86_EXC_UD);
	store16(c, i, c->s.seg[i->x.reg & 7].selector);
}

void soft_op_mov_to_seg(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned index = i->x.reg & 7;

	if (index == X86_CS || index > X86_GS)
		soft_raise(c, X86_EXC_UD);
	soft_load_segment(c, index, operand16(c, i));
	if (index == X86_SS)
		shadow_after_ss(c);
	c->s.rip = soft_next_rip(c, i);
}

static enum x86_seg_index push_pop_index(const struct soft_insn *i)
{
	if (i->x.map == X86_MAP_0F)
		return i->x.opcode >= 0xa8 ? X86_GS : X86_FS;
	return i->x.opcode >> 3 & 3;
}

void soft_op_push_seg(struct soft_vcpu *c, const struct soft_insn *i)
{
	struct soft_stack stack = soft_stack_current(c);

	soft_stack_push(c, &stack, c->s.seg[push_pop_index(i)].selector, i->x.op_size);
	soft_stack_commit_sp(c, &stack);
}

void soft_op_pop_seg(struct soft_vcpu *c, const struct soft_insn *i)
{
	enum x86_seg_index index = push_pop_index(i);
	struct soft_stack stack = soft_stack_current(c);
	uint16_t selector = soft_stack_pop(c, &stack, i->x.op_size);

	soft_load_segment(c, index, selector);
	soft_stack_commit_sp(c, &stack);
	if (index == X86_SS)
		shadow_after_ss(c);
	c->s.rip = soft_next_rip(c, i);
}

/* LES, LDS, LSS, LFS, LGS: offset, then selector. */
void soft_op_load_far(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	enum x86_seg_index index = i->x.map == X86_MAP_1 ?
		(i->x.opcode == 0xc4 ? X86_ES : X86_DS) :
		(i->x.opcode == 0xb2 ? X86_SS : i->x.opcode == 0xb4 ? X86_FS : X86_GS);
	uint64_t linear = soft_operand(c, i, size + 2, SOFT_READ);
	uint64_t offset = soft_load(c, linear, size);
	uint16_t selector = soft_load(c, linear + size, 2);

	soft_load_segment(c, index, selector);
	soft_reg_set(c, i->x.reg, offset, size);
	c->s.rip = soft_next_rip(c, i);
}

void soft_op_arpl(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t linear = 0;
	uint16_t destination;

	require_protected(c);
	if (i->x.mod == 3) {
		destination = c->s.gpr[i->x.rm];
	} else {
		linear = soft_operand(c, i, 2, SOFT_READ);
		destination = soft_load(c, linear, 2);
	}
	unsigned rpl = c->s.gpr[i->x.reg] & SELECTOR_RPL;
	bool raise = (destination & SELECTOR_RPL) < rpl;
	if (raise) {
		destination = (destination & ~SELECTOR_RPL) | rpl;
		if (i->x.mod == 3)
			soft_reg_set(c, i->x.rm, destination, 2);
		else /* only now is it a write */
			soft_store(c, soft_operand(c, i, 2, SOFT_WRITE), destination, 2);
	}
	set_zf(c, raise);
}

/* --- LAR, LSL, VERR, VERW --------------------------------------------------------------------- */

/* May the program know of this descriptor? (SDM vol. 2, LAR) */
static bool visible(struct soft_vcpu *c, uint16_t selector, struct soft_descriptor *d)
{
	if (!(selector & SELECTOR_MASK) || !soft_descriptor_try(c, selector, d))
		return false;
	bool conforming = descriptor_is_segment(d) && descriptor_is_code(d) &&
			  descriptor_type(d) & 4;
	unsigned rpl = selector & SELECTOR_RPL;
	return conforming || (descriptor_dpl(d) >= c->cpl && descriptor_dpl(d) >= rpl);
}

void soft_op_lar_lsl(struct soft_vcpu *c, const struct soft_insn *i)
{
	/* Bit per system type that the instruction knows. */
	bool lsl = i->x.opcode == 3;
	uint32_t types = soft_long_mode(c) ? (lsl ? 0x0a04 : 0x1a04) : (lsl ? 0x0a0e : 0x1a3e);
	struct soft_descriptor d;

	require_protected(c);
	uint16_t selector = operand16(c, i);
	bool ok = visible(c, selector, &d) &&
		  (descriptor_is_segment(&d) || types >> descriptor_type(&d) & 1);
	if (ok && lsl)
		soft_reg_set(c, i->x.reg, soft_descriptor_segment(selector, &d).limit,
			     i->x.op_size);
	else if (ok)
		soft_reg_set(c, i->x.reg, d.raw >> 32 & 0x00f0ff00, i->x.op_size);
	set_zf(c, ok);
}

static void verify(struct soft_vcpu *c, const struct soft_insn *i, bool write)
{
	struct soft_descriptor d;
	bool ok = visible(c, operand16(c, i), &d) && descriptor_is_segment(&d);

	if (ok) {
		bool code = descriptor_is_code(&d), bit1 = descriptor_type(&d) & 2;
		ok = write ? !code && bit1 : !code || bit1;
	}
	set_zf(c, ok);
}

/* --- 0F 00: SLDT STR LLDT LTR VERR VERW ------------------------------------------------------- */

static void check_umip(struct soft_vcpu *c)
{
	if (c->s.cr4 & X86_CR4_UMIP && c->cpl > 0)
		soft_raise_gp(c);
}

static void lldt(struct soft_vcpu *c, uint16_t selector)
{
	struct soft_descriptor d;
	uint32_t error = selector & SELECTOR_MASK;

	if (!error) {
		c->s.seg[X86_LDTR] = soft_null_segment(selector, 0);
		return;
	}
	if (selector & SELECTOR_TI)
		soft_raise_error(c, X86_EXC_GP, error);
	soft_descriptor_read(c, selector, X86_EXC_GP, &d);
	if (descriptor_is_segment(&d) || descriptor_type(&d) != TYPE_LDT)
		soft_raise_error(c, X86_EXC_GP, error);
	if (!descriptor_present(&d))
		soft_raise_error(c, X86_EXC_NP, error);
	if (soft_long_mode(c))
		soft_descriptor_read_high(c, selector, X86_EXC_GP, &d);
	c->s.seg[X86_LDTR] = soft_descriptor_segment(selector, &d);
}

static void ltr(struct soft_vcpu *c, uint16_t selector)
{
	struct soft_descriptor d;
	uint32_t error = selector & SELECTOR_MASK;

	if (!error || selector & SELECTOR_TI)
		soft_raise_error(c, X86_EXC_GP, error);
	soft_descriptor_read(c, selector, X86_EXC_GP, &d);
	unsigned type = descriptor_type(&d);
	if (descriptor_is_segment(&d) ||
	    (type != TYPE_TSS && (type != TYPE_TSS16 || soft_long_mode(c))))
		soft_raise_error(c, X86_EXC_GP, error);
	if (!descriptor_present(&d))
		soft_raise_error(c, X86_EXC_NP, error);
	if (soft_long_mode(c))
		soft_descriptor_read_high(c, selector, X86_EXC_GP, &d);
	soft_descriptor_set_busy(c, &d, true);
	c->s.seg[X86_TR] = soft_descriptor_segment(selector, &d);
}

void soft_op_group6(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned digit = i->x.reg & 7;

	require_protected(c);
	switch (digit) {
	case 0:
	case 1:
		check_umip(c);
		store16(c, i, c->s.seg[digit ? X86_TR : X86_LDTR].selector);
		break;
	case 2:
	case 3:
		soft_require_cpl0(c);
		if (digit == 2)
			lldt(c, operand16(c, i));
		else
			ltr(c, operand16(c, i));
		break;
	case 4:
	case 5:
		verify(c, i, digit == 5);
		break;
	default:
		soft_raise(c, X86_EXC_UD);
	}
}

/* --- SGDT SIDT LGDT LIDT ---------------------------------------------------------------------- */

void soft_op_store_table(struct soft_vcpu *c, const struct soft_insn *i)
{
	const struct x86_table *t = i->x.reg & 1 ? &c->s.idtr : &c->s.gdtr;
	unsigned base_size = c->long64 ? 8 : 4;

	check_umip(c);
	uint64_t linear = soft_operand(c, i, 2 + base_size, SOFT_WRITE);
	uint8_t image[10];
	le16_store(image, t->limit);
	le_store(image + 2, t->base & size_mask(base_size), base_size);
	soft_store_bytes(c, linear, image, 2 + base_size);
}

void soft_op_load_table(struct soft_vcpu *c, const struct soft_insn *i)
{
	struct x86_table *t = i->x.reg & 1 ? &c->s.idtr : &c->s.gdtr;
	unsigned base_size = c->long64 ? 8 : 4;

	soft_require_cpl0(c);
	uint64_t linear = soft_operand(c, i, 2 + base_size, SOFT_READ);
	uint16_t limit = soft_load(c, linear, 2);
	uint64_t base = soft_load(c, linear + 2, base_size);
	if (c->long64 && !soft_canonical(base))
		soft_raise_gp(c);
	/* A 16-bit operand size has a 24-bit base, from the days of the 286. */
	if (!c->long64 && i->x.op_size == 2)
		base &= 0xffffff;
	t->limit = limit;
	t->base = base;
}
