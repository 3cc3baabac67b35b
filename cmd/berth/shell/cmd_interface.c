/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's network interfaces. */
#include "table.h"

#include "shell.h"

#include <stdlib.h>
#include <string.h>

enum { LIST_INACTIVE = 1, LIST_ACTIVE = 2, XML_INACTIVE = 1, BY_MAC = BY_ID };

bool cmd_iface_list(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_list_all_interfaces_ret ret;
	uint32_t flags = LIST_ACTIVE;
	if (!opt_exclusive(sh, cmd, "all", "inactive"))
		return false;
	if (opt_bool(cmd, "inactive"))
		flags = LIST_INACTIVE;
	if (opt_bool(cmd, "all"))
		flags = LIST_ACTIVE | LIST_INACTIVE;
	if (!GET(sh, connect_list_all_interfaces, &ret, 1, flags))
		return shell_fail(sh, "Failed to list interfaces");
	qsort(ret.ifaces.items, ret.ifaces.count, sizeof(*ret.ifaces.items), compare_names);
	struct table *table = table_new("Name", "State", "MAC Address", NULL);
	for (uint32_t i = 0; i < ret.ifaces.count; i++) {
		struct remote_interface_is_active_ret active;
		bool on = !GET(sh, interface_is_active, &active, ret.ifaces.items[i]) || active.active;
		table_row(table, ret.ifaces.items[i].name, on ? "active" : "inactive",
			  ret.ifaces.items[i].mac, NULL);
	}
	shell_forget_error(sh);
	table_print(sh, table);
	return true;
}

bool cmd_iface_name(struct shell *sh, const struct cmd *cmd)
{
	struct remote_interface iface;
	if (!shell_interface(sh, cmd, "interface", BY_MAC, NULL, &iface))
		return false;
	shell_print("%s\n", iface.name);
	return true;
}

bool cmd_iface_mac(struct shell *sh, const struct cmd *cmd)
{
	struct remote_interface iface;
	if (!shell_interface(sh, cmd, "interface", BY_NAME, NULL, &iface))
		return false;
	shell_print("%s\n", iface.mac);
	return true;
}

static const char *interface_xml(struct shell *sh, struct remote_interface iface, uint32_t flags)
{
	struct remote_interface_get_xml_desc_ret ret;
	return GET(sh, interface_get_xml_desc, &ret, iface, flags) ? ret.xml : NULL;
}

bool cmd_iface_dumpxml(struct shell *sh, const struct cmd *cmd)
{
	struct remote_interface iface;
	if (!shell_interface(sh, cmd, "interface", BY_ANY, NULL, &iface))
		return false;
	const char *xml = interface_xml(sh, iface, opt_bool(cmd, "inactive") ? XML_INACTIVE : 0);
	return xml && shell_show_xml(sh, cmd, xml);
}

static const char *fetch(struct shell *sh, void *object)
{
	return interface_xml(sh, *(struct remote_interface *)object, XML_INACTIVE);
}

static bool define(struct shell *sh, void *object, const char *xml)
{
	struct remote_interface_define_xml_ret ret;
	return GET(sh, interface_define_xml, &ret, (char *)xml, 0);
}

bool cmd_iface_edit(struct shell *sh, const struct cmd *cmd)
{
	struct remote_interface iface;
	const struct edit edit = {fetch, define, &iface};
	bool changed;
	if (!shell_interface(sh, cmd, "interface", BY_ANY, NULL, &iface) ||
	    !shell_edit(sh, &edit, &changed))
		return false;
	shell_extra(sh, changed ? "Interface %s XML configuration edited.\n" :
				  "Interface %s XML configuration not changed.\n", iface.name);
	return true;
}

bool cmd_iface_define(struct shell *sh, const struct cmd *cmd)
{
	struct remote_interface_define_xml_ret ret;
	g_autofree char *xml = shell_option_file(sh, cmd, "file");
	if (!xml)
		return false;
	if (!GET(sh, interface_define_xml, &ret, xml, opt_bool(cmd, "validate") ? 1 : 0))
		return shell_fail(sh, "Failed to define interface from %s", opt_text(cmd, "file"));
	shell_extra(sh, "Interface %s defined from %s\n", ret.iface.name, opt_text(cmd, "file"));
	return true;
}

