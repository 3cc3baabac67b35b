/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The AHCI controller with a disk, by its registers. */
#include "sata.h"

#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>

enum { IS = 0x10, CMD = 0x18, TFD = 0x20, SIG = 0x24, SSTS = 0x28, SCTL = 0x2c, SERR = 0x30,
       SACT = 0x34, CI = 0x38 };
enum { DISK = 4 << 20 };
enum { DHRS = 1, PSS = 2, SDBS = 8, HBDS = 1 << 28, HBFS = 1 << 29, TFES = 1 << 30 };

static void test_registers(void)
{
	struct sata s;
	sata_init(&s, false, DISK, 2);
	g_assert_cmphex(sata_get(&s, 0) & 0xc0001f1f, ==, 0xc0001f05);
	g_assert_cmphex(sata_get(&s, 0x0c), ==, 0x3f);
	g_assert_cmphex(sata_get(&s, 0x10) >> 16, ==, 1);
	g_assert_cmphex(sata_port_get(&s, SSTS), ==, 0x133);
	g_assert_cmphex(sata_get(&s, 0x100 + SSTS), ==, 0); /* port 0 is empty */
	sata_port_put(&s, CI, 1);
	g_assert_cmphex(sata_port_get(&s, CI), ==, 0); /* not while ST is off */
	sata_start_port(&s);
	g_assert_cmphex(sata_port_get(&s, SIG), ==, 0x101);
	g_assert_cmphex(sata_port_get(&s, TFD), ==, 0x150);
	g_assert_cmphex(s.m.mem[s.fis + 0x40], ==, 0x34);
	g_assert_cmphex(sata_port_get(&s, CMD) & 0xc011, ==, 0xc011);
	/* COMRESET */
	sata_port_put(&s, CMD, 0x10);
	g_assert_cmphex(sata_port_get(&s, CMD) & 0x8000, ==, 0);
	sata_port_put(&s, SCTL, 0x301);
	g_assert_cmphex(sata_port_get(&s, SSTS), ==, 0);
	sata_port_put(&s, SCTL, 0x300);
	g_assert_cmphex(sata_port_get(&s, SSTS), ==, 0x133);
	g_assert_cmphex(sata_port_get(&s, SERR), ==, 1 << 26);
	g_assert_cmphex(sata_port_get(&s, IS) & 1 << 6, !=, 0);
	sata_port_put(&s, SERR, UINT32_MAX);
	g_assert_cmphex(sata_port_get(&s, IS) & 1 << 6, ==, 0);
	/* HBA reset */
	sata_put(&s, 4, 0x80000001);
	g_assert_cmphex(sata_get(&s, 4), ==, 0x80000000);
	g_assert_cmphex(sata_port_get(&s, SSTS), ==, 0x133);
	sata_free(&s);
}

static void test_identify(void)
{
	struct sata s;
	sata_init(&s, false, DISK, 0);
	sata_start_port(&s);
	sata_fill(&s, 3, 0xec, 0, 0, 0, 512, 512);
	unsigned before = s.m.interrupts;
	sata_issue(&s, 1 << 3, false);
	g_assert_cmphex(sata_port_get(&s, IS) & (PSS | TFES), ==, PSS);
	g_assert_cmphex(sata_get(&s, 8), ==, 1);
	g_assert_cmpuint(s.m.interrupts, ==, before + 1);
	g_assert_true(s.m.line);
	const uint8_t *id = s.m.mem + s.data;
	g_assert_cmpmem(id + 54, 14, "EBTR HAHDRIDKS", 14);
	g_assert_cmpuint(le64_load(id + 200), ==, DISK / 512);
	uint8_t sum = 0;
	for (unsigned i = 0; i < 512; i++)
		sum += id[i];
	g_assert_cmpuint(sum, ==, 0);
	g_assert_cmpuint(le32_load(s.m.mem + s.list + 3 * 32 + 4), ==, 512);
	g_assert_cmphex(s.m.mem[s.fis + 0x20], ==, 0x5f);
	/* The level falls when both causes are cleared. */
	sata_port_put(&s, IS, UINT32_MAX);
	g_assert_true(s.m.line);
	sata_put(&s, 8, 1);
	g_assert_false(s.m.line);
	sata_free(&s);
}

