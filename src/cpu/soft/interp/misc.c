/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flag bits, NOP and hints, fences, cache control, RDRAND, UD. */
#include "cpu/soft/interp/interp.h"

#include <sched.h>

static void clc(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->flags &= ~(uint64_t)X86_FLAG_CF;
}

static void stc(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->flags |= X86_FLAG_CF;
}

static void cmc(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->flags ^= X86_FLAG_CF;
}

static void cld(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->s.rflags &= ~(uint64_t)X86_FLAG_DF;
}

static void std(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->s.rflags |= X86_FLAG_DF;
}

static void nop(struct soft_vcpu *c, const struct soft_insn *i)
{
}

/* With several vCPUs the one that is waited for may need this host CPU. */
static void pause_hint(struct soft_vcpu *c, const struct soft_insn *i)
{
	/* With REX.B it is XCHG R8, RAX after all. */
	if (i->x.rm != X86_RAX) {
		uint64_t a = c->s.gpr[X86_RAX];
		gpr_write(c, X86_RAX, i->x.op_size, c->s.gpr[i->x.rm]);
		gpr_write(c, i->x.rm, i->x.op_size, a);
		return;
	}
	if (c->vm && c->vm->vcpu_count > 1)
		sched_yield();
	else
		__builtin_ia32_pause();
}

static void fence(struct soft_vcpu *c, const struct soft_insn *i)
{
	atomic_thread_fence(memory_order_seq_cst);
}

/* CLFLUSH, CLFLUSHOPT, CLWB: the address is checked as for a read of one byte. */
static void clflush(struct soft_vcpu *c, const struct soft_insn *i)
{
	soft_load(c, soft_operand(c, i, 1, SOFT_READ), 1);
}

static void undefined(struct soft_vcpu *c, const struct soft_insn *i)
{
	soft_raise(c, X86_EXC_UD);
}

/* CF says whether a number was ready; a 0 result goes with CF 0. */
static bool host_random(bool seed, uint64_t *value)
{
	unsigned char ok;
	if (seed)
		__asm__ volatile("rdseed %0; setc %1" : "=r"(*value), "=qm"(ok) : : "cc");
	else
		__asm__ volatile("rdrand %0; setc %1" : "=r"(*value), "=qm"(ok) : : "cc");
	return ok;
}

static void random_number(struct soft_vcpu *c, const struct soft_insn *i, bool seed)
{
	uint64_t v;
	bool ok = host_random(seed, &v);
	gpr_write(c, i->x.rm, i->x.op_size, ok ? v : 0);
	c->flags = ok ? X86_FLAG_CF : 0;
}

static void rdrand(struct soft_vcpu *c, const struct soft_insn *i)
{
	if (!soft_has_feature(c, CPU_WORD_1_ECX, 1u << 30))
		soft_raise(c, X86_EXC_UD);
	random_number(c, i, false);
}

static void rdseed(struct soft_vcpu *c, const struct soft_insn *i)
{
	if (!soft_has_feature(c, CPU_WORD_7_0_EBX, 1u << 18))
		soft_raise(c, X86_EXC_UD);
	random_number(c, i, true);
}

#define HINT(op) OP0F(op, -1, nop)
#define AE(digit, function, kind, needed)                                                          \
	{ .map = X86_MAP_0F, .opcode = 0xae, .reg = (digit), .fn = (function), .form = (kind),     \
	  .prefix = (needed) }

const struct soft_opcode interp_misc_ops[] = {
	OP(0xf5, -1, cmc), OP(0xf8, -1, clc), OP(0xf9, -1, stc), OP(0xfc, -1, cld),
	OP(0xfd, -1, std),
	{ .opcode = 0x90, .reg = -1, .fn = pause_hint, .prefix = X86_PREFIX_REP },
	/* Prefetches and the reserved-NOP space, ENDBR among it (SDM vol. 2, NOP; table A-3). */
	HINT(0x0d), HINT(0x18), HINT(0x19), HINT(0x1a), HINT(0x1b), HINT(0x1c), HINT(0x1d),
	HINT(0x1e), HINT(0x1f),
	AE(5, fence, SOFT_FORM_REGISTER, 0), AE(6, fence, SOFT_FORM_REGISTER, 0),
	AE(7, fence, SOFT_FORM_REGISTER, 0), AE(7, clflush, SOFT_FORM_MEMORY, 0),
	AE(6, clflush, SOFT_FORM_MEMORY, X86_PREFIX_OPSIZE),
	OP0F(0x0b, -1, undefined), OP0F(0xb9, -1, undefined), OP0F(0xff, -1, undefined),
	{ .map = X86_MAP_0F, .opcode = 0xc7, .reg = 6, .fn = rdrand, .form = SOFT_FORM_REGISTER },
	{ .map = X86_MAP_0F, .opcode = 0xc7, .reg = 7, .fn = rdseed, .form = SOFT_FORM_REGISTER },
	{ 0 },
};
