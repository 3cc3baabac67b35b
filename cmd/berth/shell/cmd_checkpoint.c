/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checkpoints of domains' disks, and backups. */
#include "table.h"

#include "spec.h"
#include "shell.h"

#include <stdlib.h>
#include <string.h>

enum { XML_SECURE = 1, CREATE_REDEFINE = 1, LIST_DESCENDANTS = 1, LIST_ROOTS = 1, LIST_TOPOLOGICAL = 2,
       DELETE_METADATA_ONLY = 2 };

static const struct option_flag create_flags[] = {
	{"redefine", CREATE_REDEFINE}, {"quiesce", 2}, {"redefine-validate", 4}, {NULL},
};
static const struct option_flag xml_flags[] = {
	{"security-info", XML_SECURE}, {"no-domain", 2}, {"size", 4}, {NULL},
};

/* --- Creating --------------------------------------------------------------------------------- */

static bool create(struct shell *sh, struct remote_domain dom, const char *xml, uint32_t flags,
		   const char *from)
{
	struct remote_domain_checkpoint_create_xml_ret ret;
	if (!GET(sh, domain_checkpoint_create_xml, &ret, dom, (char *)xml, flags))
		return false;
	if (from)
		shell_extra(sh, "Domain checkpoint %s created from '%s'", ret.checkpoint.name, from);
	else
		shell_extra(sh, "Domain checkpoint %s created", ret.checkpoint.name);
	return true;
}

bool cmd_checkpoint_create(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *path;
	if (!opt_require(sh, cmd, "redefine-validate", "redefine") || !shell_domain(sh, cmd, NULL, &dom) ||
	    !opt_string(sh, cmd, "xmlfile", &path))
		return false;
	g_autofree char *xml = path ? shell_read_file(sh, path) : g_strdup("<domaincheckpoint/>");
	return xml && create(sh, dom, xml, opt_flags(cmd, create_flags), path);
}

static char *options_xml(struct shell *sh, const struct cmd *cmd)
{
	static const char *const keys[] = {"checkpoint=", "bitmap="};
	const char *name, *description;
	if (!opt_string(sh, cmd, "name", &name) || !opt_string(sh, cmd, "description", &description))
		return NULL;
	struct xml_writer w = xml_writer_new();
	g_autoptr(GPtrArray) disks = opt_rest(cmd);
	bool good = true;
	xml_open(&w, "domaincheckpoint", NULL);
	spec_name(&w, name, description);
	if (disks->len)
		xml_open(&w, "disks", NULL);
	for (unsigned i = 0; good && i < disks->len; i++) {
		const char *values[G_N_ELEMENTS(keys)] = {NULL};
		g_auto(GStrv) parts = spec_split(disks->pdata[i]);
		good = spec_values(parts, keys, values, G_N_ELEMENTS(keys)) ||
		       shell_fail(sh, "unable to parse diskspec: %s", (char *)disks->pdata[i]);
		if (good)
			xml_empty(&w, "disk", "name", parts[0], "checkpoint", values[0], "bitmap", values[1],
				  NULL);
	}
	if (disks->len)
		xml_close(&w, "disks");
	xml_close(&w, "domaincheckpoint");
	g_autofree char *xml = xml_writer_take(&w);
	return good ? g_steal_pointer(&xml) : NULL;
}

bool cmd_checkpoint_create_as(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	if (!shell_domain(sh, cmd, NULL, &dom))
		return false;
	g_autofree char *xml = options_xml(sh, cmd);
	if (xml && opt_bool(cmd, "print-xml"))
		shell_print("%s\n", xml);
	return xml && (opt_bool(cmd, "print-xml") || create(sh, dom, xml, opt_flags(cmd, create_flags), NULL));
}

/* --- Looking ---------------------------------------------------------------------------------- */

