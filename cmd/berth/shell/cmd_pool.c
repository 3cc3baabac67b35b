/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Storage pools: what they are, and their lives. */
#include "table.h"

#include "shell.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_INACTIVE = 1, LIST_ACTIVE = 2, XML_INACTIVE = 1, STATE_RUNNING = 2, STATE_DEGRADED = 3 };

static const struct option_flag list_filters[] = {
	{"persistent", 1 << 2}, {"transient", 1 << 3}, {"autostart", 1 << 4}, {"no-autostart", 1 << 5},
	{NULL},
};
static const struct option_flag create_flags[] = {
	{"build", 1}, {"overwrite", 2}, {"no-overwrite", 4}, {NULL},
};
static const struct option_flag build_flags[] = {{"no-overwrite", 4}, {"overwrite", 8}, {NULL}};
/* Their bits begin at 6, in this order. */
static const char *const types[] = {"dir", "fs", "netfs", "logical", "disk", "iscsi", "scsi", "mpath",
				    "rbd", "sheepdog", "gluster", "zfs", "vstorage", "iscsi-direct"};

static const char *pool_state(int state)
{
	static const char *const names[] = {"inactive", "building", "running", "degraded", "inaccessible"};
	return state >= 0 && (size_t)state < G_N_ELEMENTS(names) ? names[state] : "unknown";
}

static bool find_pool(struct shell *sh, const struct cmd *cmd, const char **name,
		      struct remote_storage_pool *pool)
{
	*name = opt_text(cmd, "pool");
	return shell_pool(sh, cmd, "pool", BY_ANY, pool);
}

bool cmd_pool_autostart(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_pool pool;
	const char *name;
	bool off = opt_bool(cmd, "disable");
	if (!find_pool(sh, cmd, &name, &pool))
		return false;
	if (!CALL(sh, storage_pool_set_autostart, pool, !off))
		return shell_fail(sh, off ? "failed to unmark pool %s as autostarted" :
					    "failed to mark pool %s as autostarted", name);
	shell_extra(sh, off ? "Pool %s unmarked as autostarted\n" : "Pool %s marked as autostarted\n", name);
	return true;
}

/* One of the calls that take a pool, and what they say. */
struct action {
	bool (*call)(struct shell *sh, struct remote_storage_pool pool, uint32_t flags);
	const char *done, *failed;
};

static bool act(struct shell *sh, const struct cmd *cmd, const struct action *action, uint32_t flags)
{
	struct remote_storage_pool pool;
	const char *name;
	if (!find_pool(sh, cmd, &name, &pool))
		return false;
	if (!action->call(sh, pool, flags))
		return shell_fail(sh, "Failed to %s pool %s", action->failed, name);
	shell_extra(sh, "Pool %s %s\n", name, action->done);
	return true;
}

static bool call_build(struct shell *sh, struct remote_storage_pool pool, uint32_t flags)
{
	return CALL(sh, storage_pool_build, pool, flags);
}

static bool call_start(struct shell *sh, struct remote_storage_pool pool, uint32_t flags)
{
	return CALL(sh, storage_pool_create, pool, flags);
}

static bool call_destroy(struct shell *sh, struct remote_storage_pool pool, uint32_t flags)
{
	return CALL(sh, storage_pool_destroy, pool);
}

static bool call_delete(struct shell *sh, struct remote_storage_pool pool, uint32_t flags)
{
	return CALL(sh, storage_pool_delete, pool, flags);
}

static bool call_refresh(struct shell *sh, struct remote_storage_pool pool, uint32_t flags)
{
	return CALL(sh, storage_pool_refresh, pool, flags);
}

static bool call_undefine(struct shell *sh, struct remote_storage_pool pool, uint32_t flags)
{
	return CALL(sh, storage_pool_undefine, pool);
}

bool cmd_pool_build(struct shell *sh, const struct cmd *cmd)
{
	return act(sh, cmd, &(struct action){call_build, "built", "build"}, opt_flags(cmd, build_flags));
}

bool cmd_pool_start(struct shell *sh, const struct cmd *cmd)
{
	return opt_exclusive(sh, cmd, "overwrite", "no-overwrite") &&
	       act(sh, cmd, &(struct action){call_start, "started", "start"}, opt_flags(cmd, create_flags));
}

bool cmd_pool_destroy(struct shell *sh, const struct cmd *cmd)
{
	return act(sh, cmd, &(struct action){call_destroy, "destroyed", "destroy"}, 0);
}

