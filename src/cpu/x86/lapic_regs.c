/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The local APIC's registers, as MMIO (xAPIC) and as MSRs (x2APIC), and its saved form. */
#include "cpu/x86/lapic_private.h"

#include "base/bytes.h"

#include <string.h>

static const uint16_t lvt_registers[LVT_COUNT] = {
	REG_LVT_TIMER, REG_LVT_THERMAL, REG_LVT_PERF, REG_LVT_LINT0, REG_LVT_LINT1, REG_LVT_ERROR,
};

/* Bits that software may set (SDM vol. 3, figure 11-8). */
static const uint32_t lvt_writable[LVT_COUNT] = {
	[LVT_TIMER] = 0x700ff, [LVT_THERMAL] = 0x107ff, [LVT_PERF] = 0x107ff,
	[LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff, [LVT_ERROR] = 0x100ff,
};

static int lvt_index(uint32_t reg)
{
	for (int i = 0; i < LVT_COUNT; i++)
		if (lvt_registers[i] == reg)
			return i;
	return -1;
}

/* SDM vol. 3, 11.5.3. An error interrupt comes once per error, not per bit already collected. */
void lapic_report_error(struct lapic *l, uint32_t bit)
{
	if (!(atomic_fetch_or(&l->errors, bit) & bit))
		lapic_lvt_fire(l, LVT_ERROR);
}

/* The pin or unit behind an LVT entry asks for its interrupt. */
void lapic_lvt_fire(struct lapic *l, enum lapic_lvt which)
{
	uint32_t entry = atomic_load(&l->lvt[which]);
	bool has_mode = which != LVT_TIMER && which != LVT_ERROR;

	if (entry & LVT_MASKED || !lapic_enabled(l))
		return;
	switch (has_mode ? entry >> 8 & 7 : LAPIC_FIXED) {
	case LAPIC_FIXED:
		/* Software must not use vectors 0-15; the timer would otherwise error for ever. */
		if ((entry & 0xff) < 16) {
			if (which != LVT_ERROR)
				lapic_report_error(l, ESR_RECEIVE_ILLEGAL);
			return;
		}
		lapic_accept(l, entry, false);
		break;
	case LAPIC_NMI:
		l->ops->notify(l->opaque, LAPIC_EVENT_NMI, 0);
		break;
	case LAPIC_INIT:
		l->ops->notify(l->opaque, LAPIC_EVENT_INIT, 0);
		break;
	default: /* SMI has no handler here; ExtINT is a level, see lapic_accepts_extint() */
		break;
	}
}

void lapic_lint1_nmi(struct lapic *l)
{
	if (!lapic_enabled(l)) {
		l->ops->notify(l->opaque, LAPIC_EVENT_NMI, 0);
		return;
	}
	lapic_lvt_fire(l, LVT_LINT1);
}

static uint32_t register_read(struct lapic *l, uint32_t reg)
{
	int lvt = lvt_index(reg);

	if (lvt >= 0)
		return atomic_load(&l->lvt[lvt]);
	if (reg >= REG_ISR && reg < REG_ISR + 0x80)
		return l->isr[(reg - REG_ISR) / 16];
	if (reg >= REG_TMR && reg < REG_TMR + 0x80)
		return atomic_load(&l->tmr[(reg - REG_TMR) / 16]);
	if (reg >= REG_IRR && reg < REG_IRR + 0x80)
		return atomic_load(&l->irr[(reg - REG_IRR) / 16]);
	switch (reg) {
	case REG_ID:
		return lapic_is_x2(l) ? l->apic_id : atomic_load(&l->xapic_id);
	case REG_VERSION:
		/* Version 0x14, LVT entries less one, EOI broadcast cannot be suppressed. */
		return 0x14 | (LVT_COUNT - 1) << 16;
	case REG_TPR:
		return l->tpr;
	case REG_PPR:
		return atomic_load(&l->ppr);
	case REG_LDR:
		return atomic_load(&l->ldr);
	case REG_DFR:
		return atomic_load(&l->dfr);
	case REG_SVR:
		return atomic_load(&l->svr);
	case REG_ESR:
		return l->esr;
	case REG_ICR:
		return (uint32_t)l->icr;
	case REG_ICR_HIGH:
		return l->icr_high;
	case REG_TIMER_INITIAL:
		return l->initial_count;
	case REG_TIMER_CURRENT:
		return lapic_timer_count(l);
	case REG_TIMER_DIVIDE:
		return l->divide;
	default:
		return 0;
	}
}

static void lvt_write(struct lapic *l, enum lapic_lvt which, uint32_t value)
{
	uint32_t old = atomic_load(&l->lvt[which]);

	value &= lvt_writable[which];
	if (!lapic_software_enabled(l))
		value |= LVT_MASKED;
	atomic_store(&l->lvt[which], value);
	if (which == LVT_TIMER)
		lapic_timer_mode_changed(l, old);
	/* Unmasked LINT0 may let an interrupt of the PIC in that has been waiting. */
	if (which == LVT_LINT0)
		l->ops->notify(l->opaque, LAPIC_EVENT_INTERRUPT, 0);
}

static void svr_write(struct lapic *l, uint32_t value)
{
	atomic_store(&l->svr, value & 0x3ff);
	/* Software-disabled: every LVT entry is masked and stays so (SDM vol. 3, 11.4.7.2). */
	if (!(value & SVR_ENABLE))
		for (unsigned i = 0; i < LVT_COUNT; i++)
			atomic_fetch_or(&l->lvt[i], LVT_MASKED);
}

/* False: there is no such register to write. */
static bool register_write(struct lapic *l, uint32_t reg, uint32_t value)
{
	int lvt = lvt_index(reg);

	if (lvt >= 0) {
		lvt_write(l, lvt, value);
		return true;
	}
	switch (reg) {
	case REG_TPR:
		l->tpr = value & 0xff;
		lapic_update_ppr(l);
		if (lapic_pending_vector(l) >= 0)
			l->ops->notify(l->opaque, LAPIC_EVENT_INTERRUPT, 0);
		return true;
	case REG_EOI:
		lapic_end_of_interrupt(l);
		return true;
	case REG_SVR:
		svr_write(l, value);
		return true;
	case REG_ESR:
		l->esr = atomic_exchange(&l->errors, 0);
		return true;
	case REG_TIMER_INITIAL:
		lapic_timer_write_initial(l, value);
		return true;
	case REG_TIMER_DIVIDE:
		lapic_timer_write_divide(l, value);
		return true;
	default:
		return false;
	}
}

uint32_t lapic_mmio_read(struct lapic *l, uint32_t offset)
{
	return offset & 15 || offset > 0x3f0 ? 0 : register_read(l, offset);
}

void lapic_mmio_write(struct lapic *l, uint32_t offset, uint32_t value)
{
	if (offset & 15)
		return;
	switch (offset) {
	case REG_ID:
		atomic_store(&l->xapic_id, value & 0xff000000);
		break;
	case REG_LDR:
		atomic_store(&l->ldr, value & 0xff000000);
		break;
	case REG_DFR:
		atomic_store(&l->dfr, value | 0x0fffffff);
		break;
	case REG_ICR_HIGH:
		l->icr_high = value & 0xff000000;
		break;
	case REG_ICR:
		lapic_icr_store(l, (uint64_t)l->icr_high << 32 | value);
		lapic_icr_send(l);
		break;
	default:
		if (!register_write(l, offset, value))
			lapic_report_error(l, ESR_ILLEGAL_REGISTER);
	}
}

/* x2APIC's registers (SDM vol. 3, table 11-6): which exist, and what bits a write may have. */
static bool x2apic_readable(uint32_t reg)
{
	return lvt_index(reg) >= 0 || (reg >= REG_ISR && reg <= REG_ESR) || reg == REG_ID ||
	       reg == REG_VERSION || reg == REG_TPR || reg == REG_PPR || reg == REG_LDR ||
	       reg == REG_SVR || reg == REG_ICR || reg == REG_TIMER_INITIAL ||
	       reg == REG_TIMER_CURRENT || reg == REG_TIMER_DIVIDE;
}

bool lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t *value)
{
	uint32_t reg = (msr - 0x800) << 4;

	if (!lapic_is_x2(l) || !x2apic_readable(reg))
		return false;
	*value = reg == REG_ICR ? l->icr : register_read(l, reg);
	return true;
}

