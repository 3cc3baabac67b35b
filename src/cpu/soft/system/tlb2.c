/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The second-level TLB: a direct-mapped hash of (page, address space). It is why offering PCIDs to
 * the guest makes its context switches cheap: an address space that comes back finds its pages.
 */
#include "cpu/soft/system/mmu.h"

#include <string.h>

static uint64_t key_of(uint32_t asid, uint64_t linear)
{
	return (linear >> PAGE_BITS & UINT64_C(0xfffffffff)) | (uint64_t)asid << 36;
}

/* Consecutive pages of one space stay consecutive: l2_remove_large() relies on nothing else. */
static struct l2_entry *slot_of(struct soft_mmu *mmu, uint32_t asid, uint64_t linear)
{
	uint64_t page = linear >> PAGE_BITS;
	return &mmu->l2[(page ^ page >> L2_BITS ^ asid * UINT32_C(0x9e3779b1) >> 4) &
			(L2_SIZE - 1)];
}

bool l2_find(struct soft_mmu *mmu, uint64_t linear, uint64_t *page)
{
	/* Kernels make their own half global; guess accordingly, and look at both. */
	bool kernel = linear >> 63;
	for (unsigned i = 0; i < 2; i++, kernel = !kernel) {
		uint32_t asid = kernel ? mmu->global_asid : mmu->asid;
		struct l2_entry *e = slot_of(mmu, asid, linear);
		if (e->key == key_of(asid, linear)) {
			*page = e->page;
			return true;
		}
	}
	return false;
}

static unsigned bucket_of(uint64_t n, unsigned bits)
{
	return (n ^ n >> bits) & ((1u << bits) - 1);
}

static bool filter_has(const uint64_t *filter, unsigned bucket)
{
	return filter[bucket / 64] >> bucket % 64 & 1;
}

bool l2_large_possible(const struct soft_mmu *mmu, uint64_t linear)
{
	/* A 4 MiB page entered the bucket of the half that was touched: look at both. */
	return filter_has(mmu->large_2m, bucket_of(linear >> 21, LARGE_BITS)) ||
	       filter_has(mmu->large_2m, bucket_of(linear >> 21 ^ 1, LARGE_BITS));
}

bool l2_huge_possible(const struct soft_mmu *mmu, uint64_t linear)
{
	return filter_has(mmu->large_1g, bucket_of(linear >> 30, HUGE_BITS));
}

static void filter_add(uint64_t *filter, unsigned bucket)
{
	filter[bucket / 64] |= UINT64_C(1) << bucket % 64;
}

void l2_insert(struct soft_mmu *mmu, uint64_t linear, uint64_t page)
{
	uint32_t asid = page & PAGE_GLOBAL ? mmu->global_asid : mmu->asid;
	struct l2_entry *e = slot_of(mmu, asid, linear);

	e->key = key_of(asid, linear);
	e->page = page;
	if (page & PAGE_2M)
		filter_add(mmu->large_2m, bucket_of(linear >> 21, LARGE_BITS));
	if (page & PAGE_1G)
		filter_add(mmu->large_1g, bucket_of(linear >> 30, HUGE_BITS));
}

void l2_remove(struct soft_mmu *mmu, uint32_t asid, uint64_t linear)
{
	struct l2_entry *e = slot_of(mmu, asid, linear);
	if (e->key == key_of(asid, linear))
		e->key = 0;
}

/* Every small piece of the 4 MiB round `linear`, in the current space and the global one. */
void l2_remove_large(struct soft_mmu *mmu, uint64_t linear)
{
	uint64_t first = linear & ~UINT64_C(0x3fffff);
	for (uint64_t at = first; at < first + 0x400000; at += PAGE_SIZE) {
		l2_remove(mmu, mmu->asid, at);
		l2_remove(mmu, mmu->global_asid, at);
	}
}

static uint32_t fresh_asid(struct soft_mmu *mmu)
{
	if (++mmu->next_asid >> ASID_BITS) {
		/* Numbers would come back: start again with nothing remembered. */
		memset(mmu->l2, 0, sizeof(mmu->l2));
		memset(mmu->asid_of, 0, sizeof(mmu->asid_of));
		mmu->next_asid = 2;
		mmu->global_asid = 1;
	}
	return mmu->next_asid;
}

void l2_new_asid(struct soft_mmu *mmu, unsigned pcid)
{
	uint32_t asid = fresh_asid(mmu);
	mmu->asid_of[pcid] = asid;
}

void l2_flush_all(struct soft_mmu *mmu, bool global)
{
	memset(mmu->asid_of, 0, sizeof(mmu->asid_of));
	if (global) {
		mmu->global_asid = fresh_asid(mmu);
		memset(mmu->large_2m, 0, sizeof(mmu->large_2m));
		memset(mmu->large_1g, 0, sizeof(mmu->large_1g));
	}
}
