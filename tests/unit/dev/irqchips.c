/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 8259 pair and IOAPIC. */
#include "dev/chips/ioapic.h"
#include "dev/chips/pic.h"
#include "fixture.h"

#define IOAPIC_BASE 0xfec00000

static struct pic *pic_start(struct fixture *f)
{
	const struct irq output = fixture_irq(f, 31);
	struct pic *pic = pic_new(f->vm, &output);
	static const uint8_t words[] = {0x11, 0x08, 0x04, 0x01};
	static const uint8_t slave[] = {0x11, 0x70, 0x02, 0x01};
	for (unsigned i = 0; i < 4; i++) {
		outb(f, i ? 0x21 : 0x20, words[i]);
		outb(f, i ? 0xa1 : 0xa0, slave[i]);
	}
	return pic;
}

static void test_pic_priority(void)
{
	struct fixture f;
	fixture_open(&f);
	struct pic *pic = pic_start(&f);
	pic_set_line(pic, 4, true);
	g_assert_true(f.level[31]);
	pic_set_line(pic, 1, true);
	g_assert_cmpint(pic_acknowledge(pic), ==, 0x09);
	/* IRQ 4 waits for the end of IRQ 1. */
	g_assert_false(f.level[31]);
	g_assert_cmpint(pic_acknowledge(pic), ==, -1);
	outb(&f, 0x20, 0x20);
	g_assert_true(f.level[31]);
	g_assert_cmpint(pic_acknowledge(pic), ==, 0x0c);
	outb(&f, 0x20, 0x0b); /* read ISR */
	g_assert_cmpuint(inb(&f, 0x20), ==, 0x10);
	outb(&f, 0x20, 0x64); /* specific EOI of 4 */
	g_assert_cmpuint(inb(&f, 0x20), ==, 0);
	/* The edge was taken: the level alone does not interrupt again. */
	g_assert_false(f.level[31]);
	pic_free(pic);
	fixture_close(&f);
}

static void test_pic_slave(void)
{
	struct fixture f;
	fixture_open(&f);
	struct pic *pic = pic_start(&f);
	pic_set_line(pic, 12, true);
	pic_set_line(pic, 8, true);
	g_assert_cmpint(pic_acknowledge(pic), ==, 0x70);
	outb(&f, 0xa0, 0x20);
	outb(&f, 0x20, 0x20);
	g_assert_true(f.level[31]);
	g_assert_cmpint(pic_acknowledge(pic), ==, 0x74);
	outb(&f, 0xa0, 0x20);
	outb(&f, 0x20, 0x20);
	g_assert_false(f.level[31]);
	pic_free(pic);
	fixture_close(&f);
}

static void test_pic_level(void)
{
	struct fixture f;
	fixture_open(&f);
	struct pic *pic = pic_start(&f);
	outb(&f, 0x4d1, 0xff);
	g_assert_cmpuint(inb(&f, 0x4d1), ==, 0xde); /* 8 and 13 are edges */
	pic_set_line(pic, 11, true);
	g_assert_cmpint(pic_acknowledge(pic), ==, 0x73);
	outb(&f, 0xa0, 0x20);
	outb(&f, 0x20, 0x20);
	g_assert_true(f.level[31]); /* still asserted */
	pic_set_line(pic, 11, false);
	g_assert_false(f.level[31]);
	pic_free(pic);
	fixture_close(&f);
}

static void test_pic_modes(void)
{
	struct fixture f;
	fixture_open(&f);
	struct pic *pic = pic_start(&f);
	/* Special mask: with 1 in service and masked, a lower priority gets through. */
	pic_set_line(pic, 1, true);
	pic_acknowledge(pic);
	pic_set_line(pic, 5, true);
	g_assert_false(f.level[31]);
	outb(&f, 0x21, 0x02);
	outb(&f, 0x20, 0x68);
	g_assert_true(f.level[31]);
	/* Poll mode acknowledges. */
	outb(&f, 0x20, 0x0c);
	g_assert_cmpuint(inb(&f, 0x20), ==, 0x85);
	g_assert_false(f.level[31]);
	/* Auto-EOI leaves nothing in service. */
	outb(&f, 0x20, 0x11);
	outb(&f, 0x21, 0x08);
	outb(&f, 0x21, 0x04);
	outb(&f, 0x21, 0x03);
	pic_set_line(pic, 3, true);
	g_assert_cmpint(pic_acknowledge(pic), ==, 0x0b);
	outb(&f, 0x20, 0x0b);
	g_assert_cmpuint(inb(&f, 0x20), ==, 0);
	/* Rotation: after "lowest is 3", 4 comes before 0. */
	outb(&f, 0x20, 0xc3);
	pic_set_line(pic, 0, true);
	pic_set_line(pic, 4, true);
	g_assert_cmpint(pic_acknowledge(pic), ==, 0x0c);
	pic_free(pic);
	fixture_close(&f);
}

