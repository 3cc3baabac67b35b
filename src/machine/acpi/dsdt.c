/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DSDT's frame and what both boards have: processors, the PCI root with its windows, fw_cfg.
 */
#include "machine/acpi/acpi_int.h"

#include "machine/layout.h"

#include <stdio.h>

static void processors(struct aml *a, const struct acpi_config *c)
{
	aml_begin_scope(a, "\\_SB");
	for (unsigned i = 0; i < c->cpu_count; i++) {
		char name[8];
		snprintf(name, sizeof(name), "C%03X", i & 0xfff);
		aml_begin_device(a, name);
		aml_name_string(a, "_HID", "ACPI0007");
		aml_name_int(a, "_UID", i);
		if (c->cpus_present)
			acpi_dsdt_cpu_slot(a, c, i);
		aml_end(a);
	}
	aml_end(a);
}

/* So that a guest's driver finds the ports (QEMU, docs/specs/fw_cfg.rst). */
static void fw_cfg(struct aml *a)
{
	aml_begin_scope(a, "\\_SB");
	aml_begin_device(a, "FWCF");
	aml_name_string(a, "_HID", "QEMU0002");
	aml_name_int(a, "_STA", 0x0b); /* present, enabled, works; not shown */
	aml_name(a, "_CRS");
	aml_begin_resources(a);
	aml_res_io(a, Q35_FW_CFG_PORT, 1, 12);
	aml_end(a);
	aml_end(a);
	aml_end(a);
}

/*
 * PCI Firmware Specification 3.3, 4.5: the guest asks for native control of PCIe features. It gets
 * PME, AER and the capability structure. Hot plug goes by ACPI (dsdt_slots.c): a guest's native
 * driver would wait five seconds before it gives a device back.
 */
static void pci_osc(struct aml *a)
{
	enum { GRANTED = 0x1c };
	aml_begin_method(a, "_OSC", 4, false);
	aml_create_dword_field(a, 3, 0, "CDW1");
	aml_begin_if(a);
	aml_op(a, AML_LEQUAL);
	aml_arg(a, 0);
	aml_uuid(a, "33DB4D5B-1FF7-401C-9657-7441C03DD766");
	aml_create_dword_field(a, 3, 4, "CDW2");
	aml_create_dword_field(a, 3, 8, "CDW3");
	aml_op(a, AML_STORE);
	aml_path(a, "CDW3");
	aml_local(a, 0);
	aml_op(a, AML_AND);
	aml_local(a, 0);
	aml_int(a, GRANTED);
	aml_local(a, 0);
	/* An unknown revision. */
	aml_begin_if(a);
	aml_op(a, AML_LNOT);
	aml_op(a, AML_LEQUAL);
	aml_arg(a, 1);
	aml_int(a, 1);
	aml_op(a, AML_OR);
	aml_path(a, "CDW1");
	aml_int(a, 0x08);
	aml_path(a, "CDW1");
	aml_end(a);
	/* Something was masked. */
	aml_begin_if(a);
	aml_op(a, AML_LNOT);
	aml_op(a, AML_LEQUAL);
	aml_path(a, "CDW3");
	aml_local(a, 0);
	aml_op(a, AML_OR);
	aml_path(a, "CDW1");
	aml_int(a, 0x10);
	aml_path(a, "CDW1");
	aml_end(a);
	aml_op(a, AML_STORE);
	aml_local(a, 0);
	aml_path(a, "CDW3");
	aml_end(a);
	aml_begin_else(a);
	aml_op(a, AML_OR);
	aml_path(a, "CDW1");
	aml_int(a, 0x04); /* unknown UUID */
	aml_path(a, "CDW1");
	aml_end(a);
	aml_op(a, AML_RETURN);
	aml_arg(a, 3);
	aml_end(a);
}

static void window32(struct aml *a, uint64_t base, uint64_t end)
{
	if (base < end)
		aml_res_memory32_window(a, (uint32_t)base, (uint32_t)(end - 1), false);
}

static void pci_windows(struct aml *a, const struct acpi_config *c)
{
	uint64_t cut_base = c->ecam_size ? c->ecam_base : c->window32_end;
	uint64_t cut_end = c->ecam_size ? c->ecam_base + c->ecam_size : c->window32_end;
	unsigned last_bus = c->ecam_size ? (unsigned)(c->ecam_size >> 20) - 1 : 255;

	aml_name(a, "_CRS");
	aml_begin_resources(a);
	aml_res_bus_window(a, 0, (uint16_t)last_bus);
	if (c->board == ACPI_BOARD_Q35) {
		aml_res_io(a, 0xcf8, 1, 8);
		aml_res_io_window(a, 0, 0xcf7);
		aml_res_io_window(a, 0xd00, 0xffff);
		aml_res_memory32_window(a, 0xa0000, 0xbffff, true); /* VGA */
	}
	if (cut_base < c->window32_end && cut_end > c->window32_base) {
		window32(a, c->window32_base, cut_base);
		window32(a, cut_end, c->window32_end);
	} else {
		window32(a, c->window32_base, c->window32_end);
	}
	if (c->window64_base < c->window64_end)
		aml_res_memory64_window(a, c->window64_base, c->window64_end - 1, true);
	aml_end(a);
}

void acpi_dsdt_pci_root(struct aml *a, const struct acpi_config *c)
{
	aml_begin_scope(a, "\\_SB");
	aml_begin_device(a, "PCI0");
	aml_name_eisa_id(a, "_HID", "PNP0A08");
	aml_name_eisa_id(a, "_CID", "PNP0A03");
	aml_name_int(a, "_SEG", 0);
	aml_name_int(a, "_BBN", 0);
	aml_name_int(a, "_UID", 0);
	aml_name_int(a, "_CCA", 1);
	pci_osc(a);
	pci_windows(a, c);
	aml_end(a);

	/* PCI Firmware Specification 3.3, 4.1.2: the ECAM window must be a motherboard resource. */
	if (c->ecam_size) {
		aml_begin_device(a, "DRAC");
		aml_name_eisa_id(a, "_HID", "PNP0C02");
		aml_name_int(a, "_UID", 1);
		aml_name(a, "_CRS");
		aml_begin_resources(a);
		if (c->ecam_base + c->ecam_size <= UINT32_MAX)
			aml_res_memory32(a, (uint32_t)c->ecam_base, (uint32_t)c->ecam_size);
		else
			aml_res_memory64_window(a, c->ecam_base, c->ecam_base + c->ecam_size - 1,
						false);
		aml_end(a);
		aml_end(a);
	}
	aml_end(a);
}

void acpi_dsdt_route(struct aml *a, unsigned slot, unsigned pin, const char *link)
{
	aml_begin_package(a, 4);
	aml_int(a, slot << 16 | 0xffff);
	aml_int(a, pin);
	aml_path(a, link);
	aml_int(a, 0);
	aml_end(a);
}

uint32_t acpi_dsdt(struct acpi_tables *t, const struct acpi_config *c)
{
	/* Revision 2: integers have 64 bits. */
	uint32_t dsdt = acpi_table_begin(t, "DSDT", 2);
	struct aml a = {.bytes = t->tables};
	processors(&a, c);
	if (c->pci)
		acpi_dsdt_pci_root(&a, c);
	if (c->board == ACPI_BOARD_MICROVM)
		acpi_dsdt_microvm(&a, c);
	else
		acpi_dsdt_q35(&a, c);
	if (c->fw_cfg)
		fw_cfg(&a);
	g_assert(a.depth == 0);
	acpi_table_end(t, dsdt);
	return dsdt;
}
