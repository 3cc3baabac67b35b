/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain as libvirt's XML describes it. The document is kept as the truth, so that whatever a
 * client wrote comes back; what the daemon acts on is read out of it into the typed fields. The
 * table in domain_grammar.c lists every element and attribute that is understood; others are refused
 * by name.
 */
#pragma once

#include "codec/xml.h"
#include "conf/blkio.h"
#include "conf/disk_source.h"
#include "conf/netdev.h"
#include "conf/numatune.h"
#include "conf/nwfilter.h"
#include "conf/perf.h"

#include <limits.h>
#include <stdint.h>

enum conf_domain_action { CONF_DOMAIN_DESTROY, CONF_DOMAIN_RESTART, CONF_DOMAIN_PRESERVE };

/*
 * What every device has: where it stands in the document, its alias, which is the VMM's id for it,
 * and its place. Aliases are chosen when a document is read; only a running domain's document shows
 * them (but for those that begin with "ua-", which are the client's).
 */
struct conf_domain_device {
	xmlNode *node;
	char *alias;
	bool on_pci;  /* the place is bus, slot and function; bus n > 0 is root port n */
	bool placed;
	unsigned bus, slot, function;
};

/*
 * Limits of a disk's throughput, by their element's names, in three of a kind: of everything, of reads, of
 * writes. 0: no limit.
 */
enum {
	CONF_IOTUNE_BYTES = 0, CONF_IOTUNE_IOPS = 3, CONF_IOTUNE_BYTES_MAX = 6, CONF_IOTUNE_IOPS_MAX = 9,
	CONF_IOTUNE_BYTES_LENGTH = 12, CONF_IOTUNE_IOPS_LENGTH = 15, CONF_IOTUNE_SIZE = 18, CONF_IOTUNE_NUMBERS,
};
extern const char *const conf_iotune_names[CONF_IOTUNE_NUMBERS];
struct conf_iotune {
	uint64_t numbers[CONF_IOTUNE_NUMBERS];
	char *group; /* whose disks share the limits, or NULL */
};

struct conf_domain_disk {
	struct conf_domain_device dev;
	/* Path, or NULL: an empty CD-ROM drive, a server's, or a volume whose path nobody has asked for yet. */
	char *file;
	char *format; /* raw, qcow2... */
	char *target; /* vda */
	char *cache, *discard, *io, *serial; /* or NULL */
	bool cdrom, block, virtio, readonly, shareable;
	unsigned iothread;   /* its number; 0: none */
	unsigned unit;       /* SATA port */
	unsigned boot_order; /* 0: none */
	struct conf_iotune iotune;
	struct conf_disk_source source;
};

/* <model type=> of a card. */
#define CONF_NIC_MODELS "virtio", "e1000", "e1000e", "rtl8139"

struct conf_domain_nic {
	struct conf_domain_device dev;
	char *type;  /* user, bridge, ethernet, network, direct, vhostuser */
	char *mac, *model;
	char *source; /* the bridge; direct: the host's interface */
	char *mode;   /* direct: vepa, bridge, private, passthrough */
	char *network, *portgroup; /* of type network; portgroup may be NULL */
	char *port;   /* UUID of the port in the network, while it runs; or NULL */
	char *target; /* the tap device, or NULL */
	bool link_down, isolated;
	bool unmanaged; /* the tap device is there already, and not ours */
	unsigned mtu;   /* 0: not said */
	struct conf_nwfilter_reference *filter; /* NULL: none */
	enum { CONF_NIC_DRIVER_ANY, CONF_NIC_DRIVER_VMM, CONF_NIC_DRIVER_VHOST } driver;
	unsigned queues;  /* pairs: 1 and up */
	char *socket;     /* vhostuser */
	bool socket_listens;
	unsigned reconnect; /* seconds, or 0 */
	const char *cable; /* client, server, mcast, udp: connect, listen, mcast, udp, as in -netdev socket */
	char *cable_to, *cable_from; /* "ADDRESS:PORT"; from: of udp */
	unsigned fds, vhost_fds; /* while it starts: how many descriptors the VMM is given for it */
	GPtrArray *passt; /* user: arguments of passt (char *); NULL: the VMM's own network */
	struct conf_bandwidth bandwidth;
	struct conf_vlan vlan;
	struct conf_virtualport virtualport;
	unsigned boot_order;
	enum { CONF_NIC_ROM_DEFAULT, CONF_NIC_ROM_ON, CONF_NIC_ROM_OFF } rom_bar;
	char *rom_file;   /* NULL: the card's usual one; empty: none */
};