bool cmd_pool_delete(struct shell *sh, const struct cmd *cmd)
{
	return act(sh, cmd, &(struct action){call_delete, "deleted", "delete"}, 0);
}

bool cmd_pool_refresh(struct shell *sh, const struct cmd *cmd)
{
	return act(sh, cmd, &(struct action){call_refresh, "refreshed", "refresh"}, 0);
}

bool cmd_pool_undefine(struct shell *sh, const struct cmd *cmd)
{
	return act(sh, cmd, &(struct action){call_undefine, "has been undefined", "undefine"}, 0);
}

/* --- XML -------------------------------------------------------------------------------------- */

static const char *pool_xml(struct shell *sh, struct remote_storage_pool pool, uint32_t flags)
{
	struct remote_storage_pool_get_xml_desc_ret ret;
	return GET(sh, storage_pool_get_xml_desc, &ret, pool, flags) ? ret.xml : NULL;
}

bool cmd_pool_dumpxml(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_pool pool;
	const char *name;
	if (!find_pool(sh, cmd, &name, &pool))
		return false;
	const char *xml = pool_xml(sh, pool, opt_bool(cmd, "inactive") ? XML_INACTIVE : 0);
	return xml && shell_show_xml(sh, cmd, xml);
}

static const char *fetch(struct shell *sh, void *object)
{
	const char *xml = pool_xml(sh, *(struct remote_storage_pool *)object, XML_INACTIVE);
	if (!xml && shell_error_code(sh) == CLIENT_INVALID_ARG)
		xml = pool_xml(sh, *(struct remote_storage_pool *)object, 0);
	return xml;
}

static bool define(struct shell *sh, void *object, const char *xml)
{
	struct remote_storage_pool_define_xml_ret ret;
	return GET(sh, storage_pool_define_xml, &ret, (char *)xml, 0);
}

bool cmd_pool_edit(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_pool pool;
	const struct edit edit = {fetch, define, &pool};
	const char *name;
	bool changed;
	if (!find_pool(sh, cmd, &name, &pool) || !shell_edit(sh, &edit, &changed))
		return false;
	shell_extra(sh, changed ? "Pool %s XML configuration edited.\n" :
				  "Pool %s XML configuration not changed.\n", pool.name);
	return true;
}

bool cmd_pool_create(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_pool_create_xml_ret ret;
	const char *path = opt_text(cmd, "file");
	if (!opt_exclusive(sh, cmd, "overwrite", "no-overwrite"))
		return false;
	g_autofree char *xml = shell_option_file(sh, cmd, "file");
	if (!xml)
		return false;
	if (!GET(sh, storage_pool_create_xml, &ret, xml, opt_flags(cmd, create_flags)))
		return shell_fail(sh, "Failed to create pool from %s", path);
	shell_extra(sh, "Pool %s created from %s\n", ret.pool.name, path);
	return true;
}

bool cmd_pool_define(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_pool_define_xml_ret ret;
	const char *path = opt_text(cmd, "file");
	g_autofree char *xml = shell_option_file(sh, cmd, "file");
	if (!xml)
		return false;
	if (!GET(sh, storage_pool_define_xml, &ret, xml, opt_bool(cmd, "validate") ? 1 : 0))
		return shell_fail(sh, "Failed to define pool from %s", path);
	shell_extra(sh, "Pool %s defined from %s\n", ret.pool.name, path);
	return true;
}

