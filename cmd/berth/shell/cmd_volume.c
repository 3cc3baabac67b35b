/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Volumes of storage pools. */
#include "table.h"

#include "shell.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct option_flag create_flags[] = {
	{"prealloc-metadata", 1}, {"reflink", 2}, {"validate", 4}, {NULL},
};
static const struct option_flag resize_flags[] = {{"allocate", 1}, {"shrink", 4}, {NULL}};

static bool find_volume(struct shell *sh, const struct cmd *cmd, const char **name,
			struct remote_storage_vol *vol)
{
	return shell_volume(sh, cmd, "vol", "pool", BY_ANY, name, vol);
}

static const char *volume_type(int type)
{
	static const char *const names[] = {"file", "block", "dir", "network", "netdir", "ploop"};
	return type >= 0 && (size_t)type < G_N_ELEMENTS(names) ? names[type] : "unknown";
}

/* --- Making ----------------------------------------------------------------------------------- */

/* The path of the volume that a name, key or path means; NULL after an error. */
static const char *backing_path(struct shell *sh, struct remote_storage_pool pool, char *text)
{
	struct remote_storage_vol_lookup_by_name_ret named;
	struct remote_storage_vol_lookup_by_key_ret key;
	struct remote_storage_vol_lookup_by_path_ret path;
	struct remote_storage_vol_get_path_ret ret;
	struct remote_storage_vol vol;
	if (GET(sh, storage_vol_lookup_by_name, &named, pool, text)) {
		vol = named.vol;
	} else if (GET(sh, storage_vol_lookup_by_key, &key, text)) {
		vol = key.vol;
	} else if (GET(sh, storage_vol_lookup_by_path, &path, text)) {
		vol = path.vol;
	} else {
		shell_fail(sh, "failed to get vol '%s'", text);
		return NULL;
	}
	return GET(sh, storage_vol_get_path, &ret, vol) ? ret.name : NULL;
}

bool cmd_vol_create_as(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_pool pool;
	struct remote_storage_vol_create_xml_ret ret;
	const char *name, *capacity_text, *format, *backing, *backing_format;
	const char *allocation_text = opt_text(cmd, "allocation");
	uint64_t capacity, allocation = 0;
	if (!shell_pool(sh, cmd, "pool", BY_ANY, &pool) || !opt_string(sh, cmd, "name", &name) ||
	    !opt_string(sh, cmd, "capacity", &capacity_text))
		return false;
	if (!scale_number(capacity_text, 1, UINT64_MAX, &capacity))
		return shell_fail(sh, "Malformed size %s", capacity_text);
	if (allocation_text && !scale_number(allocation_text, 1, UINT64_MAX, &allocation))
		return shell_fail(sh, "Malformed size %s", allocation_text);
	if (!opt_string(sh, cmd, "format", &format) || !opt_string(sh, cmd, "backing-vol", &backing) ||
	    !opt_string(sh, cmd, "backing-vol-format", &backing_format))
		return false;
	const char *path = backing ? backing_path(sh, pool, (char *)backing) : NULL;
	if (backing && !path)
		return false;
	g_autofree char *capacity_bytes = g_strdup_printf("%" PRIu64, capacity);
	g_autofree char *allocation_bytes = g_strdup_printf("%" PRIu64, allocation);
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "volume", NULL);
	xml_leaf(&w, "name", name, NULL);
	xml_leaf(&w, "capacity", capacity_bytes, NULL);
	if (allocation_text)
		xml_leaf(&w, "allocation", allocation_bytes, NULL);
	if (format) {
		xml_open(&w, "target", NULL);
		xml_empty(&w, "format", "type", format, NULL);
		xml_close(&w, "target");
	}
	if (path) {
		xml_open(&w, "backingStore", NULL);
		xml_leaf(&w, "path", path, NULL);
		if (backing_format)
			xml_empty(&w, "format", "type", backing_format, NULL);
		xml_close(&w, "backingStore");
	}
	xml_close(&w, "volume");
	g_autofree char *xml = xml_writer_take(&w);
	if (opt_bool(cmd, "print-xml")) {
		shell_print("%s", xml);
		return true;
	}
	if (!GET(sh, storage_vol_create_xml, &ret, pool, xml, opt_flags(cmd, create_flags)))
		return shell_fail(sh, "Failed to create vol %s", name);
	shell_extra(sh, "Vol %s created\n", name);
	return true;
}

bool cmd_vol_create(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_pool pool;
	struct remote_storage_vol_create_xml_ret ret;
	const char *path = opt_text(cmd, "file");
	if (!shell_pool(sh, cmd, "pool", BY_ANY, &pool))
		return false;
	g_autofree char *xml = shell_option_file(sh, cmd, "file");
	if (!xml)
		return false;
	if (!GET(sh, storage_vol_create_xml, &ret, pool, xml, opt_flags(cmd, create_flags)))
		return shell_fail(sh, "Failed to create vol from %s", path);
	shell_extra(sh, "Vol %s created from %s\n", ret.vol.name, path);
	return true;
}

