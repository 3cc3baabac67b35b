/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interfaces by rtnetlink. */
#include "daemon/network/netlink.h"

#include "base/error.h"

#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

/* Of the kernel's, in which it counts a bridge's delay (USER_HZ), a second has so many. */
enum { TICKS = 100 };

static bool check_name(const char *name, GError **error)
{
	return strlen(name) < IFNAMSIZ ||
	       error_set(error, BERTH_ERR_INVALID,
			 "the interface name '%s' is too long: at most %d characters", name, IFNAMSIZ - 1);
}

/* A change of one interface, to which attributes are added. */
static bool begin_change(struct netlink_message *m, const char *name, GError **error)
{
	const struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
	if (!check_name(name, error))
		return false;
	netlink_begin(m, RTM_NEWLINK, 0, &info, sizeof(info));
	netlink_put_text(m, IFLA_IFNAME, name);
	return true;
}

static bool finish(struct netlink_message *m, const char *what, const char *name, GError **error)
{
	int result = netlink_send(m);
	return !result || error_set_errno(error, result, "cannot %s the interface '%s'", what, name);
}

/* --- Looking ---------------------------------------------------------------------------------- */

static void take_kind(const struct nlattr *info, struct netlink_link *link)
{
	const struct nlattr *kind[IFLA_INFO_MAX + 1], *bridge[IFLA_BR_MAX + 1];
	netlink_parse_nested(info, kind, G_N_ELEMENTS(kind));
	if (!kind[IFLA_INFO_KIND])
		return;
	g_strlcpy(link->kind, netlink_data(kind[IFLA_INFO_KIND]),
		  MIN(sizeof(link->kind), netlink_length(kind[IFLA_INFO_KIND]) + 1));
	const struct nlattr *data = kind[IFLA_INFO_DATA];
	if (!strcmp(link->kind, "bond") && data)
		netlink_take_bond(data, &link->bond);
	if (!strcmp(link->kind, "vlan") && data) {
		const struct nlattr *vlan[IFLA_VLAN_MAX + 1];
		netlink_parse_nested(data, vlan, G_N_ELEMENTS(vlan));
		if (vlan[IFLA_VLAN_ID] && netlink_length(vlan[IFLA_VLAN_ID]) == sizeof(uint16_t))
			link->tag = *(const uint16_t *)netlink_data(vlan[IFLA_VLAN_ID]);
	}
	if (strcmp(link->kind, "bridge") != 0 || !data)
		return;
	netlink_parse_nested(data, bridge, G_N_ELEMENTS(bridge));
	link->stp = netlink_u32(bridge[IFLA_BR_STP_STATE]) != 0;
	link->delay_cs = netlink_u32(bridge[IFLA_BR_FORWARD_DELAY]);
}

static void take_link(const struct nlmsghdr *header, void *opaque)
{
	struct netlink_link *link = opaque;
	const struct nlattr *table[IFLA_MAX + 1];
	const struct ifinfomsg *info = NLMSG_DATA(header);
	if (header->nlmsg_type != RTM_NEWLINK)
		return;
	netlink_parse(header, sizeof(*info), table, G_N_ELEMENTS(table));
	link->index = info->ifi_index;
	link->flags = info->ifi_flags;
	link->master = netlink_u32(table[IFLA_MASTER]);
	link->lower = netlink_u32(table[IFLA_LINK]);
	link->mtu = netlink_u32(table[IFLA_MTU]);
	if (table[IFLA_IFNAME])
		g_strlcpy(link->name, netlink_data(table[IFLA_IFNAME]), sizeof(link->name));
	if (table[IFLA_ADDRESS] && netlink_length(table[IFLA_ADDRESS]) == sizeof(link->mac))
		memcpy(link->mac, netlink_data(table[IFLA_ADDRESS]), sizeof(link->mac));
	if (table[IFLA_IFALIAS])
		g_strlcpy(link->alias, netlink_data(table[IFLA_IFALIAS]),
			  MIN(sizeof(link->alias), netlink_length(table[IFLA_IFALIAS]) + 1));
	if (table[IFLA_OPERSTATE] && netlink_length(table[IFLA_OPERSTATE]) == 1)
		link->operstate = *(const uint8_t *)netlink_data(table[IFLA_OPERSTATE]);
	if (table[IFLA_LINKINFO])
		take_kind(table[IFLA_LINKINFO], link);
}

