/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What goes through the host from and to a network's guests, by forward mode:
 *
 *   nat     guests reach the outside under the host's address; the outside reaches a guest only by
 *           what answers the guest, and by forwarded ports
 *   route   both reach each other by their own addresses
 *   none    nothing goes through
 *   open    nothing is said: no table
 *
 * A table of the family inet has both IPv4 and IPv6. "accept" ends our table only: what another
 * table of the host drops stays dropped.
 */
#include "daemon/network/rules.h"

#include "base/error.h"
#include "daemon/network/nft.h"

#include <string.h>
#include <sys/socket.h>

#define FAMILY "inet"

static char *table_name(const struct conf_network *conf)
{
	return g_strconcat(NETWORK_TABLE_PREFIX, conf->bridge, NULL);
}

static const char *ip_word(const struct ip_address *ip)
{
	return ip->family == AF_INET6 ? "ip6" : "ip";
}

/* "192.168.122.0/24" */
static char *network_text(const struct conf_network_ip *ip)
{
	char text[IP_TEXT_SIZE];
	const struct ip_address first = ip_first(&ip->address, ip->prefix);
	return g_strdup_printf("%s/%u", ip_format(&first, text), ip->prefix);
}

/* NAT of IPv6 only where it is asked for: such addresses are routed otherwise. */
static bool has_nat(const struct conf_network *conf, const struct conf_network_ip *ip)
{
	return conf->forward == CONF_FORWARD_NAT && (ip->address.family == AF_INET || conf->nat_ipv6);
}

/* --- Filter ----------------------------------------------------------------------------------- */

static void add_forwarded_ports(GString *text, const struct conf_network *conf)
{
	char to[IP_TEXT_SIZE];
	for (unsigned i = 0; i < conf->port_forwards->len; i++) {
		const struct conf_port_forward *one =
			&g_array_index(conf->port_forwards, struct conf_port_forward, i);
		g_string_append_printf(text, "oifname \"%s\" %s daddr %s %s dport %u-%u ct status dnat accept\n",
				       conf->bridge, ip_word(&one->to), ip_format(&one->to, to),
				       one->udp ? "udp" : "tcp", one->to_port, one->to_port + one->count - 1);
	}
}

static void add_filter(GString *text, const struct conf_network *conf)
{
	const char *bridge = conf->bridge;
	g_autofree char *out = conf->forward_dev
		? g_strdup_printf(" oifname \"%s\"", conf->forward_dev) : g_strdup("");
	g_autofree char *in = conf->forward_dev
		? g_strdup_printf("iifname \"%s\" ", conf->forward_dev) : g_strdup("");
	g_string_append(text, "chain forward {\ntype filter hook forward priority filter; policy accept;\n");
	g_string_append_printf(text, "iifname \"%s\" oifname \"%s\" accept\n", bridge, bridge);
	add_forwarded_ports(text, conf);
	for (unsigned i = 0; i < conf->ips->len && conf->forward != CONF_FORWARD_NONE; i++) {
		const struct conf_network_ip *ip = conf->ips->pdata[i];
		const char *word = ip_word(&ip->address);
		g_autofree char *net = network_text(ip);
		g_string_append_printf(text, "%soifname \"%s\" %s daddr %s %saccept\n", in, bridge, word, net,
				       has_nat(conf, ip) ? "ct state established,related " : "");
		g_string_append_printf(text, "iifname \"%s\"%s %s saddr %s accept\n", bridge, out, word, net);
	}
	/* What lies behind a router among the guests. */
	for (unsigned i = 0; i < conf->routes->len && conf->forward == CONF_FORWARD_ROUTE; i++) {
		const struct conf_network_route *route = conf->routes->pdata[i];
		const char *word = ip_word(&route->address);
		char address[IP_TEXT_SIZE];
		ip_format(&route->address, address);
		g_string_append_printf(text, "%soifname \"%s\" %s daddr %s/%u accept\n", in, bridge, word,
				       address, route->prefix);
		g_string_append_printf(text, "iifname \"%s\"%s %s saddr %s/%u accept\n", bridge, out, word,
				       address, route->prefix);
	}
	g_string_append_printf(text, "iifname \"%s\" reject\noifname \"%s\" reject\n}\n", bridge, bridge);
}

/* --- NAT -------------------------------------------------------------------------------------- */

/* "masquerade", or "snat ip to 1.2.3.4-1.2.3.9", with ports if `ports`. */
static void add_translation(GString *text, const struct conf_network *conf, const struct ip_address *ip,
			    bool ports)
{
	char first[IP_TEXT_SIZE], last[IP_TEXT_SIZE];
	bool address = ip_is_set(&conf->nat_first) && ip->family == AF_INET;
	if (!address)
		g_string_append(text, ports ? "masquerade to " : "masquerade");
	else if (ip_equal(&conf->nat_first, &conf->nat_last))
		g_string_append_printf(text, "snat ip to %s", ip_format(&conf->nat_first, first));
	else
		g_string_append_printf(text, "snat ip to %s-%s", ip_format(&conf->nat_first, first),
				       ip_format(&conf->nat_last, last));
	/* Ports below 1024 mean something to some servers (RFC 6335): a guest must not have the host's. */
	if (ports)
		g_string_append_printf(text, ":%u-%u", conf->nat_port_first ? conf->nat_port_first : 1024,
				       conf->nat_port_last ? conf->nat_port_last : 65535);
	g_string_append_c(text, '\n');
}

