/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Special forms of the ALU operations, TEST, INC, DEC and the common shifts. */
#include "cpu/soft/interp/fast.h"

/* Register forms: d is the destination's number, s the source's value. */
#define REG_EXEC(label, name, size, writes, d, s)                                                  \
	static void label(struct soft_vcpu *c, const struct soft_insn *i)                          \
	{                                                                                          \
		uint64_t r = alu_##name(&c->flags, reg_read(c, i, d, size), s, size);              \
		if (writes)                                                                        \
			reg_write(c, i, d, size, r);                                               \
		RUN_NEXT(c, i);                                                                    \
	}

#define MEM_EXEC(ea, name, size, writes)                                                           \
	static void name##_load_##size##_##ea(struct soft_vcpu *c, const struct soft_insn *i)      \
	{                                                                                          \
		uint64_t s = fast_load(c, i, FAST_EA_##ea, size);                                  \
		uint64_t r = alu_##name(&c->flags, reg_read(c, i, i->x.reg, size), s, size);       \
		if (writes)                                                                        \
			reg_write(c, i, i->x.reg, size, r);                                        \
		RUN_NEXT(c, i);                                                                    \
	}                                                                                          \
	static void name##_store_##size##_##ea(struct soft_vcpu *c, const struct soft_insn *i)     \
	{                                                                                          \
		uint64_t s = reg_read(c, i, i->x.reg, size);                                       \
		if (writes)                                                                        \
			fast_rmw(c, i, FAST_EA_##ea, size, alu_##name, s);                         \
		else                                                                               \
			alu_##name(&c->flags, fast_load(c, i, FAST_EA_##ea, size), s, size);       \
		RUN_NEXT(c, i);                                                                    \
	}                                                                                          \
	static void name##_imm_##size##_##ea(struct soft_vcpu *c, const struct soft_insn *i)       \
	{                                                                                          \
		uint64_t s = i->x.imm;                                                             \
		if (writes)                                                                        \
			fast_rmw(c, i, FAST_EA_##ea, size, alu_##name, s);                         \
		else                                                                               \
			alu_##name(&c->flags, fast_load(c, i, FAST_EA_##ea, size), s, size);       \
		RUN_NEXT(c, i);                                                                    \
	}

#define SIZE_EXEC(size, name, writes)                                                              \
	REG_EXEC(name##_rm_r_##size, name, size, writes, i->x.rm, reg_read(c, i, i->x.reg, size))  \
	REG_EXEC(name##_r_rm_##size, name, size, writes, i->x.reg, reg_read(c, i, i->x.rm, size))  \
	REG_EXEC(name##_r_imm_##size, name, size, writes, i->x.rm, i->x.imm)                       \
	REG_EXEC(name##_a_imm_##size, name, size, writes, X86_RAX, i->x.imm)                       \
	FAST_FOR_EA(MEM_EXEC, name, size, writes)

#define OP_EXEC(name, writes)                                                                      \
	SIZE_EXEC(1, name, writes) SIZE_EXEC(2, name, writes) SIZE_EXEC(4, name, writes)           \
	SIZE_EXEC(8, name, writes)

OP_EXEC(add, true)
OP_EXEC(or, true)
OP_EXEC(adc, true)
OP_EXEC(sbb, true)
OP_EXEC(and, true)
OP_EXEC(sub, true)
OP_EXEC(xor, true)
OP_EXEC(cmp, false)
OP_EXEC(test, false)

struct alu_forms {
	soft_exec_fn *rm_r, *r_rm, *r_imm, *a_imm;
	soft_exec_fn *load[FAST_EA_COUNT], *store[FAST_EA_COUNT], *imm[FAST_EA_COUNT];
};

#define SIZE_ROW(name, size)                                                                       \
	{ name##_rm_r_##size, name##_r_rm_##size, name##_r_imm_##size, name##_a_imm_##size,        \
	  FAST_EA_ROW(name##_load_##size), FAST_EA_ROW(name##_store_##size),                       \
	  FAST_EA_ROW(name##_imm_##size) }
#define OP_ROW(name)                                                                               \
	{ SIZE_ROW(name, 1), SIZE_ROW(name, 2), SIZE_ROW(name, 4), SIZE_ROW(name, 8) }

enum { ALU_TEST = 8 };
static const struct alu_forms forms[9][4] = {
	OP_ROW(add), OP_ROW(or), OP_ROW(adc), OP_ROW(sbb), OP_ROW(and), OP_ROW(sub), OP_ROW(xor),
	OP_ROW(cmp), OP_ROW(test),
};

/* --- one register operand ------------------------------------------------------------------------- */
#define UNARY_EXEC(name, s)                                                                        \
	REG_EXEC(name##_2, name, 2, true, i->x.rm, s)                                              \
	REG_EXEC(name##_4, name, 4, true, i->x.rm, s)                                              \
	REG_EXEC(name##_8, name, 8, true, i->x.rm, s)                                              \
	static soft_exec_fn *const name##_forms[4] = { NULL, name##_2, name##_4, name##_8 };

UNARY_EXEC(inc, 0)
UNARY_EXEC(dec, 0)
UNARY_EXEC(neg, 0)
UNARY_EXEC(not, 0)
UNARY_EXEC(shl, i->x.imm)
UNARY_EXEC(shr, i->x.imm)
UNARY_EXEC(sar, i->x.imm)
UNARY_EXEC(rol, i->x.imm)
UNARY_EXEC(ror, i->x.imm)

/* --- IMUL and memory operands of INC and DEC ------------------------------------------------------- */
#define IMUL_EA(ea, size, unused)                                                                  \
	static void imul_load_##size##_##ea(struct soft_vcpu *c, const struct soft_insn *i)        \
	{                                                                                          \
		uint64_t s = fast_load(c, i, FAST_EA_##ea, size), d = c->s.gpr[i->x.reg];          \
		gpr_write(c, i->x.reg, size, alu_imul(&c->flags, d, s, size));                     \
		RUN_NEXT(c, i);                                                                    \
	}                                                                                          \
	static void inc_mem_##size##_##ea(struct soft_vcpu *c, const struct soft_insn *i)          \
	{                                                                                          \
		fast_rmw(c, i, FAST_EA_##ea, size, alu_inc, 0);                                    \
		RUN_NEXT(c, i);                                                                    \
	}                                                                                          \
	static void dec_mem_##size##_##ea(struct soft_vcpu *c, const struct soft_insn *i)          \
	{                                                                                          \
		fast_rmw(c, i, FAST_EA_##ea, size, alu_dec, 0);                                    \
		RUN_NEXT(c, i);                                                                    \
	}
#define IMUL_SIZE(size)                                                                            \
	REG_EXEC(imul_r_##size, imul, size, true, i->x.reg, reg_read(c, i, i->x.rm, size))         \
	static void imul_imm_##size(struct soft_vcpu *c, const struct soft_insn *i)                \
	{                                                                                          \
		uint64_t d = c->s.gpr[i->x.rm];                                                    \
		gpr_write(c, i->x.reg, size, alu_imul(&c->flags, d, i->x.imm, size));              \
		RUN_NEXT(c, i);                                                                    \
	}                                                                                          \
	FAST_FOR_EA(IMUL_EA, size, 0)

IMUL_SIZE(4)
IMUL_SIZE(8)

static soft_exec_fn *const imul_load[2][FAST_EA_COUNT] = {
	FAST_EA_ROW(imul_load_4), FAST_EA_ROW(imul_load_8)
};
static soft_exec_fn *const inc_mem[2][FAST_EA_COUNT] = {
	FAST_EA_ROW(inc_mem_4), FAST_EA_ROW(inc_mem_8)
};
static soft_exec_fn *const dec_mem[2][FAST_EA_COUNT] = {
	FAST_EA_ROW(dec_mem_4), FAST_EA_ROW(dec_mem_8)
};

/* 0F AF, 69, 6B, and FF /0 /1 with memory. */
static soft_exec_fn *fast_imul_inc(const struct x86_insn *x, enum fast_ea ea)
{
	bool wide = x->op_size == 8, reg = x->mod == 3;
	if (x->op_size == 2)
		return NULL;
	if (x->map == X86_MAP_0F)
		return !reg ? imul_load[wide][ea] : wide ? imul_r_8 : imul_r_4;
	if (x->opcode != 0xff)
		return !reg ? NULL : wide ? imul_imm_8 : imul_imm_4;
	return (x->reg & 7) == 0 ? inc_mem[wide][ea] : dec_mem[wide][ea];
}

static soft_exec_fn *fast_group(const struct x86_insn *x, unsigned size)
{
	static soft_exec_fn *const *const shifts[8] = { rol_forms, ror_forms, NULL, NULL, shl_forms,
							shr_forms, shl_forms, sar_forms };
	unsigned n = fast_size(size), digit = x->reg & 7;
	if (x->mod != 3)
		return NULL;
	switch (x->opcode) {
	case 0xc1:
		return shifts[digit] ? shifts[digit][n] : NULL;
	case 0xf7:
		return digit == 2 ? not_forms[n] : digit == 3 ? neg_forms[n] : NULL;
	case 0xff:
		return digit == 0 ? inc_forms[n] : digit == 1 ? dec_forms[n] : NULL;
	}
	return NULL;
}

static soft_exec_fn *pick(const struct alu_forms *f, const struct x86_insn *x, unsigned kind,
			  enum fast_ea ea)
{
	switch (kind) {
	case 0: return x->mod == 3 ? f->rm_r : f->store[ea];
	case 2: return x->mod == 3 ? f->r_rm : f->load[ea];
	case 4: return f->a_imm;
	}
	return x->mod == 3 ? f->r_imm : f->imm[ea];
}

soft_exec_fn *fast_alu(const struct soft_insn *i, uint32_t mode)
{
	const struct x86_insn *x = &i->x;
	unsigned size = size_w(i), digit = x->reg & 7, n = fast_size(size);
	enum fast_ea ea = fast_ea_form(x, mode);
	if (x->prefixes & X86_PREFIX_LOCK)
		return NULL;
	if (x->map == X86_MAP_0F && x->opcode == 0xaf)
		return fast_imul_inc(x, ea);
	if (x->map != X86_MAP_1)
		return NULL;
	if (x->opcode < 0x40 && (x->opcode & 7) < 6)
		return pick(&forms[x->opcode >> 3][n], x, x->opcode & 6, ea);
	switch (x->opcode) {
	case 0x80: case 0x81: case 0x83:
		return pick(&forms[digit][n], x, 6, ea);
	case 0x84: case 0x85:
		return pick(&forms[ALU_TEST][n], x, 0, ea);
	case 0x69: case 0x6b:
		return fast_imul_inc(x, ea);
	case 0xff:
		if (x->mod != 3 && digit < 2)
			return fast_imul_inc(x, ea);
		break;
	case 0xa8: case 0xa9:
		return pick(&forms[ALU_TEST][n], x, 4, ea);
	case 0xf6: case 0xf7:
		if (digit < 2)
			return pick(&forms[ALU_TEST][n], x, 6, ea);
		break;
	}
	return size == 1 ? NULL : fast_group(x, size);
}
