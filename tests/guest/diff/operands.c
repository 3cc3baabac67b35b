/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a single instruction finds in its registers and in memory: such that it mostly does something. */
#include "gen.h"

#include <string.h>

static void poke(struct build *b, uint64_t address, uint64_t value)
{
	uint64_t offset = address - (DIFF_DATA + DIFF_WINDOW_AT);
	if (offset <= DIFF_WINDOW - 8)
		memcpy(b->c->in.window + offset, &value, 8);
}

static uint64_t near_window(struct build *b)
{
	uint64_t at = DIFF_DATA + 4096 - 300 + rng_below(b->r, 600);
	return rng_percent(b->r, 60) ? at & ~UINT64_C(7) : at;
}

static void set_strings(struct build *b)
{
	struct diff_case *c = b->c;
	c->in.gpr[X86_RSI] = gen_choose_target(b);
	c->in.gpr[X86_RDI] = gen_choose_target(b);
	if (rng_percent(b->r, 30)) /* overlap */
		c->in.gpr[X86_RDI] = c->in.gpr[X86_RSI] + rng_below(b->r, 33) - 16;
	c->in.gpr[X86_RCX] = rng_below(b->r, rng_percent(b->r, 80) ? 12 : 40);
	if (b->addr32) {
		c->in.gpr[X86_RCX] |= rng_next(b->r) << 32;
		c->in.gpr[X86_RSI] |= rng_next(b->r) << 32;
		c->in.gpr[X86_RDI] |= rng_next(b->r) << 32;
	}
	c->in.rflags |= rng_next(b->r) & X86_FLAG_DF;
	/* Equal runs, so that CMPS and SCAS go some way. */
	if (rng_percent(b->r, 60))
		memset(c->in.window, c->in.gpr[X86_RAX], sizeof(c->in.window));
}

static void set_area(struct build *b)
{
	struct diff_case *c = b->c;
	uint64_t offset = b->target - (DIFF_DATA + DIFF_WINDOW_AT);
	c->in.gpr[X86_RAX] = rng_percent(b->r, 60) ? 7 : rng_below(b->r, 8);
	c->in.gpr[X86_RDX] = 0;
	if (offset > 192)
		return;
	uint8_t *area = c->in.window + offset;
	uint32_t mxcsr = rng_next(b->r) & 0xffff;
	if (rng_percent(b->r, 95))
		memcpy(area + 24, &mxcsr, 4);
	if (rng_percent(b->r, 90)) {
		memset(area + 512, 0, 64);
		area[512] = rng_below(b->r, 8);
		if (rng_percent(b->r, 30)) {
			area[520] = area[512] | rng_below(b->r, 8);
			area[527] = 0x80;
		}
	}
}

void gen_set_operands(struct build *b)
{
	struct diff_case *c = b->c;
	uint32_t flags = b->p->flags;
	uint64_t *gpr = c->in.gpr;
	if (flags & GEN_STACK) {
		gpr[X86_RSP] = near_window(b);
		if (b->opcode == 0xc8 || b->opcode == 0xc9)
			gpr[X86_RBP] = near_window(b);
		if (rng_percent(b->r, 5))
			gpr[X86_RSP] = gen_choose_target(b);
	}
	if (b->opcode == 0x9d && b->p->map == X86_MAP_1) /* no single steps, no #AC */
		poke(b, gpr[X86_RSP], rng_next(b->r) & ~(uint64_t)(X86_FLAG_TF | X86_FLAG_AC));
	if (flags & GEN_RETURN)
		poke(b, gpr[X86_RSP], diff_target(b->c->in.rip, rng_below(b->r, DIFF_TARGETS)));
	if (flags & GEN_INDIRECT) {
		uint64_t to = diff_target(b->c->in.rip, rng_below(b->r, DIFF_TARGETS));
		if (b->memory)
			poke(b, b->target, to);
		else
			gpr[b->rm] = to;
	}
	if (flags & GEN_BRANCH && rng_percent(b->r, 50))
		gpr[X86_RCX] = rng_below(b->r, 3);
	if (flags & GEN_STRING)
		set_strings(b);
	if (flags & GEN_STATE)
		set_area(b);
	if (flags & GEN_RDI)
		gpr[X86_RDI] = gen_choose_target(b);
	if (flags & GEN_XLAT)
		gpr[X86_RBX] = gen_choose_target(b) - (uint8_t)gpr[X86_RAX];
	if (flags & GEN_BITS && b->memory && (int)b->reg != b->base && (int)b->reg != b->index)
		gpr[b->reg] = (int64_t)rng_below(b->r, 1024) - 512;
	if (flags & GEN_DIVIDE && rng_percent(b->r, 70)) {
		unsigned half = (b->opcode & 1 ? b->op_size : 1) * 8;
		uint64_t small = rng_next(b->r) >> rng_below(b->r, 64);
		if (half == 8)
			gpr[X86_RAX] = (int16_t)(small & 0x1fff) * (rng_percent(b->r, 50) ? 1 : -1);
		else
			gpr[X86_RDX] = rng_percent(b->r, 50) ? 0 : (int64_t)gpr[X86_RAX] >> 63;
	}
	if (flags & GEN_VSIB) {
		/* Small indices, so that elements lie round the target. */
		uint8_t *xmm = c->in.fpu.legacy + 160 + 16 * b->index;
		uint8_t *high = c->in.fpu.ymm_high + 16 * b->index;
		unsigned element = b->opcode & 1 ? 8 : 4;
		for (unsigned k = 0; k < 16; k += element) {
			int64_t v = (int64_t)rng_below(b->r, 64) - 32, w = rng_below(b->r, 32);
			memcpy(xmm + k, &v, element);
			memcpy(high + k, &w, element);
		}
	}
}
