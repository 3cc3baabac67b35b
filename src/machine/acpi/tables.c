/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables of fixed layout: FACS, FADT, MCFG, HPET, WAET. */
#include "machine/acpi/acpi_int.h"

#include "machine/layout.h"

/* Firmware ACPI Control Structure (ACPI 6.4, 5.2.10): no header checksum; 64-byte aligned. */
uint32_t acpi_facs(struct acpi_tables *t)
{
	g_assert(t->tables->len % 64 == 0);
	uint32_t facs = t->tables->len;
	acpi_put_zero(t->tables, ACPI_FACS_SIZE);
	memcpy(t->tables->data + facs, "FACS", 4);
	le32_store(t->tables->data + facs + 4, ACPI_FACS_SIZE);
	return facs;
}

enum { FADT_SIZE = 276 };

/* Offsets in the FADT (ACPI 6.4, table 5.9). */
enum fadt_field {
	FADT_FIRMWARE_CTRL = 36, FADT_DSDT = 40, FADT_SCI_INT = 46, FADT_SMI_CMD = 48,
	FADT_ACPI_ENABLE = 52, FADT_ACPI_DISABLE = 53, FADT_PM1A_EVT = 56, FADT_PM1A_CNT = 64,
	FADT_PM_TMR = 76, FADT_GPE0 = 80, FADT_PM1_EVT_LEN = 88, FADT_PM1_CNT_LEN = 89,
	FADT_PM_TMR_LEN = 91, FADT_GPE0_LEN = 92, FADT_P_LVL2_LAT = 96, FADT_P_LVL3_LAT = 98,
	FADT_CENTURY = 108, FADT_BOOT_ARCH = 109, FADT_FLAGS = 112, FADT_RESET_REG = 116,
	FADT_RESET_VALUE = 128, FADT_MINOR = 131, FADT_X_DSDT = 140, FADT_X_PM1A_EVT = 148,
	FADT_X_PM1A_CNT = 172, FADT_X_PM_TMR = 208, FADT_X_GPE0 = 220, FADT_SLEEP_CONTROL = 244,
	FADT_SLEEP_STATUS = 256, FADT_HYPERVISOR = 268,
};

enum fadt_flags {
	FADT_WBINVD = 1 << 0, FADT_PROC_C1 = 1 << 2, FADT_SLP_BUTTON = 1 << 5, FADT_RTC_S4 = 1 << 7,
	FADT_RESET_REG_SUP = 1 << 10, FADT_USE_PLATFORM_CLOCK = 1 << 15,
	FADT_APIC_CLUSTER = 1 << 18, FADT_HW_REDUCED = 1 << 20,
};

enum fadt_boot_arch { BOOT_LEGACY_DEVICES = 1 << 0, BOOT_8042 = 1 << 1, BOOT_NO_VGA = 1 << 2,
		      BOOT_NO_CMOS_RTC = 1 << 5 };

/* Generic Address Structure (ACPI 6.4, 5.2.3.2). */
static void gas(uint8_t *at, enum aml_space space, unsigned bits, enum aml_access access,
		uint64_t address)
{
	at[0] = (uint8_t)space;
	at[1] = (uint8_t)bits;
	at[2] = 0;
	at[3] = (uint8_t)access;
	le64_store(at + 4, address);
}

static void fadt_q35(uint8_t *p, const struct acpi_config *c)
{
	uint16_t pm = c->pm_base;
	le16_store(p + FADT_SCI_INT, Q35_SCI);
	le32_store(p + FADT_SMI_CMD, Q35_APM_PORT);
	p[FADT_ACPI_ENABLE] = Q35_ACPI_ENABLE;
	p[FADT_ACPI_DISABLE] = Q35_ACPI_DISABLE;

	uint16_t event = pm + (Q35_PM_EVT - Q35_PM_BASE), control = pm + (Q35_PM_CNT - Q35_PM_BASE);
	uint16_t timer = pm + (Q35_PM_TIMER - Q35_PM_BASE), gpe0 = pm + (Q35_PM_GPE0 - Q35_PM_BASE);
	le32_store(p + FADT_PM1A_EVT, event);
	le32_store(p + FADT_PM1A_CNT, control);
	le32_store(p + FADT_PM_TMR, timer);
	le32_store(p + FADT_GPE0, gpe0);
	p[FADT_PM1_EVT_LEN] = 4;
	p[FADT_PM1_CNT_LEN] = 2;
	p[FADT_PM_TMR_LEN] = 4;
	p[FADT_GPE0_LEN] = Q35_PM_GPE0_LEN;
	gas(p + FADT_X_PM1A_EVT, AML_SYSTEM_IO, 32, AML_WORD_ACC, event);
	gas(p + FADT_X_PM1A_CNT, AML_SYSTEM_IO, 16, AML_WORD_ACC, control);
	gas(p + FADT_X_PM_TMR, AML_SYSTEM_IO, 32, AML_DWORD_ACC, timer);
	gas(p + FADT_X_GPE0, AML_SYSTEM_IO, 8 * Q35_PM_GPE0_LEN, AML_BYTE_ACC, gpe0);

	/* Latencies this long mean that there is no C2 and no C3 (ACPI 6.4, table 5.9). */
	le16_store(p + FADT_P_LVL2_LAT, 0xfff);
	le16_store(p + FADT_P_LVL3_LAT, 0xfff);
	p[FADT_CENTURY] = c->rtc ? 0x32 : 0;
	gas(p + FADT_RESET_REG, AML_SYSTEM_IO, 8, AML_BYTE_ACC, Q35_RESET_PORT);
	p[FADT_RESET_VALUE] = Q35_RESET_VALUE;
	/* The power button is the fixed one; there is no sleep button. */
	uint32_t flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_RTC_S4 |
			 FADT_RESET_REG_SUP | FADT_USE_PLATFORM_CLOCK;
	/* With more than 8 CPUs logical destinations need the cluster model. */
	if (c->cpu_count > 8)
		flags |= FADT_APIC_CLUSTER;
	le32_store(p + FADT_FLAGS, flags);
}

