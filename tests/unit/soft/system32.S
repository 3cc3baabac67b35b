/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that goes from real mode through every 16- and 32-bit mode and has every fault there. It
 * is copied to BASE and entered there in real mode. Each event is logged as four words at LOG:
 * vector (or 0x100 + a step's number), error code, CS, CR2.
 */
#define BASE 0x1000
#define A(x) ((x) - system32_start + BASE)
#define LOG 0x40000
#define LOG_END A(log_end)
#define RESUME A(resume)
#define STACK0 0x9000
#define STACK3 0xa000
#define STACK_TASK 0xb000
#define PAGES 0x20000 /* directory, then tables */

	.section .rodata
	.global system32_start, system32_end
	.balign 16
system32_start:
	.code16
	jmp begin

#include "system32_data.h"

begin:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw $STACK0, %sp
	/* Real mode: the divide fault by way of the vector table; IP must be the instruction's. */
	movw $A(real_divide), 0
	movw %ax, 2
	movw $0, %cx
	movw $A(1f), %bp
real_fault:
	divw %cx
1:	/* INT returns behind itself. */
	movw $A(real_int), 0x60 * 4
	movw %ax, 0x60 * 4 + 2
	int $0x60
	jmp 2f
real_divide:
	movw %sp, %si
	cmpw $A(real_fault), (%si)
	jne fail16
	movw %bp, (%si)
	movb $'D', %al
	outb %al, $0xe9
	xorw %ax, %ax
	iret
real_int:
	movb $'I', %al
	outb %al, $0xe9
	iret
fail16:
	movb $1, %al
	outb %al, $0xf4
	hlt
2:	/* A far call and return in real mode. */
	lcallw $0, $A(real_far)
	/* Unreal mode: a big limit stays in DS after protected mode has been left. */
	lgdtl A(gdtr)
	movl %cr0, %eax
	orb $1, %al
	movl %eax, %cr0
	movw $0x10, %bx
	movw %bx, %ds
	andb $0xfe, %al
	movl %eax, %cr0
	xorw %ax, %ax
	movw %ax, %ds
	movl $0x180000, %ebx
	movl $0x55aa1234, (%ebx)
	movl (%ebx), %edx
	cmpl $0x55aa1234, %edx
	jne fail16
	movb $'U', %al
	outb %al, $0xe9
	/* 16-bit protected mode, then 32-bit. */
	movl %cr0, %eax
	orb $1, %al
	movl %eax, %cr0
	ljmpw $0x60, $A(protected16)
real_far:
	movb $'F', %al
	outb %al, $0xe9
	lretw
protected16:
	movb $'p', %al
	outb %al, $0xe9
	ljmpl $8, $A(protected32)

	.code32
log_step:
	push %edi
	movl %ss:LOG_END, %edi
	push %eax
	movl %ss:A(steps), %eax
	movl %eax, %ss:(%edi)
	movl $0, %ss:4(%edi)
	mov %cs, %eax
	movl %eax, %ss:8(%edi)
	movl $0, %ss:12(%edi)
	pop %eax
	addl $16, %edi
	movl %edi, %ss:LOG_END
	pop %edi
	ret

/* Handlers: one stub of 16 bytes per vector. */
	.balign 16
stubs:
	.set n, 0
	.rept 0x22
	.balign 16
	.if !(n == 8 || (n >= 10 && n <= 14) || n == 17)
	pushl $0
	.endif
	pushl $n
	jmp handler
	.set n, n + 1
	.endr
	.balign 16
handler:	/* ESP: vector, error, EIP, CS, EFLAGS */
	push %edi
	push %eax
	movl %ss:LOG_END, %edi
	movl 8(%esp), %eax
	movl %eax, %ss:(%edi)
	movl 12(%esp), %eax
	movl %eax, %ss:4(%edi)
	movl 20(%esp), %eax
	movl %eax, %ss:8(%edi)
	movl %cr2, %eax
	movl %eax, %ss:12(%edi)
	addl $16, %edi
	movl %edi, %ss:LOG_END
	cmpl $3, 8(%esp)	/* traps go on by themselves */
	je 1f
	cmpl $4, 8(%esp)
	je 1f
	cmpl $0x20, 8(%esp)
	jae 1f
	testl $0x20000, 24(%esp)	/* VM86: its own next instruction is in BX */
	jnz 2f
	movl %ss:RESUME, %eax
	movl %eax, 16(%esp)
1:	pop %eax
	pop %edi
	addl $8, %esp
	iret
2:	movzwl %bx, %eax
	movl %eax, 16(%esp)
	jmp 1b

/* INT 0x80 from user mode: EAX says what for. 1: leave it for good (to EBX, at CPL 0). */
syscall80:
	cmpl $1, %eax
	jne 1f
	movl $STACK0, %esp
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	jmp *%ebx
1:	STEP 0x80
	iret

protected32:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov %eax, %fs
	mov %eax, %gs
	movl $STACK0, %esp
	movb $'P', %al
	outb %al, $0xe9

	/* IDT: interrupt gates to the stubs; 0x80 open to user mode. */
	movl $A(idt), %edi
	movl $A(stubs), %eax
	movl $0x22, %ecx
1:	movw %ax, (%edi)
	movw $8, 2(%edi)
	movw $0x8e00, 4(%edi)
	movw $0, 6(%edi)
	addl $16, %eax
	addl $8, %edi
	loop 1b
	orb $0x60, A(idt) + 3 * 8 + 5
	orb $0x60, A(idt) + 4 * 8 + 5
	movl $A(syscall80), %eax
	movw %ax, A(idt) + 0x80 * 8
	movw $8, A(idt) + 0x80 * 8 + 2
	movw $0xee00, A(idt) + 0x80 * 8 + 4
	lidtl A(idtr)
	/* System segments. */
	movw $A(tss1), A(gdt) + 0x28 + 2
	movw $tss1_end - tss1 - 1, A(gdt) + 0x28
	movw $A(tss2), A(gdt) + 0x30 + 2
	movw $tss2_end - tss2 - 1, A(gdt) + 0x30
	movw $A(ldt), A(gdt) + 0x70 + 2
	movl $A(gate_target), %eax
	movw %ax, A(gdt) + 0x50
	movw %ax, A(gdt) + 0x90
	movl $STACK0 - 0x400, A(tss1) + 4
	movl $0x10, A(tss1) + 8
	movw $104, A(tss1) + 0x66
	mov $0x28, %eax
	ltr %ax
	mov $0x70, %eax
	lldt %ax
	STEP 1

	/* Plain faults. */
	xorl %ecx, %ecx
	FAULT divl %ecx
	int3
	movb $0x7f, %al
	addb $1, %al
	into
	FAULT ud2
	movl %cr0, %eax
	orl $8, %eax
	movl %eax, %cr0
	FAULT fninit
	clts
	/* Segment loads. */
	mov $0x38, %eax
	FAULT mov %eax, %ds			/* #NP(38) */
	FAULT mov %eax, %ss			/* #SS(38) */
	mov $0x1f8, %eax
	FAULT mov %eax, %es			/* #GP(1f8): beyond the limit */
	mov $0x48, %eax
	FAULT mov %eax, %ds			/* #GP(48): cannot be read */
	mov $0x80, %eax
	FAULT mov %eax, %ss			/* #GP(80): cannot be written */
	xorl %eax, %eax
	FAULT mov %eax, %ss			/* #GP(0) */
	mov $0x22, %eax
	FAULT mov %eax, %ss			/* #GP(20): not DPL 0 */
	mov $0x7, %eax
	FAULT mov %eax, %fs			/* #GP(4): in the LDT, DPL 0, but RPL 3 */
	mov $0x4, %eax
	mov %eax, %fs
	/* Limits and types of accesses. */
	mov $0x40, %eax
	mov %eax, %fs
	movl %fs:12, %eax
	FAULT movl %fs:13, %eax			/* #GP(0): past the limit */
	FAULT movb %fs:-1, %al
	mov $0x88, %eax
	mov %eax, %fs
	movb %fs:0x1000, %al
	FAULT movb %fs:0xfff, %al		/* below an expand-down segment */
	mov $0x80, %eax
	mov %eax, %fs
	FAULT movb %al, %fs:0x3000		/* read-only */
	FAULT movb %al, %cs:0x3000
	xorl %eax, %eax
	mov %eax, %fs
	FAULT movb %fs:0, %al			/* null */
	/* Control registers, MSRs, tables. */
	movl %cr4, %eax
	orl $0x10000000, %eax
	FAULT movl %eax, %cr4
	movl $0x80000000, %eax
	FAULT movl %eax, %cr0
	movl $0x12345678, %ecx
	FAULT rdmsr
	FAULT wrmsr
	mov $0x10, %eax
	FAULT ltr %ax				/* #GP(10) */
	mov $0x28, %eax
	FAULT ltr %ax				/* #GP(28): busy */
	FAULT int $0x90				/* #GP(90*8+2): beyond the IDT */
	FAULT int $0x30				/* #GP: an empty gate */
	FAULT ljmp $0x10, $0			/* #GP(10): not code */
	FAULT ljmp $0x38, $0			/* #GP(38) */
	FAULT lcall $0, $0
	FAULT .byte 0x0f, 0x22, 0x08		/* MOV CR1: #UD */
	STEP 2

	/* Descriptor queries. */
	movl $0x38, %eax
	lar %eax, %edx
	jnz fail
	andl $0x00f0ff00, %edx
	cmpl $0x00c01300, %edx
	jne fail
	mov $0x40, %eax
	lsl %eax, %edx
	jnz fail
	cmpl $15, %edx
	jne fail
	mov $0x50, %eax
	lsl %eax, %edx			/* gates have no limit */
	jz fail
	mov $0x80, %eax
	verr %ax
	jnz fail
	verw %ax
	jz fail
	mov $0x10, %eax
	movl $3, %ecx
	arpl %cx, %ax
	jnz fail
	cmpw $0x13, %ax
	jne fail
	/* A conforming segment and a call gate at the same privilege. */
	lcall $0x58, $A(far_target)
	lcall $0x90, $0
	STEP 3

	/* User mode. */
	pushl $0x23
	pushl $STACK3
	pushl $0x202
	pushl $0x1b
	pushl $A(user)
	iret
far_target:
	STEP 0x58
	lret
gate_target:
	STEP 0x50
	movl %cs, %edx
	cmpl $0x11, 8(%esp)	/* the parameters came along */
	jne 1f
	cmpl $0x22, 12(%esp)
	jne fail
	lret $8
1:	lret

user:
	STEP 4
	movl $0, %eax
	int $0x80
	FAULT cli				/* #GP(0) */
	FAULT hlt
	FAULT inb $0x20, %al			/* bitmap says no */
	FAULT int $0x20				/* the gate's DPL is 0: #GP(102) */
	mov $0x10, %eax
	FAULT mov %eax, %ds			/* #GP(10): more privileged */
	FAULT lcall $8, $0
	FAULT movl %cr0, %eax
	pushl $0x22
	pushl $0x11
	lcall $0x50, $0				/* through the gate to CPL 0 and back */
	cmpl $STACK3, %esp
	jne fail_user
	lcall $0x58, $A(far_target)		/* conforming: CPL stays 3 */
	movl $1, %eax
	movl $A(from_user), %ebx
	int $0x80
fail_user:
	movl $1, %eax
	movl $A(fail), %ebx
	int $0x80

from_user:
	STEP 5
	/* Ports by the bitmap: 0xe9 open to user mode. */
	andb $0xfd, A(tss1) + 104 + 0xe9 / 8
	pushl $0x23
	pushl $STACK3
	pushl $0x202
	pushl $0x1b
	pushl $A(1f)
	iret
1:	movb $'O', %al
	outb %al, $0xe9
	movl $1, %eax
	movl $A(vm86_part), %ebx
	int $0x80

	/* VM86. */
vm86_part:
	STEP 6
	pushl $0x100		/* GS */
	pushl $0		/* FS */
	pushl $0		/* DS */
	pushl $0		/* ES */
	pushl $0		/* SS */
	pushl $STACK3
	pushl $0x23202		/* VM, IOPL 3, IF */
	pushl $0
	pushl $A(vm86)
	iret
	.code16
vm86:
	movw %gs, %ax
	cmpw $0x100, %ax
	jne 1f
	movw $0x400, %ax
	movw %ax, %es		/* paragraphs, not descriptors */
	movw $0x1234, %es:0
	cmpw $0x1234, 0x4000
	jne 1f
	pushfw
	popw %dx
	movb $'V', %al
	outb %al, $0xe9
	movw $A(2f), %bx
	hlt			/* #GP(0) to the monitor */
2:	movw $A(3f), %bx
	movl %cr0, %eax		/* #GP(0) */
3:	movl $1, %eax
	movl $A(from_vm86), %ebx
	int $0x80		/* IOPL 3: through the IDT */
1:	jmp 1b
	.code32
from_vm86:
	STEP 7
	/* Segments are null after VM86, then loaded by the handler. */
	/* Tasks: a call, its return by IRET, a jump there and back. */
	movl $A(task2), A(tss2) + 32
	movl $0x2, A(tss2) + 36
	movl $STACK_TASK, A(tss2) + 40 + 4 * 4
	movl $0x10, A(tss2) + 72
	movl $8, A(tss2) + 76
	movl $0x10, A(tss2) + 80
	movl $0x10, A(tss2) + 84
	movl $0x10, A(tss2) + 88
	movl $0x10, A(tss2) + 92
	movl $0x77, A(tss2) + 40	/* its EAX */
	movl $0x55, %ebx
	lcall $0x30, $0
	STEP 8
	cmpl $0x55, %ebx	/* our registers came back */
	jne fail
	clts
	ljmp $0x78, $0		/* by task gate; task2 goes on after its IRET and jumps back */
	STEP 9
	clts
	/* The double fault as a task: its error code is on the task's stack. */
	movl $A(df_task), A(tss2) + 32
	movl $STACK_TASK, A(tss2) + 40 + 4 * 4
	movl $2, A(tss2) + 36
	andb $0xfd, A(gdt) + 0x30 + 5	/* not busy */
	movw $0x30, A(idt) + 8 * 8 + 2
	movw $0x8500, A(idt) + 8 * 8 + 4
	andb $0x7f, A(idt) + 13 * 8 + 5	/* #GP's gate is not present: #NP on #GP is #DF */
	xorl %eax, %eax
	mov %eax, %fs
	movl %fs:0, %eax
fail:
	movb $1, %al
	outb %al, $0xf4
	hlt

task2:
	cmpl $0x77, %eax
	jne fail
	movl %cr0, %eax
	testl $8, %eax		/* TS was set by the switch */
	jz fail
	pushf
	popl %eax
	testl $0x4000, %eax	/* NT: there is a task to return to */
	jz fail
	STEP 0x30
	iret
	STEP 0x31		/* entered again, after the IRET, by the jump */
	ljmp $0x28, $0

df_task:
	cmpl $0, (%esp)
	jne fail
	clts
	pushl $2		/* NT off: this task does not return */
	popf
	STEP 10
	orb $0x80, A(idt) + 13 * 8 + 5
	movw $8, A(idt) + 8 * 8 + 2
	movw $0x8e00, A(idt) + 8 * 8 + 4
	/* This task stays. Paging, 32-bit: 4 MiB page for the low memory, a table for [4M, 8M). */
	movl $PAGES, %edi
	movl $0x800, %ecx
	xorl %eax, %eax
	rep stosl
	movl $0x00000087, PAGES
	movl $PAGES + 0x1000 + 7, PAGES + 4
	movl $0x30000 + 7, PAGES + 0x1000		/* 400000: writable, user */
	movl $0x31000 + 5, PAGES + 0x1004		/* 401000: read-only, user */
	movl $0x32000 + 3, PAGES + 0x1008		/* 402000: supervisor */
	movl $0x33000 + 6, PAGES + 0x100c		/* 403000: not present */
	movl %cr4, %eax
	orl $0x10, %eax
	movl %eax, %cr4
	movl $PAGES, %eax
	movl %eax, %cr3
	movl %cr0, %eax
	orl $0x80010000, %eax	/* PG, WP */
	movl %eax, %cr0
	STEP 11
	FAULT movl $0x12345678, 0x400ffe	/* the second page is read-only: #PF(3) at 401000 */
	FAULT movl %eax, 0x401000	/* #PF(3) */
	FAULT movl 0x403008, %eax	/* #PF(0) */
	FAULT movl 0x800000, %eax	/* no table: #PF(0) */
	movl 0x402000, %eax
	movl %cr0, %eax
	andl $~0x10000, %eax
	movl %eax, %cr0
	movl %eax, 0x401000		/* without WP the supervisor may */
	orl $0x10000, %eax
	movl %eax, %cr0
	cmpl $0, 0x400ffc		/* the crossing store wrote nothing */
	jne fail
	/* User accesses. */
	movl $STACK0 - 0x400, A(tss2) + 4
	movl $0x10, A(tss2) + 8
	pushl $0x23
	pushl $STACK3
	pushl $2
	pushl $0x1b
	pushl $A(2f)
	iret
2:	mov $0x23, %eax
	mov %eax, %ds
	FAULT movl 0x402000, %eax	/* #PF(5) */
	FAULT movl %eax, 0x402000	/* #PF(7) */
	FAULT movl %eax, 0x401000	/* #PF(7) */
	movl %eax, 0x400000
	movl $1, %eax
	movl $A(3f), %ebx
	int $0x80
3:	movl PAGES + 0x1000, %eax
	notl %eax
	testl $0x60, %eax
	jnz fail
	STEP 12
	/* Back to real mode and off. */
	movl %cr0, %eax
	andl $0x7fffffff, %eax
	movl %eax, %cr0
	xorl %ecx, %ecx
	movl %ecx, %cr3
	ljmp $0x60, $A(4f)
	.code16
4:	movw $0x68, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw %ax, %fs
	movw %ax, %gs
	lidtl A(idtr_real)
	movl %cr0, %eax
	andb $0xfe, %al
	movl %eax, %cr0
	ljmpw $0, $A(5f)
5:	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %ss
	movw $STACK0, %sp
	int $0x60
	movb $0, %al
	outb %al, $0xf4
	hlt
	/* Entered by the second test: everything that delivers is gone. */
	.global system32_triple
system32_triple:
	lidtl A(idtr_none)
	ud2
	hlt
system32_end:
	.section .note.GNU-stack, "", @progbits
