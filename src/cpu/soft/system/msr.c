/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Model-specific registers (SDM vol. 4). Those that a guest's CPUID does not show, and all that are
 * not listed, raise #GP, as on hardware; guests probe for that.
 */
#include "cpu/soft/system/system.h"

#include "base/log.h"

enum {
	MSR_P5_MC_ADDR = 0x0, MSR_P5_MC_TYPE = 0x1, MSR_TSC = 0x10, MSR_KVM_WALL_OLD = 0x11,
	MSR_KVM_TIME_OLD = 0x12, MSR_PLATFORM_ID = 0x17, MSR_APIC_BASE = 0x1b,
	MSR_FEATURE_CONTROL = 0x3a, MSR_TSC_ADJUST = 0x3b, MSR_SPEC_CTRL = 0x48,
	MSR_PRED_CMD = 0x49, MSR_BIOS_UPDT_TRIG = 0x79, MSR_BIOS_SIGN_ID = 0x8b,
	MSR_PLATFORM_INFO = 0xce, MSR_ARCH_CAPABILITIES = 0x10a, MSR_FLUSH_CMD = 0x10b,
	MSR_MISC_FEATURES = 0x140, MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP = 0x175,
	MSR_SYSENTER_EIP = 0x176, MSR_MCG_CAP = 0x179, MSR_MCG_STATUS = 0x17a,
	MSR_MCG_CTL = 0x17b, MSR_PERF_STATUS = 0x198, MSR_PERF_CTL = 0x199,
	MSR_MISC_ENABLE = 0x1a0, MSR_DEBUGCTL = 0x1d9, MSR_LASTBRANCH_FROM = 0x1db,
	MSR_LASTINT_TO = 0x1de, MSR_TSC_DEADLINE = 0x6e0, MSR_XSS = 0xda0,
	MSR_X2APIC_FIRST = 0x800, MSR_X2APIC_LAST = 0x8ff,
	MSR_KVM_WALL = 0x4b564d00, MSR_KVM_TIME = 0x4b564d01,
};
#define MSR_EFER       UINT32_C(0xc0000080)
#define MSR_STAR       UINT32_C(0xc0000081)
#define MSR_LSTAR      UINT32_C(0xc0000082)
#define MSR_CSTAR      UINT32_C(0xc0000083)
#define MSR_FMASK      UINT32_C(0xc0000084)
#define MSR_FS_BASE    UINT32_C(0xc0000100)
#define MSR_GS_BASE    UINT32_C(0xc0000101)
#define MSR_KERNEL_GS  UINT32_C(0xc0000102)
#define MSR_TSC_AUX    UINT32_C(0xc0000103)
#define MSR_AMD_SYSCFG UINT32_C(0xc0010010)
#define MSR_AMD_HWCR   UINT32_C(0xc0010015)
#define MSR_AMD_DE_CFG UINT32_C(0xc0011029)

/*
 * The speculation defences of kernels rewrite code and flush predictors of the processor they think
 * they run on. Here they would run in translated form against predictors they do not reach: all cost
 * and no effect. So the engine says that they are not needed: RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY,
 * SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO,
 * RFDS_NO and ITS_NO (bit 62).
 */
#define ARCH_CAPABILITIES                                                                          \
	(UINT64_C(1) << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 13 |         \
	 1 << 14 | 1 << 15 | 1 << 20 | 1 << 24 | 1 << 26 | 1 << 27 | UINT64_C(1) << 62)

static bool kvm_clock_shown(const struct soft_vcpu *c)
{
	return soft_has_feature(c, CPU_WORD_KVM, 1 << 3);
}

static bool spec_ctrl_shown(const struct soft_vcpu *c)
{
	return c->sys->features.word[CPU_WORD_7_0_EDX] & (1u << 26 | 1u << 27 | 1u << 31) ||
	       c->sys->features.word[CPU_WORD_80000008_EBX] & (7u << 12 | 1u << 24);
}

/* Registers that are a plain 64-bit field. */
static uint64_t *plain_field(struct soft_vcpu *c, uint32_t msr)
{
	struct x86_msrs *m = &c->s.msr;

	switch (msr) {
	case MSR_STAR:
		return &m->star;
	case MSR_LSTAR:
		return &m->lstar;
	case MSR_CSTAR:
		return &m->cstar;
	case MSR_FMASK:
		return &m->fmask;
	case MSR_KERNEL_GS:
		return &m->kernel_gs_base;
	case MSR_FS_BASE:
		return &c->s.seg[X86_FS].base;
	case MSR_GS_BASE:
		return &c->s.seg[X86_GS].base;
	case MSR_SYSENTER_CS:
		return &m->sysenter_cs;
	case MSR_SYSENTER_ESP:
		return &m->sysenter_esp;
	case MSR_SYSENTER_EIP:
		return &m->sysenter_eip;
	default:
		return NULL;
	}
}

