/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 8254 interval timer and port 61h (speaker gate, refresh toggle). Channel 0's output is IRQ 0,
 * channel 2's is read through port 61h. Counters run on the VM's clock; ticks that the host could
 * not deliver in time are dropped, not queued.
 */
#pragma once

#include "vm/irq.h"
#include "vm/space.h"

struct pit;
struct vm;

/* Maps ports 40 to 43 and 61. Its timer lives on vm->loop. */
struct pit *pit_new(struct vm *vm, const struct irq *irq0);
void pit_free(struct pit *pit);
void pit_reset(struct pit *pit);
