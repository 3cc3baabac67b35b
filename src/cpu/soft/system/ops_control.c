/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control and debug registers, TLB and cache control, HLT, the interrupt and AC flags, XCR0. */
#include "cpu/soft/system/ops.h"

static unsigned wide(const struct soft_vcpu *c)
{
	return c->long64 ? 8 : 4;
}

void soft_op_mov_from_cr(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t value;

	switch (i->x.reg) {
	case 0:
		value = c->s.cr0;
		break;
	case 2:
		value = c->s.cr2;
		break;
	case 3:
		value = c->s.cr3;
		break;
	case 4:
		value = c->s.cr4;
		break;
	case 8:
		value = lapic_cr8_get(c->lapic);
		break;
	default:
		soft_raise(c, X86_EXC_UD);
	}
	soft_require_cpl0(c);
	soft_reg_set(c, i->x.rm, value, wide(c));
}

void soft_op_mov_to_cr(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t value = soft_reg_get(c, i->x.rm, wide(c));

	if (i->x.reg > 4 ? i->x.reg != 8 : i->x.reg == 1)
		soft_raise(c, X86_EXC_UD);
	soft_require_cpl0(c);
	/* The address in the width of the code segment as it was: the write may change it. */
	uint64_t next = soft_next_rip(c, i);
	switch (i->x.reg) {
	case 0:
		soft_cr0_write(c, value);
		break;
	case 2:
		c->s.cr2 = value;
		break;
	case 3:
		soft_cr3_write(c, value);
		break;
	case 4:
		soft_cr4_write(c, value);
		break;
	default:
		if (value > 15)
			soft_raise_gp(c);
		lapic_cr8_set(c->lapic, value);
	}
	c->s.rip = next;
}

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE. Any access traps while DR7.GD is set. */
static unsigned debug_register(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned n = i->x.reg;

	if (n > 7 || ((n == 4 || n == 5) && c->s.cr4 & X86_CR4_DE))
		soft_raise(c, X86_EXC_UD);
	soft_require_cpl0(c);
	if (c->s.dr[7] & 1 << 13) {
		c->s.dr[6] |= 1 << 13;
		c->s.dr[7] &= ~(UINT64_C(1) << 13);
		soft_raise(c, X86_EXC_DB);
	}
	return n == 4 || n == 5 ? n + 2 : n;
}

void soft_op_mov_from_dr(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned n = debug_register(c, i);
	soft_reg_set(c, i->x.rm, c->s.dr[n], wide(c));
}

void soft_op_mov_to_dr(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned n = debug_register(c, i);
	uint64_t value = soft_reg_get(c, i->x.rm, wide(c));

	if (n >= 6 && value >> 32)
		soft_raise_gp(c);
	if (n == 6)
		value = (value & 0xe00f) | 0xffff0ff0;
	else if (n == 7)
		value = (value & 0xffff2bff) | 0x400;
	c->s.dr[n] = value;
	soft_dr7_changed(c);
	c->s.rip = soft_next_rip(c, i);
}

void soft_op_clts(struct soft_vcpu *c, const struct soft_insn *i)
{
	soft_require_cpl0(c);
	c->s.cr0 &= ~(uint64_t)X86_CR0_TS;
	c->s.rip = soft_next_rip(c, i);
}

void soft_op_smsw(struct soft_vcpu *c, const struct soft_insn *i)
{
	if (c->s.cr4 & X86_CR4_UMIP && c->cpl > 0)
		soft_raise_gp(c);
	if (i->x.mod == 3)
		soft_reg_set(c, i->x.rm, c->s.cr0, i->x.op_size);
	else
		soft_store(c, soft_operand(c, i, 2, SOFT_WRITE), (uint16_t)c->s.cr0, 2);
}

void soft_op_lmsw(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t value;

	soft_require_cpl0(c);
	if (i->x.mod == 3)
		value = c->s.gpr[i->x.rm];
	else
		value = soft_load(c, soft_operand(c, i, 2, SOFT_READ), 2);
	/* PE can be set but not cleared. */
	value = (c->s.cr0 & ~UINT64_C(14)) | (value & 15);
	soft_cr0_write(c, value);
	c->s.rip = soft_next_rip(c, i);
}

void soft_op_invlpg(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t offset = soft_ea(c, i), linear;

	soft_require_cpl0(c);
	if (c->long64)
		linear = i->x.seg >= X86_FS ? c->s.seg[i->x.seg].base + offset : offset;
	else
		linear = (uint32_t)(c->s.seg[i->x.seg].base + offset);
	if (soft_canonical(linear))
		soft_tlb_flush_page(c, linear);
	c->s.rip = soft_next_rip(c, i);
}

enum invpcid { INVPCID_ADDRESS, INVPCID_CONTEXT, INVPCID_ALL, INVPCID_ALL_NON_GLOBAL };

