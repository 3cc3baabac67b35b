/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Code that is mostly jumps: an interpreter's loop, recursion, calls through pointers. */
#include "bench.h"

#include <stddef.h>

/* --- a bytecode interpreter --------------------------------------------------------------------*/

enum op { PUSH, ADD, MUL, XOR, DUP, SWAP, LOAD, STORE, DECREMENT, JUMP_NOT_ZERO, END };

struct code {
	enum op op;
	int64_t arg;
};

/* for (b = 2000; b; b--) a = (a * 31 + b) ^ 5; */
static const struct code program[] = {
	{ PUSH, 2000 }, { STORE, 1 },
	{ LOAD, 0 }, { PUSH, 31 }, { MUL, 0 }, { LOAD, 1 }, { ADD, 0 }, { PUSH, 5 }, { XOR, 0 },
	{ DUP, 0 }, { SWAP, 0 }, { STORE, 0 }, { STORE, 2 },
	{ DECREMENT, 1 }, { JUMP_NOT_ZERO, 2 }, { END, 0 },
};

static uint64_t interpret(const struct code *code, uint64_t *vars)
{
	uint64_t stack[16], *top = stack, t;
	for (const struct code *at = code;; at++) {
		switch (at->op) {
		case PUSH: *top++ = at->arg; break;
		case ADD: top--; top[-1] += top[0]; break;
		case MUL: top--; top[-1] *= top[0]; break;
		case XOR: top--; top[-1] ^= top[0]; break;
		case DUP: top[0] = top[-1]; top++; break;
		case SWAP: t = top[-1]; top[-1] = top[-2]; top[-2] = t; break;
		case LOAD: *top++ = vars[at->arg]; break;
		case STORE: vars[at->arg] = *--top; break;
		case DECREMENT: vars[at->arg]--; break;
		case JUMP_NOT_ZERO:
			if (vars[1])
				at = code + at->arg - 1;
			break;
		case END: return vars[0];
		}
	}
}

static uint64_t run_interp(uint64_t times)
{
	uint64_t vars[4] = { 1 }, result = 0;
	while (times--) {
		bench_use(program);
		result += interpret(program, vars);
	}
	return result;
}

/* --- recursion ---------------------------------------------------------------------------------*/

/* Noinline and with a use in between, or GCC turns most calls into loops. */
static __attribute__((noinline, noclone)) unsigned fib(unsigned n)
{
	if (n < 2)
		return n;
	unsigned a = fib(n - 1);
	bench_use(NULL);
	return a + fib(n - 2);
}

static uint64_t run_fib(uint64_t times)
{
	uint64_t sum = 0;
	while (times--)
		sum += fib(20);
	return sum;
}

/* --- virtual calls -----------------------------------------------------------------------------*/

struct shape {
	const struct shape_ops *ops;
	uint64_t a, b;
};

struct shape_ops {
	uint64_t (*area)(const struct shape *s);
};

static uint64_t area_square(const struct shape *s) { return s->a * s->a; }
static uint64_t area_box(const struct shape *s) { return s->a * s->b; }
static uint64_t area_triangle(const struct shape *s) { return s->a * s->b / 2; }
static uint64_t area_line(const struct shape *s) { return 0; }

static const struct shape_ops shape_ops[] = {
	{ area_square }, { area_box }, { area_triangle }, { area_line },
};

static uint64_t run_vcall(uint64_t times)
{
	static struct shape shapes[1000];
	uint64_t random = 11, sum = 0;
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t v = bench_random(&random);
		shapes[i] = (struct shape){ &shape_ops[i % 4], v & 1023, v >> 10 & 1023 };
	}
	while (times--) {
		bench_use(shapes);
		for (unsigned i = 0; i < 1000; i++)
			sum += shapes[i].ops->area(&shapes[i]);
	}
	return sum;
}

const struct bench_row bench_calls[] = {
	{ "interp", "calls", run_interp, 2000 * 13 },
	{ "fib", "calls", run_fib, 21891 },
	{ "vcall", "calls", run_vcall, 1000 },
	{ NULL },
};
