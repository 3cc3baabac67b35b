/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Debug registers and the #DB exception (SDM vol. 3, 18.2, 18.3). While any breakpoint is enabled
 * the vCPU runs one instruction at a time (SOFT_PENDING_TRAP), which keeps every check out of the
 * fast paths.
 */
#include "cpu/soft/system/system.h"

enum { DR6_BASE = 0xffff0ff0, DR7_FIXED = 0x400 };
enum { BREAK_EXECUTE = 0, BREAK_WRITE = 1, BREAK_IO = 2, BREAK_ACCESS = 3 };

static unsigned break_type(uint64_t dr7, unsigned i)
{
	return dr7 >> (16 + i * 4) & 3;
}

static bool break_enabled(uint64_t dr7, unsigned i)
{
	return dr7 >> i * 2 & 3;
}

static uint64_t break_length(uint64_t dr7, unsigned i)
{
	static const uint8_t lengths[] = { 1, 2, 8, 4 };
	return lengths[dr7 >> (18 + i * 4) & 3];
}

void soft_dr7_changed(struct soft_vcpu *c)
{
	uint64_t dr7 = c->s.dr[7];
	bool watching = false;

	for (unsigned i = 0; i < 4; i++)
		if (break_enabled(dr7, i) && (break_type(dr7, i) == BREAK_WRITE ||
					      break_type(dr7, i) == BREAK_ACCESS))
			watching = true;
	/* Watched pages must lose their tags; a TLB without watched pages may fill again. */
	if (watching || c->sys->data_breakpoints) {
		c->sys->data_breakpoints = watching;
		soft_tlb_select(c);
		soft_memory_changed(c);
	}
	if (dr7 & 0xff)
		soft_pend(c, SOFT_PENDING_TRAP);
}

bool soft_debug_stepping(const struct soft_vcpu *c)
{
	return c->s.rflags & (X86_FLAG_TF | X86_FLAG_RF) || c->s.dr[7] & 0xff;
}

void soft_watch(struct soft_vcpu *c, uint64_t linear, unsigned size, enum soft_access access)
{
	uint64_t dr7 = c->s.dr[7], hits = 0;
	bool enabled_hit = false;

	if (access == SOFT_FETCH)
		return;
	/* What is no power of two is an operand of many words, or the part of one in a page. */
	if (c->tlb == c->tlbs[SOFT_TLB_ALIGNED] && size <= 8 && !(size & (size - 1)) &&
	    linear & (size - 1))
		soft_raise_error(c, X86_EXC_AC, 0);
	if (!c->sys->data_breakpoints)
		return;
	for (unsigned i = 0; i < 4; i++) {
		unsigned type = break_type(dr7, i);
		if (type == BREAK_EXECUTE || type == BREAK_IO ||
		    (type == BREAK_WRITE && access != SOFT_WRITE))
			continue;
		uint64_t length = break_length(dr7, i), first = c->s.dr[i] & ~(length - 1);
		if (linear >= first + length || first >= linear + size)
			continue;
		hits |= 1u << i;
		enabled_hit |= break_enabled(dr7, i);
	}
	if (enabled_hit) {
		c->sys->debug_hits |= hits;
		soft_pend(c, SOFT_PENDING_TRAP);
	}
}

void soft_debug_io(struct soft_vcpu *c, uint16_t port, unsigned size)
{
	uint64_t dr7 = c->s.dr[7], hits = 0;

	if (!(c->s.cr4 & X86_CR4_DE))
		return;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t length = break_length(dr7, i), first = c->s.dr[i] & ~(length - 1);
		if (break_type(dr7, i) == BREAK_IO && break_enabled(dr7, i) &&
		    port < first + length && first < port + size)
			hits |= 1u << i;
	}
	if (hits)
		soft_debug_note(c, hits);
}

uint64_t soft_debug_execute_hits(const struct soft_vcpu *c, uint64_t linear)
{
	uint64_t dr7 = c->s.dr[7], hits = 0;
	bool enabled_hit = false;

	for (unsigned i = 0; i < 4; i++) {
		if (break_type(dr7, i) != BREAK_EXECUTE || c->s.dr[i] != linear)
			continue;
		hits |= 1u << i;
		enabled_hit |= break_enabled(dr7, i);
	}
	return enabled_hit ? hits : 0;
}

void soft_debug_note(struct soft_vcpu *c, uint64_t bits)
{
	c->sys->debug_hits |= bits;
	soft_pend(c, SOFT_PENDING_TRAP);
}
