/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accesses to an address space: a CPU's single accesses and devices' DMA. All lock-free. */
#include "vm/space_int.h"

#include "base/bytes.h"
#include "base/lock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* --- Host memory ------------------------------------------------------------------------------ */

/*
 * Aligned accesses of a natural size are single, as on a real bus: devices and vCPUs poll words
 * that others write.
 */
static uint64_t host_load(const uint8_t *p, unsigned size)
{
	if ((uintptr_t)p & (size - 1))
		return le_load(p, size);
	switch (size) {
	case 1:
		return __atomic_load_n(p, __ATOMIC_RELAXED);
	case 2:
		return __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED);
	case 4:
		return __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
	case 8:
		return __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED);
	default:
		return le_load(p, size);
	}
}

static void host_store(uint8_t *p, uint64_t v, unsigned size)
{
	if ((uintptr_t)p & (size - 1)) {
		le_store(p, v, size);
		return;
	}
	switch (size) {
	case 1:
		__atomic_store_n(p, (uint8_t)v, __ATOMIC_RELAXED);
		return;
	case 2:
		__atomic_store_n((uint16_t *)p, (uint16_t)v, __ATOMIC_RELAXED);
		return;
	case 4:
		__atomic_store_n((uint32_t *)p, (uint32_t)v, __ATOMIC_RELAXED);
		return;
	case 8:
		__atomic_store_n((uint64_t *)p, v, __ATOMIC_RELAXED);
		return;
	default:
		le_store(p, v, size);
	}
}

/* --- Regions -------------------------------------------------------------------------------- */

static uint64_t region_read_one(struct io_region *region, uint64_t offset, unsigned size)
{
	if (!region->ops->read)
		return size_mask(size);
	return region->ops->read(region->opaque, offset, size) & size_mask(size);
}

/* The largest power of two that is at most `size` and `max`. */
static unsigned piece_size(unsigned size, unsigned max)
{
	unsigned piece = MIN(size, max);
	return 1u << (31 - __builtin_clz(piece));
}

/* One piece that the device implements, or a widened one; *size comes back as what it covers. */
static uint64_t region_read_piece(struct io_region *region, uint64_t offset, unsigned *size)
{
	unsigned min = region->ops->min_size ? region->ops->min_size : 1;
	unsigned max = region->ops->max_size ? region->ops->max_size : 8;
	unsigned piece = piece_size(*size, max);
	uint64_t start = align_down(offset, min);
	if ((piece >= min && start == offset) || !range_fits(start, min, region->size)) {
		*size = piece;
		return region_read_one(region, offset, piece);
	}
	unsigned skip = offset - start;
	*size = MIN(*size, min - skip);
	return region_read_one(region, start, min) >> (8 * skip) & size_mask(*size);
}

static uint64_t region_read(struct io_region *region, uint64_t offset, unsigned size)
{
	uint64_t value = 0;
	if (region->lock)
		pthread_mutex_lock(region->lock);
	for (unsigned done = 0, piece; done < size; done += piece) {
		piece = size - done;
		value |= region_read_piece(region, offset + done, &piece) << (8 * done);
	}
	if (region->lock)
		pthread_mutex_unlock(region->lock);
	return value;
}

static void region_write(struct io_region *region, uint64_t offset, uint64_t value, unsigned size)
{
	if (!region->ops->write)
		return;
	unsigned max = region->ops->max_size ? region->ops->max_size : 8;
	if (region->lock)
		pthread_mutex_lock(region->lock);
	for (unsigned done = 0, piece; done < size; done += piece) {
		piece = piece_size(size - done, max);
		region->ops->write(region->opaque, offset + done,
				   value >> (8 * done) & size_mask(piece), piece);
	}
	if (region->lock)
		pthread_mutex_unlock(region->lock);
}

/* --- Single accesses ------------------------------------------------------------------------ */

static uint64_t read_piece(struct space *space, uint64_t addr, unsigned *size)
{
	struct space_range r;
	if (!space_find(space, addr, &r)) {
		*size = 1;
		return 0xff;
	}
	uint64_t at = addr - r.base;
	*size = MIN(*size, r.size - at);
	if (r.ram)
		return host_load(r.ram->host + r.ram_offset + at, *size);
	return region_read(r.region, r.region_offset + at, *size);
}

