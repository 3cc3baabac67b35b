/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the decoder must know of an opcode byte to find the instruction's length and operands. One
 * 16-bit word per opcode and map; ModRM /digit exceptions are in decode.c, as there are few.
 */
#pragma once

#include <stdint.h>

/* The immediate that follows, in the low nibble. */
enum {
	OP_IMM_NONE,
	OP_IMM_B,      /* 8 bits, sign-extended */
	OP_IMM_UB,     /* 8 bits, zero-extended: counts, ports, vectors, SIMD controls */
	OP_IMM_W,      /* 16 bits, zero-extended: RET n */
	OP_IMM_Z,      /* 16 or 32 bits by operand size, sign-extended */
	OP_IMM_V,      /* like Z, but 64 bits with REX.W: MOV r64, imm64 */
	OP_IMM_FAR,    /* offset by operand size, then selector */
	OP_IMM_ENTER,  /* 16 bits, then 8 */
	OP_IMM_MOFFS,  /* absolute offset of address size */
	OP_IMM_GROUP3, /* F6, F7: only /0 and /1 have one */
	OP_IMM_MASK = 0xf,
};

enum {
	OP_VALID = 1 << 4,    /* exists (in some mode, with some ModRM) */
	OP_MODRM = 1 << 5,
	OP_BYTE = 1 << 6,     /* the immediate that would be Z is B */
	OP_NO64 = 1 << 7,     /* #UD in 64-bit mode */
	OP_64 = 1 << 8,       /* in 64-bit mode the operand is 64 bits without REX.W; 66 makes it 16 */
	OP_FORCE64 = 1 << 9,  /* in 64-bit mode always 64 bits: near branches, CR and DR moves */
	OP_LOCK = 1 << 10,    /* LOCK is allowed if the destination is memory */
	OP_VEX = 1 << 11,     /* has a VEX form */
	OP_VEX_ONLY = 1 << 12, /* has nothing but VEX forms */
	OP_REG_ONLY = 1 << 13, /* ModRM.mod is ignored and taken as 3: MOV CR, DR */
	OP_MEM_ONLY = 1 << 14, /* a register operand is #UD */
};

extern const uint16_t x86_opcodes[4][256];
