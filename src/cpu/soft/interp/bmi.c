/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * BMI1 and BMI2: VEX-encoded integer instructions. VEX.L must be 0, the pp bits choose the
 * instruction. Absent from the guest's CPUID they are #UD.
 */
#include "cpu/soft/interp/interp.h"

enum { FEATURE_BMI1 = 1u << 3, FEATURE_BMI2 = 1u << 8 };

static void require(struct soft_vcpu *c, const struct soft_insn *i, uint32_t feature)
{
	if ((i->x.prefixes & X86_PREFIX_VEXL) || !(i->x.prefixes & X86_PREFIX_VEX) ||
	    !soft_has_feature(c, CPU_WORD_7_0_EBX, feature))
		soft_raise(c, X86_EXC_UD);
}

/* VEX.pp as the prefix it stands for: 0, OPSIZE, REP or REPNE. */
static uint16_t vex_pp(const struct soft_insn *i)
{
	return i->x.prefixes & (X86_PREFIX_OPSIZE | X86_PREFIX_REP | X86_PREFIX_REPNE);
}

#define HOST3(name, text)                                                                          \
	static uint64_t name(uint64_t *flags, uint64_t a, uint64_t b, unsigned size)               \
	{                                                                                          \
		uint32_t ax, r4;                                                                   \
		uint64_t r8;                                                                       \
		if (size == 4) {                                                                   \
			__asm__(text " %[b], %[a], %[r]" FLAGS_TAKE                                \
				: [r] "=&r"(r4), "=&a"(ax)                                         \
				: [a] "r"((uint32_t)a), [b] "r"((uint32_t)b)                       \
				: "cc");                                                           \
			r8 = r4;                                                                   \
		} else {                                                                           \
			__asm__(text " %[b], %[a], %[r]" FLAGS_TAKE                                \
				: [r] "=&r"(r8), "=&a"(ax)                                         \
				: [a] "r"(a), [b] "r"(b)                                           \
				: "cc");                                                           \
		}                                                                                  \
		*flags = flags_pack(ax);                                                           \
		return r8;                                                                         \
	}

#define HOST2(name, text)                                                                          \
	static uint64_t name(uint64_t *flags, uint64_t a, uint64_t unused, unsigned size)          \
	{                                                                                          \
		uint32_t ax, r4;                                                                   \
		uint64_t r8;                                                                       \
		if (size == 4) {                                                                   \
			__asm__(text " %[a], %[r]" FLAGS_TAKE                                      \
				: [r] "=&r"(r4), "=&a"(ax)                                         \
				: [a] "r"((uint32_t)a)                                             \
				: "cc");                                                           \
			r8 = r4;                                                                   \
		} else {                                                                           \
			__asm__(text " %[a], %[r]" FLAGS_TAKE                                      \
				: [r] "=&r"(r8), "=&a"(ax)                                         \
				: [a] "r"(a)                                                       \
				: "cc");                                                           \
		}                                                                                  \
		*flags = flags_pack(ax);                                                           \
		return r8;                                                                         \
	}

HOST3(host_andn, "andn")
HOST3(host_bextr, "bextr")
HOST3(host_bzhi, "bzhi")
HOST3(host_pdep, "pdep")
HOST3(host_pext, "pext")
HOST2(host_blsr, "blsr")
HOST2(host_blsmsk, "blsmsk")
HOST2(host_blsi, "blsi")

static void andn(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	require(c, i, FEATURE_BMI1);
	if (vex_pp(i))
		soft_raise(c, X86_EXC_UD);
	uint64_t s = rm_read(c, i, size), v = c->s.gpr[i->x.vvvv];
	gpr_write(c, i->x.reg, size, host_andn(&c->flags, v, s, size));
}

static void bls(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	require(c, i, FEATURE_BMI1);
	if (vex_pp(i))
		soft_raise(c, X86_EXC_UD);
	uint64_t s = rm_read(c, i, size), r;
	switch (i->x.reg & 7) {
	case 1: r = host_blsr(&c->flags, s, 0, size); break;
	case 2: r = host_blsmsk(&c->flags, s, 0, size); break;
	default: r = host_blsi(&c->flags, s, 0, size); break;
	}
	gpr_write(c, i->x.vvvv, size, r);
}

/* F7: BEXTR, SHLX (66), SARX (F3), SHRX (F2). */
static void bextr_shiftx(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	uint16_t pp = vex_pp(i);
	require(c, i, pp ? FEATURE_BMI2 : FEATURE_BMI1);
	uint64_t s = rm_read(c, i, size), v = c->s.gpr[i->x.vvvv], r;
	unsigned count = v & (size * 8 - 1);
	if (pp == X86_PREFIX_OPSIZE)
		r = s << count;
	else if (pp == X86_PREFIX_REP)
		r = (uint64_t)(sign_extend(s, size) >> count);
	else if (pp == X86_PREFIX_REPNE)
		r = s >> count;
	else
		r = host_bextr(&c->flags, s, v, size);
	gpr_write(c, i->x.reg, size, r);
}

/* F5: BZHI, PEXT (F3), PDEP (F2). */
static void bzhi_pext_pdep(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	uint16_t pp = vex_pp(i);
	require(c, i, FEATURE_BMI2);
	if (pp == X86_PREFIX_OPSIZE)
		soft_raise(c, X86_EXC_UD);
	uint64_t s = rm_read(c, i, size), v = c->s.gpr[i->x.vvvv], unused = 0, r;
	if (pp == X86_PREFIX_REP)
		r = host_pext(&unused, v, s, size);
	else if (pp == X86_PREFIX_REPNE)
		r = host_pdep(&unused, v, s, size);
	else
		r = host_bzhi(&c->flags, s, v, size);
	gpr_write(c, i->x.reg, size, r);
}

static void mulx(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	require(c, i, FEATURE_BMI2);
	if (vex_pp(i) != X86_PREFIX_REPNE)
		soft_raise(c, X86_EXC_UD);
	unsigned __int128 p = (unsigned __int128)rm_read(c, i, size) *
			      reg_read(c, i, X86_RDX, size);
	gpr_write(c, i->x.vvvv, size, (uint64_t)p);
	/* The high half wins if both destinations are one register. */
	gpr_write(c, i->x.reg, size, (uint64_t)(p >> (size * 8)));
}

static void rorx(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size, bits = size * 8, count = i->x.imm & (bits - 1);
	require(c, i, FEATURE_BMI2);
	if (vex_pp(i) != X86_PREFIX_REPNE || i->x.vvvv)
		soft_raise(c, X86_EXC_UD);
	uint64_t s = rm_read(c, i, size);
	gpr_write(c, i->x.reg, size, count ? s >> count | s << (bits - count) : s);
}

#define OP38(op, digit, function)                                                                  \
	{ .map = X86_MAP_0F38, .opcode = (op), .reg = (digit), .fn = (function),                   \
	  .prefix = X86_PREFIX_VEX }

const struct soft_opcode interp_bmi_ops[] = {
	OP38(0xf2, -1, andn), OP38(0xf3, 1, bls), OP38(0xf3, 2, bls), OP38(0xf3, 3, bls),
	OP38(0xf5, -1, bzhi_pext_pdep), OP38(0xf6, -1, mulx), OP38(0xf7, -1, bextr_shiftx),
	{ .map = X86_MAP_0F3A, .opcode = 0xf0, .reg = -1, .fn = rorx },
	{ 0 },
};
