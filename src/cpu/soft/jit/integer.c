/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Integer instructions. */
#include "cpu/soft/jit/emit.h"

/* Nothing: NOP and hints. PAUSE of several vCPUs gives the host's CPU away. */
static bool emit_nop(struct jit_emit *e, const struct x86_insn *x)
{
	if (x->map != X86_MAP_1)
		return true;
	if (x->rm != X86_RAX)
		return false;
	if (x->prefixes & X86_PREFIX_REP) {
		if (e->c->vm->config.vcpus > 1)
			return false;
		jit_bytes(e, (const uint8_t[]){ 0xf3, 0x90 }, 2);
	}
	return true;
}

/* An instruction of one opcode byte whose registers, if any, are RAX and RDX. */
static bool emit_plain(struct jit_emit *e, const struct x86_insn *x)
{
	jit_flags_need(e, JIT_S0);
	if (x->op_size == 2)
		jit_byte(e, 0x66);
	else if (x->op_size == 8)
		jit_byte(e, 0x48);
	jit_byte(e, x->opcode);
	if (!e->op->no_flags)
		jit_flags_written(e);
	return true;
}

/* OP rAX, imm. */
static bool emit_accumulator(struct jit_emit *e, const struct x86_insn *x)
{
	unsigned size = x->opcode & 1 ? x->op_size : 1;
	jit_flags_need(e, JIT_S0);
	if (size == 2)
		jit_byte(e, 0x66);
	else if (size == 8)
		jit_byte(e, 0x48);
	jit_byte(e, x->opcode);
	jit_bytes(e, &x->imm, size == 8 ? 4 : size);
	jit_flags_written(e);
	return true;
}

static bool emit_mov_imm(struct jit_emit *e, const struct x86_insn *x)
{
	unsigned host = jit_host_of(e, x->rm), size = x->opcode & 8 ? x->op_size : 1;
	if (size >= 4) {
		unsigned to = host == JIT_NONE ? JIT_S0 : host;
		jit_const(e, to, size == 4 ? (uint32_t)x->imm : x->imm);
		if (host == JIT_NONE)
			jit_store(e, to, JIT_GPR(x->rm));
		return true;
	}
	if (size == 1 && (x->rm & ~3u) == 4 && !(x->prefixes & X86_PREFIX_REX)) {
		jit_byte(e, 0xb0 | x->rm); /* AH.. */
		jit_byte(e, x->imm);
		return true;
	}
	uint32_t op = size == 1 ? 0xc6 | JIT_BYTE_REGS : 0xc7 | JIT_OPSIZE;
	if (host == JIT_NONE)
		jit_op_rm(e, op & ~JIT_BYTE_REGS, 0, JIT_GPR(x->rm));
	else
		jit_op_rr(e, op, 0, host);
	jit_bytes(e, &x->imm, size);
	return true;
}

static bool emit_lea(struct jit_emit *e, const struct x86_insn *x)
{
	if (x->mod == 3 || x->op_size == 2 || !jit_mem_supported(e, x))
		return false;
	unsigned host = jit_host_of(e, x->reg), to = host == JIT_NONE ? JIT_S0 : host;
	if (x->addr_size != 8) {
		jit_mem_address(e, e->insn);
		if (host != JIT_NONE)
			jit_mov(e, host, JIT_S0);
		else
			jit_store(e, JIT_S0, JIT_GPR(x->reg));
		return true;
	}
	uint32_t op = 0x8d | (x->op_size == 8 ? JIT_W64 : 0);
	struct jit_at at = { JIT_S0, JIT_NONE, x->scale, (int32_t)x->disp };
	if (x->rip_relative) {
		jit_load(e, JIT_S0, JIT_FIELD(block_rip));
		at.disp = (int32_t)(x->disp + e->insn->offset + x->length);
	} else if (x->base == X86_REG_NONE) {
		jit_const(e, JIT_S0, 0);
	} else {
		at.base = jit_get(e, x->base, JIT_S0);
	}
	if (x->index != X86_REG_NONE)
		at.index = jit_get(e, x->index, JIT_S1);
	jit_op_rm(e, op, to, at);
	if (host == JIT_NONE)
		jit_store(e, to, JIT_GPR(x->reg));
	return true;
}

/* XCHG rAX, r. */
static bool emit_xchg_accumulator(struct jit_emit *e, const struct x86_insn *x)
{
	unsigned host = jit_get(e, x->rm, JIT_S0);
	jit_op_rr(e, 0x87 | (x->op_size == 8 ? JIT_W64 : x->op_size == 2 ? JIT_OPSIZE : 0), X86_RAX,
		  host);
	if (host == JIT_S0)
		jit_store(e, JIT_S0, JIT_GPR(x->rm));
	return true;
}

