/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Local APICs alone: a few of them, a clock that the test turns, and a log of what they tell. */
#include "cpu/x86/lapic.h"

#include "base/bytes.h"

#include <glib.h>
#include <string.h>

enum { COUNT = 4 };
enum {
	ID = 0x20, VERSION = 0x30, TPR = 0x80, PPR = 0xa0, EOI = 0xb0, LDR = 0xd0, DFR = 0xe0,
	SVR = 0xf0, ISR = 0x100, TMR = 0x180, IRR = 0x200, ESR = 0x280, ICR = 0x300, ICR2 = 0x310,
	LVT_TIMER = 0x320, LINT0 = 0x350, LINT1 = 0x360, LVT_ERROR = 0x370, INITIAL = 0x380,
	CURRENT = 0x390, DIVIDE = 0x3e0,
};

struct node {
	struct lapic *lapic;
	unsigned nmi, init, sipi, interrupts, eois;
	uint8_t sipi_vector, eoi_vector;
};
static struct node nodes[COUNT];
static int64_t now;

static void notify(void *opaque, enum lapic_event event, uint8_t vector)
{
	struct node *n = opaque;
	switch (event) {
	case LAPIC_EVENT_INTERRUPT:
		n->interrupts++;
		break;
	case LAPIC_EVENT_NMI:
		n->nmi++;
		break;
	case LAPIC_EVENT_INIT:
		n->init++;
		break;
	case LAPIC_EVENT_SIPI:
		n->sipi++;
		n->sipi_vector = vector;
		break;
	}
}

static void eoi(void *opaque, uint8_t vector)
{
	struct node *n = opaque;
	n->eois++;
	n->eoi_vector = vector;
}

static struct lapic *peer(void *opaque, unsigned index)
{
	return index < COUNT ? nodes[index].lapic : NULL;
}

static int64_t clock_now(void *opaque)
{
	return now;
}

/* The test's TSC runs at 2 GHz from zero. */
static int64_t tsc_moment(void *opaque, uint64_t tsc)
{
	return tsc / 2;
}

static const struct lapic_ops ops = {
	.notify = notify, .eoi = eoi, .peer = peer, .now = clock_now, .tsc_moment = tsc_moment,
};

static void setup(void)
{
	now = 1000;
	for (unsigned i = 0; i < COUNT; i++) {
		nodes[i] = (struct node){ 0 };
		nodes[i].lapic = lapic_new(&ops, &nodes[i], i, i == 0);
	}
	for (unsigned i = 0; i < COUNT; i++)
		lapic_mmio_write(nodes[i].lapic, SVR, 0x1ff);
}

static void teardown(void)
{
	for (unsigned i = 0; i < COUNT; i++)
		lapic_free(nodes[i].lapic);
}

static bool requested(unsigned i, uint8_t vector)
{
	return lapic_mmio_read(nodes[i].lapic, IRR + vector / 32 * 16) >> vector % 32 & 1;
}

/* Which of the nodes have `vector` in IRR; takes it from them. */
static unsigned who(uint8_t vector)
{
	unsigned mask = 0;
	for (unsigned i = 0; i < COUNT; i++) {
		if (!requested(i, vector))
			continue;
		mask |= 1u << i;
		g_assert_cmpint(lapic_acknowledge(nodes[i].lapic), ==, vector);
		lapic_mmio_write(nodes[i].lapic, EOI, 0);
	}
	return mask;
}

static void icr(unsigned from, uint32_t high, uint32_t low)
{
	lapic_mmio_write(nodes[from].lapic, ICR2, high);
	lapic_mmio_write(nodes[from].lapic, ICR, low);
}

static void test_priorities(void)
{
	struct lapic *l;
	setup();
	l = nodes[0].lapic;
	icr(0, 0, 0x40031); /* self, vector 0x31 */
	icr(0, 0, 0x40045);
	g_assert_cmpint(lapic_pending_vector(l), ==, 0x45);
	g_assert_cmpint(lapic_acknowledge(l), ==, 0x45);
	g_assert_cmphex(lapic_mmio_read(l, PPR), ==, 0x40);
	g_assert_cmpint(lapic_pending_vector(l), ==, -1);
	icr(0, 0, 0x40052);
	g_assert_cmpint(lapic_acknowledge(l), ==, 0x52);
	g_assert_cmphex(lapic_mmio_read(l, ISR + 0x20), ==, 1 << 5 | 1 << 18);
	lapic_mmio_write(l, EOI, 0);
	g_assert_cmphex(lapic_mmio_read(l, ISR + 0x20), ==, 1 << 5);
	unsigned before = nodes[0].interrupts;
	lapic_mmio_write(l, EOI, 0);
	g_assert_cmpuint(nodes[0].interrupts, ==, before + 1); /* 0x31 can come now */
	lapic_mmio_write(l, TPR, 0x35);
	g_assert_cmpint(lapic_pending_vector(l), ==, -1);
	g_assert_cmpint(lapic_cr8_get(l), ==, 3);
	lapic_cr8_set(l, 2);
	g_assert_cmpint(lapic_acknowledge(l), ==, 0x31);
	g_assert_cmpint(lapic_acknowledge(l), ==, -1);
	teardown();
}

