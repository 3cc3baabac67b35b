/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Integer instructions of their own form: bit strings, wide compare and exchange, flags, CRC32. */
#include "cpu/soft/jit/emit.h"

#include <stddef.h>

enum { CC_NE = 5 };
enum { CX8 = 1u << 8 /* CPUID.1.EDX */, CX16 = 1u << 13, SSE42 = 1u << 20 /* CPUID.1.ECX */,
       LAHF = 1u << 0 /* CPUID.80000001.ECX */ };
enum { OTHER_PREFIXES = X86_PREFIX_OPSIZE | X86_PREFIX_REP | X86_PREFIX_REPNE };

static uint32_t size_bits(unsigned size)
{
	return size == 8 ? JIT_W64 : size == 2 ? JIT_OPSIZE : 0;
}

/* --- BT, BTS, BTR, BTC with a register index ------------------------------------------------------*/

/* S0 = the operand's linear address, moved to the word that holds the bit. */
static void find_word(struct jit_emit *e, const struct x86_insn *x)
{
	static const uint32_t extend[4] = { 0, 0x0fbf | JIT_W64, 0x63 | JIT_W64, 0x8b | JIT_W64 };
	unsigned log = (unsigned)__builtin_ctz(x->op_size);
	jit_mem_linear(e, e->insn);
	if (e->wide)
		jit_store(e, JIT_S0, JIT_FIELD(jit_spill));
	jit_op_rr(e, extend[log], JIT_S1, jit_get(e, x->reg, JIT_S1));
	jit_op_rr(e, 0xc1 | JIT_W64, 7, JIT_S1); /* sar */
	jit_byte(e, log + 3);
	jit_lea_word(e, JIT_S0, (struct jit_at){ JIT_S0, JIT_S1, log, 0 });
}

/*
 * In memory they reach any bit of a string: look up the word that holds it. The host's instruction,
 * given the string's start moved by the same distance, finds the same one. Not so where addresses
 * wrap at 4 GiB: there it gets the word, and the bit's number in it.
 */
static bool emit_bit_string(struct jit_emit *e, const struct x86_insn *x)
{
	unsigned size = x->op_size, index;
	enum soft_access access = x->opcode == 0xa3 ? SOFT_READ : SOFT_WRITE;
	uint32_t op = 0x0f00 | x->opcode | size_bits(size);
	struct jit_mem m;
	if (x->mod == 3)
		return jit_emit_generic(e, x);
	if (!jit_mem_supported(e, x) || x->addr_size != jit_word(e) ||
	    (!e->wide && (x->seg >= X86_FS || e->live & ~JIT_CF)))
		return false;
	jit_flags_clobber(e);
	find_word(e, x);
	if (e->wide) {
		jit_tlb_check(e, JIT_S0, size, access);
		jit_load(e, JIT_S0, jit_tlb_field(e, offsetof(struct soft_tlb_entry, addend)));
		jit_op_rm(e, 0x03 | JIT_W64, JIT_S0, JIT_FIELD(jit_spill));
		jit_flags_need(e, JIT_S1);
		index = jit_get(e, x->reg, JIT_S1);
	} else {
		jit_mem_found(e, size, access, &m);
		index = JIT_S1;
		jit_op_rr(e, 0x8b, index, jit_host_of(e, x->reg));
		jit_op_rr(e, 0x83, 4, index); /* and */
		jit_byte(e, size * 8 - 1);
	}
	op |= jit_lock_bit(e, x);
	jit_op_rm(e, op, index, (struct jit_at){ JIT_S0, JIT_NONE, 0, 0 });
	jit_flags_written(e);
	return true;
}

/* --- CMPXCHG8B, CMPXCHG16B ------------------------------------------------------------------------*/

