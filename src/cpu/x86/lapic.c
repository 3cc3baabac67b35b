/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC's core: IRR, ISR, priorities, acceptance and acknowledgement (SDM vol. 3, 11.8),
 * life cycle and IA32_APIC_BASE. Registers are in lapic_regs.c, routing in lapic_route.c, the timer
 * in lapic_timer.c.
 */
#include "cpu/x86/lapic_private.h"

#include <glib.h>
#include <string.h>

static void set_bit(_Atomic uint32_t *bits, uint8_t vector)
{
	atomic_fetch_or(&bits[vector / 32], UINT32_C(1) << vector % 32);
}

static void clear_bit(_Atomic uint32_t *bits, uint8_t vector)
{
	atomic_fetch_and(&bits[vector / 32], ~(UINT32_C(1) << vector % 32));
}

static int highest_irr(const struct lapic *l)
{
	for (int i = 7; i >= 0; i--) {
		uint32_t bits = atomic_load_explicit(&l->irr[i], memory_order_relaxed);
		if (bits)
			return i * 32 + 31 - __builtin_clz(bits);
	}
	return -1;
}

static int highest_isr(const struct lapic *l)
{
	for (int i = 7; i >= 0; i--)
		if (l->isr[i])
			return i * 32 + 31 - __builtin_clz(l->isr[i]);
	return -1;
}

/* SDM vol. 3, 11.8.3.1: the processor's priority is that of TPR or of what is in service. */
void lapic_update_ppr(struct lapic *l)
{
	int in_service = highest_isr(l);
	uint32_t isr_class = in_service < 0 ? 0 : in_service & 0xf0;
	uint32_t ppr = (l->tpr & 0xf0) >= isr_class ? l->tpr : isr_class;
	atomic_store_explicit(&l->ppr, ppr, memory_order_relaxed);
}

void lapic_accept(struct lapic *l, uint8_t vector, bool level)
{
	if (!lapic_enabled(l) || !lapic_software_enabled(l))
		return;
	/* TMR first: an acknowledgement that sees the IRR bit must see its trigger mode. */
	if (level)
		set_bit(l->tmr, vector);
	else
		clear_bit(l->tmr, vector);
	set_bit(l->irr, vector);
	l->ops->notify(l->opaque, LAPIC_EVENT_INTERRUPT, 0);
}

int lapic_pending_vector(struct lapic *l)
{
	int vector = highest_irr(l);
	uint32_t ppr = atomic_load_explicit(&l->ppr, memory_order_relaxed);

	if (vector < 0 || (uint32_t)(vector & 0xf0) <= (ppr & 0xf0) || !lapic_enabled(l))
		return -1;
	return vector;
}

int lapic_acknowledge(struct lapic *l)
{
	int vector = lapic_pending_vector(l);

	if (vector < 0)
		return -1;
	clear_bit(l->irr, vector);
	l->isr[vector / 32] |= UINT32_C(1) << vector % 32;
	lapic_update_ppr(l);
	return vector;
}

/* A write of EOI: the highest in-service vector is done. */
void lapic_end_of_interrupt(struct lapic *l)
{
	int vector = highest_isr(l);

	if (vector < 0)
		return;
	l->isr[vector / 32] &= ~(UINT32_C(1) << vector % 32);
	lapic_update_ppr(l);
	bool level = atomic_load(&l->tmr[vector / 32]) >> vector % 32 & 1;
	if (level && l->ops->eoi)
		l->ops->eoi(l->opaque, vector);
	if (lapic_pending_vector(l) >= 0)
		l->ops->notify(l->opaque, LAPIC_EVENT_INTERRUPT, 0);
}

bool lapic_accepts_extint(const struct lapic *l)
{
	uint32_t lint0 = atomic_load_explicit(&l->lvt[LVT_LINT0], memory_order_relaxed);

	if (!lapic_enabled(l))
		return atomic_load_explicit(&l->base, memory_order_relaxed) & BASE_BSP;
	return !(lint0 & LVT_MASKED) && (lint0 >> 8 & 7) == LAPIC_EXTINT;
}

void lapic_cr8_set(struct lapic *l, uint8_t cr8)
{
	l->tpr = (uint32_t)cr8 << 4;
	lapic_update_ppr(l);
	if (lapic_pending_vector(l) >= 0)
		l->ops->notify(l->opaque, LAPIC_EVENT_INTERRUPT, 0);
}

