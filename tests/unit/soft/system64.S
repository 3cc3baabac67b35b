/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest in long mode that meets every fault there, changes privilege in every way, and lets
 * itself be interrupted. It is copied to BASE and entered at CPL 0 by soft_guest_enter64(). Events
 * are logged as four words at LOG: vector (or 0x100 + step), error code (or what the vector's
 * handler finds more telling), CS and the stack's page, CR2.
 *
 * The low 2 MiB are the supervisor's; user mode sees them at USER.
 */
#define BASE 0x1000
#define USER 0x600000
#define A(x) ((x) - system64_start + BASE)
#define UA(x) (A(x) + USER)
#define LOG 0x40000
#define STACK0 0xa000	/* page 9 */
#define RSP0 0xc000	/* page b */
#define IST1 0xe000	/* page d */
#define IST3 0x12000	/* page 11 */
#define STACK3 (USER + 0x14000)
#define PDPT 0x101000
#define PD 0x102000
#define PT 0x120000
#define APIC 0xfee00000

	.section .rodata
	.global system64_start, system64_end
	.balign 16
system64_start:
	.code64
	jmp begin
	.balign 16
gdt:	.quad 0
	.quad 0x00af9b000000ffff	/* 08 code */
	.quad 0x00cf93000000ffff	/* 10 data */
	.quad 0x00cffb000000ffff	/* 18 user, 32-bit code */
	.quad 0x00cff3000000ffff	/* 20 user data */
	.quad 0x00affb000000ffff	/* 28 user code */
	.quad 0x0000890000000067, 0	/* 30 TSS */
	.quad 0x00cf9b000000ffff	/* 40 32-bit code */
	.quad 0x0000ec0000080000, 0	/* 48 call gate */
	.quad 0x00ef9b000000ffff	/* 58 both L and D */
gdt_end:
	.balign 16
tss:	.fill 104, 1, 0
gdtr:	.word gdt_end - gdt - 1
	.quad A(gdt)
idtr:	.word 0x82 * 16 - 1
	.quad A(idt)
	.balign 8
log_end: .quad LOG
resume:	.quad 0
steps:	.long 0
nmis:	.long 0
value:	.quad 0
value2:	.quad 0
	.balign 16
idt:	.fill 0x82 * 16, 1, 0

	.macro STEP n
	movl $0x100 + \n, A(steps)
	call log_step
	.endm
	.macro FAULT insn:vararg
	movq $A(99f), A(resume)
	\insn
99:
	.endm
	.macro UFAULT insn:vararg
	movq $UA(99f), UA(resume)
	\insn
99:
	.endm

log_step:
	push %rdi
	push %rax
	movq A(log_end), %rdi
	movl A(steps), %eax
	movl %eax, (%rdi)
	movl $0, 4(%rdi)
	movl %cs, %eax
	movl %eax, 8(%rdi)
	movl $0, 12(%rdi)
	addq $16, %rdi
	movq %rdi, A(log_end)
	pop %rax
	pop %rdi
	ret

	.balign 16
stubs:
	.set n, 0
	.rept 0x22
	.balign 16
	.if !(n == 8 || (n >= 10 && n <= 14) || n == 17)
	pushq $0
	.endif
	pushq $n
	jmp handler
	.set n, n + 1
	.endr
	.balign 16
handler:	/* RSP: vector, error, RIP, CS, RFLAGS, RSP, SS */
	push %rdi
	push %rax
	movq A(log_end), %rdi
	movl 16(%rsp), %eax
	movl %eax, (%rdi)
	movl 24(%rsp), %eax
	movl %eax, 4(%rdi)
	movl %esp, %eax
	shrl $12, %eax
	shll $16, %eax
	orl 40(%rsp), %eax
	movl %eax, 8(%rdi)
	movq %cr2, %rax
	movl %eax, 12(%rdi)
	addq $16, %rdi
	movq %rdi, A(log_end)
	movl 16(%rsp), %eax
	cmpl $1, %eax
	je on_debug
	cmpl $2, %eax
	je on_nmi
	cmpl $3, %eax
	je out
	cmpl $0x20, %eax
	jae on_interrupt
	movq A(resume), %rax
	movq %rax, 32(%rsp)
out:	pop %rax
	pop %rdi
	addq $16, %rsp
	iretq
on_debug:	/* show DR6; stop stepping; do not stop at the same breakpoint again */
	movq %dr6, %rax
	movzwl %ax, %eax
	movl %eax, -12(%rdi)
	movl $0xffff0ff0, %eax
	movq %rax, %dr6
	andq $~0x100, 48(%rsp)
	orq $0x10000, 48(%rsp)
	jmp out
