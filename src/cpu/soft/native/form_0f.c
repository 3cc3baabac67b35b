/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Forms of map 0F: SSE, SSE2, SSE3 and MMX, with their AVX and AVX2 counterparts (SDM vol. 2, A.3).
 * In opcode order.
 */
#include "cpu/soft/native/form_table.h"

#define R(op, pp, reg, rm, size, lf, vf, flags)                                                    \
	FORM(X86_MAP_0F, op, PP_##pp, O_##reg, O_##rm, S_##size, lf, vf, flags)

/* Packed and scalar, single and double; scalars merge into the first source. */
#define FP4(op, nds)                                                                               \
	R(op, NONE, X, X, V, SSE, AVX, LV | NF_FP | (nds)),                                        \
	R(op, 66, X, X, V, SSE2, AVX, LV | NF_FP | (nds)),                                         \
	R(op, F3, X, X, 4, SSE, AVX, LVN | NF_FP | NF_LIG),                                        \
	R(op, F2, X, X, 8, SSE2, AVX, LVN | NF_FP | NF_LIG)
/* The reciprocal estimates neither round nor raise. */
#define RECIP(op)                                                                                  \
	R(op, NONE, X, X, V, SSE, AVX, LV), R(op, F3, X, X, 4, SSE, AVX, LVN | NF_LIG)
/* PS and PD of the same bitwise operation. */
#define PSPD(op)                                                                                   \
	R(op, NONE, X, X, V, SSE, AVX, LVN), R(op, 66, X, X, V, SSE2, AVX, LVN)
/* MMX, SSE2 and AVX integer. MMX's has feature `mf`. */
#define INT(op, mf)                                                                                \
	R(op, NONE, M, M, 8, mf, NONE, L_), R(op, 66, X, X, V, SSE2, AVX, LVN | NF_INT)
/* MMX unpack-low reads only half. */
#define UNPACK_LOW(op)                                                                             \
	R(op, NONE, M, M, 4, MMX, NONE, L_), R(op, 66, X, X, V, SSE2, AVX, LVN | NF_INT)
/* Shift by a count in a register: always 128 bits of it. */
#define SHIFT(op)                                                                                  \
	R(op, NONE, M, M, 8, MMX, NONE, L_), R(op, 66, X, X128, 16, SSE2, AVX, LVN | NF_INT)
#define GROUP(op, pp_, digit_, rm_, lf, vf, flags_)                                                \
	{ .map = X86_MAP_0F, .opcode = op, .pp = PP_##pp_, .digit = digit_, .reg = O_NONE,         \
	  .rm = O_##rm_, .size = S_NONE, .legacy_feature = FT_##lf, .vex_feature = FT_##vf,        \
	  .flags = (flags_) | NF_REG | NF_IMM | NF_SHIFT }
#define GROUP_SHIFT(op, digit)                                                                     \
	GROUP(op, NONE, digit, M, MMX, NONE, L_), GROUP(op, 66, digit, X, SSE2, AVX, LV | NF_INT)

const struct native_form native_forms_0f[] = {
	R(0x10, NONE, X, X, V, SSE, AVX, LV | NF_UNALIGNED),
	R(0x10, 66, X, X, V, SSE2, AVX, LV | NF_UNALIGNED),
	R(0x10, F3, X, X, 4, SSE, AVX, LVN | NF_LIG | NF_REG),
	R(0x10, F3, X, X, 4, SSE, AVX, LV | NF_LIG | NF_MEM),
	R(0x10, F2, X, X, 8, SSE2, AVX, LVN | NF_LIG | NF_REG),
	R(0x10, F2, X, X, 8, SSE2, AVX, LV | NF_LIG | NF_MEM),
	R(0x11, NONE, X, X, V, SSE, AVX, LV | NF_UNALIGNED | NF_STORE),
	R(0x11, 66, X, X, V, SSE2, AVX, LV | NF_UNALIGNED | NF_STORE),
	R(0x11, F3, X, X, 4, SSE, AVX, LVN | NF_LIG | NF_REG | NF_STORE),
	R(0x11, F3, X, X, 4, SSE, AVX, LV | NF_LIG | NF_MEM | NF_STORE),
	R(0x11, F2, X, X, 8, SSE2, AVX, LVN | NF_LIG | NF_REG | NF_STORE),
	R(0x11, F2, X, X, 8, SSE2, AVX, LV | NF_LIG | NF_MEM | NF_STORE),
	R(0x12, NONE, X, X, 8, SSE, AVX, LVN | NF_L0),
	R(0x12, 66, X, X, 8, SSE2, AVX, LVN | NF_L0 | NF_MEM),
	R(0x12, F3, X, X, V, SSE3, AVX, LV),
	R(0x12, F2, X, X, V2, SSE3, AVX, LV), /* 256 bits: see native_insn_size() */
	R(0x13, NONE, X, X, 8, SSE, AVX, LV | NF_L0 | NF_MEM | NF_STORE),
	R(0x13, 66, X, X, 8, SSE2, AVX, LV | NF_L0 | NF_MEM | NF_STORE),
	PSPD(0x14), PSPD(0x15),
	R(0x16, NONE, X, X, 8, SSE, AVX, LVN | NF_L0),
	R(0x16, 66, X, X, 8, SSE2, AVX, LVN | NF_L0 | NF_MEM),
	R(0x16, F3, X, X, V, SSE3, AVX, LV),
	R(0x17, NONE, X, X, 8, SSE, AVX, LV | NF_L0 | NF_MEM | NF_STORE),
	R(0x17, 66, X, X, 8, SSE2, AVX, LV | NF_L0 | NF_MEM | NF_STORE),
	R(0x28, NONE, X, X, V, SSE, AVX, LV | NF_ALIGNED),
	R(0x28, 66, X, X, V, SSE2, AVX, LV | NF_ALIGNED),
	R(0x29, NONE, X, X, V, SSE, AVX, LV | NF_ALIGNED | NF_STORE),
	R(0x29, 66, X, X, V, SSE2, AVX, LV | NF_ALIGNED | NF_STORE),
	R(0x2a, NONE, X, M, 8, SSE, NONE, L_ | NF_FP),
	R(0x2a, 66, X, M, 8, SSE2, NONE, L_ | NF_FP),
	R(0x2a, F3, X, G, W, SSE, AVX, LVN | NF_FP | NF_LIG),
	R(0x2a, F2, X, G, W, SSE2, AVX, LVN | NF_FP | NF_LIG),
	R(0x2b, NONE, X, X, V, SSE, AVX, LV | NF_ALIGNED | NF_STORE | NF_MEM),
	R(0x2b, 66, X, X, V, SSE2, AVX, LV | NF_ALIGNED | NF_STORE | NF_MEM),
	R(0x2c, NONE, M, X, 8, SSE, NONE, L_ | NF_FP),
	R(0x2c, 66, M, X, 16, SSE2, NONE, L_ | NF_FP),
	R(0x2c, F3, G, X, 4, SSE, AVX, LV | NF_FP | NF_LIG),
	R(0x2c, F2, G, X, 8, SSE2, AVX, LV | NF_FP | NF_LIG),
	R(0x2d, NONE, M, X, 8, SSE, NONE, L_ | NF_FP),
	R(0x2d, 66, M, X, 16, SSE2, NONE, L_ | NF_FP),
	R(0x2d, F3, G, X, 4, SSE, AVX, LV | NF_FP | NF_LIG),
	R(0x2d, F2, G, X, 8, SSE2, AVX, LV | NF_FP | NF_LIG),
	R(0x2e, NONE, X, X, 4, SSE, AVX, LV | NF_FP | NF_LIG | NF_TEST | NF_FLAGS),
	R(0x2e, 66, X, X, 8, SSE2, AVX, LV | NF_FP | NF_LIG | NF_TEST | NF_FLAGS),
	R(0x2f, NONE, X, X, 4, SSE, AVX, LV | NF_FP | NF_LIG | NF_TEST | NF_FLAGS),
	R(0x2f, 66, X, X, 8, SSE2, AVX, LV | NF_FP | NF_LIG | NF_TEST | NF_FLAGS),
	R(0x50, NONE, G, X, NONE, SSE, AVX, LV | NF_REG),
	R(0x50, 66, G, X, NONE, SSE2, AVX, LV | NF_REG),
	FP4(0x51, 0), RECIP(0x52), RECIP(0x53),
	PSPD(0x54), PSPD(0x55), PSPD(0x56), PSPD(0x57),
	FP4(0x58, NF_NDS), FP4(0x59, NF_NDS),
	R(0x5a, NONE, X, X128, V2, SSE2, AVX, LV | NF_FP),
	R(0x5a, 66, X128, X, V, SSE2, AVX, LV | NF_FP),
	R(0x5a, F3, X, X, 4, SSE2, AVX, LVN | NF_FP | NF_LIG),
	R(0x5a, F2, X, X, 8, SSE2, AVX, LVN | NF_FP | NF_LIG),
	R(0x5b, NONE, X, X, V, SSE2, AVX, LV | NF_FP),
	R(0x5b, 66, X, X, V, SSE2, AVX, LV | NF_FP),
	R(0x5b, F3, X, X, V, SSE2, AVX, LV | NF_FP),
	FP4(0x5c, NF_NDS), FP4(0x5d, NF_NDS), FP4(0x5e, NF_NDS), FP4(0x5f, NF_NDS),
	UNPACK_LOW(0x60), UNPACK_LOW(0x61), UNPACK_LOW(0x62),
	INT(0x63, MMX), INT(0x64, MMX), INT(0x65, MMX), INT(0x66, MMX), INT(0x67, MMX),
	INT(0x68, MMX), INT(0x69, MMX), INT(0x6a, MMX), INT(0x6b, MMX),
	R(0x6c, 66, X, X, V, SSE2, AVX, LVN | NF_INT),
	R(0x6d, 66, X, X, V, SSE2, AVX, LVN | NF_INT),
	R(0x6e, NONE, M, G, W, MMX, NONE, L_),
	R(0x6e, 66, X, G, W, SSE2, AVX, LV | NF_L0),
	R(0x6f, NONE, M, M, 8, MMX, NONE, L_),
	R(0x6f, 66, X, X, V, SSE2, AVX, LV | NF_ALIGNED),
	R(0x6f, F3, X, X, V, SSE2, AVX, LV | NF_UNALIGNED),
	R(0x70, NONE, M, M, 8, SSE, NONE, L_ | NF_IMM),
	R(0x70, 66, X, X, V, SSE2, AVX, LV | NF_INT | NF_IMM),
	R(0x70, F3, X, X, V, SSE2, AVX, LV | NF_INT | NF_IMM),
	R(0x70, F2, X, X, V, SSE2, AVX, LV | NF_INT | NF_IMM),
	GROUP_SHIFT(0x71, 2), GROUP_SHIFT(0x71, 4), GROUP_SHIFT(0x71, 6),
	GROUP_SHIFT(0x72, 2), GROUP_SHIFT(0x72, 4), GROUP_SHIFT(0x72, 6),
	GROUP_SHIFT(0x73, 2), GROUP_SHIFT(0x73, 6),
	GROUP(0x73, 66, 3, X, SSE2, AVX, LV | NF_INT),
	GROUP(0x73, 66, 7, X, SSE2, AVX, LV | NF_INT),
	INT(0x74, MMX), INT(0x75, MMX), INT(0x76, MMX),
	R(0x7c, 66, X, X, V, SSE3, AVX, LVN | NF_FP), R(0x7c, F2, X, X, V, SSE3, AVX, LVN | NF_FP),
	R(0x7d, 66, X, X, V, SSE3, AVX, LVN | NF_FP), R(0x7d, F2, X, X, V, SSE3, AVX, LVN | NF_FP),
	R(0x7e, NONE, M, G, W, MMX, NONE, L_ | NF_STORE),
	R(0x7e, 66, X, G, W, SSE2, AVX, LV | NF_L0 | NF_STORE),
	R(0x7e, F3, X, X, 8, SSE2, AVX, LV | NF_L0),
	R(0x7f, NONE, M, M, 8, MMX, NONE, L_ | NF_STORE),
	R(0x7f, 66, X, X, V, SSE2, AVX, LV | NF_ALIGNED | NF_STORE),
	R(0x7f, F3, X, X, V, SSE2, AVX, LV | NF_UNALIGNED | NF_STORE),
	R(0xc2, NONE, X, X, V, SSE, AVX, LVN | NF_FP | NF_IMM),
	R(0xc2, 66, X, X, V, SSE2, AVX, LVN | NF_FP | NF_IMM),
	R(0xc2, F3, X, X, 4, SSE, AVX, LVN | NF_FP | NF_LIG | NF_IMM),
	R(0xc2, F2, X, X, 8, SSE2, AVX, LVN | NF_FP | NF_LIG | NF_IMM),
	R(0xc4, NONE, M, G, 2, SSE, NONE, L_ | NF_IMM),
	R(0xc4, 66, X, G, 2, SSE2, AVX, LVN | NF_L0 | NF_IMM),
	R(0xc5, NONE, G, M, NONE, SSE, NONE, L_ | NF_REG | NF_IMM),
	R(0xc5, 66, G, X, NONE, SSE2, AVX, LV | NF_L0 | NF_REG | NF_IMM),
	R(0xc6, NONE, X, X, V, SSE, AVX, LVN | NF_IMM),
	R(0xc6, 66, X, X, V, SSE2, AVX, LVN | NF_IMM),
	R(0xd0, 66, X, X, V, SSE3, AVX, LVN | NF_FP), R(0xd0, F2, X, X, V, SSE3, AVX, LVN | NF_FP),
	SHIFT(0xd1), SHIFT(0xd2), SHIFT(0xd3),
	INT(0xd4, SSE2), INT(0xd5, MMX),
	R(0xd6, 66, X, X, 8, SSE2, AVX, LV | NF_L0 | NF_STORE),
	R(0xd6, F3, X, M, NONE, SSE2, NONE, L_ | NF_REG),
	R(0xd6, F2, M, X, NONE, SSE2, NONE, L_ | NF_REG),
	R(0xd7, NONE, G, M, NONE, SSE, NONE, L_ | NF_REG),
	R(0xd7, 66, G, X, NONE, SSE2, AVX, LV | NF_INT | NF_REG),
	INT(0xd8, MMX), INT(0xd9, MMX), INT(0xda, SSE), INT(0xdb, MMX), INT(0xdc, MMX),
	INT(0xdd, MMX), INT(0xde, SSE), INT(0xdf, MMX), INT(0xe0, SSE), SHIFT(0xe1), SHIFT(0xe2),
	INT(0xe3, SSE), INT(0xe4, SSE), INT(0xe5, MMX),
	R(0xe6, 66, X128, X, V, SSE2, AVX, LV | NF_FP),
	R(0xe6, F3, X, X128, V2, SSE2, AVX, LV),
	R(0xe6, F2, X128, X, V, SSE2, AVX, LV | NF_FP),
	R(0xe7, NONE, M, M, 8, SSE, NONE, L_ | NF_MEM | NF_STORE),
	R(0xe7, 66, X, X, V, SSE2, AVX, LV | NF_ALIGNED | NF_MEM | NF_STORE),
	INT(0xe8, MMX), INT(0xe9, MMX), INT(0xea, SSE), INT(0xeb, MMX), INT(0xec, MMX),
	INT(0xed, MMX), INT(0xee, SSE), INT(0xef, MMX),
	R(0xf0, F2, X, X, V, SSE3, AVX, LV | NF_UNALIGNED | NF_MEM),
	SHIFT(0xf1), SHIFT(0xf2), SHIFT(0xf3), INT(0xf4, SSE2), INT(0xf5, MMX), INT(0xf6, SSE),
	INT(0xf8, MMX), INT(0xf9, MMX), INT(0xfa, MMX), INT(0xfb, SSE2), INT(0xfc, MMX),
	INT(0xfd, MMX), INT(0xfe, MMX),
};

const unsigned native_forms_0f_count = G_N_ELEMENTS(native_forms_0f);