uint8_t lapic_cr8_get(const struct lapic *l)
{
	return l->tpr >> 4;
}

static uint32_t x2apic_ldr(uint32_t id)
{
	return (id >> 4) << 16 | UINT32_C(1) << (id & 15);
}

static void registers_reset(struct lapic *l)
{
	for (unsigned i = 0; i < 8; i++) {
		atomic_store(&l->irr[i], 0);
		atomic_store(&l->tmr[i], 0);
		l->isr[i] = 0;
	}
	for (unsigned i = 0; i < LVT_COUNT; i++)
		atomic_store(&l->lvt[i], LVT_MASKED);
	atomic_store(&l->errors, 0);
	atomic_store(&l->ldr, 0);
	atomic_store(&l->dfr, UINT32_MAX);
	atomic_store(&l->svr, 0xff);
	l->tpr = l->esr = l->icr_high = 0;
	l->icr = 0;
	lapic_timer_reset(l);
	lapic_update_ppr(l);
}

void lapic_reset(struct lapic *l, bool init)
{
	registers_reset(l);
	if (!init) {
		uint64_t bsp = atomic_load(&l->base) & BASE_BSP;
		atomic_store(&l->base, LAPIC_DEFAULT_BASE | BASE_ENABLE | bsp);
		atomic_store(&l->xapic_id, l->apic_id << 24);
		/* The boot processor's LINT0 is virtual wire until firmware says otherwise. */
		if (bsp)
			atomic_store(&l->lvt[LVT_LINT0], LAPIC_EXTINT << 8);
	}
	if (lapic_is_x2(l))
		atomic_store(&l->ldr, x2apic_ldr(l->apic_id));
}

struct lapic *lapic_new(const struct lapic_ops *ops, void *opaque, uint32_t apic_id,
			bool boot_processor)
{
	struct lapic *l = g_new0(struct lapic, 1);

	l->ops = ops;
	l->opaque = opaque;
	l->apic_id = apic_id;
	l->deadline = LAPIC_NEVER;
	atomic_store(&l->base, boot_processor ? BASE_BSP : 0);
	lapic_reset(l, false);
	return l;
}

void lapic_free(struct lapic *l)
{
	g_free(l);
}

uint64_t lapic_base_get(const struct lapic *l)
{
	return atomic_load_explicit(&l->base, memory_order_relaxed);
}

/* SDM vol. 3, 11.12.5: which of the three modes may follow which. */
bool lapic_base_set(struct lapic *l, uint64_t value, unsigned phys_bits, bool has_x2apic)
{
	uint64_t old = atomic_load(&l->base);
	uint64_t reserved = ~((UINT64_C(1) << phys_bits) - 1) | 0xff | 1 << 9;
	bool was_x2 = old & BASE_EXTD, to_x2 = value & BASE_EXTD;

	if (value & reserved || (to_x2 && !has_x2apic))
		return false;
	if (to_x2 && !(value & BASE_ENABLE))
		return false;
	if (to_x2 && !was_x2 && !(old & BASE_ENABLE))
		return false; /* off to x2APIC in one step */
	if (was_x2 && !to_x2 && value & BASE_ENABLE)
		return false; /* x2APIC back to xAPIC needs off between */
	value = (value & ~(uint64_t)BASE_BSP) | (old & BASE_BSP);
	atomic_store(&l->base, value);
	if (!(value & BASE_ENABLE) && old & BASE_ENABLE) {
		registers_reset(l);
		atomic_store(&l->xapic_id, l->apic_id << 24);
	}
	if (to_x2 && !was_x2)
		atomic_store(&l->ldr, x2apic_ldr(l->apic_id));
	/* The PIC's interrupts pass an APIC that is off, and one that is on only by LINT0. */
	l->ops->notify(l->opaque, LAPIC_EVENT_INTERRUPT, 0);
	return true;
}

bool lapic_page_matches(const struct lapic *l, uint64_t phys)
{
	uint64_t base = atomic_load_explicit(&l->base, memory_order_relaxed);
	return (base & (BASE_ENABLE | BASE_EXTD)) == BASE_ENABLE &&
	       ((base ^ phys) & ~UINT64_C(0xfff)) == 0;
}