static bool plain_valid(uint32_t msr, uint64_t value)
{
	switch (msr) {
	case MSR_FMASK:
		return value <= UINT32_MAX;
	case MSR_STAR:
		return true;
	case MSR_SYSENTER_CS:
		return true;
	default: /* addresses */
		return soft_canonical(value);
	}
}

/* Constants, and registers that only exist so that software finds what it expects. */
static bool read_constant(struct soft_vcpu *c, uint32_t msr, uint64_t *value)
{
	*value = 0;
	switch (msr) {
	case MSR_P5_MC_ADDR:
	case MSR_P5_MC_TYPE:
	case MSR_PLATFORM_ID:
	case MSR_MISC_FEATURES:
	case MSR_PERF_CTL:
	case MSR_LASTBRANCH_FROM:
	case MSR_LASTBRANCH_FROM + 1:
	case MSR_LASTINT_TO - 1:
	case MSR_LASTINT_TO:
		return !c->sys->amd || msr < 0x10;
	case MSR_BIOS_SIGN_ID:
		/* A microcode revision new enough for every kernel's list of bad ones. */
		*value = c->sys->amd ? 0x01000065 : UINT64_C(0xffffffff) << 32;
		return true;
	case MSR_PLATFORM_INFO:
		*value = (uint64_t)(soft_tsc_khz(c) / 100000) << 8;
		return !c->sys->amd;
	case MSR_PERF_STATUS:
		*value = 1000;
		return !c->sys->amd;
	case MSR_ARCH_CAPABILITIES:
		*value = ARCH_CAPABILITIES;
		return soft_has_feature(c, CPU_WORD_7_0_EDX, 1 << 29);
	case MSR_MCG_CAP:
		return true; /* no banks */
	case MSR_AMD_SYSCFG:
		return c->sys->amd;
	case MSR_AMD_HWCR:
		*value = 1 << 24; /* TscFreqSel: the TSC counts at the P0 frequency */
		return c->sys->amd;
	case MSR_AMD_DE_CFG:
		*value = 2; /* LFENCE is serialising */
		return c->sys->amd;
	default:
		return false;
	}
}

bool soft_msr_read(struct soft_vcpu *c, uint32_t msr, uint64_t *value)
{
	uint64_t *plain = plain_field(c, msr);
	bool known;

	if (plain) {
		*value = *plain;
		return true;
	}
	if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST)
		return lapic_msr_read(c->lapic, msr, value);
	switch (msr) {
	case MSR_EFER:
		*value = c->s.efer;
		return true;
	case MSR_TSC_AUX:
		*value = c->s.msr.tsc_aux;
		return soft_has_feature(c, CPU_WORD_80000001_EDX, 1 << 27) ||
		       soft_has_feature(c, CPU_WORD_7_0_ECX, 1 << 22);
	case MSR_TSC:
		*value = soft_tsc(c);
		return true;
	case MSR_TSC_ADJUST:
		*value = c->s.msr.tsc_adjust;
		return soft_has_feature(c, CPU_WORD_7_0_EBX, 1 << 1);
	case MSR_TSC_DEADLINE:
		*value = lapic_tsc_deadline_get(c->lapic);
		return soft_has_feature(c, CPU_WORD_1_ECX, 1 << 24);
	case MSR_APIC_BASE:
		*value = lapic_base_get(c->lapic);
		return true;
	case MSR_FEATURE_CONTROL:
		*value = c->s.msr.feature_control | 1; /* locked, everything off */
		return !c->sys->amd;
	case MSR_SPEC_CTRL:
		*value = c->s.msr.spec_ctrl;
		return spec_ctrl_shown(c);
	case MSR_MISC_ENABLE:
		*value = c->s.msr.misc_enable;
		return !c->sys->amd;
	case MSR_DEBUGCTL:
		*value = c->s.msr.debugctl;
		return true;
	case MSR_MCG_STATUS:
		*value = c->s.msr.mcg_status;
		return true;
	case MSR_XSS:
		*value = c->s.msr.xss;
		return soft_has_feature(c, CPU_WORD_D_1_EAX, 1 << 3);
	case MSR_KVM_WALL:
	case MSR_KVM_WALL_OLD:
		*value = c->s.msr.kvm_wall_clock;
		return kvm_clock_shown(c);
	case MSR_KVM_TIME:
	case MSR_KVM_TIME_OLD:
		*value = c->s.msr.kvm_system_time;
		return kvm_clock_shown(c);
	default:
		break;
	}
	if (soft_mtrr_read(c, msr, value, &known) || known)
		return known;
	return read_constant(c, msr, value);
}