static void fadt_microvm(uint8_t *p)
{
	uint64_t regs = MICROVM_GED_REGS_BASE;
	gas(p + FADT_SLEEP_CONTROL, AML_SYSTEM_MEMORY, 8, AML_BYTE_ACC, regs);
	gas(p + FADT_SLEEP_STATUS, AML_SYSTEM_MEMORY, 8, AML_BYTE_ACC, regs + 1);
	gas(p + FADT_RESET_REG, AML_SYSTEM_MEMORY, 8, AML_BYTE_ACC, regs + 2);
	p[FADT_RESET_VALUE] = MICROVM_GED_RESET_VALUE;
	le32_store(p + FADT_FLAGS, FADT_WBINVD | FADT_HW_REDUCED | FADT_RESET_REG_SUP);
}

uint32_t acpi_fadt(struct acpi_tables *t, const struct acpi_config *c, uint32_t facs, uint32_t dsdt)
{
	uint32_t fadt = acpi_table_begin(t, "FACP", 6);
	acpi_put_zero(t->tables, FADT_SIZE - ACPI_HEADER_SIZE);
	uint8_t *p = t->tables->data + fadt;

	unsigned arch = c->serial_ports || c->rtc ? BOOT_LEGACY_DEVICES : 0;
	arch |= c->keyboard ? BOOT_8042 : 0;
	arch |= c->vga ? 0 : BOOT_NO_VGA;
	arch |= c->rtc ? 0 : BOOT_NO_CMOS_RTC;
	le16_store(p + FADT_BOOT_ARCH, (uint16_t)arch);
	p[FADT_MINOR] = 3;
	memcpy(p + FADT_HYPERVISOR, "BERTH", 5);
	if (c->board == ACPI_BOARD_MICROVM) {
		fadt_microvm(p);
	} else {
		fadt_q35(p, c);
		/* The 64-bit FACS pointer stays zero: 5.2.9 allows only one of the two. */
		acpi_link_pointer(t, ACPI_BLOB_TABLES, fadt + FADT_FIRMWARE_CTRL, 4, facs);
	}
	acpi_link_pointer(t, ACPI_BLOB_TABLES, fadt + FADT_DSDT, 4, dsdt);
	acpi_link_pointer(t, ACPI_BLOB_TABLES, fadt + FADT_X_DSDT, 8, dsdt);
	acpi_table_end(t, fadt);
	return fadt;
}

/* PCI Firmware Specification 3.3, 4.1.2. */
uint32_t acpi_mcfg(struct acpi_tables *t, const struct acpi_config *c)
{
	uint32_t mcfg = acpi_table_begin(t, "MCFG", 1);
	acpi_put(t->tables, 0, 8);
	acpi_put(t->tables, c->ecam_base, 8);
	acpi_put(t->tables, 0, 2); /* segment */
	acpi_put(t->tables, 0, 1); /* first and last bus: 1 MiB each */
	acpi_put(t->tables, (c->ecam_size >> 20) - 1, 1);
	acpi_put(t->tables, 0, 4);
	acpi_table_end(t, mcfg);
	return mcfg;
}

/* IA-PC HPET Specification 1.0a, 3.2.4. */
uint32_t acpi_hpet(struct acpi_tables *t)
{
	uint32_t hpet = acpi_table_begin(t, "HPET", 1);
	acpi_put(t->tables, 0x8086a201, 4); /* as the capabilities register: 3 timers, 64 bits */
	acpi_put_zero(t->tables, 12);
	gas(t->tables->data + hpet + 40, AML_SYSTEM_MEMORY, 64, AML_ANY_ACC, Q35_HPET_BASE);
	acpi_put(t->tables, 0, 1);   /* number */
	acpi_put(t->tables, 100, 2); /* minimum tick in periodic mode */
	acpi_put(t->tables, 0, 1);   /* no page protection promised */
	acpi_table_end(t, hpet);
	return hpet;
}

/* Windows ACPI Emulated Devices Table: the PM timer reads right the first time. */
uint32_t acpi_waet(struct acpi_tables *t)
{
	uint32_t waet = acpi_table_begin(t, "WAET", 1);
	acpi_put(t->tables, 1 << 1, 4);
	acpi_table_end(t, waet);
	return waet;
}