static void fill_pattern(uint8_t *p, unsigned length, unsigned seed)
{
	for (unsigned i = 0; i < length; i++)
		p[i] = (uint8_t)(i * 7 + i / 512 + seed);
}

static void test_dma(void)
{
	struct sata s;
	sata_init(&s, false, DISK, 1);
	sata_start_port(&s);
	/* In pieces of all kinds, also more than one round's worth of tiny ones. */
	static const struct {
		unsigned length, piece;
	} shapes[] = {{512, 512}, {65536, 4096}, {65536, 1022}, {256 * 2, 2}, {1 << 20, 1 << 20},
		      {240 * 1000, 1000}};
	for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
		unsigned length = shapes[i].length / 512 * 512, sectors = length / 512;
		fill_pattern(s.m.mem + s.data, length, i);
		g_autofree uint8_t *want = g_memdup2(s.m.mem + s.data, length);
		sata_fill(&s, 0, 0x35, 100 + i, sectors, 0, length, shapes[i].piece);
		sata_issue(&s, 1, false);
		g_assert_cmphex(sata_port_get(&s, TFD), ==, 0x50);
		g_assert_cmpmem(s.disk->bytes + (100 + i) * 512, length, want, length);
		memset(s.m.mem + s.data, 0, length);
		sata_fill(&s, 5, 0x25, 100 + i, sectors, 0, length, shapes[i].piece);
		sata_issue(&s, 1 << 5, false);
		g_assert_cmpmem(s.m.mem + s.data, length, want, length);
		g_assert_cmpuint(le32_load(s.m.mem + s.list + 5 * 32 + 4), ==, length);
		g_assert_cmphex(sata_port_get(&s, IS) & (DHRS | TFES), ==, DHRS);
		sata_port_put(&s, IS, UINT32_MAX);
	}
	sata_free(&s);
}

/* 300 entries are more than one round; 3 of them do not make sectors. */
static void test_rounds(void)
{
	struct sata s;
	sata_init(&s, false, DISK, 1);
	sata_start_port(&s);
	g_autofree uint8_t *want = g_malloc(240 * 512);
	fill_pattern(s.disk->bytes, 240 * 512, 9);
	memcpy(want, s.disk->bytes, 240 * 512);
	/* The usual tables hold 504 entries: put a longer one elsewhere. */
	uint64_t table = vd_alloc(&s.m, 64 << 10);
	unsigned entries = 0;
	sata_fill(&s, 0, 0x25, 0, 240, 0, 512, 512);
	memcpy(s.m.mem + table, s.m.mem + s.tables, 0x80);
	for (unsigned at = 0; at < 240 * 512; entries++) {
		unsigned n = MIN(entries % 3 == 0 ? 38u : 46u, 240 * 512 - at);
		le64_store(s.m.mem + table + 0x80 + 16 * entries, s.data + at);
		le32_store(s.m.mem + table + 0x8c + 16 * entries, n - 1);
		at += n;
	}
	g_assert_cmpuint(entries, >, 1024);
	le64_store(s.m.mem + s.list + 8, table);
	le16_store(s.m.mem + s.list + 2, (uint16_t)entries);
	sata_issue(&s, 1, false);
	g_assert_cmphex(sata_port_get(&s, TFD), ==, 0x50);
	g_assert_cmpmem(s.m.mem + s.data, 240 * 512, want, 240 * 512);
	sata_free(&s);
}

static void test_ncq(void)
{
	struct sata s;
	sata_init(&s, false, DISK, 0);
	sata_start_port(&s);
	s.disk->hold = true;
	for (unsigned i = 0; i < 32; i++) {
		s.disk->bytes[i * 512] = (uint8_t)(i + 1);
		sata_fill(&s, i, 0x60, i, i << 3, 1, 512, 512);
		le64_store(s.m.mem + s.tables + i * SATA_TABLE + 0x80, s.data + i * 512);
	}
	sata_port_put(&s, SACT, UINT32_MAX);
	sata_port_put(&s, CI, UINT32_MAX);
	vd_pump(&s.m, 20, NULL);
	g_assert_cmpuint(s.disk->held_count, ==, 32);
	g_assert_cmphex(sata_port_get(&s, CI), ==, 0);
	g_assert_cmphex(sata_port_get(&s, SACT), ==, UINT32_MAX);
	/* Something that is not queued must wait. */
	sata_fill(&s, 0, 0xea, 0, 0, 0, 0, 512);
	sata_disk_release(s.disk);
	vd_pump(&s.m, 10, NULL);
	g_assert_cmphex(sata_port_get(&s, SACT), ==, 0);
	g_assert_cmphex(sata_port_get(&s, IS) & (SDBS | TFES), ==, SDBS);
	for (unsigned i = 0; i < 32; i++)
		g_assert_cmpint(s.m.mem[s.data + i * 512], ==, i + 1);
	sata_issue(&s, 1, false);
	g_assert_cmpuint(s.disk->flushes, ==, 1);
	/* FUA by the device register's bit 7. */
	sata_fill(&s, 4, 0x61, 0, 4 << 3, 1, 512, 512);
	s.m.mem[s.tables + 4 * SATA_TABLE + 7] = 0xc0;
	sata_issue(&s, 1 << 4, true);
	g_assert_cmpuint(s.disk->fuas, ==, 1);
	sata_free(&s);
}

