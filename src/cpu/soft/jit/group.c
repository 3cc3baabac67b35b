/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Groups: accesses of a unit through the same registers, at distances known beforehand, are mostly in
 * one page. The first of them looks up the whole range and keeps its host address in the vCPU; the
 * others find their operands there, with neither a lookup nor a change of the flags. What frame.c says
 * of the stack pointer holds here too: nothing takes a mapping away while a unit runs.
 *
 * The lookup is in front of all that the first one's instruction emits, its slow piece included, so that
 * nothing comes behind it without having passed it.
 *
 * If the range is not in one page that may be accessed so, the unit is left in front of the first
 * access, for a unit that begins there; and if it began there itself, for the translation that looks up
 * every access (u->plain).
 *
 * Where the registers change in between is told by jit_writes(). Were it ever wrong, the guest would
 * see a wrong address, but no access would leave the range that was looked up.
 */
#include "cpu/soft/jit/emit.h"

#include <stddef.h>

enum { RANGE_MAX = 2048, DISTANCE_MAX = 1 << 20, ACCESSES_MIN = 2, CC_ABOVE = 7 };

/* Its registers' value since the first access is known. */
struct open {
	bool is;
	bool crossed; /* a jump lies between: what follows may not be reached */
	int64_t delta;
};

/* A group's base beside the registers: the instruction pointer, which is that of the page. */
enum { BASE_RIP = 16 };

/* Does jit_mem() look up the instruction's own operand? */
static bool is_candidate(const struct jit_op *op, const struct x86_insn *x)
{
	if (!op || op->x87 || !x->has_modrm || x->mod == 3 ||
	    (x->base == X86_REG_NONE && !x->rip_relative) || x->base == X86_RSP || x->index == X86_RSP ||
	    x->addr_size != 8 || x->seg >= X86_FS || x->disp != (int32_t)x->disp)
		return false;
	if (x->map == X86_MAP_1)
		return x->opcode != 0x8d;
	/* Hints and bit strings. */
	unsigned opcode = x->opcode;
	return x->map != X86_MAP_0F || !(opcode == 0x0d || (opcode >= 0x18 && opcode <= 0x1f) ||
					 opcode == 0xa3 || opcode == 0xab || opcode == 0xb3 ||
					 opcode == 0xbb || opcode == 0xae);
}

/* At least as many bytes as it accesses. */
static unsigned size_of(const struct jit_op *op, const struct x86_insn *x)
{
	if (op->rm)
		return jit_size_of(x, op->rm_size);
	if (x->map == X86_MAP_1)
		return 8;
	return x->prefixes & X86_PREFIX_VEXL ? 32 : 16;
}

/* Is it surely a store? One that is not told here looks up its operand by itself. */
static bool is_store(const struct jit_op *op, const struct x86_insn *x)
{
	if (op->rm)
		return op->rm != JIT_R;
	unsigned opcode = x->opcode;
	return x->map == X86_MAP_0F &&
	       (opcode == 0x11 || opcode == 0x13 || opcode == 0x17 || opcode == 0x29 ||
		opcode == 0x2b || opcode == 0x7f || opcode == 0xc3 || opcode == 0xd6 || opcode == 0xe7);
}

static bool widen(struct jit_group *g, int64_t offset, unsigned size)
{
	int64_t lo = MIN(offset, g->lo), hi = MAX(offset + size, g->hi);
	/* Of those that count from the page, it is known here whether they cross into another. */
	if (hi - lo > RANGE_MAX || (g->base == BASE_RIP && (lo ^ (hi - 1)) & ~(int64_t)PAGE_MASK))
		return false;
	g->lo = (int32_t)lo;
	g->hi = (int32_t)hi;
	g->accesses++;
	return true;
}

static void join(struct jit_groups *s, unsigned n, unsigned group, int64_t offset)
{
	s->at[n] = (int8_t)group;
	s->offset[n] = (int32_t)offset;
}

static bool same_registers(const struct jit_group *g, const struct jit_group *access)
{
	return g->base == access->base && g->index == access->index &&
	       (g->index == X86_REG_NONE || g->scale == access->scale);
}

/* The access of instruction n: into a group that fits, or a new one. */
static void add_access(struct jit_emit *e, struct open *open, const struct jit_op *op, unsigned n)
{
	struct jit_groups *s = &e->groups;
	const struct soft_insn *i = &e->insns[n];
	const struct x86_insn *x = &i->x;
	unsigned size = size_of(op, x);
	int64_t disp = x->rip_relative ? jit_rip_disp(i) : (int64_t)x->disp;
	struct jit_group access = { .base = x->rip_relative ? BASE_RIP : x->base,
				    .index = x->rip_relative ? X86_REG_NONE : x->index,
				    .scale = x->scale, .write = is_store(op, x), .first = (uint8_t)n,
				    .accesses = 1 };
	for (unsigned k = 0; k < s->count; k++) {
		struct jit_group *g = &s->group[k];
		if (!open[k].is || !same_registers(g, &access))
			continue;
		/* The right to write must not be asked for in vain. */
		if (access.write && !g->write && open[k].crossed)
			continue;
		if (widen(g, open[k].delta + disp, size)) {
			g->write |= access.write;
			join(s, n, k, open[k].delta + disp);
			return;
		}
	}
	if (s->count == JIT_GROUPS_MAX || disp != (int32_t)disp || disp + size != (int32_t)(disp + size))
		return;
	access.lo = (int32_t)disp;
	access.hi = (int32_t)(disp + size);
	join(s, n, s->count, disp);
	s->group[s->count] = access;
	open[s->count++] = (struct open){ .is = true };
}

