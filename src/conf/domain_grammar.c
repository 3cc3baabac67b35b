/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every element and attribute of a domain's XML that Berth understands. */
#include "conf/domain.h"
#include "conf/grammar.h"

static const char *const rows[] = {
	"domain type id",
	"domain/name",
	"domain/uuid",
	"domain/title",
	"domain/description",
	"domain/metadata *",
	"domain/memory unit dumpCore",
	"domain/currentMemory unit",
	"domain/vcpu placement current cpuset",
	"domain/cputune",
	"domain/cputune/vcpupin vcpu cpuset",
	"domain/cputune/emulatorpin cpuset",
	"domain/cputune/shares",
	"domain/cputune/period",
	"domain/cputune/quota",
	"domain/cputune/emulator_period",
	"domain/cputune/emulator_quota",
	"domain/cputune/global_period",
	"domain/cputune/global_quota",
	"domain/memtune",
	"domain/memtune/hard_limit unit",
	"domain/memtune/soft_limit unit",
	"domain/memtune/swap_hard_limit unit",
	"domain/os firmware",
	"domain/os/firmware",
	"domain/os/firmware/feature enabled name",
	"domain/os/nvram template",
	"domain/os/type arch machine",
	"domain/os/loader readonly type secure",
	"domain/os/smbios mode",
	"domain/os/kernel",
	"domain/os/initrd",
	"domain/os/cmdline",
	"domain/os/boot dev",
	"domain/os/bootmenu enable",
	"domain/sysinfo type",
	"domain/sysinfo/bios",
	"domain/sysinfo/system",
	"domain/sysinfo/baseBoard",
	"domain/sysinfo/chassis",
	"domain/sysinfo/oemStrings",
	"domain/sysinfo/oemStrings/entry",
	"domain/sysinfo/*/entry name",
	"domain/features",
	"domain/features/acpi",
	"domain/features/apic",
	"domain/features/pae",
	"domain/features/vmport state",
	"domain/cpu mode match check migratable",
	"domain/cpu/model fallback",
	"domain/cpu/topology sockets dies cores threads",
	"domain/cpu/feature policy name",
	"domain/clock offset",
	"domain/clock/timer name tickpolicy present",
	"domain/on_poweroff",
	"domain/on_reboot",
	"domain/on_crash",
	"domain/pm",
	"domain/pm/suspend-to-mem enabled",
	"domain/pm/suspend-to-disk enabled",
	"domain/devices",
	"domain/devices/emulator",
	"domain/devices/disk type device",
	"domain/devices/disk/driver name type cache discard io",
	"domain/devices/disk/source file dev",
	"domain/devices/disk/target dev bus",
	"domain/devices/disk/iotune",
	"domain/devices/disk/iotune/total_bytes_sec",
	"domain/devices/disk/iotune/read_bytes_sec",
	"domain/devices/disk/iotune/write_bytes_sec",
	"domain/devices/disk/iotune/total_iops_sec",
	"domain/devices/disk/iotune/read_iops_sec",
	"domain/devices/disk/iotune/write_iops_sec",
	"domain/devices/disk/iotune/total_bytes_sec_max",
	"domain/devices/disk/iotune/read_bytes_sec_max",
	"domain/devices/disk/iotune/write_bytes_sec_max",
	"domain/devices/disk/iotune/total_iops_sec_max",
	"domain/devices/disk/iotune/read_iops_sec_max",
	"domain/devices/disk/iotune/write_iops_sec_max",
	"domain/devices/disk/iotune/total_bytes_sec_max_length",
	"domain/devices/disk/iotune/read_bytes_sec_max_length",
	"domain/devices/disk/iotune/write_bytes_sec_max_length",
	"domain/devices/disk/iotune/total_iops_sec_max_length",
	"domain/devices/disk/iotune/read_iops_sec_max_length",
	"domain/devices/disk/iotune/write_iops_sec_max_length",
	"domain/devices/disk/iotune/size_iops_sec",
	"domain/devices/disk/iotune/group_name",
	"domain/devices/disk/readonly",
	"domain/devices/disk/shareable",
	"domain/devices/disk/serial",
	"domain/devices/disk/boot order",
	"domain/devices/disk/backingStore",
	"domain/devices/controller type index model ports",
	"domain/devices/controller/model name",
	"domain/devices/controller/target chassis port",
	"domain/devices/controller/master startport",
	"domain/devices/interface type",
	"domain/devices/interface/mac address",
	"domain/devices/interface/source bridge network portgroup portid",
	"domain/devices/interface/target dev managed",
	"domain/devices/interface/mtu size",
	"domain/devices/interface/filterref filter",
	"domain/devices/interface/filterref/parameter name value",
	"domain/devices/interface/port isolated",
	"domain/devices/interface/model type",
	"domain/devices/interface/boot order",
	"domain/devices/interface/link state",
	"domain/devices/serial type tty",
	"domain/devices/serial/source path mode",
	"domain/devices/serial/target type port",
	"domain/devices/serial/target/model name",
	"domain/devices/console type tty",
	"domain/devices/console/source path mode",
	"domain/devices/console/target type port",
	"domain/devices/channel type",
	"domain/devices/channel/source path mode",
	"domain/devices/channel/target type name state",
	"domain/devices/memballoon model",
	"domain/devices/memballoon/stats period",
	"domain/devices/input type bus",
	"domain/devices/audio id type",
	"domain/devices/filesystem type accessmode",
	"domain/devices/filesystem/driver type wrpolicy",
	"domain/devices/filesystem/source dir",
	"domain/devices/filesystem/target dir",
	"domain/devices/filesystem/readonly",
	"domain/devices/panic model",
	"domain/devices/panic/address type iobase",
	"domain/devices/rng model",
	"domain/devices/rng/backend model",
	"domain/devices/*/alias name",
	"domain/devices/*/address type domain bus slot function multifunction controller target unit port",
};

