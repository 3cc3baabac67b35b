/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <ip>, with what DHCP gives in it, and <route> of a network's XML. */
#include "conf/network.h"

#include "base/error.h"

#include <string.h>
#include <sys/socket.h>

#define MAX_LEASE UINT64_C(4294967295)

bool conf_ip_read(const xmlNode *node, const char *attribute, int family, struct ip_address *ip,
		  GError **error)
{
	g_autofree char *text = xml_attribute(node, attribute);
	memset(ip, 0, sizeof(*ip));
	if (!text)
		return true;
	if (!ip_parse(text, ip))
		return conf_element_error(error, BERTH_ERR_INVALID, node, "%s='%s' is no IP address",
					  attribute, text);
	if (family && ip->family != family)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "%s='%s' is not an %s address, as its network is", attribute, text,
					  family == AF_INET ? "IPv4" : "IPv6");
	return true;
}

static bool needs(const xmlNode *node, const char *attribute, const struct ip_address *ip, GError **error)
{
	return ip_is_set(ip) ||
	       conf_element_error(error, BERTH_ERR_INVALID, node, "its %s is missing", attribute);
}

static const char *or_null(const char *text)
{
	return *text ? text : NULL;
}

/* --- Prefixes --------------------------------------------------------------------------------- */

/* What a network without netmask and prefix has: the classes of old (RFC 791), and 64 for IPv6. */
static unsigned default_prefix(const struct ip_address *ip)
{
	if (ip->family == AF_INET6)
		return 64;
	return ip->bytes[0] < 0x80 ? 8 : ip->bytes[0] < 0xc0 ? 16 : 24;
}

/* family, address, netmask and prefix, which <ip> and <route> have in common. */
static bool read_network(const xmlNode *node, char **family, struct ip_address *address,
			 struct ip_address *netmask, unsigned *prefix, bool *says_prefix, GError **error)
{
	uint64_t bits = UINT64_MAX;
	*family = xml_attribute(node, "family");
	if (*family && strcmp(*family, "ipv4") != 0 && strcmp(*family, "ipv6") != 0)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "family='%s' must be 'ipv4' or 'ipv6'", *family);
	int number = g_strcmp0(*family, "ipv6") == 0 ? AF_INET6 : AF_INET;
	if (!conf_ip_read(node, "address", number, address, error) ||
	    !needs(node, "address", address, error) ||
	    !conf_ip_read(node, "netmask", 0, netmask, error) ||
	    !conf_number(node, "prefix", 0, ip_bits(address), &bits, error))
		return false;
	*says_prefix = bits != UINT64_MAX;
	*prefix = *says_prefix ? bits : default_prefix(address);
	if (!ip_is_set(netmask))
		return true;
	if (number == AF_INET6 || ip_mask_bits(netmask) < 0)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  number == AF_INET6 ? "IPv6 has no netmask: write prefix="
							     : "its netmask has holes");
	if (*says_prefix)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "both netmask and prefix: leave one out");
	*prefix = ip_mask_bits(netmask);
	return true;
}

/* --- DHCP ------------------------------------------------------------------------------------- */

static bool read_lease(const xmlNode *parent, struct conf_lease_time *lease, GError **error)
{
	static const char *const units[] = {"seconds", "minutes", "hours"};
	const xmlNode *node = xml_child(parent, "lease");
	memset(lease, 0, sizeof(*lease));
	if (!node)
		return true;
	g_autofree char *unit = xml_attribute(node, "unit");
	lease->expiry = UINT64_MAX;
	for (unsigned i = 0; i < G_N_ELEMENTS(units); i++) {
		if (strcmp(unit ? unit : "minutes", units[i]) == 0)
			lease->unit = units[i];
	}
	if (!lease->unit)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "unit='%s' must be seconds, minutes or hours", unit);
	if (!conf_number(node, "expiry", 0, MAX_LEASE, &lease->expiry, error))
		return false;
	if (lease->expiry == UINT64_MAX)
		return conf_element_error(error, BERTH_ERR_INVALID, node, "its expiry is missing");
	/* dnsmasq takes no less than two minutes. */
	if (lease->expiry && lease->expiry < 120 && strcmp(lease->unit, "seconds") == 0)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "a lease lasts two minutes at least: expiry='120'");
	if (lease->expiry == 1 && strcmp(lease->unit, "minutes") == 0)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "a lease lasts two minutes at least: expiry='2'");
	return true;
}

