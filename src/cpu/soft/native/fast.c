/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exec functions for what SIMD code consists of: moves between memory and registers, and stubs with
 * a register or memory source. Like interp/fast.h's: one per addressing form, and each goes on to
 * the next instruction itself. An instruction gets one when it is executed for the first time.
 */
#include "cpu/soft/interp/fast.h"
#include "cpu/soft/native/native.h"

#include <emmintrin.h>

/* Misaligned, not in the TLB, across pages: the slow way into the bounce buffer. */
static __attribute__((noinline)) const void *load_cold(struct soft_vcpu *c,
							const struct soft_insn *i, unsigned size,
							unsigned align)
{
	uint64_t linear = soft_operand(c, i, size, SOFT_READ);
	if (linear & align)
		soft_raise_gp(c);
	soft_load_bytes(c, linear, c->native->bounce, size);
	return c->native->bounce;
}

static __attribute__((noinline)) void store_cold(struct soft_vcpu *c, const struct soft_insn *i,
						 const void *from, unsigned size, unsigned align)
{
	uint64_t linear = soft_operand(c, i, size, SOFT_WRITE);
	if (linear & align)
		soft_raise_gp(c);
	soft_store_bytes(c, linear, from, size);
}

ALWAYS_INLINE const void *load_at(struct soft_vcpu *c, const struct soft_insn *i, enum fast_ea ea,
				  unsigned size, unsigned align)
{
	uint64_t linear = fast_linear(c, i, ea, size, SOFT_READ);
	struct soft_tlb_entry *e = soft_tlb_at(c, linear);
	if (soft_unlikely(linear - e->read > PAGE_SIZE - size || linear & align))
		return load_cold(c, i, size, align);
	return (const void *)(linear + e->addend);
}

/* Where to store, or NULL: then store_cold(). */
ALWAYS_INLINE void *store_at(struct soft_vcpu *c, const struct soft_insn *i, enum fast_ea ea,
			     unsigned size, unsigned align)
{
	uint64_t linear = fast_linear(c, i, ea, size, SOFT_WRITE);
	struct soft_tlb_entry *e = soft_tlb_at(c, linear);
	if (soft_unlikely(linear - e->write > PAGE_SIZE - size || linear & align))
		return NULL;
	return (void *)(linear + e->addend);
}

ALWAYS_INLINE __m128i *xmm(struct soft_vcpu *c, unsigned n)
{
	return (__m128i *)native_xmm(c, n);
}

/* --- moves -------------------------------------------------------------------------------------*/

