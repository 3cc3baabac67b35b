/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rings that break the rules, one rule each. Every one must put the device into NEEDS_RESET, give
 * one interrupt, leave the device untouched otherwise, and be over after a reset.
 */
#include "base/bytes.h"
#include "vd_echo.h"
#include "vdriver.h"

#include <string.h>

struct env {
	struct vd_machine m;
	struct vd vd;
	struct vdq vq;
	uint64_t page, table;
};

static uint8_t *desc(struct env *e, unsigned i)
{
	return e->m.mem + e->vq.desc + 16 * i;
}

static uint8_t *flags(struct env *e, uint8_t *d)
{
	return d + (e->vd.packed ? 14 : 12);
}

static void or_flags(struct env *e, uint8_t *d, uint16_t bits)
{
	le16_store(flags(e, d), le16_load(flags(e, d)) | bits);
}

/* One chain of out and in, through a table if `indirect`; not yet kicked. */
static void add(struct env *e, bool indirect)
{
	struct vd_buffer chain[] = {{e->page, 16}, {e->page + 64, 16, true}};
	vdq_add(&e->vq, chain, 2, indirect ? e->table : 0);
}

static void zero_length(struct env *e)
{
	add(e, false);
	le32_store(desc(e, 1) + 8, 0);
}

static void outside_ram(struct env *e)
{
	add(e, false);
	le64_store(desc(e, 0), VD_RAM_SIZE);
}

static void across_end(struct env *e)
{
	add(e, false);
	le64_store(desc(e, 1), VD_RAM_SIZE - 8);
}

static void wraps_address(struct env *e)
{
	add(e, false);
	le64_store(desc(e, 0), UINT64_MAX - 4);
}

static void into_mmio(struct env *e)
{
	add(e, false);
	le64_store(desc(e, 1), VD_MMIO_BASE);
}

static void too_long(struct env *e)
{
	add(e, false);
	le32_store(desc(e, 0) + 8, UINT32_MAX);
	le32_store(desc(e, 1) + 8, UINT32_MAX);
}

static void readable_after_writable(struct env *e)
{
	struct vd_buffer chain[] = {{e->page, 16, true}, {e->page + 64, 16}};
	vdq_add(&e->vq, chain, 2, 0);
}

static void loop(struct env *e)
{
	add(e, false);
	if (e->vd.packed) {
		/* Every slot says that the chain goes on. */
		for (unsigned i = 0; i < e->vq.size; i++) {
			memcpy(desc(e, i), desc(e, 0), 12);
			le16_store(desc(e, i) + 14, 0x81);
		}
	} else {
		or_flags(e, desc(e, 1), 1);
		le16_store(desc(e, 1) + 14, 0);
		le16_store(desc(e, 0) + 12, 3);
	}
}

static void split_next_beyond(struct env *e)
{
	add(e, false);
	le16_store(desc(e, 0) + 14, e->vq.size);
}

static void split_head_beyond(struct env *e)
{
	add(e, false);
	le16_store(e->m.mem + e->vq.driver + 4, e->vq.size);
}

static void split_index_jump(struct env *e)
{
	add(e, false);
	le16_store(e->m.mem + e->vq.driver + 2, e->vq.size + 1);
}

static void split_head_twice(struct env *e)
{
	echo_of(e->vd.dev)->hold = true;
	add(e, false);
	le16_store(e->m.mem + e->vq.driver + 6, 0);
	le16_store(e->m.mem + e->vq.driver + 2, 2);
}

static void table_in_table(struct env *e)
{
	add(e, true);
	or_flags(e, e->m.mem + e->table, 4);
}

static void table_with_next(struct env *e)
{
	add(e, true);
	or_flags(e, desc(e, 0), 1);
}

static void table_odd(struct env *e)
{
	add(e, true);
	le32_store(desc(e, 0) + 8, 33);
}

static void table_empty(struct env *e)
{
	add(e, true);
	le32_store(desc(e, 0) + 8, 0);
}

static void table_huge(struct env *e)
{
	add(e, true);
	le32_store(desc(e, 0) + 8, 16 * (ECHO_SIZE + 1));
}

static void table_outside(struct env *e)
{
	add(e, true);
	le64_store(desc(e, 0), VD_RAM_SIZE - 16);
}

static void split_table_loop(struct env *e)
{
	add(e, true);
	uint8_t *entry = e->m.mem + e->table;
	le16_store(entry + 14, 0);
	le16_store(entry + 12, 1);
}

