/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Can this host run stock guests on KVM? Opening /dev/kvm and asking is not enough: in some clouds
 * it answers, but there is no VT-x or AMD-V under it and ring 0 runs in an instruction emulator.
 * So a micro-guest in long mode at ring 0 runs a counted loop, and the same loop runs natively; the
 * guest's must be of the native one's kind. The measure is the ratio and the clock is the thread's
 * CPU time, so that neither a slow host nor a busy one spoils it.
 */
#include "base/error.h"
#include "base/fd.h"
#include "base/units.h"
#include "cpu/kvm/kvm_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#define ITERATIONS UINT64_C(1000000) /* a third of a millisecond at 3 GHz */
#define LIMIT_NS   INT64_C(4000000)  /* the guest's time: this, or SLOWDOWN times the native */
#define SLOWDOWN   20                /* emulation is slower by a thousand */
#define FIRST_NS   INT64_C(250000000)
#define TICK_NS    1000000
#define MEMORY     UINT64_C(0x6000)

enum { CODE = 0x1000, PML4 = 0x2000, PDPT = 0x3000, PD = 0x4000 };

static const struct {
	int capability;
	const char *name;
} needed[] = {
	{KVM_CAP_USER_MEMORY, "user memory"},
	{KVM_CAP_IRQCHIP, "in-kernel interrupt controllers"},
	{KVM_CAP_IRQ_ROUTING, "interrupt routing"},
	{KVM_CAP_SIGNAL_MSI, "message interrupts"},
	{KVM_CAP_IRQFD, "irqfd"},
	{KVM_CAP_IOEVENTFD, "ioeventfd"},
	{KVM_CAP_PIT2, "an interval timer"},
	{KVM_CAP_IMMEDIATE_EXIT, "immediate exit (Linux 4.12)"},
	{KVM_CAP_READONLY_MEM, "read-only memory"},
	{KVM_CAP_MP_STATE, "multiprocessor state"},
	{KVM_CAP_VCPU_EVENTS, "vCPU events"},
	{KVM_CAP_DEBUGREGS, "debug registers"},
	{KVM_CAP_XSAVE, "XSAVE"},
	{KVM_CAP_ADJUST_CLOCK, "the guest clock"},
};

static bool open_error(GError **error)
{
	switch (errno) {
	case ENOENT:
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "there is no /dev/kvm: the kernel's kvm_intel or kvm_amd module is "
				 "not loaded, or virtualization is disabled in the firmware");
	case EACCES:
	case EPERM:
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "no permission for /dev/kvm: add yourself to the group kvm "
				 "('adduser USER kvm') and log in again");
	case ENODEV:
	case ENXIO:
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "/dev/kvm has no driver: the CPU has no VT-x or AMD-V, or it is "
				 "disabled in the firmware");
	default:
		return error_set_errno(error, errno, "cannot open /dev/kvm");
	}
}

int kvm_open(GError **error)
{
	auto_fd fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		open_error(error);
		return -1;
	}
	int version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		error_set(error, BERTH_ERR_NOT_SUPPORTED,
			  "/dev/kvm speaks version %d of its interface instead of %d", version,
			  KVM_API_VERSION);
		return -1;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(needed); i++) {
		if (!kvm_capability(fd, needed[i].capability)) {
			error_set(error, BERTH_ERR_NOT_SUPPORTED,
				  "the host's KVM is too old or too limited: it has no %s",
				  needed[i].name);
			return -1;
		}
	}
	return fd_steal(&fd);
}

/* --- The micro-guest -------------------------------------------------------------------------- */

struct micro {
	int vm_fd, vcpu_fd;
	struct kvm_run *run;
	size_t run_size;
	uint8_t *memory;
};

static void micro_free(struct micro *m)
{
	if (m->run)
		munmap(m->run, m->run_size);
	if (m->memory)
		munmap(m->memory, MEMORY);
	fd_clear(&m->vcpu_fd);
	fd_clear(&m->vm_fd);
}

static bool micro_create(struct micro *m, int kvm_fd)
{
	m->vm_fd = kvm_ioctl(kvm_fd, KVM_CREATE_VM, NULL);
	if (m->vm_fd < 0)
		return false;
	/* Where Intel's helper pages go, as in engine.c; no memory of ours is near. */
	ioctl(m->vm_fd, KVM_SET_TSS_ADDR, 0xfeffd000ul);
	m->vcpu_fd = ioctl(m->vm_fd, KVM_CREATE_VCPU, 0ul);
	int size = kvm_ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (m->vcpu_fd < 0 || size < 0)
		return false;
	m->run_size = size;
	void *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu_fd, 0);
	void *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	m->run = run == MAP_FAILED ? NULL : run;
	m->memory = memory == MAP_FAILED ? NULL : memory;
	struct kvm_userspace_memory_region region = {.memory_size = MEMORY,
						     .userspace_addr = (uintptr_t)memory};
	return m->run && m->memory &&
	       kvm_ioctl(m->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) == 0;
}

/* The loop that both run: rcx counts down. */
static const uint8_t code[] = {
	0xe6, 0x80,       /* out 0x80, al: everything is faulted in, start the clock */
	0x48, 0xff, 0xc9, /* 1: dec rcx */
	0x75, 0xfb,       /* jnz 1b */
	0xe6, 0x81,       /* out 0x81, al */
};

static void native_loop(uint64_t iterations)
{
	__asm__ volatile("1: dec %0; jnz 1b" : "+c"(iterations) : : "cc");
}