/* A serial port, a virtio console, or a channel. */
enum conf_domain_char_kind { CONF_DOMAIN_SERIAL, CONF_DOMAIN_VIRTIO_CONSOLE, CONF_DOMAIN_CHANNEL };
struct conf_domain_char {
	struct conf_domain_device dev; /* alias: serial0, console0, channel0 */
	enum conf_domain_char_kind kind;
	unsigned port; /* of the virtio-serial controller */
	char *type;   /* pty, unix, file, null, tcp is not there */
	char *path;   /* unix: socket (NULL: we choose); file */
	char *name;   /* channel: what the guest sees */
	bool listens; /* unix: mode='bind' */
	char *log;    /* a file for what the guest says, or NULL */
	bool log_append; /* and what was in it before stays */
	int log_fd;   /* while it starts: the number of its log in the VMM; 0: none */
};

/* A folder of the host, by 9p. */
struct conf_domain_filesystem {
	struct conf_domain_device dev;
	char *path, *tag;
	const char *security_model; /* the VMM's word */
	bool readonly;
};

/* A PCI device of the host. */
struct conf_domain_hostdev {
	struct conf_domain_device dev;
	char *host;   /* "0000:01:00.0" */
	bool managed; /* taken from its driver for the guest, and given back afterwards */
	unsigned boot_order;
	int rom_bar;  /* CONF_NIC_ROM_ */
	char *rom_file; /* NULL: the device's own */
};

/* Memory that is plugged in: a module (dimm), or a virtio-mem device. */
#define CONF_DOMAIN_NO_SLOT UINT_MAX
struct conf_domain_memory {
	struct conf_domain_device dev;
	bool virtio;
	bool shared, discard;
	uint64_t size_kib;
	uint64_t block_kib, requested_kib; /* virtio-mem */
	uint64_t current_kib;              /* the same: what the guest has plugged in */
	unsigned guest_node;
	unsigned slot;                     /* of a module */
	uint64_t base;                     /* its address; 0: any */
	uint64_t page_kib;                 /* of the host's pages; 0: the usual ones */
	char *host_nodes;                  /* a list of the host's nodes, or NULL: any */
};

/* What memory is made of on the host. */
enum conf_domain_memory_source {
	CONF_DOMAIN_MEMORY_ANONYMOUS, CONF_DOMAIN_MEMORY_MEMFD, CONF_DOMAIN_MEMORY_FILE,
};

struct conf_domain_backing {
	enum conf_domain_memory_source source;
	bool shared;       /* other processes may map it */
	bool huge;         /* it has huge pages, which are taken at the start */
	uint64_t page_kib; /* of them; 0: the VMM's default */
	bool immediate;    /* all of it is taken at the start */
	unsigned threads;  /* that take it; 0: one */
	bool discard;      /* what it holds need not be written back at the end */
	bool locked;       /* the VMM's memory is not swapped out */
	bool unmerged;     /* the host does not look for equal pages in it */
};

/* A NUMA node of the guest, and how far one is from another. */
struct conf_domain_cell {
	char *cpus; /* a list of vCPUs, or NULL */
	uint64_t memory_kib;
};
struct conf_domain_distance {
	unsigned from, to, value;
};

#define CONF_DOMAIN_NO_INDEX UINT_MAX
/* virtio-serial (index 0), or a PCIe root port (index 1 and up, whose bus has that number). */
struct conf_domain_controller {
	struct conf_domain_device dev;
	unsigned index; /* CONF_DOMAIN_NO_INDEX: to be chosen */
	bool root_port;
	unsigned chassis, port;
};

struct conf_domain_topology {
	unsigned sockets, dies, cores, threads; /* sockets 0: none is given */
};

/*
 * What the host may give a running domain: of its CPUs (<cputune>, in microseconds but for the shares) and
 * of its memory (<memtune>, in KiB).
 */
enum conf_tune {
	CONF_TUNE_SHARES, CONF_TUNE_PERIOD, CONF_TUNE_QUOTA, CONF_TUNE_EMULATOR_PERIOD,
	CONF_TUNE_EMULATOR_QUOTA, CONF_TUNE_GLOBAL_PERIOD, CONF_TUNE_GLOBAL_QUOTA, CONF_TUNE_HARD_LIMIT,
	CONF_TUNE_SOFT_LIMIT, CONF_TUNE_SWAP_HARD_LIMIT, CONF_TUNE_NUMBERS,
	CONF_TUNE_MEMORY = CONF_TUNE_HARD_LIMIT, /* the first of <memtune> */
};

