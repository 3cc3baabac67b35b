/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a kernel and a CPU do together, as a program sees it: signals and the FPU's registers, faults
 * in the middle of instructions, single steps, code that changes under its own feet, both modes of
 * code at one address. It prints what it met, in a form that is the same on every machine: run
 * natively and in a guest, the two must agree. Where the outcome is known it checks that too.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/ucontext.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(int ok, const char *what)
{
	if (ok)
		return;
	printf("not ok - %s\n", what);
	exit(1);
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_NODEFER };
	check(!sigaction(signal, &action, NULL), "sigaction");
}

static uint8_t *pages(unsigned count, int protection, int flags)
{
	uint8_t *p = mmap(NULL, count * 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	check(p != MAP_FAILED, "mmap");
	return p;
}

/* --- the FPU across signals ----------------------------------------------------------------------*/

static volatile unsigned alarms;

static void spoil_fpu(int signal, siginfo_t *info, void *context)
{
	static const uint32_t mxcsr = 0x7f80;
	alarms++;
	__asm__ volatile("fninit; fldpi; fldpi; pxor %%xmm0, %%xmm0; pxor %%xmm7, %%xmm7\n\t"
			 "pcmpeqd %%xmm15, %%xmm15; ldmxcsr %0" : : "m"(mxcsr)
			 : "xmm0", "xmm7", "xmm15");
}

/* Registers that hold 3, 5, pattern for as long as some signals take. */
static void fpu_survives_signals(void)
{
	const struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = { 0 };
	const uint16_t control = 0x0e7f;
	double top = 0, below = 0;
	uint64_t low = 0, high = 0;
	uint16_t control_after = 0;
	handle(SIGALRM, spoil_fpu);
	setitimer(ITIMER_REAL, &often, NULL);
	__asm__ volatile("fninit; fldcw %[control]; fld1; fld1; fadd %%st(1), %%st\n\t"
			 "fadd %%st(1), %%st\n\t"             /* 3 above 1 */
			 "movq %[pattern], %%xmm0; movq %[pattern], %%xmm15\n"
			 "1:\tcmpl $20, %[alarms]; jb 1b\n\t"
			 "movq %%xmm0, %[low]; movq %%xmm15, %[high]\n\t"
			 "fnstcw %[after]; fstpl %[top]; fstpl %[below]; fninit"
			 : [low] "=r"(low), [high] "=r"(high), [top] "=m"(top), [below] "=m"(below),
			   [after] "=m"(control_after)
			 : [pattern] "r"(UINT64_C(0x0123456789abcdef)), [control] "m"(control),
			   [alarms] "m"(alarms)
			 : "xmm0", "xmm15", "memory", "cc");
	setitimer(ITIMER_REAL, &never, NULL);
	check(top == 3 && below == 1 && control_after == control, "x87 registers across signals");
	check(low == UINT64_C(0x0123456789abcdef) && high == low, "vector registers across signals");
	printf("fpu across signals\n");
}

static void change_fpu(int signal, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	uint64_t value = 42;
	memcpy(&uc->uc_mcontext.fpregs->_xmm[1], &value, 8);
	uc->uc_mcontext.gregs[REG_R13] = 43;
}

static void handlers_change_registers(void)
{
	uint64_t vector, general;
	handle(SIGUSR1, change_fpu);
	__asm__ volatile("pxor %%xmm1, %%xmm1; xorl %%r13d, %%r13d; syscall; movq %%xmm1, %0\n\t"
			 "movq %%r13, %1"
			 : "=&r"(vector), "=&r"(general)
			 : "a"(200 /* tkill */), "D"(getpid()), "S"(SIGUSR1)
			 : "rcx", "r11", "r13", "xmm1", "memory");
	check(vector == 42 && general == 43, "registers that a handler has changed");
	printf("sigreturn\n");
}

/* --- faults ----------------------------------------------------------------------------------------*/

static uint8_t *opened;
static struct { uint64_t rcx, rsi, rdi, address; unsigned count; } met;

static void open_page(int signal, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	if (!met.count++) {
		met.rcx = g[REG_RCX];
		met.rsi = g[REG_RSI];
		met.rdi = g[REG_RDI];
		met.address = (uintptr_t)info->si_addr;
	}
	mprotect(opened, 4096, PROT_READ | PROT_WRITE);
}

/* REP MOVSB of 200 bytes over a page boundary, into a page that opens on its first fault. */
static void string_faults(int backward)
{
	uint8_t *to = pages(2, PROT_READ | PROT_WRITE, 0), from[200];
	for (unsigned n = 0; n < sizeof(from); n++)
		from[n] = n * 7;
	memset(&met, 0, sizeof(met));
	opened = backward ? to : to + 4096;
	mprotect(opened, 4096, PROT_NONE);
	handle(SIGSEGV, open_page);
	uint8_t *start = to + 4000;
	uint64_t rcx = 200, rsi = (uintptr_t)from + (backward ? 199 : 0);
	uint64_t rdi = (uintptr_t)start + (backward ? 199 : 0);
	if (backward)
		__asm__ volatile("std; rep movsb; cld" : "+c"(rcx), "+S"(rsi), "+D"(rdi) : : "memory");
	else
		__asm__ volatile("rep movsb" : "+c"(rcx), "+S"(rsi), "+D"(rdi) : : "memory");
	check(!memcmp(start, from, 200) && rcx == 0, "bytes that REP MOVSB copied");
	printf("rep movsb %s: fault with %llu left at %+lld, source %+lld, address %+lld, %u faults\n",
	       backward ? "backward" : "forward", (unsigned long long)met.rcx,
	       (long long)(met.rdi - (uintptr_t)to), (long long)(met.rsi - (uintptr_t)from),
	       (long long)(met.address - (uintptr_t)to), met.count);
	munmap(to, 2 * 4096);
}

static uint64_t trap_start, trap_resume;

static void report_trap(int signal, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	printf("  signal %d code %d at %+lld trap %lld\n", signal, info->si_code,
	       (long long)(g[REG_RIP] - trap_start), (long long)g[REG_TRAPNO]);
	g[REG_RIP] = trap_resume;
}

/* Run the code, which faults; the handler goes on behind it. */
#define TRAP(text, ...)                                                                            \
	__asm__ volatile("leaq 1f(%%rip), %%rax; movq %%rax, %0; leaq 2f(%%rip), %%rax\n\t"          \
			 "movq %%rax, %1\n1:\t" text "\n2:"                                          \
			 : "=m"(trap_start), "=m"(trap_resume)                                       \
			 : __VA_ARGS__ : "rax", "rcx", "rdx", "xmm0", "xmm1", "memory", "cc")

static void exceptions(void)
{
	static const uint16_t control = 0x037b; /* x87 divide by zero */
	static const uint32_t mxcsr = 0x1d80;   /* the same of SSE */
	static const uint32_t usual = 0x1f80;
	static const int signals[] = { SIGFPE, SIGILL, SIGTRAP, SIGSEGV, SIGBUS };
	for (unsigned n = 0; n < sizeof(signals) / sizeof(*signals); n++)
		handle(signals[n], report_trap);
	printf("exceptions\n");
	TRAP("xorl %%ecx, %%ecx; xorl %%edx, %%edx; divl %%ecx", "m"(control));
	TRAP("movl $-1, %%ecx; movl $0x80000000, %%eax; cltd; idivl %%ecx", "m"(control));
	TRAP("ud2", "m"(control));
	TRAP("int3", "m"(control));
	TRAP("movq $1, %%rcx; rolq $60, %%rcx; movl (%%rcx), %%ecx", "m"(control));
	TRAP("hlt", "m"(control));
	TRAP("fninit; fldcw %2; fldz; fld1; fdivp; fwait", "m"(control));
	TRAP("movl $1, %%eax; cvtsi2ss %%eax, %%xmm0; xorps %%xmm1, %%xmm1; ldmxcsr %2\n\t"
	     "divss %%xmm1, %%xmm0", "m"(mxcsr));
	__asm__ volatile("fninit; ldmxcsr %0" : : "m"(usual));
	TRAP("movaps 1(%%rsp), %%xmm0", "m"(control));
}

/* --- single steps ----------------------------------------------------------------------------------*/

static unsigned steps;
static uint64_t step_hash, step_base;

static void count_step(int signal, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	steps++;
	step_hash = step_hash * 31 + (uint64_t)g[REG_RIP] - step_base;
}

#define STEPPED                                                                                    \
	"movl $3, %%ecx\n1:\tdecl %%ecx; jnz 1b\n\t"                                                \
	"movl $4, %%ecx; leaq -256(%%rsp), %%rdi; rep stosb\n\t"                                    \
	"movl $39, %%eax; syscall\n\t"                                                              \
	"fld1; fstp %%st(0); call 2f; jmp 3f\n2:\tret\n3:\n\t"

static void trap_flag(void)
{
	handle(SIGTRAP, count_step);
	steps = 0;
	step_hash = 0;
	__asm__ volatile("leaq 1f(%%rip), %%rax; movq %%rax, %0\n\t"
			 "pushf; orl $0x100, (%%rsp); popf\n1:\t" STEPPED
			 "pushf; andl $~0x100, (%%rsp); popf"
			 : "=m"(step_base) : : "rax", "rcx", "rdi", "r11", "memory", "cc");
	printf("trap flag: %u steps, %016llx\n", steps, (unsigned long long)step_hash);
}

extern const char stepped_start[], stepped_end[];

static __attribute__((noinline)) void stepped(void)
{
	__asm__ volatile(".globl stepped_start, stepped_end\nstepped_start:\n\t" STEPPED
			 "stepped_end:" : : : "rax", "rcx", "rdi", "r11", "memory", "cc");
}

static void ptrace_steps(void)
{
	fflush(stdout);
	pid_t child = fork();
	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		stepped();
		_exit(0);
	}
	int status;
	unsigned inside = 0;
	uint64_t hash = 0;
	struct user_regs_struct regs;
	struct user_fpregs_struct fpregs;
	waitpid(child, &status, 0);
	while (!ptrace(PTRACE_SINGLESTEP, child, 0, 0) && waitpid(child, &status, 0) == child &&
	       WIFSTOPPED(status)) {
		ptrace(PTRACE_GETREGS, child, 0, &regs);
		uint64_t at = regs.rip - (uintptr_t)stepped_start;
		if (at >= (uint64_t)(stepped_end - stepped_start)) {
			if (inside)
				break;
			continue;
		}
		ptrace(PTRACE_GETFPREGS, child, 0, &fpregs);
		inside++;
		hash = (hash * 31 + at) * 31 + regs.rcx % 4096 + fpregs.ftw;
		if (inside == 1)
			hash = 0;
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	/* Of RCX after SYSCALL only what does not depend on where the program lies counts. */
	printf("ptrace: %u steps\n", inside);
	check(hash != 0, "steps that ptrace saw");
}

/* --- code that changes -----------------------------------------------------------------------------*/

static int call(const uint8_t *code)
{
	return ((int (*)(void))(uintptr_t)code)();
}

/* MOV EAX, imm; RET at `to`. */
static void write_constant(uint8_t *to, int value)
{
	to[0] = 0xb8;
	memcpy(to + 1, &value, 4);
	to[5] = 0xc3;
}

static void changing_code(void)
{
	uint8_t *code = pages(2, PROT_READ | PROT_WRITE | PROT_EXEC, 0);
	/* In a page, and over a boundary with the constant on the other side. */
	static const unsigned places[] = { 64, 4093 };
	for (unsigned k = 0; k < 2; k++) {
		for (int n = 0; n < 20000; n++) {
			write_constant(code + places[k], n);
			check(call(code + places[k]) == n, "code that has been written");
		}
	}
	/* Through another mapping. */
	int fd = memfd_create("code", 0);
	check(fd >= 0 && !ftruncate(fd, 4096), "memfd");
	uint8_t *write = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint8_t *run = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	for (int n = 0; n < 20000; n++) {
		write_constant(write, n);
		check(call(run) == n, "code written through another mapping");
	}
	/* A loop that increments the constant of its own next instruction. */
	static const uint8_t loop[] = {
		0x31, 0xc0,                               /* xor eax, eax */
		0xb9, 0xe8, 3, 0, 0,                      /* mov ecx, 1000 */
		0xff, 0x05, 1, 0, 0, 0,                   /* inc dword [rip + 1] */
		0x05, 0, 0, 0, 0,                         /* add eax, 0 */
		0xff, 0xc9, 0x75, 0xf1,                   /* dec ecx; jnz */
		0xc3,
	};
	memcpy(code, loop, sizeof(loop));
	check(call(code) == 500500, "code that changes itself");
	printf("changing code\n");
}

/* --- both modes at one address ---------------------------------------------------------------------*/

/* 48 FF C0: INC RAX, or DEC EAX and INC EAX. Called 1000 times from either mode, in turn. */
static void both_modes(void)
{
	static const uint8_t common[] = { 0x48, 0xff, 0xc0, 0xc3 };
	static const uint8_t narrow[] = {
		0xb9, 100, 0, 0, 0,             /* mov ecx, 100 */
		0xe8, 0, 0, 0, 0,               /* call common */
		0x49, 0x75, 0xf8,               /* dec ecx; jnz */
		0x83, 0xc0, 7,                  /* add eax, 7 */
		0xea, 0, 0, 0, 0, 0x33, 0,      /* jmp far to 64-bit code */
	};
	uint8_t *p = pages(4, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_32BIT);
	memcpy(p, common, sizeof(common));
	memcpy(p + 256, narrow, sizeof(narrow));
	int32_t back = -(256 + 10);
	memcpy(p + 256 + 6, &back, 4);
	uint64_t value = 0, stack = (uintptr_t)p + 4 * 4096 - 64;
	for (unsigned n = 0; n < 200; n++) {
		__asm__ volatile("movq %%rsp, %%rbx; movq %[stack], %%rsp\n\t"
				 "leaq 1f(%%rip), %%rcx\n\t"
				 "movl %%ecx, 17(%[narrow])\n\t" /* where the far jump leads, if below 4 GiB */
				 "movl $100, %%ecx\n2:\tcall *%[common]; decl %%ecx; jnz 2b\n\t"
				 "pushq $0x23; pushq %[narrow]; lretq\n"
				 "1:\tmovq %%rbx, %%rsp"
				 : "+a"(value)
				 : [stack] "r"(stack), [common] "r"(p), [narrow] "r"(p + 256)
				 : "rbx", "rcx", "memory", "cc");
	}
	check(value == 200 * 107, "code that runs in two modes");
	printf("both modes\n");
}

int main(void)
{
	fpu_survives_signals();
	handlers_change_registers();
	string_faults(0);
	string_faults(1);
	exceptions();
	trap_flag();
	ptrace_steps();
	changing_code();
	both_modes();
	printf("done\n");
	return 0;
}
