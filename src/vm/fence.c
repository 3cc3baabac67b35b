/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fences between devices and vCPUs. With membarrier(2) the rare side, a device's, has the host's kernel
 * execute one on every CPU that runs a thread of this process, so that the guest needs none of its own.
 */
#include "vm/vm_int.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

bool vm_take_fences(struct vm *vm)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) < 0)
		return false;
	vm->takes_fences = true;
	return true;
}

void vm_expose_memory(struct vm *vm)
{
	if (vm->engine->memory_exposed)
		vm->engine->memory_exposed(vm);
}

void vm_fence(struct vm *vm)
{
	/* A vCPU's own thread sees what its guest has stored. */
	if (!vm->takes_fences || vcpu_current()) {
		atomic_thread_fence(memory_order_seq_cst);
		return;
	}
	/* A process that has registered is refused by no kernel: membarrier(2). */
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) < 0)
		g_error("membarrier: %s", g_strerror(errno));
}
