/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory modules that come and go, in the DSDT (ACPI 6.4, 9.11): a device for each slot below one that
 * owns the registers of dev/chips/acpi_memory.h. They are about the slot that is selected, so every
 * method holds a mutex from the selection on.
 */
#include "machine/acpi/acpi_int.h"

#include "dev/chips/acpi_memory.h"
#include "machine/layout.h"

#include <stdio.h>

#define DEVICE "\\_SB.MHPD"

/* The registers' names: what is read of the selected slot, and what is written. */
static void registers(struct aml *a)
{
	static const char *const read[] = {"MADL", "MADH", "MSZL", "MSZH", "MNOD"};
	static const char *const written[] = {"MSEL", "MEVT", "MSTS"};
	aml_region(a, "MREG", AML_SYSTEM_IO, Q35_MEMORY_PORT, ACPI_MEMORY_PORTS);
	aml_begin_field(a, "MREG", AML_DWORD_ACC);
	for (unsigned i = 0; i < G_N_ELEMENTS(read); i++)
		aml_field(a, read[i], 32);
	aml_end(a);
	aml_begin_field(a, "MREG", AML_DWORD_ACC);
	for (unsigned i = 0; i < G_N_ELEMENTS(written); i++)
		aml_field(a, written[i], 32);
	aml_end(a);
	aml_begin_field(a, "MREG", AML_BYTE_ACC);
	aml_field(a, NULL, 20 * 8);
	aml_field(a, "MFLG", 8);
	aml_end(a);
	aml_mutex(a, "MLCK");
}

/* A method of `args` arguments, of which the first is the slot. */
static void begin_slot_method(struct aml *a, const char *name, unsigned args)
{
	aml_begin_method(a, name, args, true);
	aml_acquire(a, "MLCK");
	aml_op(a, AML_STORE);
	aml_arg(a, 0);
	aml_path(a, "MSEL");
}

static void end_slot_method(struct aml *a)
{
	aml_release(a, "MLCK");
	aml_end(a);
}

/* The same for one that returns Local0. */
static void end_slot_function(struct aml *a)
{
	aml_release(a, "MLCK");
	aml_op(a, AML_RETURN);
	aml_local(a, 0);
	aml_end(a);
}

/* MSTA (slot): _STA. */
static void status(struct aml *a)
{
	enum { STATUS_PRESENT_AND_ENABLED = 0x0f };
	begin_slot_method(a, "MSTA", 1);
	aml_op(a, AML_STORE);
	aml_int(a, 0);
	aml_local(a, 0);
	aml_begin_if(a);
	aml_op(a, AML_AND);
	aml_path(a, "MFLG");
	aml_int(a, 1);
	aml_op(a, AML_NO_TARGET);
	aml_op(a, AML_STORE);
	aml_int(a, STATUS_PRESENT_AND_ENABLED);
	aml_local(a, 0);
	aml_end(a);
	end_slot_function(a);
}

/* `local` = two halves of a register. */
static void read_halves(struct aml *a, const char *high, const char *low, unsigned local)
{
	aml_op(a, AML_SHIFT_LEFT);
	aml_path(a, high);
	aml_int(a, 32);
	aml_local(a, local);
	aml_op(a, AML_OR);
	aml_local(a, local);
	aml_path(a, low);
	aml_local(a, local);
}

static void create_qword_field(struct aml *a, unsigned index, const char *name)
{
	aml_op(a, AML_CREATE_QWORD_FIELD);
	aml_local(a, 0);
	aml_int(a, index);
	aml_path(a, name);
}

static void store_local(struct aml *a, unsigned local, const char *target)
{
	aml_op(a, AML_STORE);
	aml_local(a, local);
	aml_path(a, target);
}

/* MCRS (slot): _CRS, a QWord address space descriptor (ACPI 6.4, table 6.44) filled in. */
static void resources(struct aml *a)
{
	begin_slot_method(a, "MCRS", 1);
	aml_op(a, AML_STORE);
	aml_begin_resources(a);
	aml_res_memory64_window(a, 0, 0, true);
	aml_end(a);
	aml_local(a, 0);
	create_qword_field(a, 14, "MMIN");
	create_qword_field(a, 22, "MMAX");
	create_qword_field(a, 38, "MLEN");
	read_halves(a, "MADH", "MADL", 1);
	read_halves(a, "MSZH", "MSZL", 2);
	aml_op(a, AML_ADD);
	aml_local(a, 1);
	aml_local(a, 2);
	aml_local(a, 3);
	aml_op(a, AML_SUBTRACT);
	aml_local(a, 3);
	aml_int(a, 1);
	aml_local(a, 3);
	store_local(a, 1, "MMIN");
	store_local(a, 3, "MMAX");
	store_local(a, 2, "MLEN");
	end_slot_function(a);
}

/* MPXM (slot): _PXM. */
static void proximity(struct aml *a)
{
	begin_slot_method(a, "MPXM", 1);
	aml_op(a, AML_STORE);
	aml_path(a, "MNOD");
	aml_local(a, 0);
	end_slot_function(a);
}