uint64_t space_read(struct space *space, uint64_t addr, unsigned size)
{
	unsigned piece = size;
	uint64_t value = read_piece(space, addr, &piece);
	for (unsigned done = piece; G_UNLIKELY(done < size); done += piece) {
		piece = size - done;
		value |= read_piece(space, addr + done, &piece) << (8 * done);
	}
	return value;
}

static bool bell_rings(const struct space_doorbell *b, uint64_t addr, uint64_t value, unsigned size)
{
	return b->addr == addr && (!b->size || b->size == size) &&
	       (!b->match || !((b->value ^ value) & size_mask(size)));
}

/* Signal the doorbell that this write rings, if any. */
static bool ring_doorbell(struct space *space, uint64_t addr, uint64_t value, unsigned size)
{
	if (G_LIKELY(!space_bell_at(space, addr)))
		return false;
	struct space_doorbell call = {0};
	bool rung = false;
	pthread_mutex_lock(&space->bell_lock);
	for (unsigned i = 0; i < space->bells->len && !rung; i++) {
		const struct space_doorbell *b = &g_array_index(space->bells, struct space_doorbell, i);
		if (!bell_rings(b, addr, value, size))
			continue;
		uint64_t one = 1;
		rung = true;
		if (b->ring)
			call = *b;
		else /* Fails only when the counter is full, and then the reader is woken anyway. */
			rung = write(b->fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN;
	}
	pthread_mutex_unlock(&space->bell_lock);
	if (call.ring)
		call.ring(call.opaque);
	return rung;
}

static void write_piece(struct space *space, uint64_t addr, uint64_t value, unsigned *size)
{
	struct space_range r;
	if (!space_find(space, addr, &r)) {
		*size = 1;
		return;
	}
	uint64_t at = addr - r.base;
	*size = MIN(*size, r.size - at);
	if (r.ram && !r.readonly) {
		host_store(r.ram->host + r.ram_offset + at, value, *size);
		ram_note_write(r.ram, r.ram_offset + at, *size);
	} else if (r.region) {
		region_write(r.region, r.region_offset + at, value & size_mask(*size), *size);
	}
}

void space_write(struct space *space, uint64_t addr, uint64_t value, unsigned size)
{
	if (ring_doorbell(space, addr, value, size))
		return;
	unsigned piece = size;
	write_piece(space, addr, value, &piece);
	for (unsigned done = piece; G_UNLIKELY(done < size); done += piece) {
		piece = size - done;
		write_piece(space, addr + done, value >> (8 * done), &piece);
	}
}

/* --- DMA ------------------------------------------------------------------------------------ */

/* RAM at addr that a device may read, or write if `write`; *length is cut to the range's end. */
static uint8_t *dma_piece(struct space *space, uint64_t addr, uint64_t *length, bool write,
			  struct space_range *r)
{
	if (!space_find(space, addr, r) || !r->ram || (write && r->readonly))
		return NULL;
	*length = MIN(*length, r->size - (addr - r->base));
	return r->ram->host + r->ram_offset + (addr - r->base);
}

bool space_dma_read(struct space *space, uint64_t addr, void *buffer, uint64_t length)
{
	struct space_range r;
	for (uint8_t *to = buffer; length;) {
		uint64_t piece = length;
		const uint8_t *host = dma_piece(space, addr, &piece, false, &r);
		if (!host)
			return false;
		memcpy(to, host, piece);
		to += piece;
		addr += piece;
		length -= piece;
	}
	return true;
}

bool space_dma_write(struct space *space, uint64_t addr, const void *buffer, uint64_t length)
{
	struct space_range r;
	for (const uint8_t *from = buffer; length;) {
		uint64_t piece = length;
		uint8_t *host = dma_piece(space, addr, &piece, true, &r);
		if (!host)
			return false;
		memcpy(host, from, piece);
		ram_note_write(r.ram, r.ram_offset + (addr - r.base), piece);
		from += piece;
		addr += piece;
		length -= piece;
	}
	return true;
}

void *space_dma_map(struct space *space, uint64_t addr, uint64_t *length, bool write)
{
	struct space_range r;
	return dma_piece(space, addr, length, write, &r);
}

void space_note_write(struct space *space, uint64_t addr, uint64_t length)
{
	struct space_range r;
	while (length) {
		uint64_t piece = length;
		if (!dma_piece(space, addr, &piece, true, &r))
			return; /* was RAM when it was mapped; nobody can see it now */
		ram_note_write(r.ram, r.ram_offset + (addr - r.base), piece);
		addr += piece;
		length -= piece;
	}
}
