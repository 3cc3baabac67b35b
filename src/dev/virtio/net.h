/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network device, virtio 1.2 section 5.1. */
#pragma once

#include "dev/virtio/net_gso.h"
#include "dev/virtio/virtio.h"
#include "net/net.h"

#define VIRTIO_NET_PAIRS_MAX 64
#define VIRTIO_NET_MAC_TABLE 64

/* A transmit queue's packet that the back end has not taken yet, whole or in part. */
struct net_tx {
	struct virtq_chain *chain;
	bool cutting;          /* `gso` is in use */
	bool have_segment;     /* gso's current segment was prepared, but not taken */
	const uint8_t *payload;
	struct net_gso gso;
	uint8_t *flat;         /* the packet in one piece, NET_PACKET_MAX bytes */
};

/* A ring that the back end serves. */
struct net_vhost_ring {
	bool started;
	uint16_t base;         /* while it is not: where to go on */
};

struct virtio_net {
	struct virtio_device vdev;
	/* Properties. */
	struct net_backend *backend;
	uint8_t mac[6];
	uint16_t mtu, rx_queue_size, tx_queue_size;
	uint32_t boot_index;
	uint32_t speed;        /* Mbit/s; UINT32_MAX: unknown */
	int duplex;            /* 0: half, 1: full, 2: unknown */
	bool csum, guest_csum, host_tso4, host_tso6, host_ecn, guest_tso4, guest_tso6, guest_ecn;
	bool mrg_rxbuf, status_, ctrl_vq, ctrl_rx, ctrl_vlan, ctrl_rx_extra, ctrl_mac_addr;
	bool ctrl_guest_offloads, guest_announce, mq, gso;

	unsigned pairs;        /* most that there can be */
	bool vnet;             /* packets to and from the back end carry the 12-byte header */
	uint32_t backend_offloads;
	_Atomic bool link_up, announce;
	uint8_t current_mac[6]; /* under vdev->lock as far as configuration; see net_ctrl.c */

	/* On the back end's loop, which is the loop of all queues. */
	bool vnet_stale;       /* the agreement with the back end must be renewed */
	unsigned current_pairs;
	uint64_t guest_offloads; /* feature bits */
	struct {
		bool promiscuous, all_multicast, all_unicast;
		bool no_multicast, no_unicast, no_broadcast;
		unsigned unicast, multicast; /* counts in `table` */
		bool unicast_overflow, multicast_overflow;
		uint8_t table[VIRTIO_NET_MAC_TABLE][6]; /* unicast first */
		uint32_t vlans[4096 / 32];
	} filter;
	struct net_vhost_ring *vhost_rings; /* two a pair; NULL: the rings are served here */
	bool vhost_prepared;   /* the server knows the guest's memory */
	struct net_tx *tx;
	struct virtq_chain **rx_chains; /* of one packet; rx_queue_size entries */
	uint32_t *rx_written;
};

#define VIRTIO_NET_FLAG(struct_, field_, name_, help_)                                             \
	PROPERTY(struct_, field_, name_, PROPERTY_BOOL, "on", help_)

extern const char *const virtio_net_duplex_names[];

#define VIRTIO_NET_PROPERTIES(struct_, field_)                                                     \
	VIRTIO_PROPERTIES(struct_, field_.vdev),                                                   \
	PROPERTY(struct_, field_.backend, "netdev", PROPERTY_NETDEV, NULL, "id of a -netdev"),     \
	PROPERTY(struct_, field_.mac, "mac", PROPERTY_MAC, NULL, "hardware address"),              \
	PROPERTY(struct_, field_.mtu, "host_mtu", PROPERTY_U16, "0",                               \
		 "largest packet to tell the guest; 0: say nothing"),                              \
	PROPERTY(struct_, field_.rx_queue_size, "rx_queue_size", PROPERTY_U16, "256", "entries"),  \
	PROPERTY(struct_, field_.tx_queue_size, "tx_queue_size", PROPERTY_U16, "256", "entries"),  \
	PROPERTY(struct_, field_.boot_index, "bootindex", PROPERTY_U32, "4294967295",              \
		 "place in the firmware's boot order"),                                            \
	PROPERTY(struct_, field_.speed, "speed", PROPERTY_U32, "4294967295",                       \
		 "Mbit/s to show to the guest"),                                                   \
	{.name = "duplex", .type = PROPERTY_ENUM, .offset = offsetof(struct_, field_.duplex),      \
	 .initial = "unknown", .names = virtio_net_duplex_names, .help = "to show to the guest"},  \
	VIRTIO_NET_FLAG(struct_, field_.csum, "csum", "take packets without a checksum"),          \
	VIRTIO_NET_FLAG(struct_, field_.guest_csum, "guest_csum", "give such packets"),            \
	VIRTIO_NET_FLAG(struct_, field_.gso, "gso", "take packets to be cut (host_tso*)"),         \
	VIRTIO_NET_FLAG(struct_, field_.host_tso4, "host_tso4", "take large TCP/IPv4 packets"),    \
	VIRTIO_NET_FLAG(struct_, field_.host_tso6, "host_tso6", "take large TCP/IPv6 packets"),    \
	VIRTIO_NET_FLAG(struct_, field_.host_ecn, "host_ecn", "take such with ECN"),               \
	VIRTIO_NET_FLAG(struct_, field_.guest_tso4, "guest_tso4", "give large TCP/IPv4 packets"),  \
	VIRTIO_NET_FLAG(struct_, field_.guest_tso6, "guest_tso6", "give large TCP/IPv6 packets"),  \
	VIRTIO_NET_FLAG(struct_, field_.guest_ecn, "guest_ecn", "give such with ECN"),             \
	VIRTIO_NET_FLAG(struct_, field_.mrg_rxbuf, "mrg_rxbuf", "packets over several buffers"),   \
	VIRTIO_NET_FLAG(struct_, field_.status_, "status", "show the link's state"),               \
	VIRTIO_NET_FLAG(struct_, field_.ctrl_vq, "ctrl_vq", "control queue"),                      \
	VIRTIO_NET_FLAG(struct_, field_.ctrl_rx, "ctrl_rx", "receive modes"),                      \
	VIRTIO_NET_FLAG(struct_, field_.ctrl_vlan, "ctrl_vlan", "VLAN filter"),                    \
	VIRTIO_NET_FLAG(struct_, field_.ctrl_rx_extra, "ctrl_rx_extra", "more receive modes"),     \
	VIRTIO_NET_FLAG(struct_, field_.ctrl_mac_addr, "ctrl_mac_addr", "settable address"),       \
	VIRTIO_NET_FLAG(struct_, field_.ctrl_guest_offloads, "ctrl_guest_offloads",                \
			"settable offloads"),                                                      \
	VIRTIO_NET_FLAG(struct_, field_.guest_announce, "guest_announce", "ask for gratuitous ARP"), \
	PROPERTY(struct_, field_.mq, "mq", PROPERTY_BOOL, "off", "several queue pairs")

extern const struct virtio_type virtio_net_type;
/* virtio_net_takes_memory(), for a card whose rings are served elsewhere. */
bool net_vhost_takes_memory(const struct virtio_net *net, const struct ram_block *ram, unsigned more,
			    GError **error);
