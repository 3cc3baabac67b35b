/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87: the guest's instruction on the host's unit, where its state is anyway (native/x87.c).
 *
 * c->x87_ready says that nothing needs to be looked at first: the state is there, no exception is
 * enabled (so none is pending, and the host's unit does not trap), CR0.EM and TS are clear. It is
 * tested once in a unit; an instruction that finds it false is the interpreter's, which makes it
 * true if it can.
 *
 * The last instruction's address and operand (FIP, FDP) are stored once after several x87
 * instructions in a row, when something else follows; or before one of them goes its slow way.
 */
#include "cpu/soft/jit/emit.h"
#include "cpu/soft/native/native.h"

enum { CC_E = 4, CC_NE = 5, FCW_MASKS = 0x3f };

void jit_x87_need(struct jit_emit *e)
{
	if (e->x87)
		return;
	jit_flags_clobber(e);
	jit_op_rm(e, 0x80, 7, JIT_FIELD(x87_ready));
	jit_byte(e, 0);
	jit_slow_jump(e, CC_E);
	e->x87 = true;
}

void jit_x87_still(struct jit_emit *e, uint8_t **there)
{
	jit_op_rm(e, 0x80, 7, JIT_FIELD(x87_ready));
	jit_byte(e, 0);
	*there = jit_jump(e, CC_NE);
}

void jit_x87_note(struct jit_emit *e, const struct jit_x87_last *last)
{
	uint32_t lea = 0x8d | (e->wide ? JIT_W64 : 0);
	if (!last->insn)
		return;
	jit_load(e, JIT_S0, JIT_FIELD(block_rip));
	jit_op_rm(e, lea, JIT_S0, (struct jit_at){ JIT_S0, JIT_NONE, 0, last->insn->offset });
	jit_store(e, JIT_S0, JIT_FIELD(x87_ip));
	if (!last->data)
		return;
	jit_mem_address(e, last->data);
	jit_store(e, JIT_S0, JIT_FIELD(x87_dp));
}

void jit_x87_flush(struct jit_emit *e)
{
	jit_x87_note(e, &e->x87_last);
	e->x87_last = (struct jit_x87_last){ 0 };
}

/* Of those that go by EFLAGS or set them. */
static bool reads_flags(const struct x86_insn *x)
{
	return x->mod == 3 && (x->opcode == 0xda || x->opcode == 0xdb) && (x->reg & 7) <= 3;
}

static bool writes_flags(const struct x86_insn *x)
{
	unsigned digit = x->reg & 7;
	return x->mod == 3 && (x->opcode == 0xdb || x->opcode == 0xdf) && (digit == 5 || digit == 6);
}

void jit_x87_flags_effect(const struct x86_insn *x, uint8_t *use, uint8_t *kill)
{
	*use = reads_flags(x) ? JIT_CF | JIT_PF | JIT_ZF : 0;
	*kill = writes_flags(x) ? JIT_FLAGS : 0;
}

static void emit_host(struct jit_emit *e, const struct x86_insn *x, const struct jit_mem *m)
{
	struct native_names names = { .index = NATIVE_NO_INDEX };
	if (m) {
		names.base = m->at.base;
		names.index = m->at.index == JIT_NONE ? NATIVE_NO_INDEX : m->at.index;
		names.scale = m->at.scale;
		names.disp = m->at.disp;
	}
	struct native_code out = { e->p, e->end };
	native_emit_named(&out, NULL, x, &names);
	if (out.p > out.end)
		e->failed = true;
	else
		e->p = out.p;
}

/* FIP and FDP are this one's from here on. */
static void remember(struct jit_emit *e, const struct x86_insn *x)
{
	e->x87_last.insn = e->insn;
	if (x->mod != 3 && !soft_has_feature(e->c, CPU_WORD_7_0_EBX, NATIVE_FDP_EXCPTN_ONLY))
		e->x87_last.data = e->insn;
}

static bool emit_memory(struct jit_emit *e, const struct x86_insn *x, unsigned size, bool store)
{
	struct jit_mem m;
	if (!jit_mem(e, x, size, store ? SOFT_WRITE : SOFT_READ, &m))
		return false;
	emit_host(e, x, &m);
	return true;
}

static bool emit_plain(struct jit_emit *e, const struct x86_insn *x)
{
	unsigned size;
	bool store;
	if (!native_x87_plain(x, &size, &store) || !(x->mod == 3 || jit_mem_supported(e, x)))
		return false;
	jit_x87_need(e);
	if (x->mod != 3) {
		if (!emit_memory(e, x, size, store))
			return false;
		remember(e, x);
		return true;
	}
	if (reads_flags(x))
		jit_flags_need(e, JIT_S0);
	emit_host(e, x, NULL);
	if (writes_flags(x))
		jit_flags_written(e);
	remember(e, x);
	return true;
}

/* FLDCW, if all exceptions stay masked: conversions to integers change the rounding mode. */
static bool emit_fldcw(struct jit_emit *e, const struct x86_insn *x)
{
	struct jit_mem m;
	if (!jit_mem_supported(e, x))
		return false;
	jit_x87_need(e);
	if (!jit_mem(e, x, 2, SOFT_READ, &m))
		return false;
	jit_op_rm(e, 0x0fb7, m.free, m.at);
	jit_op_rr(e, 0xf7, 2, m.free); /* not */
	jit_op_rr(e, 0xf6 | JIT_BYTE_REGS, 0, m.free);
	jit_byte(e, FCW_MASKS);
	jit_slow_jump(e, CC_NE);
	emit_host(e, x, &m);
	return true;
}

static bool emit_x87(struct jit_emit *e, const struct x86_insn *x)
{
	unsigned digit = x->reg & 7;
	if (x->prefixes & X86_PREFIX_LOCK)
		return false;
	if (x->mod == 3) {
		switch (x->opcode << 8 | x->modrm) {
		case 0xdfe0: /* FNSTSW AX: an operand's address may consist of it */
			jit_x87_need(e);
			jit_x87_flush(e);
			emit_host(e, x, NULL);
			return true;
		case 0xdbe2: /* FNCLEX */
			jit_x87_need(e);
			emit_host(e, x, NULL);
			return true;
		}
		return emit_plain(e, x);
	}
	switch (x->opcode << 4 | digit) {
	case 0xd95:
		return emit_fldcw(e, x);
	case 0xd97: case 0xdd7: /* FNSTCW, FNSTSW */
		if (!jit_mem_supported(e, x))
			return false;
		jit_x87_need(e);
		return emit_memory(e, x, 2, true);
	}
	return emit_plain(e, x);
}

/* FWAIT: nothing can be pending. */
static bool emit_fwait(struct jit_emit *e, const struct x86_insn *x)
{
	if (x->prefixes & X86_PREFIX_LOCK)
		return false;
	jit_x87_need(e);
	return true;
}

const struct jit_op jit_x87_ops[] = {
	{ .map = X86_MAP_1, .first = 0xd8, .last = 0xdf, .digit = -1, .emit = emit_x87, .x87 = true },
	{ .map = X86_MAP_1, .first = 0x9b, .last = 0x9b, .digit = -1, .emit = emit_fwait,
	  .no_flags = true, .x87 = true },
	{ 0 },
};
