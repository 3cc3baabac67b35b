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
#include "dev/virtio/net_gso.h"
#include "net/net.h"

#define NET_CARD_FRAME_MAX (65535 + 14 + 8) /* IPv4's largest, Ethernet, two VLAN tags */
#define NET_CARD_CRC 4
#define NET_CARD_TAG 4
#define NET_CARD_PACKET_ROOM (NET_CARD_FRAME_MAX + NET_CARD_TAG)
#define NET_CARD_SEGMENTS 1024              /* descriptors, and segments, of one turn: then others come */

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
	/* The card goes, and nothing calls it any more but its timers: cancel them. */
	void (*cancel_timers)(struct net_card *card);
};

/* The loop's: a packet that the back end has not taken yet, whole or in part. */
struct net_card_out {
	bool pending;            /* there is one */
	bool cutting, have_segment;
	unsigned budget;         /* segments that this turn may still send */
	struct net_gso gso;
	const uint8_t *payload;
	uint8_t *packet;         /* NET_CARD_PACKET_ROOM bytes */
	size_t length;
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
	bool vnet;               /* packets to and from the back end carry virtio's header: it is empty */
	int kick;                /* eventfd: the loop has work */
	struct aio_watch *watch;
	struct net_card_out out;
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
 * Packets to send, on the loop. net_card_pack() makes *packet, a buffer of NET_CARD_PACKET_ROOM bytes
 * with `length` of packet in it, the one that goes next, and gives another buffer for it; what follows
 * changes that. net_card_flush() sends it, without the lock, and is false if the back end is full or the
 * turn has sent enough: then no other may be packed until it has been called again and is true, and
 * transmit() will be.
 */
void net_card_pack(struct net_card *card, uint8_t **packet, size_t length);
/* The sum over [start, end) into the field at `at`, where the pseudo header's is already. */
void net_card_put_checksum(struct net_card *card, size_t start, size_t at, size_t end);
/* A VLAN tag of that type in front of the packet's own. */
void net_card_put_tag(struct net_card *card, uint16_t type, uint16_t tag);
/* Cut it, which is TCP, into segments of `size` bytes. False: it is not, and nothing is pending. */
bool net_card_cut(struct net_card *card, bool ipv4, unsigned size);
bool net_card_flush(struct net_card *card);

/*
 * The packet as it is on the wire: padded to the least length there, and with its CRC if that is wanted.
 * Returns `frame`, or card->frame if something was added; *length with it. From the card's receive().
 */
const uint8_t *net_card_wire_frame(struct net_card *card, const uint8_t *frame, size_t *length, bool crc);

/* DMA, if the guest lets the card master the bus. False: it does not, or there is no memory. */
bool net_card_read(const struct net_card *card, uint64_t address, void *to, uint64_t length);
bool net_card_write(const struct net_card *card, uint64_t address, const void *from, uint64_t length);
