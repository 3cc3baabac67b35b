/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PIT, RTC, HPET, the ACPI PM block and the watchdog: counters against the host's clock, interrupts by the loop. */
#include "dev/chips/acpi_pm.h"
#include "dev/chips/hpet.h"
#include "dev/chips/i6300esb.h"
#include "dev/chips/pit.h"
#include "dev/chips/rtc.h"
#include "dev/pci/pci.h"
#include "fixture.h"

#include <time.h>

#define HPET_BASE 0xfed00000
#define MS        INT64_C(1000000)

static uint16_t pit_latch(struct fixture *f, unsigned channel)
{
	outb(f, 0x43, channel << 6);
	uint8_t low = inb(f, 0x40 + channel);
	return low | inb(f, 0x40 + channel) << 8;
}

static void test_pit(void)
{
	struct fixture f;
	fixture_open(&f);
	const struct irq irq = fixture_irq(&f, 0);
	struct pit *pit = pit_new(f.vm, &irq);
	/* Channel 0, mode 2, 1 ms. */
	outb(&f, 0x43, 0x34);
	outb(&f, 0x40, 1193 & 0xff);
	outb(&f, 0x40, 1193 >> 8);
	g_assert_true(fixture_wait(&f, &f.edges[0], 5));
	uint16_t count = pit_latch(&f, 0);
	g_assert_cmpuint(count, >=, 1);
	g_assert_cmpuint(count, <=, 1193);
	/* Mode 0 fires once. */
	outb(&f, 0x43, 0x30);
	unsigned before = f.edges[0];
	outb(&f, 0x40, 0);
	outb(&f, 0x40, 4); /* 0.86 ms */
	g_assert_true(fixture_wait(&f, &f.edges[0], before + 1));
	fixture_sleep(&f, 5 * MS);
	g_assert_cmpuint(f.edges[0], ==, before + 1);
	/* Read-back of status: output high, mode 0, word access. */
	outb(&f, 0x43, 0xe2);
	g_assert_cmphex(inb(&f, 0x40), ==, 0xb0);
	/* Channel 2 through port 61h: mode 0 ends after its count. */
	outb(&f, 0x61, 1);
	outb(&f, 0x43, 0xb0);
	outb(&f, 0x42, 0);
	outb(&f, 0x42, 8); /* 1.7 ms */
	g_assert_cmphex(inb(&f, 0x61) & 0x21, ==, 0x01);
	fixture_sleep(&f, 3 * MS);
	g_assert_cmphex(inb(&f, 0x61) & 0x21, ==, 0x21);
	pit_free(pit);
	fixture_close(&f);
}

static uint8_t cmos(struct fixture *f, uint8_t index)
{
	outb(f, 0x70, index);
	return inb(f, 0x71);
}

static void cmos_write(struct fixture *f, uint8_t index, uint8_t value)
{
	outb(f, 0x70, index);
	outb(f, 0x71, value);
}

static void test_rtc_time(void)
{
	struct fixture f;
	fixture_open(&f);
	const struct irq irq = fixture_irq(&f, 8);
	struct rtc *rtc = rtc_new(f.vm, &irq, &(struct rtc_config){0});
	time_t now = time(NULL);
	struct tm tm;
	gmtime_r(&now, &tm);
	unsigned year = cmos(&f, 9);
	g_assert_cmpuint((year >> 4) * 10 + (year & 15), ==, tm.tm_year % 100);
	g_assert_cmphex(cmos(&f, 0x32), ==, 0x20);
	/* Set 1999-12-31 23:59:58, binary, 24 hours. */
	cmos_write(&f, 0xb, 0x86);
	static const uint8_t fields[][2] = {{0, 58}, {2, 59}, {4, 23}, {7, 31}, {8, 12}, {9, 99},
					    {0x32, 19}};
	for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++)
		cmos_write(&f, fields[i][0], fields[i][1]);
	cmos_write(&f, 0xb, 0x06);
	g_assert_cmpuint(cmos(&f, 4), ==, 23);
	g_assert_cmpuint(cmos(&f, 9), ==, 99);
	struct tm set = {.tm_year = 99, .tm_mon = 11, .tm_mday = 31, .tm_hour = 23, .tm_min = 59,
			 .tm_sec = 58};
	int64_t offset = timegm(&set) - now;
	g_assert_cmpint(ABS(rtc_offset(rtc) - offset), <=, 2);
	/* 12-hour format: 11 pm. */
	cmos_write(&f, 0xb, 0x04);
	g_assert_cmphex(cmos(&f, 4), ==, 0x80 | 11);
	rtc_free(rtc);
	fixture_close(&f);
}

