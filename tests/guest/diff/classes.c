/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The classes. A pattern is a range of opcodes; those that the decoder's tables do not have are
 * skipped. Nothing here may reach the host's kernel (SYSCALL, INT 80) or read what differs by
 * nature (CPUID, RDTSC, RDRAND).
 */
#include "classes.h"

#include "cpu/x86/insn.h"

#include <glib.h>

#define M1 X86_MAP_1
#define M0F X86_MAP_0F
#define M38 X86_MAP_0F38
#define M3A X86_MAP_0F3A
#define CLASS32(name_, list)                                                                       \
	{ .name = name_, .patterns = list, .count = G_N_ELEMENTS(list), .bits32 = true }
#define CLASS(name_, list) { .name = name_, .patterns = list, .count = G_N_ELEMENTS(list) }

static const struct gen_pattern alu[] = {
	{ M1, 0x00, 0x05, 0, GEN_INT }, { M1, 0x08, 0x0d, 0, GEN_INT },
	{ M1, 0x10, 0x15, 0, GEN_INT },
	{ M1, 0x18, 0x1d, 0, GEN_INT }, { M1, 0x20, 0x25, 0, GEN_INT },
	{ M1, 0x28, 0x2d, 0, GEN_INT },
	{ M1, 0x30, 0x35, 0, GEN_INT }, { M1, 0x38, 0x3d, 0, GEN_INT },
	{ M1, 0x63, 0x63, 0, GEN_INT },
	{ M1, 0x80, 0x81, 0, GEN_INT }, { M1, 0x83, 0x8b, 0, GEN_INT },
	{ M1, 0x8d, 0x8d, 0, GEN_INT },
	{ M1, 0x90, 0x99, 0, GEN_INT }, { M1, 0x9e, 0x9f, 0, GEN_INT },
	{ M1, 0xa8, 0xa9, 0, GEN_INT },
	{ M1, 0xb0, 0xbf, 0, GEN_INT }, { M1, 0xc6, 0xc7, 1, GEN_INT },
	{ M1, 0xf5, 0xf5, 0, GEN_INT },
	{ M1, 0xf6, 0xf7, 0x0f, GEN_INT }, { M1, 0xf8, 0xf9, 0, GEN_INT },
	{ M1, 0xfc, 0xfd, 0, GEN_INT }, { M1, 0xfe, 0xff, 3, GEN_INT },
	{ M1, 0xd7, 0xd7, 0, GEN_INT | GEN_XLAT },
	{ M0F, 0x1f, 0x1f, 0, GEN_INT }, { M0F, 0x40, 0x4f, 0, GEN_INT },
	{ M0F, 0x90, 0x9f, 0, GEN_INT }, { M0F, 0xb0, 0xb1, 0, GEN_INT },
	{ M0F, 0xb6, 0xb7, 0, GEN_INT }, { M0F, 0xbe, 0xbf, 0, GEN_INT },
	{ M0F, 0xc0, 0xc1, 0, GEN_INT }, { M0F, 0xc7, 0xc7, 2, GEN_INT | GEN_MEM },
	{ M0F, 0xc8, 0xcf, 0, GEN_INT }, { M0F, 0x0b, 0x0b, 0, GEN_INT },
	{ M0F, 0xb9, 0xb9, 0, GEN_INT }, { M0F, 0xc3, 0xc3, 0, GEN_INT | GEN_MEM },
	{ M38, 0xf0, 0xf1, 0, GEN_INT | GEN_MEM }, { M38, 0xf0, 0xf1, 0, GEN_F2 | GEN_INT },
};

static const struct gen_pattern shift[] = {
	{ M1, 0xc0, 0xc1, 0, GEN_INT }, { M1, 0xd0, 0xd3, 0, GEN_INT },
	{ M0F, 0xa3, 0xa5, 0, GEN_INT | GEN_BITS }, { M0F, 0xab, 0xad, 0, GEN_INT | GEN_BITS },
	{ M0F, 0xb3, 0xb3, 0, GEN_INT | GEN_BITS }, { M0F, 0xbb, 0xbb, 0, GEN_INT | GEN_BITS },
	{ M0F, 0xba, 0xba, 0xf0, GEN_INT }, { M0F, 0xbc, 0xbd, 0, GEN_INT },
	{ M0F, 0xb8, 0xb8, 0, GEN_F3 | GEN_INT }, { M0F, 0xbc, 0xbd, 0, GEN_F3 | GEN_INT },
};

