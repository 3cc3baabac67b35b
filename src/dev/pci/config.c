/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Configuration space: what the guest may read and change, and BARs that follow. Every register is
 * a byte array with a mask of writable bits, so that no sequence of writes can reach a state that
 * the masks do not allow. Spec: PCI Local Bus 3.0, chapter 6.
 */
#include "dev/pci/pci_int.h"

static unsigned bar_offset(unsigned bar)
{
	return PCI_BAR0 + bar * 4;
}

void pci_set_identity(struct pci_device *pci, uint16_t vendor, uint16_t device, uint32_t class_code,
		      uint8_t revision)
{
	uint8_t *c = pci->config, *w = pci->writable;
	le16_store(c + PCI_VENDOR_ID, vendor);
	le16_store(c + PCI_DEVICE_ID, device);
	c[PCI_REVISION] = revision;
	c[PCI_CLASS] = class_code;
	le16_store(c + PCI_CLASS + 1, class_code >> 8);
	le16_store(w + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
					    1 << 6 | 1 << 8 | PCI_COMMAND_INTX_DISABLE);
	le16_store(pci->clear_on_one + PCI_STATUS, 0xf900);
	w[PCI_CACHE_LINE] = 0xff;
	w[PCI_INTERRUPT_LINE] = 0xff;
	pci->rom_mapped_at = PCI_UNMAPPED;
	for (unsigned i = 0; i < PCI_BAR_COUNT; i++)
		pci->bars[i].mapped_at = PCI_UNMAPPED;
}

void pci_set_subsystem(struct pci_device *pci, uint16_t vendor, uint16_t device)
{
	le16_store(pci->config + PCI_SUBSYSTEM, vendor);
	le16_store(pci->config + PCI_SUBSYSTEM + 2, device);
}

void pci_set_pin(struct pci_device *pci, unsigned pin)
{
	g_assert(pin < 4);
	pci->config[PCI_INTERRUPT_PIN] = pin + 1;
}

void pci_add_bar(struct pci_device *pci, unsigned bar, struct io_region *region, bool io, bool wide,
		 bool prefetch)
{
	uint64_t size = io ? 4 : 16;
	while (size < region->size)
		size <<= 1;
	g_assert(bar + wide < PCI_BAR_COUNT && !pci->bars[bar].region);
	g_assert(wide || size <= UINT64_C(1) << 31);
	pci->bars[bar] = (struct pci_bar){.region = region, .size = size, .io = io, .wide = wide,
					  .prefetch = prefetch, .mapped_at = PCI_UNMAPPED};
	uint8_t *c = pci->config + bar_offset(bar), *w = pci->writable + bar_offset(bar);
	le32_store(c, io ? 1 : (wide ? 4 : 0) | (prefetch ? 8 : 0));
	le32_store(w, (uint32_t)~(size - 1));
	if (wide)
		le32_store(w + 4, ~(size - 1) >> 32);
}

void pci_set_bar_ram(struct pci_device *pci, unsigned bar, struct ram_block *ram)
{
	struct pci_bar *b = &pci->bars[bar];
	g_assert(b->region && !b->io && b->size == ram->size);
	b->ram = ram;
}

void pci_set_rom(struct pci_device *pci, struct io_region *rom)
{
	uint64_t size = 2048;
	while (size < rom->size)
		size <<= 1;
	pci->rom = rom;
	le32_store(pci->writable + PCI_ROM_BAR, (uint32_t)~(size - 1) | 1);
}

uint8_t pci_add_capability(struct pci_device *pci, uint8_t id, uint8_t size)
{
	unsigned offset = pci->next_cap_offset ? pci->next_cap_offset : 0x40;
	g_assert(offset + size <= 0x100);
	pci->next_cap_offset = align_up(offset + size, 4);
	/* Appended, so that the list is in the order of the calls. */
	pci->config[pci->last_cap ? pci->last_cap + 1 : PCI_CAPABILITIES] = offset;
	pci->config[PCI_STATUS] |= 0x10;
	pci->config[offset] = id;
	pci->config[offset + 1] = 0;
	pci->last_cap = offset;
	return offset;
}

