/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Forming and translating units: decode from the block's start along the fall-through path inside its
 * page, find out where flags are dead, emit instruction by instruction, then the out-of-line pieces.
 */
#include "cpu/soft/engine.h"
#include "cpu/soft/jit/emit.h"
#include "cpu/soft/trace.h"

#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

/* --- decoding -------------------------------------------------------------------------------------*/

bool jit_ends(const struct soft_insn *i)
{
	unsigned op = i->x.opcode;
	bool string = i->x.map == X86_MAP_1 && op >= 0xa4 && op <= 0xaf && op != 0xa8 && op != 0xa9;
	return i->ends && !string;
}

/* STAC, CLAC: what follows uses another TLB table. */
static bool changes_table(const struct x86_insn *x)
{
	return x->map == X86_MAP_0F && x->opcode == 1 && (x->modrm & 0xfe) == 0xca;
}

struct source {
	const uint8_t *host;
	uint8_t bytes[JIT_INSNS_MAX * X86_INSN_MAX]; /* a copy, compared at the end */
	unsigned first; /* how many of them are in the first page */
	unsigned room, size;
};

static void source_fill(struct source *s, const struct block *b)
{
	s->first = MIN(PAGE_SIZE - ((uintptr_t)b->host & PAGE_MASK), sizeof(s->bytes));
	s->room = s->first;
	memcpy(s->bytes, b->host, s->first);
	if (b->host2) {
		s->room = b->size;
		memcpy(s->bytes + s->first, b->host2, s->room - s->first);
	}
}

/* Is it still what is in memory? */
static bool source_same(const struct source *s, const struct block *b)
{
	if (memcmp(s->bytes, b->host, MIN(s->size, s->first)))
		return false;
	return !b->host2 || !memcmp(s->bytes + s->first, b->host2, s->size - s->first);
}

/* The unit's instructions; 0 if not even the first will do. */
static unsigned decode_unit(struct soft_vcpu *c, struct source *s, uint32_t mode)
{
	unsigned offset = (uintptr_t)s->host & PAGE_MASK, count = 0;
	while (count < JIT_INSNS_MAX && s->size < s->room) {
		struct soft_insn *i = &c->jit->emit.insns[count];
		enum x86_decode_result r = x86_decode(s->bytes + s->size, s->room - s->size,
						      c->mode, &i->x);
		if (r != X86_DECODE_OK || !interp_insn_choose(c, i, mode))
			break;
		i->offset = offset + s->size;
		s->size += i->x.length;
		count++;
		const struct jit_op *op = jit_op_find(c->jit, &i->x);
		bool ends = jit_ends(i) && !(op && op->goes_on);
		if ((ends && !jit_is_jcc(&i->x)) || changes_table(&i->x))
			break;
	}
	return count;
}

/* --- the way out ----------------------------------------------------------------------------------*/

void jit_exit_direct(struct jit_emit *e, unsigned cc, int32_t target, uint8_t live)
{
	jit_exit_by(e, jit_jump(e, cc), target, live);
}

void jit_exit_by(struct jit_emit *e, uint8_t *rel32, int32_t target, uint8_t live)
{
	if (e->exit_count == JIT_EXITS_MAX) {
		e->failed = true;
		return;
	}
	struct jit_link *link = interp_arena_take(e->c->blocks, sizeof(*link));
	if (!link) {
		e->failed = true;
		return;
	}
	*link = (struct jit_link){ .from = e->unit, .target = target,
				   .far = target < 0 || target >= (int32_t)PAGE_SIZE };
	e->exits[e->exit_count++] = (struct jit_exit){
		.link = link,
		.save_flags = e->flags_host && !e->flags_mem ? live : 0,
		.backward = target <= (int32_t)e->insn->offset,
		.borrowed = e->borrow.now,
		.from = rel32,
	};
}