static bool emit_bswap(struct jit_emit *e, const struct x86_insn *x)
{
	if (x->op_size == 2)
		return false;
	unsigned host = jit_get(e, x->rm, JIT_S0), rex = host & 8 ? 1 : 0;
	if (x->op_size == 8)
		rex |= 8;
	if (rex)
		jit_byte(e, 0x40 | rex);
	jit_byte(e, 0x0f);
	jit_byte(e, 0xc8 | (host & 7));
	if (host == JIT_S0)
		jit_store(e, JIT_S0, JIT_GPR(x->rm));
	return true;
}

/* BSF, BSR, POPCNT; with F3 the first two mean something else, if the guest has that. */
static bool emit_scan(struct jit_emit *e, const struct x86_insn *x)
{
	bool rep = x->prefixes & X86_PREFIX_REP;
	uint32_t lzcnt = 1u << 5, bmi1 = 1u << 3, popcnt = 1u << 23;
	if (x->prefixes & X86_PREFIX_REPNE)
		return false;
	if (x->opcode == 0xb8 && !(rep && soft_has_feature(e->c, CPU_WORD_1_ECX, popcnt)))
		return false;
	if (x->opcode == 0xbc && rep && !soft_has_feature(e->c, CPU_WORD_7_0_EBX, bmi1))
		return false;
	if (x->opcode == 0xbd && rep && !soft_has_feature(e->c, CPU_WORD_80000001_ECX, lzcnt))
		return false;
	return jit_emit_generic(e, x);
}

/* MOVSXD; with 66 or in 32 bits it is a plain move. */
static bool emit_movsxd(struct jit_emit *e, const struct x86_insn *x)
{
	return e->wide && x->op_size == 8 && jit_emit_generic(e, x);
}

/* INC, DEC of 32-bit code. */
static bool emit_inc_dec(struct jit_emit *e, const struct x86_insn *x)
{
	jit_flags_need(e, JIT_S0);
	jit_op_rr(e, 0xff | (x->op_size == 2 ? JIT_OPSIZE : 0), x->opcode >> 3 & 1,
		  jit_host_of(e, x->rm));
	jit_flags_written(e);
	return true;
}

/* With memory it is locked, prefix or not. Where no lock is needed, three moves take a third of its time. */
static bool emit_xchg(struct jit_emit *e, const struct x86_insn *x)
{
	unsigned host = jit_host_of(e, x->reg), size = x->opcode & 1 ? x->op_size : 1;
	uint32_t wide = size == 8 ? JIT_W64 : 0;
	struct jit_mem m;
	if (x->mod == 3 || !e->jit->unlocked || host == JIT_NONE || size < 4)
		return jit_emit_generic(e, x);
	e->quiet = true;
	if (!jit_mem(e, x, size, SOFT_WRITE, &m))
		return false;
	jit_op_rm(e, 0x8b | wide, m.free, m.at);
	jit_op_rm(e, 0x89 | wide, host, m.at);
	jit_op_rr(e, 0x8b | wide, host, m.free);
	return true;
}

#define R_   JIT_R
#define W_   JIT_W
#define RW_  JIT_RW
#define ALL  JIT_FLAGS
#define OPX(m, a, b, d, ...) { .map = X86_MAP_##m, .first = a, .last = b, .digit = d, __VA_ARGS__ }
/* The two ModRM forms of an arithmetic row, both directions, and the accumulator's. */
#define ALU_ROW(base, rm_, reg_, use_)                                                             \
	OPX(1, base, base + 1, -1, .emit = jit_emit_generic, .rm = rm_, .reg = R_,                 \
	    .reg_size = JIT_SIZE_BV, .rm_size = JIT_SIZE_BV, .use = use_, .kill = ALL),            \
	OPX(1, base + 2, base + 3, -1, .emit = jit_emit_generic, .rm = R_, .reg = reg_,            \
	    .reg_size = JIT_SIZE_BV, .rm_size = JIT_SIZE_BV, .use = use_, .kill = ALL),            \
	OPX(1, base + 4, base + 5, -1, .emit = emit_accumulator, .use = use_, .kill = ALL)
