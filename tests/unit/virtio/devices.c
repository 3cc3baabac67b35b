/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disk, entropy, balloon, console: requests as a driver makes them, right and wrong ones. */
#include "dev/virtio/devices.h"

#include "base/bytes.h"
#include "base/units.h"
#include "dev/virtio/mem.h"
#include "vd_fakes.h"
#include "vdriver.h"

#include <errno.h>
#include <string.h>

#define ALL (~UINT64_C(0) & ~VIRTIO_BIT(VIRTIO_F_RING_PACKED))

/* ---- Disk ---- */

struct disk {
	struct vd_machine m;
	struct vd vd;
	struct vdq vq;
	struct block_node node;
	uint64_t page, data;
};

static void disk_open_with(struct disk *d, bool readonly, const char *const *properties)
{
	struct fakes fakes = {.block = &d->node};
	struct device_resolver resolver = fakes_resolver(&fakes);
	vd_machine_init(&d->m);
	fake_block_init(&d->node, 1 << 20);
	d->node.readonly = readonly;
	for (unsigned i = 0; i < d->node.size; i++)
		d->node.data[i] = i >> 9 ^ i;
	vd_open(&d->vd, &d->m, &virtio_blk_device, &resolver, properties);
	g_assert_true(vd_negotiate(&d->vd, ALL));
	vdq_open(&d->vq, &d->vd, 0, 64);
	vd_driver_ok(&d->vd);
	d->page = vd_alloc(&d->m, 4096);
	d->data = vd_alloc(&d->m, 65536);
}

static void disk_open(struct disk *d, bool readonly)
{
	static const char *const properties[] = {"drive", "disk", "serial", "S-1", "num-queues", "2",
						 NULL};
	disk_open_with(d, readonly, properties);
}

static void disk_close(struct disk *d)
{
	vd_close(&d->vd);
	fake_block_free(&d->node);
	vd_machine_free(&d->m);
}

static void disk_header(struct disk *d, uint32_t type, uint64_t sector)
{
	uint8_t *p = d->m.mem + d->page;
	le32_store(p, type);
	le32_store(p + 4, 0);
	le64_store(p + 8, sector);
	p[16] = 0xff;
}

/* Status of a request with one data buffer. */
static unsigned disk_request(struct disk *d, uint32_t type, uint64_t sector, uint32_t length)
{
	bool in = type == 0 || type == 8;
	struct vd_buffer chain[3] = {{d->page, 16}};
	unsigned n = 1;
	if (length)
		chain[n++] = (struct vd_buffer){d->data, length, in};
	chain[n++] = (struct vd_buffer){d->page + 16, 1, true};
	disk_header(d, type, sector);
	uint32_t written = vdq_request(&d->vq, chain, n);
	g_assert_cmpuint(written, ==, 1 + (in ? length : 0));
	return d->m.mem[d->page + 16];
}

