/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the ACPI tables and the loader ask of a q35 board beyond layout.h's fixed figures. */
#pragma once

#include "machine/machine.h"

extern const struct machine_ops machine_q35_ops;

/* Base of the ECAM window as firmware has programmed PCIEXBAR, or 0 if it is off. */
uint64_t q35_ecam(struct machine *m, uint64_t *size);
/* Base of the ACPI PM registers, or 0 if firmware has not enabled them. */
uint16_t q35_pm_base(struct machine *m);
/*
 * The board without firmware: program what SeaBIOS would (PCIEXBAR, PMBASE and ACPI mode, PIRQ
 * routes, HPET, RCBA). The loader's reset hook calls it for direct boot.
 */
void q35_firmware_setup(struct machine *m);
/* The 64-bit PCI window for the DSDT, [*base, *end); both 0 if there is none. */
void q35_pci_window64(struct machine *m, uint64_t *base, uint64_t *end);