static void write_source(struct xml_writer *w, const struct cmd *cmd)
{
	const char *initiator = opt_text(cmd, "source-initiator"), *host = opt_text(cmd, "source-host");
	const char *wwnn = opt_text(cmd, "adapter-wwnn"), *wwpn = opt_text(cmd, "adapter-wwpn");
	const char *parent = opt_text(cmd, "adapter-parent");
	const char *parent_wwnn = opt_text(cmd, "adapter-parent-wwnn");
	const char *parent_wwpn = opt_text(cmd, "adapter-parent-wwpn");
	bool by_wwn = !parent && parent_wwnn && parent_wwpn;
	const char *fabric = parent || by_wwn ? NULL : opt_text(cmd, "adapter-parent-fabric-wwn");
	const char *usage = opt_text(cmd, "secret-usage"), *uuid = opt_text(cmd, "secret-uuid");
	const char *auth = opt_text(cmd, "auth-type"), *user = opt_text(cmd, "auth-username");
	if (host)
		xml_empty(w, "host", "name", host, NULL);
	if (opt_text(cmd, "source-path"))
		xml_empty(w, "dir", "path", opt_text(cmd, "source-path"), NULL);
	if (opt_text(cmd, "source-dev"))
		xml_empty(w, "device", "path", opt_text(cmd, "source-dev"), NULL);
	if (initiator) {
		xml_open(w, "initiator", NULL);
		xml_empty(w, "iqn", "name", initiator, NULL);
		xml_close(w, "initiator");
	}
	if (wwnn && wwpn)
		xml_empty(w, "adapter", "type", "fc_host", "parent", parent, "parent_wwnn",
			  by_wwn ? parent_wwnn : NULL, "parent_wwpn", by_wwn ? parent_wwpn : NULL,
			  "parent_fabric_wwn", fabric, "wwnn", wwnn, "wwpn", wwpn, NULL);
	else if (opt_text(cmd, "adapter-name"))
		xml_empty(w, "adapter", "type", "scsi_host", "name", opt_text(cmd, "adapter-name"), NULL);
	if (auth && user && (usage || uuid)) {
		xml_open(w, "auth", "type", auth, "username", user, NULL);
		xml_empty(w, "secret", "usage", usage, "uuid", usage ? NULL : uuid, NULL);
		xml_close(w, "auth");
	}
	if (opt_text(cmd, "source-format"))
		xml_empty(w, "format", "type", opt_text(cmd, "source-format"), NULL);
	if (opt_text(cmd, "source-name"))
		xml_leaf(w, "name", opt_text(cmd, "source-name"), NULL);
	if (opt_text(cmd, "source-protocol-ver"))
		xml_empty(w, "protocol", "ver", opt_text(cmd, "source-protocol-ver"), NULL);
}

/* A pool's XML from options; NULL after an error. g_free() it. */
static char *xml_of_options(struct shell *sh, const struct cmd *cmd)
{
	static const char *const sources[] = {"source-host", "source-path", "source-dev", "source-initiator",
					      "source-format", "source-name", "adapter-name"};
	const char *empty;
	for (unsigned i = 0; i < cmd->given->len; i++) {
		const struct given_option *given = cmd->given->pdata[i];
		if (given->text && !opt_string(sh, cmd, given->def->name, &empty))
			return NULL;
	}
	if (!opt_exclusive(sh, cmd, "secret-usage", "secret-uuid"))
		return NULL;
	bool source = opt_text(cmd, "adapter-wwnn") && opt_text(cmd, "adapter-wwpn");
	for (unsigned i = 0; i < G_N_ELEMENTS(sources); i++)
		source |= opt_text(cmd, sources[i]) != NULL;
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "pool", "type", opt_text(cmd, "type"), NULL);
	xml_leaf(&w, "name", opt_text(cmd, "name"), NULL);
	if (source) {
		xml_open(&w, "source", NULL);
		write_source(&w, cmd);
		xml_close(&w, "source");
	}
	if (opt_text(cmd, "target")) {
		xml_open(&w, "target", NULL);
		xml_leaf(&w, "path", opt_text(cmd, "target"), NULL);
		xml_close(&w, "target");
	}
	xml_close(&w, "pool");
	return xml_writer_take(&w);
}

bool cmd_pool_create_as(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_pool_create_xml_ret ret;
	const char *name = opt_text(cmd, "name");
	if (!opt_exclusive(sh, cmd, "overwrite", "no-overwrite"))
		return false;
	g_autofree char *xml = xml_of_options(sh, cmd);
	if (xml && opt_bool(cmd, "print-xml"))
		shell_print("%s", xml);
	if (!xml || opt_bool(cmd, "print-xml"))
		return xml != NULL;
	if (!GET(sh, storage_pool_create_xml, &ret, xml, opt_flags(cmd, create_flags)))
		return shell_fail(sh, "Failed to create pool %s", name);
	shell_extra(sh, "Pool %s created\n", name);
	return true;
}

bool cmd_pool_define_as(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_pool_define_xml_ret ret;
	const char *name = opt_text(cmd, "name");
	g_autofree char *xml = xml_of_options(sh, cmd);
	if (xml && opt_bool(cmd, "print-xml"))
		shell_print("%s", xml);
	if (!xml || opt_bool(cmd, "print-xml"))
		return xml != NULL;
	if (!GET(sh, storage_pool_define_xml, &ret, xml, 0))
		return shell_fail(sh, "Failed to define pool %s", name);
	shell_extra(sh, "Pool %s defined\n", name);
	return true;
}