static void test_disk(void)
{
	struct disk d;
	disk_open(&d, false);
	uint8_t *data = d.m.mem + d.data;
	g_assert_cmpuint(vd_config(&d.vd, 0, 8), ==, 2048);
	g_assert_cmpuint(vd_config(&d.vd, 34, 2), ==, 2);

	g_assert_cmpuint(disk_request(&d, 0, 5, 4096), ==, 0);
	g_assert_cmpmem(data, 4096, d.node.data + 5 * 512, 4096);
	memset(data, 0xa5, 1024);
	g_assert_cmpuint(disk_request(&d, 1, 7, 1024), ==, 0);
	g_assert_cmpmem(data, 1024, d.node.data + 7 * 512, 1024);
	g_assert_cmpuint(disk_request(&d, 4, 0, 0), ==, 0);
	g_assert_cmpuint(d.node.flushes, ==, 1);
	g_assert_cmpuint(d.node.fua, ==, 0);
	g_assert_cmpuint(disk_request(&d, 8, 0, 20), ==, 0);
	g_assert_cmpstr((char *)data, ==, "S-1");

	/* Beyond the end, across it, not whole blocks, far away, unknown. */
	g_assert_cmpuint(disk_request(&d, 0, 2048, 512), ==, 1);
	g_assert_cmpuint(disk_request(&d, 1, 2047, 1024), ==, 1);
	g_assert_cmpuint(disk_request(&d, 0, 0, 100), ==, 1);
	g_assert_cmpuint(disk_request(&d, 0, UINT64_MAX, 512), ==, 1);
	g_assert_cmpuint(disk_request(&d, 0, UINT64_MAX / 512, 512), ==, 1);
	g_assert_cmpuint(disk_request(&d, 99, 0, 0), ==, 2);

	/* Discard and write-zeroes: a range; flags; too much; not whole. */
	le64_store(data, 16);
	le32_store(data + 8, 4);
	le32_store(data + 12, 0);
	g_assert_cmpuint(disk_request(&d, 11, 0, 16), ==, 0);
	g_assert_cmpuint(d.node.data[16 * 512 + 1], ==, 0);
	le32_store(data + 12, 1);
	g_assert_cmpuint(disk_request(&d, 13, 0, 16), ==, 0);
	g_assert_cmpuint(disk_request(&d, 11, 0, 16), ==, 2);
	le32_store(data + 12, 0);
	le64_store(data, 2046);
	g_assert_cmpuint(disk_request(&d, 13, 0, 16), ==, 1);
	g_assert_cmpuint(disk_request(&d, 13, 0, 32), ==, 2);

	/* The cache off: every write waits for stable storage. */
	g_assert_cmpuint(vd_config(&d.vd, 32, 1), ==, 1);
	vd_set_config(&d.vd, 32, 0, 1);
	g_assert_cmpuint(vd_config(&d.vd, 32, 1), ==, 0);
	g_assert_cmpuint(disk_request(&d, 1, 7, 1024), ==, 0);
	g_assert_cmpuint(d.node.fua, ==, 1);

	/* Errors; capacity. */
	d.node.fail = -EIO;
	g_assert_cmpuint(disk_request(&d, 0, 0, 512), ==, 1);
	d.node.size /= 2;
	unsigned interrupts = d.m.interrupts;
	space_write(d.m.vm->memory, VD_MMIO_BASE + 0x64, 3, 4);
	g_assert_true(virtio_blk_resized(d.vd.dev));
	g_assert_cmpuint(d.m.interrupts, ==, interrupts + 1);
	g_assert_cmpuint(vd_config(&d.vd, 0, 8), ==, 1024);
	disk_close(&d);
}

/*
 * Hundreds of requests one at a time, which use one chain's memory again and again, then many at
 * once: it must not have wandered off into another's.
 */
static void test_disk_many(void)
{
	enum { FLIGHT = 20, ROUNDS = 20, SINGLES = 263 };
	struct disk d;
	disk_open(&d, false);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < SINGLES; i++)
			g_assert_cmpuint(disk_request(&d, 0, i, 512), ==, 0);
		d.node.defer = true;
		for (unsigned i = 0; i < FLIGHT; i++) {
			uint64_t header = d.page + i * 32, sector = (round * 7 + i * 97) % 2048;
			const struct vd_buffer chain[3] = {
				{header, 16}, {d.data + i * 512, 512, true}, {header + 16, 1, true},
			};
			memset(d.m.mem + header, 0, 17);
			le64_store(d.m.mem + header + 8, sector);
			vdq_add(&d.vq, chain, 3, 0);
		}
		vdq_kick(&d.vq);
		vd_pump(&d.m, 1, NULL);
		d.node.defer = false;
		fake_block_finish(&d.node);
		for (unsigned i = 0; i < FLIGHT; i++) {
			uint16_t id;
			uint32_t length;
			uint64_t sector = (round * 7 + i * 97) % 2048;
			g_assert_true(vdq_used(&d.vq, &id, &length));
			g_assert_cmpmem(d.m.mem + d.data + i * 512, 512, d.node.data + sector * 512,
					512);
		}
	}
	disk_close(&d);
}

