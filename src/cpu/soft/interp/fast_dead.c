/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Register arithmetic whose flags nobody can see: before anything reads them, or could fault or end
 * the block, another instruction writes them all. Those forms do without the host's LAHF and SETO.
 */
#include "cpu/soft/interp/fast.h"

#define DEAD_EXEC(label, size, dest, value)                                                        \
	static void label##_##size(struct soft_vcpu *c, const struct soft_insn *i)                 \
	{                                                                                          \
		uint64_t d = reg_read(c, i, dest, size), rm = reg_read(c, i, i->x.rm, size);       \
		uint64_t reg = reg_read(c, i, i->x.reg, size), imm = i->x.imm;                     \
		(void)d, (void)rm, (void)reg, (void)imm;                                           \
		gpr_write(c, dest, size, value);                                                   \
		RUN_NEXT(c, i);                                                                    \
	}
#define DEAD(label, dest, value)                                                                   \
	DEAD_EXEC(label, 4, dest, value)                                                           \
	DEAD_EXEC(label, 8, dest, value)
#define DEAD_ALU(name, op)                                                                         \
	DEAD(name##_rm_r, i->x.rm, d op reg)                                                       \
	DEAD(name##_r_rm, i->x.reg, d op rm)                                                       \
	DEAD(name##_r_imm, i->x.rm, d op imm)

DEAD_ALU(add, +)
DEAD_ALU(or, |)
DEAD_ALU(and, &)
DEAD_ALU(sub, -)
DEAD_ALU(xor, ^)

/* Shift counts are the immediate, already known not to be 0 and in range. */
DEAD(shl, i->x.rm, d << (imm & 63))
DEAD(shr, i->x.rm, d >> (imm & 63))
DEAD_EXEC(sar, 4, i->x.rm, (uint32_t)((int32_t)d >> (imm & 31)))
DEAD_EXEC(sar, 8, i->x.rm, (uint64_t)((int64_t)d >> (imm & 63)))
DEAD_EXEC(rol, 4, i->x.rm, (uint32_t)d << (imm & 31) | (uint32_t)d >> (-imm & 31))
DEAD_EXEC(rol, 8, i->x.rm, d << (imm & 63) | d >> (-imm & 63))
DEAD_EXEC(ror, 4, i->x.rm, (uint32_t)d >> (imm & 31) | (uint32_t)d << (-imm & 31))
DEAD_EXEC(ror, 8, i->x.rm, d >> (imm & 63) | d << (-imm & 63))
DEAD(imul_r, i->x.reg, d * rm)

#define PAIR(name) { name##_4, name##_8 }
struct dead_alu {
	soft_exec_fn *rm_r[2], *r_rm[2], *r_imm[2];
};
#define ALU_ROW(name) { PAIR(name##_rm_r), PAIR(name##_r_rm), PAIR(name##_r_imm) }
static const struct dead_alu alu[8] = {
	[0] = ALU_ROW(add), [1] = ALU_ROW(or), [4] = ALU_ROW(and), [5] = ALU_ROW(sub),
	[6] = ALU_ROW(xor),
};
static soft_exec_fn *const shift[8][2] = {
	[0] = PAIR(rol), [1] = PAIR(ror), [4] = PAIR(shl), [5] = PAIR(shr), [6] = PAIR(shl),
	[7] = PAIR(sar),
};
static soft_exec_fn *const imul[2] = PAIR(imul_r);

static bool count_valid(const struct x86_insn *x)
{
	return x->imm != 0 && x->imm < x->op_size * 8u;
}

/* The form of this instruction that leaves the flags alone, or NULL. */
static soft_exec_fn *dead_form(const struct x86_insn *x)
{
	bool wide = x->op_size == 8;
	unsigned digit = x->reg & 7;
	if (x->op_size == 2 || !x->has_modrm || x->mod != 3)
		return NULL;
	if (x->map == X86_MAP_0F)
		return x->opcode == 0xaf ? imul[wide] : NULL;
	if (x->map != X86_MAP_1)
		return NULL;
	if (x->opcode < 0x40 && (x->opcode & 7) == 1)
		return alu[x->opcode >> 3].rm_r[wide];
	if (x->opcode < 0x40 && (x->opcode & 7) == 3)
		return alu[x->opcode >> 3].r_rm[wide];
	if (x->opcode == 0x81 || x->opcode == 0x83)
		return alu[digit].r_imm[wide];
	return x->opcode == 0xc1 && count_valid(x) ? shift[digit][wide] : NULL;
}

enum effect { EFFECT_NONE, EFFECT_WRITES_ALL, EFFECT_OTHER };

/* What an instruction does with the flags, if it surely neither faults nor ends the block. */
static enum effect effect_of(const struct x86_insn *x)
{
	unsigned digit = x->reg & 7, op = x->opcode;
	if (x->map == X86_MAP_1 && op < 0x40 && (op & 7) < 6) {
		bool carry = op >> 3 == 2 || op >> 3 == 3;
		bool memory = (op & 7) < 4 && x->mod != 3;
		return carry || memory ? EFFECT_OTHER : EFFECT_WRITES_ALL;
	}
	if (x->map == X86_MAP_1 && (op & 0xf0) == 0xb0)
		return EFFECT_NONE; /* MOV immediate */
	if (x->map == X86_MAP_1 && op == 0x8d)
		return EFFECT_NONE; /* LEA */
	if (!x->has_modrm || x->mod != 3)
		return EFFECT_OTHER;
	if (x->map == X86_MAP_0F) {
		if (op == 0xb6 || op == 0xb7 || op == 0xbe || op == 0xbf)
			return EFFECT_NONE;
		return op == 0xaf ? EFFECT_WRITES_ALL : EFFECT_OTHER;
	}
	if (x->map != X86_MAP_1)
		return EFFECT_OTHER;
	switch (op) {
	case 0x88: case 0x89: case 0x8a: case 0x8b:
		return EFFECT_NONE;
	case 0x80: case 0x81: case 0x83:
		return digit == 2 || digit == 3 ? EFFECT_OTHER : EFFECT_WRITES_ALL;
	case 0x84: case 0x85:
		return EFFECT_WRITES_ALL;
	case 0xc1:
		return digit >= 4 && count_valid(x) ? EFFECT_WRITES_ALL : /* rotates keep some */
		       digit < 2 && count_valid(x)  ? EFFECT_NONE : EFFECT_OTHER;
	}
	return EFFECT_OTHER;
}

static bool flags_dead(const struct soft_insn *i, const struct soft_insn *end)
{
	for (const struct soft_insn *next = i + 1; next < end; next++) {
		/* What ends the block may also be bytes that only look like an instruction. */
		enum effect effect = next->ends ? EFFECT_OTHER : effect_of(&next->x);
		if (effect != EFFECT_NONE)
			return effect == EFFECT_WRITES_ALL;
	}
	return false;
}

void fast_drop_dead_flags(struct block *b)
{
	const struct soft_insn *end = b->insns + b->count;
	for (struct soft_insn *i = b->insns; i < end; i++) {
		soft_exec_fn *dead = i->ends ? NULL : dead_form(&i->x);
		if (dead && flags_dead(i, end))
			i->exec = dead;
	}
}
