/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of machine/: what the boards share. */
#pragma once

#include "machine/machine.h"

struct acpi_config;

/* --- machine.c --------------------------------------------------------------------------------- */
bool machine_switch_on(enum machine_switch value, bool board_default);
/* An error if the person set -machine NAME to what the board cannot do. */
bool machine_switch_check(const struct machine *m, const char *name, enum machine_switch value,
			  enum machine_switch impossible, GError **error);

/* --- ram.c: guest RAM and what e820 says of it --------------------------------------------------- */
enum { MACHINE_E820_RAM = 1, MACHINE_E820_RESERVED = 2, MACHINE_E820_ACPI = 3 };

/*
 * Allocate m->rams and map them: all of it below 4 GiB if it is less than `threshold`, else `low_max`
 * there and the rest from 4 GiB up. With `hole`, 0xa0000 to 0xfffff is left to others (video, PAM).
 */
bool machine_ram_create(struct machine *m, uint64_t threshold, uint64_t low_max, bool hole,
			GError **error);
void machine_ram_free(struct machine *m);
/* Append where each node's memory is: struct acpi_numa_memory. Without nodes, all is in node 0. */
void machine_ram_nodes(const struct machine *m, GArray *ranges);

/* --- devices.c ----------------------------------------------------------------------------------- */
void machine_add_bus(struct machine *m, const char *type, const char *name, void *bus,
		     struct device *owner);
/* The buses that a controller brings: NAME.0 and so on. */
void machine_add_buses_of(struct machine *m, struct device *dev, const char *name);
/*
 * One of the board's own devices, realized; freed with the machine. On PCI it is at `devfn`, which
 * is ignored elsewhere; -1: the first free place. prepare() comes before create and may be NULL.
 */
struct device *machine_add_own(struct machine *m, const struct device_class *class, void *bus,
			       int devfn, void (*prepare)(struct machine *m, struct device *dev),
			       GError **error);

/* Stop, detach and free a device; m->removed is told. */
void machine_take_device(struct machine *m, struct device *dev);

/* --- hotplug.c: PCI devices come and go through slots ---------------------------------------------- */
struct acpi_slot;
/* Give the board slots; event() raises Q35_SLOTS_GPE. Without this call there is no hot plug. */
void machine_hotplug_create(struct machine *m, void (*event)(void *opaque), void *opaque);
void machine_hotplug_free(struct machine *m);
/* Takes out what the guest was asked for: it will not answer any more. */
void machine_hotplug_reset(struct machine *m);
/* Can a device be put on this bus, called `name`, now that the machine is complete? */
bool machine_hotplug_check(const struct machine *m, const void *bus, const char *name, GError **error);
/* A device is on its bus; it may be a root port, whose slot is then known. */
void machine_hotplug_added(struct machine *m, struct device *dev);
/* Ask the guest for the device. */
bool machine_hotplug_request(struct machine *m, struct device *dev, const char *bus, GError **error);
/* For the tables: up to ACPI_PCI_SLOTS_MAX entries. */
unsigned machine_hotplug_describe(const struct machine *m, struct acpi_slot *list);

/* --- cpus.c: processors come and go ------------------------------------------------------------------ */
/* Let vCPUs be plugged in; event() raises Q35_CPUS_GPE. Without this call there is no hot plug. */
void machine_cpus_create(struct machine *m, void (*event)(void *opaque), void *opaque);
void machine_cpus_free(struct machine *m);
void machine_cpus_reset(struct machine *m);
/* How many are plugged in. */
unsigned machine_cpus_present(const struct machine *m);

/* --- memory.c: memory comes and goes ---------------------------------------------------------------- */
/*
 * Reserve addresses for config->max_memory; event() raises Q35_MEMORY_GPE. Without this call there is
 * no hot plug.
 */
bool machine_memory_create(struct machine *m, void (*event)(void *opaque), void *opaque, GError **error);
void machine_memory_free(struct machine *m);
void machine_memory_reset(struct machine *m);
/* Where modules may be; both 0: nowhere. */
void machine_memory_window(const struct machine *m, uint64_t *base, uint64_t *size);
/* Give a device that brings memory its place, and the guest the memory. Others are not touched. */
bool machine_memory_place(struct machine *m, struct device *dev, GError **error);
/* Take its memory out of the guest's reach: the device goes. */
void machine_memory_remove(struct machine *m, struct device *dev);
/* Ask the guest for a module. */
bool machine_memory_request(struct machine *m, struct device *dev, GError **error);
/* Can the device go? A virtio-mem that has something plugged in cannot. */
bool machine_memory_check_remove(struct device *dev, GError **error);

/* --- firmware.c ---------------------------------------------------------------------------------- */
/*
 * Map the ROM (-bios or `fallback`), its top at 4 GiB. True with m->firmware NULL if flash devices
 * are the firmware, or a kernel is entered directly.
 */
bool machine_firmware_load(struct machine *m, const char *fallback, GError **error);
/* fw_cfg's items that do not depend on the board's chips. */
bool machine_fw_cfg_fill(struct machine *m, GError **error);
/* The kernel's parts for firmware that loads it. */
bool machine_fw_cfg_kernel(struct machine *m, GError **error);
/* Will the kernel be entered without firmware? */
bool machine_is_direct(const struct machine *m);
/* The expansion ROM of that name, or NULL if it is not installed. g_free(). */
char *machine_rom_path(const struct machine_config *config, const char *name);

/* --- tables.c ------------------------------------------------------------------------------------ */
/*
 * ACPI and SMBIOS tables through fw_cfg, for firmware to place. `describe` fills the board's part of
 * the configuration (CPUs and extra tables are set); NULL: no ACPI.
 */
typedef void machine_acpi_fn(struct machine *m, struct acpi_config *config);
bool machine_tables_fw_cfg(struct machine *m, machine_acpi_fn *describe, GError **error);
void machine_tables_reset(struct machine *m);
void machine_tables_free(struct machine *m);

/* --- direct.c: -kernel without firmware ------------------------------------------------------------ */
struct machine_direct_options {
	machine_acpi_fn *acpi;               /* NULL: no tables */
	void (*board_setup)(struct machine *m); /* what firmware would program; may be NULL */
	const char *append;                  /* before the person's command line, or NULL; copied */
	bool smbios;
	uint64_t reserved_base, reserved_size; /* an address range that e820 reserves (ECAM) */
};
bool machine_direct_open(struct machine *m, const struct machine_direct_options *options,
			 GError **error);
/* At each reset. Errors go to m->load_error, and the VM to INTERNAL_ERROR if it runs. */
void machine_direct_load(struct machine *m);
/* What firmware does when a guest wakes up from S3: the board's setup, and off to where the guest wants. */
void machine_direct_wake(struct machine *m);
void machine_direct_free(struct machine *m);
