/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The page walk (SDM vol. 3, chapter 4): 32-bit, PAE and 4-level tables, rights, reserved bits, and
 * Accessed and Dirty bits. Other processors and devices change the same tables meanwhile: an entry
 * is read once, and its A and D bits are set by compare-and-swap on the value that was read; if
 * that fails, the walk starts again.
 */
#include "cpu/soft/system/mmu.h"

enum {
	PTE_P = 1 << 0, PTE_W = 1 << 1, PTE_U = 1 << 2, PTE_A = 1 << 5, PTE_D = 1 << 6,
	PTE_PS = 1 << 7, PTE_G = 1 << 8,
};
#define PTE_NX      (UINT64_C(1) << 63)
#define PTE_ADDRESS UINT64_C(0x000ffffffffff000)

struct step {
	void *host; /* the entry in our memory; NULL if it is not in RAM */
	struct ram_block *ram;
	uint64_t ram_offset;
	uint64_t value;
};

struct walk {
	struct step steps[4];
	unsigned count;
	uint64_t rights; /* PAGE_W, PAGE_U, PAGE_X so far */
};

static void entry_read(struct soft_vcpu *c, struct walk *w, uint64_t addr, unsigned size)
{
	struct step *s = &w->steps[w->count++];
	const struct phys_range *r = mmu_range(c, addr);

	if (!r) {
		/* Tables in a device's registers or in nothing: what the bus gives. */
		s->host = NULL;
		s->value = soft_mmio_read(c, addr, size);
		return;
	}
	s->host = r->readonly ? NULL : r->host + (addr - r->base);
	s->ram = r->ram;
	s->ram_offset = r->ram_offset + (addr - r->base);
	const void *from = r->host + (addr - r->base);
	s->value = size == 8 ? __atomic_load_n((const uint64_t *)from, __ATOMIC_RELAXED) :
			       __atomic_load_n((const uint32_t *)from, __ATOMIC_RELAXED);
}

