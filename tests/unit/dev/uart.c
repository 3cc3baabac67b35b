/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 16550A on a stream that this file fakes: it can be slow, and it can offer input. */
#include "dev/chips/uart.h"

#include "chardev/chardev.h"
#include "fixture.h"

#include <string.h>

#define COM1 0x3f8

/* --- the stream ------------------------------------------------------------------------------------ */

struct chardev {
	struct chardev_user user;
	GString *output;
	size_t room; /* how much it takes before it is full */
	unsigned accepts;
};

bool chardev_attach(struct chardev *chr, const struct chardev_user *user, GError **error)
{
	chr->user = *user;
	return true;
}

void chardev_detach(struct chardev *chr, void *opaque)
{
	chr->user = (struct chardev_user){0};
}

size_t chardev_write(struct chardev *chr, const void *data, size_t length)
{
	size_t taken = MIN(length, chr->room);
	g_string_append_len(chr->output, data, taken);
	chr->room -= taken;
	return taken;
}

void chardev_accept_input(struct chardev *chr)
{
	chr->accepts++;
}

static size_t feed(struct chardev *chr, const char *text)
{
	size_t length = MIN(strlen(text), chr->user.can_read(chr->user.opaque));
	if (length)
		chr->user.read(chr->user.opaque, (const uint8_t *)text, length);
	return length;
}

/* --- tests ----------------------------------------------------------------------------------------- */

struct bench {
	struct fixture f;
	struct chardev chr;
	struct uart *uart;
};

static void bench_open(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	fixture_open(&b->f);
	b->chr.output = g_string_new(NULL);
	b->chr.room = SIZE_MAX;
	const struct irq irq = fixture_irq(&b->f, 4);
	b->uart = uart_new(b->f.vm, COM1, &irq, &b->chr, NULL);
}

static void bench_close(struct bench *b)
{
	uart_free(b->uart);
	g_assert_null(b->chr.user.read);
	g_string_free(b->chr.output, TRUE);
	fixture_close(&b->f);
}

static void test_output(void)
{
	struct bench b;
	bench_open(&b);
	g_assert_cmphex(inb(&b.f, COM1 + 5), ==, 0x60);
	outb(&b.f, COM1, 'a');
	g_assert_cmpstr(b.chr.output->str, ==, "a");
	g_assert_cmphex(inb(&b.f, COM1 + 5), ==, 0x60);
	/* A full stream: THRE stays low until it has room, and nothing is lost. */
	outb(&b.f, COM1 + 2, 0x07);
	outb(&b.f, COM1 + 1, 0x02);
	g_assert_cmphex(inb(&b.f, COM1 + 2), ==, 0xc2);
	b.chr.room = 1;
	outb(&b.f, COM1, 'b');
	outb(&b.f, COM1, 'c');
	outb(&b.f, COM1, 'd');
	g_assert_cmphex(inb(&b.f, COM1 + 5) & 0x60, ==, 0);
	b.chr.room = 1;
	b.chr.user.writable(b.chr.user.opaque);
	g_assert_cmphex(inb(&b.f, COM1 + 5) & 0x60, ==, 0);
	g_assert_false(b.f.level[4] && (inb(&b.f, COM1 + 2) & 0x0f) == 2);
	b.chr.room = 100;
	b.chr.user.writable(b.chr.user.opaque);
	g_assert_cmpstr(b.chr.output->str, ==, "abcd");
	g_assert_cmphex(inb(&b.f, COM1 + 5) & 0x60, ==, 0x60);
	g_assert_true(b.f.level[4]);
	g_assert_cmphex(inb(&b.f, COM1 + 2), ==, 0xc2); /* reading takes the interrupt back */
	g_assert_false(b.f.level[4]);
	bench_close(&b);
}

static void test_input(void)
{
	struct bench b;
	bench_open(&b);
	outb(&b.f, COM1 + 1, 0x01);
	/* Without FIFO: one byte at a time, then the stream waits. */
	g_assert_cmpuint(feed(&b.chr, "xy"), ==, 1);
	g_assert_true(b.f.level[4]);
	g_assert_cmpuint(feed(&b.chr, "y"), ==, 0);
	g_assert_cmpuint(inb(&b.f, COM1), ==, 'x');
	g_assert_false(b.f.level[4]);
	g_assert_true(fixture_wait(&b.f, &b.chr.accepts, 1));
	/* FIFO with a trigger at 8. */
	outb(&b.f, COM1 + 2, 0x87);
	g_assert_cmpuint(feed(&b.chr, "0123456789abcdefXX"), ==, 16);
	g_assert_cmphex(inb(&b.f, COM1 + 2), ==, 0xc4);
	for (unsigned i = 0; i < 9; i++)
		inb(&b.f, COM1);
	/* Below the trigger: the time-out tells of the rest. */
	g_assert_cmphex(inb(&b.f, COM1 + 2), ==, 0xc1);
	unsigned before = b.f.edges[4];
	g_assert_true(fixture_wait(&b.f, &b.f.edges[4], before + 1));
	g_assert_cmphex(inb(&b.f, COM1 + 2), ==, 0xcc);
	g_assert_cmpuint(inb(&b.f, COM1), ==, '9');
	outb(&b.f, COM1 + 2, 0x03); /* clear */
	g_assert_cmphex(inb(&b.f, COM1 + 5) & 1, ==, 0);
	bench_close(&b);
}

static void test_line(void)
{
	struct bench b;
	bench_open(&b);
	outb(&b.f, COM1 + 1, 0x04);
	b.chr.user.event(b.chr.user.opaque, CHARDEV_BREAK);
	g_assert_true(b.f.level[4]);
	g_assert_cmphex(inb(&b.f, COM1 + 2), ==, 0x06);
	g_assert_cmphex(inb(&b.f, COM1 + 5) & 0x11, ==, 0x11);
	g_assert_false(b.f.level[4]);
	/* Divisor latch and scratch. */
	outb(&b.f, COM1 + 3, 0x83);
	outb(&b.f, COM1, 0x34);
	outb(&b.f, COM1 + 1, 0x12);
	g_assert_cmphex(inb(&b.f, COM1), ==, 0x34);
	outb(&b.f, COM1 + 3, 0x03);
	g_assert_cmphex(inb(&b.f, COM1 + 1), ==, 0x04);
	outb(&b.f, COM1 + 7, 0x5a);
	g_assert_cmphex(inb(&b.f, COM1 + 7), ==, 0x5a);
	/* Loop-back: outputs appear at the modem inputs, bytes at the receiver. */
	inb(&b.f, COM1);
	outb(&b.f, COM1 + 4, 0x1a);
	inb(&b.f, COM1 + 6);
	g_assert_cmphex(inb(&b.f, COM1 + 6) & 0xf0, ==, 0x90);
	outb(&b.f, COM1, 'L');
	g_assert_cmpuint(b.chr.output->len, ==, 0);
	g_assert_cmpuint(inb(&b.f, COM1), ==, 'L');
	/* The stream waits meanwhile, and is asked again afterwards. */
	unsigned before = b.chr.accepts;
	g_assert_cmpuint(feed(&b.chr, "x"), ==, 0);
	outb(&b.f, COM1 + 4, 0x08);
	g_assert_true(fixture_wait(&b.f, &b.chr.accepts, before + 1));
	g_assert_cmpuint(feed(&b.chr, "x"), ==, 1);
	bench_close(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/uart/output", test_output);
	g_test_add_func("/uart/input", test_input);
	g_test_add_func("/uart/line", test_line);
	return g_test_run();
}
