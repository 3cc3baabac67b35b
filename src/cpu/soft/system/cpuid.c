/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUID as the guest executes it: the VM's table plus what depends on the moment. */
#include "cpu/soft/system/system.h"

/* The size of the standard-format XSAVE image for the components in `mask`. */
static uint32_t xsave_size(const struct soft_vcpu *c, uint64_t mask, bool compacted)
{
	uint32_t size = 576;

	for (unsigned i = 2; i < 32; i++) {
		uint32_t component[4];
		if (!(mask >> i & 1))
			continue;
		cpuid_lookup(c->sys->cpuid, 0xd, i, component);
		if (compacted)
			size = (component[2] & 2 ? (size + 63) & ~63u : size) + component[0];
		else
			size = component[1] + component[0];
	}
	return size;
}

void soft_cpuid(struct soft_vcpu *c, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	/* Leaves 0x15, 0x16 and the hypervisor's; and 0x16 answers for what is behind it. */
	if (leaf >= 0x15 && !c->sys->cpuid_has_clock)
		soft_cpuid_add_clock(c);
	cpuid_lookup(c->sys->cpuid, leaf, subleaf, out);
	switch (leaf) {
	case 1:
		if (c->s.cr4 & X86_CR4_OSXSAVE)
			out[2] |= 1 << 27;
		/* A disabled local APIC is not there (SDM vol. 3, 11.4.3). */
		if (!(lapic_base_get(c->lapic) & 1 << 11))
			out[3] &= ~(1u << 9);
		break;
	case 0xd:
		if (!out[0] && !out[2])
			break;
		if (subleaf == 0)
			out[1] = xsave_size(c, c->s.xcr0, false);
		else if (subleaf == 1)
			out[1] = out[0] & 2 ? xsave_size(c, c->s.xcr0 | c->s.msr.xss, true) : 0;
		break;
	case 0x80000001:
		/* Intel's SYSCALL bit shows only in 64-bit mode. */
		if (!c->sys->amd && !c->long64)
			out[3] &= ~(1u << 11);
		break;
	default:
		break;
	}
}