bool cmd_iface_undefine(struct shell *sh, const struct cmd *cmd)
{
	struct remote_interface iface;
	const char *name;
	if (!shell_interface(sh, cmd, "interface", BY_ANY, &name, &iface))
		return false;
	if (!CALL(sh, interface_undefine, iface))
		return shell_fail(sh, "Failed to undefine interface %s", name);
	shell_extra(sh, "Interface %s undefined\n", name);
	return true;
}

bool cmd_iface_start(struct shell *sh, const struct cmd *cmd)
{
	struct remote_interface iface;
	const char *name;
	if (!shell_interface(sh, cmd, "interface", BY_ANY, &name, &iface))
		return false;
	if (!CALL(sh, interface_create, iface, 0))
		return shell_fail(sh, "Failed to start interface %s", name);
	shell_extra(sh, "Interface %s started\n", name);
	return true;
}

bool cmd_iface_destroy(struct shell *sh, const struct cmd *cmd)
{
	struct remote_interface iface;
	const char *name;
	if (!shell_interface(sh, cmd, "interface", BY_ANY, &name, &iface))
		return false;
	if (!CALL(sh, interface_destroy, iface, 0))
		return shell_fail(sh, "Failed to destroy interface %s", name);
	shell_extra(sh, "Interface %s destroyed\n", name);
	return true;
}

bool cmd_iface_begin(struct shell *sh, const struct cmd *cmd)
{
	if (!CALL(sh, interface_change_begin, 0))
		return shell_fail(sh, "Failed to begin network config change transaction");
	shell_extra(sh, "Network config change transaction started\n");
	return true;
}

bool cmd_iface_commit(struct shell *sh, const struct cmd *cmd)
{
	if (!CALL(sh, interface_change_commit, 0))
		return shell_fail(sh, "Failed to commit network config change transaction");
	shell_extra(sh, "Network config change transaction committed\n");
	return true;
}

bool cmd_iface_rollback(struct shell *sh, const struct cmd *cmd)
{
	if (!CALL(sh, interface_change_rollback, 0))
		return shell_fail(sh, "Failed to rollback network config change transaction");
	shell_extra(sh, "Network config change transaction rolled back\n");
	return true;
}

/* --- Bridges ---------------------------------------------------------------------------------- */

/* What belongs to the device itself goes with it when it enters or leaves a bridge. */
static void move_device_parts(xmlNode *from, xmlNode *to)
{
	for (xmlNode *node = from->children, *next; node; node = next) {
		next = node->next;
		if (node->type == XML_ELEMENT_NODE &&
		    (xml_is(node, "mac") || xml_is(node, "bond") || xml_is(node, "vlan"))) {
			xmlUnlinkNode(node);
			xmlAddChild(to, node);
		}
	}
}

