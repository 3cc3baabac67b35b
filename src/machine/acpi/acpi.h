/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables for a board (ACPI 6.4). acpi_build() turns a description of the board into two blobs,
 * the tables and the RSDP, and a list of what must be patched once their addresses are known. The
 * same result reaches a guest in two ways:
 *
 *   firmware      acpi_loader_script() writes the patches as the commands of fw_cfg's
 *                 "etc/table-loader", which SeaBIOS and OVMF execute
 *   no firmware   acpi_place() applies the patches for addresses that we choose
 *
 * Building is pure: no VM is touched, and nothing here depends on a guest but the few values of the
 * configuration that firmware can program (ECAM, PM base).
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum acpi_board { ACPI_BOARD_Q35, ACPI_BOARD_MICROVM };

/* NUMA: what SRAT and SLIT say. */
struct acpi_numa_memory {
	uint64_t base, size;
	uint32_t node;
};

/* A PCIe slot whose device may come and go: its root port's devfn on bus 0 and its number. */
struct acpi_slot {
	uint8_t devfn;
	uint32_t number;
};
#define ACPI_PCI_SLOTS_MAX 32

struct acpi_config {
	enum acpi_board board;

	const uint32_t *apic_ids; /* of cpu_count CPUs, in order of their index */
	const bool *cpus_present; /* which are plugged in; NULL: all, and no hot plug of CPUs */
	unsigned cpu_count;
	bool has_pic; /* 8259s: MADT's PCAT_COMPAT */

	/* PCI. ecam_size 0: no MCFG. Windows are [base, end); equal: none. */
	bool pci;
	uint64_t ecam_base, ecam_size;
	uint64_t window32_base, window32_end; /* the ECAM window is cut out of it if it is inside */
	uint64_t window64_base, window64_end;

	struct acpi_slot slots[ACPI_PCI_SLOTS_MAX];
	unsigned slot_count;

	/* Memory that may be plugged in, and where: [base, base + size). size 0: none. */
	uint64_t module_base, module_size;
	unsigned module_slots;

	bool hpet;
	bool rtc, keyboard; /* keyboard: i8042 with mouse */
	bool vga;
	uint8_t serial_ports; /* bit n: COMn+1 at the usual place */
	bool fw_cfg;
	bool pvpanic;
	uint16_t pm_base; /* q35 */
	bool s3, s4;      /* sleep states offered beside S5 (q35) */

	/* microvm: virtio-mmio slots that hold a device (layout.h says where). */
	uint32_t virtio_slots;

	unsigned numa_nodes; /* 0: neither SRAT nor SLIT */
	const struct acpi_numa_memory *numa_memory;
	unsigned numa_memory_count;
	const uint32_t *cpu_nodes;       /* the node of each CPU */
	const uint8_t *numa_distances;   /* numa_nodes squared, or NULL: 10 and 20 */

	/* -acpitable: whole tables with header, already checked by acpi_check_extra(). */
	const GBytes *const *extra;
	unsigned extra_count;
};

struct acpi_tables {
	GByteArray *tables; /* "etc/acpi/tables": FACS at 0, so align it to 64 */
	GByteArray *rsdp;   /* "etc/acpi/rsdp" */
	GArray *links;      /* of struct acpi_link: private to blob.c */
};

/* In the FACS (ACPI 6.4, 5.2.10): the physical address at which a guest wakes up in real mode; 32 bits. */
enum { ACPI_FACS_WAKING_VECTOR = 12 };

struct acpi_tables *acpi_build(const struct acpi_config *config);
void acpi_tables_free(struct acpi_tables *t);

/* "etc/table-loader" for these tables. Free with g_byte_array_unref(). */
GByteArray *acpi_loader_script(const struct acpi_tables *t);

/*
 * Patch both blobs for their final guest-physical addresses (below 4 GiB). They can then be copied
 * to the guest; a second call on the same tables is not possible.
 */
void acpi_place(struct acpi_tables *t, uint32_t tables_address, uint32_t rsdp_address);

/* -acpitable: is it one whole table with a sane header? The checksum is recomputed, not tested. */
bool acpi_check_extra(const void *data, size_t size, GError **error);