static bool emit_exchange_pair(struct jit_emit *e, const struct x86_insn *x)
{
	bool wide = x->op_size == 8;
	struct jit_mem m;
	if (x->mod == 3 || !jit_mem_supported(e, x) || x->prefixes & (X86_PREFIX_REP | X86_PREFIX_REPNE) ||
	    !soft_has_feature(e->c, wide ? CPU_WORD_1_ECX : CPU_WORD_1_EDX, wide ? CX16 : CX8))
		return false;
	jit_mem(e, x, wide ? 16 : 8, SOFT_WRITE, &m);
	if (wide) { /* misaligned: #GP */
		jit_lea(e, m.free, m.at);
		jit_op_rr(e, 0xf6 | JIT_BYTE_REGS, 0, m.free);
		jit_byte(e, 15);
		jit_slow_jump(e, CC_NE);
	}
	jit_flags_need(e, m.free);
	uint32_t op = 0x0fc7 | (wide ? JIT_W64 : 0) | jit_lock_bit(e, x);
	jit_op_rm(e, op, 1, m.at);
	jit_flags_written(e);
	return true;
}

/* --- EFLAGS as a value ----------------------------------------------------------------------------*/

static bool emit_lahf(struct jit_emit *e, const struct x86_insn *x)
{
	if (e->wide && !soft_has_feature(e->c, CPU_WORD_80000001_ECX, LAHF))
		return false;
	jit_flags_need(e, JIT_S0);
	jit_byte(e, x->opcode);
	if (x->opcode == 0x9e)
		jit_flags_written(e);
	return true;
}

static bool emit_pushf(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	int32_t word = (int32_t)jit_word(e);
	if (x->op_size != word)
		return false;
	jit_flags_clobber(e); /* brings them to c->flags */
	jit_flags_to_c(e, JIT_S0);
	jit_mem_stack(e, -word, (unsigned)word, SOFT_WRITE, &m);
	jit_load(e, m.free, JIT_FIELD(s.rflags));
	jit_op_rr(e, 0x81 | JIT_W64, 4, m.free);
	jit_u32(e, ~(uint32_t)(X86_FLAGS_ARITH | X86_FLAG_RF | X86_FLAG_VM));
	jit_op_rm(e, 0x0b | JIT_W64, m.free, JIT_FIELD(flags));
	jit_op_rr(e, 0x83 | JIT_W64, 1, m.free); /* or */
	jit_byte(e, 2);
	jit_op_rm(e, 0x89 | jit_word_bits(e), m.free, m.at);
	jit_move_stack(e, -word);
	return true;
}

static bool emit_direction(struct jit_emit *e, const struct x86_insn *x)
{
	jit_flags_clobber(e);
	bool set = x->opcode == 0xfd;
	jit_op_rm(e, 0x81, set ? 1 : 4, JIT_FIELD(s.rflags));
	jit_u32(e, set ? X86_FLAG_DF : ~(uint32_t)X86_FLAG_DF);
	return true;
}

/* --- moves ----------------------------------------------------------------------------------------*/

/* MOV between the accumulator and an absolute address. */
static bool emit_moffs(struct jit_emit *e, const struct x86_insn *x)
{
	unsigned size = x->opcode & 1 ? x->op_size : 1;
	bool store = x->opcode & 2;
	struct jit_mem m;
	if (x->addr_size != jit_word(e) || (!e->wide && x->seg == X86_CS))
		return false;
	jit_flags_clobber(e);
	jit_const(e, JIT_S0, e->wide ? (uint64_t)x->disp : (uint32_t)x->disp);
	jit_segment_base(e, x->seg);
	jit_mem_found(e, size, store ? SOFT_WRITE : SOFT_READ, &m);
	uint32_t op = (store ? 0x88 : 0x8a) | (size > 1) | size_bits(size);
	jit_op_rm(e, op, X86_RAX, m.at);
	return true;
}

/* AL = [rBX + AL]. */
static bool emit_xlat(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	if (x->addr_size != jit_word(e) || (!e->wide && x->seg == X86_CS))
		return false;
	jit_flags_clobber(e);
	jit_op_rr(e, 0x0fb6 | JIT_BYTE_REGS, JIT_S1, X86_RAX);
	jit_lea_word(e, JIT_S0, (struct jit_at){ X86_RBX, JIT_S1, 0, 0 });
	jit_segment_base(e, x->seg);
	jit_mem_found(e, 1, SOFT_READ, &m);
	jit_op_rm(e, 0x8a, X86_RAX, m.at);
	return true;
}