/* PCI Express Base 4.0, 7.5.3: capability version 2. */
void pci_add_express(struct pci_device *pci, enum pci_express_type type)
{
	uint8_t offset = pci_add_capability(pci, 0x10, 0x3c);
	uint8_t *c = pci->config + offset, *w = pci->writable + offset;
	pci->express_cap = offset;
	le16_store(c + 2, 2 | type << 4 | (type == PCI_EXPRESS_ROOT_PORT ? 1 << 8 : 0)); /* it has a slot */
	le32_store(c + 0x04, 1 << 15); /* role-based error reporting; 128-byte payload */
	le16_store(w + 0x08, 0x78ff);  /* all but no-snoop and phantom functions */
	le16_store(c + 0x08, 0x2810);
	le16_store(pci->clear_on_one + offset + 0x0a, 0x000f);
	if (type != PCI_EXPRESS_INTEGRATED) {
		le32_store(c + 0x0c, 1 | 1 << 4); /* 2.5 GT/s, x1 */
		le16_store(w + 0x10, 0x00c3);
		le16_store(c + 0x12, 1 | 1 << 4);
	}
	le32_store(c + 0x24, 1 << 4); /* completion timeout may be disabled */
	le16_store(w + 0x28, 1 << 4);
}

void pci_set_windows(struct pci_device *pci, unsigned bar, struct pci_window *windows, unsigned count)
{
	pci->bars[bar].windows = windows;
	pci->bars[bar].window_count = count;
}

/* Windows first: of equals the space takes the one that was added first. */
static void map_bar(struct pci_device *pci, struct pci_bar *b, uint64_t want, unsigned windows)
{
	if (!b->region || (want == b->mapped_at && windows == b->windows_mapped))
		return;
	struct vm *vm = pci->bus->vm;
	struct space *space = b->io ? vm->ports : vm->memory;
	space_begin(space);
	for (unsigned i = 0; i < b->windows_mapped; i++)
		space_remove_io(space, &b->windows[i].region);
	if (b->mapped_at != PCI_UNMAPPED && b->ram)
		space_remove_ram_block(space, b->ram);
	else if (b->mapped_at != PCI_UNMAPPED)
		space_remove_io(space, b->region);
	for (unsigned i = 0; i < windows; i++)
		space_add_io(space, want + b->windows[i].offset, &b->windows[i].region,
			     SPACE_PRIORITY_NORMAL);
	if (want != PCI_UNMAPPED && b->ram)
		space_add_ram(space, want, b->ram, 0, b->ram->size, false, NULL, SPACE_PRIORITY_NORMAL);
	else if (want != PCI_UNMAPPED)
		space_add_io(space, want, b->region, SPACE_PRIORITY_NORMAL);
	space_commit(space);
	b->mapped_at = want;
	b->windows_mapped = windows;
}

static void map_rom(struct pci_device *pci, uint64_t want)
{
	if (want == pci->rom_mapped_at || !pci->rom)
		return;
	struct space *space = pci->bus->vm->memory;
	space_begin(space);
	if (pci->rom_mapped_at != PCI_UNMAPPED)
		space_remove_io(space, pci->rom);
	if (want != PCI_UNMAPPED)
		space_add_io(space, want, pci->rom, SPACE_PRIORITY_NORMAL);
	space_commit(space);
	pci->rom_mapped_at = want;
}

/* Where the register's value puts the BAR, or PCI_UNMAPPED if that is no usable place. */
static uint64_t bar_address(const struct pci_device *pci, unsigned bar)
{
	const struct pci_bar *b = &pci->bars[bar];
	const uint8_t *c = pci->config + bar_offset(bar);
	uint64_t base = b->wide ? le64_load(c) : le32_load(c);
	base &= ~(b->size - 1);
	uint64_t limit;
	if (b->io)
		limit = UINT64_C(1) << 16;
	else if (!b->wide)
		limit = UINT64_C(1) << 32;
	else
		limit = UINT64_C(1) << pci_address_bits(pci->bus);
	/* Zero means unprogrammed; sizing writes all ones, whose end is at or beyond the limit. */
	if (base == 0 || base >= limit || base + b->size >= limit)
		return PCI_UNMAPPED;
	return base;
}

