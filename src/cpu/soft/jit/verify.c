/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The checker of emitted code, for tests: translated code must have no other way to memory than fields
 * of the vCPU and what its TLB lookup has just let through. It decodes the host's code and follows
 * what the two scratch registers hold:
 *
 *	slot      a TLB entry's offset, from RORX and AND
 *	offset    a linear address less the entry's tag; checked when CMP and JA have followed
 *	addend    the entry's, of a checked address: good as the index to that same address
 *	host      a checked address with the addend added
 *	group     that of a range which was looked up before, kept in the vCPU
 *
 * How many bytes are accessed, and whether for writing, must be what was looked up, too: of instructions
 * whose operands the emitters' table tells; of others (vectors), where they begin.
 *
 * Every guest instruction's code is checked on its own, so nothing is taken over from before, but that S1
 * is the frame's addend, which the end of the code before has been checked for. A violation is a bug of an
 * emitter, and ends the process.
 */
#include "cpu/soft/jit/emit.h"

#include <stddef.h>

enum value { ANY, RAW_SLOT, SLOT, OFFSET, CHECKED, LINEAR, ADDEND, HOST, FRAME, GROUP };
enum { JA = 0x87, WATCHED = 16, TARGETS_MAX = 16 };

/* An address: a constant, registers (at most one of them scaled), and fields of the vCPU. */
struct sum {
	bool known;
	int64_t disp;
	unsigned count;
	struct part {
		uint8_t reg, scale; /* reg X86_REG_NONE: a field */
		int64_t field;
	} part[4];
};

struct checker {
	const struct jit_emit *e;
	const uint8_t *start, *at, *end;
	struct x86_insn x;
	enum value reg[WATCHED]; /* of the host's registers; all but a few are never anything */
	enum value spill;
	int64_t moved; /* what LEA has added to the register of the guest's rsp */
	int64_t moved_first; /* ... in front of the first jump: the register has caught up there, if anywhere */
	bool jumped;
	const struct jit_group *group; /* whose address S1 is */
	struct bound {
		uint64_t most; /* what S0 was compared with last: the page's size less the access's */
		bool write;    /* it had been looked up for writing */
	} bound, spill_bound;
	bool compared; /* the last instruction was the comparison of S0 */
	/* What S0 was made of last, what the address that was looked up, and what was added to S1. */
	struct sum latest, looked_up, added;
	/* Where jumps inside lead: from there on too, knowing nothing, all must be right. */
	const uint8_t *targets[TARGETS_MAX];
	unsigned target_count;
	const char *wrong;
	const uint8_t *wrong_at;
};

static void fail(struct checker *k, const char *what)
{
	if (!k->wrong) {
		k->wrong = what;
		k->wrong_at = k->at;
	}
}

static bool is(const struct checker *k, enum x86_map map, unsigned opcode)
{
	return k->x.map == map && k->x.opcode == opcode && !(k->x.prefixes & X86_PREFIX_VEX);
}

static bool is_memory(const struct x86_insn *x)
{
	return x->has_modrm && x->mod != 3;
}

static void sum_add(struct sum *s, struct part part)
{
	if (s->count == G_N_ELEMENTS(s->part))
		s->known = false;
	else
		s->part[s->count++] = part;
}

static void sum_add_register(struct sum *s, unsigned reg, unsigned scale)
{
	if (reg != X86_REG_NONE)
		sum_add(s, (struct part){ .reg = reg, .scale = scale });
}

static void sum_add_field(struct sum *s, int64_t field)
{
	sum_add(s, (struct part){ .reg = X86_REG_NONE, .field = field });
}

static bool part_same(const struct part *a, const struct part *b)
{
	return a->reg == b->reg && a->scale == b->scale && a->field == b->field;
}