static void test_rtc_interrupts(void)
{
	struct fixture f;
	fixture_open(&f);
	const struct irq irq = fixture_irq(&f, 8);
	struct rtc *rtc = rtc_new(f.vm, &irq, &(struct rtc_config){0});
	/* Periodic, 1024 Hz: no second interrupt before C is read. */
	cmos_write(&f, 0xb, 0x42);
	g_assert_true(fixture_wait(&f, &f.edges[8], 1));
	fixture_sleep(&f, 5 * MS);
	g_assert_cmpuint(f.edges[8], ==, 1);
	g_assert_cmphex(cmos(&f, 0xc) & 0xc0, ==, 0xc0);
	g_assert_false(f.level[8]);
	g_assert_true(fixture_wait(&f, &f.edges[8], 2));
	/* Update-ended, and an alarm at every second. */
	cmos_write(&f, 0xb, 0x32);
	for (unsigned reg = 1; reg <= 5; reg += 2)
		cmos_write(&f, reg, 0xff);
	cmos(&f, 0xc);
	g_assert_true(fixture_wait(&f, &f.edges[8], 3));
	g_assert_cmphex(cmos(&f, 0xc) & 0xb0, ==, 0xb0);
	rtc_reset(rtc);
	g_assert_cmphex(cmos(&f, 0xb) & 0x70, ==, 0);
	rtc_free(rtc);
	fixture_close(&f);
}

/* clock=vm with driftfix=slew: nothing in a pause; ticks missed in one run come at each read of C. */
static void test_rtc_vm_clock(void)
{
	struct fixture f;
	fixture_open(&f);
	const struct irq irq = fixture_irq(&f, 8);
	const struct rtc_config config = {.clock = RTC_CLOCK_VM, .offset = 1000, .catch_up = true};
	struct rtc *rtc = rtc_new(f.vm, &irq, &config);
	g_assert_cmpint(ABS(rtc_offset(rtc) - 1000), <=, 1);
	cmos_write(&f, 0xb, 0x42);
	g_assert_true(fixture_wait(&f, &f.edges[8], 1));
	fixture_sleep(&f, 10 * MS);
	for (unsigned i = 2; i <= 5; i++) {
		cmos(&f, 0xc);
		g_assert_true(f.level[8]);
		g_assert_cmpuint(f.edges[8], ==, i);
	}
	cmos_write(&f, 0xb, 0x02);
	cmos(&f, 0xc);
	vm_pause(f.vm, VM_STATE_PAUSED);
	cmos_write(&f, 0xb, 0x42);
	cmos(&f, 0xc);
	unsigned before = f.edges[8];
	fixture_sleep(&f, 5 * MS);
	g_assert_cmpuint(f.edges[8], ==, before);
	vm_resume(f.vm);
	g_assert_true(fixture_wait(&f, &f.edges[8], before + 1));
	rtc_free(rtc);
	fixture_close(&f);
}

static uint64_t hpet_read(struct fixture *f, unsigned reg)
{
	return space_read(f->vm->memory, HPET_BASE + reg, 8);
}

static void hpet_write(struct fixture *f, unsigned reg, uint64_t value)
{
	space_write(f->vm->memory, HPET_BASE + reg, value, 8);
}

