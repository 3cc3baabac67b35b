/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Received packets: into the ring of bytes, or into descriptors. A packet for which there is no room stays
 * with the back end.
 */
#include "dev/net/rtl8139_int.h"

#include "vm/vm.h"

#include <zlib.h>

enum { MAX_PACKET = 4096 - NET_CARD_CRC, RING_SLACK = 16, HEADER = 4, RETRY_NS = 5000000 };
/* The ring's packets begin with a status of these and a length. */
enum { RING_ROK = 1 << 0, RING_BAR = 1 << 13, RING_PAM = 1 << 14, RING_MAR = 1 << 15 };
/* The first word of a descriptor: what the packet is, and how its checksums are. */
enum { RXD_MAR = 1 << 26, RXD_PAM = 1 << 25, RXD_BAR = 1 << 24, RXD_PID_SHIFT = 16, RXD_IPF = 1 << 15,
       RXD_UDPF = 1 << 14, RXD_TCPF = 1 << 13, RXD_SIZE = 0x1fff, RXD_TAVA = 1 << 16 };
enum { PID_TCP = 1, PID_UDP = 2, PID_IP = 3 };

enum kind { KIND_NONE, KIND_PHYSICAL, KIND_MULTICAST, KIND_BROADCAST };

static bool enabled(const struct rtl8139 *r)
{
	return r->regs[CR] & CR_RE && pci_dma_enabled(&r->card.pci);
}

/* --- the filter ------------------------------------------------------------------------------------- */

/* MAR: the six bits that Ethernet's CRC of the address, highest first, begins with. */
static bool in_multicast_table(const struct rtl8139 *r, const uint8_t *address)
{
	uint32_t crc = ~crc32(0, address, 6);
	unsigned bit = 0;
	for (unsigned i = 0; i < 6; i++)
		bit = bit << 1 | (crc >> i & 1);
	return r->regs[MAR0 + bit / 8] >> bit % 8 & 1;
}

/* What the packet is to the driver; KIND_NONE: not wanted. */
static enum kind accept_packet(const struct rtl8139 *r, const uint8_t *frame)
{
	static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	uint32_t rcr = rtl_get32(r, RCR);
	if (memcmp(frame, all, 6) == 0)
		return rcr & (RCR_AB | RCR_AAP) ? KIND_BROADCAST : KIND_NONE;
	if (frame[0] & 1)
		return rcr & RCR_AAP || (rcr & RCR_AM && in_multicast_table(r, frame)) ? KIND_MULTICAST :
											KIND_NONE;
	bool mine = rcr & RCR_APM && memcmp(frame, r->regs + IDR0, 6) == 0;
	return mine || rcr & RCR_AAP ? KIND_PHYSICAL : KIND_NONE;
}

/* --- the ring of bytes -------------------------------------------------------------------------------- */

static unsigned ring_size(const struct rtl8139 *r)
{
	return 8192u << (rtl_get32(r, RCR) >> RCR_RBLEN_SHIFT & 3);
}

/* CAPR is behind what the driver has read by the slack. Equal: all has been read. */
static unsigned ring_room(const struct rtl8139 *r)
{
	unsigned size = ring_size(r), read = (rtl_get16(r, CAPR) + RING_SLACK) % size;
	unsigned write = rtl_get16(r, CBR) % size;
	return read == write ? size : (read + size - write) % size;
}

/* Bytes at the ring's place `at`; with WRAP they may go on behind its end. */
static void ring_put(struct rtl8139 *r, unsigned at, const void *from, unsigned length)
{
	unsigned size = ring_size(r);
	bool linear = rtl_get32(r, RCR) & RCR_WRAP && size < 65536;
	uint64_t base = rtl_get32(r, RBSTART);
	unsigned first = linear ? length : MIN(length, size - at);
	net_card_write(&r->card, base + at, from, first);
	net_card_write(&r->card, base, (const uint8_t *)from + first, length - first);
}

static bool receive_into_ring(struct rtl8139 *r, const uint8_t *frame, size_t length, enum kind kind)
{
	static const uint16_t bits[] = {0, RING_PAM, RING_MAR, RING_BAR};
	unsigned need = align_up(HEADER + length, 4), size = ring_size(r), at = rtl_get16(r, CBR) % size;
	/* A ring filled up would look like an empty one. */
	if (need >= ring_room(r))
		return false;
	uint8_t header[HEADER];
	le16_store(header, RING_ROK | bits[kind]);
	le16_store(header + 2, length);
	ring_put(r, at, header, HEADER);
	/* The place is a multiple of four, and so is the size: a header is never cut. */
	ring_put(r, (at + HEADER) % size, frame, length);
	le16_store(r->regs + CBR, (at + need) % size);
	return true;
}

/* --- descriptors ----------------------------------------------------------------------------------------- */

static uint64_t descriptor_at(const struct rtl8139 *r)
{
	return le64_load(r->regs + RDSAR) + (uint64_t)r->rx_next * DESC_SIZE;
}

