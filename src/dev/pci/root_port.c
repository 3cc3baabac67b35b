/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PCIe root port with one slot. The guest is told of what comes and goes by ACPI (machine's
 * business); the slot's own registers show it too, and that the slot can do it, so that firmware and
 * guests leave address space for what may come. Spec: PCI Express Base 4.0, 7.5.3.
 */
#include "dev/pci/bridge.h"
#include "dev/pci/pci_int.h"

#include <stddef.h>

struct root_port {
	struct pci_bridge bridge;
	uint8_t port, chassis;
	uint16_t slot;
	bool hotplug;
};

/* Offsets in the PCIe capability, and bits. */
enum {
	EXPRESS_LINK_CAP = 0x0c, EXPRESS_LINK_STATUS = 0x12, EXPRESS_SLOT_CAP = 0x14,
	EXPRESS_SLOT_CONTROL = 0x18, EXPRESS_SLOT_STATUS = 0x1a,
};
enum { LINK_ACTIVE = 1 << 13, LINK_CAN_TELL_ACTIVE = 1 << 20, SLOT_HOTPLUG = 1 << 6,
       SLOT_NO_COMPLETION = 1 << 18, SLOT_PRESENT = 1 << 6 };

static struct root_port *port_of(struct device *dev)
{
	return (struct root_port *)dev;
}

static void describe_slot(struct root_port *port)
{
	struct pci_device *pci = &port->bridge.pci;
	uint8_t *c = pci->config + pci->express_cap;
	le32_store(c + EXPRESS_LINK_CAP, 1 | 1 << 4 | LINK_CAN_TELL_ACTIVE | (uint32_t)port->port << 24);
	le32_store(c + EXPRESS_SLOT_CAP, (port->hotplug ? SLOT_HOTPLUG : 0) | SLOT_NO_COMPLETION |
						 (uint32_t)(port->slot & 0x1fff) << 19);
	le16_store(pci->writable + pci->express_cap + EXPRESS_SLOT_CONTROL, 0x1fff);
	le16_store(pci->clear_on_one + pci->express_cap + EXPRESS_SLOT_STATUS, 0x011f);
}

static bool root_port_create(struct device *dev, GError **error)
{
	struct root_port *port = port_of(dev);
	struct pci_device *pci = &port->bridge.pci;
	pci_set_identity(pci, 0x1b36, 0x000c, 0x060400, 0);
	pci_bridge_init(&port->bridge, 1);
	pci_set_pin(pci, 0);
	pci_add_express(pci, PCI_EXPRESS_ROOT_PORT);
	describe_slot(port);
	pci_add_msi(pci, 1);
	return true;
}

static void root_port_reset(struct device *dev)
{
	pci_device_reset(&port_of(dev)->bridge.pci);
}

static void root_port_destroy(struct device *dev)
{
	struct root_port *port = port_of(dev);
	if (!port->bridge.bus)
		return;
	pci_bridge_cleanup(&port->bridge);
	pci_device_cleanup(&port->bridge.pci);
}

struct pci_bus *pcie_root_port_bus(struct device *dev)
{
	return dev->class == &pcie_root_port_class ? port_of(dev)->bridge.bus : NULL;
}

unsigned pcie_root_port_slot(const struct device *dev)
{
	return ((const struct root_port *)dev)->slot;
}

bool pcie_root_port_hotplug(const struct device *dev)
{
	return ((const struct root_port *)dev)->hotplug;
}

void pcie_root_port_presence(struct device *dev, bool present)
{
	struct pci_device *pci = &port_of(dev)->bridge.pci;
	uint8_t *c = pci->config + pci->express_cap;
	LOCK_SCOPE(&pci->bus->lock);
	uint16_t link = le16_load(c + EXPRESS_LINK_STATUS) & ~LINK_ACTIVE;
	uint16_t slot = le16_load(c + EXPRESS_SLOT_STATUS) & ~SLOT_PRESENT;
	le16_store(c + EXPRESS_LINK_STATUS, link | (present ? LINK_ACTIVE : 0));
	le16_store(c + EXPRESS_SLOT_STATUS, slot | (present ? SLOT_PRESENT : 0));
}

static const struct property bus_properties[] = {
	PCI_PROPERTIES(struct root_port, bridge.pci),
	{0},
};

static const struct property properties[] = {
	PROPERTY(struct root_port, port, "port", PROPERTY_U8, "0", "number of the port"),
	PROPERTY(struct root_port, chassis, "chassis", PROPERTY_U8, "0",
		 "number of the chassis: not shown to the guest"),
	PROPERTY(struct root_port, slot, "slot", PROPERTY_U16, "0", "number on the slot"),
	PROPERTY(struct root_port, hotplug, "hotplug", PROPERTY_BOOL, "on",
		 "devices can come and go while the guest runs"),
	{0},
};

const struct device_class pcie_root_port_class = {
	.name = "pcie-root-port",
	.description = "PCI Express slot",
	.bus = "PCI",
	.category = "bridge",
	.properties = properties,
	.bus_properties = bus_properties,
	.size = sizeof(struct root_port),
	.create = root_port_create,
	.reset = root_port_reset,
	.destroy = root_port_destroy,
};
