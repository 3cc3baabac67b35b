/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * String instructions: MOVS, STOS, LODS, CMPS, SCAS.
 *
 * Registers are brought up to date after every piece, so that a fault or an interrupt between two
 * elements leaves a restartable state. A piece is as much as fits in one page of plain RAM on both
 * sides (done by the host's own instruction), else one element.
 */
#include "cpu/soft/interp/string.h"

#include <string.h>

/*
 * With 32-bit addresses REP clears the upper half of RCX, and MOVS and STOS those of their index
 * registers, even if they do nothing more (as Intel's do; the SDM is silent).
 */
static void clear_upper_halves(struct soft_vcpu *c, const struct soft_insn *i)
{
	gpr_write(c, X86_RCX, 4, c->s.gpr[X86_RCX]);
	switch (i->x.opcode) {
	case 0xa4: case 0xa5:
		gpr_write(c, X86_RSI, 4, c->s.gpr[X86_RSI]);
		G_GNUC_FALLTHROUGH;
	case 0xaa: case 0xab:
		gpr_write(c, X86_RDI, 4, c->s.gpr[X86_RDI]);
	}
}

void interp_string_run(struct soft_vcpu *c, const struct soft_insn *i, string_piece *piece)
{
	struct string_state st = {
		.size = size_w(i),
		.addr_mask = size_mask(i->x.addr_size),
		.backward = c->s.rflags & X86_FLAG_DF,
		.repeat = i->x.prefixes & (X86_PREFIX_REP | X86_PREFIX_REPNE),
		.flags = c->flags,
	};
	if (!st.repeat) {
		st.count = 1;
		piece(c, i, &st);
		c->flags = st.flags;
		go_on(c, i);
		return;
	}
	if (i->x.addr_size == 4 && c->long64)
		clear_upper_halves(c, i);
	for (;;) {
		st.count = c->s.gpr[X86_RCX] & st.addr_mask;
		if (st.count == 0)
			break;
		uint32_t pending = atomic_load_explicit(&c->pending, memory_order_relaxed);
		if (pending & SOFT_PENDING_TRAP)
			st.count = 1;
		bool last = piece(c, i, &st);
		uint64_t left = (c->s.gpr[X86_RCX] - st.done) & st.addr_mask;
		gpr_write(c, X86_RCX, i->x.addr_size, left);
		if (last || left == 0)
			break;
		if (soft_unlikely(pending)) {
			c->flags = st.flags;
			c->s.rip = insn_rip(c, i);
			return;
		}
	}
	c->flags = st.flags;
	go_on(c, i);
}

/* The segmented address of [reg], for `size` bytes. */
static uint64_t string_linear(struct soft_vcpu *c, const struct string_state *st, unsigned reg,
			      enum x86_seg_index seg, enum soft_access access)
{
	return soft_linear(c, seg, c->s.gpr[reg] & st->addr_mask, st->size, access);
}

void interp_string_advance(struct soft_vcpu *c, const struct soft_insn *i,
			   const struct string_state *st, unsigned reg)
{
	uint64_t bytes = st->done * st->size;
	uint64_t v = c->s.gpr[reg] + (st->backward ? -bytes : bytes);
	gpr_write(c, reg, i->x.addr_size, v);
}

/*
 * How many elements from [reg] on may be touched at once through the host address *p: inside one
 * page, the segment and the address size. 0: element by element.
 */
static uint64_t host_run(struct soft_vcpu *c, const struct string_state *st, unsigned reg,
			 enum x86_seg_index seg, enum soft_access access, void **p)
{
	if (st->count < 4 || c->watching)
		return 0;
	uint64_t offset = c->s.gpr[reg] & st->addr_mask;
	uint64_t linear = soft_linear(c, seg, offset, st->size, access);
	uint64_t room = PAGE_SIZE - (linear & PAGE_MASK), limit = st->addr_mask - offset;
	if (room < st->size)
		return 0;
	if (st->backward) {
		room = (linear & PAGE_MASK) + st->size;
		limit = offset + st->size;
	}
	uint64_t n = (limit < room ? limit : room) / st->size;
	if (n > st->count)
		n = st->count;
	if (n < 2)
		return 0;
	if (!c->long64) {
		uint64_t bytes = (n - 1) * st->size;
		soft_linear(c, seg, st->backward ? offset - bytes : offset + bytes, st->size, access);
	}
	struct soft_tlb_entry *e = soft_tlb_at(c, linear);
	if ((access == SOFT_WRITE ? e->write : e->read) == (linear & ~PAGE_MASK)) {
		*p = (void *)(linear + e->addend);
		return n;
	}
	uint64_t phys;
	bool watched = false;
	*p = soft_translate(c, linear, access, &phys, &watched);
	return *p && !watched ? n : 0;
}

/* `insn` is a string instruction without its size, `ops` its operands and clobbers. */
#define HOST_STRING_SIZES(prefix, insn, ...)                                                       \
	switch (st->size) {                                                                        \
	case 1: __asm__ volatile(prefix insn "b" __VA_ARGS__); break;                              \
	case 2: __asm__ volatile(prefix insn "w" __VA_ARGS__); break;                              \
	case 4: __asm__ volatile(prefix insn "l" __VA_ARGS__); break;                              \
	default: __asm__ volatile(prefix insn "q" __VA_ARGS__); break;                             \
	}
/* The host's own instruction, in the guest's direction: it knows all about overlapping. */
#define HOST_STRING(prefix, insn, ...)                                                             \
	do {                                                                                       \
		if (st->backward)                                                                  \
			__asm__ volatile("std");                                                   \
		HOST_STRING_SIZES(prefix, insn, __VA_ARGS__)                                       \
		if (st->backward)                                                                  \
			__asm__ volatile("cld");                                                   \
	} while (0)

static bool movs_piece(struct soft_vcpu *c, const struct soft_insn *i, struct string_state *st)
{
	void *from, *to;
	uint64_t n = host_run(c, st, X86_RSI, i->x.seg, SOFT_READ, &from);
	uint64_t m = n ? host_run(c, st, X86_RDI, X86_ES, SOFT_WRITE, &to) : 0;
	if (m < n)
		n = m;
	if (n) {
		st->done = n;
		HOST_STRING("rep ", "movs", : "+S"(from), "+D"(to), "+c"(n) : : "memory");
	} else {
		uint64_t v = soft_load(c, string_linear(c, st, X86_RSI, i->x.seg, SOFT_READ),
				       st->size);
		soft_store(c, string_linear(c, st, X86_RDI, X86_ES, SOFT_WRITE), v, st->size);
		st->done = 1;
	}
	interp_string_advance(c, i, st, X86_RSI);
	interp_string_advance(c, i, st, X86_RDI);
	return false;
}

static bool stos_piece(struct soft_vcpu *c, const struct soft_insn *i, struct string_state *st)
{
	void *to;
	uint64_t n = host_run(c, st, X86_RDI, X86_ES, SOFT_WRITE, &to);
	if (n) {
		st->done = n;
		HOST_STRING("rep ", "stos",
			    : "+D"(to), "+c"(n) : "a"(c->s.gpr[X86_RAX]) : "memory");
	} else {
		soft_store(c, string_linear(c, st, X86_RDI, X86_ES, SOFT_WRITE),
			   c->s.gpr[X86_RAX], st->size);
		st->done = 1;
	}
	interp_string_advance(c, i, st, X86_RDI);
	return false;
}

/* Element n of a run of the host's memory. */
static uint64_t element(const struct string_state *st, const void *p, uint64_t n)
{
	const uint8_t *first = p;
	uint64_t bytes = n * st->size;
	return host_read(st->backward ? first - bytes : first + bytes, st->size);
}

/* Of several elements only the last one shows. */
static bool lods_piece(struct soft_vcpu *c, const struct soft_insn *i, struct string_state *st)
{
	void *from;
	uint64_t n = host_run(c, st, X86_RSI, i->x.seg, SOFT_READ, &from), v;
	if (n)
		v = element(st, from, n - 1);
	else
		v = soft_load(c, string_linear(c, st, X86_RSI, i->x.seg, SOFT_READ), st->size);
	gpr_write(c, X86_RAX, st->size, v);
	st->done = n ? n : 1;
	interp_string_advance(c, i, st, X86_RSI);
	return false;
}

/* REPE goes on while equal, REPNE while different. */
static bool compare_done(const struct soft_insn *i, const struct string_state *st)
{
	bool equal = st->flags & X86_FLAG_ZF;
	return st->repeat && equal != !!(i->x.prefixes & X86_PREFIX_REP);
}

static bool cmps_piece(struct soft_vcpu *c, const struct soft_insn *i, struct string_state *st)
{
	void *first, *second;
	uint64_t n = host_run(c, st, X86_RDI, X86_ES, SOFT_READ, &second), a, b;
	uint64_t m = n ? host_run(c, st, X86_RSI, i->x.seg, SOFT_READ, &first) : 0;
	if (m < n)
		n = m;
	st->done = n ? n : 1;
	if (n) {
		const void *s = first, *d = second;
		if (i->x.prefixes & X86_PREFIX_REP)
			HOST_STRING("repe ", "cmps", : "+S"(s), "+D"(d), "+c"(n) : : "memory", "cc");
		else
			HOST_STRING("repne ", "cmps", : "+S"(s), "+D"(d), "+c"(n) : : "memory", "cc");
		st->done -= n;
		a = element(st, first, st->done - 1);
		b = element(st, second, st->done - 1);
	} else {
		/* Which operand faults first is the CPU's choice; Intel's read the destination first. */
		b = soft_load(c, string_linear(c, st, X86_RDI, X86_ES, SOFT_READ), st->size);
		a = soft_load(c, string_linear(c, st, X86_RSI, i->x.seg, SOFT_READ), st->size);
	}
	alu_sub(&st->flags, a, b, st->size);
	interp_string_advance(c, i, st, X86_RSI);
	interp_string_advance(c, i, st, X86_RDI);
	return compare_done(i, st);
}

static bool scas_piece(struct soft_vcpu *c, const struct soft_insn *i, struct string_state *st)
{
	void *to;
	uint64_t n = host_run(c, st, X86_RDI, X86_ES, SOFT_READ, &to), a = c->s.gpr[X86_RAX], b;
	st->done = n ? n : 1;
	if (n) {
		const void *d = to;
		if (i->x.prefixes & X86_PREFIX_REP)
			HOST_STRING("repe ", "scas", : "+D"(d), "+c"(n) : "a"(a) : "memory", "cc");
		else
			HOST_STRING("repne ", "scas", : "+D"(d), "+c"(n) : "a"(a) : "memory", "cc");
		st->done -= n;
		b = element(st, to, st->done - 1);
	} else {
		b = soft_load(c, string_linear(c, st, X86_RDI, X86_ES, SOFT_READ), st->size);
	}
	alu_sub(&st->flags, a, b, st->size);
	interp_string_advance(c, i, st, X86_RDI);
	return compare_done(i, st);
}

#define STRING_OP(name)                                                                            \
	static void name(struct soft_vcpu *c, const struct soft_insn *i)                           \
	{                                                                                          \
		interp_string_run(c, i, name##_piece);                                             \
	}

STRING_OP(movs)
STRING_OP(stos)
STRING_OP(lods)
STRING_OP(cmps)
STRING_OP(scas)

const struct soft_opcode interp_string_ops[] = {
	OP_END(0xa4, -1, movs), OP_END(0xa5, -1, movs), OP_END(0xa6, -1, cmps),
	OP_END(0xa7, -1, cmps), OP_END(0xaa, -1, stos), OP_END(0xab, -1, stos),
	OP_END(0xac, -1, lods), OP_END(0xad, -1, lods), OP_END(0xae, -1, scas),
	OP_END(0xaf, -1, scas),
	{ 0 },
};
