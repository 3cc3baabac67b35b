/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making cases. An instruction is put together piece by piece, so that where its operands lie is
 * known; then the registers of its memory operand are chosen to reach a wanted address: mostly in
 * the windows that both sides compare, sometimes across pages, into read-only or absent memory, or
 * nowhere at all.
 */
#include "cpu/x86/opcodes.h"
#include "fill.h"
#include "gen.h"

#include <string.h>

static const char **make_names(void)
{
	const char **names = g_new0(const char *, diff_class_count + 1);
	for (unsigned i = 0; i < diff_class_count; i++)
		names[i] = diff_classes[i].name;
	return names;
}

const char *const *diff_class_names(void)
{
	static gsize names;
	if (g_once_init_enter(&names))
		g_once_init_leave(&names, (gsize)make_names());
	return (const char *const *)names;
}

const struct diff_class *diff_class_find(const char *name)
{
	for (unsigned i = 0; i < diff_class_count; i++) {
		if (!strcmp(diff_classes[i].name, name))
			return &diff_classes[i];
	}
	return NULL;
}

void gen_put(struct build *b, uint64_t value, unsigned size)
{
	memcpy(b->c->code + b->at, &value, size);
	b->at += size;
}

/* --- where the operand lies --------------------------------------------------------------------*/

uint64_t gen_choose_target(struct build *b)
{
	struct rng *r = b->r;
	uint64_t window = DIFF_DATA + DIFF_WINDOW_AT, at;
	if (b->p->flags & GEN_STATE) {
		if (rng_percent(r, 90))
			return window + 64 * rng_below(r, 3);
		return window + rng_below(r, 200);
	}
	unsigned kind = rng_below(r, 100);
	if (kind < 75)
		at = window + 64 + rng_below(r, DIFF_WINDOW - 256);
	else if (kind < 83)
		at = DIFF_DATA + 4096 - rng_below(r, 40);
	else if (kind < 90)
		at = DIFF_DATA + 8192 - rng_below(r, 70);
	else if (kind < 94)
		at = DIFF_DATA + 8192 + rng_below(r, 4096 - 64);
	else if (kind < 97)
		at = DIFF_DATA + 12288 - rng_below(r, 40);
	else if (kind < 99)
		at = DIFF_DATA + 12288 + rng_below(r, 4096);
	else
		at = b->c->bits32 ? 0xc0000000 + rng_below(r, 0x3fffff00)
				  : (UINT64_C(0x8000000000000000) >> rng_below(r, 17)) + 0x2000;
	if (rng_percent(r, 50))
		at &= ~UINT64_C(31);
	return at;
}

static uint64_t random_gpr(struct rng *r)
{
	uint64_t v = rng_next(r);
	switch (rng_below(r, 8)) {
	case 0: return v & 0xff;
	case 1: return (int8_t)v;
	case 2: return UINT64_C(1) << (v & 63);
	case 3: return (UINT64_C(1) << (v & 63)) - 1;
	case 4: return (int32_t)v;
	case 5: return (uint32_t)v;
	case 6: return v >> (v & 63);
	}
	return v;
}

/* --- prefixes and opcode -----------------------------------------------------------------------*/

static bool choose_opcode(struct build *b)
{
	const struct gen_pattern *p = b->p;
	b->opcode = p->first + rng_below(b->r, p->last - p->first + 1);
	b->op = x86_opcodes[p->map][b->opcode];
	if (!(b->op & OP_VALID) || (b->op & OP_NO64 && !b->c->bits32))
		return false;
	bool vex = p->flags & GEN_VEX;
	return vex ? (b->op & OP_VEX) != 0 : !(b->op & OP_VEX_ONLY);
}