bool cmd_vol_create_from(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_pool pool;
	struct remote_storage_vol input;
	struct remote_storage_vol_create_xml_from_ret ret;
	const char *path = opt_text(cmd, "file");
	if (!shell_pool(sh, cmd, "pool", BY_ANY, &pool) || !opt_string(sh, cmd, "file", &path) ||
	    !shell_volume(sh, cmd, "vol", "inputpool", BY_ANY, NULL, &input))
		return false;
	g_autofree char *xml = shell_read_file(sh, path);
	if (!xml)
		return false;
	if (!GET(sh, storage_vol_create_xml_from, &ret, pool, xml, input, opt_flags(cmd, create_flags)))
		return shell_fail(sh, "Failed to create vol from %s", path);
	shell_extra(sh, "Vol %s created from input vol %s\n", ret.vol.name, input.name);
	return true;
}

static char *clone_xml(const char *xml, const char *name)
{
	g_autoptr(xmlDoc) doc = xml_parse(xml, "volume_definition", NULL);
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
	xmlNode *node = root ? xml_child(root, "name") : NULL;
	if (!node)
		return NULL;
	xmlNodeSetContent(node, NULL);
	xmlNodeAddContent(node, (const xmlChar *)name);
	return xml_node_text(doc, root);
}

bool cmd_vol_clone(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_vol vol;
	struct remote_storage_pool_lookup_by_volume_ret pool;
	struct remote_storage_vol_get_xml_desc_ret xml;
	struct remote_storage_vol_create_xml_from_ret ret;
	const char *name;
	if (!find_volume(sh, cmd, NULL, &vol))
		return false;
	if (!GET(sh, storage_pool_lookup_by_volume, &pool, vol))
		return shell_fail(sh, "failed to get parent pool");
	if (!opt_string(sh, cmd, "newname", &name) || !GET(sh, storage_vol_get_xml_desc, &xml, vol, 0))
		return false;
	g_autofree char *text = clone_xml(xml.xml, name);
	if (!text)
		return shell_fail(sh, "Failed to allocate XML buffer");
	if (opt_bool(cmd, "print-xml")) {
		shell_print("%s", text);
		return true;
	}
	if (!GET(sh, storage_vol_create_xml_from, &ret, pool.pool, text, vol, opt_flags(cmd, create_flags)))
		return shell_fail(sh, "Failed to clone vol from %s", vol.name);
	shell_extra(sh, "Vol %s cloned from %s\n", ret.vol.name, vol.name);
	return true;
}

/* --- Changing --------------------------------------------------------------------------------- */

bool cmd_vol_delete(struct shell *sh, const struct cmd *cmd)
{
	enum { WITH_SNAPSHOTS = 2 };
	struct remote_storage_vol vol;
	const char *name;
	if (!find_volume(sh, cmd, &name, &vol))
		return false;
	if (!CALL(sh, storage_vol_delete, vol, opt_bool(cmd, "delete-snapshots") ? WITH_SNAPSHOTS : 0))
		return shell_fail(sh, "Failed to delete vol %s", name);
	shell_extra(sh, "Vol %s deleted\n", name);
	return true;
}

bool cmd_vol_wipe(struct shell *sh, const struct cmd *cmd)
{
	static const char *const algorithms[] = {"zero", "nnsa", "dod", "bsi", "gutmann", "schneier",
						 "pfitzner7", "pfitzner33", "random", "trim"};
	struct remote_storage_vol vol;
	const char *name, *algorithm;
	unsigned number = 0;
	if (!find_volume(sh, cmd, &name, &vol) || !opt_string(sh, cmd, "algorithm", &algorithm))
		return false;
	while (algorithm && number < G_N_ELEMENTS(algorithms) && strcmp(algorithms[number], algorithm))
		number++;
	if (number == G_N_ELEMENTS(algorithms))
		return shell_fail(sh, "Unsupported algorithm '%s'", algorithm);
	bool good = CALL(sh, storage_vol_wipe_pattern, vol, number, 0);
	if (!good && number == 0 && shell_error_code(sh) == CLIENT_NO_SUPPORT)
		good = CALL(sh, storage_vol_wipe, vol, 0);
	if (!good)
		return shell_fail(sh, "Failed to wipe vol %s", name);
	shell_extra(sh, "Vol %s wiped\n", name);
	return true;
}

bool cmd_vol_resize(struct shell *sh, const struct cmd *cmd)
{
	enum { RESIZE_DELTA = 2 };
	struct remote_storage_vol vol;
	const char *text;
	uint64_t capacity;
	bool delta = opt_bool(cmd, "delta");
	if (!find_volume(sh, cmd, NULL, &vol) || !opt_string(sh, cmd, "capacity", &text))
		return false;
	text += strspn(text, " \t");
	if (*text == '-') {
		if (!opt_bool(cmd, "shrink"))
			return shell_fail(sh, "negative size requires --shrink");
		text++;
		delta = true;
	}
	if (!scale_number(text, 1, UINT64_MAX, &capacity))
		return shell_fail(sh, "Malformed size %s", text);
	uint32_t flags = opt_flags(cmd, resize_flags) | (delta ? RESIZE_DELTA : 0);
	if (!CALL(sh, storage_vol_resize, vol, capacity, flags))
		return shell_fail(sh, delta ? "Failed to change size of volume '%s' by %s" :
					      "Failed to change size of volume '%s' to %s", vol.name, text);
	shell_extra(sh, delta ? "Size of volume '%s' successfully changed by %s\n" :
				"Size of volume '%s' successfully changed to %s\n", vol.name, text);
	return true;
}

