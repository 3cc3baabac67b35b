/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Near jumps, calls and returns. */
#include "cpu/soft/jit/emit.h"

#include <stddef.h>

static int64_t next_of(const struct jit_emit *e, const struct x86_insn *x)
{
	return (int64_t)e->insn->offset + x->length;
}

static bool emit_jcc(struct jit_emit *e, const struct x86_insn *x)
{
	if (!e->wide)
		return false;
	jit_flags_need(e, JIT_S0);
	jit_exit_direct(e, x->opcode & 0xf, (int32_t)(next_of(e, x) + (int64_t)x->imm));
	return true;
}

static bool emit_jmp(struct jit_emit *e, const struct x86_insn *x)
{
	if (!e->wide)
		return false;
	jit_exit_direct(e, JIT_ALWAYS, (int32_t)(next_of(e, x) + (int64_t)x->imm));
	return true;
}

/* Push the address of the next instruction. */
static void push_return(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	jit_mem_stack(e, -8, 8, SOFT_WRITE, &m);
	jit_load(e, m.free, JIT_FIELD(block_rip));
	jit_lea(e, m.free, (struct jit_at){ m.free, JIT_NONE, 0, (int32_t)next_of(e, x) });
	jit_store(e, m.free, m.at);
	jit_lea(e, JIT_GUEST_RSP, (struct jit_at){ JIT_GUEST_RSP, JIT_NONE, 0, -8 });
}

static bool emit_call(struct jit_emit *e, const struct x86_insn *x)
{
	if (!e->wide)
		return false;
	push_return(e, x);
	jit_exit_direct(e, JIT_ALWAYS, (int32_t)(next_of(e, x) + (int64_t)x->imm));
	return true;
}

/* S0 = the operand of an indirect jump or call. */
static bool load_target(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	if (x->mod == 3) {
		unsigned host = jit_get(e, x->rm, JIT_S0);
		if (host != JIT_S0)
			jit_mov(e, JIT_S0, host);
		return true;
	}
	if (!jit_mem(e, x, 8, SOFT_READ, &m))
		return false;
	jit_load(e, JIT_S0, m.at);
	return true;
}

static bool emit_jmp_indirect(struct jit_emit *e, const struct x86_insn *x)
{
	if (!e->wide)
		return false;
	jit_flags_clobber(e); /* saving them takes S0 */
	if (!load_target(e, x))
		return false;
	jit_exit_indirect(e, false, 0);
	return true;
}

static bool emit_call_indirect(struct jit_emit *e, const struct x86_insn *x)
{
	if (!e->wide)
		return false;
	jit_flags_clobber(e);
	if (!load_target(e, x))
		return false;
	jit_exit_indirect(e, true, 0);
	return true;
}

static bool emit_ret(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	if (!e->wide)
		return false;
	jit_mem_stack(e, 0, 8, SOFT_READ, &m);
	jit_load(e, JIT_S0, m.at);
	jit_exit_indirect(e, false, 8 + (unsigned)x->imm);
	return true;
}

static struct jit_at jump_field(const struct jit_emit *e, size_t field)
{
	size_t side = offsetof(struct soft_vcpu, jit_jumps) +
		      e->unit->table * sizeof(((struct soft_vcpu *)0)->jit_jumps[0]);
	return (struct jit_at){ JIT_STATE, JIT_S1, 0, (int32_t)(side + field) };
}

/* S1 = the offset of the slot for the address in S0: its low bits. */
static void jump_slot(struct jit_emit *e)
{
	/* rorx S1, S0, 60 */
	static const uint8_t rorx[] = { 0xc4, 0x43, 0xfb, 0xf0, 0xfe, 60 };
	jit_bytes(e, rorx, sizeof(rorx));
	jit_op_rr(e, 0x81, 4, JIT_S1);
	jit_u32(e, (SOFT_JUMPS - 1) << 4);
}

void jit_exit_indirect(struct jit_emit *e, bool call, unsigned pop)
{
	jit_op_rm(e, 0x83, 7, JIT_FIELD(pending));
	jit_byte(e, 0);
	jit_slow_jump(e, 5);
	jump_slot(e);
	jit_op_rm(e, 0x3b | JIT_W64, JIT_S0, jump_field(e, offsetof(struct soft_jump, rip)));
	jit_slow_jump(e, 5);
	if (call) {
		jit_store(e, JIT_S0, JIT_FIELD(jit_target));
		push_return(e, &e->insn->x);
		jit_load(e, JIT_S0, JIT_FIELD(jit_target));
		jump_slot(e);
	} else if (pop) {
		jit_lea(e, JIT_GUEST_RSP,
			(struct jit_at){ JIT_GUEST_RSP, JIT_NONE, 0, (int32_t)pop });
	}
	jit_op_rr(e, 0x81 | JIT_W64, 4, JIT_S0); /* and S0, page */
	jit_u32(e, ~(uint32_t)PAGE_MASK);
	jit_store(e, JIT_S0, JIT_FIELD(block_rip));
	jit_op_rm(e, 0xff, 4, jump_field(e, offsetof(struct soft_jump, code)));
}

#define OPX(m, a, b, d, f, ...)                                                                    \
	{ .map = X86_MAP_##m, .first = a, .last = b, .digit = d, .emit = f, .no_flags = true,      \
	  .ends = true }

const struct jit_op jit_branch_ops[] = {
	OPX(1, 0x70, 0x7f, -1, emit_jcc), OPX(0F, 0x80, 0x8f, -1, emit_jcc),
	OPX(1, 0xe9, 0xe9, -1, emit_jmp), OPX(1, 0xeb, 0xeb, -1, emit_jmp),
	OPX(1, 0xe8, 0xe8, -1, emit_call), OPX(1, 0xff, 0xff, 2, emit_call_indirect),
	OPX(1, 0xff, 0xff, 4, emit_jmp_indirect), OPX(1, 0xc2, 0xc3, -1, emit_ret),
	{ 0 },
};