on_nmi:		/* the second NMI comes only after this one's IRET */
	incl A(nmis)
	cmpl $1, A(nmis)
	jne out
	movl $0x400, %eax
	movl %eax, 0x300(%r15)
	pushq A(steps)			/* a STEP may be under way */
	STEP 0x2b
	popq A(steps)
	jmp out
on_interrupt:	/* EBX counts instructions that ran before it */
	movl %ebx, -12(%rdi)
	movl $0, 0xb0(%r15)
	jmp out

syscall80:	/* EAX 1: go on at RBX with CPL 0. 2: log. */
	cmpl $1, %eax
	jne 1f
	movl $STACK0, %esp
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	jmp *%rbx
1:	STEP 0x80
	iretq

syscall_entry:
	movq %rsp, A(value)
	movl $RSP0, %esp
	STEP 0x81
	movq A(value), %rsp
	cmpl $32, %eax
	je 1f
	sysretq
1:	sysretl

gate_target:
	STEP 0x50
	lretq

set_gate:	/* RDI: entry, RAX: target, ECX: type */
	movw %ax, (%rdi)
	movw $8, 2(%rdi)
	movw %cx, 4(%rdi)
	shrq $16, %rax
	movw %ax, 6(%rdi)
	movl $0, 8(%rdi)
	movl $0, 12(%rdi)
	ret

begin:
	cli
	movl $STACK0, %esp
	movl $APIC, %r15d
	lgdt A(gdtr)
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	pushq $8
	pushq $A(1f)
	lretq
1:	movl $A(idt), %edi
	movl $A(stubs), %edx
	movl $0x22, %esi
