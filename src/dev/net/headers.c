/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dev/net/headers.h"

#include "base/bytes.h"

enum { TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86dd, TYPE_VLAN = 0x8100, TYPE_QINQ = 0x88a8 };
enum { PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };

static void parse_l4(unsigned protocol, size_t at, size_t l4_length, struct net_headers *h)
{
	h->tcp = protocol == PROTOCOL_TCP && l4_length >= 20;
	h->udp = protocol == PROTOCOL_UDP && l4_length >= 8;
	if (h->tcp || h->udp) {
		h->l4_at = at;
		h->l4_length = l4_length;
	}
}

void net_headers_parse(const uint8_t *frame, size_t length, struct net_headers *h)
{
	*h = (struct net_headers){0};
	size_t at = 12;
	unsigned type = 0;
	for (unsigned tags = 0; tags < 2 && at + 2 <= length; tags++, at += 4) {
		type = be16_load(frame + at);
		if (type != TYPE_VLAN && type != TYPE_QINQ)
			break;
	}
	at += 2;
	const uint8_t *ip = frame + at;
	if (type == TYPE_IPV4 && range_fits(at, 20, length) && ip[0] >> 4 == 4) {
		unsigned header = (ip[0] & 15) * 4, total = be16_load(ip + 2);
		if (header < 20 || total < header || total > length - at)
			return;
		h->ipv4 = true;
		h->ip_at = at;
		h->fragment = be16_load(ip + 6) & 0x3fff;
		if (!h->fragment)
			parse_l4(ip[9], at + header, total - header, h);
	} else if (type == TYPE_IPV6 && range_fits(at, 40, length) && ip[0] >> 4 == 6) {
		unsigned payload = be16_load(ip + 4);
		if (payload > length - at - 40)
			return;
		h->ipv6 = true;
		h->ip_at = at;
		parse_l4(ip[6], at + 40, payload, h);
	}
}

/* RFC 1071, not inverted: over a part that holds its own checksum it is all ones. */
static uint16_t sum_over(const uint8_t *at, size_t length, uint64_t sum)
{
	for (; length >= 2; at += 2, length -= 2)
		sum += be16_load(at);
	if (length)
		sum += (uint64_t)*at << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

bool net_headers_ip_good(const struct net_headers *h, const uint8_t *frame)
{
	const uint8_t *ip = frame + h->ip_at;
	return sum_over(ip, (ip[0] & 15) * 4u, 0) == 0xffff;
}

uint16_t net_headers_pseudo_sum(const struct net_headers *h, const uint8_t *frame)
{
	const uint8_t *ip = frame + h->ip_at;
	uint64_t sum = h->l4_length + (h->tcp ? PROTOCOL_TCP : PROTOCOL_UDP);
	return h->ipv4 ? sum_over(ip + 12, 8, sum) : sum_over(ip + 8, 32, sum);
}

bool net_headers_l4_good(const struct net_headers *h, const uint8_t *frame)
{
	return sum_over(frame + h->l4_at, h->l4_length, net_headers_pseudo_sum(h, frame)) == 0xffff;
}
