/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtual networks. */
#include "table.h"

#include "shell.h"

#include <stdlib.h>
#include <string.h>

enum { LIST_INACTIVE = 1, LIST_ACTIVE = 2, XML_INACTIVE = 1 };

static const struct option_flag list_filters[] = {
	{"persistent", 1 << 2}, {"transient", 1 << 3}, {"autostart", 1 << 4}, {"no-autostart", 1 << 5},
	{NULL},
};

bool cmd_net_autostart(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network net;
	const char *name;
	bool off = opt_bool(cmd, "disable");
	if (!shell_network(sh, cmd, &name, &net))
		return false;
	if (!CALL(sh, network_set_autostart, net, !off))
		return shell_fail(sh, off ? "failed to unmark network %s as autostarted" :
					    "failed to mark network %s as autostarted", name);
	shell_extra(sh, off ? "Network %s unmarked as autostarted\n" :
			      "Network %s marked as autostarted\n", name);
	return true;
}

bool cmd_net_create(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network_create_xml_ret ret;
	struct remote_network_create_xml_flags_ret flagged;
	g_autofree char *xml = shell_option_file(sh, cmd, "file");
	if (!xml)
		return false;
	bool validate = opt_bool(cmd, "validate");
	bool good = validate ? GET(sh, network_create_xml_flags, &flagged, xml, 1) :
			       GET(sh, network_create_xml, &ret, xml);
	if (!good)
		return shell_fail(sh, "Failed to create network from %s", opt_text(cmd, "file"));
	shell_extra(sh, "Network %s created from %s\n", validate ? flagged.net.name : ret.net.name,
		    opt_text(cmd, "file"));
	return true;
}

bool cmd_net_define(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network_define_xml_ret ret;
	struct remote_network_define_xml_flags_ret flagged;
	g_autofree char *xml = shell_option_file(sh, cmd, "file");
	if (!xml)
		return false;
	bool validate = opt_bool(cmd, "validate");
	bool good = validate ? GET(sh, network_define_xml_flags, &flagged, xml, 1) :
			       GET(sh, network_define_xml, &ret, xml);
	if (!good)
		return shell_fail(sh, "Failed to define network from %s", opt_text(cmd, "file"));
	shell_extra(sh, "Network %s defined from %s\n", validate ? flagged.net.name : ret.net.name,
		    opt_text(cmd, "file"));
	return true;
}

bool cmd_net_destroy(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network net;
	const char *name;
	if (!shell_network(sh, cmd, &name, &net))
		return false;
	if (!CALL(sh, network_destroy, net))
		return shell_fail(sh, "Failed to destroy network %s", name);
	shell_extra(sh, "Network %s destroyed\n", name);
	return true;
}

bool cmd_net_start(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network net;
	const char *name;
	if (!shell_network(sh, cmd, &name, &net))
		return false;
	if (!CALL(sh, network_create, net))
		return shell_fail(sh, "Failed to start network %s", name);
	shell_extra(sh, "Network %s started\n", name);
	return true;
}

bool cmd_net_undefine(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network net;
	const char *name;
	if (!shell_network(sh, cmd, &name, &net))
		return false;
	if (!CALL(sh, network_undefine, net))
		return shell_fail(sh, "Failed to undefine network %s", name);
	shell_extra(sh, "Network %s has been undefined\n", name);
	return true;
}

static const char *network_xml(struct shell *sh, struct remote_network net, uint32_t flags)
{
	struct remote_network_get_xml_desc_ret ret;
	return GET(sh, network_get_xml_desc, &ret, net, flags) ? ret.xml : NULL;
}

bool cmd_net_dumpxml(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network net;
	if (!shell_network(sh, cmd, NULL, &net))
		return false;
	const char *xml = network_xml(sh, net, opt_bool(cmd, "inactive") ? XML_INACTIVE : 0);
	return xml && shell_show_xml(sh, cmd, xml);
}

static const char *fetch(struct shell *sh, void *object)
{
	const struct remote_network *net = object;
	const char *xml = network_xml(sh, *net, XML_INACTIVE);
	/* Old daemons do not know the flag. */
	if (!xml && shell_error_code(sh) == CLIENT_INVALID_ARG)
		xml = network_xml(sh, *net, 0);
	return xml;
}

