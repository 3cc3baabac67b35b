/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The slow half of guest memory access: what the inline TLB test in mem.h turned down. A page to be
 * filled in, an access over two pages, MMIO, or a page whose writes someone follows.
 */
#include "cpu/soft/interp/interp.h"

/* One page's part of an access, translated: all faults are behind it. */
struct part {
	uint8_t *host; /* NULL: MMIO at phys */
	uint64_t phys;
	bool watched;
};

static struct part translate(struct soft_vcpu *c, uint64_t linear, unsigned size,
			     enum soft_access access)
{
	struct part part = { 0 };
	if (c->watching)
		soft_watch(c, linear, size, access);
	part.host = soft_translate(c, linear, access, &part.phys, &part.watched);
	return part;
}

static uint64_t part_load(struct soft_vcpu *c, const struct part *part, unsigned size)
{
	return part->host ? host_read(part->host, size) : soft_mmio_read(c, part->phys, size);
}

static void part_store(struct soft_vcpu *c, const struct part *part, uint64_t v, unsigned size)
{
	if (!part->host) {
		soft_mmio_write(c, part->phys, v & size_mask(size), size);
		return;
	}
	host_write(part->host, size, v);
	if (part->watched)
		soft_note_write(c, part->phys, size);
}

/* The first byte of the next page, as the address arithmetic of the mode wraps. */
static uint64_t next_page(struct soft_vcpu *c, uint64_t linear)
{
	uint64_t next = (linear & ~PAGE_MASK) + PAGE_SIZE;
	if (!x86_in_long_mode(&c->s) || !c->long64)
		return (uint32_t)next;
	if (next == UINT64_C(1) << 47)
		soft_raise_gp(c);
	return next;
}

static unsigned bytes_in_page(uint64_t linear, unsigned size)
{
	uint64_t room = PAGE_SIZE - (linear & PAGE_MASK);
	return room < size ? (unsigned)room : size;
}

uint64_t soft_load_slow(struct soft_vcpu *c, uint64_t linear, unsigned size)
{
	unsigned first = bytes_in_page(linear, size);
	struct part a = translate(c, linear, first, SOFT_READ);
	if (first == size)
		return part_load(c, &a, size);
	struct part b = translate(c, next_page(c, linear), size - first, SOFT_READ);
	uint64_t low = part_load(c, &a, first);
	return low | part_load(c, &b, size - first) << (first * 8);
}

void soft_store_slow(struct soft_vcpu *c, uint64_t linear, uint64_t value, unsigned size)
{
	unsigned first = bytes_in_page(linear, size);
	struct part a = translate(c, linear, first, SOFT_WRITE);
	if (first == size) {
		part_store(c, &a, value, size);
		return;
	}
	struct part b = translate(c, next_page(c, linear), size - first, SOFT_WRITE);
	part_store(c, &a, value, first);
	part_store(c, &b, value >> (first * 8), size - first);
}

void soft_check_write_slow(struct soft_vcpu *c, uint64_t linear, unsigned size)
{
	uint64_t phys;
	bool watched;
	soft_translate(c, linear, SOFT_WRITE, &phys, &watched);
	if (bytes_in_page(linear, size) < size)
		soft_translate(c, next_page(c, linear), SOFT_WRITE, &phys, &watched);
}

struct rmw_target interp_rmw_slow(struct soft_vcpu *c, uint64_t linear, unsigned size)
{
	unsigned first = bytes_in_page(linear, size);
	struct part a = translate(c, linear, first, SOFT_WRITE);
	if (first == size)
		return (struct rmw_target){ .p = a.host, .watched = a.watched, .phys = a.phys };
	translate(c, next_page(c, linear), size - first, SOFT_WRITE);
	return (struct rmw_target){ 0 };
}

void *soft_rmw_pointer(struct soft_vcpu *c, uint64_t linear, unsigned size)
{
	struct rmw_target t = rmw_begin(c, linear, size);
	return t.watched ? NULL : t.p;
}