/* Header, data and status cut in every way (2.7.4: framing is the driver's choice). */
static void test_disk_framing(void)
{
	struct disk d;
	disk_open(&d, false);
	for (unsigned cut = 1; cut < 16; cut++) {
		disk_header(&d, 0, cut);
		memset(d.m.mem + d.data, 0, 2048);
		struct vd_buffer chain[] = {
			{d.page, cut}, {d.page + cut, 16 - cut}, {d.data, cut, true},
			{d.data + cut, 512 - cut + 1, true},
		};
		g_assert_cmpuint(vdq_request(&d.vq, chain, 4), ==, 513);
		g_assert_cmpmem(d.m.mem + d.data, 512, d.node.data + cut * 512, 512);
		g_assert_cmpuint(d.m.mem[d.data + 512], ==, 0);
		/* Header and data in one buffer. */
		uint8_t *p = d.m.mem + d.data;
		le32_store(p, 1);
		le64_store(p + 8, cut + 100);
		memset(p + 16, cut, 512);
		struct vd_buffer write[] = {{d.data, 16 + 512}, {d.page + 16, 1, true}};
		g_assert_cmpuint(vdq_request(&d.vq, write, 2), ==, 1);
		g_assert_cmpuint(d.node.data[(cut + 100) * 512 + 511], ==, cut);
	}
	disk_close(&d);
}

static void test_disk_broken(void)
{
	struct disk d;
	disk_open(&d, false);
	disk_header(&d, 0, 0);
	struct vd_buffer no_status[] = {{d.page, 16}};
	vdq_add(&d.vq, no_status, 1, 0);
	vdq_kick(&d.vq);
	vd_pump(&d.m, 3, NULL);
	g_assert_true(vd_status(&d.vd) & VIRTIO_STATUS_NEEDS_RESET);
	g_assert_true(vd_negotiate(&d.vd, ALL));
	vdq_open(&d.vq, &d.vd, 0, 64);
	vd_driver_ok(&d.vd);
	struct vd_buffer short_header[] = {{d.page, 15}, {d.data, 1, true}};
	vdq_add(&d.vq, short_header, 2, 0);
	vdq_kick(&d.vq);
	vd_pump(&d.m, 3, NULL);
	g_assert_true(vd_status(&d.vd) & VIRTIO_STATUS_NEEDS_RESET);
	disk_close(&d);

	disk_open(&d, true);
	g_assert_true(d.vd.features & VIRTIO_BIT(5));
	g_assert_cmpuint(disk_request(&d, 1, 0, 512), ==, 1);
	g_assert_cmpuint(disk_request(&d, 0, 0, 512), ==, 0);
	disk_close(&d);
}

/* A reset while the disk is busy takes effect when it is done; "stop" keeps a failed request. */
static void test_disk_busy(void)
{
	static const char *const stop[] = {"drive", "disk", "werror", "stop", "num-queues", "1", NULL};
	struct disk d;
	disk_open(&d, false);
	d.node.defer = true;
	disk_header(&d, 0, 0);
	struct vd_buffer chain[] = {{d.page, 16}, {d.data, 512, true}, {d.page + 16, 1, true}};
	vdq_add(&d.vq, chain, 3, 0);
	vdq_kick(&d.vq);
	vd_pump(&d.m, 3, NULL);
	g_assert_nonnull(d.node.waiting);
	space_write(d.m.vm->memory, VD_MMIO_BASE + 0x70, 0, 4);
	vd_pump(&d.m, 3, NULL);
	g_assert_cmphex(vd_status(&d.vd), !=, 0);
	fake_block_finish(&d.node);
	g_assert_cmphex(vd_status(&d.vd), ==, 0);
	disk_close(&d);

	disk_open_with(&d, false, stop);
	vm_resume(d.m.vm);
	d.node.fail = -EIO;
	disk_header(&d, 1, 3);
	memset(d.m.mem + d.data, 0x77, 512);
	chain[1].in = false;
	vdq_add(&d.vq, chain, 3, 0);
	vdq_kick(&d.vq);
	vd_pump(&d.m, 5, NULL);
	uint16_t id;
	uint32_t len;
	g_assert_false(vdq_used(&d.vq, &id, &len));
	g_assert_cmpint(d.m.vm->state, ==, VM_STATE_IO_ERROR);
	g_assert_cmpint(d.node.io_status, ==, BLOCK_IO_FAILED);
	device_stop(d.vd.dev);
	device_start(d.vd.dev);
	vd_pump(&d.m, 5, NULL);
	g_assert_true(vdq_used(&d.vq, &id, &len));
	g_assert_cmpuint(d.node.data[3 * 512], ==, 0x77);
	disk_close(&d);
}