1:	movl %edx, %eax
	movl $0x8e00, %ecx
	call set_gate
	addl $16, %edi
	addl $16, %edx
	decl %esi
	jnz 1b
	movl $A(idt) + 0x80 * 16, %edi
	movl $A(syscall80), %eax
	movl $0xee00, %ecx
	call set_gate
	orb $0x60, A(idt) + 3 * 16 + 5
	movb $1, A(idt) + 14 * 16 + 4	/* page faults on IST1 */
	lidt A(idtr)
	movw $A(tss), A(gdt) + 0x32
	movl $A(gate_target), %eax
	movw %ax, A(gdt) + 0x48
	movq $RSP0, A(tss) + 4
	movq $IST1, A(tss) + 0x24
	movq $IST3, A(tss) + 0x34
	movw $104, A(tss) + 0x66
	mov $0x30, %eax
	ltr %ax
	/* Paging: see the file head. 400000 in small pages; c0000000 for the APIC. */
	movq $0xc0000083, %rax
	movq %rax, PDPT + 24
	movq $0x83, PD
	movq $0x200083, PD + 8
	movq $0x87, PD + 3 * 8
	movq $0x200083, PD + 4 * 8
	movq $PT + 7, PD + 2 * 8
	movq $0x300007, PT		/* 400000 user */
	movq $0x301005, PT + 8		/* 401000 user, read-only */
	movq $0x302003, PT + 16		/* 402000 supervisor */
	movq $0x303006, PT + 24		/* 403000 not present */
	movq $0x304007, %rax
	btsq $63, %rax
	movq %rax, PT + 32		/* 404000 user, no execute */
	movq $0x305003, %rax
	btsq $51, %rax
	movq %rax, PT + 40		/* 405000 a reserved bit */
	movq $0x306007, PT + 48		/* 406000 user code */
	movq $0x307003, PT + 56		/* 407000 supervisor code */
	movq %cr3, %rax
	movq %rax, %cr3
	movb $0xc3, 0x406000
	movb $0xc3, 0x407000
	STEP 1

	xorl %ecx, %ecx
	FAULT divl %ecx
	FAULT ud2
	int3
	btcq $63, %rcx			/* not canonical */
	FAULT movq (%rcx), %rax		/* #GP(0) */
	movq %rsp, %rdx
	movq %rcx, %rsp
	FAULT jmp stack_fault		/* #SS(0), on IST3 */
	movq %rdx, %rsp
	movl $A(far_bad), %eax
	FAULT ljmp *(%rax)		/* #GP(58) */
	movl $16, %eax
	FAULT movq %rax, %cr8
	movl $0xc0000080, %ecx
	movl $0x2, %eax
	xorl %edx, %edx
	FAULT wrmsr			/* a reserved bit of EFER */
	movl $0xc0000082, %ecx
	movl $0x80000000, %edx
	FAULT wrmsr			/* LSTAR not canonical */
	movq %cr4, %rax
	btrl $5, %eax
	FAULT movq %rax, %cr4		/* PAE cannot go in long mode */
	movq %cr0, %rax
	btrl $31, %eax
	FAULT movq %rax, %cr0
	movq %cr3, %rax
	btsq $50, %rax
	FAULT movq %rax, %cr3
	FAULT int $0x90			/* #GP(902) */
	xorl %eax, %eax
	xorl %edx, %edx
	xorl %ecx, %ecx
	FAULT xsetbv
	mov $0x1c, %eax
	FAULT mov %eax, %ds		/* #GP(1c): no LDT */
	STEP 2

	/* Page faults, on IST1. */
	FAULT movl %eax, 0x401000	/* 3 */
	FAULT movl 0x403000, %eax	/* 0 */
	FAULT movl 0x405000, %eax	/* 9: reserved bit */
	movl $0x404000, %eax
	movq %rsp, %rdx
	FAULT jmp *%rax			/* 11: no execute */
	call *far_call_406(%rip)	/* user code without SMEP */
	movq %cr4, %rax
	orl $0x100000, %eax		/* SMEP */
	movq %rax, %cr4
	movl $0x406000, %ecx
	FAULT jmp *%rcx			/* 11 */
	movl $0x407000, %ecx
	call *%rcx
	movq %cr4, %rax
	orl $0x200000, %eax		/* SMAP */
	movq %rax, %cr4
	FAULT movl 0x400000, %ecx	/* 1 */
	stac
	movl 0x400000, %ecx
	clac
	FAULT movl %ecx, 0x400000	/* 3 */
	pushf
	orl $0x40000, (%rsp)		/* AC by POPF counts as well */
	popf
	movl %ecx, 0x400000
	pushq $2
	popf
	FAULT movl %ecx, 0x400000	/* 3 */
	/* Accessed and Dirty. */
	testb $0x20, PT + 16
	jnz fail
	movl 0x402000, %eax
	testb $0x20, PT + 16
	jz fail
	testb $0x40, PT + 16
	jnz fail
	movl %eax, 0x402000
	testb $0x40, PT + 16
	jz fail
	STEP 3

	/* New mappings are seen after INVLPG, in a large page wherever in it. */
	movl $0x1111, 0x302000
	movl $0x2222, 0x308000
	cmpl $0x1111, 0x402000
	jne fail
	movq $0x308003, PT + 16
	invlpg 0x402000
	cmpl $0x2222, 0x402000
	jne fail
	movl $0x3333, 0x20d000
	movl $0x4444, 0xd000
	cmpl $0x3333, 0x80d000
	jne fail
	movq $0x83, PD + 4 * 8
	invlpg 0x900000
	cmpl $0x4444, 0x80d000
	jne fail
	/* The same with PCIDs and INVPCID. */
	movq %cr4, %rax
	orl $0x20000, %eax
	movq %rax, %cr4
	movl $0x100001, %eax
	movq %rax, %cr3
	cmpl $0x2222, 0x402000
	jne fail
	movl $0x100002, %eax
	movq %rax, %cr3
	movq $0x302003, PT + 16
	movq $1, A(value)
	movq $0x402000, A(value2)
	xorl %eax, %eax
	invpcid A(value), %rax		/* one address of PCID 1 */
	movl $0x100001, %eax
	btsq $63, %rax
	movq %rax, %cr3			/* its TLB is kept */
	cmpl $0x1111, 0x402000
	jne fail
	movl $4, %eax
	FAULT invpcid A(value), %rax	/* no such type */
	movq $0x1000, A(value)
	movl $1, %eax
	FAULT invpcid A(value), %rax	/* no such PCID */
	movq %cr4, %rax			/* and without PCIDs again */
	btrl $17, %eax
	movq %rax, %cr4
	movq %cr3, %rax
	andw $0xf000, %ax
	movq %rax, %cr3
	STEP 4

	/* User mode, the fast calls. */
	movl $0xc0000081, %ecx
	movl $0x00180008, %edx
	xorl %eax, %eax
	wrmsr
	movl $0xc0000082, %ecx
	movl $A(syscall_entry), %eax
	xorl %edx, %edx
	wrmsr
	movl $0xc0000084, %ecx
	movl $0x47700, %eax
	wrmsr
	movq %cr4, %rax
	orl $0x804, %eax		/* UMIP, TSD */
	movq %rax, %cr4
	movq %cr0, %rax
	orl $0x40000, %eax		/* AM */
	movq %rax, %cr0
	pushq $0x23
	pushq $STACK3
	pushq $0x202
	pushq $0x2b
	pushq $UA(user)
	iretq

	.balign 8
