/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cases of several instructions: what translators optimise across. In a row; with jumps over one
 * another and loops, so that blocks end and chain and flags live on; and with stores into their own
 * code, before and behind them.
 */
#include "fill.h"
#include "gen.h"

#include <string.h>

enum { PATCHES_MAX = 4, ITEM_MAX = X86_INSN_MAX + 40, ROOM = 24 };

struct sequence {
	struct build *b;
	const struct diff_class *class;
	/* Places for an immediate or opcode that may be overwritten, and the stores that do it. */
	unsigned targets[PATCHES_MAX], target_count;
	struct {
		unsigned at, end, bytes; /* of its displacement; of the store; stored */
	} patches[PATCHES_MAX];
	unsigned patch_count;
};

static void choose_part(struct build *b, const struct diff_class *class)
{
	enum { ALONE = GEN_STACK | GEN_BRANCH | GEN_INDIRECT | GEN_RETURN | GEN_STATE | GEN_VSIB |
		       GEN_STRING | GEN_DIVIDE | GEN_BITS | GEN_XLAT | GEN_RDI };
	unsigned parts = 0;
	while (class->parts[parts])
		parts++;
	do {
		const struct diff_class *part =
			diff_class_find(class->parts[rng_below(b->r, parts)]);
		b->p = &part->patterns[rng_below(b->r, part->count)];
	} while (b->p->flags & ALONE);
}

/*
 * Does the last instruction of [start, b->at) leave flags undefined? The engine leaves them as Intel's
 * CPUs do, and in the middle of a sequence nothing can be masked. AF after logic is 0 everywhere.
 */
static bool is_undefined_here(const struct build *b, unsigned start)
{
	enum x86_decode_mode mode = b->c->bits32 ? X86_DECODE_32 : X86_DECODE_64;
	struct x86_insn x = { 0 };
	if (!__builtin_cpu_is("amd"))
		return false;
	while (start < b->at) {
		if (x86_decode(b->c->code + start, b->at - start, mode, &x) != X86_DECODE_OK)
			return false;
		start += x.length;
	}
	/* Shifts by CL: what it will be is not known. */
	bool by_cl = x.map == X86_MAP_1 && (x.opcode & 0xfe) == 0xd2;
	return by_cl || diff_undefined_flags(&x, b->c) & ~(uint32_t)X86_FLAG_AF;
}

/*
 * Is one of the instructions of [start, b->at) not for sequences with pointers? It may change them:
 * anywhere is where they must not lead, since the native child has memory of its own. Or it locks the bus:
 * hosts slow down who does that to what is not aligned.
 */
static bool is_unfit(const struct build *b, const struct x86_insn *x)
{
	bool exchange = x->map == X86_MAP_1 && (x->opcode & 0xfe) == 0x86;
	return x->prefixes & X86_PREFIX_LOCK || exchange ||
	       (x->has_modrm && ((x->reg & 7) == b->pointer ||
				 (x->mod == 3 && (x->rm & 7) == b->pointer))) ||
	       (!x->has_modrm && (x->rm & 7) == b->pointer) ||
	       (x->prefixes & X86_PREFIX_VEX && (x->vvvv & 7) == b->pointer);
}

static bool unfit_for_pointers(const struct build *b, unsigned start)
{
	while (start < b->at) {
		struct x86_insn x = { 0 };
		if (x86_decode(b->c->code + start, b->at - start, X86_DECODE_64, &x) != X86_DECODE_OK ||
		    is_unfit(b, &x))
			return true;
		start += x.length;
	}
	return false;
}

static void put_part(struct sequence *s)
{
	struct build *b = s->b;
	for (;;) {
		unsigned start = b->at;
		choose_part(b, s->class);
		if (!gen_insn(b))
			continue;
		if (!is_undefined_here(b, start) && !(b->pointer && unfit_for_pointers(b, start)))
			break;
		b->at = start;
	}
	b->later = true;
}

/* --- flow --------------------------------------------------------------------------------------*/

/* ModRM and displacement of an absolute operand. */
static void put_absolute(struct build *b, unsigned digit, uint32_t address)
{
	gen_put(b, digit << 3 | (b->c->bits32 ? 5 : 4), 1);
	if (!b->c->bits32)
		gen_put(b, 0x25, 1);
	gen_put(b, address, 4);
}

static void put_loop_head(struct build *b)
{
	gen_put(b, 0xc7, 1); /* MOV dword [counter], n */
	put_absolute(b, 0, DIFF_COUNTER);
	gen_put(b, 1 + rng_below(b->r, 4), 4);
	b->later = true;
}

static void put_loop_end(struct build *b, unsigned start)
{
	gen_put(b, 0xff, 1); /* DEC dword [counter] */
	put_absolute(b, 1, DIFF_COUNTER);
	gen_put(b, 0x850f, 2); /* JNZ */
	gen_put(b, start - (b->at + 4), 4);
}

/* --- patches -----------------------------------------------------------------------------------*/

/* An instruction that stays valid whatever is stored at the place noted. */
static void put_target(struct sequence *s)
{
	static const uint8_t alu[] = { 0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31, 0x39 };
	struct build *b = s->b;
	unsigned reg = rng_below(b->r, 8);
	if (rng_percent(b->r, 30)) {
		gen_put(b, 0xb8 | reg, 1); /* MOV reg, imm32 */
	} else {
		gen_put(b, 0x81, 1);
		gen_put(b, 0xc0 | alu[rng_below(b->r, 8)] >> 3 << 3 | reg, 1);
	}
	s->targets[s->target_count++] = b->at;
	gen_put(b, rng_next(b->r), 4);
}