/* --- Looking ---------------------------------------------------------------------------------- */

static char *pretty(uint64_t bytes)
{
	const char *unit;
	double value = scaled_size(bytes, &unit);
	return g_strdup_printf("%.2lf %s", value, unit);
}

static void list_row(struct shell *sh, struct table *table, struct remote_storage_pool pool, bool details)
{
	struct remote_storage_pool_get_info_ret info;
	struct remote_storage_pool_get_autostart_ret autostart;
	struct remote_storage_pool_is_persistent_ret persistent;
	struct remote_storage_pool_is_active_ret active;
	const char *start = GET(sh, storage_pool_get_autostart, &autostart, pool) ?
				    yes_no(autostart.autostart) : "no autostart";
	if (!details) {
		bool on = !GET(sh, storage_pool_is_active, &active, pool) || active.active;
		table_row(table, pool.name, on ? "active" : "inactive", start, NULL);
		return;
	}
	const char *stays = GET(sh, storage_pool_is_persistent, &persistent, pool) ?
				    yes_no(persistent.persistent) : "unknown";
	if (!GET(sh, storage_pool_get_info, &info, pool)) {
		shell_fail(sh, "Could not retrieve pool information");
		table_row(table, pool.name, "unknown", start, stays, "unknown", "unknown", "unknown", NULL);
		return;
	}
	bool sized = info.state == STATE_RUNNING || info.state == STATE_DEGRADED;
	g_autofree char *capacity = sized ? pretty(info.capacity) : g_strdup("-");
	g_autofree char *allocation = sized ? pretty(info.allocation) : g_strdup("-");
	g_autofree char *available = sized ? pretty(info.available) : g_strdup("-");
	table_row(table, pool.name, pool_state(info.state), start, stays, capacity, allocation, available,
		  NULL);
}

static bool type_flags(struct shell *sh, const struct cmd *cmd, uint32_t *flags)
{
	const char *text;
	if (!opt_string(sh, cmd, "type", &text))
		return false;
	g_auto(GStrv) names = g_strsplit(text ? text : "", ",", 0);
	for (char **name = names; *name; name++) {
		unsigned i = 0;
		while (i < G_N_ELEMENTS(types) && strcmp(types[i], *name))
			i++;
		if (i == G_N_ELEMENTS(types))
			return shell_fail(sh, "Invalid pool type '%s'", *name);
		*flags |= 1U << (6 + i);
	}
	return true;
}

static void list_words(struct shell *sh, const struct remote_storage_pool *pools, uint32_t count, bool uuids,
		       bool names)
{
	struct table *table = table_new(uuids ? "UUID" : "Name", uuids && names ? "Name" : NULL, NULL);
	for (uint32_t i = 0; i < count; i++) {
		char uuid[UUID_TEXT];
		/* virsh fills names up to this width. */
		g_autofree char *name = g_strdup_printf(sh->json ? "%s" : "%-20s", pools[i].name);
		format_uuid(pools[i].uuid, uuid);
		table_row(table, uuids ? uuid : name, uuids && names ? name : NULL, NULL);
	}
	table_print_words(sh, table);
}

bool cmd_pool_list(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_list_all_storage_pools_ret ret;
	bool details = opt_bool(cmd, "details"), uuids = opt_bool(cmd, "uuid"), names = opt_bool(cmd, "name");
	uint32_t flags = opt_bool(cmd, "inactive") ? LIST_INACTIVE :
			 opt_bool(cmd, "all")	   ? LIST_ACTIVE | LIST_INACTIVE : LIST_ACTIVE;
	if (!opt_exclusive(sh, cmd, "all", "inactive") || !opt_exclusive(sh, cmd, "details", "uuid") ||
	    !opt_exclusive(sh, cmd, "details", "name") || !type_flags(sh, cmd, &flags))
		return false;
	if (!GET(sh, connect_list_all_storage_pools, &ret, 1, flags | opt_flags(cmd, list_filters)))
		return shell_fail(sh, "Failed to list pools");
	qsort(ret.pools.items, ret.pools.count, sizeof(*ret.pools.items), compare_names);
	if (uuids || names) {
		list_words(sh, ret.pools.items, ret.pools.count, uuids, names);
		return true;
	}
	struct table *table = details ? table_new("Name", "State", "Autostart", "Persistent", "Capacity",
						  "Allocation", "Available", NULL) :
					table_new("Name", "State", "Autostart", NULL);
	for (uint32_t i = 0; i < ret.pools.count; i++)
		list_row(sh, table, ret.pools.items[i], details);
	shell_forget_error(sh);
	table_print(sh, table);
	return true;
}

