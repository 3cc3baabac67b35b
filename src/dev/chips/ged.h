/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a hardware-reduced ACPI board has instead of an ICH9: a generic event device that tells of
 * the power button, and the sleep and reset registers (ACPI 6.4, 4.8.3.7 and 5.6.9).
 */
#pragma once

#include "vm/irq.h"
#include "vm/space.h"

/* Bits of the event register: 4 bytes at the base, cleared by reading. */
enum { GED_EVENT_POWER_BUTTON = 1 << 1 };

struct ged;
struct vm;

/*
 * `regs` are SLEEP_CTL, SLEEP_STS and the reset register, a byte each. `irq` pulses. A SLP_TYP of
 * `off_type` powers off; `reset_value` in the reset register resets.
 */
struct ged *ged_new(struct vm *vm, uint64_t base, uint64_t regs, const struct irq *irq,
		    uint8_t off_type, uint8_t reset_value);
void ged_free(struct ged *ged);
void ged_reset(struct ged *ged);
/* Any thread. */
void ged_raise(struct ged *ged, uint32_t events);
