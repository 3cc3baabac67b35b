/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory as instructions see it: effective address, segment, linear address, TLB, bytes.
 * Loads and stores of 1, 2, 4 and 8 bytes are inline; the rest of the world is in soft_mem_slow*().
 */
#pragma once

#include "cpu/soft/soft.h"

#include <string.h>

/* interp/mem.c: TLB miss, page crossing, MMIO, watched pages. */
uint64_t soft_load_slow(struct soft_vcpu *c, uint64_t linear, unsigned size);
void soft_store_slow(struct soft_vcpu *c, uint64_t linear, uint64_t value, unsigned size);
/* Any length, any pages; faults before the first byte changes. For SIMD, XSAVE, descriptors. */
void soft_load_bytes(struct soft_vcpu *c, uint64_t linear, void *buffer, unsigned length);
void soft_store_bytes(struct soft_vcpu *c, uint64_t linear, const void *buffer, unsigned length);
/* Raise #PF now for a later write of `size` bytes, at most a page, at `linear`. */
void soft_check_write_slow(struct soft_vcpu *c, uint64_t linear, unsigned size);
/* As the supervisor, whatever the CPL: descriptor tables, TSS. `size` 1 to 8. */
uint64_t soft_load_system(struct soft_vcpu *c, uint64_t linear, unsigned size);
void soft_store_system(struct soft_vcpu *c, uint64_t linear, uint64_t value, unsigned size);
/*
 * The host address of a read-modify-write operand, for host atomics: the page is checked for
 * writing. NULL if it crosses a page, or is MMIO or watched: then use soft_load/soft_store under
 * the engine's split lock. After writing through it nothing else is needed.
 */
void *soft_rmw_pointer(struct soft_vcpu *c, uint64_t linear, unsigned size);

/* The fetch entry of a table where `linear` is, if it is there. */
static inline const struct soft_fetch_entry *soft_fetch_at(const struct soft_vcpu *c,
							   uint64_t linear)
{
	return &c->fetches[c->tlb_table][linear >> PAGE_BITS & (SOFT_TLB_SIZE - 1)];
}

/* The host address of code that the TLB has, or NULL. */
static inline const uint8_t *soft_fetch_host(const struct soft_vcpu *c, uint64_t linear)
{
	const struct soft_fetch_entry *e = soft_fetch_at(c, linear);
	return e->tag == (linear & ~(uint64_t)PAGE_MASK) ? (const uint8_t *)(linear + e->addend) : NULL;
}

static inline struct soft_tlb_entry *soft_tlb_at(struct soft_vcpu *c, uint64_t linear)
{
	return &c->tlb[(linear >> PAGE_BITS) & (SOFT_TLB_SIZE - 1)];
}

/* One unsigned comparison tests both the tag and that the access stays inside the page. */
static inline uint64_t soft_load(struct soft_vcpu *c, uint64_t linear, unsigned size)
{
	struct soft_tlb_entry *e = soft_tlb_at(c, linear);
	if (soft_unlikely(linear - e->read > PAGE_SIZE - size))
		return soft_load_slow(c, linear, size);
	uint64_t v = 0;
	memcpy(&v, (const void *)(linear + e->addend), size);
	return v;
}

static inline void soft_store(struct soft_vcpu *c, uint64_t linear, uint64_t value, unsigned size)
{
	struct soft_tlb_entry *e = soft_tlb_at(c, linear);
	if (soft_unlikely(linear - e->write > PAGE_SIZE - size)) {
		soft_store_slow(c, linear, value, size);
		return;
	}
	memcpy((void *)(linear + e->addend), &value, size);
}

static inline void soft_check_write(struct soft_vcpu *c, uint64_t linear, unsigned size)
{
	if (soft_unlikely(linear - soft_tlb_at(c, linear)->write > PAGE_SIZE - size))
		soft_check_write_slow(c, linear, size);
}

/* system/segment.c: limit, type and canonical checks of the general case; returns linear. */
uint64_t soft_segment_linear(struct soft_vcpu *c, enum x86_seg_index seg, uint64_t offset,
			     unsigned size, enum soft_access access);

/*
 * Segment and offset to linear, with the checks of an access of `size` bytes. `offset` is already
 * wrapped to the address size.
 */
static inline uint64_t soft_linear(struct soft_vcpu *c, enum x86_seg_index seg, uint64_t offset,
				   unsigned size, enum soft_access access)
{
	if (c->long64) {
		uint64_t linear = seg >= X86_FS ? c->s.seg[seg].base + offset : offset;
		/* Canonical: bits 63-47 alike. The TLB never holds a non-canonical page. */
		if (soft_unlikely((uint64_t)(((int64_t)linear >> 47) + 1) > 1))
			return soft_segment_linear(c, seg, offset, size, access);
		return linear;
	}
	/* Flat 32-bit programs: nothing can fail but a wrap at the very top. */
	if (c->flat_data && (1u << seg & (1 << X86_DS | 1 << X86_ES | 1 << X86_SS)) &&
	    offset <= UINT32_MAX - 64)
		return offset;
	return soft_segment_linear(c, seg, offset, size, access);
}

/* The effective address (offset in its segment) of insn's memory operand. */
static inline uint64_t soft_ea(const struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t a = (uint64_t)i->x.disp;
	if (i->x.base != X86_REG_NONE)
		a += c->s.gpr[i->x.base];
	if (i->x.index != X86_REG_NONE)
		a += c->s.gpr[i->x.index] << i->x.scale;
	if (i->x.rip_relative)
		a += insn_next_rip(c, i);
	if (i->x.addr_size == 8)
		return a;
	return i->x.addr_size == 4 ? (uint32_t)a : (uint16_t)a;
}

/* Linear address of insn's memory operand of `size` bytes. */
static inline uint64_t soft_operand(struct soft_vcpu *c, const struct soft_insn *i, unsigned size,
				    enum soft_access access)
{
	return soft_linear(c, i->x.seg, soft_ea(c, i), size, access);
}