static bool x2apic_value_valid(uint32_t reg, uint64_t value)
{
	int lvt = lvt_index(reg);

	if (lvt >= 0)
		return !(value & ~(uint64_t)(lvt_writable[lvt] | 1 << 12 | 1 << 14));
	switch (reg) {
	case REG_TPR:
		return value <= 0xff;
	case REG_EOI:
	case REG_ESR:
		return value == 0;
	case REG_SVR:
		return value <= 0x3ff;
	case REG_TIMER_INITIAL:
		return value <= UINT32_MAX;
	case REG_TIMER_DIVIDE:
		return !(value & ~UINT64_C(0xb));
	case REG_SELF_IPI:
		return value <= 0xff;
	case REG_ICR:
		return !(value & UINT64_C(0xfff32000));
	default:
		return false;
	}
}

bool lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t value)
{
	uint32_t reg = (msr - 0x800) << 4;

	if (!lapic_is_x2(l) || !x2apic_value_valid(reg, value))
		return false;
	if (reg == REG_ICR) {
		lapic_icr_store(l, value);
		lapic_icr_send(l);
		return true;
	}
	if (reg == REG_SELF_IPI) {
		if (value < 16)
			lapic_report_error(l, ESR_SEND_ILLEGAL);
		else
			lapic_accept(l, value, false);
		return true;
	}
	return register_write(l, reg, value);
}