#define ALU_IMM(d, rm_, use_)                                                                      \
	OPX(1, 0x80, 0x80, d, .emit = jit_emit_generic, .rm = rm_, .rm_size = JIT_SIZE_B,          \
	    .imm = JIT_IMM_B, .use = use_, .kill = ALL),                                           \
	OPX(1, 0x81, 0x81, d, .emit = jit_emit_generic, .rm = rm_, .rm_size = JIT_SIZE_V,          \
	    .imm = JIT_IMM_Z, .use = use_, .kill = ALL),                                           \
	OPX(1, 0x83, 0x83, d, .emit = jit_emit_generic, .rm = rm_, .rm_size = JIT_SIZE_V,          \
	    .imm = JIT_IMM_B, .use = use_, .kill = ALL)
#define SHIFT(d)                                                                                   \
	OPX(1, 0xc0, 0xc1, d, .emit = jit_emit_generic, .rm = RW_, .rm_size = JIT_SIZE_BV,         \
	    .imm = JIT_IMM_B),                                                                     \
	OPX(1, 0xd0, 0xd3, d, .emit = jit_emit_generic, .rm = RW_, .rm_size = JIT_SIZE_BV)
#define UNARY(op, d, ...)                                                                          \
	OPX(1, op, op + 1, d, .emit = jit_emit_generic, .rm_size = JIT_SIZE_BV, __VA_ARGS__)
#define PAIR(m, a, b, reg_, rm_, size, ...)                                                        \
	OPX(m, a, b, -1, .emit = jit_emit_generic, .reg = reg_, .rm = rm_, .reg_size = size,       \
	    .rm_size = size, __VA_ARGS__)
#define BIT_IMM(d, rm_)                                                                            \
	OPX(0F, 0xba, 0xba, d, .emit = jit_emit_generic, .rm = rm_, .rm_size = JIT_SIZE_V,         \
	    .imm = JIT_IMM_B, .kill = JIT_CF)
#define EXTEND(op, from)                                                                           \
	OPX(0F, op, op, -1, .emit = jit_emit_generic, .reg = W_, .rm = R_, .reg_size = JIT_SIZE_V, \
	    .rm_size = from, .no_flags = true)