/* False: somebody else changed the entry. */
static bool entry_set_bits(struct step *s, uint64_t bits, unsigned size)
{
	bool same;

	if ((s->value & bits) == bits || !s->host)
		return true;
	if (size == 8) {
		uint64_t old = s->value;
		same = __atomic_compare_exchange_n((uint64_t *)s->host, &old, old | bits, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	} else {
		uint32_t old = s->value;
		same = __atomic_compare_exchange_n((uint32_t *)s->host, &old, old | bits, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	}
	if (same)
		ram_note_write(s->ram, s->ram_offset, size);
	return same;
}

static bool set_accessed(struct walk *w, enum soft_access access, unsigned size)
{
	for (unsigned i = 0; i < w->count; i++) {
		bool leaf = i == w->count - 1;
		if (!entry_set_bits(&w->steps[i],
				    leaf && access == SOFT_WRITE ? PTE_A | PTE_D : PTE_A, size))
			return false;
	}
	return true;
}

bool mmu_allowed(const struct soft_vcpu *c, uint64_t rights, enum soft_access access,
		 enum soft_tlb_table table)
{
	bool user_page = rights & PAGE_U;

	if (table == SOFT_TLB_USER || table == SOFT_TLB_ALIGNED) {
		if (!user_page)
			return false;
		return access == SOFT_READ ? true :
		       access == SOFT_WRITE ? rights & PAGE_W : (rights & PAGE_X) != 0;
	}
	if (access == SOFT_FETCH)
		return rights & PAGE_X && !(user_page && c->s.cr4 & X86_CR4_SMEP);
	if (user_page && c->s.cr4 & X86_CR4_SMAP && table == SOFT_TLB_SUPERVISOR)
		return false;
	return access == SOFT_READ || rights & PAGE_W || !(c->s.cr0 & X86_CR0_WP);
}

/* The leaf is known: check the rights, set A and D, say what was found. */
static uint32_t finish(struct soft_vcpu *c, struct walk *w, enum soft_access access,
		       enum soft_tlb_table table, unsigned size, uint64_t phys, uint64_t class_bits,
		       uint64_t *page)
{
	struct step *leaf = &w->steps[w->count - 1];
	bool dirty = access == SOFT_WRITE || leaf->value & PTE_D;

	if (!mmu_allowed(c, w->rights, access, table))
		return WALK_FAULT | X86_PF_P;
	if (!set_accessed(w, access, size))
		return 0;
	*page = phys | w->rights | class_bits | (dirty ? PAGE_DIRTY : 0);
	if (leaf->value & PTE_G && c->s.cr4 & X86_CR4_PGE)
		*page |= PAGE_GLOBAL;
	return 1;
}

static uint64_t rights_of(uint64_t entry)
{
	return (entry & PTE_W ? PAGE_W : 0) | (entry & PTE_U ? PAGE_U : 0) |
	       (entry & PTE_NX ? 0 : PAGE_X);
}

/* One attempt: a fault code, 1 for success, 0 to try again. */
static uint32_t walk32(struct soft_vcpu *c, uint64_t linear, enum soft_access access,
		       enum soft_tlb_table table, uint64_t *page)
{
	struct walk w = { .rights = PAGE_W | PAGE_U | PAGE_X };
	uint64_t addr = (c->s.cr3 & 0xfffff000) + (linear >> 22 & 0x3ff) * 4;

	entry_read(c, &w, addr, 4);
	uint64_t entry = w.steps[0].value;
	if (!(entry & PTE_P))
		return WALK_FAULT;
	w.rights &= rights_of(entry);
	if (entry & PTE_PS && c->s.cr4 & X86_CR4_PSE) {
		/* PSE-36: bits 20-13 are address bits 39-32, as far as the processor has them. */
		uint64_t base = (entry & 0xffc00000) | (entry >> 13 & 0xff) << 32;
		if (entry & 1 << 21 || base >> c->sys->phys_bits)
			return WALK_FAULT | X86_PF_P | X86_PF_RSVD;
		return finish(c, &w, access, table, 4, base | (linear & 0x3ff000), PAGE_2M, page);
	}
	entry_read(c, &w, (entry & 0xfffff000) + (linear >> 12 & 0x3ff) * 4, 4);
	entry = w.steps[1].value;
	if (!(entry & PTE_P))
		return WALK_FAULT;
	w.rights &= rights_of(entry);
	return finish(c, &w, access, table, 4, entry & 0xfffff000, 0, page);
}

static uint64_t reserved64(const struct soft_vcpu *c, bool pae)
{
	uint64_t reserved = PTE_ADDRESS & ~((UINT64_C(1) << c->sys->phys_bits) - 1);
	if (pae)
		reserved |= UINT64_C(0x7ff0000000000000);
	if (!(c->s.efer & X86_EFER_NX))
		reserved |= PTE_NX;
	return reserved;
}

/* From the table at `addr`, whose entries map pieces of 1 << shift bytes, down to the page. */
static uint32_t walk64(struct soft_vcpu *c, uint64_t addr, unsigned shift, bool pae,
		       uint64_t linear, enum soft_access access, enum soft_tlb_table table,
		       uint64_t *page)
{
	struct walk w = { .rights = PAGE_W | PAGE_U | PAGE_X };
	uint64_t reserved = reserved64(c, pae);

	for (;; shift -= 9) {
		entry_read(c, &w, addr + (linear >> shift & 0x1ff) * 8, 8);
		uint64_t entry = w.steps[w.count - 1].value;
		if (!(entry & PTE_P))
			return WALK_FAULT;
		bool large = entry & PTE_PS && shift > 12;
		uint64_t bad = reserved;
		if (large)
			bad |= shift == 39 ? PTE_PS : (UINT64_C(1) << shift) - 0x2000;
		if (entry & bad)
			return WALK_FAULT | X86_PF_P | X86_PF_RSVD;
		w.rights &= rights_of(entry);
		if (large || shift == 12) {
			uint64_t mask = (UINT64_C(1) << shift) - 1;
			uint64_t phys = (entry & PTE_ADDRESS & ~mask) | (linear & mask & ~PAGE_MASK);
			return finish(c, &w, access, table, 8, phys,
				      shift == 30 ? PAGE_1G : shift == 21 ? PAGE_2M : 0, page);
		}
		addr = entry & PTE_ADDRESS;
	}
}

static uint32_t walk_once(struct soft_vcpu *c, uint64_t linear, enum soft_access access,
			  enum soft_tlb_table table, uint64_t *page)
{
	if (soft_long_mode(c))
		return walk64(c, c->s.cr3 & PTE_ADDRESS, 39, false, linear, access, table, page);
	if (!(c->s.cr4 & X86_CR4_PAE))
		return walk32(c, linear, access, table, page);
	if (!c->mmu->pdptes_valid && !soft_pdptes_load(c, c->s.cr3, true))
		return WALK_FAULT;
	uint64_t pdpte = c->mmu->pdpte[linear >> 30 & 3];
	if (!(pdpte & PTE_P))
		return WALK_FAULT;
	return walk64(c, pdpte & PTE_ADDRESS, 21, true, linear, access, table, page);
}

uint32_t mmu_walk(struct soft_vcpu *c, uint64_t linear, enum soft_access access,
		  enum soft_tlb_table table, uint64_t *page)
{
	if (!(c->s.cr0 & X86_CR0_PG)) {
		*page = (linear & ~PAGE_MASK) | PAGE_W | PAGE_U | PAGE_X | PAGE_DIRTY;
		return 0;
	}
	for (;;) {
		uint32_t result = walk_once(c, linear, access, table, page);
		if (result)
			return result == 1 ? 0 : result;
	}
}

/*
 * The four page-directory-pointer entries are registers, loaded with CR3 (SDM vol. 3, 4.4.1):
 * changing them in memory means nothing until the next load.
 */
bool soft_pdptes_load(struct soft_vcpu *c, uint64_t cr3, bool commit)
{
	uint64_t reserved = reserved64(c, true) | PTE_NX | 0x1e6;

	for (unsigned i = 0; i < 4; i++) {
		struct walk w = { 0 };
		entry_read(c, &w, (cr3 & UINT64_C(0xffffffe0)) + i * 8, 8);
		uint64_t entry = w.steps[0].value;
		if (entry & PTE_P && entry & reserved)
			return false;
		if (commit)
			c->mmu->pdpte[i] = entry;
	}
	if (commit)
		c->mmu->pdptes_valid = true;
	return true;
}

void soft_pdptes_forget(struct soft_vcpu *c)
{
	c->mmu->pdptes_valid = false;
}