static bool write_misc_enable(struct soft_vcpu *c, uint64_t value)
{
	/* Fast strings, and the bits that describe absent monitoring units. */
	uint64_t fixed = 1 << 11 | 1 << 12, writable = 1 | 1 << 3 | 1 << 7 | 1 << 16 | 1 << 18 |
		1 << 22 | UINT64_C(1) << 34 | 1 << 23;
	if (c->sys->amd || (value & ~(fixed | writable)))
		return false;
	c->s.msr.misc_enable = (value & writable) | (c->s.msr.misc_enable & fixed);
	return true;
}

static bool write_tsc_adjust(struct soft_vcpu *c, uint64_t value)
{
	if (!soft_has_feature(c, CPU_WORD_7_0_EBX, 1 << 1))
		return false;
	c->tsc_offset += (int64_t)(value - c->s.msr.tsc_adjust);
	c->s.msr.tsc_adjust = value;
	soft_pvclock_update(c);
	return true;
}

static bool write_apic_base(struct soft_vcpu *c, uint64_t value)
{
	bool x2apic = soft_has_feature(c, CPU_WORD_1_ECX, 1 << 21);

	if (!lapic_base_set(c->lapic, value, c->sys->phys_bits, x2apic))
		return false;
	/* The register page may have moved on or off a page that is in the TLB. */
	soft_memory_changed(c);
	return true;
}

static bool write_kvm(struct soft_vcpu *c, uint32_t msr, uint64_t value)
{
	if (!kvm_clock_shown(c))
		return false;
	if (msr == MSR_KVM_WALL || msr == MSR_KVM_WALL_OLD) {
		c->s.msr.kvm_wall_clock = value;
		soft_wall_clock_write(c);
	} else {
		c->s.msr.kvm_system_time = value;
		soft_pvclock_update(c);
	}
	return true;
}

/* Writes that must be accepted and change nothing. */
static bool write_ignored(struct soft_vcpu *c, uint32_t msr, uint64_t value)
{
	switch (msr) {
	case MSR_P5_MC_ADDR:
	case MSR_P5_MC_TYPE:
	case MSR_BIOS_SIGN_ID:
	case MSR_BIOS_UPDT_TRIG:
		return true;
	case MSR_PRED_CMD:
		return spec_ctrl_shown(c) && !(value & ~UINT64_C(0x81));
	case MSR_FLUSH_CMD:
		return soft_has_feature(c, CPU_WORD_7_0_EDX, 1 << 28) && !(value & ~UINT64_C(1));
	case MSR_MISC_FEATURES:
	case MSR_PERF_CTL:
		return !c->sys->amd;
	case MSR_AMD_SYSCFG:
	case MSR_AMD_HWCR:
	case MSR_AMD_DE_CFG:
		return c->sys->amd;
	default:
		return false;
	}
}

bool soft_msr_write(struct soft_vcpu *c, uint32_t msr, uint64_t value)
{
	uint64_t *plain = plain_field(c, msr);
	bool known;

	if (plain) {
		if (!plain_valid(msr, value))
			return false;
		*plain = value;
		return true;
	}
	if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST)
		return lapic_msr_write(c->lapic, msr, value);
	switch (msr) {
	case MSR_EFER:
		soft_efer_write(c, value);
		return true;
	case MSR_TSC_AUX:
		if (value >> 32)
			return false;
		c->s.msr.tsc_aux = value;
		return true;
	case MSR_TSC:
		soft_tsc_write(c, value);
		return true;
	case MSR_TSC_ADJUST:
		return write_tsc_adjust(c, value);
	case MSR_TSC_DEADLINE:
		if (!soft_has_feature(c, CPU_WORD_1_ECX, 1 << 24))
			return false;
		lapic_tsc_deadline_set(c->lapic, value);
		return true;
	case MSR_APIC_BASE:
		return write_apic_base(c, value);
	case MSR_SPEC_CTRL:
		/* IBRS, STIBP, SSBD, BHI_DIS_S: kept, as guests read them back. */
		if (!spec_ctrl_shown(c) || value & ~UINT64_C(0x407))
			return false;
		c->s.msr.spec_ctrl = value;
		return true;
	case MSR_MISC_ENABLE:
		return write_misc_enable(c, value);
	case MSR_DEBUGCTL:
		/* LBR and BTF are not there; kernels write zero, or try and read back. */
		c->s.msr.debugctl = 0;
		return !(value & ~UINT64_C(3));
	case MSR_MCG_STATUS:
		c->s.msr.mcg_status = value;
		return !value;
	case MSR_XSS:
		return soft_has_feature(c, CPU_WORD_D_1_EAX, 1 << 3) && !value;
	case MSR_KVM_WALL:
	case MSR_KVM_WALL_OLD:
	case MSR_KVM_TIME:
	case MSR_KVM_TIME_OLD:
		return write_kvm(c, msr, value);
	default:
		break;
	}
	if (soft_mtrr_write(c, msr, value, &known))
		return true;
	return !known && write_ignored(c, msr, value);
}
