/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Special exec functions for the commonest instructions: one per operation, operand size and
 * addressing form, chosen when a block is decoded, so that none of that is asked at run time.
 */
#pragma once

#include "cpu/soft/interp/exec.h"

/*
 * How a memory operand's address is made. The first three are for 64-bit code with 64-bit addresses
 * and no FS or GS, the next three for 32-bit code in flat segments; FAST_EA_ANY is the general case
 * in any mode.
 */
enum fast_ea {
	FAST_EA_BASE, FAST_EA_INDEX, FAST_EA_RIP, FAST_EA_BASE32, FAST_EA_INDEX32, FAST_EA_ABS32,
	FAST_EA_ANY, FAST_EA_COUNT,
};

enum fast_ea fast_ea_form(const struct x86_insn *x, uint32_t mode);

/* Operand sizes as table indices. */
ALWAYS_INLINE unsigned fast_size(unsigned size)
{
	return size == 8 ? 3 : size >> 1;
}

/* Each returns the exec function for an instruction, or NULL if it has none of its own. */
soft_exec_fn *fast_alu(const struct soft_insn *i, uint32_t mode);
soft_exec_fn *fast_move(const struct soft_insn *i, uint32_t mode);
soft_exec_fn *fast_branch(const struct soft_insn *i, uint32_t mode);

/* A function that does i and the Jcc after it, or NULL. i[1].exec is already chosen. */
soft_exec_fn *fast_fuse(const struct soft_insn *i);

/* Replace what computes flags that are overwritten unseen. All exec are already chosen. */
void fast_drop_dead_flags(struct block *b);

/* interp/fast.c: what a TLB miss comes to. Checks that `linear` is canonical first. */
uint64_t fast_load_cold(struct soft_vcpu *c, const struct soft_insn *i, uint64_t linear,
			unsigned size);
void fast_store_cold(struct soft_vcpu *c, const struct soft_insn *i, uint64_t linear, uint64_t v,
		     unsigned size);
struct rmw_target fast_rmw_cold(struct soft_vcpu *c, const struct soft_insn *i, uint64_t linear,
				unsigned size);

/*
 * The linear address, without the canonical check in the first three forms: the TLB never holds a
 * non-canonical page, so such an address always misses and the cold functions check it.
 */
ALWAYS_INLINE uint64_t fast_linear(struct soft_vcpu *c, const struct soft_insn *i, enum fast_ea ea,
				   unsigned size, enum soft_access access)
{
	const struct x86_insn *x = &i->x;
	uint64_t a = (uint64_t)x->disp;
	switch (ea) {
	case FAST_EA_BASE:
		return c->s.gpr[x->base] + (uint64_t)x->disp;
	case FAST_EA_INDEX:
		return c->s.gpr[x->base] + (c->s.gpr[x->index] << x->scale) + (uint64_t)x->disp;
	case FAST_EA_RIP:
		return insn_next_rip(c, i) + (uint64_t)x->disp;
	case FAST_EA_INDEX32:
		a += c->s.gpr[x->index] << x->scale;
		G_GNUC_FALLTHROUGH;
	case FAST_EA_BASE32:
		a += c->s.gpr[x->base];
		G_GNUC_FALLTHROUGH;
	case FAST_EA_ABS32:
		a = (uint32_t)a;
		/* Flat segments: what fits into the TLB's page fits into the segment. */
		if (soft_unlikely(!c->flat_data))
			return soft_linear(c, x->seg, a, size, access);
		return a;
	default:
		return soft_operand(c, i, size, access);
	}
}

ALWAYS_INLINE uint64_t fast_load(struct soft_vcpu *c, const struct soft_insn *i, enum fast_ea ea,
				 unsigned size)
{
	c->insn = i;
	uint64_t linear = fast_linear(c, i, ea, size, SOFT_READ);
	struct soft_tlb_entry *e = soft_tlb_at(c, linear);
	if (soft_unlikely(linear - e->read > PAGE_SIZE - size))
		return fast_load_cold(c, i, linear, size);
	return host_read((const void *)(linear + e->addend), size);
}

