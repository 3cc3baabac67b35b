/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The architectural state of one x86 logical processor, as every engine can give and take it. The
 * software engine also computes on it directly; field order keeps what is used most together.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI };

enum x86_seg_index { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, X86_LDTR, X86_TR, X86_SEG_COUNT };

/* EFLAGS (SDM vol. 1, 3.4.3). */
enum {
	X86_FLAG_CF = 1 << 0, X86_FLAG_PF = 1 << 2, X86_FLAG_AF = 1 << 4, X86_FLAG_ZF = 1 << 6,
	X86_FLAG_SF = 1 << 7, X86_FLAG_TF = 1 << 8, X86_FLAG_IF = 1 << 9, X86_FLAG_DF = 1 << 10,
	X86_FLAG_OF = 1 << 11, X86_FLAG_IOPL = 3 << 12, X86_FLAG_NT = 1 << 14, X86_FLAG_RF = 1 << 16,
	X86_FLAG_VM = 1 << 17, X86_FLAG_AC = 1 << 18, X86_FLAG_VIF = 1 << 19, X86_FLAG_VIP = 1 << 20,
	X86_FLAG_ID = 1 << 21,
	X86_FLAGS_ARITH = X86_FLAG_CF | X86_FLAG_PF | X86_FLAG_AF | X86_FLAG_ZF | X86_FLAG_SF | X86_FLAG_OF,
};

enum {
	X86_CR0_PE = 1u << 0, X86_CR0_MP = 1u << 1, X86_CR0_EM = 1u << 2, X86_CR0_TS = 1u << 3,
	X86_CR0_ET = 1u << 4, X86_CR0_NE = 1u << 5, X86_CR0_WP = 1u << 16, X86_CR0_AM = 1u << 18,
	X86_CR0_NW = 1u << 29, X86_CR0_CD = 1u << 30, X86_CR0_PG = 1u << 31,
};

enum {
	X86_CR4_VME = 1 << 0, X86_CR4_PVI = 1 << 1, X86_CR4_TSD = 1 << 2, X86_CR4_DE = 1 << 3,
	X86_CR4_PSE = 1 << 4, X86_CR4_PAE = 1 << 5, X86_CR4_MCE = 1 << 6, X86_CR4_PGE = 1 << 7,
	X86_CR4_PCE = 1 << 8, X86_CR4_OSFXSR = 1 << 9, X86_CR4_OSXMMEXCPT = 1 << 10,
	X86_CR4_UMIP = 1 << 11, X86_CR4_LA57 = 1 << 12, X86_CR4_FSGSBASE = 1 << 16,
	X86_CR4_PCIDE = 1 << 17, X86_CR4_OSXSAVE = 1 << 18, X86_CR4_SMEP = 1 << 20,
	X86_CR4_SMAP = 1 << 21, X86_CR4_PKE = 1 << 22,
};

enum { X86_EFER_SCE = 1 << 0, X86_EFER_LME = 1 << 8, X86_EFER_LMA = 1 << 10, X86_EFER_NX = 1 << 11 };

enum x86_vector {
	X86_EXC_DE = 0, X86_EXC_DB = 1, X86_EXC_NMI = 2, X86_EXC_BP = 3, X86_EXC_OF = 4, X86_EXC_BR = 5,
	X86_EXC_UD = 6, X86_EXC_NM = 7, X86_EXC_DF = 8, X86_EXC_TS = 10, X86_EXC_NP = 11,
	X86_EXC_SS = 12, X86_EXC_GP = 13, X86_EXC_PF = 14, X86_EXC_MF = 16, X86_EXC_AC = 17,
	X86_EXC_MC = 18, X86_EXC_XM = 19,
};

/* Page-fault error code (SDM vol. 3, 4.7). */
enum { X86_PF_P = 1, X86_PF_W = 2, X86_PF_U = 4, X86_PF_RSVD = 8, X86_PF_I = 16 };

/*
 * A segment register with its hidden part. `attr` holds the descriptor's bits 40-47 (type, S, DPL,
 * P) in bits 0-7 and its bits 52-55 (AVL, L, D/B, G) in bits 12-15, as VMX and KVM order them;
 * `limit` is expanded to bytes; an unusable (null) segment has X86_SEG_UNUSABLE set.
 */
