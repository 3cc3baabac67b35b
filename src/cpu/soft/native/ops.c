/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * native/'s share of the dispatch table. One opcode stands for all its prefixes and its VEX form;
 * which of these exist is in the form tables.
 */
#include "cpu/soft/native/native.h"

#define OP(map_, op, fn_) { .map = X86_MAP_##map_, .opcode = op, .reg = -1, .fn = fn_ }
#define MEMORY(map_, op, digit, fn_)                                                               \
	{ .map = X86_MAP_##map_, .opcode = op, .reg = digit, .fn = fn_, .form = SOFT_FORM_MEMORY }
#define X(map, op) OP(map, op, native_exec)
#define X2(map, op) X(map, op), X(map, op + 1)
#define X4(map, op) X2(map, op), X2(map, op + 2)
#define X8(map, op) X4(map, op), X4(map, op + 4)
#define X10(map, op) X2(map, op + 6), X8(map, op + 8)

const struct soft_opcode soft_native_ops[] = {
	OP(1, 0x9b, native_fwait),
	OP(1, 0xd8, native_x87_exec), OP(1, 0xd9, native_x87_exec), OP(1, 0xda, native_x87_exec),
	OP(1, 0xdb, native_x87_exec), OP(1, 0xdc, native_x87_exec), OP(1, 0xdd, native_x87_exec),
	OP(1, 0xde, native_x87_exec), OP(1, 0xdf, native_x87_exec),

	X8(0F, 0x10), X8(0F, 0x28), X8(0F, 0x50), X8(0F, 0x58), X8(0F, 0x60), X8(0F, 0x68),
	X4(0F, 0x70), X2(0F, 0x74), X(0F, 0x76), OP(0F, 0x77, native_emms), X4(0F, 0x7c),
	MEMORY(0F, 0xae, 0, native_group15), MEMORY(0F, 0xae, 1, native_group15),
	MEMORY(0F, 0xae, 2, native_group15), MEMORY(0F, 0xae, 3, native_group15),
	MEMORY(0F, 0xae, 4, native_group15), MEMORY(0F, 0xae, 5, native_group15),
	MEMORY(0F, 0xae, 6, native_group15),
	X(0F, 0xc2), OP(0F, 0xc3, native_movnti), X(0F, 0xc4), X2(0F, 0xc5),
	MEMORY(0F, 0xc7, 3, native_group9), MEMORY(0F, 0xc7, 4, native_group9),
	MEMORY(0F, 0xc7, 5, native_group9),
	X8(0F, 0xd0), X8(0F, 0xd8), X8(0F, 0xe0), X8(0F, 0xe8), X8(0F, 0xf0), X4(0F, 0xf8),
	X2(0F, 0xfc), X(0F, 0xfe),

	X8(0F38, 0x00), X8(0F38, 0x08), X(0F38, 0x10), X(0F38, 0x13), X4(0F38, 0x14),
	X2(0F38, 0x18),
	X(0F38, 0x1a), X2(0F38, 0x1c), X(0F38, 0x1e), X4(0F38, 0x20), X2(0F38, 0x24),
	X8(0F38, 0x28),
	X8(0F38, 0x30), X8(0F38, 0x38), X2(0F38, 0x40), X2(0F38, 0x45), X(0F38, 0x47),
	X4(0F38, 0x50), X2(0F38, 0x58), X(0F38, 0x5a), X2(0F38, 0x78), X(0F38, 0x8c), X(0F38, 0x8e),
	X4(0F38, 0x90), X10(0F38, 0x90), X10(0F38, 0xa0), X10(0F38, 0xb0), X4(0F38, 0xc8),
	X2(0F38, 0xcc), X(0F38, 0xcf), X(0F38, 0xdb), X4(0F38, 0xdc),

	X2(0F3A, 0x00), X(0F3A, 0x02), X2(0F3A, 0x04), X(0F3A, 0x06), X8(0F3A, 0x08),
	X4(0F3A, 0x14),
	X2(0F3A, 0x18), X(0F3A, 0x1d), X2(0F3A, 0x20), X(0F3A, 0x22), X2(0F3A, 0x38),
	X2(0F3A, 0x40),
	X(0F3A, 0x42), X(0F3A, 0x44), X(0F3A, 0x46), X2(0F3A, 0x4a), X(0F3A, 0x4c), X4(0F3A, 0x60),
	X(0F3A, 0xcc), X2(0F3A, 0xce), X(0F3A, 0xdf),
	{ .fn = NULL },
};
