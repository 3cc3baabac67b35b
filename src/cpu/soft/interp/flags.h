/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arithmetic with x86 flags: the host executes the same instruction and its flags are taken with
 * LAHF and SETO, so that defined and undefined flags alike are those of a real CPU.
 *
 * Each alu_*() computes on the low `size` bytes (1, 2, 4, 8; constants fold the switch away), takes
 * and updates *flags (arithmetic bits at their EFLAGS positions, nothing else) and returns the
 * result zero-extended.
 */
#pragma once

#include "cpu/x86/state.h"

#include <stdbool.h>
#include <stdint.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* AH after LAHF and AL after SETO, to EFLAGS positions. */
ALWAYS_INLINE uint64_t flags_pack(uint32_t ax)
{
	return ((ax & 0xd500) >> 8) | ((ax & 1) << 11);
}

#define FLAGS_TAKE "\n\tlahf\n\tseto %%al"
/* CF before an instruction that uses it. */
#define FLAGS_CF   "btl $0, %[f]\n\t"

#define ALU_BINARY_CASE(T, pre, text)                                                              \
	{                                                                                          \
		T r_ = (T)d;                                                                       \
		__asm__(pre text " %[s], %[r]" FLAGS_TAKE                                          \
			: [r] "+r"(r_), "=a"(ax)                                                   \
			: [s] "r"((T)s), [f] "r"((uint32_t)*flags)                                 \
			: "cc");                                                                   \
		d = r_;                                                                            \
		break;                                                                             \
	}

#define ALU_BINARY(name, pre, text)                                                                \
	ALWAYS_INLINE uint64_t alu_##name(uint64_t *flags, uint64_t d, uint64_t s, unsigned size)  \
	{                                                                                          \
		uint32_t ax = 0;                                                                   \
		switch (size) {                                                                    \
		case 1: ALU_BINARY_CASE(uint8_t, pre, text "b")                                    \
		case 2: ALU_BINARY_CASE(uint16_t, pre, text "w")                                   \
		case 4: ALU_BINARY_CASE(uint32_t, pre, text "l")                                   \
		default: ALU_BINARY_CASE(uint64_t, pre, text "q")                                  \
		}                                                                                  \
		*flags = flags_pack(ax);                                                           \
		return d;                                                                          \
	}

ALU_BINARY(add, "", "add")
ALU_BINARY(or, "", "or")
ALU_BINARY(adc, FLAGS_CF, "adc")
ALU_BINARY(sbb, FLAGS_CF, "sbb")
ALU_BINARY(and, "", "and")
ALU_BINARY(sub, "", "sub")
ALU_BINARY(xor, "", "xor")

/* CMP and TEST leave their operand alone: like SUB and AND without a result. */
ALWAYS_INLINE uint64_t alu_cmp(uint64_t *flags, uint64_t d, uint64_t s, unsigned size)
{
	alu_sub(flags, d, s, size);
	return d;
}

ALWAYS_INLINE uint64_t alu_test(uint64_t *flags, uint64_t d, uint64_t s, unsigned size)
{
	alu_and(flags, d, s, size);
	return d;
}

#define ALU_UNARY_CASE(T, text)                                                                    \
	{                                                                                          \
		T r_ = (T)d;                                                                       \
		__asm__(text " %[r]" FLAGS_TAKE : [r] "+r"(r_), "=a"(ax) : : "cc");                \
		d = r_;                                                                            \
		break;                                                                             \
	}

/* `keep` are flags that the instruction does not touch. */
#define ALU_UNARY(name, text, keep)                                                                \
	ALWAYS_INLINE uint64_t alu_##name(uint64_t *flags, uint64_t d, uint64_t s, unsigned size)  \
	{                                                                                          \
		uint32_t ax = 0;                                                                   \
		switch (size) {                                                                    \
		case 1: ALU_UNARY_CASE(uint8_t, text "b")                                          \
		case 2: ALU_UNARY_CASE(uint16_t, text "w")                                         \
		case 4: ALU_UNARY_CASE(uint32_t, text "l")                                         \
		default: ALU_UNARY_CASE(uint64_t, text "q")                                        \
		}                                                                                  \
		*flags = (*flags & (keep)) | (flags_pack(ax) & ~(uint64_t)(keep));                 \
		return d;                                                                          \
	}

ALU_UNARY(inc, "inc", X86_FLAG_CF)
ALU_UNARY(dec, "dec", X86_FLAG_CF)
ALU_UNARY(neg, "neg", 0)

