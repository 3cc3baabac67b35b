/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm/space.h"

#include "base/bytes.h"
#include "base/units.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct recorder {
	GString *log;
	uint8_t bytes[64];
	struct io_region region;
};

static uint64_t record_read(void *opaque, uint64_t offset, unsigned size)
{
	struct recorder *r = opaque;
	g_string_append_printf(r->log, "r%u@%u ", size, (unsigned)offset);
	return le_load(r->bytes + offset, size);
}

static void record_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct recorder *r = opaque;
	g_string_append_printf(r->log, "w%u@%u=%x ", size, (unsigned)offset, (unsigned)value);
}

static void recorder_init(struct recorder *r, struct io_ops *ops, unsigned min, unsigned max)
{
	*ops = (struct io_ops){record_read, record_write, min, max};
	r->log = g_string_new(NULL);
	for (unsigned i = 0; i < sizeof(r->bytes); i++)
		r->bytes[i] = i;
	r->region = (struct io_region){.name = "r", .ops = ops, .opaque = r, .size = 64};
}

static void expect(struct recorder *r, const char *log)
{
	g_assert_cmpstr(r->log->str, ==, log);
	g_string_truncate(r->log, 0);
}

static void test_sizes(void)
{
	struct space *s = space_new("m", UINT64_C(1) << 32);
	struct recorder r;
	struct io_ops ops;
	recorder_init(&r, &ops, 4, 4);
	space_add_io(s, 0x1000, &r.region, 0);
	g_assert_cmphex(space_read(s, 0x1000, 8), ==, 0x0706050403020100);
	expect(&r, "r4@0 r4@4 ");
	g_assert_cmphex(space_read(s, 0x1005, 1), ==, 5);
	expect(&r, "r4@4 ");
	g_assert_cmphex(space_read(s, 0x1003, 2), ==, 0x0403);
	expect(&r, "r4@0 r4@4 ");
	space_write(s, 0x1000, 0x1122334455667788, 8);
	expect(&r, "w4@0=55667788 w4@4=11223344 ");
	space_write(s, 0x1001, 0xaa, 1);
	expect(&r, "w1@1=aa ");
	/* Across the end: the rest is nothing, all ones. */
	g_assert_cmphex(space_read(s, 0x103e, 4), ==, 0xffff3f3e);
	expect(&r, "r4@60 ");
	g_assert_cmphex(space_read(s, 0x5000, 2), ==, 0xffff);
	space_write(s, 0x5000, 1, 2);
	expect(&r, "");
	space_remove_io(s, &r.region);
	g_assert_cmphex(space_read(s, 0x1000, 1), ==, 0xff);
	g_string_free(r.log, TRUE);
	space_free(s);
}

static void dump(void *opaque, const struct space_range *r)
{
	g_string_append_printf(opaque, "%x+%x%s%s:%x ", (unsigned)(r->base >> 12),
			       (unsigned)(r->size >> 12), r->ram ? "m" : "", r->region ? "i" : "",
			       (unsigned)((r->ram ? r->ram_offset : r->region_offset) >> 12));
}

static void expect_view(struct space *s, const char *view)
{
	g_autoptr(GString) text = g_string_new(NULL);
	space_for_each(s, dump, text);
	g_assert_cmpstr(text->str, ==, view);
}

static void test_overlaps(void)
{
	struct space *s = space_new("m", UINT64_C(1) << 32);
	struct ram_block *ram = ram_block_new("ram", 1 * MIB, NULL, NULL);
	struct io_ops ops = {0};
	struct io_region low = {.name = "low", .ops = &ops, .size = 0x2000};
	struct io_region high = {.name = "high", .ops = &ops, .size = 0x1000};
	space_add_ram(s, 0, ram, 0, 0x10000, false, NULL, SPACE_PRIORITY_NORMAL);
	expect_view(s, "0+10m:0 ");
	space_add_io(s, 0xf000, &low, SPACE_PRIORITY_NORMAL);
	expect_view(s, "0+10m:0 10+1i:1 ");
	space_add_io(s, 0x4000, &high, SPACE_PRIORITY_HIGH);
	expect_view(s, "0+4m:0 4+1i:0 5+bm:5 10+1i:1 ");
	space_remove_io(s, &high);
	expect_view(s, "0+10m:0 10+1i:1 ");
	space_add_ram(s, 0x11000, ram, 0x10000, 0x1000, false, NULL, 0);
	space_remove_io(s, &low);
	expect_view(s, "0+10m:0 11+1m:10 ");
	space_add_ram(s, 0x10000, ram, 0x20000, 0x1000, true, &low, 0);
	expect_view(s, "0+10m:0 10+1mi:20 11+1m:10 ");
	/* DMA goes across the RAM, but does not write ROM. */
	uint8_t buffer[0x3000] = {1};
	g_assert_true(space_dma_read(s, 0xf000, buffer, 0x3000));
	g_assert_false(space_dma_write(s, 0xf000, buffer, 0x3000));
	g_assert_false(space_dma_read(s, 0x11000, buffer, 0x1001));
	uint64_t length = 0x3000;
	g_assert_true(space_dma_map(s, 0xf800, &length, true) == ram->host + 0xf800);
	g_assert_cmphex(length, ==, 0x800);
	space_remove_ram(s, 0);
	expect_view(s, "10+1mi:20 11+1m:10 ");
	space_free(s);
	ram_block_free(ram);
}

