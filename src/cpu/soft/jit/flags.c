/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What instructions do with the arithmetic flags, and where in a unit nobody will read them any more.
 * That is found out backward, from what the exits lead to: inside the unit, or a few instructions on
 * the same page that are looked at ahead. They belong to the unit then: if they change, it is dropped.
 */
#include "cpu/soft/engine.h"
#include "cpu/soft/jit/emit.h"

/* Read by condition cc >> 1. */
static const uint8_t condition_flags[8] = {
	JIT_OF, JIT_CF, JIT_ZF, JIT_CF | JIT_ZF, JIT_SF, JIT_PF, JIT_SF | JIT_OF,
	JIT_SF | JIT_OF | JIT_ZF,
};

static bool is_conditional(const struct x86_insn *x)
{
	unsigned row = x->opcode & 0xf0;
	return x->map == X86_MAP_1 ? row == 0x70
				   : x->map == X86_MAP_0F &&
					     (row == 0x40 || row == 0x80 || row == 0x90);
}

/* Shifts and rotates: by a count of 0 nothing changes. */
static void shift_effect(const struct x86_insn *x, uint8_t *use, uint8_t *kill)
{
	bool by_cl = x->opcode == 0xd2 || x->opcode == 0xd3, byte = !(x->opcode & 1);
	bool by_one = x->opcode == 0xd0 || x->opcode == 0xd1;
	unsigned digit = x->reg & 7, mask = !byte && x->op_size == 8 ? 63 : 31;
	*use = digit == 2 || digit == 3 ? JIT_CF : 0;
	*kill = 0;
	if (by_cl || (!by_one && !(x->imm & mask)))
		return;
	*kill = digit < 4 ? JIT_CF | JIT_OF : JIT_FLAGS;
}

static bool is_shift(const struct x86_insn *x)
{
	return x->map == X86_MAP_1 &&
	       (x->opcode == 0xc0 || x->opcode == 0xc1 || (x->opcode & 0xfc) == 0xd0);
}

static bool is_double_shift(const struct x86_insn *x)
{
	return x->map == X86_MAP_0F && (x->opcode == 0xa4 || x->opcode == 0xac);
}

/* CMPS, SCAS: with REP and a count of 0 nothing changes. */
static bool is_string_compare(const struct x86_insn *x)
{
	unsigned op = x->opcode & 0xfe;
	return x->map == X86_MAP_1 && (op == 0xa6 || op == 0xae);
}

void jit_flags_effect(const struct jit_op *op, const struct x86_insn *x, uint8_t *use,
		      uint8_t *kill)
{
	if (!op) {
		*use = JIT_FLAGS;
		*kill = 0;
		return;
	}
	*use = op->use;
	*kill = op->kill;
	if (op->x87)
		jit_x87_flags_effect(x, use, kill);
	else if (is_conditional(x))
		*use = condition_flags[(x->opcode & 0xf) >> 1];
	else if (is_shift(x))
		shift_effect(x, use, kill);
	else if (is_string_compare(x))
		*kill = x->prefixes & (X86_PREFIX_REP | X86_PREFIX_REPNE) ? 0 : JIT_FLAGS;
	else if (is_double_shift(x))
		*kill = x->imm & (x->op_size == 8 ? 63 : 31) && x->op_size > 2 ? JIT_FLAGS : 0;
}

bool jit_is_jcc(const struct x86_insn *x)
{
	if (x->map == X86_MAP_0F)
		return (x->opcode & 0xf0) == 0x80;
	return x->map == X86_MAP_1 && ((x->opcode & 0xf0) == 0x70 || (x->opcode & 0xfc) == 0xe0);
}

/* --- where flags are dead -------------------------------------------------------------------------*/

bool jit_is_direct(const struct jit_emit *e, const struct x86_insn *x)
{
	bool always = x->map == X86_MAP_1 && (x->opcode == 0xe8 || x->opcode == 0xe9 || x->opcode == 0xeb);
	return x->op_size == jit_word(e) && (always || jit_is_jcc(x));
}

