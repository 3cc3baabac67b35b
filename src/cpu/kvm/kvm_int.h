/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of the KVM engine. Spec: Documentation/virt/kvm/api.rst of Linux, cited as "api" with the
 * section's number.
 *
 * Threads: a vCPU's thread sits in KVM_RUN. Others get it out by kvm_poke(), which has no window to
 * get lost in: see run.c. struct kvm_vcpu's _Atomic fields are for everybody, the rest is the vCPU
 * thread's, or the main thread's while the vCPU is parked.
 */
#pragma once

#include "vm/vm.h"

#include <linux/kvm.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>

/* A real-time signal, so that cmd/ may use SIGUSR1 and SIGUSR2. Its handler does nothing. */
#define KVM_KICK_SIGNAL (SIGRTMIN + 1)

enum {
	KVM_IOAPIC_ROUTES = 24,  /* GSIs that stand for IOAPIC pins */
	KVM_GSI_COUNT = 1024,    /* the rest are for irqfd */
};

struct kvm_slot {
	uint64_t base, size, ram_offset;
	struct ram_block *ram; /* NULL: a device's own memory */
	uint8_t *host;
	uint32_t id, flags;
};

struct kvm_irqfd_entry {
	int fd;
	uint32_t gsi;
};

struct kvm_vm {
	struct vm *vm;
	int kvm_fd, vm_fd;
	size_t run_size; /* of struct kvm_run's mapping */
	bool full_irqchip;
	bool has_xcrs; /* false on processors without XSAVE */
	uint32_t tsc_khz; /* 0: the kernel does not tell */

	/* memory.c. Under the memory space's change lock, but for the gate. */
	GArray *slots; /* struct kvm_slot, by base */
	uint32_t next_slot_id;
	GArray *free_slot_ids;
	bool dirty_log;

	/* The gate: closed while slots are replaced, so that no vCPU sees memory missing. */
	pthread_mutex_t gate_lock;
	pthread_cond_t gate_changed;
	_Atomic bool gate_closed;

	/* irq.c */
	pthread_mutex_t route_lock;
	struct kvm_irq_routing *routes; /* room for all GSIs and the chips' pins */
	unsigned fixed_routes;          /* the chips' pins, at the front */
	GArray *irqfds;                 /* struct kvm_irqfd_entry */
	uint64_t gsi_used[KVM_GSI_COUNT / 64];
	/* SPLIT: level-triggered messages that the kernel reports EOIs of. */
	struct kvm_msi_key {
		uint64_t address;
		uint32_t data;
	} level_routes[KVM_IOAPIC_ROUTES];
	_Atomic unsigned level_route_count;
	unsigned level_route_next; /* the one to replace next, when all are taken */

	/* state.c */
	struct kvm_clock_data clock;
	bool clock_valid;
};

struct kvm_vcpu {
	struct vcpu *vcpu;
	struct kvm_vm *kvm;
	int fd;
	struct kvm_run *run;
	_Atomic bool kicked;      /* vcpu_run() shall return */
	_Atomic bool in_run;      /* inside KVM_RUN, or about to be: a poke must signal */
	_Atomic bool nmi_pending;
	_Atomic bool extint;      /* the PIC's INTR output; boot processor only */
	_Atomic bool thread_known;
	pthread_t thread;
	bool pending_io;          /* an exit's instruction is completed by the next KVM_RUN */
	uint64_t exits;
};

static inline struct kvm_vm *kvm_of(struct vm *vm)
{
	return vm->engine_data;
}

static inline struct kvm_vcpu *kvm_vcpu_of(struct vcpu *vcpu)
{
	return vcpu->engine_data;
}

/* ioctl() that restarts after signals. */
int kvm_ioctl(int fd, unsigned long request, void *argument);
/* KVM_CHECK_EXTENSION: 0 if absent. */
int kvm_capability(int fd, int capability);

/* probe.c */
int kvm_open(GError **error);
bool kvm_probe(GError **error);

/* cpuid.c */
bool kvm_features(struct cpu_features *allowed, GError **error);
bool kvm_vcpu_set_cpuid(struct kvm_vcpu *v, GError **error);

/* memory.c */
void kvm_memory_listen(struct kvm_vm *kvm);
void kvm_memory_unlisten(struct kvm_vm *kvm);
bool kvm_dirty_log_start(struct vm *vm, GError **error);
bool kvm_dirty_log_sync(struct vm *vm, GError **error);
void kvm_dirty_log_stop(struct vm *vm);

/* irq.c */
bool kvm_irq_create(struct kvm_vm *kvm, GError **error);
void kvm_irq_destroy(struct kvm_vm *kvm);
void kvm_irq_reset(struct kvm_vm *kvm);
void kvm_gsi_set(struct vm *vm, unsigned gsi, bool level);
void kvm_msi_send(struct vm *vm, uint64_t address, uint32_t data);
void kvm_extint_set(struct vm *vm, bool level);
bool kvm_irqfd_attach(struct vm *vm, int fd, uint64_t address, uint32_t data, GError **error);
void kvm_irqfd_detach(struct vm *vm, int fd);

/* run.c */
enum vcpu_exit kvm_vcpu_run(struct vcpu *vcpu, GError **error);
void kvm_vcpu_kick(struct vcpu *vcpu);
void kvm_nmi(struct vcpu *vcpu);
/* Make the vCPU look at its flags: leave KVM_RUN, or not begin it. Any thread. */
void kvm_poke(struct kvm_vcpu *v);
/* Get every vCPU out of KVM_RUN and keep it out. Not from inside KVM_RUN, obviously. */
void kvm_gate_close(struct kvm_vm *kvm);
void kvm_gate_open(struct kvm_vm *kvm);
/* An ioctl that completes the instruction whose exit has been handled. The vCPU is parked. */
void kvm_complete_io(struct kvm_vcpu *v);

/* state.c, msrs.c, dump.c */
bool kvm_get_state(struct vcpu *vcpu, struct x86_state *state, GError **error);
bool kvm_set_state(struct vcpu *vcpu, const struct x86_state *state, GError **error);
void kvm_vcpu_reset(struct vcpu *vcpu);
void kvm_run_changed(struct vm *vm, bool running);
bool kvm_msrs_get(struct kvm_vcpu *v, struct x86_state *state, GError **error);
bool kvm_msrs_set(struct kvm_vcpu *v, const struct x86_state *state, GError **error);
/* Registers and the bytes at RIP, for an error's text. g_free(). */
char *kvm_dump(struct kvm_vcpu *v);