static void test_ncq_error(void)
{
	struct sata s;
	sata_init(&s, false, DISK, 0);
	sata_start_port(&s);
	s.disk->fail = -EIO;
	sata_fill(&s, 7, 0x60, 1234, 7 << 3, 1, 512, 512);
	sata_issue(&s, 1 << 7, true);
	g_assert_cmphex(sata_port_get(&s, IS) & TFES, ==, TFES);
	g_assert_cmphex(sata_port_get(&s, SACT), ==, 1 << 7);
	g_assert_cmphex(sata_port_get(&s, TFD) & 0xff01, ==, 0x4001);
	/* Stopped until ST is cleared. */
	s.disk->fail = 0;
	sata_fill(&s, 1, 0xea, 0, 0, 0, 0, 512);
	sata_port_put(&s, CI, 2);
	vd_pump(&s.m, 5, NULL);
	g_assert_cmphex(sata_port_get(&s, CI), ==, 2);
	sata_port_put(&s, CMD, 0x10);
	g_assert_cmphex(sata_port_get(&s, SACT) | sata_port_get(&s, CI), ==, 0);
	sata_port_put(&s, IS, UINT32_MAX);
	sata_port_put(&s, CMD, 0x11);
	/* Log 10h names the tag and the address. */
	sata_fill(&s, 0, 0x2f, 0x10, 1, 0, 512, 512);
	sata_issue(&s, 1, false);
	const uint8_t *page = s.m.mem + s.data;
	g_assert_cmpuint(page[0], ==, 7);
	g_assert_cmpuint(page[4] | page[5] << 8, ==, 1234);
	sata_issue(&s, 1, false);
	g_assert_cmpuint(page[0], ==, 0x80);
	sata_free(&s);
}

static void assert_fails(struct sata *s, uint32_t cause, uint8_t error)
{
	sata_issue(s, 1, false);
	g_assert_cmphex(sata_port_get(s, IS) & cause, ==, cause);
	if (error)
		g_assert_cmphex(sata_port_get(s, TFD) >> 8, ==, error);
	sata_port_put(s, CMD, 0x10);
	sata_port_put(s, IS, UINT32_MAX);
	sata_port_put(s, CMD, 0x11);
}

static void test_errors(void)
{
	struct sata s;
	sata_init(&s, false, DISK, 0);
	sata_start_port(&s);
	sata_fill(&s, 0, 0x25, DISK / 512, 1, 0, 512, 512); /* beyond the end */
	assert_fails(&s, TFES, 0x10);
	sata_fill(&s, 0, 0x25, 0xffffffffffff, 0, 0, 512, 512);
	assert_fails(&s, TFES, 0x10);
	sata_fill(&s, 0, 0x25, 0, 2, 0, 512, 512); /* too small a buffer */
	assert_fails(&s, TFES | 1 << 24, 0x04);
	sata_fill(&s, 0, 0x25, 0, 1, 0, 512, 512); /* a buffer that is a device */
	le64_store(s.m.mem + s.tables + 0x80, SATA_ABAR);
	assert_fails(&s, TFES | HBDS, 0x04);
	sata_fill(&s, 0, 0x99, 0, 0, 0, 0, 512); /* unknown */
	assert_fails(&s, TFES, 0x04);
	sata_fill(&s, 0, 0x25, 0, 1, 0, 512, 512); /* table nowhere */
	le64_store(s.m.mem + s.list + 8, 0xfffffffff000);
	assert_fails(&s, HBFS, 0);
	s.disk->fail = -EIO;
	sata_fill(&s, 0, 0x25, 0, 1, 0, 512, 512);
	assert_fails(&s, TFES, 0x40);
	sata_fill(&s, 0, 0x35, 0, 1, 0, 512, 512);
	assert_fails(&s, TFES, 0x04);
	s.disk->fail = 0;
	sata_fill(&s, 0, 0x25, 0, 1, 0, 512, 512);
	s.m.mem[s.tables] = 0x46; /* not a FIS from a host */
	sata_issue(&s, 1, false);
	sata_free(&s);
}