static void choose_prefixes(struct build *b)
{
	uint32_t flags = b->p->flags;
	bool integer = flags & GEN_INT;
	if (flags & GEN_PP) {
		do
			b->pp = rng_below(b->r, 4);
		while (!(flags & GEN_PP & (GEN_NONE << b->pp)));
	} else if (integer && rng_percent(b->r, 25)) {
		b->pp = 1;
	}
	/* MOVNTSS and MOVNTSD, which AMD's CPUs have, whatever the guest's CPUID says. */
	if (b->p->map == X86_MAP_0F && b->opcode == 0x2b && !(flags & GEN_VEX) && b->pp > 1)
		b->pp = 0;
	bool wide = !b->c->bits32;
	b->addr32 = wide && rng_percent(b->r, 5) && !(flags & GEN_VSIB);
	if (wide && rng_percent(b->r, 55)) {
		b->rex = rng_below(b->r, 16);
		if (!integer && rng_percent(b->r, 50))
			b->rex &= 7;
	}
	b->op_size = b->rex & 8 ? 8 : b->pp == 1 ? 2 : 4;
	if (!wide)
		return;
	if (b->op & OP_FORCE64)
		b->op_size = 8;
	else if (b->op & OP_64 && b->op_size != 2)
		b->op_size = 8;
}

static void emit_legacy(struct build *b)
{
	static const uint8_t mandatory[] = { 0, 0x66, 0xf3, 0xf2 };
	static const uint8_t segments[] = { 0x26, 0x2e, 0x36, 0x3e, 0x65 };
	uint32_t flags = b->p->flags;
	if (b->addr32)
		gen_put(b, 0x67, 1);
	if (rng_percent(b->r, 4))
		gen_put(b, segments[rng_below(b->r, b->c->bits32 ? 4 : 5)], 1);
	if (flags & GEN_REP && rng_percent(b->r, 75))
		gen_put(b, rng_percent(b->r, 50) ? 0xf3 : 0xf2, 1);
	if (flags & GEN_INT && b->pp > 1 && rng_percent(b->r, 20)) {
		gen_put(b, 0x66, 1);
		b->op_size = b->rex & 8 ? 8 : 2;
	}
	if (b->pp)
		gen_put(b, mandatory[b->pp], 1);
	if (flags & GEN_LOCK)
		gen_put(b, 0xf0, 1);
	if (b->rex || (!b->c->bits32 && rng_percent(b->r, 2)))
		gen_put(b, 0x40 | b->rex, 1);
	if (b->p->map != X86_MAP_1)
		gen_put(b, 0x0f, 1);
	if (b->p->map == X86_MAP_0F38)
		gen_put(b, 0x38, 1);
	else if (b->p->map == X86_MAP_0F3A)
		gen_put(b, 0x3a, 1);
}

static void emit_vex(struct build *b)
{
	if (b->addr32)
		gen_put(b, 0x67, 1);
	bool l = rng_percent(b->r, 50);
	/* vvvv is free in some instructions and must be 1111b in the others. */
	b->vvvv = rng_percent(b->r, 40) ? 0 : rng_below(b->r, b->c->bits32 ? 8 : 16);
	/* W exists in 32-bit mode too, in the long prefix. */
	if (b->c->bits32 && rng_percent(b->r, 30))
		b->rex = 8;
	uint8_t p = (~b->vvvv & 0xf) << 3 | (l ? 4 : 0) | b->pp;
	if (b->p->map == X86_MAP_0F && !(b->rex & 0xb) && rng_percent(b->r, 70)) {
		gen_put(b, 0xc5, 1);
		gen_put(b, (b->rex & 4 ? 0 : 0x80) | p, 1);
		b->rex &= 4;
	} else {
		gen_put(b, 0xc4, 1);
		gen_put(b, (~b->rex & 7) << 5 | b->p->map, 1);
		gen_put(b, (b->rex & 8 ? 0x80 : 0) | p, 1);
	}
	b->op_size = b->rex & 8 && !b->c->bits32 ? 8 : 4;
	if (b->c->bits32)
		b->rex = 0;
}

/* --- ModRM -------------------------------------------------------------------------------------*/

static unsigned immediate_size(const struct build *b)
{
	switch (b->op & OP_IMM_MASK) {
	case OP_IMM_B: case OP_IMM_UB: return 1;
	case OP_IMM_W: return 2;
	case OP_IMM_Z: return b->op & OP_FORCE64 || b->op_size != 2 ? 4 : 2;
	case OP_IMM_V: return b->op_size;
	case OP_IMM_ENTER: return 3;
	case OP_IMM_MOFFS: return b->addr32 || b->c->bits32 ? 4 : 8;
	case OP_IMM_GROUP3:
		if (b->reg & 6)
			return 0;
		return b->op & OP_BYTE ? 1 : b->op_size == 2 ? 2 : 4;
	}
	return 0;
}

