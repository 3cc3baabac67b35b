/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every element and attribute of a domain's XML that Berth understands. */
#include "conf/domain.h"

#include "base/error.h"

#include <string.h>

/* "path attribute..."; "*" as the attribute: whatever stands below is the client's own business. */
static const char *const grammar[] = {
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
	"domain/os",
	"domain/os/type arch machine",
	"domain/os/loader readonly type secure",
	"domain/os/kernel",
	"domain/os/initrd",
	"domain/os/cmdline",
	"domain/os/boot dev",
	"domain/os/bootmenu enable",
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
	"domain/devices/disk/readonly",
	"domain/devices/disk/shareable",
	"domain/devices/disk/serial",
	"domain/devices/disk/boot order",
	"domain/devices/disk/backingStore",
	"domain/devices/controller type index model ports",
	"domain/devices/controller/model name",
	"domain/devices/controller/target chassis port",
	"domain/devices/interface type",
	"domain/devices/interface/mac address",
	"domain/devices/interface/source bridge",
	"domain/devices/interface/target dev",
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
	"domain/devices/rng model",
	"domain/devices/rng/backend model",
};

/*
 * Attributes whose only value that we can keep is the one here: management programs write them out
 * to say that a thing is off, and it is.
 */
static const struct only_value {
	const char *path, *attribute, *value;
} only_values[] = {
	{ "domain/os/loader", "secure", "no" },
	{ "domain/os/bootmenu", "enable", "no" },
	{ "domain/features/vmport", "state", "off" },
	{ "domain/devices/audio", "type", "none" },
	{ "domain/pm/suspend-to-mem", "enabled", "no" },
	{ "domain/pm/suspend-to-disk", "enabled", "no" },
};

bool conf_domain_error(GError **error, int code, const xmlNode *node, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	return error_set(error, code, "line %ld, element '%s': %s", xmlGetLineNo(node), node->name,
			 text);
}

/* What any device may have. */
static const char *const common[] = {
	"alias name",
	"address type domain bus slot function multifunction controller target unit port",
};

/* The words after the path, or NULL if the path is not in the table. */
static const char *find(const char *path)
{
	size_t length = strlen(path);
	for (unsigned i = 0; i < G_N_ELEMENTS(grammar); i++) {
		const char *entry = grammar[i];
		if (strncmp(entry, path, length) == 0 && (entry[length] == ' ' || !entry[length]))
			return entry + length;
	}
	static const char devices[] = "domain/devices/";
	const char *last = strrchr(path, '/');
	if (!g_str_has_prefix(path, devices) || strchr(path + strlen(devices), '/') != last)
		return NULL;
	for (unsigned i = 0; i < G_N_ELEMENTS(common); i++) {
		length = strcspn(common[i], " ");
		if (strlen(last + 1) == length && strncmp(common[i], last + 1, length) == 0)
			return common[i] + length;
	}
	return NULL;
}

static bool has_word(const char *words, const char *word)
{
	size_t length = strlen(word);
	for (const char *at = words; (at = strstr(at, word)); at += length) {
		if (at > words && at[-1] == ' ' && (at[length] == ' ' || !at[length]))
			return true;
	}
	return false;
}

static bool check_values(const xmlNode *node, const char *path, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(only_values); i++) {
		const struct only_value *only = &only_values[i];
		if (strcmp(only->path, path))
			continue;
		xmlChar *value = xmlGetProp(node, (const xmlChar *)only->attribute);
		bool kept = !value || strcmp((const char *)value, only->value) == 0;
		if (!kept)
			conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					  "Berth does not support %s='%s', only '%s'",
					  only->attribute, value, only->value);
		xmlFree(value);
		if (!kept)
			return false;
	}
	return true;
}

static bool check(const xmlNode *node, const char *parent, GError **error)
{
	g_autofree char *path = *parent ? g_strconcat(parent, "/", node->name, NULL)
					: g_strdup((const char *)node->name);
	const char *words = find(path);
	if (!words)
		return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
					 "Berth does not support <%s> in <%s>", node->name,
					 *parent ? strrchr(parent, '/') ? strrchr(parent, '/') + 1 : parent
						 : "a document");
	if (has_word(words, "*"))
		return true;
	for (const xmlAttr *attribute = node->properties; attribute; attribute = attribute->next) {
		if (!has_word(words, (const char *)attribute->name))
			return conf_domain_error(error, BERTH_ERR_NOT_SUPPORTED, node,
						 "Berth does not support the attribute '%s'",
						 attribute->name);
	}
	if (!check_values(node, path, error))
		return false;
	xml_for_each(child, node, NULL) {
		if (!check(child, path, error))
			return false;
	}
	return true;
}

bool conf_domain_check_names(const xmlNode *root, GError **error)
{
	return check(root, "", error);
}
