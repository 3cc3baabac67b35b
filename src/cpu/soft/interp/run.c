/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The run loop: blocks, faults, events, waiting in HLT, single steps. */
#include "cpu/soft/engine.h"
#include "cpu/soft/interp/exec.h"
#include "cpu/soft/jit/jit.h"
#include "cpu/soft/trace.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* How long to watch for an event before sleeping: a wake-up from the futex costs about 50 us. */
#define HALT_SPIN_NS INT64_C(30000)

/* --- waiting -------------------------------------------------------------------------------------- */
static int64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

void soft_post(struct soft_vcpu *c, uint32_t bits)
{
	atomic_fetch_or(&c->pending, bits);
	if (atomic_load(&c->sleeping)) {
		atomic_fetch_add(&c->wakeups, 1);
		syscall(SYS_futex, &c->wakeups, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	}
}

static bool must_wake(struct soft_vcpu *c)
{
	return (atomic_load(&c->pending) & SOFT_PENDING_KICK) || soft_has_wakeup(c);
}

static void sleep_until(struct soft_vcpu *c, int64_t deadline)
{
	atomic_store(&c->sleeping, true);
	uint32_t seen = atomic_load(&c->wakeups);
	if (!must_wake(c)) {
		struct timespec ts = { deadline / 1000000000, deadline % 1000000000 };
		/* An absolute time on CLOCK_MONOTONIC. Any return means: look again. */
		syscall(SYS_futex, &c->wakeups, FUTEX_WAIT_BITSET_PRIVATE, seen,
			deadline == INT64_MAX ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);
	}
	atomic_store(&c->sleeping, false);
}

/* The vCPU waits (HLT, or for INIT or SIPI). Returns when there is something to do. */
static void wait_for_event(struct soft_vcpu *c)
{
	int64_t spin_end = now_ns() + HALT_SPIN_NS;
	while (!must_wake(c)) {
		int64_t now = now_ns(), deadline = soft_timer_deadline(c);
		if (now < spin_end && deadline - now < HALT_SPIN_NS)
			__builtin_ia32_pause();
		else if (now < spin_end && c->vm->vcpu_count > 1)
			__builtin_ia32_pause();
		else
			sleep_until(c, deadline);
	}
}

/* --- atomics without a host address --------------------------------------------------------------- */
void interp_split_lock(struct soft_vcpu *c)
{
	pthread_mutex_lock(&c->engine->split_lock);
	c->blocks->split_locked = true;
}

void interp_split_unlock(struct soft_vcpu *c)
{
	if (!c->blocks->split_locked)
		return;
	c->blocks->split_locked = false;
	pthread_mutex_unlock(&c->engine->split_lock);
}

/* --- running -------------------------------------------------------------------------------------- */
/* Execute from c->s.rip to the end of a block, or of several that chain. */
static void run_block(struct soft_vcpu *c, uint32_t mode)
{
	if (soft_traces(c, VM_TRACE_EXEC))
		soft_trace_exec(c);
	struct block *b = mode & BLOCK_MODE_SINGLE ? NULL : block_quick(c, c->s.rip);
	if (!b)
		b = interp_block_find(c, mode);
	c->block_rip = c->s.rip;
#if INTERP_CHAINS
	b->insns[0].exec(c, b->insns);
#else
	const struct soft_insn *i = b->insns;
	while (i) {
		c->blocks->go = NULL;
		i->exec(c, i);
		i = c->blocks->go;
	}
#endif
}

/* A raised fault has come to the run loop: the instruction is undone. */
static void unwind_insn(struct soft_vcpu *c)
{
	interp_split_unlock(c);
	c->s.rip = insn_rip(c, c->insn);
}

/* What is pending, before the next instruction. False: leave with *exit. */
static bool handle_pending(struct soft_vcpu *c, enum vcpu_exit *exit)
{
	uint32_t pending = atomic_load(&c->pending);
	if (pending & SOFT_PENDING_KICK) {
		atomic_fetch_and(&c->pending, ~(uint32_t)SOFT_PENDING_KICK);
		*exit = VCPU_EXIT_KICKED;
		return false;
	}
	if (pending & SOFT_PENDING_CODE)
		interp_blocks_handle_stale(c);
	/* Delivering an event can fault; that is then c->s.rip's. */
	c->insn = &c->blocks->fetching;
	c->block_rip = c->s.rip;
	if (!soft_handle_events(c)) {
		*exit = VCPU_EXIT_SHUTDOWN;
		return false;
	}
	return true;
}

static enum vcpu_exit run_loop(struct soft_vcpu *c)
{
	enum vcpu_exit exit = VCPU_EXIT_KICKED;
	if (sigsetjmp(c->unwind, 0)) {
		unwind_insn(c);
		if (!soft_deliver_fault(c))
			return VCPU_EXIT_SHUTDOWN;
	}
	for (;;) {
		if (atomic_load_explicit(&c->pending, memory_order_acquire) &&
		    !handle_pending(c, &exit))
			return exit;
		if (soft_unlikely(c->s.activity != X86_RUNNING)) {
			wait_for_event(c);
			if (!handle_pending(c, &exit))
				return exit;
			continue;
		}
		if (soft_unlikely(jit_wants_reset(c)))
			interp_blocks_reset(c);
		uint32_t mode = block_mode(c);
		if (atomic_load_explicit(&c->pending, memory_order_relaxed) & SOFT_PENDING_TRAP)
			mode |= BLOCK_MODE_SINGLE;
		run_block(c, mode);
	}
}

enum vcpu_exit soft_run(struct soft_vcpu *c)
{
	struct soft_blocks *blocks = c->blocks;
	atomic_store(&blocks->runner, pthread_self());
	atomic_store(&blocks->in_run, true);
	enum vcpu_exit exit = run_loop(c);
	soft_native_sync(c);
	atomic_store(&blocks->in_run, false);
	return exit;
}

bool soft_step(struct soft_vcpu *c)
{
	atomic_store(&c->blocks->runner, pthread_self());
	atomic_store(&c->blocks->in_run, true);
	volatile bool done = false; /* survives the longjmp */
	if (atomic_load(&c->pending) & SOFT_PENDING_CODE)
		interp_blocks_handle_stale(c);
	if (sigsetjmp(c->unwind, 0)) {
		unwind_insn(c);
	} else {
		run_block(c, block_mode(c) | BLOCK_MODE_SINGLE);
		done = true;
	}
	soft_native_sync(c);
	atomic_store(&c->blocks->in_run, false);
	return done;
}
