/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The general exec functions: run an instruction's fn and go on. */
#include "cpu/soft/interp/fast.h"

__attribute__((noinline)) struct block *interp_block_crossing(struct soft_vcpu *c, uint64_t linear,
							       const uint8_t *host, uint32_t mode)
{
	const struct block_slot *slot = &c->blocks->table[block_hash(host, mode)];
	if (slot->key != (block_key(host, mode) | BLOCK_KEY_CROSSES))
		return NULL;
	uint64_t next = (linear & ~PAGE_MASK) + PAGE_SIZE;
	if (!c->long64)
		next = (uint32_t)next;
	return soft_fetch_host(c, next) == slot->block->host2 ? slot->block : NULL;
}

static void exec_plain(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->insn = i;
	i->fn(c, i);
	RUN_NEXT(c, i);
}

/* An instruction that ends its block and may have changed anything. */
void interp_exec_ends(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->insn = i;
	i->fn(c, i);
}

/* After the last instruction of a block that ran into its limit. */
void interp_exec_end(struct soft_vcpu *c, const struct soft_insn *i)
{
	RUN_AT(c, insn_rip(c, i));
}

/* Takes the place of every exec in a block that was overwritten while it ran. */
void interp_exec_dropped(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->s.rip = insn_rip(c, i);
}

/* With one instruction per block control must come back to the run loop. */
static void exec_single_end(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->s.rip = insn_rip(c, i);
}

static soft_exec_fn *choose(const struct soft_insn *i, uint32_t mode)
{
	soft_exec_fn *exec;
	if (i->ends) {
		exec = fast_branch(i, mode);
		return exec ? exec : interp_exec_ends;
	}
	exec = fast_alu(i, mode);
	if (!exec)
		exec = fast_move(i, mode);
	return exec ? exec : exec_plain;
}

/* #UD and the like come with an arbitrary opcode: only what the lists gave may be special. */
void interp_specialise(struct block *b)
{
	for (unsigned n = 0; n < b->count; n++) {
		struct soft_insn *i = &b->insns[n];
		if (i->exec)
			continue;
		i->exec = choose(i, b->mode);
		if (i->ends)
			i->native = b->link;
	}
	if (b->mode & BLOCK_MODE_SINGLE) {
		b->insns[b->count].exec = exec_single_end;
	} else if (b->count >= 2) {
		fast_drop_dead_flags(b);
		soft_exec_fn *fused = fast_fuse(&b->insns[b->count - 2]);
		if (fused)
			b->insns[b->count - 2].exec = fused;
	}
}
