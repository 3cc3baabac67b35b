/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as guest code: whatever a guest executes, in whatever mode, the engine must neither
 * crash nor hang nor touch memory that is not the guest's. An input is a byte for the mode, sixteen
 * for the registers, and code. It is stepped, and then run for half a millisecond, all of it
 * translated at its first execution and the translation checked for its ways to memory.
 */
#include "cpu/soft/interp/blocks.h"
#include "soft_guest.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RAM = 4 << 20, CODE = 0x10000, CODE_MAX = 4096, DATA = 0x20000, HEAD = 17, STEPS = 300 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Registers that lead somewhere interesting. */
static uint64_t register_value(uint8_t choice, unsigned n)
{
	static const uint64_t values[] = {
		0, 1, DATA, DATA + 0xff8, CODE, CODE + 64, RAM - 8, RAM, 0x7f, 0xffff,
		0x80000000, 0xfffffff8, UINT64_C(0x7fffffffffff), UINT64_C(0x800000000000),
		UINT64_C(0xffffffffffffffff), 0xfee00000,
	};
	return values[choice & 15] + (choice >> 4) * (n + 1);
}

static void enter(struct soft_guest *g, uint8_t mode)
{
	switch (mode & 3) {
	case 0: soft_guest_enter64(g, CODE, true); break;
	case 1: soft_guest_enter64(g, CODE, false); break;
	case 2: soft_guest_enter32(g, CODE); break;
	case 3: soft_guest_enter16(g, 0x8000); break;
	}
}

static void run(struct soft_vcpu *c)
{
	for (unsigned steps = 0; steps < STEPS && c->s.activity == X86_RUNNING; steps++) {
		/* Anything pending makes REP stop after each piece. */
		soft_post(c, SOFT_PENDING_INTERRUPT);
		if (!soft_step(c) && !soft_deliver_fault(c))
			return;
		if (atomic_load(&c->pending) & SOFT_PENDING_CODE)
			interp_blocks_handle_stale(c);
		if (!soft_handle_events(c))
			return;
	}
}

static struct soft_guest *g; /* one for all inputs */
static timer_t timer;

static void on_timer(int signal)
{
	soft_post(g->c, SOFT_PENDING_KICK);
}

static void run_freely(struct soft_vcpu *c)
{
	const struct itimerspec once = { .it_value = { .tv_nsec = 500000 } };
	timer_settime(timer, 0, &once, NULL);
	while (soft_run(c) != VCPU_EXIT_SHUTDOWN) {
		struct itimerspec left;
		timer_gettime(timer, &left);
		if (!left.it_value.tv_sec && !left.it_value.tv_nsec)
			break;
	}
	timer_settime(timer, 0, &(struct itimerspec){ 0 }, NULL);
}

/* The leak checker does not look into the vCPU's own mapping: leave nothing behind. */
static void end(void)
{
	timer_delete(timer);
	soft_guest_free(g);
}

static void begin(void)
{
	const struct sigaction action = { .sa_handler = on_timer, .sa_flags = SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
	g = soft_guest_new(RAM, 1);
	sigaction(SIGRTMIN, &action, NULL);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer))
		abort();
	atexit(end);
}

static void prepare(struct soft_vcpu *c, const uint8_t *data, size_t size)
{
	size_t length = size - HEAD < CODE_MAX ? size - HEAD : CODE_MAX;
	memset(g->ram->host, 0, RAM);
	memcpy(g->ram->host + CODE, data + HEAD, length);
	memcpy(g->ram->host + DATA, data + HEAD, length);
	memcpy(g->ram->host + 0x8000, data + HEAD, length); /* where 16-bit code begins */
	ram_note_write(g->ram, 0, RAM);
	soft_blocks_flush(c);
	enter(g, data[0]);
	soft_tlb_flush_all(c);
	for (unsigned n = 0; n < 16; n++)
		c->s.gpr[n] = register_value(data[1 + n], n);
	atomic_store(&c->pending, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size <= HEAD)
		return 0;
	if (!g)
		begin();
	struct soft_vcpu *c = g->c;
	prepare(c, data, size);
	run(c);
	soft_native_sync(c);
	prepare(c, data, size);
	run_freely(c);
	soft_native_sync(c);
	return 0;
}