void lapic_save(const struct lapic *l, uint8_t page[0x400])
{
	/* Reading a register has no side effect; only the interface says so less strongly. */
	struct lapic *reader = (struct lapic *)l;

	memset(page, 0, 0x400);
	for (uint32_t reg = 0x20; reg <= 0x3e0; reg += 0x10)
		le32_store(page + reg, register_read(reader, reg));
	if (lapic_is_x2(l))
		le32_store(page + REG_ICR_HIGH, l->icr >> 32);
}

void lapic_load(struct lapic *l, const uint8_t page[0x400], uint64_t apic_base,
		uint64_t tsc_deadline)
{
	atomic_store(&l->base, apic_base);
	if (!lapic_is_x2(l))
		atomic_store(&l->xapic_id, le32_load(page + REG_ID));
	atomic_store(&l->ldr, le32_load(page + REG_LDR));
	atomic_store(&l->dfr, le32_load(page + REG_DFR) | 0x0fffffff);
	atomic_store(&l->svr, le32_load(page + REG_SVR) & 0x3ff);
	for (unsigned i = 0; i < LVT_COUNT; i++)
		atomic_store(&l->lvt[i], le32_load(page + lvt_registers[i]) & lvt_writable[i]);
	for (unsigned i = 0; i < 8; i++) {
		l->isr[i] = le32_load(page + REG_ISR + i * 16);
		atomic_store(&l->tmr[i], le32_load(page + REG_TMR + i * 16));
		atomic_store(&l->irr[i], le32_load(page + REG_IRR + i * 16));
	}
	l->tpr = le32_load(page + REG_TPR) & 0xff;
	l->esr = le32_load(page + REG_ESR);
	l->icr_high = le32_load(page + REG_ICR_HIGH);
	l->icr = (uint64_t)l->icr_high << 32 | le32_load(page + REG_ICR);
	lapic_update_ppr(l);

	uint32_t current = le32_load(page + REG_TIMER_CURRENT);
	lapic_timer_reset(l);
	lapic_timer_write_divide(l, le32_load(page + REG_TIMER_DIVIDE));
	if (lapic_timer_mode(l) == TIMER_TSC_DEADLINE) {
		lapic_tsc_deadline_set(l, tsc_deadline);
	} else {
		/* The period under way goes on from its remaining count. */
		lapic_timer_write_initial(l, current);
		l->initial_count = le32_load(page + REG_TIMER_INITIAL);
	}
	l->ops->notify(l->opaque, LAPIC_EVENT_INTERRUPT, 0);
}
