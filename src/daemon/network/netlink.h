/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interfaces, addresses, routes and neighbours of the host, by rtnetlink (Linux, rtnetlink(7)). Each
 * call asks the kernel on a socket of its own and waits for its answer, and for nothing else. Any
 * thread.
 */
#pragma once

#include "base/ip.h"
#include "conf/interface.h"

#include <linux/netlink.h>
#include <net/if.h>

/* --- Messages --------------------------------------------------------------------------------- */

/* A request under construction. What does not fit fails when it is sent. */
struct netlink_message {
	union {
		struct nlmsghdr header;
		uint8_t bytes[4096];
	};
	bool overflow;
};

/* `body` follows the header: struct ifinfomsg, struct tcmsg... NLM_F_REQUEST and NLM_F_ACK are added. */
void netlink_begin(struct netlink_message *message, uint16_t type, uint16_t flags, const void *body,
		   size_t length);
void netlink_put(struct netlink_message *message, uint16_t type, const void *data, size_t length);
void netlink_put_u8(struct netlink_message *message, uint16_t type, uint8_t value);
void netlink_put_u32(struct netlink_message *message, uint16_t type, uint32_t value);
void netlink_put_text(struct netlink_message *message, uint16_t type, const char *text);
/* Attributes put until netlink_end() are inside this one; the value is for that. */
size_t netlink_nest(struct netlink_message *message, uint16_t type);
void netlink_end(struct netlink_message *message, size_t nest);
/* Send it and wait for the kernel's acknowledgement: 0, or the kernel's error number. */
int netlink_send(struct netlink_message *message);
/* The same for a question: `each` is called for every answer, of a dump as many as there are things. */
typedef void netlink_each_fn(const struct nlmsghdr *header, void *opaque);
int netlink_ask(struct netlink_message *message, netlink_each_fn *each, void *opaque);
int netlink_dump(struct netlink_message *message, netlink_each_fn *each, void *opaque);
/*
 * The attributes of an answer that stand behind `body` bytes after its header, by their type, into
 * `table` of `count` entries (NULL: absent).
 */
void netlink_parse(const struct nlmsghdr *header, size_t body, const struct nlattr **table,
		   unsigned count);
/* The same of what stands in a nested attribute. */
void netlink_parse_nested(const struct nlattr *nest, const struct nlattr **table, unsigned count);
const void *netlink_data(const struct nlattr *attribute);
size_t netlink_length(const struct nlattr *attribute);
/* 0 if it is absent, or not of this size. */
uint32_t netlink_u32(const struct nlattr *attribute);

/* --- Interfaces ------------------------------------------------------------------------------- */

struct netlink_link {
	unsigned index, master, mtu, flags; /* IFF_ of net/if.h */
	unsigned lower;       /* the interface that it is on top of; 0: none, or it is its own */
	char name[IFNAMSIZ], kind[16];      /* kind "": it is not virtual */
	uint8_t mac[6];
	uint8_t operstate;    /* IF_OPER_ of linux/if.h */
	char alias[64];       /* cut if it is longer */
	bool stp;             /* of a bridge, as are those below */
	unsigned delay_cs;    /* forward delay: hundredths of a second */
	unsigned tag;         /* of a VLAN (802.1Q) */
	struct conf_bond bond;
};

/* All of them (struct netlink_link), in the kernel's order; NULL with *error set. */
GArray *netlink_links(GError **error);
/* False with *error (BERTH_ERR_NOT_FOUND) if there is none of this name. */
bool netlink_link_get(const char *name, struct netlink_link *link, GError **error);

struct netlink_bridge {
	const char *name;
	uint8_t mac[6];   /* all zero: the kernel chooses one, and changes it with the ports */
	unsigned mtu;     /* 0: the kernel's */
	bool stp;
	unsigned delay_cs; /* of learning and of forwarding, with STP: hundredths of a second */
};
bool netlink_bridge_add(const struct netlink_bridge *bridge, GError **error);
/* The same of a bridge that is there. */
bool netlink_bridge_set(const struct netlink_bridge *bridge, GError **error);
/* netlink_bond.c. Fails if there is an interface of that name already, or the kernel has no such devices. */
bool netlink_vlan_add(const char *name, const char *lower, unsigned tag, const uint8_t *mac, GError **error);
bool netlink_bond_add(const char *name, const struct conf_bond *bond, const uint8_t *mac, GError **error);
/* What an answer's IFLA_INFO_DATA says of a bond. */
void netlink_take_bond(const struct nlattr *data, struct conf_bond *bond);
/* None of that name is fine. */
bool netlink_link_delete(const char *name, GError **error);
bool netlink_link_set_up(const char *name, bool up, GError **error);
bool netlink_link_set_mtu(const char *name, unsigned mtu, GError **error);
bool netlink_link_set_mac(const char *name, const uint8_t mac[6], GError **error);
/* Into a bridge or bond, or out of it: NULL. */
bool netlink_link_set_master(const char *name, const char *master, GError **error);
/* Of a bridge's port: it reaches only ports that are not isolated. */
bool netlink_port_set_isolated(const char *name, bool isolated, GError **error);
/* A bridge's port that neither learns nor is flooded: behind it is `mac`, and nobody else. */
bool netlink_port_set_mac(const char *name, const uint8_t mac[6], GError **error);

/* --- Addresses -------------------------------------------------------------------------------- */

/* Used at once, without asking the neighbours whether they have it (IPv6). */
bool netlink_address_add(const char *name, const struct ip_address *ip, unsigned prefix, GError **error);
bool netlink_address_delete(unsigned link, const struct ip_address *ip, unsigned prefix, GError **error);
/* Of all interfaces: struct netlink_address, but for those of a link only (fe80::). NULL with *error set. */
struct netlink_address {
	unsigned link, prefix;
	struct ip_address ip;
	bool lasts; /* it has no lifetime, as those by DHCP and advertisements have */
};
GArray *netlink_addresses(GError **error);
/* `metric` 0: the kernel's. */
bool netlink_route_add(const char *name, const struct ip_address *to, unsigned prefix,
		       const struct ip_address *gateway, unsigned metric, GError **error);
/* What netlink_route_add() makes, whoever made it: struct netlink_route. NULL with *error set. */
struct netlink_route {
	unsigned link, prefix, metric;
	struct ip_address to, gateway;
	bool lasts; /* it is not a router's advertisement */
};
GArray *netlink_routes(GError **error);
bool netlink_route_delete(const struct netlink_route *route, GError **error);
/*
 * The interface, other than `except` (or NULL), that has an address of the network, or whose network
 * this one is a part of, into *name; NULL: none. Free with g_free().
 */
bool netlink_find_network(const struct ip_address *ip, unsigned prefix, const char *except, char **name,
			  GError **error);

/* Whom the host has seen: struct netlink_neighbour. NULL with *error set. */
struct netlink_neighbour {
	unsigned link;
	struct ip_address ip;
	uint8_t mac[6];
};
GArray *netlink_neighbours(GError **error);
