/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The typed model of a virtual machine: what a command line, a file or a person's wishes come down
 * to. berth-vmm builds it from options and the machine from it; `berth run` builds it from wishes
 * and formats it as berth-vmm's options.
 */
#pragma once

#include "conf/device.h"
#include "conf/machine.h"
#include "conf/numa.h"

/* Items of -d that the soft engine has. */
enum conf_trace { CONF_TRACE_IN_ASM = 1, CONF_TRACE_OUT_ASM = 2, CONF_TRACE_INT = 4,
		  CONF_TRACE_EXEC = 8 };

struct conf_vm {
	struct conf_name name;
	char *uuid; /* as written, checked; NULL: none */
	struct conf_machine machine;
	GPtrArray *accels; /* struct conf_accel */
	char *cpu;         /* -cpu, or NULL: the engine's best */
	struct conf_smp smp;
	struct conf_memory memory;
	bool memory_given; /* -m; set by conf_vm_complete() */
	struct conf_numa numa;
	struct conf_boot boot;
	struct conf_rtc rtc;
	struct conf_action action;
	struct conf_sandbox sandbox;

	char *kernel, *initrd, *append, *bios, *firmware_dir;
	GPtrArray *drives; /* struct conf_drive: -drive and its short forms, -blockdev */
	GPtrArray *items[CONF_ITEM_KINDS]; /* struct conf_item */
	GPtrArray *nics;                   /* struct conf_nic */
	GPtrArray *serials, *parallels;    /* char *: chardev specifications */
	char *debugcon;
	GPtrArray *monitors;               /* struct conf_monitor */
	GPtrArray *globals;                /* struct conf_global */
	GPtrArray *fw_cfg, *acpitables;    /* struct conf_blob */
	GPtrArray *smbios;                 /* char *: as given */

	bool nodefaults, nographic, display_none, snapshot, paused, daemonize, preconfig;
	bool no_hpet, no_acpi, mem_lock, log_timestamps;
	char *pidfile, *run_as, *chroot, *log_file;
	bool debug_log;  /* -d all or guest_errors */
	unsigned trace; /* other items of -d: enum conf_trace */
};

struct conf_vm *conf_vm_new(void);
void conf_vm_free(struct conf_vm *conf);

/* True if `text` is a UUID in the usual form; fills the 16 bytes (RFC 4122 order) if not NULL. */
bool conf_uuid_parse(const char *text, uint8_t uuid[16], GError **error);

/*
 * What the machine's board says of itself, needed to fill in defaults: the drivers that -nic, -hda
 * and -cdrom mean, as in struct machine_ops.
 */
struct conf_board {
	const char *default_nic, *default_disk, *default_cdrom;
	const char *virtio_suffix; /* "pci" or "device": what if=virtio and -virtfs plug into */
	bool has_cdrom;            /* there is a place for the default CD-ROM */
};

/*
 * Make everything explicit, by QEMU's rules: default devices (unless nodefaults), a device for each
 * drive and nic, ids for what has none, topology, memory size. Afterwards `nics` is empty, every
 * drive that a device uses has an id, and the model no longer depends on defaults.
 */
bool conf_vm_complete(struct conf_vm *conf, const struct conf_board *board, GError **error);

/* berth-vmm's arguments (without argv[0]), NULL-terminated. Free with g_ptr_array_unref(). */
GPtrArray *conf_vm_format(const struct conf_vm *conf);