static bool emit_movnti(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	if (x->mod == 3 || x->prefixes & (OTHER_PREFIXES | X86_PREFIX_LOCK) || x->op_size < 4 ||
	    !jit_mem(e, x, x->op_size, SOFT_WRITE, &m))
		return false;
	jit_op_rm(e, 0x0fc3 | size_bits(x->op_size), jit_get(e, x->reg, m.free), m.at);
	return true;
}

static bool emit_fence(struct jit_emit *e, const struct x86_insn *x)
{
	if (x->mod != 3 || x->prefixes & (OTHER_PREFIXES | X86_PREFIX_LOCK))
		return false;
	jit_bytes(e, (const uint8_t[]){ 0x0f, 0xae, x->modrm }, 3);
	return true;
}

bool jit_emit_crc32(struct jit_emit *e, const struct x86_insn *x)
{
	unsigned size = x->opcode & 1 ? x->op_size : 1;
	bool high = size == 1 && x->mod == 3 && (x->rm & ~3u) == 4 &&
		    !(x->prefixes & X86_PREFIX_REX);
	uint32_t op = 0x0f38f0 | (size > 1) | JIT_F2 | (size == 1 ? JIT_BYTE_REGS : size_bits(size));
	struct jit_mem m = { .free = JIT_S0 };
	if (high || x->prefixes & X86_PREFIX_LOCK || !soft_has_feature(e->c, CPU_WORD_1_ECX, SSE42) ||
	    (x->mod != 3 && !jit_mem(e, x, size, SOFT_READ, &m)))
		return false;
	unsigned to = jit_get(e, x->reg, m.free);
	if (x->mod == 3)
		jit_op_rr(e, op, to, jit_get(e, x->rm, JIT_S1));
	else
		jit_op_rm(e, op, to, m.at);
	/* A byte into 64 bits needs no REX.W: the upper half is 0 either way. */
	if (jit_host_of(e, x->reg) == JIT_NONE)
		jit_store(e, to, JIT_GPR(x->reg));
	return true;
}

#define OPX(m, a, b, d, f, ...) { .map = X86_MAP_##m, .first = a, .last = b, .digit = d, .emit = f,  \
				  __VA_ARGS__ }
#define BIT_STRING(op, role) OPX(0F, op, op, -1, emit_bit_string, .rm = role, .reg = JIT_R,         \
				 .rm_size = JIT_SIZE_V, .reg_size = JIT_SIZE_V, .kill = JIT_CF)

enum { SAHF_FLAGS = JIT_FLAGS & ~JIT_OF };

const struct jit_op jit_misc_ops[] = {
	BIT_STRING(0xa3, JIT_R), BIT_STRING(0xab, JIT_RW), BIT_STRING(0xb3, JIT_RW),
	BIT_STRING(0xbb, JIT_RW),
	OPX(0F, 0xc7, 0xc7, 1, emit_exchange_pair, .kill = JIT_ZF),
	OPX(1, 0x9e, 0x9e, -1, emit_lahf, .kill = SAHF_FLAGS),
	OPX(1, 0x9f, 0x9f, -1, emit_lahf, .use = SAHF_FLAGS, .no_flags = true),
	OPX(1, 0x9c, 0x9c, -1, emit_pushf, .use = JIT_FLAGS, .no_flags = true),
	OPX(1, 0xfc, 0xfd, -1, emit_direction, .no_flags = true),
	OPX(1, 0xa0, 0xa3, -1, emit_moffs, .no_flags = true),
	OPX(1, 0xd7, 0xd7, -1, emit_xlat, .no_flags = true),
	OPX(0F, 0xc3, 0xc3, -1, emit_movnti, .no_flags = true),
	OPX(0F, 0xae, 0xae, 5, emit_fence, .no_flags = true),
	OPX(0F, 0xae, 0xae, 6, emit_fence, .no_flags = true),
	OPX(0F, 0xae, 0xae, 7, emit_fence, .no_flags = true),
	{ 0 },
};