static bool find_checkpoint(struct shell *sh, const struct cmd *cmd, const char *option,
			    struct remote_domain dom, struct remote_domain_checkpoint *checkpoint)
{
	struct remote_domain_checkpoint_lookup_by_name_ret ret;
	const char *name;
	if (!opt_string(sh, cmd, option, &name))
		return false;
	if (!name)
		return shell_fail(sh, "--%s is required", option);
	if (!GET(sh, domain_checkpoint_lookup_by_name, &ret, dom, (char *)name, 0)) {
		shell_report(sh);
		return false;
	}
	*checkpoint = ret.checkpoint;
	return true;
}

static const char *checkpoint_xml(struct shell *sh, struct remote_domain_checkpoint checkpoint,
				  uint32_t flags)
{
	struct remote_domain_checkpoint_get_xml_desc_ret ret;
	return GET(sh, domain_checkpoint_get_xml_desc, &ret, checkpoint, flags) ? ret.xml : NULL;
}

bool cmd_checkpoint_dumpxml(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_checkpoint checkpoint;
	if (!shell_domain(sh, cmd, NULL, &dom) ||
	    !find_checkpoint(sh, cmd, "checkpointname", dom, &checkpoint))
		return false;
	const char *xml = checkpoint_xml(sh, checkpoint, opt_flags(cmd, xml_flags));
	return xml && shell_show_xml(sh, cmd, xml);
}

static char *parent_of(struct shell *sh, void *item)
{
	struct remote_domain_checkpoint_get_parent_ret ret;
	const struct remote_domain_checkpoint *checkpoint = item;
	return GET(sh, domain_checkpoint_get_parent, &ret, *checkpoint, 0) ? ret.parent.name : NULL;
}

bool cmd_checkpoint_parent(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_checkpoint checkpoint;
	if (!shell_domain(sh, cmd, NULL, &dom) ||
	    !find_checkpoint(sh, cmd, "checkpointname", dom, &checkpoint))
		return false;
	const char *parent = parent_of(sh, &checkpoint);
	if (!parent && shell_error_code(sh) != CLIENT_NO_DOMAIN_CHECKPOINT)
		return shell_fail(sh, "unable to determine if checkpoint has parent");
	shell_forget_error(sh);
	if (!parent)
		return shell_fail(sh, "checkpoint '%s' has no parent", checkpoint.name);
	shell_print("%s", parent);
	return true;
}

bool cmd_checkpoint_info(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_checkpoint checkpoint;
	struct remote_domain_checkpoint_list_all_children_ret children;
	if (!shell_domain(sh, cmd, NULL, &dom) ||
	    !find_checkpoint(sh, cmd, "checkpointname", dom, &checkpoint))
		return false;
	shell_print("%-15s %s\n%-15s %s\n", "Name:", checkpoint.name, "Domain:", dom.name);
	const char *parent = parent_of(sh, &checkpoint);
	if (!parent && shell_error_code(sh) != CLIENT_NO_DOMAIN_CHECKPOINT)
		return shell_fail(sh, "unexpected problem querying checkpoint state");
	shell_print("%-15s %s\n", "Parent:", parent ? parent : "-");
	if (!GET(sh, domain_checkpoint_list_all_children, &children, checkpoint, 0, 0))
		return false;
	shell_print("%-15s %d\n", "Children:", children.ret);
	if (!GET(sh, domain_checkpoint_list_all_children, &children, checkpoint, 0, LIST_DESCENDANTS))
		return false;
	shell_print("%-15s %d\n", "Descendants:", children.ret);
	return true;
}

static void list_row(struct shell *sh, struct table *table, struct remote_domain_checkpoint checkpoint,
		     bool parents)
{
	const char *xml = checkpoint_xml(sh, checkpoint, 0);
	g_autoptr(xmlDoc) doc = xml ? xml_parse(xml, "domain_checkpoint", NULL) : NULL;
	g_autofree char *seconds = doc ? xpath_text(doc, NULL, "/domaincheckpoint/creationTime") : NULL;
	g_autofree char *parent = doc ? xpath_text(doc, NULL, "/domaincheckpoint/parent/name") : NULL;
	g_autofree char *when = spec_time(seconds);
	if (when && parents)
		table_row(table, checkpoint.name, when, parent ? parent : "", NULL);
	else if (when)
		table_row(table, checkpoint.name, when, NULL);
}

