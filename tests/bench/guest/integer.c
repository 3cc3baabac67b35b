/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Integer code as compilers make it: sorting, hashing, checksums, pointers, allocation, atomics. */
#include "bench.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* --- sort --------------------------------------------------------------------------------------*/

enum { SORT_COUNT = 20000, SORT_SMALL = 12 };

static void insertion_sort(uint32_t *v, int count)
{
	for (int i = 1; i < count; i++) {
		uint32_t x = v[i];
		int at = i;
		for (; at > 0 && v[at - 1] > x; at--)
			v[at] = v[at - 1];
		v[at] = x;
	}
}

static void quick_sort(uint32_t *v, int count)
{
	while (count > SORT_SMALL) {
		uint32_t pivot = v[count / 2];
		int i = 0, j = count - 1;
		while (i <= j) {
			while (v[i] < pivot)
				i++;
			while (v[j] > pivot)
				j--;
			if (i <= j) {
				uint32_t t = v[i];
				v[i++] = v[j];
				v[j--] = t;
			}
		}
		quick_sort(v, j + 1);
		v += i;
		count -= i;
	}
	insertion_sort(v, count);
}

static uint64_t run_sort(uint64_t times)
{
	static uint32_t v[SORT_COUNT];
	uint64_t sum = 0;
	while (times--) {
		uint64_t random = 1;
		for (int i = 0; i < SORT_COUNT; i++)
			v[i] = bench_random(&random);
		quick_sort(v, SORT_COUNT);
		sum = v[0] + (uint64_t)v[SORT_COUNT / 2] + v[SORT_COUNT - 1];
	}
	return sum;
}

/* --- hash tables -------------------------------------------------------------------------------*/

enum { HASH_LOOKUPS = 4096 };

/* Open addressing, half full; each of its keys is looked up in turn. */
static uint64_t look_up(uint64_t *table, unsigned bits, uint64_t times)
{
	uint64_t found = 0, random = 7, mask = (UINT64_C(1) << bits) - 1;
	uint64_t round = (mask / 2 + 1) / HASH_LOOKUPS;
	if (!table[0]) {
		uint64_t fill = 7;
		table[0] = 1;
		for (uint64_t i = 0; i <= mask / 2; i++) {
			uint64_t key = bench_random(&fill);
			uint64_t at = key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - bits);
			while (table[at])
				at = (at + 1) & mask;
			table[at] = key;
		}
	}
	while (times--) {
		for (unsigned i = 0; i < HASH_LOOKUPS; i++) {
			uint64_t key = bench_random(&random);
			uint64_t at = key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - bits);
			while (table[at] && table[at] != key)
				at = (at + 1) & mask;
			found += table[at] == key;
		}
		if (times % round == 0)
			random = 7;
	}
	return found;
}

static uint64_t run_hash(uint64_t times)
{
	static uint64_t table[1 << 14];
	return look_up(table, 14, times);
}

static uint64_t run_hashbig(uint64_t times)
{
	static uint64_t table[1 << 21];
	return look_up(table, 21, times);
}

/* --- SHA-256 (FIPS 180-4) ----------------------------------------------------------------------*/

static const uint32_t sha_k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t rotate(uint32_t x, unsigned n)
{
	return x >> n | x << (32 - n);
}

