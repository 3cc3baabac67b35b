/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI devices that come and go while the guest runs: through root ports' slots, by ACPI. A guest
 * gives a device back when it is ready to (its eject method), and a reset takes what was asked for.
 */
#include "base/error.h"
#include "dev/chips/acpi_slots.h"
#include "dev/pci/bridge.h"
#include "machine/acpi/acpi.h"
#include "machine/layout.h"
#include "machine/machine_int.h"

struct machine_hotplug {
	struct acpi_slots *slots;
	struct device *ports[ACPI_PCI_SLOTS_MAX]; /* the slots' root ports */
	unsigned count;
	uint32_t requested; /* bit n: the guest was asked for what is in slot n */
};

/* What is in the slot: function 0 first, which is taken out last. */
static struct device *last_function(struct machine *m, struct device *port)
{
	struct device *found = NULL;
	for (unsigned i = 0; i < m->devices->len; i++) {
		struct device *dev = m->devices->pdata[i];
		if (dev->bus == pcie_root_port_bus(port))
			found = dev;
	}
	return found;
}

static void take_out(struct machine *m, unsigned slot)
{
	struct machine_hotplug *h = m->hotplug;
	struct device *dev;
	h->requested &= ~(UINT32_C(1) << slot);
	while ((dev = last_function(m, h->ports[slot])))
		machine_take_device(m, dev);
	pcie_root_port_presence(h->ports[slot], false);
	acpi_slots_set_present(h->slots, slot, false);
}

static void ejected(void *opaque, unsigned slot)
{
	struct machine *m = opaque;
	if (slot < m->hotplug->count)
		take_out(m, slot);
}

void machine_hotplug_create(struct machine *m, void (*event)(void *opaque), void *opaque)
{
	m->hotplug = g_new0(struct machine_hotplug, 1);
	m->hotplug->slots = acpi_slots_new(m->vm, Q35_SLOTS_PORT, ACPI_PCI_SLOTS_MAX,
					   &(struct acpi_slots_ops){event, opaque, ejected, m});
}

void machine_hotplug_free(struct machine *m)
{
	if (!m->hotplug)
		return;
	acpi_slots_free(m->hotplug->slots);
	g_clear_pointer(&m->hotplug, g_free);
}

void machine_hotplug_reset(struct machine *m)
{
	struct machine_hotplug *h = m->hotplug;
	if (!h)
		return;
	acpi_slots_reset(h->slots);
	for (unsigned slot = 0; slot < h->count; slot++) {
		if (h->requested >> slot & 1)
			take_out(m, slot);
	}
}

/* The slot whose bus this is, or -1. */
static int find_slot(const struct machine *m, const void *bus)
{
	const struct machine_hotplug *h = m->hotplug;
	for (unsigned slot = 0; h && slot < h->count; slot++) {
		if (pcie_root_port_bus(h->ports[slot]) == bus)
			return (int)slot;
	}
	return -1;
}

bool machine_hotplug_check(const struct machine *m, const void *bus, const char *name, GError **error)
{
	return find_slot(m, bus) >= 0 ||
	       error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "Bus '%s' does not support hotplugging: start the machine with a -device "
			 "pcie-root-port,id=ID and use bus=ID",
			 name);
}

void machine_hotplug_added(struct machine *m, struct device *dev)
{
	struct machine_hotplug *h = m->hotplug;
	if (h && pcie_root_port_bus(dev) && pcie_root_port_hotplug(dev) && h->count < ACPI_PCI_SLOTS_MAX) {
		h->ports[h->count++] = dev;
		return;
	}
	int slot = find_slot(m, dev->bus);
	if (slot < 0)
		return;
	pcie_root_port_presence(h->ports[slot], true);
	acpi_slots_set_present(h->slots, (unsigned)slot, true);
	/* Before the guest runs, its firmware finds the device by itself. */
	if (m->complete)
		acpi_slots_inserted(h->slots, (unsigned)slot);
}

bool machine_hotplug_request(struct machine *m, struct device *dev, const char *bus, GError **error)
{
	int slot = find_slot(m, dev->bus);
	if (slot < 0)
		return machine_hotplug_check(m, dev->bus, bus, error);
	m->hotplug->requested |= UINT32_C(1) << slot;
	acpi_slots_request(m->hotplug->slots, (unsigned)slot);
	return true;
}

unsigned machine_hotplug_describe(const struct machine *m, struct acpi_slot *list)
{
	const struct machine_hotplug *h = m->hotplug;
	for (unsigned slot = 0; h && slot < h->count; slot++) {
		const struct pci_device *pci = (const struct pci_device *)h->ports[slot];
		list[slot] = (struct acpi_slot){pci->devfn, pcie_root_port_slot(h->ports[slot])};
	}
	return h ? h->count : 0;
}
