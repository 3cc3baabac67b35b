/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which packets the driver wants (82574 datasheet, 7.1.1), and RSS (7.1.2.8). */
#include "dev/net/e1000_int.h"

enum { ETHERNET = 14 };
enum { RSS_TCP_IPV4 = 1, RSS_IPV4 = 2, RSS_TCP_IPV6 = 3, RSS_IPV6 = 5 };

static bool is_mine(const struct e1000 *e, const uint8_t *address)
{
	for (unsigned i = 0; i < 16; i++) {
		uint32_t low = e1000_get(e, RAL0 + 8 * i), high = e1000_get(e, RAH0 + 8 * i);
		if (high & RAH_AV && le32_load(address) == low &&
		    le16_load(address + 4) == (high & 0xffff))
			return true;
	}
	return false;
}

/* RCTL.MO chooses which 12 bits of the address count. */
static bool in_multicast_table(const struct e1000 *e, const uint8_t *address)
{
	static const uint8_t shifts[] = {4, 3, 2, 0};
	unsigned shift = shifts[e1000_get(e, RCTL) >> RCTL_MO_SHIFT & 3];
	unsigned hash = le16_load(address + 4) >> shift & 0xfff;
	return e1000_get(e, MTA + 4 * (hash >> 5)) >> (hash & 31) & 1;
}

bool e1000_accepts(const struct e1000 *e, const uint8_t *frame, size_t length)
{
	static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	uint32_t rctl = e1000_get(e, RCTL);
	if (length < ETHERNET)
		return false;
	if (rctl & RCTL_VFE && length >= ETHERNET + 4 &&
	    be16_load(frame + 12) == (e1000_get(e, VET) & 0xffff)) {
		unsigned id = be16_load(frame + 14) & 0xfff;
		if (!(e1000_get(e, VFTA + 4 * (id >> 5)) >> (id & 31) & 1))
			return false;
	}
	if (memcmp(frame, broadcast, 6) == 0)
		return rctl & RCTL_BAM;
	if (frame[0] & 1)
		return rctl & RCTL_MPE || is_mine(e, frame) || in_multicast_table(e, frame);
	return rctl & RCTL_UPE || is_mine(e, frame);
}

/* Toeplitz: for each set bit of the input, the 32 bits of the key from there on. */
static uint32_t toeplitz(const uint8_t *key, const uint8_t *input, size_t length)
{
	uint32_t result = 0, window = be32_load(key);
	for (size_t i = 0; i < length; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			if (input[i] & 0x80 >> bit)
				result ^= window;
			window = window << 1 | (key[i + 4] >> (7 - bit) & 1);
		}
	}
	return result;
}

uint32_t e1000_rss_hash(const struct e1000 *e, const uint8_t *frame, const struct net_headers *h,
			unsigned *type)
{
	uint32_t mrqc = e1000_get(e, MRQC);
	uint8_t key[40], input[36];
	size_t length = h->ipv4 ? 8 : 32;
	bool ports = h->tcp && mrqc & (h->ipv4 ? MRQC_TCP_IPV4 : MRQC_TCP_IPV6);
	bool addresses = mrqc & (h->ipv4 ? MRQC_IPV4 : MRQC_IPV6 | MRQC_IPV6_EX);
	*type = 0;
	if ((mrqc & MRQC_MODE) != MRQC_RSS || !(h->ipv4 || h->ipv6) || !(ports || addresses))
		return 0;
	memcpy(input, frame + h->ip_at + (h->ipv4 ? 12 : 8), length);
	if (ports) {
		memcpy(input + length, frame + h->l4_at, 4);
		length += 4;
		*type = h->ipv4 ? RSS_TCP_IPV4 : RSS_TCP_IPV6;
	} else {
		*type = h->ipv4 ? RSS_IPV4 : RSS_IPV6;
	}
	for (unsigned i = 0; i < 10; i++)
		le32_store(key + 4 * i, e1000_get(e, RSSRK + 4 * i));
	return toeplitz(key, input, length);
}
