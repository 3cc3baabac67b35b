/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside the generator: between gen.c, which makes instructions, operands.c and sequence.c. */
#pragma once

#include "classes.h"
#include "diff.h"
#include "random.h"

/* An instruction in the making. */
struct build {
	struct rng *r;
	struct diff_case *c;
	const struct gen_pattern *p;
	unsigned at;      /* bytes written */
	uint8_t opcode;
	uint16_t op;      /* x86_opcodes' word */
	unsigned pp;      /* 0 none, 1 66, 2 F3, 3 F2 */
	unsigned rex;     /* W R X B */
	bool addr32;
	unsigned op_size;
	unsigned mod, reg, rm, vvvv; /* with extension bits */
	int base, index;
	unsigned scale;
	bool memory;
	bool later;       /* registers are not c->in's any more: they are loaded before it */
	uint64_t *gpr;    /* where the address's registers are set: c->in.gpr, or before it */
	uint64_t target;  /* linear address of the memory operand */
	/*
	 * Not 0: this register and the one 8 above it are pointers into the window, as far as the
	 * instructions so far have left them: operands may be found through them as they are.
	 */
	unsigned pointer;
};

/* Append `size` bytes of `value`. */
void gen_put(struct build *b, uint64_t value, unsigned size);
/*
 * Append an instruction of pattern b->p. With b->later, the registers of its memory operand are
 * loaded by MOVs before it. False: it did not come out; nothing was appended.
 */
bool gen_insn(struct build *b);
/* An address for a memory operand: mostly in the windows that are compared. */
uint64_t gen_choose_target(struct build *b);
/* Set registers and memory of the case as its one instruction, which is there, wants them. */
void gen_set_operands(struct build *b);
/* Append a MOV of `value` to register n, which leaves the flags alone. */
void gen_load(struct build *b, unsigned n, uint64_t value);
/* Append instructions of `class`, which has parts. */
void gen_sequence(struct build *b, const struct diff_class *class);