/* The same parts, in any order. */
static bool sum_same(const struct sum *a, struct sum b)
{
	if (!a->known || !b.known || a->disp != b.disp || a->count != b.count)
		return false;
	for (unsigned n = 0; n < a->count; n++) {
		unsigned at = 0;
		while (at < b.count && !part_same(&a->part[n], &b.part[at]))
			at++;
		if (at == b.count)
			return false;
		b.part[at] = b.part[--b.count];
	}
	return true;
}

/* [rsp + disp] or [rsp + S1 + disp], inside the vCPU. */
static bool is_field(const struct x86_insn *x)
{
	return x->base == JIT_STATE && x->disp >= 0 &&
	       x->disp < (int64_t)sizeof(struct soft_vcpu) &&
	       (x->index == X86_REG_NONE || x->index == JIT_S1);
}

static size_t table_offset(const struct checker *k)
{
	return offsetof(struct soft_vcpu, tlbs) +
	       k->e->unit->table * sizeof(((struct soft_vcpu *)0)->tlbs[0]);
}

/* Is the operand a field of the slot in S1? */
static bool is_slot_field(const struct checker *k, size_t field)
{
	const struct x86_insn *x = &k->x;
	return is_memory(x) && x->base == JIT_STATE && x->index == JIT_S1 && x->scale == 0 &&
	       k->reg[JIT_S1] == SLOT && x->disp == (int64_t)(table_offset(k) + field);
}

static bool is_tag(const struct checker *k)
{
	return is_slot_field(k, offsetof(struct soft_tlb_entry, read)) ||
	       is_slot_field(k, offsetof(struct soft_tlb_entry, write));
}

static bool is_spill(const struct x86_insn *x)
{
	return is_memory(x) && is_field(x) && x->index == X86_REG_NONE &&
	       x->disp == (int64_t)offsetof(struct soft_vcpu, jit_spill);
}

/* --- memory operands ------------------------------------------------------------------------------*/

/* The instruction's own access: its bytes, and does it write? At least that. */
struct access {
	unsigned size;
	bool writes;
};

static struct access access_of(const struct checker *k)
{
	const struct x86_insn *x = &k->x;
	const struct jit_op *op = jit_op_find(k->e->jit, x);
	unsigned size = op && op->rm ? jit_size_of(x, op->rm_size) : 0;
	return size ? (struct access){ size, op->rm != JIT_R } : (struct access){ 1, false };
}

/* `at` bytes behind what was looked up. */
static bool in_bounds(const struct checker *k, int64_t at)
{
	struct access a = access_of(k);
	return at >= 0 && at + a.size + k->bound.most <= PAGE_SIZE && (!a.writes || k->bound.write);
}

/* The looked-up address itself: its parts, some of them added to the addend in S1. */
static bool is_indexed(const struct checker *k)
{
	const struct x86_insn *x = &k->x;
	struct sum s = k->added;
	if (k->reg[JIT_S1] != ADDEND)
		return false;
	s.disp += x->disp;
	if (x->base == JIT_S1)
		sum_add_register(&s, x->index, x->scale);
	else if (x->index == JIT_S1 && x->scale == 0)
		sum_add_register(&s, x->base, 0);
	else
		return false;
	return sum_same(&k->looked_up, s) && (is(k, X86_MAP_1, 0x8d) || in_bounds(k, 0));
}

/* What the unit has looked up. */
static bool is_local(const struct checker *k)
{
	const struct x86_insn *x = &k->x;
	int64_t disp = x->disp + k->moved - k->e->frame.was_behind;
	return k->reg[JIT_S1] == FRAME && x->base == JIT_GUEST_RSP && x->index == JIT_S1 &&
	       x->scale == 0 && jit_frame_has(k->e, disp, access_of(k).size);
}

static unsigned range_of(const struct jit_group *g)
{
	return (unsigned)(g->hi - g->lo);
}

