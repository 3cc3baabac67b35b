/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Intel's gigabit cards, driven by registers and descriptors as their manuals say. */
#include "cards.h"
#include "dev/net/card.h"
#include "dev/net/e1000_regs.h"

enum { RING = 8, BUFFER = 2048 };

static bool card_with_header;

struct bench {
	struct card c;
	uint64_t rx, tx, data, out; /* rings, buffers to receive in, bytes to send */
	unsigned tx_tail;
};

static void open_bench(struct bench *b, const struct device_class *class)
{
	*b = (struct bench){0};
	card_open(&b->c, class, card_with_header ? NET_OFFLOAD_CSUM : 0);
	b->rx = vd_alloc(&b->c.m, RING * 32);
	b->tx = vd_alloc(&b->c.m, RING * 16);
	b->data = vd_alloc(&b->c.m, RING * BUFFER * 4);
	b->out = vd_alloc(&b->c.m, 1 << 17);
	card_put(&b->c, RX_RING + RING_BAL, (uint32_t)b->rx);
	card_put(&b->c, RX_RING + RING_LEN, RING * 16);
	card_put(&b->c, TX_RING + RING_BAL, (uint32_t)b->tx);
	card_put(&b->c, TX_RING + RING_LEN, RING * 16);
	for (unsigned i = 0; i < RING; i++)
		le64_store(b->c.m.mem + b->rx + 16 * i, b->data + (uint64_t)i * BUFFER);
	card_put(&b->c, RX_RING + RING_TAIL, RING - 1);
	card_put(&b->c, TCTL, TCTL_EN);
	card_put(&b->c, RCTL, RCTL_EN | RCTL_BAM | RCTL_SECRC);
}

static uint8_t *at(struct bench *b, uint64_t address)
{
	return b->c.m.mem + address;
}

/* --- registers -------------------------------------------------------------------------------------- */

static void test_nvm(void)
{
	struct bench b;
	open_bench(&b, &e1000e_class);
	uint16_t sum = 0;
	for (unsigned i = 0; i < 64; i++) {
		card_put(&b.c, EERD, i << 2 | EERD_START);
		uint32_t value = card_get(&b.c, EERD);
		g_assert_cmphex(value & 2, ==, 2);
		sum += value >> 16;
		if (i == 0)
			g_assert_cmphex(value >> 16, ==, 0x5452);
	}
	g_assert_cmphex(sum, ==, 0xbaba);
	g_assert_cmphex(card_get(&b.c, RAL0), ==, 0x01005452);
	g_assert_cmphex(card_get(&b.c, RAH0), ==, 0x80000302);
	/* The PHY: who it is, and that there is a link; another one is not there. */
	card_put(&b.c, MDIC, MDIC_READ << 26 | 1u << 21 | 2u << 16);
	g_assert_cmphex(card_get(&b.c, MDIC) & 0xffff, ==, 0x0141);
	card_put(&b.c, MDIC, MDIC_READ << 26 | 1u << 21 | 1u << 16);
	g_assert_cmphex(card_get(&b.c, MDIC) & 0x24, ==, 0x24);
	card_put(&b.c, MDIC, MDIC_READ << 26 | 2u << 21 | 1u << 16);
	g_assert_cmphex(card_get(&b.c, MDIC) & MDIC_ERROR, ==, MDIC_ERROR);
	/* The same registers by the two ports. */
	space_write(b.c.m.vm->ports, CARD_PORTS, RAL0, 4);
	g_assert_cmphex(space_read(b.c.m.vm->ports, CARD_PORTS + 4, 4), ==, 0x01005452);
	/* A reset brings the address back. */
	card_put(&b.c, RAL0, 0);
	card_put(&b.c, CTRL, CTRL_RST);
	g_assert_cmphex(card_get(&b.c, RAL0), ==, 0x01005452);
	g_assert_cmphex(card_get(&b.c, CTRL) & CTRL_RST, ==, 0);
	card_close(&b.c);
}

static void microwire(struct bench *b, bool clock, bool data)
{
	card_put(&b->c, EECD, 1u << 6 | 1 << 1 | clock | (data ? 1 << 2 : 0));
}

