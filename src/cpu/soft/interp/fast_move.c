/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Special forms of MOV, MOVZX, MOVSX, LEA, PUSH, POP, CMOVcc, NOP. */
#include "cpu/soft/interp/fast.h"

#define MOV_EA(ea, size, unused)                                                                   \
	static void mov_load_##size##_##ea(struct soft_vcpu *c, const struct soft_insn *i)         \
	{                                                                                          \
		reg_write(c, i, i->x.reg, size, fast_load(c, i, FAST_EA_##ea, size));              \
		RUN_NEXT(c, i);                                                                    \
	}                                                                                          \
	static void mov_store_##size##_##ea(struct soft_vcpu *c, const struct soft_insn *i)        \
	{                                                                                          \
		fast_store(c, i, FAST_EA_##ea, reg_read(c, i, i->x.reg, size), size);              \
		RUN_NEXT(c, i);                                                                    \
	}                                                                                          \
	static void mov_imm_##size##_##ea(struct soft_vcpu *c, const struct soft_insn *i)          \
	{                                                                                          \
		fast_store(c, i, FAST_EA_##ea, i->x.imm, size);                                    \
		RUN_NEXT(c, i);                                                                    \
	}                                                                                          \
	static void lea_##size##_##ea(struct soft_vcpu *c, const struct soft_insn *i)              \
	{                                                                                          \
		uint64_t a = FAST_EA_##ea >= FAST_EA_BASE32                                        \
				     ? soft_ea(c, i)                                               \
				     : fast_linear(c, i, FAST_EA_##ea, 1, SOFT_READ);              \
		gpr_write(c, i->x.reg, size, a);                                                   \
		RUN_NEXT(c, i);                                                                    \
	}

#define MOV_SIZE(size)                                                                             \
	static void mov_rm_r_##size(struct soft_vcpu *c, const struct soft_insn *i)                \
	{                                                                                          \
		reg_write(c, i, i->x.rm, size, reg_read(c, i, i->x.reg, size));                    \
		RUN_NEXT(c, i);                                                                    \
	}                                                                                          \
	static void mov_r_rm_##size(struct soft_vcpu *c, const struct soft_insn *i)                \
	{                                                                                          \
		reg_write(c, i, i->x.reg, size, reg_read(c, i, i->x.rm, size));                    \
		RUN_NEXT(c, i);                                                                    \
	}                                                                                          \
	static void mov_r_imm_##size(struct soft_vcpu *c, const struct soft_insn *i)               \
	{                                                                                          \
		reg_write(c, i, i->x.rm, size, i->x.imm);                                          \
		RUN_NEXT(c, i);                                                                    \
	}                                                                                          \
	FAST_FOR_EA(MOV_EA, size, 0)

MOV_SIZE(1)
MOV_SIZE(2)
MOV_SIZE(4)
MOV_SIZE(8)

#define SIZE_ROWS(name)                                                                            \
	{ FAST_EA_ROW(name##_1), FAST_EA_ROW(name##_2), FAST_EA_ROW(name##_4), FAST_EA_ROW(name##_8) }
#define REG_ROWS(name) { name##_1, name##_2, name##_4, name##_8 }

static soft_exec_fn *const mov_rm_r[4] = REG_ROWS(mov_rm_r);
static soft_exec_fn *const mov_r_rm[4] = REG_ROWS(mov_r_rm);
static soft_exec_fn *const mov_r_imm[4] = REG_ROWS(mov_r_imm);
static soft_exec_fn *const mov_load[4][FAST_EA_COUNT] = SIZE_ROWS(mov_load);
static soft_exec_fn *const mov_store[4][FAST_EA_COUNT] = SIZE_ROWS(mov_store);
static soft_exec_fn *const mov_imm[4][FAST_EA_COUNT] = SIZE_ROWS(mov_imm);
static soft_exec_fn *const lea[4][FAST_EA_COUNT] = SIZE_ROWS(lea);

/* --- widening: from `from` bytes, `value` of v, to 4 or 8 ------------------------------------------ */
#define WIDEN_EA(ea, name, from, to, value)                                                        \
	static void name##_load_##from##_##to##_##ea(struct soft_vcpu *c,                          \
						     const struct soft_insn *i)                    \
	{                                                                                          \
		uint64_t v = fast_load(c, i, FAST_EA_##ea, from);                                  \
		gpr_write(c, i->x.reg, to, value);                                                 \
		RUN_NEXT(c, i);                                                                    \
	}
#define WIDEN(name, from, to, value)                                                               \
	static void name##_reg_##from##_##to(struct soft_vcpu *c, const struct soft_insn *i)       \
	{                                                                                          \
		uint64_t v = reg_read(c, i, i->x.rm, from);                                        \
		gpr_write(c, i->x.reg, to, value);                                                 \
		RUN_NEXT(c, i);                                                                    \
	}                                                                                          \
	FAST_FOR_EA(WIDEN_EA, name, from, to, value)                                               \
	static soft_exec_fn *const name##_##from##_##to[FAST_EA_COUNT] =                           \
		FAST_EA_ROW(name##_load_##from##_##to);

WIDEN(movzx, 1, 4, v)
WIDEN(movzx, 2, 4, v)
WIDEN(movzx, 1, 8, v)
WIDEN(movzx, 2, 8, v)
WIDEN(movsx, 1, 4, (uint64_t)(int64_t)(int8_t)v)
WIDEN(movsx, 2, 4, (uint64_t)(int64_t)(int16_t)v)
WIDEN(movsx, 1, 8, (uint64_t)(int64_t)(int8_t)v)
WIDEN(movsx, 2, 8, (uint64_t)(int64_t)(int16_t)v)
WIDEN(movsx, 4, 8, (uint64_t)(int64_t)(int32_t)v)

/* --- stack, 64-bit mode ---------------------------------------------------------------------------- */
ALWAYS_INLINE void push64(struct soft_vcpu *c, const struct soft_insn *i, uint64_t v)
{
	uint64_t sp = c->s.gpr[X86_RSP] - 8;
	struct soft_tlb_entry *e = soft_tlb_at(c, sp);
	c->insn = i;
	if (soft_unlikely(sp - e->write > PAGE_SIZE - 8))
		stack_store(c, sp, v, 8);
	else
		host_write((void *)(sp + e->addend), 8, v);
	c->s.gpr[X86_RSP] = sp;
}

static void push_r_8(struct soft_vcpu *c, const struct soft_insn *i)
{
	push64(c, i, c->s.gpr[i->x.rm]);
	RUN_NEXT(c, i);
}

static void push_imm_8(struct soft_vcpu *c, const struct soft_insn *i)
{
	push64(c, i, i->x.imm);
	RUN_NEXT(c, i);
}

static void pop_r_8(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t sp = c->s.gpr[X86_RSP], v;
	struct soft_tlb_entry *e = soft_tlb_at(c, sp);
	c->insn = i;
	if (soft_unlikely(sp - e->read > PAGE_SIZE - 8))
		v = stack_load(c, sp, 8);
	else
		v = host_read((const void *)(sp + e->addend), 8);
	c->s.gpr[X86_RSP] = sp + 8;
	c->s.gpr[i->x.rm] = v;
	RUN_NEXT(c, i);
}

/* --- stack, flat 32-bit mode ----------------------------------------------------------------------- */
static void push_r_4(struct soft_vcpu *c, const struct soft_insn *i)
{
	fast_push32(c, i, (uint32_t)c->s.gpr[i->x.rm]);
	RUN_NEXT(c, i);
}

static void push_imm_4(struct soft_vcpu *c, const struct soft_insn *i)
{
	fast_push32(c, i, (uint32_t)i->x.imm);
	RUN_NEXT(c, i);
}

static void pop_r_4(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t v = fast_load32(c, i);
	stack_set(c, c->s.gpr[X86_RSP] + 4);
	c->s.gpr[i->x.rm] = v;
	RUN_NEXT(c, i);
}

static void nop(struct soft_vcpu *c, const struct soft_insn *i)
{
	RUN_NEXT(c, i);
}

/* --- conditional moves and sets between registers --------------------------------------------------- */
#define CONDITIONAL(cc)                                                                            \
	static void cmov_##cc##_4(struct soft_vcpu *c, const struct soft_insn *i)                  \
	{                                                                                          \
		uint64_t v = c->s.gpr[i->x.rm], old = c->s.gpr[i->x.reg];                          \
		c->s.gpr[i->x.reg] = (uint32_t)(flags_condition(c->flags, cc) ? v : old);          \
		RUN_NEXT(c, i);                                                                    \
	}                                                                                          \
	static void cmov_##cc##_8(struct soft_vcpu *c, const struct soft_insn *i)                  \
	{                                                                                          \
		uint64_t v = c->s.gpr[i->x.rm], old = c->s.gpr[i->x.reg];                          \
		c->s.gpr[i->x.reg] = flags_condition(c->flags, cc) ? v : old;                      \
		RUN_NEXT(c, i);                                                                    \
	}                                                                                          \
	static void set_##cc(struct soft_vcpu *c, const struct soft_insn *i)                       \
	{                                                                                          \
		*reg8(c, i, i->x.rm) = flags_condition(c->flags, cc);                              \
		RUN_NEXT(c, i);                                                                    \
	}

CONDITIONAL(0) CONDITIONAL(1) CONDITIONAL(2) CONDITIONAL(3) CONDITIONAL(4) CONDITIONAL(5)
CONDITIONAL(6) CONDITIONAL(7) CONDITIONAL(8) CONDITIONAL(9) CONDITIONAL(10) CONDITIONAL(11)
CONDITIONAL(12) CONDITIONAL(13) CONDITIONAL(14) CONDITIONAL(15)

#define CC_ROW(cc) { cmov_##cc##_4, cmov_##cc##_8, set_##cc }
static soft_exec_fn *const conditional[16][3] = {
	CC_ROW(0), CC_ROW(1), CC_ROW(2), CC_ROW(3), CC_ROW(4), CC_ROW(5), CC_ROW(6), CC_ROW(7),
	CC_ROW(8), CC_ROW(9), CC_ROW(10), CC_ROW(11), CC_ROW(12), CC_ROW(13), CC_ROW(14), CC_ROW(15),
};

#define WIDEN_FORM(name, from)                                                                     \
	(reg ? wide ? name##_reg_##from##_8 : name##_reg_##from##_4                                \
	     : wide ? name##_##from##_8[ea] : name##_##from##_4[ea])

static soft_exec_fn *fast_move_0f(const struct x86_insn *x, enum fast_ea ea)
{
	bool wide = x->op_size == 8, reg = x->mod == 3;
	if (x->opcode == 0x1f)
		return nop;
	if ((x->opcode & 0xf0) == 0x90)
		return x->mod == 3 ? conditional[x->opcode & 0xf][2] : NULL;
	if (x->op_size == 2)
		return NULL;
	if ((x->opcode & 0xf0) == 0x40)
		return x->mod == 3 ? conditional[x->opcode & 0xf][wide] : NULL;
	switch (x->opcode) {
	case 0xb6: return WIDEN_FORM(movzx, 1);
	case 0xb7: return WIDEN_FORM(movzx, 2);
	case 0xbe: return WIDEN_FORM(movsx, 1);
	case 0xbf: return WIDEN_FORM(movsx, 2);
	}
	return NULL;
}

static soft_exec_fn *fast_stack(const struct x86_insn *x, bool in64)
{
	if (x->op_size != (in64 ? 8 : 4))
		return NULL;
	if ((x->opcode & 0xf8) == 0x50)
		return in64 ? push_r_8 : push_r_4;
	if ((x->opcode & 0xf8) == 0x58)
		return in64 ? pop_r_8 : pop_r_4;
	if (x->opcode != 0x68 && x->opcode != 0x6a)
		return NULL;
	return in64 ? push_imm_8 : push_imm_4;
}

soft_exec_fn *fast_move(const struct soft_insn *i, uint32_t mode)
{
	const struct x86_insn *x = &i->x;
	unsigned n = fast_size(size_w(i));
	enum fast_ea ea = fast_ea_form(x, mode);
	bool in64 = (mode & BLOCK_MODE_DECODE) == X86_DECODE_64, reg = x->mod == 3;
	if (x->map == X86_MAP_0F)
		return fast_move_0f(x, ea);
	if (x->map != X86_MAP_1)
		return NULL;
	switch (x->opcode) {
	case 0x88: case 0x89:
		return reg ? mov_rm_r[n] : mov_store[n][ea];
	case 0x8a: case 0x8b:
		return reg ? mov_r_rm[n] : mov_load[n][ea];
	case 0xc6: case 0xc7:
		return x->reg & 7 ? NULL : reg ? mov_r_imm[n] : mov_imm[n][ea];
	case 0x8d:
		return lea[n][ea];
	case 0x90:
		return x->rm == 0 && !(x->prefixes & X86_PREFIX_REP) ? nop : NULL;
	case 0x63:
		return in64 && x->op_size == 8 ? reg ? movsx_reg_4_8 : movsx_4_8[ea] : NULL;
	}
	if ((x->opcode & 0xf8) == 0xb0)
		return mov_r_imm[0];
	if ((x->opcode & 0xf8) == 0xb8)
		return mov_r_imm[fast_size(x->op_size)];
	return fast_stack(x, in64);
}
