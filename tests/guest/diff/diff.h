/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The differential test: the host CPU is the oracle. Random instructions run natively in a forked
 * child and in the software engine, there in each of its ways (stepped, interpreted, ...), from the
 * same state and memory; everything visible must agree.
 *
 *   gen.c      makes cases: instruction bytes, registers, memory, aimed at a class of instructions
 *   sequence.c makes cases of several: in a row, in loops, with jumps between, patching themselves
 *   native.c   runs them on the host CPU
 *   engine.c   runs them in the software engine
 *   world.c    the guest that surrounds them there: page tables, IDT, TSS
 *   compare.c  says what differs, knowing what is undefined
 *   main.c     options, batches, reports
 *
 * Both sides see the same linear addresses: four data pages (writable, writable, read-only, absent)
 * and two of code, all below 2 GiB so that absolute and RIP-relative operands reach them.
 */
#pragma once

#include "cpu/x86/insn.h"
#include "cpu/x86/state.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>
#include <stdint.h>

#define DIFF_DATA    UINT64_C(0x10000000)
#define DIFF_DATA_PAGES 3 /* two writable, one read-only; the page behind is absent */
#define DIFF_CODE    UINT64_C(0x20000000)
#define DIFF_CONTROL UINT64_C(0x30000000)

enum {
	/*
	 * Code begins somewhere in [DIFF_START, DIFF_START_LAST], or DIFF_SITE further, where it
	 * may cross into the second page.
	 */
	DIFF_START = 0x7c0, DIFF_START_LAST = 0x800, DIFF_CODE_MAX = 112, DIFF_SITE = 0x800,
	DIFF_SITES = 2, DIFF_CODE_PAGES = 2,
	DIFF_TARGETS = 8, /* landing pads where branches may go: diff_target() */
	/* Memory that cases set and compare: round the first page boundary, before the second. */
	DIFF_WINDOW = 1024, DIFF_TAIL = 256,
	DIFF_WINDOW_AT = 4096 - DIFF_WINDOW / 2, DIFF_TAIL_AT = 8192 - DIFF_TAIL,
};

/*
 * The address of landing pad k for code at `rip`: four before the code, four behind it. Each is 16
 * bytes.
 */
static inline uint64_t diff_target(uint64_t rip, unsigned k)
{
	uint64_t site = rip < DIFF_CODE + DIFF_START + DIFF_SITE ? 0 : DIFF_SITE;
	return DIFF_CODE + site + (k < 4 ? 0x740 + 16 * k : 0x880 + 16 * (k - 4));
}

/* What loops count in: a place that no operand of a case reaches. */
#define DIFF_COUNTER (DIFF_DATA + 64)

/* Bytes of an XSAVE area with x87, SSE and AVX. */
enum { DIFF_AREA_MAX = 832 };

enum { DIFF_TIMEOUT = 0xfe, DIFF_NO_FAULT = 0xff };

struct diff_state {
	uint64_t gpr[16];
	uint64_t rip, rflags;
	struct x86_fpu fpu;
	uint8_t window[DIFF_WINDOW], tail[DIFF_TAIL];
	uint8_t fault; /* vector, or DIFF_NO_FAULT, DIFF_TIMEOUT */
	uint32_t error;
	uint64_t cr2;
};

struct diff_case {
	uint64_t number;
	uint8_t code[DIFF_CODE_MAX];
	uint8_t length;
	bool fpu; /* registers of the FPU are set and compared */
	bool sequence; /* several instructions: nothing is masked, none of them is undefined */
	bool bits32; /* runs in a 32-bit code segment */
	bool patches; /* writes to its own code, which is writable for it */
	bool splits; /* may lock the bus: an atomic access across two cache lines */
	bool left_out; /* the native child has not run it */
	uint32_t flags_undefined;
	struct diff_state in, native, soft;
};

/*
 * Some hypervisors hold up who locks the bus, and everybody else on that processor, for up to seconds each time.
 * Has a case that splits taken this long (CPU time, ns) since `start`? Then those are left out from there on.
 */
int64_t diff_cpu_time(void);
static inline bool diff_held_up(const struct diff_case *c, int64_t start)
{
	enum { LONG_NS = 20000000 };
	return c->splits && diff_cpu_time() - start > LONG_NS;
}

/*
 * A case's memory before it. What is not compared is cleared: of cases whose end is open (a fault in the
 * middle of a sequence, a timeout) it may differ, and the next ones would read it.
 */
static inline void diff_set_data(uint8_t *data, const struct diff_state *in)
{
	enum { BEHIND = DIFF_WINDOW_AT + DIFF_WINDOW };
	memset(data, 0, DIFF_WINDOW_AT);
	memcpy(data + DIFF_WINDOW_AT, in->window, DIFF_WINDOW);
	memset(data + BEHIND, 0, DIFF_TAIL_AT - BEHIND);
	memcpy(data + DIFF_TAIL_AT, in->tail, DIFF_TAIL);
}

/* --- gen.c -------------------------------------------------------------------------------------*/
struct diff_class;
const char *const *diff_class_names(void);
const struct diff_class *diff_class_find(const char *name);
/* Case `number` of a run with `seed`: the same for the same arguments. */
void diff_generate(const struct diff_class *class, uint64_t seed, uint64_t number,
		   struct diff_case *out);

/* --- native.c ----------------------------------------------------------------------------------*/
enum { DIFF_BATCH = 256 };
struct diff_native;
struct diff_native *diff_native_new(GError **error);
void diff_native_free(struct diff_native *native);
/* One of two batches (0 or 1), shared with the child. */
struct diff_case *diff_native_cases(struct diff_native *native, unsigned batch);
/* Start the first `count` cases of a batch; diff_native_wait() waits for it. */
bool diff_native_start(struct diff_native *native, unsigned batch, unsigned count, GError **error);
bool diff_native_wait(struct diff_native *native, GError **error);

/* --- engine.c ----------------------------------------------------------------------------------*/
/* The ways in which the engine executes; the list ends with name == NULL. */
struct diff_way {
	const char *name;
	bool translated; /* by the JIT, all of it */
	bool lax;     /* as outside tests: flags may be stale at a fault */
	bool stepped; /* one instruction at a time, not through the run loop */
};
extern const struct diff_way diff_ways[];
enum { DIFF_WAYS_MAX = 4 };

struct diff_engine;
struct diff_engine *diff_engine_new(const struct diff_way *way, GError **error);
void diff_engine_free(struct diff_engine *engine);
const struct diff_way *diff_engine_way(const struct diff_engine *engine);
/* Ends the process if what `c`, run natively, has changed is not what jit_writes() tells. */
struct soft_vcpu;
void diff_check_foreseen(const struct soft_vcpu *vcpu, const struct diff_case *c);
/* Runs c and fills in c->soft. */
void diff_engine_run(struct diff_engine *engine, struct diff_case *c);

/* --- compare.c ---------------------------------------------------------------------------------*/
/* Flags that the instruction leaves undefined. */
uint32_t diff_undefined_flags(const struct x86_insn *x, const struct diff_case *c);
/*
 * NULL if native and soft, which was run in `way`, agree, else what differs. Free with g_free().
 */
char *diff_compare(const struct diff_case *c, const struct diff_way *way);
/*
 * The same of the x87 unit's pointers in two ways of the engine. Not all CPUs show them to FXSAVE, so
 * the host is no oracle here.
 */
char *diff_compare_pointers(const struct x86_fpu *first, const struct x86_fpu *other);
/* The case in words: bytes and input registers. */
char *diff_describe(const struct diff_case *c);
