/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cross-modifying code: one vCPU calls a function in a loop while the other rewrites its constant
 * and waits for the new value to come out. A stale decoded block would make it wait for ever. The
 * same with a thread that writes as a device does.
 */
#include "soft_guest.h"

#include "aio/loop.h"

#include <string.h>

enum { CODE = 0x10000, OTHER = 0x11000, FUNCTION = 0x12000, RESULT = 0x20000, ROUNDS = 500 };

/* Calls the function for ever and stores what it returns. */
static const uint8_t caller[] = {
	0xe8, 0xfb, 0x0f, 0x00, 0x00,             /* 1: call FUNCTION */
	0x89, 0x04, 0x25, 0x00, 0x00, 0x02, 0x00, /* mov [RESULT],eax */
	0xeb, 0xf2,                               /* jmp 1b */
};
static const uint8_t function[] = { 0xb8, 0x00, 0x00, 0x00, 0x00, 0xc3 }; /* mov eax,0; ret */
/* For each value from 1 to ROUNDS: write it into the function, wait until it is the result. */
static const uint8_t patcher[] = {
	0x31, 0xc0,                               /* xor eax,eax */
	0xff, 0xc0,                               /* 1: inc eax */
	0x89, 0x04, 0x25, 0x01, 0x20, 0x01, 0x00, /* mov [FUNCTION+1],eax */
	0x39, 0x04, 0x25, 0x00, 0x00, 0x02, 0x00, /* 2: cmp [RESULT],eax */
	0xf3, 0x90,                               /* pause */
	0x75, 0xf5,                               /* jne 2b */
	0x3d, 0xf4, 0x01, 0x00, 0x00,             /* cmp eax,ROUNDS */
	0x75, 0xe5,                               /* jne 1b */
	0x66, 0xba, 0xf4, 0x00,                   /* mov dx,0xf4 */
	0xb0, 0x07, 0xee,                         /* mov al,7; out dx,al */
	0xf4, 0xeb, 0xfd,                         /* hlt for ever */
};

/* Both vCPUs as the first was set up, at their own addresses. */
static void enter_both(struct soft_guest *g, uint64_t first)
{
	struct x86_state *s = g_aligned_alloc0(1, sizeof(*s), 64);
	soft_guest_write(g, OTHER, caller, sizeof(caller));
	soft_guest_write(g, FUNCTION, function, sizeof(function));
	soft_guest_enter64(g, first, false);
	soft_state_get(g->c, s);
	s->rip = OTHER;
	s->gpr[X86_RSP] = 0x300000;
	soft_state_set(soft_of(&g->vm->vcpus[1]), s);
	g_aligned_free(s);
}

static void run_until(struct soft_guest *g, bool (*done)(struct soft_guest *g))
{
	int64_t end = aio_now_ns() + 100 * G_GINT64_CONSTANT(1000000000);
	vm_resume(g->vm);
	while (!done(g) && aio_now_ns() < end)
		aio_loop_iterate(g->loop, 1000000);
	g_assert_true(done(g));
	vm_pause(g->vm, VM_STATE_PAUSED);
}

static bool has_exited(struct soft_guest *g)
{
	return g->exit_code == 7;
}

static void test_vcpu(void)
{
	struct soft_guest *g = soft_guest_new(8 << 20, 2);
	soft_guest_write(g, CODE, patcher, sizeof(patcher));
	enter_both(g, CODE);
	run_until(g, has_exited);
	soft_guest_free(g);
}

/* Each value that has come out is replaced by the next. */
static bool device_step(struct soft_guest *g)
{
	uint32_t result, value;
	memcpy(&result, g->ram->host + RESULT, 4);
	memcpy(&value, g->ram->host + FUNCTION + 1, 4);
	if (result == value && value < ROUNDS) {
		value++;
		soft_guest_write(g, FUNCTION + 1, &value, 4);
	}
	return result == ROUNDS;
}

static void test_device(void)
{
	static const uint8_t idle[] = { 0xf4, 0xeb, 0xfd };
	struct soft_guest *g = soft_guest_new(8 << 20, 2);
	soft_guest_write(g, CODE, idle, sizeof(idle));
	enter_both(g, CODE);
	run_until(g, device_step);
	soft_guest_free(g);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/soft/smp-code/vcpu", test_vcpu);
	g_test_add_func("/soft/smp-code/device", test_device);
	return g_test_run();
}