static void add_masquerade(GString *text, const struct conf_network *conf)
{
	g_string_append(text, "chain postrouting {\ntype nat hook postrouting priority srcnat; policy accept;\n");
	for (unsigned i = 0; i < conf->ips->len; i++) {
		const struct conf_network_ip *ip = conf->ips->pdata[i];
		const char *word = ip_word(&ip->address);
		g_autofree char *net = network_text(ip);
		if (!has_nat(conf, ip))
			continue;
		g_string_append_printf(text, "%s saddr %s %s daddr %s return\n", word, net, word,
				       ip->address.family == AF_INET ? "{ 224.0.0.0/24, 255.255.255.255 }"
								     : "ff02::/16");
		g_string_append_printf(text, "%s saddr %s %s daddr != %s meta l4proto { tcp, udp } ", word,
				       net, word, net);
		add_translation(text, conf, &ip->address, true);
		g_string_append_printf(text, "%s saddr %s %s daddr != %s ", word, net, word, net);
		add_translation(text, conf, &ip->address, false);
		/* A guest that goes to a forwarded port of the host must get its answers by the host. */
		if (conf->port_forwards->len)
			g_string_append_printf(text, "%s saddr %s %s daddr %s ct status dnat masquerade\n",
					       word, net, word, net);
	}
	g_string_append(text, "}\n");
}

static void add_forwards(GString *text, const struct conf_network *conf, const char *chain,
			 const char *priority)
{
	char to[IP_TEXT_SIZE], listen[IP_TEXT_SIZE];
	g_string_append_printf(text, "chain %s {\ntype nat hook %s priority %s; policy accept;\n", chain, chain,
			       priority);
	for (unsigned i = 0; i < conf->port_forwards->len; i++) {
		const struct conf_port_forward *one =
			&g_array_index(conf->port_forwards, struct conf_port_forward, i);
		const char *word = ip_word(&one->to), *protocol = one->udp ? "udp" : "tcp";
		bool v6 = one->to.family == AF_INET6;
		ip_format(&one->to, to);
		g_string_append_printf(text, "meta nfproto %s ", v6 ? "ipv6" : "ipv4");
		if (ip_is_set(&one->listen))
			g_string_append_printf(text, "%s daddr %s ", word, ip_format(&one->listen, listen));
		else
			g_string_append(text, "fib daddr type local ");
		/* Not what is said to the host itself on its loopback: nothing comes back from there. */
		g_string_append_printf(text, "%s daddr != %s ", word, v6 ? "::1" : "127.0.0.0/8");
		if (one->count > 1)
			g_string_append_printf(text, "%s dport %u-%u dnat %s to %s\n", protocol, one->port,
					       one->port + one->count - 1, word, to);
		else
			g_string_append_printf(text, "%s dport %u dnat %s to %s%s%s:%u\n", protocol, one->port,
					       word, v6 ? "[" : "", to, v6 ? "]" : "", one->to_port);
	}
	g_string_append(text, "}\n");
}

/* --- The table -------------------------------------------------------------------------------- */

static bool needs_table(const struct conf_network *conf)
{
	return conf_network_owns_bridge(conf) && conf->forward != CONF_FORWARD_OPEN;
}

char *network_rules_text(const struct conf_network *conf)
{
	if (!needs_table(conf))
		return NULL;
	g_autofree char *name = table_name(conf);
	GString *text = g_string_new(NULL);
	/* In one transaction: made if it is not there, removed, made anew. */
	g_string_append_printf(text, "table %s %s\ndelete table %s %s\ntable %s %s {\n", FAMILY, name, FAMILY,
			       name, FAMILY, name);
	add_filter(text, conf);
	if (conf->forward == CONF_FORWARD_NAT)
		add_masquerade(text, conf);
	if (conf->port_forwards->len) {
		add_forwards(text, conf, "prerouting", "dstnat");
		add_forwards(text, conf, "output", "-100");
	}
	g_string_append(text, "}\n");
	return g_string_free(text, FALSE);
}

char *network_rules_listing(const struct conf_network *conf)
{
	g_autofree char *name = table_name(conf);
	return nft_list_table(FAMILY, name);
}

bool network_rules_load(const struct conf_network *conf, char **listing, GError **error)
{
	g_autofree char *text = network_rules_text(conf);
	*listing = NULL;
	if (!text)
		return true;
	if (!nft_run(text, error))
		return false;
	*listing = network_rules_listing(conf);
	return true;
}

bool network_rules_remove(const struct conf_network *conf, GError **error)
{
	g_autofree char *name = table_name(conf);
	g_autofree char *text = g_strdup_printf("table %s %s\ndelete table %s %s\n", FAMILY, name, FAMILY, name);
	return !needs_table(conf) || nft_run(text, error);
}