/* MOST (slot, event, status): _OST. Writing the status completes the report. */
static void report(struct aml *a)
{
	begin_slot_method(a, "MOST", 3);
	aml_op(a, AML_STORE);
	aml_arg(a, 1);
	aml_path(a, "MEVT");
	aml_op(a, AML_STORE);
	aml_arg(a, 2);
	aml_path(a, "MSTS");
	end_slot_method(a);
}

/* MEJ0 (slot): _EJ0. */
static void eject(struct aml *a)
{
	begin_slot_method(a, "MEJ0", 1);
	aml_op(a, AML_STORE);
	aml_int(a, ACPI_MEMORY_EJECT);
	aml_path(a, "MFLG");
	end_slot_method(a);
}

/* MNTF (slot, what): tell its device. */
static void notify(struct aml *a, unsigned count)
{
	aml_begin_method(a, "MNTF", 2, false);
	for (unsigned n = 0; n < count; n++) {
		char name[8];
		snprintf(name, sizeof(name), "MP%02X", n & 0xff);
		aml_begin_if(a);
		aml_op(a, AML_LEQUAL);
		aml_arg(a, 0);
		aml_int(a, n);
		aml_op(a, AML_NOTIFY);
		aml_path(a, name);
		aml_arg(a, 1);
		aml_end(a);
	}
	aml_end(a);
}

/* If the selected slot (Local0) has this news in its flags (Local1), take note and tell its device. */
static void pass_on(struct aml *a, enum acpi_memory_control news, unsigned what)
{
	aml_begin_if(a);
	aml_op(a, AML_AND);
	aml_local(a, 1);
	aml_int(a, news);
	aml_op(a, AML_NO_TARGET);
	aml_op(a, AML_STORE);
	aml_int(a, news);
	aml_path(a, "MFLG");
	aml_path(a, "MNTF");
	aml_local(a, 0);
	aml_int(a, what);
	aml_end(a);
}

/* MSCN: the general-purpose event. */
static void scan(struct aml *a, unsigned count)
{
	enum { NOTIFY_DEVICE_CHECK = 1, NOTIFY_EJECT_REQUEST = 3 };
	aml_begin_method(a, "MSCN", 0, true);
	aml_acquire(a, "MLCK");
	aml_op(a, AML_STORE);
	aml_int(a, 0);
	aml_local(a, 0);
	aml_begin_while(a);
	aml_op(a, AML_LLESS);
	aml_local(a, 0);
	aml_int(a, count);
	aml_op(a, AML_STORE);
	aml_local(a, 0);
	aml_path(a, "MSEL");
	aml_op(a, AML_STORE);
	aml_path(a, "MFLG");
	aml_local(a, 1);
	pass_on(a, ACPI_MEMORY_INSERTED, NOTIFY_DEVICE_CHECK);
	pass_on(a, ACPI_MEMORY_REMOVED, NOTIFY_EJECT_REQUEST);
	aml_op(a, AML_INCREMENT);
	aml_local(a, 0);
	aml_end(a);
	aml_release(a, "MLCK");
	aml_end(a);
}

/* Method (name) of slot n that returns what the shared one does. */
static void forward(struct aml *a, const char *name, const char *shared, unsigned n)
{
	aml_begin_method(a, name, 0, false);
	aml_op(a, AML_RETURN);
	aml_path(a, shared);
	aml_int(a, n);
	aml_end(a);
}

static void module(struct aml *a, unsigned n)
{
	char name[8];
	snprintf(name, sizeof(name), "MP%02X", n & 0xff);
	aml_begin_device(a, name);
	aml_name_eisa_id(a, "_HID", "PNP0C80");
	aml_name_int(a, "_UID", n);
	forward(a, "_STA", "MSTA", n);
	forward(a, "_CRS", "MCRS", n);
	forward(a, "_PXM", "MPXM", n);
	aml_begin_method(a, "_OST", 3, false);
	aml_path(a, "MOST");
	aml_int(a, n);
	aml_arg(a, 0);
	aml_arg(a, 1);
	aml_end(a);
	aml_begin_method(a, "_EJ0", 1, false);
	aml_path(a, "MEJ0");
	aml_int(a, n);
	aml_end(a);
	aml_end(a);
}

void acpi_dsdt_memory(struct aml *a, const struct acpi_config *c)
{
	char event[8];
	aml_begin_scope(a, "\\_SB");
	aml_begin_device(a, "MHPD");
	aml_name_eisa_id(a, "_HID", "PNP0A06");
	aml_name_string(a, "_UID", "Memory hotplug resources");
	aml_name_int(a, "_STA", 0x0b); /* present, enabled, works; not shown */
	aml_name(a, "_CRS");
	aml_begin_resources(a);
	aml_res_io(a, Q35_MEMORY_PORT, 1, ACPI_MEMORY_PORTS);
	aml_end(a);
	registers(a);
	status(a);
	resources(a);
	proximity(a);
	report(a);
	eject(a);
	for (unsigned n = 0; n < c->module_slots; n++)
		module(a, n);
	notify(a, c->module_slots);
	scan(a, c->module_slots);
	aml_end(a);
	aml_end(a);

	snprintf(event, sizeof(event), "_E%02X", Q35_MEMORY_GPE);
	aml_begin_scope(a, "\\_GPE");
	aml_begin_method(a, event, 0, false);
	aml_path(a, DEVICE ".MSCN");
	aml_end(a);
	aml_end(a);
}