/* A store whose address is filled in when the targets are known. */
static void put_patch(struct sequence *s)
{
	struct build *b = s->b;
	unsigned kind = rng_below(b->r, 3), n = s->patch_count++;
	gen_put(b, kind == 0 ? 0xc6 : kind == 1 ? 0xc7 : 0x80, 1); /* MOV byte, dword; ADD byte */
	gen_put(b, 5, 1);
	s->patches[n].at = b->at;
	s->patches[n].bytes = kind == 1 ? 4 : 1;
	gen_put(b, 0, 4);
	gen_put(b, rng_next(b->r), s->patches[n].bytes);
	s->patches[n].end = b->at;
}

static void aim_patches(struct sequence *s)
{
	struct build *b = s->b;
	for (unsigned i = 0; i < s->patch_count; i++) {
		unsigned target = s->targets[rng_below(b->r, s->target_count)];
		if (s->patches[i].bytes == 1)
			target += rng_below(b->r, 4);
		uint64_t base = b->c->bits32 ? 0 : b->c->in.rip + s->patches[i].end;
		uint32_t disp = b->c->in.rip + target - base;
		memcpy(b->c->code + s->patches[i].at, &disp, 4);
	}
}

/* --- the whole ---------------------------------------------------------------------------------*/

/* Set a pointer anew, or move it by a constant in one of the ways that programs do. */
static void move_pointer(struct build *b)
{
	unsigned kind = rng_below(b->r, 5), high = rng_below(b->r, 2), n = b->pointer;
	if (kind == 0) {
		gen_load(b, n | high << 3,
			 DIFF_DATA + DIFF_WINDOW_AT + rng_below(b->r, DIFF_WINDOW));
		return;
	}
	gen_put(b, 0x48 | high | (kind == 4 ? high << 2 : 0), 1);
	if (kind == 1) { /* INC, DEC */
		gen_put(b, 0xff, 1);
		gen_put(b, 0xc0 | rng_below(b->r, 2) << 3 | n, 1);
		return;
	}
	/* ADD, SUB; LEA */
	static const uint8_t modrm[] = { 0xc0, 0xe8, 0x40 };
	gen_put(b, kind == 4 ? 0x8d : 0x83, 1);
	gen_put(b, modrm[kind - 2] | (kind == 4 ? n << 3 : 0) | n, 1);
	if (kind == 4 && n == X86_RSP)
		gen_put(b, 0x24, 1);
	gen_put(b, rng_next(b->r), 1);
}

/* PUSH and POP of registers that are no pointers, PUSH of a constant. */
static void put_stack_move(struct build *b)
{
	unsigned kind = rng_below(b->r, 5), reg = rng_below(b->r, 8);
	if (kind == 0) {
		bool byte = rng_below(b->r, 2);
		gen_put(b, byte ? 0x6a : 0x68, 1);
		gen_put(b, rng_next(b->r), byte ? 1 : 4);
		return;
	}
	if (reg == X86_RSP)
		reg = X86_RBX;
	if (rng_below(b->r, 2))
		gen_put(b, 0x41, 1); /* REX.B */
	gen_put(b, (kind < 3 ? 0x50 : 0x58) | reg, 1);
}

static void put_pointers(struct build *b, bool frames)
{
	static const uint8_t registers[] = { X86_RBP, X86_RSI, X86_RDI };
	b->pointer = frames ? X86_RSP : registers[rng_below(b->r, sizeof(registers))];
	for (unsigned n = b->pointer; n < 16; n += 8)
		gen_load(b, n, DIFF_DATA + DIFF_WINDOW_AT + rng_below(b->r, DIFF_WINDOW));
	b->later = true;
}

static void put_item(struct sequence *s)
{
	struct build *b = s->b;
	if (b->pointer && rng_percent(b->r, 25))
		move_pointer(b);
	for (unsigned more = rng_below(b->r, 4); s->class->frames && more > 0; more--)
		put_stack_move(b);
	if (b->c->patches && s->patch_count < PATCHES_MAX && rng_percent(b->r, 35))
		put_patch(s);
	else if (b->c->patches && s->target_count < PATCHES_MAX && rng_percent(b->r, 60))
		put_target(s);
	else
		put_part(s);
}

/* Items, some behind a conditional jump over them. */
static void put_items(struct sequence *s, unsigned count)
{
	struct build *b = s->b;
	for (unsigned k = 0; k < count && b->at < DIFF_CODE_MAX - ITEM_MAX - ROOM; k++) {
		unsigned skip = 0;
		if (s->class->flow && rng_percent(b->r, 40)) {
			gen_put(b, 0x70 | rng_below(b->r, 16), 1);
			gen_put(b, 0, 1);
			skip = b->at;
			b->later = true;
		}
		put_item(s);
		if (skip)
			b->c->code[skip - 1] = b->at - skip;
	}
}

void gen_sequence(struct build *b, const struct diff_class *class)
{
	static const struct gen_pattern jump = { X86_MAP_0F, 0x80, 0x8f, 0, GEN_BRANCH };
	struct sequence s = { .b = b, .class = class };
	b->c->sequence = b->c->fpu = true;
	b->c->patches = class->patches;
	fill_fpu(b->r, &b->c->in.fpu);
	bool loop = class->flow && rng_percent(b->r, 60);
	if (loop)
		put_loop_head(b);
	if (class->pointers)
		put_pointers(b, class->frames);
	unsigned start = b->at;
	if (class->patches)
		put_target(&s);
	put_items(&s, 2 + rng_below(b->r, class->pointers ? 12 : 6));
	if (loop)
		put_loop_end(b, start);
	aim_patches(&s);
	b->c->length = b->at;
	b->p = &jump;
	if (rng_percent(b->r, 60))
		while (!gen_insn(b))
			;
}
