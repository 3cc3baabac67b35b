/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI-to-PCI bridges: a function whose other side is a bus of its own, reached by the bus numbers
 * that the guest gives it. Spec: PCI-to-PCI Bridge Architecture 1.2.
 *
 * The windows that a bridge forwards are registers without effect: a function behind it answers
 * wherever its BARs say. A secondary bus reset is not implemented; its bit reads as zero.
 */
#pragma once

#include "dev/pci/pci.h"

struct pci_bridge {
	struct pci_device pci;
	struct pci_bus *bus; /* the secondary side */
};

/*
 * Make the function a bridge, after pci_set_identity(). `slots` device numbers exist behind it: 1 on
 * a PCIe link.
 */
void pci_bridge_init(struct pci_bridge *bridge, unsigned slots);
/* Before pci_device_cleanup(). All functions behind it are detached already. */
void pci_bridge_cleanup(struct pci_bridge *bridge);

/* A PCIe slot: what -device pcie-root-port makes. */
extern const struct device_class pcie_root_port_class;
/* The bus behind a root port, or NULL if `dev` is something else. */
struct pci_bus *pcie_root_port_bus(struct device *dev);
/* The number on the slot ("slot"), as ACPI's _SUN tells it. */
unsigned pcie_root_port_slot(const struct device *dev);
/* May a running machine's guest be asked to take devices in and give them back here? */
bool pcie_root_port_hotplug(const struct device *dev);
/* Something was put into the slot or taken out: what the port's registers tell. */
void pcie_root_port_presence(struct device *dev, bool present);
