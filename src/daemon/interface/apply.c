/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Definitions made true by rtnetlink. What is there already as it should be is not touched, so that
 * connections over it go on.
 */
#include "daemon/interface/interface.h"

#include "base/error.h"
#include "base/log.h"
#include "daemon/network/bridge.h"

#include <string.h>
#include <sys/socket.h>

/* --- Addresses and routes --------------------------------------------------------------------- */

/* Who gives addresses of this kind is not us: they stay as they are. */
static bool is_given(const struct conf_interface *conf, int family, bool lasts)
{
	return family == AF_INET ? conf->dhcp4 : (conf->autoconf || conf->dhcp6) && !lasts;
}

static bool wants_address(const struct conf_interface *conf, const struct netlink_address *one)
{
	for (unsigned i = 0; i < conf->addresses->len; i++) {
		const struct conf_interface_address *wanted =
			&g_array_index(conf->addresses, struct conf_interface_address, i);
		if (ip_equal(&wanted->ip, &one->ip) && wanted->prefix == one->prefix)
			return true;
	}
	return false;
}

static bool has_address(const struct interface_view *view, unsigned link,
			const struct conf_interface_address *wanted)
{
	for (unsigned i = 0; i < view->addresses->len; i++) {
		const struct netlink_address *one =
			&g_array_index(view->addresses, struct netlink_address, i);
		if (one->link == link && ip_equal(&wanted->ip, &one->ip) && wanted->prefix == one->prefix)
			return true;
	}
	return false;
}

/* All that `conf` does not want; with an empty one, all. */
static bool remove_addresses(const struct conf_interface *conf, const struct interface_view *view,
			     unsigned link, GError **error)
{
	for (unsigned i = 0; i < view->addresses->len; i++) {
		const struct netlink_address *one =
			&g_array_index(view->addresses, struct netlink_address, i);
		if (one->link == link && !wants_address(conf, one) &&
		    !is_given(conf, one->ip.family, one->lasts) &&
		    !netlink_address_delete(link, &one->ip, one->prefix, error))
			return false;
	}
	return true;
}

/* `view` is older than the removal: with an address its routes go, and sometimes its neighbours. */
static bool add_addresses(const struct conf_interface *conf, unsigned link, GError **error)
{
	auto_interface_view view;
	if (!interface_look(&view, error))
		return false;
	for (unsigned i = 0; i < conf->addresses->len; i++) {
		const struct conf_interface_address *wanted =
			&g_array_index(conf->addresses, struct conf_interface_address, i);
		if (!has_address(&view, link, wanted) &&
		    !netlink_address_add(conf->name, &wanted->ip, wanted->prefix, error))
			return false;
	}
	return true;
}

static bool same_route(const struct conf_interface_route *wanted, const struct netlink_route *one)
{
	bool v6 = one->to.family == AF_INET6;
	unsigned usual = v6 ? 1024 : 0;
	return ip_equal(&wanted->to, &one->to) && wanted->prefix == one->prefix &&
	       ip_equal(&wanted->gateway, &one->gateway) &&
	       (wanted->metric ? wanted->metric : usual) == one->metric;
}

static bool set_routes(const struct conf_interface *conf, unsigned link, GError **error)
{
	auto_interface_view view;
	g_autofree bool *there = g_new0(bool, conf->routes->len + 1);
	if (!interface_look(&view, error))
		return false;
	for (unsigned i = 0; i < view.routes->len; i++) {
		const struct netlink_route *one = &g_array_index(view.routes, struct netlink_route, i);
		bool wanted = one->link != link || is_given(conf, one->to.family, one->lasts) || !one->lasts;
		for (unsigned j = 0; !wanted && j < conf->routes->len; j++) {
			wanted = same_route(&g_array_index(conf->routes, struct conf_interface_route, j), one);
			there[j] |= wanted;
		}
		if (!wanted && !netlink_route_delete(one, error))
			return false;
	}
	for (unsigned j = 0; j < conf->routes->len; j++) {
		const struct conf_interface_route *route =
			&g_array_index(conf->routes, struct conf_interface_route, j);
		if (!there[j] && !netlink_route_add(conf->name, &route->to, route->prefix, &route->gateway,
						    route->metric, error))
			return false;
	}
	return true;
}

/* IPv6 only as the definition says; without a word of it the kernel's own way stays. */
static bool set_ipv6(const struct conf_interface *conf, GError **error)
{
	const char *const switches[] = {"accept_ra", "autoconf"};
	for (unsigned i = 0; conf->ipv6 && i < G_N_ELEMENTS(switches); i++) {
		g_autofree char *path = g_strdup_printf("/proc/sys/net/ipv6/conf/%s/%s", conf->name, switches[i]);
		if (!network_set_switch(path, conf->autoconf ? "1" : "0", error))
			return false;
	}
	return true;
}

/* --- Ports ------------------------------------------------------------------------------------ */

