/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots of domains. */
#include "table.h"

#include "spec.h"
#include "shell.h"

#include <stdlib.h>
#include <string.h>

enum { XML_SECURE = 1, CREATE_REDEFINE = 1, CREATE_CURRENT = 2, CREATE_DISK_ONLY = 16,
       CREATE_VALIDATE = 512, LIST_DESCENDANTS = 1, LIST_ROOTS = 1, DELETE_METADATA_ONLY = 2 };

static const struct option_flag create_flags[] = {
	{"redefine", CREATE_REDEFINE}, {"current", CREATE_CURRENT}, {"no-metadata", 4}, {"halt", 8},
	{"disk-only", CREATE_DISK_ONLY}, {"reuse-external", 32}, {"quiesce", 64}, {"atomic", 128},
	{"live", 256}, {"validate", CREATE_VALIDATE}, {NULL},
};

/* --- Creating --------------------------------------------------------------------------------- */

static bool create(struct shell *sh, struct remote_domain dom, const char *xml, uint32_t flags,
		   const char *from)
{
	struct remote_domain_snapshot_create_xml_ret ret;
	bool good = GET(sh, domain_snapshot_create_xml, &ret, dom, (char *)xml, flags);
	if (!good && !from && flags & CREATE_VALIDATE && shell_error_code(sh) == CLIENT_NO_SUPPORT)
		good = GET(sh, domain_snapshot_create_xml, &ret, dom, (char *)xml, flags & ~CREATE_VALIDATE);
	if (!good)
		return false;
	if (from)
		shell_extra(sh, "Domain snapshot %s created from '%s'", ret.snap.name, from);
	else
		shell_extra(sh, "Domain snapshot %s created", ret.snap.name);
	return true;
}

bool cmd_snapshot_create(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *path;
	if (!shell_domain(sh, cmd, NULL, &dom) || !opt_string(sh, cmd, "xmlfile", &path))
		return false;
	g_autofree char *xml = path ? shell_read_file(sh, path) : g_strdup("<domainsnapshot/>");
	return xml && create(sh, dom, xml, opt_flags(cmd, create_flags), path);
}

static bool write_memory(struct shell *sh, struct xml_writer *w, const char *text)
{
	const char *snapshot = NULL, *file = NULL;
	g_auto(GStrv) parts = spec_split(text);
	for (char **part = parts; *part; part++) {
		if (!snapshot && g_str_has_prefix(*part, "snapshot="))
			snapshot = *part + strlen("snapshot=");
		else if (!file && g_str_has_prefix(*part, "file="))
			file = *part + strlen("file=");
		else if (!file && **part == '/')
			file = *part;
		else
			return shell_fail(sh, "unable to parse memspec: %s", text);
	}
	xml_empty(w, "memory", "snapshot", snapshot, "file", file, NULL);
	return true;
}

static bool write_disk(struct shell *sh, struct xml_writer *w, const char *text)
{
	const char *keys[] = {"snapshot=", "driver=", "stype=", "file="}, *values[4] = {NULL};
	g_auto(GStrv) parts = spec_split(text);
	if (!spec_values(parts, keys, values, G_N_ELEMENTS(keys)))
		return shell_fail(sh, "unable to parse diskspec: %s", text);
	const char *snapshot = values[0], *driver = values[1], *type = values[2], *file = values[3];
	if (type && strcmp(type, "block") && strcmp(type, "file")) {
		shell_fail(sh, "Unknown storage type: '%s'", type);
		return shell_fail(sh, "unable to parse diskspec: %s", text);
	}
	if (!driver && !file) {
		xml_empty(w, "disk", "name", parts[0], "snapshot", snapshot, "type", type, NULL);
		return true;
	}
	xml_open(w, "disk", "name", parts[0], "snapshot", snapshot, "type", type, NULL);
	if (driver)
		xml_empty(w, "driver", "type", driver, NULL);
	if (file)
		xml_empty(w, "source", !g_strcmp0(type, "block") ? "dev" : "file", file, NULL);
	xml_close(w, "disk");
	return true;
}

