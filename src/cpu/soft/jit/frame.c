/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stack frames. Along a unit the stack pointer mostly changes by constants, so that all that is
 * accessed through it lies in a range known beforehand, nearly always in one page that may be written.
 * The unit looks that page up once, at its entry, and keeps the addend in c->jit_frame; the accesses
 * are then a load of the addend and the instruction itself, and leave the flags alone. Of several in a
 * row only the first has to load it (at_hand).
 *
 * If the first jump comes before two such accesses, the lookup is in front of the first one behind it,
 * so that what leaves there does not pay for it.
 *
 * Units have one entry and only leave by the end or the side, and while one runs nothing takes a
 * mapping away without ending it: instructions that flush end units, other threads' demands wait
 * until it is left, and a change of the memory map sets jit->stop.
 *
 * If the lookup fails (a frame across two pages, or not written to yet), a second translation of the
 * unit that looks up every access runs instead: u->plain. In the middle of a unit, that is left for
 * one that begins there.
 */
#include "cpu/soft/jit/emit.h"

#include <stddef.h>

enum { RANGE_MAX = 2048, ACCESSES_MIN = 2 };

static bool is_map1(const struct x86_insn *x, unsigned first, unsigned last)
{
	return x->map == X86_MAP_1 && x->opcode >= first && x->opcode <= last;
}

static bool is_vector(const struct x86_insn *x)
{
	return x->map != X86_MAP_1;
}

/* Is ModRM.reg part of the opcode? */
static bool is_group(const struct x86_insn *x)
{
	unsigned op = x->opcode;
	if (x->map == X86_MAP_0F)
		return op == 0xba || op == 0xae || op == 0x01 || op == 0x18 || op == 0x1f;
	return x->map == X86_MAP_1 &&
	       ((op >= 0x80 && op <= 0x83) || op == 0xc0 || op == 0xc1 || (op & 0xfc) == 0xd0 ||
		op == 0xf6 || op == 0xf7 || op == 0xfe || op == 0xff || op == 0xc6 || op == 0xc7);
}

/* Does it only read its ModRM.reg? */
static bool reads_reg(const struct x86_insn *x)
{
	unsigned op = x->opcode;
	if (x->map != X86_MAP_1)
		return false;
	if (op < 0x40 && (op & 7) < 2) /* OP r/m, reg */
		return true;
	return op == 0x38 || op == 0x39 || op == 0x3a || op == 0x3b || (op & 0xfe) == 0x84 ||
	       (op & 0xfe) == 0x88;
}

/* May it change the stack pointer in a way that is not followed here? */
static bool loses_stack(const struct x86_insn *x)
{
	if (x->has_modrm) {
		bool reg = x->reg == X86_RSP && !is_group(x) && !reads_reg(x);
		bool rm = x->mod == 3 && x->rm == X86_RSP && !(x->map == X86_MAP_1 &&
							      (x->opcode == 0x8b || x->opcode == 0x3b));
		bool vvvv = x->prefixes & X86_PREFIX_VEX && x->vvvv == X86_RSP;
		return reg || rm || vvvv || is_map1(x, 0x8e, 0x8f) || is_map1(x, 0xff, 0xff);
	}
	unsigned op = x->opcode;
	if (x->map == X86_MAP_0F)
		return !((op & 0xf0) == 0x80 || op == 0x31);
	if (x->map != X86_MAP_1)
		return true;
	return !((op < 0x40 && (op & 6) == 4) || (op & 0xf0) == 0x70 || op == 0x90 || op == 0x98 ||
		 op == 0x99 || op == 0xa8 || op == 0xa9 || (op >= 0xb8 && op != 0xbc && op <= 0xbf) ||
		 op == 0xf5 || (op >= 0xf8 && op <= 0xfd));
}

/* ADD, SUB rsp, constant; LEA rsp, [rsp + constant]. */
static bool moves_by_constant(const struct x86_insn *x, int64_t *by)
{
	bool imm = is_map1(x, 0x81, 0x83) && x->opcode != 0x82 && x->mod == 3 && x->rm == X86_RSP;
	unsigned digit = x->reg & 7;
	if (imm && x->op_size == 8 && (digit == 0 || digit == 5)) {
		*by = digit ? -(int64_t)x->imm : (int64_t)x->imm;
		return true;
	}
	*by = x->disp;
	return is_map1(x, 0x8d, 0x8d) && x->reg == X86_RSP && x->op_size == 8 && jit_is_local(x);
}

bool jit_is_local(const struct x86_insn *x)
{
	return x->has_modrm && x->mod != 3 && x->base == X86_RSP && x->index == X86_REG_NONE &&
	       x->addr_size == 8 && x->seg < X86_FS && !x->rip_relative;
}

/* Widen the range by an access; false if it would be too wide. */
static bool widen(struct jit_frame *f, int64_t offset, unsigned size)
{
	int64_t lo = MIN(offset, f->lo), hi = MAX(offset + size, f->hi);
	if (f->accesses == 0) {
		lo = offset;
		hi = offset + size;
	}
	if (hi - lo > RANGE_MAX || lo < -RANGE_MAX || hi > RANGE_MAX)
		return false;
	f->lo = (int32_t)lo;
	f->hi = (int32_t)hi;
	f->accesses++;
	return true;
}

/*
 * Take one instruction into account: what it accesses, and where the stack pointer is after it. False:
 * nothing is known from here on.
 */