static void add_link(const struct nlmsghdr *header, void *opaque)
{
	struct netlink_link link = {0};
	take_link(header, &link);
	if (link.index)
		g_array_append_val((GArray *)opaque, link);
}

GArray *netlink_links(GError **error)
{
	g_autoptr(GArray) links = g_array_new(FALSE, FALSE, sizeof(struct netlink_link));
	struct netlink_message m;
	const struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
	netlink_begin(&m, RTM_GETLINK, 0, &info, sizeof(info));
	int result = netlink_dump(&m, add_link, links);
	if (!result)
		return g_steal_pointer(&links);
	error_set_errno(error, result, "cannot list the host's interfaces");
	return NULL;
}

bool netlink_link_get(const char *name, struct netlink_link *link, GError **error)
{
	struct netlink_message m;
	const struct ifinfomsg info = {.ifi_family = AF_UNSPEC, .ifi_index = if_nametoindex(name)};
	memset(link, 0, sizeof(*link));
	if (!info.ifi_index)
		return error_set(error, BERTH_ERR_NOT_FOUND, "there is no interface '%s'", name);
	/* Not a dump: the kernel's dumps of interfaces cannot be limited to one. */
	netlink_begin(&m, RTM_GETLINK, 0, &info, sizeof(info));
	int result = netlink_ask(&m, take_link, link);
	return !result || error_set_errno(error, result, "cannot look at the interface '%s'", name);
}

/* --- Making and ending ------------------------------------------------------------------------ */

static void put_bridge(struct netlink_message *m, const struct netlink_bridge *bridge)
{
	static const uint8_t none[6];
	if (memcmp(bridge->mac, none, sizeof(none)) != 0)
		netlink_put(m, IFLA_ADDRESS, bridge->mac, sizeof(bridge->mac));
	if (bridge->mtu)
		netlink_put_u32(m, IFLA_MTU, bridge->mtu);
	size_t info = netlink_nest(m, IFLA_LINKINFO);
	netlink_put_text(m, IFLA_INFO_KIND, "bridge");
	size_t data = netlink_nest(m, IFLA_INFO_DATA);
	/* With STP the kernel insists on 2 s to 30 s; without, the delay is as it is asked for. */
	netlink_put_u32(m, IFLA_BR_FORWARD_DELAY,
			bridge->stp ? CLAMP(bridge->delay_cs, 2 * TICKS, 30 * TICKS) : bridge->delay_cs);
	netlink_put_u32(m, IFLA_BR_STP_STATE, bridge->stp);
	netlink_end(m, data);
	netlink_end(m, info);
}

bool netlink_bridge_add(const struct netlink_bridge *bridge, GError **error)
{
	struct netlink_message m;
	if (!begin_change(&m, bridge->name, error))
		return false;
	m.header.nlmsg_flags |= NLM_F_CREATE | NLM_F_EXCL;
	put_bridge(&m, bridge);
	int result = netlink_send(&m);
	if (result == EEXIST)
		return error_set(error, BERTH_ERR_BUSY,
				 "there is an interface '%s' already: choose another name for the bridge",
				 bridge->name);
	return !result || error_set_errno(error, result, "cannot make the bridge '%s'", bridge->name);
}

bool netlink_bridge_set(const struct netlink_bridge *bridge, GError **error)
{
	struct netlink_message m;
	if (!begin_change(&m, bridge->name, error))
		return false;
	put_bridge(&m, bridge);
	return finish(&m, "change the bridge", bridge->name, error);
}

