/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An I/O APIC with 24 inputs, version 0x20 (it has an EOI register). Interrupts go out as messages
 * with vm_msi_send(). Any thread.
 */
#pragma once

#include "vm/irq.h"
#include "vm/space.h"

#define IOAPIC_PINS 24

struct ioapic;
struct vm;

struct ioapic *ioapic_new(struct vm *vm, uint64_t base);
void ioapic_free(struct ioapic *io);
void ioapic_reset(struct ioapic *io);
/* As struct irq's set: `opaque` is the struct ioapic. */
void ioapic_set_line(void *opaque, unsigned pin, bool level);
/* A local APIC ended a level-triggered interrupt. As vm_irq_hooks.ioapic_eoi. */
void ioapic_eoi(void *opaque, uint8_t vector);