/* --- any length ---------------------------------------------------------------------------------- */
static void part_load_bytes(struct soft_vcpu *c, const struct part *part, uint8_t *to, unsigned n)
{
	if (part->host) {
		memcpy(to, part->host, n);
		return;
	}
	for (unsigned at = 0; at < n; at += 8) {
		unsigned size = n - at < 8 ? n - at : 8;
		host_write(to + at, size, soft_mmio_read(c, part->phys + at, size));
	}
}

static void part_store_bytes(struct soft_vcpu *c, const struct part *part, const uint8_t *from,
			     unsigned n)
{
	if (part->host) {
		memcpy(part->host, from, n);
		if (part->watched)
			soft_note_write(c, part->phys, n);
		return;
	}
	for (unsigned at = 0; at < n; at += 8) {
		unsigned size = n - at < 8 ? n - at : 8;
		soft_mmio_write(c, part->phys + at, host_read(from + at, size), size);
	}
}

void soft_load_bytes(struct soft_vcpu *c, uint64_t linear, void *buffer, unsigned length)
{
	uint8_t *to = buffer;
	while (length) {
		unsigned n = bytes_in_page(linear, length);
		struct part part = translate(c, linear, n, SOFT_READ);
		part_load_bytes(c, &part, to, n);
		to += n;
		length -= n;
		if (length)
			linear = next_page(c, linear);
	}
}

void soft_store_bytes(struct soft_vcpu *c, uint64_t linear, const void *buffer, unsigned length)
{
	const uint8_t *from = buffer;
	/* All pages are checked, lowest first, before the first byte changes. */
	uint64_t at = linear;
	for (unsigned left = length; left > bytes_in_page(at, left); at = next_page(c, at)) {
		translate(c, at, bytes_in_page(at, left), SOFT_WRITE);
		left -= bytes_in_page(at, left);
	}
	translate(c, at, 1, SOFT_WRITE);
	while (length) {
		unsigned n = bytes_in_page(linear, length);
		struct part part = translate(c, linear, n, SOFT_WRITE);
		part_store_bytes(c, &part, from, n);
		from += n;
		length -= n;
		if (length)
			linear = next_page(c, linear);
	}
}

/* --- system structures ----------------------------------------------------------------------------*/
static struct part translate_system(struct soft_vcpu *c, uint64_t linear, enum soft_access access)
{
	struct part part = { 0 };
	part.host = soft_translate_as(c, linear, access, false, &part.phys, &part.watched);
	return part;
}

static uint64_t next_system_page(struct soft_vcpu *c, uint64_t linear)
{
	uint64_t next = (linear & ~PAGE_MASK) + PAGE_SIZE;
	return x86_in_long_mode(&c->s) ? next : (uint32_t)next;
}

static struct soft_tlb_entry *system_entry(struct soft_vcpu *c, uint64_t linear)
{
	return &c->tlbs[SOFT_TLB_SUPERVISOR][(linear >> PAGE_BITS) & (SOFT_TLB_SIZE - 1)];
}

uint64_t soft_load_system(struct soft_vcpu *c, uint64_t linear, unsigned size)
{
	struct soft_tlb_entry *e = system_entry(c, linear);
	if (linear - e->read <= PAGE_SIZE - size)
		return host_read((const uint8_t *)(linear + e->addend), size);
	unsigned first = bytes_in_page(linear, size);
	struct part a = translate_system(c, linear, SOFT_READ);
	if (first == size)
		return part_load(c, &a, size);
	struct part b = translate_system(c, next_system_page(c, linear), SOFT_READ);
	uint64_t low = part_load(c, &a, first);
	return low | part_load(c, &b, size - first) << (first * 8);
}

void soft_store_system(struct soft_vcpu *c, uint64_t linear, uint64_t value, unsigned size)
{
	struct soft_tlb_entry *e = system_entry(c, linear);
	if (linear - e->write <= PAGE_SIZE - size) {
		host_write((uint8_t *)(linear + e->addend), size, value);
		return;
	}
	unsigned first = bytes_in_page(linear, size);
	struct part a = translate_system(c, linear, SOFT_WRITE);
	if (first == size) {
		part_store(c, &a, value, size);
		return;
	}
	struct part b = translate_system(c, next_system_page(c, linear), SOFT_WRITE);
	part_store(c, &a, value, first);
	part_store(c, &b, value >> (first * 8), size - first);
}
