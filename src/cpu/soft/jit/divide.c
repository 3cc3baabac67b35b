/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DIV and IDIV: the host's own, once it is certain that it does not fault. What is not certain is the
 * interpreter's: #DE, and signed dividends that need both halves.
 */
#include "cpu/soft/jit/emit.h"

enum { CC_BE = 6, CC_AE = 3, CC_NE = 5 };

static uint32_t size_bits(unsigned size)
{
	return size == 8 ? JIT_W64 : size == 2 ? JIT_OPSIZE : 0;
}

/* S0 = the divisor, extended to 64 bits. */
static bool load_divisor(struct jit_emit *e, const struct x86_insn *x, unsigned size, bool sign)
{
	static const uint32_t extend[2][4] = {
		{ 0x0fb6, 0x0fb7, 0x8b, 0x8b | JIT_W64 },
		{ 0x0fbe | JIT_W64, 0x0fbf | JIT_W64, 0x63 | JIT_W64, 0x8b | JIT_W64 },
	};
	uint32_t op = extend[sign][__builtin_ctz(size)];
	struct jit_mem m;
	if (x->mod == 3) {
		if (size == 1)
			op |= JIT_BYTE_REGS;
		jit_op_rr(e, op, JIT_S0, jit_get(e, x->rm, JIT_S0));
		return true;
	}
	if (!jit_mem(e, x, size, SOFT_READ, &m))
		return false;
	jit_op_rm(e, op, JIT_S0, m.at);
	return true;
}

/* The quotient fits if the dividend's upper half is less than the divisor; so does no zero. */
static void check_unsigned(struct jit_emit *e, unsigned size)
{
	if (size == 1) {
		/* AX >> 8 */
		jit_op_rr(e, 0x0fb7, JIT_S1, X86_RAX);
		jit_op_rr(e, 0xc1, 5, JIT_S1);
		jit_byte(e, 8);
		jit_op_rr(e, 0x3b, JIT_S1, JIT_S0);
	} else {
		jit_op_rr(e, 0x3b | size_bits(size), X86_RDX, JIT_S0);
	}
	jit_slow_jump(e, CC_AE);
}

/* A dividend that is its lower half extended, and a divisor that is neither 0 nor -1. */
static void check_signed(struct jit_emit *e, unsigned size)
{
	jit_lea(e, JIT_S1, (struct jit_at){ JIT_S0, JIT_NONE, 0, 1 });
	jit_op_rr(e, 0x83 | JIT_W64, 7, JIT_S1);
	jit_byte(e, 1);
	jit_slow_jump(e, CC_BE);
	if (size == 1) {
		jit_op_rr(e, 0x0fbe, JIT_S1, X86_RAX);
		jit_op_rr(e, 0x3b | JIT_OPSIZE, JIT_S1, X86_RAX);
	} else {
		jit_mov(e, JIT_S1, X86_RAX);
		jit_op_rr(e, 0xc1 | size_bits(size), 7, JIT_S1); /* sar */
		jit_byte(e, size * 8 - 1);
		jit_op_rr(e, 0x3b | size_bits(size), JIT_S1, X86_RDX);
	}
	jit_slow_jump(e, CC_NE);
}

static bool emit_divide(struct jit_emit *e, const struct x86_insn *x)
{
	unsigned size = x->opcode & 1 ? x->op_size : 1;
	bool sign = (x->reg & 7) == 7;
	bool high = size == 1 && x->mod == 3 && (x->rm & ~3u) == 4 &&
		    !(x->prefixes & X86_PREFIX_REX);
	if (x->prefixes & X86_PREFIX_LOCK || high)
		return false;
	/* Flags come out undefined: as the interpreter has it, they stay. */
	jit_flags_clobber(e);
	if (!load_divisor(e, x, size, sign))
		return false;
	if (sign)
		check_signed(e, size);
	else
		check_unsigned(e, size);
	jit_op_rr(e, size == 1 ? 0xf6 | JIT_BYTE_REGS : 0xf7 | size_bits(size), x->reg & 7, JIT_S0);
	return true;
}

#define DIVIDE(op, digit_) { .map = X86_MAP_1, .first = op, .last = op, .digit = digit_,           \
			     .emit = emit_divide, .no_flags = true }

const struct jit_op jit_divide_ops[] = {
	DIVIDE(0xf6, 6), DIVIDE(0xf7, 6), DIVIDE(0xf6, 7), DIVIDE(0xf7, 7),
	{ 0 },
};