static void test_microwire(void)
{
	struct bench b;
	open_bench(&b, &e1000_class);
	microwire(&b, false, false);
	for (unsigned bit = 9, command = 6 << 6 | 2; bit--;) {
		microwire(&b, false, command >> bit & 1);
		microwire(&b, true, command >> bit & 1);
	}
	unsigned word = 0;
	for (unsigned i = 0; i < 16; i++) {
		microwire(&b, false, false);
		microwire(&b, true, false);
		word = word << 1 | (card_get(&b.c, EECD) >> 3 & 1);
	}
	g_assert_cmphex(word, ==, 0x0302);
	card_close(&b.c);
}

static void test_interrupts(void)
{
	struct bench b;
	open_bench(&b, &e1000_class);
	card_put(&b.c, ICS, INT_LSC);
	g_assert_false(b.c.m.line);
	card_put(&b.c, IMS, INT_LSC | INT_TXDW);
	g_assert_true(b.c.m.line);
	card_put(&b.c, IMC, INT_LSC);
	g_assert_false(b.c.m.line);
	card_put(&b.c, IMS, INT_LSC);
	g_assert_cmphex(card_get(&b.c, ICR), ==, INT_LSC | INT_ASSERTED);
	g_assert_false(b.c.m.line);
	g_assert_cmphex(card_get(&b.c, ICR), ==, 0);
	/* The cable. */
	b.c.net.receiver.link_changed(b.c.net.receiver.opaque, false);
	g_assert_true(b.c.m.line);
	g_assert_cmphex(card_get(&b.c, STATUS) & STATUS_LU, ==, 0);
	b.c.net.receiver.link_changed(b.c.net.receiver.opaque, true);
	g_assert_cmphex(card_get(&b.c, STATUS) & STATUS_LU, ==, STATUS_LU);
	/* Throttled: the second comes later, and is not lost. */
	card_get(&b.c, ICR);
	card_put(&b.c, ITR, 40000); /* 10 ms */
	card_put(&b.c, ICS, INT_LSC);
	g_assert_true(b.c.m.line);
	card_get(&b.c, ICR);
	card_put(&b.c, ICS, INT_LSC);
	g_assert_false(b.c.m.line);
	vd_pump(&b.c.m, 100, (const bool *)&b.c.m.line);
	g_assert_true(b.c.m.line);
	card_close(&b.c);
}

/* --- receiving ---------------------------------------------------------------------------------------- */

static void test_receive_legacy(void)
{
	struct bench b;
	uint8_t frame[1500], *d;
	open_bench(&b, &e1000_class);
	card_put(&b.c, IMS, INT_RXT0);
	card_udp_frame(frame, sizeof(frame));
	g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
	d = at(&b, b.rx);
	g_assert_cmpuint(le16_load(d + 8), ==, 1500);
	g_assert_cmphex(d[12], ==, RXD_DD | RXD_EOP | RXD_IPCS | RXD_TCPCS | RXD_UDPCS);
	g_assert_cmphex(d[13], ==, 0);
	g_assert_cmpmem(at(&b, b.data), 1500, frame, 1500);
	g_assert_true(b.c.m.line);
	/* A wrong byte is found. */
	frame[700] ^= 1;
	g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
	g_assert_cmphex(at(&b, b.rx)[16 + 13], ==, RXD_ERROR_TCP);
	/* Small buffers: the packet goes over several; the CRC comes along if it is not stripped. */
	card_put(&b.c, RCTL, RCTL_EN | 2u << RCTL_BSIZE_SHIFT);
	frame[700] ^= 1;
	g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
	for (unsigned i = 0; i < 3; i++) {
		d = at(&b, b.rx + 16 * (2 + i));
		g_assert_cmpuint(le16_load(d + 8), ==, i == 2 ? 1504 - 1024 : 512);
		g_assert_cmpuint(d[12] & RXD_EOP, ==, i == 2 ? RXD_EOP : 0);
		g_assert_cmpmem(at(&b, b.data + (2 + i) * BUFFER), i == 2 ? 476 : 512, frame + 512 * i,
				i == 2 ? 476 : 512);
	}
	/* Two descriptors are left: no room, until the driver gives some back. */
	g_assert_false(card_feed(&b.c, frame, sizeof(frame)));
	unsigned ready = b.c.net.ready;
	card_put(&b.c, RX_RING + RING_TAIL, 4);
	card_run(&b.c);
	g_assert_cmpuint(b.c.net.ready, >, ready);
	g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
	g_assert_cmpuint(card_get(&b.c, GPRC), ==, 4);
	g_assert_cmpuint(card_get(&b.c, GPRC), ==, 0);
	card_close(&b.c);
}