struct conf_domain {
	xmlDoc *doc;               /* or, of a compact one, */
	char *text;
	char *name, *title;
	uint8_t uuid[16];
	bool kvm;
	uint64_t memory_kib, current_kib;
	uint64_t boot_kib;       /* of memory_kib, what is not plugged in by devices */
	uint64_t max_memory_kib; /* <maxMemory>, or 0 */
	unsigned memory_slots;
	GArray *cells;           /* struct conf_domain_cell; empty: no NUMA */
	GArray *distances;       /* struct conf_domain_distance */
	unsigned vcpus, max_vcpus;
	struct conf_domain_topology topology;
	char *machine;             /* canonical */
	char *emulator;            /* or NULL: ours */
	char *kernel, *initrd, *cmdline;
	char *loader;              /* firmware in ROM or flash, or NULL: SeaBIOS */
	char *nvram, *nvram_template; /* of flash: where variables are kept (NULL: we choose), or come from */
	bool flash, loader_writable;
	char *boot;                /* letters of -boot order=, or "" */
	char *cpu;                 /* of -cpu, or NULL */
	char *owner;               /* USER:GROUP that it runs as (<seclabel model='dac'>), or NULL */
	bool gives_images;         /* which then own its images */
	/* By AppArmor: as the daemon does by itself, with a profile of its own, with `profile`, or not. */
	enum { CONF_DOMAIN_CONFINED_DEFAULT, CONF_DOMAIN_CONFINED, CONF_DOMAIN_CONFINED_BY,
	       CONF_DOMAIN_UNCONFINED } confinement;
	char *profile;             /* its name; NULL until it is known */
	struct conf_domain_backing backing;
	bool no_core;              /* memory stays out of core dumps of the VMM */
	bool no_sleep, no_sleep_on_disk; /* ACPI S3, S4 */
	bool acpi, localtime, no_hpet, rtc_catchup;
	enum conf_domain_action on_poweroff, on_reboot, on_crash;
	/* struct conf_domain_disk, _nic, _char, _controller, _filesystem, _memory */
	GPtrArray *disks, *nics, *chars, *controllers, *filesystems, *memories, *hostdevs;
	GPtrArray *smbios;         /* char *: values of -smbios */
	bool panic;                /* the guest can tell of its panic */
	struct conf_domain_device *balloon, *rng, *watchdog; /* or NULL */
	char *watchdog_action;     /* the VMM's word */
	unsigned balloon_period;   /* seconds between statistics, 0: none */
	char *rng_file;
	struct conf_blkio blkio;
	struct conf_numatune numatune;
	struct conf_perf perf;
	GArray *iothreads; /* unsigned: their numbers, from 1 on */
	int64_t tune[CONF_TUNE_NUMBERS]; /* 0: not said, the host's default; quotas < 0: no limit */
};

/*
 * Read, check and complete: uuid, MAC addresses, the canonical machine, controllers and addresses are
 * put into the document if missing. Errors name element and line. `live`: the document of a running
 * domain, whose aliases are kept and shown. Free with conf_domain_free().
 */
struct conf_domain *conf_domain_parse(const char *text, bool live, GError **error);
void conf_domain_free(struct conf_domain *conf);

/*
 * Keep the document as text, which takes a tenth of the memory: for definitions, which are many and
 * seldom looked at. Devices' nodes are NULL from then on.
 */
void conf_domain_compact(struct conf_domain *conf);
/* A copy of the document; free with xmlFreeDoc(). */
xmlDoc *conf_domain_copy_doc(const struct conf_domain *conf);
/* As libvirt indents it. A compact one does not run. `id` < 0: not running. Free with g_free(). */
char *conf_domain_format(const struct conf_domain *conf, int id);
/*
 * For what is changed by editing the document: the text of a copy in which `edit` has been applied to
 * the root. NULL if `edit` returns false. Free with g_free().
 */
typedef bool conf_domain_edit_fn(xmlNode *root, void *opaque, GError **error);
char *conf_domain_edit(const struct conf_domain *conf, conf_domain_edit_fn *edit, void *opaque,
		       GError **error);
bool conf_domain_nic_is_virtio(const struct conf_domain_nic *nic);
/* Do both show the guest the same card, with the same ROM? */
bool conf_domain_nic_same_card(const struct conf_domain_nic *a, const struct conf_domain_nic *b);
/*
 * A running domain's card has become the tap device `target`; of type network it has this port, by
 * this bridge or interface of the host (else NULL). `mtu` is what the network has, or 0.
 */
