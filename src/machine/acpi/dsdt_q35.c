/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * q35's part of the DSDT: the LPC bridge with its ISA devices, PIRQ routing in both interrupt
 * models, HPET and sleep states. Wiring: layout.h.
 */
#include "machine/acpi/acpi_int.h"

#include "machine/layout.h"

#include <stdio.h>

/* --- PIRQ routing ------------------------------------------------------------------------------- */

/* PIRQ (0 to 7) of a slot's pin, as the board is wired. */
static unsigned pirq_of(unsigned slot, unsigned pin)
{
	return slot <= Q35_PIRQ_SLOT_ROTATE_END ? 4 + (slot + pin) % 4 : pin;
}

static void route_table(struct aml *a, const char *name, const char *prefix)
{
	aml_name(a, name);
	aml_begin_package(a, 32 * 4);
	for (unsigned slot = 0; slot < 32; slot++) {
		for (unsigned pin = 0; pin < 4; pin++) {
			char link[16];
			snprintf(link, sizeof(link), "%s%c", prefix, 'A' + pirq_of(slot, pin));
			acpi_dsdt_route(a, slot, pin, link);
		}
	}
	aml_end(a);
}

/*
 * \_PIC tells which interrupt model the guest uses; \_SB.PCI0._PRT answers with GSI 16 to 23 or
 * with the 8259 routes that the link devices program.
 */
static void routing(struct aml *a)
{
	aml_name_int(a, "\\PICF", 0);
	aml_begin_method(a, "\\_PIC", 1, false);
	aml_op(a, AML_STORE);
	aml_arg(a, 0);
	aml_path(a, "\\PICF");
	aml_end(a);

	aml_begin_scope(a, "\\_SB.PCI0");
	route_table(a, "PRTP", "\\_SB.LNK");
	route_table(a, "PRTA", "\\_SB.GSI");
	aml_begin_method(a, "_PRT", 0, false);
	aml_begin_if(a);
	aml_op(a, AML_LEQUAL);
	aml_path(a, "\\PICF");
	aml_int(a, 0);
	aml_op(a, AML_RETURN);
	aml_path(a, "PRTP");
	aml_end(a);
	aml_begin_else(a);
	aml_op(a, AML_RETURN);
	aml_path(a, "PRTA");
	aml_end(a);
	aml_end(a);
	aml_end(a);
}

/* PNP0C0F over a PIRQx_ROUT register of the LPC bridge (ICH9 datasheet, 13.1.8): bit 7 is "off". */
static void link_device(struct aml *a, unsigned pirq)
{
	static const uint32_t choices[] = {5, 10, 11};
	char name[8], reg[8];
	snprintf(name, sizeof(name), "LNK%c", 'A' + pirq);
	snprintf(reg, sizeof(reg), "PRQ%c", 'A' + pirq);

	aml_begin_device(a, name);
	aml_name_eisa_id(a, "_HID", "PNP0C0F");
	aml_name_int(a, "_UID", pirq);
	aml_name(a, "_PRS");
	aml_begin_resources(a);
	aml_res_interrupt(a, AML_IRQ_LEVEL_HIGH_SHARED, choices, G_N_ELEMENTS(choices));
	aml_end(a);

	aml_begin_method(a, "_STA", 0, false);
	aml_op(a, AML_RETURN);
	aml_path(a, "IQST");
	aml_path(a, reg);
	aml_end(a);
	aml_begin_method(a, "_DIS", 0, false);
	aml_op(a, AML_OR);
	aml_path(a, reg);
	aml_int(a, 0x80);
	aml_path(a, reg);
	aml_end(a);
	aml_begin_method(a, "_CRS", 0, false);
	aml_op(a, AML_RETURN);
	aml_path(a, "IQCR");
	aml_path(a, reg);
	aml_end(a);
	/* The interrupt number is 5 bytes into the descriptor. */
	aml_begin_method(a, "_SRS", 1, false);
	aml_create_dword_field(a, 0, 5, "PRRI");
	aml_op(a, AML_STORE);
	aml_path(a, "PRRI");
	aml_path(a, reg);
	aml_end(a);
	aml_end(a);

	uint32_t gsi = Q35_GSI_PIRQ + pirq;
	snprintf(name, sizeof(name), "GSI%c", 'A' + pirq);
	aml_begin_device(a, name);
	aml_name_eisa_id(a, "_HID", "PNP0C0F");
	aml_name_int(a, "_UID", 16 + pirq);
	for (unsigned i = 0; i < 2; i++) {
		aml_name(a, i ? "_CRS" : "_PRS");
		aml_begin_resources(a);
		aml_res_interrupt(a, AML_IRQ_LEVEL_HIGH_SHARED, &gsi, 1);
		aml_end(a);
	}
	aml_begin_method(a, "_SRS", 1, false); /* fixed: nothing to set */
	aml_end(a);
	aml_end(a);
}

