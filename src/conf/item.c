/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices, back ends and objects: a type, an id and a list of properties. */
#include "conf/device.h"

#include "base/error.h"

#include <string.h>

static const struct {
	const char *option, *implied;
	bool id_required;
} kinds[CONF_ITEM_KINDS] = {
	[CONF_DEVICE] = {"-device", "driver", false},
	[CONF_NETDEV] = {"-netdev", "type", true},
	[CONF_CHARDEV] = {"-chardev", "backend", true},
	[CONF_OBJECT] = {"-object", "qom-type", true},
	[CONF_FSDEV] = {"-fsdev", "fsdriver", true},
};

const char *conf_item_option(enum conf_item_kind kind)
{
	return kinds[kind].option;
}

bool conf_id_is_valid(const char *id)
{
	if (!g_ascii_isalpha(id[0]))
		return false;
	for (; *id; id++) {
		if (!g_ascii_isalnum(*id) && !strchr("-._", *id))
			return false;
	}
	return true;
}

struct conf_item *conf_item_new(const char *type, const char *id)
{
	struct conf_item *item = g_new0(struct conf_item, 1);
	item->type = g_strdup(type);
	item->id = g_strdup(id);
	item->props = keyval_new();
	return item;
}

void conf_item_free(struct conf_item *item)
{
	if (!item)
		return;
	g_free(item->type);
	g_free(item->id);
	g_free(item->bus);
	keyval_free(item->props);
	g_free(item);
}

struct conf_item *conf_item_from_keyval(enum conf_item_kind kind, struct keyval *kv, GError **error)
{
	const char *option = kinds[kind].option;
	struct conf_item *item = g_new0(struct conf_item, 1);
	item->props = kv;
	item->type = keyval_take(kv, kinds[kind].implied);
	item->id = keyval_take(kv, "id");
	if (kind == CONF_DEVICE)
		item->bus = keyval_take(kv, "bus");

	if (!item->type || !item->type[0])
		error_set(error, BERTH_ERR_INVALID, "%s: no type is given: see %s help", option,
			  option);
	else if (!item->id && kinds[kind].id_required)
		error_set(error, BERTH_ERR_INVALID, "%s %s: it needs a name: add id=NAME", option,
			  item->type);
	else if (item->id && !conf_id_is_valid(item->id))
		error_set(error, BERTH_ERR_INVALID,
			  "%s %s: '%s' cannot be an id: use letters, digits, '-', '.' and '_', "
			  "beginning with a letter",
			  option, item->type, item->id);
	else
		return item;
	conf_item_free(item);
	return NULL;
}

struct conf_item *conf_item_parse(enum conf_item_kind kind, const char *text, GError **error)
{
	struct keyval *kv = keyval_parse_any(text, kinds[kind].implied, error);
	if (!kv) {
		g_prefix_error(error, "%s: ", kinds[kind].option);
		return NULL;
	}
	return conf_item_from_keyval(kind, kv, error);
}

char *conf_item_format(enum conf_item_kind kind, const struct conf_item *item)
{
	auto_keyval kv = keyval_new();
	keyval_add(kv, kinds[kind].implied, item->type);
	if (item->id)
		keyval_add(kv, "id", item->id);
	if (item->bus)
		keyval_add(kv, "bus", item->bus);
	for (unsigned i = 0; i < keyval_count(item->props); i++)
		keyval_add(kv, item->props->keys->pdata[i], item->props->values->pdata[i]);
	return keyval_format(kv, kinds[kind].implied);
}

#define FIELD(type_, member) offsetof(struct type_, member)

static const struct keyval_field global_fields[] = {
	{"driver", KEYVAL_STRING, FIELD(conf_global, driver)},
	{"property", KEYVAL_STRING, FIELD(conf_global, property)},
	{"value", KEYVAL_STRING, FIELD(conf_global, value)},
	{NULL},
};

struct conf_global *conf_global_parse(const char *text, GError **error)
{
	struct conf_global *global = g_new0(struct conf_global, 1);
	const char *dot = strchr(text, '.'), *equals = strchr(text, '=');
	if (dot && equals && dot < equals) {
		global->driver = g_strndup(text, dot - text);
		global->property = g_strndup(dot + 1, equals - dot - 1);
		global->value = g_strdup(equals + 1);
		return global;
	}
	auto_keyval kv = keyval_parse(text, NULL, error);
	if (kv && keyval_bind(kv, global_fields, global, "-global", NULL, error)) {
		if (global->driver && global->property && global->value)
			return global;
		error_set(error, BERTH_ERR_INVALID,
			  "-global '%s' is not of the form DRIVER.PROPERTY=VALUE", text);
	}
	conf_global_free(global);
	return NULL;
}

