/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A board: what concrete devices a VM has, where they answer and how they are wired. cmd/ fills a
 * machine_config from the command line, makes a VM for an engine, and calls machine_new():
 *
 *   config -> vm_new() -> machine_new() -> vm_resume() ... vm_stop_vcpus() -> machine_free() -> vm_free()
 *
 * machine_new() maps RAM, loads firmware or a kernel, creates the board's chips and the -device
 * list, creates the vCPUs and resets everything. Boards are const struct machine_ops in one list
 * (machine.c); device classes are in one list (devices.c).
 *
 * Threads: all of it on the main thread, but for what the chips' own headers say.
 */
#pragma once

#include "dev/chips/rtc.h"
#include "dev/core/device.h"
#include "vm/irq.h"
#include "vm/vm.h"

struct block_node;
struct chardev;
struct fw_cfg;
struct loader;
struct machine;
struct machine_direct;
struct machine_hotplug;
struct machine_memory;
struct machine_tables;
struct pci_bus;

#define MACHINE_SERIALS  4
#define MACHINE_PFLASHES 2

enum machine_switch { MACHINE_AUTO, MACHINE_ON, MACHINE_OFF };

struct machine_property {
	const char *name, *value;
};

/* One -device, in command-line order. "driver", "id" and "bus" are not among the properties. */
struct machine_device {
	const char *driver;
	const char *id;  /* or NULL */
	const char *bus; /* "pcie.0", "ide.2", "virtio-serial0.0"; NULL: the first that fits */
	const struct machine_property *properties;
	unsigned property_count;
};

/* -global DRIVER.PROPERTY=VALUE: before the device's own properties. */
struct machine_global {
	const char *driver, *property, *value;
};

/* -fw_cfg name=NAME,file=FILE or string=TEXT: the bytes are read by cmd/. */
struct machine_fw_cfg_entry {
	const char *name;
	const void *data;
	size_t size;
};

/* -numa: a memory node. */
struct machine_node {
	const char *name;              /* of its block of RAM */
	uint64_t memory;               /* bytes, a multiple of 1 MiB; may be 0 */
	const struct ram_options *ram; /* a block of its own; NULL (then for all nodes): part of one */
};

/*
 * Everything is borrowed and must outlive the machine. machine_config_init() gives the defaults;
 * "or NULL" says what may be left so.
 */
struct machine_config {
	const char *board;       /* a name or alias of machine_list() */
	const char *name;        /* -name, or NULL */
	uint8_t uuid[16];        /* as written (RFC 4122 order); all zero: none given */
	bool uuid_set;

	uint64_t memory;         /* bytes; a multiple of 1 MiB */
	uint64_t max_memory;     /* with what may be plugged in; 0: as `memory` */
	unsigned memory_slots;   /* for pc-dimm */
	struct ram_options ram;  /* -mem-path, -mem-prealloc, memory backends */
	const struct machine_node *nodes; /* their sizes add up to `memory` */
	unsigned node_count;              /* 0: no NUMA */
	const uint32_t *cpu_nodes;        /* of vm->config.vcpus CPUs */
	const uint8_t *node_distances;    /* node_count squared, or NULL: the usual ones */
	/* vCPUs and their topology are in vm->config. */
	const char *const *cpu_ids; /* of those that device_del may name; NULL: none */

	const char *firmware;    /* -bios PATH or a bare file name, NULL: the board's default */
	const char *firmware_dir; /* -L: searched before the system's folders, or NULL */
	struct block_node *pflash[MACHINE_PFLASHES]; /* code and variables (OVMF), or NULL */
	bool pflash_readonly[MACHINE_PFLASHES];
	const char *kernel;      /* -kernel PATH, or NULL */
	const char *initrd;      /* -initrd PATH[,PATH args...] or NULL */
	const char *append;      /* -append, or NULL */

	const char *boot_order;  /* -boot order=, "cad", or NULL */
	const char *boot_once;   /* or NULL */
	bool boot_menu, boot_strict;
	int boot_splash_time;    /* ms; -1: not given */
	int boot_reboot_timeout; /* ms; -1: not given */

