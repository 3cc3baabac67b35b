/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network filters and the ports that have them. */
#include "table.h"

#include "shell.h"

#include <stdlib.h>
#include <string.h>

static bool define_filter(struct shell *sh, const char *xml, bool validate, struct remote_nwfilter *filter)
{
	struct remote_nwfilter_define_xml_ret ret;
	struct remote_nwfilter_define_xml_flags_ret flagged;
	bool good = validate ? GET(sh, nwfilter_define_xml_flags, &flagged, (char *)xml, 1) :
			       GET(sh, nwfilter_define_xml, &ret, (char *)xml);
	if (good)
		*filter = validate ? flagged.nwfilter : ret.nwfilter;
	return good;
}

bool cmd_nwfilter_define(struct shell *sh, const struct cmd *cmd)
{
	struct remote_nwfilter filter;
	const char *path = opt_text(cmd, "file");
	g_autofree char *xml = shell_option_file(sh, cmd, "file");
	if (!xml)
		return false;
	if (!define_filter(sh, xml, opt_bool(cmd, "validate"), &filter))
		return shell_fail(sh, "Failed to define network filter from %s", path);
	shell_extra(sh, "Network filter %s defined from %s\n", filter.name, path);
	return true;
}

bool cmd_nwfilter_undefine(struct shell *sh, const struct cmd *cmd)
{
	struct remote_nwfilter filter;
	const char *name;
	if (!shell_nwfilter(sh, cmd, &name, &filter))
		return false;
	if (!CALL(sh, nwfilter_undefine, filter))
		return shell_fail(sh, "Failed to undefine network filter %s", name);
	shell_extra(sh, "Network filter %s undefined\n", name);
	return true;
}

static const char *fetch(struct shell *sh, void *object)
{
	struct remote_nwfilter_get_xml_desc_ret ret;
	return GET(sh, nwfilter_get_xml_desc, &ret, *(struct remote_nwfilter *)object, 0) ? ret.xml : NULL;
}

static bool define(struct shell *sh, void *object, const char *xml)
{
	return define_filter(sh, xml, false, object);
}

bool cmd_nwfilter_dumpxml(struct shell *sh, const struct cmd *cmd)
{
	struct remote_nwfilter filter;
	const char *xml = shell_nwfilter(sh, cmd, NULL, &filter) ? fetch(sh, &filter) : NULL;
	return xml && shell_show_xml(sh, cmd, xml);
}

bool cmd_nwfilter_edit(struct shell *sh, const struct cmd *cmd)
{
	struct remote_nwfilter filter;
	const struct edit edit = {fetch, define, &filter};
	bool changed;
	if (!shell_nwfilter(sh, cmd, NULL, &filter) || !shell_edit(sh, &edit, &changed))
		return false;
	shell_extra(sh, changed ? "Network filter %s XML configuration edited.\n" :
				  "Network filter %s XML configuration not changed.\n", filter.name);
	return true;
}

bool cmd_nwfilter_list(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_list_all_nwfilters_ret ret;
	if (!GET(sh, connect_list_all_nwfilters, &ret, 1, 0))
		return shell_fail(sh, "Failed to list network filters");
	qsort(ret.filters.items, ret.filters.count, sizeof(*ret.filters.items), compare_names);
	struct table *table = table_new("UUID", "Name", NULL);
	for (uint32_t i = 0; i < ret.filters.count; i++) {
		char uuid[UUID_TEXT];
		table_row(table, format_uuid(ret.filters.items[i].uuid, uuid), ret.filters.items[i].name, NULL);
	}
	table_print(sh, table);
	return true;
}

/* --- Ports ------------------------------------------------------------------------------------ */

static bool find_binding(struct shell *sh, const struct cmd *cmd, struct remote_nwfilter_binding *binding)
{
	struct remote_nwfilter_binding_lookup_by_port_dev_ret ret;
	const char *name;
	if (!opt_string(sh, cmd, "binding", &name))
		return false;
	if (!GET(sh, nwfilter_binding_lookup_by_port_dev, &ret, (char *)name))
		return shell_fail(sh, "failed to get nwfilter binding '%s'", name);
	*binding = ret.nwfilter;
	return true;
}

bool cmd_nwfilter_binding_create(struct shell *sh, const struct cmd *cmd)
{
	struct remote_nwfilter_binding_create_xml_ret ret;
	const char *path = opt_text(cmd, "file");
	g_autofree char *xml = shell_option_file(sh, cmd, "file");
	if (!xml)
		return false;
	if (!GET(sh, nwfilter_binding_create_xml, &ret, xml, opt_bool(cmd, "validate") ? 1 : 0))
		return shell_fail(sh, "Failed to create network filter from %s", path);
	shell_extra(sh, "Network filter binding on %s created from %s\n", ret.nwfilter.portdev, path);
	return true;
}

bool cmd_nwfilter_binding_delete(struct shell *sh, const struct cmd *cmd)
{
	struct remote_nwfilter_binding binding;
	if (!find_binding(sh, cmd, &binding))
		return false;
	if (!CALL(sh, nwfilter_binding_delete, binding))
		return shell_fail(sh, "Failed to delete network filter binding on %s", binding.portdev);
	shell_extra(sh, "Network filter binding on %s deleted\n", binding.portdev);
	return true;
}

bool cmd_nwfilter_binding_dumpxml(struct shell *sh, const struct cmd *cmd)
{
	struct remote_nwfilter_binding binding;
	struct remote_nwfilter_binding_get_xml_desc_ret ret;
	return find_binding(sh, cmd, &binding) &&
	       GET(sh, nwfilter_binding_get_xml_desc, &ret, binding, 0) && shell_show_xml(sh, cmd, ret.xml);
}

bool cmd_nwfilter_binding_list(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_list_all_nwfilter_bindings_ret ret;
	if (!GET(sh, connect_list_all_nwfilter_bindings, &ret, 1, 0))
		return shell_fail(sh, "Failed to list network filter bindings");
	qsort(ret.bindings.items, ret.bindings.count, sizeof(*ret.bindings.items), compare_names);
	struct table *table = table_new("Port Dev", "Filter", NULL);
	for (uint32_t i = 0; i < ret.bindings.count; i++)
		table_row(table, ret.bindings.items[i].portdev, ret.bindings.items[i].filtername, NULL);
	table_print(sh, table);
	return true;
}
