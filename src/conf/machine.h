/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine as a whole: board, accelerators, CPUs, memory, boot, clock. One struct per QEMU
 * option, with the table of its fields; each `_merge()` reads one option's text into the struct, and
 * a later one changes what it names only.
 */
#pragma once

#include "codec/keyval.h"

/* -machine */
enum conf_irqchip { CONF_IRQCHIP_DEFAULT, CONF_IRQCHIP_ON, CONF_IRQCHIP_OFF, CONF_IRQCHIP_SPLIT };

struct conf_machine {
	char *type;
	char *accel;          /* "kvm:soft", in order of preference */
	int irqchip;          /* enum conf_irqchip */
	char *memory_backend; /* -object id that is the guest's RAM */
	char *kernel, *initrd, *append;
	enum conf_switch acpi, smbus, sata, hpet, pit, pic, rtc, isa_serial, pcie;
	enum conf_switch auto_kernel_cmdline, dump_guest_core, mem_merge, kernel_direct;
};
extern const struct keyval_field conf_machine_fields[];
bool conf_machine_merge(struct conf_machine *machine, const char *text, GError **error);

/* The default comes first. */
enum conf_jit { CONF_JIT_DEFAULT, CONF_JIT_OFF, CONF_JIT_ON };

/* -accel: one of several, in order of preference. */
struct conf_accel {
	char *name;  /* kvm, soft, auto (tcg and jit are read as soft) */
	int irqchip; /* enum conf_irqchip */
	char *thread;
	unsigned tb_size; /* MiB */
	int jit; /* soft: translate hot code; enum conf_jit */
	bool perf_map; /* soft: name translated code for perf(1) */
};
extern const struct keyval_field conf_accel_fields[];
struct conf_accel *conf_accel_parse(const char *text, GError **error);
void conf_accel_free(struct conf_accel *accel);
/* The name that the engine list knows, or NULL with the nearest in *error. Static. */
const char *conf_accel_canonical(const char *name, GError **error);

/* -smp; after conf_smp_complete() every field is set and sockets*dies*cores*threads == maxcpus. */
struct conf_smp {
	unsigned cpus, maxcpus, sockets, dies, clusters, cores, threads;
};
extern const struct keyval_field conf_smp_fields[];
bool conf_smp_merge(struct conf_smp *smp, const char *text, GError **error);
bool conf_smp_complete(struct conf_smp *smp, GError **error);

/* -m, -mem-path, -mem-prealloc */
struct conf_memory {
	uint64_t size, maxmem;
	unsigned slots;
	char *path;
	bool prealloc, share;
};
extern const struct keyval_field conf_memory_fields[];
bool conf_memory_merge(struct conf_memory *memory, const char *text, GError **error);

/* -boot */
struct conf_boot {
	char *order, *once;
	bool menu, strict;
	char *splash_time, *reboot_timeout; /* milliseconds; may be -1 */
};
extern const struct keyval_field conf_boot_fields[];
bool conf_boot_merge(struct conf_boot *boot, const char *text, GError **error);

/* -rtc */
enum conf_rtc_clock { CONF_RTC_CLOCK_DEFAULT, CONF_RTC_CLOCK_HOST, CONF_RTC_CLOCK_RT,
		      CONF_RTC_CLOCK_VM };
struct conf_rtc {
	char *base; /* utc, localtime or a date and time; NULL: utc */
	int clock;  /* enum conf_rtc_clock */
	int driftfix;
};
extern const struct keyval_field conf_rtc_fields[];
bool conf_rtc_merge(struct conf_rtc *rtc, const char *text, GError **error);
/* `now` in seconds since 1970. *offset is what to add to the host's clock. */
bool conf_rtc_offset(const struct conf_rtc *rtc, int64_t now, bool *localtime, int64_t *offset,
		     GError **error);

/* -name */
struct conf_name {
	char *guest, *process;
	bool debug_threads;
};
extern const struct keyval_field conf_name_fields[];
bool conf_name_merge(struct conf_name *name, const char *text, GError **error);

/* -action; index 0 of each is the default. */
enum conf_reboot { CONF_REBOOT_RESET, CONF_REBOOT_SHUTDOWN };
enum conf_shutdown { CONF_SHUTDOWN_POWEROFF, CONF_SHUTDOWN_PAUSE };
enum conf_panic { CONF_PANIC_SHUTDOWN, CONF_PANIC_PAUSE, CONF_PANIC_NONE, CONF_PANIC_EXIT_FAILURE };
enum conf_watchdog {
	CONF_WATCHDOG_RESET, CONF_WATCHDOG_SHUTDOWN, CONF_WATCHDOG_POWEROFF, CONF_WATCHDOG_PAUSE,
	CONF_WATCHDOG_DEBUG, CONF_WATCHDOG_NONE, CONF_WATCHDOG_INJECT_NMI,
};
struct conf_action {
	int reboot, shutdown, panic, watchdog;
};
extern const struct keyval_field conf_action_fields[];
bool conf_action_merge(struct conf_action *action, const char *text, GError **error);

/* -sandbox; on unless it says off. */
struct conf_sandbox {
	bool off;
	bool allow_spawn; /* spawn=allow: scripts of tap back ends may run */
	bool allow_resources; /* resourcecontrol=allow */
};
bool conf_sandbox_merge(struct conf_sandbox *sandbox, const char *text, GError **error);