static unsigned choose_digit(struct build *b)
{
	unsigned digit;
	do
		digit = rng_below(b->r, 8);
	while (b->p->digits && !(b->p->digits & 1u << digit));
	return digit;
}

/* SIB form; fills in base, index, scale. Returns the displacement's size. */
static unsigned emit_sib(struct build *b, unsigned mod, bool absolute)
{
	unsigned index = rng_below(b->r, 8), base = absolute ? 5 : rng_below(b->r, 8);
	if (absolute && !(b->p->flags & GEN_VSIB))
		index = 4;
	b->scale = rng_below(b->r, 4);
	gen_put(b, b->scale << 6 | index << 3 | base, 1);
	unsigned full = index | (b->rex & 2 ? 8 : 0);
	if (b->p->flags & GEN_VSIB)
		b->index = full;
	else if (full != X86_RSP)
		b->index = full;
	if (base == 5 && mod == 0)
		return 4;
	b->base = base | (b->rex & 1 ? 8 : 0);
	return mod == 1 ? 1 : mod == 2 ? 4 : 0;
}

/* The registers get values such that the operand is at b->target, as far as they can. */
static int64_t solve_address(struct build *b, unsigned size)
{
	uint64_t *gpr = b->gpr;
	int64_t disp = 0;
	if (size == 1)
		disp = (int8_t)rng_next(b->r);
	else if (size == 4)
		disp = b->base < 0 && b->index < 0 ? (int32_t)b->target : (int16_t)rng_next(b->r);
	uint64_t rest = b->target - disp;
	if (b->p->flags & GEN_VSIB) {
		if (b->base >= 0)
			gpr[b->base] = rest;
		else
			disp = (int32_t)b->target;
		return disp;
	}
	if (b->index >= 0 && b->index != b->base) {
		if (b->base < 0) {
			gpr[b->index] = rest >> b->scale;
			return b->target - (gpr[b->index] << b->scale);
		}
		gpr[b->index] = (int16_t)rng_next(b->r);
		rest -= gpr[b->index] << b->scale;
	} else if (b->index >= 0) {
		gpr[b->base] = rest / (1 + (UINT64_C(1) << b->scale));
		return disp + (int64_t)(rest - gpr[b->base] * (1 + (UINT64_C(1) << b->scale)));
	}
	if (b->base >= 0)
		gpr[b->base] = rest;
	return disp;
}

static void spoil_upper_halves(struct build *b)
{
	uint64_t *gpr = b->gpr;
	if (!b->addr32)
		return;
	if (b->base >= 0)
		gpr[b->base] |= rng_next(b->r) << 32;
	if (b->index >= 0 && b->index != b->base)
		gpr[b->index] |= rng_next(b->r) << 32;
}

static void emit_memory(struct build *b, unsigned after)
{
	b->memory = true;
	b->target = gen_choose_target(b);
	unsigned form = b->p->flags & GEN_VSIB ? 4 + rng_below(b->r, 4) : rng_below(b->r, 10);
	unsigned reg = (b->reg & 7) << 3, size;
	/* Of several, most must get through. */
	if (b->later && rng_percent(b->r, 70))
		b->target = DIFF_DATA + DIFF_WINDOW_AT + 32 * rng_below(b->r, DIFF_WINDOW / 32);
	bool low = b->target < 0x7fffffff;
	if (b->pointer && b->later && !(b->p->flags & GEN_VSIB) && !b->addr32 && rng_percent(b->r, 70)) {
		gen_put(b, 1 << 6 | reg | b->pointer, 1);
		if (b->pointer == X86_RSP)
			gen_put(b, 0x24, 1);
		gen_put(b, (int8_t)rng_next(b->r), 1);
		return;
	}
	if (form == 0 && low) { /* RIP-relative */
		gen_put(b, reg | 5, 1);
		/* In 32-bit mode the same encoding is absolute. */
		uint64_t next = b->c->bits32 ? 0 : b->c->in.rip + b->at + 4 + after;
		gen_put(b, b->target - next, 4);
		return;
	}
	unsigned mod = rng_below(b->r, 3);
	if (form <= 4 || form == 9) {
		unsigned rm = b->p->flags & GEN_VSIB ? 4 : rng_below(b->r, 8);
		if (rm != 4 && !(rm == 5 && mod == 0)) {
			gen_put(b, mod << 6 | reg | rm, 1);
			b->base = rm | (b->rex & 1 ? 8 : 0);
			size = mod == 1 ? 1 : mod == 2 ? 4 : 0;
			gen_put(b, solve_address(b, size), size);
			spoil_upper_halves(b);
			return;
		}
	}
	bool absolute = form == 5 && low;
	if (absolute)
		mod = 0;
	gen_put(b, mod << 6 | reg | 4, 1);
	size = emit_sib(b, mod, absolute);
	gen_put(b, solve_address(b, size), size);
	spoil_upper_halves(b);
}

