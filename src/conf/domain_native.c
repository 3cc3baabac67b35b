/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/domain_native.h"

#include "base/error.h"
#include "base/units.h"

#include <string.h>

/* --- Elements ------------------------------------------------------------------------------- */

xmlNode *native_add(xmlNode *parent, const char *name, const char *text, ...)
{
	xmlNode *node = xmlNewTextChild(parent, NULL, (const xmlChar *)name, (const xmlChar *)text);
	va_list pairs;
	va_start(pairs, text);
	for (const char *key = va_arg(pairs, const char *); key; key = va_arg(pairs, const char *)) {
		const char *value = va_arg(pairs, const char *);
		if (value)
			xmlSetProp(node, (const xmlChar *)key, (const xmlChar *)value);
	}
	va_end(pairs);
	return node;
}

void native_set_number(xmlNode *node, const char *name, uint64_t number)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, number);
	xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)text);
}

static void add_number(xmlNode *parent, const char *name, uint64_t number)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, number);
	native_add(parent, name, text, NULL);
}

static bool has_no_place(const char *what, const char *key, GError **error)
{
	return error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "%s: '%s' has no place in a domain's XML: leave it out", what, key);
}

bool native_all_read(const struct keyval *kv, const char *what, GError **error)
{
	return !keyval_count(kv) || has_no_place(what, kv->keys->pdata[0], error);
}

bool native_take_switch(struct keyval *kv, const char *key, bool fallback, bool *on, GError **error)
{
	g_autofree char *text = keyval_take(kv, key);
	*on = fallback;
	if (!text || units_parse_bool(text, on, error))
		return true;
	g_prefix_error(error, "%s: ", key);
	return false;
}

/* Of an option's fields only `known` may be set. */
static bool only(const char *option, const struct keyval_field *fields, const void *target,
		 const char *const *known, GError **error)
{
	auto_keyval kv = keyval_new();
	keyval_unbind(kv, fields, target);
	for (unsigned i = 0; i < keyval_count(kv); i++) {
		if (!g_strv_contains(known, kv->keys->pdata[i]))
			return has_no_place(option, kv->keys->pdata[i], error);
	}
	return true;
}
#define ONLY(option, fields, target, error, ...)                                                   \
	only(option, fields, target, (const char *const[]){__VA_ARGS__, NULL}, error)

/* --- What devices refer to --------------------------------------------------------------------- */

struct conf_drive *native_take_drive(struct native *n, const char *id, GError **error)
{
	for (unsigned i = 0; i < n->vm->drives->len; i++) {
		struct conf_drive *drive = n->vm->drives->pdata[i];
		if (g_strcmp0(drive->id, id) != 0)
			continue;
		if (g_hash_table_add(n->used, drive))
			return drive;
		error_set(error, BERTH_ERR_NOT_SUPPORTED, "two devices use the image '%s'", id);
		return NULL;
	}
	error_set(error, BERTH_ERR_NOT_FOUND, "there is no -drive or -blockdev with the id '%s'", id);
	return NULL;
}

struct conf_item *native_take_item(struct native *n, enum conf_item_kind kind, const char *id, GError **error)
{
	const GPtrArray *items = n->vm->items[kind];
	for (unsigned i = 0; id && i < items->len; i++) {
		struct conf_item *item = items->pdata[i];
		if (g_strcmp0(item->id, id) != 0)
			continue;
		if (g_hash_table_add(n->used, item))
			return item;
		error_set(error, BERTH_ERR_NOT_SUPPORTED, "two devices use %s '%s'", conf_item_option(kind), id);
		return NULL;
	}
	error_set(error, BERTH_ERR_NOT_FOUND, "there is no %s with the id '%s'", conf_item_option(kind),
		  id ? id : "");
	return NULL;
}

