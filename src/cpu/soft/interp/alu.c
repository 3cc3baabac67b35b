/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The eight arithmetic-logic operations in all their forms, TEST, INC, DEC, NEG and NOT. */
#include "cpu/soft/interp/interp.h"

/* `writes` is false for CMP, whose memory operand is only read. */
#define ALU_FORMS(name, writes)                                                                    \
	static void name##_rm_r(struct soft_vcpu *c, const struct soft_insn *i)                    \
	{                                                                                          \
		unsigned size = size_w(i);                                                         \
		if (writes)                                                                        \
			rmw(c, i, size, alu_##name, reg_read(c, i, i->x.reg, size));               \
		else                                                                               \
			alu_##name(&c->flags, rm_read(c, i, size),                                 \
				   reg_read(c, i, i->x.reg, size), size);                          \
	}                                                                                          \
	static void name##_r_rm(struct soft_vcpu *c, const struct soft_insn *i)                    \
	{                                                                                          \
		unsigned size = size_w(i);                                                         \
		uint64_t s = rm_read(c, i, size);                                                  \
		uint64_t r = alu_##name(&c->flags, reg_read(c, i, i->x.reg, size), s, size);       \
		if (writes)                                                                        \
			reg_write(c, i, i->x.reg, size, r);                                        \
	}                                                                                          \
	static void name##_a_imm(struct soft_vcpu *c, const struct soft_insn *i)                   \
	{                                                                                          \
		unsigned size = size_w(i);                                                         \
		uint64_t r = alu_##name(&c->flags, c->s.gpr[X86_RAX], i->x.imm, size);             \
		if (writes)                                                                        \
			gpr_write(c, X86_RAX, size, r);                                            \
	}                                                                                          \
	static void name##_rm_imm(struct soft_vcpu *c, const struct soft_insn *i)                  \
	{                                                                                          \
		unsigned size = size_w(i);                                                         \
		if (writes)                                                                        \
			rmw(c, i, size, alu_##name, i->x.imm);                                     \
		else                                                                               \
			alu_##name(&c->flags, rm_read(c, i, size), i->x.imm, size);                \
	}

ALU_FORMS(add, true)
ALU_FORMS(or, true)
ALU_FORMS(adc, true)
ALU_FORMS(sbb, true)
ALU_FORMS(and, true)
ALU_FORMS(sub, true)
ALU_FORMS(xor, true)
ALU_FORMS(cmp, false)

static void test_rm_r(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = size_w(i);
	alu_and(&c->flags, rm_read(c, i, size), reg_read(c, i, i->x.reg, size), size);
}

static void test_a_imm(struct soft_vcpu *c, const struct soft_insn *i)
{
	alu_and(&c->flags, c->s.gpr[X86_RAX], i->x.imm, size_w(i));
}

static void test_rm_imm(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = size_w(i);
	alu_and(&c->flags, rm_read(c, i, size), i->x.imm, size);
}

#define ALU_UNARY_FORM(name)                                                                       \
	static void name##_rm(struct soft_vcpu *c, const struct soft_insn *i)                      \
	{                                                                                          \
		rmw(c, i, size_w(i), alu_##name, 0);                                               \
	}

ALU_UNARY_FORM(inc)
ALU_UNARY_FORM(dec)
ALU_UNARY_FORM(neg)
ALU_UNARY_FORM(not)

static void inc_r(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned n = i->x.rm, size = i->x.op_size;
	gpr_write(c, n, size, alu_inc(&c->flags, c->s.gpr[n], 0, size));
}

static void dec_r(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned n = i->x.rm, size = i->x.op_size;
	gpr_write(c, n, size, alu_dec(&c->flags, c->s.gpr[n], 0, size));
}

#define ALU_ROWS(n, name)                                                                          \
	OP((n) * 8 + 0, -1, name##_rm_r), OP((n) * 8 + 1, -1, name##_rm_r),                        \
	OP((n) * 8 + 2, -1, name##_r_rm), OP((n) * 8 + 3, -1, name##_r_rm),                        \
	OP((n) * 8 + 4, -1, name##_a_imm), OP((n) * 8 + 5, -1, name##_a_imm),                      \
	OP(0x80, n, name##_rm_imm), OP(0x81, n, name##_rm_imm), OP(0x82, n, name##_rm_imm),        \
	OP(0x83, n, name##_rm_imm)

#define REG_ROWS(op, name)                                                                         \
	OP((op) + 0, -1, name), OP((op) + 1, -1, name), OP((op) + 2, -1, name),                    \
	OP((op) + 3, -1, name), OP((op) + 4, -1, name), OP((op) + 5, -1, name),                    \
	OP((op) + 6, -1, name), OP((op) + 7, -1, name)

const struct soft_opcode interp_alu_ops[] = {
	ALU_ROWS(0, add), ALU_ROWS(1, or), ALU_ROWS(2, adc), ALU_ROWS(3, sbb),
	ALU_ROWS(4, and), ALU_ROWS(5, sub), ALU_ROWS(6, xor), ALU_ROWS(7, cmp),
	OP(0x84, -1, test_rm_r), OP(0x85, -1, test_rm_r),
	OP(0xa8, -1, test_a_imm), OP(0xa9, -1, test_a_imm),
	OP(0xf6, 0, test_rm_imm), OP(0xf7, 0, test_rm_imm),
	OP(0xf6, 1, test_rm_imm), OP(0xf7, 1, test_rm_imm), /* an alias on real CPUs */
	OP(0xf6, 2, not_rm), OP(0xf7, 2, not_rm), OP(0xf6, 3, neg_rm), OP(0xf7, 3, neg_rm),
	OP(0xfe, 0, inc_rm), OP(0xff, 0, inc_rm), OP(0xfe, 1, dec_rm), OP(0xff, 1, dec_rm),
	REG_ROWS(0x40, inc_r), REG_ROWS(0x48, dec_r),
	{ 0 },
};
