/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Decimal adjustment: DAA, DAS, AAA, AAS, AAM, AAD. Not in 64-bit mode. */
#include "cpu/soft/interp/interp.h"

/* SF, ZF and PF of an 8-bit result. */
static uint64_t result_flags(uint8_t v)
{
	uint64_t flags = 0;
	alu_and(&flags, v, v, 1);
	return flags & (X86_FLAG_SF | X86_FLAG_ZF | X86_FLAG_PF);
}

static void adjust_decimal(struct soft_vcpu *c, bool subtract)
{
	uint8_t al = (uint8_t)c->s.gpr[X86_RAX], r = al;
	uint64_t old = c->flags, flags = 0;
	if ((al & 0xf) > 9 || (old & X86_FLAG_AF)) {
		r = subtract ? r - 6 : r + 6;
		flags |= X86_FLAG_AF;
		/* DAS borrows from the low digit too; DAA's carry is covered by what follows. */
		if (subtract && al < 6)
			flags |= X86_FLAG_CF;
	}
	if (al > 0x99 || (old & X86_FLAG_CF)) {
		r = subtract ? r - 0x60 : r + 0x60;
		flags |= X86_FLAG_CF;
	}
	c->flags = flags | result_flags(r);
	gpr_write(c, X86_RAX, 1, r);
}

static void daa(struct soft_vcpu *c, const struct soft_insn *i)
{
	adjust_decimal(c, false);
}

static void das(struct soft_vcpu *c, const struct soft_insn *i)
{
	adjust_decimal(c, true);
}

static void adjust_ascii(struct soft_vcpu *c, bool subtract)
{
	uint16_t ax = (uint16_t)c->s.gpr[X86_RAX];
	uint64_t flags = 0;
	if ((ax & 0xf) > 9 || (c->flags & X86_FLAG_AF)) {
		ax = subtract ? ax - 0x106 : ax + 0x106;
		flags = X86_FLAG_AF | X86_FLAG_CF;
	}
	ax &= 0xff0f;
	c->flags = flags | result_flags((uint8_t)ax);
	gpr_write(c, X86_RAX, 2, ax);
}

static void aaa(struct soft_vcpu *c, const struct soft_insn *i)
{
	adjust_ascii(c, false);
}

static void aas(struct soft_vcpu *c, const struct soft_insn *i)
{
	adjust_ascii(c, true);
}

static void aam(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint8_t al = (uint8_t)c->s.gpr[X86_RAX], base = (uint8_t)i->x.imm;
	if (base == 0)
		soft_raise(c, X86_EXC_DE);
	gpr_write(c, X86_RAX, 2, (al / base) << 8 | al % base);
	c->flags = result_flags(al % base);
}

static void aad(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint16_t ax = (uint16_t)c->s.gpr[X86_RAX];
	uint8_t r = (uint8_t)((ax & 0xff) + (ax >> 8) * i->x.imm);
	gpr_write(c, X86_RAX, 2, r);
	c->flags = result_flags(r);
}

const struct soft_opcode interp_bcd_ops[] = {
	OP(0x27, -1, daa), OP(0x2f, -1, das), OP(0x37, -1, aaa), OP(0x3f, -1, aas),
	OP(0xd4, -1, aam), OP(0xd5, -1, aad),
	{ 0 },
};
