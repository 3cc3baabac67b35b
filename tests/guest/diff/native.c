/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running cases on the host CPU, in a child process so that a wild store hurts nobody.
 *
 * A trampoline loads the whole register state from the control page (at a fixed address, so that no
 * register is needed to reach it), jumps to the case's code and comes back through the landing pads
 * that surround it. Faults come back as signals, whose frame has the state at the fault. The child
 * takes batches from shared memory; a pipe pair says go and done.
 */
#include "base/error.h"
#include "diff.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

/* The control page. The assembly below knows the offsets. */
struct control {
	uint64_t in_gpr[16];             /* 0 */
	uint64_t in_rip, in_rflags;      /* 128, 136 */
	uint64_t host_rsp;               /* 144 */
	uint64_t exit_common;            /* 152: jump vector for the pads */
	uint64_t out_gpr[16];            /* 160 */
	uint64_t out_rflags, out_pad;    /* 288, 296 */
	uint32_t mxcsr, unused;          /* 304 */
	uint64_t to32;                   /* 312: far pointer into 32-bit code */
	uint8_t in_fpu[1024] __attribute__((aligned(64)));  /* 320 */
	uint8_t out_fpu[1024] __attribute__((aligned(64))); /* 1344 */
	uint64_t from32;                 /* far pointer for the way back */
};
G_STATIC_ASSERT(offsetof(struct control, in_fpu) == 320);
G_STATIC_ASSERT(offsetof(struct control, out_fpu) == 1344);

/* Where 32-bit code jumps to in 64-bit mode: below 4 GiB, unlike diff_exit. */
#define BACK (DIFF_CODE + 0xf00)
enum { CS32 = 0x23, CS64 = 0x33, FLAT_DATA = 0x2b }; /* Linux's selectors */

#define CONTROL ((struct control *)DIFF_CONTROL)

void diff_enter(void);
void diff_enter32(void);
void diff_exit(void);
void diff_exit_signal(void);

/* clang-format off */
__asm__(
	".text\n"
	".set CTL, 0x30000000\n"
	".globl diff_enter\n"
	"diff_enter:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rsp, CTL+144\n"
	"	mov $7, %eax; xor %edx, %edx\n"
	"	xrstor64 CTL+320\n"
	"	push CTL+136; popfq\n"
	"	mov CTL+0, %rax; mov CTL+8, %rcx; mov CTL+16, %rdx; mov CTL+24, %rbx\n"
	"	mov CTL+40, %rbp; mov CTL+48, %rsi; mov CTL+56, %rdi\n"
	"	mov CTL+64, %r8; mov CTL+72, %r9; mov CTL+80, %r10; mov CTL+88, %r11\n"
	"	mov CTL+96, %r12; mov CTL+104, %r13; mov CTL+112, %r14; mov CTL+120, %r15\n"
	"	mov CTL+32, %rsp\n"
	"	jmp *CTL+128\n"
	/* The same, ending in a jump to a 32-bit code segment. */
	".globl diff_enter32\n"
	"diff_enter32:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rsp, CTL+144\n"
	"	mov $7, %eax; xor %edx, %edx\n"
	"	xrstor64 CTL+320\n"
	"	push CTL+136; popfq\n"
	"	mov CTL+0, %rax; mov CTL+8, %rcx; mov CTL+16, %rdx; mov CTL+24, %rbx\n"
	"	mov CTL+40, %rbp; mov CTL+48, %rsi; mov CTL+56, %rdi; mov CTL+32, %rsp\n"
	"	ljmp *CTL+312\n"
	".globl diff_exit\n"
	"diff_exit:\n"
	"	mov %rax, CTL+160; mov %rcx, CTL+168; mov %rdx, CTL+176; mov %rbx, CTL+184\n"
	"	mov %rsp, CTL+192; mov %rbp, CTL+200; mov %rsi, CTL+208; mov %rdi, CTL+216\n"
	"	mov %r8, CTL+224; mov %r9, CTL+232; mov %r10, CTL+240; mov %r11, CTL+248\n"
	"	mov %r12, CTL+256; mov %r13, CTL+264; mov %r14, CTL+272; mov %r15, CTL+280\n"
	"	mov CTL+144, %rsp\n"
	"	pushfq; pop CTL+288\n"
	"	mov $7, %eax; xor %edx, %edx\n"
	"	xsave64 CTL+1344\n"
	".globl diff_exit_signal\n"
	"diff_exit_signal:\n"
	"	pushq $0x202; popfq\n"
	"	fninit\n"
	"	ldmxcsr CTL+304\n"
	"	vzeroupper\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n"
);
/* clang-format on */

