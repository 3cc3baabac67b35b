/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/core/claims.h"

static bool conflicts(const struct block_claims *claims, const struct block_claim *claim)
{
	for (const struct block_claim *c = claims->first; c; c = c->next)
		if (c->offset < claim->end && claim->offset < c->end &&
		    (c->exclusive || claim->exclusive))
			return true;
	return false;
}

void block_claim_begin(struct block_claims *claims, struct block_claim *claim, uint64_t offset,
		       uint64_t length, bool exclusive)
{
	*claim = (struct block_claim){.offset = offset, .end = offset + length,
				      .exclusive = exclusive};
	while (conflicts(claims, claim))
		fiber_queue_wait(&claims->waiters);
	claim->next = claims->first;
	claims->first = claim;
}

void block_claim_end(struct block_claims *claims, struct block_claim *claim)
{
	struct block_claim **place = &claims->first;
	while (*place != claim)
		place = &(*place)->next;
	*place = claim->next;
	fiber_queue_wake_all(&claims->waiters);
}
