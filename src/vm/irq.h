/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An IRQ line as a device sees it: a handle to drive, with no knowledge of what is at the other end
 * (PIC and IOAPIC input, PCI INTx, an in-kernel interrupt controller). Any thread may drive a line;
 * the receiver locks. A handle with a NULL `set` is not connected and drives nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct irq {
	void (*set)(void *opaque, unsigned line, bool level);
	void *opaque;
	unsigned line;
};

static inline void irq_set(const struct irq *irq, bool level)
{
	if (irq->set)
		irq->set(irq->opaque, irq->line, level);
}

static inline void irq_pulse(const struct irq *irq)
{
	irq_set(irq, true);
	irq_set(irq, false);
}
