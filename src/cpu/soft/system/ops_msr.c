/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MSRs, time-stamp counter, CPUID, hypercalls, and the FS and GS bases. */
#include "cpu/soft/system/ops.h"

#include "base/log.h"

static void set_edx_eax(struct soft_vcpu *c, uint64_t value)
{
	c->s.gpr[X86_RAX] = (uint32_t)value;
	c->s.gpr[X86_RDX] = value >> 32;
}

/* Guests probe for registers by the fault: interesting only to who looks into a failure. */
static _Noreturn void refuse(struct soft_vcpu *c, const char *what, uint32_t msr, uint64_t value)
{
	static struct log_limit limit;

	if (log_limit_allows(&limit, 5))
		log_debug("guest: vCPU %u %s MSR 0x%x (0x%" G_GINT64_MODIFIER "x): #GP",
			  c->vcpu->index, what, msr, (guint64)value);
	soft_raise_gp(c);
}

void soft_op_rdmsr(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t value = 0;
	uint32_t msr = c->s.gpr[X86_RCX];

	soft_require_cpl0(c);
	if (!soft_msr_read(c, msr, &value))
		refuse(c, "reads", msr, 0);
	set_edx_eax(c, value);
}

void soft_op_wrmsr(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint64_t value = c->s.gpr[X86_RDX] << 32 | (uint32_t)c->s.gpr[X86_RAX];
	uint32_t msr = c->s.gpr[X86_RCX];

	soft_require_cpl0(c);
	if (!soft_msr_write(c, msr, value))
		refuse(c, "writes", msr, value);
	c->s.rip = soft_next_rip(c, i);
}

static void check_tsd(struct soft_vcpu *c)
{
	if (soft_unlikely(c->s.cr4 & X86_CR4_TSD && c->cpl > 0))
		soft_raise_gp(c);
}

void soft_op_rdtsc(struct soft_vcpu *c, const struct soft_insn *i)
{
	check_tsd(c);
	set_edx_eax(c, soft_tsc(c));
}

void soft_op_rdpmc(struct soft_vcpu *c, const struct soft_insn *i)
{
	soft_raise_gp(c); /* there are no counters: any index is out of range */
}

void soft_op_cpuid(struct soft_vcpu *c, const struct soft_insn *i)
{
	uint32_t out[4];

	soft_cpuid(c, c->s.gpr[X86_RAX], c->s.gpr[X86_RCX], out);
	c->s.gpr[X86_RAX] = out[0];
	c->s.gpr[X86_RBX] = out[1];
	c->s.gpr[X86_RCX] = out[2];
	c->s.gpr[X86_RDX] = out[3];
	c->s.rip = soft_next_rip(c, i);
}

/* 0F 01 F8-FF. */
void soft_op_swapgs_rdtscp(struct soft_vcpu *c, const struct soft_insn *i)
{
	if (i->x.modrm == 0xf8 && c->long64) {
		soft_require_cpl0(c);
		uint64_t base = c->s.seg[X86_GS].base;
		c->s.seg[X86_GS].base = c->s.msr.kernel_gs_base;
		c->s.msr.kernel_gs_base = base;
		return;
	}
	if (i->x.modrm != 0xf9 || !soft_has_feature(c, CPU_WORD_80000001_EDX, 1 << 27))
		soft_raise(c, X86_EXC_UD);
	check_tsd(c);
	set_edx_eax(c, soft_tsc(c));
	c->s.gpr[X86_RCX] = (uint32_t)c->s.msr.tsc_aux;
}

/* F3 0F AE /0 to /3: RDFSBASE RDGSBASE WRFSBASE WRGSBASE. */
void soft_op_fs_gs_base(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned digit = i->x.reg & 7;
	struct x86_segment *s = &c->s.seg[digit & 1 ? X86_GS : X86_FS];

	if (!c->long64 || !(c->s.cr4 & X86_CR4_FSGSBASE))
		soft_raise(c, X86_EXC_UD);
	if (digit < 2) {
		soft_reg_set(c, i->x.rm, s->base, i->x.op_size == 8 ? 8 : 4);
		return;
	}
	uint64_t base = soft_reg_get(c, i->x.rm, i->x.op_size == 8 ? 8 : 4);
	if (!soft_canonical(base))
		soft_raise_gp(c);
	s->base = base;
}

void soft_op_rdpid(struct soft_vcpu *c, const struct soft_insn *i)
{
	if (!soft_has_feature(c, CPU_WORD_7_0_ECX, 1 << 22))
		soft_raise(c, X86_EXC_UD);
	soft_reg_set(c, i->x.rm, c->s.msr.tsc_aux, c->long64 ? 8 : 4);
}

/* --- hypercalls: Documentation/virt/kvm/x86/hypercalls.rst of Linux --------------------------- */

enum { HC_VAPIC_POLL_IRQ = 1, HC_KICK_CPU = 5, HC_ERROR_PERM = -1, HC_ERROR_NOSYS = -1000 };

/* A vCPU that waits for a lock in HLT may go on. With more vCPUs than cores, spinning is worse. */
static int64_t kick_cpu(struct soft_vcpu *c, uint32_t apic_id)
{
	for (unsigned i = 0; i < c->vm->vcpu_count; i++) {
		if (c->vm->vcpus[i].apic_id != apic_id)
			continue;
		struct soft_vcpu *other = soft_of(&c->vm->vcpus[i]);
		atomic_store(&other->sys->kicked, true);
		soft_post(other, SOFT_PENDING_INTERRUPT);
		break;
	}
	return 0;
}

/* 0F 01 C0-C7 and D8-DF. */
void soft_op_hypercall(struct soft_vcpu *c, const struct soft_insn *i)
{
	unsigned size = c->long64 ? 8 : 4;
	int64_t result;

	if ((i->x.modrm != 0xc1 && i->x.modrm != 0xd9) || !c->sys->features.word[CPU_WORD_KVM])
		soft_raise(c, X86_EXC_UD);
	if (c->cpl != 0) {
		result = HC_ERROR_PERM;
	} else {
		switch (soft_reg_get(c, X86_RAX, size)) {
		case HC_VAPIC_POLL_IRQ:
			result = 0;
			break;
		case HC_KICK_CPU:
			result = kick_cpu(c, soft_reg_get(c, X86_RCX, size));
			break;
		default:
			result = HC_ERROR_NOSYS;
		}
	}
	soft_reg_set(c, X86_RAX, result, size);
	c->s.rip = soft_next_rip(c, i);
}
