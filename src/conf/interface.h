/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interfaces of the host as libvirt's XML describes them: read into typed fields and written again.
 * What is not understood is refused by name.
 */
#pragma once

#include "base/ip.h"
#include "codec/xml.h"

struct conf_interface_address {
	struct ip_address ip;
	unsigned prefix;
};

/* `address`, `prefix` and `metric` of a <route> are ours; libvirt knows the default route only. */
struct conf_interface_route {
	struct ip_address to, gateway; /* `to` with prefix 0: the default route */
	unsigned prefix, metric;       /* metric 0: the kernel's */
};

struct conf_interface_port {
	char *name;
	char *mac; /* NULL: its own */
};

/* <bond>: the numbers are those of linux/if_bonding.h and, but for the mode, 0 if they are not said. */
struct conf_bond {
	unsigned mode;                        /* balance-rr is 0 */
	unsigned miimon, up_delay, down_delay; /* milliseconds; miimon 0: links are not watched */
	bool by_ioctl;                        /* the driver is asked, not the kernel's own state */
	unsigned arp_interval, arp_validate;  /* milliseconds; of ARP instead */
	struct ip_address arp_target;         /* IPv4 */
};

struct conf_interface {
	char *name;
	enum { CONF_INTERFACE_ETHERNET, CONF_INTERFACE_BRIDGE, CONF_INTERFACE_VLAN, CONF_INTERFACE_BOND } type;
	enum { CONF_START_UNSAID, CONF_START_ONBOOT, CONF_START_NONE, CONF_START_HOTPLUG } start;
	char *mac;            /* NULL: the kernel's */
	unsigned mtu;         /* 0: the kernel's */
	bool ipv4, ipv6;      /* there is a <protocol> of this family */
	bool dhcp4, dhcp6;
	bool autoconf;        /* IPv6 addresses by routers' advertisements */
	GArray *addresses;    /* struct conf_interface_address, of both families */
	GArray *routes;       /* struct conf_interface_route */
	bool stp;             /* of bridges, as are those below */
	unsigned delay_cs;    /* hundredths of a second */
	GPtrArray *ports;     /* struct conf_interface_port: of a bridge or bond */
	unsigned tag;         /* of a VLAN, */
	char *lower;          /* whose packets go over this interface */
	struct conf_bond bond;
};

enum { CONF_INTERFACE_MIN_MTU = 68, CONF_INTERFACE_MAX_MTU = 65535 };

/* An empty one; `name` is copied. */
struct conf_interface *conf_interface_new(const char *name);
struct conf_interface *conf_interface_copy(const struct conf_interface *conf);
void conf_interface_add_port(struct conf_interface *conf, const char *name, const char *mac);
/* NULL with *error set. */
struct conf_interface *conf_interface_parse(const char *text, GError **error);
/* The same of an element <interface>. */
struct conf_interface *conf_interface_read(const xmlNode *node, GError **error);
void conf_interface_write(struct xml_writer *w, const struct conf_interface *conf);
/* Free with g_free(). */
char *conf_interface_format(const struct conf_interface *conf);
/* Is a bond as it is wanted? What is not said is wanted as it is. */
bool conf_bond_is(const struct conf_bond *now, const struct conf_bond *wanted);
/* Opens <bond>, and writes what it has besides ports. */
void conf_bond_write(struct xml_writer *w, const struct conf_bond *bond);
/* What the document's type is called: "bridge". */
const char *conf_interface_type(const struct conf_interface *conf);
bool conf_interface_has_port(const struct conf_interface *conf, const char *name);
/* NULL is fine. */
void conf_interface_free(void *conf);
/* Of an element <bond>, all but its ports. */
bool conf_bond_read(struct conf_bond *bond, const xmlNode *node, GError **error);
static inline void conf_interface_cleanup(struct conf_interface **conf)
{
	conf_interface_free(*conf);
}
/* `auto_conf_interface conf = ...`: freed at the end of the scope, unless stolen. */
#define auto_conf_interface __attribute__((cleanup(conf_interface_cleanup))) struct conf_interface *