static void write_lease(struct xml_writer *w, const struct conf_lease_time *lease)
{
	g_autofree char *expiry = g_strdup_printf("%" G_GUINT64_FORMAT, lease->expiry);
	xml_empty(w, "lease", "expiry", expiry, lease->expiry ? "unit" : NULL, lease->unit, NULL);
}

static bool check_inside(const xmlNode *node, const struct conf_network_ip *ip,
			 const struct ip_address *address, GError **error)
{
	char text[IP_TEXT_SIZE], network[IP_TEXT_SIZE];
	if (ip_in_network(address, &ip->address, ip->prefix))
		return true;
	return conf_element_error(error, BERTH_ERR_INVALID, node,
				  "%s is not in the network %s/%u", ip_format(address, text),
				  ip_format(&ip->address, network), ip->prefix);
}

bool conf_dhcp_range_read(const struct conf_network_ip *ip, const xmlNode *node,
			  struct conf_dhcp_range *range, GError **error)
{
	int family = ip->address.family;
	if (!conf_ip_read(node, "start", family, &range->start, error) ||
	    !needs(node, "start", &range->start, error) ||
	    !conf_ip_read(node, "end", family, &range->end, error) ||
	    !needs(node, "end", &range->end, error) || !read_lease(node, &range->lease, error) ||
	    !check_inside(node, ip, &range->start, error) || !check_inside(node, ip, &range->end, error))
		return false;
	if (ip_compare(&range->start, &range->end) > 0)
		return conf_element_error(error, BERTH_ERR_INVALID, node, "its end is before its start");
	const struct ip_address first = ip_first(&ip->address, ip->prefix);
	const struct ip_address last = ip_last(&ip->address, ip->prefix);
	if (family == AF_INET && ip->prefix < 31 &&
	    (ip_equal(&first, &range->start) || ip_equal(&last, &range->end)))
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "the network's own address and its broadcast address are "
					  "nobody's: leave them out of the range");
	return true;
}

/* dnsmasq's own list: hex bytes with colons, and what libvirt passes on. */
static bool is_client_id(const char *id)
{
	return *id && strspn(id, "0123456789abcdefABCDEF:") == strlen(id);
}

static bool check_host(const struct conf_network_ip *ip, const struct conf_dhcp_host *host,
		       const xmlNode *node, bool partial, GError **error)
{
	uint8_t mac[6];
	bool v6 = ip->address.family == AF_INET6;
	if (host->mac && (!mac_parse(host->mac, mac) || mac[0] & 1))
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "'%s' is no MAC address of one card", host->mac);
	if (host->mac && v6)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "a host of IPv6 is known by its id (DUID) or name, not by mac");
	if (host->id && (!v6 || !is_client_id(host->id)))
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "id='%s': only IPv6 has ids, of hexadecimal bytes with colons",
					  host->id);
	/* "ignore" and "infinite" say in dnsmasq's file that the host gets nothing, or for how long. */
	if (host->name && (!conf_is_dns_name(host->name) || g_ascii_isdigit(*host->name) ||
			   strcmp(host->name, "ignore") == 0 || strcmp(host->name, "infinite") == 0))
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "name='%s' cannot be a host's name", host->name);
	if (partial)
		return host->mac || host->id || host->name || ip_is_set(&host->ip) ||
		       conf_element_error(error, BERTH_ERR_INVALID, node, "nothing says which host");
	if (!ip_is_set(&host->ip) && (v6 || !host->mac || !host->name))
		return conf_element_error(error, BERTH_ERR_INVALID, node, "its ip is missing");
	if (!host->mac && !host->id && !host->name)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "it has neither %s nor name", v6 ? "id" : "mac");
	return !ip_is_set(&host->ip) || check_inside(node, ip, &host->ip, error);
}

struct conf_dhcp_host *conf_dhcp_host_read(const struct conf_network_ip *ip, const xmlNode *node,
					   bool partial, GError **error)
{
	struct conf_dhcp_host *host = g_new0(struct conf_dhcp_host, 1);
	host->mac = xml_attribute(node, "mac");
	host->id = xml_attribute(node, "id");
	host->name = xml_attribute(node, "name");
	if (conf_ip_read(node, "ip", ip->address.family, &host->ip, error) &&
	    read_lease(node, &host->lease, error) && check_host(ip, host, node, partial, error))
		return host;
	conf_dhcp_host_free(host);
	return NULL;
}