far_bad: .long 0
	.word 0x58
	.balign 8
far_call_406: .quad 0x406000

stack_fault:
	movb $3, A(idt) + 12 * 16 + 4	/* #SS on IST3: the stack is of no use */
	push %rax

user:
	mov $0x23, %eax
	mov %eax, %ds
	mov %eax, %es
	UFAULT cli
	UFAULT movl USER - 0x200000 + 0x2000, %eax	/* 402000: 5 */
	UFAULT movl %eax, 0x402000	/* 7 */
	UFAULT movl %eax, 0x401000	/* 7 */
	movl $0x407000, %ecx
	UFAULT jmp *%rcx		/* 15 */
	UFAULT rdtsc
	UFAULT swapgs
	UFAULT sgdt UA(value)
	UFAULT int $0x20		/* #GP(202) */
	UFAULT sysretq
	pushf
	orl $0x40000, (%rsp)
	popf
	UFAULT movl 1 + UA(value), %eax	/* #AC(0) */
	movl UA(value), %eax
	movw 2 + UA(value), %ax
	pushq $2
	popf
	movl 1 + UA(value), %eax
	movl $0x77, %eax
	wrfsbase %rax
	rdfsbase %rcx
	cmpl %ecx, %eax
	jne fail_user
	movl $64, %eax
	syscall
	movl %cs, %eax
	cmpl $0x2b, %eax
	jne fail_user
	lcall *UA(far_gate)		/* to CPL 0 and back */
	cmpq $STACK3, %rsp
	jne fail_user
	/* 32-bit code under long mode. */
	movl $32, %eax
	syscall				/* SYSRET goes there */
	.code32
	movl $2, %eax
	int $0x80
	pushl $0x12345678
	popl %ecx
	cmpl $STACK3, %esp
	jne 1f
	movl $UA(2f), %ecx
	ljmp $0x2b, $UA(2f)
1:	ljmp $0x2b, $UA(fail_user)
	.code64
2:	movl $1, %eax
	movl $A(back), %ebx
	int $0x80
fail_user:
	movl $1, %eax
	movl $A(fail), %ebx
	int $0x80
	.balign 8
far_gate: .long 0
	.word 0x48 | 3

back:
	STEP 5
	/* Single step: one instruction after POPF. */
	pushf
	orl $0x100, (%rsp)
	popf
	nop
	/* Breakpoints: on an instruction, and on data. */
	movl $A(1f), %eax
	movq %rax, %dr0
	movl $A(value), %eax
	movq %rax, %dr1
	movl $0xd00402 | 0x8, %eax	/* G0 execute, G1 write 4 bytes */
	movq %rax, %dr7
1:	nop
	movl A(value), %eax
	movl %eax, A(value)
	nop
	movl $0x400, %eax
	movq %rax, %dr7
	.byte 0xf1			/* INT1 */
	STEP 6

	/* Interrupts from our own APIC. */
	movl $0x1ff, %eax
	movl %eax, 0xf0(%r15)
	xorl %ebx, %ebx
	movl $0x40021, %eax
	movl %eax, 0x300(%r15)
	nop
	sti
	incl %ebx			/* in STI's shadow */
	incl %ebx
	cli
	/* A timer wakes HLT. */
	movl $0x21, %eax
	movl %eax, 0x320(%r15)
	movl $0xb, %eax
	movl %eax, 0x3e0(%r15)
	movl $2000000, %eax
	movl %eax, 0x380(%r15)
	movl $0x55, %ebx
	sti
	hlt
	cli
	movl $0x40400, %eax		/* an NMI to ourselves */
	movl %eax, 0x300(%r15)
	nop
	STEP 7

	/* #GP whose stack is not there: the page fault is served instead. */
	movq $0x403800, A(tss) + 0x2c	/* IST2 */
	movb $2, A(idt) + 13 * 16 + 4
	movl $16, %eax
	FAULT movq %rax, %cr8		/* #PF(2) */
	/* And a page fault whose stack is not there is a double fault. */
	movb $3, A(idt) + 8 * 16 + 4
	movb $2, A(idt) + 14 * 16 + 4
	FAULT movl 0x403000, %eax	/* #DF(0) on IST3 */
	STEP 8
	movb $0, %al
	outb %al, $0xf4
	hlt
fail:
	movb $1, %al
	outb %al, $0xf4
	hlt
system64_end:
	.section .note.GNU-stack, "", @progbits
