/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets to send: the four registers of the old interface, or descriptors with offloads. */
#include "dev/net/rtl8139_int.h"

/* The first word of a descriptor, and the second's tag. */
enum { TXD_LGSEN = 1 << 27, TXD_IPCS = 1 << 18, TXD_UDPCS = 1 << 17, TXD_TCPCS = 1 << 16,
       TXD_MSS_SHIFT = 16, TXD_MSS = 0x7ff, TXD_SIZE = 0xffff, TXD_TAGC = 1 << 17 };
enum { ETHERNET = 14 };
/* TCR: loop back inside the chip, which is for tests of the driver. */
enum { TCR_LOOPBACK = 3 << 17 };

/* False: nothing is to go out to the network. */
static bool pack(struct rtl8139 *r, struct rtl8139_tx *tx)
{
	size_t length = tx->length;
	tx->length = 0;
	if (length < ETHERNET || !r->card.link_up)
		return false;
	r->tally.sent++;
	if ((rtl_get32(r, TCR) & TCR_LOOPBACK) == TCR_LOOPBACK) {
		rtl8139_receive(&r->card, tx->packet, length);
		return false;
	}
	net_card_pack(&r->card, &tx->packet, length);
	return true;
}

/* --- the four ------------------------------------------------------------------------------------------ */

/* They are sent in the order of their numbers. True: a packet is packed. */
static bool gather_old(struct rtl8139 *r, unsigned *budget, unsigned *causes)
{
	struct rtl8139_tx *tx = &r->tx[0];
	while (*budget && r->tx_wanted >> r->tx_next & 1) {
		(*budget)--;
		unsigned n = r->tx_next, reg = TSD0 + 4 * n;
		uint32_t status = rtl_get32(r, reg);
		r->tx_wanted &= ~(1u << n);
		r->tx_next = (n + 1) % TSD_COUNT;
		tx->length = status & TSD_SIZE;
		bool good = net_card_read(&r->card, rtl_get32(r, TSAD0 + 4 * n), tx->packet, tx->length);
		if (!good)
			tx->length = 0; /* no memory there: it comes to nothing */
		le32_store(r->regs + reg, status | TSD_OWN | TSD_TOK);
		*causes |= INT_TOK;
		if (pack(r, tx))
			return true;
	}
	return false;
}

/* --- descriptors ------------------------------------------------------------------------------------------ */

/* TCP or UDP over IPv4 with the checksums that the driver asks for; what it left in their fields is moot. */
static void put_checksums(struct rtl8139 *r, uint32_t word)
{
	struct net_card_out *out = &r->card.out;
	struct net_headers h;
	net_headers_parse(out->packet, out->length, &h);
	if (!h.ipv4)
		return;
	if (word & TXD_IPCS) {
		be16_store(out->packet + h.ip_at + 10, 0);
		net_card_put_checksum(&r->card, h.ip_at, h.ip_at + 10,
				      h.ip_at + (out->packet[h.ip_at] & 15) * 4u);
	}
	if (h.l4_at && word & (h.tcp ? TXD_TCPCS : TXD_UDPCS)) {
		unsigned field = h.l4_at + (h.tcp ? 16 : 6);
		be16_store(out->packet + field, net_headers_pseudo_sum(&h, out->packet));
		net_card_put_checksum(&r->card, h.l4_at, field, h.l4_at + h.l4_length);
	}
}

static bool finish_packet(struct rtl8139 *r, struct rtl8139_tx *tx)
{
	if (tx->bad)
		tx->length = 0;
	if (!pack(r, tx))
		return false;
	bool large = tx->first & TXD_LGSEN;
	if (!large)
		put_checksums(r, tx->first);
	if (tx->vlan & TXD_TAGC)
		net_card_put_tag(&r->card, 0x8100, GUINT16_SWAP_LE_BE((uint16_t)tx->vlan));
	return !large || net_card_cut(&r->card, true, tx->first >> TXD_MSS_SHIFT & TXD_MSS);
}

static void take_data(struct rtl8139 *r, struct rtl8139_tx *tx, const uint8_t *d)
{
	uint32_t word = le32_load(d);
	size_t length = word & TXD_SIZE;
	if (word & DESC_FS) {
		tx->length = 0;
		tx->bad = false;
		tx->first = word;
		tx->vlan = le32_load(d + 4);
	}
	if (length > NET_CARD_FRAME_MAX - tx->length ||
	    !net_card_read(&r->card, le64_load(d + 8), tx->packet + tx->length, length))
		tx->bad = true;
	else
		tx->length += length;
}

/* True: a packet is packed. */
static bool gather_ring(struct rtl8139 *r, unsigned n, unsigned *budget, unsigned *causes)
{
	struct rtl8139_tx *tx = &r->tx[n];
	while (*budget) {
		uint64_t at = le64_load(r->regs + (n ? THPDS : TNPDS)) + (uint64_t)tx->next * DESC_SIZE;
		uint8_t d[DESC_SIZE];
		uint32_t word;
		if (!net_card_read(&r->card, at, d, sizeof(d)) || !((word = le32_load(d)) & DESC_OWN)) {
			r->tx_wanted &= ~(1u << n);
			*causes |= INT_TDU;
			return false;
		}
		(*budget)--;
		take_data(r, tx, d);
		bool packed = word & DESC_LS && finish_packet(r, tx);
		/* In the place of what was asked for are the errors: none. */
		le32_store(d, word & (DESC_EOR | DESC_FS | DESC_LS | TXD_SIZE));
		net_card_write(&r->card, at, d, 4);
		tx->next = word & DESC_EOR || tx->next + 1 == DESC_RING ? 0 : tx->next + 1;
		if (word & DESC_LS)
			*causes |= INT_TOK;
		if (packed)
			return true;
	}
	return false;
}

static bool gather(struct rtl8139 *r, unsigned *budget, unsigned *causes)
{
	if (!r->card.started || !(r->regs[CR] & CR_TE) || !pci_dma_enabled(&r->card.pci))
		return false;
	if (!rtl_cplus_tx(r))
		return gather_old(r, budget, causes);
	/* High priority first. */
	for (unsigned n = 2; n-- > 0;) {
		if (r->tx_wanted >> n & 1 && gather_ring(r, n, budget, causes))
			return true;
	}
	return false;
}

void rtl8139_transmit(struct net_card *card)
{
	struct rtl8139 *r = (struct rtl8139 *)card;
	unsigned budget = NET_CARD_SEGMENTS;
	for (bool more = net_card_flush(card); more;) {
		unsigned causes = 0;
		pthread_mutex_lock(&card->lock);
		more = gather(r, &budget, &causes);
		if (causes)
			rtl8139_raise(r, causes);
		pthread_mutex_unlock(&card->lock);
		more = more && net_card_flush(card);
	}
	if (!budget)
		net_card_kick(card); /* others first */
}
