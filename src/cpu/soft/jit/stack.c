/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PUSH, POP, LEAVE. */
#include "cpu/soft/jit/emit.h"

static void move_stack(struct jit_emit *e, int32_t by)
{
	jit_lea(e, JIT_GUEST_RSP, (struct jit_at){ JIT_GUEST_RSP, JIT_NONE, 0, by });
}

static bool emit_push(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	if (!e->wide || x->op_size != 8 || (x->has_modrm && x->mod != 3))
		return false;
	jit_mem_stack(e, -8, 8, SOFT_WRITE, &m);
	jit_store(e, jit_get(e, x->rm, m.free), m.at);
	move_stack(e, -8);
	return true;
}

static bool emit_push_imm(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	if (!e->wide || x->op_size != 8)
		return false;
	jit_mem_stack(e, -8, 8, SOFT_WRITE, &m);
	jit_op_rm(e, 0xc7 | JIT_W64, 0, m.at);
	jit_u32(e, x->imm);
	move_stack(e, -8);
	return true;
}

static bool emit_pop(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	unsigned host = jit_host_of(x->rm);
	if (!e->wide || x->op_size != 8)
		return false;
	jit_mem_stack(e, 0, 8, SOFT_READ, &m);
	if (host == JIT_NONE) {
		jit_load(e, m.free, m.at);
		jit_store(e, m.free, JIT_GPR(x->rm));
	} else {
		jit_load(e, host, m.at);
	}
	if (x->rm != X86_RSP)
		move_stack(e, 8);
	return true;
}

static bool emit_leave(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	struct x86_insn frame = { .has_modrm = true, .addr_size = 8, .seg = X86_SS, .base = X86_RBP,
				  .index = X86_REG_NONE };
	if (!e->wide || x->op_size != 8 || !jit_mem(e, &frame, 8, SOFT_READ, &m))
		return false;
	jit_load(e, m.free, m.at);
	jit_lea(e, JIT_GUEST_RSP, (struct jit_at){ X86_RBP, JIT_NONE, 0, 8 });
	jit_mov(e, X86_RBP, m.free);
	return true;
}

#define OPX(a, b, d, f)                                                                            \
	{ .map = X86_MAP_1, .first = a, .last = b, .digit = d, .emit = f, .no_flags = true }

const struct jit_op jit_stack_ops[] = {
	OPX(0x50, 0x57, -1, emit_push), OPX(0x58, 0x5f, -1, emit_pop),
	OPX(0x68, 0x68, -1, emit_push_imm), OPX(0x6a, 0x6a, -1, emit_push_imm),
	OPX(0xff, 0xff, 6, emit_push), OPX(0xc9, 0xc9, -1, emit_leave),
	{ 0 },
};
