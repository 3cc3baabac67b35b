/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Received packets: the three formats of descriptors, checksums, VLAN tags. 82574 datasheet, 7.1.
 *
 * A packet for which the ring has no room stays with the back end until the driver has added some, so
 * nothing overruns and RXO is never raised.
 */
#include "dev/net/e1000_int.h"

enum { MAX_PACKET = 1522, MAX_LONG_PACKET = 16384 };
enum { DESCRIPTOR = 16, SPLIT_BUFFERS = 4, SPLIT_DESCRIPTOR = 32 };

enum e1000_format { FORMAT_LEGACY, FORMAT_EXTENDED, FORMAT_SPLIT };

/* A packet on its way into descriptors. */
struct rx {
	enum e1000_format format;
	const uint8_t *frame;  /* without the tag that was taken out: `head` bytes before it */
	size_t length, done;
	uint8_t head[12];
	bool stripped;
	uint16_t tag;
	uint8_t status, errors;
	unsigned rss_type;
	uint32_t hash;
};

static enum e1000_format format_of(const struct e1000 *e)
{
	if (!e->model->express || !(e1000_get(e, RFCTL) & RFCTL_EXTENDED))
		return FORMAT_LEGACY;
	return (e1000_get(e, RCTL) & RCTL_DTYP_MASK) == RCTL_DTYP_PS ? FORMAT_SPLIT : FORMAT_EXTENDED;
}

/* RCTL.BSIZE: 2048, 1024, 512 or 256 bytes; 16 times that with BSEX, where the first is reserved. */
static unsigned buffer_size(const struct e1000 *e)
{
	uint32_t rctl = e1000_get(e, RCTL);
	unsigned size = 2048u >> (rctl >> RCTL_BSIZE_SHIFT & 3);
	return rctl & RCTL_BSEX ? MIN(size * 16, 16384) : size;
}

/* PSRCTL: the first of the four buffers in units of 128 bytes, the others of 1024. */
static unsigned split_size(const struct e1000 *e, unsigned buffer)
{
	uint32_t psrctl = e1000_get(e, PSRCTL);
	return buffer ? (psrctl >> 8 * buffer & 0x3f) * 1024 : (psrctl & 0x7f) * 128;
}

static unsigned descriptor_size(enum e1000_format format)
{
	return format == FORMAT_SPLIT ? SPLIT_DESCRIPTOR : DESCRIPTOR;
}

static unsigned room_of_one(const struct e1000 *e, enum e1000_format format)
{
	unsigned room = 0;
	if (format != FORMAT_SPLIT)
		return buffer_size(e);
	for (unsigned i = 0; i < SPLIT_BUFFERS; i++)
		room += split_size(e, i);
	return room;
}

static bool enabled(const struct e1000 *e)
{
	return e1000_get(e, RCTL) & RCTL_EN && pci_dma_enabled(&e->card.pci);
}

bool e1000_can_receive(struct net_card *card)
{
	struct e1000 *e = (struct e1000 *)card;
	if (!enabled(e) || !card->link_up)
		return true; /* it is gone, as on a cable */
	struct e1000_ring ring;
	bool rss = (e1000_get(e, MRQC) & MRQC_MODE) == MRQC_RSS;
	for (unsigned q = 0; q < (rss ? E1000_QUEUES : 1); q++) {
		if (e1000_ring(e, RX_RING, q, descriptor_size(format_of(e)), &ring) &&
		    !e1000_ring_ours(&ring))
			return false;
	}
	return true;
}

/* --- what is in the packet --------------------------------------------------------------------------- */

static void check_sums(const struct e1000 *e, struct rx *rx, const uint8_t *frame,
		       const struct net_headers *h)
{
	uint32_t rxcsum = e1000_get(e, RXCSUM);
	if (h->ipv4 && rxcsum & RXCSUM_IPOFL) {
		rx->status |= RXD_IPCS;
		if (!net_headers_ip_good(h, frame))
			rx->errors |= RXD_ERROR_IP;
	}
	if (!h->l4_at || !(rxcsum & RXCSUM_TUOFL) || (h->udp && !be16_load(frame + h->l4_at + 6)))
		return;
	rx->status |= RXD_TCPCS | (h->udp ? RXD_UDPCS : 0);
	if (!net_headers_l4_good(h, frame))
		rx->errors |= RXD_ERROR_TCP;
}

