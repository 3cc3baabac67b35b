/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared between the files of dev/pci. */
#pragma once

#include "base/bytes.h"
#include "base/error.h"
#include "base/lock.h"
#include "dev/pci/pci.h"
#include "vm/vm.h"

#define PCI_LINES_MAX 8
#define PCI_UNMAPPED  UINT64_MAX

/*
 * Lock order: bus->lock, then a function's irq_lock, then bus->intx_lock, then that of the bus on
 * the bridge's other side, then the interrupt controller's. Two buses' `lock`s are never held
 * together: a bridge's bus lives as long as the machine. A function's callbacks run with bus->lock
 * held and irq_lock free.
 */
struct pci_bus {
	struct vm *vm;
	const struct pci_device *bridge; /* NULL: the host bridge */
	pthread_mutex_t lock; /* configuration space, BAR mappings and `functions` */
	struct pci_device *functions[256];
	struct pci_device *bridges[256]; /* those of them that have a bus behind them */
	unsigned bridge_count;
	unsigned first_slot, slot_count; /* device numbers that are given out */
	unsigned (*route)(unsigned devfn, unsigned pin);
	pthread_mutex_t intx_lock;
	struct irq irqs[PCI_LINES_MAX];
	unsigned line_count;
	unsigned raised[PCI_LINES_MAX]; /* functions that drive the line high; under intx_lock */
};

/* Guest-physical addresses from 1 << this on do not exist: no BAR is mapped there. */
static inline unsigned pci_address_bits(const struct pci_bus *bus)
{
	unsigned bits = bus->vm->config.phys_bits;
	return bits ? bits : 40;
}

/* bridge.c: the bus with this number as the guest has numbered them, or NULL. */
struct pci_bus *pci_bus_route(struct pci_bus *bus, unsigned number);
/* bus.c: a function's pin (0 to 3) on the bus changes. Once for each change. */
void pci_bus_drive(struct pci_bus *bus, unsigned devfn, unsigned pin, bool level);

/* config.c: map or unmap each BAR as the command register and the BAR's value say. */
void pci_update_mappings(struct pci_device *pci);
void pci_unmap_all(struct pci_device *pci);
/* intx.c, irq_lock held: drive the line as level, INTx disable and MSI enables say. */
void pci_intx_update_locked(struct pci_device *pci);
/* msi.c: MSI or MSI-X registers may have changed; takes irq_lock. */
struct pci_irq_before {
	uint16_t msi_control, msix_control;
	uint32_t msi_mask, msi_data;
	uint64_t msi_address;
};
void pci_irq_config_before(struct pci_device *pci, struct pci_irq_before *before);
void pci_irq_config_written(struct pci_device *pci, const struct pci_irq_before *before);
void pci_irq_reset(struct pci_device *pci);