/* What sequences take of it: no flag or register comes out undefined. */
static const struct gen_pattern plain_shift[] = {
	{ M1, 0xc0, 0xc1, 0xf0, GEN_INT }, { M1, 0xd0, 0xd3, 0xf0, GEN_INT },
	{ M0F, 0xbc, 0xbd, 0, GEN_INT }, { M0F, 0xb8, 0xb8, 0, GEN_F3 | GEN_INT },
	{ M0F, 0xba, 0xba, 0xf0, GEN_INT },
};

/* What compilers put before a conditional jump, and engines fuse with it. */
static const struct gen_pattern compare[] = {
	{ M1, 0x38, 0x3d, 0, GEN_INT }, { M1, 0x38, 0x3d, 0, GEN_INT },
	{ M1, 0x80, 0x81, 0x80, GEN_INT },
	{ M1, 0x83, 0x83, 0x80, GEN_INT }, { M1, 0x84, 0x85, 0, GEN_INT },
	{ M1, 0xa8, 0xa9, 0, GEN_INT },
	{ M1, 0xf6, 0xf7, 1, GEN_INT }, { M1, 0x28, 0x2d, 0, GEN_INT },
	{ M1, 0x00, 0x05, 0, GEN_INT },
	{ M1, 0x20, 0x25, 0, GEN_INT }, { M1, 0xfe, 0xff, 3, GEN_INT },
	{ M1, 0x83, 0x83, 0xb1, GEN_INT },
};

static const struct gen_pattern muldiv[] = {
	{ M1, 0xf6, 0xf7, 0x30, GEN_INT }, { M1, 0xf6, 0xf7, 0xc0, GEN_INT | GEN_DIVIDE },
	{ M1, 0x69, 0x69, 0, GEN_INT }, { M1, 0x6b, 0x6b, 0, GEN_INT },
	{ M0F, 0xaf, 0xaf, 0, GEN_INT },
};

static const struct gen_pattern bmi[] = {
	{ M38, 0xf2, 0xf3, 0, GEN_VEX | GEN_NONE }, { M38, 0xf5, 0xf5, 0, GEN_VEX | GEN_PP },
	{ M38, 0xf6, 0xf6, 0, GEN_VEX | GEN_F2 }, { M38, 0xf7, 0xf7, 0, GEN_VEX | GEN_PP },
	{ M3A, 0xf0, 0xf0, 0, GEN_VEX | GEN_F2 }, { M38, 0xf6, 0xf6, 0, GEN_66 },
	{ M38, 0xf6, 0xf6, 0, GEN_F3 },
};

static const struct gen_pattern string[] = {
	{ M1, 0xa4, 0xa7, 0, GEN_INT | GEN_REP | GEN_STRING },
	{ M1, 0xaa, 0xaf, 0, GEN_INT | GEN_REP | GEN_STRING },
};

static const struct gen_pattern control[] = {
	{ M1, 0x70, 0x7f, 0, GEN_BRANCH }, { M0F, 0x80, 0x8f, 0, GEN_BRANCH },
	{ M1, 0xe0, 0xe3, 0, GEN_BRANCH }, { M1, 0xe8, 0xe9, 0, GEN_BRANCH | GEN_STACK },
	{ M1, 0xeb, 0xeb, 0, GEN_BRANCH }, { M1, 0xff, 0xff, 0x14, GEN_INDIRECT | GEN_STACK },
	{ M1, 0xc2, 0xc3, 0, GEN_RETURN | GEN_STACK },
};

static const struct gen_pattern stack[] = {
	{ M1, 0x50, 0x5f, 0, GEN_INT | GEN_STACK }, { M1, 0x68, 0x68, 0, GEN_INT | GEN_STACK },
	{ M1, 0x6a, 0x6a, 0, GEN_INT | GEN_STACK }, { M1, 0x8f, 0x8f, 1, GEN_INT | GEN_STACK },
	{ M1, 0xff, 0xff, 0x40, GEN_INT | GEN_STACK }, { M1, 0xc8, 0xc9, 0, GEN_INT | GEN_STACK },
	{ M1, 0x9c, 0x9d, 0, GEN_INT | GEN_STACK },
};