static bool set_mac(const struct netlink_link *link, const char *mac, GError **error)
{
	uint8_t bytes[6];
	return !mac || !mac_parse(mac, bytes) || !memcmp(bytes, link->mac, sizeof(bytes)) ||
	       netlink_link_set_mac(link->name, bytes, error);
}

/* A bond gives its ports its own address, and takes only those that are down. */
static bool join(const struct conf_interface_port *port, const struct netlink_link *link,
		 const struct netlink_link *master, GError **error)
{
	bool bond = !strcmp(master->kind, "bond");
	if (link->master == master->index)
		return true;
	if (link->master && !netlink_link_set_master(link->name, NULL, error))
		return false;
	return (bond ? netlink_link_set_up(link->name, false, error) : set_mac(link, port->mac, error)) &&
	       netlink_link_set_master(link->name, master->name, error);
}

static bool plug(const struct conf_interface_port *port, const struct interface_view *view,
		 const struct netlink_link *bridge, GError **error)
{
	auto_conf_interface bare = conf_interface_new(port->name);
	const struct netlink_link *link = interface_link(view, port->name);
	if (!link)
		return error_set(error, BERTH_ERR_NOT_FOUND, "there is no interface '%s' to be a port of '%s'",
				 port->name, bridge->name);
	return remove_addresses(bare, view, link->index, error) && join(port, link, bridge, error) &&
	       netlink_link_set_up(link->name, true, error);
}

static bool unplug_others(const struct conf_interface *conf, const struct interface_view *view,
			  unsigned bridge, GError **error)
{
	for (unsigned i = 0; i < view->links->len; i++) {
		const struct netlink_link *link = &g_array_index(view->links, struct netlink_link, i);
		if (link->master == bridge && !interface_is_tap(link) &&
		    !conf_interface_has_port(conf, link->name) &&
		    !netlink_link_set_master(link->name, NULL, error))
			return false;
	}
	return true;
}

/* --- One interface ---------------------------------------------------------------------------- */

static bool make_bridge(const struct conf_interface *conf, GError **error)
{
	struct netlink_bridge bridge = {.name = conf->name, .stp = conf->stp, .delay_cs = conf->delay_cs};
	struct netlink_link link;
	if (conf->mac)
		mac_parse(conf->mac, bridge.mac);
	if (!netlink_link_get(conf->name, &link, NULL))
		return netlink_bridge_add(&bridge, error);
	return (!strcmp(link.kind, "bridge") ||
		error_set(error, BERTH_ERR_BUSY, "the interface '%s' is there, and no bridge", conf->name)) &&
	       netlink_bridge_set(&bridge, error);
}

/* NULL: the kernel chooses. */
static const uint8_t *mac_of(const struct conf_interface *conf, uint8_t bytes[6])
{
	return conf->mac && mac_parse(conf->mac, bytes) ? bytes : NULL;
}

static bool is_vlan(const struct netlink_link *link, const struct conf_interface *conf)
{
	return !strcmp(link->kind, "vlan") && link->tag == conf->tag &&
	       link->lower == if_nametoindex(conf->lower);
}

/* Packets go nowhere while the interface below is down. */
static bool make_vlan(const struct conf_interface *conf, GError **error)
{
	struct netlink_link link, lower;
	uint8_t mac[6];
	bool there = netlink_link_get(conf->name, &link, NULL);
	if (there && strcmp(link.kind, "vlan") != 0)
		return error_set(error, BERTH_ERR_BUSY, "the interface '%s' is there, and no VLAN", conf->name);
	if (!netlink_link_get(conf->lower, &lower, error) ||
	    (!(lower.flags & IFF_UP) && !netlink_link_set_up(conf->lower, true, error)))
		return false;
	if (there && is_vlan(&link, conf))
		return set_mac(&link, conf->mac, error);
	return (!there || netlink_link_delete(conf->name, error)) &&
	       netlink_vlan_add(conf->name, conf->lower, conf->tag, mac_of(conf, mac), error);
}

/* Of a bond with ports most cannot be changed: then another one is made. */
static bool make_bond(const struct conf_interface *conf, GError **error)
{
	struct netlink_link link;
	uint8_t mac[6];
	bool there = netlink_link_get(conf->name, &link, NULL);
	if (there && strcmp(link.kind, "bond") != 0)
		return error_set(error, BERTH_ERR_BUSY, "the interface '%s' is there, and no bond", conf->name);
	if (there && conf_bond_is(&link.bond, &conf->bond))
		return set_mac(&link, conf->mac, error);
	return (!there || netlink_link_delete(conf->name, error)) &&
	       netlink_bond_add(conf->name, &conf->bond, mac_of(conf, mac), error);
}

static bool make_ethernet(const struct conf_interface *conf, GError **error)
{
	struct netlink_link link;
	return netlink_link_get(conf->name, &link, error) && set_mac(&link, conf->mac, error) &&
	       (!link.master || netlink_link_set_master(conf->name, NULL, error));
}

