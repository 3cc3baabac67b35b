/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See net_gso.h. Header layouts: RFC 791, 8200, 9293; checksums: RFC 1071. */
#include "dev/virtio/net_gso.h"

#include "base/bytes.h"

#include <glib.h>

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8
#define PROTOCOL_TCP   6

enum { TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_CWR = 0x80 };

/* Sum of big-endian 16-bit words; an odd last byte counts as the high half. */
static uint64_t sum_bytes(const uint8_t *p, size_t length, uint64_t sum)
{
	for (; length >= 4; p += 4, length -= 4)
		sum += be32_load(p);
	if (length >= 2) {
		sum += be16_load(p);
		p += 2;
		length -= 2;
	}
	if (length)
		sum += (uint64_t)*p << 8;
	return sum;
}

static uint16_t sum_fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

bool net_csum_complete(uint8_t *packet, size_t length, const uint8_t vnet[12])
{
	size_t start = le16_load(vnet + VNET_CSUM_START);
	size_t at = start + le16_load(vnet + VNET_CSUM_OFFSET);
	if (start >= length || at + 2 > length)
		return false;
	/* The driver has left the pseudo header's sum in the field. */
	uint16_t sum = sum_fold(sum_bytes(packet + start, length - start, 0));
	/* 0 means "no checksum" to UDP, and is the same number as 0xffff to everyone. */
	be16_store(packet + at, sum ? sum : 0xffff);
	return true;
}

/* Find the IP header behind Ethernet and up to two VLAN tags. */
static bool find_ip(struct net_gso *gso, unsigned *ethertype)
{
	size_t at = 12;
	for (unsigned tags = 0; tags < 3; tags++, at += 4) {
		if (at + 2 > gso->length)
			return false;
		*ethertype = be16_load(gso->packet + at);
		if (*ethertype != ETHERTYPE_VLAN && *ethertype != ETHERTYPE_QINQ) {
			gso->ip_at = at + 2;
			return true;
		}
	}
	return false;
}

static bool find_tcp(struct net_gso *gso, unsigned ethertype, unsigned gso_type)
{
	const uint8_t *ip = gso->packet + gso->ip_at;
	size_t left = gso->length - gso->ip_at;
	if (ethertype == ETHERTYPE_IPV4 && gso_type == VNET_GSO_TCPV4) {
		if (left < 20 || ip[0] >> 4 != 4 || ip[9] != PROTOCOL_TCP)
			return false;
		unsigned ihl = (ip[0] & 15) * 4;
		if (ihl < 20 || left < ihl)
			return false;
		gso->tcp_at = gso->ip_at + ihl;
		gso->first_id = be16_load(ip + 4);
		return true;
	}
	if (ethertype == ETHERTYPE_IPV6 && gso_type == VNET_GSO_TCPV6) {
		/* Linux does not put extension headers in front of a large TCP packet. */
		if (left < 40 || ip[0] >> 4 != 6 || ip[6] != PROTOCOL_TCP)
			return false;
		gso->tcp_at = gso->ip_at + 40;
		gso->ipv6 = true;
		return true;
	}
	return false;
}

bool net_gso_begin(struct net_gso *gso, const uint8_t *packet, size_t length,
		   const uint8_t vnet[12])
{
	unsigned ethertype;
	*gso = (struct net_gso){.packet = packet, .length = length};
	gso->gso_size = le16_load(vnet + VNET_GSO_SIZE);
	if (!gso->gso_size || !find_ip(gso, &ethertype) ||
	    !find_tcp(gso, ethertype, vnet[VNET_GSO_TYPE] & ~VNET_GSO_ECN))
		return false;
	if (length < gso->tcp_at + 20)
		return false;
	unsigned data_offset = (packet[gso->tcp_at + 12] >> 4) * 4;
	gso->header_length = gso->tcp_at + data_offset;
	if (data_offset < 20 || gso->header_length >= length ||
	    gso->header_length > NET_GSO_HEADER_MAX)
		return false;
	gso->first_sequence = be32_load(packet + gso->tcp_at + 4);
	return true;
}

static void fill_ip(struct net_gso *gso)
{
	uint8_t *ip = gso->header + gso->ip_at;
	size_t ip_bytes = gso->header_length - gso->ip_at + gso->segment_length;
	if (gso->ipv6) {
		be16_store(ip + 4, ip_bytes - 40);
		return;
	}
	be16_store(ip + 2, ip_bytes);
	be16_store(ip + 4, gso->first_id + gso->index);
	be16_store(ip + 10, 0);
	be16_store(ip + 10, sum_fold(sum_bytes(ip, gso->tcp_at - gso->ip_at, 0)));
}

static void fill_tcp(struct net_gso *gso, const uint8_t *payload, bool last)
{
	uint8_t *tcp = gso->header + gso->tcp_at;
	const uint8_t *ip = gso->header + gso->ip_at;
	unsigned tcp_header = gso->header_length - gso->tcp_at;
	be32_store(tcp + 4, gso->first_sequence + (uint32_t)gso->position);
	if (!last)
		tcp[13] &= ~(TCP_FIN | TCP_PSH);
	/* RFC 3168: the congestion reply belongs to the first segment only. */
	if (gso->index)
		tcp[13] &= ~TCP_CWR;
	uint64_t sum = PROTOCOL_TCP + tcp_header + gso->segment_length;
	sum = gso->ipv6 ? sum_bytes(ip + 8, 32, sum) : sum_bytes(ip + 12, 8, sum);
	be16_store(tcp + 16, 0);
	sum = sum_bytes(tcp, tcp_header, sum); /* a multiple of 4: words stay aligned */
	be16_store(tcp + 16, sum_fold(sum_bytes(payload, gso->segment_length, sum)));
}

bool net_gso_next(struct net_gso *gso, const uint8_t **payload)
{
	size_t total = gso->length - gso->header_length;
	if (gso->position >= total)
		return false;
	gso->segment_length = MIN(gso->gso_size, total - gso->position);
	*payload = gso->packet + gso->header_length + gso->position;
	memcpy(gso->header, gso->packet, gso->header_length);
	fill_ip(gso);
	fill_tcp(gso, *payload, gso->position + gso->segment_length == total);
	gso->position += gso->segment_length;
	gso->index++;
	return true;
}
