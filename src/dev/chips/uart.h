/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A 16550A serial port on a character device. The line's speed is not modelled: a byte leaves as
 * soon as the character device takes it, and is held in the transmit FIFO (THRE low) until then, so
 * none is lost.
 */
#pragma once

#include "vm/irq.h"
#include "vm/space.h"

struct chardev;
struct uart;
struct vm;

/* `chr` may be NULL: output vanishes. Maps eight ports at `base`. Fails if `chr` is in use. */
struct uart *uart_new(struct vm *vm, uint16_t base, const struct irq *irq, struct chardev *chr,
		      GError **error);
void uart_free(struct uart *uart);
void uart_reset(struct uart *uart);
