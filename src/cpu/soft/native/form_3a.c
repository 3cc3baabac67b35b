/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Forms of map 0F3A: all have an immediate byte (SDM vol. 2, A.3). In opcode order. */
#include "cpu/soft/native/form_table.h"

#define R(op, pp, reg, rm, size, lf, vf, flags)                                                    \
	FORM(X86_MAP_0F3A, op, PP_##pp, O_##reg, O_##rm, S_##size, lf, vf, (flags) | NF_IMM)
#define STRING(op, flags)                                                                          \
	R(op, 66, X, X, 16, SSE42, AVX, LV | NF_L0 | NF_UNALIGNED | NF_TEST | NF_FLAGS | (flags))

const struct native_form native_forms_0f3a[] = {
	R(0x00, 66, X, X, V, NONE, AVX2, V_ | NF_L1 | NF_W1),
	R(0x01, 66, X, X, V, NONE, AVX2, V_ | NF_L1 | NF_W1),
	R(0x02, 66, X, X, V, NONE, AVX2, VN | NF_W0),
	R(0x04, 66, X, X, V, NONE, AVX, V_ | NF_W0),
	R(0x05, 66, X, X, V, NONE, AVX, V_ | NF_W0),
	R(0x06, 66, X, X, V, NONE, AVX, VN | NF_L1 | NF_W0),
	R(0x08, 66, X, X, V, SSE41, AVX, LV | NF_FP),
	R(0x09, 66, X, X, V, SSE41, AVX, LV | NF_FP),
	R(0x0a, 66, X, X, 4, SSE41, AVX, LVN | NF_FP | NF_LIG),
	R(0x0b, 66, X, X, 8, SSE41, AVX, LVN | NF_FP | NF_LIG),
	R(0x0c, 66, X, X, V, SSE41, AVX, LVN),
	R(0x0d, 66, X, X, V, SSE41, AVX, LVN),
	R(0x0e, 66, X, X, V, SSE41, AVX, LVN | NF_INT),
	R(0x0f, NONE, M, M, 8, SSSE3, NONE, L_),
	R(0x0f, 66, X, X, V, SSSE3, AVX, LVN | NF_INT),
	R(0x14, 66, X, G, 1, SSE41, AVX, LV | NF_L0 | NF_STORE),
	R(0x15, 66, X, G, 2, SSE41, AVX, LV | NF_L0 | NF_STORE),
	R(0x16, 66, X, G, W, SSE41, AVX, LV | NF_L0 | NF_STORE),
	R(0x17, 66, X, G, 4, SSE41, AVX, LV | NF_L0 | NF_STORE),
	R(0x18, 66, X, X128, 16, NONE, AVX, VN | NF_L1 | NF_W0),
	R(0x19, 66, X, X128, 16, NONE, AVX, V_ | NF_L1 | NF_W0 | NF_STORE),
	R(0x1d, 66, X, X128, V2, NONE, F16C, V_ | NF_W0 | NF_STORE | NF_FP),
	R(0x20, 66, X, G, 1, SSE41, AVX, LVN | NF_L0),
	R(0x21, 66, X, X, 4, SSE41, AVX, LVN | NF_L0),
	R(0x22, 66, X, G, W, SSE41, AVX, LVN | NF_L0),
	R(0x38, 66, X, X128, 16, NONE, AVX2, VN | NF_L1 | NF_W0),
	R(0x39, 66, X, X128, 16, NONE, AVX2, V_ | NF_L1 | NF_W0 | NF_STORE),
	R(0x40, 66, X, X, V, SSE41, AVX, LVN | NF_FP),
	R(0x41, 66, X, X, V, SSE41, AVX, LVN | NF_FP | NF_L0),
	R(0x42, 66, X, X, V, SSE41, AVX, LVN | NF_INT),
	R(0x44, 66, X, X, V, PCLMUL, PCLMUL, LVN),
	R(0x46, 66, X, X, V, NONE, AVX2, VN | NF_L1 | NF_W0),
	R(0x4a, 66, X, X, V, NONE, AVX, VN | NF_W0 | NF_IS4),
	R(0x4b, 66, X, X, V, NONE, AVX, VN | NF_W0 | NF_IS4),
	R(0x4c, 66, X, X, V, NONE, AVX, VN | NF_W0 | NF_IS4 | NF_INT),
	STRING(0x60, NF_ESTR | F_TO_XMM0), STRING(0x61, NF_ESTR | F_TO_RCX),
	STRING(0x62, F_TO_XMM0), STRING(0x63, F_TO_RCX),
	R(0xcc, NONE, X, X, 16, SHA, NONE, L_),
	R(0xce, 66, X, X, V, GFNI, NONE, L_),
	R(0xce, 66, X, X, V, NONE, GFNI, VN | NF_W1),
	R(0xcf, 66, X, X, V, GFNI, NONE, L_),
	R(0xcf, 66, X, X, V, NONE, GFNI, VN | NF_W1),
	R(0xdf, 66, X, X, V, AES, AES, LV | NF_L0),
};

const unsigned native_forms_0f3a_count = G_N_ELEMENTS(native_forms_0f3a);
