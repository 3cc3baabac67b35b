/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The local APIC's inside, shared by lapic*.c only. */
#pragma once

#include "cpu/x86/lapic.h"

#include <stdatomic.h>

enum {
	REG_ID = 0x20, REG_VERSION = 0x30, REG_TPR = 0x80, REG_APR = 0x90, REG_PPR = 0xa0,
	REG_EOI = 0xb0, REG_LDR = 0xd0, REG_DFR = 0xe0, REG_SVR = 0xf0, REG_ISR = 0x100,
	REG_TMR = 0x180, REG_IRR = 0x200, REG_ESR = 0x280, REG_ICR = 0x300, REG_ICR_HIGH = 0x310,
	REG_LVT_TIMER = 0x320, REG_LVT_THERMAL = 0x330, REG_LVT_PERF = 0x340, REG_LVT_LINT0 = 0x350,
	REG_LVT_LINT1 = 0x360, REG_LVT_ERROR = 0x370, REG_TIMER_INITIAL = 0x380,
	REG_TIMER_CURRENT = 0x390, REG_TIMER_DIVIDE = 0x3e0, REG_SELF_IPI = 0x3f0,
};

enum lapic_lvt {
	LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT,
	LVT_MASKED = 1 << 16,
};

enum { BASE_BSP = 1 << 8, BASE_EXTD = 1 << 10, BASE_ENABLE = 1 << 11 };
enum { SVR_ENABLE = 1 << 8 };
enum {
	ESR_SEND_ILLEGAL = 1 << 5, ESR_RECEIVE_ILLEGAL = 1 << 6, ESR_ILLEGAL_REGISTER = 1 << 7,
};
enum timer_mode { TIMER_ONE_SHOT = 0, TIMER_PERIODIC = 1, TIMER_TSC_DEADLINE = 2 };

struct lapic {
	const struct lapic_ops *ops;
	void *opaque;
	uint32_t apic_id; /* as the processor was made; x2APIC's ID */

	/* Written by the owner, read by senders. */
	_Atomic uint64_t base;
	_Atomic uint32_t xapic_id, ldr, dfr, svr, ppr, lvt[LVT_COUNT];
	/* Written by senders and the owner. */
	_Atomic uint32_t irr[8], tmr[8];
	_Atomic uint32_t errors; /* collected until a write of ESR shows them */

	/* The owner's alone. */
	uint32_t isr[8];
	uint32_t tpr, esr, icr_high;
	uint64_t icr;
	uint32_t divide, initial_count;
	int64_t timer_start, deadline; /* ns; deadline LAPIC_NEVER: not running */
	uint64_t tsc_deadline;
};

static inline bool lapic_enabled(const struct lapic *l)
{
	return atomic_load_explicit(&l->base, memory_order_relaxed) & BASE_ENABLE;
}

static inline bool lapic_is_x2(const struct lapic *l)
{
	uint64_t base = atomic_load_explicit(&l->base, memory_order_relaxed);
	return (base & (BASE_ENABLE | BASE_EXTD)) == (BASE_ENABLE | BASE_EXTD);
}

static inline bool lapic_software_enabled(const struct lapic *l)
{
	return atomic_load_explicit(&l->svr, memory_order_relaxed) & SVR_ENABLE;
}

/* lapic.c: a fixed interrupt for this APIC. Any thread. */
void lapic_accept(struct lapic *l, uint8_t vector, bool level);
void lapic_update_ppr(struct lapic *l);
void lapic_end_of_interrupt(struct lapic *l);
/* lapic_regs.c */
void lapic_report_error(struct lapic *l, uint32_t bit);
void lapic_lvt_fire(struct lapic *l, enum lapic_lvt which);
/* lapic_route.c */
void lapic_icr_send(struct lapic *l);
void lapic_icr_store(struct lapic *l, uint64_t icr);
/* lapic_timer.c */
enum timer_mode lapic_timer_mode(const struct lapic *l);
uint32_t lapic_timer_count(const struct lapic *l);
void lapic_timer_write_initial(struct lapic *l, uint32_t value);
void lapic_timer_write_divide(struct lapic *l, uint32_t value);
/* The LVT's mode bits have been changed from `old`. */
void lapic_timer_mode_changed(struct lapic *l, uint32_t old);
void lapic_timer_reset(struct lapic *l);