ALWAYS_INLINE uint64_t alu_not(uint64_t *flags, uint64_t d, uint64_t s, unsigned size)
{
	return ~d;
}

ALWAYS_INLINE uint64_t alu_mov(uint64_t *flags, uint64_t d, uint64_t s, unsigned size)
{
	return s;
}

#define ALU_SHIFT_CASE(T, pre, text)                                                               \
	{                                                                                          \
		T r_ = (T)d;                                                                       \
		__asm__(pre text " %%cl, %[r]" FLAGS_TAKE                                          \
			: [r] "+r"(r_), "=a"(ax)                                                   \
			: "c"((uint8_t)s), [f] "r"((uint32_t)*flags)                               \
			: "cc");                                                                   \
		d = r_;                                                                            \
		break;                                                                             \
	}

/*
 * Shifts and rotates by s. A count of 0 (masked to 5 or 6 bits) changes no flag, and rotates change
 * only CF and OF; those through the carry start from it. OF is written for any count but 0.
 */
#define ALU_SHIFT(name, pre, text, changed)                                                        \
	ALWAYS_INLINE uint64_t alu_##name(uint64_t *flags, uint64_t d, uint64_t s, unsigned size)  \
	{                                                                                          \
		uint32_t ax = 0;                                                                   \
		if ((s & (size == 8 ? 63 : 31)) == 0)                                              \
			return d;                                                                  \
		switch (size) {                                                                    \
		case 1: ALU_SHIFT_CASE(uint8_t, pre, text "b")                                     \
		case 2: ALU_SHIFT_CASE(uint16_t, pre, text "w")                                    \
		case 4: ALU_SHIFT_CASE(uint32_t, pre, text "l")                                    \
		default: ALU_SHIFT_CASE(uint64_t, pre, text "q")                                   \
		}                                                                                  \
		*flags = (*flags & ~(uint64_t)(changed)) | (flags_pack(ax) & (changed));           \
		return d;                                                                          \
	}

ALU_SHIFT(rol, "", "rol", X86_FLAG_CF | X86_FLAG_OF)
ALU_SHIFT(ror, "", "ror", X86_FLAG_CF | X86_FLAG_OF)
ALU_SHIFT(rcl, FLAGS_CF, "rcl", X86_FLAG_CF | X86_FLAG_OF)
ALU_SHIFT(rcr, FLAGS_CF, "rcr", X86_FLAG_CF | X86_FLAG_OF)
ALU_SHIFT(shl, "", "shl", X86_FLAGS_ARITH)
ALU_SHIFT(shr, "", "shr", X86_FLAGS_ARITH)
ALU_SHIFT(sar, "", "sar", X86_FLAGS_ARITH)

#define ALU_IMUL_CASE(T, text)                                                                     \
	{                                                                                          \
		T r_ = (T)d;                                                                       \
		__asm__(text " %[s], %[r]" FLAGS_TAKE                                              \
			: [r] "+r"(r_), "=a"(ax)                                                   \
			: [s] "r"((T)s)                                                            \
			: "cc");                                                                   \
		d = r_;                                                                            \
		break;                                                                             \
	}

/* The forms of IMUL with one result register: size 2, 4 or 8. */
ALWAYS_INLINE uint64_t alu_imul(uint64_t *flags, uint64_t d, uint64_t s, unsigned size)
{
	uint32_t ax = 0;
	switch (size) {
	case 2: ALU_IMUL_CASE(uint16_t, "imulw")
	case 4: ALU_IMUL_CASE(uint32_t, "imull")
	default: ALU_IMUL_CASE(uint64_t, "imulq")
	}
	*flags = flags_pack(ax);
	return d;
}

/* Is condition `cc` (the low nibble of Jcc's opcode) true? A constant cc folds to one test. */
ALWAYS_INLINE bool flags_condition(uint64_t flags, unsigned cc)
{
	bool r = false;
	switch (cc >> 1) {
	case 0: r = flags & X86_FLAG_OF; break;
	case 1: r = flags & X86_FLAG_CF; break;
	case 2: r = flags & X86_FLAG_ZF; break;
	case 3: r = flags & (X86_FLAG_CF | X86_FLAG_ZF); break;
	case 4: r = flags & X86_FLAG_SF; break;
	case 5: r = flags & X86_FLAG_PF; break;
	case 6: r = ((flags >> 7) ^ (flags >> 11)) & 1; break;
	case 7: r = (((flags >> 7) ^ (flags >> 11)) & 1) | (flags & X86_FLAG_ZF); break;
	}
	return r != (cc & 1);
}
