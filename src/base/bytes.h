/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unaligned little-endian and big-endian loads and stores, alignment and range arithmetic.
 * All of it is safe on bytes that a guest controls.
 */
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BYTES_DEFINE(bits)                                                                         \
	static inline uint##bits##_t le##bits##_load(const void *p)                                \
	{                                                                                          \
		uint##bits##_t v;                                                                  \
		memcpy(&v, p, sizeof(v));                                                          \
		return le##bits##toh(v);                                                           \
	}                                                                                          \
	static inline void le##bits##_store(void *p, uint##bits##_t v)                             \
	{                                                                                          \
		v = htole##bits(v);                                                                \
		memcpy(p, &v, sizeof(v));                                                          \
	}                                                                                          \
	static inline uint##bits##_t be##bits##_load(const void *p)                                \
	{                                                                                          \
		uint##bits##_t v;                                                                  \
		memcpy(&v, p, sizeof(v));                                                          \
		return be##bits##toh(v);                                                           \
	}                                                                                          \
	static inline void be##bits##_store(void *p, uint##bits##_t v)                             \
	{                                                                                          \
		v = htobe##bits(v);                                                                \
		memcpy(p, &v, sizeof(v));                                                          \
	}
BYTES_DEFINE(16)
BYTES_DEFINE(32)
BYTES_DEFINE(64)
#undef BYTES_DEFINE

/* Load or store `size` (1, 2, 4 or 8) little-endian bytes. */
static inline uint64_t le_load(const void *p, unsigned size)
{
	uint64_t v = 0;
	memcpy(&v, p, size);
	return le64toh(v);
}

static inline void le_store(void *p, uint64_t v, unsigned size)
{
	v = htole64(v);
	memcpy(p, &v, size);
}

/* `align` is a power of two. */
static inline uint64_t align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

/* True if [offset, offset + length) lies inside [0, size), without overflow. */
static inline bool range_fits(uint64_t offset, uint64_t length, uint64_t size)
{
	return offset <= size && length <= size - offset;
}

/* A mask of the low `size` bytes, for size 1 to 8. */
static inline uint64_t size_mask(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (UINT64_C(1) << (size * 8)) - 1;
}