/* ---- Entropy ---- */

static void test_rng(void)
{
	static const char *const properties[] = {"max-bytes", "100", "period", "20", NULL};
	struct vd_machine m;
	struct vd vd;
	struct vdq vq;
	vd_machine_init(&m);
	vd_open(&vd, &m, &virtio_rng_pci, NULL, properties);
	g_assert_true(vd_negotiate(&vd, ALL));
	vdq_open(&vq, &vd, 0, 8);
	vd_driver_ok(&vd);
	uint64_t page = vd_alloc(&m, 4096);
	struct vd_buffer chain[] = {{page, 64, true}};
	g_assert_cmpuint(vdq_request(&vq, chain, 1), ==, 64);
	unsigned zeroes = 0;
	for (unsigned i = 0; i < 64; i++)
		zeroes += !m.mem[page + i];
	g_assert_cmpuint(zeroes, <, 16);
	/* What is left of the period's, then the next period's. */
	g_assert_cmpuint(vdq_request(&vq, chain, 1), ==, 36);
	int64_t before = aio_now_ns();
	g_assert_cmpuint(vdq_request(&vq, chain, 1), ==, 64);
	g_assert_cmpint(aio_now_ns() - before, >, 5000000);
	vd_close(&vd);
	vd_machine_free(&m);
}

/* ---- Balloon ---- */

static void note_actual(void *opaque, uint64_t actual)
{
	*(uint64_t *)opaque = actual;
}

static void test_balloon(void)
{
	static const char *const properties[] = {"free-page-reporting", "on", NULL};
	struct vd_machine m;
	struct vd vd;
	struct vdq inflate, stats, reporting;
	uint64_t told = 0;
	vd_machine_init(&m);
	vd_open(&vd, &m, &virtio_balloon_device, NULL, properties);
	virtio_balloon_set_listener(vd.dev, note_actual, &told);
	g_assert_true(vd_negotiate(&vd, ALL));
	vdq_open(&inflate, &vd, 0, 16);
	vdq_open(&stats, &vd, 2, 16);
	vdq_open(&reporting, &vd, 3, 16);
	vd_driver_ok(&vd);
	uint64_t list = vd_alloc(&m, 4096), victims = vd_alloc(&m, 8 * 4096);
	memset(m.mem + victims, 0x55, 8 * 4096);

	g_assert_true(virtio_balloon_set_target(vd.dev, 3 * 4096));
	g_assert_cmpuint(vd_config(&vd, 0, 4), ==, 3);
	/* Rising, falling, apart; and numbers that are no RAM. */
	const uint32_t pages[] = {1, 2, 0, 7, 1 << 30, UINT32_MAX};
	for (unsigned i = 0; i < 6; i++)
		le32_store(m.mem + list + 4 * i, pages[i] + (i < 4 ? victims / 4096 : 0));
	struct vd_buffer numbers[] = {{list, 24}};
	g_assert_cmpuint(vdq_request(&inflate, numbers, 1), ==, 0);
	for (unsigned i = 0; i < 8; i++)
		g_assert_cmphex(m.mem[victims + 4096 * i], ==, i < 3 || i == 7 ? 0 : 0x55);
	vd_set_config(&vd, 4, 4, 4);
	vd_pump(&m, 3, NULL);
	g_assert_cmpuint(told, ==, 4 * 4096);
	g_assert_cmpuint(virtio_balloon_actual(vd.dev), ==, 4 * 4096);

	/* A reported range: whole pages of it go. */
	struct vd_buffer report[] = {{victims + 3 * 4096 + 100, 2 * 4096, true}};
	vdq_request(&reporting, report, 1);
	g_assert_cmphex(m.mem[victims + 4 * 4096], ==, 0);
	g_assert_cmphex(m.mem[victims + 3 * 4096], ==, 0x55);
	g_assert_cmphex(m.mem[victims + 5 * 4096], ==, 0x55);

	/* Statistics come when the buffer is returned, and a second buffer is a fault. */
	le16_store(m.mem + list, VIRTIO_BALLOON_FREE_MEMORY);
	le64_store(m.mem + list + 2, 12345);
	struct vd_buffer entry[] = {{list, 10}};
	vdq_add(&stats, entry, 1, 0);
	vdq_kick(&stats);
	vd_pump(&m, 3, NULL);
	struct virtio_balloon_stats got;
	g_assert_true(virtio_balloon_get_stats(vd.dev, &got));
	g_assert_cmpuint(got.value[VIRTIO_BALLOON_FREE_MEMORY], ==, 12345);
	g_assert_cmpuint(got.value[VIRTIO_BALLOON_SWAP_IN], ==, UINT64_MAX);
	vdq_add(&stats, entry, 1, 0);
	vdq_kick(&stats);
	vd_pump(&m, 3, NULL);
	g_assert_true(vd_status(&vd) & VIRTIO_STATUS_NEEDS_RESET);
	vd_close(&vd);
	vd_machine_free(&m);
}