static bool define(struct shell *sh, void *object, const char *xml)
{
	struct remote_network_define_xml_ret ret;
	return GET(sh, network_define_xml, &ret, (char *)xml);
}

bool cmd_net_edit(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network net;
	const struct edit edit = {fetch, define, &net};
	bool changed;
	if (!shell_network(sh, cmd, NULL, &net) || !shell_edit(sh, &edit, &changed))
		return false;
	shell_extra(sh, changed ? "Network %s XML configuration edited.\n" :
				  "Network %s XML configuration not changed.\n", net.name);
	return true;
}

bool cmd_net_info(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network net;
	struct remote_network_is_active_ret active;
	struct remote_network_is_persistent_ret persistent;
	struct remote_network_get_autostart_ret autostart;
	struct remote_network_get_bridge_name_ret bridge;
	char uuid[UUID_TEXT];
	if (!shell_network(sh, cmd, NULL, &net))
		return false;
	shell_print("%-15s %s\n%-15s %s\n", "Name:", net.name, "UUID:", format_uuid(net.uuid, uuid));
	if (GET(sh, network_is_active, &active, net))
		shell_print("%-15s %s\n", "Active:", yes_no(active.active));
	bool known = GET(sh, network_is_persistent, &persistent, net);
	shell_print("%-15s %s\n", "Persistent:", known ? yes_no(persistent.persistent) : "unknown");
	known = GET(sh, network_get_autostart, &autostart, net);
	shell_print("%-15s %s\n", "Autostart:", known ? yes_no(autostart.autostart) : "no autostart");
	if (GET(sh, network_get_bridge_name, &bridge, net))
		shell_print("%-15s %s\n", "Bridge:", bridge.name);
	return true;
}

static void list_table(struct shell *sh, const struct remote_network *nets, uint32_t count)
{
	struct table *table = table_new("Name", "State", "Autostart", "Persistent", NULL);
	for (uint32_t i = 0; i < count; i++) {
		struct remote_network_get_autostart_ret autostart;
		struct remote_network_is_active_ret active;
		struct remote_network_is_persistent_ret persistent;
		const char *start = GET(sh, network_get_autostart, &autostart, nets[i]) ?
					    yes_no(autostart.autostart) : "no autostart";
		/* As virsh: what cannot be asked counts as true. */
		bool is_active = !GET(sh, network_is_active, &active, nets[i]) || active.active;
		bool stays = !GET(sh, network_is_persistent, &persistent, nets[i]) || persistent.persistent;
		table_row(table, nets[i].name, is_active ? "active" : "inactive", start, yes_no(stays), NULL);
	}
	shell_forget_error(sh);
	table_print(sh, table);
}

bool cmd_net_list(struct shell *sh, const struct cmd *cmd)
{
	struct remote_connect_list_all_networks_ret ret;
	uint32_t flags = LIST_ACTIVE;
	bool names = opt_bool(cmd, "name"), uuids = opt_bool(cmd, "uuid");
	if (opt_bool(cmd, "inactive"))
		flags = LIST_INACTIVE;
	if (opt_bool(cmd, "all"))
		flags = LIST_ACTIVE | LIST_INACTIVE;
	if (opt_bool(cmd, "table") + names + uuids > 1)
		return shell_fail(sh, "Only one argument from --table, --name and --uuid may be specified.");
	if (!GET(sh, connect_list_all_networks, &ret, 1, flags | opt_flags(cmd, list_filters)))
		return shell_fail(sh, "Failed to list networks");
	qsort(ret.nets.items, ret.nets.count, sizeof(*ret.nets.items), compare_names);
	if (!names && !uuids) {
		list_table(sh, ret.nets.items, ret.nets.count);
		return true;
	}
	struct table *table = table_new(uuids ? "UUID" : "Name", NULL);
	for (uint32_t i = 0; i < ret.nets.count; i++) {
		char uuid[UUID_TEXT];
		table_row(table, uuids ? format_uuid(ret.nets.items[i].uuid, uuid) : ret.nets.items[i].name,
			  NULL);
	}
	table_print_words(sh, table);
	return true;
}

