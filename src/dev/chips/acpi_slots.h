/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hot plug by ACPI: how the board's tables learn what was put into a slot - of PCIe, a processor's -
 * or is to come out of it, and tell that the guest has let go of it. Our tables are its only user;
 * the registers, of 32 bits each, are
 *
 *   +0  event    reading takes the next one: what << 16 | slot, with ACPI's number for its
 *                Notify (1: look what is new, 3: give it back); 0: there is none
 *   +4  present  write a slot's number, read 1 if something is in it
 *   +8  eject    write a slot's number: the guest has let go of it
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ACPI_SLOTS_MAX   256
#define ACPI_SLOTS_PORTS 12

struct acpi_slots;
struct vm;

struct acpi_slots_ops {
	void (*event)(void *opaque); /* raise the general-purpose event. Main thread */
	void *event_opaque;
	void (*ejected)(void *opaque, unsigned slot); /* main thread */
	void *ejected_opaque;
};

/* `count` slots, up to ACPI_SLOTS_MAX, all empty. The ports are at `base`. */
struct acpi_slots *acpi_slots_new(struct vm *vm, uint16_t base, unsigned count,
				  const struct acpi_slots_ops *ops);
void acpi_slots_free(struct acpi_slots *slots);
/* What the guest was told before is forgotten; what is in the slots stays. */
void acpi_slots_reset(struct acpi_slots *slots);
/* Something is in the slot, or no more. The guest is not told. */
void acpi_slots_set_present(struct acpi_slots *slots, unsigned slot, bool present);
/* Tell the guest: of something new in the slot; that it shall give it back. */
void acpi_slots_inserted(struct acpi_slots *slots, unsigned slot);
void acpi_slots_request(struct acpi_slots *slots, unsigned slot);
