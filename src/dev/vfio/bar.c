/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * BARs. Every access comes to us and goes to the kernel, but what the kernel lets us map, and what is
 * neither MSI-X table nor pending bits, is a window that an engine may give to the guest. Not while
 * the device interrupts by its pin: an access is then the sign that the guest has seen the interrupt.
 */
#include "dev/vfio/vfio_int.h"

/* A part of the BAR that the machine answers itself. */
static bool is_in(const struct vfio_bar *bar, uint32_t place, unsigned length, uint64_t offset, unsigned size)
{
	return (place & 7) == bar->index && offset < (place & ~7u) + length && offset + size > (place & ~7u);
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
	struct vfio_bar *bar = opaque;
	struct vfio_pci *v = bar->owner;
	struct pci_device *pci = &v->pci;
	unsigned table = pci_msix_table_size(pci), pba = pci_msix_pba_size(pci);
	uint64_t at = offset - (v->msix_table & ~7u);
	if (table && is_in(bar, v->msix_table, table, offset, size))
		return range_fits(at, size, table) ? pci_msix_table_read(pci, at, size) : UINT64_MAX;
	at = offset - (v->msix_pba & ~7u);
	if (table && is_in(bar, v->msix_pba, pba, offset, size))
		return range_fits(at, size, pba) ? pci_msix_pba_read(pci, at, size) : UINT64_MAX;
	uint8_t bytes[8];
	bool good = v->host->ops->read(v->host, bar->index, offset, bytes, size);
	vfio_irq_acknowledge(v);
	return good ? le_load(bytes, size) : UINT64_MAX;
}

static void bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct vfio_bar *bar = opaque;
	struct vfio_pci *v = bar->owner;
	struct pci_device *pci = &v->pci;
	unsigned table = pci_msix_table_size(pci);
	uint64_t at = offset - (v->msix_table & ~7u);
	if (table && is_in(bar, v->msix_table, table, offset, size)) {
		if (range_fits(at, size, table))
			pci_msix_table_write(pci, at, value, size);
		return;
	}
	/* Pending bits are read-only. */
	if (table && is_in(bar, v->msix_pba, pci_msix_pba_size(pci), offset, size))
		return;
	uint8_t bytes[8];
	le_store(bytes, value, size);
	v->host->ops->write(v->host, bar->index, offset, bytes, size);
	vfio_irq_acknowledge(v);
}

static const struct io_ops bar_ops = {bar_read, bar_write, .min_size = 1, .max_size = 8};
static const struct io_ops port_ops = {bar_read, bar_write, .min_size = 1, .max_size = 4};

/* --- windows --------------------------------------------------------------------------------------------- */

static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
	struct vfio_window *window = opaque;
	return bar_read(window->bar, window->offset + offset, size);
}

static void window_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct vfio_window *window = opaque;
	bar_write(window->bar, window->offset + offset, value, size);
}

static const struct io_ops window_ops = {window_read, window_write, .min_size = 1, .max_size = 8};

static void add_window(struct vfio_bar *bar, uint64_t offset, uint64_t end)
{
	struct vfio_pci *v = bar->owner;
	offset = align_up(offset, PAGE_SIZE);
	end = align_down(end, PAGE_SIZE);
	if (offset >= end || bar->window_count == G_N_ELEMENTS(bar->windows))
		return;
	const struct vfio_area area = {offset, end - offset};
	uint8_t *memory = v->host->ops->map(v->host, bar->index, &area);
	if (!memory) {
		log_debug("vfio-pci: %s: BAR %u cannot be mapped: it is slower", v->name, bar->index);
		return;
	}
	struct vfio_window *own = &bar->owners[bar->window_count];
	*own = (struct vfio_window){bar, offset};
	bar->windows[bar->window_count++] = (struct pci_window){
		.region = {.name = "vfio", .ops = &window_ops, .opaque = own, .size = area.size,
			   .direct = memory},
		.offset = offset};
}

/* What of [offset, end) is not in the pages of `place`, whose turn is the `step`-th. */
static void add_around(struct vfio_bar *bar, uint64_t offset, uint64_t end, unsigned step)
{
	struct vfio_pci *v = bar->owner;
	const struct pci_device *pci = &v->pci;
	const uint32_t places[] = {v->msix_table, v->msix_pba};
	const unsigned lengths[] = {pci_msix_table_size(pci), pci_msix_pba_size(pci)};
	while (step < 2 && (!pci->msix.vectors || (places[step] & 7) != bar->index))
		step++;
	if (step == 2) {
		add_window(bar, offset, end);
		return;
	}
	uint64_t from = align_down(places[step] & ~7u, PAGE_SIZE);
	uint64_t to = align_up((places[step] & ~7u) + lengths[step], PAGE_SIZE);
	if (offset < from)
		add_around(bar, offset, MIN(end, from), step + 1);
	if (end > to)
		add_around(bar, MAX(offset, to), end, step + 1);
}

/* --- life ------------------------------------------------------------------------------------------------- */

static bool create_one(struct vfio_pci *v, unsigned index, uint32_t flags, GError **error)
{
	struct vfio_bar *bar = &v->bars[index];
	struct vfio_host_region region;
	bool io = flags & 1, wide = !io && (flags & 6) == 4;
	if (!v->host->ops->region(v->host, index, &region, error))
		return false;
	if (!region.size)
		return true;
	uint64_t limit = io ? 1 << 16 : wide ? UINT64_C(1) << 48 : UINT64_C(1) << 31;
	if (region.size & (region.size - 1) || region.size > limit || (wide && index == PCI_BAR_COUNT - 1) ||
	    region.size < (io ? 4 : 16))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "vfio-pci: %s: BAR %u has an impossible size, 0x%" G_GINT64_MODIFIER "x", v->name,
				 index, region.size);
	bar->owner = v;
	bar->index = index;
	bar->region = (struct io_region){.name = "vfio", .ops = io ? &port_ops : &bar_ops, .opaque = bar,
					 .size = region.size};
	pci_add_bar(&v->pci, index, &bar->region, io, wide, !io && flags & 8);
	/* The software engine calls us: it may not be in the middle of an access when a window closes. */
	for (unsigned i = 0; i < region.area_count && !io && !v->pci.dev.vm->engine->emulates; i++) {
		const struct vfio_area *area = &region.areas[i];
		if (range_fits(area->offset, area->size, region.size))
			add_around(bar, area->offset, area->offset + area->size, 0);
	}
	pci_set_windows(&v->pci, index, bar->windows, bar->window_count);
	return true;
}

bool vfio_bars_create(struct vfio_pci *v, GError **error)
{
	for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
		uint8_t bytes[4];
		bool wide = i && v->pci.bars[i - 1].region && v->pci.bars[i - 1].wide;
		if (wide)
			continue;
		if (!v->host->ops->read(v->host, VFIO_PCI_CONFIG_REGION_INDEX, PCI_BAR0 + i * 4, bytes, 4))
			return error_set(error, BERTH_ERR_IO, "vfio-pci: %s: BAR %u cannot be read", v->name, i);
		if (!create_one(v, i, le32_load(bytes), error))
			return false;
	}
	return true;
}

void vfio_bars_destroy(struct vfio_pci *v)
{
	for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
		struct vfio_bar *bar = &v->bars[i];
		for (unsigned k = 0; k < bar->window_count; k++)
			v->host->ops->unmap(v->host, bar->windows[k].region.direct,
					    bar->windows[k].region.size);
		bar->window_count = 0;
	}
}