static void code_written(void *opaque, struct ram_block *block, uint64_t offset, uint64_t length)
{
	g_string_append_printf(opaque, "%x+%x ", (unsigned)offset, (unsigned)length);
}

static void test_page_states(void)
{
	struct space *s = space_new("m", UINT64_C(1) << 32);
	struct ram_block *ram = ram_block_new("ram", 64 * KIB, NULL, NULL);
	g_autoptr(GString) log = g_string_new(NULL);
	ram->code_written = code_written;
	ram->code_opaque = log;
	space_add_ram(s, 0, ram, 0, ram->size, false, NULL, 0);
	space_write(s, 0x2000, 1, 4);
	ram->page_state[2] = RAM_PAGE_CODE;
	space_write(s, 0x1ffc, 1, 4);
	g_assert_cmpstr(log->str, ==, "");
	space_write(s, 0x1ffe, 1, 4);
	g_assert_cmpstr(log->str, ==, "1ffe+4 ");
	ram_dirty_start(ram);
	space_write(s, 0x5000, 1, 1);
	uint8_t two[0x1002] = {0};
	g_assert_true(space_dma_write(s, 0x6fff, two, sizeof(two)));
	unsigned dirty = 0;
	for (unsigned i = 0; i < 16; i++)
		dirty |= ram_dirty_take(ram, i) << i;
	g_assert_cmphex(dirty, ==, 0x1e0);
	g_assert_false(ram_dirty_take(ram, 5));
	ram_dirty_stop(ram);
	g_assert_cmphex(ram->page_state[2], ==, RAM_PAGE_CODE);
	g_assert_cmphex(ram->page_state[5], ==, 0);
	space_free(s);
	ram_block_free(ram);
}

static uint64_t rung(int fd)
{
	uint64_t n = 0;
	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void test_doorbells(void)
{
	struct space *s = space_new("m", UINT64_C(1) << 32);
	struct recorder r;
	struct io_ops ops;
	recorder_init(&r, &ops, 0, 0);
	space_add_io(s, 0x1000, &r.region, 0);
	int any = eventfd(0, EFD_NONBLOCK), one = eventfd(0, EFD_NONBLOCK);
	struct space_doorbell bells[] = {{0x1008, 0, false, 0, any}, {0x1004, 2, true, 7, one}};
	space_add_doorbell(s, &bells[0]);
	space_add_doorbell(s, &bells[1]);
	space_write(s, 0x1008, 3, 1);
	space_write(s, 0x1008, 4, 4);
	space_write(s, 0x1004, 7, 2);
	expect(&r, "");
	g_assert_cmpuint(rung(any), ==, 2);
	g_assert_cmpuint(rung(one), ==, 1);
	space_write(s, 0x1004, 6, 2);
	space_write(s, 0x1004, 7, 4);
	expect(&r, "w2@4=6 w4@4=7 ");
	space_remove_doorbell(s, &bells[0]);
	space_write(s, 0x1008, 3, 1);
	expect(&r, "w1@8=3 ");
	g_assert_cmpuint(rung(any), ==, 0);
	close(any);
	close(one);
	g_string_free(r.log, TRUE);
	space_free(s);
}

/* --- Readers during changes ------------------------------------------------------------------- */

enum { SPOTS = 300 };

struct race {
	struct space *space;
	struct recorder *unused;
	struct io_region regions[SPOTS];
	_Atomic bool stop;
};

static uint64_t spot_read(void *opaque, uint64_t offset, unsigned size)
{
	return (uintptr_t)opaque;
}

static void *race_reader(void *opaque)
{
	struct race *race = opaque;
	for (unsigned i = 0, n = 0; !race->stop || n < 1000; i = (i + 7) % SPOTS, n++) {
		/*
		 * Each spot holds its own region or nothing; its neighbours' must never show. One byte:
		 * a longer access may meet a change between its bytes.
		 */
		uint64_t v = space_read(race->space, i * 0x1000, 1);
		g_assert_true(v == (i & 0xff) || v == 0xff);
		/* The RAM above is always there. */
		g_assert_cmphex(space_read(race->space, 0x40000000 + (n & 0xff) * 8, 8), ==, 0);
	}
	return NULL;
}

static void test_race(void)
{
	static const struct io_ops ops = {.read = spot_read};
	struct race race = {.space = space_new("m", UINT64_C(1) << 32)};
	struct ram_block *ram = ram_block_new("ram", 64 * KIB, NULL, NULL);
	space_add_ram(race.space, 0x40000000, ram, 0, ram->size, false, NULL, 0);
	pthread_t readers[2];
	for (unsigned i = 0; i < SPOTS; i++)
		race.regions[i] = (struct io_region){.name = "spot", .ops = &ops, .size = 0x1000,
						     .opaque = (void *)(uintptr_t)i};
	for (int i = 0; i < 2; i++)
		pthread_create(&readers[i], NULL, race_reader, &race);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < SPOTS; i++)
			space_add_io(race.space, i * 0x1000, &race.regions[i], 0);
		space_begin(race.space);
		for (unsigned i = 0; i < SPOTS; i++)
			space_remove_io(race.space, &race.regions[i]);
		space_commit(race.space);
	}
	race.stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(readers[i], NULL);
	space_free(race.space);
	ram_block_free(ram);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/space/sizes", test_sizes);
	g_test_add_func("/space/overlaps", test_overlaps);
	g_test_add_func("/space/page-states", test_page_states);
	g_test_add_func("/space/doorbells", test_doorbells);
	g_test_add_func("/space/race", test_race);
	return g_test_run();
}