static void split_table_beyond(struct env *e)
{
	add(e, true);
	le16_store(e->m.mem + e->table + 14, 2);
}

static void packed_overrun(struct env *e)
{
	/* All slots are taken and held; the driver fills one again. */
	echo_of(e->vd.dev)->hold = true;
	struct vd_buffer chain[] = {{e->page, 16}};
	for (unsigned i = 0; i < e->vq.size; i++)
		vdq_add(&e->vq, chain, 1, 0);
	vdq_kick(&e->vq);
	vd_pump(&e->m, 2, NULL);
	vdq_add(&e->vq, chain, 1, 0);
}

enum { SPLIT = 1, PACKED = 2, BOTH = 3, NO_TABLES = 4 };

static const struct hostile {
	const char *name;
	unsigned where;
	void (*fn)(struct env *e);
} cases[] = {
	{"zero-length", BOTH, zero_length}, {"outside-ram", BOTH, outside_ram},
	{"across-end", BOTH, across_end}, {"wraps-address", BOTH, wraps_address},
	{"into-mmio", BOTH, into_mmio}, {"too-long", BOTH, too_long},
	{"readable-after-writable", BOTH, readable_after_writable}, {"loop", BOTH, loop},
	{"next-beyond", SPLIT, split_next_beyond}, {"head-beyond", SPLIT, split_head_beyond},
	{"index-jump", SPLIT, split_index_jump}, {"head-twice", SPLIT, split_head_twice},
	{"table-in-table", BOTH, table_in_table}, {"table-with-next", BOTH, table_with_next},
	{"table-odd", BOTH, table_odd}, {"table-empty", BOTH, table_empty},
	{"table-huge", BOTH, table_huge}, {"table-outside", BOTH, table_outside},
	{"table-loop", SPLIT, split_table_loop}, {"table-beyond", SPLIT, split_table_beyond},
	{"table-without-feature", BOTH | NO_TABLES, table_with_next},
	{"overrun", PACKED, packed_overrun},
};

static void run(const struct hostile *h, bool packed)
{
	static const char *const on[] = {"packed", "on", NULL};
	uint64_t features = (packed ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0) |
			    (h->where & NO_TABLES ? 0 : VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC));
	struct env e;
	vd_machine_init(&e.m);
	vd_open(&e.vd, &e.m, &echo_mmio, NULL, on);
	g_assert_true(vd_negotiate(&e.vd, features));
	vdq_open(&e.vq, &e.vd, 0, 16);
	vd_driver_ok(&e.vd);
	e.page = vd_alloc(&e.m, 4096);
	e.table = vd_alloc(&e.m, 4096);
	vd_pump(&e.m, 1, NULL);

	unsigned interrupts = e.m.interrupts;
	h->fn(&e);
	vdq_kick(&e.vq);
	vd_pump(&e.m, 3, NULL);
	g_assert_cmphex(vd_status(&e.vd), ==, 15 | VIRTIO_STATUS_NEEDS_RESET);
	g_assert_cmpuint(e.m.interrupts, ==, interrupts + 1);

	/* Kicks, configuration and status writes do nothing to a broken device. */
	vdq_kick(&e.vq);
	vd_pump(&e.m, 1, NULL);
	vd_set_status(&e.vd, 15);
	g_assert_cmphex(vd_status(&e.vd), ==, 15 | VIRTIO_STATUS_NEEDS_RESET);

	echo_of(e.vd.dev)->hold = false;
	g_assert_true(vd_negotiate(&e.vd, features));
	vdq_open(&e.vq, &e.vd, 0, 16);
	vd_driver_ok(&e.vd);
	struct vd_buffer chain[] = {{e.page, 16}, {e.page + 64, 16, true}};
	g_assert_cmpuint(vdq_request(&e.vq, chain, 2), ==, 16);
	vd_close(&e.vd);
	vd_machine_free(&e.m);
}

static void test_split(gconstpointer data)
{
	run(data, false);
}

static void test_packed(gconstpointer data)
{
	run(data, true);
}

