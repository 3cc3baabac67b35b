/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dev/pci/bridge.h"

#include "dev/pci/pci_int.h"

/* Type 1 configuration header (PCI-to-PCI Bridge 1.2, 3.2). */
enum {
	BRIDGE_PRIMARY = 0x18, BRIDGE_SECONDARY = 0x19, BRIDGE_SUBORDINATE = 0x1a,
	BRIDGE_IO = 0x1c, BRIDGE_SECONDARY_STATUS = 0x1e, BRIDGE_MEMORY = 0x20,
	BRIDGE_PREFETCH = 0x24, BRIDGE_PREFETCH_UPPER = 0x28, BRIDGE_IO_UPPER = 0x30,
	BRIDGE_CONTROL = 0x3e,
};

/* Pin `pin` of what is behind the bridge, already swizzled, is the same pin of the bridge. */
static void secondary_pin(void *opaque, unsigned pin, bool level)
{
	struct pci_bridge *bridge = opaque;
	if (bridge->pci.bus)
		pci_bus_drive(bridge->pci.bus, bridge->pci.devfn, pin, level);
}

void pci_bridge_init(struct pci_bridge *bridge, unsigned slots)
{
	struct pci_device *pci = &bridge->pci;
	uint8_t *c = pci->config, *w = pci->writable;
	struct irq irqs[4];
	for (unsigned pin = 0; pin < 4; pin++)
		irqs[pin] = (struct irq){secondary_pin, bridge, pin};
	bridge->bus = pci_bus_new(pci->dev.vm, irqs);
	pci_bus_set_secondary(bridge->bus, pci, slots);
	pci->secondary = bridge->bus;

	c[PCI_HEADER_TYPE] = (c[PCI_HEADER_TYPE] & 0x80) | 1;
	w[BRIDGE_PRIMARY] = w[BRIDGE_SECONDARY] = w[BRIDGE_SUBORDINATE] = 0xff;
	le16_store(c + BRIDGE_IO, 0x0101); /* 32-bit port addresses */
	le16_store(w + BRIDGE_IO, 0xf0f0);
	le16_store(pci->clear_on_one + BRIDGE_SECONDARY_STATUS, 0xf900);
	le32_store(w + BRIDGE_MEMORY, 0xfff0fff0);
	le32_store(c + BRIDGE_PREFETCH, 0x00010001); /* 64-bit addresses */
	le32_store(w + BRIDGE_PREFETCH, 0xfff0fff0);
	le64_store(w + BRIDGE_PREFETCH_UPPER, UINT64_MAX);
	le32_store(w + BRIDGE_IO_UPPER, UINT32_MAX);
	le16_store(w + BRIDGE_CONTROL, 0x001f); /* parity, SERR, ISA, VGA enables */
}

void pci_bridge_cleanup(struct pci_bridge *bridge)
{
	if (bridge->pci.bus)
		pci_bus_detach(bridge->pci.bus, &bridge->pci);
	pci_bus_free(bridge->bus);
	bridge->bus = bridge->pci.secondary = NULL;
}

/* The bridge on `bus` that forwards cycles for bus `number`; *direct: to its own secondary side. */
static struct pci_bus *forward(struct pci_bus *bus, unsigned number, bool *direct)
{
	LOCK_SCOPE(&bus->lock);
	for (unsigned i = 0; i < bus->bridge_count; i++) {
		const struct pci_device *pci = bus->bridges[i];
		unsigned secondary = pci->config[BRIDGE_SECONDARY];
		*direct = secondary == number;
		if (secondary && number >= secondary && number <= pci->config[BRIDGE_SUBORDINATE])
			return pci->secondary;
	}
	return NULL;
}

struct pci_bus *pci_bus_route(struct pci_bus *bus, unsigned number)
{
	bool direct = number == 0;
	/* A guest can number buses in a circle only as deep as bridges are nested. */
	while (bus && !direct)
		bus = forward(bus, number, &direct);
	return bus;
}