struct diff_native {
	struct diff_case *cases; /* shared; two batches */
	pid_t child;
	int go[2], done[2];
};

struct go {
	uint32_t batch, count;
};

/* --- in the child ------------------------------------------------------------------------------*/

/* The signal handler has no other way to its case. The child runs one at a time. */
static struct diff_state *child_out;
static uint8_t *child_code;
static bool child_bits32; /* the mode that the landing pads are made for */
static bool child_patches; /* code is writable */

static void on_signal(int number, siginfo_t *info, void *context)
{
	static const uint8_t order[16] = {
		REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
		REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
	};
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;
	struct diff_state *out = child_out;
	if (!out)
		_exit(100);
	for (unsigned i = 0; i < 16; i++)
		out->gpr[i] = g[order[i]];
	out->rip = g[REG_RIP];
	out->rflags = g[REG_EFL];
	out->fault = number == SIGVTALRM ? DIFF_TIMEOUT : g[REG_TRAPNO];
	out->error = g[REG_ERR];
	out->cr2 = g[REG_CR2];
	memcpy(&out->fpu, uc->uc_mcontext.fpregs, sizeof(out->fpu));
	child_out = NULL;
	g[REG_RIP] = (greg_t)(uintptr_t)diff_exit_signal;
	g[REG_RSP] = CONTROL->host_rsp;
	g[REG_EFL] = 0x202;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffLL) | CS64;
}

static void child_die(const char *what)
{
	dprintf(2, "diff: child: %s: %s\n", what, strerror(errno));
	_exit(101);
}

