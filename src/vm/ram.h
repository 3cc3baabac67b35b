/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A block of guest RAM or ROM: host memory (a memfd where it must be shared, as with vhost-user back
 * ends; else private and anonymous, which costs nothing until touched) with one state byte per
 * 4 KiB page.
 *
 * The state byte's bits say who must hear of a write to the page. Writers (vCPU engines and device
 * DMA) look at the byte after the store and call ram_page_written() when it is not zero; pages that
 * nobody watches cost one load.
 */
#pragma once

#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PAGE_BITS 12
#define PAGE_SIZE (UINT64_C(1) << PAGE_BITS)
#define PAGE_MASK (PAGE_SIZE - 1)

enum ram_page_bits {
	RAM_PAGE_CODE = 1 << 0,  /* the software engine holds decoded code of this page */
	RAM_PAGE_CLEAN = 1 << 1, /* dirty logging is on and the page has not been written since */
};

struct ram_block {
	char *name; /* "pc.ram", "bios"... */
	uint8_t *host;
	uint64_t size; /* a multiple of PAGE_SIZE */
	int fd;        /* memfd or file, or -1: private anonymous memory */
	_Atomic uint8_t *page_state; /* size / PAGE_SIZE bytes, zero at first */
	/* Set by the software engine: code on [offset, offset + length) was overwritten. Any thread. */
	void (*code_written)(void *opaque, struct ram_block *block, uint64_t offset,
			     uint64_t length);
	void (*code_freed)(void *opaque); /* the block goes; no thread uses it any more */
	void *code_opaque;
	uint8_t *area; /* the reserved address space round `host`, with guard pages */
	uint64_t area_size;
	bool discard;
	bool shared;   /* other processes may have it mapped too */
	_Atomic unsigned pinned; /* how many IOMMU mappings of host devices hold its pages */
};

/* Where the host takes the pages from: mbind(2). */
enum ram_policy { RAM_POLICY_DEFAULT, RAM_POLICY_PREFERRED, RAM_POLICY_BIND, RAM_POLICY_INTERLEAVE };

struct ram_options {
	bool share;         /* MAP_SHARED: visible to other processes that map the memfd */
	bool prealloc;      /* touch every page now; fails if the host has not the memory */
	unsigned prealloc_threads; /* that do so; 0: the caller alone */
	uint64_t page_size; /* huge pages of this size (2 MiB, 1 GiB), or 0 for normal ones */
	bool unreserved;    /* of huge pages: not set aside now, so that a touch may find none (SIGBUS) */
	const char *path;   /* a file or hugetlbfs folder to use instead of a memfd, or NULL */
	bool dump;          /* in core dumps of the process */
	bool merge;         /* let KSM merge equal pages; a hint */
	bool discard;       /* `path`: at the end its contents are of no use and need not be written */
	int policy;         /* enum ram_policy */
	uint64_t host_nodes; /* bit n: node n of the host; 0 if and only if the policy is DEFAULT */
};

/* `options` may be NULL. The block is zero-filled. */
struct ram_block *ram_block_new(const char *name, uint64_t size, const struct ram_options *options,
				GError **error);
void ram_block_free(struct ram_block *block);
/*
 * Give the contents back to the host but keep the addresses: `host` stays valid memory, zero-filled and
 * private, so that who still holds a pointer into memory that was unplugged finds memory there. When
 * the block is in no space any more. Main thread.
 */
void ram_block_retire(struct ram_block *block);
/*
 * Give whole pages back to the host; they read as zero afterwards. Parts of a page are left alone. 0 or
 * -errno: huge pages cannot go piecemeal, and of a block that is pinned none can (-EBUSY): a host's
 * device would go on with the old page, the guest with a new one. Any thread.
 */
int ram_discard(struct ram_block *block, uint64_t offset, uint64_t length);

/*
 * Dirty logging on the state bytes: start marks every page clean; take tells whether `page` was
 * written since it was last taken (or since the start) and marks it clean again. A writer stores
 * first and looks at the byte after, and a vCPU may have the right to write until the engine's
 * dirty_log_sync(): a page's contents may be read only when that has been called since its take.
 */
void ram_dirty_start(struct ram_block *block);
bool ram_dirty_take(struct ram_block *block, uint64_t page);
void ram_dirty_stop(struct ram_block *block);

/* The slow half of ram_note_write(): tells the software engine and the dirty log. Any thread. */
void ram_page_written(struct ram_block *block, uint64_t offset, uint64_t length);

/* Must follow every write of `length` > 0 bytes at `offset` by anyone but KVM. Any thread. */
static inline void ram_note_write(struct ram_block *block, uint64_t offset, uint64_t length)
{
	uint64_t last = (offset + length - 1) >> PAGE_BITS;
	/* Store, then look; who sets a bit looks at the bytes afterwards. One of us sees the other. */
	atomic_thread_fence(memory_order_seq_cst);
	for (uint64_t page = offset >> PAGE_BITS; page <= last; page++) {
		if (atomic_load_explicit(&block->page_state[page], memory_order_relaxed)) {
			ram_page_written(block, offset, length);
			return;
		}
	}
}
