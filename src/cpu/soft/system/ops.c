/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The system instructions. What is not here and nowhere else is #UD: MONITOR, MWAIT, VMX and SVM
 * instructions (VMCALL and VMMCALL are hypercalls), RSM, GETSEC, RDPKRU, SERIALIZE.
 */
#include "cpu/soft/system/ops.h"

#define ONE(m, op, r, f)       { .map = X86_MAP_##m, .opcode = op, .reg = r, .fn = f }
#define END(m, op, r, f)       { .map = X86_MAP_##m, .opcode = op, .reg = r, .fn = f, .ends = true }
#define FORM(m, op, r, f, w)   { .map = X86_MAP_##m, .opcode = op, .reg = r, .fn = f, .form = w }
#define FORM_END(m, op, r, f, w)                                                                   \
	{ .map = X86_MAP_##m, .opcode = op, .reg = r, .fn = f, .form = w, .ends = true }
#define MEMORY   SOFT_FORM_MEMORY
#define REGISTER SOFT_FORM_REGISTER

const struct soft_opcode soft_system_ops[] = {
	/* Segment registers. Loads of ES, SS and DS end the block: flat addressing may end. */
	ONE(1, 0x06, -1, soft_op_push_seg), END(1, 0x07, -1, soft_op_pop_seg),
	ONE(1, 0x0e, -1, soft_op_push_seg),
	ONE(1, 0x16, -1, soft_op_push_seg), END(1, 0x17, -1, soft_op_pop_seg),
	ONE(1, 0x1e, -1, soft_op_push_seg), END(1, 0x1f, -1, soft_op_pop_seg),
	ONE(0F, 0xa0, -1, soft_op_push_seg), END(0F, 0xa1, -1, soft_op_pop_seg),
	ONE(0F, 0xa8, -1, soft_op_push_seg), END(0F, 0xa9, -1, soft_op_pop_seg),
	ONE(1, 0x8c, -1, soft_op_mov_from_seg), END(1, 0x8e, -1, soft_op_mov_to_seg),
	END(1, 0xc4, -1, soft_op_load_far), END(1, 0xc5, -1, soft_op_load_far),
	END(0F, 0xb2, -1, soft_op_load_far), END(0F, 0xb4, -1, soft_op_load_far),
	END(0F, 0xb5, -1, soft_op_load_far),
	ONE(1, 0x63, -1, soft_op_arpl),
	ONE(0F, 0x02, -1, soft_op_lar_lsl), ONE(0F, 0x03, -1, soft_op_lar_lsl),
	ONE(0F, 0x00, -1, soft_op_group6),

	/* Far transfers and interrupts. */
	END(1, 0xea, -1, soft_op_jmp_far), END(1, 0x9a, -1, soft_op_call_far),
	FORM_END(1, 0xff, 5, soft_op_jmp_far_memory, MEMORY),
	FORM_END(1, 0xff, 3, soft_op_call_far_memory, MEMORY),
	END(1, 0xca, -1, soft_op_retf), END(1, 0xcb, -1, soft_op_retf),
	END(1, 0xcf, -1, soft_op_iret), END(1, 0xcd, -1, soft_op_int),
	END(1, 0xcc, -1, soft_op_int3), END(1, 0xce, -1, soft_op_into),
	END(1, 0xf1, -1, soft_op_int1),
	END(0F, 0x05, -1, soft_op_syscall), END(0F, 0x07, -1, soft_op_sysret),
	END(0F, 0x34, -1, soft_op_sysenter), END(0F, 0x35, -1, soft_op_sysexit),

	/* Control. */
	ONE(0F, 0x20, -1, soft_op_mov_from_cr), END(0F, 0x22, -1, soft_op_mov_to_cr),
	ONE(0F, 0x21, -1, soft_op_mov_from_dr), END(0F, 0x23, -1, soft_op_mov_to_dr),
	END(0F, 0x06, -1, soft_op_clts), ONE(0F, 0x08, -1, soft_op_invd),
	ONE(0F, 0x09, -1, soft_op_invd),
	END(1, 0xf4, -1, soft_op_hlt), ONE(1, 0xfa, -1, soft_op_cli), END(1, 0xfb, -1, soft_op_sti),
	FORM(0F, 0x01, 0, soft_op_store_table, MEMORY),
	FORM(0F, 0x01, 1, soft_op_store_table, MEMORY),
	FORM(0F, 0x01, 2, soft_op_load_table, MEMORY),
	FORM(0F, 0x01, 3, soft_op_load_table, MEMORY),
	ONE(0F, 0x01, 4, soft_op_smsw), END(0F, 0x01, 6, soft_op_lmsw),
	FORM_END(0F, 0x01, 7, soft_op_invlpg, MEMORY),
	FORM(0F, 0x01, 1, soft_op_group7_c8, REGISTER),
	FORM_END(0F, 0x01, 2, soft_op_xcr, REGISTER),
	FORM(0F, 0x01, 7, soft_op_swapgs_rdtscp, REGISTER),
	FORM_END(0F, 0x01, 0, soft_op_hypercall, REGISTER),
	FORM_END(0F, 0x01, 3, soft_op_hypercall, REGISTER),
	{ .map = X86_MAP_0F38, .opcode = 0x82, .reg = -1, .fn = soft_op_invpcid, .ends = true,
	  .form = MEMORY, .prefix = X86_PREFIX_OPSIZE },

	/* MSRs, clocks, identity. CPUID serialises: new code is seen after it. */
	ONE(0F, 0x32, -1, soft_op_rdmsr), END(0F, 0x30, -1, soft_op_wrmsr),
	ONE(0F, 0x31, -1, soft_op_rdtsc), ONE(0F, 0x33, -1, soft_op_rdpmc),
	END(0F, 0xa2, -1, soft_op_cpuid),
	{ .map = X86_MAP_0F, .opcode = 0xae, .reg = 0, .fn = soft_op_fs_gs_base, .form = REGISTER,
	  .prefix = X86_PREFIX_REP },
	{ .map = X86_MAP_0F, .opcode = 0xae, .reg = 1, .fn = soft_op_fs_gs_base, .form = REGISTER,
	  .prefix = X86_PREFIX_REP },
	{ .map = X86_MAP_0F, .opcode = 0xae, .reg = 2, .fn = soft_op_fs_gs_base, .form = REGISTER,
	  .prefix = X86_PREFIX_REP },
	{ .map = X86_MAP_0F, .opcode = 0xae, .reg = 3, .fn = soft_op_fs_gs_base, .form = REGISTER,
	  .prefix = X86_PREFIX_REP },
	{ .map = X86_MAP_0F, .opcode = 0xc7, .reg = 7, .fn = soft_op_rdpid, .form = REGISTER,
	  .prefix = X86_PREFIX_REP },
	{ .fn = NULL },
};