/* IQST (register): _STA; IQCR (register): _CRS. Shared by the link devices. */
static void link_helpers(struct aml *a)
{
	static const uint32_t none = 0;
	aml_begin_method(a, "IQST", 1, false);
	aml_begin_if(a);
	aml_op(a, AML_AND);
	aml_arg(a, 0);
	aml_int(a, 0x80);
	aml_op(a, AML_NO_TARGET);
	aml_op(a, AML_RETURN);
	aml_int(a, 0x09); /* present, not enabled */
	aml_end(a);
	aml_op(a, AML_RETURN);
	aml_int(a, 0x0b);
	aml_end(a);

	aml_begin_method(a, "IQCR", 1, true);
	aml_name(a, "PRR0");
	aml_begin_resources(a);
	aml_res_interrupt(a, AML_IRQ_LEVEL_HIGH_SHARED, &none, 1);
	aml_end(a);
	aml_op(a, AML_CREATE_DWORD_FIELD);
	aml_path(a, "PRR0");
	aml_int(a, 5);
	aml_path(a, "PRRI");
	aml_begin_if(a);
	aml_op(a, AML_LNOT);
	aml_op(a, AML_AND);
	aml_arg(a, 0);
	aml_int(a, 0x80);
	aml_op(a, AML_NO_TARGET);
	aml_op(a, AML_STORE);
	aml_arg(a, 0);
	aml_path(a, "PRRI");
	aml_end(a);
	aml_op(a, AML_RETURN);
	aml_path(a, "PRR0");
	aml_end(a);
}

/* --- devices ------------------------------------------------------------------------------------ */

