/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/network/filter_packet.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

enum {
	ETHERNET_SIZE = 14, ARP_SIZE = 28, IPV4_SIZE = 20, UDP_SIZE = 8,
	/* RFC 951 and 2131, 2: offsets in a DHCP message */
	DHCP_YOUR_ADDRESS = 16, DHCP_CLIENT = 28, DHCP_COOKIE = 236, DHCP_OPTIONS = 240,
	DHCP_REPLY = 2, OPTION_PAD = 0, OPTION_LEASE = 51, OPTION_TYPE = 53, OPTION_END = 255,
	DHCP_ACK = 5,
};

static uint16_t read_be16(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

/* One that a host can have: not 0.0.0.0/8, not loopback, not a group. */
static bool is_host_address(const uint8_t *address)
{
	return address[0] != 0 && address[0] != 127 && address[0] < 224;
}

/* RFC 826, RFC 791. */
const uint8_t *filter_packet_sender(const uint8_t mac[6], const uint8_t *frame, size_t size)
{
	const uint8_t *body = frame + ETHERNET_SIZE;
	static const uint8_t ethernet_ipv4[] = {0, 1, 8, 0, 6, 4};
	const uint8_t *address = NULL;
	if (size < ETHERNET_SIZE || memcmp(frame + 6, mac, 6) != 0)
		return NULL;
	if (read_be16(frame + 12) == ETH_P_ARP && size >= ETHERNET_SIZE + ARP_SIZE &&
	    !memcmp(body, ethernet_ipv4, sizeof(ethernet_ipv4)) && !memcmp(body + 8, mac, 6))
		address = body + 14;
	else if (read_be16(frame + 12) == ETH_P_IP && size >= ETHERNET_SIZE + IPV4_SIZE)
		address = body + 12;
	return address && is_host_address(address) ? address : NULL;
}

/* RFC 2132: the value of an option of at least `length` bytes, or NULL. */
static const uint8_t *option(const uint8_t *options, size_t size, uint8_t wanted, size_t length)
{
	for (size_t at = 0; at < size && options[at] != OPTION_END;) {
		if (options[at] == OPTION_PAD) {
			at++;
			continue;
		}
		if (at + 2 > size || options[at + 1] > size - at - 2)
			return NULL;
		if (options[at] == wanted)
			return options[at + 1] >= length ? options + at + 2 : NULL;
		at += 2 + options[at + 1];
	}
	return NULL;
}

const uint8_t *filter_packet_confirmed(const uint8_t mac[6], const uint8_t *frame, size_t size,
				       uint32_t *lease_s)
{
	static const uint8_t cookie[] = {99, 130, 83, 99};
	const uint8_t *ip = frame + ETHERNET_SIZE;
	if (size < ETHERNET_SIZE + IPV4_SIZE || read_be16(frame + 12) != ETH_P_IP || ip[0] >> 4 != 4)
		return NULL;
	size_t header = (ip[0] & 15) * 4, before = ETHERNET_SIZE + header + UDP_SIZE;
	bool fragment = read_be16(ip + 6) & 0x3fff;
	if (header < IPV4_SIZE || fragment || ip[9] != IPPROTO_UDP || size < before + DHCP_OPTIONS ||
	    read_be16(ip + header) != 67 || read_be16(ip + header + 2) != 68)
		return NULL;
	const uint8_t *message = frame + before;
	size_t left = size - before - DHCP_OPTIONS;
	const uint8_t *type = option(message + DHCP_OPTIONS, left, OPTION_TYPE, 1);
	const uint8_t *lease = option(message + DHCP_OPTIONS, left, OPTION_LEASE, 4);
	if (message[0] != DHCP_REPLY || memcmp(message + DHCP_CLIENT, mac, 6) != 0 ||
	    memcmp(message + DHCP_COOKIE, cookie, sizeof(cookie)) != 0 || !type || *type != DHCP_ACK ||
	    !lease || !is_host_address(message + DHCP_YOUR_ADDRESS))
		return NULL;
	*lease_s = (uint32_t)read_be16(lease) << 16 | read_be16(lease + 2);
	return message + DHCP_YOUR_ADDRESS;
}
