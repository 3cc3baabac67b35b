/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options: the machine, its CPUs, memory and devices. */
#include "options.h"

#include "base/error.h"
#include "base/units.h"

#include <string.h>

static bool apply_machine(struct options *o, const char *value, GError **error)
{
	if (options_wants_help(o, value, SHOW_MACHINES)) {
		if (o->show_name)
			o->show = SHOW_MACHINE_PROPERTIES;
		return true;
	}
	return conf_machine_merge(&o->conf->machine, value, error);
}

static bool apply_accel(struct options *o, const char *value, GError **error)
{
	if (options_wants_help(o, value, SHOW_ACCELS))
		return true;
	struct conf_accel *accel = conf_accel_parse(value, error);
	if (accel)
		g_ptr_array_add(o->conf->accels, accel);
	return accel != NULL;
}

static bool apply_enable_kvm(struct options *o, const char *value, GError **error)
{
	return apply_accel(o, "kvm", error);
}

static bool apply_cpu(struct options *o, const char *value, GError **error)
{
	if (options_wants_help(o, value, SHOW_CPUS))
		return true;
	return options_set(&o->conf->cpu, value);
}

static bool apply_smp(struct options *o, const char *value, GError **error)
{
	return conf_smp_merge(&o->conf->smp, value, error);
}

static bool apply_memory(struct options *o, const char *value, GError **error)
{
	return conf_memory_merge(&o->conf->memory, value, error);
}

static bool apply_numa(struct options *o, const char *value, GError **error)
{
	return conf_numa_merge(&o->conf->numa, value, error);
}

static bool apply_mem_path(struct options *o, const char *value, GError **error)
{
	return options_set(&o->conf->memory.path, value);
}

static bool apply_mem_prealloc(struct options *o, const char *value, GError **error)
{
	return o->conf->memory.prealloc = true;
}

static bool apply_overcommit(struct options *o, const char *value, GError **error)
{
	struct overcommit {
		bool mem_lock;
	} given = {0};
	static const struct keyval_field fields[] = {
		{"mem-lock", KEYVAL_BOOL, offsetof(struct overcommit, mem_lock)},
		{"cpu-pm", KEYVAL_OFF, .help = "the guest's HLT always gives the host CPU back"},
		{NULL},
	};
	auto_keyval kv = keyval_parse(value, NULL, error);
	if (!kv || !keyval_bind(kv, fields, &given, "-overcommit", NULL, error))
		return false;
	o->conf->mem_lock = given.mem_lock;
	return true;
}

static bool apply_name(struct options *o, const char *value, GError **error)
{
	return conf_name_merge(&o->conf->name, value, error);
}

static bool apply_uuid(struct options *o, const char *value, GError **error)
{
	if (!conf_uuid_parse(value, NULL, error)) {
		g_prefix_error(error, "-uuid: ");
		return false;
	}
	return options_set(&o->conf->uuid, value);
}

static bool apply_rtc(struct options *o, const char *value, GError **error)
{
	return conf_rtc_merge(&o->conf->rtc, value, error);
}

static bool apply_nodefaults(struct options *o, const char *value, GError **error)
{
	return o->conf->nodefaults = true;
}

static bool apply_nothing(struct options *o, const char *value, GError **error)
{
	return true;
}

static bool apply_no_acpi(struct options *o, const char *value, GError **error)
{
	return o->conf->no_acpi = true;
}

static bool apply_no_hpet(struct options *o, const char *value, GError **error)
{
	return o->conf->no_hpet = true;
}

static bool add_item(struct options *o, enum conf_item_kind kind, const char *value,
		     enum options_show show, GError **error)
{
	if (options_wants_help(o, value, show))
		return true;
	struct conf_item *item = conf_item_parse(kind, value, error);
	if (item)
		g_ptr_array_add(o->conf->items[kind], item);
	return item != NULL;
}

static bool apply_device(struct options *o, const char *value, GError **error)
{
	return add_item(o, CONF_DEVICE, value, SHOW_DEVICES, error);
}

static bool apply_object(struct options *o, const char *value, GError **error)
{
	return add_item(o, CONF_OBJECT, value, SHOW_OBJECTS, error);
}

static bool apply_global(struct options *o, const char *value, GError **error)
{
	struct conf_global *global = conf_global_parse(value, error);
	if (global)
		g_ptr_array_add(o->conf->globals, global);
	return global != NULL;
}

/* Adds to, or replaces in, an item that an option before this one has made. */
static bool apply_set(struct options *o, const char *value, GError **error)
{
	static const enum conf_item_kind kinds[] = {CONF_DEVICE, CONF_NETDEV, CONF_CHARDEV,
						    CONF_OBJECT, CONF_FSDEV};
	g_autofree char *text = g_strdup(value);
	char *equals = strchr(text, '=');
	if (equals)
		*equals = 0;
	char *name = strrchr(text, '.'), *id = strchr(text, '.');
	if (!equals || !id || name == id || !name[1])
		return error_set(error, BERTH_ERR_INVALID,
				 "-set '%s' is not of the form GROUP.ID.NAME=VALUE", value);
	*id++ = *name++ = 0;
	/* What the item is and how it is called are not its properties. */
	static const char *const fixed[] = {"id", "bus", "driver", "type", "backend", "qom-type",
					    "fsdriver", NULL};
	if (!conf_id_is_valid(name) || g_strv_contains(fixed, name))
		return error_set(error, BERTH_ERR_INVALID,
				 "-set: '%s' cannot be set: write it into the option itself", name);
	for (unsigned k = 0; k < G_N_ELEMENTS(kinds); k++) {
		if (strcmp(conf_item_option(kinds[k]) + 1, text) != 0)
			continue;
		const GPtrArray *items = o->conf->items[kinds[k]];
		for (unsigned i = 0; i < items->len; i++) {
			struct conf_item *item = items->pdata[i];
			if (!item->id || strcmp(item->id, id) != 0)
				continue;
			keyval_set(item->props, name, equals + 1);
			return true;
		}
		return error_set(error, BERTH_ERR_NOT_FOUND, "-set: there is no -%s with id '%s' before it",
				 text, id);
	}
	return error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "-set: the group '%s' is not supported, only device, netdev, chardev, object "
			 "and fsdev: write the property into the option itself",
			 text);
}