static void test_stop_in_flight(void)
{
	struct sata s;
	sata_init(&s, false, DISK, 0);
	sata_start_port(&s);
	s.disk->hold = true;
	sata_fill(&s, 0, 0x25, 0, 1, 0, 512, 512);
	sata_port_put(&s, CI, 1);
	vd_pump(&s.m, 5, NULL);
	g_assert_cmpuint(s.disk->held_count, ==, 1);
	sata_port_put(&s, CMD, 0x10);
	g_assert_cmphex(sata_port_get(&s, CMD) & 0x8000, ==, 0x8000); /* CR: wait */
	sata_port_put(&s, SCTL, 1);
	sata_port_put(&s, SCTL, 0);
	g_assert_cmphex(sata_port_get(&s, SSTS), ==, 0);
	sata_disk_release(s.disk);
	vd_pump(&s.m, 5, NULL);
	g_assert_cmphex(sata_port_get(&s, CMD) & 0x8000, ==, 0);
	g_assert_cmphex(sata_port_get(&s, SSTS), ==, 0x133);
	g_assert_cmphex(sata_port_get(&s, IS) & (DHRS | PSS), ==, 0);
	sata_port_put(&s, SERR, UINT32_MAX);
	sata_port_put(&s, CMD, 0x11);
	sata_issue(&s, 1, false);
	g_assert_cmphex(sata_port_get(&s, TFD), ==, 0x50);
	sata_free(&s);
}

static void test_soft_reset(void)
{
	struct sata s;
	sata_init(&s, false, DISK, 0);
	sata_start_port(&s);
	sata_fill(&s, 0, 0, 0, 0, 0, 0, 512);
	s.m.mem[s.tables + 1] = 0;
	s.m.mem[s.tables + 15] = 4;
	sata_issue(&s, 1, false);
	g_assert_cmphex(sata_port_get(&s, TFD) & 0x80, ==, 0x80);
	s.m.mem[s.tables + 15] = 0;
	sata_port_put(&s, CMD, 0x10);
	sata_port_put(&s, CMD, 0x18);
	g_assert_cmphex(sata_port_get(&s, TFD) & 0x80, ==, 0);
	sata_port_put(&s, CMD, 0x11);
	sata_issue(&s, 1, false);
	g_assert_cmphex(sata_port_get(&s, TFD), ==, 0x150);
	g_assert_cmphex(sata_port_get(&s, SIG), ==, 0x101);
	sata_free(&s);
}

static void test_trim_and_features(void)
{
	struct sata s;
	sata_init(&s, false, DISK, 0);
	sata_start_port(&s);
	memset(s.disk->bytes, 0xff, DISK);
	sata_fill(&s, 0, 0x06, 0, 1, 1, 512, 512);
	memset(s.m.mem + s.data, 0, 512);
	le64_store(s.m.mem + s.data, UINT64_C(8) << 48 | 16);
	le64_store(s.m.mem + s.data + 16, UINT64_C(1) << 48 | 100);
	sata_issue(&s, 1, false);
	g_assert_cmphex(sata_port_get(&s, TFD), ==, 0x50);
	g_assert_cmpuint(s.disk->discards, ==, 2);
	g_assert_cmpint(s.disk->bytes[16 * 512], ==, 0);
	g_assert_cmpint(s.disk->bytes[24 * 512], ==, 0xff);
	le64_store(s.m.mem + s.data, UINT64_C(8) << 48 | DISK);
	assert_fails(&s, TFES, 0x10);
	sata_fill(&s, 0, 0x06, 0, 100, 1, 51200, 51200);
	assert_fails(&s, TFES, 0x04);
	/* Without a write cache every write goes through. */
	sata_fill(&s, 0, 0xef, 0, 0, 0x82, 0, 512);
	sata_issue(&s, 1, false);
	unsigned fuas = s.disk->fuas;
	sata_fill(&s, 0, 0x35, 0, 1, 0, 512, 512);
	sata_issue(&s, 1, false);
	g_assert_cmpuint(s.disk->fuas, ==, fuas + 1);
	/* SMART */
	sata_fill(&s, 0, 0xb0, 0xc24f00, 1, 0xd0, 512, 512);
	sata_issue(&s, 1, false);
	uint8_t sum = 0;
	for (unsigned i = 0; i < 512; i++)
		sum += s.m.mem[s.data + i];
	g_assert_cmpuint(sum, ==, 0);
	sata_fill(&s, 0, 0xb0, 0xc24f00, 1, 0xda, 0, 512);
	sata_issue(&s, 1, false);
	g_assert_cmphex(s.m.mem[s.fis + 0x45] | s.m.mem[s.fis + 0x46] << 8, ==, 0xc24f);
	sata_free(&s);
}

