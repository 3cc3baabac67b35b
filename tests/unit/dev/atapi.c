/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The CD drive behind AHCI. */
#include "sata.h"

#include "base/bytes.h"
#include "base/error.h"

enum { IS = 0x10, CMD = 0x18, TFD = 0x20, SIG = 0x24 };
enum { CD_SIZE = 100 * 2048 };

/* Returns the sense key, 0 if the command succeeded. */
static unsigned packet(struct sata *s, const uint8_t *bytes, uint64_t buffer)
{
	sata_fill_packet(s, 0, bytes, 12, buffer);
	sata_issue(s, 1, false);
	uint32_t tfd = sata_port_get(s, TFD);
	sata_port_put(s, CMD, 0x10);
	sata_port_put(s, IS, UINT32_MAX);
	sata_port_put(s, CMD, 0x11);
	return tfd & 1 ? tfd >> 12 & 15 : 0;
}

#define PACKET(s, buffer, ...) packet(s, (const uint8_t[12]){__VA_ARGS__}, buffer)

static void assert_sense(struct sata *s, uint8_t key, uint8_t asc)
{
	g_assert_cmpuint(PACKET(s, 18, 0x03, 0, 0, 0, 18), ==, 0);
	g_assert_cmphex(s->m.mem[s->data + 2], ==, key);
	g_assert_cmphex(s->m.mem[s->data + 12], ==, asc);
}

static void test_read(void)
{
	struct sata s;
	sata_init(&s, true, CD_SIZE, 2);
	sata_start_port(&s);
	g_assert_cmphex(sata_port_get(&s, SIG), ==, 0xeb140101);
	for (unsigned i = 0; i < CD_SIZE; i++)
		s.disk->bytes[i] = (uint8_t)(i / 2048 + i);
	g_assert_cmpuint(PACKET(&s, 0, 0x00), ==, 0);
	g_assert_cmpuint(PACKET(&s, 36, 0x12, 0, 0, 0, 36), ==, 0);
	g_assert_cmphex(s.m.mem[s.data], ==, 5);
	g_assert_cmpmem(s.m.mem + s.data + 8, 5, "BERTH", 5);
	g_assert_cmpuint(PACKET(&s, 8, 0x25), ==, 0);
	g_assert_cmpuint(be32_load(s.m.mem + s.data), ==, 99);
	g_assert_cmpuint(be32_load(s.m.mem + s.data + 4), ==, 2048);
	g_assert_cmpuint(PACKET(&s, 5 * 2048, 0x28, 0, 0, 0, 0, 10, 0, 0, 5), ==, 0);
	g_assert_cmpmem(s.m.mem + s.data, 5 * 2048, s.disk->bytes + 10 * 2048, 5 * 2048);
	g_assert_cmpuint(PACKET(&s, 2048, 0xa8, 0, 0, 0, 0, 99, 0, 0, 0, 1), ==, 0);
	g_assert_cmpmem(s.m.mem + s.data, 2048, s.disk->bytes + 99 * 2048, 2048);
	g_assert_cmpuint(PACKET(&s, 2048, 0xbe, 0, 0, 0, 0, 3, 0, 0, 1, 0x10), ==, 0);
	g_assert_cmpmem(s.m.mem + s.data, 2048, s.disk->bytes + 3 * 2048, 2048);
	g_assert_cmpuint(PACKET(&s, 4096, 0x28, 0, 0, 0, 0, 99, 0, 0, 2), ==, 5);
	assert_sense(&s, 5, 0x21);
	g_assert_cmpuint(PACKET(&s, 2048, 0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), ==,
			 5);
	g_assert_cmpuint(PACKET(&s, 1024, 0x28, 0, 0, 0, 0, 0, 0, 0, 1), ==, 5); /* small buffer */
	s.disk->fail = -5;
	g_assert_cmpuint(PACKET(&s, 2048, 0x28, 0, 0, 0, 0, 0, 0, 0, 1), ==, 3);
	assert_sense(&s, 3, 0x11);
	g_assert_cmpuint(PACKET(&s, 0, 0xff), ==, 5);
	assert_sense(&s, 5, 0x20);
	sata_free(&s);
}

