/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Realtek's 8139C+ by registers and memory: the old interface and C+ mode, as its data sheets say. */
#include "cards.h"
#include "dev/net/rtl8139_int.h"

struct bench {
	struct card c;
	uint64_t ring, tx, data;
};

/* BAR 1 has the registers in memory. */
static uint32_t get(struct bench *b, unsigned reg, unsigned size)
{
	return (uint32_t)space_read(b->c.m.vm->memory, CARD_MMIO + (1u << 22) + reg, size);
}

static void put(struct bench *b, unsigned reg, uint32_t value, unsigned size)
{
	space_write(b->c.m.vm->memory, CARD_MMIO + (1u << 22) + reg, value, size);
}

static void open_bench(struct bench *b)
{
	*b = (struct bench){0};
	card_open(&b->c, &rtl8139_class, 0);
	b->ring = vd_alloc(&b->c.m, 8192 + 2048);
	b->tx = vd_alloc(&b->c.m, 8192);
	b->data = vd_alloc(&b->c.m, 1 << 17);
}

static uint8_t *at(struct bench *b, uint64_t address)
{
	return b->c.m.mem + address;
}

static void test_registers(void)
{
	struct bench b;
	open_bench(&b);
	g_assert_cmphex(get(&b, IDR0, 4), ==, 0x01005452);
	g_assert_cmphex(get(&b, TCR, 4) & 0x7cc00000, ==, 0x74800000);
	g_assert_cmphex(get(&b, BMSR, 2) & 0x24, ==, 0x24);
	/* Ports are the same registers. */
	g_assert_cmphex(space_read(b.c.m.vm->ports, CARD_PORTS + IDR0 + 4, 2), ==, 0x0302);
	/* The configuration can be written in its mode only. */
	put(&b, CONFIG0 + 1, 0x55, 1);
	g_assert_cmphex(get(&b, CONFIG0 + 1, 1), ==, 0);
	put(&b, CR9346, 0xc0, 1);
	put(&b, CONFIG0 + 1, 0x55, 1);
	g_assert_cmphex(get(&b, CONFIG0 + 1, 1), ==, 0x55);
	/* The 8169's largest packet is not there. */
	put(&b, 0xda, 1522, 2);
	g_assert_cmphex(get(&b, 0xda, 2), ==, 0);
	/* The EEPROM's word 7 is the address's first. */
	put(&b, CR9346, 0x88, 1);
	for (unsigned bit = 9, command = 6 << 6 | 7; bit--;) {
		put(&b, CR9346, 0x88 | (command >> bit & 1) << 1, 1);
		put(&b, CR9346, 0x8c | (command >> bit & 1) << 1, 1);
	}
	unsigned word = 0;
	for (unsigned i = 0; i < 16; i++) {
		put(&b, CR9346, 0x88, 1);
		put(&b, CR9346, 0x8c, 1);
		word = word << 1 | (get(&b, CR9346, 1) & 1);
	}
	g_assert_cmphex(word, ==, 0x5452);
	/* The cable, the timer. */
	put(&b, IMR, INT_LINK | INT_TIMEOUT, 2);
	b.c.net.receiver.link_changed(b.c.net.receiver.opaque, false);
	g_assert_true(b.c.m.line);
	g_assert_cmphex(get(&b, MSR, 1) & 4, ==, 4);
	put(&b, ISR, INT_LINK, 2);
	g_assert_false(b.c.m.line);
	put(&b, TCTR, 0, 4);
	put(&b, TIMERINT, 33000, 4); /* 1 ms */
	vd_pump(&b.c.m, 1000, (const bool *)&b.c.m.line);
	g_assert_cmphex(get(&b, ISR, 2), ==, INT_TIMEOUT);
	card_close(&b.c);
}

