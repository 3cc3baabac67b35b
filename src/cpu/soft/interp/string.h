/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The REP loop, shared by the string instructions and INS, OUTS. */
#pragma once

#include "cpu/soft/interp/interp.h"

struct string_state {
	unsigned size;
	uint64_t addr_mask;
	bool backward, repeat;
	uint64_t count; /* elements wanted, at least 1 */
	uint64_t done;  /* elements done by the piece, at least 1 */
	/* CMPS and SCAS: c->flags at the end. A fault on the way shows the old ones (SDM vol. 2, REP). */
	uint64_t flags;
};

/*
 * Do up to st->count elements: advance the index registers and set st->done. True if the repetition
 * ends here whatever the count (CMPS, SCAS). Raises before any change that belongs to the element.
 */
typedef bool string_piece(struct soft_vcpu *c, const struct soft_insn *i, struct string_state *st);

void interp_string_run(struct soft_vcpu *c, const struct soft_insn *i, string_piece *piece);
void interp_string_advance(struct soft_vcpu *c, const struct soft_insn *i,
			   const struct string_state *st, unsigned reg);