	struct chardev *serials[MACHINE_SERIALS]; /* -serial; NULL: that port does not exist */
	struct chardev *debugcon;                 /* -debugcon (port 0xe9), or NULL */
	bool nographic;          /* firmware talks to the first serial port too */

	const struct machine_device *devices;
	unsigned device_count;
	const struct machine_global *globals;
	unsigned global_count;
	/* Finds -drive, -netdev and -chardev by id for device properties. */
	struct device_resolver backends;

	const struct machine_fw_cfg_entry *fw_cfg;
	unsigned fw_cfg_count;
	const char *const *smbios; /* -smbios arguments as given ("type=1,serial=x"), NULL-ended, or NULL */
	const struct machine_fw_cfg_entry *acpi_tables; /* -acpitable: raw tables, `name` unused */
	unsigned acpi_table_count;

	/* -rtc */
	struct rtc_config clock; /* offset: base=DATETIME gives DATETIME - now */

	/* -machine properties; MACHINE_AUTO is what the board finds right. */
	enum machine_switch acpi, smbus, sata, hpet, pit, pic, rtc, isa_serial;
	enum machine_switch pcie;                /* microvm: a PCIe root */
	enum machine_switch auto_kernel_cmdline; /* microvm: virtio-mmio slots on the command line */
	/* Enter -kernel without firmware; auto: unless -bios or a flash was given. */
	enum machine_switch kernel_direct;
	bool default_devices;    /* false: -nodefaults */
};

/* q35, 128 MiB, everything that is on by default in QEMU. */
void machine_config_init(struct machine_config *config);

struct machine_ops {
	const char *name;                /* "q35" */
	const char *const *aliases;      /* NULL-ended */
	const char *description;         /* for -machine help */
	const char *default_nic;         /* -nic and -net nic without model */
	const char *default_disk;        /* the driver that -drive without if= becomes: "ide-hd" */
	const char *default_cdrom;
	unsigned max_cpus;
	bool hotplug_cpus;
	/* Tell firmware how many CPUs are plugged in; may be NULL. */
	void (*cpus_changed)(struct machine *m);
	bool (*create)(struct machine *m, GError **error); /* RAM and chips, before -device */
	/* After -device: firmware or kernel, tables. */
	bool (*finish)(struct machine *m, GError **error);
	void (*reset)(struct machine *m);
	/*
	 * The reset is a wake-up from S3 and the devices have had it: tell firmware, or do what it does. NULL:
	 * the board does not sleep.
	 */
	void (*wake)(struct machine *m);
	void (*power_button)(struct machine *m);
	/* A key of the board's keyboard, by ps2.h's codes; NULL: it has none. */
	void (*key)(struct machine *m, uint8_t code, bool down);
	void (*destroy)(struct machine *m);
};

struct machine {
	const struct machine_ops *ops;
	const struct machine_config *config;
	struct vm *vm;
	void *board;             /* struct q35 *, struct microvm * */
	GPtrArray *rams;         /* struct ram_block *, by address: the first one begins at 0 */
	GArray *ram_addresses;   /* uint64_t: where they are mapped (ram.c) */
	uint64_t low_ram, high_ram; /* bytes from 0 and from 4 GiB up */
	bool ram_hole;           /* none from 640 KiB to 1 MiB */
	uint64_t firmware_base;  /* where m->firmware is mapped */
	struct ram_block *firmware; /* or NULL */
	struct fw_cfg *fw_cfg;   /* or NULL */
	struct pci_bus *pci;     /* or NULL */
	GPtrArray *devices;      /* struct device *: board's own and -device, in order of creation */
	GPtrArray *boot_order;   /* struct machine_boot_entry *, by bootindex */
	bool running;            /* devices are started */
	bool sleeps;             /* ACPI S3 is offered: the board has it, and its user wants it */
	bool sleeps_on_disk;     /* S4, likewise */
	struct loader *loader;   /* the kernel that is entered without firmware, or NULL */
	struct machine_direct *direct; /* what else direct boot needs: direct.c */
	struct machine_tables *tables; /* tables.c */
	GError *load_error;      /* why the kernel could not be loaded at the last reset, or NULL */
	GArray *buses;           /* struct machine_bus: what -device can plug into */
	struct machine_hotplug *hotplug; /* hotplug.c, or NULL */
	struct machine_cpus *cpus;       /* cpus.c, or NULL: no processor comes or goes */
	struct machine_memory *memory;   /* memory.c, or NULL: no memory is plugged in */
	bool complete;           /* what is added from now on is hot-plugged */
	/* A device is about to be freed: on request, by the guest or at a reset. May be NULL. */
	void (*removed)(void *opaque, struct device *dev);
	/* The guest has given back the processor; `id` may be NULL. May be NULL. */
	void (*cpu_removed)(void *opaque, unsigned index, const char *id);
	/* The guest says how it went with a memory module (ACPI 6.4, 6.3.5). May be NULL. */
	void (*memory_reported)(void *opaque, struct device *dev, uint32_t event, uint32_t status);
	void *removed_opaque; /* for all three */
};