static void sha_block(uint32_t h[8], const uint8_t *p)
{
	uint32_t w[64], s[8];
	for (unsigned i = 0; i < 16; i++) {
		memcpy(&w[i], p + 4 * i, 4);
		w[i] = __builtin_bswap32(w[i]);
	}
	for (unsigned i = 16; i < 64; i++) {
		uint32_t a = w[i - 15], b = w[i - 2];
		w[i] = w[i - 16] + w[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) +
		       (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
	}
	memcpy(s, h, sizeof(s));
	for (unsigned i = 0; i < 64; i++) {
		uint32_t e = s[4], a = s[0];
		uint32_t t = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
			     ((e & s[5]) ^ (~e & s[6])) + sha_k[i] + w[i];
		uint32_t u = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
			     ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
		memmove(s + 1, s, 7 * sizeof(s[0]));
		s[4] += t;
		s[0] = t + u;
	}
	for (unsigned i = 0; i < 8; i++)
		h[i] += s[i];
}

static uint64_t run_sha256(uint64_t times)
{
	static uint8_t data[65536];
	uint32_t h[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
			  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
	while (times--) {
		for (unsigned at = 0; at < sizeof(data); at += 64)
			sha_block(h, data + at);
	}
	return (uint64_t)h[0] << 32 | h[7];
}

/* --- CRC ---------------------------------------------------------------------------------------*/

static uint64_t run_crc(uint64_t times)
{
	static uint32_t table[256];
	static uint8_t data[16384];
	uint32_t crc = ~0u;
	for (unsigned i = 0; i < 256; i++) {
		uint32_t v = i;
		for (unsigned bit = 0; bit < 8; bit++)
			v = v >> 1 ^ (v & 1 ? 0xedb88320 : 0);
		table[i] = v;
	}
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = i * 7;
	while (times--) {
		bench_use(data);
		for (unsigned i = 0; i < sizeof(data); i++)
			crc = crc >> 8 ^ table[(crc ^ data[i]) & 0xff];
	}
	return ~crc;
}

/* --- pointer chasing ---------------------------------------------------------------------------*/

static void *chase_start(void **cells, unsigned count)
{
	uint64_t random = 3;
	for (unsigned i = 0; i < count; i++)
		cells[i] = &cells[i];
	/* Sattolo's shuffle: one cycle through all. */
	for (unsigned i = count - 1; i > 0; i--) {
		unsigned j = bench_random(&random) % i;
		void *t = cells[i];
		cells[i] = cells[j];
		cells[j] = t;
	}
	return cells[0];
}

static uint64_t chase(void **cells, unsigned count, void **at, uint64_t steps)
{
	if (!*at)
		*at = chase_start(cells, count);
	void *p = *at;
	while (steps--)
		p = *(void **)p;
	*at = p;
	return (void **)p - cells;
}

static uint64_t run_chase(uint64_t times)
{
	static void *cells[4096], *at;
	return chase(cells, 4096, &at, times * 4096);
}

static uint64_t run_chasebig(uint64_t times)
{
	static void *cells[1 << 21], *at;
	return chase(cells, 1 << 21, &at, times * 4096);
}

/* --- allocation, atomics -----------------------------------------------------------------------*/

static uint64_t run_malloc(uint64_t times)
{
	static void *slots[256];
	uint64_t random = 5, sum = 0;
	while (times--) {
		for (unsigned i = 0; i < 1000; i++) {
			uint64_t v = bench_random(&random);
			void **slot = &slots[v & 255];
			free(*slot);
			*slot = malloc(16 + (v >> 8 & 511));
			*(char *)*slot = 1;
			sum += v & 255;
		}
	}
	return sum;
}

static uint64_t run_atomic(uint64_t times)
{
	static _Atomic uint64_t counter;
	for (uint64_t i = 0; i < times * 1000; i++)
		atomic_fetch_add(&counter, i);
	return times;
}

const struct bench_row bench_integer[] = {
	{ "sort", "integer", run_sort, 1 },
	{ "hash", "integer", run_hash, HASH_LOOKUPS },
	{ "hashbig", "integer", run_hashbig, HASH_LOOKUPS },
	{ "sha256", "integer", run_sha256, 1024 },
	{ "crc", "integer", run_crc, 16384 },
	{ "chase", "integer", run_chase, 4096 },
	{ "chasebig", "integer", run_chasebig, 4096 },
	{ "malloc", "integer", run_malloc, 1000 },
	{ "atomic", "integer", run_atomic, 1000 },
	{ NULL },
};
