/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plain page walk for lookers-on (debugger, monitor, tests): no fault, no access rights changed,
 * no Accessed or Dirty bits. The software engine has its own, which does all that.
 */
#pragma once

#include "cpu/x86/state.h"

struct x86_walk {
	uint64_t phys;
	unsigned page_bits; /* 12, 21, 22 or 30 */
	bool writable, user, execute, global, accessed, dirty;
};

/* A table entry of `size` (4 or 8) bytes at guest-physical `addr`. False: nothing readable there. */
typedef bool x86_walk_read_fn(void *opaque, uint64_t addr, unsigned size, uint64_t *entry);

/*
 * Where `linear` is by state's control registers. False if it is not mapped, or an entry has
 * reserved bits set (phys_bits is the guest's physical address width).
 */
bool x86_walk_page(const struct x86_state *state, unsigned phys_bits, uint64_t linear,
		   x86_walk_read_fn *read, void *opaque, struct x86_walk *result);
