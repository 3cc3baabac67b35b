/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a network card with offloads does, in software: completing checksums and cutting large TCP
 * packets into segments (virtio 1.2, 5.1.6.2), for back ends that take plain packets only. Works on
 * bytes that a guest wrote: every length is checked.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* struct virtio_net_hdr, 5.1.6. */
enum {
	VNET_FLAGS = 0, VNET_GSO_TYPE = 1, VNET_HDR_LEN = 2, VNET_GSO_SIZE = 4, VNET_CSUM_START = 6,
	VNET_CSUM_OFFSET = 8, VNET_NUM_BUFFERS = 10,
};
enum { VNET_F_NEEDS_CSUM = 1, VNET_F_DATA_VALID = 2 };
enum { VNET_GSO_NONE = 0, VNET_GSO_TCPV4 = 1, VNET_GSO_UDP = 3, VNET_GSO_TCPV6 = 4, VNET_GSO_ECN = 0x80 };

#define NET_PACKET_MAX (65535 + 14 + 8) /* IPv4's largest, Ethernet, two VLAN tags */
#define NET_GSO_HEADER_MAX 256

/* Complete the checksum that the header describes. False if it lies outside the packet. */
bool net_csum_complete(uint8_t *packet, size_t length, const uint8_t vnet[12]);

/* A packet being cut up. `packet` stays the caller's and unchanged. */
struct net_gso {
	const uint8_t *packet;
	size_t length, position; /* of payload already cut */
	unsigned gso_size;
	unsigned ip_at, tcp_at, header_length;
	bool ipv6;
	uint32_t first_sequence;
	uint16_t first_id;
	unsigned index;
	uint8_t header[NET_GSO_HEADER_MAX]; /* of the current segment */
	size_t segment_length;              /* payload of the current segment */
};

/* Begin. False if the packet is not what its header says, or cannot be cut. */
bool net_gso_begin(struct net_gso *gso, const uint8_t *packet, size_t length,
		   const uint8_t vnet[12]);
/* Prepare the next segment: gso->header, then payload at *payload. False after the last. */
bool net_gso_next(struct net_gso *gso, const uint8_t **payload);