/* Is the target's page still where the linked unit is? Leaves its linear address in block_rip. */
static void emit_far_check(struct jit_emit *e, struct jit_link *link, uint8_t *to_resolve[2],
			   uint8_t **host_page)
{
	jit_load(e, JIT_S0, JIT_FIELD(block_rip));
	jit_op_rr(e, 0x81 | (e->wide ? JIT_W64 : 0), 0, JIT_S0);
	jit_u32(e, link->target & ~(int32_t)PAGE_MASK);
	jit_fetch_slot(e, JIT_S0);
	jit_op_rm(e, 0x3b | JIT_W64, JIT_S0,
		  jit_fetch_field(e->unit->table, offsetof(struct soft_fetch_entry, tag)));
	to_resolve[0] = jit_jump(e, 5);
	jit_load(e, JIT_S1,
		 jit_fetch_field(e->unit->table, offsetof(struct soft_fetch_entry, addend)));
	jit_op_rr(e, 0x01 | JIT_W64, JIT_S0, JIT_S1);
	/* cmp S1, [rip + host_page] */
	jit_byte(e, 0x4c);
	jit_byte(e, 0x3b);
	jit_byte(e, 0x3d);
	*host_page = e->p;
	jit_u32(e, 0);
	to_resolve[1] = jit_jump(e, 5);
	jit_store(e, JIT_S0, JIT_FIELD(block_rip));
}

static void emit_exit(struct jit_emit *e, struct jit_exit *x)
{
	struct jit_link *link = x->link;
	uint8_t *to_resolve[3], *host_page = NULL;
	unsigned resolves = 0;
	link->source = x->from;
	link->save = e->p;
	if (x->save_flags)
		jit_flags_save(e, x->save_flags);
	link->direct = e->p;
	if (x->borrowed)
		jit_give_back(e);
	if (x->backward) {
		jit_op_rm(e, 0x83, 7, JIT_FIELD(pending));
		jit_byte(e, 0);
		to_resolve[resolves++] = jit_jump(e, 5);
	}
	if (link->far) {
		emit_far_check(e, link, to_resolve + resolves, &host_page);
		resolves += 2;
	}
	link->final = jit_jump(e, JIT_ALWAYS);
	link->resolve = e->p;
	jit_const(e, JIT_S0, (uintptr_t)link);
	jit_jump_to(e, JIT_ALWAYS, e->jit->thunk_link);
	link->host_page = e->p;
	if (link->far)
		jit_u64(e, 0);
	if (e->failed)
		return;
	for (unsigned n = 0; n < resolves; n++)
		jit_bind(to_resolve[n], link->resolve);
	if (host_page)
		jit_bind(host_page, link->host_page);
	jit_bind(link->source, link->save);
	jit_bind(link->final, link->resolve);
}

/* Leave behind the slow piece's instruction, but for the jump `there`. */
static void emit_leave_unless(struct jit_emit *e, const struct jit_slow *s, uint8_t *there)
{
	jit_const(e, JIT_S0, (uintptr_t)s->insn);
	jit_jump_to(e, JIT_ALWAYS, e->jit->thunk_after);
	if (!e->failed)
		jit_bind(there, e->p);
}

/* Have the vector registers in the host again. */
static void emit_vectors_back(struct jit_emit *e, const struct jit_slow *s)
{
	enum { NOT_BELOW = 3 };
	jit_jump_to(e, JIT_CALL, e->jit->vectors_in[s->vectors]);
	uint8_t *in = jit_jump(e, NOT_BELOW);
	jit_const(e, JIT_S0, s->vectors);
	jit_jump_to(e, JIT_CALL, e->jit->thunk_vectors);
	jit_op_rm(e, 0x80, 7, JIT_FIELD(jit_vectors));
	jit_byte(e, s->vectors);
	emit_leave_unless(e, s, jit_jump(e, NOT_BELOW));
	if (!e->failed)
		jit_bind(in, e->p);
}