/* A full host disk pauses the VM; the write is tried again when it goes on. */
static void test_stop_on_enospc(void)
{
	struct sata s;
	sata_init(&s, false, DISK, 0);
	sata_start_port(&s);
	vm_resume(s.m.vm);
	memset(s.m.mem + s.data, 0x5a, 2048);
	sata_fill(&s, 0, 0x35, 8, 4, 0, 2048, 512);
	s.disk->fail = -ENOSPC;
	sata_port_put(&s, CI, 1);
	vd_pump(&s.m, 20, NULL);
	g_assert_false(vm_is_running(s.m.vm));
	g_assert_cmphex(sata_port_get(&s, CI), ==, 1);
	g_assert_cmphex(sata_port_get(&s, IS) & TFES, ==, 0);
	device_stop(s.hba);
	s.disk->fail = 0;
	device_start(s.hba);
	vd_pump(&s.m, 10, NULL);
	g_assert_cmphex(sata_port_get(&s, CI), ==, 0);
	g_assert_cmpint(s.disk->bytes[8 * 512 + 2047], ==, 0x5a);
	/* A reset forgets what waits. */
	s.disk->fail = -ENOSPC;
	sata_port_put(&s, CI, 1);
	vd_pump(&s.m, 10, NULL);
	device_reset(s.hba);
	s.disk->fail = 0;
	device_start(s.hba);
	vd_pump(&s.m, 5, NULL);
	g_assert_cmphex(((struct ata_unit *)s.unit)->retry == NULL, ==, true);
	sata_free(&s);
}

static void test_second_unit(void)
{
	struct sata s;
	sata_init(&s, false, DISK, 0);
	g_autoptr(GError) error = NULL;
	struct device *other = device_new(&ide_cd_class, NULL, s.m.vm);
	other->bus = ahci_bus(s.hba, 0);
	g_assert_false(device_realize(other, &error));
	g_assert_nonnull(strstr(error->message, "port 0"));
	device_free(other);
	g_clear_error(&error);
	other = device_new(&ide_hd_class, NULL, s.m.vm);
	other->bus = ahci_bus(s.hba, 1);
	g_assert_false(device_realize(other, &error));
	g_assert_nonnull(strstr(error->message, "drive="));
	device_free(other);
	g_autofree char *path = ata_unit_boot_path(s.unit);
	g_assert_cmpstr(path, ==, "/pci@i0cf8/pci8086,2922@1/drive@0/disk@0");
	sata_free(&s);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ahci/registers", test_registers);
	g_test_add_func("/ahci/identify", test_identify);
	g_test_add_func("/ahci/dma", test_dma);
	g_test_add_func("/ahci/rounds", test_rounds);
	g_test_add_func("/ahci/ncq", test_ncq);
	g_test_add_func("/ahci/ncq-error", test_ncq_error);
	g_test_add_func("/ahci/errors", test_errors);
	g_test_add_func("/ahci/stop-in-flight", test_stop_in_flight);
	g_test_add_func("/ahci/soft-reset", test_soft_reset);
	g_test_add_func("/ahci/trim-and-features", test_trim_and_features);
	g_test_add_func("/ahci/stop-on-enospc", test_stop_on_enospc);
	g_test_add_func("/ahci/second-unit", test_second_unit);
	return g_test_run();
}
