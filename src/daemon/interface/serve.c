/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network interfaces of the host, as libvirt's udev driver shows them: what the kernel has now, and what
 * is defined and not there. Ports of bridges are shown as parts of these.
 */
#include "base/error.h"
#include "daemon/interface/interface.h"
#include "daemon/network/network.h"
#include "daemon/rpc/serve.h"

#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LIST_INACTIVE = 1, LIST_ACTIVE = 2, XML_INACTIVE = 1 };

/* --- What there is ---------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct netlink_link *)a)->name, ((const struct netlink_link *)b)->name);
}

/* What is defined and not there stands in lists as a device without an index. */
static void add_defined(GArray *links, const struct interfaces *interfaces)
{
	unsigned there = links->len;
	GHashTableIter iter;
	void *value;
	g_hash_table_iter_init(&iter, interfaces->defined);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct conf_interface *conf = value;
		struct netlink_link link = {.operstate = IF_OPER_DOWN};
		bool found = false;
		for (unsigned i = 0; !found && i < there; i++)
			found = !strcmp(g_array_index(links, struct netlink_link, i).name, conf->name);
		g_strlcpy(link.name, conf->name, sizeof(link.name));
		if (conf->mac)
			mac_parse(conf->mac, link.mac);
		if (!found)
			g_array_append_val(links, link);
	}
}

/* By name; NULL with the call failed. */
static GArray *all_links(struct rpc_call *call)
{
	GError *error = NULL;
	GArray *links = netlink_links(&error);
	if (!links) {
		rpc_call_fail(call, error);
		return NULL;
	}
	add_defined(links, rpc_call_daemon(call)->interfaces);
	g_array_sort(links, compare);
	return links;
}

static const struct netlink_link *at(const GArray *links, unsigned i)
{
	return &g_array_index(links, struct netlink_link, i);
}

/* A bridge that we have brought up is that also without a port that has a carrier. */
static bool is_active(struct rpc_call *call, const struct netlink_link *link)
{
	if (g_hash_table_contains(rpc_call_daemon(call)->interfaces->defined, link->name))
		return link->flags & IFF_UP;
	return link->operstate == IF_OPER_UP;
}

static bool is_bridge_port(const GArray *links, const struct netlink_link *link)
{
	for (unsigned i = 0; link->master && i < links->len; i++) {
		if (at(links, i)->index == link->master)
			return !strcmp(at(links, i)->kind, "bridge");
	}
	return false;
}

/* In lists: what the caller may see and is no part of another. */
static bool is_shown(struct rpc_call *call, const GArray *links, const struct netlink_link *link)
{
	return !is_bridge_port(links, link) && rpc_call_sees(call, RPC_INTERFACE, link->name);
}

static struct remote_interface wire_of(struct rpc_call *call, const struct netlink_link *link)
{
	struct arena *arena = rpc_call_arena(call);
	char *mac = arena_alloc(arena, MAC_TEXT_SIZE), *name = arena_alloc(arena, IFNAMSIZ);
	g_strlcpy(name, link->name, IFNAMSIZ);
	return (struct remote_interface){.name = name, .mac = mac_format(link->mac, mac)};
}

/* By name, or NULL with the call failed. */
static const struct netlink_link *find(struct rpc_call *call, const GArray *links, const char *name)
{
	GError *error = NULL;
	for (unsigned i = 0; i < links->len; i++) {
		if (!strcmp(at(links, i)->name, name))
			return at(links, i);
	}
	virt_error(&error, VIRT_FROM_INTERFACE, VIRT_NO_INTERFACE, "couldn't find interface named '%s'", name);
	rpc_call_fail(call, error);
	return NULL;
}

/* --- Lists ------------------------------------------------------------------------------------ */

void serve_connect_list_all_interfaces(struct rpc_call *call,
				       const struct remote_connect_list_all_interfaces_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, LIST_INACTIVE | LIST_ACTIVE))
		return;
	g_autoptr(GArray) links = all_links(call);
	if (!links)
		return;
	struct remote_connect_list_all_interfaces_ret ret = {0};
	struct remote_interface *items =
		arena_alloc(rpc_call_arena(call), links->len * sizeof(*items));
	for (unsigned i = 0; i < links->len; i++) {
		uint32_t wanted = is_active(call, at(links, i)) ? LIST_ACTIVE : LIST_INACTIVE;
		if ((!args->flags || args->flags & wanted) && is_shown(call, links, at(links, i)))
			items[ret.ret++] = wire_of(call, at(links, i));
	}
	if (args->need) {
		ret.ifaces.count = ret.ret;
		ret.ifaces.items = items;
	}
	rpc_call_reply(call, &ret);
}