#define LOAD(ea, name, size, align, expression)                                                    \
	static void name##_##ea(struct soft_vcpu *c, const struct soft_insn *i)                    \
	{                                                                                          \
		c->insn = i;                                                                       \
		native_check_sse(c);                                                               \
		const void *from = load_at(c, i, FAST_EA_##ea, size, align);                       \
		_mm_storeu_si128(xmm(c, i->x.reg), expression);                                    \
		RUN_NEXT(c, i);                                                                    \
	}
#define STORE(ea, name, size, align)                                                               \
	static void name##_##ea(struct soft_vcpu *c, const struct soft_insn *i)                    \
	{                                                                                          \
		c->insn = i;                                                                       \
		native_check_sse(c);                                                               \
		void *to = store_at(c, i, FAST_EA_##ea, size, align);                              \
		if (soft_unlikely(!to))                                                            \
			store_cold(c, i, xmm(c, i->x.reg), size, align);                           \
		else                                                                               \
			memcpy(to, xmm(c, i->x.reg), size);                                        \
		RUN_NEXT(c, i);                                                                    \
	}

FAST_FOR_EA(LOAD, load_aligned, 16, 15, _mm_loadu_si128(from))
FAST_FOR_EA(LOAD, load_unaligned, 16, 0, _mm_loadu_si128(from))
FAST_FOR_EA(LOAD, load_q, 8, 0, _mm_loadl_epi64(from))
FAST_FOR_EA(LOAD, load_d, 4, 0, _mm_cvtsi32_si128(*(const int *)from))
FAST_FOR_EA(STORE, store_aligned, 16, 15)
FAST_FOR_EA(STORE, store_unaligned, 16, 0)
FAST_FOR_EA(STORE, store_q, 8, 0)
FAST_FOR_EA(STORE, store_d, 4, 0)

/* 256 bits are two halves in the image; 128 clear the upper one. */
#define AVX_LOAD(ea, name, size, align)                                                            \
	static void name##_##size##_##ea(struct soft_vcpu *c, const struct soft_insn *i)           \
	{                                                                                          \
		c->insn = i;                                                                       \
		native_check_avx(c);                                                               \
		const __m128i *from = load_at(c, i, FAST_EA_##ea, size, align);                    \
		__m128i low = _mm_loadu_si128(from), high = _mm_setzero_si128();                   \
		if (size == 32)                                                                    \
			high = _mm_loadu_si128(from + 1);                                          \
		*xmm(c, i->x.reg) = low;                                                           \
		*high_half(c, i->x.reg) = high;                                                    \
		RUN_NEXT(c, i);                                                                    \
	}
#define AVX_STORE(ea, name, size, align)                                                           \
	static void name##_##size##_##ea(struct soft_vcpu *c, const struct soft_insn *i)           \
	{                                                                                          \
		c->insn = i;                                                                       \
		native_check_avx(c);                                                               \
		__m128i v[2] = { *xmm(c, i->x.reg), *high_half(c, i->x.reg) };                     \
		__m128i *to = store_at(c, i, FAST_EA_##ea, size, align);                           \
		if (soft_unlikely(!to)) {                                                          \
			avx_store_cold(c, i, size, align);                                         \
		} else {                                                                           \
			_mm_storeu_si128(to, v[0]);                                                \
			if (size == 32)                                                            \
				_mm_storeu_si128(to + 1, v[1]);                                    \
		}                                                                                  \
		RUN_NEXT(c, i);                                                                    \
	}

ALWAYS_INLINE __m128i *high_half(struct soft_vcpu *c, unsigned n)
{
	return (__m128i *)native_ymm_high(c, n);
}

static __attribute__((noinline)) void avx_store_cold(struct soft_vcpu *c,
						     const struct soft_insn *i, unsigned size,
						     unsigned align)
{
	uint8_t v[32];
	memcpy(v, native_xmm(c, i->x.reg), 16);
	memcpy(v + 16, native_ymm_high(c, i->x.reg), 16);
	store_cold(c, i, v, size, align);
}

FAST_FOR_EA(AVX_LOAD, avx_load_aligned, 16, 15)
FAST_FOR_EA(AVX_LOAD, avx_load_aligned, 32, 31)
FAST_FOR_EA(AVX_LOAD, avx_load_unaligned, 16, 0)
FAST_FOR_EA(AVX_LOAD, avx_load_unaligned, 32, 0)
FAST_FOR_EA(AVX_STORE, avx_store_aligned, 16, 15)
FAST_FOR_EA(AVX_STORE, avx_store_aligned, 32, 31)
FAST_FOR_EA(AVX_STORE, avx_store_unaligned, 16, 0)
FAST_FOR_EA(AVX_STORE, avx_store_unaligned, 32, 0)

static void copy_to_reg(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->insn = i;
	native_check_sse(c);
	*xmm(c, i->x.reg) = *xmm(c, i->x.rm);
	RUN_NEXT(c, i);
}

static void xor_reg(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->insn = i;
	native_check_sse(c);
	*xmm(c, i->x.reg) = _mm_xor_si128(*xmm(c, i->x.reg), *xmm(c, i->x.rm));
	RUN_NEXT(c, i);
}

/* --- stubs -------------------------------------------------------------------------------------*/

#define STUB_LOAD(ea, name, check, ready)                                                          \
	static void name##_##ea(struct soft_vcpu *c, const struct soft_insn *i)                    \
	{                                                                                          \
		const struct native_entry *e = i->native;                                          \
		c->insn = i;                                                                       \
		check(c);                                                                          \
		if (soft_unlikely(!(ready)))                                                       \
			i->fn(c, i);                                                               \
		else                                                                               \
			e->code(c, (void *)load_at(c, i, FAST_EA_##ea, e->size, e->align));        \
		RUN_NEXT(c, i);                                                                    \
	}
#define STUB_REG(name, check, ready)                                                               \
	static void name##_reg(struct soft_vcpu *c, const struct soft_insn *i)                     \
	{                                                                                          \
		const struct native_entry *e = i->native;                                          \
		c->insn = i;                                                                       \
		check(c);                                                                          \
		if (soft_unlikely(!(ready)))                                                       \
			i->fn(c, i);                                                               \
		else                                                                               \
			e->code(c, NULL);                                                          \
		RUN_NEXT(c, i);                                                                    \
	}

FAST_FOR_EA(STUB_LOAD, sse, native_check_sse, true)
FAST_FOR_EA(STUB_LOAD, sse_fp, native_check_sse, native_mxcsr_ready(c))
FAST_FOR_EA(STUB_LOAD, avx, native_check_avx, true)
FAST_FOR_EA(STUB_LOAD, avx_fp, native_check_avx, native_mxcsr_ready(c))
STUB_REG(sse, native_check_sse, true)
STUB_REG(sse_fp, native_check_sse, native_mxcsr_ready(c))
STUB_REG(avx, native_check_avx, true)
STUB_REG(avx_fp, native_check_avx, native_mxcsr_ready(c))

/* --- which is which ----------------------------------------------------------------------------*/

static soft_exec_fn *const moves[NATIVE_AVX_LOAD_ALIGNED][FAST_EA_COUNT] = {
	[NATIVE_LOAD_ALIGNED] = FAST_EA_ROW(load_aligned),
	[NATIVE_LOAD_UNALIGNED] = FAST_EA_ROW(load_unaligned),
	[NATIVE_LOAD_Q] = FAST_EA_ROW(load_q),
	[NATIVE_LOAD_D] = FAST_EA_ROW(load_d),
	[NATIVE_STORE_ALIGNED] = FAST_EA_ROW(store_aligned),
	[NATIVE_STORE_UNALIGNED] = FAST_EA_ROW(store_unaligned),
	[NATIVE_STORE_Q] = FAST_EA_ROW(store_q),
	[NATIVE_STORE_D] = FAST_EA_ROW(store_d),
};

#define AVX_ROWS(name) { FAST_EA_ROW(name##_16), FAST_EA_ROW(name##_32) }

/* In the order of enum native_move. */
static soft_exec_fn *const avx_moves[4][2][FAST_EA_COUNT] = {
	AVX_ROWS(avx_load_aligned), AVX_ROWS(avx_load_unaligned),
	AVX_ROWS(avx_store_aligned), AVX_ROWS(avx_store_unaligned),
};

soft_exec_fn *native_fast_move(const struct soft_vcpu *c, const struct x86_insn *x,
			       enum native_move move)
{
	if (move == NATIVE_COPY)
		return copy_to_reg;
	if (move == NATIVE_XOR)
		return x->mod == 3 ? xor_reg : NULL;
	enum fast_ea ea = fast_ea_form(x, block_mode(c));
	if (move >= NATIVE_AVX_LOAD_ALIGNED) {
		bool wide = x->prefixes & X86_PREFIX_VEXL;
		return avx_moves[move - NATIVE_AVX_LOAD_ALIGNED][wide][ea];
	}
	return moves[move][ea];
}

soft_exec_fn *native_fast_stub(const struct soft_vcpu *c, const struct x86_insn *x,
			       const struct native_entry *e)
{
	static soft_exec_fn *const load[2][2][FAST_EA_COUNT] = { /* AVX, arithmetic */
		{ FAST_EA_ROW(sse), FAST_EA_ROW(sse_fp) },
		{ FAST_EA_ROW(avx), FAST_EA_ROW(avx_fp) },
	};
	static soft_exec_fn *const reg[2][2] = {
		{ sse_reg, sse_fp_reg },
		{ avx_reg, avx_fp_reg },
	};
	bool avx = e->unit == UNIT_AVX;
	if (e->unit != UNIT_SSE && !avx)
		return NULL;
	if (x->mod == 3)
		return reg[avx][e->fp];
	return e->store ? NULL : load[avx][e->fp][fast_ea_form(x, block_mode(c))];
}
