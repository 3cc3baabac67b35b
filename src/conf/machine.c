/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/machine.h"

#include "base/error.h"
#include "base/units.h"

#include <string.h>
#include <time.h>

/* Reads `text` into the struct that `fields` describe. */
static bool merge(const struct keyval_field *fields, void *target, const char *option,
		  const char *implied, const char *text, GError **error)
{
	auto_keyval kv = keyval_parse_any(text, implied, error);
	if (!kv) {
		g_prefix_error(error, "%s: ", option);
		return false;
	}
	return keyval_bind(kv, fields, target, option, NULL, error);
}

#define FIELD(type_, member) offsetof(struct type_, member)
#define SWITCH(name_, member, help_)                                                               \
	{.name = name_, .type = KEYVAL_SWITCH, .offset = FIELD(conf_machine, member), .help = help_}
#define OFF(name_, help_) {.name = name_, .type = KEYVAL_OFF, .help = help_}

static const char *const irqchips[] = {"", "on", "off", "split", NULL};

const struct keyval_field conf_machine_fields[] = {
	{"type", KEYVAL_STRING, FIELD(conf_machine, type), .help = "the board: see -machine help"},
	{"accel", KEYVAL_STRING, FIELD(conf_machine, accel),
	 .help = "kvm, soft or auto; several with ':' between them are tried in turn"},
	{"kernel-irqchip", KEYVAL_ENUM, FIELD(conf_machine, irqchip), .names = irqchips,
	 .help = "where the interrupt controllers live under KVM: on (kernel) or split"},
	{"kernel_irqchip", KEYVAL_ENUM, FIELD(conf_machine, irqchip), .names = irqchips,
	 .help = "old spelling of kernel-irqchip"},
	{"memory-backend", KEYVAL_STRING, FIELD(conf_machine, memory_backend),
	 .help = "id of the -object memory-backend-* that is the guest's RAM"},
	{"kernel", KEYVAL_STRING, FIELD(conf_machine, kernel), .help = "as -kernel"},
	{"initrd", KEYVAL_STRING, FIELD(conf_machine, initrd), .help = "as -initrd"},
	{"append", KEYVAL_STRING, FIELD(conf_machine, append), .help = "as -append"},
	SWITCH("acpi", acpi, "ACPI tables (on)"),
	SWITCH("smbus", smbus, "SMBus controller (on, q35)"),
	SWITCH("sata", sata, "AHCI controller at 1f.2 (on, q35)"),
	SWITCH("hpet", hpet, "high precision event timer (on, q35)"),
	SWITCH("pit", pit, "i8254 timer (on)"),
	SWITCH("pic", pic, "i8259 interrupt controllers (on)"),
	SWITCH("rtc", rtc, "CMOS clock (microvm: off)"),
	SWITCH("isa-serial", isa_serial, "first serial port (microvm: on)"),
	SWITCH("pcie", pcie, "PCI Express root (microvm: off)"),
	SWITCH("auto-kernel-cmdline", auto_kernel_cmdline,
	       "tell the kernel of virtio-mmio slots on its command line (microvm: on)"),
	SWITCH("dump-guest-core", dump_guest_core, "guest RAM in core dumps (on)"),
	SWITCH("mem-merge", mem_merge, "let KSM merge equal pages (on)"),
	SWITCH("kernel-direct", kernel_direct,
	       "start -kernel without running the firmware first (on)"),
	OFF("usb", "there are no USB controllers yet"),
	OFF("graphics", "there is no display yet: leave it out or use graphics=off"),
	OFF("vmport", "the VMware back door does not exist"),
	OFF("smm", "system management mode does not exist; firmware works without it"),
	OFF("nvdimm", "memory hotplug does not exist yet"),
	OFF("hmat", "there are no NUMA tables yet"),
	OFF("suppress-vmdesc", "there is no migration yet"),
	OFF("igd-passthru", "graphics passthrough does not exist yet"),
	OFF("default-bus-bypass-iommu", "there is no virtual IOMMU yet"),
	{NULL},
};

bool conf_machine_merge(struct conf_machine *machine, const char *text, GError **error)
{
	return merge(conf_machine_fields, machine, "-machine", "type", text, error);
}

static const char *const threads[] = {"", "multi", "single", NULL};

static const char *const jits[] = {"default", "off", "on", NULL};

