/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual networks as libvirt's XML describes them: read into typed fields, and written from them as
 * libvirt writes them. Elements and attributes that are not understood are refused by name.
 */
#pragma once

#include "base/ip.h"
#include "conf/netdev.h"

enum conf_forward {
	CONF_FORWARD_NONE, CONF_FORWARD_NAT, CONF_FORWARD_ROUTE, CONF_FORWARD_OPEN,
	CONF_FORWARD_BRIDGE, CONF_FORWARD_PRIVATE, CONF_FORWARD_VEPA, CONF_FORWARD_PASSTHROUGH,
	CONF_FORWARD_HOSTDEV,
};

/* How long a lease lasts. `unit` NULL: nothing is said. `expiry` 0: for ever. */
struct conf_lease_time {
	uint64_t expiry;
	const char *unit; /* seconds, minutes, hours */
};

struct conf_dhcp_range {
	struct ip_address start, end;
	struct conf_lease_time lease;
};

struct conf_dhcp_host {
	char *mac, *id, *name; /* of mac, id and name at least one */
	struct ip_address ip;
	struct conf_lease_time lease;
};

/* <ip>: an address of the bridge, and what DHCP gives in its network. */
struct conf_network_ip {
	char *family; /* as it was written, or NULL */
	struct ip_address address, netmask;
	unsigned prefix;      /* as it is, whoever said so */
	bool says_prefix, local_ptr, says_local_ptr;
	char *tftp_root;
	GArray *ranges;       /* struct conf_dhcp_range */
	GPtrArray *hosts;     /* struct conf_dhcp_host */
	char *bootp_file, *bootp_server;
};

struct conf_dns_forwarder {
	char *domain;
	struct ip_address address;
};
struct conf_dns_txt {
	char *name, *value;
};
struct conf_dns_srv {
	char *service, *protocol, *domain, *target;
	unsigned port, priority, weight; /* 0: not said */
};
struct conf_dns_host {
	struct ip_address ip;
	GPtrArray *names; /* char * */
};

struct conf_network_route {
	char *family;
	struct ip_address address, netmask, gateway;
	unsigned prefix, metric; /* metric 0: not said */
	bool says_prefix;
};

struct conf_portgroup {
	char *name;
	bool is_default, trusts_filters, says_trust;
	struct conf_vlan vlan;
	struct conf_virtualport virtualport;
	struct conf_bandwidth bandwidth;
};

/* A port of the host that leads to a guest: an extension of ours, kept in <metadata>. */
struct conf_port_forward {
	bool udp;
	struct ip_address listen; /* of the host; not set: all of the guest's family */
	uint16_t port, count;     /* `count` ports from `port` on go to as many from `to_port` on */
	struct ip_address to;
	uint16_t to_port;
};
#define CONF_PORT_FORWARD_NAMESPACE "urn:berth:network:port-forward:1"

struct conf_network {
	char *name;
	uint8_t uuid[16];
	xmlDoc *metadata;         /* the element, or NULL */
	bool ipv6, says_trust, trusts_filters;
	enum conf_forward forward;
	char *forward_dev;
	GPtrArray *forward_interfaces; /* char *: names of the host's interfaces */
	char *forward_pf;         /* whose virtual functions are the pool; NULL: what is listed is */
	GPtrArray *forward_pci;   /* char *: of HOSTDEV, "0000:03:10.1" */
	bool managed, vfio;       /* of HOSTDEV */
	bool nat_ipv6, says_nat_ipv6;
	struct ip_address nat_first, nat_last;
	uint16_t nat_port_first, nat_port_last; /* 0: not said */
	GArray *port_forwards;    /* struct conf_port_forward */
	char *bridge;             /* NULL: to be chosen */
	bool stp;
	unsigned delay_s, mtu;    /* mtu 0: the kernel's */
	/* Who fills the bridge's table of MAC addresses; LIBVIRT: we do, from the guests' documents. */
	enum { CONF_MACS_UNSAID, CONF_MACS_KERNEL, CONF_MACS_LIBVIRT } mac_table;
	char *mac;                /* NULL: to be chosen */
	char *domain;
	bool domain_local, says_domain_local;
	bool dns_off, says_dns, dns_no_plain, says_dns_plain;
	GPtrArray *forwarders, *txts, *srvs, *dns_hosts; /* struct conf_dns_... */
	struct conf_vlan vlan;
	struct conf_bandwidth bandwidth;
	bool isolated, says_isolated;
	GPtrArray *ips;           /* struct conf_network_ip */
	GPtrArray *routes;        /* struct conf_network_route */
	struct conf_virtualport virtualport;
	GPtrArray *portgroups;    /* struct conf_portgroup */
	GPtrArray *dnsmasq_options; /* char *: lines for dnsmasq's configuration */
};

