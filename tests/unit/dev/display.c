/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bochs-display: what the registers show of the memory, and a guest that sets what cannot be shown. */
#include "base/bytes.h"
#include "dev/display/displays.h"
#include "dev/pci/pci.h"
#include "fixture.h"

enum { FRAMEBUFFER = 0xe0000000, WINDOW = 0xf0000000, VGAMEM = 4 << 20 };
enum { WIDTH = 1, HEIGHT, BPP, ENABLE, BANK, VIRTUAL_WIDTH, VIRTUAL_HEIGHT, X, Y, MEMORY, REGISTERS };

struct bench {
	struct fixture f;
	struct pci_bus *bus;
	struct device *dev;
	unsigned devfn;
};

static void map(struct bench *b, uint32_t framebuffer)
{
	pci_config_write(b->bus, b->devfn, PCI_BAR0, framebuffer, 4);
	pci_config_write(b->bus, b->devfn, PCI_BAR0 + 8, WINDOW, 4);
	pci_config_write(b->bus, b->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
}

static void bench_open(struct bench *b)
{
	g_autoptr(GError) error = NULL;
	struct irq irqs[4];
	fixture_open(&b->f);
	for (unsigned i = 0; i < 4; i++)
		irqs[i] = fixture_irq(&b->f, i);
	b->bus = pci_bus_new(b->f.vm, irqs);
	b->dev = device_new(&bochs_display_class, "screen", b->f.vm);
	g_assert_true(device_set(b->dev, "vgamem", "4M", NULL, &error));
	b->dev->bus = b->bus;
	g_assert_true(device_realize(b->dev, &error));
	g_assert_true(pci_bus_attach(b->bus, (struct pci_device *)b->dev, &error));
	b->devfn = ((struct pci_device *)b->dev)->devfn;
	map(b, FRAMEBUFFER);
}

static void bench_close(struct bench *b)
{
	pci_bus_detach(b->bus, (struct pci_device *)b->dev);
	device_free(b->dev);
	pci_bus_free(b->bus);
	fixture_close(&b->f);
}

static void set(struct bench *b, unsigned index, unsigned value)
{
	space_write(b->f.vm->memory, WINDOW + 0x500 + 2 * index, value, 2);
}

static void set_mode(struct bench *b, unsigned width, unsigned height, unsigned bpp)
{
	set(b, WIDTH, width);
	set(b, HEIGHT, height);
	set(b, BPP, bpp);
	set(b, ENABLE, 0x41);
}

static struct display_image *look(struct bench *b, GError **error)
{
	const struct display *d = device_display(b->dev);
	return d->ops->capture(d->opaque, error);
}

static void expect_pixel(struct bench *b, unsigned x, unsigned y, uint32_t rgb)
{
	g_autoptr(GError) error = NULL;
	struct display_image *image = look(b, &error);
	g_assert_no_error(error);
	const uint8_t *p = image->rgb + ((size_t)y * image->width + x) * 3;
	g_assert_cmphex((unsigned)p[0] << 16 | p[1] << 8 | p[2], ==, rgb);
	display_image_free(image);
}

static void expect_nothing(struct bench *b)
{
	g_autoptr(GError) error = NULL;
	g_assert_null(look(b, &error));
	g_assert_nonnull(error);
}

static void test_modes(void)
{
	struct bench b;
	bench_open(&b);
	struct space *space = b.f.vm->memory;
	g_assert_cmphex(space_read(space, WINDOW + 0x500, 2), ==, 0xb0c5);
	g_assert_cmphex(space_read(space, WINDOW + 0x500 + 2 * MEMORY, 2), ==, VGAMEM >> 16);
	expect_nothing(&b);
	set_mode(&b, 640, 480, 32);
	space_write(space, FRAMEBUFFER + (7 * 640 + 5) * 4, 0x00123456, 4);
	expect_pixel(&b, 5, 7, 0x123456);
	set(&b, VIRTUAL_WIDTH, 800);
	set(&b, X, 3);
	set(&b, Y, 2);
	space_write(space, FRAMEBUFFER + (9 * 800 + 8) * 4, 0x00abcdef, 4);
	expect_pixel(&b, 5, 7, 0xabcdef);
	set_mode(&b, 640, 480, 16);
	space_write(space, FRAMEBUFFER + (2 * 800 + 3) * 2, 0xf81f, 2);
	expect_pixel(&b, 0, 0, 0xff00ff);
	device_reset(b.dev);
	expect_nothing(&b);
	bench_close(&b);
}

/* Registers whose picture would lie outside of the memory, and accesses of every size everywhere. */
static void test_hostile(void)
{
	static const uint16_t values[] = {0, 1, 8, 16, 24, 32, 63, 64, 640, 1024, 2048, 0x7fff, 0xffff};
	struct bench b;
	bench_open(&b);
	GRand *rand = g_rand_new_with_seed(1);
	unsigned shown = 0;
	for (unsigned i = 0; i < 3000; i++) {
		set_mode(&b, 64, 64, i & 1 ? 16 : 32);
		for (unsigned n = 0; n < 4; n++)
			set(&b, g_rand_int(rand) % (REGISTERS + 4), values[g_rand_int(rand) % G_N_ELEMENTS(values)]);
		space_write(b.f.vm->memory, WINDOW + g_rand_int(rand) % 0xff8, g_rand_int(rand), 1 << (i & 3));
		space_read(b.f.vm->memory, WINDOW + g_rand_int(rand) % 0xff8, 1 << (i & 3));
		struct display_image *image = look(&b, NULL);
		shown += image != NULL;
		display_image_free(image);
	}
	g_assert_cmpuint(shown, >, 0);
	g_assert_cmpuint(shown, <, 3000);
	/* One row more than the memory has. */
	device_reset(b.dev);
	map(&b, FRAMEBUFFER);
	set_mode(&b, 1024, 1024, 32);
	g_assert_true(space_read(b.f.vm->memory, WINDOW + 0x502, 2) == 1024);
	expect_pixel(&b, 1023, 1023, 0);
	set(&b, Y, 1);
	expect_nothing(&b);
	g_rand_free(rand);
	bench_close(&b);
}

/* A framebuffer over the guest's memory hides nothing but that, and moves away again. */
static void test_moved(void)
{
	struct bench b;
	bench_open(&b);
	struct space *space = b.f.vm->memory;
	struct ram_block *other = ram_block_new("other", VGAMEM, NULL, NULL);
	space_add_ram(space, 0x10000000, other, 0, VGAMEM, false, NULL, SPACE_PRIORITY_NORMAL);
	space_write(space, 0x10000000, 0x11, 1);
	map(&b, 0x10000000);
	map(&b, FRAMEBUFFER);
	g_assert_cmphex(space_read(space, 0x10000000, 1), ==, 0x11);
	space_write(space, FRAMEBUFFER, 0x22, 1);
	g_assert_cmphex(space_read(space, FRAMEBUFFER, 1), ==, 0x22);
	pci_config_write(b.bus, b.devfn, PCI_COMMAND, 0, 2);
	g_assert_cmphex(space_read(space, FRAMEBUFFER, 1), ==, 0xff);
	space_remove_ram(space, 0x10000000);
	ram_block_free(other);
	bench_close(&b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/display/modes", test_modes);
	g_test_add_func("/display/hostile", test_hostile);
	g_test_add_func("/display/moved", test_moved);
	return g_test_run();
}