static void test_old_receive(void)
{
	struct bench b;
	uint8_t frame[1500];
	open_bench(&b);
	card_udp_frame(frame, sizeof(frame));
	put(&b, RBSTART, (uint32_t)b.ring, 4);
	put(&b, CR, CR_RE | CR_TE, 1);
	put(&b, RCR, RCR_APM, 4);
	put(&b, IMR, INT_ROK, 2);
	g_assert_cmphex(get(&b, CR, 1) & CR_BUFE, ==, CR_BUFE);
	unsigned place = 0;
	/* Three times round the ring of 8 KiB, in which the packets are cut at the end. */
	for (unsigned i = 0; i < 16; i++) {
		frame[100] = (uint8_t)i;
		g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
		g_assert_true(b.c.m.line);
		g_assert_cmphex(get(&b, CR, 1) & CR_BUFE, ==, 0);
		g_assert_cmphex(le32_load(at(&b, b.ring + place)), ==, 1504u << 16 | 0x4001);
		for (unsigned j = 0; j < 1500; j++)
			g_assert_cmphex(*at(&b, b.ring + (place + 4 + j) % 8192), ==, frame[j]);
		place = (place + 1508) % 8192;
		g_assert_cmpuint(get(&b, CBR, 2), ==, place);
		put(&b, CAPR, (place - 16) & 0xffff, 2);
		put(&b, ISR, INT_ROK, 2);
		g_assert_false(b.c.m.line);
	}
	/* Five fit, if none is read; then nothing until there is room. */
	for (unsigned i = 0; i < 5; i++)
		g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
	g_assert_false(card_feed(&b.c, frame, sizeof(frame)));
	unsigned ready = b.c.net.ready;
	put(&b, CAPR, ((place + 5 * 1508) % 8192 - 16) & 0xffff, 2);
	card_run(&b.c);
	g_assert_cmpuint(b.c.net.ready, >, ready);
	g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
	/* Other addresses are not for us, until the driver wants all. */
	frame[5] ^= 1;
	unsigned before = get(&b, CBR, 2);
	g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
	g_assert_cmpuint(get(&b, CBR, 2), ==, before);
	/* The multicast table: the address 01:00:5e:00:00:01 has bit 31. */
	memcpy(frame, "\x01\x00\x5e\x00\x00\x01", 6);
	put(&b, RCR, RCR_AM, 4);
	g_assert_true(card_feed(&b.c, frame, 200));
	g_assert_cmpuint(get(&b, CBR, 2), ==, before);
	put(&b, MAR0, UINT32_C(1) << 31, 4);
	g_assert_true(card_feed(&b.c, frame, 200));
	g_assert_cmpuint(get(&b, CBR, 2), !=, before);
	card_close(&b.c);
}

static void test_old_send(void)
{
	struct bench b;
	open_bench(&b);
	for (unsigned n = 0; n < 4; n++) {
		card_udp_frame(at(&b, b.data + 4096 * n), 100 + n);
		put(&b, TSAD0 + 4 * n, (uint32_t)(b.data + 4096 * n), 4);
		g_assert_cmphex(get(&b, TSD0 + 4 * n, 4) & TSD_OWN, ==, TSD_OWN);
	}
	put(&b, CR, CR_TE, 1);
	put(&b, IMR, INT_TOK, 2);
	b.c.net.room = 2;
	for (unsigned n = 0; n < 4; n++)
		put(&b, TSD0 + 4 * n, 100 + n, 4);
	card_run(&b.c);
	g_assert_cmpuint(b.c.net.sent, ==, 2);
	b.c.net.room = UINT_MAX;
	b.c.net.receiver.writable(b.c.net.receiver.opaque, 0);
	g_assert_cmpuint(b.c.net.sent, ==, 4);
	for (unsigned n = 0; n < 4; n++) {
		g_assert_cmpmem(b.c.net.packets[n], b.c.net.sizes[n], at(&b, b.data + 4096 * n), 100 + n);
		g_assert_cmphex(get(&b, TSD0 + 4 * n, 4), ==, 100 + n + TSD_OWN + TSD_TOK);
	}
	g_assert_cmphex(get(&b, TSAD, 2), ==, 0xf00f);
	g_assert_true(b.c.m.line);
	card_close(&b.c);
}

