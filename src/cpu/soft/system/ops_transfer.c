/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Far transfers, software interrupts and the fast system calls, as instructions. */
#include "cpu/soft/system/ops.h"

void soft_op_jmp_far(struct soft_vcpu *c, const struct soft_insn *i)
{
	soft_far_jump(c, i->x.imm2, i->x.imm, i->x.op_size);
}

void soft_op_call_far(struct soft_vcpu *c, const struct soft_insn *i)
{
	soft_far_call(c, i->x.imm2, i->x.imm, i->x.op_size, soft_next_rip(c, i));
}

static uint16_t far_pointer(struct soft_vcpu *c, const struct soft_insn *i, uint64_t *offset)
{
	uint64_t linear = soft_operand(c, i, i->x.op_size + 2, SOFT_READ);

	*offset = soft_load(c, linear, i->x.op_size);
	return soft_load(c, linear + i->x.op_size, 2);
}

void soft_op_jmp_far_memory(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t offset;
	uint16_t selector = far_pointer(c, i, &offset);
	soft_far_jump(c, selector, offset, i->x.op_size);
}

void soft_op_call_far_memory(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t offset;
	uint16_t selector = far_pointer(c, i, &offset);
	soft_far_call(c, selector, offset, i->x.op_size, soft_next_rip(c, i));
}

void soft_op_retf(struct soft_vcpu *c, const struct soft_insn *i)
{
	soft_far_return(c, i->x.op_size, i->x.opcode == 0xca ? i->x.imm : 0);
}

void soft_op_iret(struct soft_vcpu *c, const struct soft_insn *i)
{
	soft_iret(c, i->x.op_size);
}

void soft_op_int(struct soft_vcpu *c, const struct soft_insn *i)
{
	soft_software_interrupt(c, i->x.imm, soft_next_rip(c, i));
}

void soft_op_int3(struct soft_vcpu *c, const struct soft_insn *i)
{
	soft_software_interrupt(c, X86_EXC_BP, soft_next_rip(c, i));
}

void soft_op_into(struct soft_vcpu *c, const struct soft_insn *i)
{
	if (c->flags & X86_FLAG_OF)
		soft_software_interrupt(c, X86_EXC_OF, soft_next_rip(c, i));
	else
		c->s.rip = soft_next_rip(c, i);
}

void soft_op_int1(struct soft_vcpu *c, const struct soft_insn *i)
{
	soft_software_interrupt(c, X86_EXC_DB, soft_next_rip(c, i));
}

/* --- SYSCALL, SYSENTER (SDM vol. 3, 5.8.7 and 5.8.8; AMD APM vol. 2, 6.1) --------------------- */

enum {
	CODE64 = X86_SEG_G | X86_SEG_L | X86_SEG_P | X86_SEG_S | X86_SEG_CODE | X86_SEG_READ |
		 X86_SEG_ACCESSED,
	CODE32 = (CODE64 & ~X86_SEG_L) | X86_SEG_DB,
	DATA32 = X86_SEG_G | X86_SEG_DB | X86_SEG_P | X86_SEG_S | X86_SEG_WRITE | X86_SEG_ACCESSED,
};

/* Flat segments that come from no descriptor. */
static void set_flat(struct soft_vcpu *c, uint16_t cs, uint16_t ss, bool is_long, unsigned cpl)
{
	uint32_t dpl = cpl << X86_SEG_DPL_SHIFT;

	c->s.seg[X86_CS] = (struct x86_segment){
		.selector = (cs & SELECTOR_MASK) | cpl,
		.limit = 0xffffffff,
		.attr = (is_long ? CODE64 : CODE32) | dpl,
	};
	c->s.seg[X86_SS] = (struct x86_segment){
		.selector = (ss & SELECTOR_MASK) | cpl,
		.limit = 0xffffffff,
		.attr = DATA32 | dpl,
	};
}

