/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page walk of SDM vol. 3, 4.3 to 4.5, one generic loop for the three formats. */
#include "cpu/x86/walk.h"

enum {
	PTE_P = 1 << 0, PTE_W = 1 << 1, PTE_U = 1 << 2, PTE_A = 1 << 5, PTE_D = 1 << 6,
	PTE_PS = 1 << 7, PTE_G = 1 << 8,
};
#define PTE_NX (UINT64_C(1) << 63)

struct format {
	unsigned levels, index_bits, entry_size;
	bool pae_root; /* the top level's entries have no rights */
};

static struct format format_of(const struct x86_state *s)
{
	if (s->efer & X86_EFER_LMA)
		return (struct format){ 4, 9, 8, false };
	if (s->cr4 & X86_CR4_PAE)
		return (struct format){ 3, 9, 8, true };
	return (struct format){ 2, 10, 4, false };
}

/* Bits that must be zero in an 8-byte entry at `level` (1: PTE). */
static uint64_t reserved_bits(const struct x86_state *s, const struct format *f, unsigned level,
			      uint64_t entry, unsigned phys_bits)
{
	uint64_t above = ~((UINT64_C(1) << phys_bits) - 1) & UINT64_C(0x000fffffffffffff);
	uint64_t reserved = above;

	if (f->pae_root && level == 3)
		return above | UINT64_C(0xfff0000000000000) | 0x1e6;
	if (f->pae_root)
		reserved |= UINT64_C(0x7ff0000000000000);
	if (!(s->efer & X86_EFER_NX))
		reserved |= PTE_NX;
	if (level == 4)
		reserved |= PTE_PS;
	if (entry & PTE_PS && level == 2)
		reserved |= UINT64_C(0x1fe000);
	if (entry & PTE_PS && level == 3)
		reserved |= UINT64_C(0x3fffe000);
	return reserved;
}

bool x86_walk_page(const struct x86_state *s, unsigned phys_bits, uint64_t linear,
		   x86_walk_read_fn *read, void *opaque, struct x86_walk *w)
{
	*w = (struct x86_walk){ .phys = linear, .page_bits = 12, .writable = true, .user = true,
				.execute = true, .accessed = true, .dirty = true };
	if (!(s->efer & X86_EFER_LMA))
		w->phys = linear = (uint32_t)linear;
	if (!(s->cr0 & X86_CR0_PG))
		return true;
	if (s->efer & X86_EFER_LMA && (uint64_t)(((int64_t)linear >> 47) + 1) > 1)
		return false;

	struct format f = format_of(s);
	uint64_t table = f.pae_root ? s->cr3 & UINT64_C(0xffffffe0) :
			 f.levels == 4 ? s->cr3 & UINT64_C(0x000ffffffffff000) :
					 s->cr3 & UINT64_C(0xfffff000);
	for (unsigned level = f.levels; level > 0; level--) {
		unsigned shift = 12 + (level - 1) * f.index_bits;
		uint64_t index = linear >> shift & ((1u << f.index_bits) - 1), entry;
		if (!read(opaque, table + index * f.entry_size, f.entry_size, &entry))
			return false;
		if (!(entry & PTE_P))
			return false;
		if (f.entry_size == 8 && entry & reserved_bits(s, &f, level, entry, phys_bits))
			return false;
		bool root_entry = f.pae_root && level == 3;
		if (!root_entry) {
			w->writable &= !!(entry & PTE_W);
			w->user &= !!(entry & PTE_U);
			w->execute &= f.entry_size == 4 || !(entry & PTE_NX);
		}
		uint64_t address = entry & (f.entry_size == 8 ? UINT64_C(0x000ffffffffff000) :
								UINT64_C(0xfffff000));
		bool large = entry & PTE_PS && !root_entry &&
			     ((level == 2 && (f.entry_size == 8 || s->cr4 & X86_CR4_PSE)) ||
			      level == 3);
		if (level > 1 && !large) {
			table = address;
			continue;
		}
		/* PSE-36: bits 20-13 of a 4 MiB entry are address bits 39-32; bit 21 is reserved. */
		if (large && f.entry_size == 4) {
			if (entry & 1 << 21)
				return false;
			address = (entry & 0xffc00000) | (entry >> 13 & 0xff) << 32;
		}
		uint64_t mask = (UINT64_C(1) << shift) - 1;
		w->page_bits = shift;
		w->phys = (address & ~mask) | (linear & mask);
		w->global = entry & PTE_G && s->cr4 & X86_CR4_PGE;
		w->accessed = entry & PTE_A;
		w->dirty = entry & PTE_D;
		return true;
	}
	return false;
}