static void redirect(struct fixture *f, unsigned pin, uint64_t entry)
{
	space_write(f->vm->memory, IOAPIC_BASE, 0x11 + 2 * pin, 4);
	space_write(f->vm->memory, IOAPIC_BASE + 0x10, entry >> 32, 4);
	space_write(f->vm->memory, IOAPIC_BASE, 0x10 + 2 * pin, 4);
	space_write(f->vm->memory, IOAPIC_BASE + 0x10, (uint32_t)entry, 4);
}

static uint32_t entry_low(struct fixture *f, unsigned pin)
{
	space_write(f->vm->memory, IOAPIC_BASE, 0x10 + 2 * pin, 4);
	return space_read(f->vm->memory, IOAPIC_BASE + 0x10, 4);
}

static void test_ioapic(void)
{
	struct fixture f;
	fixture_open(&f);
	struct fake_vm *engine = fake_of(f.vm);
	struct ioapic *io = ioapic_new(f.vm, IOAPIC_BASE);
	space_write(f.vm->memory, IOAPIC_BASE, 1, 4);
	g_assert_cmphex(space_read(f.vm->memory, IOAPIC_BASE + 0x10, 4), ==, 0x170020);

	/* Edge: one message for each rise; none while masked, and none later for those. */
	ioapic_set_line(io, 4, true);
	ioapic_set_line(io, 4, false);
	g_assert_cmpuint(engine->msis, ==, 0);
	redirect(&f, 4, UINT64_C(3) << 56 | 0x0841);
	g_assert_cmpuint(engine->msis, ==, 0);
	ioapic_set_line(io, 4, true);
	ioapic_set_line(io, 4, true);
	g_assert_cmpuint(engine->msis, ==, 1);
	g_assert_cmphex(engine->last_msi_address, ==, 0xfee03004);
	g_assert_cmphex(engine->last_msi_data, ==, 0x4041);

	/* Level: remote IRR holds back until EOI, which delivers again while the line is high. */
	redirect(&f, 16, 0x8000 | 0x55);
	ioapic_set_line(io, 16, true);
	g_assert_cmpuint(engine->msis, ==, 2);
	g_assert_cmphex(entry_low(&f, 16), ==, 0xc055);
	ioapic_set_line(io, 16, false);
	ioapic_set_line(io, 16, true);
	g_assert_cmpuint(engine->msis, ==, 2);
	ioapic_eoi(io, 0x54);
	g_assert_cmpuint(engine->msis, ==, 2);
	ioapic_eoi(io, 0x55);
	g_assert_cmpuint(engine->msis, ==, 3);
	ioapic_set_line(io, 16, false);
	space_write(f.vm->memory, IOAPIC_BASE + 0x40, 0x55, 4); /* the EOI register */
	g_assert_cmphex(entry_low(&f, 16), ==, 0x8055);

	/* Masked level: delivered on unmasking. */
	redirect(&f, 17, 0x18000 | 0x56);
	ioapic_set_line(io, 17, true);
	g_assert_cmpuint(engine->msis, ==, 3);
	redirect(&f, 17, 0x8000 | 0x56);
	g_assert_cmpuint(engine->msis, ==, 4);
	ioapic_reset(io);
	g_assert_cmphex(entry_low(&f, 17), ==, 0x10000);
	ioapic_free(io);
	fixture_close(&f);
}

/* A line that nobody takes down: now and then the processor gets time for something else. */
static void test_ioapic_storm(void)
{
	struct fixture f;
	fixture_open(&f);
	struct fake_vm *engine = fake_of(f.vm);
	struct ioapic *io = ioapic_new(f.vm, IOAPIC_BASE);
	redirect(&f, 16, 0x8000 | 0x55);
	ioapic_set_line(io, 16, true);
	unsigned before;
	do {
		before = engine->msis;
		g_assert_cmpuint(before, <, 100000);
		ioapic_eoi(io, 0x55);
	} while (engine->msis > before);
	g_assert_cmpuint(before, >, 100); /* devices that share a line are no storm */
	ioapic_set_line(io, 16, true);
	g_assert_cmpuint(engine->msis, ==, before);
	while (engine->msis == before)
		aio_loop_iterate(f.loop, -1);
	ioapic_eoi(io, 0x55);
	g_assert_cmpuint(engine->msis, ==, before + 2);
	ioapic_free(io);
	fixture_close(&f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/pic/priority", test_pic_priority);
	g_test_add_func("/pic/slave", test_pic_slave);
	g_test_add_func("/pic/level", test_pic_level);
	g_test_add_func("/pic/modes", test_pic_modes);
	g_test_add_func("/ioapic", test_ioapic);
	g_test_add_func("/ioapic/storm", test_ioapic_storm);
	return g_test_run();
}
