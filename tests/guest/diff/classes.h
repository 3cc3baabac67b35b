/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Classes of instructions: which opcodes, with which prefixes, in which encoding. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	/* Mandatory prefixes to choose from. */
	GEN_NONE = 1 << 0, GEN_66 = 1 << 1, GEN_F3 = 1 << 2, GEN_F2 = 1 << 3,
	GEN_PP = GEN_NONE | GEN_66 | GEN_F3 | GEN_F2,
	GEN_INT = 1 << 4,  /* an integer instruction: 66 and REX.W choose the size */
	GEN_VEX = 1 << 5, GEN_LOCK = 1 << 6, GEN_REP = 1 << 7, GEN_MEM = 1 << 8, GEN_REG = 1 << 9,
	GEN_STACK = 1 << 10,   /* RSP (and RBP) point to data */
	GEN_BRANCH = 1 << 11,  /* relative target */
	GEN_INDIRECT = 1 << 12, /* r/m holds a target */
	GEN_RETURN = 1 << 13,  /* the stack's top holds a target */
	GEN_SIMD = 1 << 14,    /* FPU registers count */
	GEN_STATE = 1 << 15,   /* FXSAVE, XSAVE: an aligned area, a valid header */
	GEN_VSIB = 1 << 16, GEN_STRING = 1 << 17, GEN_DIVIDE = 1 << 18, GEN_BITS = 1 << 19,
	GEN_XLAT = 1 << 20, GEN_RDI = 1 << 21,
};

struct gen_pattern {
	uint8_t map, first, last;
	uint8_t digits; /* bit per ModRM /digit, 0: all */
	uint32_t flags;
};

struct diff_class {
	const char *name;
	const struct gen_pattern *patterns;
	unsigned count;
	/* Instead of patterns: sequences of instructions of these classes. */
	const char *const *parts;
	bool bits32; /* in a 32-bit code segment */
	bool flow;    /* of a sequence: with jumps and loops */
	bool patches; /* of a sequence: it stores into its own code */
	bool pointers; /* of a sequence: operands through registers that move by constants */
	bool frames;   /* the stack pointer is one of them, and there are pushes and pops */
};

extern const struct diff_class diff_classes[];
extern const unsigned diff_class_count;