static char *options_xml(struct shell *sh, const struct cmd *cmd)
{
	const char *name, *description, *memory;
	if (!opt_string(sh, cmd, "name", &name) || !opt_string(sh, cmd, "description", &description) ||
	    !opt_string(sh, cmd, "memspec", &memory))
		return NULL;
	struct xml_writer w = xml_writer_new();
	g_autoptr(GPtrArray) disks = opt_rest(cmd);
	xml_open(&w, "domainsnapshot", NULL);
	spec_name(&w, name, description);
	bool good = !memory || write_memory(sh, &w, memory);
	if (disks->len)
		xml_open(&w, "disks", NULL);
	for (unsigned i = 0; good && i < disks->len; i++)
		good = write_disk(sh, &w, disks->pdata[i]);
	if (disks->len)
		xml_close(&w, "disks");
	xml_close(&w, "domainsnapshot");
	g_autofree char *xml = xml_writer_take(&w);
	return good ? g_steal_pointer(&xml) : NULL;
}

bool cmd_snapshot_create_as(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	g_autofree char *xml = options_xml(sh, cmd);
	if (xml && opt_bool(cmd, "print-xml"))
		shell_print("%s\n", xml);
	return xml && (opt_bool(cmd, "print-xml") || create(sh, dom, xml, opt_flags(cmd, create_flags), NULL));
}

/* --- Finding ---------------------------------------------------------------------------------- */

static bool find_snapshot(struct shell *sh, const struct cmd *cmd, const char *option, bool exclusive,
			  struct remote_domain dom, struct remote_snapshot *snap)
{
	struct remote_domain_snapshot_lookup_by_name_ret named;
	struct remote_domain_snapshot_current_ret present;
	const char *name;
	bool current = opt_bool(cmd, "current");
	if (!opt_string(sh, cmd, option, &name))
		return false;
	if (exclusive && current && name)
		return shell_fail(sh, "--%s and --current are mutually exclusive", option);
	if (!name && !current)
		return shell_fail(sh, "--%s or --current is required", option);
	bool good = name ? GET(sh, domain_snapshot_lookup_by_name, &named, dom, (char *)name, 0) :
			   GET(sh, domain_snapshot_current, &present, dom, 0);
	if (good)
		*snap = name ? named.snap : present.snap;
	else
		shell_report(sh);
	return good;
}

static const char *snapshot_xml(struct shell *sh, struct remote_snapshot snap, uint32_t flags)
{
	struct remote_domain_snapshot_get_xml_desc_ret ret;
	return GET(sh, domain_snapshot_get_xml_desc, &ret, snap, flags) ? ret.xml : NULL;
}

static xmlDoc *snapshot_doc(struct shell *sh, struct remote_snapshot snap)
{
	const char *xml = snapshot_xml(sh, snap, 0);
	return xml ? xml_parse(xml, "domain_snapshot", NULL) : NULL;
}

bool cmd_snapshot_dumpxml(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_snapshot_lookup_by_name_ret snap;
	const char *name;
	if (!opt_string(sh, cmd, "snapshotname", &name) || !shell_domain(sh, cmd, NULL, &dom) ||
	    !GET(sh, domain_snapshot_lookup_by_name, &snap, dom, (char *)name, 0))
		return false;
	const char *xml = snapshot_xml(sh, snap.snap, opt_bool(cmd, "security-info") ? XML_SECURE : 0);
	return xml && shell_show_xml(sh, cmd, xml);
}

bool cmd_snapshot_parent(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_snapshot snap;
	struct remote_domain_snapshot_get_parent_ret parent;
	if (!shell_domain(sh, cmd, NULL, &dom) ||
	    !find_snapshot(sh, cmd, "snapshotname", true, dom, &snap))
		return false;
	if (!GET(sh, domain_snapshot_get_parent, &parent, snap, 0)) {
		if (shell_error_code(sh) != CLIENT_NO_DOMAIN_SNAPSHOT)
			return shell_fail(sh, "unable to determine if snapshot has parent");
		shell_forget_error(sh);
		return shell_fail(sh, "snapshot '%s' has no parent", snap.name);
	}
	shell_print("%s", parent.snap.name);
	return true;
}

static bool set_current(struct shell *sh, struct remote_domain dom, const char *name)
{
	struct remote_domain_snapshot_lookup_by_name_ret snap;
	struct remote_domain_snapshot_create_xml_ret ret;
	const char *xml = GET(sh, domain_snapshot_lookup_by_name, &snap, dom, (char *)name, 0) ?
				  snapshot_xml(sh, snap.snap, XML_SECURE) : NULL;
	if (!xml)
		return false;
	uint32_t flags = CREATE_REDEFINE | CREATE_CURRENT |
			 (strstr(xml, "<state>disk-snapshot</state>") ? CREATE_DISK_ONLY : 0);
	if (!GET(sh, domain_snapshot_create_xml, &ret, dom, (char *)xml, flags))
		return false;
	shell_extra(sh, "Snapshot %s set as current", name);
	return true;
}