bool netlink_link_delete(const char *name, GError **error)
{
	struct netlink_message m;
	if (!begin_change(&m, name, error))
		return false;
	m.header.nlmsg_type = RTM_DELLINK;
	int result = netlink_send(&m);
	return !result || result == ENODEV ||
	       error_set_errno(error, result, "cannot remove the interface '%s'", name);
}

/* --- Changing --------------------------------------------------------------------------------- */

bool netlink_link_set_up(const char *name, bool up, GError **error)
{
	struct netlink_message m;
	if (!begin_change(&m, name, error))
		return false;
	struct ifinfomsg *info = NLMSG_DATA(&m.header);
	info->ifi_change = IFF_UP;
	info->ifi_flags = up ? IFF_UP : 0;
	return finish(&m, up ? "switch on" : "switch off", name, error);
}

bool netlink_link_set_mtu(const char *name, unsigned mtu, GError **error)
{
	struct netlink_message m;
	if (!begin_change(&m, name, error))
		return false;
	netlink_put_u32(&m, IFLA_MTU, mtu);
	return finish(&m, "set the MTU of", name, error);
}

bool netlink_link_set_mac(const char *name, const uint8_t mac[6], GError **error)
{
	struct netlink_message m;
	if (!begin_change(&m, name, error))
		return false;
	netlink_put(&m, IFLA_ADDRESS, mac, 6);
	return finish(&m, "set the MAC address of", name, error);
}

bool netlink_link_set_master(const char *name, const char *master, GError **error)
{
	struct netlink_message m;
	unsigned index = master ? if_nametoindex(master) : 0;
	if (master && !index)
		return error_set(error, BERTH_ERR_NOT_FOUND, "there is no bridge '%s'", master);
	if (!begin_change(&m, name, error))
		return false;
	netlink_put_u32(&m, IFLA_MASTER, index);
	int result = netlink_send(&m);
	return !result || error_set_errno(error, result, master ? "cannot put '%s' into the bridge '%s'"
								: "cannot take '%s' out of its bridge",
					  name, master);
}

/* A change of a bridge's port; the attributes are inside *nest. */
static bool begin_port(struct netlink_message *m, const char *name, size_t *nest, GError **error)
{
	if (!begin_change(m, name, error))
		return false;
	struct ifinfomsg *info = NLMSG_DATA(&m->header);
	info->ifi_family = AF_BRIDGE;
	info->ifi_index = if_nametoindex(name);
	m->header.nlmsg_type = RTM_SETLINK;
	*nest = netlink_nest(m, IFLA_PROTINFO);
	return true;
}

bool netlink_port_set_mac(const char *name, const uint8_t mac[6], GError **error)
{
	struct netlink_message m;
	size_t nest;
	/* A static entry of the bridge (NTF_MASTER), not an address of its own (NUD_PERMANENT). */
	const struct ndmsg entry = {.ndm_family = AF_BRIDGE, .ndm_ifindex = if_nametoindex(name),
				    .ndm_state = NUD_NOARP | NUD_REACHABLE, .ndm_flags = NTF_MASTER};
	if (!begin_port(&m, name, &nest, error))
		return false;
	netlink_put_u8(&m, IFLA_BRPORT_LEARNING, 0);
	netlink_put_u8(&m, IFLA_BRPORT_UNICAST_FLOOD, 0);
	netlink_end(&m, nest);
	if (!finish(&m, "take what it has learnt from", name, error))
		return false;
	netlink_begin(&m, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &entry, sizeof(entry));
	netlink_put(&m, NDA_LLADDR, mac, 6);
	return finish(&m, "tell the bridge who is behind", name, error);
}

bool netlink_port_set_isolated(const char *name, bool isolated, GError **error)
{
	struct netlink_message m;
	size_t nest;
	if (!begin_port(&m, name, &nest, error))
		return false;
	netlink_put_u8(&m, IFLA_BRPORT_ISOLATED, isolated);
	netlink_end(&m, nest);
	return finish(&m, "isolate", name, error);
}