static bool all_used(const struct native *n, GError **error)
{
	for (enum conf_item_kind kind = CONF_NETDEV; kind < CONF_ITEM_KINDS; kind++) {
		const GPtrArray *items = n->vm->items[kind];
		for (unsigned i = 0; i < items->len; i++) {
			const struct conf_item *item = items->pdata[i];
			if (!g_hash_table_contains(n->used, item))
				return error_set(error, BERTH_ERR_NOT_SUPPORTED,
						 "%s %s,id=%s is used by no device of a domain: leave it out",
						 conf_item_option(kind), item->type, item->id);
		}
	}
	for (unsigned i = 0; i < n->vm->drives->len; i++) {
		const struct conf_drive *drive = n->vm->drives->pdata[i];
		if (!g_hash_table_contains(n->used, drive))
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "the image '%s' is used by no device: leave it out", drive->id);
	}
	return true;
}

/* --- The domain ------------------------------------------------------------------------------- */

/* What the XML has no words for. The process's own matters (its monitor, log, user) are not asked. */
static bool check_rest(const struct conf_vm *vm, GError **error)
{
	const struct {
		bool given;
		const char *option;
	} refused[] = {
		{vm->parallels->len, "-parallel"}, {vm->debugcon, "-debugcon"}, {vm->fw_cfg->len, "-fw_cfg"},
		{vm->acpitables->len, "-acpitable"}, {vm->snapshot, "-snapshot"}, {vm->firmware_dir, "-L"},
		{vm->run_as, "-runas"}, {vm->chroot, "-chroot"},
		{vm->smp.clusters > 1, "-smp clusters"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
		if (refused[i].given)
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "%s has no place in a domain's XML: leave it out", refused[i].option);
	}
	return ONLY("-name", conf_name_fields, &vm->name, error, "guest", "debug-threads") &&
	       ONLY("-machine", conf_machine_fields, &vm->machine, error, "type", "accel", "acpi", "hpet",
		    "dump-guest-core", "mem-merge", "memory-backend") &&
	       ONLY("-m", conf_memory_fields, &vm->memory, error, "size", "maxmem", "slots") &&
	       /* libvirt's own command lines always say strict=on. */
	       ONLY("-boot", conf_boot_fields, &vm->boot, error, "order", "strict") &&
	       ONLY("-rtc", conf_rtc_fields, &vm->rtc, error, "base", "driftfix") &&
	       ONLY("-action", conf_action_fields, &vm->action, error, "reboot", "panic", "watchdog");
}

/* The first accelerator decides; "auto" may be either, and the software engine is always there. */
static bool read_accel(const struct conf_vm *vm, bool *kvm, GError **error)
{
	const struct conf_accel *accel = vm->accels->len ? vm->accels->pdata[0] : NULL;
	const char *names = accel ? accel->name : vm->machine.accel ? vm->machine.accel : "auto";
	g_autofree char *first = g_strndup(names, strcspn(names, ":"));
	const char *name = conf_accel_canonical(first, error);
	*kvm = g_strcmp0(name, "kvm") == 0;
	return name && (!accel || ONLY("-accel", conf_accel_fields, accel, error, "accel"));
}

static bool add_identity(struct native *n, GError **error)
{
	const struct conf_vm *vm = n->vm;
	bool kvm;
	if (!read_accel(vm, &kvm, error))
		return false;
	xmlSetProp(n->root, (const xmlChar *)"type", (const xmlChar *)(kvm ? "kvm" : "qemu"));
	native_add(n->root, "name", vm->name.guest ? vm->name.guest : "unnamed", NULL);
	if (vm->uuid)
		native_add(n->root, "uuid", vm->uuid, NULL);
	return true;
}

static void add_vcpus(struct native *n)
{
	const struct conf_smp *smp = &n->vm->smp;
	add_number(n->root, "vcpu", smp->maxcpus);
	if (smp->cpus < smp->maxcpus)
		native_set_number(xml_child(n->root, "vcpu"), "current", smp->cpus);
}

