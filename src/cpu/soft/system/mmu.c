/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Translation for instructions: the first-level TLB's refill and flushing, page faults, and what is
 * at a physical address. soft.h says what a first-level tag promises; only fill() makes tags.
 *
 * A page's state byte may change under us (another vCPU decodes code there, the dirty log starts).
 * Whoever changes it posts SOFT_PENDING_TLB_FLUSH and waits until we have looked; a tag made from
 * the old state meanwhile goes with that flush.
 */
#include "cpu/soft/system/mmu.h"

#include "base/bytes.h"
#include "cpu/soft/engine.h"
#include "cpu/soft/jit/jit.h"
#include "cpu/x86/walk.h"

#include <string.h>

static unsigned slot_of(uint64_t linear)
{
	return linear >> PAGE_BITS & (SOFT_TLB_SIZE - 1);
}

static void slot_clear(struct soft_vcpu *c, unsigned table, unsigned slot)
{
	if (slot < SLOT_FETCH) {
		struct soft_tlb_entry *e = &c->tlbs[table][slot];
		e->read = e->write = soft_tlb_empty(slot);
	} else {
		c->fetches[table][slot - SLOT_FETCH].tag = soft_tlb_empty(slot - SLOT_FETCH);
	}
}

struct soft_mmu *soft_mmu_new(void)
{
	struct soft_mmu *mmu = g_new0(struct soft_mmu, 1);
	mmu->global_asid = 1;
	mmu->asid = mmu->next_asid = 2;
	mmu->asid_of[0] = mmu->asid;
	return mmu;
}

void soft_mmu_free(struct soft_mmu *mmu)
{
	g_free(mmu);
}

/* --- what is at a physical address ------------------------------------------------------------ */

const struct phys_range *mmu_range(struct soft_vcpu *c, uint64_t phys)
{
	struct soft_mmu *mmu = c->mmu;
	struct space_range found;

	for (unsigned i = 0; i < RANGE_COUNT; i++)
		if (phys - mmu->ranges[i].base < mmu->ranges[i].size)
			return &mmu->ranges[i];
	if (!space_find(c->vm->memory, phys, &found) || !found.ram)
		return NULL;
	struct phys_range *r = &mmu->ranges[mmu->next_range++ % RANGE_COUNT];
	*r = (struct phys_range){
		.base = found.base,
		.size = found.size,
		.host = found.ram->host + found.ram_offset,
		.state = found.ram->page_state + (found.ram_offset >> PAGE_BITS),
		.ram = found.ram,
		.ram_offset = found.ram_offset,
		.readonly = found.readonly,
	};
	return r;
}

void soft_note_write(struct soft_vcpu *c, uint64_t phys, unsigned length)
{
	const struct phys_range *r = mmu_range(c, phys);
	if (r)
		ram_note_write(r->ram, r->ram_offset + (phys - r->base), length);
}

uint64_t soft_mmio_read(struct soft_vcpu *c, uint64_t phys, unsigned size)
{
	if (soft_unlikely(lapic_page_matches(c->lapic, phys))) {
		/* Only aligned 32-bit accesses are defined; give others the bytes they ask for. */
		unsigned offset = phys & PAGE_MASK, shift = (offset & 3) * 8;
		uint64_t value = lapic_mmio_read(c->lapic, offset & ~3u) >> shift;
		return size == 8 ? value : value & ((UINT64_C(1) << size * 8) - 1);
	}
	soft_native_settle(c);
	return space_read(c->vm->memory, phys, size);
}

void soft_mmio_write(struct soft_vcpu *c, uint64_t phys, uint64_t value, unsigned size)
{
	if (soft_unlikely(lapic_page_matches(c->lapic, phys))) {
		if (size >= 4)
			lapic_mmio_write(c->lapic, phys & PAGE_MASK, value);
		return;
	}
	soft_native_settle(c);
	space_write(c->vm->memory, phys, value, size);
}

/* --- first-level TLB -------------------------------------------------------------------------- */

static unsigned fetched_bit(uint64_t linear)
{
	uint64_t page = linear >> PAGE_BITS;
	return (page ^ page >> 12) & (FETCHED_SIZE - 1);
}

static void fetched_add(struct tlb_log *log, uint64_t linear, bool global)
{
	unsigned bit = fetched_bit(linear);
	log->fetched[global][bit / 64] |= UINT64_C(1) << bit % 64;
	log->fetched_local |= !global;
}

static bool fetched_has(const struct tlb_log *log, uint64_t linear)
{
	unsigned bit = fetched_bit(linear);
	return (log->fetched[0][bit / 64] | log->fetched[1][bit / 64]) >> bit % 64 & 1;
}