/* ---- Memory ---- */

static void *find_memory(void *opaque, enum property_type type, const char *id, GError **error)
{
	g_assert_cmpint(type, ==, PROPERTY_MEMDEV);
	return opaque;
}

struct memory {
	struct vd_machine m;
	struct vd vd;
	struct vdq vq;
	uint64_t page;
};

enum { MEM_ACK, MEM_NACK, MEM_BUSY, MEM_ERROR };
#define MEM_BASE (UINT64_C(1) << 32)

/* What the device answers; of a state, 16 and the state if it is an ACK. */
static unsigned memory_ask(struct memory *t, unsigned type, uint64_t address, unsigned blocks)
{
	uint8_t *request = t->m.mem + t->page, *response = request + 64;
	memset(request, 0xee, 128);
	le16_store(request, type);
	le64_store(request + 8, address);
	le16_store(request + 16, blocks);
	struct vd_buffer chain[] = {{t->page, 24}, {t->page + 64, 10, true}};
	g_assert_cmpuint(vdq_request(&t->vq, chain, 2), ==, 10);
	unsigned result = le16_load(response);
	return type == 3 && result == MEM_ACK ? 16 + le16_load(response + 8) : result;
}

static void test_memory(void)
{
	enum { PLUG, UNPLUG, UNPLUG_ALL, STATE };
	static const char *const properties[] = {"memdev", "m", "block-size", "1M", "requested-size", "8M",
						 NULL};
	struct memory t;
	g_autoptr(GError) error = NULL;
	struct ram_block *ram = ram_block_new("m", 512 * MIB, NULL, NULL);
	struct device_resolver resolver = {find_memory, ram};
	vd_machine_init(&t.m);
	vd_open(&t.vd, &t.m, &virtio_mem_pci, &resolver, properties);
	struct virtio_mem *mem = virtio_mem_of(t.vd.dev);
	mem->address = MEM_BASE;
	g_assert_true(vd_negotiate(&t.vd, ALL));
	vdq_open(&t.vq, &t.vd, 0, 16);
	vd_driver_ok(&t.vd);
	t.page = vd_alloc(&t.m, 4096);
	/* A guest reaches little more than what it shall have. */
	g_assert_cmpuint(vd_config(&t.vd, 32, 8), ==, 264 * MIB);

	g_assert_cmpuint(memory_ask(&t, PLUG, MEM_BASE, 4), ==, MEM_ACK);
	g_assert_cmpuint(memory_ask(&t, PLUG, MEM_BASE + 3 * MIB, 1), ==, MEM_ERROR);
	g_assert_cmpuint(memory_ask(&t, PLUG, MEM_BASE + 4 * MIB, 5), ==, MEM_NACK);
	g_assert_cmpuint(memory_ask(&t, PLUG, MEM_BASE + 263 * MIB, 2), ==, MEM_ERROR);
	g_assert_cmpuint(memory_ask(&t, PLUG, MEM_BASE + 4096, 1), ==, MEM_ERROR);
	g_assert_cmpuint(memory_ask(&t, PLUG, MEM_BASE + 4 * MIB, 0), ==, MEM_ERROR);
	g_assert_cmpuint(memory_ask(&t, PLUG, 0, 1), ==, MEM_ERROR);
	g_assert_cmpuint(memory_ask(&t, PLUG, UINT64_MAX - MIB + 1, 2), ==, MEM_ERROR);
	g_assert_cmpuint(memory_ask(&t, 77, MEM_BASE, 1), ==, MEM_ERROR);
	g_assert_cmpuint(memory_ask(&t, STATE, MEM_BASE, 4), ==, 16);
	g_assert_cmpuint(memory_ask(&t, STATE, MEM_BASE + 4 * MIB, 4), ==, 17);
	g_assert_cmpuint(memory_ask(&t, STATE, MEM_BASE, 8), ==, 18);

	/* What is plugged out is gone. */
	memset(ram->host, 0x55, 4 * MIB);
	g_assert_cmpuint(memory_ask(&t, UNPLUG, MEM_BASE + MIB, 2), ==, MEM_ACK);
	g_assert_cmpuint(memory_ask(&t, UNPLUG, MEM_BASE + MIB, 3), ==, MEM_ERROR);
	g_assert_cmphex(ram->host[0], ==, 0x55);
	g_assert_cmphex(ram->host[MIB], ==, 0);
	g_assert_cmphex(ram->host[3 * MIB - 1], ==, 0);
	g_assert_cmphex(ram->host[3 * MIB], ==, 0x55);
	g_assert_cmpuint(vd_config(&t.vd, 40, 8), ==, 2 * MIB);
	g_assert_true(virtio_mem_request(mem, 0, NULL));
	g_assert_cmpuint(vd_config(&t.vd, 32, 8), ==, 4 * MIB);
	g_assert_false(virtio_mem_request(mem, 4096, &error));
	g_assert_cmpuint(memory_ask(&t, UNPLUG_ALL, 0, 0), ==, MEM_ACK);
	g_assert_cmphex(ram->host[3 * MIB], ==, 0);
	g_assert_cmpuint(vd_config(&t.vd, 40, 8), ==, 0);

	struct vd_buffer small[] = {{t.page, 23}, {t.page + 64, 10, true}};
	vdq_add(&t.vq, small, 2, 0);
	vdq_kick(&t.vq);
	vd_pump(&t.m, 3, NULL);
	g_assert_true(vd_status(&t.vd) & VIRTIO_STATUS_NEEDS_RESET);
	vd_close(&t.vd);
	ram_block_free(ram);
	vd_machine_free(&t.m);
}