static bool collect(struct shell *sh, const struct cmd *cmd, struct remote_domain dom, uint32_t flags,
		    struct remote_domain_checkpoint **list, uint32_t *count)
{
	struct remote_domain_list_all_checkpoints_ret all;
	struct remote_domain_checkpoint_list_all_children_ret children;
	struct remote_domain_checkpoint from;
	bool tree = opt_bool(cmd, "tree");
	if (!opt_bool(cmd, "from")) {
		bool good = GET(sh, domain_list_all_checkpoints, &all, dom, 1, flags);
		if (good) {
			*list = all.checkpoints.items;
			*count = all.checkpoints.count;
		}
		return good;
	}
	if (!find_checkpoint(sh, cmd, "from", dom, &from) ||
	    !GET(sh, domain_checkpoint_list_all_children, &children, from, 1,
		 flags | (tree ? LIST_DESCENDANTS : 0)))
		return false;
	*count = children.checkpoints.count + tree;
	*list = arena_alloc(client_arena(sh->client), *count * sizeof(from) + 1);
	if (tree)
		(*list)[0] = from;
	memcpy(*list + tree, children.checkpoints.items, children.checkpoints.count * sizeof(from));
	return true;
}

static bool list_flags(struct shell *sh, const struct cmd *cmd, uint32_t *flags)
{
	static const struct option_flag table[] = {
		{"topological", LIST_TOPOLOGICAL}, {"roots", LIST_ROOTS}, {"leaves", 4}, {"no-leaves", 8}, {NULL}};
	static const char *const no_tree[] = {"leaves", "no-leaves"};
	for (unsigned i = 0; i < G_N_ELEMENTS(no_tree); i++) {
		if (opt_bool(cmd, "tree") && opt_bool(cmd, no_tree[i]))
			return shell_fail(sh, "--%s and --tree are mutually exclusive", no_tree[i]);
	}
	*flags = opt_flags(cmd, table);
	if (opt_bool(cmd, "descendants") && !opt_bool(cmd, "from"))
		return shell_fail(sh, "--descendants requires --from");
	*flags |= opt_bool(cmd, "descendants") ? LIST_DESCENDANTS : 0;
	return true;
}

bool cmd_checkpoint_list(struct shell *sh, const struct cmd *cmd)
{
	static const char *const exclusive[][2] = {
		{"tree", "name"}, {"parent", "roots"}, {"parent", "tree"}, {"roots", "tree"}, {"roots", "from"}};
	struct remote_domain dom;
	struct remote_domain_checkpoint *list;
	uint32_t flags = 0, count;
	bool parents = opt_bool(cmd, "parent"), names = opt_bool(cmd, "name");
	for (unsigned i = 0; i < G_N_ELEMENTS(exclusive); i++) {
		if (!opt_exclusive(sh, cmd, exclusive[i][0], exclusive[i][1]))
			return false;
	}
	if (!list_flags(sh, cmd, &flags) || !shell_domain(sh, cmd, NULL, &dom) ||
	    !collect(sh, cmd, dom, flags, &list, &count))
		return false;
	if (!(flags & LIST_TOPOLOGICAL))
		qsort(list, count, sizeof(*list), compare_names);
	if (opt_bool(cmd, "tree")) {
		spec_tree(sh, list, count, sizeof(*list), parent_of);
		return true;
	}
	struct table *table = names ? table_new("Name", NULL) :
			      parents ? table_new("Name", "Creation Time", "Parent", NULL) :
					table_new("Name", "Creation Time", NULL);
	for (uint32_t i = 0; i < count; i++) {
		if (names)
			table_row(table, list[i].name, NULL);
		else
			list_row(sh, table, list[i], parents);
	}
	shell_forget_error(sh);
	if (names)
		table_print_words(sh, table);
	else
		table_print(sh, table);
	return true;
}

/* --- Changing --------------------------------------------------------------------------------- */