/* Long mode, ring 0, the first 2 MiB mapped to themselves. */
static bool micro_setup(struct micro *m)
{
	uint64_t entry;
	memcpy(m->memory + CODE, code, sizeof(code));
	entry = PDPT | 3;
	memcpy(m->memory + PML4, &entry, 8);
	entry = PD | 3;
	memcpy(m->memory + PDPT, &entry, 8);
	entry = 0x83; /* present, writable, 2 MiB */
	memcpy(m->memory + PD, &entry, 8);

	struct kvm_sregs sregs;
	struct kvm_segment cs = {.limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1,
				 .l = 1, .g = 1};
	struct kvm_segment ds = {.limit = 0xffffffff, .selector = 16, .type = 3, .present = 1,
				 .s = 1, .db = 1, .g = 1};
	if (kvm_ioctl(m->vcpu_fd, KVM_GET_SREGS, &sregs) < 0)
		return false;
	sregs.cs = cs;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = ds;
	sregs.cr3 = PML4;
	sregs.cr4 = 1 << 5;             /* PAE */
	sregs.cr0 = 0x80000033;         /* PG, NE, ET, MP, PE */
	sregs.efer = 1 << 10 | 1 << 8;  /* LMA, LME */
	struct kvm_regs regs = {.rip = CODE, .rflags = 2, .rcx = ITERATIONS};
	return kvm_ioctl(m->vcpu_fd, KVM_SET_SREGS, &sregs) == 0 &&
	       kvm_ioctl(m->vcpu_fd, KVM_SET_REGS, &regs) == 0;
}

static int64_t cpu_time_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static bool exited_at(struct micro *m, uint16_t port)
{
	return m->run->exit_reason == KVM_EXIT_IO && m->run->io.port == port;
}

/* --- Judgement -------------------------------------------------------------------------------- */

static bool too_slow(struct micro *m, int64_t ns, GError **error)
{
	struct kvm_regs regs;
	if (kvm_ioctl(m->vcpu_fd, KVM_GET_REGS, &regs) < 0)
		return error_set_errno(error, errno, "KVM's test guest cannot be examined");
	double instructions = 2.0 * (ITERATIONS - MIN(regs.rcx, ITERATIONS));
	return error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "this /dev/kvm has no VT-x or AMD-V under it (ring 0 runs at %.1f million "
			 "instructions a second)",
			 instructions * 1000 / MAX(ns, 1));
}

/* Run to an exit, for `limit` of CPU time. 1: exited, 0: the time was over, -1: failed. */
static int micro_run(struct micro *m, int64_t limit, int64_t *took)
{
	int64_t start = cpu_time_ns();
	do {
		int r = ioctl(m->vcpu_fd, KVM_RUN, 0);
		*took = cpu_time_ns() - start;
		if (r == 0 && m->run->exit_reason != KVM_EXIT_INTR)
			return 1;
		if (r < 0 && errno != EINTR)
			return -1;
	} while (*took < limit); /* the timer's clock also counts what other processes get */
	return 0;
}

static bool judge(struct micro *m, GError **error)
{
	int64_t start = cpu_time_ns(), took;
	native_loop(ITERATIONS);
	int64_t native = cpu_time_ns() - start, limit = MAX(LIMIT_NS, native * SLOWDOWN);

	/* To the first exit: the cost of the first entry is no measure, and nested it can be high. */
	int r = micro_run(m, FIRST_NS, &took);
	if (r > 0 && exited_at(m, 0x80))
		r = micro_run(m, limit, &took);
	if (r == 0 || (r > 0 && exited_at(m, 0x81) && took > limit))
		return too_slow(m, took, error);
	if (r < 0)
		return error_set_errno(error, errno, "KVM cannot run a 64-bit test guest");
	if (!exited_at(m, 0x81))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "KVM cannot run a 64-bit test guest: it stopped for reason %u",
				 m->run->exit_reason);
	return true;
}

static void timer_handler(int signal)
{
	/* Ends KVM_RUN. */
}

/* The timer's signal goes to this thread alone and is put back as it was afterwards. */
static bool run_bounded(struct micro *m, GError **error)
{
	struct sigaction action = {.sa_handler = timer_handler}, old;
	/* It repeats: one that came just before KVM_RUN would be lost. */
	struct itimerspec ticks = {.it_value = {0, TICK_NS}, .it_interval = {0, TICK_NS}};
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = KVM_KICK_SIGNAL};
	sigset_t set, old_set;
	timer_t timer;
	event._sigev_un._tid = syscall(SYS_gettid);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
		return error_set_errno(error, errno, "cannot create a timer");
	sigemptyset(&set);
	sigaddset(&set, KVM_KICK_SIGNAL);
	sigaction(KVM_KICK_SIGNAL, &action, &old);
	pthread_sigmask(SIG_UNBLOCK, &set, &old_set);
	timer_settime(timer, 0, &ticks, NULL);
	bool ok = judge(m, error);
	timer_delete(timer);
	pthread_sigmask(SIG_SETMASK, &old_set, NULL);
	sigaction(KVM_KICK_SIGNAL, &old, NULL);
	return ok;
}

bool kvm_probe(GError **error)
{
	struct micro m = {.vm_fd = -1, .vcpu_fd = -1};
	auto_fd fd = kvm_open(error);
	if (fd < 0)
		return false;
	bool ok;
	if (!micro_create(&m, fd) || !micro_setup(&m))
		ok = error_set_errno(error, errno, "KVM cannot create a test guest");
	else
		ok = run_bounded(&m, error);
	micro_free(&m);
	return ok;
}
