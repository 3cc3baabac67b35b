/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keyboard controller with a PS/2 keyboard and mouse, ports 60h and 64h, and the system control
 * port 92h. The guest resets the machine through it. The A20 gate is kept but has no effect:
 * address line 20 is always on.
 */
#pragma once

#include "vm/irq.h"
#include "vm/space.h"

struct i8042;
struct vm;

struct i8042 *i8042_new(struct vm *vm, const struct irq *irq1, const struct irq *irq12);
void i8042_free(struct i8042 *kbc);
void i8042_reset(struct i8042 *kbc);
/* Input from a display or the monitor: see ps2.h for the codes. Any thread. */
void i8042_key(struct i8042 *kbc, uint8_t code, bool down);
void i8042_mouse(struct i8042 *kbc, int dx, int dy, int dz, uint8_t buttons);
