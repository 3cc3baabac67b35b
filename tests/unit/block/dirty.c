/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dirty bitmaps against a plain array of flags, with sizes that are no whole words or bits. */
#include "aio/loop.h"
#include "block/core/dirty.h"
#include "block/core/driver.h"

static const struct block_driver driver = {.name = "none", .kind = BLOCK_PROTOCOL};

struct model {
	bool set[600];
	unsigned bits, shift;
};

static void change(struct model *m, uint64_t offset, uint64_t length, bool set)
{
	for (uint64_t bit = offset >> m->shift; length && bit <= (offset + length - 1) >> m->shift; bit++)
		if (bit < m->bits)
			m->set[bit] = set;
}

static void compare(const struct model *m, const struct block_dirty *dirty, uint64_t size)
{
	unsigned count = 0, seen = 0;
	uint64_t start, length;
	for (unsigned bit = 0; bit < m->bits; bit++) {
		g_assert_cmpint(block_dirty_get(dirty, (uint64_t)bit << m->shift), ==, m->set[bit]);
		count += m->set[bit];
	}
	g_assert_cmpuint(dirty->count, ==, count);
	for (uint64_t at = 0; block_dirty_next(dirty, at, &start, &length); at = start + length) {
		g_assert_true(m->set[start >> m->shift]);
		g_assert_cmpuint(start + length, <=, size);
		seen++;
	}
	g_assert_cmpuint(seen, ==, count);
}

static void test_random(void)
{
	struct aio_loop *loop = aio_loop_new(NULL);
	for (unsigned round = 0; round < 50; round++) {
		struct block_node node = {0};
		const struct block_open_options options = {0};
		block_node_init(&node, &driver, &options, loop);
		uint64_t size = node.size = g_test_rand_int_range(1, 300000);
		struct model m = {.shift = 9 + round % 3};
		m.bits = (size + (1 << m.shift) - 1) >> m.shift;
		struct block_dirty *dirty = block_dirty_new(&node, "a", m.shift);
		struct block_dirty *coarse = block_dirty_new(&node, NULL, 13);
		for (unsigned step = 0; step < 40; step++) {
			uint64_t offset = g_test_rand_int_range(0, size);
			uint64_t length = g_test_rand_int_range(0, size - offset + 1);
			bool set = g_test_rand_bit();
			(set ? block_dirty_set : block_dirty_clear)(dirty, offset, length);
			change(&m, offset, length, set);
			compare(&m, dirty, size);
		}
		block_dirty_clear(coarse, 0, size);
		block_dirty_merge(coarse, dirty);
		for (unsigned bit = 0; bit < m.bits; bit++)
			if (m.set[bit])
				g_assert_true(block_dirty_get(coarse, (uint64_t)bit << m.shift));
		block_dirty_mark(&node, 0, 1);
		g_assert_true(block_dirty_get(dirty, 0));
		node.size = size / 2 + 1;
		block_dirty_resize_all(&node);
		m.set[0] = true;
		m.bits = (node.size + (1 << m.shift) - 1) >> m.shift;
		compare(&m, dirty, node.size);
		g_assert_true(block_dirty_find(&node, "a") == dirty);
		block_dirty_free_all(&node);
	}
	aio_loop_free(loop);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/dirty/random", test_random);
	return g_test_run();
}
