/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 82Q35 memory controller hub as PCI function 00.0: where the ECAM window is (PCIEXBAR), and
 * what is at 0xc0000 to 0xfffff (PAM registers): firmware's ROM or the RAM behind it.
 */
#pragma once

#include "dev/pci/host.h"

#define MCH_SEGMENTS 13

/* One range that a pair of PAM bits controls. */
struct mch_segment {
	struct mch *mch;
	uint64_t base, size;
	uint8_t bits;             /* as mapped now */
	struct io_region bus;     /* takes writes, and reads where there is no ROM */
};

struct mch {
	struct pci_device pci;
	struct pci_host *host;         /* set before create; borrowed */
	struct ram_block *ram;         /* set before create: guest RAM from address 0 */
	struct ram_block *rom;         /* firmware whose last 128 KiB show at 0xe0000, or NULL */
	struct mch_segment segments[MCH_SEGMENTS];
};

extern const struct device_class mch_class;
/* 0 if it is off. */
uint64_t mch_ecam(struct mch *mch, uint64_t *size);
/* What firmware would: PCIEXBAR at `ecam`, all of 0xc0000 to 0xfffff RAM. */
void mch_firmware_setup(struct mch *mch, uint64_t ecam);