bool cmd_snapshot_current(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_has_current_snapshot_ret has;
	struct remote_domain_snapshot_current_ret snap;
	const char *domain, *name;
	if (!opt_exclusive(sh, cmd, "name", "snapshotname") || !shell_domain(sh, cmd, &domain, &dom) ||
	    !opt_string(sh, cmd, "snapshotname", &name))
		return false;
	if (name)
		return set_current(sh, dom, name);
	if (!GET(sh, domain_has_current_snapshot, &has, dom, 0))
		return false;
	if (!has.result)
		return shell_fail(sh, "domain '%s' has no current snapshot", domain);
	if (!GET(sh, domain_snapshot_current, &snap, dom, 0))
		return false;
	const char *text = opt_bool(cmd, "name") ?
				   snap.snap.name :
				   snapshot_xml(sh, snap.snap, opt_bool(cmd, "security-info") ? XML_SECURE : 0);
	if (text)
		shell_print("%s", text);
	return text != NULL;
}

/* --- Showing ---------------------------------------------------------------------------------- */

static bool is_external(xmlDoc *doc, const char *state)
{
	g_autoptr(GPtrArray) memory = xpath_nodes(doc, NULL, "/domainsnapshot/memory");
	g_autoptr(GPtrArray) external =
		xpath_nodes(doc, NULL, "/domainsnapshot/memory[@snapshot='external'] | "
				       "/domainsnapshot/disks/disk[@snapshot='external']");
	return memory->len ? external->len > 0 : strcmp(state, "disk-snapshot") == 0;
}

static bool print_family(struct shell *sh, struct remote_domain dom, struct remote_snapshot snap)
{
	struct remote_domain_snapshot_num_children_ret count;
	struct remote_domain_snapshot_has_metadata_ret metadata;
	if (!GET(sh, domain_snapshot_num_children, &count, snap, 0)) {
		bool fine = shell_error_code(sh) == CLIENT_NO_SUPPORT;
		if (fine)
			shell_forget_error(sh);
		return fine;
	}
	shell_print("%-15s %d\n", "Children:", count.num);
	if (!GET(sh, domain_snapshot_num_children, &count, snap, LIST_DESCENDANTS))
		return false;
	shell_print("%-15s %d\n", "Descendants:", count.num);
	if (GET(sh, domain_snapshot_has_metadata, &metadata, snap, 0))
		shell_print("%-15s %s\n", "Metadata:", yes_no(metadata.metadata));
	shell_forget_error(sh);
	return true;
}

bool cmd_snapshot_info(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_snapshot snap;
	struct remote_domain_snapshot_is_current_ret current;
	if (!shell_domain(sh, cmd, NULL, &dom) ||
	    !find_snapshot(sh, cmd, "snapshotname", true, dom, &snap))
		return false;
	shell_print("%-15s %s\n%-15s %s\n", "Name:", snap.name, "Domain:", dom.name);
	bool is_current = GET(sh, domain_snapshot_is_current, &current, snap, 0) && current.current;
	shell_print("%-15s %s\n", "Current:", yes_no(is_current));
	g_autoptr(xmlDoc) doc = snapshot_doc(sh, snap);
	if (!doc)
		return false;
	g_autofree char *state = xpath_text(doc, NULL, "/domainsnapshot/state");
	g_autofree char *parent = xpath_text(doc, NULL, "/domainsnapshot/parent/name");
	if (!state)
		return shell_fail(sh, "unexpected problem reading snapshot xml");
	shell_print("%-15s %s\n%-15s %s\n%-15s %s\n", "State:", state, "Location:",
		    is_external(doc, state) ? "external" : "internal", "Parent:", parent ? parent : "-");
	return print_family(sh, dom, snap);
}

static bool list_flags(struct shell *sh, const struct cmd *cmd, uint32_t *flags)
{
	static const struct option_flag filters[] = {
		{"leaves", 1 << 2}, {"no-leaves", 1 << 3}, {"inactive", 1 << 5}, {"active", 1 << 6},
		{"disk-only", 1 << 7}, {"internal", 1 << 8}, {"external", 1 << 9}, {NULL}};
	static const struct option_flag others[] = {
		{"topological", 1 << 10}, {"roots", LIST_ROOTS}, {"metadata", 1 << 1}, {"no-metadata", 1 << 4},
		{NULL}};
	for (unsigned i = 0; filters[i].name; i++) {
		if (opt_bool(cmd, "tree") && opt_bool(cmd, filters[i].name))
			return shell_fail(sh, "--%s and --tree are mutually exclusive", filters[i].name);
	}
	*flags = opt_flags(cmd, filters) | opt_flags(cmd, others);
	if (!opt_bool(cmd, "descendants"))
		return true;
	if (!opt_bool(cmd, "from") && !opt_bool(cmd, "current"))
		return shell_fail(sh, "--descendants requires either --from or --current");
	*flags |= LIST_DESCENDANTS;
	return true;
}