/* A UUID is made up if there is none. NULL with *error set. */
struct conf_network *conf_network_parse(const char *text, GError **error);
struct conf_network *conf_network_copy(const struct conf_network *network);
void conf_network_free(struct conf_network *network);
static inline void conf_network_cleanup(struct conf_network **network)
{
	conf_network_free(*network);
}
/* `auto_conf_network network = ...`: freed at the end of the scope, unless stolen. */
#define auto_conf_network __attribute__((cleanup(conf_network_cleanup))) struct conf_network *
/* As libvirt writes it. `connections` 0: not shown. Free with g_free(). */
char *conf_network_format(const struct conf_network *network, unsigned connections);
/* Berth makes the bridge and what belongs to it; otherwise it is somebody else's. */
bool conf_network_owns_bridge(const struct conf_network *network);
/* By name; NULL: the default one, if there is one. */
const struct conf_portgroup *conf_network_portgroup(const struct conf_network *network,
						    const char *name);
const char *conf_forward_name(enum conf_forward forward);

/* --- Ports (network_port.c) ------------------------------------------------------------------- */

struct conf_network_port {
	uint8_t uuid[16], owner_uuid[16], mac[6];
	char *owner_name, *group; /* group NULL: none */
	char *link;               /* the bridge or interface that it has; NULL: it is to get one */
	struct conf_virtualport virtualport;
	struct conf_bandwidth bandwidth;
	struct conf_vlan vlan;
	bool isolated;
};
/* NULL with *error set. */
struct conf_network_port *conf_network_port_parse(const char *text, GError **error);
struct conf_network_port *conf_network_port_read(const xmlNode *root, GError **error);
void conf_network_port_free(struct conf_network_port *port);

/* --- Live changes (network_update.c) ---------------------------------------------------------- */

/* libvirt's numbers. */
enum conf_update { CONF_UPDATE_MODIFY = 1, CONF_UPDATE_DELETE = 2, CONF_UPDATE_ADD_LAST = 3,
		   CONF_UPDATE_ADD_FIRST = 4 };
enum conf_section {
	CONF_SECTION_BRIDGE = 1, CONF_SECTION_DOMAIN = 2, CONF_SECTION_IP = 3,
	CONF_SECTION_DHCP_HOST = 4, CONF_SECTION_DHCP_RANGE = 5, CONF_SECTION_FORWARD = 6,
	CONF_SECTION_FORWARD_INTERFACE = 7, CONF_SECTION_FORWARD_PF = 8, CONF_SECTION_PORTGROUP = 9,
	CONF_SECTION_DNS_HOST = 10, CONF_SECTION_DNS_TXT = 11, CONF_SECTION_DNS_SRV = 12,
};
/*
 * Change one thing of a network as virNetworkUpdate() means it. `index`: which <ip>, -1: the one that
 * fits. If this fails, the network is not to be used any more.
 */
bool conf_network_update(struct conf_network *network, enum conf_update command,
			 enum conf_section section, int index, const char *xml, GError **error);

/* --- Parts, for the files of network*.c ------------------------------------------------------- */

/* network_ip.c */
struct conf_network_ip *conf_network_ip_read(const xmlNode *node, GError **error);
struct conf_network_route *conf_network_route_read(const xmlNode *node, GError **error);
struct conf_dhcp_host *conf_dhcp_host_read(const struct conf_network_ip *ip, const xmlNode *node,
					   bool partial, GError **error);
bool conf_dhcp_range_read(const struct conf_network_ip *ip, const xmlNode *node,
			  struct conf_dhcp_range *range, GError **error);
void conf_network_ip_write(struct xml_writer *w, const struct conf_network_ip *ip);
void conf_network_route_write(struct xml_writer *w, const struct conf_network_route *route);
void conf_network_ip_free(void *ip);
void conf_network_route_free(void *route);
void conf_dhcp_host_free(void *host);
/* network_dns.c */
bool conf_network_dns_read(struct conf_network *network, const xmlNode *root, GError **error);
void conf_network_dns_write(struct xml_writer *w, const struct conf_network *network);
struct conf_dns_host *conf_dns_host_read(const xmlNode *node, bool partial, GError **error);
struct conf_dns_txt *conf_dns_txt_read(const xmlNode *node, bool partial, GError **error);
struct conf_dns_srv *conf_dns_srv_read(const xmlNode *node, bool partial, GError **error);
void conf_dns_forwarder_free(void *forwarder);
void conf_dns_host_free(void *host);
void conf_dns_txt_free(void *txt);
void conf_dns_srv_free(void *srv);
/* network_forward.c */
bool conf_network_forward_read(struct conf_network *network, const xmlNode *root, GError **error);
bool conf_port_forwards_read(struct conf_network *network, const xmlNode *metadata, GError **error);
bool conf_port_forwards_check(const struct conf_network *network, GError **error);
void conf_network_forward_write(struct xml_writer *w, const struct conf_network *network);
/* network.c */
struct conf_portgroup *conf_portgroup_read(const xmlNode *node, GError **error);
void conf_portgroup_free(void *group);
/* Elements and attributes of one that stands in `parent` ("network/dns"): the others are refused. */
bool conf_network_check_part(const xmlNode *node, const char *parent, GError **error);
/* An address, which may be absent: *ip is then not set. Its family must be `family`, if not 0. */
bool conf_ip_read(const xmlNode *node, const char *attribute, int family, struct ip_address *ip,
		  GError **error);
/* A name that can stand in files of dnsmasq: no white space, comma, quote or control character. */
bool conf_is_dns_name(const char *name);