static void map_at(uint64_t address, size_t size, int prot)
{
	void *p = mmap((void *)address, size, prot,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (p != (void *)address)
		child_die("mapping fixed addresses");
}

static void put_pad32(uint8_t *at, unsigned index)
{
	/* movb $index, (CTL+296); ljmp *from32 */
	uint32_t pad = DIFF_CONTROL + offsetof(struct control, out_pad);
	uint32_t vector = DIFF_CONTROL + offsetof(struct control, from32);
	memcpy(at, (const uint8_t[]){ 0xc6, 0x05 }, 2);
	memcpy(at + 2, &pad, 4);
	at[6] = index;
	memcpy(at + 7, (const uint8_t[]){ 0xff, 0x2d }, 2);
	memcpy(at + 9, &vector, 4);
}

static void put_pad(uint8_t *at, unsigned index)
{
	/* movb $index, (CTL+296); jmp *(CTL+152) */
	uint32_t pad = DIFF_CONTROL + offsetof(struct control, out_pad);
	uint32_t vector = DIFF_CONTROL + offsetof(struct control, exit_common);
	memcpy(at, (const uint8_t[]){ 0xc6, 0x04, 0x25 }, 3);
	memcpy(at + 3, &pad, 4);
	at[7] = index;
	memcpy(at + 8, (const uint8_t[]){ 0xff, 0x24, 0x25 }, 3);
	memcpy(at + 11, &vector, 4);
}

static void put_pads(bool bits32)
{
	for (unsigned k = 0; k < DIFF_TARGETS * DIFF_SITES; k++) {
		uint64_t site = DIFF_CODE + DIFF_START + DIFF_SITE * (k / DIFF_TARGETS);
		uint64_t target = diff_target(site, k % DIFF_TARGETS);
		(bits32 ? put_pad32 : put_pad)(child_code + (target - DIFF_CODE),
					       k % DIFF_TARGETS + 1);
	}
}

static void child_set_up(void)
{
	static uint8_t stack[65536] __attribute__((aligned(64)));
	stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction action = { .sa_sigaction = on_signal,
				    .sa_flags = SA_SIGINFO | SA_ONSTACK };
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGVTALRM };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	map_at(DIFF_CONTROL, 4096, PROT_READ | PROT_WRITE);
	map_at(DIFF_DATA, DIFF_DATA_PAGES * 4096, PROT_READ | PROT_WRITE);
	for (unsigned i = 0; i < DIFF_DATA_PAGES * 4096; i++)
		((uint8_t *)DIFF_DATA)[i] = i * 7 + (i >> 8);
	if (mprotect((void *)(DIFF_DATA + 8192), 4096, PROT_READ) < 0)
		child_die("protecting a page");
	int fd = memfd_create("diff-code", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, DIFF_CODE_PAGES * 4096) < 0)
		child_die("memory for code");
	child_code = mmap(NULL, DIFF_CODE_PAGES * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	void *exec = mmap((void *)DIFF_CODE, DIFF_CODE_PAGES * 4096, PROT_READ | PROT_EXEC,
			  MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	if (child_code == MAP_FAILED || exec != (void *)DIFF_CODE)
		child_die("mapping code");
	memset(child_code, 0xcc, DIFF_CODE_PAGES * 4096);
	put_pads(false);
	/* jmp *CTL+152 */
	memcpy(child_code + (BACK - DIFF_CODE), (const uint8_t[]){ 0xff, 0x24, 0x25 }, 3);
	uint32_t vector = DIFF_CONTROL + offsetof(struct control, exit_common);
	memcpy(child_code + (BACK - DIFF_CODE) + 3, &vector, 4);
	CONTROL->from32 = (uint64_t)CS64 << 32 | BACK;
	/* 64-bit code does not use them; 32-bit code needs them flat. */
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(FLAT_DATA));
	CONTROL->exit_common = (uintptr_t)diff_exit;
	CONTROL->mxcsr = 0x1f80;
	if (sigaltstack(&alternate, NULL) < 0)
		child_die("sigaltstack");
	sigfillset(&action.sa_mask);
	for (unsigned i = 0; i < G_N_ELEMENTS(signals); i++)
		sigaction(signals[i], &action, NULL);
}

static void make_writable(bool writable)
{
	int prot = PROT_READ | PROT_EXEC | (writable ? PROT_WRITE : 0);
	if (mprotect((void *)DIFF_CODE, DIFF_CODE_PAGES * 4096, prot) < 0)
		child_die("protecting code");
	child_patches = writable;
}

static void child_run(struct diff_case *c)
{
	struct control *ctl = CONTROL;
	uint8_t *data = (uint8_t *)DIFF_DATA;
	uint8_t *code = child_code + (c->in.rip - DIFF_CODE);
	memcpy(code, c->code, c->length);
	(c->bits32 ? put_pad32 : put_pad)(code + c->length, 0);
	if (c->bits32 != child_bits32)
		put_pads(child_bits32 = c->bits32);
	if (c->patches != child_patches)
		make_writable(c->patches);
	memcpy(ctl->in_gpr, c->in.gpr, sizeof(ctl->in_gpr));
	ctl->in_rip = c->in.rip;
	ctl->to32 = (uint64_t)CS32 << 32 | c->in.rip;
	ctl->in_rflags = c->in.rflags;
	memcpy(ctl->in_fpu, &c->in.fpu, sizeof(c->in.fpu));
	diff_set_data(data, &c->in);

	c->native.fault = DIFF_NO_FAULT;
	child_out = &c->native;
	ctl->out_pad = 0;
	(c->bits32 ? diff_enter32 : diff_enter)();
	if (child_out) { /* no signal came */
		memcpy(c->native.gpr, ctl->out_gpr, sizeof(ctl->out_gpr));
		c->native.rflags = ctl->out_rflags;
		c->native.rip = ctl->out_pad ? diff_target(c->in.rip, ctl->out_pad - 1)
					     : c->in.rip + c->length;
		memcpy(&c->native.fpu, ctl->out_fpu, sizeof(c->native.fpu));
		child_out = NULL;
	}
	memcpy(c->native.window, data + DIFF_WINDOW_AT, DIFF_WINDOW);
	memcpy(c->native.tail, data + DIFF_TAIL_AT, DIFF_TAIL);
}