static void test_information(void)
{
	struct sata s;
	sata_init(&s, true, CD_SIZE, 0);
	sata_start_port(&s);
	const uint8_t *d = s.m.mem + s.data;
	g_assert_cmpuint(PACKET(&s, 64, 0x43, 0, 0, 0, 0, 0, 0, 0, 64), ==, 0);
	g_assert_cmpuint(be16_load(d), ==, 18);
	g_assert_cmphex(d[14], ==, 0xaa);
	g_assert_cmpuint(be32_load(d + 16), ==, 100);
	g_assert_cmpuint(PACKET(&s, 64, 0x43, 2, 0, 0, 0, 0, 0xaa, 0, 64), ==, 0);
	g_assert_cmpuint(d[9] * 60 * 75 + d[10] * 75 + d[11], ==, 250); /* 100 + 150, as MSF */
	g_assert_cmpuint(PACKET(&s, 64, 0x43, 0, 2, 0, 0, 0, 0, 0, 64), ==, 0);
	g_assert_cmpuint(be16_load(d), ==, 46);
	g_assert_cmpuint(PACKET(&s, 64, 0x46, 0, 0, 0, 0, 0, 0, 0, 64), ==, 0);
	g_assert_cmpuint(be16_load(d + 6), ==, 8); /* CD-ROM */
	g_assert_cmpuint(be32_load(d) + 4, ==, 8 + 12 + 12 + 8);
	g_assert_cmpuint(PACKET(&s, 64, 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 64), ==, 0);
	g_assert_cmphex(d[8], ==, 0x2a);
	g_assert_cmpuint(be16_load(d), ==, 28);
	g_assert_cmpuint(PACKET(&s, 64, 0x51, 0, 0, 0, 0, 0, 0, 0, 64), ==, 0);
	g_assert_cmpuint(PACKET(&s, 64, 0xad, 0, 0, 0, 0, 0, 0, 0, 0, 64), ==, 5); /* no DVD */
	/* An allocation length cuts the answer. */
	s.m.mem[s.data + 4] = 0x99;
	g_assert_cmpuint(PACKET(&s, 64, 0x12, 0, 0, 0, 4), ==, 0);
	g_assert_cmphex(d[4], ==, 0x99);
	sata_fill(&s, 0, 0xa1, 0, 0, 0, 512, 512);
	sata_issue(&s, 1, false);
	g_assert_cmphex(le16_load(d), ==, 0x85c0);
	sata_fill(&s, 0, 0xec, 0, 0, 0, 512, 512);
	sata_issue(&s, 1, false);
	g_assert_cmphex(sata_port_get(&s, TFD) & 0xff01, ==, 0x0401);
	g_assert_cmphex(s.m.mem[s.fis + 0x45], ==, 0x14);
	sata_free(&s);
}

static void test_medium(void)
{
	struct sata s;
	g_autoptr(GError) error = NULL;
	sata_init(&s, true, 0, 0);
	sata_start_port(&s);
	g_assert_cmpuint(PACKET(&s, 0, 0x00), ==, 2);
	assert_sense(&s, 2, 0x3a);
	g_assert_cmpuint(PACKET(&s, 8, 0x25), ==, 2);
	/* A disc comes: attention once, then it is there. */
	s.disk = sata_disk_new(s.m.loop, CD_SIZE, true);
	g_assert_true(ide_cd_change_medium(s.unit, &s.disk->node, false, NULL));
	g_assert_cmpuint(PACKET(&s, 8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), ==, 0);
	g_assert_cmphex(s.m.mem[s.data + 4], ==, 2);
	g_assert_cmphex(s.m.mem[s.data + 5], ==, 2);
	g_assert_cmpuint(PACKET(&s, 0, 0x00), ==, 6);
	assert_sense(&s, 6, 0x28);
	g_assert_cmpuint(PACKET(&s, 0, 0x00), ==, 0);
	/* Locked: neither side opens it without force. */
	g_assert_cmpuint(PACKET(&s, 0, 0x1e, 0, 0, 0, 1), ==, 0);
	g_assert_cmpuint(PACKET(&s, 0, 0x1b, 0, 0, 0, 2), ==, 5);
	g_assert_false(ide_cd_change_medium(s.unit, NULL, false, &error));
	g_assert_error(error, BERTH_ERROR, BERTH_ERR_BUSY);
	g_assert_cmpuint(PACKET(&s, 8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), ==, 0);
	g_assert_cmphex(s.m.mem[s.data + 4], ==, 1); /* eject request */
	g_assert_cmpuint(PACKET(&s, 0, 0x1e, 0, 0, 0, 0), ==, 0);
	g_assert_cmpuint(PACKET(&s, 0, 0x1b, 0, 0, 0, 2), ==, 0);
	g_assert_cmpuint(PACKET(&s, 0, 0x00), ==, 2);
	g_assert_cmpuint(PACKET(&s, 0, 0x1b, 0, 0, 0, 3), ==, 0);
	g_assert_cmpuint(PACKET(&s, 0, 0x00), ==, 6);
	g_assert_cmpuint(PACKET(&s, 0, 0x00), ==, 0);
	g_assert_true(ide_cd_change_medium(s.unit, NULL, false, NULL));
	g_assert_cmpuint(PACKET(&s, 0, 0x00), ==, 2);
	sata_free(&s);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/atapi/read", test_read);
	g_test_add_func("/atapi/information", test_information);
	g_test_add_func("/atapi/medium", test_medium);
	return g_test_run();
}
