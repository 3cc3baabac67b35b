/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between vm.c and vcpu.c. */
#pragma once

#include "vm/vm.h"

/* Start the vCPU's thread, parked. */
bool vcpu_thread_start(struct vcpu *vcpu, GError **error);
/* Make every vCPU leave the guest soon. Under vm->lock. */
void vcpus_interrupt_locked(struct vm *vm);
/* Wait until every vCPU is parked. Under vm->lock, which is released meanwhile. */
void vcpus_wait_parked_locked(struct vm *vm);
/* The vCPU whose thread this is, or NULL. */
struct vcpu *vcpu_current(void);
