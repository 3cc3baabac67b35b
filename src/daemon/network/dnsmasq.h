/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A network's dnsmasq: DHCP, DNS and router advertisements on its bridge. It is a process of its own
 * that outlives the daemon. Its files are "BRIDGE.conf", ".leases" and ".pid" in a folder of the
 * daemon's.
 */
#pragma once

#include "conf/network.h"

#include <sys/types.h>

/* The configuration; NULL: the network needs no dnsmasq. g_free(). */
char *dnsmasq_config(const struct conf_network *conf, const char *folder);
/*
 * Start it, ending one that runs already, and wait until it serves. *pid is 0 if the network needs
 * none. On a thread.
 */
bool dnsmasq_start(const struct conf_network *conf, const char *folder, pid_t *pid, GError **error);
/* The process that runs with the network's configuration, of whichever daemon; 0: none. */
pid_t dnsmasq_find(const struct conf_network *conf, const char *folder);
/* It was started with what the network's configuration is now. */
bool dnsmasq_is_current(const struct conf_network *conf, const char *folder);
/* End it, and remove its files but for the leases, or with them. On a thread. */
void dnsmasq_stop(const struct conf_network *conf, const char *folder, bool forget_leases);

struct dnsmasq_lease {
	int64_t expiry; /* seconds since 1970; 0: never */
	char *mac;      /* NULL: not known (IPv6) */
	char *iaid;     /* of IPv6, or NULL */
	struct ip_address ip;
	char *hostname, *client_id; /* or NULL */
};
/* What has been leased: struct dnsmasq_lease. Never NULL; g_ptr_array_unref(). */
GPtrArray *dnsmasq_leases(const struct conf_network *conf, const char *folder);
/* The same from the text of a file, which is not trusted. */
GPtrArray *dnsmasq_parse_leases(const char *text);
