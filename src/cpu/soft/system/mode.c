/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processor modes: what is cached of them, RFLAGS, and the control registers that switch them
 * (SDM vol. 3, 2.5, 10.8.5, 10.9).
 */
#include "cpu/soft/system/system.h"

static bool is_flat(const struct x86_segment *s)
{
	return s->base == 0 && s->limit == 0xffffffff &&
	       (s->attr & (X86_SEG_UNUSABLE | X86_SEG_CODE | X86_SEG_EXPAND_DOWN | X86_SEG_WRITE |
			   X86_SEG_P)) == (X86_SEG_WRITE | X86_SEG_P);
}

void soft_mode_changed(struct soft_vcpu *c)
{
	uint32_t cs = c->s.seg[X86_CS].attr;

	c->cpl = x86_cpl(&c->s);
	c->long64 = soft_long_mode(c) && cs & X86_SEG_L;
	c->mode = c->long64 ? X86_DECODE_64 : cs & X86_SEG_DB ? X86_DECODE_32 : X86_DECODE_16;
	c->flat_data = !c->long64 && is_flat(&c->s.seg[X86_DS]) && is_flat(&c->s.seg[X86_ES]) &&
		       is_flat(&c->s.seg[X86_SS]);
	c->flat32 = c->flat_data && c->mode == X86_DECODE_32 && c->s.seg[X86_CS].base == 0 &&
		    c->s.seg[X86_CS].limit == 0xffffffff && c->s.seg[X86_SS].attr & X86_SEG_DB;
	soft_tlb_select(c);
}

uint64_t soft_rflags_get(const struct soft_vcpu *c)
{
	return (c->s.rflags & ~(uint64_t)X86_FLAGS_ARITH) | (c->flags & X86_FLAGS_ARITH) | 2;
}

#define RFLAGS_EXISTING                                                                            \
	(X86_FLAGS_ARITH | X86_FLAG_TF | X86_FLAG_IF | X86_FLAG_DF | X86_FLAG_IOPL | X86_FLAG_NT |  \
	 X86_FLAG_RF | X86_FLAG_VM | X86_FLAG_AC | X86_FLAG_VIF | X86_FLAG_VIP | X86_FLAG_ID)

void soft_flags_commit(struct soft_vcpu *c, uint64_t rflags)
{
	uint64_t old = c->s.rflags;

	rflags = (rflags & RFLAGS_EXISTING) | 2;
	/*
	 * RF matters only where an instruction breakpoint could trigger; without one it would only
	 * cost a look at every boundary after each IRET from a fault.
	 */
	if (rflags & X86_FLAG_RF && !(c->s.dr[7] & 0xff))
		rflags &= ~(uint64_t)X86_FLAG_RF;
	c->s.rflags = rflags;
	c->flags = rflags & X86_FLAGS_ARITH;
	if (rflags & (X86_FLAG_TF | X86_FLAG_RF))
		soft_pend(c, SOFT_PENDING_TRAP);
	if (rflags & X86_FLAG_IF && !(old & X86_FLAG_IF))
		soft_interrupts_enabled(c);
}

void soft_rflags_set(struct soft_vcpu *c, uint64_t rflags)
{
	uint64_t changed = c->s.rflags ^ rflags;

	soft_flags_commit(c, rflags);
	if (changed & X86_FLAG_VM)
		soft_mode_changed(c);
	else if (changed & X86_FLAG_AC)
		soft_tlb_select(c);
}

/* --- CR0, CR4, EFER, CR3 ---------------------------------------------------------------------- */

/* Entering IA-32e mode: CR0.PG goes to 1 with EFER.LME set. */
static void check_long_entry(struct soft_vcpu *c)
{
	unsigned tss = c->s.seg[X86_TR].attr & 15;
	bool tss16 = !(c->s.seg[X86_TR].attr & X86_SEG_UNUSABLE) &&
		     (tss == TYPE_TSS16 || tss == TYPE_TSS16_BUSY) && c->s.seg[X86_TR].selector;

	if (!(c->s.cr4 & X86_CR4_PAE) || c->s.seg[X86_CS].attr & X86_SEG_L || tss16)
		soft_raise_gp(c);
}

void soft_cr0_write(struct soft_vcpu *c, uint64_t value)
{
	uint64_t old = c->s.cr0, existing = X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS |
		X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD |
		(uint64_t)X86_CR0_PG;
	bool paging = value & X86_CR0_PG, was_paging = old & X86_CR0_PG;

	if (value >> 32 || (paging && !(value & X86_CR0_PE)) ||
	    (value & X86_CR0_NW && !(value & X86_CR0_CD)))
		soft_raise_gp(c);
	value = (value & existing) | X86_CR0_ET;
	if (was_paging && !paging && (c->long64 || c->s.cr4 & X86_CR4_PCIDE))
		soft_raise_gp(c);
	if (paging && !was_paging) {
		if (c->s.efer & X86_EFER_LME)
			check_long_entry(c);
		else if (c->s.cr4 & X86_CR4_PAE && !soft_pdptes_load(c, c->s.cr3, true))
			soft_raise_gp(c);
	}

	c->s.cr0 = value;
	/* Until an instruction has been let through. */
	c->x87_ready = false;
	c->vectors_allowed = 0;
	if (paging && !was_paging && c->s.efer & X86_EFER_LME)
		c->s.efer |= X86_EFER_LMA;
	if (!paging)
		c->s.efer &= ~(uint64_t)X86_EFER_LMA;
	/* Leaving protected mode: CPL is 0 again, hidden parts stay (SDM vol. 3, 10.9.2). */
	if (old & X86_CR0_PE && !(value & X86_CR0_PE))
		c->s.seg[X86_SS].attr &= ~(3u << X86_SEG_DPL_SHIFT);
	if ((old ^ value) & (X86_CR0_PG | X86_CR0_WP | X86_CR0_PE))
		soft_tlb_flush_all(c);
	soft_mode_changed(c);
}

