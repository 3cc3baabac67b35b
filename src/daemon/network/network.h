/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual networks: what is defined, what is active, and who is plugged in.
 *
 * What is known is in memory, and queries are answered from there. What changes a network (files,
 * bridges, rules, dnsmasq) is a job: a look on the loop, the work on the room's one thread, the answer
 * on the loop. Jobs run one after the other, for networks share the host's addresses and rules.
 *
 * An active network lives on without the daemon: its bridge and rules are the kernel's, its dnsmasq is
 * a process of its own. A new daemon finds them by the files below networks-run, and puts right what
 * has been lost.
 */
#pragma once

#include "conf/network.h"
#include "daemon/rpc/rpc.h"

#include <sys/types.h>

/* libvirt's numbers. */
enum network_event {
	NETWORK_DEFINED = 0, NETWORK_UNDEFINED = 1, NETWORK_STARTED = 2, NETWORK_STOPPED = 3,
};

struct networks {
	struct daemon *daemon;
	struct aio_pool *worker;  /* one thread */
	GHashTable *by_uuid;      /* text of 36 characters to struct network, of which it owns one reference */
	GHashTable *by_name;
	GQueue jobs;              /* struct network_job; the first runs */
	struct network_watch *watch; /* of the host's firewall; NULL: there is none to watch */
};

struct network {
	struct networks *all;
	unsigned references;
	uint8_t uuid[16];
	char uuid_text[37];
	char *name;
	struct conf_network *definition; /* NULL: transient */
	struct conf_network *live;       /* while it is active; its bridge has a name */
	bool autostart;
	bool removed;                    /* gone from the tables */
	GHashTable *ports;               /* text of a UUID to struct network_port, which it owns */
	struct dnsmasq *dnsmasq;         /* the watcher of its process */
	char *listing;                   /* how nft shows its rules; NULL: it has none */
	unsigned next_device;            /* of a pool of interfaces: whose turn it is */
};

/* --- Networks (registry.c) -------------------------------------------------------------------- */

/* Loads definitions; networks that were active are found again, those with autostart are started. */
struct networks *networks_new(struct daemon *daemon, GError **error);
/* What is active stays so. NULL is fine. */
void networks_free(struct networks *networks);
/* Somebody must look after one of them. */
bool networks_active(const struct networks *networks);
struct network *network_add(struct networks *networks, const struct conf_network *conf);
void network_remove(struct network *network);
/* Into the tables again: it was removed while somebody waited to define or create it. */
bool network_return(struct network *network, GError **error);
struct network *network_ref(struct network *network);
void network_unref(struct network *network);
/* By the wire form; NULL with the call failed if there is none. */
struct network *network_find(struct rpc_call *call, const struct remote_network *wire);
struct network *network_by_uuid(struct networks *networks, const uint8_t uuid[16]);
struct network *network_by_name(struct networks *networks, const char *name);
/* Of the bridge that is ours, active or defined; NULL: none. */
struct network *network_by_bridge(struct networks *networks, const char *bridge,
				  const struct network *except);
/* NULL while it is being defined or created for the first time: for clients it is not there yet. */
const struct conf_network *network_conf(const struct network *network);
/* The wire form; its strings are the network's. */
struct remote_network network_wire(const struct network *network);
bool network_check_active(const struct network *network, GError **error);
void network_emit(struct network *network, enum network_event event);
/* Fail with an error of the network family; `error` is taken, and may come from any layer. */
void network_fail(struct rpc_call *call, GError *error);
/* The same for a family of objects that is near. */
void network_fail_of(struct rpc_call *call, enum virt_from from, GError *error);

/* --- Ports (port.c) --------------------------------------------------------------------------- */

/* How a guest's interface is to be connected; the caller owns the strings. */
enum network_plug_kind { NETWORK_PLUG_BRIDGE, NETWORK_PLUG_DIRECT, NETWORK_PLUG_HOSTDEV };
struct network_plug {
	enum network_plug_kind kind;
	/* The bridge; DIRECT: the host's interface under the macvtap; HOSTDEV: "0000:03:10.1". */
	char *link;
	bool managed, vfio; /* of HOSTDEV */
	bool own;           /* the bridge is the network's own */
	const char *mode;   /* DIRECT: bridge, private, vepa, passthrough */
	unsigned mtu;       /* 0: the kernel's */
	bool isolated;
	bool manages_macs;  /* the bridge learns nothing from its ports, and is told where guests are */
	struct conf_vlan vlan;
	struct conf_virtualport virtualport; /* present and openvswitch: `link` is such a bridge */
	struct conf_bandwidth bandwidth;
};
void network_plug_clear(struct network_plug *plug);
/* The table of a network's ports, by the text of their UUIDs; it owns them. */
GHashTable *network_ports_new(void);

/* A guest's place in a network. */
struct network_port {
	uint8_t uuid[16];
	char uuid_text[37];
	char *owner_name, *group; /* group NULL: none */
	uint8_t owner_uuid[16];
	uint8_t mac[6];
	struct network_plug plug;
	bool external;  /* made by a client, not for a domain's interface */
	unsigned class; /* of the bridge's queue, if the port is sure of a bandwidth; 0: none */
};

struct network_port_request {
	const char *network, *group; /* group NULL: the default one, if there is one */
	const char *owner_name;
	const uint8_t *owner_uuid;
	uint8_t mac[6];
	uint8_t uuid[16];            /* all zero: a new one is made up */
	/* What the interface says itself, which goes before the network's word; any may be NULL. */
	const struct conf_vlan *vlan;
	const struct conf_virtualport *virtualport;
	const struct conf_bandwidth *bandwidth;
	bool isolated;
	const char *device;          /* of a pool of interfaces: the one that it has; NULL: it gets one */
};
/*
 * Plug in: the network must be active. The port is the network's; it goes with network_ports_keep(), or
 * with the network. NULL with *error set.
 */
struct network_port *network_port_open(struct networks *networks,
				       const struct network_port_request *request, GError **error);
/* A device of a pool of the host's, and free if it is one guest's. */
bool network_port_check_device(const struct network *network, const char *device, GError **error);
/* Out of the table, with what it was sure of. */
void network_port_close(struct network *network, const char *uuid);
/* Other limits for a port. */
bool network_port_limit(struct network *network, struct network_port *port,
			const struct conf_bandwidth *bandwidth, GError **error);
/* Of the ports that an owner has in any network only `uuids` stay. */
void network_ports_keep(struct networks *networks, const uint8_t owner[16], const char *const *uuids);

/* The limits of an active network's bridge, with what its ports are sure of (floor). */
bool network_ports_share(struct network *network, GError **error);

/* What a MAC address has leased in an active network: struct network_lease. Never NULL. */
struct network_lease {
	struct ip_address ip;
	unsigned prefix;
};
GArray *network_leases(struct networks *networks, const char *network, const char *mac);