/* --- Boot ------------------------------------------------------------------------------------- */

static bool add_flash(struct native *n, xmlNode *os, const struct conf_drive *drive, unsigned unit,
		      GError **error)
{
	bool raw = !drive->format || strcmp(drive->format, "raw") == 0;
	bool plain = !keyval_count(drive->node_options) && !drive->cache && !drive->aio && !drive->discard &&
		     drive->snapshot != CONF_SWITCH_ON && !drive->werror && !drive->rerror;
	if (unit > 1 || !raw || !plain || !drive->file)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "-drive if=pflash: a domain has raw files for units 0 and 1, without more "
				 "options");
	g_hash_table_add(n->used, (void *)drive);
	if (unit == 0)
		native_add(os, "loader", drive->file, "readonly",
			   drive->readonly == CONF_SWITCH_ON ? "yes" : "no", "type", "pflash", NULL);
	else
		native_add(os, "nvram", drive->file, NULL);
	return true;
}

static bool add_firmware(struct native *n, xmlNode *os, GError **error)
{
	unsigned next = 0;
	if (n->vm->bios)
		native_add(os, "loader", n->vm->bios, "type", "rom", NULL);
	for (unsigned i = 0; i < n->vm->drives->len; i++) {
		const struct conf_drive *drive = n->vm->drives->pdata[i];
		uint64_t unit = next;
		if (drive->interface != CONF_IF_PFLASH)
			continue;
		const char *place = drive->unit ? drive->unit : drive->index;
		if (place && !units_parse_number(place, 0, 31, &unit, error))
			return false;
		if (!add_flash(n, os, drive, unit, error))
			return false;
		next = unit + 1;
	}
	return true;
}

static bool add_boot_order(const struct conf_vm *vm, xmlNode *os, GError **error)
{
	for (const char *letter = vm->boot.order ? vm->boot.order : ""; *letter; letter++) {
		const char *dev = *letter == 'c' ? "hd" : *letter == 'd' ? "cdrom" : *letter == 'n' ? "network"
			: NULL;
		if (!dev)
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "-boot order=%s: a domain boots from c, d or n", vm->boot.order);
		native_add(os, "boot", NULL, "dev", dev, NULL);
	}
	return true;
}

static bool add_os(struct native *n, GError **error)
{
	const struct conf_vm *vm = n->vm;
	xmlNode *os = native_add(n->root, "os", NULL, NULL);
	native_add(os, "type", "hvm", "arch", "x86_64", "machine", vm->machine.type ? vm->machine.type : "q35",
		   NULL);
	if (!add_firmware(n, os, error))
		return false;
	const char *const files[][2] = {
		{"kernel", vm->kernel}, {"initrd", vm->initrd}, {"cmdline", vm->append}};
	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
		if (files[i][1])
			native_add(os, files[i][0], files[i][1], NULL);
	}
	if (!add_boot_order(vm, os, error))
		return false;
	return !vm->smbios->len || conf_domain_write_sysinfo(n->root, os, vm->smbios, error);
}

/* --- CPU --------------------------------------------------------------------------------------- */

/* "name=on", "+name", "-name" or "name". */
static bool add_feature(xmlNode *cpu, xmlNode *clock, const char *word, GError **error)
{
	const char *equals = strchr(word, '='), *name = word + (*word == '+' || *word == '-');
	g_autofree char *plain = g_strndup(name, equals ? (size_t)(equals - name) : strlen(name));
	bool on = *word != '-';
	if (equals && !units_parse_bool(equals + 1, &on, NULL))
		return has_no_place("-cpu", plain, error);
	if (strcmp(plain, "enforce") == 0 && on)
		xmlSetProp(cpu, (const xmlChar *)"check", (const xmlChar *)"full");
	else if (strcmp(plain, "kvmclock") == 0 && !on)
		native_add(clock, "timer", NULL, "name", "kvmclock", "present", "no", NULL);
	else if (strcmp(plain, "migratable") == 0)
		xmlSetProp(cpu, (const xmlChar *)"migratable", (const xmlChar *)(on ? "on" : "off"));
	else if (strcmp(plain, "enforce") != 0)
		native_add(cpu, "feature", NULL, "policy", on ? "require" : "disable", "name", plain, NULL);
	return true;
}

