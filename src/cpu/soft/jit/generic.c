/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bulk of the integer instructions: the guest's own instruction with its registers renamed and
 * its memory operand looked up. The table says which operands it has and what it does with them.
 */
#include "cpu/soft/jit/emit.h"

unsigned jit_size_of(const struct x86_insn *x, enum jit_size size)
{
	switch (size) {
	case JIT_SIZE_B: return 1;
	case JIT_SIZE_W: return 2;
	case JIT_SIZE_D: return 4;
	case JIT_SIZE_V: return x->op_size;
	case JIT_SIZE_BV: return x->opcode & 1 ? x->op_size : 1;
	case JIT_SIZE_NONE: break;
	}
	return 0;
}

/* AH, CH, DH, BH: without any REX, the host's numbers are the same. */
static bool is_high(const struct x86_insn *x, unsigned n, unsigned size)
{
	return size == 1 && (n & ~3u) == 4 && !(x->prefixes & X86_PREFIX_REX);
}

uint32_t jit_lock_bit(const struct jit_emit *e, const struct x86_insn *x)
{
	return x->prefixes & X86_PREFIX_LOCK && !e->jit->unlocked ? JIT_LOCK : 0;
}

static uint32_t opcode_of(const struct x86_insn *x)
{
	static const uint32_t escape[4] = { 0, 0x0f00, 0x0f3800, 0x0f3a00 };
	return escape[x->map] | x->opcode;
}

/* The operand-size bits and the prefixes that belong to the instruction. */
static uint32_t opcode_bits(const struct jit_emit *e, const struct x86_insn *x, bool high)
{
	const struct jit_op *op = e->op;
	unsigned reg = jit_size_of(x, op->reg_size), rm = jit_size_of(x, op->rm_size);
	unsigned size = op->reg_size == JIT_SIZE_NONE ? rm : reg;
	uint32_t bits = opcode_of(x);
	if (size == 8)
		bits |= JIT_W64;
	else if (size == 2)
		bits |= JIT_OPSIZE;
	if ((reg == 1 || rm == 1) && !high)
		bits |= JIT_BYTE_REGS;
	if (x->map == X86_MAP_0F && x->prefixes & X86_PREFIX_REP)
		bits |= JIT_F3;
	return bits | jit_lock_bit(e, x);
}

static void emit_immediate(struct jit_emit *e, const struct jit_op *op, const struct x86_insn *x)
{
	unsigned size = jit_size_of(x, op->rm_size);
	if (op->imm == JIT_IMM_NONE)
		return;
	bool byte = op->imm == JIT_IMM_B || size == 1;
	jit_immediate(e, &x->imm, byte ? 1 : size == 2 ? 2 : 4);
}

/* A register operand: its host register, or `scratch` with the value if that is looked at. */
static unsigned operand_begin(struct jit_emit *e, unsigned n, enum jit_role role, unsigned size,
			      bool high, unsigned scratch)
{
	unsigned host = high ? n : jit_host_of(e, n);
	if (host != JIT_NONE)
		return host;
	if (role != JIT_W || size < 4)
		jit_load(e, scratch, JIT_GPR(n));
	return scratch;
}

static void operand_end(struct jit_emit *e, unsigned n, enum jit_role role, bool high, unsigned host)
{
	if (!high && jit_host_of(e, n) == JIT_NONE && role != JIT_R)
		jit_store(e, host, JIT_GPR(n));
}

/*
 * A register that has no host register is a field of the vCPU: the instruction itself can have it there,
 * unless it must clear the upper half, or would become atomic. (Parts of it, written so, would stall the
 * next load of all.)
 */
static bool may_stay_in_memory(const struct jit_emit *e, const struct x86_insn *x, unsigned size)
{
	bool xchg = x->map == X86_MAP_1 && (x->opcode & 0xfe) == 0x86;
	/* BT to BTC by a register: of memory they take a bit string of any length. */
	bool bits = x->map == X86_MAP_0F && (x->opcode & 0xe7) == 0xa3;
	return jit_host_of(e, x->rm) == JIT_NONE && !xchg && !bits && (e->op->rm == JIT_R || size == 8);
}