/* Decode ahead at the peek's offset: which flags will be read there before they are written? */
static void look_ahead(struct jit_emit *e, const uint8_t *page, struct jit_peek *peek)
{
	unsigned room = MIN(sizeof(peek->bytes), PAGE_SIZE - peek->offset);
	uint8_t dead = 0;
	memcpy(peek->bytes, page + peek->offset, room);
	for (unsigned n = 0; n < JIT_PEEK_INSNS && dead != JIT_FLAGS; n++) {
		struct x86_insn x;
		uint8_t use, kill;
		if (x86_decode(peek->bytes + peek->size, room - peek->size, e->c->mode, &x) !=
		    X86_DECODE_OK)
			break;
		const struct jit_op *op = jit_op_find(e->jit, &x);
		peek->size += x.length;
		jit_flags_effect(op, &x, &use, &kill);
		peek->live |= use & ~dead;
		dead |= kill & ~peek->live;
		if (!op || op->ends)
			break;
	}
	peek->live |= ~dead & JIT_FLAGS;
}

/* Flags that are wanted `target` bytes from the page's first. Those of instructions from `from` on are known. */
static uint8_t live_at(struct jit_emit *e, const uint8_t *page, int64_t target, unsigned from)
{
	struct jit_effects *f = &e->effects;
	if (!page || e->jit->strict || target < 0 || target >= PAGE_SIZE)
		return JIT_FLAGS;
	for (unsigned n = from; n < e->unit->count; n++) {
		if (e->insns[n].offset == target)
			return f->before[n];
	}
	for (unsigned n = 0; n < f->peek_count; n++) {
		if (f->peek[n].offset == target)
			return f->peek[n].live;
	}
	if (f->peek_count == JIT_PEEKS_MAX)
		return JIT_FLAGS;
	struct jit_peek *peek = &f->peek[f->peek_count++];
	peek->offset = (uint16_t)target;
	peek->size = peek->live = 0;
	look_ahead(e, page, peek);
	return peek->live;
}

/* The instruction's part, when e->effects of those behind it are known; `live`: after it. */
static uint8_t step_back(struct jit_emit *e, const uint8_t *page, unsigned n, uint8_t live)
{
	struct jit_effects *f = &e->effects;
	const struct soft_insn *i = &e->insns[n];
	int64_t next = i->offset + i->x.length;
	bool direct = jit_is_direct(e, &i->x);
	/* A loop inside the unit is looked at ahead too: what its beginning wants is not known yet. */
	f->taken[n] = direct ? live_at(e, page, next + (int64_t)i->x.imm, n + 1) : JIT_FLAGS;
	if (direct && !jit_is_jcc(&i->x))
		live = f->taken[n];
	f->after[n] = live;
	if (direct)
		live |= f->taken[n];
	live = (live & ~f->kill[n]) | f->use[n];
	/* Where an indirect branch goes they may all be wanted; in the strict mode, at any fault. */
	if ((jit_ends(i) && !direct) || e->jit->strict)
		live = JIT_FLAGS;
	return f->before[n] = live;
}

void jit_flags_find(struct jit_emit *e, const uint8_t *page)
{
	struct jit_effects *f = &e->effects;
	unsigned count = e->unit->count;
	f->peek_count = 0;
	for (unsigned n = 0; n < count; n++) {
		f->op[n] = jit_op_find(e->jit, &e->insns[n].x);
		jit_flags_effect(f->op[n], &e->insns[n].x, &f->use[n], &f->kill[n]);
	}
	const struct soft_insn *last = &e->insns[count - 1];
	uint8_t live = live_at(e, page, last->offset + last->x.length, count);
	for (unsigned n = count; n-- > 0;)
		live = step_back(e, page, n, live);
}

uint64_t jit_flags_lines(const struct jit_emit *e)
{
	const struct jit_effects *f = &e->effects;
	uint64_t lines = 0;
	for (unsigned n = 0; n < f->peek_count; n++) {
		if (f->peek[n].size)
			lines |= soft_code_lines(f->peek[n].offset, f->peek[n].size);
	}
	return lines;
}

bool jit_flags_same(const struct jit_emit *e, const uint8_t *page)
{
	const struct jit_effects *f = &e->effects;
	for (unsigned n = 0; n < f->peek_count; n++) {
		if (memcmp(f->peek[n].bytes, page + f->peek[n].offset, f->peek[n].size))
			return false;
	}
	return true;
}
