/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decoded blocks. A block is a run of instructions inside one page (or a single instruction that
 * crosses into a second one), found by the HOST address of its first byte and the decode mode: so
 * one physical page's code is decoded once however often it is mapped, and a changed mapping finds
 * other blocks without any flush. Everything that depends on the linear address uses c->block_rip.
 *
 * Each vCPU has its own cache and touches it alone. What is shared is in the engine (engine.h):
 * which pages hold code, at 64-byte granularity, and per vCPU a queue of pages that others have
 * overwritten.
 *
 * Memory comes from one arena; nothing is freed singly. A dropped block cannot be found any more but
 * stays readable, because it may be the one that is running; the full arena is emptied as a whole,
 * between two blocks.
 */
#pragma once

#include "cpu/soft/interp/interp.h"

#include <pthread.h>

enum {
	BLOCK_INSNS_MAX = 48,
	BLOCK_TABLE_BITS = 16,
	BLOCK_PAGE_BUCKETS = 64, /* by 64-byte line of the page */
	BLOCK_PAGES_BITS = 13,
	BLOCK_STALE_MAX = 256,
};

/* What, besides the bytes, decides how code decodes: bits of block_mode. */
enum {
	BLOCK_MODE_DECODE = 3,      /* enum x86_decode_mode */
	BLOCK_MODE_VEX = 1 << 2,    /* protected mode: VEX instructions exist */
	BLOCK_MODE_SINGLE = 1 << 3, /* one instruction only */
};

struct block;

/*
 * A direct jump's memory of where it went, or NULL; valid until that block is dropped, and if `far`, only
 * while the TLB maps the target's page to where the block is.
 */
struct block_link {
	struct block *to;
	bool far;
};

/*
 * A slot of the look-up table. The key is the host address with the mode in the top byte, which user
 * space addresses do not use; blocks that cross a page have BLOCK_KEY_CROSSES too, so that they are
 * not found without a look at their second page.
 */
struct block_slot {
	uint64_t key;
	struct block *block;
};
#define BLOCK_KEY_MODE_SHIFT 56
#define BLOCK_KEY_CROSSES    (UINT64_C(1) << 63)

struct block {
	const uint8_t *host;  /* of the first byte */
	const uint8_t *host2; /* of the second page's first byte, or NULL */
	uint32_t mode;
	uint16_t size; /* bytes */
	uint8_t count; /* instructions, without the end marker */
	uint64_t lines;      /* of the first page: what it and its units were made of, see soft_code_lines() */
	struct block *next;  /* in its page's bucket */
	struct block *next2; /* in the second page's list of crossers */
	struct block_link link[2];
	/* What every entry looks at is in the same cache line as the first instruction. */
	struct jit_unit *unit[SOFT_JIT_TABLES]; /* translations, by TLB table */
	soft_exec_fn *first_exec;               /* insns[0].exec is jit_exec_head: then its own */
	uint16_t heat;
	bool dropped;
	struct soft_insn insns[]; /* count, then an end marker */
};

/* Blocks that begin in one host page. */
struct block_page {
	const uint8_t *host;
	struct block_page *next;
	struct block *bucket[BLOCK_PAGE_BUCKETS];
	struct block *crossers; /* from the page before */
};

/* A page that another thread has written to, or begun to decode. */
struct block_stale {
	const uint8_t *host;
	uint64_t lines; /* overwritten ones; none: only forget the right to write to it directly */
};
#define BLOCK_ALL_LINES (~UINT64_C(0))

struct soft_blocks {
	struct block_slot table[1 << BLOCK_TABLE_BITS];
	struct block_page *pages[1 << BLOCK_PAGES_BITS];
	const struct soft_insn *go; /* without tail calls: the instruction to run next */
	uint8_t *arena;
	size_t used, size;
	struct soft_insn fetching;  /* c->insn while an instruction is fetched */
	bool split_locked;

	pthread_mutex_t lock; /* guards the next four */
	struct block_stale stale[BLOCK_STALE_MAX];
	unsigned stale_count;
	bool stale_all_code, stale_all_rights; /* the queue was full */
	_Atomic pthread_t runner; /* the thread inside soft_run(), else 0 */
	_Atomic bool in_run;
	_Atomic uint32_t acknowledged; /* engine->protections, as far as the queue has been done */

	/* Statistics; written by the owner, read by anyone. */
	_Atomic uint64_t decoded, dropped, flushes;
};

bool interp_blocks_create(struct soft_vcpu *c, GError **error);
void interp_blocks_destroy(struct soft_vcpu *c);

/* The block at c->s.rip in `mode`; decodes it if need be. May raise (fetch faults). */
struct block *interp_block_find(struct soft_vcpu *c, uint32_t mode);
/* SOFT_PENDING_CODE: do what other threads have queued. */
void interp_blocks_handle_stale(struct soft_vcpu *c);
/* The vCPU's own thread: forget what was made of these lines of the page, now. */
void interp_blocks_drop_lines(struct soft_vcpu *c, const uint8_t *host_page, uint64_t lines);
/* Any other thread: have it done before the next block. No lines: see struct block_stale. */
void interp_blocks_queue(struct soft_vcpu *c, const uint8_t *host_page, uint64_t lines);

/* The current decode mode. */
ALWAYS_INLINE uint32_t block_mode(const struct soft_vcpu *c)
{
	bool vex = (c->s.cr0 & X86_CR0_PE) && !(c->s.rflags & X86_FLAG_VM);
	return (uint32_t)c->mode | (vex ? BLOCK_MODE_VEX : 0);
}

ALWAYS_INLINE uint64_t block_key(const uint8_t *host, uint32_t mode)
{
	return (uintptr_t)host | (uint64_t)mode << BLOCK_KEY_MODE_SHIFT;
}

ALWAYS_INLINE unsigned block_hash(const uint8_t *host, uint32_t mode)
{
	uintptr_t h = (uintptr_t)host;
	return (h ^ (h >> 13) ^ (mode << 9)) & ((1 << BLOCK_TABLE_BITS) - 1);
}

/* jit/'s part of the arena; NULL: full. */
void *interp_arena_take(struct soft_blocks *blocks, size_t bytes);
/* Fill in what does the decoded i->x; false if nothing does. */
bool interp_insn_choose(struct soft_vcpu *c, struct soft_insn *i, uint32_t mode);
/* Start with an empty cache. Between blocks only. */
void interp_blocks_reset(struct soft_vcpu *c);

/* interp/exec.c: fill in exec from fn, the form and what follows. */
void interp_specialise(struct block *b);
extern soft_exec_fn interp_exec_ends, interp_exec_end, interp_exec_dropped;