/* AMD has SYSCALL in all protected modes and no SYSENTER in long mode; Intel the reverse. */
static void require_syscall(struct soft_vcpu *c)
{
	if (!(c->s.efer & X86_EFER_SCE) || !soft_protected(c) || (!c->long64 && !c->sys->amd))
		soft_raise(c, X86_EXC_UD);
}

void soft_op_syscall(struct soft_vcpu *c, const struct soft_insn *i)
{
	require_syscall(c);
	uint16_t cs = c->s.msr.star >> 32;
	uint64_t next = soft_next_rip(c, i), flags = soft_rflags_get(c);
	bool is_long = soft_long_mode(c);

	c->s.gpr[X86_RCX] = next;
	if (is_long) {
		c->s.gpr[11] = flags & ~(uint64_t)X86_FLAG_RF;
		c->s.rip = c->long64 ? c->s.msr.lstar : c->s.msr.cstar;
		flags &= ~(c->s.msr.fmask | X86_FLAG_RF);
	} else {
		c->s.rip = (uint32_t)c->s.msr.star;
		flags &= ~(uint64_t)(X86_FLAG_IF | X86_FLAG_RF | X86_FLAG_VM);
	}
	set_flat(c, cs, cs + 8, is_long, 0);
	soft_flags_commit(c, flags);
	c->sys->step_armed = flags & X86_FLAG_TF;
	soft_mode_changed(c);
}

void soft_op_sysret(struct soft_vcpu *c, const struct soft_insn *i)
{
	require_syscall(c);
	soft_require_cpl0(c);
	uint16_t base = c->s.msr.star >> 48;
	bool to_long = soft_long_mode(c) && i->x.op_size == 8;

	if (to_long && !soft_canonical(c->s.gpr[X86_RCX]))
		soft_raise_gp(c);
	c->s.rip = to_long ? c->s.gpr[X86_RCX] : (uint32_t)c->s.gpr[X86_RCX];
	uint64_t flags = soft_long_mode(c) ? c->s.gpr[11] & 0x3c7fd7 :
					     soft_rflags_get(c) | X86_FLAG_IF;
	set_flat(c, to_long ? base + 16 : base, base + 8, to_long, 3);
	soft_flags_commit(c, flags);
	soft_mode_changed(c);
}

static uint16_t sysenter_cs(struct soft_vcpu *c)
{
	if (c->sys->amd && soft_long_mode(c))
		soft_raise(c, X86_EXC_UD);
	uint16_t cs = c->s.msr.sysenter_cs & SELECTOR_MASK;
	if (!(c->s.cr0 & X86_CR0_PE) || !cs)
		soft_raise_gp(c);
	return cs;
}

void soft_op_sysenter(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint16_t cs = sysenter_cs(c);
	bool is_long = soft_long_mode(c);
	uint64_t clear = X86_FLAG_IF | X86_FLAG_VM | X86_FLAG_RF;

	set_flat(c, cs, cs + 8, is_long, 0);
	c->s.rip = is_long ? c->s.msr.sysenter_eip : (uint32_t)c->s.msr.sysenter_eip;
	c->s.gpr[X86_RSP] = is_long ? c->s.msr.sysenter_esp : (uint32_t)c->s.msr.sysenter_esp;
	soft_flags_commit(c, soft_rflags_get(c) & ~clear);
	soft_mode_changed(c);
}

void soft_op_sysexit(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint16_t cs = sysenter_cs(c);
	bool to_long = soft_long_mode(c) && i->x.op_size == 8;
	uint64_t rip = c->s.gpr[X86_RDX], rsp = c->s.gpr[X86_RCX];

	soft_require_cpl0(c);
	if (soft_vm86(c) || (to_long && (!soft_canonical(rip) || !soft_canonical(rsp))))
		soft_raise_gp(c);
	set_flat(c, cs + (to_long ? 32 : 16), cs + (to_long ? 40 : 24), to_long, 3);
	c->s.rip = to_long ? rip : (uint32_t)rip;
	c->s.gpr[X86_RSP] = to_long ? rsp : (uint32_t)rsp;
	soft_mode_changed(c);
}