static bool follow(struct jit_frame *f, const struct x86_insn *x, int64_t *delta)
{
	bool push = is_map1(x, 0x50, 0x57) || is_map1(x, 0x68, 0x68) || is_map1(x, 0x6a, 0x6a);
	int64_t by;
	if (push || is_map1(x, 0xe8, 0xe8)) {
		if (x->op_size != 8 && push)
			return false;
		*delta -= 8;
		return widen(f, *delta, 8);
	}
	if (is_map1(x, 0x58, 0x5f)) {
		bool known = x->op_size == 8 && widen(f, *delta, 8);
		*delta += 8;
		return known && x->rm != X86_RSP;
	}
	if (is_map1(x, 0xc3, 0xc3))
		return widen(f, *delta, 8);
	if (moves_by_constant(x, &by)) {
		*delta += by;
		return *delta == (int16_t)*delta;
	}
	if (jit_is_local(x) && !is_map1(x, 0x8d, 0x8d) &&
	    !widen(f, *delta + x->disp, is_vector(x) ? 16 : 8))
		return false;
	return !loses_stack(x);
}

void jit_frame_find(struct jit_emit *e, bool plain)
{
	struct jit_frame *f = &e->frame;
	int64_t delta = 0;
	bool begun = true;
	memset(f, 0, sizeof(*f));
	if (plain || !e->wide || e->unit->block->host2)
		return;
	for (unsigned n = 0; n < e->unit->count; n++) {
		if (!begun) {
			f->accesses = 0;
			f->first = n;
			delta = 0;
		}
		f->delta[n] = (int32_t)delta;
		f->known = n + 1;
		bool known = follow(f, &e->insns[n].x, &delta);
		begun |= f->accesses > 0;
		if (known && !e->insns[n].ends)
			continue;
		/* What comes behind a jump may not be reached: alone it is not worth a lookup. */
		if (f->accesses < ACCESSES_MIN)
			begun = false;
		else if (!known)
			break;
	}
	f->used = begun && f->accesses >= ACCESSES_MIN;
}

bool jit_frame_has(const struct jit_emit *e, int64_t disp, unsigned size)
{
	const struct jit_frame *f = &e->frame;
	unsigned n = (unsigned)(e->insn - e->insns);
	if (!f->used || n < f->first || n >= f->known)
		return false;
	int64_t offset = f->delta[n] + disp;
	return offset >= f->lo && offset + size <= f->hi;
}

/* Pushes and pops inside the frame, which cannot fail. */
static bool is_sure_move(const struct jit_emit *e, const struct x86_insn *x)
{
	bool pop = is_map1(x, 0x58, 0x5f);
	bool push = is_map1(x, 0x50, 0x57) || is_map1(x, 0x68, 0x68) || is_map1(x, 0x6a, 0x6a);
	bool immediate = is_map1(x, 0x68, 0x6a);
	return (pop || push) && x->op_size == 8 && (immediate || x->rm != X86_RSP) &&
	       jit_frame_has(e, pop ? 0 : -8, 8);
}

bool jit_frame_may_lag(const struct jit_emit *e)
{
	const struct x86_insn *x = &e->insn->x;
	if (is_sure_move(e, x))
		return true;
	/* Between them compilers put moves and arithmetic of other registers. */
	return e->op && e->op->emit == jit_emit_generic && x->has_modrm && x->mod == 3 && x->rm != X86_RSP &&
	       x->reg != X86_RSP;
}

void jit_frame_catch_up(struct jit_emit *e)
{
	int32_t by = e->frame.behind;
	e->frame.behind = 0;
	if (by)
		jit_move_stack(e, by);
}

void jit_frame_enter(struct jit_emit *e)
{
	unsigned n = (unsigned)(e->insn - e->insns);
	if (!e->frame.used || n != e->frame.first)
		return;
	jit_flags_clobber(e);
	jit_lea(e, JIT_S0, (struct jit_at){ JIT_GUEST_RSP, JIT_NONE, 0, e->frame.lo });
	uint8_t *fails = jit_tlb_range(e, (unsigned)(e->frame.hi - e->frame.lo), SOFT_WRITE);
	if (n)
		jit_exit_by(e, fails, e->insn->offset, e->live_before);
	else
		jit_plain_by(e, fails);
	jit_load(e, JIT_S1, jit_tlb_field(e, offsetof(struct soft_tlb_entry, addend)));
	jit_store(e, JIT_S1, JIT_FIELD(jit_frame));
	/* Loops come back to behind this, with anything in S1. */
	e->frame.at_hand = !jit_loops(e);
	if (!n)
		e->loop_framed = e->p;
}

void jit_plain_by(struct jit_emit *e, uint8_t *rel32)
{
	g_assert(e->to_plain_count < G_N_ELEMENTS(e->to_plain));
	e->to_plain[e->to_plain_count++] = rel32;
}

void jit_plain_leave(struct jit_emit *e)
{
	if (!e->to_plain_count || e->failed)
		return;
	for (unsigned n = 0; n < e->to_plain_count; n++)
		jit_bind(e->to_plain[n], e->p);
	jit_give_back(e);
	e->unit->to_plain = jit_jump(e, JIT_ALWAYS);
	if (e->failed)
		return;
	jit_bind(e->unit->to_plain, e->p);
	jit_const(e, JIT_S0, (uintptr_t)e->unit);
	jit_jump_to(e, JIT_ALWAYS, e->jit->thunk_plain);
}