static void set_attribute(xmlNode *node, const char *name, const char *value)
{
	xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

static bool define_interface(struct shell *sh, xmlDoc *doc, struct remote_interface *iface)
{
	struct remote_interface_define_xml_ret ret;
	xmlChar *text;
	int size;
	xmlDocDumpMemory(doc, &text, &size);
	bool good = GET(sh, interface_define_xml, &ret, (char *)text, 0);
	xmlFree(text);
	if (good)
		*iface = ret.iface;
	return good;
}

/* The definition's document and its root, checked to be of this name. */
static xmlDoc *interface_doc(struct shell *sh, struct remote_interface iface, const char *name,
			     char **type)
{
	const char *xml = interface_xml(sh, iface, XML_INACTIVE);
	if (!xml)
		return NULL;
	g_autoptr(xmlDoc) doc = xml_parse(xml, "interface_definition", NULL);
	xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
	g_autofree char *given = root ? xml_attribute(root, "name") : NULL;
	*type = root ? xml_attribute(root, "type") : NULL;
	if (!doc)
		shell_fail(sh, "Failed to parse configuration of %s", name);
	else if (!*type)
		shell_fail(sh, "Existing device %s has no type", name);
	else if (g_strcmp0(given, name) != 0)
		shell_fail(sh, "Interface name from config %s doesn't match given supplied name %s", given,
			   name);
	else
		return g_steal_pointer(&doc);
	return NULL;
}

bool cmd_iface_bridge(struct shell *sh, const struct cmd *cmd)
{
	struct remote_interface iface, bridge;
	struct remote_interface_lookup_by_name_ret existing;
	const char *name, *bridge_name;
	uint32_t delay = 0;
	if (!shell_interface(sh, cmd, "interface", BY_NAME, &name, &iface) ||
	    !opt_string(sh, cmd, "bridge", &bridge_name))
		return false;
	if (GET(sh, interface_lookup_by_name, &existing, (char *)bridge_name))
		return shell_fail(sh, "Network device %s already exists", bridge_name);
	shell_forget_error(sh);
	if (opt_uint(sh, cmd, "delay", &delay) < 0)
		return false;
	g_autofree char *type = NULL;
	g_autoptr(xmlDoc) doc = interface_doc(sh, iface, name, &type);
	if (!doc)
		return false;
	if (strcmp(type, "bridge") == 0)
		return shell_fail(sh, "Existing device %s is already a bridge", name);
	xmlNode *root = xmlDocGetRootElement(doc);
	xmlNode *node = xmlNewChild(root, NULL, (const xmlChar *)"bridge", NULL);
	g_autofree char *seconds = g_strdup_printf("%u", delay);
	bool stp = !opt_bool(cmd, "no-stp");
	set_attribute(node, "stp", stp ? "on" : "off");
	if (stp)
		set_attribute(node, "delay", seconds);
	set_attribute(root, "type", "bridge");
	set_attribute(root, "name", bridge_name);
	xmlNode *port = xmlNewChild(node, NULL, (const xmlChar *)"interface", NULL);
	set_attribute(port, "type", type);
	set_attribute(port, "name", name);
	move_device_parts(root, port);
	if (!define_interface(sh, doc, &bridge))
		return shell_fail(sh, "Failed to define new bridge interface %s", bridge_name);
	shell_extra(sh, "Created bridge %s with attached device %s\n", bridge_name, name);
	if (opt_bool(cmd, "no-start"))
		return true;
	if (!CALL(sh, interface_create, bridge, 0))
		return shell_fail(sh, "Failed to start bridge interface %s", bridge_name);
	shell_extra(sh, "Bridge interface %s started\n", bridge_name);
	return true;
}

/* The only port of a bridge; NULL after an error. */
static xmlNode *only_port(struct shell *sh, xmlDoc *doc)
{
	xmlNode *bridge = xml_child(xmlDocGetRootElement(doc), "bridge");
	xmlNode *port = bridge ? xml_child(bridge, "interface") : NULL;
	if (!bridge)
		shell_fail(sh, "No bridge node in xml document");
	else if (!port)
		shell_fail(sh, "No interface attached to bridge");
	else if (xml_next(port, "interface"))
		shell_fail(sh, "Multiple interfaces attached to bridge");
	else
		return port;
	return NULL;
}

bool cmd_iface_unbridge(struct shell *sh, const struct cmd *cmd)
{
	struct remote_interface bridge, iface;
	const char *name;
	if (!shell_interface(sh, cmd, "bridge", BY_NAME, &name, &bridge))
		return false;
	g_autofree char *type = NULL;
	g_autoptr(xmlDoc) doc = interface_doc(sh, bridge, name, &type);
	if (!doc)
		return false;
	if (strcmp(type, "bridge") != 0)
		return shell_fail(sh, "Device %s is not a bridge", name);
	xmlNode *port = only_port(sh, doc);
	if (!port)
		return false;
	g_autofree char *port_name = xml_attribute(port, "name");
	g_autofree char *port_type = xml_attribute(port, "type");
	if (!port_name)
		return shell_fail(sh, "Device attached to bridge %s has no name", name);
	if (!port_type)
		return shell_fail(sh, "Attached device %s has no type", port_name);
	xmlNode *root = xmlDocGetRootElement(doc), *node = xml_child(root, "bridge");
	set_attribute(root, "type", port_type);
	set_attribute(root, "name", port_name);
	move_device_parts(port, root);
	xmlUnlinkNode(node);
	xmlFreeNode(node);
	if (!CALL(sh, interface_destroy, bridge, 0))
		return shell_fail(sh, "Failed to destroy bridge interface %s", name);
	if (!CALL(sh, interface_undefine, bridge))
		return shell_fail(sh, "Failed to undefine bridge interface %s", name);
	if (!define_interface(sh, doc, &iface))
		return shell_fail(sh, "Failed to define new interface %s", port_name);
	shell_extra(sh, "Device %s un-attached from bridge %s\n", port_name, name);
	if (opt_bool(cmd, "no-start"))
		return true;
	if (!CALL(sh, interface_create, iface, 0))
		return shell_fail(sh, "Failed to start interface %s", port_name);
	shell_extra(sh, "Interface %s started\n", port_name);
	return true;
}