static bool list_row(struct shell *sh, struct table *table, struct remote_snapshot snap, bool parents)
{
	g_autoptr(xmlDoc) doc = snapshot_doc(sh, snap);
	g_autofree char *state = doc ? xpath_text(doc, NULL, "/domainsnapshot/state") : NULL;
	g_autofree char *seconds = doc ? xpath_text(doc, NULL, "/domainsnapshot/creationTime") : NULL;
	g_autofree char *when = spec_time(seconds);
	g_autofree char *parent = doc ? xpath_text(doc, NULL, "/domainsnapshot/parent/name") : NULL;
	if (state && when && parents)
		table_row(table, snap.name, when, state, parent ? parent : "", NULL);
	else if (state && when)
		table_row(table, snap.name, when, state, NULL);
	return true;
}

static char *parent_of(struct shell *sh, void *item)
{
	struct remote_domain_snapshot_get_parent_ret ret;
	const struct remote_snapshot *snap = item;
	return GET(sh, domain_snapshot_get_parent, &ret, *snap, 0) ? ret.snap.name : NULL;
}

static bool collect(struct shell *sh, const struct cmd *cmd, struct remote_domain dom, uint32_t flags,
		    struct remote_snapshot **snaps, uint32_t *count)
{
	struct remote_domain_list_all_snapshots_ret all;
	struct remote_domain_snapshot_list_all_children_ret children;
	struct remote_snapshot from;
	if (!opt_bool(cmd, "from") && !opt_bool(cmd, "current")) {
		if (!GET(sh, domain_list_all_snapshots, &all, dom, 1, flags))
			return false;
		*snaps = all.snapshots.items;
		*count = all.snapshots.count;
		return true;
	}
	if (!find_snapshot(sh, cmd, "from", true, dom, &from))
		return false;
	/* A tree needs all below its root, and the root. */
	bool tree = opt_bool(cmd, "tree");
	if (!GET(sh, domain_snapshot_list_all_children, &children, from, 1,
		 flags | (tree ? LIST_DESCENDANTS : 0)))
		return false;
	*count = children.snapshots.count + tree;
	*snaps = arena_alloc(client_arena(sh->client), *count * sizeof(from) + 1);
	if (tree)
		(*snaps)[0] = from;
	memcpy(*snaps + tree, children.snapshots.items, children.snapshots.count * sizeof(from));
	return true;
}

bool cmd_snapshot_list(struct shell *sh, const struct cmd *cmd)
{
	static const char *const exclusive[][2] = {{"tree", "name"}, {"parent", "roots"}, {"parent", "tree"},
						   {"roots", "tree"}, {"roots", "from"}, {"roots", "current"}};
	struct remote_domain dom;
	struct remote_snapshot *snaps;
	uint32_t flags = 0, count;
	bool parents = opt_bool(cmd, "parent"), names = opt_bool(cmd, "name");
	for (unsigned i = 0; i < G_N_ELEMENTS(exclusive); i++) {
		if (!opt_exclusive(sh, cmd, exclusive[i][0], exclusive[i][1]))
			return false;
	}
	if (!list_flags(sh, cmd, &flags) || !shell_domain(sh, cmd, NULL, &dom) ||
	    !collect(sh, cmd, dom, flags, &snaps, &count))
		return false;
	if (!(flags & 1 << 10))
		qsort(snaps, count, sizeof(*snaps), compare_names);
	if (opt_bool(cmd, "tree")) {
		spec_tree(sh, snaps, count, sizeof(*snaps), parent_of);
		return true;
	}
	struct table *table = names ? table_new("Name", NULL) :
			      parents ? table_new("Name", "Creation Time", "State", "Parent", NULL) :
					table_new("Name", "Creation Time", "State", NULL);
	for (uint32_t i = 0; i < count; i++) {
		if (names)
			table_row(table, snaps[i].name, NULL);
		else
			list_row(sh, table, snaps[i], parents);
	}
	shell_forget_error(sh);
	if (names)
		table_print_words(sh, table);
	else
		table_print(sh, table);
	return true;
}

/* --- Changing --------------------------------------------------------------------------------- */