static bool by_option(struct shell *sh, const struct cmd *cmd, unsigned by, struct remote_network *net)
{
	const char *text;
	return opt_string(sh, cmd, "network", &text) && shell_network_by(sh, text, by, net);
}

bool cmd_net_name(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network net;
	if (!by_option(sh, cmd, BY_UUID, &net))
		return false;
	shell_print("%s\n", net.name);
	return true;
}

bool cmd_net_uuid(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network net;
	char uuid[UUID_TEXT];
	if (!by_option(sh, cmd, BY_NAME, &net))
		return false;
	shell_print("%s\n", format_uuid(net.uuid, uuid));
	return true;
}

static int find_word(const char *const *words, const char *word)
{
	for (int i = 1; words[i]; i++) {
		if (strcmp(words[i], word) == 0)
			return i;
	}
	return 0;
}

static void say_updated(struct shell *sh, const char *name, uint32_t flags, bool active)
{
	bool live = flags & 1, config = flags & 2;
	if (config && live)
		shell_extra(sh, "Updated network %s persistent config and live state", name);
	else if (config || (!live && !active))
		shell_extra(sh, "Updated network %s persistent config", name);
	else
		shell_extra(sh, "Updated network %s live state", name);
}

bool cmd_net_update(struct shell *sh, const struct cmd *cmd)
{
	static const char *const commands_[] = {"none", "modify", "delete", "add-last", "add-first", NULL};
	static const char *const sections[] = {
		"none", "bridge", "domain", "ip", "ip-dhcp-host", "ip-dhcp-range", "forward",
		"forward-interface", "forward-pf", "portgroup", "dns-host", "dns-txt", "dns-srv", NULL};
	struct remote_network net;
	struct remote_network_is_active_ret active = {0};
	const char *word, *section_word, *xml;
	uint32_t flags = 0;
	int32_t parent = -1;
	if (!opt_affect(sh, cmd, &flags, NULL) || !shell_network(sh, cmd, NULL, &net) ||
	    !opt_string(sh, cmd, "command", &word))
		return false;
	int command = strcmp(word, "add") ? find_word(commands_, word) : 3;
	if (!command)
		return shell_fail(sh, "unrecognized command name '%s'", word);
	if (!opt_string(sh, cmd, "section", &section_word))
		return false;
	int section = find_word(sections, section_word);
	if (!section)
		return shell_fail(sh, "unrecognized section name '%s'", section_word);
	if (opt_int(sh, cmd, "parent-index", &parent) < 0 || !opt_string(sh, cmd, "xml", &xml))
		return false;
	g_autofree char *text = *xml == '<' ? g_strdup(xml) : shell_read_file(sh, xml);
	if (!text)
		return false;
	/* Daemons without this feature take the two the other way round. */
	enum { FEATURE_UPDATE_ORDER = 16 };
	bool right = client_has(sh->client, FEATURE_UPDATE_ORDER);
	bool good = CALL(sh, network_update, net, right ? command : section, right ? section : command,
			 parent, text, flags);
	if (!good)
		return shell_fail(sh, "Failed to update network %s", net.name);
	if (!(flags & 3) && GET(sh, network_is_active, &active, net))
		say_updated(sh, net.name, flags, active.active);
	else
		say_updated(sh, net.name, flags, false);
	return true;
}

static int compare_leases(const void *a, const void *b)
{
	const struct remote_network_dhcp_lease *x = a, *y = b;
	return g_ascii_strcasecmp(x->mac ? x->mac : "", y->mac ? y->mac : "");
}

bool cmd_net_dhcp_leases(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network net;
	struct remote_network_get_dhcp_leases_ret ret;
	const char *name, *mac;
	if (!opt_string(sh, cmd, "mac", &mac) || !shell_network(sh, cmd, &name, &net))
		return false;
	if (!GET(sh, network_get_dhcp_leases, &ret, net, (char *)mac, 1, 0))
		return shell_fail(sh, "Failed to get leases info for %s", name);
	qsort(ret.leases.items, ret.leases.count, sizeof(*ret.leases.items), compare_leases);
	struct table *table = table_new("Expiry Time", "MAC address", "Protocol", "IP address", "Hostname",
					"Client ID or DUID", NULL);
	for (uint32_t i = 0; i < ret.leases.count; i++) {
		const struct remote_network_dhcp_lease *lease = &ret.leases.items[i];
		g_autoptr(GDateTime) then = g_date_time_new_from_unix_local(lease->expirytime);
		g_autofree char *when = then ? g_date_time_format(then, "%Y-%m-%d %H:%M:%S") : g_strdup("-");
		g_autofree char *address = g_strdup_printf("%s/%u", lease->ipaddr, lease->prefix);
		table_row(table, when, lease->mac ? lease->mac : "-",
			  lease->type == 0 ? "ipv4" : lease->type == 1 ? "ipv6" : "-", address,
			  lease->hostname ? lease->hostname : "-", lease->clientid ? lease->clientid : "-",
			  NULL);
	}
	table_print(sh, table);
	return true;
}

