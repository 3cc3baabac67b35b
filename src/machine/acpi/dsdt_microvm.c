/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * microvm's part of the DSDT: the generic event device (ACPI 6.4, 5.6.9) that carries the power
 * button, the virtio-mmio slots, serial port and RTC if present, PCI interrupt routes, S5.
 */
#include "machine/acpi/acpi_int.h"

#include "machine/layout.h"

#include <stdio.h>

/* Bit of the event-select register; reading the register clears it. */
enum { GED_POWER_BUTTON = 1 << 1 };

static void generic_events(struct aml *a)
{
	static const uint32_t gsi = MICROVM_GED_GSI;
	aml_begin_device(a, "GED");
	aml_name_string(a, "_HID", "ACPI0013");
	aml_name_int(a, "_UID", 0);
	aml_name(a, "_CRS");
	aml_begin_resources(a);
	aml_res_interrupt(a, AML_IRQ_EDGE_HIGH, &gsi, 1);
	aml_end(a);
	aml_region(a, "EREG", AML_SYSTEM_MEMORY, MICROVM_GED_BASE, 4);
	aml_begin_field(a, "EREG", AML_DWORD_ACC);
	aml_field(a, "ESEL", 32);
	aml_end(a);

	aml_begin_method(a, "_EVT", 1, true);
	aml_op(a, AML_STORE);
	aml_path(a, "ESEL");
	aml_local(a, 0);
	aml_begin_if(a);
	aml_op(a, AML_AND);
	aml_local(a, 0);
	aml_int(a, GED_POWER_BUTTON);
	aml_op(a, AML_NO_TARGET);
	aml_op(a, AML_NOTIFY);
	aml_path(a, "PWRB");
	aml_int(a, 0x80);
	aml_end(a);
	aml_end(a);
	aml_end(a);

	aml_begin_device(a, "PWRB");
	aml_name_eisa_id(a, "_HID", "PNP0C0C");
	aml_name_int(a, "_UID", 0);
	aml_end(a);
}

static void virtio_slots(struct aml *a, uint32_t slots)
{
	for (unsigned n = 0; n < MICROVM_VIRTIO_SLOTS; n++) {
		uint32_t gsi = MICROVM_VIRTIO_GSI + n;
		char name[8];
		if (!(slots & 1u << n))
			continue;
		snprintf(name, sizeof(name), "VR%02u", n);
		aml_begin_device(a, name);
		aml_name_string(a, "_HID", "LNRO0005");
		aml_name_int(a, "_UID", n);
		aml_name_int(a, "_CCA", 1);
		aml_name(a, "_CRS");
		aml_begin_resources(a);
		aml_res_memory32(a, (uint32_t)MICROVM_VIRTIO_BASE + n * MICROVM_VIRTIO_STRIDE,
				 MICROVM_VIRTIO_STRIDE);
		/* virtio-mmio's line is a level: it stays up until the driver acknowledges. */
		aml_res_interrupt(a, AML_IRQ_LEVEL_HIGH, &gsi, 1);
		aml_end(a);
		aml_end(a);
	}
}

static void isa_devices(struct aml *a, const struct acpi_config *c)
{
	if (c->serial_ports & 1) {
		aml_begin_device(a, "COM1");
		aml_name_eisa_id(a, "_HID", "PNP0501");
		aml_name_int(a, "_UID", 1);
		aml_name(a, "_CRS");
		aml_begin_resources(a);
		aml_res_io(a, 0x3f8, 1, 8);
		aml_res_irq(a, 4);
		aml_end(a);
		aml_end(a);
	}
	if (c->rtc) {
		aml_begin_device(a, "RTC");
		aml_name_eisa_id(a, "_HID", "PNP0B00");
		aml_name(a, "_CRS");
		aml_begin_resources(a);
		aml_res_io(a, 0x70, 1, 8);
		aml_res_irq(a, 8);
		aml_end(a);
		aml_end(a);
	}
}

static void pci_routes(struct aml *a)
{
	for (unsigned pin = 0; pin < 4; pin++) {
		uint32_t gsi = MICROVM_PCI_GSI + pin;
		char name[8];
		snprintf(name, sizeof(name), "GSI%c", 'A' + pin);
		aml_begin_device(a, name);
		aml_name_eisa_id(a, "_HID", "PNP0C0F");
		aml_name_int(a, "_UID", pin);
		for (unsigned i = 0; i < 2; i++) {
			aml_name(a, i ? "_CRS" : "_PRS");
			aml_begin_resources(a);
			aml_res_interrupt(a, AML_IRQ_LEVEL_HIGH_SHARED, &gsi, 1);
			aml_end(a);
		}
		aml_begin_method(a, "_SRS", 1, false); /* fixed */
		aml_end(a);
		aml_end(a);
	}
	aml_begin_scope(a, "PCI0");
	aml_name(a, "_PRT");
	aml_begin_package(a, 32 * 4);
	for (unsigned slot = 0; slot < 32; slot++) {
		for (unsigned pin = 0; pin < 4; pin++) {
			char link[16];
			snprintf(link, sizeof(link), "\\_SB.GSI%c", 'A' + (slot + pin) % 4);
			acpi_dsdt_route(a, slot, pin, link);
		}
	}
	aml_end(a);
	aml_end(a);
}

void acpi_dsdt_microvm(struct aml *a, const struct acpi_config *c)
{
	aml_begin_scope(a, "\\_SB");
	generic_events(a);
	isa_devices(a, c);
	virtio_slots(a, c->virtio_slots);
	if (c->pci)
		pci_routes(a);
	aml_end(a);

	aml_name(a, "\\_S5");
	aml_begin_package(a, 4);
	aml_int(a, MICROVM_S5_TYPE);
	for (unsigned i = 0; i < 3; i++)
		aml_int(a, 0);
	aml_end(a);
}
