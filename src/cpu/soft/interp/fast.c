/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Choosing special exec functions, and their cold halves. */
#include "cpu/soft/interp/fast.h"

enum fast_ea fast_ea_form(const struct x86_insn *x, uint32_t mode)
{
	if ((mode & BLOCK_MODE_DECODE) == X86_DECODE_32 && x->addr_size == 4 && x->seg <= X86_DS &&
	    x->seg != X86_CS) {
		if (x->index != X86_REG_NONE)
			return x->base == X86_REG_NONE ? FAST_EA_ANY : FAST_EA_INDEX32;
		return x->base == X86_REG_NONE ? FAST_EA_ABS32 : FAST_EA_BASE32;
	}
	if ((mode & BLOCK_MODE_DECODE) != X86_DECODE_64 || x->addr_size != 8 || x->seg >= X86_FS)
		return FAST_EA_ANY;
	if (x->rip_relative)
		return FAST_EA_RIP;
	if (x->base == X86_REG_NONE)
		return FAST_EA_ANY;
	return x->index == X86_REG_NONE ? FAST_EA_BASE : FAST_EA_INDEX;
}

/* soft_linear() on an address that is linear already: only its canonical check is wanted. */
static void check_linear(struct soft_vcpu *c, const struct soft_insn *i, uint64_t linear,
			 unsigned size, enum soft_access access)
{
	if (c->long64 && (uint64_t)(((int64_t)linear >> 47) + 1) > 1)
		soft_segment_linear(c, i->x.seg, linear, size, access);
}

__attribute__((noinline, cold)) uint64_t fast_load_cold(struct soft_vcpu *c,
							const struct soft_insn *i, uint64_t linear,
							unsigned size)
{
	check_linear(c, i, linear, size, SOFT_READ);
	return soft_load_slow(c, linear, size);
}

__attribute__((noinline, cold)) void fast_store_cold(struct soft_vcpu *c, const struct soft_insn *i,
						     uint64_t linear, uint64_t v, unsigned size)
{
	check_linear(c, i, linear, size, SOFT_WRITE);
	soft_store_slow(c, linear, v, size);
}

__attribute__((noinline, cold)) struct rmw_target fast_rmw_cold(struct soft_vcpu *c,
								const struct soft_insn *i,
								uint64_t linear, unsigned size)
{
	check_linear(c, i, linear, size, SOFT_WRITE);
	return interp_rmw_slow(c, linear, size);
}
