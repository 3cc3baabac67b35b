/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The classes of emulated network cards, for the machine's list. On "PCI": dev->bus is a struct pci_bus. */
#pragma once

#include "dev/core/device.h"

extern const struct device_class e1000_class, e1000e_class, rtl8139_class;