bool interface_apply(const struct conf_interface *conf, bool any_ports, GError **error)
{
	static bool (*const make[])(const struct conf_interface *conf, GError **error) = {
		make_ethernet, make_bridge, make_vlan, make_bond};
	auto_interface_view view = {0};
	if (!make[conf->type](conf, error) || !interface_look(&view, error))
		return false;
	const struct netlink_link *link = interface_link(&view, conf->name);
	if (!link)
		return error_set(error, BERTH_ERR_NOT_FOUND, "the interface '%s' is gone", conf->name);
	if (!set_ipv6(conf, error) || !netlink_link_set_up(conf->name, true, error))
		return false;
	for (unsigned i = 0; i < conf->ports->len; i++) {
		const struct conf_interface_port *port = conf->ports->pdata[i];
		if (!(any_ports && !interface_link(&view, port->name)) && !plug(port, &view, link, error))
			return false;
	}
	/* After the ports, whose own MTU a bridge takes over that has not been given another. */
	return unplug_others(conf, &view, link->index, error) &&
	       (!conf->mtu || netlink_link_set_mtu(conf->name, conf->mtu, error)) &&
	       remove_addresses(conf, &view, link->index, error) &&
	       add_addresses(conf, link->index, error) && set_routes(conf, link->index, error);
}

/* What a definition makes out of nothing. */
static bool is_made(const struct netlink_link *link)
{
	return !strcmp(link->kind, "bridge") || !strcmp(link->kind, "vlan") || !strcmp(link->kind, "bond");
}

/* The ports first: they are as their own definitions say when these are brought up. */
static bool remove_made(const struct interface_view *view, const struct netlink_link *bridge, GError **error)
{
	for (unsigned i = 0; i < view->links->len; i++) {
		const struct netlink_link *link = &g_array_index(view->links, struct netlink_link, i);
		if (link->master == bridge->index && !interface_is_tap(link) &&
		    (!netlink_link_set_master(link->name, NULL, error) ||
		     !netlink_link_set_up(link->name, false, error)))
			return false;
	}
	return netlink_link_delete(bridge->name, error);
}

bool interface_take_down(const struct conf_interface *conf, GError **error)
{
	auto_interface_view view;
	if (!interface_look(&view, error))
		return false;
	const struct netlink_link *link = interface_link(&view, conf->name);
	if (!link)
		return true;
	if (!strcmp(link->kind, conf->type == CONF_INTERFACE_ETHERNET ? "bridge" : conf_interface_type(conf)))
		return remove_made(&view, link, error);
	auto_conf_interface bare = conf_interface_new(conf->name);
	return remove_addresses(bare, &view, link->index, error) &&
	       netlink_link_set_up(conf->name, false, error);
}

/* --- Back ------------------------------------------------------------------------------------- */

static bool is_touched(const struct conf_interface *conf, GHashTable *touched)
{
	bool found = g_hash_table_contains(touched, conf->name);
	for (unsigned i = 0; !found && i < conf->ports->len; i++)
		found = g_hash_table_contains(touched,
					      ((const struct conf_interface_port *)conf->ports->pdata[i])->name);
	return found;
}

static bool was_made(const GPtrArray *state, const char *name)
{
	for (unsigned i = 0; i < state->len; i++) {
		const struct conf_interface *conf = state->pdata[i];
		if (conf->type != CONF_INTERFACE_ETHERNET && !strcmp(conf->name, name))
			return true;
	}
	return false;
}

static void warn(GError **error)
{
	if (*error)
		log_warning("an interface is not as it was: %s", (*error)->message);
	g_clear_error(error);
}

/* What was not there goes: what its ports had can then be given back. */
static void remove_new(const GPtrArray *state, GHashTable *touched)
{
	auto_interface_view view;
	GError *error = NULL;
	bool good = interface_look(&view, &error);
	for (unsigned i = 0; good && i < view.links->len; i++) {
		const struct netlink_link *link = &g_array_index(view.links, struct netlink_link, i);
		if (is_made(link) && g_hash_table_contains(touched, link->name) &&
		    !was_made(state, link->name) && !remove_made(&view, link, &error))
			warn(&error);
	}
	warn(&error);
}

/* The usual one, which is not in what interface_describe() says, and in a definition means any. */
static bool put_back_mtu(const struct conf_interface *conf, GError **error)
{
	struct netlink_link link;
	if (conf->mtu)
		return true;
	if (!netlink_link_get(conf->name, &link, error))
		return false;
	return link.mtu == INTERFACE_USUAL_MTU || link.mtu > CONF_INTERFACE_MAX_MTU ||
	       netlink_link_set_mtu(conf->name, INTERFACE_USUAL_MTU, error);
}

void interface_put_back(const GPtrArray *state, GHashTable *touched)
{
	GError *error = NULL;
	remove_new(state, touched);
	for (unsigned i = 0; i < state->len; i++) {
		const struct conf_interface *conf = state->pdata[i];
		if (is_touched(conf, touched) && interface_apply(conf, true, &error) &&
		    put_back_mtu(conf, &error) &&
		    conf->start == CONF_START_NONE)
			netlink_link_set_up(conf->name, false, &error);
		warn(&error);
	}
}