const struct keyval_field conf_accel_fields[] = {
	{"accel", KEYVAL_STRING, FIELD(conf_accel, name), .help = "kvm, soft or auto"},
	{"kernel-irqchip", KEYVAL_ENUM, FIELD(conf_accel, irqchip), .names = irqchips,
	 .help = "kvm: on or split"},
	{"jit", KEYVAL_ENUM, FIELD(conf_accel, jit), .names = jits,
	 .help = "soft: on (default): translate hot code; off: interpret only"},
	{"perfmap", KEYVAL_BOOL, FIELD(conf_accel, perf_map),
	 .help = "soft: on: name translated code in /tmp/perf-PID.map for perf (off)"},
	{"tb-size", KEYVAL_UINT, FIELD(conf_accel, tb_size), 1, 4096,
	 .help = "soft: MiB for all vCPUs' translated code together (256 for each)"},
	{"thread", KEYVAL_STRING, FIELD(conf_accel, thread),
	 .help = "soft: multi (always one host thread for each vCPU)"},
	OFF("igd-passthru", "graphics passthrough does not exist yet"),
	{"dirty-ring-size", KEYVAL_REFUSED, .help = "the dirty bitmap is used"},
	{NULL},
};

const char *conf_accel_canonical(const char *name, GError **error)
{
	static const struct {
		const char *name, *canonical;
	} names[] = {
		{"kvm", "kvm"}, {"soft", "soft"}, {"auto", "auto"}, {"tcg", "soft"}, {"jit", "soft"},
	};
	static const char *const known[] = {"kvm", "soft", "auto", "tcg", "jit", NULL};
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		if (strcmp(names[i].name, name) == 0)
			return names[i].canonical;
	}
	const char *near = nearest_name(name, known);
	error_set(error, BERTH_ERR_INVALID, "-accel: there is no accelerator '%s': %s%s%s", name,
		  near ? "did you mean '" : "choose kvm, soft or auto", near ? near : "",
		  near ? "'?" : "");
	return NULL;
}

struct conf_accel *conf_accel_parse(const char *text, GError **error)
{
	struct conf_accel *accel = g_new0(struct conf_accel, 1);
	if (merge(conf_accel_fields, accel, "-accel", "accel", text, error)) {
		if (!accel->name)
			error_set(error, BERTH_ERR_INVALID,
				  "-accel '%s' names no accelerator: choose kvm, soft or auto", text);
		else if (accel->thread && !g_strv_contains(threads, accel->thread))
			error_set(error, BERTH_ERR_INVALID,
				  "-accel: thread: '%s' is not one of multi, single",
				  accel->thread);
		else if (accel->thread && strcmp(accel->thread, "single") == 0)
			error_set(error, BERTH_ERR_NOT_SUPPORTED,
				  "-accel: thread=single is not supported: each vCPU has a thread");
		else if (conf_accel_canonical(accel->name, error))
			return accel;
	}
	conf_accel_free(accel);
	return NULL;
}

void conf_accel_free(struct conf_accel *accel)
{
	if (!accel)
		return;
	keyval_clear(conf_accel_fields, accel);
	g_free(accel);
}

const struct keyval_field conf_smp_fields[] = {
	{"cpus", KEYVAL_UINT, FIELD(conf_smp, cpus), 1, 1024, .help = "vCPUs at power-on (1)"},
	{"maxcpus", KEYVAL_UINT, FIELD(conf_smp, maxcpus), 1, 1024, .help = "vCPUs in total"},
	{"sockets", KEYVAL_UINT, FIELD(conf_smp, sockets), 1, 1024, .help = "CPU packages"},
	{"dies", KEYVAL_UINT, FIELD(conf_smp, dies), 1, 64, .help = "dies in a package"},
	{"clusters", KEYVAL_UINT, FIELD(conf_smp, clusters), 1, 1, .help = "1 on x86"},
	{"cores", KEYVAL_UINT, FIELD(conf_smp, cores), 1, 1024, .help = "cores in a die"},
	{"threads", KEYVAL_UINT, FIELD(conf_smp, threads), 1, 64, .help = "threads in a core"},
	{NULL},
};

bool conf_smp_merge(struct conf_smp *smp, const char *text, GError **error)
{
	return merge(conf_smp_fields, smp, "-smp", "cpus", text, error);
}

bool conf_smp_complete(struct conf_smp *smp, GError **error)
{
	/* As QEMU since 6.2: what is not given goes into cores first, then sockets, then threads. */
	unsigned total = smp->maxcpus ? smp->maxcpus : smp->cpus;
	smp->dies = MAX(smp->dies, 1);
	smp->clusters = 1;
	if (total) {
		unsigned known = smp->dies;
		if (!smp->cores) {
			known *= MAX(smp->sockets, 1) * MAX(smp->threads, 1);
			smp->cores = MAX(total / known, 1);
		} else if (!smp->sockets) {
			known *= smp->cores * MAX(smp->threads, 1);
			smp->sockets = MAX(total / known, 1);
		} else if (!smp->threads) {
			smp->threads = MAX(total / (known * smp->sockets * smp->cores), 1);
		}
	}
	smp->sockets = MAX(smp->sockets, 1);
	smp->cores = MAX(smp->cores, 1);
	smp->threads = MAX(smp->threads, 1);
	uint64_t product = (uint64_t)smp->sockets * smp->dies * smp->cores * smp->threads;
	total = total ? total : MIN(product, UINT32_MAX);
	if (product != total)
		return error_set(error, BERTH_ERR_INVALID,
				 "-smp: sockets (%u) * dies (%u) * cores (%u) * threads (%u) must "
				 "equal the number of CPUs (%u)",
				 smp->sockets, smp->dies, smp->cores, smp->threads, total);
	smp->maxcpus = total;
	smp->cpus = smp->cpus ? smp->cpus : total;
	if (smp->cpus > smp->maxcpus)
		return error_set(error, BERTH_ERR_INVALID, "-smp: cpus=%u is more than maxcpus=%u",
				 smp->cpus, smp->maxcpus);
	return true;
}