void pci_update_mappings(struct pci_device *pci)
{
	if (!pci->bus)
		return;
	uint16_t command = le16_load(pci->config + PCI_COMMAND);
	for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
		struct pci_bar *b = &pci->bars[i];
		if (!b->region)
			continue;
		bool on = command & (b->io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);
		uint64_t at = on ? bar_address(pci, i) : PCI_UNMAPPED;
		bool open = at != PCI_UNMAPPED && (!pci->windows_open || pci->windows_open(pci));
		map_bar(pci, b, at, open ? b->window_count : 0);
	}
	uint32_t rom = le32_load(pci->config + PCI_ROM_BAR);
	uint32_t mask = le32_load(pci->writable + PCI_ROM_BAR) & ~1u;
	uint64_t base = rom & mask;
	bool on = (command & PCI_COMMAND_MEMORY) && (rom & 1) && base &&
		  base + ~mask + 1 < UINT64_C(1) << 32;
	map_rom(pci, on ? base : PCI_UNMAPPED);
}

void pci_unmap_all(struct pci_device *pci)
{
	for (unsigned i = 0; i < PCI_BAR_COUNT; i++)
		map_bar(pci, &pci->bars[i], PCI_UNMAPPED, 0);
	map_rom(pci, PCI_UNMAPPED);
}

void pci_windows_changed(struct pci_device *pci)
{
	pci_update_mappings(pci);
}

/* A conventional function has 256 bytes; what lies beyond answers like an absent register. */
static bool config_exists(const struct pci_device *pci, unsigned offset, unsigned size)
{
	unsigned limit = pci->express_cap ? PCI_CONFIG_SIZE : 256;
	return size >= 1 && size <= 4 && offset < limit && size <= limit - offset;
}

uint32_t pci_config_read(struct pci_bus *root, unsigned address, unsigned offset, unsigned size)
{
	struct pci_bus *bus = pci_bus_route(root, address >> 8);
	if (!bus)
		return size_mask(size);
	LOCK_SCOPE(&bus->lock);
	struct pci_device *pci = bus->functions[address & 0xff];
	uint32_t value;
	if (!pci || !config_exists(pci, offset, size))
		return size_mask(size);
	if (pci->config_read && pci->config_read(pci, offset, size, &value))
		return value & size_mask(size);
	LOCK_SCOPE(&pci->irq_lock); /* MSI pending bits change on any thread */
	return le_load(pci->config + offset, size);
}

void pci_config_write(struct pci_bus *root, unsigned address, unsigned offset, uint32_t value,
		      unsigned size)
{
	struct pci_bus *bus = pci_bus_route(root, address >> 8);
	if (!bus)
		return;
	LOCK_SCOPE(&bus->lock);
	struct pci_device *pci = bus->functions[address & 0xff];
	if (!pci || !config_exists(pci, offset, size))
		return;
	struct pci_irq_before before;
	pci_irq_config_before(pci, &before);
	pthread_mutex_lock(&pci->irq_lock);
	for (unsigned i = 0; i < size; i++) {
		uint8_t v = value >> (i * 8), w = pci->writable[offset + i];
		uint8_t *byte = &pci->config[offset + i];
		*byte = (*byte & ~w & ~(v & pci->clear_on_one[offset + i])) | (v & w);
	}
	pci_intx_update_locked(pci);
	pthread_mutex_unlock(&pci->irq_lock);
	pci_irq_config_written(pci, &before);
	if (offset < PCI_ROM_BAR + 4)
		pci_update_mappings(pci);
	if (pci->config_written)
		pci->config_written(pci, offset, size);
}

void pci_device_reset(struct pci_device *pci)
{
	struct pci_bus *bus = pci->bus;
	if (bus)
		pthread_mutex_lock(&bus->lock);
	pthread_mutex_lock(&pci->irq_lock);
	pci->intx_level = false;
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
		pci->config[i] &= ~pci->writable[i] & ~pci->clear_on_one[i];
	if (pci->express_cap)
		le16_store(pci->config + pci->express_cap + 8, 0x2810);
	pci_intx_update_locked(pci);
	pthread_mutex_unlock(&pci->irq_lock);
	pci_irq_reset(pci);
	pci_update_mappings(pci);
	if (bus)
		pthread_mutex_unlock(&bus->lock);
}

void pci_device_cleanup(struct pci_device *pci)
{
	if (pci->bus)
		pci_bus_detach(pci->bus, pci);
	g_clear_pointer(&pci->msix.table, g_free);
	g_clear_pointer(&pci->msix.pba, g_free);
	g_clear_pointer(&pci->rom_bytes, g_free);
	g_clear_pointer(&pci->rom_own, g_bytes_unref);
}

bool pci_dma_enabled(const struct pci_device *pci)
{
	return __atomic_load_n(&pci->config[PCI_COMMAND], __ATOMIC_RELAXED) & PCI_COMMAND_MASTER;
}