void conf_domain_nic_plugged(struct conf_domain_nic *nic, const char *target, const char *link,
			     const char *port, unsigned mtu);
/* A running domain's terminal: put its path where clients look for it. */
void conf_domain_set_tty(struct conf_domain *conf, const struct conf_domain_char *chr,
			 const char *path);
/* A domain that is about to run has this AppArmor profile: into the document, as libvirt shows it. */
void conf_domain_set_profile(struct conf_domain *conf, const char *name);
/* A running domain's channel: whether the guest has it open. */
void conf_domain_set_channel_state(const struct conf_domain_char *chr, bool open);
/* What a balloon may take: the memory at power-on and the modules. */
uint64_t conf_domain_ram_kib(const struct conf_domain *conf);
/* A running domain's virtio-mem: how much the guest has plugged in. */
void conf_domain_set_plugged(struct conf_domain_memory *memory, uint64_t kib);
/* 36 characters and a NUL. */
void conf_uuid_format(const uint8_t uuid[16], char text[37]);
/* Every device that stands in the document; false: `fn` has returned false for one. */
typedef bool conf_domain_device_fn(struct conf_domain_device *dev, void *opaque);
bool conf_domain_for_each_device(const struct conf_domain *conf, conf_domain_device_fn *fn,
				 void *opaque);
/* Any device by its alias, or by its node in the document; NULL: none. */
struct conf_domain_device *conf_domain_find_alias(const struct conf_domain *conf, const char *alias);
struct conf_domain_device *conf_domain_find_node(const struct conf_domain *conf, const xmlNode *node);
/* By its target or its path; NULL: none. */
struct conf_domain_disk *conf_domain_find_disk(const struct conf_domain *conf, const char *path);
/* By the name that the VMM has for it; NULL: there is none. */
struct conf_domain_disk *conf_domain_disk_of_alias(const struct conf_domain *conf, const char *alias);
struct conf_domain_char *conf_domain_char_of_alias(const struct conf_domain *conf, const char *alias);
/* False: an empty CD-ROM drive. */
bool conf_domain_disk_has_medium(const struct conf_domain_disk *disk);
/* A volume's path, as its pool has it. */
void conf_domain_disk_resolve(struct conf_domain_disk *disk, const char *path);
bool conf_domain_is_microvm(const struct conf_domain *conf);

/* The host CPUs ("0-3,^2") of a vCPU, or of all other threads (-1); NULL: any. Free with g_free(). */
char *conf_domain_cpuset(const struct conf_domain *conf, int vcpu);
/* Into a map of `length` bytes, bit n of which is CPU n; false: this is no such list. */
bool conf_cpuset_parse(const char *text, uint8_t *map, unsigned length);

/* Put a number of the kind above into a document, or take it out if it is 0. */
void conf_domain_set_tune(xmlNode *root, enum conf_tune which, int64_t number);
/* False: it is none that the kind allows. */
bool conf_tune_is_valid(enum conf_tune which, int64_t number);
/* The way back, of the first `cpus` bits. Free with g_free(). */
char *conf_cpuset_format(const uint8_t *map, unsigned length, unsigned cpus);

/* --- Parts, for the files of domain_*.c ------------------------------------------------------ */