/* Inside the range that the group's first access has looked up. */
static bool is_grouped(const struct checker *k)
{
	const struct x86_insn *x = &k->x;
	struct access a = access_of(k);
	return k->reg[JIT_S1] == GROUP && x->base == JIT_S1 && x->index == X86_REG_NONE &&
	       x->disp >= 0 && x->disp + a.size <= range_of(k->group) && (!a.writes || k->group->write);
}

/* The group whose field of the vCPU the operand is, or NULL. */
static const struct jit_group *group_of(const struct checker *k)
{
	const struct x86_insn *x = &k->x;
	int64_t at = x->disp - (int64_t)offsetof(struct soft_vcpu, jit_groups);
	if (!is_memory(x) || !is_field(x) || x->index != X86_REG_NONE || at < 0 ||
	    at >= (int64_t)(k->e->groups.count * sizeof(uint64_t)))
		return NULL;
	return &k->e->groups.group[at / sizeof(uint64_t)];
}

/* A group's address is kept: it must be that of the whole range. */
static bool follow_group(struct checker *k)
{
	const struct x86_insn *x = &k->x;
	const struct jit_group *g = group_of(k);
	if (!g)
		return false;
	if (is(k, X86_MAP_1, 0x8b) && x->reg == JIT_S1 && x->op_size == 8) {
		k->reg[JIT_S1] = GROUP;
		k->group = g;
	} else if (!is(k, X86_MAP_1, 0x89) || x->reg != JIT_S0 || k->reg[JIT_S0] != HOST ||
		   k->bound.most + range_of(g) != PAGE_SIZE || (g->write && !k->bound.write)) {
		fail(k, "a group's address that is not its range's");
	}
	return true;
}

/* The frame's addend is kept: that of the page where all of it may be written to. */
static bool follow_frame(struct checker *k)
{
	const struct x86_insn *x = &k->x;
	const struct jit_frame *f = &k->e->frame;
	bool field = is_memory(x) && is_field(x) && x->index == X86_REG_NONE &&
		     x->disp == (int64_t)offsetof(struct soft_vcpu, jit_frame);
	bool load = is(k, X86_MAP_1, 0x8b) && x->reg == JIT_S1 && x->op_size == 8;
	bool store = is(k, X86_MAP_1, 0x89) && x->reg == JIT_S1 && x->op_size == 8;
	if (!field)
		return false;
	if (!load && (!store || k->reg[JIT_S1] != ADDEND || !k->bound.write || k->added.count || k->added.disp ||
		      k->bound.most + (unsigned)(f->hi - f->lo) != PAGE_SIZE))
		fail(k, "a frame that was not looked up");
	k->reg[JIT_S1] = FRAME;
	return true;
}

static void check_operand(struct checker *k)
{
	const struct x86_insn *x = &k->x;
	bool address_only = is(k, X86_MAP_1, 0x8d);
	/* BT to BTC by a register go as far from the operand as that says. */
	if (x->map == X86_MAP_0F && (x->opcode & 0xe7) == 0xa3 && is_memory(x) && is_field(x))
		fail(k, "a bit string in the vCPU");
	/* NOP and prefetches are not emitted with operands; CALL and JMP go through fields only. */
	if (!is_memory(x) || address_only || is_field(x) || x->rip_relative)
		return;
	bool host = x->base == JIT_S0 && x->index == X86_REG_NONE && k->reg[JIT_S0] == HOST &&
		    in_bounds(k, x->disp);
	if (!host && !is_indexed(k) && !is_local(k) && !is_grouped(k))
		fail(k, "a memory operand that no lookup leads to, or not as wide or for writing");
}

static void check_string(struct checker *k)
{
	unsigned op = k->x.opcode & 0xfe;
	bool source = op == 0xa4 || op == 0xa6 || op == 0xac, destination = op != 0xac;
	if (k->x.map != X86_MAP_1 || op < 0xa4 || op > 0xae || op == 0xa8)
		return;
	if ((source && k->reg[X86_RSI] != HOST) || (destination && k->reg[X86_RDI] != HOST))
		fail(k, "a string instruction that no lookup leads to");
}