struct x86_segment {
	uint64_t base;
	uint32_t limit;
	uint16_t selector;
	uint16_t pad;
	uint32_t attr;
	uint32_t pad2;
};

enum {
	X86_SEG_ACCESSED = 1 << 0, X86_SEG_WRITE = 1 << 1 /* data */, X86_SEG_READ = 1 << 1 /* code */,
	X86_SEG_EXPAND_DOWN = 1 << 2, X86_SEG_CONFORMING = 1 << 2, X86_SEG_CODE = 1 << 3,
	X86_SEG_S = 1 << 4, X86_SEG_DPL_SHIFT = 5, X86_SEG_P = 1 << 7, X86_SEG_AVL = 1 << 12,
	X86_SEG_L = 1 << 13, X86_SEG_DB = 1 << 14, X86_SEG_G = 1 << 15, X86_SEG_UNUSABLE = 1 << 16,
};

struct x86_table {
	uint64_t base;
	uint16_t limit;
};

/* XSAVE's standard-format image: legacy FXSAVE area, header, AVX high halves (SDM vol. 1, 13.4). */
struct x86_fpu {
	uint8_t legacy[512];
	uint8_t header[64];
	uint8_t ymm_high[256];
} __attribute__((aligned(64)));

enum { X86_MTRR_VARIABLE = 8, X86_MTRR_FIXED = 11 };

struct x86_msrs {
	uint64_t star, lstar, cstar, fmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t apic_base, tsc_aux, tsc_adjust, tsc_deadline;
	uint64_t pat, misc_enable, spec_ctrl, xss, debugctl, feature_control;
	uint64_t mtrr_def_type, mtrr_fixed[X86_MTRR_FIXED];
	uint64_t mtrr_base[X86_MTRR_VARIABLE], mtrr_mask[X86_MTRR_VARIABLE];
	uint64_t mcg_status, mcg_ctl;
	uint64_t kvm_wall_clock, kvm_system_time, kvm_async_pf, kvm_steal_time, kvm_pv_eoi, kvm_poll;
};

/* What KVM calls mp_state. */
enum x86_activity { X86_RUNNING, X86_HALTED, X86_WAIT_INIT, X86_WAIT_SIPI };

/* Events that were being delivered, and blocks on them (KVM_GET_VCPU_EVENTS). */
struct x86_events {
	bool nmi_pending, nmi_blocked, interrupt_shadow; /* STI or MOV SS just executed */
	bool init_pending, sipi_pending;
	uint8_t sipi_vector;
	bool exception_pending, has_error_code;
	uint8_t exception_vector;
	uint32_t error_code;
};

struct x86_state {
	uint64_t gpr[16]; /* in encoding order: rax rcx rdx rbx rsp rbp rsi rdi r8-r15 */
	uint64_t rip;
	uint64_t rflags;
	struct x86_segment seg[X86_SEG_COUNT];
	struct x86_table gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4, cr8, efer, xcr0;
	uint64_t dr[8]; /* 4 and 5 unused */
	uint64_t tsc;   /* at the moment of get/set; engines keep an offset */
	struct x86_msrs msr;
	enum x86_activity activity;
	struct x86_events events;
	uint8_t lapic[0x400]; /* the register page's used part, in xAPIC layout */
	struct x86_fpu fpu;
};

/* The state after RESET (SDM vol. 3, table 9-1). Only the boot processor runs; the others wait. */
void x86_state_reset(struct x86_state *state, bool boot_processor);
/* The state after INIT: like RESET, but FPU, MSRs and caches keep their values. */
void x86_state_init(struct x86_state *state, bool boot_processor);

static inline bool x86_in_long_mode(const struct x86_state *s)
{
	return s->efer & X86_EFER_LMA;
}

static inline unsigned x86_cpl(const struct x86_state *s)
{
	/* SS.DPL is the CPL by definition (SDM vol. 3, 24.4.1), also in real and VM86 mode here. */
	return (s->seg[X86_SS].attr >> X86_SEG_DPL_SHIFT) & 3;
}