static void flush_local(struct soft_vcpu *c)
{
	for (unsigned t = 0; t < SOFT_TLB_TABLES; t++) {
		struct tlb_log *log = &c->mmu->log[t];
		if (log->fetched_local) {
			jit_jumps_forget(c, t);
			memset(log->fetched[0], 0, sizeof(log->fetched[0]));
			log->fetched_local = false;
		}
		for (unsigned i = 0; i < log->local_count; i++) {
			unsigned slot = log->local[i];
			log->meta[slot] &= ~SLOT_IN_LOCAL;
			if (!(log->meta[slot] & SLOT_IS_GLOBAL))
				slot_clear(c, t, slot);
		}
		log->local_count = 0;
	}
}

static void flush_first_level(struct soft_vcpu *c)
{
	flush_local(c);
	for (unsigned t = 0; t < SOFT_TLB_TABLES; t++) {
		struct tlb_log *log = &c->mmu->log[t];
		jit_jumps_forget(c, t);
		memset(log->fetched[1], 0, sizeof(log->fetched[1]));
		for (unsigned i = 0; i < log->global_count; i++) {
			unsigned slot = log->global[i];
			log->meta[slot] = 0;
			slot_clear(c, t, slot);
		}
		log->global_count = 0;
	}
}

static void log_slot(struct tlb_log *log, unsigned slot, bool global)
{
	uint8_t *meta = &log->meta[slot];

	if (global) {
		*meta |= SLOT_IS_GLOBAL;
		if (!(*meta & SLOT_IN_GLOBAL)) {
			*meta |= SLOT_IN_GLOBAL;
			log->global[log->global_count++] = slot;
		}
		return;
	}
	*meta &= ~SLOT_IS_GLOBAL;
	if (!(*meta & SLOT_IN_LOCAL)) {
		*meta |= SLOT_IN_LOCAL;
		log->local[log->local_count++] = slot;
	}
}

/* Data breakpoints on this page? */
static bool page_watched(const struct soft_vcpu *c, uint64_t linear)
{
	if (!c->sys->data_breakpoints)
		return false;
	for (unsigned i = 0; i < 4; i++) {
		bool enabled = c->s.dr[7] >> i * 2 & 3, data = c->s.dr[7] >> (16 + i * 4) & 1;
		/* The last byte of a breakpoint may be on the next page. */
		if (enabled && data &&
		    (c->s.dr[i] >> PAGE_BITS == linear >> PAGE_BITS ||
		     (c->s.dr[i] + 7) >> PAGE_BITS == linear >> PAGE_BITS))
			return true;
	}
	return false;
}

/* Must someone hear of writes to the page: does it hold code, or is it clean in a dirty log? */
static bool writes_followed(const struct phys_range *r, uint64_t phys)
{
	return atomic_load_explicit(&r->state[(phys - r->base) >> PAGE_BITS], memory_order_acquire);
}

static void fill_fetch(struct soft_vcpu *c, uint64_t base, enum soft_tlb_table table,
		       uintptr_t addend, bool global)
{
	struct tlb_log *log = &c->mmu->log[table];
	c->fetches[table][slot_of(base)] = (struct soft_fetch_entry){ base, addend };
	log_slot(log, SLOT_FETCH + slot_of(base), global);
	fetched_add(log, base, global);
}

static void fill_data(struct soft_vcpu *c, uint64_t base, uint64_t page, enum soft_tlb_table table,
		      uintptr_t addend, bool writable)
{
	unsigned slot = slot_of(base);
	struct soft_tlb_entry *e = &c->tlbs[table][slot];

	slot_clear(c, table, slot);
	e->addend = addend;
	if (table == SOFT_TLB_ALIGNED || page_watched(c, base))
		return;
	if (mmu_allowed(c, page, SOFT_READ, table))
		e->read = base;
	if (page & PAGE_DIRTY && writable && mmu_allowed(c, page, SOFT_WRITE, table))
		e->write = base;
	log_slot(&c->mmu->log[table], slot, page & PAGE_GLOBAL);
}

/* After a successful access: a fetch's rights are those of the access. */
static void fill(struct soft_vcpu *c, uint64_t linear, uint64_t page, enum soft_tlb_table table,
		 enum soft_access access, const struct phys_range *r, uint64_t phys)
{
	uint64_t base = linear & ~PAGE_MASK;
	uintptr_t addend = (uintptr_t)(r->host + ((phys & ~PAGE_MASK) - r->base)) - base;

	if (access == SOFT_FETCH)
		fill_fetch(c, base, table, addend, page & PAGE_GLOBAL);
	else
		fill_data(c, base, page, table, addend,
			  !r->readonly && !writes_followed(r, phys));
}

