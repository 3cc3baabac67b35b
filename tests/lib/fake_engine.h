/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An engine without instructions, for tests of everything above engines: vcpu_run() calls the
 * test's `step` until it is kicked. It counts what it is asked to do.
 */
#pragma once

#include "vm/vm.h"

#define FAKE_IRQFDS 3

struct fake_irqfd {
	int fd;
	uint64_t address;
	uint32_t data;
};

struct fake_vm {
	/* One step of "guest execution"; NULL: sleep until kicked. Set before vm_resume(). */
	enum vcpu_exit (*step)(struct vcpu *vcpu, void *opaque);
	void *opaque;
	_Atomic unsigned resets, msis, runs, in_guest;
	_Atomic bool running; /* as told by run_changed */
	_Atomic uint64_t last_msi_address;
	_Atomic uint32_t last_msi_data;
	struct fake_irqfd irqfds[FAKE_IRQFDS]; /* fake_irqfd_engine; the first irqfd_count are connected */
	unsigned irqfd_count;
	bool irqfd_refuse;
};

extern const struct engine_ops fake_engine;
/* The same with irqfds: FAKE_IRQFDS of them, or none any more once irqfd_refuse is set. */
extern const struct engine_ops fake_irqfd_engine;
/* What the kernel would do: the number of irqfds that were signalled; they become messages. */
unsigned fake_irqfds_deliver(struct vm *vm);

static inline struct fake_vm *fake_of(struct vm *vm)
{
	return vm->engine_data;
}

/* fake_step results: go on stepping. */
#define FAKE_STEP_ON ((enum vcpu_exit) - 1)