void conf_dhcp_host_free(void *opaque)
{
	struct conf_dhcp_host *host = opaque;
	if (!host)
		return;
	g_free(host->mac);
	g_free(host->id);
	g_free(host->name);
	g_free(host);
}

/* Of a path or name that goes into a file of dnsmasq: it must not end its line or field, or begin a comment. */
static bool check_plain(const xmlNode *node, const char *what, const char *value, GError **error)
{
	for (const char *c = value; c && *c; c++) {
		if (g_ascii_iscntrl(*c) || strchr(",\"#", *c))
			return conf_element_error(error, BERTH_ERR_NOT_SUPPORTED, node,
						  "%s='%s': commas, quotes, '#' and control characters are "
						  "not supported", what, value);
	}
	return true;
}

static bool read_dhcp(struct conf_network_ip *ip, const xmlNode *dhcp, GError **error)
{
	xml_for_each(node, dhcp, "range") {
		struct conf_dhcp_range range;
		if (!conf_dhcp_range_read(ip, node, &range, error))
			return false;
		g_array_append_val(ip->ranges, range);
	}
	xml_for_each(node, dhcp, "host") {
		struct conf_dhcp_host *host = conf_dhcp_host_read(ip, node, false, error);
		if (!host)
			return false;
		g_ptr_array_add(ip->hosts, host);
	}
	const xmlNode *bootp = xml_child(dhcp, "bootp");
	if (!bootp)
		return true;
	if (ip->address.family != AF_INET)
		return conf_element_error(error, BERTH_ERR_NOT_SUPPORTED, bootp, "BOOTP is of IPv4 only");
	ip->bootp_file = xml_attribute(bootp, "file");
	ip->bootp_server = xml_attribute(bootp, "server");
	if (!ip->bootp_file)
		return conf_element_error(error, BERTH_ERR_INVALID, bootp, "its file is missing");
	return check_plain(bootp, "file", ip->bootp_file, error) &&
	       check_plain(bootp, "server", ip->bootp_server, error);
}

/* --- <ip> ------------------------------------------------------------------------------------- */

static bool read_rest(struct conf_network_ip *ip, const xmlNode *node, GError **error)
{
	const xmlNode *tftp = xml_child(node, "tftp"), *dhcp = xml_child(node, "dhcp");
	if (ip_is_multicast(&ip->address) || !ip->prefix)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "it is no address of a host in a network");
	ip->says_local_ptr = xmlHasProp(node, (const xmlChar *)"localPtr") != NULL;
	if (!conf_yes_no(node, "localPtr", &ip->local_ptr, error))
		return false;
	if (ip->local_ptr && ip->prefix % (ip->address.family == AF_INET ? 8 : 4) != 0)
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "localPtr needs a prefix of whole %s",
					  ip->address.family == AF_INET ? "bytes" : "hexadecimal digits");
	if (tftp) {
		ip->tftp_root = xml_attribute(tftp, "root");
		if (!ip->tftp_root || *ip->tftp_root != '/')
			return conf_element_error(error, BERTH_ERR_INVALID, tftp,
						  "its root must be an absolute path");
		if (!check_plain(tftp, "root", ip->tftp_root, error))
			return false;
	}
	return !dhcp || read_dhcp(ip, dhcp, error);
}

struct conf_network_ip *conf_network_ip_read(const xmlNode *node, GError **error)
{
	struct conf_network_ip *ip = g_new0(struct conf_network_ip, 1);
	ip->ranges = g_array_new(FALSE, FALSE, sizeof(struct conf_dhcp_range));
	ip->hosts = g_ptr_array_new_with_free_func(conf_dhcp_host_free);
	if (read_network(node, &ip->family, &ip->address, &ip->netmask, &ip->prefix, &ip->says_prefix,
			 error) && read_rest(ip, node, error))
		return ip;
	conf_network_ip_free(ip);
	return NULL;
}

void conf_network_ip_free(void *opaque)
{
	struct conf_network_ip *ip = opaque;
	if (!ip)
		return;
	g_array_unref(ip->ranges);
	g_ptr_array_unref(ip->hosts);
	g_free(ip->family);
	g_free(ip->tftp_root);
	g_free(ip->bootp_file);
	g_free(ip->bootp_server);
	g_free(ip);
}

