/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PCI bus: which function is where, and the four (or eight) shared INTx lines below it.
 * Spec: PCI Local Bus 3.0, 2.2.6 (interrupt pins).
 */
#include "dev/pci/pci_int.h"

#include <stdlib.h>

/* PCI-to-PCI bridge 1.2, 9.1: the usual swizzle of a bus with four lines. */
static unsigned swizzle(unsigned devfn, unsigned pin)
{
	return ((devfn >> 3) + pin) % 4;
}

struct pci_bus *pci_bus_new(struct vm *vm, const struct irq irqs[4])
{
	struct pci_bus *bus = g_new0(struct pci_bus, 1);
	bus->vm = vm;
	/* 00.0 is the host bridge's. */
	bus->first_slot = 1;
	bus->slot_count = 31;
	pthread_mutex_init(&bus->lock, NULL);
	pthread_mutex_init(&bus->intx_lock, NULL);
	pci_bus_set_routes(bus, irqs, 4, swizzle);
	return bus;
}

void pci_bus_set_routes(struct pci_bus *bus, const struct irq *irqs, unsigned count,
			unsigned (*route)(unsigned devfn, unsigned pin))
{
	g_assert(count <= PCI_LINES_MAX);
	memcpy(bus->irqs, irqs, count * sizeof(*irqs));
	bus->line_count = count;
	bus->route = route;
}

void pci_bus_set_secondary(struct pci_bus *bus, const struct pci_device *bridge, unsigned slots)
{
	bus->bridge = bridge;
	bus->first_slot = 0;
	bus->slot_count = slots;
}

const struct pci_device *pci_bus_bridge(const struct pci_bus *bus)
{
	return bus->bridge;
}

bool pci_bus_is_link(const struct pci_bus *bus)
{
	return bus->slot_count == 1;
}

void pci_bus_free(struct pci_bus *bus)
{
	if (!bus)
		return;
	for (unsigned i = 0; i < G_N_ELEMENTS(bus->functions); i++)
		g_assert(!bus->functions[i]);
	pthread_mutex_destroy(&bus->lock);
	pthread_mutex_destroy(&bus->intx_lock);
	g_free(bus);
}

/* PCI 3.0, 6.2.1: other functions of a device are seen only if function 0 exists and says so. */
static bool check_function(struct pci_bus *bus, struct pci_device *pci, unsigned devfn,
			   GError **error)
{
	struct pci_device *taken = bus->functions[devfn];
	if (taken)
		return error_set(error, BERTH_ERR_BUSY,
				 "PCI address %02x.%x is already taken by %s", devfn >> 3,
				 devfn & 7, taken->dev.class ? taken->dev.class->name : "a device");
	struct pci_device *first = bus->functions[devfn & ~7u];
	if ((devfn & 7) && first && !(first->config[PCI_HEADER_TYPE] & 0x80))
		return error_set(error, BERTH_ERR_INVALID,
				 "PCI address %02x.%x: function 0 is there without multifunction=on",
				 devfn >> 3, devfn & 7);
	return true;
}

bool pci_bus_attach_at(struct pci_bus *bus, struct pci_device *pci, unsigned devfn, GError **error)
{
	g_assert(!pci->bus && devfn < 256);
	LOCK_SCOPE(&bus->lock);
	if (!check_function(bus, pci, devfn, error))
		return false;
	pci->bus = bus;
	pci->devfn = devfn;
	if (pci->multifunction)
		pci->config[PCI_HEADER_TYPE] |= 0x80;
	bus->functions[devfn] = pci;
	if (pci->secondary)
		bus->bridges[bus->bridge_count++] = pci;
	pthread_mutex_lock(&pci->irq_lock);
	/* A level raised before the function had a bus is counted now. */
	bool level = pci->intx_level;
	pci->intx_level = false;
	pthread_mutex_unlock(&pci->irq_lock);
	if (level)
		pci_intx_set(pci, true);
	pci_update_mappings(pci);
	return true;
}

bool pci_bus_attach(struct pci_bus *bus, struct pci_device *pci, GError **error)
{
	/* A zeroed property means automatic too: device 0 is the host bridge or the first free one. */
	if (pci->address > 0) {
		if (pci->address >> 3 >= (int)(bus->first_slot + bus->slot_count))
			return error_set(error, BERTH_ERR_INVALID,
					 "PCI device number %d is out of range (0 to %u)",
					 pci->address >> 3, bus->first_slot + bus->slot_count - 1);
		return pci_bus_attach_at(bus, pci, pci->address, error);
	}
	for (unsigned slot = bus->first_slot; slot < bus->first_slot + bus->slot_count; slot++) {
		bool free = true;
		for (unsigned function = 0; function < 8; function++)
			free = free && !bus->functions[slot << 3 | function];
		if (free)
			return pci_bus_attach_at(bus, pci, slot << 3, error);
	}
	return error_set(error, BERTH_ERR_BUSY,
			 pci_bus_is_link(bus) ? "the slot is taken" :
						"no free PCI device number is left on the bus");
}

void pci_bus_detach(struct pci_bus *bus, struct pci_device *pci)
{
	if (pci->bus != bus)
		return;
	LOCK_SCOPE(&bus->lock);
	bus->functions[pci->devfn] = NULL;
	for (unsigned i = 0; i < bus->bridge_count; i++) {
		if (bus->bridges[i] == pci)
			bus->bridges[i--] = bus->bridges[--bus->bridge_count];
	}
	pci_unmap_all(pci);
	pci_intx_set(pci, false);
	pci->bus = NULL;
}

struct pci_device *pci_bus_find(struct pci_bus *bus, unsigned devfn)
{
	LOCK_SCOPE(&bus->lock);
	return devfn < 256 ? bus->functions[devfn] : NULL;
}

void pci_bus_for_each(struct pci_bus *bus, void (*fn)(void *opaque, struct pci_device *pci),
		      void *opaque)
{
	LOCK_SCOPE(&bus->lock);
	for (unsigned i = 0; i < G_N_ELEMENTS(bus->functions); i++)
		if (bus->functions[i])
			fn(opaque, bus->functions[i]);
}

/* The line's level changes only when its first driver comes or its last one goes. */
void pci_bus_drive(struct pci_bus *bus, unsigned devfn, unsigned pin, bool level)
{
	unsigned line = bus->route(devfn, pin);
	if (line >= bus->line_count)
		return;
	LOCK_SCOPE(&bus->intx_lock);
	if (level) {
		if (bus->raised[line]++ == 0)
			irq_set(&bus->irqs[line], true);
	} else if (--bus->raised[line] == 0) {
		irq_set(&bus->irqs[line], false);
	}
}

void pci_intx_update_locked(struct pci_device *pci)
{
	uint16_t command = le16_load(&pci->config[PCI_COMMAND]);
	/* PCI 3.0, 6.2.3: the status bit shows the level even when the pin is disabled. */
	if (pci->intx_level)
		pci->config[PCI_STATUS] |= 0x08;
	else
		pci->config[PCI_STATUS] &= ~0x08;
	bool drive = pci->bus && pci->intx_level && !(command & PCI_COMMAND_INTX_DISABLE);
	if (drive == pci->intx_driven || !pci->bus)
		return;
	pci->intx_driven = drive;
	unsigned pin = pci->config[PCI_INTERRUPT_PIN];
	if (pin && pin <= 4)
		pci_bus_drive(pci->bus, pci->devfn, pin - 1, drive);
}

void pci_intx_set(struct pci_device *pci, bool level)
{
	LOCK_SCOPE(&pci->irq_lock);
	pci->intx_level = level;
	pci_intx_update_locked(pci);
}