static void test_receive_extended(void)
{
	struct bench b;
	uint8_t frame[3000], *d;
	open_bench(&b, &e1000e_class);
	card_put(&b.c, RFCTL, RFCTL_EXTENDED);
	card_udp_frame(frame, 200);
	g_assert_true(card_feed(&b.c, frame, 200));
	d = at(&b, b.rx);
	g_assert_cmphex(le32_load(d + 8), ==, RXD_DD | RXD_EOP | RXD_IPCS | RXD_TCPCS | RXD_UDPCS);
	g_assert_cmpuint(le16_load(d + 12), ==, 200);
	g_assert_cmpmem(at(&b, b.data), 200, frame, 200);
	/* A VLAN tag is taken out. */
	card_put(&b.c, CTRL, CTRL_VME);
	memmove(frame + 16, frame + 12, 188);
	memcpy(frame + 12, "\x81\x00\x20\x05", 4);
	g_assert_true(card_feed(&b.c, frame, 204));
	d = at(&b, b.rx + 16);
	g_assert_cmphex(le32_load(d + 8) & RXD_VP, ==, RXD_VP);
	g_assert_cmphex(le16_load(d + 14), ==, 0x2005);
	g_assert_cmpuint(le16_load(d + 12), ==, 200);
	g_assert_cmpmem(at(&b, b.data + BUFFER), 12, frame, 12);
	g_assert_cmpmem(at(&b, b.data + BUFFER + 12), 188, frame + 16, 188);
	/* The VLAN filter lets only what it knows pass. */
	card_put(&b.c, RCTL, RCTL_EN | RCTL_SECRC | RCTL_VFE);
	g_assert_true(card_feed(&b.c, frame, 204));
	g_assert_cmpuint(card_get(&b.c, RX_RING + RING_HEAD), ==, 2);
	card_put(&b.c, VFTA, 1 << 5);
	g_assert_true(card_feed(&b.c, frame, 204));
	g_assert_cmpuint(card_get(&b.c, RX_RING + RING_HEAD), ==, 3);
	card_close(&b.c);
}

/* A long packet in descriptors of four buffers. */
static void test_receive_split(void)
{
	struct bench b;
	uint8_t frame[3000], *d;
	open_bench(&b, &e1000e_class);
	card_put(&b.c, RFCTL, RFCTL_EXTENDED);
	card_put(&b.c, PSRCTL, 2 | 1 << 8 | 1 << 16);
	for (unsigned i = 0; i < RING; i++)
		for (unsigned j = 0; j < 4; j++)
			le64_store(at(&b, b.rx + 32 * i + 8 * j), b.data + i * 4 * BUFFER + j * 1024);
	card_put(&b.c, RX_RING + RING_LEN, RING * 32);
	card_put(&b.c, RCTL, RCTL_EN | RCTL_SECRC | RCTL_LPE | RCTL_DTYP_PS);
	card_udp_frame(frame, sizeof(frame));
	g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
	d = at(&b, b.rx);
	g_assert_cmphex(le32_load(d + 8) & (RXD_DD | RXD_EOP), ==, RXD_DD);
	g_assert_cmpuint(le16_load(d + 12), ==, 256);
	g_assert_cmpuint(le16_load(d + 18), ==, 1024);
	g_assert_cmpuint(le16_load(d + 20), ==, 1024);
	d += 32;
	g_assert_cmphex(le32_load(d + 8) & (RXD_DD | RXD_EOP), ==, RXD_DD | RXD_EOP);
	g_assert_cmpuint(le16_load(d + 12), ==, 256);
	g_assert_cmpuint(le16_load(d + 18), ==, 440);
	g_assert_cmpmem(at(&b, b.data + 1024), 1024, frame + 256, 1024);
	g_assert_cmpmem(at(&b, b.data + 4 * BUFFER + 1024), 440, frame + 2560, 440);
	card_close(&b.c);
}