/* --- what an instruction makes of the registers ----------------------------------------------------*/

/* RORX S1, from: the beginning of a lookup. */
static bool follow_slot(struct checker *k)
{
	const struct x86_insn *x = &k->x;
	if (x->map == X86_MAP_0F3A && x->opcode == 0xf0 && x->prefixes & X86_PREFIX_VEX &&
	    x->reg == JIT_S1 && x->mod == 3) {
		k->reg[JIT_S1] = RAW_SLOT;
		if (x->rm != JIT_S0) {
			k->latest = (struct sum){ .known = true };
			sum_add_register(&k->latest, x->rm, 0);
		}
		return true;
	}
	if (is(k, X86_MAP_1, 0x81) && (x->reg & 7) == 4 && x->mod == 3 && x->rm == JIT_S1 &&
	    k->reg[JIT_S1] == RAW_SLOT && x->op_size == 4 &&
	    !(x->imm & ~(uint64_t)((SOFT_TLB_SIZE - 1) * sizeof(struct soft_tlb_entry)))) {
		k->reg[JIT_S1] = SLOT;
		return true;
	}
	return false;
}

static bool follow_check(struct checker *k)
{
	const struct x86_insn *x = &k->x;
	if (is(k, X86_MAP_1, 0x2b) && x->reg == JIT_S0 && x->op_size == 8 && is_tag(k)) {
		k->reg[JIT_S0] = OFFSET;
		k->looked_up = k->latest;
		k->bound.write = is_slot_field(k, offsetof(struct soft_tlb_entry, write));
		return true;
	}
	if (is(k, X86_MAP_1, 0x81) && (x->reg & 7) == 7 && x->mod == 3 && x->rm == JIT_S0 &&
	    x->op_size == 8 && x->imm <= PAGE_SIZE &&
	    (k->reg[JIT_S0] == OFFSET || k->reg[JIT_S0] == CHECKED)) {
		k->compared = true;
		k->bound.most = x->imm;
		return true;
	}
	if (is(k, X86_MAP_0F, JA) && k->compared) {
		k->reg[JIT_S0] = CHECKED;
		k->compared = false;
		return true;
	}
	/* A run's end, compared next. */
	return is(k, X86_MAP_1, 0x8d) && x->reg == JIT_S0 && x->base == JIT_S0 &&
	       x->index == X86_RCX && k->reg[JIT_S0] == CHECKED;
}

/* To the host's address from a checked offset. */
static bool follow_address(struct checker *k)
{
	const struct x86_insn *x = &k->x;
	bool add = is(k, X86_MAP_1, 0x03) && x->reg == JIT_S0 && x->op_size == 8;
	bool load = is(k, X86_MAP_1, 0x8b) && x->op_size == 8;
	bool addend = is_slot_field(k, offsetof(struct soft_tlb_entry, addend));
	if (add && is_tag(k) && k->reg[JIT_S0] == CHECKED) {
		k->reg[JIT_S0] = LINEAR;
		return true;
	}
	if (add && addend && k->reg[JIT_S0] == LINEAR) {
		k->reg[JIT_S0] = HOST;
		return true;
	}
	if (load && addend && (x->reg == JIT_S0 || x->reg == JIT_S1) && k->reg[JIT_S0] == CHECKED) {
		k->reg[x->reg] = ADDEND;
		k->added = (struct sum){ .known = true };
		return true;
	}
	/* The start of a bit string, whose word was looked up. */
	if (add && is_spill(x) && k->reg[JIT_S0] == ADDEND) {
		k->reg[JIT_S0] = HOST;
		return true;
	}
	if (load && is_spill(x) && x->reg == JIT_S0) {
		k->reg[JIT_S0] = k->spill;
		if (k->spill != ANY)
			k->bound = k->spill_bound;
		return true;
	}
	if (is(k, X86_MAP_1, 0x89) && is_spill(x)) {
		k->spill = k->reg[x->reg];
		k->spill_bound = k->bound;
		return true;
	}
	return false;
}