static void strip_tag(const struct e1000 *e, struct rx *rx)
{
	if (!(e1000_get(e, CTRL) & CTRL_VME) || rx->length < 14 + NET_CARD_TAG ||
	    be16_load(rx->frame + 12) != (e1000_get(e, VET) & 0xffff))
		return;
	memcpy(rx->head, rx->frame, sizeof(rx->head));
	rx->tag = be16_load(rx->frame + 14);
	rx->stripped = true;
	rx->status |= RXD_VP;
	rx->frame += NET_CARD_TAG;
	rx->length -= NET_CARD_TAG;
}

/* `length` as on the wire, with the CRC. */
static void count(struct e1000 *e, const uint8_t *frame, size_t length)
{
	e1000_add(e, GPRC, 1);
	e1000_add(e, TPR, 1);
	e1000_add64(e, GORCL, length);
	e1000_add64(e, TORL, length);
	if (frame[0] & 1)
		e1000_add(e, frame[0] == 0xff && frame[1] == 0xff ? BPRC : MPRC, 1);
	static const uint16_t limits[] = {64, 127, 255, 511, 1023};
	unsigned bin = 0;
	while (bin < G_N_ELEMENTS(limits) && length > limits[bin])
		bin++;
	e1000_add(e, PRC64 + 4 * bin, 1);
}

/* --- into descriptors ---------------------------------------------------------------------------------- */

/* The next bytes of the packet into one buffer. What is not memory is not written: its driver's loss. */
static unsigned put(struct e1000 *e, struct rx *rx, uint64_t address, unsigned room)
{
	size_t begin = rx->done, take = MIN(room, rx->length - rx->done);
	rx->done += take;
	if (rx->stripped && begin < sizeof(rx->head)) {
		size_t part = MIN(take, sizeof(rx->head) - begin);
		net_card_write(&e->card, address, rx->head + begin, part);
		net_card_write(&e->card, address + part, rx->frame + begin + part, take - part);
	} else {
		net_card_write(&e->card, address, rx->frame + begin, take);
	}
	return take;
}

static bool put_legacy(struct e1000 *e, struct rx *rx, uint64_t at)
{
	uint8_t d[DESCRIPTOR];
	if (!net_card_read(&e->card, at, d, sizeof(d)))
		return false;
	unsigned length = put(e, rx, le64_load(d), buffer_size(e));
	bool end = rx->done == rx->length;
	le16_store(d + 8, length);
	le16_store(d + 10, 0);
	d[12] = rx->status | RXD_DD | (end ? RXD_EOP : 0);
	d[13] = end ? rx->errors : 0;
	le16_store(d + 14, rx->tag);
	return net_card_write(&e->card, at, d, sizeof(d));
}

/* What the two extended formats begin with: MRQ, hash, status and errors, length, tag. */
static void fill_extended(const struct e1000 *e, const struct rx *rx, uint8_t *d, unsigned length)
{
	bool end = rx->done == rx->length;
	bool hash = e1000_get(e, RXCSUM) & RXCSUM_PCSD;
	le32_store(d, hash ? rx->rss_type : 0);
	le32_store(d + 4, hash ? rx->hash : 0);
	le32_store(d + 8, rx->status | RXD_DD | (end ? RXD_EOP | (uint32_t)rx->errors << 24 : 0));
	le16_store(d + 12, length);
	le16_store(d + 14, rx->tag);
}

