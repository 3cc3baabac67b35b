/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the headers of a packet say, and whether its checksums are right: what cards tell drivers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Only what lies whole inside the packet, as its own lengths have it. */
struct net_headers {
	bool ipv4, ipv6, fragment;
	bool tcp, udp;         /* never of a fragment */
	unsigned ip_at, l4_at; /* l4_at 0: there is none */
	size_t l4_length;      /* header and payload */
};

/* An Ethernet frame, with up to one VLAN tag. */
void net_headers_parse(const uint8_t *frame, size_t length, struct net_headers *h);
/* Of one with `ipv4`. */
bool net_headers_ip_good(const struct net_headers *h, const uint8_t *frame);
/* Of one with `l4_at`. */
bool net_headers_l4_good(const struct net_headers *h, const uint8_t *frame);
/* RFC 9293, 3.1: the sum of TCP's or UDP's pseudo header, not inverted. */
uint16_t net_headers_pseudo_sum(const struct net_headers *h, const uint8_t *frame);