/* LEA: of an address to be looked up, of a run's host address, and back from it. */
static bool follow_lea(struct checker *k)
{
	const struct x86_insn *x = &k->x;
	if (!is(k, X86_MAP_1, 0x8d))
		return false;
	bool again = false;
	if (x->reg == JIT_S0) {
		struct sum s = { .known = x->op_size == 8 };
		if (x->base == JIT_S0)
			s = k->latest;
		else
			sum_add_register(&s, x->base, 0);
		s.known &= x->op_size == 8 && x->index != JIT_S0;
		s.disp += x->disp;
		sum_add_register(&s, x->index, x->scale);
		k->latest = s;
		again = k->reg[JIT_S0] == CHECKED && k->reg[JIT_S1] == SLOT && sum_same(&k->looked_up, s);
	}
	if (x->reg == JIT_GUEST_RSP && x->base == JIT_GUEST_RSP && x->index == X86_REG_NONE)
		k->moved += x->disp;
	bool found = x->reg == JIT_S0 && x->op_size == 8 && is_indexed(k);
	bool run = (x->reg == X86_RSI || x->reg == X86_RDI) && x->base == x->reg;
	if (run && x->index != X86_REG_NONE && k->reg[x->index] == ADDEND)
		k->reg[x->reg] = x->disp == 0 ? HOST : ANY;
	else
		k->reg[x->reg] = found ? HOST : again ? LINEAR : ANY;
	return true;
}

/* What S0 is made of, before it is looked up, and what is added to an addend. */
static bool follow_parts(struct checker *k)
{
	const struct x86_insn *x = &k->x;
	bool field = is_memory(x) && is_field(x) && x->index == X86_REG_NONE && x->op_size == 8;
	bool add = is(k, X86_MAP_1, 0x03) && x->op_size == 8;
	if (add && x->reg == JIT_S1 && k->reg[JIT_S1] == ADDEND && (field || x->mod == 3)) {
		if (field)
			sum_add_field(&k->added, x->disp);
		else
			sum_add_register(&k->added, x->rm, 0);
		return true;
	}
	if (add && x->reg == JIT_S0 && field)
		sum_add_field(&k->latest, x->disp);
	else if (is(k, X86_MAP_1, 0x8b) && x->reg == JIT_S0 && field) {
		k->latest = (struct sum){ .known = true };
		sum_add_field(&k->latest, x->disp);
	} else if ((x->map == X86_MAP_1 && (x->opcode & 0xf8) == 0xb8 && x->rm == JIT_S0) ||
		   (is(k, X86_MAP_1, 0xc7) && x->mod == 3 && x->rm == JIT_S0)) {
		k->latest = (struct sum){ .known = true, .disp = (int64_t)x->imm };
	}
	return false;
}

static void follow_other(struct checker *k)
{
	const struct x86_insn *x = &k->x;
	bool not_ = is(k, X86_MAP_1, 0xf7) && (x->reg & 7) == 2;
	bool same = is(k, X86_MAP_1, 0x89) && x->mod == 3 && x->reg == x->rm;
	bool reads = is(k, X86_MAP_1, 0x88) || is(k, X86_MAP_1, 0x89);
	if (not_ || same)
		return;
	if (x->has_modrm) {
		if (!reads && x->reg < WATCHED)
			k->reg[x->reg] = ANY;
		if (x->mod == 3 && x->rm < WATCHED)
			k->reg[x->rm] = ANY;
	} else if (x->rm < WATCHED) {
		k->reg[x->rm] = ANY;
	}
	if (is(k, X86_MAP_1, 0xe8))
		memset(k->reg, 0, sizeof(k->reg));
}

