/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtual machine: its spaces, vCPUs, engine, run state and the loop that its devices' timers and
 * back ends live on. Created paused; cmd/ or the monitor starts it.
 *
 * Threads: the main thread runs vm->loop and owns the life cycle; each vCPU has a thread. Functions
 * say when they may be called from elsewhere.
 */
#pragma once

#include "vm/clock.h"
#include "vm/engine.h"
#include "vm/irq.h"
#include "vm/space.h"

#include <pthread.h>
#include <stdatomic.h>

struct aio_loop;
struct cpu_model;
struct vfio;

/* Names and meaning are QMP's RunState. */
enum vm_state {
	VM_STATE_PRELAUNCH,
	VM_STATE_RUNNING,
	VM_STATE_PAUSED,
	VM_STATE_SHUTDOWN,
	VM_STATE_IO_ERROR,
	VM_STATE_INTERNAL_ERROR,
	VM_STATE_GUEST_PANICKED,
	VM_STATE_SUSPENDED,
	VM_STATE_WATCHDOG,
	VM_STATE_SAVE_VM, /* paused while the memory is dumped */
};

/* What a device or a vCPU asks of the main loop. */
enum vm_request {
	VM_REQUEST_RESET,         /* guest-caused reset: keyboard controller, CF9, triple fault */
	VM_REQUEST_SHUTDOWN,      /* guest power-off (ACPI S5, isa-debug-exit) */
	VM_REQUEST_PANIC,         /* pvpanic */
	VM_REQUEST_WATCHDOG,      /* a watchdog has fired: what that means is the caller's to say */
	VM_REQUEST_SUSPEND,       /* ACPI S3: vCPUs stand still, devices and clocks go on */
	VM_REQUEST_WAKE,          /* out of it; without effect in any other state */
	VM_REQUEST_INTERNAL_ERROR, /* an engine cannot go on */
	VM_REQUEST_COUNT
};

/* What a device wants known outside. Nothing depends on it: of a flood, some are dropped. */
enum vm_notice_kind {
	VM_NOTICE_CLOCK_SET, VM_NOTICE_TRAY_MOVED, VM_NOTICE_IO_ERROR,
	VM_NOTICE_SUSPEND_DISK, /* the power-off that follows is ACPI S4 */
	VM_NOTICE_DEVICE_WANTED, /* the host wants it back: the guest is to be asked for it */
};
struct vm_notice {
	enum vm_notice_kind kind;
	char device[64];    /* its name; filled in by vm_notify(), cut if longer */
	int64_t offset;     /* CLOCK_SET: seconds by which the clock is now ahead of -rtc base= */
	bool open;          /* TRAY_MOVED */
	bool write;         /* IO_ERROR: of a write, not a read */
	int error;          /* IO_ERROR: an errno */
	const char *action; /* IO_ERROR, static: "report", "ignore" or "stop" */
};

struct vm_events {
	/* All on the main thread. Any may be NULL. */
	void (*state_changed)(void *opaque, enum vm_state state);
	/* The guest asked for `request`; `code` is the exit status that goes with SHUTDOWN. */
	void (*requested)(void *opaque, enum vm_request request, int code);
	void (*was_reset)(void *opaque, bool by_guest);
	void (*noticed)(void *opaque, const struct vm_notice *notice);
	void *opaque;
};

/* How a SPLIT engine reaches the board's PIC and IOAPIC. Set by machine/ before vCPUs run. */
struct vm_irq_hooks {
	int (*pic_acknowledge)(void *opaque);          /* INTA: the vector, or -1 if spurious */
	void (*ioapic_eoi)(void *opaque, uint8_t vector);
	void *opaque;
};

/* Guest code decoded, host code made of it, exceptions and interrupts, code entered. */
enum vm_trace { VM_TRACE_IN_ASM = 1, VM_TRACE_OUT_ASM = 2, VM_TRACE_INT = 4, VM_TRACE_EXEC = 8 };

struct vm_config {
	const struct engine_ops *engine;
	const struct cpu_model *cpu_model; /* cpu/x86/cpuid.h; borrowed */
	unsigned vcpus;        /* created; with hot plug, not all are plugged in */
	const bool *vcpus_present; /* which are plugged in at power-on; NULL: all. Read at creation */
	unsigned sockets, dies, cores, threads; /* topology; their product is >= vcpus */
	unsigned phys_bits;    /* guest-physical address bits; 0: the engine's choice */
	bool kernel_irqchip_split; /* for engines that have the choice */
	bool translate;          /* engines that can: translate hot code, not only interpret */
	bool translate_strictly; /* with the flags right at every fault: for tests */
	bool translate_verified; /* and all code checked for its ways to memory */
	bool translate_locked;   /* with every LOCK prefix, also where vm_take_fences() stands in: for tests */
	unsigned translate_after; /* how many times code has run before */
	uint64_t translate_memory; /* bytes for all vCPUs' translated code; 0: the engine's choice */
	bool perf_map; /* name translated code for perf(1) */
	unsigned trace; /* enum vm_trace: what an engine that executes by itself writes into the log */
	bool pause_on_reset_request; /* -no-reboot: a guest's reset pauses as SHUTDOWN does */
};

struct vcpu {
	struct vm *vm;
	unsigned index;
	uint32_t apic_id;
	pthread_t thread;
	bool thread_started;
	_Atomic bool attention; /* pause, stop, request or call pending: leave the guest */
	struct vcpu_call *calls; /* under vm->lock */
	bool parked;             /* waiting outside the guest; under vm->lock */
	bool held;               /* made a request that is not handled yet; under vm->lock */
	bool present;            /* plugged in: else it never enters the guest. Changes under vm->lock
				  * on the main thread, which reads it without */
	void *engine_data;
};

