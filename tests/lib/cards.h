/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A network card's driver in the test process: a VM without vCPUs, the card on its PCI bus with all BARs
 * mapped, and a network that is an array of packets.
 */
#pragma once

#include "aio/loop.h"
#include "base/bytes.h"
#include "dev/net/cards.h"
#include "dev/pci/pci.h"
#include "vd_fakes.h"
#include "vdriver.h"

enum { CARD_MMIO = 0xd0000000, CARD_PORTS = 0xc000 };

struct card {
	struct vd_machine m;
	struct fake_net net;
	struct device *dev;
	unsigned devfn;
	uint64_t mmio; /* where its registers are in memory */
};

/* The card with its address 52:54:00:01:02:03, and the VM running. `offloads` as fake_net_init() has them. */
void card_open(struct card *c, const struct device_class *class, uint32_t offloads);
void card_close(struct card *c);
/* Registers in memory. */
uint32_t card_get(struct card *c, unsigned offset);
void card_put(struct card *c, unsigned offset, uint32_t value);
/* Let the loop do what is due. */
void card_run(struct card *c);
/* The network has a packet. False: the card had no room. */
bool card_feed(struct card *c, const uint8_t *frame, size_t length);
/* A frame to 52:54:00:01:02:03 of `length` bytes with a UDP packet over IPv4 in it, all checksums right. */
void card_udp_frame(uint8_t *frame, size_t length);