static void test_hpet(void)
{
	struct fixture f;
	fixture_open(&f);
	struct irq gsi[HPET_PINS];
	for (unsigned i = 0; i < HPET_PINS; i++)
		gsi[i] = fixture_irq(&f, i);
	struct hpet *hpet = hpet_new(f.vm, HPET_BASE, gsi, &gsi[0], &gsi[8]);
	g_assert_cmphex(hpet_read(&f, 0), ==, UINT64_C(0x009896808086a201));
	g_assert_cmphex(hpet_read(&f, 0x100) >> 32, ==, 0xff0104);
	hpet_write(&f, 0x10, 1);
	uint64_t a = hpet_read(&f, 0xf0);
	fixture_sleep(&f, 2 * MS);
	uint64_t b = hpet_read(&f, 0xf0);
	g_assert_cmpuint(b - a, >=, 200000);
	g_assert_cmpuint(b - a, <, 200000000);
	/* One-shot to GSI 16. */
	hpet_write(&f, 0x100, 16 << 9 | 1 << 2);
	hpet_write(&f, 0x108, hpet_read(&f, 0xf0) + 100000);
	g_assert_true(fixture_wait(&f, &f.edges[16], 1));
	fixture_sleep(&f, 3 * MS);
	g_assert_cmpuint(f.edges[16], ==, 1);
	/* Periodic, level: one edge until the status bit is cleared. */
	hpet_write(&f, 0x120, 17 << 9 | 1 << 6 | 1 << 3 | 1 << 2 | 1 << 1);
	hpet_write(&f, 0x128, hpet_read(&f, 0xf0) + 100000);
	hpet_write(&f, 0x128, 100000);
	g_assert_true(fixture_wait(&f, &f.edges[17], 1));
	fixture_sleep(&f, 3 * MS);
	g_assert_cmpuint(f.edges[17], ==, 1);
	g_assert_cmphex(hpet_read(&f, 0x20), ==, 2);
	hpet_write(&f, 0x20, 2);
	g_assert_false(f.level[17]);
	g_assert_true(fixture_wait(&f, &f.edges[17], 2));
	/* Legacy replacement takes IRQ 0 away from the PIT. */
	hpet_legacy_input(hpet, 0, true);
	g_assert_true(f.level[0]);
	hpet_legacy_input(hpet, 0, false);
	hpet_write(&f, 0x10, 3);
	unsigned before = f.edges[0];
	hpet_legacy_input(hpet, 0, true);
	g_assert_false(f.level[0]);
	hpet_write(&f, 0x100, 1 << 2);
	hpet_write(&f, 0x108, hpet_read(&f, 0xf0) + 1000);
	g_assert_true(fixture_wait(&f, &f.edges[0], before + 1));
	hpet_free(hpet);
	fixture_close(&f);
}