static void emit_slow(struct jit_emit *e, const struct jit_slow *s)
{
	if (e->failed)
		return;
	for (unsigned n = 0; n < s->from_count; n++)
		jit_bind(s->from[n], e->p);
	if (s->borrowed)
		jit_give_back(e);
	jit_x87_note(e, &s->x87_last);
	jit_const(e, JIT_S0, (uintptr_t)s->insn);
	if (s->ends) {
		jit_jump_to(e, JIT_ALWAYS, e->jit->thunk_end);
		return;
	}
	jit_jump_to(e, JIT_CALL, e->jit->thunk_insn);
	if (s->vectors)
		emit_vectors_back(e, s);
	if (s->x87) {
		uint8_t *there;
		jit_x87_still(e, &there);
		emit_leave_unless(e, s, there);
	}
	if (s->restore)
		jit_flags_restore_code(e, s->restore, JIT_S0);
	if (s->borrowed)
		jit_borrow(e);
	jit_jump_to(e, JIT_ALWAYS, s->back);
}

const struct soft_insn *jit_keep(struct jit_emit *e, const struct soft_insn *i)
{
	const struct soft_insn **kept = &e->kept[i - e->insns];
	if (*kept)
		return *kept;
	struct soft_insn *copy = interp_arena_take(e->c->blocks, sizeof(*copy));
	if (copy)
		*copy = *i;
	else
		e->failed = true;
	return *kept = copy;
}

void jit_call_insn(struct jit_emit *e, const struct soft_insn *i)
{
	jit_flags_clobber(e);
	if (e->borrow.now)
		jit_give_back(e);
	jit_const(e, JIT_S0, (uintptr_t)jit_keep(e, i));
	jit_jump_to(e, JIT_CALL, e->jit->thunk_insn);
	if (e->borrow.now)
		jit_borrow(e);
	e->flags_mem = true;
	e->vectors = JIT_VECTORS_OUT;
	e->x87 = false;
}

void jit_call_end(struct jit_emit *e, const struct soft_insn *i)
{
	jit_flags_clobber(e);
	if (e->borrow.now)
		jit_give_back(e);
	jit_const(e, JIT_S0, (uintptr_t)jit_keep(e, i));
	jit_jump_to(e, JIT_ALWAYS, e->jit->thunk_end);
	e->closed = true;
}

/* --- a unit ---------------------------------------------------------------------------------------*/

static void verify(const struct jit_emit *e, const uint8_t *start, const uint8_t *end)
{
	if (e->jit->verify && !e->failed)
		jit_verify(e, start, end);
}

static void emit_insn(struct jit_emit *e, unsigned n)
{
	const struct jit_effects *f = &e->effects;
	const struct soft_insn *i = e->insn = &e->insns[n];
	e->op = f->op[n];
	e->use = f->use[n];
	e->kill = f->kill[n];
	e->live = f->after[n];
	e->live_before = f->before[n];
	e->live_taken = f->taken[n];
	e->insn_slow = e->slow_count;
	e->quiet = false;
	e->frame.was_at_hand = e->frame.at_hand;
	e->frame.was_behind = e->frame.behind;
	const uint8_t *start = e->p;
	if (!jit_frame_may_lag(e))
		jit_frame_catch_up(e);
	if (!e->op || !e->op->x87)
		jit_x87_flush(e);
	struct jit_x87_last before = e->x87_last;
	/* What ends the unit in other ways than by a direct jump finds all registers at home. */
	if (e->borrow.now && jit_ends(i) && !jit_is_direct(e, &i->x)) {
		jit_give_back(e);
		e->borrow.now = false;
	}
	jit_frame_enter(e);
	jit_group_enter(e);
	e->closed = e->op && e->op->ends && !jit_is_jcc(&i->x);
	if (!e->op || !e->op->emit(e, &i->x)) {
		jit_frame_catch_up(e);
		jit_x87_flush(e);
		if (jit_ends(i))
			jit_call_end(e, i);
		else
			jit_call_insn(e, i);
	}
	verify(e, start, e->p);
	if (e->slow_count > e->insn_slow) {
		g_assert(!e->frame.behind);
		e->frame.at_hand = false;
		struct jit_slow *s = &e->slow[e->insn_slow];
		s->back = e->p;
		s->ends = jit_ends(i);
		s->restore = e->flags_host ? e->live : 0;
		s->vectors = e->vectors;
		s->x87 = e->x87;
		s->borrowed = e->borrow.now;
		s->x87_last = before;
	}
}

