/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits of bandwidth on the host's end of a guest's link. What the guest receives is shaped (an HTB
 * queue, tc-htb(8)); what it sends above its rate is dropped (a limit of nftables at the port's
 * ingress), as libvirt does it with tc's policer, which not every kernel has. Like the port itself they
 * go on without the daemon. On the thread of the daemon's loop.
 */
#pragma once

#include "conf/netdev.h"
#include "daemon/daemon.h"

struct rates;

struct rates *rates_new(struct daemon *daemon);
/* NULL is fine. */
void rates_free(struct rates *rates);
/* Exactly these limits from now on; without any the port is as it was made. `floor` has no effect. */
bool rates_set(struct daemon *daemon, const char *device, const struct conf_bandwidth *bandwidth,
	       GError **error);
/* A guest's part of what a bridge is sent: it is sure of `floor` KiB a second (libvirt's floor). */
struct rate_share {
	uint8_t mac[6];
	unsigned class; /* HTB_FIRST_SHARE and up */
	uint64_t floor;
};
/*
 * The same of a network's bridge, where inbound is what guests are sent by the host and through it. What
 * guests send each other is not counted. `shares`: struct rate_share, or NULL.
 */
bool rates_set_bridge(struct daemon *daemon, const char *bridge, const struct conf_bandwidth *bandwidth,
		      const GArray *shares, GError **error);
/* The same without any share, on any thread, of a bridge that is made: it must be set afterwards. */
bool rates_begin_bridge(const char *bridge, const struct conf_bandwidth *bandwidth, GError **error);
/* On any thread, of a bridge that was begun and never set, and is gone. */
void rates_end_bridge(const char *bridge, const struct conf_bandwidth *bandwidth);
/* Forget devices that are gone, with what was made for them. */
void rates_sweep(struct daemon *daemon);