static bool add_model(struct native *n, xmlNode *cpu, xmlNode *clock, GError **error)
{
	g_auto(GStrv) words = g_strsplit(n->vm->cpu ? n->vm->cpu : "", ",", -1);
	if (!words[0])
		return true;
	bool host = strcmp(words[0], "host") == 0, max = strcmp(words[0], "max") == 0;
	xmlSetProp(cpu, (const xmlChar *)"mode",
		   (const xmlChar *)(host ? "host-passthrough" : max ? "maximum" : "custom"));
	if (!host && !max)
		xmlSetProp(cpu, (const xmlChar *)"match", (const xmlChar *)"exact");
	xmlSetProp(cpu, (const xmlChar *)"check", (const xmlChar *)"none");
	if (!host && !max)
		native_add(cpu, "model", words[0], "fallback", "forbid", NULL);
	for (unsigned i = 1; words[i]; i++) {
		if (!add_feature(cpu, clock, words[i], error))
			return false;
	}
	return true;
}

static void add_topology(const struct conf_smp *smp, xmlNode *cpu)
{
	/* It is what a domain has whose document says nothing. */
	if (smp->sockets == smp->maxcpus)
		return;
	xmlNode *topology = native_add(cpu, "topology", NULL, NULL);
	native_set_number(topology, "sockets", smp->sockets);
	native_set_number(topology, "dies", smp->dies);
	native_set_number(topology, "cores", smp->cores);
	native_set_number(topology, "threads", smp->threads);
}

/* What a memory backend has, if that is a size and nothing else. */
static bool backend_size(struct native *n, const char *id, uint64_t *bytes, GError **error)
{
	const struct conf_item *item = native_take_item(n, CONF_OBJECT, id, error);
	if (!item)
		return false;
	auto_keyval props = keyval_copy(item->props);
	g_autofree char *size = keyval_take(props, "size"), *what = g_strdup_printf("-object %s", item->type);
	if (strcmp(item->type, "memory-backend-ram") != 0)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "%s: a node of a domain has a memory-backend-ram", what);
	return native_all_read(props, what, error) &&
	       (size ? units_parse_size(size, 1, bytes, error)
		     : error_set(error, BERTH_ERR_INVALID, "%s: its size is missing", what));
}

static bool add_cell(struct native *n, xmlNode *numa, unsigned node, GError **error)
{
	const struct conf_numa *said = &n->vm->numa;
	const struct conf_smp *smp = &n->vm->smp;
	uint64_t bytes = said->nodes[node].size;
	if (said->nodes[node].memdev && !backend_size(n, said->nodes[node].memdev, &bytes, error))
		return false;
	if (!bytes)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "-numa node,nodeid=%u: say how much memory it has with mem=", node);
	uint8_t map[32] = {0};
	for (unsigned cpu = 0; cpu < smp->maxcpus && cpu < sizeof(map) * 8; cpu++)
		map[cpu / 8] |= (said->cpu_nodes[cpu] == node) << cpu % 8;
	g_autofree char *cpus = conf_cpuset_format(map, sizeof(map), smp->maxcpus);
	xmlNode *cell = native_add(numa, "cell", NULL, NULL), *distances = NULL;
	native_set_number(cell, "id", node);
	if (*cpus)
		xmlSetProp(cell, (const xmlChar *)"cpus", (const xmlChar *)cpus);
	native_set_number(cell, "memory", (bytes + KIB - 1) / KIB);
	for (unsigned i = 0; i < said->distances->len; i++) {
		const struct conf_numa_distance *d = &g_array_index(said->distances, struct conf_numa_distance, i);
		if (d->from != node)
			continue;
		if (!distances)
			distances = native_add(cell, "distances", NULL, NULL);
		xmlNode *sibling = native_add(distances, "sibling", NULL, NULL);
		native_set_number(sibling, "id", d->to);
		native_set_number(sibling, "value", d->value);
	}
	return true;
}