static void test_filter(void)
{
	static const struct {
		uint8_t to[6];
		uint32_t rctl;
		bool wanted;
	} list[] = {
		{{0x52, 0x54, 0, 1, 2, 3}, 0, true},    {{0x52, 0x54, 0, 1, 2, 4}, 0, false},
		{{0x52, 0x54, 0, 1, 2, 4}, RCTL_UPE, true}, {{255, 255, 255, 255, 255, 255}, 0, false},
		{{255, 255, 255, 255, 255, 255}, RCTL_BAM, true}, {{1, 0, 94, 0, 0, 1}, 0, false},
		{{1, 0, 94, 0, 0, 1}, RCTL_MPE, true}, {{1, 0, 94, 0, 0, 0x20}, 0, true},
	};
	struct bench b;
	uint8_t frame[100];
	open_bench(&b, &e1000e_class);
	card_put(&b.c, MTA + 4 * (0x200 >> 5), 1); /* bits 47:36 of the last address: 0x200 */
	for (unsigned i = 0; i < G_N_ELEMENTS(list); i++) {
		card_udp_frame(frame, sizeof(frame));
		memcpy(frame, list[i].to, 6);
		card_put(&b.c, RCTL, RCTL_EN | list[i].rctl);
		card_get(&b.c, GPRC);
		g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
		g_assert_cmpuint(card_get(&b.c, GPRC), ==, list[i].wanted);
		card_put(&b.c, RX_RING + RING_TAIL, (card_get(&b.c, RX_RING + RING_HEAD) + RING - 1) % RING);
	}
	card_close(&b.c);
}

/* RSS: the example of Microsoft's "Verifying the RSS Hash Calculation", TCP over IPv4. */
static void test_rss(void)
{
	static const uint8_t key[40] = {
		0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
		0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
		0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
	};
	struct bench b;
	uint8_t frame[100];
	open_bench(&b, &e1000e_class);
	card_put(&b.c, RFCTL, RFCTL_EXTENDED);
	for (unsigned i = 0; i < 10; i++)
		card_put(&b.c, RSSRK + 4 * i, le32_load(key + 4 * i));
	card_put(&b.c, MRQC, MRQC_RSS | MRQC_TCP_IPV4 | MRQC_IPV4);
	card_put(&b.c, RXCSUM, RXCSUM_PCSD);
	card_udp_frame(frame, sizeof(frame));
	frame[23] = 6;
	memcpy(frame + 26, (const uint8_t[12]){66, 9, 149, 187, 161, 142, 100, 80, 2794 >> 8, 2794 & 255,
					       1766 >> 8, 1766 & 255}, 12);
	g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
	g_assert_cmphex(le32_load(at(&b, b.rx) + 4), ==, 0x51ccc178);
	g_assert_cmphex(le32_load(at(&b, b.rx)) & 15, ==, 1);
	card_close(&b.c);
}

/* --- sending --------------------------------------------------------------------------------------------- */

static void put_tx(struct bench *b, uint64_t first, uint32_t lower, uint32_t upper)
{
	uint8_t *d = at(b, b->tx + 16 * b->tx_tail);
	le64_store(d, first);
	le32_store(d + 8, lower);
	le32_store(d + 12, upper);
	b->tx_tail = (b->tx_tail + 1) % RING;
}

static void kick(struct bench *b)
{
	card_put(&b->c, TX_RING + RING_TAIL, b->tx_tail);
	card_run(&b->c);
}

static void test_send(void)
{
	struct bench b;
	open_bench(&b, &e1000_class);
	card_put(&b.c, IMS, INT_TXDW);
	card_udp_frame(at(&b, b.out), 1000);
	put_tx(&b, b.out, 400, 0);
	put_tx(&b, b.out + 400, 600 | (TXD_EOP | TXD_RS | TXD_VLE) << 24, 0x1234u << 16);
	kick(&b);
	g_assert_cmpuint(b.c.net.sent, ==, 1);
	g_assert_cmpmem(b.c.net.packets[0], b.c.net.sizes[0], at(&b, b.out), 1000);
	g_assert_cmphex(at(&b, b.tx)[12] & 1, ==, 0);
	g_assert_cmphex(at(&b, b.tx)[28] & 1, ==, 1);
	g_assert_true(b.c.m.line);
	/* With tags on, the same descriptor's is put in. */
	card_put(&b.c, CTRL, CTRL_VME);
	put_tx(&b, b.out, 1000 | (TXD_EOP | TXD_VLE) << 24, 0x1234u << 16);
	kick(&b);
	g_assert_cmpuint(b.c.net.sizes[1], ==, 1004);
	g_assert_cmpmem(b.c.net.packets[1] + 12, 4, "\x81\x00\x12\x34", 4);
	g_assert_cmpmem(b.c.net.packets[1] + 16, 988, at(&b, b.out + 12), 988);
	/* A back end that is full holds everything back. */
	b.c.net.room = 0;
	put_tx(&b, b.out, 1000 | TXD_EOP << 24, 0);
	put_tx(&b, b.out, 900 | TXD_EOP << 24, 0);
	kick(&b);
	g_assert_cmpuint(b.c.net.sent, ==, 2);
	b.c.net.room = UINT_MAX;
	b.c.net.receiver.writable(b.c.net.receiver.opaque, 0);
	g_assert_cmpuint(b.c.net.sent, ==, 4);
	g_assert_cmpuint(b.c.net.sizes[3], ==, 900);
	g_assert_cmpuint(card_get(&b.c, GPTC), ==, 4);
	card_close(&b.c);
}