static void serial_port(struct aml *a, unsigned n)
{
	static const uint16_t ports[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
	static const uint8_t irqs[] = {4, 3, 4, 3};
	char name[8];
	snprintf(name, sizeof(name), "COM%u", n + 1);
	aml_begin_device(a, name);
	aml_name_eisa_id(a, "_HID", "PNP0501");
	aml_name_int(a, "_UID", n + 1);
	aml_name_int(a, "_STA", 0x0f);
	aml_name(a, "_CRS");
	aml_begin_resources(a);
	aml_res_io(a, ports[n], 1, 8);
	aml_res_irq(a, irqs[n]);
	aml_end(a);
	aml_end(a);
}

static void rtc(struct aml *a)
{
	aml_begin_device(a, "RTC");
	aml_name_eisa_id(a, "_HID", "PNP0B00");
	aml_name(a, "_CRS");
	aml_begin_resources(a);
	aml_res_io(a, 0x70, 1, 8);
	aml_res_irq(a, 8);
	aml_end(a);
	aml_end(a);
}

static void keyboard_and_mouse(struct aml *a)
{
	aml_begin_device(a, "KBD");
	aml_name_eisa_id(a, "_HID", "PNP0303");
	aml_name_int(a, "_STA", 0x0f);
	aml_name(a, "_CRS");
	aml_begin_resources(a);
	aml_res_io(a, 0x60, 1, 1);
	aml_res_io(a, 0x64, 1, 1);
	aml_res_irq(a, 1);
	aml_end(a);
	aml_end(a);

	aml_begin_device(a, "MOU");
	aml_name_eisa_id(a, "_HID", "PNP0F13");
	aml_name_int(a, "_STA", 0x0f);
	aml_name(a, "_CRS");
	aml_begin_resources(a);
	aml_res_irq(a, 12);
	aml_end(a);
	aml_end(a);
}

static void pvpanic(struct aml *a)
{
	aml_begin_device(a, "PEVT");
	aml_name_string(a, "_HID", "QEMU0001");
	aml_name_int(a, "_STA", 0x0f);
	aml_name(a, "_CRS");
	aml_begin_resources(a);
	aml_res_io(a, Q35_PVPANIC_PORT, 1, 1);
	aml_end(a);
	aml_end(a);
}

static void lpc_bridge(struct aml *a, const struct acpi_config *c)
{
	aml_begin_scope(a, "\\_SB.PCI0");
	aml_begin_device(a, "ISA");
	aml_name_int(a, "_ADR", (Q35_DEVFN_LPC >> 3) << 16 | (Q35_DEVFN_LPC & 7));
	aml_region(a, "PIRQ", AML_PCI_CONFIG, 0x60, 0x0c);
	if (c->rtc)
		rtc(a);
	if (c->keyboard)
		keyboard_and_mouse(a);
	for (unsigned n = 0; n < 4; n++)
		if (c->serial_ports & 1 << n)
			serial_port(a, n);
	if (c->pvpanic)
		pvpanic(a);
	aml_end(a);
	aml_end(a);

	/* PIRQA to D are bytes 0 to 3, E to H bytes 8 to 11. */
	aml_begin_scope(a, "\\_SB");
	aml_begin_field(a, "PCI0.ISA.PIRQ", AML_BYTE_ACC);
	for (unsigned i = 0; i < 8; i++) {
		char name[8];
		snprintf(name, sizeof(name), "PRQ%c", 'A' + i);
		if (i == 4)
			aml_field(a, NULL, 32);
		aml_field(a, name, 8);
	}
	aml_end(a);
	link_helpers(a);
	for (unsigned i = 0; i < 8; i++)
		link_device(a, i);
	aml_end(a);
}

static void hpet(struct aml *a)
{
	aml_begin_scope(a, "\\_SB");
	aml_begin_device(a, "HPET");
	aml_name_eisa_id(a, "_HID", "PNP0103");
	aml_name_int(a, "_UID", 0);
	aml_name(a, "_CRS");
	aml_begin_resources(a);
	aml_res_memory32(a, (uint32_t)Q35_HPET_BASE, 0x400);
	aml_end(a);
	aml_end(a);
	aml_end(a);
}

/* Ports and memory that no driver claims but nothing else may use. */
static void motherboard(struct aml *a, const struct acpi_config *c)
{
	aml_begin_scope(a, "\\_SB");
	aml_begin_device(a, "MBRD");
	aml_name_eisa_id(a, "_HID", "PNP0C02");
	aml_name_int(a, "_UID", 2);
	aml_name(a, "_CRS");
	aml_begin_resources(a);
	aml_res_io(a, c->pm_base, 1, 0x80);
	aml_res_io(a, Q35_APM_PORT, 1, 2);
	aml_res_io(a, Q35_SLOTS_PORT, 1, 12);
	aml_res_io(a, Q35_CPUS_PORT, 1, 12);
	aml_res_memory32(a, (uint32_t)Q35_RCBA_BASE, (uint32_t)Q35_RCBA_SIZE);
	aml_end(a);
	aml_end(a);
	aml_end(a);
}

/* \_Sx: SLP_TYP for PM1a_CNT and PM1b_CNT, two reserved (ACPI 6.4, 7.4.2). */
static void sleep_state(struct aml *a, const char *name, unsigned type)
{
	aml_name(a, name);
	aml_begin_package(a, 4);
	aml_int(a, type);
	aml_int(a, type);
	aml_int(a, 0);
	aml_int(a, 0);
	aml_end(a);
}

void acpi_dsdt_q35(struct aml *a, const struct acpi_config *c)
{
	lpc_bridge(a, c);
	routing(a);
	if (c->hpet)
		hpet(a);
	motherboard(a, c);
	acpi_dsdt_slots(a, c);
	if (c->cpus_present)
		acpi_dsdt_cpu_slots(a, c);
	if (c->module_slots)
		acpi_dsdt_memory(a, c);
	if (c->s3)
		sleep_state(a, "\\_S3", Q35_S3_TYPE);
	if (c->s4)
		sleep_state(a, "\\_S4", Q35_S4_TYPE);
	sleep_state(a, "\\_S5", Q35_S5_TYPE);
}
