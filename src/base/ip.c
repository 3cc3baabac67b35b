/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/ip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

bool ip_parse(const char *text, struct ip_address *ip)
{
	memset(ip, 0, sizeof(*ip));
	ip->family = strchr(text, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(ip->family, text, ip->bytes) == 1)
		return true;
	ip->family = 0;
	return false;
}

char *ip_format(const struct ip_address *ip, char *text)
{
	*text = '\0';
	if (ip->family)
		inet_ntop(ip->family, ip->bytes, text, IP_TEXT_SIZE);
	return text;
}

unsigned ip_length(const struct ip_address *ip)
{
	return ip->family == AF_INET6 ? 16 : 4;
}

unsigned ip_bits(const struct ip_address *ip)
{
	return ip_length(ip) * 8;
}

bool ip_equal(const struct ip_address *a, const struct ip_address *b)
{
	return a->family == b->family && ip_compare(a, b) == 0;
}

int ip_compare(const struct ip_address *a, const struct ip_address *b)
{
	int order = memcmp(a->bytes, b->bytes, ip_length(a));
	return order < 0 ? -1 : order > 0;
}

static struct ip_address with_host_bits(const struct ip_address *ip, unsigned prefix, bool set)
{
	struct ip_address result = *ip;
	for (unsigned bit = prefix; bit < ip_bits(ip); bit++) {
		uint8_t mask = 0x80 >> bit % 8;
		result.bytes[bit / 8] = set ? result.bytes[bit / 8] | mask
					    : result.bytes[bit / 8] & ~mask;
	}
	return result;
}

struct ip_address ip_first(const struct ip_address *ip, unsigned prefix)
{
	return with_host_bits(ip, prefix, false);
}

struct ip_address ip_last(const struct ip_address *ip, unsigned prefix)
{
	return with_host_bits(ip, prefix, true);
}

bool ip_in_network(const struct ip_address *ip, const struct ip_address *network, unsigned prefix)
{
	struct ip_address a = ip_first(ip, prefix), b = ip_first(network, prefix);
	return ip_equal(&a, &b);
}

int ip_mask_bits(const struct ip_address *mask)
{
	int bits = 0;
	if (mask->family != AF_INET)
		return -1;
	while (bits < 32 && mask->bytes[bits / 8] & 0x80 >> bits % 8)
		bits++;
	struct ip_address whole = ip_mask(bits);
	return ip_equal(mask, &whole) ? bits : -1;
}

struct ip_address ip_mask(unsigned prefix)
{
	struct ip_address ones = {AF_INET, {0xff, 0xff, 0xff, 0xff}};
	return ip_first(&ones, prefix);
}

bool ip_is_multicast(const struct ip_address *ip)
{
	return ip->family == AF_INET ? ip->bytes[0] >> 4 == 0xe : ip->bytes[0] == 0xff;
}

uint64_t ip_range_size(const struct ip_address *first, const struct ip_address *last)
{
	uint64_t size = 0;
	int borrow = 0;
	uint8_t difference[16] = {0};
	for (int i = ip_length(first); i-- > 0;) {
		int digit = last->bytes[i] - first->bytes[i] - borrow;
		borrow = digit < 0;
		difference[i] = digit + (borrow ? 256 : 0);
	}
	for (unsigned i = 0; i < ip_length(first); i++) {
		if (size >> 56)
			return UINT64_MAX;
		size = size << 8 | difference[i];
	}
	return size == UINT64_MAX ? size : size + 1;
}

bool mac_parse(const char *text, uint8_t mac[6])
{
	char end;
	if (strlen(text) != MAC_TEXT_SIZE - 1 || strspn(text, "0123456789abcdefABCDEF:") != strlen(text))
		return false;
	return sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0], &mac[1], &mac[2], &mac[3],
		      &mac[4], &mac[5], &end) == 6;
}

char *mac_format(const uint8_t mac[6], char *text)
{
	g_snprintf(text, MAC_TEXT_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		   mac[4], mac[5]);
	return text;
}
