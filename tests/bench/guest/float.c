/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Floating point and SIMD: scalar and packed SSE2, x87, AVX2 with FMA, the C library's functions. */
#include "bench.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

static uint64_t bits_of(double v)
{
	uint64_t bits;
	memcpy(&bits, &v, 8);
	return bits;
}

/* --- matrices ----------------------------------------------------------------------------------*/

enum { MATRIX = 96 };

static uint64_t run_matmul(uint64_t times)
{
	static double a[MATRIX][MATRIX], b[MATRIX][MATRIX], c[MATRIX][MATRIX];
	for (unsigned i = 0; i < MATRIX; i++) {
		for (unsigned j = 0; j < MATRIX; j++) {
			a[i][j] = i + j / 8.0;
			b[i][j] = (double)i - j;
		}
	}
	while (times--) {
		bench_use(a);
		for (unsigned i = 0; i < MATRIX; i++) {
			for (unsigned j = 0; j < MATRIX; j++) {
				double sum = 0;
				for (unsigned k = 0; k < MATRIX; k++)
					sum += a[i][k] * b[k][j];
				c[i][j] = sum;
			}
		}
		bench_use(c);
	}
	return bits_of(c[MATRIX / 2][3]);
}

/* --- vectors -----------------------------------------------------------------------------------*/

enum { VECTOR = 4096 };

static float vector_x[VECTOR] __attribute__((aligned(32)));
static float vector_y[VECTOR] __attribute__((aligned(32)));

static uint64_t vectors_prepare(void)
{
	for (unsigned i = 0; i < VECTOR; i++) {
		vector_x[i] = i;
		vector_y[i] = 1;
	}
	return 0;
}

static uint64_t run_saxpy(uint64_t times)
{
	__m128 a = _mm_set1_ps(0.5f);
	vectors_prepare();
	while (times--) {
		for (unsigned i = 0; i < VECTOR; i += 4) {
			__m128 y = _mm_load_ps(vector_y + i);
			y = _mm_add_ps(_mm_mul_ps(a, _mm_load_ps(vector_x + i)), y);
			_mm_store_ps(vector_y + i, y);
		}
		bench_use(vector_y);
	}
	return bits_of(vector_y[VECTOR - 5]);
}

__attribute__((target("avx2,fma"))) static uint64_t run_avx2fma(uint64_t times)
{
	__m256 a = _mm256_set1_ps(0.5f), half = _mm256_set1_ps(-0.25f);
	vectors_prepare();
	while (times--) {
		for (unsigned i = 0; i < VECTOR; i += 8) {
			__m256 x = _mm256_load_ps(vector_x + i), y = _mm256_load_ps(vector_y + i);
			y = _mm256_fmadd_ps(a, x, y);
			y = _mm256_fmadd_ps(y, half, x);
			__m256i n = _mm256_add_epi32(_mm256_cvttps_epi32(y), _mm256_cvttps_epi32(x));
			_mm256_store_ps(vector_y + i, _mm256_add_ps(y, _mm256_cvtepi32_ps(n)));
		}
		bench_use(vector_y);
		vector_y[times % VECTOR] = 1;
	}
	return bits_of(vector_y[VECTOR - 5]);
}

static bool has_avx2fma(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* --- the C library, x87 ------------------------------------------------------------------------*/

static uint64_t run_libm(uint64_t times)
{
	double sum = 0;
	for (uint64_t i = 0; i < times * 100; i++) {
		double x = (i % 100) / 37.0 + 0.1;
		sum += sin(x) + exp(-x) + pow(x, 1.7);
	}
	/* The last digit may depend on which variant the library chose for the CPU. */
	return (uint64_t)(sum * 1000);
}

static uint64_t run_x87(uint64_t times)
{
	long double sum = 0, x = 1;
	for (uint64_t i = 0; i < times * 1000; i++) {
		x = x * 1.000001L + 0.25L / (i + 1);
		if (x > 100)
			x -= 99;
		sum += x;
	}
	return bits_of(sum);
}

const struct bench_row bench_float[] = {
	{ "matmul", "float", run_matmul, MATRIX * MATRIX * MATRIX },
	{ "saxpy", "float", run_saxpy, VECTOR },
	{ "avx2fma", "float", run_avx2fma, VECTOR, has_avx2fma },
	{ "libm", "float", run_libm, 100 },
	{ "x87", "float", run_x87, 1000 },
	{ NULL },
};