/* "pcie.0" of type "PCI": a device of that class->bus gets `bus` as its dev->bus. */
struct machine_bus {
	char *name;
	const char *type;
	void *bus;
	struct device *owner;   /* the controller whose bus it is, or NULL: the board's */
};

/* A row of fw_cfg's "bootorder": an Open Firmware device path that SeaBIOS and OVMF match. */
struct machine_boot_entry {
	int index;
	char *path;
};

/* NULL-ended. */
const struct machine_ops *const *machine_list(void);
/* By name or alias; the error names the nearest. */
const struct machine_ops *machine_find(const char *name, GError **error);

/* On failure nothing is left but the VM. The VM is paused; start it with vm_resume(). */
struct machine *machine_new(const struct machine_config *config, struct vm *vm, GError **error);
/* After vm_stop_vcpus(). NULL is allowed. */
void machine_free(struct machine *m);

/* ACPI power button (system_powerdown). */
void machine_power_button(struct machine *m);
/* Press or release a key; false if the board has no keyboard. Codes as in dev/chips/ps2.h. */
bool machine_key(struct machine *m, uint8_t code, bool down);
/* Non-maskable interrupt to all vCPUs. */
void machine_nmi(struct machine *m);

/* -device, and device_add while the VM runs. NULL on error. */
struct device *machine_add_device(struct machine *m, const struct machine_device *spec,
				  GError **error);
/*
 * device_del. A PCI device in a slot goes when the guest gives it back (m->removed tells), or at the
 * next reset; on other buses at once. PCI devices that are in no slot stay.
 */
bool machine_remove_device(struct machine *m, const char *id, GError **error);
struct device *machine_find_device(struct machine *m, const char *id);

/* --- cpus.c ---------------------------------------------------------------------------------- */

/* device_add of the vCPU `index`. The id may be NULL; it is unused and copied. */
bool machine_cpu_plug(struct machine *m, unsigned index, const char *id, GError **error);
/* Ask the guest to give a vCPU back; m->cpu_removed tells when it has. */
bool machine_cpu_request(struct machine *m, unsigned index, GError **error);
/* The index of the vCPU that was plugged in with this id, or -1. */
int machine_find_cpu(const struct machine *m, const char *id);
/* Its id, or NULL. */
const char *machine_cpu_id(const struct machine *m, unsigned index);

/* --- memory.c -------------------------------------------------------------------------------- */

/* The bytes that modules (pc-dimm) and virtio-mem devices have plugged in. */
uint64_t machine_memory_plugged(const struct machine *m);

/* --- devices.c ------------------------------------------------------------------------------- */

/* NULL-ended. */
const struct device_class *const *machine_device_classes(void);
/* By name or alias; the error names the nearest. */
const struct device_class *machine_device_class(const char *name, GError **error);
/* What -device help and -device NAME,help print. Free with g_free(). */
char *machine_device_help(const struct device_class *class_or_null);

/* --- firmware.c ------------------------------------------------------------------------------ */

/* Full path of a firmware file looked for in firmware_dir and the system's folders, or NULL. */
char *machine_firmware_path(const struct machine_config *config, const char *name, GError **error);
