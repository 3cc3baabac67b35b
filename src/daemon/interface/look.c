/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interfaces as the kernel has them, and definitions that would make them so. */
#include "daemon/interface/interface.h"

#include <linux/if.h>
#include <string.h>
#include <sys/socket.h>

enum { IPV6_METRIC = 1024 };

bool interface_look(struct interface_view *view, GError **error)
{
	*view = (struct interface_view){0};
	return (view->links = netlink_links(error)) && (view->addresses = netlink_addresses(error)) &&
	       (view->routes = netlink_routes(error));
}

void interface_view_clear(struct interface_view *view)
{
	g_clear_pointer(&view->links, g_array_unref);
	g_clear_pointer(&view->addresses, g_array_unref);
	g_clear_pointer(&view->routes, g_array_unref);
}

static const struct netlink_link *at(const struct interface_view *view, unsigned i)
{
	return &g_array_index(view->links, struct netlink_link, i);
}

const struct netlink_link *interface_link(const struct interface_view *view, const char *name)
{
	for (unsigned i = 0; i < view->links->len; i++) {
		if (!strcmp(at(view, i)->name, name))
			return at(view, i);
	}
	return NULL;
}

bool interface_is_tap(const struct netlink_link *link)
{
	return !strcmp(link->kind, "tun");
}

/* --- Definitions ------------------------------------------------------------------------------ */

static void describe_addresses(struct conf_interface *conf, const struct interface_view *view, unsigned link)
{
	for (unsigned i = 0; i < view->addresses->len; i++) {
		const struct netlink_address *one =
			&g_array_index(view->addresses, struct netlink_address, i);
		const struct conf_interface_address address = {one->ip, one->prefix};
		bool v6 = one->ip.family == AF_INET6;
		if (one->link != link)
			continue;
		*(v6 ? &conf->ipv6 : &conf->ipv4) = true;
		if (one->lasts)
			g_array_append_val(conf->addresses, address);
		else
			*(v6 ? &conf->autoconf : &conf->dhcp4) = true;
	}
	for (unsigned i = 0; i < view->routes->len; i++) {
		const struct netlink_route *one = &g_array_index(view->routes, struct netlink_route, i);
		struct conf_interface_route route = {one->to, one->gateway, one->prefix, one->metric};
		bool v6 = one->to.family == AF_INET6;
		/* The kernel's choice, if nobody makes one. */
		if (v6 && route.metric == IPV6_METRIC)
			route.metric = 0;
		if (one->link == link && one->lasts && (v6 || !conf->dhcp4)) {
			*(v6 ? &conf->ipv6 : &conf->ipv4) = true;
			g_array_append_val(conf->routes, route);
		}
	}
}

/* What the kernel calls a bridge is its lowest port's address, unless somebody has given it another. */
static bool has_own_mac(const struct interface_view *view, const struct netlink_link *bridge)
{
	for (unsigned i = 0; i < view->links->len; i++) {
		if (at(view, i)->master == bridge->index &&
		    !memcmp(at(view, i)->mac, bridge->mac, sizeof(bridge->mac)))
			return false;
	}
	return true;
}

/* NULL: it is elsewhere, or there is none. */
static const struct netlink_link *by_index(const struct interface_view *view, unsigned index)
{
	for (unsigned i = 0; i < view->links->len; i++) {
		if (at(view, i)->index == index)
			return at(view, i);
	}
	return NULL;
}

struct conf_interface *interface_describe(const struct interface_view *view, const struct netlink_link *link)
{
	struct conf_interface *conf = conf_interface_new(link->name);
	bool bridge = !strcmp(link->kind, "bridge"), bond = !strcmp(link->kind, "bond");
	const struct netlink_link *lower = strcmp(link->kind, "vlan") ? NULL : by_index(view, link->lower);
	char mac[MAC_TEXT_SIZE];
	conf->type = bridge ? CONF_INTERFACE_BRIDGE : bond ? CONF_INTERFACE_BOND
		: lower ? CONF_INTERFACE_VLAN : CONF_INTERFACE_ETHERNET;
	conf->tag = link->tag;
	conf->lower = lower ? g_strdup(lower->name) : NULL;
	conf->bond = link->bond;
	conf->start = link->flags & IFF_UP ? CONF_START_ONBOOT : CONF_START_NONE;
	if (link->mtu != INTERFACE_USUAL_MTU && link->mtu >= CONF_INTERFACE_MIN_MTU &&
	    link->mtu <= CONF_INTERFACE_MAX_MTU)
		conf->mtu = link->mtu;
	if (lower ? memcmp(lower->mac, link->mac, sizeof(link->mac)) != 0 : !(bridge || bond) || has_own_mac(view, link))
		conf->mac = g_strdup(mac_format(link->mac, mac));
	conf->stp = link->stp;
	conf->delay_cs = link->delay_cs;
	for (unsigned i = 0; (bridge || bond) && i < view->links->len; i++) {
		const struct netlink_link *port = at(view, i);
		/* A bond's port has the bond's address. */
		if (port->master == link->index && !interface_is_tap(port))
			conf_interface_add_port(conf, port->name, bond ? NULL : mac_format(port->mac, mac));
	}
	describe_addresses(conf, view, link->index);
	return conf;
}

GPtrArray *interface_describe_all(const struct interface_view *view)
{
	GPtrArray *all = g_ptr_array_new_with_free_func(conf_interface_free);
	for (unsigned i = 0; i < view->links->len; i++) {
		const struct netlink_link *link = at(view, i);
		if (!link->master && !(link->flags & IFF_LOOPBACK) && !interface_is_tap(link))
			g_ptr_array_add(all, interface_describe(view, link));
	}
	return all;
}
