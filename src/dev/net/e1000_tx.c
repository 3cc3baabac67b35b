/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets to send: descriptors are gathered to a packet under the lock, which is then worked on
 * (checksums, VLAN tag, segmentation) and goes to the back end without it. 82574 datasheet, 7.2.
 *
 * A descriptor is given back as soon as its bytes are copied. If the back end is full, the packet, or
 * the rest of it, waits, and nothing more is taken off the rings until it is gone.
 */
#include "dev/net/e1000_int.h"

enum { DESCRIPTOR = 16, STATUS_DD = 1, ETHERNET = 14 };

/* --- work on a packet: under the lock -------------------------------------------------------------------- */

/* A checksum by three fields: the last byte that is summed up is at `last`, 0: all. */
static void put_checksum(struct e1000 *e, unsigned start, unsigned at, unsigned last)
{
	net_card_put_checksum(&e->card, start, at, last ? last + 1u : SIZE_MAX);
}

static void count(struct e1000 *e, const uint8_t *packet, size_t length, bool tse)
{
	e1000_add(e, GPTC, 1);
	e1000_add(e, TPT, 1);
	e1000_add(e, TSCTC, tse);
	e1000_add64(e, GOTCL, length + NET_CARD_CRC);
	e1000_add64(e, TOTL, length + NET_CARD_CRC);
	if (packet[0] & 1)
		e1000_add(e, packet[0] == 0xff && packet[1] == 0xff ? BPTC : MPTC, 1);
}

/* The packet is complete: pack it. False: it cannot be sent, and is dropped as a card drops it. */
static bool finish_packet(struct e1000 *e, struct e1000_tx *tx)
{
	if (tx->too_long || tx->length < ETHERNET || !e->card.link_up)
		return false;
	count(e, tx->packet, tx->length, tx->tse);
	net_card_pack(&e->card, &tx->packet, tx->length);
	if (tx->legacy_sum)
		put_checksum(e, tx->css, tx->cso, 0);
	if (!tx->tse) {
		if (tx->options & TXD_IXSM)
			put_checksum(e, tx->ipcss, tx->ipcso, tx->ipcse);
		if (tx->options & TXD_TXSM)
			put_checksum(e, tx->tucss, tx->tucso, tx->tucse);
	}
	if (tx->vlan && e1000_get(e, CTRL) & CTRL_VME)
		net_card_put_tag(&e->card, e1000_get(e, VET), tx->tag);
	if (!tx->tse)
		return true;
	/* What is no TCP gets no segments. */
	return net_card_cut(&e->card, tx->tucmd & TUCMD_IPV4, tx->tucmd & TUCMD_TCP ? tx->mss : 0);
}

/* --- descriptors: under the lock --------------------------------------------------------------------------- */

static void begin_packet(struct e1000_tx *tx)
{
	tx->first_seen = tx->tse = tx->too_long = tx->vlan = tx->legacy_sum = false;
	tx->options = 0;
	tx->length = 0;
}

/* 7.2.6 */
static void take_context(struct e1000_tx *tx, const uint8_t *d)
{
	tx->ipcss = d[0];
	tx->ipcso = d[1];
	tx->ipcse = le16_load(d + 2);
	tx->tucss = d[4];
	tx->tucso = d[5];
	tx->tucse = le16_load(d + 6);
	tx->tucmd = d[11];
	tx->mss = le16_load(d + 14);
}

static void take_data(struct e1000 *e, struct e1000_tx *tx, const uint8_t *d)
{
	uint32_t lower = le32_load(d + 8);
	unsigned command = lower >> 24, length = lower & (command & TXD_DEXT ? 0xfffff : 0xffff);
	if (!tx->first_seen && command & TXD_DEXT) {
		tx->tse = command & TXD_TSE;
		tx->options = d[13];
	}
	tx->first_seen = true;
	if (!(command & TXD_DEXT) && command & TXD_IC) {
		tx->legacy_sum = true;
		tx->cso = d[10];
		tx->css = d[13];
	}
	if (command & TXD_VLE) {
		tx->vlan = true;
		tx->tag = le16_load(d + 14);
	}
	if (length > NET_CARD_FRAME_MAX - tx->length ||
	    !net_card_read(&e->card, le64_load(d), tx->packet + tx->length, length))
		tx->too_long = true;
	else
		tx->length += length;
}

/* Take the ring's next descriptor. True: a packet is packed. */
static bool take_descriptor(struct e1000 *e, unsigned queue, struct e1000_ring *ring, uint32_t *causes)
{
	struct e1000_tx *tx = &e->tx[queue];
	uint64_t at = ring->base + (uint64_t)ring->head * DESCRIPTOR;
	uint8_t d[DESCRIPTOR];
	bool packet = false;
	if (net_card_read(&e->card, at, d, sizeof(d))) {
		unsigned command = d[11], type = d[10] >> 4;
		if (command & TXD_DEXT && type == TXD_TYPE_CONTEXT) {
			take_context(tx, d);
		} else {
			take_data(e, tx, d);
			if (command & TXD_EOP) {
				packet = finish_packet(e, tx);
				begin_packet(tx);
			}
		}
		if (command & TXD_RS) {
			d[12] |= STATUS_DD;
			net_card_write(&e->card, at + 12, d + 12, 4);
			*causes |= INT_TXDW | INT_TXQ0 << queue;
		}
	}
	e1000_ring_advance(e, ring);
	if (!e1000_ring_ours(ring))
		*causes |= INT_TXQE | INT_TXQ0 << queue;
	return packet;
}

/* Take descriptors until there is a packet to send, or nothing more to do. Under the lock. */
static bool gather(struct e1000 *e, unsigned *budget, uint32_t *causes)
{
	unsigned queues = e->model->express ? E1000_QUEUES : 1;
	for (unsigned q = 0; q < queues; q++) {
		struct e1000_ring ring;
		if (!e1000_ring(e, TX_RING, q, DESCRIPTOR, &ring))
			continue;
		while (*budget && e1000_ring_ours(&ring)) {
			(*budget)--;
			if (take_descriptor(e, q, &ring, causes))
				return true;
		}
	}
	return false;
}

void e1000_transmit(struct net_card *card)
{
	struct e1000 *e = (struct e1000 *)card;
	unsigned budget = NET_CARD_SEGMENTS;
	uint32_t causes = 0;
	if (!net_card_flush(card))
		return;
	for (bool more = true, sent = true; more && sent;) {
		pthread_mutex_lock(&card->lock);
		more = card->started && e1000_get(e, TCTL) & TCTL_EN && pci_dma_enabled(&card->pci) &&
		       gather(e, &budget, &causes);
		if (!more && causes)
			e1000_raise(e, causes);
		pthread_mutex_unlock(&card->lock);
		sent = !more || net_card_flush(card);
		if (more && !sent) {
			pthread_mutex_lock(&card->lock);
			e1000_raise(e, causes);
			pthread_mutex_unlock(&card->lock);
		}
	}
	if (!budget)
		net_card_kick(card); /* others first */
}

void e1000_tx_reset(struct e1000 *e)
{
	for (unsigned q = 0; q < E1000_QUEUES; q++) {
		uint8_t *packet = e->tx[q].packet;
		memset(&e->tx[q], 0, sizeof(e->tx[q]));
		e->tx[q].packet = packet;
	}
}
