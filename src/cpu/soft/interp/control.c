/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Near control transfer: JMP, Jcc, CALL, RET, LOOP, JCXZ; BOUND. */
#include "cpu/soft/interp/interp.h"

static uint64_t relative_target(struct soft_vcpu *c, const struct soft_insn *i)
{
	return ip_mask(insn_next_rip(c, i) + i->x.imm, i->x.op_size);
}

static void jmp_rel(struct soft_vcpu *c, const struct soft_insn *i)
{
	jump_to(c, relative_target(c, i));
}

static void jcc(struct soft_vcpu *c, const struct soft_insn *i)
{
	if (flags_condition(c->flags, i->x.opcode & 0xf))
		jump_to(c, relative_target(c, i));
	else
		go_on(c, i);
}

static void jmp_rm(struct soft_vcpu *c, const struct soft_insn *i)
{
	jump_to(c, rm_read(c, i, i->x.op_size));
}

static void call_to(struct soft_vcpu *c, const struct soft_insn *i, uint64_t target)
{
	/* As CPUs do: the stack is written, and may fault, before the target is looked at. */
	uint64_t sp = c->s.gpr[X86_RSP] - i->x.op_size;
	stack_store(c, sp, insn_next_rip(c, i), i->x.op_size);
	jump_to(c, target);
	stack_set(c, sp);
}

static void call_rel(struct soft_vcpu *c, const struct soft_insn *i)
{
	call_to(c, i, relative_target(c, i));
}

static void call_rm(struct soft_vcpu *c, const struct soft_insn *i)
{
	call_to(c, i, rm_read(c, i, i->x.op_size));
}

static void ret(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t sp = c->s.gpr[X86_RSP], target = stack_load(c, sp, i->x.op_size);
	jump_to(c, target);
	stack_set(c, sp + i->x.op_size + i->x.imm); /* imm is 0 for C3 */
}

/* LOOP, LOOPE, LOOPNE, JCXZ: the counter has the address size. */
static void loop(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.addr_size;
	uint64_t count = (c->s.gpr[X86_RCX] - (i->x.opcode != 0xe3)) & size_mask(size);
	bool taken = count != 0;
	if (i->x.opcode == 0xe3)
		taken = count == 0;
	else if (i->x.opcode != 0xe2)
		taken = taken && !(c->flags & X86_FLAG_ZF) == (i->x.opcode == 0xe0);
	if (taken)
		jump_to(c, relative_target(c, i));
	else
		go_on(c, i);
	if (i->x.opcode != 0xe3)
		gpr_write(c, X86_RCX, size, count);
}

static void bound(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = i->x.op_size;
	uint64_t linear = soft_operand(c, i, size * 2, SOFT_READ);
	int64_t low = sign_extend(soft_load(c, linear, size), size);
	int64_t v = sign_extend(c->s.gpr[i->x.reg], size);
	if (v < low)
		soft_raise(c, X86_EXC_BR);
	if (v > sign_extend(soft_load(c, linear + size, size), size))
		soft_raise(c, X86_EXC_BR);
}

#define END8(op, fn)                                                                               \
	OP_END((op) + 0, -1, fn), OP_END((op) + 1, -1, fn), OP_END((op) + 2, -1, fn),              \
	OP_END((op) + 3, -1, fn), OP_END((op) + 4, -1, fn), OP_END((op) + 5, -1, fn),              \
	OP_END((op) + 6, -1, fn), OP_END((op) + 7, -1, fn)
#define END8_0F(op, fn)                                                                            \
	OP0F_END((op) + 0, -1, fn), OP0F_END((op) + 1, -1, fn), OP0F_END((op) + 2, -1, fn),        \
	OP0F_END((op) + 3, -1, fn), OP0F_END((op) + 4, -1, fn), OP0F_END((op) + 5, -1, fn),        \
	OP0F_END((op) + 6, -1, fn), OP0F_END((op) + 7, -1, fn)

const struct soft_opcode interp_control_ops[] = {
	END8(0x70, jcc), END8(0x78, jcc), END8_0F(0x80, jcc), END8_0F(0x88, jcc),
	OP_END(0xe9, -1, jmp_rel), OP_END(0xeb, -1, jmp_rel), OP_END(0xff, 4, jmp_rm),
	OP_END(0xe8, -1, call_rel), OP_END(0xff, 2, call_rm), OP_END(0xc2, -1, ret),
	OP_END(0xc3, -1, ret), OP_END(0xe0, -1, loop), OP_END(0xe1, -1, loop),
	OP_END(0xe2, -1, loop), OP_END(0xe3, -1, loop), OP(0x62, -1, bound),
	{ 0 },
};