/* domain_platform.c: boot, CPU, clock, features, what happens at the end. */
bool conf_domain_read_platform(struct conf_domain *conf, xmlNode *root, GError **error);
bool conf_domain_read_os(struct conf_domain *conf, xmlNode *root, GError **error);
/* A controller's index, which the document did not give, where libvirt writes it: before the model. */
void conf_domain_set_index(xmlNode *controller, unsigned index);
/* domain_seclabel.c: all <seclabel>; labels that are chosen at a start are kept in a live document only. */
bool conf_domain_read_seclabels(struct conf_domain *conf, xmlNode *root, bool live, GError **error);
/* domain_iotune.c: <iotune> of a disk. */
bool conf_domain_read_iotune(struct conf_iotune *iotune, const xmlNode *disk, GError **error);
/* Put it into the disk's element, or take it out if there are no limits. */
void conf_domain_write_iotune(const struct conf_iotune *iotune, xmlNode *disk);
bool conf_iotune_is_set(const struct conf_iotune *iotune);
/* domain_sysinfo.c */
bool conf_domain_read_sysinfo(struct conf_domain *conf, xmlNode *root, GError **error);
/* The way back, of values of -smbios: into a new <sysinfo>, and <smbios> of `os`. */
bool conf_domain_write_sysinfo(xmlNode *root, xmlNode *os, const GPtrArray *smbios, GError **error);
/* domain_vhost.c: who moves its packets. */
bool conf_domain_read_vhost(struct conf_domain_nic *nic, const xmlNode *node, GError **error);
/* domain_cable.c: type='client', 'server', 'mcast' and 'udp'; of others it checks that they have nothing of these. */
bool conf_domain_read_cable(struct conf_domain_nic *nic, const xmlNode *node, GError **error);
/* What only a tap device of the host's can have is refused. */
bool conf_domain_check_no_tap(const struct conf_domain_nic *nic, const xmlNode *node, GError **error);
/* domain_backing.c */
bool conf_domain_read_backing(struct conf_domain *conf, const xmlNode *root, GError **error);
/* domain_passt.c: what of an <interface> is for passt. */
bool conf_domain_read_passt(struct conf_domain_nic *nic, const xmlNode *node, GError **error);
/* domain_filesystem.c */
bool conf_domain_read_filesystem(struct conf_domain *conf, xmlNode *node, GError **error);
/* domain_hostdev.c */
bool conf_domain_read_hostdev(struct conf_domain *conf, xmlNode *node, GError **error);
/* domain_memory.c: nodes, before the devices; a device; and what all of it comes to, after them. */
bool conf_domain_read_numa(struct conf_domain *conf, xmlNode *root, GError **error);
bool conf_domain_read_memory(struct conf_domain *conf, xmlNode *node, GError **error);
bool conf_domain_complete_memory(struct conf_domain *conf, xmlNode *root, bool live, GError **error);
/* domain_iothreads.c: before the devices. */
bool conf_domain_read_iothreads(struct conf_domain *conf, xmlNode *root, GError **error);
bool conf_domain_parse_iothread(const xmlNode *node, const char *text, unsigned *id, GError **error);
bool conf_domain_has_iothread(const struct conf_domain *conf, unsigned id);
/* domain_tune.c */
bool conf_domain_read_tune(struct conf_domain *conf, const xmlNode *root, GError **error);
/* domain_address.c: aliases, controllers and addresses. */
bool conf_domain_place_devices(struct conf_domain *conf, xmlNode *root, bool live, GError **error);
/* <memory unit='KiB'>: an amount in the unit said. */
bool conf_domain_read_kib(const xmlNode *node, uint64_t *kib, GError **error);
/* The same of an attribute, whose unit is another one. */
bool conf_domain_parse_kib(const xmlNode *node, const char *amount, const char *unit, uint64_t *kib,
			   GError **error);
/* As libvirt writes it, whatever unit the client used. */
void conf_domain_set_kib(xmlNode *node, uint64_t kib);
/* `value` must be one of the NULL-terminated list; NULL passes. */
bool conf_domain_is_one_of(const xmlNode *node, const char *what, const char *value,
			   const char *const *known, GError **error);
/* NULL passes. The VMM's folder is not the client's: what a path means must not hang on it. */
bool conf_domain_is_absolute(const xmlNode *node, const char *path, GError **error);
#define CONF_DOMAIN_ONE_OF(node, what, value, error, ...)                                          \
	conf_domain_is_one_of(node, what, value, (const char *const[]){__VA_ARGS__, NULL}, error)
/* An attribute of a child element. Free with g_free(). */
char *conf_domain_child_attribute(const xmlNode *node, const char *child, const char *name);
/* domain_grammar.c: fails on the first element or attribute that is not in the table. */
bool conf_domain_check_names(const xmlNode *root, GError **error);
/* <boot order=...> of a device; 0: none. */
bool conf_domain_read_boot_order(const xmlNode *node, unsigned *order, GError **error);
/* domain_nic.c */
bool conf_domain_read_nic(struct conf_domain *conf, xmlNode *node, GError **error);
/* domain_card.c */
bool conf_domain_read_card(const struct conf_domain *conf, struct conf_domain_nic *nic, const xmlNode *node,
			   GError **error);
/* Forget what only a running domain's cards have. */
void conf_domain_nics_unplugged(struct conf_domain *conf);
/* domain_devices.c */
/* domain_canonical.c: what a client may leave out; before the devices are read. */
void conf_domain_add_defaults(const struct conf_domain *conf, xmlNode *root);
/* Libvirt's order of elements. */
void conf_domain_sort(xmlNode *root);
bool conf_domain_read_devices(struct conf_domain *conf, xmlNode *devices, GError **error);
/* Fails with the element's name and line before the text. Returns false always. */
bool conf_domain_error(GError **error, int code, const xmlNode *node, const char *format, ...)
	G_GNUC_PRINTF(4, 5);