/* Where rsp's register was, or is left, behind its value: is it by as much as the instruction moves that? */
static void check_lag(struct checker *k)
{
	const struct jit_frame *f = &k->e->frame;
	unsigned n = (unsigned)(k->e->insn - k->e->insns);
	if (f->behind && n + 1 < f->known &&
	    f->delta[n + 1] - f->delta[n] != k->moved + f->behind - f->was_behind)
		fail(k, "a stack pointer that is not where it should be");
}

static void note_jump(struct checker *k)
{
	const struct x86_insn *x = &k->x;
	bool near = is(k, X86_MAP_1, 0xe9) || is(k, X86_MAP_1, 0xeb) || is(k, X86_MAP_1, 0xe3) ||
		    (x->map == X86_MAP_0F && (x->opcode & 0xf0) == 0x80);
	if (near && !k->jumped) {
		k->jumped = true;
		k->moved_first = k->moved;
	}
	/* Those that leave are not bound yet. */
	if (!near || !x->imm)
		return;
	int64_t offset = k->at - k->start + x->length + (int64_t)x->imm;
	if (offset < 0 || offset >= k->end - k->start)
		return;
	const uint8_t *target = k->start + offset;
	for (unsigned n = 0; n < k->target_count; n++) {
		if (k->targets[n] == target)
			return;
	}
	if (k->target_count == TARGETS_MAX) {
		fail(k, "too many jumps");
		return;
	}
	k->targets[k->target_count++] = target;
}

static void check_from(struct checker *k, const uint8_t *from)
{
	const struct jit_frame *f = &k->e->frame;
	memset(k->reg, 0, sizeof(k->reg));
	if (from == k->start && f->was_at_hand)
		k->reg[JIT_S1] = FRAME;
	k->spill = ANY;
	k->moved = from == k->start ? 0 : k->moved_first;
	k->latest = k->looked_up = k->added = (struct sum){ 0 };
	k->compared = false;
	k->bound = k->spill_bound = (struct bound){ .most = PAGE_SIZE };
	for (k->at = from; k->at < k->end && !k->wrong; k->at += k->x.length) {
		if (x86_decode(k->at, (size_t)(k->end - k->at), X86_DECODE_64, &k->x) != X86_DECODE_OK) {
			fail(k, "an instruction that is none");
			return;
		}
		bool compared = k->compared;
		check_operand(k);
		check_string(k);
		note_jump(k);
		if (!follow_group(k) && !follow_frame(k) && !follow_slot(k) && !follow_check(k) &&
		    !follow_address(k) && !follow_lea(k) && !follow_parts(k))
			follow_other(k);
		/* Only the next instruction's business. */
		k->compared &= !compared;
	}
	if (k->reg[X86_RSI] == HOST || k->reg[X86_RDI] == HOST)
		fail(k, "a host address that is left in a guest's register");
	if (f->at_hand && k->reg[JIT_S1] != FRAME)
		fail(k, "a frame that is not at hand");
}

static struct checker check(const struct jit_emit *e, const uint8_t *start, const uint8_t *end)
{
	struct checker k = { .e = e, .start = start, .end = end };
	check_from(&k, start);
	check_lag(&k);
	for (unsigned n = 0; n < k.target_count; n++)
		check_from(&k, k.targets[n]);
	return k;
}

const char *jit_verify_find(const struct jit_emit *e, const uint8_t *start, const uint8_t *end)
{
	return check(e, start, end).wrong;
}

void jit_verify(const struct jit_emit *e, const uint8_t *start, const uint8_t *end)
{
	struct checker k = check(e, start, end);
	if (!k.wrong)
		return;
	g_autoptr(GString) s = g_string_new(NULL);
	for (const uint8_t *p = start; p < end; p++)
		g_string_append_printf(s, "%s%02x", p == k.wrong_at ? "|" : " ", *p);
	g_error("translated code: %s\n for %02x of map %u:%s", k.wrong, e->insn->x.opcode,
		e->insn->x.map, s->str);
}
