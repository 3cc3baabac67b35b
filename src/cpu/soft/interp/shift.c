/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shifts and rotates, SHLD and SHRD. */
#include "cpu/soft/interp/interp.h"

#define SHIFT_FORMS(name)                                                                          \
	static void name##_imm(struct soft_vcpu *c, const struct soft_insn *i)                     \
	{                                                                                          \
		rmw(c, i, size_w(i), alu_##name, i->x.imm);                                        \
	}                                                                                          \
	static void name##_1(struct soft_vcpu *c, const struct soft_insn *i)                       \
	{                                                                                          \
		rmw(c, i, size_w(i), alu_##name, 1);                                               \
	}                                                                                          \
	static void name##_cl(struct soft_vcpu *c, const struct soft_insn *i)                      \
	{                                                                                          \
		rmw(c, i, size_w(i), alu_##name, (uint8_t)c->s.gpr[X86_RCX]);                      \
	}

SHIFT_FORMS(rol)
SHIFT_FORMS(ror)
SHIFT_FORMS(rcl)
SHIFT_FORMS(rcr)
SHIFT_FORMS(shl)
SHIFT_FORMS(shr)
SHIFT_FORMS(sar)

#define DOUBLE_CASE(T, text)                                                                       \
	{                                                                                          \
		T r_ = (T)d;                                                                       \
		__asm__(text " %%cl, %[s], %[r]" FLAGS_TAKE                                        \
			: [r] "+r"(r_), "=a"(ax)                                                   \
			: [s] "r"((T)s), "c"(count)                                                \
			: "cc");                                                                   \
		d = r_;                                                                            \
		break;                                                                             \
	}

#define ALU_DOUBLE(name, text)                                                                     \
	static inline uint64_t name(uint64_t *flags, uint64_t d, uint64_t s, uint8_t count,        \
				    unsigned size)                                                 \
	{                                                                                          \
		uint32_t ax = 0;                                                                   \
		switch (size) {                                                                    \
		case 2: DOUBLE_CASE(uint16_t, text "w")                                            \
		case 4: DOUBLE_CASE(uint32_t, text "l")                                            \
		default: DOUBLE_CASE(uint64_t, text "q")                                           \
		}                                                                                  \
		*flags = flags_pack(ax);                                                           \
		return d;                                                                          \
	}

ALU_DOUBLE(alu_shld, "shld")
ALU_DOUBLE(alu_shrd, "shrd")

static void double_shift(struct soft_vcpu *c, const struct soft_insn *i, uint64_t count, bool right)
{
	unsigned size = i->x.op_size;
	uint64_t s = reg_read(c, i, i->x.reg, size), flags = c->flags, d;
	count &= size == 8 ? 63 : 31;
	if (i->x.mod == 3) {
		d = reg_read(c, i, i->x.rm, size);
		if (count)
			d = right ? alu_shrd(&flags, d, s, count, size)
				  : alu_shld(&flags, d, s, count, size);
		reg_write(c, i, i->x.rm, size, d);
	} else {
		uint64_t linear = soft_operand(c, i, size, SOFT_WRITE);
		rmw_begin(c, linear, size); /* the write check comes first */
		d = soft_load(c, linear, size);
		if (count)
			d = right ? alu_shrd(&flags, d, s, count, size)
				  : alu_shld(&flags, d, s, count, size);
		soft_store(c, linear, d, size);
	}
	c->flags = flags;
}

static void shld_imm(struct soft_vcpu *c, const struct soft_insn *i)
{
	double_shift(c, i, i->x.imm, false);
}

static void shld_cl(struct soft_vcpu *c, const struct soft_insn *i)
{
	double_shift(c, i, c->s.gpr[X86_RCX], false);
}

static void shrd_imm(struct soft_vcpu *c, const struct soft_insn *i)
{
	double_shift(c, i, i->x.imm, true);
}

static void shrd_cl(struct soft_vcpu *c, const struct soft_insn *i)
{
	double_shift(c, i, c->s.gpr[X86_RCX], true);
}

#define SHIFT_ROWS(digit, name)                                                                    \
	OP(0xc0, digit, name##_imm), OP(0xc1, digit, name##_imm), OP(0xd0, digit, name##_1),       \
	OP(0xd1, digit, name##_1), OP(0xd2, digit, name##_cl), OP(0xd3, digit, name##_cl)

const struct soft_opcode interp_shift_ops[] = {
	SHIFT_ROWS(0, rol), SHIFT_ROWS(1, ror), SHIFT_ROWS(2, rcl), SHIFT_ROWS(3, rcr),
	SHIFT_ROWS(4, shl), SHIFT_ROWS(5, shr),
	SHIFT_ROWS(6, shl), /* SAL, an alias on real CPUs */
	SHIFT_ROWS(7, sar),
	OP0F(0xa4, -1, shld_imm), OP0F(0xa5, -1, shld_cl),
	OP0F(0xac, -1, shrd_imm), OP0F(0xad, -1, shrd_cl),
	{ 0 },
};