bool cmd_checkpoint_delete(struct shell *sh, const struct cmd *cmd)
{
	static const struct option_flag table[] = {
		{"children", 1}, {"metadata", DELETE_METADATA_ONLY}, {"children-only", 4}, {NULL}};
	struct remote_domain dom;
	struct remote_domain_checkpoint checkpoint;
	if (!shell_domain(sh, cmd, NULL, &dom) ||
	    !find_checkpoint(sh, cmd, "checkpointname", dom, &checkpoint))
		return false;
	if (!CALL(sh, domain_checkpoint_delete, checkpoint, opt_flags(cmd, table)))
		return shell_fail(sh, "Failed to delete checkpoint %s", checkpoint.name);
	shell_extra(sh, opt_bool(cmd, "children-only") ? "Domain checkpoint %s children deleted\n" :
							 "Domain checkpoint %s deleted\n", checkpoint.name);
	return true;
}

struct edited {
	struct remote_domain dom;
	struct remote_domain_checkpoint checkpoint;
	char *new_name;
};

static const char *fetch(struct shell *sh, void *object)
{
	return checkpoint_xml(sh, ((struct edited *)object)->checkpoint, XML_SECURE);
}

static bool redefine(struct shell *sh, void *object, const char *xml)
{
	struct edited *edited = object;
	struct remote_domain_checkpoint_create_xml_ret ret;
	if (!GET(sh, domain_checkpoint_create_xml, &ret, edited->dom, (char *)xml, CREATE_REDEFINE))
		return false;
	edited->new_name = ret.checkpoint.name;
	return true;
}

bool cmd_checkpoint_edit(struct shell *sh, const struct cmd *cmd)
{
	struct edited edited;
	const struct edit edit = {fetch, redefine, &edited};
	bool changed;
	if (!shell_domain(sh, cmd, NULL, &edited.dom) ||
	    !find_checkpoint(sh, cmd, "checkpointname", edited.dom, &edited.checkpoint))
		return false;
	const char *name = edited.checkpoint.name;
	if (!shell_edit(sh, &edit, &changed))
		return shell_fail(sh, "Failed to update %s", name);
	if (!changed) {
		shell_extra(sh, "Checkpoint %s XML configuration not changed.\n", name);
		return true;
	}
	if (strcmp(name, edited.new_name) == 0) {
		shell_extra(sh, "Checkpoint %s edited.\n", name);
		return true;
	}
	const struct remote_domain_checkpoint made = {edited.new_name, edited.dom};
	if (!CALL(sh, domain_checkpoint_delete, made, DELETE_METADATA_ONLY)) {
		shell_report(sh);
		shell_fail(sh, "Failed to clean up %s", edited.new_name);
	} else {
		shell_fail(sh, "Cannot rename checkpoint %s to %s", name, edited.new_name);
	}
	return shell_fail(sh, "Failed to update %s", name);
}

/* --- Backups ---------------------------------------------------------------------------------- */

bool cmd_backup_begin(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	const char *backup_path, *checkpoint_path;
	if (!shell_domain(sh, cmd, NULL, &dom) || !opt_string(sh, cmd, "backupxml", &backup_path) ||
	    !opt_string(sh, cmd, "checkpointxml", &checkpoint_path))
		return false;
	g_autofree char *backup = backup_path ? shell_read_file(sh, backup_path) : g_strdup("<domainbackup/>");
	g_autofree char *checkpoint = backup && checkpoint_path ? shell_read_file(sh, checkpoint_path) : NULL;
	if (!backup || (checkpoint_path && !checkpoint))
		return false;
	if (!CALL(sh, domain_backup_begin, dom, backup, checkpoint, opt_bool(cmd, "reuse-external") ? 1 : 0))
		return false;
	shell_print("Backup started\n");
	return true;
}

bool cmd_backup_dumpxml(struct shell *sh, const struct cmd *cmd)
{
	struct remote_domain dom;
	struct remote_domain_backup_get_xml_desc_ret ret;
	return shell_domain(sh, cmd, NULL, &dom) && GET(sh, domain_backup_get_xml_desc, &ret, dom, 0) &&
	       shell_show_xml(sh, cmd, ret.xml);
}
