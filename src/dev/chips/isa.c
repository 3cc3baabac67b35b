/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spec: QEMU docs/specs/pvpanic.rst; the rest is a port each. */
#include "dev/chips/isa.h"

#include "base/error.h"
#include "chardev/chardev.h"
#include "dev/chips/uart.h"
#include "vm/vm.h"

/* Ports [base, base + size) must lie in the 64 KiB of I/O space. */
static bool check_ports(struct device *dev, uint64_t base, uint64_t size, GError **error)
{
	if (size >= 1 && base <= 0xffff && size <= 0x10000 - base)
		return true;
	return error_set(error, BERTH_ERR_INVALID,
			 "%s: I/O ports 0x%llx to 0x%llx are outside of 0 to 0xffff",
			 dev->class->name, (unsigned long long)base,
			 (unsigned long long)(base + size - 1));
}

/* --- isa-serial ---------------------------------------------------------------------------------- */

struct isa_serial {
	struct device dev;
	struct chardev *chr;
	uint32_t index, iobase, irq;
	struct uart *uart;
};

static const uint16_t serial_ports[4] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
static const uint8_t serial_irqs[4] = {4, 3, 4, 3};

static const struct property serial_properties[] = {
	PROPERTY(struct isa_serial, chr, "chardev", PROPERTY_CHARDEV, NULL, "character device"),
	PROPERTY(struct isa_serial, index, "index", PROPERTY_U32, "0", "COM port number, from 0"),
	PROPERTY(struct isa_serial, iobase, "iobase", PROPERTY_U32, "0", "first port; 0: by index"),
	PROPERTY(struct isa_serial, irq, "irq", PROPERTY_U32, "0", "ISA IRQ; 0: by index"),
	{0},
};

static bool serial_create(struct device *dev, GError **error)
{
	struct isa_serial *s = (struct isa_serial *)dev;
	struct isa_bus *bus = dev->bus;
	if (s->index > 3)
		return error_set(error, BERTH_ERR_INVALID, "isa-serial: index %u is not 0 to 3",
				 s->index);
	uint32_t base = s->iobase ? s->iobase : serial_ports[s->index];
	uint32_t irq = s->irq ? s->irq : serial_irqs[s->index];
	if (!check_ports(dev, base, 8, error))
		return false;
	if (irq > 15)
		return error_set(error, BERTH_ERR_INVALID, "isa-serial: irq %u is not 1 to 15", irq);
	s->uart = uart_new(dev->vm, base, &bus->irqs[irq], s->chr, error);
	return s->uart != NULL;
}

static void serial_reset(struct device *dev)
{
	uart_reset(((struct isa_serial *)dev)->uart);
}

static void serial_destroy(struct device *dev)
{
	uart_free(((struct isa_serial *)dev)->uart);
}

const struct device_class isa_serial_class = {
	.name = "isa-serial",
	.description = "16550A serial port",
	.bus = "ISA",
	.category = "input",
	.properties = serial_properties,
	.size = sizeof(struct isa_serial),
	.create = serial_create,
	.reset = serial_reset,
	.destroy = serial_destroy,
};

/* --- isa-debugcon -------------------------------------------------------------------------------- */

struct debugcon {
	struct device dev;
	struct chardev *chr;
	uint32_t iobase, readback;
	struct io_region region;
};

static const struct property debugcon_properties[] = {
	PROPERTY(struct debugcon, chr, "chardev", PROPERTY_CHARDEV, NULL, "character device"),
	PROPERTY(struct debugcon, iobase, "iobase", PROPERTY_U32, "0xe9", "port"),
	PROPERTY(struct debugcon, readback, "readback", PROPERTY_U32, "0xe9", "what reads give"),
	{0},
};

static uint64_t debugcon_read(void *opaque, uint64_t offset, unsigned size)
{
	return ((struct debugcon *)opaque)->readback;
}

/* No hardware flow control exists: what a stuck reader does not take is dropped. */
static void debugcon_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct debugcon *d = opaque;
	uint8_t byte = value;
	if (d->chr)
		(void)chardev_write(d->chr, &byte, 1);
}

static const struct io_ops debugcon_ops = {debugcon_read, debugcon_write, .min_size = 1,
					   .max_size = 1};

static bool debugcon_create(struct device *dev, GError **error)
{
	struct debugcon *d = (struct debugcon *)dev;
	if (!check_ports(dev, d->iobase, 1, error))
		return false;
	const struct chardev_user user = {.opaque = d};
	if (d->chr && !chardev_attach(d->chr, &user, error)) {
		d->chr = NULL;
		return false;
	}
	d->region = (struct io_region){.name = "debugcon", .ops = &debugcon_ops, .opaque = d,
				       .size = 1};
	space_add_io(dev->vm->ports, d->iobase, &d->region, SPACE_PRIORITY_HIGH);
	return true;
}

