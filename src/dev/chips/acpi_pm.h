/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ICH9's ACPI power management block: PM1a event and control registers, the 24-bit PM timer,
 * GPE0, SMI enable and the watchdog-free rest of TCO; and the APM ports b2/b3, through which an OS
 * turns ACPI mode on and off. There is no system management mode: APMC_EN reads as set, which tells
 * SeaBIOS that SMM is already taken care of.
 */
#pragma once

#include "vm/irq.h"
#include "vm/space.h"

struct acpi_pm;
struct vm;

/* Sleep states beside off: S3, S4. */
struct acpi_pm_states {
	bool memory, disk;
};

struct acpi_pm *acpi_pm_new(struct vm *vm, const struct irq *sci);
void acpi_pm_free(struct acpi_pm *pm);
void acpi_pm_reset(struct acpi_pm *pm);
/* Which sleep states there are; none at first. */
void acpi_pm_offer(struct acpi_pm *pm, struct acpi_pm_states states);
/* Where the 128 ports are; 0 unmaps. */
void acpi_pm_map(struct acpi_pm *pm, uint16_t base);
/* Hardware-reduced or direct boot: ACPI mode is on from the start. */
void acpi_pm_enable(struct acpi_pm *pm);
void acpi_pm_power_button(struct acpi_pm *pm);
/*
 * Wake the guest if it sleeps, whatever it has enabled: a key, or somebody outside. Any thread. The power
 * button and the clock chip do so by themselves if they may.
 */
void acpi_pm_wake(struct acpi_pm *pm);
/* After the reset that is a wake-up: what has woken the guest is in PM1_STS. */
void acpi_pm_woken(struct acpi_pm *pm);
/* The clock chip has asserted its interrupt. Any thread. */
void acpi_pm_rtc(struct acpi_pm *pm);
/* Raise bit `event` (0 to 63) of GPE0. Any thread. */
void acpi_pm_gpe(struct acpi_pm *pm, unsigned event);