static bool add_numa(struct native *n, xmlNode *cpu, GError **error)
{
	if (!n->vm->numa.node_count)
		return true;
	xmlNode *numa = native_add(cpu, "numa", NULL, NULL);
	for (unsigned node = 0; node < n->vm->numa.node_count; node++) {
		if (!add_cell(n, numa, node, error))
			return false;
	}
	return true;
}

static bool add_cpu(struct native *n, xmlNode *clock, GError **error)
{
	xmlNode *cpu = native_add(n->root, "cpu", NULL, NULL);
	if (!add_model(n, cpu, clock, error))
		return false;
	add_topology(&n->vm->smp, cpu);
	if (!add_numa(n, cpu, error))
		return false;
	if (!cpu->children && !cpu->properties) {
		xmlUnlinkNode(cpu);
		xmlFreeNode(cpu);
	}
	return true;
}

/* --- Clock, power, ends -------------------------------------------------------------------------- */

static bool add_clock(struct native *n, xmlNode **clock, GError **error)
{
	const struct conf_rtc *rtc = &n->vm->rtc;
	const char *base = rtc->base ? rtc->base : "utc";
	if (strcmp(base, "utc") != 0 && strcmp(base, "localtime") != 0)
		return has_no_place("-rtc", base, error);
	*clock = native_add(n->root, "clock", NULL, "offset", base, NULL);
	auto_keyval kv = keyval_new();
	keyval_unbind(kv, conf_rtc_fields, rtc);
	if (g_strcmp0(keyval_get(kv, "driftfix"), "slew") == 0)
		native_add(*clock, "timer", NULL, "name", "rtc", "tickpolicy", "catchup", NULL);
	if (n->vm->no_hpet || n->vm->machine.hpet == CONF_SWITCH_OFF)
		native_add(*clock, "timer", NULL, "name", "hpet", "present", "no", NULL);
	return true;
}

static bool add_sleep(struct native *n, GError **error)
{
	static const char *const states[][2] = {
		{"disable_s3", "suspend-to-mem"}, {"disable_s4", "suspend-to-disk"}};
	xmlNode *pm = NULL;
	for (unsigned i = 0; i < n->vm->globals->len; i++) {
		const struct conf_global *global = n->vm->globals->pdata[i];
		bool off, found = false;
		for (unsigned s = 0; s < G_N_ELEMENTS(states) && strcmp(global->driver, "ICH9-LPC") == 0; s++) {
			if (strcmp(global->property, states[s][0]) != 0)
				continue;
			if (!units_parse_bool(global->value, &off, error))
				return false;
			if (!pm)
				pm = native_add(n->root, "pm", NULL, NULL);
			native_add(pm, states[s][1], NULL, "enabled", off ? "no" : "yes", NULL);
			found = true;
		}
		if (!found) {
			g_autofree char *name = g_strdup_printf("%s.%s", global->driver, global->property);
			return has_no_place("-global", name, error);
		}
	}
	return true;
}

static bool add_ends(struct native *n, GError **error)
{
	const struct conf_action *action = &n->vm->action;
	if (action->panic != CONF_PANIC_SHUTDOWN && action->panic != CONF_PANIC_PAUSE)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "-action panic: a domain has shutdown and pause");
	native_add(n->root, "on_poweroff", "destroy", NULL);
	native_add(n->root, "on_reboot", action->reboot == CONF_REBOOT_RESET ? "restart" : "destroy", NULL);
	native_add(n->root, "on_crash", action->panic == CONF_PANIC_PAUSE ? "preserve" : "destroy", NULL);
	return true;
}

