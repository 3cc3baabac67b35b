/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of acpi/. */
#pragma once

#include "base/bytes.h"
#include "machine/acpi/acpi.h"
#include "machine/acpi/aml.h"

enum { ACPI_HEADER_SIZE = 36, ACPI_FACS_SIZE = 64 };

enum acpi_blob { ACPI_BLOB_TABLES, ACPI_BLOB_RSDP };

/* A patch, in order of application. */
struct acpi_link {
	enum { ACPI_LINK_POINTER, ACPI_LINK_CHECKSUM } kind;
	enum acpi_blob blob; /* that is patched; pointers are always into ACPI_BLOB_TABLES */
	uint32_t offset;     /* of the pointer or the checksum byte */
	uint32_t start;      /* CHECKSUM: covered bytes */
	uint32_t length;     /* POINTER: its size, 4 or 8 */
};

/* --- blob.c ------------------------------------------------------------------------------------ */
void acpi_put(GByteArray *bytes, uint64_t value, unsigned size);
void acpi_put_zero(GByteArray *bytes, unsigned count);
/* Write the header of a table with its length still open; returns the table's offset. */
uint32_t acpi_table_begin(struct acpi_tables *t, const char *signature, uint8_t revision);
/* Close it: length, and a checksum link. */
void acpi_table_end(struct acpi_tables *t, uint32_t table);
/* The `size` bytes at `offset` of `blob` will point to `target` of the tables blob. */
void acpi_link_pointer(struct acpi_tables *t, enum acpi_blob blob, uint32_t offset, unsigned size,
		       uint32_t target);
void acpi_link_checksum(struct acpi_tables *t, enum acpi_blob blob, uint32_t offset, uint32_t start,
			uint32_t length);

/* --- tables.c ---------------------------------------------------------------------------------- */
uint32_t acpi_facs(struct acpi_tables *t);
uint32_t acpi_fadt(struct acpi_tables *t, const struct acpi_config *c, uint32_t facs,
		   uint32_t dsdt);
uint32_t acpi_mcfg(struct acpi_tables *t, const struct acpi_config *c);
uint32_t acpi_hpet(struct acpi_tables *t);
uint32_t acpi_waet(struct acpi_tables *t);

/* --- topology.c -------------------------------------------------------------------------------- */
enum { ACPI_CPU_ENABLED = 1 << 0, ACPI_CPU_ONLINE_CAPABLE = 1 << 1 };
/* Append a local APIC's structure of the MADT with these flags (ACPI 6.4, table 5.21). */
void acpi_madt_cpu(GByteArray *b, uint32_t uid, uint32_t apic_id, uint32_t flags);
uint32_t acpi_madt(struct acpi_tables *t, const struct acpi_config *c);
uint32_t acpi_srat(struct acpi_tables *t, const struct acpi_config *c);
uint32_t acpi_slit(struct acpi_tables *t, const struct acpi_config *c);

/* --- dsdt*.c ----------------------------------------------------------------------------------- */
uint32_t acpi_dsdt(struct acpi_tables *t, const struct acpi_config *c);
void acpi_dsdt_pci_root(struct aml *a, const struct acpi_config *c);
void acpi_dsdt_q35(struct aml *a, const struct acpi_config *c);
void acpi_dsdt_microvm(struct aml *a, const struct acpi_config *c);
void acpi_dsdt_slots(struct aml *a, const struct acpi_config *c);
/* Processors that come and go: what they share, and what is in the device of processor `n`. */
void acpi_dsdt_cpu_slots(struct aml *a, const struct acpi_config *c);
void acpi_dsdt_cpu_slot(struct aml *a, const struct acpi_config *c, unsigned n);
/* Memory modules that come and go. */
void acpi_dsdt_memory(struct aml *a, const struct acpi_config *c);
/* One _PRT package: pin `pin` of `slot` goes to `link`. */
void acpi_dsdt_route(struct aml *a, unsigned slot, unsigned pin, const char *link);