/*
 * An instruction that lies across two pages is a unit of its own. Jumps lead here by the first page;
 * is the second one still where its bytes were decoded?
 */
static void emit_crossing_check(struct jit_emit *e, uint8_t *stale[2])
{
	jit_load(e, JIT_S0, JIT_FIELD(block_rip));
	jit_op_rm(e, 0x8d | (e->wide ? JIT_W64 : 0), JIT_S0,
		  (struct jit_at){ JIT_S0, JIT_NONE, 0, PAGE_SIZE });
	jit_fetch_slot(e, JIT_S0);
	jit_op_rm(e, 0x3b | JIT_W64, JIT_S0,
		  jit_fetch_field(e->unit->table, offsetof(struct soft_fetch_entry, tag)));
	stale[0] = jit_jump(e, 5);
	jit_op_rm(e, 0x03 | JIT_W64, JIT_S0,
		  jit_fetch_field(e->unit->table, offsetof(struct soft_fetch_entry, addend)));
	jit_const(e, JIT_S1, (uintptr_t)e->unit->block->host2);
	jit_op_rr(e, 0x3b | JIT_W64, JIT_S0, JIT_S1);
	stale[1] = jit_jump(e, 5);
}

/* It is not: the run loop finds what is there now. */
static void emit_crossing_stale(struct jit_emit *e, uint8_t *const stale[2])
{
	if (e->failed)
		return;
	jit_bind(stale[0], e->p);
	jit_bind(stale[1], e->p);
	jit_const(e, JIT_S0, (uintptr_t)jit_keep(e, &e->insns[0]));
	jit_jump_to(e, JIT_ALWAYS, e->jit->thunk_before);
}

static void emit_unit(struct jit_emit *e)
{
	bool crosses = e->unit->block->host2;
	uint8_t *stale[2];
	struct jit_unit *u = e->unit;
	u->live_in = e->effects.before[0];
	e->flags_host = false;
	e->flags_mem = true;
	e->vectors = JIT_VECTORS_OUT;
	e->x87 = false;
	e->x87_last = (struct jit_x87_last){ 0 };
	if (crosses)
		emit_crossing_check(e, stale);
	jit_borrow(e);
	e->borrow.now = e->borrow.count > 0;
	e->loop = e->p;
	e->loop_framed = NULL;
	for (unsigned n = 0; n < u->count && !e->failed; n++)
		emit_insn(e, n);
	const struct soft_insn *last = &e->insns[u->count - 1];
	if (!e->closed) {
		jit_frame_catch_up(e);
		e->live_before = e->effects.after[u->count - 1];
		jit_x87_flush(e);
		jit_exit_direct(e, JIT_ALWAYS, last->offset + last->x.length, e->live_before);
	}
	e->frame.at_hand = e->frame.was_at_hand = false;
	g_assert(!e->frame.behind);
	for (unsigned n = 0; n < e->slow_count && !e->failed; n++) {
		const uint8_t *start = e->p;
		emit_slow(e, &e->slow[n]);
		verify(e, start, e->p);
	}
	for (unsigned n = 0; n < e->exit_count && !e->failed; n++) {
		const uint8_t *start = e->p;
		emit_exit(e, &e->exits[n]);
		verify(e, start, e->exits[n].link->host_page);
	}
	jit_plain_leave(e);
	if (crosses)
		emit_crossing_stale(e, stale);
}

/* Guest address, privilege and size, for perf(1). */
static void name_code(struct jit_emit *e, size_t bytes)
{
	static const char *const side[SOFT_JIT_TABLES] = { "kernel", "user", "kernel-ac" };
	struct jit_unit *u = e->unit;
	char line[96];
	int n = snprintf(line, sizeof(line), "%lx %zx %s:%lx[%u]\n", (unsigned long)(uintptr_t)u->code,
			 bytes, side[u->table],
			 (unsigned long)((e->c->block_rip & ~(uint64_t)PAGE_MASK) + e->insns[0].offset),
			 u->count);
	if (write(e->jit->perf_map, line, n) != n) {
		close(e->jit->perf_map);
		e->jit->perf_map = -1;
	}
}

