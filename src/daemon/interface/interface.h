/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interfaces of the host: what the kernel has, what is defined here, and restore points.
 *
 * A definition is a document in STATE/interfaces. Those with start mode onboot are brought up by the
 * first daemon after the machine has started. What ifupdown, NetworkManager or systemd-networkd look
 * after is theirs: it is shown, and neither defined nor changed.
 *
 * Queries are answered on the loop. What changes something is a job; jobs run one after the other on
 * the room's one thread, and leave the kernel as it was if they fail.
 */
#pragma once

#include "conf/interface.h"
#include "daemon/network/netlink.h"
#include "daemon/rpc/rpc.h"

struct interface_point;

struct interfaces {
	struct daemon *daemon;
	struct aio_pool *worker;       /* one thread */
	GHashTable *defined;           /* name to struct conf_interface; changed on the loop between jobs */
	GQueue jobs;                   /* struct interface_job; the first runs */
	struct interface_point *point; /* to come back to; NULL: none. The running job's. */
};

/* Loads definitions and, if the machine has started anew, brings up those that are to be. */
struct interfaces *interfaces_new(struct daemon *daemon, GError **error);
/* Waits for jobs. What is up stays so. NULL is fine. */
void interfaces_free(struct interfaces *interfaces);
/* Where a definition is kept. Free with g_free(). */
char *interface_file(const struct interfaces *interfaces, const char *name);
/* The definition that `name` is a port of, or NULL. */
const struct conf_interface *interface_bridge_of(const struct interfaces *interfaces, const char *name);

/* --- What the kernel has (look.c); any thread ------------------------------------------------- */

enum { INTERFACE_USUAL_MTU = 1500 };

struct interface_view {
	GArray *links, *addresses, *routes; /* of struct netlink_link, _address, _route */
};
bool interface_look(struct interface_view *view, GError **error);
void interface_view_clear(struct interface_view *view);
#define auto_interface_view __attribute__((cleanup(interface_view_clear))) struct interface_view
/* NULL: there is none. Borrowed. */
const struct netlink_link *interface_link(const struct interface_view *view, const char *name);
/* A tap device: a guest's, or a VPN's; no business of definitions. */
bool interface_is_tap(const struct netlink_link *link);
/* A definition of it as it is; start mode none: it is down. The usual MTU is not in it. */
struct conf_interface *interface_describe(const struct interface_view *view, const struct netlink_link *link);
/* Of all that are no part of another: struct conf_interface, owned. */
GPtrArray *interface_describe_all(const struct interface_view *view);

/* --- Changing it (apply.c); any thread -------------------------------------------------------- */

/*
 * Make it as the definition says. Half of it may be done if this fails. `any_ports`: those that are
 * gone are not missed.
 */
bool interface_apply(const struct conf_interface *conf, bool any_ports, GError **error);
/* A bridge goes, and its ports are down; others are down and have no address. */
bool interface_take_down(const struct conf_interface *conf, GError **error);
/*
 * `state` is what interface_describe_all() said; names of what has been touched since. As much as can
 * be is as it was: the rest is in the log.
 */
void interface_put_back(const GPtrArray *state, GHashTable *touched);

/* --- DHCP (dhcp.c); any thread ---------------------------------------------------------------- */

bool interface_dhcp_runs(const struct interfaces *interfaces, const char *name);
/*
 * A client that asks for an IPv4 address, unless one runs. It does not wait for a lease. False: there is no such
 * program, or it cannot be started.
 */
bool interface_dhcp_start(const struct interfaces *interfaces, const char *name, GError **error);
/* The lease is given back. It waits for the client's end; none is fine. */
void interface_dhcp_stop(const struct interfaces *interfaces, const char *name);

/* --- Whose they are (owner.c) ----------------------------------------------------------------- */

/* False with *error: one of the host's own tools looks after it. */
bool interface_check_owner(const char *name, GError **error);

/* --- Restore points (point.c) ----------------------------------------------------------------- */

struct interface_point {
	GPtrArray *defined, *state; /* struct conf_interface */
	GHashTable *touched;        /* names (char *): interfaces that may be other than in `state` */
	char *boot;                 /* the start of the machine that `state` is of */
};
/* What is defined and there now. NULL with *error set. */
struct interface_point *interface_point_new(const struct interfaces *interfaces, GError **error);
void interface_point_free(struct interface_point *point);
/* Durably; NULL: there is none any more. */
bool interface_point_save(const struct interfaces *interfaces, const struct interface_point *point,
			  GError **error);
/* Of a former daemon; NULL: there is none, or what is there cannot be read, and the log says so. */
struct interface_point *interface_point_load(const struct interfaces *interfaces);
