/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MTRRs and PAT: kept and checked, without effect, since all of our memory is write-back and
 * devices are functions. Guests compare them across processors and refuse odd values (SDM vol. 3, 12.11).
 */
#include "cpu/soft/system/system.h"

enum {
	MSR_MTRRCAP = 0xfe, MSR_MTRR_BASE0 = 0x200, MSR_FIX64K = 0x250, MSR_FIX16K_8 = 0x258,
	MSR_FIX16K_A = 0x259, MSR_FIX4K = 0x268, MSR_PAT = 0x277, MSR_DEF_TYPE = 0x2ff,
};

static bool type_valid(unsigned type)
{
	return type <= 6 && type != 2 && type != 3;
}

static uint64_t *fixed_register(struct soft_vcpu *c, uint32_t msr)
{
	if (msr == MSR_FIX64K)
		return &c->s.msr.mtrr_fixed[0];
	if (msr == MSR_FIX16K_8 || msr == MSR_FIX16K_A)
		return &c->s.msr.mtrr_fixed[1 + (msr - MSR_FIX16K_8)];
	if (msr >= MSR_FIX4K && msr < MSR_FIX4K + 8)
		return &c->s.msr.mtrr_fixed[3 + (msr - MSR_FIX4K)];
	return NULL;
}

static uint64_t *variable_register(struct soft_vcpu *c, uint32_t msr)
{
	uint32_t n = msr - MSR_MTRR_BASE0;
	if (n >= X86_MTRR_VARIABLE * 2)
		return NULL;
	return n & 1 ? &c->s.msr.mtrr_mask[n / 2] : &c->s.msr.mtrr_base[n / 2];
}

bool soft_mtrr_read(struct soft_vcpu *c, uint32_t msr, uint64_t *value, bool *known)
{
	uint64_t *r = fixed_register(c, msr);

	*known = true;
	if (!r)
		r = variable_register(c, msr);
	if (r)
		*value = *r;
	else if (msr == MSR_MTRRCAP)
		*value = X86_MTRR_VARIABLE | 1 << 8 /* fixed ones */ | 1 << 10 /* WC */;
	else if (msr == MSR_DEF_TYPE)
		*value = c->s.msr.mtrr_def_type;
	else if (msr == MSR_PAT)
		*value = c->s.msr.pat;
	else
		*known = false;
	return *known;
}

static bool bytes_valid(uint64_t value, bool pat)
{
	for (unsigned i = 0; i < 8; i++) {
		unsigned type = value >> i * 8 & 0xff;
		/* PAT has UC- (7) too. */
		if (!type_valid(type) && !(pat && type == 7))
			return false;
	}
	return true;
}

bool soft_mtrr_write(struct soft_vcpu *c, uint32_t msr, uint64_t value, bool *known)
{
	uint64_t above = ~((UINT64_C(1) << c->sys->phys_bits) - 1);
	uint64_t *fixed = fixed_register(c, msr), *variable = variable_register(c, msr);

	*known = true;
	if (fixed) {
		if (!bytes_valid(value, false))
			return false;
		*fixed = value;
		return true;
	}
	if (variable) {
		bool mask = msr & 1;
		if (value & (above | (mask ? 0x7ff : 0xf00)) ||
		    (!mask && !type_valid(value & 0xff)))
			return false;
		*variable = value;
		return true;
	}
	switch (msr) {
	case MSR_DEF_TYPE:
		if (value & ~UINT64_C(0xcff) || !type_valid(value & 0xff))
			return false;
		c->s.msr.mtrr_def_type = value;
		return true;
	case MSR_PAT:
		if (!bytes_valid(value, true))
			return false;
		c->s.msr.pat = value;
		return true;
	case MSR_MTRRCAP:
		return false;
	default:
		*known = false;
		return false;
	}
}
