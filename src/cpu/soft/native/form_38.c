/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Forms of map 0F38: SSSE3, SSE4, AES, SHA, AVX2, FMA, F16C, AVX-VNNI (SDM vol. 2, A.3). */
#include "cpu/soft/native/form_table.h"

#define R(op, pp, reg, rm, size, lf, vf, flags)                                                    \
	FORM(X86_MAP_0F38, op, PP_##pp, O_##reg, O_##rm, S_##size, lf, vf, flags)
#define SSSE3(op)                                                                                  \
	R(op, NONE, M, M, 8, SSSE3, NONE, L_), R(op, 66, X, X, V, SSSE3, AVX, LVN | NF_INT)
#define PABS(op)                                                                                   \
	R(op, NONE, M, M, 8, SSSE3, NONE, L_), R(op, 66, X, X, V, SSSE3, AVX, LV | NF_INT)
#define SSE41(op) R(op, 66, X, X, V, SSE41, AVX, LVN | NF_INT)
#define EXTEND(op, size) R(op, 66, X, X128, size, SSE41, AVX, LV | NF_INT)
#define AVX2(op, flags) R(op, 66, X, X, V, NONE, AVX2, VN | (flags))
#define FMA_P(op)                                                                                  \
	R(op, 66, X, X, V, NONE, FMA, VN | NF_RMW | NF_FP)
#define FMA_S(op)                                                                                  \
	R(op, 66, X, X, W, NONE, FMA, VN | NF_RMW | NF_FP | NF_LIG)
#define FMA_ROW(x)                                                                                 \
	FMA_P(x + 0x6), FMA_P(x + 0x7), FMA_P(x + 0x8), FMA_S(x + 0x9), FMA_P(x + 0xa),            \
	FMA_S(x + 0xb), FMA_P(x + 0xc), FMA_S(x + 0xd), FMA_P(x + 0xe), FMA_S(x + 0xf)
#define SHA(op, flags) R(op, NONE, X, X, 16, SHA, NONE, L_ | (flags))
#define AES(op) R(op, 66, X, X, V, AES, AES, LVN)
#define VNNI(op) R(op, 66, X, X, V, NONE, AVXVNNI, VN | NF_RMW | NF_W0)

const struct native_form native_forms_0f38[] = {
	SSSE3(0x00), SSSE3(0x01), SSSE3(0x02), SSSE3(0x03), SSSE3(0x04), SSSE3(0x05), SSSE3(0x06),
	SSSE3(0x07), SSSE3(0x08), SSSE3(0x09), SSSE3(0x0a), SSSE3(0x0b),
	R(0x0c, 66, X, X, V, NONE, AVX, VN | NF_W0),
	R(0x0d, 66, X, X, V, NONE, AVX, VN | NF_W0),
	R(0x0e, 66, X, X, V, NONE, AVX, V_ | NF_W0 | NF_TEST | NF_FLAGS),
	R(0x0f, 66, X, X, V, NONE, AVX, V_ | NF_W0 | NF_TEST | NF_FLAGS),
	R(0x10, 66, X, X, V, SSE41, NONE, L_ | NF_XMM0),
	R(0x13, 66, X, X128, V2, NONE, F16C, V_ | NF_W0 | NF_FP),
	R(0x14, 66, X, X, V, SSE41, NONE, L_ | NF_XMM0),
	R(0x15, 66, X, X, V, SSE41, NONE, L_ | NF_XMM0),
	AVX2(0x16, NF_L1 | NF_W0),
	R(0x17, 66, X, X, V, SSE41, AVX, LV | NF_TEST | NF_FLAGS),
	R(0x18, 66, X, X128, 4, NONE, AVX, V_ | NF_W0 | NF_MEM),
	R(0x18, 66, X, X128, 4, NONE, AVX2, V_ | NF_W0 | NF_REG),
	R(0x19, 66, X, X128, 8, NONE, AVX, V_ | NF_W0 | NF_L1 | NF_MEM),
	R(0x19, 66, X, X128, 8, NONE, AVX2, V_ | NF_W0 | NF_L1 | NF_REG),
	R(0x1a, 66, X, X128, 16, NONE, AVX, V_ | NF_W0 | NF_L1 | NF_MEM),
	PABS(0x1c), PABS(0x1d), PABS(0x1e),
	EXTEND(0x20, V2), EXTEND(0x21, V4), EXTEND(0x22, V8), EXTEND(0x23, V2), EXTEND(0x24, V4),
	EXTEND(0x25, V2),
	SSE41(0x28), SSE41(0x29),
	R(0x2a, 66, X, X, V, SSE41, AVX, LV | NF_INT | NF_MEM | NF_ALIGNED),
	SSE41(0x2b),
	EXTEND(0x30, V2), EXTEND(0x31, V4), EXTEND(0x32, V8), EXTEND(0x33, V2), EXTEND(0x34, V4),
	EXTEND(0x35, V2),
	AVX2(0x36, NF_L1 | NF_W0),
	R(0x37, 66, X, X, V, SSE42, AVX, LVN | NF_INT),
	SSE41(0x38), SSE41(0x39), SSE41(0x3a), SSE41(0x3b), SSE41(0x3c), SSE41(0x3d), SSE41(0x3e),
	SSE41(0x3f), SSE41(0x40),
	R(0x41, 66, X, X, V, SSE41, AVX, LV | NF_L0),
	AVX2(0x45, 0), AVX2(0x46, NF_W0), AVX2(0x47, 0),
	VNNI(0x50), VNNI(0x51), VNNI(0x52), VNNI(0x53),
	R(0x58, 66, X, X128, 4, NONE, AVX2, V_ | NF_W0),
	R(0x59, 66, X, X128, 8, NONE, AVX2, V_ | NF_W0),
	R(0x5a, 66, X, X128, 16, NONE, AVX2, V_ | NF_W0 | NF_L1 | NF_MEM),
	R(0x78, 66, X, X128, 1, NONE, AVX2, V_ | NF_W0),
	R(0x79, 66, X, X128, 2, NONE, AVX2, V_ | NF_W0),
	FMA_ROW(0x90), FMA_ROW(0xa0), FMA_ROW(0xb0),
	SHA(0xc8, 0), SHA(0xc9, 0), SHA(0xca, 0), SHA(0xcb, NF_XMM0), SHA(0xcc, 0), SHA(0xcd, 0),
	R(0xcf, 66, X, X, V, GFNI, GFNI, L_),
	R(0xcf, 66, X, X, V, GFNI, GFNI, VN | NF_W0),
	R(0xdb, 66, X, X, V, AES, AES, LV | NF_L0),
	AES(0xdc), AES(0xdd), AES(0xde), AES(0xdf),
};

const unsigned native_forms_0f38_count = G_N_ELEMENTS(native_forms_0f38);
