/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hot-plug slots in the DSDT: a device for each root port with the slot below it, and the event by
 * which the guest is told what was put in or is asked for (ACPI 6.4, 5.6.4 and 6.3). The registers
 * are those of dev/chips/acpi_slots.h.
 */
#include "machine/acpi/acpi_int.h"

#include "machine/layout.h"

#include <stdio.h>

enum { NOTIFY_DEVICE_CHECK = 1, NOTIFY_EJECT_REQUEST = 3 };

static void registers(struct aml *a)
{
	aml_region(a, "SLTR", AML_SYSTEM_IO, Q35_SLOTS_PORT, 12);
	aml_begin_field(a, "SLTR", AML_DWORD_ACC);
	aml_field(a, "SLIN", 32);
	aml_field(a, "SLRQ", 32);
	aml_field(a, "SLEJ", 32);
	aml_end(a);
}

static void slot_device(struct aml *a, unsigned n, const struct acpi_slot *slot)
{
	char name[8];
	snprintf(name, sizeof(name), "RP%02X", n & 0xff);
	aml_begin_device(a, name);
	aml_name_int(a, "_ADR", (uint64_t)(slot->devfn >> 3) << 16 | (slot->devfn & 7));
	aml_begin_device(a, "S000");
	aml_name_int(a, "_ADR", 0);
	aml_name_int(a, "_SUN", slot->number);
	aml_begin_method(a, "_EJ0", 1, false);
	aml_op(a, AML_STORE);
	aml_int(a, UINT64_C(1) << n);
	aml_path(a, "\\_SB.PCI0.SLEJ");
	aml_end(a);
	aml_end(a);
	aml_end(a);
}

/* If bit `n` of the local is set, notify the slot. */
static void notify_if(struct aml *a, unsigned local, unsigned n, unsigned what)
{
	char path[32];
	snprintf(path, sizeof(path), "\\_SB.PCI0.RP%02X.S000", n & 0xff);
	aml_begin_if(a);
	aml_op(a, AML_AND);
	aml_local(a, local);
	aml_int(a, UINT64_C(1) << n);
	aml_op(a, AML_NO_TARGET);
	aml_op(a, AML_NOTIFY);
	aml_path(a, path);
	aml_int(a, what);
	aml_end(a);
}

static void event(struct aml *a, unsigned count)
{
	static const char *const sources[] = {"\\_SB.PCI0.SLIN", "\\_SB.PCI0.SLRQ"};
	char name[8];
	snprintf(name, sizeof(name), "_E%02X", Q35_SLOTS_GPE);
	aml_begin_scope(a, "\\_GPE");
	aml_begin_method(a, name, 0, true);
	for (unsigned local = 0; local < 2; local++) {
		aml_op(a, AML_STORE);
		aml_path(a, sources[local]);
		aml_local(a, local);
	}
	for (unsigned n = 0; n < count; n++) {
		notify_if(a, 0, n, NOTIFY_DEVICE_CHECK);
		notify_if(a, 1, n, NOTIFY_EJECT_REQUEST);
	}
	aml_end(a);
	aml_end(a);
}

void acpi_dsdt_slots(struct aml *a, const struct acpi_config *c)
{
	if (!c->slot_count)
		return;
	aml_begin_scope(a, "\\_SB.PCI0");
	registers(a);
	for (unsigned n = 0; n < c->slot_count; n++)
		slot_device(a, n, &c->slots[n]);
	aml_end(a);
	event(a, c->slot_count);
}