static void test_physical(void)
{
	setup();
	icr(0, 2u << 24, 0x40);
	g_assert_cmphex(who(0x40), ==, 1 << 2);
	icr(0, 0xffu << 24, 0x41);
	g_assert_cmphex(who(0x41), ==, 15);
	icr(1, 0, 0x80042);
	g_assert_cmphex(who(0x42), ==, 15);
	icr(1, 0, 0xc0043);
	g_assert_cmphex(who(0x43), ==, 13);
	icr(1, 3u << 24, 0x400); /* NMI */
	g_assert_cmpuint(nodes[3].nmi, ==, 1);
	icr(0, 0, 0xc4500); /* INIT to all others */
	icr(0, 0, 0xc8500); /* its de-assert does nothing */
	icr(0, 0, 0xc469a); /* SIPI */
	g_assert_cmpuint(nodes[0].init, ==, 0);
	for (unsigned i = 1; i < COUNT; i++) {
		g_assert_cmpuint(nodes[i].init, ==, 1);
		g_assert_cmpuint(nodes[i].sipi, ==, 1);
		g_assert_cmphex(nodes[i].sipi_vector, ==, 0x9a);
	}
	teardown();
}

static void test_logical(void)
{
	setup();
	for (unsigned i = 0; i < COUNT; i++)
		lapic_mmio_write(nodes[i].lapic, LDR, 1u << (24 + i));
	icr(0, 5u << 24, 0x840);
	g_assert_cmphex(who(0x40), ==, 5);
	/* Cluster mode: clusters 0 and 1 with two members each. */
	for (unsigned i = 0; i < COUNT; i++) {
		lapic_mmio_write(nodes[i].lapic, DFR, 0);
		lapic_mmio_write(nodes[i].lapic, LDR, (i / 2) << 28 | 1u << (24 + i % 2));
	}
	icr(0, 0x13u << 24, 0x841);
	g_assert_cmphex(who(0x41), ==, 12);
	icr(0, 0xf1u << 24, 0x842);
	g_assert_cmphex(who(0x42), ==, 5);
	teardown();
}

static void test_lowest(void)
{
	setup();
	for (unsigned i = 0; i < COUNT; i++) {
		lapic_mmio_write(nodes[i].lapic, LDR, 1u << (24 + i));
		lapic_mmio_write(nodes[i].lapic, TPR, 0x90 - i * 0x10);
	}
	icr(0, 7u << 24, 0x9c1); /* lowest priority among 0 to 2 */
	g_assert_cmphex(who(0xc1), ==, 1 << 2);
	lapic_mmio_write(nodes[2].lapic, SVR, 0xff); /* off: not eligible */
	icr(0, 7u << 24, 0x9c1);
	g_assert_cmphex(who(0xc1), ==, 1 << 1);
	teardown();
}

static void test_level_and_msi(void)
{
	setup();
	struct lapic_message m = { .destination = 1, .vector = 0x60, .level = true };
	lapic_send(nodes[0].lapic, &m);
	g_assert_cmphex(lapic_mmio_read(nodes[1].lapic, TMR + 0x30), ==, 1);
	g_assert_cmphex(who(0x60), ==, 2);
	g_assert_cmpuint(nodes[1].eois, ==, 1);
	g_assert_cmphex(nodes[1].eoi_vector, ==, 0x60);
	lapic_send_msi(nodes[0].lapic, 0xfee03000, 0x61);
	g_assert_cmphex(who(0x61), ==, 8);
	g_assert_cmpuint(nodes[3].eois, ==, 0);
	lapic_send_msi(nodes[0].lapic, 0xfee02000, 0x400);
	g_assert_cmpuint(nodes[2].nmi, ==, 1);
	teardown();
}

static void test_errors(void)
{
	struct lapic *l;
	setup();
	l = nodes[0].lapic;
	lapic_mmio_write(l, LVT_ERROR, 0xfe);
	icr(0, 1u << 24, 0x05); /* an illegal vector */
	g_assert_cmphex(who(0xfe), ==, 1);
	g_assert_cmphex(lapic_mmio_read(l, ESR), ==, 0);
	lapic_mmio_write(l, ESR, 0);
	g_assert_cmphex(lapic_mmio_read(l, ESR), ==, 1 << 5);
	lapic_mmio_write(l, 0x40, 1); /* no such register */
	lapic_mmio_write(l, ESR, 0);
	g_assert_cmphex(lapic_mmio_read(l, ESR), ==, 1 << 7);
	g_assert_cmphex(lapic_mmio_read(l, VERSION) & 0xff, ==, 0x14);
	lapic_mmio_write(l, 3, 7); /* misaligned: nothing */
	teardown();
}

