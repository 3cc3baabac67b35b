/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bochs-display: a linear framebuffer, and the registers of Bochs' VBE extension that set its mode. It has
 * nothing of a VGA: no ports, no text modes. The framebuffer is memory of the guest, so pixels cost no
 * exit; registers are looked at when somebody wants to see the screen.
 * Spec: QEMU docs/specs/standard-vga.rst (the MMIO window), Bochs' VBE display API (the registers).
 *
 * The first KiB of the window, where a monitor's EDID would be, reads as zero: there is none, and drivers
 * choose a mode of their own.
 */
#include "dev/display/displays.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/lock.h"
#include "base/units.h"
#include "dev/pci/pci.h"
#include "vm/ram.h"
#include "vm/vm.h"

enum { WINDOW_SIZE = 0x1000, DISPI = 0x500 };
enum { DISPI_ID, DISPI_WIDTH, DISPI_HEIGHT, DISPI_BPP, DISPI_ENABLE, DISPI_BANK, DISPI_VIRTUAL_WIDTH,
       DISPI_VIRTUAL_HEIGHT, DISPI_X, DISPI_Y, DISPI_MEMORY, DISPI_COUNT };
enum { DISPI_ID5 = 0xb0c5, DISPI_ENABLED = 1, DISPI_MEMORY_UNIT = 64 * KIB };
/* Modes that are smaller are registers half written. */
enum { SIDE_MIN = 64 };
#define MEMORY_MIN (4 * MIB)
#define MEMORY_MAX (256 * MIB)

struct bochs_display {
	struct pci_device pci;
	uint64_t vgamem;         /* property, bytes */
	pthread_mutex_t lock;    /* guards regs */
	uint16_t regs[DISPI_COUNT];
	struct ram_block *memory;
	struct io_region framebuffer, window;
	struct display display;
};

struct mode {
	unsigned width, height, bytes; /* `bytes` a pixel: 2 (5-6-5) or 4 (x-8-8-8) */
	uint64_t stride, offset;
};

/* False if the registers, which are the guest's, describe nothing that lies in the memory. */
static bool mode_of(const struct bochs_display *s, struct mode *mode)
{
	const uint16_t *r = s->regs;
	if (!(r[DISPI_ENABLE] & DISPI_ENABLED) || (r[DISPI_BPP] != 16 && r[DISPI_BPP] != 32))
		return false;
	*mode = (struct mode){.width = r[DISPI_WIDTH], .height = r[DISPI_HEIGHT], .bytes = r[DISPI_BPP] / 8};
	if (mode->width < SIDE_MIN || mode->height < SIDE_MIN || mode->width > DISPLAY_SIDE_MAX ||
	    mode->height > DISPLAY_SIDE_MAX)
		return false;
	mode->stride = (uint64_t)MAX(r[DISPI_VIRTUAL_WIDTH], r[DISPI_WIDTH]) * mode->bytes;
	mode->offset = (uint64_t)r[DISPI_X] * mode->bytes + r[DISPI_Y] * mode->stride;
	return range_fits(mode->offset, mode->stride * mode->height, s->memory->size);
}

static void copy_pixel(uint8_t *rgb, const uint8_t *from, unsigned bytes)
{
	if (bytes == 4) {
		rgb[0] = from[2];
		rgb[1] = from[1];
		rgb[2] = from[0];
		return;
	}
	/* The high bits once more below, so that full is 255. */
	unsigned p = le16_load(from), r = p >> 11, g = p >> 5 & 63, b = p & 31;
	rgb[0] = r << 3 | r >> 2;
	rgb[1] = g << 2 | g >> 4;
	rgb[2] = b << 3 | b >> 2;
}

static struct display_image *bochs_capture(void *opaque, GError **error)
{
	struct bochs_display *s = opaque;
	struct mode mode;
	pthread_mutex_lock(&s->lock);
	bool good = mode_of(s, &mode);
	pthread_mutex_unlock(&s->lock);
	if (!good) {
		error_set(error, BERTH_ERR_INVALID,
			  "bochs-display shows nothing yet: the guest has set no mode; try again when its "
			  "driver or firmware has started");
		return NULL;
	}
	struct display_image *image = display_image_new(mode.width, mode.height);
	uint8_t *rgb = image->rgb;
	for (unsigned y = 0; y < mode.height; y++) {
		const uint8_t *row = s->memory->host + mode.offset + y * mode.stride;
		for (unsigned x = 0; x < mode.width; x++, rgb += 3)
			copy_pixel(rgb, row + (size_t)x * mode.bytes, mode.bytes);
	}
	return image;
}

