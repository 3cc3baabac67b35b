/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ICH9's SATA controller in AHCI mode (8086:2922): six ports with one unit each, native command
 * queueing, MSI. Spec: Serial ATA AHCI 1.3.1.
 *
 * vCPUs only touch registers, under the controller's lock. Commands run on vm->loop: a write to
 * PxCI signals an eventfd that the loop watches; block requests are submitted and complete there,
 * and only the outcome goes back under the lock.
 */
#pragma once

#include "dev/storage/ata.h"

enum { AHCI_PORTS = 6 };

/* -device ich9-ahci, alias ahci. The board's own sits at 1f.2. */
extern const struct device_class ahci_class;

/* One port, as a bus that holds one unit: the `bus` of ide-hd and ide-cd. */
struct ide_bus;
/* `port` is 0 to 5. Exists as soon as the device does, before it is realized. */
struct ide_bus *ahci_bus(struct device *ahci, unsigned port);
/* Is there no unit on it? */
bool ide_bus_is_free(const struct ide_bus *bus);
/*
 * Called by units. Attaching a unit to a running machine is seen by the guest as a hot-plug event;
 * both on the main thread, detaching with no vCPU in the controller.
 */
bool ide_bus_attach(struct ide_bus *bus, struct ata_unit *unit, GError **error);
void ide_bus_detach(struct ide_bus *bus, struct ata_unit *unit);
/* "/pci@i0cf8/pci8086,2922@1f,2/drive@0/disk@0": where firmware finds the unit. NULL before PCI
 * has placed the controller. Free with g_free(). */
char *ata_unit_boot_path(struct device *unit);
