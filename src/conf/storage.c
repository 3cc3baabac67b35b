/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the XML of pools and that of volumes have in common. */
#include "conf/storage.h"

#include "base/error.h"
#include "base/units.h"

#include <string.h>

/* The factor of a suffix: one of "bkmgtpe" alone or with "iB" counts by 1024, with "B" by 1000. */
static bool read_unit(const char *unit, uint64_t *factor, GError **error)
{
	static const char letters[] = "kmgtpe";
	const char *letter = strchr(letters, g_ascii_tolower(*unit));
	*factor = 1;
	if (!*unit || g_ascii_strcasecmp(unit, "b") == 0 || g_ascii_strcasecmp(unit, "byte") == 0 ||
	    g_ascii_strcasecmp(unit, "bytes") == 0)
		return true;
	bool binary = !unit[1] || g_ascii_strcasecmp(unit + 1, "ib") == 0;
	if (!letter || (!binary && g_ascii_strcasecmp(unit + 1, "b") != 0))
		return error_set(error, BERTH_ERR_INVALID, "unknown suffix '%s'", unit);
	for (long i = 0; i <= letter - letters; i++)
		*factor *= binary ? 1024 : 1000;
	return true;
}

bool conf_text_is_plain(const char *text)
{
	for (const char *c = text; *c; c++) {
		if (g_ascii_iscntrl(*c))
			return false;
	}
	return *text;
}

bool conf_size_read(const xmlNode *node, const char *what, uint64_t *bytes, GError **error)
{
	if (!node)
		return error_set(error, BERTH_ERR_INVALID, "missing %s element", what);
	g_autofree char *text = xml_text(node), *unit = xml_attribute(node, "unit");
	uint64_t factor, number;
	if (!read_unit(unit ? unit : "", &factor, error))
		return false;
	if (!g_ascii_string_to_unsigned(text, 10, 0, UINT64_MAX, &number, NULL))
		return error_set(error, BERTH_ERR_INVALID, "malformed %s element", what);
	if (number > INT64_MAX / factor)
		return error_set(error, BERTH_ERR_INVALID, "%s '%s%s' is more than 8 EiB", what, text,
				 unit ? unit : "");
	*bytes = number * factor;
	return true;
}

void conf_size_write(struct xml_writer *w, const char *name, uint64_t bytes)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, bytes);
	xml_leaf(w, name, text, "unit", "bytes", NULL);
}

/* A user or group: a number, or -1 for the daemon's own. */
static bool read_id(const xmlNode *node, const char *name, uint32_t *id, GError **error)
{
	g_autofree char *text = xml_child_text(node, name);
	uint64_t number;
	if (!text || strcmp(text, "-1") == 0)
		return true;
	if (!g_ascii_string_to_unsigned(text, 10, 0, UINT32_MAX - 1, &number, NULL))
		return error_set(error, BERTH_ERR_INVALID, "malformed %s element", name);
	*id = number;
	return true;
}

bool conf_permissions_read(const xmlNode *target, struct conf_permissions *permissions,
			   GError **error)
{
	*permissions = CONF_PERMISSIONS_UNSET;
	const xmlNode *node = xml_child(target, "permissions");
	g_autofree char *mode = xml_child_text(node, "mode");
	uint64_t bits;
	if (mode && !g_ascii_string_to_unsigned(mode, 8, 0, 07777, &bits, NULL))
		return error_set(error, BERTH_ERR_INVALID, "malformed octal mode");
	if (mode)
		permissions->mode = bits;
	return read_id(node, "owner", &permissions->owner, error) &&
	       read_id(node, "group", &permissions->group, error);
}

static void write_number(struct xml_writer *w, const char *name, const char *format, uint32_t value)
	G_GNUC_PRINTF(3, 0);
static void write_number(struct xml_writer *w, const char *name, const char *format, uint32_t value)
{
	if (value == CONF_UNSET)
		return;
	g_autofree char *text = g_strdup_printf(format, value);
	xml_leaf(w, name, text, NULL);
}

void conf_permissions_write(struct xml_writer *w, const struct conf_permissions *permissions)
{
	if (permissions->mode == CONF_UNSET && permissions->owner == CONF_UNSET &&
	    permissions->group == CONF_UNSET)
		return;
	xml_open(w, "permissions", NULL);
	write_number(w, "mode", "0%o", permissions->mode);
	write_number(w, "owner", "%u", permissions->owner);
	write_number(w, "group", "%u", permissions->group);
	xml_close(w, "permissions");
}
