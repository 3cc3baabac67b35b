/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The program's one VM and all that belongs to it, in the order in which it comes to life:
 *
 *   options -> conf -> back ends opened -> engine and machine created -> monitors -> sandbox -> run
 *
 * Everything here is on the main thread.
 */
#pragma once

#include "aio/loop.h"
#include "backends.h"
#include "conf/vm.h"
#include "cpu/x86/cpuid.h"
#include "machine/machine.h"
#include "monitor/monitor.h"
#include "options.h"

struct vmm {
	struct conf_vm *conf;
	const struct machine_ops *board;
	struct aio_loop *loop;
	struct backends backends;
	const struct engine_ops *engine;
	struct cpu_model *cpu_model;
	struct vm *vm;
	struct machine_config config;
	GPtrArray *config_owned; /* what `config` points to, freed with g_free() */
	struct machine *machine;
	struct monitor_server *monitor;
	struct aio_watch *signal_watch;
	int ready_fd;  /* -daemonize: tells the parent that all is well; or -1 */
	int exit_code;
	bool quitting;
	struct aio_timer key_timer; /* releases held_keys */
	GByteArray *held_keys;
	struct vmm_dump *dump; /* qmp_dump.c: under way, or the last one; or NULL */
	struct vmm_dirty_rate *dirty_rate; /* qmp_dirty_rate.c: the same */
	GHashTable *fds;  /* getfd: name to descriptor + 1; NULL until there is one */
	unsigned commands;        /* of monitors, that run: images are at home (iothreads.c) */
	struct aio_timer iothread_timer;
	bool was_running; /* for the STOP and RESUME events */
};

/* --- build.c: from the model to the machine ----------------------------------------------------- */
bool vmm_build(struct vmm *vmm, GError **error);
void vmm_destroy(struct vmm *vmm);
/* A -device, at start or by device_add: sees to properties that name things of the command line. */
struct device *vmm_add_device(struct vmm *vmm, const struct conf_item *item, GError **error);

/* --- cpus.c: vCPUs as devices -------------------------------------------------------------------- */
bool cpus_is_cpu(const struct conf_item *item);
/* A device_add that is a CPU. */
bool cpus_plug(struct vmm *vmm, const struct conf_item *item, GError **error);
/* Which of the vCPUs are there at power-on: -smp cpus= and each -device that is one. */
bool cpus_configure(struct vmm *vmm, struct vm_config *config, GError **error);
/* The model's name, as in "MODEL-x86_64-cpu". Borrowed. */
const char *cpus_model(const struct vmm *vmm);
/* A vCPU's name in QMP (free with g_free()) and its place in the topology. */
char *cpu_path(const struct vmm *vmm, unsigned index);
json_t *cpu_place(const struct vm *vm, unsigned index);

/* --- memory.c: guest RAM ------------------------------------------------------------------------ */
bool memory_configure(struct vmm *vmm, GError **error);
/* -overcommit mem-lock: after the machine has its memory. */
bool memory_lock(const struct vmm *vmm, GError **error);
/* Make the memory of -object `id` for a device to plug in; once made it stays until memory_close(). */
bool memory_open(struct vmm *vmm, const char *id, GError **error);
/* The object goes: its memory, if it has been made, is given back to the host. Nobody uses it. */
void memory_close(struct vmm *vmm, const char *id);
/* Does the machine or a device have the memory of -object `id`? */
bool memory_in_use(const struct vmm *vmm, const char *id);

/* --- qmp_module.c: memory that is plugged in ----------------------------------------------------------- */
/* What a balloon may take: the memory at power-on and the modules. Bytes. */
uint64_t modules_memory(const struct vmm *vmm);
void modules_watch_device(struct vmm *vmm, struct device *dev);
void modules_connect(struct vmm *vmm);

/* --- iothreads.c: disks that have a thread of their own -------------------------------------------- */
/*
 * -object iothread is a loop with a thread. A disk with iothread= is there while the guest runs, no command of a
 * monitor does, and its image is nobody else's (block/core/move.h); for all else it comes home to the main loop.
 * So the graph of images stays one thread's business: jobs, exports and snapshots find every disk at home, and it
 * stays there as long as one of them needs it.
 */
