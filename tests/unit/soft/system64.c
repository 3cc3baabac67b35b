/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs system64.S and compares the events that it met with what the manual says. */
#include "soft_guest.h"

#include "base/bytes.h"

extern const uint8_t system64_start[], system64_end[];

enum { BASE = 0x1000, LOG = 0x40000 };
/* CS, and the page of the stack that the handler runs on. */
enum {
	K = 0x90008, /* the stack in use */
	I = 0xd0008, /* IST1 */
	I3 = 0x110008,
	U = 0xb002b, /* from user mode: RSP0 */
	UI = 0xd002b,
	S = 0x08, /* a step's CS */
	STEP = 0x100,
};

struct event {
	uint32_t vector, error, cs, cr2;
};

static const struct event expected[] = {
	{ STEP + 1, 0, S },
	{ 0, 0, K }, { 6, 0, K }, { 3, 0, K }, { 13, 0, K }, { 12, 0, I3 }, { 13, 0x58, K },
	{ 13, 0, K }, { 13, 0, K }, { 13, 0, K }, { 13, 0, K }, { 13, 0, K }, { 13, 0, K },
	{ 13, 0x90 * 8 + 2, K }, { 13, 0, K }, { 13, 0x1c, K },
	{ STEP + 2, 0, S },
	{ 14, 3, I, 0x401000 }, { 14, 0, I, 0x403000 }, { 14, 9, I, 0x405000 },
	{ 14, 0x11, I, 0x404000 }, { 14, 0x11, I, 0x406000 },
	{ 14, 1, I, 0x400000 }, { 14, 3, I, 0x400000 }, { 14, 3, I, 0x400000 },
	{ STEP + 3, 0, S },
	{ 13, 0, K }, { 13, 0, K }, { STEP + 4, 0, S },
	{ 13, 0, U }, { 14, 5, UI, 0x402000 }, { 14, 7, UI, 0x402000 }, { 14, 7, UI, 0x401000 },
	{ 14, 0x15, UI, 0x407000 }, { 13, 0, U }, { 13, 0, U }, { 13, 0, U },
	{ 13, 0x20 * 8 + 2, U }, { 13, 0, U }, { 17, 0, U },
	{ STEP + 0x81, 0, S }, { STEP + 0x50, 0, S }, { STEP + 0x81, 0, S },
	{ STEP + 0x80, 0, S }, { STEP + 5, 0, S },
	{ 1, 0x4ff0, K }, { 1, 0x0ff1, K }, { 1, 0x0ff2, K }, { 1, 0x0ff0, K },
	{ STEP + 6, 0, S },
	{ 0x21, 1, K }, { 0x21, 0x55, K }, { 2, 0, K }, { STEP + 0x2b, 0, S }, { 2, 0, K },
	{ STEP + 7, 0, S },
	{ 14, 2, I, 0x4037f8 }, { 8, 0, I3 }, { STEP + 8, 0, S },
};

static void test_all_faults(void)
{
	struct soft_guest *g = soft_guest_new(8 << 20, 1);
	soft_guest_write(g, BASE, system64_start, system64_end - system64_start);
	soft_guest_enter64(g, BASE, false);
	int code = soft_guest_run(g);
	g_test_message("exit code %d at %04x:%08x", code, g->c->s.seg[X86_CS].selector,
		       (unsigned)g->c->s.rip);
	for (const uint8_t *at = g->ram->host + LOG; g_test_verbose() && le32_load(at + 8); at += 16)
		g_test_message("%x(%x) cs %x cr2 %x", le32_load(at), le32_load(at + 4),
			       le32_load(at + 8), le32_load(at + 12));
	for (unsigned i = 0; i < G_N_ELEMENTS(expected); i++) {
		const struct event *e = &expected[i];
		const uint8_t *at = g->ram->host + LOG + i * 16;
		struct event got = { le32_load(at), le32_load(at + 4), le32_load(at + 8),
				     le32_load(at + 12) };
		if (e->vector != 14)
			got.cr2 = 0;
		if (got.vector != e->vector || got.error != e->error || got.cs != e->cs ||
		    got.cr2 != e->cr2)
			g_error("event %u: got %x(%x) cs %x cr2 %x, want %x(%x) cs %x cr2 %x", i,
				got.vector, got.error, got.cs, got.cr2, e->vector, e->error, e->cs,
				e->cr2);
	}
	g_assert_cmpint(code, ==, 0);
	soft_guest_free(g);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/soft/system64/all-faults", test_all_faults);
	return g_test_run();
}
