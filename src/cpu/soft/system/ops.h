/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The handlers that ops.c lists. */
#pragma once

#include "cpu/soft/system/system.h"

/* ops_segment.c */
soft_exec_fn soft_op_mov_from_seg, soft_op_mov_to_seg, soft_op_push_seg, soft_op_pop_seg,
	soft_op_load_far, soft_op_arpl, soft_op_lar_lsl, soft_op_group6, soft_op_store_table,
	soft_op_load_table;
/* ops_control.c */
soft_exec_fn soft_op_mov_from_cr, soft_op_mov_to_cr, soft_op_mov_from_dr, soft_op_mov_to_dr,
	soft_op_clts, soft_op_smsw, soft_op_lmsw, soft_op_invlpg, soft_op_invpcid, soft_op_invd,
	soft_op_hlt, soft_op_cli, soft_op_sti, soft_op_group7_c8, soft_op_xcr;
/* ops_transfer.c */
soft_exec_fn soft_op_jmp_far, soft_op_call_far, soft_op_jmp_far_memory, soft_op_call_far_memory,
	soft_op_retf, soft_op_iret, soft_op_int, soft_op_int3, soft_op_into, soft_op_int1,
	soft_op_syscall, soft_op_sysret, soft_op_sysenter, soft_op_sysexit;
/* ops_msr.c */
soft_exec_fn soft_op_rdmsr, soft_op_wrmsr, soft_op_rdtsc, soft_op_rdpmc, soft_op_cpuid,
	soft_op_swapgs_rdtscp, soft_op_hypercall, soft_op_fs_gs_base, soft_op_rdpid;