static void put_descriptor(struct bench *b, uint64_t where, uint32_t word, uint32_t vlan, uint64_t address)
{
	le32_store(at(b, where), word);
	le32_store(at(b, where + 4), vlan);
	le64_store(at(b, where + 8), address);
}

static void test_cplus_receive(void)
{
	struct bench b;
	uint8_t frame[1500];
	open_bench(&b);
	card_udp_frame(frame, sizeof(frame));
	for (unsigned i = 0; i < 4; i++)
		put_descriptor(&b, b.ring + 16 * i, DESC_OWN | (i == 3 ? DESC_EOR : 0) | 1536, 0,
			       b.data + 4096 * i);
	put(&b, CPCR, CPCR_RXON | CPCR_RXCHKSUM | CPCR_RXVLAN, 2);
	put(&b, RDSAR, (uint32_t)b.ring, 4);
	put(&b, CR, CR_RE, 1);
	put(&b, RCR, RCR_APM, 4);
	g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
	g_assert_cmphex(le32_load(at(&b, b.ring)), ==,
			DESC_FS | DESC_LS | 1u << 25 | 2u << 16 | 1504);
	g_assert_cmpmem(at(&b, b.data), 1500, frame, 1500);
	/* A wrong checksum, then a tag, then the ring's end and no room. */
	frame[600] ^= 1;
	g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
	g_assert_cmphex(le32_load(at(&b, b.ring + 16)) & 1 << 14, ==, 1 << 14);
	frame[600] ^= 1;
	memmove(frame + 16, frame + 12, 1400);
	memcpy(frame + 12, "\x81\x00\x00\x05", 4);
	g_assert_true(card_feed(&b.c, frame, 1400));
	g_assert_cmphex(le32_load(at(&b, b.ring + 36)), ==, 1 << 16 | 0x0500);
	g_assert_cmpmem(at(&b, b.data + 8192 + 12), 100, frame + 16, 100);
	g_assert_true(card_feed(&b.c, frame, 1400));
	g_assert_cmphex(le32_load(at(&b, b.ring + 48)) & (DESC_OWN | DESC_EOR), ==, DESC_EOR);
	g_assert_false(card_feed(&b.c, frame, 1400));
	/* Room comes without a register: it is found. */
	unsigned ready = b.c.net.ready;
	put_descriptor(&b, b.ring, DESC_OWN | 1536, 0, b.data);
	for (unsigned i = 0; i < 100 && b.c.net.ready == ready; i++)
		aio_loop_iterate(b.c.m.loop, 10000000);
	g_assert_cmpuint(b.c.net.ready, >, ready);
	g_assert_true(card_feed(&b.c, frame, 1400));
	card_close(&b.c);
}

