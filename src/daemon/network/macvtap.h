/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's link that goes straight to the segment of one of the host's interfaces: a macvtap device on
 * top of it, with the guest's MAC address. Unlike a tap device it stays when nobody has it open; its
 * alias in the kernel says whose it is, so that it can be removed after any end of the daemon.
 */
#pragma once

#include <glib.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

struct macvtap_request {
	const char *name;        /* NULL: macvtap0 and up, the first that is free */
	const char *lower;       /* the host's interface */
	const char *mode;        /* vepa, bridge, private, passthrough */
	const char *owner_uuid;  /* text */
	uint8_t mac[6];
	unsigned mtu;            /* 0: that of the host's interface */
};
/* Make it and switch it on. The descriptor is the caller's; -1 with *error set. It asks the kernel only. */
int macvtap_open(const struct macvtap_request *request, char name[IFNAMSIZ], GError **error);
/* Remove the owner's devices but for those in `keep`, which ends with NULL. */
void macvtap_sweep(const char *owner_uuid, const char *const *keep);
/* The host's interface under a macvtap device; false if `name` is none. */
bool macvtap_lower(const char *name, char lower[IFNAMSIZ]);
