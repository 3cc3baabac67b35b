/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses, routes and neighbours by rtnetlink. */
#include "daemon/network/netlink.h"

#include "base/error.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

/* --- Making ----------------------------------------------------------------------------------- */

bool netlink_address_add(const char *name, const struct ip_address *ip, unsigned prefix, GError **error)
{
	struct netlink_message m;
	char text[IP_TEXT_SIZE];
	const struct ifaddrmsg body = {
		.ifa_family = ip->family, .ifa_prefixlen = prefix,
		.ifa_flags = ip->family == AF_INET6 ? IFA_F_NODAD : 0, .ifa_index = if_nametoindex(name)};
	netlink_begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
	netlink_put(&m, IFA_LOCAL, ip->bytes, ip_length(ip));
	netlink_put(&m, IFA_ADDRESS, ip->bytes, ip_length(ip));
	if (ip->family == AF_INET && prefix < 31) {
		const struct ip_address broadcast = ip_last(ip, prefix);
		netlink_put(&m, IFA_BROADCAST, broadcast.bytes, 4);
	}
	int result = netlink_send(&m);
	return !result || error_set_errno(error, result, "cannot give '%s' the address %s/%u", name,
					  ip_format(ip, text), prefix);
}

bool netlink_address_delete(unsigned link, const struct ip_address *ip, unsigned prefix, GError **error)
{
	struct netlink_message m;
	char text[IP_TEXT_SIZE];
	const struct ifaddrmsg body = {.ifa_family = ip->family, .ifa_prefixlen = prefix, .ifa_index = link};
	netlink_begin(&m, RTM_DELADDR, 0, &body, sizeof(body));
	netlink_put(&m, IFA_LOCAL, ip->bytes, ip_length(ip));
	int result = netlink_send(&m);
	/* With the first address of a network the kernel may take the others of it. */
	return !result || result == EADDRNOTAVAIL ||
	       error_set_errno(error, result, "cannot take away the address %s/%u", ip_format(ip, text), prefix);
}

/* `type` is RTM_NEWROUTE or RTM_DELROUTE: 0, or the kernel's error number. */
static int send_route(uint16_t type, uint16_t flags, const struct netlink_route *route)
{
	struct netlink_message m;
	bool add = type == RTM_NEWROUTE;
	const struct rtmsg body = {
		.rtm_family = route->to.family, .rtm_dst_len = route->prefix, .rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = add ? RTPROT_STATIC : RTPROT_UNSPEC,
		.rtm_scope = add ? RT_SCOPE_UNIVERSE : RT_SCOPE_NOWHERE, .rtm_type = add ? RTN_UNICAST : 0};
	const struct ip_address first = ip_first(&route->to, route->prefix);
	netlink_begin(&m, type, flags, &body, sizeof(body));
	netlink_put(&m, RTA_DST, first.bytes, ip_length(&first));
	netlink_put(&m, RTA_GATEWAY, route->gateway.bytes, ip_length(&route->gateway));
	netlink_put_u32(&m, RTA_OIF, route->link);
	if (route->metric)
		netlink_put_u32(&m, RTA_PRIORITY, route->metric);
	return netlink_send(&m);
}

static bool route_error(GError **error, int result, const char *what, const struct netlink_route *route)
{
	char text[IP_TEXT_SIZE], via[IP_TEXT_SIZE];
	const struct ip_address first = ip_first(&route->to, route->prefix);
	return error_set_errno(error, result, "cannot %s the route to %s/%u by %s", what,
			       ip_format(&first, text), route->prefix, ip_format(&route->gateway, via));
}

bool netlink_route_add(const char *name, const struct ip_address *to, unsigned prefix,
		       const struct ip_address *gateway, unsigned metric, GError **error)
{
	const struct netlink_route route = {if_nametoindex(name), prefix, metric, *to, *gateway, true};
	int result = send_route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &route);
	return !result || route_error(error, result, "add", &route);
}

bool netlink_route_delete(const struct netlink_route *route, GError **error)
{
	int result = send_route(RTM_DELROUTE, 0, route);
	return !result || result == ESRCH || route_error(error, result, "remove", route);
}

/* --- Looking ---------------------------------------------------------------------------------- */

static bool take_ip(int family, const struct nlattr *attribute, struct ip_address *ip)
{
	memset(ip, 0, sizeof(*ip));
	ip->family = family;
	if ((family != AF_INET && family != AF_INET6) || !attribute ||
	    netlink_length(attribute) != ip_length(ip))
		return false;
	memcpy(ip->bytes, netlink_data(attribute), ip_length(ip));
	return true;
}

static GArray *dump(struct netlink_message *m, netlink_each_fn *each, size_t size, const char *what,
		    GError **error)
{
	g_autoptr(GArray) list = g_array_new(FALSE, FALSE, size);
	int result = netlink_dump(m, each, list);
	if (!result)
		return g_steal_pointer(&list);
	error_set_errno(error, result, "cannot ask for the host's %s", what);
	return NULL;
}