ALWAYS_INLINE void fast_store(struct soft_vcpu *c, const struct soft_insn *i, enum fast_ea ea,
			      uint64_t v, unsigned size)
{
	c->insn = i;
	uint64_t linear = fast_linear(c, i, ea, size, SOFT_WRITE);
	struct soft_tlb_entry *e = soft_tlb_at(c, linear);
	if (soft_unlikely(linear - e->write > PAGE_SIZE - size)) {
		fast_store_cold(c, i, linear, v, size);
		return;
	}
	host_write((void *)(linear + e->addend), size, v);
}

/* Has this 32-bit code a 32-bit stack in flat segments? */
ALWAYS_INLINE bool fast_stack32(const struct soft_vcpu *c)
{
	return c->flat_data && (c->s.seg[X86_SS].attr & X86_SEG_DB);
}

ALWAYS_INLINE void fast_push32(struct soft_vcpu *c, const struct soft_insn *i, uint32_t v)
{
	uint64_t sp = (uint32_t)(c->s.gpr[X86_RSP] - 4);
	struct soft_tlb_entry *e = soft_tlb_at(c, sp);
	c->insn = i;
	if (soft_unlikely(sp - e->write > PAGE_SIZE - 4 || !fast_stack32(c))) {
		push(c, v, 4);
		return;
	}
	host_write((void *)(sp + e->addend), 4, v);
	c->s.gpr[X86_RSP] = sp;
}

/* What the stack pointer points to; it stays. */
ALWAYS_INLINE uint32_t fast_load32(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t sp = (uint32_t)c->s.gpr[X86_RSP];
	struct soft_tlb_entry *e = soft_tlb_at(c, sp);
	c->insn = i;
	if (soft_unlikely(sp - e->read > PAGE_SIZE - 4 || !fast_stack32(c)))
		return stack_load(c, c->s.gpr[X86_RSP], 4);
	return host_read((const void *)(sp + e->addend), 4);
}

/* Not for LOCK. */
ALWAYS_INLINE void fast_rmw(struct soft_vcpu *c, const struct soft_insn *i, enum fast_ea ea,
			    unsigned size, alu_fn *fn, uint64_t s)
{
	c->insn = i;
	uint64_t linear = fast_linear(c, i, ea, size, SOFT_WRITE), flags = c->flags;
	struct soft_tlb_entry *e = soft_tlb_at(c, linear);
	if (soft_unlikely(linear - e->write > PAGE_SIZE - size)) {
		struct rmw_target t = fast_rmw_cold(c, i, linear, size);
		if (!t.p) {
			uint64_t d = soft_load(c, linear, size);
			soft_store(c, linear, fn(&flags, d, s, size), size);
		} else {
			host_write(t.p, size, fn(&flags, host_read(t.p, size), s, size));
			rmw_done(c, &t, size);
		}
	} else {
		void *p = (void *)(linear + e->addend);
		host_write(p, size, fn(&flags, host_read(p, size), s, size));
	}
	c->flags = flags;
}

#define FAST_FOR_EA(macro, ...)                                                                    \
	macro(BASE, __VA_ARGS__) macro(INDEX, __VA_ARGS__) macro(RIP, __VA_ARGS__)                 \
	macro(BASE32, __VA_ARGS__) macro(INDEX32, __VA_ARGS__) macro(ABS32, __VA_ARGS__)           \
	macro(ANY, __VA_ARGS__)

/* The functions that FAST_FOR_EA() made, in the order of enum fast_ea. */
#define FAST_EA_ROW(name)                                                                          \
	{ name##_BASE, name##_INDEX, name##_RIP, name##_BASE32, name##_INDEX32, name##_ABS32,      \
	  name##_ANY }