static void test_cplus_send(void)
{
	enum { PAYLOAD = 4000, HEADERS = 54 };
	struct bench b;
	uint8_t want[1000];
	open_bench(&b);
	card_udp_frame(want, sizeof(want));
	memcpy(at(&b, b.data), want, sizeof(want));
	memset(at(&b, b.data + 24), 0, 2);
	memset(at(&b, b.data + 40), 0xee, 2);
	put_descriptor(&b, b.tx, DESC_OWN | DESC_FS | 1 << 18 | 1 << 17 | 300, 0, b.data);
	put_descriptor(&b, b.tx + 16, DESC_OWN | DESC_LS | 700, 0, b.data + 300);
	uint8_t *large = at(&b, b.data + 8192);
	card_udp_frame(large, HEADERS + PAYLOAD);
	large[23] = 6;
	memset(large + 34, 0, 20);
	large[46] = 0x50;
	put_descriptor(&b, b.tx + 32, DESC_OWN | DESC_FS | DESC_LS | DESC_EOR | 1 << 27 | 1460u << 16 |
			       (HEADERS + PAYLOAD), 1 << 17 | 0x0500, b.data + 8192);
	put(&b, CPCR, CPCR_TXON, 2);
	put(&b, TNPDS, (uint32_t)b.tx, 4);
	put(&b, CR, CR_TE, 1);
	put(&b, TPPOLL, TPPOLL_NORMAL, 1);
	card_run(&b.c);
	g_assert_cmpuint(b.c.net.sent, ==, 4);
	g_assert_cmpmem(b.c.net.packets[0], b.c.net.sizes[0], want, sizeof(want));
	for (unsigned i = 0; i < 3; i++) {
		unsigned size = i < 2 ? 1460 : PAYLOAD - 2920;
		const uint8_t *packet = b.c.net.packets[1 + i];
		g_assert_cmpuint(b.c.net.sizes[1 + i], ==, HEADERS + 4 + size);
		g_assert_cmpmem(packet + 12, 4, "\x81\x00\x00\x05", 4);
		g_assert_cmpmem(packet + 4 + HEADERS, size, large + HEADERS + 1460 * i, size);
	}
	g_assert_cmphex(le32_load(at(&b, b.tx + 32)), ==,
			DESC_FS | DESC_LS | DESC_EOR | (HEADERS + PAYLOAD));
	g_assert_cmphex(get(&b, ISR, 2), ==, INT_TOK | INT_TDU);
	/* The counters come by DMA. */
	put(&b, DTCCR + 4, 0, 4);
	put(&b, DTCCR, (uint32_t)b.ring | 8, 4);
	g_assert_cmphex(get(&b, DTCCR, 4) & 8, ==, 0);
	g_assert_cmpuint(le64_load(at(&b, b.ring)), ==, 2);
	card_close(&b.c);
}

/* Rings that never end, buffers that hold nothing, and registers for memory. */
static void test_hostile(void)
{
	struct bench b;
	uint8_t frame[1000];
	open_bench(&b);
	card_udp_frame(frame, sizeof(frame));
	put(&b, CPCR, CPCR_TXON | CPCR_RXON, 2);
	put(&b, CR, CR_TE | CR_RE, 1);
	put(&b, RCR, RCR_AAP, 4);
	put_descriptor(&b, b.ring, DESC_OWN | DESC_EOR, 0, b.data); /* no bytes, for ever */
	put(&b, RDSAR, (uint32_t)b.ring, 4);
	g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
	/* A ring in its own buffer: each packet makes the next descriptor. */
	put_descriptor(&b, b.ring, DESC_OWN | DESC_EOR | 0x1fff, 0, b.ring);
	memset(frame + 14, 0xff, 900);
	g_assert_true(card_feed(&b.c, frame, sizeof(frame)));
	put(&b, RDSAR, CARD_MMIO, 4);
	g_assert_false(card_feed(&b.c, frame, sizeof(frame)));
	/* To send: all the same descriptor again and again, without an end. */
	for (unsigned i = 0; i < 64; i++)
		put_descriptor(&b, b.tx + 16 * i, DESC_OWN | 0xffff, 0, b.data);
	put(&b, TNPDS, (uint32_t)b.tx, 4);
	put(&b, TPPOLL, TPPOLL_NORMAL | TPPOLL_HIGH, 1);
	card_run(&b.c);
	g_assert_cmpuint(b.c.net.sent, ==, 0);
	card_close(&b.c);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/rtl8139/registers", test_registers);
	g_test_add_func("/rtl8139/old/receive", test_old_receive);
	g_test_add_func("/rtl8139/old/send", test_old_send);
	g_test_add_func("/rtl8139/cplus/receive", test_cplus_receive);
	g_test_add_func("/rtl8139/cplus/send", test_cplus_send);
	g_test_add_func("/rtl8139/hostile", test_hostile);
	return g_test_run();
}
