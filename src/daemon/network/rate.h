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
/* Exactly these limits from now on; without any the port is as it was made. `floor` is refused. */
bool rates_set(struct daemon *daemon, const char *device, const struct conf_bandwidth *bandwidth,
	       GError **error);
/* Forget devices that are gone, with what was made for them. */
void rates_sweep(struct daemon *daemon);