/* Bring disks home round every command. After the monitors are there. */
void iothreads_connect(struct vmm *vmm);
/* The VM ends: disks come home with their devices, and stay. */
void iothreads_disconnect(struct vmm *vmm);
/* Something has changed that kept disks at home. */
void iothreads_reconsider(struct vmm *vmm);
/* Can a device with these properties have the I/O thread that they name? */
bool iothreads_check(struct vmm *vmm, const struct keyval *props, GError **error);
bool iothreads_in_use(const struct vmm *vmm, const char *id);
/* As query-iothreads says; NULL: *error. */
json_t *iothreads_list(struct vmm *vmm, GError **error);

/* --- accel.c ------------------------------------------------------------------------------------ */
/* NULL-ended. */
const struct engine_ops *const *accel_engines(void);
/* Shall the soft engine translate, and name what it translates for perf(1)? */
bool accel_translates(const struct conf_vm *conf);
/* How many bytes may translated code take? 0: as many as the engine thinks fit. */
uint64_t accel_translate_memory(const struct conf_vm *conf);
bool accel_maps_for_perf(const struct conf_vm *conf);
/* What -d says it shall write into the log: enum vm_trace. */
unsigned accel_trace(const struct conf_vm *conf);
/* Which engine to use; *split: the interrupt controllers are ours. */
bool accel_choose(const struct conf_vm *conf, const struct engine_ops **engine, bool *split,
		  GError **error);

/* --- life.c: requests of the guest, of signals, of monitors --------------------------------------- */
void life_connect(struct vmm *vmm);
/* End the program's main loop. `reason` is QMP's ShutdownCause. */
void life_quit(struct vmm *vmm, const char *reason, int exit_code);
/* The reset button: with -no-reboot it ends the machine. */
void life_reset(struct vmm *vmm);
bool life_resume(struct vmm *vmm, GError **error);

/* --- process.c ---------------------------------------------------------------------------------- */
/* Signals that end the program do so by life_quit(). */
bool process_catch_signals(struct vmm *vmm, GError **error);
/* Fork into the background: the parent waits for process_ready() and exits. */
bool process_daemonize(int *ready_fd, GError **error);
bool process_ready(struct vmm *vmm, GError **error);
bool process_write_pidfile(const char *path, GError **error);
bool process_drop_rights(const struct conf_vm *conf, GError **error);

/* --- show.c: -device help and its kin ------------------------------------------------------------ */
bool show(const struct options *o, GError **error);

/* --- the monitors' tables ------------------------------------------------------------------------- */
extern const struct qmp_table qmp_vm_table, qmp_cpu_table, qmp_device_table,
	qmp_backend_table, qmp_block_table, qmp_job_table,
	qmp_chain_table, qmp_copy_table, qmp_bitmap_table, qmp_transaction_table, qmp_export_table,
	qmp_limits_table, qmp_image_table, qmp_internal_table, qmp_module_table,
	qmp_key_table, qmp_memory_table, qmp_dump_table, qmp_probe_table, qmp_fd_table,
	qmp_dirty_rate_table, qmp_screen_table;
extern const struct hmp_command hmp_vm_commands[], hmp_device_commands[], hmp_key_commands[],
	hmp_dump_commands[], hmp_dirty_rate_commands[], hmp_screen_commands[];
/* The state of vCPU `index`, to be freed with free(). */
struct x86_state *memory_take_state(struct vmm *vmm, unsigned index, GError **error);
void commands_register(struct vmm *vmm);
/* Tell of devices that go. */
void device_events_connect(struct vmm *vmm);
/* Its name in QMP. g_free(). */
char *device_path(const struct device *dev);
/*
 * qmp_fd.c: in `props`, replace the names that `key` (fd, fds) has by the numbers of the descriptors that
 * getfd has kept. They are the caller's from then on, also after a failure: `taken` (of int) gets them.
 */
bool fds_resolve(struct vmm *vmm, struct keyval *props, const char *key, GArray *taken, GError **error);
/* A descriptor that getfd has kept, which becomes the caller's; -1: there is none of this name. */
int fds_take(struct vmm *vmm, const char *name);
void fds_clear(struct vmm *vmm);
/* qmp_dump.c: end a dump that is under way. */
void dump_clear(struct vmm *vmm);
bool dump_is_active(const struct vmm *vmm);
/* qmp_dirty_rate.c: end a measurement that is under way. */
void dirty_rate_clear(struct vmm *vmm);
/* keys.c: let go of what send-key holds. */
void keys_clear(struct vmm *vmm);
/* Turn what a device reports into events. */
void commands_watch_device(struct vmm *vmm, struct device *dev);