/* Queue set-up that cannot be: found when the queue goes live. */
static void test_setup(void)
{
	static const struct {
		unsigned size;
		uint64_t desc, driver, device;
	} bad[] = {
		{0, 0x1000, 0x2000, 0x3000}, {12, 0x1000, 0x2000, 0x3000},
		{128, 0x1000, 0x2000, 0x3000}, {0xffff, 0x1000, 0x2000, 0x3000},
		{16, 0x1008, 0x2000, 0x3000}, {16, 0x1000, 0x2001, 0x3000},
		{16, 0x1000, 0x2000, 0x3002}, {16, VD_RAM_SIZE, 0x2000, 0x3000},
		{16, VD_RAM_SIZE - 16, 0x2000, 0x3000}, {16, 0x1000, VD_MMIO_BASE, 0x3000},
		{16, 0x1000, 0x2000, UINT64_MAX - 3}, {16, UINT64_MAX - 15, 0x2000, 0x3000},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		struct vd_machine m;
		struct vd vd;
		vd_machine_init(&m);
		vd_open(&vd, &m, &echo_mmio, NULL, NULL);
		g_assert_true(vd_negotiate(&vd, 0));
		struct vdq vq = {.vd = &vd, .size = bad[i].size, .desc = bad[i].desc,
				 .driver = bad[i].driver, .device = bad[i].device};
		vdq_enable(&vq);
		vd_driver_ok(&vd);
		vd_pump(&m, 1, NULL);
		g_assert_true(vd_status(&vd) & VIRTIO_STATUS_NEEDS_RESET);
		vd_set_status(&vd, 0);
		vd_close(&vd);
		vd_machine_free(&m);
	}
}

/* A table that lies across two RAM mappings, and a buffer too: right, if unusual. */
static void test_straddle(void)
{
	struct vd_machine m;
	struct vd vd;
	struct vdq vq;
	vd_machine_init(&m);
	g_autoptr(GError) error = NULL;
	struct ram_block *more = ram_block_new("more", 1 << 20, NULL, &error);
	g_assert_no_error(error);
	space_add_ram(m.vm->memory, VD_RAM_SIZE, more, 0, 1 << 20, false, NULL, 0);
	vd_open(&vd, &m, &echo_mmio, NULL, NULL);
	g_assert_true(vd_negotiate(&vd, VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC)));
	vdq_open(&vq, &vd, 0, 16);
	vd_driver_ok(&vd);
	uint64_t page = vd_alloc(&m, 4096);
	memcpy(m.mem + VD_RAM_SIZE - 4, "abcd", 4);
	memcpy(more->host, "efgh", 4);
	struct vd_buffer chain[] = {{VD_RAM_SIZE - 4, 8}, {page, 8, true}};
	g_assert_cmpuint(vdq_request(&vq, chain, 2), ==, 8);
	g_assert_cmpmem(m.mem + page, 8, "abcdefgh", 8);

	/* Entry 0 in one block, entry 1 in the other. */
	uint8_t entries[32] = {0};
	le64_store(entries, page);
	le32_store(entries + 8, 8);
	le16_store(entries + 12, 1);
	le16_store(entries + 14, 1);
	le64_store(entries + 16, page + 64);
	le32_store(entries + 24, 8);
	le16_store(entries + 28, 2);
	g_assert_true(space_dma_write(m.vm->memory, VD_RAM_SIZE - 16, entries, 32));
	uint64_t table = VD_RAM_SIZE - 16;
	struct vd_buffer direct = {table, 32};
	uint16_t head = vdq_add(&vq, &direct, 1, 0), id;
	uint32_t len;
	le16_store(m.mem + vq.desc + 16 * head + 12, 4);
	vdq_kick(&vq);
	vd_pump(&m, 3, NULL);
	g_assert_true(vdq_used(&vq, &id, &len));
	g_assert_cmpuint(len, ==, 8);
	g_assert_cmpmem(m.mem + page + 64, 8, "abcdefgh", 8);
	vd_close(&vd);
	space_remove_ram(m.vm->memory, VD_RAM_SIZE);
	vd_machine_free(&m);
	ram_block_free(more);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *split = g_strdup_printf("/virtio/hostile/split/%s", cases[i].name);
		g_autofree char *packed = g_strdup_printf("/virtio/hostile/packed/%s", cases[i].name);
		if (cases[i].where & SPLIT)
			g_test_add_data_func(split, &cases[i], test_split);
		if (cases[i].where & PACKED)
			g_test_add_data_func(packed, &cases[i], test_packed);
	}
	g_test_add_func("/virtio/hostile/setup", test_setup);
	g_test_add_func("/virtio/hostile/straddle", test_straddle);
	return g_test_run();
}
