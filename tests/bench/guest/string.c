/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Moving and searching bytes: SSE2 loops, not the C library's, which would choose another
 * instruction set on each CPU; and the string instructions.
 */
#include "bench.h"

#include <emmintrin.h>
#include <string.h>

enum { BYTES = 65536, TEXT = 8192 };

static uint8_t from[BYTES] __attribute__((aligned(64)));
static uint8_t to[BYTES] __attribute__((aligned(64)));

static uint64_t run_memcpy(uint64_t times)
{
	while (times--) {
		for (unsigned i = 0; i < BYTES; i += 32) {
			__m128i a = _mm_load_si128((const __m128i *)(from + i));
			__m128i b = _mm_load_si128((const __m128i *)(from + i + 16));
			_mm_storeu_si128((__m128i *)(to + i), a);
			_mm_storeu_si128((__m128i *)(to + i + 16), b);
		}
		bench_use(to);
	}
	return to[5];
}

static uint64_t run_strlen(uint64_t times)
{
	static char text[TEXT] __attribute__((aligned(16)));
	uint64_t sum = 0;
	memset(text, 'x', TEXT - 3);
	text[TEXT - 3] = 0;
	while (times--) {
		bench_use(text);
		const char *p = text;
		int mask;
		do {
			__m128i v = _mm_load_si128((const __m128i *)p);
			mask = _mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_setzero_si128()));
			p += 16;
		} while (!mask);
		sum += p - 16 + __builtin_ctz(mask) - text;
	}
	return sum;
}

static uint64_t run_repmovs(uint64_t times)
{
	while (times--) {
		void *d = to;
		const void *s = from;
		size_t n = BYTES;
		__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	}
	return to[7];
}

static uint64_t run_repstos(uint64_t times)
{
	while (times--) {
		void *d = to;
		size_t n = BYTES / 8;
		__asm__ volatile("rep stosq" : "+D"(d), "+c"(n) : "a"(times) : "memory");
	}
	return to[9];
}

const struct bench_row bench_string[] = {
	{ "memcpy", "float", run_memcpy, BYTES },
	{ "strlen", "float", run_strlen, TEXT },
	{ "repmovs", "string", run_repmovs, BYTES },
	{ "repstos", "string", run_repstos, BYTES },
	{ NULL },
};