static const uint8_t *page_of(const struct block *b)
{
	return (const uint8_t *)((uintptr_t)b->host & ~(uintptr_t)PAGE_MASK);
}

static struct jit_unit *make_code(struct soft_vcpu *c, struct jit_unit *u, bool plain)
{
	struct jit *jit = c->jit;
	struct jit_emit *e = &jit->emit;
	uint8_t *start = jit->write + jit->used;
	e->c = c;
	e->jit = jit;
	e->unit = u;
	e->p = start;
	e->end = start + JIT_UNIT_MAX;
	e->failed = false;
	e->wide = c->long64;
	e->slow_count = e->exit_count = e->to_plain_count = 0;
	memset(e->kept, 0, sizeof(e->kept));
	jit_flags_find(e, u->block->host2 ? NULL : page_of(u->block));
	jit_frame_find(e, plain);
	jit_groups_find(e, plain);
	jit_borrow_find(e);
	emit_unit(e);
	if (e->failed)
		return NULL;
	u->code = jit->exec + jit->used;
	jit->used += (size_t)(e->p - start + 15) & ~(size_t)15;
	jit->bytes += e->p - start;
	jit->units++;
	jit->insns += u->count;
	if (soft_traces(c, VM_TRACE_OUT_ASM))
		soft_trace_out(c, u->code, start, (size_t)(e->p - start));
	if (jit->perf_map >= 0)
		name_code(e, e->p - start);
	return u;
}

static struct jit_unit *translate(struct soft_vcpu *c, struct block *b, bool plain, bool *refused)
{
	struct soft_blocks *blocks = c->blocks;
	size_t most = sizeof(struct jit_unit) + JIT_INSNS_MAX * sizeof(struct soft_insn);
	struct source s = { .host = b->host };
	uint64_t phys;
	bool watched;
	*refused = false;
	if (c->jit->used + JIT_UNIT_MAX > c->jit->size ||
	    blocks->size - blocks->used < most + (size_t)JIT_EXITS_MAX * 128) {
		c->jit->full = true;
		return NULL;
	}
	/* A fault here would be this fetch's. */
	c->insn = &blocks->fetching;
	if (soft_translate(c, c->block_rip, SOFT_FETCH, &phys, &watched) != b->host)
		return NULL;
	source_fill(&s, b);
	struct jit_unit *u = interp_arena_take(blocks, sizeof(*u));
	memset(u, 0, sizeof(*u));
	u->count = decode_unit(c, &s, b->mode);
	if (!u->count) {
		*refused = true;
		return NULL;
	}
	u->block = b;
	u->table = c->tlb_table;
	u->side = jit_side(c);
	if (!make_code(c, u, plain)) {
		*refused = true;
		return NULL;
	}
	/* The second page of one that crosses is marked since it was decoded as a block. */
	uint64_t lines = soft_code_lines(phys, MIN(s.size, s.first)) | jit_flags_lines(&c->jit->emit);
	b->lines |= lines;
	if (!soft_engine_code_mark_lines(c, phys, lines) || !source_same(&s, b) ||
	    !jit_flags_same(&c->jit->emit, page_of(b)))
		return NULL;
	return u;
}

struct jit_unit *jit_translate(struct soft_vcpu *c, struct block *b, bool *refused)
{
	return translate(c, b, false, refused);
}

struct jit_unit *jit_translate_plain(struct soft_vcpu *c, struct jit_unit *u)
{
	bool refused;
	uint64_t page = c->block_rip & ~(uint64_t)PAGE_MASK;
	c->block_rip = page | ((uintptr_t)u->block->host & PAGE_MASK);
	struct jit_unit *plain = translate(c, u->block, true, &refused);
	c->block_rip = page;
	return plain;
}
