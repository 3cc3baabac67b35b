/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What can be plugged in while the guest runs, in the DSDT: the devices below PCIe root ports and the
 * processors. Each kind has the registers of dev/chips/acpi_slots.h and an event whose method tells
 * the guest of every slot with news (ACPI 6.4, 5.6.4 and 6.3).
 */
#include "machine/acpi/acpi_int.h"

#include "machine/layout.h"

#include <stdio.h>

/* A kind of slots. */
struct kind {
	const char *scope;  /* where its registers are */
	const char *prefix; /* two letters that begin their names: EV, PR, EJ */
	uint16_t port;
	unsigned event, count;
	const char *path; /* of slot n: a format of one unsigned */
};

static const struct kind pci_slots = {
	.scope = "\\_SB.PCI0", .prefix = "SL", .port = Q35_SLOTS_PORT, .event = Q35_SLOTS_GPE,
	.path = "\\_SB.PCI0.RP%02X.S000",
};
static const struct kind cpus = {
	.scope = "\\_SB", .prefix = "CP", .port = Q35_CPUS_PORT, .event = Q35_CPUS_GPE,
	.path = "\\_SB.C%03X",
};

static void put_register(struct aml *a, const struct kind *kind, const char *name)
{
	g_autofree char *path = g_strdup_printf("%s.%s%s", kind->scope, kind->prefix, name);
	aml_path(a, path);
}

static void registers(struct aml *a, const struct kind *kind)
{
	static const char *const names[] = {"EV", "PR", "EJ"};
	char name[8];
	snprintf(name, sizeof(name), "%.2sTR", kind->prefix);
	aml_begin_scope(a, kind->scope);
	aml_region(a, name, AML_SYSTEM_IO, kind->port, 12);
	aml_begin_field(a, name, AML_DWORD_ACC);
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		snprintf(name, sizeof(name), "%.2s%s", kind->prefix, names[i]);
		aml_field(a, name, 32);
	}
	aml_end(a);
	aml_end(a);
}

static void eject_method(struct aml *a, const struct kind *kind, unsigned n)
{
	aml_begin_method(a, "_EJ0", 1, false);
	aml_op(a, AML_STORE);
	aml_int(a, n);
	put_register(a, kind, "EJ");
	aml_end(a);
}

static void store_next_event(struct aml *a, const struct kind *kind)
{
	aml_op(a, AML_STORE);
	put_register(a, kind, "EV");
	aml_local(a, 0);
}

/* Local1 is the slot with news, Local2 what to tell its device. */
static void notify_slots(struct aml *a, const struct kind *kind)
{
	for (unsigned n = 0; n < kind->count; n++) {
		g_autofree char *path = g_strdup_printf(kind->path, n);
		aml_begin_if(a);
		aml_op(a, AML_LEQUAL);
		aml_local(a, 1);
		aml_int(a, n);
		aml_op(a, AML_NOTIFY);
		aml_path(a, path);
		aml_local(a, 2);
		aml_end(a);
	}
}

static void event_method(struct aml *a, const struct kind *kind)
{
	char name[8];
	snprintf(name, sizeof(name), "_E%02X", kind->event & 0xff);
	aml_begin_scope(a, "\\_GPE");
	aml_begin_method(a, name, 0, true);
	store_next_event(a, kind);
	aml_begin_while(a);
	aml_local(a, 0);
	aml_op(a, AML_AND);
	aml_local(a, 0);
	aml_int(a, 0xffff);
	aml_local(a, 1);
	aml_op(a, AML_SHIFT_RIGHT);
	aml_local(a, 0);
	aml_int(a, 16);
	aml_local(a, 2);
	notify_slots(a, kind);
	store_next_event(a, kind);
	aml_end(a);
	aml_end(a);
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
	eject_method(a, &pci_slots, n);
	aml_end(a);
	aml_end(a);
}

void acpi_dsdt_slots(struct aml *a, const struct acpi_config *c)
{
	struct kind kind = pci_slots;
	if (!c->slot_count)
		return;
	kind.count = c->slot_count;
	registers(a, &kind);
	aml_begin_scope(a, kind.scope);
	for (unsigned n = 0; n < c->slot_count; n++)
		slot_device(a, n, &c->slots[n]);
	aml_end(a);
	event_method(a, &kind);
}

/* CPST (index): a processor's _STA. Serialized, for it writes one register and reads another. */
static void cpu_status(struct aml *a)
{
	enum { STATUS_PRESENT_AND_ENABLED = 0x0f };
	aml_begin_method(a, "CPST", 1, true);
	aml_op(a, AML_STORE);
	aml_arg(a, 0);
	put_register(a, &cpus, "PR");
	aml_begin_if(a);
	put_register(a, &cpus, "PR");
	aml_op(a, AML_RETURN);
	aml_int(a, STATUS_PRESENT_AND_ENABLED);
	aml_end(a);
	aml_op(a, AML_RETURN);
	aml_int(a, 0);
	aml_end(a);
}

void acpi_dsdt_cpu_slots(struct aml *a, const struct acpi_config *c)
{
	struct kind kind = cpus;
	kind.count = c->cpu_count;
	registers(a, &kind);
	aml_begin_scope(a, kind.scope);
	cpu_status(a);
	aml_end(a);
	event_method(a, &kind);
}

void acpi_dsdt_cpu_slot(struct aml *a, const struct acpi_config *c, unsigned n)
{
	aml_begin_method(a, "_STA", 0, false);
	aml_op(a, AML_RETURN);
	aml_path(a, "CPST");
	aml_int(a, n);
	aml_end(a);

	/* As MADT would have it if it were there (ACPI 6.4, 6.2.10). */
	g_autoptr(GByteArray) entry = g_byte_array_new();
	acpi_madt_cpu(entry, n, c->apic_ids[n], ACPI_CPU_ENABLED);
	aml_name(a, "_MAT");
	aml_buffer(a, entry->data, entry->len);
	/* The boot processor stays. */
	if (n)
		eject_method(a, &cpus, n);
}
