/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loops that lead back to their unit's beginning stay inside it: a jump, with a look at what is
 * pending, and neither the saving nor the lookups that leaving takes.
 *
 * In such a unit the guest's r13 to r15, which have no host register, borrow those of guest registers
 * that the unit does not mention. The owner's value is kept in c->jit_owners meanwhile. Whatever leads
 * out of the unit, or to C, first puts everything where all other code expects it; what comes back
 * borrows again. Both are moves, which leave the flags alone.
 */
#include "cpu/soft/jit/emit.h"

#include <stddef.h>

enum { FIRST = 13, USES_MIN = 2, CC_E = 4 };
_Static_assert(FIRST + SOFT_JIT_BORROWERS == 16, "r13 to r15");

/* Mentioned in the instruction's encoding, or likely to be used without that. */
static unsigned mentioned(const struct x86_insn *x)
{
	unsigned mask = 0;
	uint8_t n[5] = { x->rm, x->base, x->index, x->reg, x->prefixes & X86_PREFIX_VEX ? x->vvvv : 0 };
	for (unsigned k = 0; k < G_N_ELEMENTS(n); k++) {
		if (n[k] < 16)
			mask |= 1u << n[k];
		/* AH to BH, if it is one of them. */
		if (n[k] >= 4 && n[k] < 8)
			mask |= 1u << (n[k] - 4);
	}
	return mask;
}

/* Registers that may be borrowed: no instruction has them without saying so. */
enum { LENDERS = 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12 };

static bool leads_to_start(const struct jit_emit *e, const struct soft_insn *i)
{
	return jit_is_direct(e, &i->x) && i->x.opcode != 0xe8 && !e->unit->block->host2 &&
	       i->offset + i->x.length + (int64_t)i->x.imm == e->insns[0].offset;
}

bool jit_loops(const struct jit_emit *e)
{
	for (unsigned n = 0; n < e->unit->count; n++) {
		if (leads_to_start(e, &e->insns[n]))
			return true;
	}
	return false;
}

void jit_borrow_find(struct jit_emit *e)
{
	struct jit_borrow *b = &e->borrow;
	unsigned free = LENDERS, uses[SOFT_JIT_BORROWERS] = { 0 };
	bool loops = false;
	b->count = 0;
	b->now = false;
	if (!e->wide)
		return;
	for (unsigned n = 0; n < e->unit->count; n++) {
		const struct soft_insn *i = &e->insns[n];
		unsigned mask = mentioned(&i->x);
		free &= ~mask;
		for (unsigned k = 0; k < SOFT_JIT_BORROWERS; k++)
			uses[k] += mask >> (FIRST + k) & 1;
		loops |= leads_to_start(e, i);
		/* System instructions on the way: not a loop that this is for. */
		if (n + 1 < e->unit->count && jit_ends(i) && !jit_is_direct(e, &i->x))
			return;
	}
	for (unsigned k = 0; k < SOFT_JIT_BORROWERS && loops && free; k++) {
		if (uses[k] < USES_MIN)
			continue;
		b->guest[b->count] = (uint8_t)(FIRST + k);
		b->host[b->count++] = (uint8_t)__builtin_ctz(free);
		free &= free - 1;
	}
}

static struct jit_at owner_field(unsigned k)
{
	return jit_field(offsetof(struct soft_vcpu, jit_owners) + k * sizeof(uint64_t));
}

void jit_borrow(struct jit_emit *e)
{
	const struct jit_borrow *b = &e->borrow;
	for (unsigned k = 0; k < b->count; k++) {
		jit_store(e, b->host[k], owner_field(k));
		jit_load(e, b->host[k], JIT_GPR(b->guest[k]));
	}
}

void jit_give_back(struct jit_emit *e)
{
	const struct jit_borrow *b = &e->borrow;
	for (unsigned k = 0; k < b->count; k++) {
		jit_store(e, b->host[k], JIT_GPR(b->guest[k]));
		jit_load(e, b->host[k], owner_field(k));
	}
}

unsigned jit_host_of(const struct jit_emit *e, unsigned n)
{
	const struct jit_borrow *b = &e->borrow;
	for (unsigned k = 0; b->now && k < b->count; k++) {
		if (b->guest[k] == n)
			return b->host[k];
	}
	return jit_home_of(n);
}

bool jit_loop_back(struct jit_emit *e, unsigned cc)
{
	const struct jit_frame *f = &e->frame;
	unsigned n = (unsigned)(e->insn - e->insns);
	uint8_t *on = NULL;
	/* The beginning has the flags in memory, if it wants any, and what is borrowed. */
	if (!leads_to_start(e, e->insn) || (e->live_taken && e->flags_host && !e->flags_mem) ||
	    e->borrow.now != (e->borrow.count > 0))
		return false;
	/* Behind the lookup of the frame, if that is where it was. */
	bool framed = e->loop_framed && n < f->known && f->delta[n] == 0;
	if (cc != JIT_ALWAYS)
		on = jit_jump(e, cc ^ 1);
	jit_op_rm(e, 0x83, 7, JIT_FIELD(pending));
	jit_byte(e, 0);
	jit_jump_to(e, CC_E, framed ? e->loop_framed : e->loop);
	jit_exit_direct(e, JIT_ALWAYS, e->insns[0].offset, 0);
	if (on && !e->failed)
		jit_bind(on, e->p);
	return true;
}