static void debugcon_destroy(struct device *dev)
{
	struct debugcon *d = (struct debugcon *)dev;
	if (!d->region.ops)
		return;
	space_remove_io(dev->vm->ports, &d->region);
	if (d->chr)
		chardev_detach(d->chr, d);
}

void isa_debugcon_set_chardev(struct device *dev, struct chardev *chr)
{
	((struct debugcon *)dev)->chr = chr;
}

const struct device_class isa_debugcon_class = {
	.name = "isa-debugcon",
	.description = "debug console: a port whose bytes go to a character device",
	.bus = "ISA",
	.category = "misc",
	.properties = debugcon_properties,
	.size = sizeof(struct debugcon),
	.create = debugcon_create,
	.destroy = debugcon_destroy,
};

/* --- isa-debug-exit ------------------------------------------------------------------------------ */

struct debug_exit {
	struct device dev;
	uint32_t iobase, iosize;
	struct io_region region;
};

static const struct property debug_exit_properties[] = {
	PROPERTY(struct debug_exit, iobase, "iobase", PROPERTY_U32, "0x501", "first port"),
	PROPERTY(struct debug_exit, iosize, "iosize", PROPERTY_U32, "2", "number of ports"),
	{0},
};

static uint64_t debug_exit_read(void *opaque, uint64_t offset, unsigned size)
{
	return 0;
}

static void debug_exit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct debug_exit *d = opaque;
	vm_request(d->dev.vm, VM_REQUEST_SHUTDOWN, (int)((value << 1 | 1) & 0xff));
}

static const struct io_ops debug_exit_ops = {debug_exit_read, debug_exit_write, .min_size = 1,
					     .max_size = 4};

static bool debug_exit_create(struct device *dev, GError **error)
{
	struct debug_exit *d = (struct debug_exit *)dev;
	if (!check_ports(dev, d->iobase, d->iosize, error))
		return false;
	d->region = (struct io_region){.name = "debug-exit", .ops = &debug_exit_ops, .opaque = d,
				       .size = d->iosize};
	space_add_io(dev->vm->ports, d->iobase, &d->region, SPACE_PRIORITY_HIGH);
	return true;
}

static void debug_exit_destroy(struct device *dev)
{
	struct debug_exit *d = (struct debug_exit *)dev;
	if (d->region.ops)
		space_remove_io(dev->vm->ports, &d->region);
}

const struct device_class isa_debug_exit_class = {
	.name = "isa-debug-exit",
	.description = "port that ends the VMM with status (value << 1) | 1",
	.bus = "ISA",
	.category = "misc",
	.properties = debug_exit_properties,
	.size = sizeof(struct debug_exit),
	.create = debug_exit_create,
	.destroy = debug_exit_destroy,
};

/* --- pvpanic ------------------------------------------------------------------------------------- */

enum { PVPANIC_PANICKED = 1 << 0, PVPANIC_CRASH_LOADED = 1 << 1 };

struct pvpanic {
	struct device dev;
	uint32_t ioport, events;
	struct io_region region;
};

static const struct property pvpanic_properties[] = {
	PROPERTY(struct pvpanic, ioport, "ioport", PROPERTY_U32, "0x505", "port"),
	PROPERTY(struct pvpanic, events, "events", PROPERTY_U32, "3", "events that are offered"),
	{0},
};

static uint64_t pvpanic_read(void *opaque, uint64_t offset, unsigned size)
{
	return ((struct pvpanic *)opaque)->events;
}

static void pvpanic_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct pvpanic *p = opaque;
	/* "Crash loaded": the guest's own crash kernel takes over; nothing for us to do. */
	if (value & p->events & PVPANIC_PANICKED)
		vm_request(p->dev.vm, VM_REQUEST_PANIC, 0);
}

static const struct io_ops pvpanic_ops = {pvpanic_read, pvpanic_write, .min_size = 1,
					  .max_size = 1};

static bool pvpanic_create(struct device *dev, GError **error)
{
	struct pvpanic *p = (struct pvpanic *)dev;
	if (!check_ports(dev, p->ioport, 1, error))
		return false;
	p->events &= PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
	p->region = (struct io_region){.name = "pvpanic", .ops = &pvpanic_ops, .opaque = p,
				       .size = 1};
	space_add_io(dev->vm->ports, p->ioport, &p->region, SPACE_PRIORITY_HIGH);
	return true;
}

static void pvpanic_destroy(struct device *dev)
{
	struct pvpanic *p = (struct pvpanic *)dev;
	if (p->region.ops)
		space_remove_io(dev->vm->ports, &p->region);
}

const struct device_class isa_pvpanic_class = {
	.name = "pvpanic",
	.description = "the guest's kernel tells of its panic",
	.bus = "ISA",
	.category = "misc",
	.properties = pvpanic_properties,
	.size = sizeof(struct pvpanic),
	.create = pvpanic_create,
	.destroy = pvpanic_destroy,
};
