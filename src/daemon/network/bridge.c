/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/network/bridge.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/network/dnsmasq.h"
#include "daemon/network/netlink.h"
#include "daemon/network/rate.h"
#include "daemon/network/rules.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

/* --- The kernel's switches -------------------------------------------------------------------- */

bool network_set_switch(const char *path, const char *value, GError **error)
{
	auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, value, strlen(value)) >= 0)
		return true;
	return error_set_errno(error, errno, "cannot write '%s' to %s", value, path);
}

static bool has_value(const char *path, const char *value)
{
	g_autofree char *text = NULL;
	return g_file_get_contents(path, &text, NULL, NULL) && strcmp(g_strstrip(text), value) == 0;
}

static bool has_family(const struct conf_network *conf, int family)
{
	for (unsigned i = 0; i < conf->ips->len; i++) {
		if (((const struct conf_network_ip *)conf->ips->pdata[i])->address.family == family)
			return true;
	}
	return false;
}

/*
 * A host that forwards takes no routes from routers' advertisements any more, unless accept_ra is 2
 * (Linux, networking/ip-sysctl): what it has must not go.
 */
static void keep_accepting_routers(void)
{
	static const char top[] = "/proc/sys/net/ipv6/conf";
	GDir *folder = g_dir_open(top, 0, NULL);
	const char *name;
	while (folder && (name = g_dir_read_name(folder))) {
		g_autofree char *path = g_build_filename(top, name, "accept_ra", NULL);
		g_autoptr(GError) error = NULL;
		if (strcmp(name, "all") != 0 && strcmp(name, "default") != 0 && has_value(path, "1") &&
		    !network_set_switch(path, "2", &error))
			log_warning("the host may lose its IPv6 routes by '%s': %s", name, error->message);
	}
	if (folder)
		g_dir_close(folder);
}

static bool forward_packets(const struct conf_network *conf, GError **error)
{
	static const char v4[] = "/proc/sys/net/ipv4/ip_forward";
	static const char v6[] = "/proc/sys/net/ipv6/conf/all/forwarding";
	if (conf->forward == CONF_FORWARD_NONE)
		return true;
	if (has_family(conf, AF_INET) && !has_value(v4, "1") && !network_set_switch(v4, "1", error))
		return false;
	if (!has_family(conf, AF_INET6) || has_value(v6, "1"))
		return true;
	keep_accepting_routers();
	return network_set_switch(v6, "1", error);
}

/* Of the bridge: IPv6 only where it has an address, and never by what guests say of themselves. */
static bool set_ipv6(const struct conf_network *conf, GError **error)
{
	const bool used = has_family(conf, AF_INET6);
	const struct {
		const char *name, *value;
	} switches[] = {{"disable_ipv6", used ? "0" : "1"}, {"accept_ra", "0"}, {"autoconf", "0"}};
	for (unsigned i = 0; i < G_N_ELEMENTS(switches); i++) {
		g_autofree char *path = g_strdup_printf("/proc/sys/net/ipv6/conf/%s/%s", conf->bridge,
							switches[i].name);
		/* A kernel without IPv6 has none of them. */
		if (!g_file_test(path, G_FILE_TEST_EXISTS) && !used)
			return true;
		if (!network_set_switch(path, switches[i].value, error))
			return false;
	}
	return true;
}

/* --- The bridge ------------------------------------------------------------------------------- */

/* Two interfaces with one network: answers would go to the wrong one. */
static bool check_addresses(const struct conf_network *conf, GError **error)
{
	char text[IP_TEXT_SIZE];
	for (unsigned i = 0; i < conf->ips->len; i++) {
		const struct conf_network_ip *ip = conf->ips->pdata[i];
		g_autofree char *name = NULL;
		if (!netlink_find_network(&ip->address, ip->prefix, conf->bridge, &name, error))
			return false;
		if (name)
			return error_set(error, BERTH_ERR_BUSY,
					 "the network %s/%u is in use already by interface %s",
					 ip_format(&ip->address, text), ip->prefix, name);
	}
	return true;
}

static bool add_addresses(const struct conf_network *conf, GError **error)
{
	for (unsigned i = 0; i < conf->ips->len; i++) {
		const struct conf_network_ip *ip = conf->ips->pdata[i];
		if (!netlink_address_add(conf->bridge, &ip->address, ip->prefix, error))
			return false;
	}
	return netlink_link_set_up(conf->bridge, true, error);
}

/* After the bridge is up: a gateway must be reachable. */
static bool add_routes(const struct conf_network *conf, GError **error)
{
	for (unsigned i = 0; i < conf->routes->len; i++) {
		const struct conf_network_route *route = conf->routes->pdata[i];
		if (!netlink_route_add(conf->bridge, &route->address, route->prefix, &route->gateway,
				       route->metric, error))
			return false;
	}
	return true;
}

static bool make_bridge(const struct conf_network *conf, GError **error)
{
	struct netlink_bridge bridge = {.name = conf->bridge, .mtu = conf->mtu, .stp = conf->stp,
					.delay_cs = conf->delay_s * 100};
	if (conf->mac)
		mac_parse(conf->mac, bridge.mac);
	return check_addresses(conf, error) && netlink_bridge_add(&bridge, error);
}

static bool finish(const struct conf_network *conf, const char *folder, struct network_host *host,
		   GError **error)
{
	return set_ipv6(conf, error) && add_addresses(conf, error) && add_routes(conf, error) &&
	       rates_begin_bridge(conf->bridge, &conf->bandwidth, error) &&
	       network_rules_load(conf, &host->listing, error) && forward_packets(conf, error) &&
	       dnsmasq_start(conf, folder, &host->dnsmasq, error);
}

bool network_up(const struct conf_network *conf, const char *folder, struct network_host *host,
		GError **error)
{
	memset(host, 0, sizeof(*host));
	if (!conf_network_owns_bridge(conf))
		return true;
	if (!make_bridge(conf, error))
		return false;
	if (finish(conf, folder, host, error))
		return true;
	network_down(conf, folder, NULL);
	rates_end_bridge(conf->bridge, &conf->bandwidth);
	g_clear_pointer(&host->listing, g_free);
	return false;
}

bool network_repair(const struct conf_network *conf, const char *folder, struct network_host *host,
		    GError **error)
{
	struct netlink_link link;
	memset(host, 0, sizeof(*host));
	if (!conf_network_owns_bridge(conf))
		return true;
	if (!netlink_link_get(conf->bridge, &link, NULL)) {
		dnsmasq_stop(conf, folder, false);
		return network_up(conf, folder, host, error);
	}
	if (!network_rules_load(conf, &host->listing, error) || !forward_packets(conf, error))
		return false;
	/* A change may have been cut short, or an older Berth have written another file. */
	if (dnsmasq_is_current(conf, folder))
		host->dnsmasq = dnsmasq_find(conf, folder);
	return host->dnsmasq || dnsmasq_start(conf, folder, &host->dnsmasq, error);
}

bool network_down(const struct conf_network *conf, const char *folder, GError **error)
{
	g_autoptr(GError) rules = NULL;
	if (!conf_network_owns_bridge(conf))
		return true;
	dnsmasq_stop(conf, folder, true);
	/* The rules last: until the bridge is gone nothing is let through that was not before. */
	bool good = netlink_link_delete(conf->bridge, error);
	if (network_rules_remove(conf, &rules))
		return good;
	if (good)
		g_propagate_error(error, g_steal_pointer(&rules));
	return false;
}