static void set_timer(unsigned seconds)
{
	struct itimerval t = { .it_value.tv_sec = seconds };
	setitimer(ITIMER_VIRTUAL, &t, NULL);
}

/*
 * Hypervisors hold up a LOCK across two cache lines for tens of ms, a busy machine's for longer than any
 * loop would take: what ran out of time gets a lot more of it.
 */
static void child_run_in_time(struct diff_case *c)
{
	enum { USUAL = 1, PATIENT = 20 };
	set_timer(USUAL);
	child_run(c);
	if (c->native.fault != DIFF_TIMEOUT)
		return;
	set_timer(PATIENT);
	child_run(c);
}

int64_t diff_cpu_time(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void child_loop(struct diff_native *n)
{
	struct go go;
	bool held_up = false;
	child_set_up();
	while (read(n->go[0], &go, sizeof(go)) == sizeof(go)) {
		for (unsigned i = 0; i < go.count; i++) {
			struct diff_case *c = &n->cases[go.batch * DIFF_BATCH + i];
			int64_t start = diff_cpu_time();
			c->left_out |= c->splits && held_up;
			if (!c->left_out)
				child_run_in_time(c);
			held_up |= diff_held_up(c, start);
		}
		set_timer(0);
		if (write(n->done[1], "d", 1) != 1)
			break;
	}
	_exit(0);
}

/* --- in the parent -----------------------------------------------------------------------------*/

static bool spawn(struct diff_native *n, GError **error)
{
	if (pipe(n->go) < 0 || pipe(n->done) < 0)
		return error_set_errno(error, errno, "pipes to the native child");
	n->child = fork();
	if (n->child < 0)
		return error_set_errno(error, errno, "fork of the native child");
	if (n->child == 0) {
		close(n->go[1]);
		close(n->done[0]);
		child_loop(n);
	}
	close(n->go[0]);
	close(n->done[1]);
	return true;
}

struct diff_native *diff_native_new(GError **error)
{
	struct diff_native *n = g_new0(struct diff_native, 1);
	n->cases = mmap(NULL, 2 * DIFF_BATCH * sizeof(struct diff_case), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (n->cases == MAP_FAILED) {
		error_set_errno(error, errno, "memory for the cases");
		g_free(n);
		return NULL;
	}
	if (!spawn(n, error)) {
		munmap(n->cases, 2 * DIFF_BATCH * sizeof(struct diff_case));
		g_free(n);
		return NULL;
	}
	return n;
}

void diff_native_free(struct diff_native *n)
{
	if (!n)
		return;
	close(n->go[1]);
	close(n->done[0]);
	waitpid(n->child, NULL, 0);
	munmap(n->cases, 2 * DIFF_BATCH * sizeof(struct diff_case));
	g_free(n);
}

struct diff_case *diff_native_cases(struct diff_native *n, unsigned batch)
{
	return n->cases + batch * DIFF_BATCH;
}

bool diff_native_start(struct diff_native *n, unsigned batch, unsigned count, GError **error)
{
	struct go go = { batch, count };
	if (write(n->go[1], &go, sizeof(go)) == sizeof(go))
		return true;
	return error_set_errno(error, errno, "starting a batch in the native child");
}

bool diff_native_wait(struct diff_native *n, GError **error)
{
	char c;
	if (read(n->done[0], &c, 1) == 1)
		return true;
	int status = 0;
	waitpid(n->child, &status, 0);
	return error_set(error, BERTH_ERR_INTERNAL,
			 "the native child ended (%s %d): a case reached memory of its own",
			 WIFSIGNALED(status) ? "signal" : "status",
			 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}