static void test_acpi_pm(void)
{
	struct fixture f;
	fixture_open(&f);
	const struct irq sci = fixture_irq(&f, 9);
	struct acpi_pm *pm = acpi_pm_new(f.vm, &sci);
	acpi_pm_map(pm, 0x600);
	struct space *io = f.vm->ports;
	uint32_t a = space_read(io, 0x608, 4);
	fixture_sleep(&f, 2 * MS);
	uint32_t b = space_read(io, 0x608, 4);
	g_assert_cmpuint((b - a) & 0xffffff, >=, 7000);
	g_assert_cmphex(space_read(io, 0x630, 4) & 0x20, ==, 0x20); /* APMC_EN: no SMM to set up */
	/* The power button interrupts once ACPI mode is on. */
	space_write(io, 0x602, 0x100, 2);
	acpi_pm_power_button(pm);
	g_assert_false(f.level[9]);
	outb(&f, 0xb2, 2);
	g_assert_cmphex(space_read(io, 0x604, 2), ==, 1);
	g_assert_true(f.level[9]);
	g_assert_cmphex(space_read(io, 0x600, 2) & 0x100, ==, 0x100);
	space_write(io, 0x600, 0x100, 2);
	g_assert_false(f.level[9]);
	/* So does the clock chip's alarm. */
	space_write(io, 0x602, 0x400, 2);
	acpi_pm_rtc(pm);
	g_assert_true(f.level[9]);
	space_write(io, 0x600, 0x400, 2);
	g_assert_false(f.level[9]);
	space_write(io, 0x602, 0x100, 2);
	/* GPE: one byte's write clears only its own bits. */
	acpi_pm_gpe(pm, 1);
	acpi_pm_gpe(pm, 9);
	space_write(io, 0x628, 0xffff, 2);
	g_assert_true(f.level[9]);
	outb(&f, 0x620, 0xff);
	g_assert_cmphex(space_read(io, 0x620, 2), ==, 0x200);
	outb(&f, 0x621, 0xff);
	g_assert_false(f.level[9]);
	/* S5. */
	space_write(io, 0x604, 0x2001, 2);
	g_assert_true(fixture_wait(&f, &f.requests[VM_REQUEST_SHUTDOWN], 1));
	g_assert_cmphex(space_read(io, 0x604, 2) & 0x2000, ==, 0);
	acpi_pm_map(pm, 0);
	g_assert_cmphex(space_read(io, 0x608, 4), ==, 0xffffffff);
	acpi_pm_free(pm);
	fixture_close(&f);
}

/* A guest that has it repeat at once gets it again and again, but not more often than the loop bears. */
static void test_watchdog(void)
{
	enum { OUTPUT = 0x60, FAST = 1 << 2, LOCK = 0x68, ENABLE_FREE_RUN = 6, BAR = 0x10000000, RELOAD = 0xc };
	struct fixture f;
	fixture_open(&f);
	struct irq irqs[4];
	for (unsigned i = 0; i < 4; i++)
		irqs[i] = fixture_irq(&f, i);
	struct pci_bus *bus = pci_bus_new(f.vm, irqs);
	struct device *dev = device_new(&i6300esb_class, "dog", f.vm);
	g_assert_true(device_realize(dev, NULL));
	struct pci_device *pci = (struct pci_device *)dev;
	g_assert_true(pci_bus_attach(bus, pci, NULL));
	pci_config_write(bus, pci->devfn, 0x10, BAR, 4);
	pci_config_write(bus, pci->devfn, 0x04, 2, 2);
	/* Both preloads to 0: each write behind the two that unlock it. */
	for (unsigned reg = 0; reg < 8; reg += 4) {
		space_write(f.vm->memory, BAR + RELOAD, 0x80, 2);
		space_write(f.vm->memory, BAR + RELOAD, 0x86, 2);
		space_write(f.vm->memory, BAR + reg, 0, 4);
		g_assert_cmphex(space_read(f.vm->memory, BAR + reg, 4), ==, 0);
	}
	int64_t start = aio_now_ns();
	pci_config_write(bus, pci->devfn, OUTPUT, FAST, 2);
	pci_config_write(bus, pci->devfn, LOCK, ENABLE_FREE_RUN, 1);
	g_assert_true(fixture_wait(&f, &f.requests[VM_REQUEST_WATCHDOG], 3));
	/* Two stages of 10 ms each. */
	g_assert_cmpint((aio_now_ns() - start) / (20 * MS), >=, f.requests[VM_REQUEST_WATCHDOG]);
	pci_config_write(bus, pci->devfn, LOCK, 0, 1);
	device_free(dev);
	pci_bus_free(bus);
	fixture_close(&f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/pit", test_pit);
	g_test_add_func("/rtc/time", test_rtc_time);
	g_test_add_func("/rtc/interrupts", test_rtc_interrupts);
	g_test_add_func("/rtc/vm-clock", test_rtc_vm_clock);
	g_test_add_func("/hpet", test_hpet);
	g_test_add_func("/acpi-pm", test_acpi_pm);
	g_test_add_func("/watchdog", test_watchdog);
	return g_test_run();
}