/*
 * Attributes whose only value that we can keep is the one here: management programs write them out
 * to say that a thing is off, and it is.
 */
static const struct conf_only_value only_values[] = {
	{ "domain/os/loader", "secure", "no" },
	{ "domain/os/bootmenu", "enable", "no" },
	{ "domain/features/vmport", "state", "off" },
	{ "domain/devices/audio", "type", "none" },
	{ "domain/devices/filesystem/driver", "wrpolicy", "immediate" },
	{ "domain/pm/suspend-to-mem", "enabled", "no" },
	{ "domain/pm/suspend-to-disk", "enabled", "no" },
};

/* Installers write these without being asked: how to ask them not to. */
static const struct conf_advice advice[] = {
	{"domain/devices/graphics", "there is no screen yet; use virt-install --graphics none, and the "
				    "serial console"},
	{"domain/devices/video", "there is no screen yet; use virt-install --video none"},
	{"domain/devices/sound", "use virt-install --sound none"},
	{"domain/devices/tpm", "use virt-install --tpm none"},
	{"domain/devices/redirdev", "there is no USB yet; use virt-install --redirdev none"},
	{"domain/devices/watchdog", "leave out virt-install --watchdog"},
	{"domain/features/hyperv", "Windows runs without it; use virt-install "
				   "--xml xpath.delete=./features/hyperv "
				   "--xml \"xpath.delete=./clock/timer[@name='hypervclock']\""},
	{NULL},
};

bool conf_domain_error(GError **error, int code, const xmlNode *node, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	conf_grammar_error(error, code, node, format, args);
	va_end(args);
	return false;
}

bool conf_domain_check_names(const xmlNode *root, GError **error)
{
	static const struct conf_grammar grammar = {rows, G_N_ELEMENTS(rows), only_values,
						    G_N_ELEMENTS(only_values), advice};
	return conf_grammar_check(&grammar, root, error);
}