const struct keyval_field conf_memory_fields[] = {
	{"size", KEYVAL_SIZE, FIELD(conf_memory, size), MIB, .help = "guest RAM, in MiB or with K, M, G"},
	{"slots", KEYVAL_UINT, FIELD(conf_memory, slots), 0, 256, .help = "how many pc-dimm there may be"},
	{"maxmem", KEYVAL_SIZE, FIELD(conf_memory, maxmem), MIB, .help = "guest RAM with all that may be plugged in"},
	{NULL},
};

bool conf_memory_merge(struct conf_memory *memory, const char *text, GError **error)
{
	if (!merge(conf_memory_fields, memory, "-m", "size", text, error))
		return false;
	if (memory->slots && memory->maxmem <= memory->size)
		return error_set(error, BERTH_ERR_INVALID,
				 "-m: slots= needs a maxmem= above the size: what may be plugged in");
	if (memory->maxmem && memory->maxmem < memory->size)
		return error_set(error, BERTH_ERR_INVALID, "-m: maxmem= is less than the size");
	if (memory->size == 0)
		return error_set(error, BERTH_ERR_INVALID,
				 "-m: a guest needs memory: write a size, as in -m 512M");
	return true;
}

const struct keyval_field conf_boot_fields[] = {
	{"order", KEYVAL_STRING, FIELD(conf_boot, order),
	 .help = "letters: c (disk), d (CD-ROM), n (network)"},
	{"once", KEYVAL_STRING, FIELD(conf_boot, once), .help = "order for the first boot only"},
	{"menu", KEYVAL_BOOL, FIELD(conf_boot, menu), .help = "the firmware's boot menu"},
	{"strict", KEYVAL_BOOL, FIELD(conf_boot, strict), .help = "boot from what has a bootindex only"},
	{"splash-time", KEYVAL_STRING, FIELD(conf_boot, splash_time), .help = "milliseconds"},
	{"reboot-timeout", KEYVAL_STRING, FIELD(conf_boot, reboot_timeout),
	 .help = "milliseconds to wait before trying again after a failed boot"},
	{"splash", KEYVAL_REFUSED, .help = "there is no display yet"},
	{NULL},
};

static bool check_milliseconds(const char *text, const char *name, GError **error)
{
	uint64_t value;
	if (!text || strcmp(text, "-1") == 0 || units_parse_number(text, 0, 0xffff, &value, error))
		return true;
	g_prefix_error(error, "-boot: %s: ", name);
	return false;
}

static bool check_order(const char *order, GError **error)
{
	size_t good = order ? strspn(order, "abcdefghijklmnop") : 0;
	if (!order || !order[good])
		return true;
	return error_set(error, BERTH_ERR_INVALID,
			 "-boot: '%c' is not a boot device: use c (disk), d (CD-ROM), n (network)",
			 order[good]);
}

bool conf_boot_merge(struct conf_boot *boot, const char *text, GError **error)
{
	return merge(conf_boot_fields, boot, "-boot", "order", text, error) &&
	       check_order(boot->order, error) && check_order(boot->once, error) &&
	       check_milliseconds(boot->splash_time, "splash-time", error) &&
	       check_milliseconds(boot->reboot_timeout, "reboot-timeout", error);
}

static const char *const rtc_clocks[] = {"", "host", "rt", "vm", NULL};
static const char *const driftfixes[] = {"none", "slew", NULL};

const struct keyval_field conf_rtc_fields[] = {
	{"base", KEYVAL_STRING, FIELD(conf_rtc, base), .help = "utc, localtime or 2026-01-31T12:00:00"},
	{"clock", KEYVAL_ENUM, FIELD(conf_rtc, clock), .names = rtc_clocks, 
	 .help = "host, rt (not stepped with the host's) or vm (stands still in a pause)"},
	{"driftfix", KEYVAL_ENUM, FIELD(conf_rtc, driftfix), .names = driftfixes,
	 .help = "slew: periodic interrupts that the guest missed are made up for"},
	{NULL},
};