/* --- faults and translation ------------------------------------------------------------------- */

static _Noreturn void raise_page_fault(struct soft_vcpu *c, uint64_t linear, uint32_t code,
				       enum soft_access access, bool user)
{
	bool nx = c->s.efer & X86_EFER_NX && (c->s.cr4 & X86_CR4_PAE);

	code &= ~WALK_FAULT;
	if (access == SOFT_WRITE)
		code |= X86_PF_W;
	if (user)
		code |= X86_PF_U;
	if (access == SOFT_FETCH && (nx || c->s.cr4 & X86_CR4_SMEP))
		code |= X86_PF_I;
	c->s.cr2 = linear;
	soft_raise_error(c, X86_EXC_PF, code);
}

static bool is_user(enum soft_tlb_table table)
{
	return table == SOFT_TLB_USER || table == SOFT_TLB_ALIGNED;
}

static void *translate(struct soft_vcpu *c, uint64_t linear, enum soft_access access,
		       enum soft_tlb_table table, uint64_t *phys_out, bool *watched)
{
	uint64_t page;

	if (!l2_find(c->mmu, linear, &page) || !mmu_allowed(c, page, access, table) ||
	    (access == SOFT_WRITE && !(page & PAGE_DIRTY))) {
		uint32_t fault = mmu_walk(c, linear, access, table, &page);
		if (fault) {
			/* What made us walk is out of date or not enough: hardware drops it too. */
			l2_remove(c->mmu, c->mmu->asid, linear);
			l2_remove(c->mmu, c->mmu->global_asid, linear);
			raise_page_fault(c, linear, fault, access, is_user(table));
		}
		if (c->s.cr0 & X86_CR0_PG)
			l2_insert(c->mmu, linear, page);
	}

	uint64_t phys = (page & ~(uint64_t)PAGE_RIGHTS) | (linear & PAGE_MASK);
	*phys_out = phys;
	*watched = false;
	if (soft_unlikely(lapic_page_matches(c->lapic, phys)))
		return NULL;
	const struct phys_range *r = mmu_range(c, phys);
	if (!r || (access == SOFT_WRITE && r->readonly))
		return NULL;
	fill(c, linear, page, table, access, r, phys);
	*watched = access == SOFT_WRITE && writes_followed(r, phys);
	return r->host + (phys - r->base);
}

void *soft_translate(struct soft_vcpu *c, uint64_t linear, enum soft_access access, uint64_t *phys,
		     bool *watched)
{
	return translate(c, linear, access, (enum soft_tlb_table)((c->tlb - c->tlbs[0]) /
								   SOFT_TLB_SIZE), phys, watched);
}

void *soft_translate_as(struct soft_vcpu *c, uint64_t linear, enum soft_access access, bool user,
			uint64_t *phys, bool *watched)
{
	return translate(c, linear, access, user ? SOFT_TLB_USER : SOFT_TLB_SUPERVISOR, phys,
			 watched);
}

/* --- flushing --------------------------------------------------------------------------------- */

static unsigned current_pcid(const struct soft_vcpu *c)
{
	return c->s.cr4 & X86_CR4_PCIDE ? c->s.cr3 & 0xfff : 0;
}

/* The number of the space that CR3 now names, a new one if it has none. */
static void adopt_asid(struct soft_vcpu *c)
{
	unsigned pcid = current_pcid(c);
	if (!c->mmu->asid_of[pcid])
		l2_new_asid(c->mmu, pcid);
	c->mmu->asid = c->mmu->asid_of[pcid];
}

void soft_tlb_flush_all(struct soft_vcpu *c)
{
	flush_first_level(c);
	l2_flush_all(c->mmu, true);
	adopt_asid(c);
}

void soft_tlb_flush_all_non_global(struct soft_vcpu *c)
{
	flush_local(c);
	l2_flush_all(c->mmu, false);
	adopt_asid(c);
}

void soft_tlb_flush_non_global(struct soft_vcpu *c)
{
	flush_local(c);
	l2_new_asid(c->mmu, current_pcid(c));
	adopt_asid(c);
}

void soft_tlb_cr3_changed(struct soft_vcpu *c, bool keep)
{
	flush_local(c);
	if (!keep)
		l2_new_asid(c->mmu, current_pcid(c));
	adopt_asid(c);
}

void soft_tlb_flush_pcid(struct soft_vcpu *c, unsigned pcid)
{
	if (pcid == current_pcid(c)) {
		soft_tlb_flush_non_global(c);
		return;
	}
	c->mmu->asid_of[pcid] = 0;
}

