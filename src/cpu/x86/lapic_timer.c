/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC's timer: one-shot, periodic and TSC-deadline (SDM vol. 3, 11.5.4). It counts
 * nanoseconds over the divisor. Nothing runs by itself: the owner polls at the deadline.
 */
#include "cpu/x86/lapic_private.h"

/* No guest gets periodic interrupts closer than this; real ones never want them. */
enum { PERIOD_MIN_NS = 20000 };

enum timer_mode lapic_timer_mode(const struct lapic *l)
{
	return atomic_load_explicit(&l->lvt[LVT_TIMER], memory_order_relaxed) >> 17 & 3;
}

/* Divide configuration register: bits 3, 1, 0; 7 means 1. */
static unsigned divide_shift(const struct lapic *l)
{
	return (((l->divide & 3) | (l->divide & 8) >> 1) + 1) & 7;
}

static int64_t period(const struct lapic *l)
{
	return (int64_t)l->initial_count << divide_shift(l);
}

static void deadline_set(struct lapic *l, int64_t deadline)
{
	if (l->deadline == deadline)
		return;
	l->deadline = deadline;
	if (l->ops->timer_changed)
		l->ops->timer_changed(l->opaque);
}

void lapic_timer_reset(struct lapic *l)
{
	l->initial_count = 0;
	l->divide = 0;
	l->tsc_deadline = 0;
	deadline_set(l, LAPIC_NEVER);
}

int64_t lapic_timer_deadline(const struct lapic *l)
{
	return l->deadline;
}

uint32_t lapic_timer_count(const struct lapic *l)
{
	if (l->deadline == LAPIC_NEVER || lapic_timer_mode(l) == TIMER_TSC_DEADLINE)
		return 0;
	int64_t left = l->deadline - l->ops->now(l->opaque);
	if (left <= 0) {
		/* Late: what the counter would show meanwhile in the next period. */
		if (lapic_timer_mode(l) != TIMER_PERIODIC || !period(l))
			return 0;
		left = period(l) - -left % period(l);
	}
	return left >> divide_shift(l);
}

void lapic_timer_write_initial(struct lapic *l, uint32_t value)
{
	if (lapic_timer_mode(l) == TIMER_TSC_DEADLINE)
		return;
	l->initial_count = value;
	if (!value) {
		deadline_set(l, LAPIC_NEVER);
		return;
	}
	l->timer_start = l->ops->now(l->opaque);
	deadline_set(l, l->timer_start + period(l));
}

void lapic_timer_write_divide(struct lapic *l, uint32_t value)
{
	uint32_t left = lapic_timer_count(l);

	l->divide = value & 0xb;
	if (l->deadline != LAPIC_NEVER && lapic_timer_mode(l) != TIMER_TSC_DEADLINE)
		deadline_set(l, l->ops->now(l->opaque) + ((int64_t)left << divide_shift(l)));
}

void lapic_timer_mode_changed(struct lapic *l, uint32_t old)
{
	bool was_deadline = (old >> 17 & 3) == TIMER_TSC_DEADLINE;
	bool is_deadline = lapic_timer_mode(l) == TIMER_TSC_DEADLINE;

	/* A switch to or from TSC-deadline mode disarms (SDM vol. 3, 11.5.4.1). */
	if (was_deadline != is_deadline) {
		l->initial_count = 0;
		l->tsc_deadline = 0;
		deadline_set(l, LAPIC_NEVER);
	}
}

uint64_t lapic_tsc_deadline_get(struct lapic *l)
{
	lapic_timer_poll(l);
	return lapic_timer_mode(l) == TIMER_TSC_DEADLINE ? l->tsc_deadline : 0;
}

void lapic_tsc_deadline_set(struct lapic *l, uint64_t tsc)
{
	if (lapic_timer_mode(l) != TIMER_TSC_DEADLINE)
		return;
	l->tsc_deadline = tsc;
	deadline_set(l, tsc ? l->ops->tsc_moment(l->opaque, tsc) : LAPIC_NEVER);
	lapic_timer_poll(l);
}

void lapic_timer_poll(struct lapic *l)
{
	if (l->deadline == LAPIC_NEVER)
		return;
	int64_t now = l->ops->now(l->opaque);
	if (now < l->deadline)
		return;

	int64_t next = LAPIC_NEVER;
	if (lapic_timer_mode(l) == TIMER_PERIODIC && l->initial_count) {
		int64_t step = period(l) < PERIOD_MIN_NS ? PERIOD_MIN_NS : period(l);
		next = l->deadline + step;
		/* Periods missed while the thread was not running are lost, as with SMIs. */
		if (next <= now)
			next = now + step - (now - l->deadline) % step;
	}
	l->tsc_deadline = 0;
	deadline_set(l, next);
	lapic_lvt_fire(l, LVT_TIMER);
}

void lapic_timer_put_off(struct lapic *l, int64_t ns)
{
	if (l->deadline == LAPIC_NEVER)
		return;
	l->timer_start += ns;
	deadline_set(l, l->deadline + ns);
}