/* ---- Console ---- */

static void note_open(void *opaque, const char *id, bool open)
{
	*(int *)opaque = open;
}

static void control(struct vd *vd, struct vdq *vq, uint64_t page, uint32_t port, unsigned event,
		    unsigned value)
{
	uint8_t *p = vd->m->mem + page;
	le32_store(p, port);
	le16_store(p + 4, event);
	le16_store(p + 6, value);
	struct vd_buffer chain[] = {{page, 8}};
	g_assert_cmpuint(vdq_request(vq, chain, 1), ==, 0);
}

static void expect(struct vd *vd, struct vdq *vq, uint64_t page, uint32_t port, unsigned event,
		   const char *text)
{
	uint16_t id;
	uint32_t len;
	vd_pump(vd->m, 2, NULL);
	g_assert_true(vdq_used(vq, &id, &len));
	uint8_t *p = vd->m->mem + page + id * 64;
	g_assert_cmpuint(le32_load(p), ==, port);
	g_assert_cmpuint(le16_load(p + 4), ==, event);
	g_assert_cmpuint(le16_load(p + 6), ==, 1);
	if (text)
		g_assert_cmpmem(p + 8, len - 8, text, strlen(text));
}

static void test_console(void)
{
	struct vd_machine m;
	struct vd vd;
	struct vdq ctrl_rx, ctrl_tx, rx, tx;
	struct chardev chr, chr2;
	g_autoptr(GError) error = NULL;
	vd_machine_init(&m);
	fake_chardev_init(&chr);
	fake_chardev_init(&chr2);
	vd_open(&vd, &m, &virtio_serial_pci, NULL, NULL);
	struct fakes fakes = {.chr = &chr};
	struct device_resolver resolver = fakes_resolver(&fakes);
	struct device *port = device_new(&virtserialport, "agent", m.vm);
	struct device *console = device_new(&virtconsole, NULL, m.vm);
	device_set(port, "chardev", "chr", &resolver, NULL);
	device_set(port, "name", "org.agent", &resolver, NULL);
	fakes.chr = &chr2;
	device_set(console, "chardev", "chr", &resolver, NULL);
	port->bus = console->bus = virtio_serial_bus(vd.dev);
	g_assert_true(device_realize(port, &error));
	g_assert_true(device_realize(console, &error));
	int open = -1;
	virtio_serial_set_listener(vd.dev, note_open, &open);

	g_assert_true(vd_negotiate(&vd, ALL));
	vdq_open(&ctrl_rx, &vd, 2, 16);
	vdq_open(&ctrl_tx, &vd, 3, 16);
	vdq_open(&rx, &vd, 4, 16);
	vdq_open(&tx, &vd, 5, 16);
	vd_driver_ok(&vd);
	uint64_t out = vd_alloc(&m, 4096), in = vd_alloc(&m, 4096), page = vd_alloc(&m, 4096);
	for (unsigned i = 0; i < 8; i++) {
		struct vd_buffer room[] = {{page + i * 64, 64, true}};
		vdq_add(&ctrl_rx, room, 1, 0);
	}
	vdq_kick(&ctrl_rx);
	control(&vd, &ctrl_tx, out, 0, 0, 1);
	expect(&vd, &ctrl_rx, page, 0, 1, NULL);
	expect(&vd, &ctrl_rx, page, 1, 1, NULL);
	control(&vd, &ctrl_tx, out, 1, 3, 1);
	expect(&vd, &ctrl_rx, page, 1, 7, "org.agent");
	expect(&vd, &ctrl_rx, page, 1, 6, NULL);
	control(&vd, &ctrl_tx, out, 0, 3, 1);
	expect(&vd, &ctrl_rx, page, 0, 4, NULL);
	expect(&vd, &ctrl_rx, page, 0, 6, NULL);

	/* Input waits for the guest's program and for room. */
	fake_chardev_feed(&chr, "hello, world");
	g_assert_cmpuint(chr.in->len, ==, 12);
	control(&vd, &ctrl_tx, out, 1, 6, 1);
	g_assert_cmpint(open, ==, 1);
	struct vd_buffer room[] = {{in, 7, true}};
	g_assert_cmpuint(vdq_request(&rx, room, 1), ==, 7);
	g_assert_cmpmem(m.mem + in, 7, "hello, ", 7);
	g_assert_cmpuint(vdq_request(&rx, room, 1), ==, 5);

	/* Output into a slow stream comes in pieces, all of it. */
	chr.room = 4;
	memcpy(m.mem + out, "0123456789", 10);
	struct vd_buffer text[] = {{out, 3}, {out + 3, 7}};
	vdq_add(&tx, text, 2, 0);
	vdq_kick(&tx);
	vd_pump(&m, 3, NULL);
	uint16_t id;
	uint32_t len;
	g_assert_false(vdq_used(&tx, &id, &len));
	g_assert_cmpstr(chr.out->str, ==, "0123");
	chr.room = SIZE_MAX;
	chr.user.writable(chr.user.opaque);
	g_assert_true(vdq_used(&tx, &id, &len));
	g_assert_cmpstr(chr.out->str, ==, "0123456789");

	/* Emergency writes go to the console; nonsense goes nowhere. */
	vd_set_config(&vd, 8, 'X', 4);
	g_assert_cmpstr(chr2.out->str, ==, "X");
	control(&vd, &ctrl_tx, out, 77, 3, 1);
	control(&vd, &ctrl_tx, out, 5, 99, 1);

	vd_set_status(&vd, 0);
	g_assert_cmpint(open, ==, 0);
	device_free(port);
	device_free(console);
	vd_close(&vd);
	fake_chardev_free(&chr);
	fake_chardev_free(&chr2);
	vd_machine_free(&m);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/virtio/disk/requests", test_disk);
	g_test_add_func("/virtio/disk/many", test_disk_many);
	g_test_add_func("/virtio/disk/framing", test_disk_framing);
	g_test_add_func("/virtio/disk/broken", test_disk_broken);
	g_test_add_func("/virtio/disk/busy", test_disk_busy);
	g_test_add_func("/virtio/rng", test_rng);
	g_test_add_func("/virtio/balloon", test_balloon);
	g_test_add_func("/virtio/memory", test_memory);
	g_test_add_func("/virtio/console", test_console);
	return g_test_run();
}
