/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An address space: what answers at which address. A VM has two: guest-physical memory (RAM, ROM
 * and MMIO) and the 64 KiB of I/O ports.
 *
 * Ranges may overlap (a guest can program a PCI BAR on top of anything); the higher priority wins,
 * and among equals the one added first. Adding and removing recomputes one flat, sorted view.
 *
 * Threads: look-ups and accesses are lock-free and may come from any thread at any time (the view
 * is read under a sequence counter). Changes take a lock, may come from any thread, and return
 * when the listeners have heard of them. An io_region must outlive every access that can have begun
 * before its removal: devices are freed only when all vCPUs have been out of guest mode since.
 */
#pragma once

#include "vm/ram.h"

#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* `size` is 1, 2, 4 or 8; `offset` counts from the region's start and offset + size fits in it. */
struct io_ops {
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
	void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned size);
	/*
	 * The access sizes that the device implements; 0 means 1 and 8. The space splits larger
	 * accesses into `max_size` pieces, low address first; a smaller or unaligned-at-min_size
	 * one is widened for reads, and for writes is passed as it is.
	 */
	uint8_t min_size, max_size;
};

struct io_region {
	const char *name;
	const struct io_ops *ops;
	void *opaque;
	uint64_t size;
	pthread_mutex_t *lock; /* held round ops->read and ops->write if not NULL */
	/*
	 * Or NULL: `size` bytes of a host device's registers, page-aligned, that an engine may give the
	 * guest instead of calling ops. Nobody else touches them: the kernel sends SIGBUS to who does so
	 * while the device is off. They must stay mapped until the region is in no space.
	 */
	uint8_t *direct;
};

struct space;

/* The flat view's entry: [base, base + size) is RAM, ROM or one region's part. */
struct space_range {
	uint64_t base, size;
	struct ram_block *ram; /* NULL for I/O */
	uint64_t ram_offset;
	bool readonly; /* ROM: writes go to `region` if there is one, else nowhere */
	struct io_region *region;
	uint64_t region_offset;
};

enum space_priority {
	SPACE_PRIORITY_LOW = -1, /* catch-alls under everything */
	SPACE_PRIORITY_NORMAL = 0,
	SPACE_PRIORITY_HIGH = 1, /* must win over what a guest can move: APICs, shadow ROM */
};

/* `limit` is the number of addresses: 1 << 16 for ports, 1 << address bits for memory. */
struct space *space_new(const char *name, uint64_t limit);
void space_free(struct space *space);

void space_add_io(struct space *space, uint64_t base, struct io_region *region, int priority);
/* Remove `region` wherever it is mapped. */
void space_remove_io(struct space *space, struct io_region *region);

/*
 * Map part of a RAM block. With `readonly`, writes go to `region` if it is not NULL (flash), else
 * are dropped. base, offset and size are page-aligned.
 */
void space_add_ram(struct space *space, uint64_t base, struct ram_block *ram, uint64_t offset,
		   uint64_t size, bool readonly, struct io_region *region, int priority);
/* Remove the mapping of RAM that starts at `base`. */
void space_remove_ram(struct space *space, uint64_t base);
/* Remove every mapping of the block: where others may begin at the same address. */
void space_remove_ram_block(struct space *space, const struct ram_block *ram);

/* Group several changes into one update of the view and one call of the listeners. May nest. */
void space_begin(struct space *space);
void space_commit(struct space *space);

/* What is at `addr`: fills *range and returns true, or returns false where nothing is. */
bool space_find(struct space *space, uint64_t addr, struct space_range *range);

/* Call fn for each range of the current view, lowest first, under the change lock. */
void space_for_each(struct space *space, void (*fn)(void *opaque, const struct space_range *range),
		    void *opaque);

/*
 * One access of 1 to 8 bytes, as a CPU does: RAM, ROM or I/O, split at range boundaries. Reads of
 * nothing give all ones; writes to nothing vanish.
 */
uint64_t space_read(struct space *space, uint64_t addr, unsigned size);
void space_write(struct space *space, uint64_t addr, uint64_t value, unsigned size);

/*
 * Device DMA: to RAM (and, reading, ROM) only, so that no device can be made to call another one,
 * or itself, in the middle of a request. False, with nothing promised about the bytes, if any part
 * of the range is not RAM.
 */
bool space_dma_read(struct space *space, uint64_t addr, void *buffer, uint64_t length);
bool space_dma_write(struct space *space, uint64_t addr, const void *buffer, uint64_t length);

/*
 * The host address of guest RAM at `addr`, and in *length (in: wanted, out: at most that) how much
 * is contiguous there. NULL if it is not RAM, or is ROM and `write` is set. The pointer stays
 * valid as long as the VM. After writing through it, call space_note_write().
 */
void *space_dma_map(struct space *space, uint64_t addr, uint64_t *length, bool write);
void space_note_write(struct space *space, uint64_t addr, uint64_t length);

/*
 * Doorbells: a write at `addr` of `size` bytes (0: any size) and, if match is set, of `value`,
 * signals the eventfd instead of calling the region. Engines that can (KVM's ioeventfd) let the
 * kernel do it; else space_write() does, or calls ring() if that is not NULL. Like a region, ring's
 * opaque must outlive every access that can have begun before the doorbell's removal.
 */
struct space_doorbell {
	uint64_t addr;
	unsigned size;
	bool match;
	uint64_t value;
	int fd;
	void (*ring)(void *opaque);
	void *opaque;
};
void space_add_doorbell(struct space *space, const struct space_doorbell *doorbell);
void space_remove_doorbell(struct space *space, const struct space_doorbell *doorbell);

/* Engines listen: KVM to keep its memslots, the software engine to flush its TLBs. */
struct space_listener {
	/* The view has changed. Called under the change lock by the changing thread. */
	void (*changed)(void *opaque, const struct space_range *ranges, unsigned count);
	/* A doorbell came (on) or went. May be NULL. */
	void (*doorbell)(void *opaque, const struct space_doorbell *doorbell, bool on);
	void *opaque;
};
/*
 * The space's one listener, copied; NULL: none. It is told at once of the current view and of each
 * doorbell.
 */
void space_set_listener(struct space *space, const struct space_listener *listener);

/*
 * Others that must know what is mapped: IOMMUs of host devices. Their `changed` is called after the
 * listener's, and at once; `doorbell` is not. Told apart by opaque.
 */
void space_add_observer(struct space *space, const struct space_listener *observer);
void space_remove_observer(struct space *space, const void *opaque);
