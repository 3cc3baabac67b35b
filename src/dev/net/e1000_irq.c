/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts: causes, masks, vectors and throttling. 82574 datasheet, 7.4. */
#include "dev/net/e1000_int.h"

/* IVAR: each of the five groups of causes has four bits, of which the last says that they are valid. */
enum { IVAR_VALID = 8, IVAR_VECTOR = 7, GROUPS = 5, ITR_UNIT_NS = 256 };

static const uint32_t group_causes[GROUPS] = {
	INT_RXQ0, INT_RXQ0 << 1, INT_TXQ0, INT_TXQ0 << 1, INT_OTHER,
};

static bool uses_msix(const struct e1000 *e)
{
	return e->model->express && pci_msix_enabled(&e->card.pci);
}

/* Least time between two interrupts of a vector. */
static int64_t interval_ns(const struct e1000 *e, unsigned vector)
{
	unsigned reg = uses_msix(e) ? EITR0 + 4 * vector : ITR;
	return (int64_t)(e1000_get(e, reg) & 0xffff) * ITR_UNIT_NS;
}

/* May the vector fire now? If not it does when its time has come. */
static bool throttle(struct e1000 *e, unsigned vector)
{
	int64_t interval = interval_ns(e, vector);
	if (!interval)
		return true;
	int64_t now = aio_now_ns();
	if (now >= e->throttle[vector].next_ns) {
		e->throttle[vector].next_ns = now + interval;
		return true;
	}
	/* A guest that made the interval shorter does not wait for the longer one. */
	e->throttle[vector].next_ns = MIN(e->throttle[vector].next_ns, now + interval);
	e->throttle[vector].waiting = true;
	int64_t first = INT64_MAX;
	for (unsigned v = 0; v < E1000_VECTORS; v++) {
		if (e->throttle[v].waiting)
			first = MIN(first, e->throttle[v].next_ns);
	}
	aio_timer_arm(&e->timer, first);
	return false;
}

/* 7.4.1.3: a group's vector fires, and its causes are cleared and masked as the driver has chosen. */
static void fire_group(struct e1000 *e, uint32_t causes, unsigned entry)
{
	unsigned vector = entry & IVAR_VECTOR;
	if (!(entry & IVAR_VALID) || vector >= E1000_VECTORS || !throttle(e, vector))
		return;
	uint32_t clear = e1000_get(e, EIAC) & causes;
	if (e1000_get(e, CTRL_EXT) & CTRL_EXT_EIAME)
		e1000_set(e, IMS, e1000_get(e, IMS) & ~((e1000_get(e, IAM) & causes) | clear));
	e1000_set(e, ICR, e1000_get(e, ICR) & ~clear);
	pci_msi_notify(&e->card.pci, vector);
}

/* `fresh`: causes that were not there, or not asked for, before. */
static void update(struct e1000 *e, uint32_t fresh)
{
	uint32_t pending = e1000_get(e, ICR) & e1000_get(e, IMS) & ~INT_ASSERTED;
	if (uses_msix(e)) {
		for (unsigned g = 0; g < GROUPS; g++) {
			if (pending & fresh & group_causes[g])
				fire_group(e, group_causes[g], e1000_get(e, IVAR) >> 4 * g & 15);
		}
		return;
	}
	uint32_t icr = e1000_get(e, ICR) & ~INT_ASSERTED;
	bool asserted = e1000_get(e, ICR) & INT_ASSERTED;
	/* An interrupt that is out stays; a new one may have to wait. */
	if (pending && (asserted || throttle(e, 0)))
		icr |= INT_ASSERTED;
	e1000_set(e, ICR, icr);
	if (e->model->express && pci_msi_enabled(&e->card.pci)) {
		pci_intx_set(&e->card.pci, false);
		if (icr & INT_ASSERTED && (!asserted || pending & fresh))
			pci_msi_notify(&e->card.pci, 0);
		return;
	}
	pci_intx_set(&e->card.pci, icr & INT_ASSERTED);
}

void e1000_raise(struct e1000 *e, uint32_t causes)
{
	if (e->model->express) {
		if (causes & INT_OTHER_CAUSES)
			causes |= INT_OTHER;
	} else {
		causes &= ~(INT_RXQ0 | INT_RXQ0 << 1 | INT_TXQ0 | INT_TXQ0 << 1 | INT_OTHER);
	}
	e1000_set(e, ICR, e1000_get(e, ICR) | causes);
	update(e, causes);
}

void e1000_irq_timer(void *opaque)
{
	struct e1000 *e = opaque;
	pthread_mutex_lock(&e->card.lock);
	int64_t now = aio_now_ns(), first = INT64_MAX;
	uint32_t due = 0;
	for (unsigned v = 0; v < E1000_VECTORS; v++) {
		if (!e->throttle[v].waiting)
			continue;
		if (e->throttle[v].next_ns > now) {
			first = MIN(first, e->throttle[v].next_ns);
			continue;
		}
		e->throttle[v].waiting = false;
		for (unsigned g = 0; g < GROUPS; g++) {
			if ((e1000_get(e, IVAR) >> 4 * g & IVAR_VECTOR) == v)
				due |= group_causes[g];
		}
	}
	if (first != INT64_MAX)
		aio_timer_arm(&e->timer, first);
	update(e, uses_msix(e) ? due : UINT32_MAX);
	pthread_mutex_unlock(&e->card.lock);
}

/* 10.2.4.1. What is read is gone, unless nobody was told of it. */
uint32_t e1000_read_icr(struct e1000 *e)
{
	uint32_t icr = e1000_get(e, ICR);
	bool clear = !e->model->express || !e1000_get(e, IMS) || icr & INT_ASSERTED || uses_msix(e);
	if (icr & INT_ASSERTED && e1000_get(e, CTRL_EXT) & CTRL_EXT_IAME)
		e1000_set(e, IMS, e1000_get(e, IMS) & ~e1000_get(e, IAM));
	if (clear)
		e1000_set(e, ICR, 0);
	update(e, 0);
	return icr;
}

void e1000_write_interrupt(struct e1000 *e, unsigned reg, uint32_t value)
{
	uint32_t before = e1000_get(e, IMS);
	switch (reg) {
	case ICR: /* writing ones clears */
		e1000_set(e, ICR, e1000_get(e, ICR) & ~value);
		break;
	case ICS:
		e1000_raise(e, value & ~INT_ASSERTED);
		return;
	case IMS:
		e1000_set(e, IMS, before | (value & ~INT_ASSERTED));
		update(e, value);
		return;
	case IMC:
		e1000_set(e, IMS, before & ~value);
		break;
	default:
		e1000_set(e, reg, value);
		break;
	}
	update(e, 0);
}

void e1000_irq_reset(struct e1000 *e)
{
	memset(e->throttle, 0, sizeof(e->throttle));
	aio_timer_cancel(&e->timer);
	pci_intx_set(&e->card.pci, false);
}