/* --- Ports ------------------------------------------------------------------------------------ */

static bool find_port(struct shell *sh, const struct cmd *cmd, struct remote_network_port *port)
{
	struct remote_network_port_lookup_by_uuid_args args;
	struct remote_network_port_lookup_by_uuid_ret ret;
	const char *text;
	if (!shell_network(sh, cmd, NULL, &args.network) || !opt_string(sh, cmd, "port", &text))
		return false;
	if (!parse_uuid(text, args.uuid))
		shell_set_error(sh, CLIENT_INVALID_ARG, "uuidstr in %s must be a valid UUID",
				"virNetworkPortLookupByUUIDString");
	else if (call_network_port_lookup_by_uuid(sh->client, &args, &ret, shell_error(sh))) {
		*port = ret.port;
		return true;
	}
	return shell_fail(sh, "failed to get network port '%s'", text);
}

static int compare_ports(const void *a, const void *b)
{
	const struct remote_network_port *x = a, *y = b;
	return memcmp(x->uuid, y->uuid, 16);
}

bool cmd_net_port_list(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network net;
	struct remote_network_list_all_ports_ret ret;
	bool uuids = opt_bool(cmd, "uuid");
	char uuid[UUID_TEXT];
	if (uuids && opt_bool(cmd, "table"))
		return shell_fail(sh, "Only one argument from --table and --uuid may be specified.");
	if (!shell_network(sh, cmd, NULL, &net) || !GET(sh, network_list_all_ports, &ret, net, 1, 0))
		return false;
	qsort(ret.ports.items, ret.ports.count, sizeof(*ret.ports.items), compare_ports);
	struct table *table = table_new("UUID", NULL);
	for (uint32_t i = 0; i < ret.ports.count; i++)
		table_row(table, format_uuid(ret.ports.items[i].uuid, uuid), NULL);
	if (uuids)
		table_print_words(sh, table);
	else
		table_print(sh, table);
	return true;
}

bool cmd_net_port_create(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network net;
	struct remote_network_port_create_xml_ret ret;
	char uuid[UUID_TEXT];
	if (!shell_network(sh, cmd, NULL, &net))
		return false;
	g_autofree char *xml = shell_option_file(sh, cmd, "file");
	if (!xml)
		return false;
	enum { PORT_VALIDATE = 2 };
	if (!GET(sh, network_port_create_xml, &ret, net, xml, opt_bool(cmd, "validate") ? PORT_VALIDATE : 0))
		return shell_fail(sh, "Failed to create network from %s", opt_text(cmd, "file"));
	shell_extra(sh, "Network port %s created from %s\n", format_uuid(ret.port.uuid, uuid),
		    opt_text(cmd, "file"));
	return true;
}

bool cmd_net_port_dumpxml(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network_port port;
	struct remote_network_port_get_xml_desc_ret ret;
	return find_port(sh, cmd, &port) && GET(sh, network_port_get_xml_desc, &ret, port, 0) &&
	       shell_show_xml(sh, cmd, ret.xml);
}

bool cmd_net_port_delete(struct shell *sh, const struct cmd *cmd)
{
	struct remote_network_port port;
	char uuid[UUID_TEXT];
	if (!find_port(sh, cmd, &port))
		return false;
	format_uuid(port.uuid, uuid);
	if (!CALL(sh, network_port_delete, port, 0))
		return shell_fail(sh, "Failed to delete network port %s", uuid);
	shell_extra(sh, "Network port %s deleted\n", uuid);
	return true;
}