/* The older calls know those that are up and those that are down, and no others. */
static bool is_in_state(struct rpc_call *call, const GArray *links, const struct netlink_link *link,
			uint8_t state)
{
	return link->operstate == state && is_shown(call, links, link);
}

static void reply_count(struct rpc_call *call, uint8_t state)
{
	g_autoptr(GArray) links = all_links(call);
	struct remote_connect_num_of_interfaces_ret ret = {0};
	if (!links)
		return;
	for (unsigned i = 0; i < links->len; i++)
		ret.num += is_in_state(call, links, at(links, i), state);
	rpc_call_reply(call, &ret);
}

static void reply_names(struct rpc_call *call, uint8_t state, int max)
{
	g_autoptr(GArray) links = all_links(call);
	struct remote_connect_list_interfaces_ret ret = {0};
	if (!links)
		return;
	ret.names.items = arena_alloc(rpc_call_arena(call), links->len * sizeof(char *));
	for (unsigned i = 0; i < links->len && (int)ret.names.count < max; i++) {
		if (is_in_state(call, links, at(links, i), state))
			ret.names.items[ret.names.count++] = wire_of(call, at(links, i)).name;
	}
	rpc_call_reply(call, &ret);
}

void serve_connect_num_of_interfaces(struct rpc_call *call)
{
	reply_count(call, IF_OPER_UP);
}

void serve_connect_num_of_defined_interfaces(struct rpc_call *call)
{
	reply_count(call, IF_OPER_DOWN);
}

void serve_connect_list_interfaces(struct rpc_call *call,
				   const struct remote_connect_list_interfaces_args *args)
{
	reply_names(call, IF_OPER_UP, args->maxnames);
}

void serve_connect_list_defined_interfaces(struct rpc_call *call,
					   const struct remote_connect_list_defined_interfaces_args *args)
{
	reply_names(call, IF_OPER_DOWN, args->maxnames);
}

/* --- One -------------------------------------------------------------------------------------- */

void serve_interface_lookup_by_name(struct rpc_call *call,
				    const struct remote_interface_lookup_by_name_args *args)
{
	g_autoptr(GArray) links = all_links(call);
	const struct netlink_link *link = links ? find(call, links, args->name) : NULL;
	if (link)
		rpc_call_reply(call,
			       &(struct remote_interface_lookup_by_name_ret){wire_of(call, link)});
}

void serve_interface_lookup_by_mac_string(struct rpc_call *call,
					  const struct remote_interface_lookup_by_mac_string_args *args)
{
	g_autoptr(GArray) links = all_links(call);
	const struct netlink_link *found = NULL;
	unsigned count = 0;
	uint8_t mac[6];
	GError *error = NULL;
	for (unsigned i = 0; links && mac_parse(args->mac, mac) && i < links->len; i++) {
		if (!memcmp(at(links, i)->mac, mac, sizeof(mac)) && !count++)
			found = at(links, i);
	}
	if (!links)
		return;
	if (count == 1) {
		struct remote_interface_lookup_by_mac_string_ret ret = {wire_of(call, found)};
		rpc_call_reply(call, &ret);
		return;
	}
	if (count)
		virt_error(&error, VIRT_FROM_INTERFACE, VIRT_MULTIPLE_INTERFACES,
			   "the MAC address '%s' matches multiple interfaces", args->mac);
	else
		virt_error(&error, VIRT_FROM_INTERFACE, VIRT_NO_INTERFACE,
			   "couldn't find interface with MAC address '%s'", args->mac);
	rpc_call_fail(call, error);
}

void serve_interface_is_active(struct rpc_call *call, const struct remote_interface_is_active_args *args)
{
	g_autoptr(GArray) links = all_links(call);
	const struct netlink_link *link = links ? find(call, links, args->iface.name) : NULL;
	if (link)
		rpc_call_reply(call, &(struct remote_interface_is_active_ret){is_active(call, link)});
}

/* --- XML -------------------------------------------------------------------------------------- */

/* Megabits a second, or 0: not known. */
static unsigned speed_of(const struct netlink_link *link)
{
	struct ethtool_cmd command = {.cmd = ETHTOOL_GSET};
	struct ifreq request = {.ifr_data = (void *)&command};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	g_strlcpy(request.ifr_name, link->name, sizeof(request.ifr_name));
	bool good = fd >= 0 && ioctl(fd, SIOCETHTOOL, &request) == 0;
	if (fd >= 0)
		close(fd);
	uint32_t speed = good ? ethtool_cmd_speed(&command) : 0;
	return speed == (uint32_t)SPEED_UNKNOWN ? 0 : speed;
}

