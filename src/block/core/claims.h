/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who is at work on which bytes: shared claims (a guest's writes) may overlap each other, an
 * exclusive one (a copy that must not be overtaken) overlaps nothing. On fibers of one loop.
 */
#pragma once

#include "block/core/fiber.h"

#include <stdint.h>

struct block_claim {
	uint64_t offset, end;
	bool exclusive;
	struct block_claim *next;
};

/* Zero-initialised. */
struct block_claims {
	struct block_claim *first;
	struct fiber_queue waiters;
};

/* Waits for what is in the way. The claim is the caller's until block_claim_end(). */
void block_claim_begin(struct block_claims *claims, struct block_claim *claim, uint64_t offset,
		       uint64_t length, bool exclusive);
void block_claim_end(struct block_claims *claims, struct block_claim *claim);