bool conf_rtc_merge(struct conf_rtc *rtc, const char *text, GError **error)
{
	bool localtime;
	int64_t offset;
	return merge(conf_rtc_fields, rtc, "-rtc", "base", text, error) &&
	       conf_rtc_offset(rtc, 0, &localtime, &offset, error);
}

bool conf_rtc_offset(const struct conf_rtc *rtc, int64_t now, bool *localtime, int64_t *offset,
		     GError **error)
{
	*localtime = rtc->base && strcmp(rtc->base, "localtime") == 0;
	*offset = 0;
	if (!rtc->base || *localtime || strcmp(rtc->base, "utc") == 0)
		return true;
	struct tm tm = {0};
	const char *end = strptime(rtc->base, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!end) {
		tm = (struct tm){0};
		end = strptime(rtc->base, "%Y-%m-%d", &tm);
	}
	if (!end || *end)
		return error_set(error, BERTH_ERR_INVALID,
				 "-rtc: base: '%s' is not utc, localtime or a time like "
				 "2026-01-31T12:00:00",
				 rtc->base);
	*offset = (int64_t)timegm(&tm) - now;
	return true;
}

const struct keyval_field conf_name_fields[] = {
	{"guest", KEYVAL_STRING, FIELD(conf_name, guest), .help = "the guest's name"},
	{"process", KEYVAL_STRING, FIELD(conf_name, process), .help = "the process's name in ps"},
	{"debug-threads", KEYVAL_BOOL, FIELD(conf_name, debug_threads),
	 .help = "name the threads (they always are)"},
	{NULL},
};

bool conf_name_merge(struct conf_name *name, const char *text, GError **error)
{
	return merge(conf_name_fields, name, "-name", "guest", text, error);
}

static const char *const reboots[] = {"reset", "shutdown", NULL};
static const char *const shutdowns[] = {"poweroff", "pause", NULL};
static const char *const panics[] = {"shutdown", "pause", "none", "exit-failure", NULL};
static const char *const watchdogs[] = {"reset", "shutdown", "poweroff",   "pause",
					"debug", "none",     "inject-nmi", NULL};

const struct keyval_field conf_action_fields[] = {
	{"reboot", KEYVAL_ENUM, FIELD(conf_action, reboot), .names = reboots,
	 .help = "when the guest reboots"},
	{"shutdown", KEYVAL_ENUM, FIELD(conf_action, shutdown), .names = shutdowns,
	 .help = "when the guest powers off"},
	{"panic", KEYVAL_ENUM, FIELD(conf_action, panic), .names = panics,
	 .help = "when the guest's kernel panics (with a pvpanic device)"},
	{"watchdog", KEYVAL_ENUM, FIELD(conf_action, watchdog), .names = watchdogs,
	 .help = "when a watchdog device fires"},
	{NULL},
};

bool conf_action_merge(struct conf_action *action, const char *text, GError **error)
{
	return merge(conf_action_fields, action, "-action", NULL, text, error);
}

struct sandbox_text {
	char *enable, *obsolete, *elevate, *spawn, *resources;
};

bool conf_sandbox_merge(struct conf_sandbox *sandbox, const char *text, GError **error)
{
	static const struct keyval_field fields[] = {
		{"enable", KEYVAL_STRING, FIELD(sandbox_text, enable)},
		{"obsolete", KEYVAL_STRING, FIELD(sandbox_text, obsolete)},
		{"elevateprivileges", KEYVAL_STRING, FIELD(sandbox_text, elevate)},
		{"spawn", KEYVAL_STRING, FIELD(sandbox_text, spawn)},
		{"resourcecontrol", KEYVAL_STRING, FIELD(sandbox_text, resources)},
		{NULL},
	};
	struct sandbox_text given = {0};
	bool on = true;
	bool good = merge(fields, &given, "-sandbox", "enable", text, error) &&
		    (!given.enable || units_parse_bool(given.enable, &on, error));
	const char *const policies[] = {given.obsolete, given.elevate, given.spawn, given.resources};
	for (unsigned i = 0; good && i < G_N_ELEMENTS(policies); i++) {
		static const char *const values[] = {"allow", "deny", "children", NULL};
		if (policies[i] && !g_strv_contains(values, policies[i]))
			good = error_set(error, BERTH_ERR_INVALID,
					 "-sandbox: '%s' is not one of allow, deny", policies[i]);
	}
	if (good) {
		sandbox->off = !on;
		sandbox->allow_spawn = given.spawn && strcmp(given.spawn, "allow") == 0;
		sandbox->allow_resources = given.resources && strcmp(given.resources, "allow") == 0;
	}
	keyval_clear(fields, &given);
	return good;
}