static void print_sizes(const struct remote_storage_pool_get_info_ret *info, bool bytes)
{
	const struct {
		const char *title;
		uint64_t size;
	} rows[] = {{"Capacity:", info->capacity}, {"Allocation:", info->allocation},
		    {"Available:", info->available}};
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *text = bytes ? g_strdup_printf("%" PRIu64, rows[i].size) :
						pretty(rows[i].size);
		shell_print("%-15s %s\n", rows[i].title, text);
	}
}

bool cmd_pool_info(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_pool pool;
	struct remote_storage_pool_get_info_ret info;
	struct remote_storage_pool_get_autostart_ret autostart;
	struct remote_storage_pool_is_persistent_ret persistent;
	const char *name;
	char uuid[UUID_TEXT];
	if (!find_pool(sh, cmd, &name, &pool))
		return false;
	shell_print("%-15s %s\n%-15s %s\n", "Name:", pool.name, "UUID:", format_uuid(pool.uuid, uuid));
	if (!GET(sh, storage_pool_get_info, &info, pool))
		return false;
	shell_print("%-15s %s\n", "State:", pool_state(info.state));
	bool known = GET(sh, storage_pool_is_persistent, &persistent, pool);
	shell_print("%-15s %s\n", "Persistent:", known ? yes_no(persistent.persistent) : "unknown");
	known = GET(sh, storage_pool_get_autostart, &autostart, pool);
	shell_print("%-15s %s\n", "Autostart:", known ? yes_no(autostart.autostart) : "no autostart");
	if (info.state == STATE_RUNNING || info.state == STATE_DEGRADED)
		print_sizes(&info, opt_bool(cmd, "bytes"));
	return true;
}

bool cmd_pool_name(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_pool pool;
	if (!shell_pool(sh, cmd, "pool", BY_UUID, &pool))
		return false;
	shell_print("%s\n", pool.name);
	return true;
}

bool cmd_pool_uuid(struct shell *sh, const struct cmd *cmd)
{
	struct remote_storage_pool pool;
	char uuid[UUID_TEXT];
	if (!shell_pool(sh, cmd, "pool", BY_NAME, &pool))
		return false;
	shell_print("%s\n", format_uuid(pool.uuid, uuid));
	return true;
}

bool cmd_pool_capabilities(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_get_storage_pool_capabilities_ret ret;
	if (!GET(sh, connect_get_storage_pool_capabilities, &ret, 0))
		return shell_fail(sh, "failed to get storage pool capabilities");
	shell_print("%s\n", ret.capabilities);
	return true;
}

static bool find_sources(struct shell *sh, const char *type, const char *xml)
{
	struct remote_connect_find_storage_pool_sources_ret ret;
	if (!GET(sh, connect_find_storage_pool_sources, &ret, (char *)type, (char *)xml, 0))
		return shell_fail(sh, "Failed to find any %s pool sources", type);
	shell_print("%s", ret.xml);
	return true;
}

bool cmd_find_storage_pool_sources_as(struct shell *sh, const struct cmd *cmd)
{
	const char *type, *host, *port, *initiator;
	if (!opt_string(sh, cmd, "type", &type) || !opt_string(sh, cmd, "host", &host) ||
	    !opt_string(sh, cmd, "port", &port) || !opt_string(sh, cmd, "initiator", &initiator))
		return false;
	if (!host)
		return find_sources(sh, type, NULL);
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "source", NULL);
	xml_empty(&w, "host", "name", host, "port", port, NULL);
	if (initiator) {
		xml_open(&w, "initiator", NULL);
		xml_empty(&w, "iqn", "name", initiator, NULL);
		xml_close(&w, "initiator");
	}
	xml_close(&w, "source");
	g_autofree char *xml = xml_writer_take(&w);
	return find_sources(sh, type, xml);
}

bool cmd_find_storage_pool_sources(struct shell *sh, const struct cmd *cmd)
{
	const char *type, *path;
	if (!opt_string(sh, cmd, "type", &type) || !opt_string(sh, cmd, "srcSpec", &path))
		return false;
	g_autofree char *xml = path ? shell_read_file(sh, path) : NULL;
	return (!path || xml) && find_sources(sh, type, xml);
}
