/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ways into translated code, out of it, and through C and back. Between two pieces of translated
 * code all guest registers are in the host's; before any C runs they are all in c->s, and flags in c->flags.
 */
#include "cpu/soft/jit/emit.h"

#include <stddef.h>

static void all_registers(struct jit_emit *e, bool save)
{
	if (!save)
		jit_flags_from_c(e, X86_RAX);
	for (unsigned n = 0; n < 16; n++) {
		unsigned host = jit_home_of(n);
		if (host == JIT_NONE)
			continue;
		if (save)
			jit_store(e, host, JIT_GPR(n));
		else
			jit_load(e, host, JIT_GPR(n));
	}
	if (save)
		jit_flags_to_c(e, X86_RAX);
}

static const uint8_t saved[] = { X86_RBX, X86_RBP, 12, 13, 14, 15 };

static void push_or_pop(struct jit_emit *e, unsigned n, bool pop)
{
	if (n & 8)
		jit_byte(e, 0x41);
	jit_byte(e, (pop ? 0x58 : 0x50) | (n & 7));
}

/* void enter(struct soft_vcpu *c, const uint8_t *code) */
static uint8_t *make_enter(struct jit_emit *e)
{
	uint8_t *at = e->p;
	for (unsigned n = 0; n < G_N_ELEMENTS(saved); n++)
		push_or_pop(e, saved[n], false);
	jit_op_rr(e, 0x83 | JIT_W64, 5, X86_RSP); /* sub rsp, 8: calls find it aligned */
	jit_byte(e, 8);
	jit_op_rm(e, 0x89 | JIT_W64, X86_RSP,
		  (struct jit_at){ X86_RDI, JIT_NONE, 0, offsetof(struct soft_vcpu, jit_host_rsp) });
	jit_mov(e, X86_RSP, X86_RDI);
	jit_mov(e, JIT_S0, X86_RSI);
	all_registers(e, false);
	jit_op_rr(e, 0xff, 4, JIT_S0); /* jmp */
	return at;
}

/* To enter()'s caller; everything is in c->s already. */
static uint8_t *make_leave(struct jit_emit *e)
{
	uint8_t *at = e->p;
	jit_load(e, X86_RSP, JIT_FIELD(jit_host_rsp));
	jit_op_rr(e, 0x83 | JIT_W64, 0, X86_RSP);
	jit_byte(e, 8);
	for (unsigned n = G_N_ELEMENTS(saved); n-- > 0;)
		push_or_pop(e, saved[n], true);
	jit_byte(e, 0xc3);
	return at;
}

/* Save, and call helper(c, S0) on the thread's stack; back on ours after it. */
static void call_c(struct jit_emit *e, uintptr_t helper)
{
	jit_op_rm(e, 0x80, 7, JIT_FIELD(jit_vectors));
	jit_byte(e, JIT_VECTORS_OUT);
	uint8_t *out = jit_jump(e, 4);
	jit_jump_to(e, JIT_CALL, e->jit->vectors_save);
	jit_bind(out, e->p);
	all_registers(e, true);
	jit_mov(e, X86_RDI, X86_RSP);
	jit_mov(e, X86_RSI, JIT_S0);
	jit_mov(e, X86_RBX, X86_RSP);
	jit_load(e, X86_RSP, JIT_FIELD(jit_host_rsp));
	jit_const(e, X86_RAX, helper);
	jit_op_rr(e, 0xff, 2, X86_RAX);
	jit_mov(e, X86_RSP, X86_RBX);
}

/* call with S0 = instruction; comes back unless the helper says where else to go. */
static uint8_t *make_insn(struct jit_emit *e)
{
	uint8_t *at = e->p;
	jit_op_rm(e, 0x8f, 0, jit_field(offsetof(struct soft_vcpu, jit_return)));
	call_c(e, (uintptr_t)jit_help_insn);
	jit_op_rr(e, 0x85 | JIT_W64, X86_RAX, X86_RAX);
	uint8_t *same = jit_jump(e, 4);
	jit_store(e, X86_RAX, JIT_FIELD(jit_return));
	jit_bind(same, e->p);
	all_registers(e, false);
	jit_op_rm(e, 0xff, 4, JIT_FIELD(jit_return));
	return at;
}

/* jump with S0 = argument; goes on where the helper says. */
static uint8_t *make_next(struct jit_emit *e, uintptr_t helper)
{
	uint8_t *at = e->p;
	call_c(e, helper);
	jit_op_rr(e, 0x85 | JIT_W64, X86_RAX, X86_RAX);
	jit_jump_to(e, 4, e->jit->leave);
	jit_store(e, X86_RAX, JIT_FIELD(jit_return));
	all_registers(e, false);
	jit_op_rm(e, 0xff, 4, JIT_FIELD(jit_return));
	return at;
}

/* call with S0 = enum jit_vectors: those registers are in the host then, or still not. */
static uint8_t *make_vectors(struct jit_emit *e)
{
	uint8_t *at = e->p;
	jit_op_rm(e, 0x8f, 0, jit_field(offsetof(struct soft_vcpu, jit_return)));
	call_c(e, (uintptr_t)jit_help_vectors);
	jit_vectors_load_code(e);
	all_registers(e, false);
	jit_op_rm(e, 0xff, 4, JIT_FIELD(jit_return));
	return at;
}

void jit_thunks_make(struct jit_emit *e)
{
	struct jit *jit = e->jit;
	jit->leave = make_leave(e);
	jit->vectors_save = jit_vectors_make_save(e);
	for (unsigned level = JIT_VECTORS_LOW; level <= JIT_VECTORS_ALL; level++)
		jit->vectors_in[level] = jit_vectors_make_in(e, level);
	for (unsigned side = 0; side < SOFT_JUMP_SIDES; side++)
		jit->thunk_jump[side] = jit_jump_make(e, side);
	jit->enter = make_enter(e);
	jit->thunk_insn = make_insn(e);
	jit->thunk_end = make_next(e, (uintptr_t)jit_help_end);
	jit->thunk_link = make_next(e, (uintptr_t)jit_help_link);
	jit->thunk_before = make_next(e, (uintptr_t)jit_help_before);
	jit->thunk_plain = make_next(e, (uintptr_t)jit_help_plain);
	jit->thunk_goto = make_next(e, (uintptr_t)jit_help_goto);
	jit->thunk_after = make_next(e, (uintptr_t)jit_help_after);
	jit->thunk_vectors = make_vectors(e);
}
