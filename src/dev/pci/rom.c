/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Expansion ROMs: a file's images behind a function's ROM BAR. Firmware copies an image into RAM before
 * it runs it, so the bytes are read by MMIO and are nobody's memory: a guest that moves the BAR over
 * RAM gains nothing. Spec: PCI Firmware 3.0, 5.1; PCI Local Bus 3.0, 6.3.
 */
#include "dev/pci/pci_int.h"

/* An image's header and its PCI data structure (6.3.1.1, 6.3.1.2). */
enum {
	ROM_SIGNATURE = 0xaa55, ROM_SIZE = 0x02, ROM_CHECKSUM = 0x06, ROM_PCIR = 0x18, ROM_HEADER = 0x1a,
	PCIR_VENDOR = 0x04, PCIR_DEVICE = 0x06, PCIR_LENGTH = 0x10, PCIR_CODE = 0x14,
	PCIR_INDICATOR = 0x15, PCIR_SIZE = 0x18,
};
enum { ROM_UNIT = 512, PCIR_LAST = 0x80, CODE_PC = 0 };

/* The image at `at` says that it is for this function. Returns where the next begins; 0: it was the last. */
static size_t adapt_image(const struct pci_device *pci, uint8_t *rom, size_t size, size_t at)
{
	if (!range_fits(at, ROM_HEADER, size) || le16_load(rom + at) != ROM_SIGNATURE)
		return 0;
	size_t pcir = at + le16_load(rom + at + ROM_PCIR);
	if (!range_fits(pcir, PCIR_SIZE, size) || memcmp(rom + pcir, "PCIR", 4))
		return 0;
	uint8_t before = 0, after = 0;
	for (unsigned i = 0; i < 4; i++)
		before += rom[pcir + PCIR_VENDOR + i];
	memcpy(rom + pcir + PCIR_VENDOR, pci->config + PCI_VENDOR_ID, 4);
	for (unsigned i = 0; i < 4; i++)
		after += rom[pcir + PCIR_VENDOR + i];
	/* A PC's image sums up to 0; the byte is one that its maker keeps for this. */
	if (rom[pcir + PCIR_CODE] == CODE_PC)
		rom[at + ROM_CHECKSUM] -= after - before;
	size_t length = (size_t)le16_load(rom + pcir + PCIR_LENGTH) * ROM_UNIT;
	return rom[pcir + PCIR_INDICATOR] & PCIR_LAST || !length ? 0 : at + length;
}

static uint64_t rom_read(void *opaque, uint64_t offset, unsigned size)
{
	const struct pci_device *pci = opaque;
	return le_load(pci->rom_bytes + offset, size);
}

static void rom_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const struct io_ops rom_ops = {rom_read, rom_write, .min_size = 1, .max_size = 8};

void pci_install_rom(struct pci_device *pci, GBytes *bytes, bool adapt)
{
	size_t size = g_bytes_get_size(bytes);
	g_assert(pci->bus && !pci->rom && size && size <= PCI_ROM_MAX);
	pci->rom_bytes = g_bytes_unref_to_data(bytes, &size);
	for (size_t at = 0, next; adapt; at = next) {
		next = adapt_image(pci, pci->rom_bytes, size, at);
		if (!next)
			break;
	}
	pci->rom_region = (struct io_region){.name = "rom", .ops = &rom_ops, .opaque = pci, .size = size};
	LOCK_SCOPE(&pci->bus->lock);
	pci_set_rom(pci, &pci->rom_region);
}