void conf_global_free(struct conf_global *global)
{
	if (!global)
		return;
	keyval_clear(global_fields, global);
	g_free(global);
}

static const struct keyval_field fw_cfg_fields[] = {
	{"name", KEYVAL_STRING, FIELD(conf_blob, name)},
	{"file", KEYVAL_STRING, FIELD(conf_blob, file)},
	{"string", KEYVAL_STRING, FIELD(conf_blob, string)},
	{NULL},
};

static const struct keyval_field acpitable_fields[] = {
	{"file", KEYVAL_STRING, FIELD(conf_blob, file)},
	{"data", KEYVAL_REFUSED, .help = "write the whole table, with its header, into file=PATH"},
	{"sig", KEYVAL_REFUSED, .help = "write the whole table, with its header, into file=PATH"},
	{NULL},
};

static struct conf_blob *blob_parse(const char *text, const struct keyval_field *fields,
				    const char *option, const char *implied, GError **error)
{
	struct conf_blob *blob = g_new0(struct conf_blob, 1);
	auto_keyval kv = keyval_parse(text, implied, error);
	if (kv && keyval_bind(kv, fields, blob, option, NULL, error))
		return blob;
	conf_blob_free(blob);
	return NULL;
}

struct conf_blob *conf_fw_cfg_parse(const char *text, GError **error)
{
	struct conf_blob *blob = blob_parse(text, fw_cfg_fields, "-fw_cfg", "name", error);
	if (!blob || (blob->name && blob->name[0] && !blob->file != !blob->string &&
		      strlen(blob->name) < 56))
		return blob;
	error_set(error, BERTH_ERR_INVALID,
		  "-fw_cfg '%s': it needs a name of at most 55 characters and one of file=PATH and "
		  "string=TEXT",
		  text);
	conf_blob_free(blob);
	return NULL;
}

struct conf_blob *conf_acpitable_parse(const char *text, GError **error)
{
	struct conf_blob *blob = blob_parse(text, acpitable_fields, "-acpitable", NULL, error);
	if (!blob || blob->file)
		return blob;
	error_set(error, BERTH_ERR_INVALID, "-acpitable needs file=PATH of a whole ACPI table");
	conf_blob_free(blob);
	return NULL;
}

void conf_blob_free(struct conf_blob *blob)
{
	if (!blob)
		return;
	keyval_clear(fw_cfg_fields, blob);
	g_free(blob);
}

struct conf_monitor *conf_monitor_new(const char *spec, bool control, bool pretty)
{
	struct conf_monitor *monitor = g_new0(struct conf_monitor, 1);
	monitor->spec = g_strdup(spec);
	monitor->control = control;
	monitor->pretty = pretty;
	return monitor;
}

struct conf_monitor *conf_mon_parse(const char *text, GError **error)
{
	static const char *const modes[] = {"readline", "control", NULL};
	struct mon {
		char *chardev;
		int mode;
		bool pretty;
	} mon = {0};
	static const struct keyval_field fields[] = {
		{"chardev", KEYVAL_STRING, FIELD(mon, chardev)},
		{"mode", KEYVAL_ENUM, FIELD(mon, mode), .names = modes},
		{"pretty", KEYVAL_BOOL, FIELD(mon, pretty)},
		{NULL},
	};
	struct conf_monitor *monitor = NULL;
	auto_keyval kv = keyval_parse(text, "chardev", error);
	if (kv)
		g_free(keyval_take(kv, "id"));
	if (kv && keyval_bind(kv, fields, &mon, "-mon", NULL, error)) {
		if (!mon.chardev) {
			error_set(error, BERTH_ERR_INVALID, "-mon needs chardev=ID");
		} else {
			monitor = conf_monitor_new(NULL, mon.mode == 1, mon.pretty);
			monitor->chardev = g_steal_pointer(&mon.chardev);
		}
	}
	keyval_clear(fields, &mon);
	return monitor;
}

void conf_monitor_free(struct conf_monitor *monitor)
{
	if (!monitor)
		return;
	g_free(monitor->spec);
	g_free(monitor->chardev);
	g_free(monitor);
}