const struct jit_op jit_integer_ops[] = {
	PAIR(1, 0x88, 0x89, R_, W_, JIT_SIZE_BV, .no_flags = true),
	PAIR(1, 0x8a, 0x8b, W_, R_, JIT_SIZE_BV, .no_flags = true),
	OPX(1, 0x8d, 0x8d, -1, .emit = emit_lea, .no_flags = true),
	ALU_ROW(0x00, RW_, RW_, 0), ALU_ROW(0x08, RW_, RW_, 0), ALU_ROW(0x10, RW_, RW_, JIT_CF),
	ALU_ROW(0x18, RW_, RW_, JIT_CF), ALU_ROW(0x20, RW_, RW_, 0), ALU_ROW(0x28, RW_, RW_, 0),
	ALU_ROW(0x30, RW_, RW_, 0), ALU_ROW(0x38, R_, R_, 0),
	ALU_IMM(0, RW_, 0), ALU_IMM(1, RW_, 0), ALU_IMM(2, RW_, JIT_CF), ALU_IMM(3, RW_, JIT_CF),
	ALU_IMM(4, RW_, 0), ALU_IMM(5, RW_, 0), ALU_IMM(6, RW_, 0), ALU_IMM(7, R_, 0),
	PAIR(1, 0x84, 0x85, R_, R_, JIT_SIZE_BV, .kill = ALL),
	OPX(1, 0xa8, 0xa9, -1, .emit = emit_accumulator, .kill = ALL),
	OPX(1, 0x86, 0x87, -1, .emit = emit_xchg, .reg = RW_, .rm = RW_, .reg_size = JIT_SIZE_BV,
	    .rm_size = JIT_SIZE_BV, .no_flags = true),
	OPX(1, 0xc6, 0xc6, 0, .emit = jit_emit_generic, .rm = W_, .rm_size = JIT_SIZE_B,
	    .imm = JIT_IMM_B, .no_flags = true),
	OPX(1, 0xc7, 0xc7, 0, .emit = jit_emit_generic, .rm = W_, .rm_size = JIT_SIZE_V,
	    .imm = JIT_IMM_Z, .no_flags = true),
	OPX(1, 0xb0, 0xbf, -1, .emit = emit_mov_imm, .no_flags = true),
	OPX(1, 0x63, 0x63, -1, .emit = emit_movsxd, .reg = W_, .rm = R_, .reg_size = JIT_SIZE_V,
	    .rm_size = JIT_SIZE_D, .no_flags = true),
	EXTEND(0xb6, JIT_SIZE_B), EXTEND(0xb7, JIT_SIZE_W), EXTEND(0xbe, JIT_SIZE_B),
	EXTEND(0xbf, JIT_SIZE_W),
	OPX(1, 0x69, 0x69, -1, .emit = jit_emit_generic, .reg = W_, .rm = R_,
	    .reg_size = JIT_SIZE_V, .rm_size = JIT_SIZE_V, .imm = JIT_IMM_Z, .kill = ALL),
	OPX(1, 0x6b, 0x6b, -1, .emit = jit_emit_generic, .reg = W_, .rm = R_,
	    .reg_size = JIT_SIZE_V, .rm_size = JIT_SIZE_V, .imm = JIT_IMM_B, .kill = ALL),
	PAIR(0F, 0xaf, 0xaf, RW_, R_, JIT_SIZE_V, .kill = ALL),
	UNARY(0xf6, 0, .rm = R_, .imm = JIT_IMM_Z, .kill = ALL),
	UNARY(0xf6, 2, .rm = RW_, .no_flags = true), UNARY(0xf6, 3, .rm = RW_, .kill = ALL),
	UNARY(0xf6, 4, .rm = R_, .kill = ALL), UNARY(0xf6, 5, .rm = R_, .kill = ALL),
	UNARY(0xfe, 0, .rm = RW_, .kill = ALL & ~JIT_CF), UNARY(0xfe, 1, .rm = RW_, .kill = ALL & ~JIT_CF),
	OPX(1, 0x40, 0x4f, -1, .emit = emit_inc_dec, .kill = ALL & ~JIT_CF),
	SHIFT(0), SHIFT(1), SHIFT(2), SHIFT(3), SHIFT(4), SHIFT(5), SHIFT(6), SHIFT(7),
	OPX(0F, 0xa4, 0xa4, -1, .emit = jit_emit_generic, .rm = RW_, .reg = R_,
	    .rm_size = JIT_SIZE_V, .reg_size = JIT_SIZE_V, .imm = JIT_IMM_B),
	OPX(0F, 0xac, 0xac, -1, .emit = jit_emit_generic, .rm = RW_, .reg = R_,
	    .rm_size = JIT_SIZE_V, .reg_size = JIT_SIZE_V, .imm = JIT_IMM_B),
	PAIR(0F, 0xa5, 0xa5, R_, RW_, JIT_SIZE_V), PAIR(0F, 0xad, 0xad, R_, RW_, JIT_SIZE_V),
	OPX(0F, 0x90, 0x9f, -1, .emit = jit_emit_generic, .rm = W_, .rm_size = JIT_SIZE_B,
	    .no_flags = true),
	PAIR(0F, 0x40, 0x4f, RW_, R_, JIT_SIZE_V, .no_flags = true),
	BIT_IMM(4, R_), BIT_IMM(5, RW_), BIT_IMM(6, RW_), BIT_IMM(7, RW_),
	PAIR(0F, 0xb0, 0xb1, R_, RW_, JIT_SIZE_BV, .kill = ALL),
	PAIR(0F, 0xc0, 0xc1, RW_, RW_, JIT_SIZE_BV, .kill = ALL),
	OPX(0F, 0xb8, 0xb8, -1, .emit = emit_scan, .reg = W_, .rm = R_, .reg_size = JIT_SIZE_V,
	    .rm_size = JIT_SIZE_V, .kill = ALL),
	OPX(0F, 0xbc, 0xbd, -1, .emit = emit_scan, .reg = RW_, .rm = R_, .reg_size = JIT_SIZE_V,
	    .rm_size = JIT_SIZE_V, .kill = ALL),
	OPX(0F, 0xc8, 0xcf, -1, .emit = emit_bswap, .no_flags = true),
	OPX(1, 0x98, 0x99, -1, .emit = emit_plain, .no_flags = true),
	OPX(1, 0x90, 0x90, -1, .emit = emit_nop, .no_flags = true),
	OPX(1, 0x91, 0x97, -1, .emit = emit_xchg_accumulator, .no_flags = true),
	OPX(0F, 0x18, 0x1f, -1, .emit = emit_nop, .no_flags = true),
	OPX(0F, 0x0d, 0x0d, -1, .emit = emit_nop, .no_flags = true),
	OPX(1, 0xf5, 0xf5, -1, .emit = emit_plain, .use = JIT_CF, .kill = JIT_CF),
	OPX(1, 0xf8, 0xf9, -1, .emit = emit_plain, .kill = JIT_CF),
	{ 0 },
};