static const struct gen_pattern atomic[] = {
	{ M1, 0x00, 0x01, 0, GEN_INT | GEN_LOCK }, { M1, 0x08, 0x09, 0, GEN_INT | GEN_LOCK },
	{ M1, 0x10, 0x11, 0, GEN_INT | GEN_LOCK }, { M1, 0x18, 0x19, 0, GEN_INT | GEN_LOCK },
	{ M1, 0x20, 0x21, 0, GEN_INT | GEN_LOCK }, { M1, 0x28, 0x29, 0, GEN_INT | GEN_LOCK },
	{ M1, 0x30, 0x31, 0, GEN_INT | GEN_LOCK }, { M1, 0x80, 0x81, 0, GEN_INT | GEN_LOCK },
	{ M1, 0x83, 0x83, 0, GEN_INT | GEN_LOCK }, { M1, 0x86, 0x87, 0, GEN_INT | GEN_LOCK },
	{ M1, 0xf6, 0xf7, 0x0c, GEN_INT | GEN_LOCK }, { M1, 0xfe, 0xff, 3, GEN_INT | GEN_LOCK },
	{ M0F, 0xab, 0xab, 0, GEN_INT | GEN_LOCK | GEN_BITS },
	{ M0F, 0xb3, 0xb3, 0, GEN_INT | GEN_LOCK | GEN_BITS },
	{ M0F, 0xbb, 0xbb, 0, GEN_INT | GEN_LOCK | GEN_BITS },
	{ M0F, 0xba, 0xba, 0xe0, GEN_INT | GEN_LOCK }, { M0F, 0xb0, 0xb1, 0, GEN_INT | GEN_LOCK },
	{ M0F, 0xc0, 0xc1, 0, GEN_INT | GEN_LOCK }, { M0F, 0xc7, 0xc7, 2, GEN_INT | GEN_LOCK },
};

/* What 64-bit mode has not. */
static const struct gen_pattern only32[] = {
	{ M1, 0x27, 0x27, 0, GEN_INT }, { M1, 0x2f, 0x2f, 0, GEN_INT },
	{ M1, 0x37, 0x37, 0, GEN_INT },
	{ M1, 0x3f, 0x4f, 0, GEN_INT }, { M1, 0x82, 0x82, 0, GEN_INT },
	{ M1, 0xd4, 0xd5, 0, GEN_INT },
	{ M1, 0x60, 0x61, 0, GEN_INT | GEN_STACK }, { M1, 0xa0, 0xa3, 0, GEN_INT },
	{ M1, 0x62, 0x62, 0, GEN_INT | GEN_MEM },
};

/* Without the decimal ones, most of whose flags are undefined. */
static const struct gen_pattern plain32[] = {
	{ M1, 0x40, 0x4f, 0, GEN_INT }, { M1, 0x82, 0x82, 0, GEN_INT },
};

static const struct gen_pattern x87[] = {
	{ M1, 0xd8, 0xdf, 0, GEN_SIMD }, { M1, 0xd8, 0xdf, 0, GEN_SIMD | GEN_REG },
	{ M1, 0xd9, 0xd9, 0, GEN_SIMD | GEN_REG },
};

/* What sequences take of it: nothing that shows the last operand's address. */
static const struct gen_pattern plain_x87[] = {
	{ M1, 0xd8, 0xd8, 0, GEN_SIMD }, { M1, 0xda, 0xdc, 0, GEN_SIMD },
	{ M1, 0xde, 0xdf, 0, GEN_SIMD }, { M1, 0xd9, 0xd9, 0xaf, GEN_SIMD },
	{ M1, 0xdd, 0xdd, 0xaf, GEN_SIMD },
};

