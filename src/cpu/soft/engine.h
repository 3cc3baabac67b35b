/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The software engine: what the vCPUs of one VM share. Of the world it is known only by its
 * operations; the rest is between this folder's parts.
 */
#pragma once

#include "cpu/soft/soft.h"

extern const struct engine_ops soft_engine;

/* vm_config.translate_after: code that runs less often is not worth the translator's time. */
enum { SOFT_TRANSLATE_AFTER = 16 };

/* What one vCPU of such a VM may have of memory for translated code, in bytes. */
size_t soft_code_size(const struct vm_config *config);

/* Has this host's CPU what translated code is made of? */
bool soft_can_translate(void);

struct interp_dispatch;

/* Of a RAM block: which 64-byte lines of each page hold code that some vCPU has decoded. */
struct soft_code_map {
	struct soft_engine *engine;
	struct ram_block *ram;
	struct soft_code_map *next;
	/* Per page; changed under the engine's lock, read without. */
	uint64_t *lines;
	uint32_t *marked; /* engine->protections when the page became a code page */
	uint8_t *hits;    /* writes to its code since then */
};

struct soft_engine {
	struct vm *vm;
	struct interp_dispatch *dispatch;
	pthread_mutex_t lock; /* code maps and marks */
	struct soft_code_map *maps;
	pthread_mutex_t split_lock; /* locked operations on what has no single host address */
	/*
	 * Counts pages that became code pages. A vCPU that has taken away its direct write access
	 * to all of them up to number N says so in blocks->acknowledged; before all have, a write
	 * could still pass unseen and decoded code of the page must not be kept.
	 */
	_Atomic uint32_t protections;
	_Atomic uint64_t code_writes;
	/*
	 * Locked instructions are translated without LOCK: there is one vCPU, nobody outside this process
	 * reaches its memory, and devices fence for both sides (vm_take_fences()).
	 */
	bool unlocked;
	_Atomic bool exposed; /* somebody reaches it after all */
	uint64_t tsc_epoch;       /* the host's TSC at vm->epoch_ns */
	_Atomic uint32_t tsc_khz; /* 0: nobody has asked yet; soft_tsc_khz() */
};

/*
 * The vCPU is about to keep decoded code of [phys, phys + length), inside one page. From now on
 * writes there are reported. True if no vCPU's TLB can let one pass unseen any more; else the code
 * may be run, but not kept.
 */
bool soft_engine_code_mark(struct soft_vcpu *c, uint64_t phys, unsigned length);
/* The same for any of the 64-byte lines of the page of `phys`; a bit for each. */
bool soft_engine_code_mark_lines(struct soft_vcpu *c, uint64_t phys, uint64_t lines);
/* The lines of `length` bytes from `offset` on, inside a page. */
uint64_t soft_code_lines(uint64_t offset, uint64_t length);

/*
 * The TLBs and jump tables are looked into all the time, all over, and decoded code is large: have them
 * in huge pages. When the vCPU begins to translate, since a VM that waits should not take 2 MiB more.
 */
void soft_vcpu_use_huge_pages(struct soft_vcpu *c);

/* interp/run.c: run until an exit. On the vCPU's thread. */
enum vcpu_exit soft_run(struct soft_vcpu *c);