static bool apply_smbios(struct options *o, const char *value, GError **error)
{
	auto_keyval kv = keyval_parse(value, NULL, error);
	if (!kv || (!keyval_get(kv, "type") && !keyval_get(kv, "file")))
		return kv ? error_set(error, BERTH_ERR_INVALID,
				      "-smbios '%s': it needs type=N or file=PATH", value) :
			    false;
	g_ptr_array_add(o->conf->smbios, g_strdup(value));
	return true;
}

static bool add_blob(GPtrArray *list, struct conf_blob *blob)
{
	if (blob)
		g_ptr_array_add(list, blob);
	return blob != NULL;
}

static bool apply_acpitable(struct options *o, const char *value, GError **error)
{
	return add_blob(o->conf->acpitables, conf_acpitable_parse(value, error));
}

const struct option options_machine[] = {
	{"machine", "[type=]NAME[,PROPERTY=VALUE...]",
	 "The board: q35 (default; a PC with PCI Express, firmware, disks) or microvm (no "
	 "firmware, starts at once). -machine help lists them, -machine NAME,help the properties.",
	 apply_machine},
	{"M", "[type=]NAME[,PROPERTY=VALUE...]", "The same as -machine.", apply_machine},
	{"accel", "[accel=]NAME[,PROPERTY=VALUE...]",
	 "What executes the guest: kvm (hardware), soft (Berth's own engine, needs nothing) or "
	 "auto (default: kvm if it works here, else soft). Several -accel are tried in turn.",
	 apply_accel},
	{"enable-kvm", NULL, "The same as -accel kvm.", apply_enable_kvm},
	{"cpu", "MODEL[,+FEATURE][,-FEATURE]...", "CPU model; -cpu help lists models and features.",
	 apply_cpu},
	{"smp", "[cpus=]N[,maxcpus=N][,sockets=N][,dies=N][,cores=N][,threads=N]",
	 "Number of vCPUs (default 1), how they are arranged, and how many device_add can make it.", apply_smp},
	{"m", "[size=]MEGABYTES", "Guest RAM; K, M, G, T may follow the number (default 128).",
	 apply_memory},
	{"numa", "node[,nodeid=N][,cpus=FIRST[-LAST]][,mem=SIZE|,memdev=ID] | dist,src=N,dst=N,val=V | "
	 "cpu,node-id=N[,socket-id=S][,die-id=D][,core-id=C][,thread-id=T]",
	 "Memory nodes: which CPUs and which memory (a -object memory-backend-*) are near to each "
	 "other, and the distances between nodes.",
	 apply_numa},
	{"mem-path", "FILE", "Take guest RAM from a file or a hugetlbfs folder.", apply_mem_path},
	{"mem-prealloc", NULL, "Take all guest RAM from the host at start.", apply_mem_prealloc},
	{"overcommit", "[mem-lock=on|off][,cpu-pm=off]",
	 "mem-lock=on keeps all memory of the process from being swapped out.", apply_overcommit},
	{"device", "DRIVER[,id=ID][,bus=BUS][,PROPERTY=VALUE...]",
	 "Plug in a device; -device help lists drivers, -device DRIVER,help its properties. JSON "
	 "works too.",
	 apply_device},
	{"global", "DRIVER.PROPERTY=VALUE", "Default of a property for every device of a driver.",
	 apply_global},
	{"set", "GROUP.ID.NAME=VALUE",
	 "Set a property of a -device, -netdev, -chardev, -object or -fsdev (the group) given before.",
	 apply_set},
	{"object", "TYPE,id=ID[,PROPERTY=VALUE...]",
	 "A helper that devices and the machine refer to by id: randomness, memory; -object help "
	 "lists them.",
	 apply_object},
	{"name", "[guest=]NAME[,process=NAME]", "Name of the guest (and of the process).",
	 apply_name},
	{"uuid", "UUID", "The machine's UUID, in SMBIOS and QMP.", apply_uuid},
	{"rtc", "[base=utc|localtime|DATETIME][,clock=host|rt|vm][,driftfix=none|slew]",
	 "The guest's clock at power-on.", apply_rtc},
	{"smbios", "type=N[,FIELD=VALUE...] | file=PATH", "Fields of SMBIOS tables.", apply_smbios},
	{"acpitable", "file=PATH", "Add an ACPI table from a file.", apply_acpitable},
	{"no-acpi", NULL, "The same as -machine acpi=off.", apply_no_acpi},
	{"no-hpet", NULL, "The same as -machine hpet=off.", apply_no_hpet},
	{"nodefaults", NULL, "No devices but those asked for: no serial port, monitor, network, CD-ROM.",
	 apply_nodefaults},
	{"no-user-config", NULL, "There are no configuration files to ignore; for compatibility.",
	 apply_nothing},
	{NULL},
};