static const struct gen_pattern mmx[] = {
	{ M0F, 0x60, 0x6f, 0, GEN_SIMD | GEN_NONE }, { M0F, 0x70, 0x77, 0, GEN_SIMD | GEN_NONE },
	{ M0F, 0x7e, 0x7f, 0, GEN_SIMD | GEN_NONE }, { M0F, 0xc4, 0xc5, 0, GEN_SIMD | GEN_NONE },
	{ M0F, 0xd0, 0xf6, 0, GEN_SIMD | GEN_NONE }, { M0F, 0xf8, 0xfe, 0, GEN_SIMD | GEN_NONE },
	{ M0F, 0xf7, 0xf7, 0, GEN_SIMD | GEN_NONE | GEN_RDI },
	{ M38, 0x00, 0x0b, 0, GEN_SIMD | GEN_NONE }, { M38, 0x1c, 0x1e, 0, GEN_SIMD | GEN_NONE },
	{ M3A, 0x0f, 0x0f, 0, GEN_SIMD | GEN_NONE },
	{ M0F, 0x2a, 0x2a, 0, GEN_SIMD | GEN_NONE | GEN_66 },
	{ M0F, 0x2c, 0x2d, 0, GEN_SIMD | GEN_NONE | GEN_66 },
	{ M0F, 0xd6, 0xd6, 0, GEN_SIMD | GEN_F2 | GEN_F3 },
};

static const struct gen_pattern sse[] = {
	{ M0F, 0x10, 0x17, 0, GEN_SIMD | GEN_PP }, { M0F, 0x28, 0x2f, 0, GEN_SIMD | GEN_PP },
	{ M0F, 0x50, 0x5f, 0, GEN_SIMD | GEN_PP },
	{ M0F, 0x51, 0x51, 0, GEN_SIMD | GEN_PP }, { M0F, 0x58, 0x5f, 0, GEN_SIMD | GEN_PP },
	{ M0F, 0x60, 0x6f, 0, GEN_SIMD | GEN_66 },
	{ M0F, 0x6f, 0x73, 0, GEN_SIMD | GEN_66 | GEN_F3 },
	{ M0F, 0x70, 0x76, 0, GEN_SIMD | GEN_PP }, { M0F, 0x7c, 0x7f, 0, GEN_SIMD | GEN_PP },
	{ M0F, 0xc2, 0xc2, 0, GEN_SIMD | GEN_PP }, { M0F, 0xc4, 0xc6, 0, GEN_SIMD | GEN_66 },
	{ M0F, 0xc6, 0xc6, 0, GEN_SIMD | GEN_PP }, { M0F, 0xd0, 0xf6, 0, GEN_SIMD | GEN_66 },
	{ M0F, 0xf8, 0xfe, 0, GEN_SIMD | GEN_66 }, { M0F, 0xd0, 0xd0, 0, GEN_SIMD | GEN_F2 },
	{ M0F, 0xe6, 0xe6, 0, GEN_SIMD | GEN_PP }, { M0F, 0xf0, 0xf0, 0, GEN_SIMD | GEN_F2 },
	{ M0F, 0xf7, 0xf7, 0, GEN_SIMD | GEN_66 | GEN_RDI },
};

static const struct gen_pattern sse4[] = {
	{ M38, 0x00, 0x1f, 0, GEN_SIMD | GEN_66 }, { M38, 0x20, 0x41, 0, GEN_SIMD | GEN_66 },
	{ M3A, 0x08, 0x0f, 0, GEN_SIMD | GEN_66 }, { M3A, 0x14, 0x17, 0, GEN_SIMD | GEN_66 },
	{ M3A, 0x20, 0x22, 0, GEN_SIMD | GEN_66 }, { M3A, 0x40, 0x44, 0, GEN_SIMD | GEN_66 },
	{ M3A, 0x60, 0x63, 0, GEN_SIMD | GEN_66 }, { M38, 0x00, 0x41, 0, GEN_SIMD | GEN_PP },
	{ M3A, 0x00, 0x63, 0, GEN_SIMD | GEN_PP },
};

