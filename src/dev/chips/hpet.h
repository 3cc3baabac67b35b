/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A high precision event timer: a 64-bit counter at 100 MHz and three comparators, without
 * front-side-bus (message) interrupts. In legacy replacement mode comparators 0 and 1 take over
 * IRQ 0 and IRQ 8, so the PIT and the RTC drive their lines through this chip.
 */
#pragma once

#include "vm/irq.h"
#include "vm/space.h"

#define HPET_PINS 24
#define HPET_PERIOD_FS 10000000 /* one tick, in femtoseconds */
#define HPET_BLOCK_ID UINT32_C(0x8086a201) /* low half of the capabilities register, for ACPI */

struct hpet;
struct vm;

/* `gsi` are the lines that comparators can be routed to; `irq0` and `irq8` those of the ISA bus. */
struct hpet *hpet_new(struct vm *vm, uint64_t base, const struct irq gsi[HPET_PINS],
		      const struct irq *irq0, const struct irq *irq8);
void hpet_free(struct hpet *hpet);
void hpet_reset(struct hpet *hpet);
/* Inputs for the PIT (line 0) and the RTC (line 8): dropped in legacy replacement mode. */
void hpet_legacy_input(void *opaque, unsigned line, bool level);
