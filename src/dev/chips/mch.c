/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Spec: Intel 3 Series Express Chipset data sheet, 5.1 (host bridge registers).
 *
 * A PAM segment has two bits: reads go to RAM, writes go to RAM; where a bit is clear the access
 * goes to the bus, where firmware's ROM answers reads at 0xe0000 and up, and nothing below. So four
 * mappings: ROM; ROM whose writes reach RAM; RAM that drops writes; RAM.
 */
#include "dev/chips/mch.h"

#include "base/bytes.h"
#include "vm/vm.h"

enum { MCH_PCIEXBAR = 0x60, MCH_PAM0 = 0x90, MCH_SMRAM = 0x9d };
enum { PAM_READ = 1, PAM_WRITE = 2, PAM_UNMAPPED = 0xff };
enum { PAM_REGISTERS = 7, PCIEXBAR_EN = 1, SMRAM_LOCK = 0x10 };
#define ROM_LOW UINT64_C(0xe0000)
#define ROM_END UINT64_C(0x100000)

static uint8_t segment_bits(const struct mch *mch, unsigned i)
{
	const uint8_t *pam = mch->pci.config + MCH_PAM0;
	if (i == 0)
		return pam[0] >> 4 & 3;
	return pam[1 + (i - 1) / 2] >> (i & 1 ? 0 : 4) & 3;
}

/* A write to a segment whose reads come from the bus. */
static void bus_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct mch_segment *s = opaque;
	if (!(s->bits & PAM_WRITE))
		return;
	uint64_t at = s->base + offset;
	le_store(s->mch->ram->host + at, value, size);
	ram_note_write(s->mch->ram, at, size);
}

static uint64_t bus_read(void *opaque, uint64_t offset, unsigned size)
{
	return size_mask(size);
}

static const struct io_ops bus_ops = {bus_read, bus_write, .min_size = 1, .max_size = 8};

static bool has_rom(const struct mch_segment *s)
{
	return s->mch->rom && s->base >= ROM_LOW && s->mch->rom->size >= ROM_END - s->base;
}

static void segment_unmap(struct mch_segment *s)
{
	struct space *space = s->mch->pci.dev.vm->memory;
	if (s->bits == PAM_UNMAPPED)
		return;
	if ((s->bits & PAM_READ) || has_rom(s))
		space_remove_ram(space, s->base);
	else
		space_remove_io(space, &s->bus);
	s->bits = PAM_UNMAPPED;
}

static void segment_map(struct mch_segment *s, uint8_t bits)
{
	struct mch *mch = s->mch;
	struct space *space = mch->pci.dev.vm->memory;
	if (s->bits == bits)
		return;
	segment_unmap(s);
	s->bits = bits;
	if (bits & PAM_READ)
		space_add_ram(space, s->base, mch->ram, s->base, s->size, !(bits & PAM_WRITE),
			      NULL, SPACE_PRIORITY_HIGH);
	else if (has_rom(s))
		space_add_ram(space, s->base, mch->rom, mch->rom->size - (ROM_END - s->base),
			      s->size, true, &s->bus, SPACE_PRIORITY_HIGH);
	else
		space_add_io(space, s->base, &s->bus, SPACE_PRIORITY_LOW);
}

uint64_t mch_ecam(struct mch *mch, uint64_t *size)
{
	uint64_t reg = le64_load(mch->pci.config + MCH_PCIEXBAR);
	/* Lengths 256, 128 and 64 MiB; 3 is reserved. */
	unsigned length = reg >> 1 & 3;
	uint64_t bytes = UINT64_C(256) << 20 >> length;
	uint64_t base = reg & UINT64_C(0xffc000000) & ~(bytes - 1);
	struct vm *vm = mch->pci.dev.vm;
	unsigned bits = vm->config.phys_bits ? vm->config.phys_bits : 36;
	bool on = (reg & PCIEXBAR_EN) && length < 3 && base && base + bytes <= UINT64_C(1) << bits;
	if (size)
		*size = on ? bytes : 0;
	return on ? base : 0;
}

static void apply(struct mch *mch)
{
	struct space *space = mch->pci.dev.vm->memory;
	uint64_t size, base = mch_ecam(mch, &size);
	space_begin(space);
	pci_host_map_ecam(mch->host, base, size);
	for (unsigned i = 0; i < MCH_SEGMENTS; i++)
		segment_map(&mch->segments[i], segment_bits(mch, i));
	space_commit(space);
}

static void config_written(struct pci_device *pci, unsigned offset, unsigned size)
{
	struct mch *mch = (struct mch *)pci;
	/* D_LCK makes SMRAM read-only until reset, itself included. */
	if (pci->config[MCH_SMRAM] & SMRAM_LOCK)
		pci->writable[MCH_SMRAM] = 0;
	apply(mch);
}

static bool mch_create(struct device *dev, GError **error)
{
	struct mch *mch = (struct mch *)dev;
	struct pci_device *pci = &mch->pci;
	pci_set_identity(pci, 0x8086, 0x29c0, 0x060000, 0);
	le16_store(pci->writable + PCI_COMMAND, 1 << 8);
	le64_store(pci->writable + MCH_PCIEXBAR, UINT64_C(0xffc000007));
	for (unsigned i = 0; i < PAM_REGISTERS; i++)
		pci->writable[MCH_PAM0 + i] = i ? 0x33 : 0x30;
	pci->config_written = config_written;
	for (unsigned i = 0; i < MCH_SEGMENTS; i++) {
		struct mch_segment *s = &mch->segments[i];
		s->mch = mch;
		/* Segment 0 is 0xf0000 to 0xfffff, the others 16 KiB each from 0xc0000 up. */
		s->base = i ? 0xc0000 + (i - 1) * 0x4000 : 0xf0000;
		s->size = i ? 0x4000 : 0x10000;
		s->bits = PAM_UNMAPPED;
		s->bus = (struct io_region){.name = "pam", .ops = &bus_ops, .opaque = s,
					    .size = s->size};
	}
	return true;
}

static void mch_reset(struct device *dev)
{
	struct mch *mch = (struct mch *)dev;
	uint8_t *pam = mch->pci.config + MCH_PAM0, before[PAM_REGISTERS];
	memcpy(before, pam, sizeof(before));
	pci_device_reset(&mch->pci);
	/* SeaBIOS runs on in its copy in RAM, and knows by it that the guest is to be resumed. */
	if (dev->vm->waking)
		memcpy(pam, before, sizeof(before));
	le16_store(mch->pci.config + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	mch->pci.writable[MCH_SMRAM] = 0x7f;
	mch->pci.config[MCH_SMRAM] = 0x02;
	apply(mch);
}

void mch_firmware_setup(struct mch *mch, uint64_t ecam)
{
	uint8_t *c = mch->pci.config;
	le64_store(c + MCH_PCIEXBAR, ecam | PCIEXBAR_EN);
	for (unsigned i = 0; i < PAM_REGISTERS; i++)
		c[MCH_PAM0 + i] = i ? 0x33 : 0x30;
	apply(mch);
}

static void mch_destroy(struct device *dev)
{
	struct mch *mch = (struct mch *)dev;
	for (unsigned i = 0; i < MCH_SEGMENTS; i++)
		if (mch->segments[i].mch)
			segment_unmap(&mch->segments[i]);
	pci_device_cleanup(&mch->pci);
}

const struct device_class mch_class = {
	.name = "mch",
	.description = "82Q35 host bridge",
	.bus = "PCI",
	.category = "bridge",
	.size = sizeof(struct mch),
	.create = mch_create,
	.reset = mch_reset,
	.destroy = mch_destroy,
};