static void emit_modrm(struct build *b)
{
	uint32_t flags = b->p->flags;
	b->reg = choose_digit(b) | (b->rex & 4 ? 8 : 0);
	unsigned after = immediate_size(b);
	bool memory = rng_percent(b->r, 45);
	if (flags & (GEN_MEM | GEN_LOCK))
		memory = !(flags & GEN_LOCK) || rng_percent(b->r, 95);
	else if (flags & (GEN_REG | GEN_RDI))
		memory = false;
	if (memory) {
		emit_memory(b, after);
		return;
	}
	unsigned rm = rng_below(b->r, 8);
	b->rm = rm | (b->rex & 1 ? 8 : 0);
	gen_put(b, 0xc0 | (b->reg & 7) << 3 | rm, 1);
}

static void emit_immediate(struct build *b)
{
	unsigned size = immediate_size(b);
	uint64_t v = rng_next(b->r);
	if ((b->op & OP_IMM_MASK) == OP_IMM_MOFFS)
		v = b->target = gen_choose_target(b);
	else if ((b->op & OP_IMM_MASK) == OP_IMM_ENTER)
		v = rng_below(b->r, 64) | (uint64_t)rng_below(b->r, 4) << 16;
	else if (b->p->flags & GEN_RETURN)
		v &= 0x3f;
	else if (rng_percent(b->r, 30))
		v = random_gpr(b->r);
	gen_put(b, v, size);
}

/* --- what the class wants ----------------------------------------------------------------------*/

static void emit_branch(struct build *b)
{
	unsigned size = (b->op & OP_IMM_MASK) == OP_IMM_B ? 1 : 4;
	uint64_t next = b->c->in.rip + b->at + size;
	for (unsigned tries = 0; tries < 64; tries++) {
		int64_t disp = diff_target(b->c->in.rip, rng_below(b->r, DIFF_TARGETS)) - next;
		if (size == 1 && disp != (int8_t)disp)
			continue;
		gen_put(b, disp, size);
		return;
	}
	gen_put(b, 0, size);
}

void gen_load(struct build *b, unsigned n, uint64_t value)
{
	bool wide = value > UINT32_MAX;
	if (wide || n & 8)
		gen_put(b, 0x40 | (wide ? 8 : 0) | (n & 8 ? 1 : 0), 1);
	gen_put(b, 0xb8 | (n & 7), 1);
	gen_put(b, value, wide ? 8 : 4);
}

/* Set the registers of the operand before the instruction at `start`. False: no room. */
static bool load_registers(struct build *b, unsigned start)
{
	uint8_t insn[X86_INSN_MAX];
	unsigned length = b->at - start;
	if (b->base < 0 && b->index < 0)
		return true;
	if (b->at > DIFF_CODE_MAX - 20)
		return false;
	memcpy(insn, b->c->code + start, length);
	b->at = start;
	if (b->base >= 0)
		gen_load(b, b->base, b->gpr[b->base]);
	if (b->index >= 0 && b->index != b->base)
		gen_load(b, b->index, b->gpr[b->index]);
	memcpy(b->c->code + b->at, insn, length);
	b->at += length;
	return true;
}

static bool is_atomic(const struct x86_insn *x)
{
	unsigned op = x->opcode;
	if (x->prefixes & X86_PREFIX_LOCK)
		return true;
	/* XCHG; and CMPXCHG, XADD, CMPXCHG8B, which the engine does as if they had LOCK. */
	return (x->map == X86_MAP_1 && (op & 0xfe) == 0x86) ||
	       (x->map == X86_MAP_0F && ((op & 0xfe) == 0xb0 || (op & 0xfe) == 0xc0 || op == 0xc7));
}

