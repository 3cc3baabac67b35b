/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How execution goes from instruction to instruction.
 *
 * An optimised build chains: each exec function ends by calling the next one in tail position, which
 * the compiler turns into an indirect jump, and a block's last one looks up and enters the next
 * block the same way; control comes back to the run loop only when that lookup fails or something
 * is pending. Builds without that optimisation (-O0, sanitizers) would grow the stack, so there each
 * function returns the next instruction in blocks->go and the run loop calls it.
 *
 * c->insn is set by every exec function that can raise.
 */
#pragma once

#include "cpu/soft/interp/blocks.h"

#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define INTERP_CHAINS 1
#else
#define INTERP_CHAINS 0
#endif

#if INTERP_CHAINS
#define RUN_INSN(c, next) return (next)->exec((c), (next))
#else
#define RUN_INSN(c, next)                                                                          \
	do {                                                                                       \
		(c)->blocks->go = (next);                                                          \
		return;                                                                            \
	} while (0)
#endif

#define RUN_NEXT(c, i) RUN_INSN(c, (i) + 1)

/* Enter block b at `rip`. */
#define RUN_BLOCK(c, b, rip)                                                                       \
	do {                                                                                       \
		struct block *b_ = (b);                                                            \
		(c)->block_rip = (rip);                                                            \
		RUN_INSN(c, b_->insns);                                                            \
	} while (0)

/* interp/exec.c: the slot did not match; a block that crosses into the next page may be in it. */
struct block *interp_block_crossing(struct soft_vcpu *c, uint64_t linear, const uint8_t *host,
				    uint32_t mode);

/* The cached block at `rip`, if its page is in the TLB and nothing is pending; else NULL. */
ALWAYS_INLINE struct block *block_quick(struct soft_vcpu *c, uint64_t rip)
{
	uint64_t linear = c->long64 ? rip : (uint32_t)(c->s.seg[X86_CS].base + rip);
	const uint8_t *host = soft_fetch_host(c, linear);
	if (soft_unlikely(!host || atomic_load_explicit(&c->pending, memory_order_relaxed)))
		return NULL;
	uint32_t mode = c->long64 ? X86_DECODE_64 | BLOCK_MODE_VEX : block_mode(c);
	const struct block_slot *slot = &c->blocks->table[block_hash(host, mode)];
	struct block *b = slot->block;
	if (soft_unlikely(slot->key != block_key(host, mode))) {
		b = interp_block_crossing(c, linear, host, mode);
		if (!b)
			return NULL;
	}
	if (!c->long64 && soft_unlikely(rip + b->size - 1 > c->s.seg[X86_CS].limit))
		return NULL;
	return b;
}

/* Go on at `rip`, wherever that is. */
#define RUN_AT(c, target)                                                                          \
	do {                                                                                       \
		uint64_t rip_ = (target);                                                          \
		struct block *quick_ = block_quick((c), rip_);                                     \
		if (soft_unlikely(!quick_)) {                                                      \
			(c)->s.rip = rip_;                                                         \
			return;                                                                    \
		}                                                                                  \
		RUN_BLOCK(c, quick_, rip_);                                                        \
	} while (0)
