/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which general registers an instruction may change, whoever executes it. */
#include "cpu/soft/jit/emit.h"

enum { RAX = 1 << X86_RAX, RCX = 1 << X86_RCX, RDX = 1 << X86_RDX, RSI = 1 << X86_RSI,
       RDI = 1 << X86_RDI, RBP = 1 << X86_RBP, ALL = 0xffff };

/* AH to BH belong to RAX to RBX. */
static unsigned register_bit(const struct x86_insn *x, unsigned n, unsigned size)
{
	bool high = size == 1 && (n & ~3u) == 4 && !(x->prefixes & X86_PREFIX_REX);
	return 1u << (high ? n - 4 : n);
}

static unsigned rm_bit(const struct x86_insn *x, unsigned size)
{
	return x->mod == 3 ? register_bit(x, x->rm, size) : 0;
}

/* The operands that the table tells, and the accumulator of those that have one besides. */
static unsigned by_roles(const struct jit_op *op, const struct x86_insn *x)
{
	unsigned mask = 0, code = x->opcode;
	if (op->reg == JIT_W || op->reg == JIT_RW)
		mask |= register_bit(x, x->reg, jit_size_of(x, op->reg_size));
	if (op->rm == JIT_W || op->rm == JIT_RW)
		mask |= rm_bit(x, jit_size_of(x, op->rm_size));
	if (x->map == X86_MAP_1 && (code & 0xfe) == 0xf6 && (x->reg & 7) >= 4) /* MUL, IMUL */
		mask |= RAX | RDX;
	if (x->map == X86_MAP_0F && (code & 0xfe) == 0xb0) /* CMPXCHG */
		mask |= RAX;
	return mask;
}

/* The stack pointer is not told: frame.c follows it. */
static unsigned one_byte(const struct x86_insn *x)
{
	unsigned op = x->opcode;
	if (op < 0x40) /* OP rAX, imm; CMP only looks */
		return (op & 0x38) == 0x38 ? 0 : RAX;
	switch (op & 0xf8) {
	case 0x50: case 0x70: case 0x78: return 0;
	case 0x58: return 1u << x->rm;
	case 0x90: return op == 0x90 && x->rm == X86_RAX ? 0 : RAX | 1u << x->rm;
	case 0xb0: return register_bit(x, x->rm, 1);
	case 0xb8: return 1u << x->rm;
	/* FNSTSW AX; the rest stores into memory only. */
	case 0xd8: return op == 0xdf && x->mod == 3 ? RAX : 0;
	}
	switch (op) {
	case 0x68: case 0x6a: case 0x9c: case 0x9e: case 0xa2: case 0xa3: case 0xa8: case 0xa9:
	case 0xc2: case 0xc3: case 0xe8: case 0xe9: case 0xeb: case 0xf5: case 0xf8: case 0xf9:
	case 0xfc: case 0xfd: return 0;
	case 0x8d: return 1u << x->reg;
	case 0x98: case 0x9f: case 0xa0: case 0xa1: case 0xd7: return RAX;
	case 0x99: return RDX;
	case 0xa4: case 0xa5: case 0xa6: case 0xa7: case 0xaa: case 0xab: case 0xac: case 0xad:
	case 0xae: case 0xaf: return RAX | RCX | RSI | RDI;
	case 0xc9: return RBP;
	case 0xe0: case 0xe1: case 0xe2: case 0xe3: return RCX;
	case 0xf6: case 0xf7: return RAX | RDX; /* DIV, IDIV */
	case 0xff: return 0;                    /* CALL, JMP, PUSH: INC and DEC have roles */
	}
	return ALL;
}

static unsigned two_byte(const struct x86_insn *x)
{
	unsigned op = x->opcode;
	switch (op & 0xf0) {
	case 0x80: return 0;
	case 0x10: return 0;
	case 0x20: return op < 0x28 ? ALL : op == 0x2c || op == 0x2d ? 1u << x->reg : 0;
	case 0x50: return op == 0x50 ? 1u << x->reg : 0;
	case 0x60: return 0;
	case 0x70: return op == 0x7e ? rm_bit(x, 8) : 0;
	case 0xd0: return op == 0xd7 ? 1u << x->reg : 0;
	case 0xe0: return 0;
	case 0xf0: return op == 0xff ? ALL : 0;
	}
	switch (op) {
	case 0x0d: case 0xae: case 0xc2: case 0xc3: case 0xc4: case 0xc6: return 0;
	case 0xc5: return 1u << x->reg;
	case 0xc7: return x->mod != 3 && (x->reg & 7) == 1 ? RAX | RDX : ALL;
	case 0xc8: case 0xc9: case 0xca: case 0xcb: case 0xcc: case 0xcd: case 0xce: case 0xcf:
		return 1u << x->rm;
	case 0x31: return RAX | RDX;
	}
	return ALL;
}

static unsigned three_byte(const struct x86_insn *x)
{
	unsigned op = x->opcode;
	if (x->map == X86_MAP_0F38)
		return op < 0xe0 ? 0 : 1u << x->reg | (x->prefixes & X86_PREFIX_VEX ? 1u << x->vvvv : 0) |
					       rm_bit(x, 8);
	if (op == 0xf0)
		return 1u << x->reg;
	if ((op & 0xfc) == 0x60) /* the index of string comparisons */
		return RCX;
	return op >= 0x14 && op <= 0x17 ? rm_bit(x, 8) : 0;
}

unsigned jit_writes(const struct jit_op *op, const struct x86_insn *x)
{
	if (!op)
		return ALL;
	if (op->reg || op->rm)
		return by_roles(op, x);
	return x->map == X86_MAP_1 ? one_byte(x) : x->map == X86_MAP_0F ? two_byte(x) : three_byte(x);
}

bool jit_adds_constant(const struct x86_insn *x, unsigned *reg, int64_t *by)
{
	unsigned op = x->opcode, digit = x->reg & 7;
	if (x->map != X86_MAP_1 || x->op_size != 8)
		return false;
	if (op == 0x8d && x->mod != 3 && x->base == x->reg && x->index == X86_REG_NONE &&
	    x->addr_size == 8 && !x->rip_relative) {
		*reg = x->reg;
		*by = x->disp;
		return true;
	}
	if (x->mod != 3)
		return false;
	*reg = x->rm;
	if ((op == 0x81 || op == 0x83) && (digit == 0 || digit == 5))
		*by = digit ? -(int64_t)x->imm : (int64_t)x->imm;
	else if (op == 0xff && digit < 2)
		*by = digit ? -1 : 1;
	else
		return false;
	return true;
}
