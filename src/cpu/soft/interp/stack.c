/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PUSH, POP, PUSHA, POPA, ENTER, LEAVE, PUSHF, POPF. */
#include "cpu/soft/interp/interp.h"

static void push_r(struct soft_vcpu *c, const struct soft_insn *i)
{
	push(c, c->s.gpr[i->x.rm], i->x.op_size);
}

static void pop_r(struct soft_vcpu *c, const struct soft_insn *i)
{
	gpr_write(c, i->x.rm, i->x.op_size, pop(c, i->x.op_size));
}

static void push_imm(struct soft_vcpu *c, const struct soft_insn *i)
{
	push(c, i->x.imm, i->x.op_size);
}

static void push_rm(struct soft_vcpu *c, const struct soft_insn *i)
{
	push(c, rm_read(c, i, i->x.op_size), i->x.op_size);
}

/* The address is computed with the stack pointer already incremented (SDM vol. 2, POP). */
static void pop_rm(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	uint64_t old = c->s.gpr[X86_RSP];
	uint64_t v = stack_load(c, old, size);
	if (i->x.mod == 3) {
		stack_set(c, old + size);
		gpr_write(c, i->x.rm, size, v);
		return;
	}
	struct soft_insn moved = *i;
	if (i->x.base == X86_RSP)
		moved.x.disp += size;
	soft_store(c, soft_operand(c, &moved, size, SOFT_WRITE), v, size);
	stack_set(c, old + size);
}

static void pusha(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	uint64_t sp = c->s.gpr[X86_RSP];
	uint64_t linear[8];
	/* They may lie on two pages: nothing is stored if one of them faults. */
	for (unsigned n = 0; n < 8; n++) {
		linear[n] = soft_linear(c, X86_SS, (sp - (n + 1) * size) & stack_mask(c), size,
					SOFT_WRITE);
		soft_check_write(c, linear[n], size);
	}
	for (unsigned n = 0; n < 8; n++)
		soft_store(c, linear[n], c->s.gpr[n], size);
	stack_set(c, sp - 8 * size);
}

static void popa(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	uint64_t sp = c->s.gpr[X86_RSP], v[8];
	for (unsigned n = 0; n < 8; n++)
		v[n] = stack_load(c, sp + n * size, size);
	for (unsigned n = 0; n < 8; n++) {
		if (n != 3) /* the pushed SP is skipped */
			gpr_write(c, 7 - n, size, v[n]);
	}
	stack_set(c, sp + 8 * size);
}

static void enter(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size, level = i->x.imm2 & 31;
	uint64_t sp = c->s.gpr[X86_RSP] - size, bp = c->s.gpr[X86_RBP];
	stack_store(c, sp, bp, size);
	uint64_t frame = sp;
	for (unsigned n = 1; n < level; n++) {
		bp -= size;
		sp -= size;
		stack_store(c, sp, stack_load(c, bp, size), size);
	}
	if (level > 0) {
		sp -= size;
		stack_store(c, sp, frame, size);
	}
	sp -= i->x.imm;
	/* The page of the new top must be writable (SDM vol. 2, ENTER). */
	stack_store(c, sp, stack_load(c, sp, size), size);
	stack_set(c, sp);
	gpr_write(c, X86_RBP, size == 2 ? 2 : c->long64 ? 8 : 4, frame);
}

static void leave(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	uint64_t bp = c->s.gpr[X86_RBP];
	uint64_t v = stack_load(c, bp, size);
	stack_set(c, bp + size);
	gpr_write(c, X86_RBP, size, v);
}

static bool in_vm86(const struct soft_vcpu *c)
{
	return (c->s.rflags & X86_FLAG_VM) && (c->s.cr0 & X86_CR0_PE);
}

static unsigned iopl(const struct soft_vcpu *c)
{
	return (c->s.rflags >> 12) & 3;
}

static void pushf(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t flags = soft_rflags_get(c);
	if (in_vm86(c) && iopl(c) < 3) {
		/* VME: a 16-bit PUSHF shows VIF as IF and IOPL 3 (SDM vol. 3, 20.3.1). */
		if (!(c->s.cr4 & X86_CR4_VME) || i->x.op_size != 2)
			soft_raise_gp(c);
		flags &= ~(uint64_t)X86_FLAG_IF;
		flags |= X86_FLAG_IOPL | (flags & X86_FLAG_VIF ? X86_FLAG_IF : 0);
	}
	push(c, flags & ~(uint64_t)(X86_FLAG_VM | X86_FLAG_RF), i->x.op_size);
}

/* VM86 with IOPL < 3: allowed only with VME and a 16-bit operand; IF is then VIF. */
static uint64_t popf_vme(struct soft_vcpu *c, const struct soft_insn *i, uint64_t v)
{
	uint64_t old = soft_rflags_get(c);
	if (!(c->s.cr4 & X86_CR4_VME) || i->x.op_size != 2)
		soft_raise_gp(c);
	if (((v & X86_FLAG_IF) && (old & X86_FLAG_VIP)) || (v & X86_FLAG_TF))
		soft_raise_gp(c);
	uint64_t change = 0xffff & ~(uint64_t)(X86_FLAG_IOPL | X86_FLAG_IF);
	uint64_t r = (old & ~change) | (v & change);
	r &= ~(uint64_t)X86_FLAG_VIF;
	return r | (v & X86_FLAG_IF ? X86_FLAG_VIF : 0);
}

static void popf(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	uint64_t sp = c->s.gpr[X86_RSP], v = stack_load(c, sp, size), r;
	if (in_vm86(c) && iopl(c) < 3) {
		r = popf_vme(c, i, v);
	} else {
		uint64_t change = X86_FLAGS_ARITH | X86_FLAG_TF | X86_FLAG_DF | X86_FLAG_NT;
		if (size != 2)
			change |= X86_FLAG_AC | X86_FLAG_ID;
		if (c->cpl == 0)
			change |= X86_FLAG_IOPL;
		if (c->cpl <= iopl(c))
			change |= X86_FLAG_IF;
		uint64_t old = soft_rflags_get(c);
		r = (old & ~change) | (v & change);
		if (size != 2)
			r &= ~(uint64_t)X86_FLAG_RF;
	}
	stack_set(c, sp + size);
	soft_rflags_set(c, r);
	go_on(c, i);
}

#define ROWS8(op, fn)                                                                              \
	OP((op) + 0, -1, fn), OP((op) + 1, -1, fn), OP((op) + 2, -1, fn), OP((op) + 3, -1, fn),    \
	OP((op) + 4, -1, fn), OP((op) + 5, -1, fn), OP((op) + 6, -1, fn), OP((op) + 7, -1, fn)

const struct soft_opcode interp_stack_ops[] = {
	ROWS8(0x50, push_r), ROWS8(0x58, pop_r), OP(0x68, -1, push_imm), OP(0x6a, -1, push_imm),
	OP(0xff, 6, push_rm), OP(0x8f, 0, pop_rm), OP(0x60, -1, pusha), OP(0x61, -1, popa),
	OP(0xc8, -1, enter), OP(0xc9, -1, leave), OP(0x9c, -1, pushf), OP_END(0x9d, -1, popf),
	{ 0 },
};
