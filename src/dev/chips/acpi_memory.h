/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hot plug of memory by ACPI: the registers through which the board's tables learn of memory modules
 * (QEMU, docs/specs/acpi_mem_hotplug.rst). A write to +0 selects a slot, and the others are about that:
 *
 *   +0   read: address, low half     write: the slot's number
 *   +4         address, high half           what the guest's _OST reports about: an event
 *   +8         size, low half               and how it went; that completes the report
 *   +12        size, high half
 *   +16        proximity domain
 *   +20  byte: 0: enabled            1: forget that it is inserting
 *              1: inserting          2: forget that it is removing
 *              2: removing           3: eject
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ACPI_MEMORY_SLOTS_MAX 256
#define ACPI_MEMORY_PORTS     24

enum acpi_memory_control { ACPI_MEMORY_INSERTED = 2, ACPI_MEMORY_REMOVED = 4, ACPI_MEMORY_EJECT = 8 };

struct acpi_memory;
struct vm;

struct acpi_memory_ops {
	void (*event)(void *opaque); /* raise the general-purpose event. Main thread */
	void *event_opaque;
	/* Main thread: the guest has let go of the module; says how its handling of `event` went. Of a
	 * guest that reports faster than the main thread listens, the last one counts. */
	void (*ejected)(void *opaque, unsigned slot);
	void (*reported)(void *opaque, unsigned slot, uint32_t event, uint32_t status);
	void *opaque;
};

struct acpi_memory_module {
	uint64_t address, size;
	uint32_t node;
};

/* `count` empty slots, up to ACPI_MEMORY_SLOTS_MAX. The ports are at `base`. */
struct acpi_memory *acpi_memory_new(struct vm *vm, uint16_t base, unsigned count,
				    const struct acpi_memory_ops *ops);
void acpi_memory_free(struct acpi_memory *memory);
/* What the guest was told before is forgotten; the modules stay. */
void acpi_memory_reset(struct acpi_memory *memory);
/* NULL: the slot is empty. The guest is not told. */
void acpi_memory_set(struct acpi_memory *memory, unsigned slot, const struct acpi_memory_module *module);
/* Tell the guest: of a new module; that it shall give it back. */
void acpi_memory_inserted(struct acpi_memory *memory, unsigned slot);
void acpi_memory_request(struct acpi_memory *memory, unsigned slot);