/* Is the instruction of `length` bytes before b->at atomic, with an operand across two cache lines? */
static bool may_split(const struct build *b, unsigned length)
{
	enum { LINE = 64 };
	enum x86_decode_mode mode = b->c->bits32 ? X86_DECODE_32 : X86_DECODE_64;
	struct x86_insn x = { 0 };
	if (x86_decode(b->c->code + b->at - length, length, mode, &x) != X86_DECODE_OK || !x.has_modrm ||
	    x.mod == 3 || !is_atomic(&x))
		return false;
	/* In a loop the registers of the first may have become anything, and pointers are as they are left. */
	if ((b->c->sequence && !b->later) || b->pointer)
		return true;
	uint64_t at = x.disp + (x.rip_relative ? b->c->in.rip + b->at : 0);
	if (x.base != X86_REG_NONE)
		at += b->gpr[x.base];
	if (x.index != X86_REG_NONE)
		at += b->gpr[x.index] << x.scale;
	bool bit_test = x.map == X86_MAP_0F && (x.opcode & 0xe7) == 0xa3, immediate = x.opcode == 0xba;
	if (bit_test) /* anywhere, in steps of its size */
		return at % x.op_size;
	unsigned size = x.opcode & 1 || (x.map == X86_MAP_0F && immediate) ? x.op_size : 1;
	if (x.map == X86_MAP_0F && x.opcode == 0xc7)
		size = 2 * MAX(x.op_size, 4);
	return at % LINE + size > LINE;
}

bool gen_insn(struct build *b)
{
	struct diff_case *c = b->c;
	unsigned start = b->at;
	uint64_t loaded[16] = { 0 };
	b->gpr = b->later ? loaded : c->in.gpr;
	b->base = b->index = -1;
	b->memory = false;
	b->rex = b->pp = b->vvvv = b->mod = b->reg = b->rm = 0;
	b->target = 0;
	if (!choose_opcode(b))
		return false;
	choose_prefixes(b);
	if (b->p->flags & GEN_VEX)
		emit_vex(b);
	else
		emit_legacy(b);
	gen_put(b, b->opcode, 1);
	if (b->op & OP_MODRM)
		emit_modrm(b);
	if (b->p->flags & GEN_BRANCH)
		emit_branch(b);
	else
		emit_immediate(b);
	unsigned length = b->at - start;
	bool fits = length <= X86_INSN_MAX;
	if (fits && b->later && b->memory)
		fits = load_registers(b, start);
	if (!fits) {
		b->at = start;
		return false;
	}
	c->length = b->at;
	c->splits |= may_split(b, length);
	return true;
}

/* --- cases -------------------------------------------------------------------------------------*/

static void build_single(struct build *b, const struct diff_class *class)
{
	do {
		b->p = &class->patterns[rng_below(b->r, class->count)];
		b->c->fpu = b->p->flags & GEN_SIMD;
		if (b->c->fpu)
			fill_fpu(b->r, &b->c->in.fpu);
	} while (!gen_insn(b));
	gen_set_operands(b);
}

void diff_generate(const struct diff_class *class, uint64_t seed, uint64_t number,
		   struct diff_case *c)
{
	struct rng rng = { seed * UINT64_C(0x9e3779b97f4a7c15) + number };
	rng.state = rng_next(&rng);
	struct build b = { .r = &rng, .c = c, .gpr = c->in.gpr };
	c->number = number;
	c->bits32 = class->bits32;
	c->sequence = c->patches = c->splits = c->left_out = false;
	c->in.rip = DIFF_CODE + DIFF_START + rng_below(&rng, DIFF_START_LAST - DIFF_START + 1) +
		    DIFF_SITE * rng_below(&rng, DIFF_SITES);
	for (unsigned i = 0; i < 16; i++)
		c->in.gpr[i] = random_gpr(&rng);
	c->in.rflags = 0x202 | (rng_next(&rng) & X86_FLAGS_ARITH);
	fill_memory(&rng, c->in.window, DIFF_WINDOW);
	fill_memory(&rng, c->in.tail, DIFF_TAIL);
	if (class->parts)
		gen_sequence(&b, class);
	else
		build_single(&b, class);
	for (unsigned i = 0; c->bits32 && i < 16; i++)
		c->in.gpr[i] = i < 8 ? (uint32_t)c->in.gpr[i] : 0;
}
