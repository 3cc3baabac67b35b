/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * String instructions: the host's own, on host addresses, as long as all of it lies in one page on
 * either side and goes forward. Anything else (long ones, page crossings, DF) is the interpreter's,
 * which goes page by page.
 */
#include "cpu/soft/jit/emit.h"

#include <stddef.h>

enum { CC_NE = 5, CC_A = 7 };

static bool repeats(const struct x86_insn *x)
{
	return x->prefixes & (X86_PREFIX_REP | X86_PREFIX_REPNE);
}

static unsigned size_of(const struct x86_insn *x)
{
	return x->opcode & 1 ? x->op_size : 1;
}

static bool reads_source(const struct x86_insn *x)
{
	return (x->opcode & 0xfc) == 0xa4 || (x->opcode & 0xfe) == 0xac;
}

static bool uses_destination(const struct x86_insn *x)
{
	return (x->opcode & 0xfe) != 0xac;
}

static enum soft_access destination_access(const struct x86_insn *x)
{
	unsigned op = x->opcode & 0xfe;
	return op == 0xa4 || op == 0xaa ? SOFT_WRITE : SOFT_READ;
}

/* S1 = what leads from the linear address in `reg` to the host's, for all that is touched there. */
static void find_run(struct jit_emit *e, const struct x86_insn *x, unsigned reg,
		     enum soft_access access)
{
	jit_tlb_check(e, reg, size_of(x), access);
	if (repeats(x)) {
		jit_lea(e, JIT_S0, (struct jit_at){ JIT_S0, X86_RCX,
						    (uint8_t)__builtin_ctz(size_of(x)), 0 });
		jit_op_rr(e, 0x81 | JIT_W64, 7, JIT_S0);
		jit_u32(e, PAGE_SIZE);
		jit_slow_jump(e, CC_A);
	}
	jit_load(e, JIT_S1, jit_tlb_field(e, offsetof(struct soft_tlb_entry, addend)));
}

/* reg += by, or -= by; EFLAGS stay. */
static void move(struct jit_emit *e, unsigned reg, unsigned by, bool back)
{
	if (back)
		jit_op_rr(e, 0xf7 | JIT_W64, 2, by); /* not */
	jit_lea(e, reg, (struct jit_at){ reg, by, 0, back });
}

static void emit_host(struct jit_emit *e, const struct x86_insn *x)
{
	if (repeats(x))
		jit_byte(e, x->prefixes & X86_PREFIX_REP ? 0xf3 : 0xf2);
	if (size_of(x) == 2)
		jit_byte(e, 0x66);
	else if (size_of(x) == 8)
		jit_byte(e, 0x48);
	jit_byte(e, x->opcode);
}

/*
 * 32-bit code: what is left of 64-bit code's in the upper halves does not count, and pointers wrap.
 */
static void cut_registers(struct jit_emit *e, const struct x86_insn *x)
{
	if (e->wide)
		return;
	if (repeats(x))
		jit_op_rr(e, 0x89, X86_RCX, X86_RCX);
	if (reads_source(x))
		jit_op_rr(e, 0x89, X86_RSI, X86_RSI);
	if (uses_destination(x))
		jit_op_rr(e, 0x89, X86_RDI, X86_RDI);
}

static bool emit_string(struct jit_emit *e, const struct x86_insn *x)
{
	bool source = reads_source(x), destination = uses_destination(x);
	if (x->addr_size != jit_word(e) || x->prefixes & X86_PREFIX_LOCK ||
	    (source && x->seg >= X86_FS))
		return false;
	jit_flags_clobber(e);
	cut_registers(e, x);
	/* DF is bit 10 */
	jit_op_rm(e, 0xf6, 0, jit_field(offsetof(struct soft_vcpu, s.rflags) + 1));
	jit_byte(e, X86_FLAG_DF >> 8);
	jit_slow_jump(e, CC_NE);
	if (repeats(x)) {
		jit_op_rr(e, 0x81 | JIT_W64, 7, X86_RCX);
		jit_u32(e, PAGE_SIZE / size_of(x));
		jit_slow_jump(e, CC_A);
	}
	if (source) {
		find_run(e, x, X86_RSI, SOFT_READ);
		jit_store(e, JIT_S1, JIT_FIELD(jit_spill));
	}
	if (destination)
		find_run(e, x, X86_RDI, destination_access(x));
	if (!e->op->no_flags)
		jit_flags_need(e, JIT_S0);
	if (source) {
		jit_load(e, JIT_S0, JIT_FIELD(jit_spill));
		move(e, X86_RSI, JIT_S0, false);
	}
	if (destination)
		move(e, X86_RDI, JIT_S1, false);
	emit_host(e, x);
	if (source)
		move(e, X86_RSI, JIT_S0, true);
	if (destination)
		move(e, X86_RDI, JIT_S1, true);
	cut_registers(e, x);
	if (!e->op->no_flags)
		jit_flags_written(e);
	return true;
}

#define OPX(a, b, ...) { .map = X86_MAP_1, .first = a, .last = b, .digit = -1,                     \
			 .emit = emit_string, __VA_ARGS__ }

const struct jit_op jit_string_ops[] = {
	OPX(0xa4, 0xa5, .no_flags = true), OPX(0xa6, 0xa7), OPX(0xaa, 0xad, .no_flags = true),
	OPX(0xae, 0xaf),
	{ 0 },
};