/* --- Looking ---------------------------------------------------------------------------------- */

bool cmd_vol_dumpxml(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_vol vol;
	struct remote_storage_vol_get_xml_desc_ret ret;
	return find_volume(sh, cmd, NULL, &vol) && GET(sh, storage_vol_get_xml_desc, &ret, vol, 0) &&
	       shell_show_xml(sh, cmd, ret.xml);
}

static char *size_text(uint64_t size, bool bytes)
{
	const char *unit;
	if (bytes)
		return g_strdup_printf("%" PRIu64 " bytes", size);
	double value = scaled_size(size, &unit);
	return g_strdup_printf("%.2lf %s", value, unit);
}

bool cmd_vol_info(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_vol vol;
	struct remote_storage_vol_get_info_flags_ret info;
	struct remote_storage_vol_get_info_ret plain;
	bool physical = opt_bool(cmd, "physical"), bytes = opt_bool(cmd, "bytes");
	if (!find_volume(sh, cmd, NULL, &vol))
		return false;
	shell_print("%-15s %s\n", "Name:", vol.name);
	bool good = physical ? GET(sh, storage_vol_get_info_flags, &info, vol, 1) :
			       GET(sh, storage_vol_get_info, &plain, vol);
	if (!good)
		return false;
	if (!physical)
		info = (struct remote_storage_vol_get_info_flags_ret){plain.type, plain.capacity,
								      plain.allocation};
	g_autofree char *capacity = size_text(info.capacity, bytes);
	g_autofree char *allocation = size_text(info.allocation, bytes);
	shell_print("%-15s %s\n%-15s %s\n%-15s %s\n", "Type:", volume_type(info.type), "Capacity:", capacity,
		    physical ? "Physical:" : "Allocation:", allocation);
	return true;
}

static int compare_volumes(const void *a, const void *b)
{
	const struct remote_storage_vol *x = a, *y = b;
	return g_ascii_strcasecmp(x->name, y->name);
}

bool cmd_vol_list(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_pool pool;
	struct remote_storage_pool_list_all_volumes_ret ret;
	bool details = opt_bool(cmd, "details");
	if (!shell_pool(sh, cmd, "pool", BY_ANY, &pool))
		return false;
	if (!GET(sh, storage_pool_list_all_volumes, &ret, pool, 1, 0))
		return shell_fail(sh, "Failed to list volumes");
	qsort(ret.vols.items, ret.vols.count, sizeof(*ret.vols.items), compare_volumes);
	struct table *table = details ? table_new("Name", "Path", "Type", "Capacity", "Allocation", NULL) :
					table_new("Name", "Path", NULL);
	for (uint32_t i = 0; i < ret.vols.count; i++) {
		const struct remote_storage_vol vol = ret.vols.items[i];
		struct remote_storage_vol_get_path_ret path;
		struct remote_storage_vol_get_info_ret info;
		const char *shown = GET(sh, storage_vol_get_path, &path, vol) ? path.name : "unknown";
		if (!details) {
			table_row(table, vol.name, shown, NULL);
			continue;
		}
		bool known = GET(sh, storage_vol_get_info, &info, vol);
		g_autofree char *capacity = known ? size_text(info.capacity, false) : g_strdup("unknown");
		g_autofree char *allocation = known ? size_text(info.allocation, false) : g_strdup("unknown");
		table_row(table, vol.name, shown, known ? volume_type(info.type) : "unknown", capacity,
			  allocation, NULL);
	}
	shell_forget_error(sh);
	table_print(sh, table);
	return true;
}

bool cmd_vol_name(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_vol vol;
	if (!shell_volume(sh, cmd, "vol", NULL, BY_UUID, NULL, &vol))
		return false;
	shell_print("%s\n", vol.name);
	return true;
}

bool cmd_vol_pool(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_vol vol;
	struct remote_storage_pool_lookup_by_volume_ret ret;
	char uuid[UUID_TEXT];
	if (!shell_volume(sh, cmd, "vol", NULL, BY_UUID, NULL, &vol))
		return false;
	if (!GET(sh, storage_pool_lookup_by_volume, &ret, vol))
		return shell_fail(sh, "failed to get parent pool");
	shell_print("%s\n", opt_bool(cmd, "uuid") ? format_uuid(ret.pool.uuid, uuid) : ret.pool.name);
	return true;
}

bool cmd_vol_key(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_vol vol;
	if (!find_volume(sh, cmd, NULL, &vol))
		return false;
	shell_print("%s\n", vol.key);
	return true;
}

bool cmd_vol_path(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_vol vol;
	struct remote_storage_vol_get_path_ret ret;
	if (!find_volume(sh, cmd, NULL, &vol) || !GET(sh, storage_vol_get_path, &ret, vol))
		return false;
	shell_print("%s\n", ret.name);
	return true;
}
