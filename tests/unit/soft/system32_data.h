/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Part of system32.S: the guest's descriptor tables, task segments and variables, and two macros. */
#pragma once

/* --- tables: fixed sizes, so that their addresses are known --- */
	.balign 16
gdt:	.quad 0
	.quad 0x00cf9b000000ffff	/* 08 code */
	.quad 0x00cf93000000ffff	/* 10 data */
	.quad 0x00cffb000000ffff	/* 18 user code */
	.quad 0x00cff3000000ffff	/* 20 user data */
	.quad 0x0000890000000000	/* 28 TSS, base and limit set below */
	.quad 0x0000890000000000	/* 30 second task's TSS */
	.quad 0x00cf13000000ffff	/* 38 not present */
	.quad 0x004093000000000f	/* 40 16 bytes long */
	.quad 0x00cf99000000ffff	/* 48 execute only */
	.quad 0x0000ec0200080000	/* 50 call gate, two parameters */
	.quad 0x00cf9f000000ffff	/* 58 conforming code */
	.quad 0x00009b000000ffff	/* 60 16-bit code */
	.quad 0x000093000000ffff	/* 68 16-bit data */
	.quad 0x0000820000000007	/* 70 LDT with one entry */
	.quad 0x0000e50000300000	/* 78 task gate to 30 */
	.quad 0x00cf91000000ffff	/* 80 read-only data */
	.quad 0x0040970000000fff	/* 88 expand-down from 0x1000 */
	.quad 0x0000ec0000080000	/* 90 call gate to be broken: no parameters */
gdt_end:
ldt:	.quad 0x00cf93000000ffff	/* 04|... in the LDT: data */
	.balign 16
tss1:	.fill 104, 1, 0
	.fill 32, 1, 0xff		/* I/O bitmap for ports 0-0xff */
	.byte 0xff
tss1_end:
	.balign 16
tss2:	.fill 104, 1, 0
tss2_end:
gdtr:	.word gdt_end - gdt - 1
	.long A(gdt)
idtr:	.word 0x82 * 8 - 1
	.long A(idt)
idtr_none: .word 0
	.long 0
idtr_real: .word 0x3ff
	.long 0
log_end: .long LOG
resume:	.long 0
steps:	.long 0
far16:	.word 0, 0
	.balign 16
idt:	.fill 0x82, 8, 0

/* STEP n: say that we came here. */
	.macro STEP n
	movl $0x100 + \n, %ss:A(steps)
	call log_step
	.endm
/* FAULT insn: it must fault; go on after it. */
	.macro FAULT insn:vararg
	movl $A(99f), %ss:RESUME
	\insn
99:
	.endm