static bool put_extended(struct e1000 *e, struct rx *rx, uint64_t at)
{
	uint8_t d[DESCRIPTOR];
	if (!net_card_read(&e->card, at, d, sizeof(d)))
		return false;
	unsigned length = put(e, rx, le64_load(d), buffer_size(e));
	fill_extended(e, rx, d, length);
	return net_card_write(&e->card, at, d, sizeof(d));
}

/* 7.1.4.3: headers are not told from data; the first buffer is filled, then the others. */
static bool put_split(struct e1000 *e, struct rx *rx, uint64_t at)
{
	uint8_t d[SPLIT_DESCRIPTOR], out[SPLIT_DESCRIPTOR] = {0};
	unsigned lengths[SPLIT_BUFFERS];
	if (!net_card_read(&e->card, at, d, sizeof(d)))
		return false;
	for (unsigned i = 0; i < SPLIT_BUFFERS; i++) {
		lengths[i] = put(e, rx, le64_load(d + 8 * i), split_size(e, i));
		if (i)
			le16_store(out + 18 + 2 * (i - 1), lengths[i]);
	}
	fill_extended(e, rx, out, lengths[0]);
	return net_card_write(&e->card, at, out, sizeof(out));
}

static bool put_one(struct e1000 *e, struct rx *rx, uint64_t at)
{
	switch (rx->format) {
	case FORMAT_LEGACY: return put_legacy(e, rx, at);
	case FORMAT_EXTENDED: return put_extended(e, rx, at);
	default: return put_split(e, rx, at);
	}
}

/* RCTL.RDMTS: a half, a quarter or an eighth of the ring is left. */
static bool is_low(const struct e1000 *e, const struct e1000_ring *ring)
{
	unsigned shift = (e1000_get(e, RCTL) >> RCTL_RDMTS_SHIFT & 3) + 1;
	return e1000_ring_ours(ring) == ring->count >> shift;
}

static void deliver(struct e1000 *e, struct rx *rx, struct e1000_ring *ring, unsigned queue)
{
	uint32_t causes = INT_RXT0 | INT_RXQ0 << queue;
	unsigned size = descriptor_size(rx->format);
	while (rx->done < rx->length) {
		if (!put_one(e, rx, ring->base + (uint64_t)ring->head * size))
			return; /* the ring is not memory: nobody will find the packet */
		e1000_ring_advance(e, ring);
		if (is_low(e, ring))
			causes |= INT_RXDMT0;
	}
	e1000_raise(e, causes);
}

bool e1000_receive(struct net_card *card, const uint8_t *frame, size_t length)
{
	struct e1000 *e = (struct e1000 *)card;
	if (!enabled(e) || !e1000_accepts(e, frame, length))
		return true;
	uint32_t rctl = e1000_get(e, RCTL);
	if (length > (rctl & RCTL_LPE ? MAX_LONG_PACKET : MAX_PACKET) - NET_CARD_CRC) {
		e1000_add(e, ROC, 1);
		return true;
	}
	frame = net_card_wire_frame(card, frame, &length, !(rctl & RCTL_SECRC));
	struct rx rx = {.format = format_of(e), .frame = frame, .length = length};
	struct net_headers headers;
	net_headers_parse(frame, length, &headers);
	rx.hash = e1000_rss_hash(e, frame, &headers, &rx.rss_type);
	unsigned entry = rx.hash & 0x7f;
	unsigned queue = rx.rss_type ? e1000_get(e, RETA + (entry & ~3u)) >> (entry & 3) * 8 >> 7 & 1 : 0;

	struct e1000_ring ring;
	unsigned room = room_of_one(e, rx.format);
	if (!room || !e1000_ring(e, RX_RING, queue, descriptor_size(rx.format), &ring))
		return true;
	if (e1000_ring_ours(&ring) < (length + room - 1) / room)
		return ring.count <= (length + room - 1) / room; /* it never fits: gone */
	count(e, frame, length + (rctl & RCTL_SECRC ? NET_CARD_CRC : 0));
	check_sums(e, &rx, frame, &headers);
	strip_tag(e, &rx);
	deliver(e, &rx, &ring, queue);
	return true;
}