static bool emit_register_form(struct jit_emit *e, const struct x86_insn *x)
{
	const struct jit_op *op = e->op;
	unsigned reg_size = jit_size_of(x, op->reg_size), rm_size = jit_size_of(x, op->rm_size);
	bool reg_high = op->reg && is_high(x, x->reg, reg_size), rm_high = is_high(x, x->rm, rm_size);
	if (reg_high || rm_high) {
		/* The other one must do without REX too. */
		if (!rm_high && jit_host_of(e, x->rm) > 7)
			return false;
		if (op->reg && !reg_high && jit_host_of(e, x->reg) > 7)
			return false;
	}
	jit_flags_need(e, JIT_S0);
	unsigned reg = op->digit >= 0 || !op->reg ? x->reg & 7 : x->reg;
	bool same = op->reg && x->reg == x->rm && jit_host_of(e, x->rm) == JIT_NONE;
	bool in_place = !same && may_stay_in_memory(e, x, rm_size);
	unsigned rm = JIT_S0; /* both the same one in memory: then in one register */
	if (!in_place && !same)
		rm = operand_begin(e, x->rm, op->rm, rm_size, rm_high, JIT_S1);
	if (op->reg)
		reg = operand_begin(e, x->reg, same ? JIT_RW : op->reg, reg_size, reg_high, JIT_S0);
	uint32_t code = opcode_bits(e, x, reg_high || rm_high);
	if (in_place)
		jit_op_rm(e, code, reg, JIT_GPR(x->rm));
	else
		jit_op_rr(e, code, reg, rm);
	emit_immediate(e, op, x);
	if (!in_place)
		operand_end(e, x->rm, op->rm, rm_high, rm);
	/* (Once, if they are the same.) */
	if (op->reg && !(same && op->rm != JIT_R))
		operand_end(e, x->reg, op->reg, reg_high, reg);
	return true;
}

/*
 * AH to BH and a memory operand whose address is in r14 or r15: no encoding has both. The register is
 * turned, so that its second byte is the first for the instruction; that leaves the flags alone.
 */
static void emit_high_byte(struct jit_emit *e, const struct x86_insn *x, struct jit_mem *m)
{
	unsigned reg = x->reg - 4;
	if (m->at.base == reg || m->at.index == reg) {
		jit_lea(e, m->free, m->at);
		m->at = (struct jit_at){ m->free, JIT_NONE, 0, 0 };
	}
	jit_rorx(e, reg, reg, 8);
	jit_op_rm(e, opcode_bits(e, x, false), reg, m->at);
	jit_rorx(e, reg, reg, 56);
}

static bool emit_memory_form(struct jit_emit *e, const struct x86_insn *x)
{
	const struct jit_op *op = e->op;
	unsigned reg_size = jit_size_of(x, op->reg_size), rm_size = jit_size_of(x, op->rm_size);
	struct jit_mem m;
	bool high = op->reg && is_high(x, x->reg, reg_size);
	/* CMPXCHG has AL besides. */
	if (high && x->map == X86_MAP_0F && x->opcode == 0xb0)
		return false;
	e->quiet = true;
	if (!jit_mem(e, x, rm_size, op->rm == JIT_R ? SOFT_READ : SOFT_WRITE, &m))
		return false;
	/* What leaves them alone may leave them in memory. */
	if (e->use || !op->no_flags)
		jit_flags_need(e, m.free);
	if (high) {
		emit_high_byte(e, x, &m);
		return true;
	}
	unsigned reg = x->reg & 7;
	if (op->reg)
		reg = operand_begin(e, x->reg, op->reg, reg_size, false, m.free);
	jit_op_rm(e, opcode_bits(e, x, false), reg, m.at);
	emit_immediate(e, op, x);
	if (op->reg)
		operand_end(e, x->reg, op->reg, false, reg);
	return true;
}

bool jit_emit_generic(struct jit_emit *e, const struct x86_insn *x)
{
	bool ok = x->mod == 3 ? emit_register_form(e, x) : emit_memory_form(e, x);
	if (ok && !e->op->no_flags)
		jit_flags_written(e);
	return ok;
}