/* A back end whose packets have virtio's header: it is put on and taken off. */
static void test_header(void)
{
	struct bench b;
	uint8_t frame[12 + 300] = {0};
	card_with_header = true;
	open_bench(&b, &e1000_class);
	card_with_header = false;
	card_udp_frame(at(&b, b.out), 300);
	memcpy(frame + 12, at(&b, b.out), 300);
	put_tx(&b, b.out, 300 | TXD_EOP << 24, 0);
	kick(&b);
	g_assert_cmpmem(b.c.net.packets[0], b.c.net.sizes[0], frame, sizeof(frame));
	g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
	g_assert_cmpmem(at(&b, b.data), 300, frame + 12, 300);
	g_assert_cmpuint(le16_load(at(&b, b.rx) + 8), ==, 300);
	card_close(&b.c);
}

/* Checksums by a context: the driver leaves the pseudo header's sum in the field. */
static void test_send_checksum(void)
{
	struct bench b;
	uint8_t want[1000];
	open_bench(&b, &e1000e_class);
	card_udp_frame(want, sizeof(want));
	uint8_t *frame = memcpy(at(&b, b.out), want, sizeof(want));
	be16_store(frame + 24, 0);
	uint32_t pseudo = 17 + 966 + 0x0a00 + 0x0202 + 0x0a00 + 0x020f;
	be16_store(frame + 40, pseudo);
	put_tx(&b, 14 | 24 << 8 | UINT64_C(33) << 16 | UINT64_C(34) << 32 | UINT64_C(40) << 40,
	       TXD_DEXT << 24, 0);
	put_tx(&b, b.out, 1000 | TXD_TYPE_DATA << 20 | (TXD_DEXT | TXD_EOP | TXD_RS) << 24,
	       (TXD_IXSM | TXD_TXSM) << 8);
	kick(&b);
	g_assert_cmpuint(b.c.net.sent, ==, 1);
	g_assert_cmpmem(b.c.net.packets[0], b.c.net.sizes[0], want, sizeof(want));
	card_close(&b.c);
}

enum { PAYLOAD = 5000, HEADERS = 54 };

/* A large TCP packet, to be cut into segments of `size` bytes. Returns its bytes. */
static const uint8_t *put_large(struct bench *b, unsigned size)
{
	uint8_t *frame = at(b, b->out);
	card_udp_frame(frame, HEADERS + PAYLOAD);
	frame[23] = 6;
	memset(frame + 34, 0, 20);
	frame[46] = 0x50;
	frame[47] = 0x18;
	put_tx(b, 14 | 24 << 8 | UINT64_C(33) << 16 | UINT64_C(34) << 32 | UINT64_C(50) << 40,
	       PAYLOAD | (uint32_t)(TXD_DEXT | TUCMD_TCP | TUCMD_IPV4 | TUCMD_TSE) << 24,
	       HEADERS << 8 | size << 16);
	for (unsigned done = 0, part = HEADERS; done < HEADERS + PAYLOAD; done += part, part = 2500) {
		bool end = done + part == HEADERS + PAYLOAD;
		put_tx(b, b->out + done,
		       part | TXD_TYPE_DATA << 20 | (uint32_t)(TXD_DEXT | TXD_TSE | (end ? TXD_EOP : 0)) << 24,
		       (TXD_IXSM | TXD_TXSM) << 8);
	}
	return frame;
}