/* What the instruction does to the groups' registers. */
static void follow(struct jit_groups *s, struct open *open, const struct jit_op *op,
		   const struct x86_insn *x)
{
	unsigned mask = jit_writes(op, x), reg;
	int64_t by;
	bool adds = op && jit_adds_constant(x, &reg, &by) && by == (int32_t)by;
	for (unsigned n = 0; n < s->count; n++) {
		const struct jit_group *g = &s->group[n];
		unsigned own = g->base == BASE_RIP ? 0 : 1u << g->base;
		if (g->index != X86_REG_NONE)
			own |= 1u << g->index;
		if (!(own & mask))
			continue;
		if (!adds) {
			open[n].is = false;
			continue;
		}
		if (g->base == reg)
			open[n].delta += by;
		if (g->index == reg)
			open[n].delta += by * (1 << g->scale);
		open[n].is &= ABS(open[n].delta) < DISTANCE_MAX;
	}
}

void jit_groups_find(struct jit_emit *e, bool plain)
{
	struct jit_groups *s = &e->groups;
	struct open open[JIT_GROUPS_MAX];
	s->count = 0;
	s->entered_at = NULL;
	memset(s->at, -1, sizeof(s->at));
	if (plain || !e->wide || e->unit->block->host2)
		return;
	for (unsigned n = 0; n < e->unit->count; n++) {
		const struct soft_insn *i = &e->insns[n];
		const struct jit_op *op = jit_op_find(e->jit, &i->x);
		if (is_candidate(op, &i->x))
			add_access(e, open, op, n);
		follow(s, open, op, &i->x);
		for (unsigned k = 0; i->ends && k < s->count; k++)
			open[k].crossed = true;
	}
}

/* The whole range. S0 = its host address, which is kept. */
static void look_up(struct jit_emit *e, const struct jit_group *g, unsigned n)
{
	unsigned base = JIT_S0;
	if (g->base == BASE_RIP)
		jit_load(e, JIT_S0, JIT_FIELD(block_rip));
	else
		base = jit_get(e, g->base, JIT_S0);
	unsigned index = g->index == X86_REG_NONE ? JIT_NONE : jit_get(e, g->index, JIT_S1);
	enum soft_access access = g->write ? SOFT_WRITE : SOFT_READ;
	struct jit_at start = { base, index, g->scale, g->lo };
	jit_lea(e, JIT_S0, start);
	uint8_t *fails = jit_tlb_range(e, (unsigned)(g->hi - g->lo), access);
	if (n)
		jit_exit_by(e, fails, e->insn->offset, e->live_before);
	else
		jit_plain_by(e, fails);
	if (base == JIT_S0 || index == JIT_S1) {
		jit_mem_host_address(e, access);
	} else {
		/* Found again, it does not wait for the tag. */
		jit_lea(e, JIT_S0, start);
		jit_op_rm(e, 0x03 | JIT_W64, JIT_S0, jit_tlb_field(e, offsetof(struct soft_tlb_entry, addend)));
	}
	jit_store(e, JIT_S0, jit_group_field((unsigned)(g - e->groups.group)));
}

void jit_group_enter(struct jit_emit *e)
{
	unsigned n = (unsigned)(e->insn - e->insns);
	struct jit_groups *s = &e->groups;
	struct jit_group *g = s->at[n] < 0 ? NULL : &s->group[s->at[n]];
	if (!g || g->first != n || g->accesses < ACCESSES_MIN)
		return;
	jit_flags_clobber(e);
	look_up(e, g, n);
	s->entered_at = e->p;
}

bool jit_group_access(struct jit_emit *e, unsigned size, enum soft_access access, struct jit_mem *m)
{
	unsigned n = (unsigned)(e->insn - e->insns);
	const struct jit_groups *s = &e->groups;
	if (s->at[n] < 0)
		return false;
	const struct jit_group *g = &s->group[s->at[n]];
	int32_t at = s->offset[n] - g->lo;
	if (g->accesses < ACCESSES_MIN || (access == SOFT_WRITE && !g->write) ||
	    (unsigned)at + size > (unsigned)(g->hi - g->lo))
		return false;
	if (s->entered_at == e->p) {
		*m = (struct jit_mem){ { JIT_S0, JIT_NONE, 0, at }, JIT_S1 };
		return true;
	}
	if (!e->quiet)
		jit_flags_clobber(e);
	jit_load(e, JIT_S1, jit_group_field((unsigned)s->at[n]));
	*m = (struct jit_mem){ { JIT_S1, JIT_NONE, 0, at }, JIT_S0 };
	return true;
}
