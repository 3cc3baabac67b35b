/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small, fast, reproducible generator (splitmix64). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* In [0, n). */
static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
	return ((rng_next(r) >> 32) * n) >> 32;
}

static inline bool rng_percent(struct rng *r, unsigned percent)
{
	return rng_below(r, 100) < percent;
}
