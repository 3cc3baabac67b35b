/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMBIOS tables (DSP0134, versions 2.8 and 3.0): what dmidecode shows. Strings come from -smbios
 * arguments; sizes and counts from the machine. As with ACPI, firmware gets the blobs through
 * fw_cfg ("etc/smbios/smbios-anchor" and "-tables") and places them; without firmware they are
 * placed by us.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct smbios_options;

struct smbios_options *smbios_options_new(void);
void smbios_options_free(struct smbios_options *options);
/*
 * One -smbios argument as QEMU writes it: "type=1,manufacturer=..,uuid=..". Later arguments win
 * field by field; type 11's `value` may repeat.
 */
bool smbios_options_add(struct smbios_options *options, const char *text, GError **error);
/* type=1,uuid= if it was given: the machine's UUID is then this one. RFC 4122 byte order. */
bool smbios_options_uuid(const struct smbios_options *options, uint8_t uuid[16]);

struct smbios_range {
	uint64_t base, size;
};

struct smbios_machine {
	const char *product;  /* "Standard PC (Q35 + ICH9)"; -smbios overrides */
	const char *cpu_name; /* or NULL */
	uint8_t uuid[16];     /* RFC 4122 byte order; ignored if uuid_set is false */
	bool uuid_set;
	unsigned sockets, cores, threads; /* cores per socket, threads per core */
	uint32_t cpuid_1_eax, cpuid_1_edx;
	const struct smbios_range *ram;
	unsigned ram_count;
	bool firmware; /* firmware writes its own type 0 unless one was asked for */
};

enum { SMBIOS_ANCHOR_28_SIZE = 31, SMBIOS_ANCHOR_30_SIZE = 24 };

struct smbios_tables {
	GByteArray *tables;
	uint16_t count, largest;
};

/* `options` may be NULL. Free with smbios_tables_free(). */
struct smbios_tables *smbios_build(const struct smbios_options *options,
				   const struct smbios_machine *machine);
void smbios_tables_free(struct smbios_tables *t);

/*
 * Entry points for tables at `address`. Firmware that gets them by fw_cfg replaces the address and
 * the checksums. A legacy BIOS' anchor must be on a 16-byte boundary between 0xf0000 and 0xfffff.
 */
void smbios_anchor_28(const struct smbios_tables *t, uint32_t address,
		      uint8_t anchor[SMBIOS_ANCHOR_28_SIZE]);
void smbios_anchor_30(const struct smbios_tables *t, uint64_t address,
		      uint8_t anchor[SMBIOS_ANCHOR_30_SIZE]);