static const struct display_ops bochs_ops = {bochs_capture};

const struct display *device_display(const struct device *dev)
{
	return dev->class == &bochs_display_class ? &((const struct bochs_display *)dev)->display : NULL;
}

/* --- Registers ------------------------------------------------------------------------------------ */

static uint16_t get_register(const struct bochs_display *s, unsigned index)
{
	switch (index) {
	case DISPI_ID: return DISPI_ID5;
	case DISPI_MEMORY: return s->memory->size / DISPI_MEMORY_UNIT;
	default: return s->regs[index];
	}
}

static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
	uint64_t index = (offset - DISPI) / 2;
	return offset >= DISPI && offset % 2 == 0 && size == 2 && index < DISPI_COUNT ?
		       get_register(opaque, index) : 0;
}

static void window_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct bochs_display *s = opaque;
	uint64_t index = (offset - DISPI) / 2;
	if (offset >= DISPI && offset % 2 == 0 && size == 2 && index < DISPI_COUNT)
		s->regs[index] = value;
}

static const struct io_ops window_ops = {window_read, window_write, .min_size = 1, .max_size = 4};

/* --- Life ----------------------------------------------------------------------------------------- */

static bool bochs_create(struct device *dev, GError **error)
{
	struct bochs_display *s = (struct bochs_display *)dev;
	pthread_mutex_init(&s->lock, NULL);
	if (s->vgamem < MEMORY_MIN || s->vgamem > MEMORY_MAX || (s->vgamem & (s->vgamem - 1)))
		return error_set(error, BERTH_ERR_INVALID,
				 "bochs-display: vgamem=%" G_GUINT64_FORMAT " is not possible: use a power of "
				 "two from 4M to 256M", s->vgamem);
	pci_set_identity(&s->pci, 0x1234, 0x1111, 0x038000, 2);
	pci_set_subsystem(&s->pci, 0x1af4, 0x1100);
	s->pci.rom_default = "vgabios-bochs-display.bin";
	s->memory = ram_block_new("bochs-display", s->vgamem, NULL, error);
	if (!s->memory)
		return false;
	s->framebuffer = (struct io_region){.name = "bochs-display", .size = s->vgamem};
	s->window = (struct io_region){.name = "bochs-display-mmio", .ops = &window_ops, .opaque = s,
				       .size = WINDOW_SIZE, .lock = &s->lock};
	pci_add_bar(&s->pci, 0, &s->framebuffer, false, false, true);
	pci_set_bar_ram(&s->pci, 0, s->memory);
	pci_add_bar(&s->pci, 2, &s->window, false, false, false);
	s->display = (struct display){&bochs_ops, s};
	return true;
}

static void bochs_reset(struct device *dev)
{
	struct bochs_display *s = (struct bochs_display *)dev;
	pci_device_reset(&s->pci);
	LOCK_SCOPE(&s->lock);
	memset(s->regs, 0, sizeof(s->regs));
}

static void bochs_destroy(struct device *dev)
{
	struct bochs_display *s = (struct bochs_display *)dev;
	pci_device_cleanup(&s->pci);
	if (s->memory)
		vm_keep_ram(dev->vm, s->memory);
	pthread_mutex_destroy(&s->lock);
}

static const struct property bochs_properties[] = {
	PCI_PROPERTIES(struct bochs_display, pci),
	PROPERTY(struct bochs_display, vgamem, "vgamem", PROPERTY_SIZE, "16M", "size of the framebuffer"),
	{0},
};

const struct device_class bochs_display_class = {
	.name = "bochs-display",
	.description = "a linear framebuffer without VGA; screendump shows it",
	.bus = "PCI",
	.category = "display",
	.properties = bochs_properties,
	.size = sizeof(struct bochs_display),
	.create = bochs_create,
	.reset = bochs_reset,
	.destroy = bochs_destroy,
};
