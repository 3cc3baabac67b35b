/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -readconfig: a file of
 *
 *     # comment
 *     [group "id"]
 *       key = "value"
 *
 * where each section is one option. Sections are turned into option lists and applied in order.
 */
#include "options.h"

#include "base/error.h"

#include <string.h>

static const struct {
	const char *group, *option;
} groups[] = {
	{"machine", "machine"},	  {"accel", "accel"},	{"smp-opts", "smp"},   {"memory", "m"},
	{"boot-opts", "boot"},	  {"rtc", "rtc"},	{"name", "name"},      {"device", "device"},
	{"drive", "drive"},	  {"blockdev", "blockdev"}, {"netdev", "netdev"}, {"nic", "nic"},
	{"net", "net"},		  {"chardev", "chardev"}, {"mon", "mon"},	{"object", "object"},
	{"global", "global"},	  {"smbios", "smbios"},	{"fsdev", "fsdev"},    {"virtfs", "virtfs"},
	{"fw_cfg", "fw_cfg"},	  {"action", "action"},	{"sandbox", "sandbox"},
	{"overcommit", "overcommit"}, {"msg", "msg"},	{"acpi", "acpitable"},
};

static const char *option_of_group(const char *group)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++) {
		if (strcmp(groups[i].group, group) == 0)
			return groups[i].option;
	}
	return NULL;
}

struct section {
	const char *option;
	struct keyval *kv;
};

static bool finish_section(struct options *o, struct section *section, GError **error)
{
	if (!section->option)
		return true;
	g_autofree char *text = keyval_format(section->kv, NULL);
	bool good = options_apply(o, section->option, text, error);
	g_clear_pointer(&section->kv, keyval_free);
	section->option = NULL;
	return good;
}

/* [group] or [group "id"] */
static bool begin_section(struct section *section, char *line, GError **error)
{
	char *end = strrchr(line, ']');
	if (!end || end[1])
		return error_set(error, BERTH_ERR_INVALID, "'%s' does not end with ']'", line);
	*end = 0;
	char *quote = strchr(line, '"'), *id = NULL;
	if (quote) {
		id = quote + 1;
		char *close = strchr(id, '"');
		if (!close)
			return error_set(error, BERTH_ERR_INVALID, "the id's quote is not closed");
		*quote = *close = 0;
	}
	const char *group = g_strstrip(line + 1);
	section->option = option_of_group(group);
	if (!section->option)
		return error_set(error, BERTH_ERR_INVALID, "there is no group [%s]", group);
	section->kv = keyval_new();
	if (id)
		keyval_add(section->kv, strcmp(group, "blockdev") == 0 ? "node-name" : "id", id);
	return true;
}

static bool take_line(struct options *o, struct section *section, char *line, GError **error)
{
	line = g_strstrip(line);
	if (!line[0] || line[0] == '#')
		return true;
	if (line[0] == '[')
		return finish_section(o, section, error) && begin_section(section, line, error);
	char *equals = strchr(line, '=');
	if (!equals || !section->option)
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' is neither [group] nor key = \"value\" in a group", line);
	*equals = 0;
	g_strchomp(line);
	char *value = g_strstrip(equals + 1);
	size_t length = strlen(value);
	if (length < 2 || value[0] != '"' || value[length - 1] != '"')
		return error_set(error, BERTH_ERR_INVALID, "the value of %s is not in quotes", line);
	value[length - 1] = 0;
	keyval_add(section->kv, line, value + 1);
	return true;
}

bool options_read_config(struct options *o, const char *text, const char *path, GError **error)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	struct section section = {0};
	bool good = true;
	unsigned number = 0;
	while (good && lines[number]) {
		good = take_line(o, &section, lines[number], error);
		number++;
	}
	good = good && finish_section(o, &section, error);
	if (section.kv)
		keyval_free(section.kv);
	if (!good)
		g_prefix_error(error, "%s, line %u: ", path, number);
	return good;
}
