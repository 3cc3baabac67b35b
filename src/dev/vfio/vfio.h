/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI devices of the host that the guest drives itself, by the kernel's VFIO (linux/vfio.h;
 * Documentation/driver-api/vfio.rst of Linux): -device vfio-pci,host=0000:BB:DD.F.
 */
#pragma once

#include "dev/core/device.h"

extern const struct device_class vfio_pci_class;