static const struct gen_pattern avx[] = {
	{ M0F, 0x10, 0x17, 0, GEN_SIMD | GEN_VEX | GEN_PP },
	{ M0F, 0x28, 0x2f, 0, GEN_SIMD | GEN_VEX | GEN_PP },
	{ M0F, 0x50, 0x5f, 0, GEN_SIMD | GEN_VEX | GEN_PP },
	{ M0F, 0x58, 0x5f, 0, GEN_SIMD | GEN_VEX | GEN_PP },
	{ M0F, 0x60, 0x7f, 0, GEN_SIMD | GEN_VEX | GEN_66 },
	{ M0F, 0x60, 0x7f, 0, GEN_SIMD | GEN_VEX | GEN_PP },
	{ M0F, 0xc2, 0xc6, 0, GEN_SIMD | GEN_VEX | GEN_PP },
	{ M0F, 0xd0, 0xf6, 0, GEN_SIMD | GEN_VEX | GEN_66 },
	{ M0F, 0xf8, 0xfe, 0, GEN_SIMD | GEN_VEX | GEN_66 },
	{ M0F, 0xd0, 0xf6, 0, GEN_SIMD | GEN_VEX | GEN_PP },
	{ M0F, 0xf7, 0xf7, 0, GEN_SIMD | GEN_VEX | GEN_66 | GEN_RDI },
};

static const struct gen_pattern avx2[] = {
	{ M38, 0x00, 0x0f, 0, GEN_SIMD | GEN_VEX | GEN_66 },
	{ M38, 0x13, 0x5a, 0, GEN_SIMD | GEN_VEX | GEN_66 },
	{ M38, 0x78, 0x79, 0, GEN_SIMD | GEN_VEX | GEN_66 },
	{ M38, 0x2c, 0x2f, 0, GEN_SIMD | GEN_VEX | GEN_66 | GEN_MEM },
	{ M38, 0x8c, 0x8e, 0, GEN_SIMD | GEN_VEX | GEN_66 | GEN_MEM },
	{ M38, 0x90, 0x93, 0, GEN_SIMD | GEN_VEX | GEN_66 | GEN_MEM | GEN_VSIB },
	{ M3A, 0x00, 0x4c, 0, GEN_SIMD | GEN_VEX | GEN_66 },
	{ M3A, 0x60, 0x63, 0, GEN_SIMD | GEN_VEX | GEN_66 },
};

static const struct gen_pattern fused[] = {
	{ M38, 0x96, 0x9f, 0, GEN_SIMD | GEN_VEX | GEN_66 },
	{ M38, 0xa6, 0xaf, 0, GEN_SIMD | GEN_VEX | GEN_66 },
	{ M38, 0xb6, 0xbf, 0, GEN_SIMD | GEN_VEX | GEN_66 },
	{ M38, 0x13, 0x13, 0, GEN_SIMD | GEN_VEX | GEN_66 },
	{ M3A, 0x1d, 0x1d, 0, GEN_SIMD | GEN_VEX | GEN_66 },
};

static const struct gen_pattern crypto[] = {
	{ M38, 0xdb, 0xdf, 0, GEN_SIMD | GEN_66 }, { M38, 0xc8, 0xcd, 0, GEN_SIMD | GEN_NONE },
	{ M3A, 0xcc, 0xcc, 0, GEN_SIMD | GEN_NONE }, { M3A, 0xdf, 0xdf, 0, GEN_SIMD | GEN_66 },
	{ M3A, 0x44, 0x44, 0, GEN_SIMD | GEN_66 },
	{ M38, 0xdb, 0xdf, 0, GEN_SIMD | GEN_VEX | GEN_66 },
	{ M3A, 0xdf, 0xdf, 0, GEN_SIMD | GEN_VEX | GEN_66 },
	{ M3A, 0x44, 0x44, 0, GEN_SIMD | GEN_VEX | GEN_66 },
	{ M38, 0xcf, 0xcf, 0, GEN_SIMD | GEN_66 }, { M3A, 0xce, 0xcf, 0, GEN_SIMD | GEN_66 },
	{ M38, 0xcf, 0xcf, 0, GEN_SIMD | GEN_VEX | GEN_66 },
	{ M3A, 0xce, 0xcf, 0, GEN_SIMD | GEN_VEX | GEN_66 },
};

static const struct gen_pattern state[] = {
	{ M0F, 0xae, 0xae, 0x33, GEN_SIMD | GEN_STATE | GEN_MEM },
	{ M0F, 0xae, 0xae, 0x0c, GEN_SIMD | GEN_MEM },
	{ M0F, 0xc7, 0xc7, 0x10, GEN_SIMD | GEN_STATE | GEN_MEM },
	{ M0F, 0xae, 0xae, 0x0c, GEN_SIMD | GEN_MEM | GEN_VEX | GEN_NONE },
	{ M1, 0xd9, 0xd9, 0xf0, GEN_SIMD | GEN_MEM | GEN_INT },
	{ M1, 0xdd, 0xdd, 0xd0, GEN_SIMD | GEN_MEM | GEN_INT }, { M1, 0x9b, 0x9b, 0, GEN_SIMD },
	{ M0F, 0x77, 0x77, 0, GEN_SIMD | GEN_NONE },
	{ M0F, 0x77, 0x77, 0, GEN_SIMD | GEN_VEX | GEN_NONE },
};

