/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A decoded x86 instruction, engine-neutral: the decoder's output, read by the interpreter and the
 * translator. One table (cpu/x86/opcodes) drives it: maps 1-byte, 0F, 0F38, 0F3A and their VEX
 * forms.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum x86_map { X86_MAP_1, X86_MAP_0F, X86_MAP_0F38, X86_MAP_0F3A };

enum {
	X86_PREFIX_LOCK = 1 << 0, X86_PREFIX_REP = 1 << 1 /* F3 */, X86_PREFIX_REPNE = 1 << 2 /* F2 */,
	X86_PREFIX_OPSIZE = 1 << 3 /* 66 */, X86_PREFIX_ADDRSIZE = 1 << 4, X86_PREFIX_REX = 1 << 5,
	X86_PREFIX_REXW = 1 << 6, X86_PREFIX_VEX = 1 << 7, X86_PREFIX_VEXL = 1 << 8,
	X86_PREFIX_SEGMENT = 1 << 9 /* an explicit override that counts */,
};

enum { X86_REG_NONE = 0xff, X86_REG_ZERO_INDEX = 0xfe };

/* The largest instruction (SDM vol. 2, 2.3.11). */
#define X86_INSN_MAX 15

struct x86_insn {
	uint8_t length;
	uint8_t map;       /* enum x86_map */
	uint8_t opcode;
	uint8_t op_size;   /* 2, 4 or 8: the effective operand size, defaults and REX.W applied */
	uint8_t addr_size; /* 2, 4 or 8 */
	uint8_t seg;       /* enum x86_seg_index of the memory operand, defaults applied */
	uint16_t prefixes;
	bool has_modrm;
	uint8_t modrm;     /* the raw byte */
	uint8_t mod;
	uint8_t reg;       /* with REX.R or VEX.R: 0-15 */
	uint8_t rm;        /* with REX.B; a register if mod == 3 */
	uint8_t vvvv;      /* VEX's extra source, 0-15 */
	/* The memory operand if has_modrm && mod != 3, or a moffs (then only disp counts). */
	uint8_t base, index; /* register number or X86_REG_NONE */
	uint8_t scale;       /* 0-3 */
	bool rip_relative;   /* disp counts from the next instruction */
	int64_t disp;
	uint64_t imm;        /* sign- or zero-extended as the opcode says */
	uint64_t imm2;       /* ENTER's second, far pointers' selector */
};

enum x86_decode_result {
	X86_DECODE_OK,
	X86_DECODE_INVALID,  /* #UD */
	X86_DECODE_TOO_LONG, /* more than 15 bytes: #GP(0) */
	X86_DECODE_MORE,     /* the bytes given end inside the instruction */
};

/* The mode bits that decoding depends on. */
enum x86_decode_mode { X86_DECODE_16, X86_DECODE_32, X86_DECODE_64 };

/*
 * Decode the instruction at bytes[0..available). Never reads past `available`. Which opcodes exist
 * here is what Berth's engines know; CPUID feature checks are the engine's.
 */
enum x86_decode_result x86_decode(const uint8_t *bytes, size_t available, enum x86_decode_mode mode,
				  struct x86_insn *insn);
