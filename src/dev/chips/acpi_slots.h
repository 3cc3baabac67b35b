/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hot plug by ACPI: how the board's tables learn what was put into a PCIe slot or is to come out of
 * it, and tell that the guest has let go of it. Our tables are its only user; the registers are
 *
 *   +0  inserted   bit n: something is new in slot n; cleared by reading
 *   +4  requested  bit n: the guest is asked to give back what is in slot n; cleared by reading
 *   +8  eject      writing bit n: the guest has let go of slot n
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ACPI_SLOTS_MAX   32
#define ACPI_SLOTS_PORTS 12

struct acpi_slots;
struct vm;

struct acpi_slots_ops {
	void (*event)(void *opaque); /* raise the general-purpose event. Main thread */
	void *event_opaque;
	void (*ejected)(void *opaque, unsigned slot); /* main thread */
	void *ejected_opaque;
};

/* The ports are at `base`. */
struct acpi_slots *acpi_slots_new(struct vm *vm, uint16_t base, const struct acpi_slots_ops *ops);
void acpi_slots_free(struct acpi_slots *slots);
/* What the guest was told before is forgotten. */
void acpi_slots_reset(struct acpi_slots *slots);
void acpi_slots_inserted(struct acpi_slots *slots, unsigned slot);
void acpi_slots_request(struct acpi_slots *slots, unsigned slot);