static void test_software_disable(void)
{
	struct lapic *l;
	setup();
	l = nodes[0].lapic;
	lapic_mmio_write(l, LINT0, 0x700);
	g_assert_true(lapic_accepts_extint(l));
	lapic_mmio_write(l, SVR, 0xff);
	g_assert_false(lapic_accepts_extint(l));
	icr(1, 0, 0x44);
	g_assert_cmphex(who(0x44), ==, 0);
	lapic_mmio_write(l, LINT0, 0x700); /* stays masked */
	g_assert_cmphex(lapic_mmio_read(l, LINT0), ==, 0x10700);
	/* Hardware-disabled: the boot processor's PIC interrupts come as without an APIC. */
	g_assert_true(lapic_base_set(l, 0xfee00000, 40, true));
	g_assert_true(lapic_accepts_extint(l));
	g_assert_false(lapic_page_matches(l, 0xfee00000));
	lapic_lint1_nmi(l);
	g_assert_cmpuint(nodes[0].nmi, ==, 1);
	teardown();
}

static void test_timer(void)
{
	struct lapic *l;
	setup();
	l = nodes[0].lapic;
	lapic_mmio_write(l, DIVIDE, 0xb); /* by 1 */
	lapic_mmio_write(l, LVT_TIMER, 0x20);
	lapic_mmio_write(l, INITIAL, 100000);
	g_assert_cmpint(lapic_timer_deadline(l), ==, 101000);
	now += 40000;
	g_assert_cmpuint(lapic_mmio_read(l, CURRENT), ==, 60000);
	lapic_timer_poll(l);
	g_assert_cmphex(who(0x20), ==, 0);
	now = 101000;
	lapic_timer_poll(l);
	g_assert_cmphex(who(0x20), ==, 1);
	g_assert_cmpint(lapic_timer_deadline(l), ==, LAPIC_NEVER);
	g_assert_cmpuint(lapic_mmio_read(l, CURRENT), ==, 0);
	/* Periodic, divided by 16. */
	lapic_mmio_write(l, DIVIDE, 3);
	lapic_mmio_write(l, LVT_TIMER, 0x20021);
	lapic_mmio_write(l, INITIAL, 10000);
	for (unsigned i = 0; i < 3; i++) {
		now += 160000;
		lapic_timer_poll(l);
		g_assert_cmphex(who(0x21), ==, 1);
	}
	g_assert_cmpint(lapic_timer_deadline(l), ==, now + 160000);
	/* Late by two and a half periods: one interrupt, and the beat goes on. */
	int64_t beat = lapic_timer_deadline(l);
	now = beat + 400000;
	lapic_timer_poll(l);
	g_assert_cmphex(who(0x21), ==, 1);
	g_assert_cmpint(lapic_timer_deadline(l), ==, beat + 480000);
	lapic_timer_put_off(l, 1000);
	g_assert_cmpint(lapic_timer_deadline(l), ==, beat + 481000);
	lapic_mmio_write(l, INITIAL, 0);
	g_assert_cmpint(lapic_timer_deadline(l), ==, LAPIC_NEVER);
	teardown();
}

static void test_tsc_deadline(void)
{
	struct lapic *l;
	setup();
	l = nodes[0].lapic;
	lapic_tsc_deadline_set(l, 5000000); /* not in that mode: ignored */
	g_assert_cmpint(lapic_timer_deadline(l), ==, LAPIC_NEVER);
	lapic_mmio_write(l, LVT_TIMER, 0x400ec);
	lapic_mmio_write(l, INITIAL, 5); /* ignored here */
	lapic_tsc_deadline_set(l, 5000000);
	g_assert_cmpint(lapic_timer_deadline(l), ==, 2500000);
	g_assert_cmpuint(lapic_tsc_deadline_get(l), ==, 5000000);
	now = 2500000;
	lapic_timer_poll(l);
	g_assert_cmpuint(lapic_tsc_deadline_get(l), ==, 0);
	g_assert_cmphex(who(0xec), ==, 1);
	lapic_tsc_deadline_set(l, 100); /* in the past: at once */
	g_assert_cmphex(who(0xec), ==, 1);
	lapic_tsc_deadline_set(l, 8000000);
	lapic_tsc_deadline_set(l, 0);
	g_assert_cmpint(lapic_timer_deadline(l), ==, LAPIC_NEVER);
	teardown();
}

