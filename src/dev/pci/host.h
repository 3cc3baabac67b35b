/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A PCI host bridge's two ways to configuration space: mechanism #1 (ports CF8 and CFC) and the
 * PCIe ECAM window. Port CF9, the reset control register, lies inside CF8's four bytes.
 */
#pragma once

#include "dev/pci/pci.h"

struct pci_host {
	struct pci_bus *bus;
	struct vm *vm;
	pthread_mutex_t lock; /* the address register */
	uint32_t address;
	uint8_t reset_control;
	struct io_region ports, ecam;
	uint64_t ecam_base, ecam_size; /* size 0: not mapped */
};

void pci_host_init(struct pci_host *host, struct vm *vm, struct pci_bus *bus);
/* CF8 to CFF, with the reset register at CF9: bit 2 rising asks the VM for a reset. */
void pci_host_map_ports(struct pci_host *host);
/* One MiB for each bus; `size` 0 unmaps. Any thread. */
void pci_host_map_ecam(struct pci_host *host, uint64_t base, uint64_t size);
void pci_host_reset(struct pci_host *host);
void pci_host_cleanup(struct pci_host *host);
