/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PUSH, POP, LEAVE. */
#include "cpu/soft/jit/emit.h"

void jit_move_stack(struct jit_emit *e, int32_t by)
{
	jit_lea_word(e, JIT_GUEST_RSP, (struct jit_at){ JIT_GUEST_RSP, JIT_NONE, 0, by });
}

/* The same for what pushes or pops: soon enough. */
static void move_on(struct jit_emit *e, int32_t by)
{
	if (jit_frame_may_lag(e))
		e->frame.behind += by;
	else
		jit_move_stack(e, by);
}

static uint32_t size_bits(unsigned size)
{
	return size == 8 ? JIT_W64 : size == 2 ? JIT_OPSIZE : 0;
}

static bool emit_push(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	int32_t size = x->op_size;
	jit_mem_stack(e, -size, (unsigned)size, SOFT_WRITE, &m);
	jit_op_rm(e, 0x89 | size_bits(x->op_size), jit_get(e, x->rm, m.free), m.at);
	move_on(e, -size);
	return true;
}

/* PUSH r/m: the operand is found first, the stack after it. */
static bool emit_push_operand(struct jit_emit *e, const struct x86_insn *x)
{
	int32_t word = (int32_t)jit_word(e);
	struct jit_mem m;
	if (x->mod == 3)
		return emit_push(e, x);
	e->quiet = true;
	if (x->op_size != word || !jit_mem(e, x, (unsigned)word, SOFT_READ, &m))
		return false;
	jit_op_rm(e, 0x8b | jit_word_bits(e), JIT_S0, m.at);
	jit_store(e, JIT_S0, JIT_FIELD(jit_spill));
	jit_mem_stack(e, -word, (unsigned)word, SOFT_WRITE, &m);
	jit_load(e, m.free, JIT_FIELD(jit_spill));
	jit_op_rm(e, 0x89 | jit_word_bits(e), m.free, m.at);
	jit_move_stack(e, -word);
	return true;
}

static bool emit_push_imm(struct jit_emit *e, const struct x86_insn *x)
{
	int32_t word = (int32_t)jit_word(e);
	struct jit_mem m;
	if (x->op_size != word)
		return false;
	jit_mem_stack(e, -word, (unsigned)word, SOFT_WRITE, &m);
	jit_op_rm(e, 0xc7 | jit_word_bits(e), 0, m.at);
	jit_immediate(e, &x->imm, 4);
	move_on(e, -word);
	return true;
}

static bool emit_pop(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	unsigned host = jit_host_of(e, x->rm), size = x->op_size;
	/* POP SP adds to what it does not replace. */
	if (size == 2 && x->rm == X86_RSP)
		return false;
	jit_mem_stack(e, 0, size, SOFT_READ, &m);
	jit_op_rm(e, 0x8b | size_bits(size), host == JIT_NONE ? m.free : host, m.at);
	if (host == JIT_NONE)
		jit_op_rm(e, 0x89 | (size == 2 ? JIT_OPSIZE : JIT_W64), m.free, JIT_GPR(x->rm));
	if (x->rm != X86_RSP)
		move_on(e, (int32_t)size);
	return true;
}

static bool emit_leave(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	unsigned word = jit_word(e);
	struct x86_insn frame = { .has_modrm = true, .addr_size = word, .seg = X86_SS,
				  .base = X86_RBP, .index = X86_REG_NONE };
	e->quiet = true;
	if (x->op_size != word || !jit_mem(e, &frame, word, SOFT_READ, &m))
		return false;
	jit_op_rm(e, 0x8b | jit_word_bits(e), m.free, m.at);
	jit_lea_word(e, JIT_GUEST_RSP, (struct jit_at){ X86_RBP, JIT_NONE, 0, (int32_t)word });
	jit_mov(e, X86_RBP, m.free);
	return true;
}

#define OPX(a, b, d, f)                                                                            \
	{ .map = X86_MAP_1, .first = a, .last = b, .digit = d, .emit = f, .no_flags = true }

const struct jit_op jit_stack_ops[] = {
	OPX(0x50, 0x57, -1, emit_push), OPX(0x58, 0x5f, -1, emit_pop),
	OPX(0x68, 0x68, -1, emit_push_imm), OPX(0x6a, 0x6a, -1, emit_push_imm),
	OPX(0xff, 0xff, 6, emit_push_operand), OPX(0xc9, 0xc9, -1, emit_leave),
	{ 0 },
};
