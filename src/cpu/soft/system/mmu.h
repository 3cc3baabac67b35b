/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The MMU's bookkeeping, shared by mmu.c (first-level TLB, translation), tlb2.c (second level) and
 * pagewalk.c.
 *
 * Address spaces have numbers (ASIDs) that are never reused until they wrap: flushing a PCID is
 * giving it a new number. Global pages have one number of their own. The second level holds what
 * the guest's tables say; the first level what that allows right now to one privilege.
 */
#pragma once

#include "cpu/soft/system/system.h"

enum {
	L2_BITS = 14, L2_SIZE = 1 << L2_BITS,
	PCID_COUNT = 4096,
	ASID_BITS = 28, /* beside 36 bits of page number */
	FETCHED_SIZE = 4096, /* bits */
	LARGE_BITS = 16, HUGE_BITS = 12, /* buckets of the large-page filters */
	RANGE_COUNT = 4,
};

/* Rights of a page, in the low bits of a translation. */
enum {
	PAGE_W = 1 << 0, PAGE_U = 1 << 1, PAGE_X = 1 << 2, PAGE_DIRTY = 1 << 3,
	PAGE_GLOBAL = 1 << 4, PAGE_2M = 1 << 5, PAGE_1G = 1 << 6, /* the mapping's size class: 2 or 4 MiB; 1 GiB */
	PAGE_RIGHTS = 0xfff,
};

struct l2_entry {
	uint64_t key;  /* page number | asid << 36; 0: none */
	uint64_t page; /* physical page | PAGE_* */
};

struct phys_range {
	uint64_t base, size; /* size 0: unused */
	uint8_t *host;
	_Atomic uint8_t *state; /* of the first page */
	struct ram_block *ram;
	uint64_t ram_offset;
	bool readonly;
};

/* Data entries' slots, and behind them fetch entries'. */
enum { SLOT_FETCH = SOFT_TLB_SIZE, SLOT_COUNT = 2 * SOFT_TLB_SIZE };

/* Which first-level slots may hold something, so that flushing costs what was filled. */
struct tlb_log {
	uint16_t local[SLOT_COUNT], global[SLOT_COUNT];
	unsigned local_count, global_count;
	uint8_t meta[SLOT_COUNT]; /* SLOT_* */
	/* A bit by hash: may have been fetched from since the last flush; [1]: global pages. */
	uint64_t fetched[2][FETCHED_SIZE / 64];
	bool fetched_local;
};
enum { SLOT_IN_LOCAL = 1, SLOT_IN_GLOBAL = 2, SLOT_IS_GLOBAL = 4 };

struct soft_mmu {
	uint32_t asid, global_asid, next_asid;
	uint32_t asid_of[PCID_COUNT]; /* 0: none yet */
	uint64_t pdpte[4];
	bool pdptes_valid;
	unsigned next_range;
	struct phys_range ranges[RANGE_COUNT];
	struct tlb_log log[SOFT_TLB_TABLES];
	struct l2_entry l2[L2_SIZE];
	/* A set bit: a page of that size may have been entered for an address hashing there. */
	uint64_t large_2m[(1 << LARGE_BITS) / 64];
	uint64_t large_1g[(1 << HUGE_BITS) / 64];
};

/* mmu.c: the RAM or ROM at `phys`, or NULL. The result is good until the next call. */
const struct phys_range *mmu_range(struct soft_vcpu *c, uint64_t phys);

/* pagewalk.c: 0 and *page, or a page-fault error code without the W, U, I bits, plus 1 << 31. */
#define WALK_FAULT (UINT32_C(1) << 31)
uint32_t mmu_walk(struct soft_vcpu *c, uint64_t linear, enum soft_access access,
		  enum soft_tlb_table table, uint64_t *page);
/* Do these rights allow the access to the table's privilege? */
bool mmu_allowed(const struct soft_vcpu *c, uint64_t rights, enum soft_access access,
		 enum soft_tlb_table table);

/* tlb2.c */
bool l2_find(struct soft_mmu *mmu, uint64_t linear, uint64_t *page);
void l2_insert(struct soft_mmu *mmu, uint64_t linear, uint64_t page);
void l2_remove(struct soft_mmu *mmu, uint32_t asid, uint64_t linear);
void l2_remove_large(struct soft_mmu *mmu, uint64_t linear);
/* May a page of 2 or 4 MiB, or of 1 GiB, have been entered for this address? */
bool l2_large_possible(const struct soft_mmu *mmu, uint64_t linear);
bool l2_huge_possible(const struct soft_mmu *mmu, uint64_t linear);
void l2_new_asid(struct soft_mmu *mmu, unsigned pcid);
void l2_flush_all(struct soft_mmu *mmu, bool global);
