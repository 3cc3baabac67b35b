/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MUL, IMUL, DIV, IDIV. */
#include "cpu/soft/interp/interp.h"

#define WIDE_CASE(T, text, a, d)                                                                   \
	{                                                                                          \
		T lo_ = (T)*(a), hi_ = 0;                                                          \
		uint8_t of_;                                                                       \
		__asm__(text " %[s]\n\tseto %[of]\n\tmovq %%rax, %[save]\n\tlahf\n\t"              \
			"movzbl %%ah, %[f]\n\tmovq %[save], %%rax"                                 \
			: "+a"(lo_), "=&d"(hi_), [of] "=&r"(of_), [f] "=&Q"(ah),                   \
			  [save] "=&r"(save)                                                       \
			: [s] "r"((T)s)                                                            \
			: "cc");                                                                   \
		*(a) = lo_;                                                                        \
		*(d) = hi_;                                                                        \
		of = of_;                                                                          \
		break;                                                                             \
	}

/* One-operand multiplication of *a by s; *d gets the high half. Flags as the host leaves them. */
#define WIDE_MUL(name, text)                                                                       \
	static void name(uint64_t *flags, uint64_t *a, uint64_t *d, uint64_t s, unsigned size)     \
	{                                                                                          \
		uint64_t save;                                                                     \
		uint32_t ah = 0;                                                                   \
		uint8_t of = 0;                                                                    \
		switch (size) {                                                                    \
		case 2: WIDE_CASE(uint16_t, text "w", a, d)                                        \
		case 4: WIDE_CASE(uint32_t, text "l", a, d)                                        \
		default: WIDE_CASE(uint64_t, text "q", a, d)                                       \
		}                                                                                  \
		*flags = (ah & 0xd5) | (uint64_t)of << 11;                                         \
	}

WIDE_MUL(wide_mul, "mul")
WIDE_MUL(wide_imul, "imul")

/* Byte forms: AX = AL * s. */
#define BYTE_MUL(name, text)                                                                       \
	static uint16_t name(uint64_t *flags, uint8_t al, uint8_t s)                               \
	{                                                                                          \
		uint16_t ax = al;                                                                  \
		uint32_t out, f;                                                                   \
		uint8_t of;                                                                        \
		__asm__(text " %[s]\n\tseto %[of]\n\tmovzwl %%ax, %[out]\n\tlahf\n\t"              \
			"movzbl %%ah, %[f]"                                                        \
			: "+a"(ax), [of] "=&r"(of), [out] "=&r"(out), [f] "=&Q"(f)                 \
			: [s] "r"(s)                                                               \
			: "cc");                                                                   \
		*flags = (f & 0xd5) | (uint64_t)of << 11;                                          \
		return (uint16_t)out;                                                              \
	}

BYTE_MUL(byte_mul, "mulb")
BYTE_MUL(byte_imul, "imulb")

static void mul_any(struct soft_vcpu *c, const struct soft_insn *i, bool sign)
{
	unsigned size = size_w(i);
	uint64_t s = rm_read(c, i, size), a = c->s.gpr[X86_RAX], d = 0;
	if (size == 1) {
		uint16_t ax = sign ? byte_imul(&c->flags, a, s) : byte_mul(&c->flags, a, s);
		gpr_write(c, X86_RAX, 2, ax);
		return;
	}
	if (sign)
		wide_imul(&c->flags, &a, &d, s, size);
	else
		wide_mul(&c->flags, &a, &d, s, size);
	gpr_write(c, X86_RAX, size, a);
	gpr_write(c, X86_RDX, size, d);
}

static void mul(struct soft_vcpu *c, const struct soft_insn *i)
{
	mul_any(c, i, false);
}

static void imul(struct soft_vcpu *c, const struct soft_insn *i)
{
	mul_any(c, i, true);
}

static void imul_r_rm(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	uint64_t s = rm_read(c, i, size);
	gpr_write(c, i->x.reg, size, alu_imul(&c->flags, c->s.gpr[i->x.reg], s, size));
}

static void imul_r_rm_imm(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	uint64_t s = rm_read(c, i, size);
	gpr_write(c, i->x.reg, size, alu_imul(&c->flags, s, i->x.imm, size));
}

/* #DE if the quotient does not fit; flags are undefined and stay. */
static void div_unsigned(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = size_w(i);
	uint64_t s = rm_read(c, i, size), a = c->s.gpr[X86_RAX], d = c->s.gpr[X86_RDX];
	if (size == 1) {
		uint16_t n = (uint16_t)a;
		if (s <= n >> 8)
			soft_raise(c, X86_EXC_DE);
		gpr_write(c, X86_RAX, 2, (n / s) | (n % s) << 8);
		return;
	}
	a &= size_mask(size);
	d &= size_mask(size);
	/* The quotient fits exactly if the high half is less than the divisor; covers zero too. */
	if (s <= d)
		soft_raise(c, X86_EXC_DE);
	if (size == 8) {
		__asm__("divq %[s]" : "+a"(a), "+d"(d) : [s] "r"(s) : "cc");
	} else {
		uint64_t n = d << (size * 8) | a;
		a = n / s;
		d = n % s;
	}
	gpr_write(c, X86_RAX, size, a);
	gpr_write(c, X86_RDX, size, d);
}

static void div_signed(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = size_w(i);
	int64_t s = sign_extend(rm_read(c, i, size), size);
	unsigned __int128 bits;
	if (size == 1)
		bits = c->s.gpr[X86_RAX] & 0xffff;
	else
		bits = (unsigned __int128)(c->s.gpr[X86_RDX] & size_mask(size)) << (size * 8) |
		       (c->s.gpr[X86_RAX] & size_mask(size));
	unsigned shift = 128 - size * 16;
	__int128 n = (__int128)(bits << shift) >> shift;
	if (s == 0)
		soft_raise(c, X86_EXC_DE);
	/* The most negative dividend by -1 overflows even __int128 (for size 8). */
	__int128 lowest = (__int128)((unsigned __int128)1 << 127);
	if (s == -1 && n == lowest)
		soft_raise(c, X86_EXC_DE);
	__int128 q = n / s;
	if (q != sign_extend((uint64_t)q, size))
		soft_raise(c, X86_EXC_DE);
	uint64_t r = (uint64_t)(n % s);
	if (size == 1) {
		gpr_write(c, X86_RAX, 2, (uint8_t)q | (r & 0xff) << 8);
		return;
	}
	gpr_write(c, X86_RAX, size, (uint64_t)q);
	gpr_write(c, X86_RDX, size, r);
}

const struct soft_opcode interp_muldiv_ops[] = {
	OP(0xf6, 4, mul), OP(0xf7, 4, mul), OP(0xf6, 5, imul), OP(0xf7, 5, imul),
	OP(0xf6, 6, div_unsigned), OP(0xf7, 6, div_unsigned), OP(0xf6, 7, div_signed),
	OP(0xf7, 7, div_signed), OP0F(0xaf, -1, imul_r_rm), OP(0x69, -1, imul_r_rm_imm),
	OP(0x6b, -1, imul_r_rm_imm),
	{ 0 },
};
