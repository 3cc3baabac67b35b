/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The seam between a VM and what executes its instructions. An engine is a const struct of
 * operations; engines are listed in cmd/vmm. It runs vCPUs, holds their local APICs and takes
 * interrupts; it reaches devices through the VM's spaces and irq hooks, never directly.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct cpu_features;
struct vm;
struct vcpu;
struct x86_state;

enum engine_irqchip {
	ENGINE_IRQCHIP_SPLIT, /* local APICs in the engine; PIC, IOAPIC and PIT are devices of ours */
	ENGINE_IRQCHIP_FULL,  /* PIC, IOAPIC and PIT are in the engine too */
};

/* Why engine->vcpu_run() came back. */
enum vcpu_exit {
	VCPU_EXIT_KICKED,       /* vcpu_kick() or a signal: look at requests and run again */
	VCPU_EXIT_SHUTDOWN,     /* triple fault: reset the machine */
	VCPU_EXIT_ERROR,        /* the engine cannot go on; the text is in *error */
};

struct engine_ops {
	const char *name;        /* "kvm", "soft" */
	const char *description; /* one line for -accel help */
	bool emulates;           /* guest code is much slower than the host's own: do on the host what can be */

	/* Can this host run stock guests on it? If not, *error says why in words for a person. */
	bool (*probe)(GError **error);

	/* What its guests' CPUID may offer on this host: for cpu_model_parse(), before there is a VM. */
	bool (*features)(struct cpu_features *allowed, GError **error);

	/* vm->engine_data is the engine's. Options come from vm->config. */
	bool (*vm_create)(struct vm *vm, GError **error);
	void (*vm_destroy)(struct vm *vm);
	enum engine_irqchip (*irqchip)(struct vm *vm);

	/* vcpu->engine_data is the engine's. Called on the main thread, before the vCPU's exists. */
	bool (*vcpu_create)(struct vcpu *vcpu, GError **error);
	void (*vcpu_destroy)(struct vcpu *vcpu);
	/*
	 * To the state after RESET (first: the boot processor) or INIT-less wait for SIPI. With all
	 * vCPUs parked, before the devices are reset.
	 */
	void (*vcpu_reset)(struct vcpu *vcpu);
	/*
	 * On the vCPU's thread. Blocks while the guest is halted. Returns promptly after a kick: never
	 * goes (back) into the guest while vcpu->attention is set.
	 */
	enum vcpu_exit (*vcpu_run)(struct vcpu *vcpu, GError **error);
	/* Make vcpu_run() return VCPU_EXIT_KICKED soon, also if it has not begun yet. Any thread. */
	void (*vcpu_kick)(struct vcpu *vcpu);

	/*
	 * The VM starts to run or has stopped: guest clocks go on or stand still. All vCPUs are parked.
	 * May be NULL.
	 */
	void (*run_changed)(struct vm *vm, bool running);

	/* On the vCPU's thread (vcpu_call()), or with the VM paused. */
	bool (*vcpu_get_state)(struct vcpu *vcpu, struct x86_state *state, GError **error);
	bool (*vcpu_set_state)(struct vcpu *vcpu, const struct x86_state *state, GError **error);

	/* Any thread. gsi_set is NULL-safe only for FULL engines; others have an IOAPIC device. */
	void (*gsi_set)(struct vm *vm, unsigned gsi, bool level);
	void (*msi_send)(struct vm *vm, uint64_t address, uint32_t data);
	/* The PIC's INTR output for the boot processor (SPLIT only). */
	void (*extint_set)(struct vm *vm, bool level);
	void (*nmi)(struct vcpu *vcpu);

	/*
	 * irqfd: signal an MSI by writing to an eventfd, without coming through the VMM. Both may
	 * be NULL: the caller then watches the eventfd itself and calls msi_send.
	 */
	bool (*irqfd_attach)(struct vm *vm, int fd, uint64_t address, uint32_t data, GError **error);
	void (*irqfd_detach)(struct vm *vm, int fd);

	/*
	 * Dirty log, kept in each ram_block's page_state. Sync fetches what was written since the last
	 * call, and must follow ram_dirty_take() before the contents of pages that were taken are read:
	 * from then on a store marks them again.
	 */
	bool (*dirty_log_start)(struct vm *vm, GError **error);
	bool (*dirty_log_sync)(struct vm *vm, GError **error);
	void (*dirty_log_stop)(struct vm *vm);

	/* vm_expose_memory() was called. Main thread. May be NULL. */
	void (*memory_exposed)(struct vm *vm);

	/* One block of text for `info engine`. Free with g_free(). */
	char *(*describe)(struct vm *vm);
};