void soft_op_invpcid(struct soft_vcpu *c, const struct soft_insn *i)
{
	if (!soft_has_feature(c, CPU_WORD_7_0_EBX, 1 << 10) || soft_vm86(c))
		soft_raise(c, X86_EXC_UD);
	soft_require_cpl0(c);
	uint64_t type = soft_reg_get(c, i->x.reg, wide(c));
	uint64_t linear = soft_operand(c, i, 16, SOFT_READ);
	uint8_t descriptor[16];
	soft_load_bytes(c, linear, descriptor, sizeof(descriptor));
	uint64_t pcid = le64_load(descriptor), address = le64_load(descriptor + 8);

	if (type > INVPCID_ALL_NON_GLOBAL || pcid >> 12)
		soft_raise_gp(c);
	if (type <= INVPCID_CONTEXT && pcid && !(c->s.cr4 & X86_CR4_PCIDE))
		soft_raise_gp(c);
	switch ((enum invpcid)type) {
	case INVPCID_ADDRESS:
		if (!soft_canonical(address))
			soft_raise_gp(c);
		soft_tlb_flush_pcid_page(c, pcid, address);
		break;
	case INVPCID_CONTEXT:
		soft_tlb_flush_pcid(c, pcid);
		break;
	case INVPCID_ALL:
		soft_tlb_flush_all(c);
		break;
	case INVPCID_ALL_NON_GLOBAL:
		soft_tlb_flush_all_non_global(c);
		break;
	}
	c->s.rip = soft_next_rip(c, i);
}

/* INVD, WBINVD: no cache of ours can hold what memory does not. */
void soft_op_invd(struct soft_vcpu *c, const struct soft_insn *i)
{
	soft_require_cpl0(c);
}

void soft_op_hlt(struct soft_vcpu *c, const struct soft_insn *i)
{
	soft_require_cpl0(c);
	c->s.rip = soft_next_rip(c, i);
	/* STI's shadow ends with this instruction, and HLT waits for just what it held back. */
	c->interrupt_shadow = c->sys->ss_shadow = false;
	c->s.activity = X86_HALTED;
	atomic_store(&c->halted, true);
}

/* Which flag CLI and STI act on here: IF, or VIF for VME and PVI. #GP if neither. */
static uint64_t interrupt_flag(struct soft_vcpu *c)
{
	if (!(c->s.cr0 & X86_CR0_PE))
		return X86_FLAG_IF;
	if (soft_vm86(c)) {
		if (soft_iopl(c) == 3)
			return X86_FLAG_IF;
		if (c->s.cr4 & X86_CR4_VME)
			return X86_FLAG_VIF;
	} else {
		if (c->cpl <= soft_iopl(c))
			return X86_FLAG_IF;
		if (c->cpl == 3 && c->s.cr4 & X86_CR4_PVI)
			return X86_FLAG_VIF;
	}
	soft_raise_gp(c);
}

void soft_op_cli(struct soft_vcpu *c, const struct soft_insn *i)
{
	c->s.rflags &= ~interrupt_flag(c);
	c->interrupt_shadow = false;
}

void soft_op_sti(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t flag = interrupt_flag(c);

	if (flag == X86_FLAG_VIF) {
		if (c->s.rflags & X86_FLAG_VIP)
			soft_raise_gp(c);
		c->s.rflags |= X86_FLAG_VIF;
	} else if (!(c->s.rflags & X86_FLAG_IF)) {
		c->s.rflags |= X86_FLAG_IF;
		c->interrupt_shadow = true;
		soft_interrupts_enabled(c);
	}
	c->s.rip = soft_next_rip(c, i);
}

/* 0F 01 C8-CF: MONITOR and MWAIT do not exist here, CLAC and STAC do. */
void soft_op_group7_c8(struct soft_vcpu *c, const struct soft_insn *i)
{
	bool set = i->x.modrm == 0xcb;

	if ((!set && i->x.modrm != 0xca) || c->cpl != 0 ||
	    !soft_has_feature(c, CPU_WORD_7_0_EBX, 1 << 20))
		soft_raise(c, X86_EXC_UD);
	if (set)
		c->s.rflags |= X86_FLAG_AC;
	else
		c->s.rflags &= ~(uint64_t)X86_FLAG_AC;
	soft_tlb_select(c);
}

static void xsetbv(struct soft_vcpu *c)
{
	uint64_t value = (c->s.gpr[X86_RDX] << 32) | (uint32_t)c->s.gpr[X86_RAX];
	uint32_t supported[4];

	soft_require_cpl0(c);
	cpuid_lookup(c->sys->cpuid, 0xd, 0, supported);
	if ((uint32_t)c->s.gpr[X86_RCX] || value & ~(uint64_t)supported[0] || !(value & 1))
		soft_raise_gp(c);
	if (value & 4 && !(value & 2)) /* AVX needs SSE */
		soft_raise_gp(c);
	c->s.xcr0 = value;
	c->vectors_allowed = 0;
}

static uint64_t xgetbv(struct soft_vcpu *c)
{
	uint32_t index = c->s.gpr[X86_RCX];

	if (index == 0)
		return c->s.xcr0;
	/* XINUSE: saying that everything is in use is always right. */
	if (index == 1 && soft_has_feature(c, CPU_WORD_D_1_EAX, 1 << 2))
		return c->s.xcr0;
	soft_raise_gp(c);
}

/* 0F 01 D0-D7. */
void soft_op_xcr(struct soft_vcpu *c, const struct soft_insn *i)
{
	if ((i->x.modrm != 0xd0 && i->x.modrm != 0xd1) || !(c->s.cr4 & X86_CR4_OSXSAVE))
		soft_raise(c, X86_EXC_UD);
	if (i->x.modrm == 0xd1) {
		xsetbv(c);
	} else {
		uint64_t value = xgetbv(c);
		c->s.gpr[X86_RAX] = (uint32_t)value;
		c->s.gpr[X86_RDX] = value >> 32;
	}
	c->s.rip = soft_next_rip(c, i);
}