static void add_features(struct native *n)
{
	xmlNode *features = native_add(n->root, "features", NULL, NULL);
	if (!n->vm->no_acpi && n->vm->machine.acpi != CONF_SWITCH_OFF)
		native_add(features, "acpi", NULL, NULL);
	native_add(features, "apic", NULL, NULL);
}

/* --- Memory --------------------------------------------------------------------------------------- */

/* From which of the host's nodes all memory comes. */
static bool add_numatune(struct native *n, struct keyval *props, const char *what, GError **error)
{
	static const char *const modes[][2] = {
		{"bind", "strict"}, {"preferred", "preferred"}, {"interleave", "interleave"}};
	g_autofree char *nodes = native_take_host_nodes(props), *policy = keyval_take(props, "policy");
	if (!nodes && (!policy || !strcmp(policy, "default")))
		return true;
	for (unsigned i = 0; nodes && i < G_N_ELEMENTS(modes); i++) {
		if (g_strcmp0(policy, modes[i][0]) == 0)
			return native_add(native_add(n->root, "numatune", NULL, NULL), "memory", NULL, "mode",
					  modes[i][1], "nodeset", nodes, NULL);
	}
	return has_no_place(what, nodes && !policy ? "host-nodes" : "policy", error);
}

/* One object for all of the memory at power-on. */
static bool add_backend(struct native *n, xmlNode *backing, GError **error)
{
	const struct conf_item *item = native_take_item(n, CONF_OBJECT, n->vm->machine.memory_backend, error);
	if (!item)
		return false;
	auto_keyval props = keyval_copy(item->props);
	g_autofree char *size = keyval_take(props, "size"), *what = g_strdup_printf("-object %s", item->type);
	g_autofree char *page = keyval_take(props, "hugetlbsize"), *threads = keyval_take(props, "prealloc-threads");
	static const char prefix[] = "memory-backend-";
	const char *source = g_str_has_prefix(item->type, prefix) ? item->type + strlen(prefix) : "";
	uint64_t bytes = 0, page_bytes = 0;
	bool shared, huge, taken, discard;
	if (strcmp(source, "memfd") != 0 && strcmp(source, "ram") != 0)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "%s: a domain's memory is a memory-backend-memfd or -ram, or none is named", what);
	if (!native_take_switch(props, "share", false, &shared, error) ||
	    !native_take_switch(props, "hugetlb", false, &huge, error) ||
	    !native_take_switch(props, "prealloc", false, &taken, error) ||
	    !native_take_switch(props, "discard-data", false, &discard, error) ||
	    !add_numatune(n, props, what, error) || !native_all_read(props, what, error) || (size && !units_parse_size(size, 1, &bytes, error)) ||
	    (page && !units_parse_size(page, 1, &page_bytes, error)))
		return false;
	if (bytes != n->vm->memory.size)
		return error_set(error, BERTH_ERR_INVALID, "%s: its size is not that of -m", what);
	if (huge) {
		xmlNode *pages = native_add(backing, "hugepages", NULL, NULL);
		if (page)
			native_set_number(native_add(pages, "page", NULL, "unit", "KiB", NULL), "size",
					  page_bytes / KIB);
	}
	if (strcmp(source, "memfd") == 0)
		native_add(backing, "source", NULL, "type", "memfd", NULL);
	native_add(backing, "access", NULL, "mode", shared ? "shared" : "private", NULL);
	if (taken)
		native_add(backing, "allocation", NULL, "mode", "immediate", "threads", threads, NULL);
	if (discard)
		native_add(backing, "discard", NULL, NULL);
	return true;
}

