/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MADT, SRAT and SLIT: CPUs, interrupt controllers, and what is near to what. */
#include "machine/acpi/acpi_int.h"

#include "machine/layout.h"

/* MPS INTI flags (ACPI 6.4, table 5.26). */
enum { INTI_CONFORMS = 0, INTI_LEVEL_HIGH = 0x0d };

/*
 * xAPIC structures cannot hold an id of 255 (broadcast) or more. A CPU's ACPI UID is its index;
 * the DSDT's processor devices carry the same.
 */
void acpi_madt_cpu(GByteArray *b, uint32_t uid, uint32_t apic_id, uint32_t flags)
{
	if (apic_id < 255 && uid < 255) {
		acpi_put(b, 0, 1);
		acpi_put(b, 8, 1);
		acpi_put(b, uid, 1);
		acpi_put(b, apic_id, 1);
		acpi_put(b, flags, 4);
	} else {
		acpi_put(b, 9, 1);
		acpi_put(b, 16, 1);
		acpi_put(b, 0, 2);
		acpi_put(b, apic_id, 4);
		acpi_put(b, flags, 4);
		acpi_put(b, uid, 4);
	}
}

static void madt_override(GByteArray *b, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	acpi_put(b, 2, 1);
	acpi_put(b, 10, 1);
	acpi_put(b, 0, 1); /* ISA */
	acpi_put(b, irq, 1);
	acpi_put(b, gsi, 4);
	acpi_put(b, flags, 2);
}

/* LINT1 of every CPU is NMI (ACPI 6.4, 5.2.12.7 and 5.2.12.13). */
static void madt_nmi(GByteArray *b, bool x2apic)
{
	acpi_put(b, x2apic ? 0x0a : 4, 1);
	acpi_put(b, x2apic ? 12 : 6, 1);
	if (x2apic) {
		acpi_put(b, 0, 2);
		acpi_put(b, UINT32_MAX, 4);
		acpi_put(b, 1, 1);
		acpi_put(b, 0, 3);
	} else {
		acpi_put(b, 0xff, 1);
		acpi_put(b, 0, 2);
		acpi_put(b, 1, 1);
	}
}

uint32_t acpi_madt(struct acpi_tables *t, const struct acpi_config *c)
{
	uint32_t madt = acpi_table_begin(t, "APIC", 5);
	GByteArray *b = t->tables;
	bool x2apic = false;
	acpi_put(b, LAYOUT_LAPIC_BASE, 4);
	acpi_put(b, c->has_pic ? 1 : 0, 4);
	for (unsigned i = 0; i < c->cpu_count; i++) {
		bool present = !c->cpus_present || c->cpus_present[i];
		acpi_madt_cpu(b, i, c->apic_ids[i],
			      present ? ACPI_CPU_ENABLED : ACPI_CPU_ONLINE_CAPABLE);
		x2apic |= c->apic_ids[i] >= 255 || i >= 255;
	}

	acpi_put(b, 1, 1); /* IOAPIC */
	acpi_put(b, 12, 1);
	acpi_put(b, LAYOUT_IOAPIC_ID, 1);
	acpi_put(b, 0, 1);
	acpi_put(b, LAYOUT_IOAPIC_BASE, 4);
	acpi_put(b, 0, 4); /* first GSI */

	if (c->board == ACPI_BOARD_Q35) {
		madt_override(b, 0, 2, INTI_CONFORMS);
		/* The SCI, and the ISA interrupts that PCI link devices may share, are level. */
		madt_override(b, 5, 5, INTI_LEVEL_HIGH);
		madt_override(b, Q35_SCI, Q35_SCI, INTI_LEVEL_HIGH);
		madt_override(b, 10, 10, INTI_LEVEL_HIGH);
		madt_override(b, 11, 11, INTI_LEVEL_HIGH);
	}
	madt_nmi(b, false);
	if (x2apic)
		madt_nmi(b, true);
	acpi_table_end(t, madt);
	return madt;
}

enum { SRAT_ENABLED = 1 << 0, SRAT_HOT_PLUGGABLE = 1 << 1 };

/* ACPI 6.4, table 5.53. */
static void srat_memory(GByteArray *b, const struct acpi_numa_memory *m, uint32_t flags)
{
	acpi_put(b, 1, 1);
	acpi_put(b, 40, 1);
	acpi_put(b, m->node, 4);
	acpi_put(b, 0, 2);
	acpi_put(b, m->base, 8);
	acpi_put(b, m->size, 8);
	acpi_put(b, 0, 4);
	acpi_put(b, flags, 4);
	acpi_put(b, 0, 8);
}

uint32_t acpi_srat(struct acpi_tables *t, const struct acpi_config *c)
{
	uint32_t srat = acpi_table_begin(t, "SRAT", 3);
	GByteArray *b = t->tables;
	acpi_put(b, 1, 4); /* reserved, 1 for compatibility (ACPI 6.4, table 5.49) */
	acpi_put(b, 0, 8);
	for (unsigned i = 0; i < c->cpu_count; i++) {
		uint32_t node = c->cpu_nodes ? c->cpu_nodes[i] : 0;
		if (c->apic_ids[i] < 255 && i < 255) {
			acpi_put(b, 0, 1);
			acpi_put(b, 16, 1);
			acpi_put(b, node & 0xff, 1);
			acpi_put(b, c->apic_ids[i], 1);
			acpi_put(b, 1, 4);
			acpi_put(b, 0, 1); /* SAPIC EID */
			acpi_put(b, node >> 8, 3);
			acpi_put(b, 0, 4); /* clock domain */
		} else {
			acpi_put(b, 2, 1);
			acpi_put(b, 24, 1);
			acpi_put(b, 0, 2);
			acpi_put(b, node, 4);
			acpi_put(b, c->apic_ids[i], 4);
			acpi_put(b, 1, 4);
			acpi_put(b, 0, 8);
		}
	}
	for (unsigned i = 0; i < c->numa_memory_count; i++)
		srat_memory(b, &c->numa_memory[i], SRAT_ENABLED);
	/* Where modules may come; each says in its _PXM to which node it belongs. */
	const struct acpi_numa_memory modules = {c->module_base, c->module_size, c->numa_nodes - 1};
	if (modules.size)
		srat_memory(b, &modules, SRAT_ENABLED | SRAT_HOT_PLUGGABLE);
	acpi_table_end(t, srat);
	return srat;
}

uint32_t acpi_slit(struct acpi_tables *t, const struct acpi_config *c)
{
	uint32_t slit = acpi_table_begin(t, "SLIT", 1);
	unsigned n = c->numa_nodes;
	acpi_put(t->tables, n, 8);
	for (unsigned i = 0; i < n * n; i++) {
		uint8_t assumed = i / n == i % n ? 10 : 20;
		acpi_put(t->tables, c->numa_distances ? c->numa_distances[i] : assumed, 1);
	}
	acpi_table_end(t, slit);
	return slit;
}