/* A large TCP packet comes out in segments of the context's size. */
static void test_send_segments(void)
{
	struct bench b;
	open_bench(&b, &e1000e_class);
	const uint8_t *frame = put_large(&b, 1460);
	b.c.net.room = 2; /* the rest waits */
	kick(&b);
	g_assert_cmpuint(b.c.net.sent, ==, 2);
	b.c.net.room = UINT_MAX;
	b.c.net.receiver.writable(b.c.net.receiver.opaque, 0);
	g_assert_cmpuint(b.c.net.sent, ==, 4);
	for (unsigned i = 0; i < 4; i++) {
		unsigned size = i < 3 ? 1460 : PAYLOAD - 3 * 1460;
		const uint8_t *packet = b.c.net.packets[i];
		g_assert_cmpuint(b.c.net.sizes[i], ==, HEADERS + size);
		g_assert_cmpuint(be16_load(packet + 16), ==, 40 + size);
		g_assert_cmpuint(be32_load(packet + 38), ==, 1460 * i);
		g_assert_cmphex(packet[47], ==, i < 3 ? 0x10 : 0x18);
		g_assert_cmpmem(packet + HEADERS, size, frame + HEADERS + 1460 * i, size);
	}
	card_close(&b.c);
}

/* Segments of a byte: the loop has turns for others between them. */
static void test_send_tiny_segments(void)
{
	struct bench b;
	open_bench(&b, &e1000e_class);
	put_large(&b, 1);
	b.c.net.room = PAYLOAD;
	card_put(&b.c, TX_RING + RING_TAIL, b.tx_tail);
	for (unsigned turn = 1; turn <= 5; turn++) {
		aio_loop_iterate(b.c.m.loop, 0);
		g_assert_cmpuint(PAYLOAD - b.c.net.room, ==, MIN(turn * NET_CARD_SEGMENTS, PAYLOAD));
	}
	card_close(&b.c);
}

/* A guest that means ill: rings and lengths that make no sense. */
static void test_hostile(void)
{
	struct bench b;
	uint8_t frame[1000];
	open_bench(&b, &e1000e_class);
	card_udp_frame(frame, sizeof(frame));
	card_put(&b.c, TX_RING + RING_TAIL, 0xffff); /* beyond the end: the head never gets there */
	card_run(&b.c);
	card_put(&b.c, RX_RING + RING_HEAD, 0xffff);
	g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
	card_put(&b.c, RX_RING + RING_HEAD, 0);
	/* A packet without an end, of more bytes than any has, over a ring again and again. */
	for (unsigned i = 0; i < RING; i++)
		put_tx(&b, b.out, 0xfffff | TXD_TYPE_DATA << 20 | (uint32_t)TXD_DEXT << 24, 0);
	for (unsigned i = 0; i < 3 * RING; i++) {
		card_put(&b.c, TX_RING + RING_TAIL, i % RING);
		card_run(&b.c);
	}
	/* A ring and buffers that are no memory, or the card's own registers. */
	card_put(&b.c, RX_RING + RING_BAL, CARD_MMIO);
	g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
	card_put(&b.c, TX_RING + RING_BAH, 0xffffffff);
	card_put(&b.c, TX_RING + RING_TAIL, 5);
	card_run(&b.c);
	/* A context that points outside of the packet, and one for what is no TCP. */
	card_close(&b.c);
	open_bench(&b, &e1000e_class);
	memcpy(at(&b, b.out), frame, sizeof(frame));
	put_tx(&b, UINT64_MAX, (uint32_t)(TXD_DEXT | TUCMD_TSE | TUCMD_TCP) << 24, 0xffff0000);
	put_tx(&b, b.out, 60 | TXD_TYPE_DATA << 20 | (uint32_t)(TXD_DEXT | TXD_EOP) << 24, 3 << 8);
	put_tx(&b, b.out, 60 | TXD_TYPE_DATA << 20 | (uint32_t)(TXD_DEXT | TXD_TSE | TXD_EOP) << 24, 3 << 8);
	kick(&b);
	g_assert_cmpuint(b.c.net.sent, ==, 1);
	card_close(&b.c);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/e1000/nvm", test_nvm);
	g_test_add_func("/e1000/microwire", test_microwire);
	g_test_add_func("/e1000/interrupts", test_interrupts);
	g_test_add_func("/e1000/receive/legacy", test_receive_legacy);
	g_test_add_func("/e1000/receive/extended", test_receive_extended);
	g_test_add_func("/e1000/receive/split", test_receive_split);
	g_test_add_func("/e1000/filter", test_filter);
	g_test_add_func("/e1000/rss", test_rss);
	g_test_add_func("/e1000/send", test_send);
	g_test_add_func("/e1000/header", test_header);
	g_test_add_func("/e1000/send/checksum", test_send_checksum);
	g_test_add_func("/e1000/send/segments", test_send_segments);
	g_test_add_func("/e1000/send/tiny-segments", test_send_tiny_segments);
	g_test_add_func("/e1000/hostile", test_hostile);
	return g_test_run();
}
