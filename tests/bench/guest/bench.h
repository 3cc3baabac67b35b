/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of the engine benchmark: what main.c times. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct bench_row {
	const char *name, *group;
	/* Does the operation `times` times; what it computed, so that engines can be compared. */
	uint64_t (*run)(uint64_t times);
	unsigned ops;       /* operations that one time is worth: results are per operation */
	bool (*usable)(void); /* does this CPU have what the row needs? NULL: every CPU has */
};

/* Lists end with name == NULL. */
extern const struct bench_row bench_integer[], bench_calls[], bench_float[], bench_string[];
extern const struct bench_row bench_system[];

/* The same pseudo-random numbers everywhere (xorshift64). */
static inline uint64_t bench_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

/* The compiler must believe that `p` escapes and memory changes. */
static inline void bench_use(const void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}