#define SEQUENCE32(name_, ...) \
	{ .name = name_, .bits32 = true, .parts = (const char *const[]){ __VA_ARGS__, NULL } }
#define FLOW32(name_, patches_, ...)                                                               \
	{ .name = name_, .bits32 = true, .flow = true, .patches = patches_,                        \
	  .parts = (const char *const[]){ __VA_ARGS__, NULL } }
#define FLOW(name_, patches_, ...)                                                                 \
	{ .name = name_, .flow = true, .patches = patches_,                                        \
	  .parts = (const char *const[]){ __VA_ARGS__, NULL } }
#define POINTERS(name_, flow_, ...)                                                                \
	{ .name = name_, .flow = flow_, .pointers = true,                                          \
	  .parts = (const char *const[]){ __VA_ARGS__, NULL } }
#define FRAMES(name_, flow_, ...)                                                                  \
	{ .name = name_, .flow = flow_, .pointers = true, .frames = true,                          \
	  .parts = (const char *const[]){ __VA_ARGS__, NULL } }
#define SEQUENCE(name_, ...) \
	{ .name = name_, .parts = (const char *const[]){ __VA_ARGS__, NULL } }

const struct diff_class diff_classes[] = {
	CLASS("alu", alu), CLASS("shift", shift), CLASS("muldiv", muldiv), CLASS("bmi", bmi),
	CLASS("string", string), CLASS("control", control), CLASS("stack", stack),
	CLASS("atomic", atomic), CLASS("x87", x87), CLASS("mmx", mmx), CLASS("sse", sse),
	CLASS("sse4", sse4), CLASS("avx", avx), CLASS("avx2", avx2), CLASS("fma", fused),
	CLASS("crypto", crypto), CLASS("state", state), CLASS("plain-shift", plain_shift),
	CLASS("plain-x87", plain_x87),
	CLASS32("only32", only32), CLASS32("alu32", alu), CLASS32("shift32", shift),
	CLASS32("muldiv32", muldiv), CLASS32("bmi32", bmi), CLASS32("string32", string),
	CLASS32("control32", control), CLASS32("stack32", stack), CLASS32("atomic32", atomic),
	CLASS32("x87-32", x87), CLASS32("sse32", sse), CLASS32("sse4-32", sse4),
	CLASS32("avx32", avx), CLASS32("avx2-32", avx2), CLASS32("state32", state),
	CLASS("compare", compare), CLASS32("plain32", plain32), SEQUENCE("compare-jump", "compare"),
	SEQUENCE32("compare-jump32", "compare"),
	SEQUENCE32("mix32", "alu", "alu", "plain-shift", "muldiv", "plain32"),
	SEQUENCE("mix", "alu", "alu", "plain-shift", "muldiv", "bmi"),
	SEQUENCE("simd-mix", "sse", "sse", "sse4", "avx", "avx2", "crypto", "alu"),
	SEQUENCE("fp-mix", "plain-x87", "plain-x87", "mmx", "sse", "alu", "fma"),
	FLOW("flow", false, "alu", "compare", "plain-shift", "bmi", "sse"),
	FLOW32("flow32", false, "alu", "compare", "plain-shift", "plain32", "sse"),
	POINTERS("pointer", false, "alu", "alu", "plain-shift", "muldiv", "bmi"),
	POINTERS("pointer-flow", true, "alu", "plain-shift", "bmi", "sse", "avx", "avx2"),
	FRAMES("frame", false, "alu", "plain-shift"), FRAMES("frame-flow", true, "alu", "compare", "bmi"),
	FLOW("patch", true, "alu", "compare"), FLOW32("patch32", true, "alu", "compare"),
};
const unsigned diff_class_count = G_N_ELEMENTS(diff_classes);
