/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who gets a message: physical, flat, cluster and x2APIC destinations, shorthands and lowest
 * priority (SDM vol. 3, 11.6.2 and 11.12.10), from the ICR, from MSIs and from IOAPICs.
 */
#include "cpu/x86/lapic_private.h"

#include <stddef.h>

static bool matches_physical(const struct lapic *l, const struct lapic_message *m)
{
	if (m->destination == (m->x2apic ? UINT32_MAX : 0xff))
		return true;
	if (lapic_is_x2(l))
		return m->destination == l->apic_id;
	return m->destination == atomic_load(&l->xapic_id) >> 24;
}

static bool matches_logical(const struct lapic *l, const struct lapic_message *m)
{
	uint32_t ldr = atomic_load(&l->ldr), destination = m->destination;

	if (destination == (m->x2apic ? UINT32_MAX : 0xff))
		return true;
	if (lapic_is_x2(l))
		return ldr >> 16 == destination >> 16 && ldr & destination & 0xffff;
	ldr >>= 24;
	if (atomic_load(&l->dfr) >> 28 == 0xf) /* flat */
		return ldr & destination & 0xff;
	/* Cluster 15 is the broadcast to all clusters. */
	bool cluster = ldr >> 4 == (destination >> 4 & 0xf) || (destination >> 4 & 0xf) == 0xf;
	return cluster && ldr & destination & 0xf;
}

static bool matches(const struct lapic *l, const struct lapic_message *m)
{
	return m->logical ? matches_logical(l, m) : matches_physical(l, m);
}

static void deliver(struct lapic *l, const struct lapic_message *m)
{
	switch (m->delivery) {
	case LAPIC_FIXED:
	case LAPIC_LOWEST:
		if (m->vector < 16) {
			lapic_report_error(l, ESR_RECEIVE_ILLEGAL);
			break;
		}
		lapic_accept(l, m->vector, m->level);
		break;
	case LAPIC_NMI:
		l->ops->notify(l->opaque, LAPIC_EVENT_NMI, 0);
		break;
	case LAPIC_INIT:
		l->ops->notify(l->opaque, LAPIC_EVENT_INIT, 0);
		break;
	case LAPIC_STARTUP:
		l->ops->notify(l->opaque, LAPIC_EVENT_SIPI, m->vector);
		break;
	default: /* SMI: no SMM here. ExtINT: only as a level on LINT0. */
		break;
	}
}

/*
 * Lowest priority: the idlest by PPR that is enabled. Ties go by vector, so that devices spread
 * over processors yet one vector stays where its cache lines are.
 */
static void deliver_lowest(struct lapic *via, const struct lapic_message *m)
{
	struct lapic *best = NULL, *l;
	uint32_t best_ppr = UINT32_MAX, best_tie = 0;

	for (unsigned i = 0; (l = via->ops->peer(via->opaque, i)); i++) {
		if (!lapic_enabled(l) || !lapic_software_enabled(l) || !matches(l, m))
			continue;
		uint32_t ppr = atomic_load(&l->ppr) & 0xf0;
		uint32_t tie = (i * UINT32_C(2654435761)) ^ (m->vector * UINT32_C(0x9e3779b1));
		if (!best || ppr < best_ppr || (ppr == best_ppr && tie < best_tie)) {
			best = l;
			best_ppr = ppr;
			best_tie = tie;
		}
	}
	if (best)
		deliver(best, m);
}

void lapic_send(struct lapic *via, const struct lapic_message *m)
{
	struct lapic *l;

	if (m->delivery == LAPIC_LOWEST) {
		deliver_lowest(via, m);
		return;
	}
	for (unsigned i = 0; (l = via->ops->peer(via->opaque, i)); i++)
		/* An APIC that is off still hears INIT, SIPI and NMI of its physical id. */
		if (matches(l, m))
			deliver(l, m);
}

void lapic_send_msi(struct lapic *via, uint64_t address, uint32_t data)
{
	/*
	 * SDM vol. 3, 11.11. Bits 11-5 extend the destination as KVM's ext-dest-id does; x2APIC ids
	 * above 255 are reachable no other way without interrupt remapping.
	 */
	uint32_t low = address >> 12 & 0xff, high = address >> 5 & 0x7f;
	struct lapic_message m = {
		.destination = low | high << 8,
		.logical = address & 1 << 2,
		.delivery = data >> 8 & 7,
		.vector = data & 0xff,
		.level = data & 1 << 15,
	};
	/* A redirection hint with a logical destination means "one of these". */
	if (address & 1 << 3 && m.logical && m.delivery == LAPIC_FIXED)
		m.delivery = LAPIC_LOWEST;
	lapic_send(via, &m);
}

void lapic_icr_store(struct lapic *l, uint64_t icr)
{
	/* Delivery status is never "pending" for a reader: sending is immediate. */
	l->icr = icr & ~(UINT64_C(1) << 12);
	l->icr_high = icr >> 32;
}

enum shorthand { TO_DESTINATION, TO_SELF, TO_ALL, TO_OTHERS };

void lapic_icr_send(struct lapic *l)
{
	uint64_t icr = l->icr;
	bool x2 = lapic_is_x2(l), assert_level = icr & 1 << 14;
	struct lapic_message m = {
		.destination = x2 ? icr >> 32 : icr >> 56,
		.x2apic = x2,
		.logical = icr & 1 << 11,
		.delivery = icr >> 8 & 7,
		.vector = icr & 0xff,
	};
	struct lapic *other;

	/* INIT level de-assert only synchronised arbitration ids of processors long gone. */
	if (m.delivery == LAPIC_INIT && icr & 1 << 15 && !assert_level)
		return;
	if ((m.delivery == LAPIC_FIXED || m.delivery == LAPIC_LOWEST) && m.vector < 16) {
		lapic_report_error(l, ESR_SEND_ILLEGAL);
		return;
	}
	switch ((enum shorthand)(icr >> 18 & 3)) {
	case TO_SELF:
		deliver(l, &m);
		break;
	case TO_ALL:
	case TO_OTHERS:
		for (unsigned i = 0; (other = l->ops->peer(l->opaque, i)); i++)
			if (other != l || (icr >> 18 & 3) == TO_ALL)
				deliver(other, &m);
		break;
	case TO_DESTINATION:
		lapic_send(l, &m);
		break;
	}
}
