/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs system32.S and compares the events that it met with what the manual says. */
#include "soft_guest.h"

#include "base/bytes.h"

extern const uint8_t system32_start[], system32_end[], system32_triple[];

enum { BASE = 0x1000, LOG = 0x40000 };
enum { K = 0x08, U = 0x1b, CONF = 0x58, STEP = 0x100 };

struct event {
	uint32_t vector, error, cs, cr2;
};

static const struct event expected[] = {
	{ STEP + 1, 0, K },
	{ 0, 0, K }, { 3, 0, K }, { 4, 0, K }, { 6, 0, K }, { 7, 0, K },
	{ 11, 0x38, K }, { 12, 0x38, K }, { 13, 0x1f8, K }, { 13, 0x48, K }, { 13, 0x80, K },
	{ 13, 0, K }, { 13, 0x20, K },
	{ 13, 0x04, K }, /* the LDT's descriptor has DPL 0, the selector RPL 3 */
	{ 13, 0, K }, { 13, 0, K }, { 13, 0, K }, { 13, 0, K }, { 13, 0, K }, { 13, 0, K },
	{ 13, 0, K }, { 13, 0, K }, { 13, 0, K }, { 13, 0, K },
	{ 13, 0x10, K }, { 13, 0x28, K },
	{ 13, 0x90 * 8 + 2, K }, { 13, 0x30 * 8 + 2, K }, { 13, 0x10, K }, { 13, 0x38, K },
	{ 13, 0, K }, { 6, 0, K },
	{ STEP + 2, 0, K },
	{ STEP + 0x58, 0, CONF }, { STEP + 0x50, 0, K }, { STEP + 3, 0, K },
	{ STEP + 4, 0, U }, { STEP + 0x80, 0, K },
	{ 13, 0, U }, { 13, 0, U }, { 13, 0, U }, { 13, 0x20 * 8 + 2, U }, { 13, 0x10, U },
	{ 13, 8, U }, { 13, 0, U },
	{ STEP + 0x50, 0, K }, { STEP + 0x58, 0, CONF | 3 }, { STEP + 5, 0, K },
	{ STEP + 6, 0, K },
	{ 13, 0, 0 }, { 13, 0, 0 }, { STEP + 7, 0, K },
	{ STEP + 0x30, 0, K }, { STEP + 8, 0, K }, { STEP + 0x31, 0, K }, { STEP + 9, 0, K },
	{ STEP + 10, 0, K }, { STEP + 11, 0, K },
	{ 14, 3, K, 0x401000 }, { 14, 3, K, 0x401000 }, { 14, 0, K, 0x403008 },
	{ 14, 0, K, 0x800000 },
	{ 14, 5, U, 0x402000 }, { 14, 7, U, 0x402000 }, { 14, 7, U, 0x401000 },
	{ STEP + 12, 0, K },
};

static void compare_log(struct soft_guest *g)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(expected); i++) {
		const struct event *e = &expected[i];
		const uint8_t *at = g->ram->host + LOG + i * 16;
		struct event got = { le32_load(at), le32_load(at + 4), le32_load(at + 8),
				     le32_load(at + 12) };
		if (e->vector != 14)
			got.cr2 = 0;
		if (got.vector != e->vector || got.error != e->error || (uint16_t)got.cs != e->cs ||
		    got.cr2 != e->cr2)
			g_error("event %u: got %x(%x) cs %x cr2 %x, want %x(%x) cs %x cr2 %x", i,
				got.vector, got.error, got.cs, got.cr2, e->vector, e->error, e->cs,
				e->cr2);
	}
}

static void test_all_modes(void)
{
	struct soft_guest *g = soft_guest_new(4 << 20, 1);
	soft_guest_write(g, BASE, system32_start, system32_end - system32_start);
	soft_guest_enter16(g, BASE);
	int code = soft_guest_run(g);
	g_test_message("exit code %d at %04x:%08x", code, g->c->s.seg[X86_CS].selector,
		       (unsigned)g->c->s.rip);
	compare_log(g);
	g_assert_cmpint(code, ==, 0);
	g_assert_cmpstr(g->console->str, ==, "DIFUpPOVI");
	soft_guest_free(g);
}

static void test_triple_fault(void)
{
	struct soft_guest *g = soft_guest_new(4 << 20, 1);
	soft_guest_write(g, BASE, system32_start, system32_end - system32_start);
	soft_guest_enter16(g, BASE + (system32_triple - system32_start));
	g_assert_cmpint(soft_guest_run(g), ==, -1);
	/* A reset makes it well again. */
	soft_system_reset(g->c);
	soft_guest_enter16(g, BASE);
	g_assert_cmpint(soft_guest_run(g), ==, 0);
	soft_guest_free(g);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/soft/system32/all-modes", test_all_modes);
	g_test_add_func("/soft/system32/triple-fault", test_triple_fault);
	return g_test_run();
}
