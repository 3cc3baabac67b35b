/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices that -device puts on the ISA bus (device->bus is a struct isa_bus *): a serial port, a
 * debug console, an exit port for tests, and the panic notifier.
 */
#pragma once

#include "dev/core/device.h"
#include "vm/irq.h"

struct isa_bus {
	struct irq irqs[16];
};

extern const struct device_class isa_serial_class;     /* isa-serial */
extern const struct device_class isa_debugcon_class;   /* isa-debugcon */
extern const struct device_class isa_debug_exit_class; /* isa-debug-exit */
/* For a board's own console, before create. */
struct chardev;
void isa_debugcon_set_chardev(struct device *dev, struct chardev *chr);
extern const struct device_class isa_pvpanic_class;    /* pvpanic */