static bool add_backing(struct native *n, GError **error)
{
	bool unmerged = n->vm->machine.mem_merge == CONF_SWITCH_OFF;
	if (!n->vm->machine.memory_backend && !n->vm->mem_lock && !unmerged)
		return true;
	xmlNode *backing = native_add(n->root, "memoryBacking", NULL, NULL);
	if (unmerged)
		native_add(backing, "nosharepages", NULL, NULL);
	if (n->vm->mem_lock)
		native_add(backing, "locked", NULL, NULL);
	return !n->vm->machine.memory_backend || add_backend(n, backing, error);
}

/* After the devices: libvirt's <memory> counts in what is plugged in. */
static void add_memory(struct native *n)
{
	const struct conf_memory *memory = &n->vm->memory;
	add_number(n->root, "memory", (memory->size + KIB - 1) / KIB + n->device_kib);
	if (n->vm->machine.dump_guest_core == CONF_SWITCH_OFF)
		xmlSetProp(xml_child(n->root, "memory"), (const xmlChar *)"dumpCore", (const xmlChar *)"off");
	if (!memory->maxmem || memory->maxmem <= memory->size)
		return;
	add_number(n->root, "maxMemory", memory->maxmem / KIB);
	native_set_number(xml_child(n->root, "maxMemory"), "slots", memory->slots);
}

/* --- The whole ------------------------------------------------------------------------------------ */

static bool fill(struct native *n, GError **error)
{
	xmlNode *clock = NULL;
	if (!check_rest(n->vm, error) || !add_identity(n, error) || !add_os(n, error))
		return false;
	add_vcpus(n);
	add_features(n);
	if (!add_clock(n, &clock, error) || !add_cpu(n, clock, error) || !add_sleep(n, error) ||
	    !add_ends(n, error) || !add_backing(n, error))
		return false;
	n->devices = native_add(n->root, "devices", NULL, NULL);
	/* The daemon has a monitor of its own. */
	for (unsigned i = 0; i < n->vm->monitors->len; i++) {
		const struct conf_monitor *monitor = n->vm->monitors->pdata[i];
		if (monitor->chardev && !native_take_item(n, CONF_CHARDEV, monitor->chardev, error))
			return false;
	}
	if (!native_devices(n, error) || !all_used(n, error))
		return false;
	add_memory(n);
	return true;
}

/* The boards' defaults, which -nic and -hda mean. */
static bool complete(struct conf_vm *vm, GError **error)
{
	static const struct conf_board q35 = {"virtio-net-pci", "ide-hd", "ide-cd", "pci", true};
	static const struct conf_board microvm = {"virtio-net-device", "virtio-blk-device", NULL, "device", false};
	return conf_vm_complete(vm, g_strcmp0(vm->machine.type, "microvm") == 0 ? &microvm : &q35, error);
}

char *conf_domain_from_vm(struct conf_vm *vm, GError **error)
{
	if (!complete(vm, error))
		return NULL;
	g_autoptr(xmlDoc) doc = xmlNewDoc((const xmlChar *)"1.0");
	struct native n = {
		.vm = vm, .root = xmlNewDocNode(doc, NULL, (const xmlChar *)"domain", NULL),
		.used = g_hash_table_new(NULL, NULL),
		.ports = g_hash_table_new(g_str_hash, g_str_equal),
		.targets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
	};
	xmlDocSetRootElement(doc, n.root);
	bool good = fill(&n, error);
	g_hash_table_unref(n.used);
	g_hash_table_unref(n.ports);
	g_hash_table_unref(n.targets);
	if (!good)
		return NULL;
	struct xml_writer w = xml_writer_new();
	xml_tree(&w, n.root);
	g_autofree char *text = xml_writer_take(&w);
	struct conf_domain *conf = conf_domain_parse(text, false, error);
	char *document = conf ? conf_domain_format(conf, -1) : NULL;
	if (!conf)
		g_prefix_error(error, "as a domain, the machine is not valid: ");
	conf_domain_free(conf);
	return document;
}