static void write_dhcp(struct xml_writer *w, const struct conf_network_ip *ip)
{
	char a[IP_TEXT_SIZE], b[IP_TEXT_SIZE];
	xml_open(w, "dhcp", NULL);
	for (unsigned i = 0; i < ip->ranges->len; i++) {
		const struct conf_dhcp_range *range = &g_array_index(ip->ranges, struct conf_dhcp_range, i);
		ip_format(&range->start, a);
		ip_format(&range->end, b);
		if (!range->lease.unit) {
			xml_empty(w, "range", "start", a, "end", b, NULL);
			continue;
		}
		xml_open(w, "range", "start", a, "end", b, NULL);
		write_lease(w, &range->lease);
		xml_close(w, "range");
	}
	for (unsigned i = 0; i < ip->hosts->len; i++) {
		const struct conf_dhcp_host *host = ip->hosts->pdata[i];
		ip_format(&host->ip, a);
		if (!host->lease.unit) {
			xml_empty(w, "host", "id", host->id, "mac", host->mac, "name", host->name, "ip",
				  or_null(a), NULL);
			continue;
		}
		xml_open(w, "host", "id", host->id, "mac", host->mac, "name", host->name, "ip", or_null(a),
			 NULL);
		write_lease(w, &host->lease);
		xml_close(w, "host");
	}
	if (ip->bootp_file)
		xml_empty(w, "bootp", "file", ip->bootp_file, "server", ip->bootp_server, NULL);
	xml_close(w, "dhcp");
}

void conf_network_ip_write(struct xml_writer *w, const struct conf_network_ip *ip)
{
	char address[IP_TEXT_SIZE], netmask[IP_TEXT_SIZE], prefix[8];
	ip_format(&ip->address, address);
	ip_format(&ip->netmask, netmask);
	g_snprintf(prefix, sizeof(prefix), "%u", ip->prefix);
	xml_open(w, "ip", "family", ip->family, "address", address, "netmask", or_null(netmask), "prefix",
		 ip->says_prefix ? prefix : NULL, "localPtr",
		 conf_said_yes_no(ip->says_local_ptr, ip->local_ptr), NULL);
	if (ip->tftp_root)
		xml_empty(w, "tftp", "root", ip->tftp_root, NULL);
	if (ip->ranges->len || ip->hosts->len || ip->bootp_file)
		write_dhcp(w, ip);
	xml_close(w, "ip");
}

/* --- <route> ---------------------------------------------------------------------------------- */

static bool read_route(struct conf_network_route *route, const xmlNode *node, GError **error)
{
	uint64_t metric = 0;
	if (!read_network(node, &route->family, &route->address, &route->netmask, &route->prefix,
			  &route->says_prefix, error) ||
	    !conf_ip_read(node, "gateway", route->address.family, &route->gateway, error) ||
	    !needs(node, "gateway", &route->gateway, error) ||
	    !conf_number(node, "metric", 1, UINT32_MAX, &metric, error))
		return false;
	route->metric = metric;
	const struct ip_address first = ip_first(&route->address, route->prefix);
	if (!ip_equal(&first, &route->address))
		return conf_element_error(error, BERTH_ERR_INVALID, node,
					  "its address is one host's, not that of a network /%u",
					  route->prefix);
	return true;
}

struct conf_network_route *conf_network_route_read(const xmlNode *node, GError **error)
{
	struct conf_network_route *route = g_new0(struct conf_network_route, 1);
	if (read_route(route, node, error))
		return route;
	conf_network_route_free(route);
	return NULL;
}

void conf_network_route_free(void *opaque)
{
	struct conf_network_route *route = opaque;
	g_free(route->family);
	g_free(route);
}

void conf_network_route_write(struct xml_writer *w, const struct conf_network_route *route)
{
	char address[IP_TEXT_SIZE], netmask[IP_TEXT_SIZE], gateway[IP_TEXT_SIZE], prefix[8], metric[12];
	ip_format(&route->address, address);
	ip_format(&route->netmask, netmask);
	ip_format(&route->gateway, gateway);
	g_snprintf(prefix, sizeof(prefix), "%u", route->prefix);
	g_snprintf(metric, sizeof(metric), "%u", route->metric);
	xml_empty(w, "route", "family", route->family, "address", address, "netmask", or_null(netmask),
		  "prefix", route->says_prefix ? prefix : NULL, "gateway", gateway, "metric",
		  route->metric ? metric : NULL, NULL);
}
