/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the emulated network cards (e1000, e1000e, rtl8139) have in common: the back end, its loop, and
 * the way from a register to it.
 *
 * Threads: registers are accessed on vCPU threads, packets move on the back end's loop. All of a card's
 * state is under card->lock, except what a card says belongs to the loop. The lock is not held across
 * the back end's send(), which may call receive() before it returns; so a packet is copied out of guest
 * memory under the lock and sent without it. A register's write that makes work calls net_card_kick()
 * without the lock.
 */
#pragma once

#include "dev/pci/pci.h"
#include "net/net.h"

#define NET_CARD_FRAME_MAX (65535 + 14 + 8) /* IPv4's largest, Ethernet, two VLAN tags */
#define NET_CARD_CRC 4
#define NET_CARD_SEGMENTS 1024              /* descriptors that one turn takes: then others come */

struct net_card;

/* A card's side. All on the loop. */
struct net_card_ops {
	/* Send what the driver has queued. Without the lock. */
	void (*transmit)(struct net_card *card);
	/* Room for a packet, or nobody who wants it? Under the lock. */
	bool (*can_receive)(struct net_card *card);
	/* Takes the packet of one piece, or drops it. False: no room. Under the lock. */
	bool (*receive)(struct net_card *card, const uint8_t *frame, size_t length);
	/* card->link_up has changed. Under the lock. */
	void (*link_changed)(struct net_card *card);
};

struct net_card {
	struct pci_device pci; /* first */
	const struct net_card_ops *ops;
	/* Properties. */
	struct net_backend *backend;
	uint8_t mac[6];
	uint32_t boot_index;

	pthread_mutex_t lock;
	bool created;
	bool started;            /* the VM runs. Under the lock */
	bool link_up;            /* under the lock */
	int kick;                /* eventfd: the loop has work */
	struct aio_watch *watch;
	uint8_t *frame;          /* the loop's: a received packet in one piece, with room for its CRC */
};

#define NET_CARD_PROPERTIES(struct_, field_)                                                       \
	PCI_PROPERTIES(struct_, field_.pci),                                                       \
	PROPERTY(struct_, field_.backend, "netdev", PROPERTY_NETDEV, NULL, "id of a -netdev"),     \
	PROPERTY(struct_, field_.mac, "mac", PROPERTY_MAC, NULL, "hardware address"),              \
	PROPERTY(struct_, field_.boot_index, "bootindex", PROPERTY_U32, "4294967295",              \
		 "place in the firmware's boot order")

/* The class's open operation. */
bool net_card_open(struct device *dev, GError **error);
/* In the class's create, after the PCI function is described: packets may come from now on. */
bool net_card_create(struct net_card *card, const struct net_card_ops *ops, GError **error);
/* The class's start and stop operations. */
void net_card_start(struct device *dev);
void net_card_stop(struct device *dev);
/* First in the class's destroy: after it neither the loop nor the guest knows the card. */
void net_card_destroy(struct net_card *card);

/* The loop has work: packets to send, or room for some. Any thread, without the lock. */
void net_card_kick(struct net_card *card);

/*
 * The packet as it is on the wire: padded to the least length there, and with its CRC if that is wanted.
 * Returns `frame`, or card->frame if something was added; *length with it. From the card's receive().
 */
const uint8_t *net_card_wire_frame(struct net_card *card, const uint8_t *frame, size_t *length, bool crc);

/* DMA, if the guest lets the card master the bus. False: it does not, or there is no memory. */
bool net_card_read(const struct net_card *card, uint64_t address, void *to, uint64_t length);
bool net_card_write(const struct net_card *card, uint64_t address, const void *from, uint64_t length);