struct vm {
	struct vm_config config;
	const struct engine_ops *engine;
	void *engine_data;
	struct space *memory, *ports;
	struct aio_loop *loop; /* the main loop: device timers, back ends, monitor */
	struct vm_irq_hooks irq_hooks;
	GPtrArray *kept; /* vm_keep_ram() */
	struct vm_events events;
	struct vcpu *vcpus;
	unsigned vcpu_count;
	int64_t epoch_ns; /* CLOCK_MONOTONIC at power-on */
	struct vm_clock clock;
	bool takes_fences; /* vm_take_fences(). Before there is any thread but the main one */
	struct vfio *vfio; /* dev/vfio: what host devices of this VM share, or NULL. Main thread */

	/*
	 * Set by machine/, called on the main thread with all vCPUs parked. reset_devices comes after
	 * the vCPUs' own reset, so that a board can then set a boot state of its own.
	 */
	void (*reset_devices)(void *opaque);
	void (*run_devices)(void *opaque, bool running); /* start or stop them; may be NULL */
	void *reset_opaque;                              /* for both */

	pthread_mutex_t lock; /* guards what follows, and each vcpu's calls and parked */
	pthread_cond_t vcpus_changed, resumed;
	enum vm_state state;
	bool waking; /* while devices are reset for VM_REQUEST_WAKE: some keep what firmware has set up */
	unsigned pause_depth;
	bool quitting;
	int exit_code;
	bool requests_posted;      /* to the main loop */
	GQueue notices;            /* struct vm_notice, on their way to the main thread */
	bool notices_posted;       /* to the main loop */
	bool request_pending[VM_REQUEST_COUNT]; /* coalesced */
	int request_code;          /* of the first SHUTDOWN among them */
};

/*
 * vCPUs must never wait for the main thread (aio_loop_call() on vm->loop, say): it may be waiting
 * for them to park.
 *
 * The spaces exist at once; vCPUs come with vm_create_vcpus(), when machine/ has mapped RAM.
 */
struct vm *vm_new(const struct vm_config *config, struct aio_loop *loop, GError **error);
bool vm_create_vcpus(struct vm *vm, GError **error);
/* Stops and joins the vCPU threads. Devices must be freed after this and before vm_free(). */
void vm_stop_vcpus(struct vm *vm);
void vm_free(struct vm *vm);
/*
 * Take a block whose device goes, and which is in no space any more: its contents go now, its addresses with
 * the VM, for who still has a pointer from space_dma_map(). Main thread.
 */
void vm_keep_ram(struct vm *vm, struct ram_block *block);

/* Start or continue. Main thread. */
void vm_resume(struct vm *vm);
/*
 * Returns when every vCPU is out of the guest. Main thread. `state` is the state to show. A guest that sleeps
 * can only be ended (SHUTDOWN, INTERNAL_ERROR); for others it sleeps on.
 */
void vm_pause(struct vm *vm, enum vm_state state);
bool vm_is_running(struct vm *vm);
const char *vm_state_name(enum vm_state state);

/*
 * Pause round a change that no vCPU may see half-done. Any thread but a vCPU's; nests. vm_quiesce()
 * from a vCPU thread would wait for itself: defer with aio_loop_post() instead.
 */
void vm_quiesce(struct vm *vm);
void vm_unquiesce(struct vm *vm);

/*
 * A handshake with the guest: it stores a word and then loads another, while a device stores that other
 * one and then loads the first. Between its two a device calls vm_fence(), so that not both miss what
 * the other has stored. Any thread.
 *
 * vm_take_fences(): from now on vm_fence() is enough even if the guest has no fence between its own
 * two. For engines that execute the guest's locked instructions without LOCK. False: the host's kernel
 * cannot do it. Main thread, before vCPUs run.
 */
void vm_fence(struct vm *vm);
bool vm_take_fences(struct vm *vm);
/*
 * The host's kernel, or another process, is going to play a device's part in the guest's memory, and calls
 * no vm_fence(). Main thread, before it begins.
 */
void vm_expose_memory(struct vm *vm);

/* Reset now: parks the vCPUs, resets devices and vCPUs, goes on as before or, asleep, runs. Main thread. */
void vm_reset(struct vm *vm, bool by_guest);

/*
 * Any thread, also from inside a device's callbacks: handled soon on the main thread. A vCPU that
 * requests does not enter the guest again before that. RESET is done (or, with
 * config.pause_on_reset_request, the VM is paused as by SHUTDOWN) before events.requested is called;
 * the others but WAKE leave the VM paused in the state of their name. Of several SHUTDOWN codes the first
 * counts.
 */
void vm_request(struct vm *vm, enum vm_request request, int code);

/*
 * Any thread: events.noticed is called soon with a copy, on the main thread. `device` is its id or
 * what it is; NULL: it has no name.
 */
void vm_notify(struct vm *vm, const struct vm_notice *notice, const char *device);

/*
 * Run fn on the vCPU's thread, outside the guest, and wait for it; before the threads exist, on the
 * caller's. Any thread but a vCPU's.
 */
void vcpu_call(struct vcpu *vcpu, void (*fn)(struct vcpu *vcpu, void *opaque), void *opaque);

/*
 * Plug a vCPU in, which then waits for the guest's start-up IPI, or pull it out: on return it is out
 * of the guest for good. Main thread. The boot processor (0) stays.
 */
void vcpu_set_present(struct vcpu *vcpu, bool present);

static inline void vm_msi_send(struct vm *vm, uint64_t address, uint32_t data)
{
	vm->engine->msi_send(vm, address, data);
}
