/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VLANs and bonds by rtnetlink: linux/if_link.h, and Documentation/networking/bonding.rst. */
#include "daemon/network/netlink.h"

#include "base/error.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

static bool begin(struct netlink_message *m, const char *name, const uint8_t *mac, GError **error)
{
	const struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
	if (strlen(name) >= IFNAMSIZ)
		return error_set(error, BERTH_ERR_INVALID,
				 "the interface name '%s' is too long: at most %d characters", name, IFNAMSIZ - 1);
	netlink_begin(m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
	netlink_put_text(m, IFLA_IFNAME, name);
	if (mac)
		netlink_put(m, IFLA_ADDRESS, mac, 6);
	return true;
}

static bool make(struct netlink_message *m, const char *kind, const char *name, GError **error)
{
	int result = netlink_send(m);
	if (result == EOPNOTSUPP)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "cannot make the %s '%s': the kernel has no such devices (module %s)", kind, name,
				 strcmp(kind, "vlan") ? "bonding" : "8021q");
	return !result || error_set_errno(error, result, "cannot make the %s '%s'", kind, name);
}

bool netlink_vlan_add(const char *name, const char *lower, unsigned tag, const uint8_t *mac, GError **error)
{
	struct netlink_message m;
	unsigned index = if_nametoindex(lower);
	const uint16_t id = tag;
	if (!index)
		return error_set(error, BERTH_ERR_NOT_FOUND, "there is no interface '%s' for the VLAN '%s'", lower,
				 name);
	if (!begin(&m, name, mac, error))
		return false;
	netlink_put_u32(&m, IFLA_LINK, index);
	size_t info = netlink_nest(&m, IFLA_LINKINFO);
	netlink_put_text(&m, IFLA_INFO_KIND, "vlan");
	size_t data = netlink_nest(&m, IFLA_INFO_DATA);
	netlink_put(&m, IFLA_VLAN_ID, &id, sizeof(id));
	netlink_end(&m, data);
	netlink_end(&m, info);
	return make(&m, "vlan", name, error);
}

bool netlink_bond_add(const char *name, const struct conf_bond *bond, const uint8_t *mac, GError **error)
{
	struct netlink_message m;
	if (!begin(&m, name, mac, error))
		return false;
	size_t info = netlink_nest(&m, IFLA_LINKINFO);
	netlink_put_text(&m, IFLA_INFO_KIND, "bond");
	size_t data = netlink_nest(&m, IFLA_INFO_DATA);
	netlink_put_u8(&m, IFLA_BOND_MODE, bond->mode);
	if (bond->miimon) {
		netlink_put_u32(&m, IFLA_BOND_MIIMON, bond->miimon);
		netlink_put_u32(&m, IFLA_BOND_UPDELAY, bond->up_delay);
		netlink_put_u32(&m, IFLA_BOND_DOWNDELAY, bond->down_delay);
		netlink_put_u8(&m, IFLA_BOND_USE_CARRIER, !bond->by_ioctl);
	}
	if (bond->arp_interval) {
		netlink_put_u32(&m, IFLA_BOND_ARP_INTERVAL, bond->arp_interval);
		size_t targets = netlink_nest(&m, IFLA_BOND_ARP_IP_TARGET);
		netlink_put(&m, 0, bond->arp_target.bytes, 4);
		netlink_end(&m, targets);
		/* The kernel refuses this one for modes that cannot do it, even if it is none. */
		if (bond->arp_validate)
			netlink_put_u32(&m, IFLA_BOND_ARP_VALIDATE, bond->arp_validate);
	}
	netlink_end(&m, data);
	netlink_end(&m, info);
	return make(&m, "bond", name, error);
}

static unsigned byte_of(const struct nlattr *attribute)
{
	return attribute && netlink_length(attribute) == 1 ? *(const uint8_t *)netlink_data(attribute) : 0;
}

void netlink_take_bond(const struct nlattr *data, struct conf_bond *bond)
{
	const struct nlattr *table[IFLA_BOND_MAX + 1], *targets[1];
	netlink_parse_nested(data, table, G_N_ELEMENTS(table));
	bond->mode = byte_of(table[IFLA_BOND_MODE]);
	bond->miimon = netlink_u32(table[IFLA_BOND_MIIMON]);
	bond->up_delay = netlink_u32(table[IFLA_BOND_UPDELAY]);
	bond->down_delay = netlink_u32(table[IFLA_BOND_DOWNDELAY]);
	/* It means nothing while links are not watched. */
	bond->by_ioctl = bond->miimon && !byte_of(table[IFLA_BOND_USE_CARRIER]);
	bond->arp_interval = netlink_u32(table[IFLA_BOND_ARP_INTERVAL]);
	bond->arp_validate = netlink_u32(table[IFLA_BOND_ARP_VALIDATE]);
	if (!table[IFLA_BOND_ARP_IP_TARGET] || !bond->arp_interval)
		return;
	/* The first of up to 16, which have their numbers for types. */
	netlink_parse_nested(table[IFLA_BOND_ARP_IP_TARGET], targets, G_N_ELEMENTS(targets));
	if (targets[0] && netlink_length(targets[0]) == 4) {
		bond->arp_target.family = AF_INET;
		memcpy(bond->arp_target.bytes, netlink_data(targets[0]), 4);
	}
}