static uint64_t cr4_existing(const struct soft_vcpu *c)
{
	static const struct {
		uint32_t cr4;
		enum cpu_feature_word word;
		uint32_t mask;
	} bits[] = {
		{ X86_CR4_VME | X86_CR4_PVI, CPU_WORD_1_EDX, 1 << 1 },
		{ X86_CR4_TSD, CPU_WORD_1_EDX, 1 << 4 },
		{ X86_CR4_DE, CPU_WORD_1_EDX, 1 << 2 },
		{ X86_CR4_PSE, CPU_WORD_1_EDX, 1 << 3 },
		{ X86_CR4_PAE, CPU_WORD_1_EDX, 1 << 6 },
		{ X86_CR4_MCE, CPU_WORD_1_EDX, 1 << 7 },
		{ X86_CR4_PGE, CPU_WORD_1_EDX, 1 << 13 },
		{ X86_CR4_OSFXSR, CPU_WORD_1_EDX, 1 << 24 },
		{ X86_CR4_OSXMMEXCPT, CPU_WORD_1_EDX, 1 << 25 },
		{ X86_CR4_UMIP, CPU_WORD_7_0_ECX, 1 << 2 },
		{ X86_CR4_FSGSBASE, CPU_WORD_7_0_EBX, 1 << 0 },
		{ X86_CR4_PCIDE, CPU_WORD_1_ECX, 1 << 17 },
		{ X86_CR4_OSXSAVE, CPU_WORD_1_ECX, 1 << 26 },
		{ X86_CR4_SMEP, CPU_WORD_7_0_EBX, 1 << 7 },
		{ X86_CR4_SMAP, CPU_WORD_7_0_EBX, 1 << 20 },
	};
	uint64_t existing = X86_CR4_PCE;

	for (unsigned i = 0; i < G_N_ELEMENTS(bits); i++)
		if (soft_has_feature(c, bits[i].word, bits[i].mask))
			existing |= bits[i].cr4;
	return existing;
}

void soft_cr4_write(struct soft_vcpu *c, uint64_t value)
{
	uint64_t old = c->s.cr4, changed = old ^ value;

	if (changed & ~cr4_existing(c))
		soft_raise_gp(c);
	if (soft_long_mode(c) && !(value & X86_CR4_PAE))
		soft_raise_gp(c);
	if (changed & value & X86_CR4_PCIDE && (!soft_long_mode(c) || c->s.cr3 & 0xfff))
		soft_raise_gp(c);
	if (c->s.cr0 & X86_CR0_PG && !soft_long_mode(c) && value & X86_CR4_PAE &&
	    changed & (X86_CR4_PAE | X86_CR4_PSE | X86_CR4_PGE | X86_CR4_SMEP)) {
		c->s.cr4 = value; /* the format that the entries are checked in */
		bool valid = soft_pdptes_load(c, c->s.cr3, true);
		c->s.cr4 = old;
		if (!valid)
			soft_raise_gp(c);
	}

	c->s.cr4 = value;
	c->vectors_allowed = 0;
	if (changed & (X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PCIDE | X86_CR4_SMEP |
		       X86_CR4_SMAP))
		soft_tlb_flush_all(c);
	soft_mode_changed(c);
}

void soft_cr3_write(struct soft_vcpu *c, uint64_t value)
{
	bool keep = false;

	if (soft_long_mode(c)) {
		if (c->s.cr4 & X86_CR4_PCIDE) {
			keep = value >> 63;
			value &= ~(UINT64_C(1) << 63);
		}
		if (value >> c->sys->phys_bits)
			soft_raise_gp(c);
	} else {
		value = (uint32_t)value;
		if (c->s.cr0 & X86_CR0_PG && c->s.cr4 & X86_CR4_PAE &&
		    !(soft_pdptes_load(c, value, false) && soft_pdptes_load(c, value, true)))
			soft_raise_gp(c);
	}
	c->s.cr3 = value;
	soft_tlb_cr3_changed(c, keep);
}

/* WRMSR of EFER. LMA cannot be written; LME not while paging is on. */
void soft_efer_write(struct soft_vcpu *c, uint64_t value)
{
	uint64_t existing = X86_EFER_SCE | X86_EFER_LMA, old = c->s.efer;

	if (soft_has_feature(c, CPU_WORD_80000001_EDX, 1 << 29))
		existing |= X86_EFER_LME;
	if (soft_has_feature(c, CPU_WORD_80000001_EDX, 1 << 20))
		existing |= X86_EFER_NX;
	if (value & ~existing)
		soft_raise_gp(c);
	if ((value ^ old) & X86_EFER_LME && c->s.cr0 & X86_CR0_PG)
		soft_raise_gp(c);
	c->s.efer = (value & ~(uint64_t)X86_EFER_LMA) | (old & X86_EFER_LMA);
	if ((value ^ old) & X86_EFER_NX)
		soft_tlb_flush_all(c);
}