static bool has_descriptor(const struct rtl8139 *r)
{
	uint8_t d[4];
	return net_card_read(&r->card, descriptor_at(r), d, sizeof(d)) && le32_load(d) & DESC_OWN;
}

static uint32_t checksum_bits(const struct rtl8139 *r, const uint8_t *frame, size_t length)
{
	struct net_headers h;
	net_headers_parse(frame, length, &h);
	if (!(rtl_get16(r, CPCR) & CPCR_RXCHKSUM) || !h.ipv4)
		return 0;
	uint32_t bits = net_headers_ip_good(&h, frame) ? 0 : RXD_IPF;
	/* A UDP packet may have none. */
	if (!h.l4_at || (h.udp && !be16_load(frame + h.l4_at + 6)))
		return bits | (h.udp ? PID_UDP : PID_IP) << RXD_PID_SHIFT;
	if (!net_headers_l4_good(&h, frame))
		bits |= h.tcp ? RXD_TCPF : RXD_UDPF;
	return bits | (h.tcp ? PID_TCP : PID_UDP) << RXD_PID_SHIFT;
}

static void next_descriptor(struct rtl8139 *r, uint32_t word)
{
	r->rx_next = word & DESC_EOR || r->rx_next + 1 == DESC_RING ? 0 : r->rx_next + 1;
}

/* A tag that is taken out: the words of the descriptor have it with its bytes the other way round. */
static uint32_t take_tag(const struct rtl8139 *r, uint8_t *frame, size_t *length)
{
	if (!(rtl_get16(r, CPCR) & CPCR_RXVLAN) || *length < 18 || be16_load(frame + 12) != 0x8100)
		return 0;
	uint32_t tag = RXD_TAVA | le16_load(frame + 14);
	memmove(frame + 4, frame, 12);
	*length -= NET_CARD_TAG;
	return tag;
}

static bool receive_into_descriptors(struct rtl8139 *r, uint8_t *frame, size_t length, enum kind kind)
{
	static const uint32_t bits[] = {0, RXD_PAM, RXD_MAR, RXD_BAR};
	if (!has_descriptor(r))
		return false;
	uint32_t sums = checksum_bits(r, frame, length - NET_CARD_CRC);
	size_t before = length;
	uint32_t tag = take_tag(r, frame, &length);
	frame += before - length;
	for (size_t done = 0; done < length;) {
		uint64_t at = descriptor_at(r);
		uint8_t d[DESC_SIZE];
		/* It runs out in the middle of a packet: the rest of it is lost, as on the chip. */
		if (!net_card_read(&r->card, at, d, sizeof(d)) || !(le32_load(d) & DESC_OWN))
			break;
		uint32_t word = le32_load(d);
		size_t part = MIN(word & RXD_SIZE, length - done);
		net_card_write(&r->card, le64_load(d + 8), frame + done, part);
		bool last = done + part == length;
		uint32_t status = (word & DESC_EOR) | (done ? 0 : DESC_FS) | (last ? DESC_LS : 0);
		status |= last ? sums | bits[kind] | length : part;
		le32_store(d, status);
		le32_store(d + 4, tag);
		net_card_write(&r->card, at, d, 8);
		next_descriptor(r, word);
		done += part;
		if (!part)
			break; /* a buffer without bytes: no packet ever ends in those */
	}
	return true;
}

/* --- both ---------------------------------------------------------------------------------------------------- */

bool rtl8139_can_receive(struct net_card *card)
{
	struct rtl8139 *r = (struct rtl8139 *)card;
	if (!enabled(r) || !card->link_up)
		return true; /* it is gone, as on a cable */
	bool room = rtl_cplus_rx(r) ? has_descriptor(r) : ring_room(r) > HEADER + 1600;
	r->rx_waits = !room;
	if (!room)
		aio_timer_arm(&r->retry, aio_now_ns() + RETRY_NS);
	return room;
}

static void count(struct rtl8139 *r, enum kind kind)
{
	r->tally.received++;
	r->tally.physical += kind == KIND_PHYSICAL;
	r->tally.broadcast += kind == KIND_BROADCAST;
	r->tally.multicast += kind == KIND_MULTICAST;
}

bool rtl8139_receive(struct net_card *card, const uint8_t *frame, size_t length)
{
	struct rtl8139 *r = (struct rtl8139 *)card;
	if (!enabled(r) || length < 14 || length > MAX_PACKET)
		return true;
	enum kind kind = accept_packet(r, frame);
	if (kind == KIND_NONE)
		return true;
	net_card_wire_frame(card, frame, &length, true); /* into card->frame, as there is a CRC */
	if (!(rtl_cplus_rx(r) ? receive_into_descriptors(r, card->frame, length, kind) :
				receive_into_ring(r, card->frame, length, kind))) {
		r->rx_waits = true;
		aio_timer_arm(&r->retry, aio_now_ns() + RETRY_NS);
		return false;
	}
	count(r, kind);
	rtl8139_raise(r, INT_ROK);
	return true;
}
