/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two functions of the ICH9 south bridge: the LPC bridge (1f.0), which routes PIRQs, places the ACPI
 * PM block and the chip set's configuration registers (RCBA); and the SMBus host controller (1f.3),
 * a bus on which nobody answers.
 */
#pragma once

#include "dev/pci/pci.h"

struct acpi_pm;

struct ich9_lpc {
	struct pci_device pci;
	struct acpi_pm *pm;       /* set before create; borrowed */
	struct irq pic[16];       /* ISA IRQs that PIRQs can be steered to (the PIC's side only) */
	struct irq ioapic[8];     /* PIRQ A to H at the IOAPIC */
	bool no_s3, no_s4;        /* properties: these sleep states are not offered */
	struct io_region rcba;
	uint32_t rcba_base;       /* 0: not mapped */
	uint8_t pirq_level;       /* bit n: PIRQ n is high; under pirq_lock */
	uint8_t isa_raised[16];   /* PIRQs that drive each ISA IRQ */
	pthread_mutex_t pirq_lock;
};

extern const struct device_class ich9_lpc_class;
/* Inputs PIRQ A to H: as struct irq's set, `opaque` is the struct ich9_lpc. Any thread. */
void ich9_pirq_set(void *opaque, unsigned pirq, bool level);
/* Which PIRQ pin 0 to 3 of a function drives. For pci_bus_set_routes(). */
unsigned ich9_pirq_route(unsigned devfn, unsigned pin);
/* 0 if firmware has not enabled the PM block. */
uint16_t ich9_pm_base(struct ich9_lpc *lpc);
/* Program what firmware would: PM base, RCBA, PIRQs A to H to IRQ 10 and 11. */
void ich9_firmware_setup(struct ich9_lpc *lpc, uint16_t pm_base, uint32_t rcba);

extern const struct device_class ich9_smbus_class; /* struct ich9_smbus, in ich9_smbus.c */