static void write_link(struct xml_writer *w, const struct netlink_link *link)
{
	static const char *const states[] = {"unknown", "notpresent", "down", "lowerlayerdown",
					     "testing", "dormant", "up"};
	unsigned speed = link->operstate == IF_OPER_UP ? speed_of(link) : 0;
	g_autofree char *text = speed ? g_strdup_printf("%u", speed) : NULL;
	const char *state = states[link->operstate < G_N_ELEMENTS(states) ? link->operstate : 0];
	char mac[MAC_TEXT_SIZE];
	xml_empty(w, "link", "speed", text, "state", state, NULL);
	xml_empty(w, "mac", "address", mac_format(link->mac, mac), NULL);
}

static void write_ports(struct xml_writer *w, const GArray *links, const struct netlink_link *bridge)
{
	for (unsigned i = 0; i < links->len; i++) {
		if (at(links, i)->master != bridge->index)
			continue;
		xml_open(w, "interface", "type", "ethernet", "name", at(links, i)->name, NULL);
		write_link(w, at(links, i));
		xml_close(w, "interface");
	}
}

static void write_bridge(struct xml_writer *w, const GArray *links, const struct netlink_link *bridge)
{
	g_autofree char *delay = g_strdup_printf("%u", bridge->delay_cs);
	xml_open(w, "bridge", "stp", bridge->stp ? "on" : "off", "delay", delay, NULL);
	write_ports(w, links, bridge);
	xml_close(w, "bridge");
}

static void write_bond(struct xml_writer *w, const GArray *links, const struct netlink_link *bond)
{
	conf_bond_write(w, &bond->bond);
	write_ports(w, links, bond);
	xml_close(w, "bond");
}

static void write_vlan(struct xml_writer *w, const GArray *links, const struct netlink_link *vlan)
{
	g_autofree char *tag = g_strdup_printf("%u", vlan->tag);
	xml_open(w, "vlan", "tag", tag, NULL);
	for (unsigned i = 0; i < links->len; i++) {
		if (at(links, i)->index && at(links, i)->index == vlan->lower)
			xml_empty(w, "interface", "name", at(links, i)->name, NULL);
	}
	xml_close(w, "vlan");
}

/* The definition, or what one of the interface as it is would be. NULL with *error set. */
static char *inactive_xml(const struct conf_interface *defined, const char *name, GError **error)
{
	auto_interface_view view = {0};
	if (defined)
		return conf_interface_format(defined);
	if (!interface_look(&view, error))
		return NULL;
	const struct netlink_link *link = interface_link(&view, name);
	if (!link) {
		virt_error(error, VIRT_FROM_INTERFACE, VIRT_NO_INTERFACE, "couldn't find interface named '%s'",
			   name);
		return NULL;
	}
	auto_conf_interface conf = interface_describe(&view, link);
	return conf_interface_format(conf);
}

static char *active_xml(const GArray *links, const struct netlink_link *link)
{
	static const struct {
		const char *kind;
		void (*write)(struct xml_writer *w, const GArray *links, const struct netlink_link *link);
	} kinds[] = {{"bridge", write_bridge}, {"bond", write_bond}, {"vlan", write_vlan}};
	unsigned kind = 0;
	while (kind < G_N_ELEMENTS(kinds) && strcmp(kinds[kind].kind, link->kind) != 0)
		kind++;
	bool made = kind < G_N_ELEMENTS(kinds);
	struct xml_writer w = xml_writer_new();
	g_autofree char *mtu = g_strdup_printf("%u", link->mtu);
	xml_open(&w, "interface", "type", made ? link->kind : "ethernet", "name", link->name, NULL);
	xml_empty(&w, "mtu", "size", mtu, NULL);
	if (made)
		kinds[kind].write(&w, links, link);
	else
		write_link(&w, link);
	xml_close(&w, "interface");
	return xml_writer_take(&w);
}

void serve_interface_get_xml_desc(struct rpc_call *call,
				  const struct remote_interface_get_xml_desc_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, XML_INACTIVE))
		return;
	g_autoptr(GArray) links = all_links(call);
	const struct netlink_link *link = links ? find(call, links, args->iface.name) : NULL;
	GError *error = NULL;
	if (!link)
		return;
	bool active = link->index && !(args->flags & XML_INACTIVE);
	g_autofree char *xml = active ? active_xml(links, link)
		: inactive_xml(g_hash_table_lookup(rpc_call_daemon(call)->interfaces->defined, link->name),
			       link->name, &error);
	if (xml)
		rpc_call_reply(call, &(struct remote_interface_get_xml_desc_ret){xml});
	else
		network_fail_of(call, VIRT_FROM_INTERFACE, error);
}