static void test_x2apic(void)
{
	uint64_t value;
	setup();
	struct lapic *l = nodes[1].lapic;
	g_assert_false(lapic_msr_read(l, 0x802, &value));
	g_assert_false(lapic_base_set(l, 0xfee00c00, 40, false)); /* no such feature */
	g_assert_true(lapic_base_set(l, 0xfee00c00, 40, true));
	g_assert_false(lapic_base_set(l, 0xfee00800, 40, true)); /* only by way of "off" */
	g_assert_false(lapic_base_set(l, 0xfee00400, 40, true));
	g_assert_false(lapic_base_set(l, UINT64_C(1) << 41 | 0xc00, 40, true));
	g_assert_false(lapic_page_matches(l, 0xfee00000));
	g_assert_true(lapic_msr_read(l, 0x802, &value));
	g_assert_cmphex(value, ==, 1);
	g_assert_true(lapic_msr_read(l, 0x80d, &value));
	g_assert_cmphex(value, ==, 2); /* cluster 0, member 1 */
	g_assert_false(lapic_msr_read(l, 0x80e, &value)); /* no DFR */
	g_assert_false(lapic_msr_write(l, 0x80b, 1));     /* EOI takes zero only */
	g_assert_false(lapic_msr_write(l, 0x808, 0x100));
	g_assert_false(lapic_msr_write(l, 0x802, 5));
	g_assert_true(lapic_msr_write(l, 0x83f, 0x55)); /* self IPI */
	g_assert_true(lapic_msr_read(l, 0x822, &value));
	g_assert_cmphex(value, ==, 1 << 0x15);
	g_assert_cmpint(lapic_acknowledge(l), ==, 0x55);
	g_assert_true(lapic_msr_write(l, 0x80b, 0));
	/* Physical, logical and broadcast, from x2APIC to a mixture. */
	g_assert_true(lapic_msr_write(l, 0x830, UINT64_C(2) << 32 | 0x40));
	g_assert_cmphex(who(0x40), ==, 4);
	g_assert_true(lapic_msr_write(l, 0x830, UINT64_C(0xffffffff) << 32 | 0x41));
	g_assert_true(requested(0, 0x41) && requested(2, 0x41) && requested(3, 0x41));
	g_assert_cmpint(lapic_acknowledge(l), ==, 0x41);
	g_assert_true(lapic_msr_write(l, 0x80b, 0));
	g_assert_true(lapic_msr_write(l, 0x830, UINT64_C(0x00000002) << 32 | 0x842));
	g_assert_cmpint(lapic_acknowledge(l), ==, 0x42);
	g_assert_true(lapic_base_set(l, 0xfee00000, 40, true));
	g_assert_true(lapic_base_set(l, 0xfee00800, 40, true));
	teardown();
}

static void test_save(void)
{
	uint8_t page[0x400], again[0x400];
	setup();
	struct lapic *l = nodes[2].lapic;
	lapic_mmio_write(l, LDR, 0x04000000);
	lapic_mmio_write(l, TPR, 0x20);
	lapic_mmio_write(l, LVT_TIMER, 0x200ef);
	lapic_mmio_write(l, DIVIDE, 0xb);
	lapic_mmio_write(l, INITIAL, 50000);
	icr(2, 0, 0x40070);
	icr(2, 0, 0x40091);
	lapic_acknowledge(l);
	now += 10000;
	lapic_save(l, page);
	uint64_t base = lapic_base_get(l);
	lapic_reset(l, false);
	lapic_load(l, page, base, 0);
	lapic_save(l, again);
	g_assert_cmpmem(page, sizeof(page), again, sizeof(again));
	g_assert_cmpint(lapic_timer_deadline(l), ==, now + 40000);
	lapic_mmio_write(l, EOI, 0);
	g_assert_cmpint(lapic_acknowledge(l), ==, 0x70);
	teardown();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/lapic/priorities", test_priorities);
	g_test_add_func("/lapic/physical", test_physical);
	g_test_add_func("/lapic/logical", test_logical);
	g_test_add_func("/lapic/lowest", test_lowest);
	g_test_add_func("/lapic/level-and-msi", test_level_and_msi);
	g_test_add_func("/lapic/errors", test_errors);
	g_test_add_func("/lapic/software-disable", test_software_disable);
	g_test_add_func("/lapic/timer", test_timer);
	g_test_add_func("/lapic/tsc-deadline", test_tsc_deadline);
	g_test_add_func("/lapic/x2apic", test_x2apic);
	g_test_add_func("/lapic/save", test_save);
	return g_test_run();
}