bool cmd_snapshot_revert(struct shell *sh, const struct cmd *cmd)
{
	static const struct option_flag table[] = {
		{"running", 1}, {"paused", 2}, {"force", 4}, {"reset-nvram", 8}, {NULL}};
	struct remote_domain dom;
	struct remote_snapshot snap;
	if (!shell_domain(sh, cmd, NULL, &dom) ||
	    !find_snapshot(sh, cmd, "snapshotname", true, dom, &snap))
		return false;
	if (!CALL(sh, domain_revert_to_snapshot, snap, opt_flags(cmd, table)))
		return shell_fail(sh, "Failed to revert snapshot %s", snap.name);
	shell_extra(sh, "Domain snapshot %s reverted\n", snap.name);
	return true;
}

bool cmd_snapshot_delete(struct shell *sh, const struct cmd *cmd)
{
	static const struct option_flag table[] = {
		{"children", 1}, {"metadata", DELETE_METADATA_ONLY}, {"children-only", 4}, {NULL}};
	struct remote_domain dom;
	struct remote_snapshot snap;
	if (!shell_domain(sh, cmd, NULL, &dom) ||
	    !find_snapshot(sh, cmd, "snapshotname", true, dom, &snap))
		return false;
	if (!CALL(sh, domain_snapshot_delete, snap, opt_flags(cmd, table)))
		return shell_fail(sh, "Failed to delete snapshot %s", snap.name);
	shell_extra(sh, opt_bool(cmd, "children-only") ? "Domain snapshot %s children deleted\n" :
							 "Domain snapshot %s deleted\n", snap.name);
	return true;
}

struct edited {
	struct remote_domain dom;
	struct remote_snapshot snap;
	uint32_t flags;
	char *new_name;
};

static const char *fetch(struct shell *sh, void *object)
{
	return snapshot_xml(sh, ((struct edited *)object)->snap, XML_SECURE);
}

static bool redefine(struct shell *sh, void *object, const char *xml)
{
	struct edited *edited = object;
	struct remote_domain_snapshot_create_xml_ret ret;
	uint32_t flags = edited->flags | (strstr(xml, "<state>disk-snapshot</state>") ? CREATE_DISK_ONLY : 0);
	if (!GET(sh, domain_snapshot_create_xml, &ret, edited->dom, (char *)xml, flags))
		return false;
	edited->new_name = ret.snap.name;
	return true;
}

/* The name was changed: which of the two stays? */
static bool settle_name(struct shell *sh, const struct cmd *cmd, const struct edited *edited)
{
	bool rename = opt_bool(cmd, "rename");
	if (opt_bool(cmd, "clone")) {
		shell_extra(sh, "Snapshot %s cloned to %s.\n", edited->snap.name, edited->new_name);
		return true;
	}
	const struct remote_snapshot made = {edited->new_name, edited->dom};
	if (!CALL(sh, domain_snapshot_delete, rename ? edited->snap : made, DELETE_METADATA_ONLY)) {
		shell_report(sh);
		return shell_fail(sh, "Failed to clean up %s", rename ? edited->snap.name : edited->new_name);
	}
	return rename || shell_fail(sh, "Must use --rename or --clone to change %s to %s", edited->snap.name,
				    edited->new_name);
}

bool cmd_snapshot_edit(struct shell *sh, const struct cmd *cmd)
{
	struct edited edited = {.flags = CREATE_REDEFINE};
	const struct edit edit = {fetch, redefine, &edited};
	bool changed;
	if (!opt_exclusive(sh, cmd, "rename", "clone"))
		return false;
	if (opt_bool(cmd, "current") && opt_bool(cmd, "snapshotname"))
		edited.flags |= CREATE_CURRENT;
	if (!shell_domain(sh, cmd, NULL, &edited.dom) ||
	    !find_snapshot(sh, cmd, "snapshotname", false, edited.dom, &edited.snap))
		return false;
	if (!shell_edit(sh, &edit, &changed))
		return shell_fail(sh, "Failed to update %s", edited.snap.name);
	/* With --current it becomes so even if nothing was edited. */
	if (!changed && edited.flags & CREATE_CURRENT)
		changed = redefine(sh, &edited, fetch(sh, &edited));
	if (!changed)
		shell_extra(sh, "Snapshot %s XML configuration not changed.\n", edited.snap.name);
	else if (strcmp(edited.snap.name, edited.new_name) == 0)
		shell_extra(sh, "Snapshot %s edited.\n", edited.snap.name);
	else
		return settle_name(sh, cmd, &edited) ||
		       shell_fail(sh, "Failed to update %s", edited.snap.name);
	return true;
}
