/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets to send: descriptors are gathered to a packet under the lock, which is then worked on
 * (checksums, VLAN tag, segmentation) and goes to the back end without it. 82574 datasheet, 7.2.
 *
 * A descriptor is given back as soon as its bytes are copied. If the back end is full, the packet, or
 * the rest of it, waits, and nothing more is taken off the rings until it is gone.
 */
#include "dev/net/e1000_int.h"

enum { DESCRIPTOR = 16, STATUS_DD = 1, TAG = 4, ETHERNET = 14, CRC = 4 };

/* --- sending: the loop's, without the lock ------------------------------------------------------------- */

static bool send_segments(struct e1000 *e)
{
	struct net_backend *backend = e->card.backend;
	while (e->have_segment || net_gso_next(&e->gso, &e->payload)) {
		const struct iovec iov[2] = {{e->gso.header, e->gso.header_length},
					     {(void *)e->payload, e->gso.segment_length}};
		e->have_segment = true;
		if (!backend->ops->send(backend, 0, iov, 2))
			return false;
		e->have_segment = false;
	}
	return true;
}

/* Send what is in e->out. False: the back end is full. */
static bool flush(struct e1000 *e)
{
	struct net_backend *backend = e->card.backend;
	const struct iovec iov = {e->out, e->out_length};
	if (!(e->cutting ? send_segments(e) : backend->ops->send(backend, 0, &iov, 1)))
		return false;
	e->sending = e->cutting = false;
	return true;
}

/* --- work on a packet: under the lock -------------------------------------------------------------------- */

/* The sum over [start, end] into the field at `at`; the field holds what the driver has summed up. */
static void put_checksum(struct e1000 *e, unsigned start, unsigned at, unsigned end)
{
	uint8_t vnet[NET_VNET_HEADER_SIZE] = {0};
	if (at < start)
		return;
	le16_store(vnet + VNET_CSUM_START, start);
	le16_store(vnet + VNET_CSUM_OFFSET, at - start);
	net_csum_complete(e->out, end ? MIN(end + 1u, e->out_length) : e->out_length, vnet);
}

static void put_tag(struct e1000 *e, const struct e1000_tx *tx)
{
	if (!tx->vlan || !(e1000_get(e, CTRL) & CTRL_VME))
		return;
	memmove(e->out + 12 + TAG, e->out + 12, e->out_length - 12);
	be16_store(e->out + 12, e1000_get(e, VET));
	be16_store(e->out + 14, tx->tag);
	e->out_length += TAG;
}

/* Begin to cut by the context. False: it is no such packet. */
static bool begin_cutting(struct e1000 *e, const struct e1000_tx *tx)
{
	uint8_t vnet[NET_VNET_HEADER_SIZE] = {0};
	bool ipv4 = tx->tucmd & TUCMD_IPV4;
	unsigned size = tx->mss;
	/* Who takes packets of any size gets one segment, with all sums in it. */
	if (ipv4 && e->card.backend->ops->large_tcp4 && size && e->out_length < 65000)
		size = 65000;
	vnet[VNET_GSO_TYPE] = ipv4 ? VNET_GSO_TCPV4 : VNET_GSO_TCPV6;
	le16_store(vnet + VNET_GSO_SIZE, size);
	e->cutting = tx->tucmd & TUCMD_TCP && net_gso_begin(&e->gso, e->out, e->out_length, vnet);
	e->have_segment = false;
	return e->cutting;
}

static void count(struct e1000 *e, const uint8_t *packet, size_t length, bool tse)
{
	e1000_add(e, GPTC, 1);
	e1000_add(e, TPT, 1);
	e1000_add(e, TSCTC, tse);
	e1000_add64(e, GOTCL, length + CRC);
	e1000_add64(e, TOTL, length + CRC);
	if (packet[0] & 1)
		e1000_add(e, packet[0] == 0xff && packet[1] == 0xff ? BPTC : MPTC, 1);
}

/* The packet is complete: make it e->out. False: it cannot be sent, and is dropped as a card drops it. */
static bool finish_packet(struct e1000 *e, struct e1000_tx *tx)
{
	if (tx->too_long || tx->length < ETHERNET || !e->card.link_up)
		return false;
	uint8_t *packet = tx->packet;
	tx->packet = e->out;
	e->out = packet;
	e->out_length = tx->length;
	count(e, packet, tx->length, tx->tse);
	if (tx->legacy_sum)
		put_checksum(e, tx->css, tx->cso, 0);
	if (!tx->tse) {
		if (tx->options & TXD_IXSM)
			put_checksum(e, tx->ipcss, tx->ipcso, tx->ipcse);
		if (tx->options & TXD_TXSM)
			put_checksum(e, tx->tucss, tx->tucso, tx->tucse);
	}
	put_tag(e, tx);
	e->sending = !tx->tse || begin_cutting(e, tx);
	return e->sending;
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

/* Take the ring's next descriptor. True: a packet is in e->out. */
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
	if (e->sending && !flush(e))
		return;
	for (bool more = true, sent = true; more && sent;) {
		pthread_mutex_lock(&card->lock);
		more = card->started && e1000_get(e, TCTL) & TCTL_EN && pci_dma_enabled(&card->pci) &&
		       gather(e, &budget, &causes);
		if (!more && causes)
			e1000_raise(e, causes);
		pthread_mutex_unlock(&card->lock);
		sent = !more || flush(e);
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