static void take_address(const struct nlmsghdr *header, void *opaque)
{
	const struct nlattr *table[IFA_MAX + 1];
	const struct ifaddrmsg *body = NLMSG_DATA(header);
	struct netlink_address one = {.link = body->ifa_index, .prefix = body->ifa_prefixlen,
				      .lasts = body->ifa_flags & IFA_F_PERMANENT};
	if (header->nlmsg_type != RTM_NEWADDR || body->ifa_scope >= RT_SCOPE_LINK)
		return;
	netlink_parse(header, sizeof(*body), table, G_N_ELEMENTS(table));
	/* Between two points IFA_ADDRESS is the other one. */
	if (take_ip(body->ifa_family, table[IFA_LOCAL] ? table[IFA_LOCAL] : table[IFA_ADDRESS], &one.ip))
		g_array_append_val((GArray *)opaque, one);
}

GArray *netlink_addresses(GError **error)
{
	struct netlink_message m;
	const struct ifaddrmsg body = {.ifa_family = AF_UNSPEC};
	netlink_begin(&m, RTM_GETADDR, 0, &body, sizeof(body));
	return dump(&m, take_address, sizeof(struct netlink_address), "addresses", error);
}

static void take_route(const struct nlmsghdr *header, void *opaque)
{
	const struct nlattr *table[RTA_MAX + 1];
	const struct rtmsg *body = NLMSG_DATA(header);
	struct netlink_route one = {.prefix = body->rtm_dst_len, .to.family = body->rtm_family,
				    .lasts = body->rtm_protocol != RTPROT_RA};
	if (header->nlmsg_type != RTM_NEWROUTE || body->rtm_table != RT_TABLE_MAIN ||
	    body->rtm_type != RTN_UNICAST)
		return;
	netlink_parse(header, sizeof(*body), table, G_N_ELEMENTS(table));
	if (table[RTA_DST] && !take_ip(body->rtm_family, table[RTA_DST], &one.to))
		return;
	one.link = netlink_u32(table[RTA_OIF]);
	one.metric = netlink_u32(table[RTA_PRIORITY]);
	if (one.link && take_ip(body->rtm_family, table[RTA_GATEWAY], &one.gateway))
		g_array_append_val((GArray *)opaque, one);
}

GArray *netlink_routes(GError **error)
{
	struct netlink_message m;
	const struct rtmsg body = {.rtm_family = AF_UNSPEC};
	netlink_begin(&m, RTM_GETROUTE, 0, &body, sizeof(body));
	return dump(&m, take_route, sizeof(struct netlink_route), "routes", error);
}

struct search {
	const struct ip_address *ip;
	unsigned prefix, except, found;
};

static void look_at_address(const struct nlmsghdr *header, void *opaque)
{
	struct search *search = opaque;
	const struct nlattr *table[IFA_MAX + 1];
	const struct ifaddrmsg *body = NLMSG_DATA(header);
	struct ip_address ip;
	if (header->nlmsg_type != RTM_NEWADDR || body->ifa_family != search->ip->family ||
	    body->ifa_index == search->except)
		return;
	netlink_parse(header, sizeof(*body), table, G_N_ELEMENTS(table));
	/* Of two networks that overlap the wider one has both addresses in it. */
	if (take_ip(body->ifa_family, table[IFA_ADDRESS], &ip) &&
	    ip_in_network(&ip, search->ip, MIN(search->prefix, body->ifa_prefixlen)))
		search->found = body->ifa_index;
}

bool netlink_find_network(const struct ip_address *ip, unsigned prefix, const char *except, char **name,
			  GError **error)
{
	struct netlink_message m;
	const struct ifaddrmsg body = {.ifa_family = ip->family};
	struct search search = {ip, prefix, except ? if_nametoindex(except) : 0, 0};
	char text[IFNAMSIZ];
	*name = NULL;
	netlink_begin(&m, RTM_GETADDR, 0, &body, sizeof(body));
	int result = netlink_dump(&m, look_at_address, &search);
	if (result)
		return error_set_errno(error, result, "cannot ask for the host's addresses");
	/* It may be gone by now. */
	if (search.found && if_indextoname(search.found, text))
		*name = g_strdup(text);
	return true;
}

static void take_neighbour(const struct nlmsghdr *header, void *opaque)
{
	const struct nlattr *table[NDA_MAX + 1];
	const struct ndmsg *body = NLMSG_DATA(header);
	struct netlink_neighbour one = {.link = body->ndm_ifindex};
	if (header->nlmsg_type != RTM_NEWNEIGH ||
	    body->ndm_state & (NUD_NOARP | NUD_INCOMPLETE | NUD_FAILED))
		return;
	netlink_parse(header, sizeof(*body), table, G_N_ELEMENTS(table));
	if (!take_ip(body->ndm_family, table[NDA_DST], &one.ip) || !table[NDA_LLADDR] ||
	    netlink_length(table[NDA_LLADDR]) != sizeof(one.mac))
		return;
	memcpy(one.mac, netlink_data(table[NDA_LLADDR]), sizeof(one.mac));
	g_array_append_val((GArray *)opaque, one);
}

GArray *netlink_neighbours(GError **error)
{
	struct netlink_message m;
	const struct ndmsg body = {.ndm_family = AF_UNSPEC};
	netlink_begin(&m, RTM_GETNEIGH, 0, &body, sizeof(body));
	return dump(&m, take_neighbour, sizeof(struct netlink_neighbour), "neighbours", error);
}