static void first_level_flush_page(struct soft_vcpu *c, uint64_t linear)
{
	uint64_t base = linear & ~PAGE_MASK;

	for (unsigned t = 0; t < SOFT_TLB_TABLES; t++) {
		if (fetched_has(&c->mmu->log[t], linear))
			jit_jumps_forget(c, t);
		unsigned slot = slot_of(linear);
		const struct soft_tlb_entry *e = &c->tlbs[t][slot];
		if (e->read == base || e->write == base)
			slot_clear(c, t, slot);
		if (c->fetches[t][slot].tag == base)
			slot_clear(c, t, SLOT_FETCH + slot);
	}
}

void soft_tlb_flush_page(struct soft_vcpu *c, uint64_t linear)
{
	struct soft_mmu *mmu = c->mmu;

	if (soft_unlikely(l2_huge_possible(mmu, linear))) {
		soft_tlb_flush_all(c);
		return;
	}
	if (soft_unlikely(l2_large_possible(mmu, linear))) {
		uint64_t first = linear & ~UINT64_C(0x3fffff);
		for (uint64_t at = first; at < first + 0x400000; at += PAGE_SIZE)
			first_level_flush_page(c, at);
		l2_remove_large(mmu, linear);
		return;
	}
	first_level_flush_page(c, linear);
	l2_remove(mmu, mmu->asid, linear);
	l2_remove(mmu, mmu->global_asid, linear);
}

void soft_tlb_flush_pcid_page(struct soft_vcpu *c, unsigned pcid, uint64_t linear)
{
	if (pcid == current_pcid(c))
		soft_tlb_flush_page(c, linear);
	else if (l2_large_possible(c->mmu, linear) || l2_huge_possible(c->mmu, linear))
		c->mmu->asid_of[pcid] = 0;
	else if (c->mmu->asid_of[pcid])
		l2_remove(c->mmu, c->mmu->asid_of[pcid], linear);
}

static void protect_slots(struct soft_vcpu *c, unsigned table, const uint16_t *slots, unsigned count,
			  const uint8_t *host_page)
{
	for (unsigned n = 0; n < count; n++) {
		if (slots[n] >= SLOT_FETCH)
			continue;
		struct soft_tlb_entry *e = &c->tlbs[table][slots[n]];
		if (e->write + e->addend == (uintptr_t)host_page)
			e->write = soft_tlb_empty(slots[n]);
	}
}

void soft_tlb_protect(struct soft_vcpu *c, const uint8_t *host_page)
{
	for (unsigned t = 0; t < SOFT_TLB_TABLES; t++) {
		const struct tlb_log *log = &c->mmu->log[t];
		protect_slots(c, t, log->local, log->local_count, host_page);
		protect_slots(c, t, log->global, log->global_count, host_page);
	}
}

void soft_memory_changed(struct soft_vcpu *c)
{
	memset(c->mmu->ranges, 0, sizeof(c->mmu->ranges));
	flush_first_level(c);
	jit_stop(c);
}

void soft_tlb_select(struct soft_vcpu *c)
{
	enum soft_tlb_table t = SOFT_TLB_SUPERVISOR;
	bool ac = c->s.rflags & X86_FLAG_AC;

	if (c->cpl == 3)
		t = soft_unlikely(ac && c->s.cr0 & X86_CR0_AM) ? SOFT_TLB_ALIGNED : SOFT_TLB_USER;
	else if (ac && c->s.cr4 & X86_CR4_SMAP)
		t = SOFT_TLB_SMAP_OFF;
	c->tlb = c->tlbs[t];
	c->tlb_table = t;
	c->watching = c->sys->data_breakpoints || t == SOFT_TLB_ALIGNED;
}

/* --- lookers-on ------------------------------------------------------------------------------- */

static bool probe_read(void *opaque, uint64_t addr, unsigned size, uint64_t *entry)
{
	struct soft_vcpu *c = opaque;
	struct space_range r;

	if (!space_find(c->vm->memory, addr, &r) || !r.ram)
		return false;
	*entry = le_load(r.ram->host + r.ram_offset + (addr - r.base), size);
	return true;
}

bool soft_probe(struct soft_vcpu *c, uint64_t linear, uint64_t *phys)
{
	struct x86_walk w;

	if (!x86_walk_page(&c->s, c->sys->phys_bits, linear, probe_read, c, &w))
		return false;
	*phys = w.phys;
	return true;
}

/* A new table starts empty: the memory is all zero. Called once by soft_system_create(). */
void soft_tlb_init(struct soft_vcpu *c)
{
	for (unsigned t = 0; t < SOFT_TLB_TABLES; t++) {
		slot_clear(c, t, 0);
		slot_clear(c, t, SLOT_FETCH);
	}
	c->tlb = c->tlbs[SOFT_TLB_SUPERVISOR];
}
