/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's end of a guest's link: a tap device that lives as long as a VMM has it open. */
#pragma once

#include "daemon/network/network.h"

#include <net/if.h>

struct tap_request {
	const char *name;    /* NULL: vnet0 and up, the first that is free */
	bool multi_queue;    /* tap_open_queue() will follow */
	bool existing;       /* it is there already, and somebody else's: only opened */
	uint8_t guest_mac[6];
	unsigned mtu;        /* 0: the bridge's, or the kernel's */
	/* Where it is plugged in; NULL: nowhere. Only NETWORK_PLUG_BRIDGE. */
	const struct network_plug *plug;
	struct ovs_queue *ovs; /* for a plug of Open vSwitch, which is made later */
	const char *owner;     /* for that: the guest's UUID, as text */
	/* What is to be done between making it and plugging it in, before any packet; or NULL. */
	bool (*prepare)(void *opaque, const char *name, GError **error);
	void *opaque;
};
/* Plug an existing device in as tap_open() does. */
bool tap_plug_in(const struct tap_request *request, const char *name, GError **error);
/*
 * Make it, plug it in, and switch it on. The descriptor is the caller's; -1 with *error set. The
 * device's name goes into `name`. It asks the kernel, and for Open vSwitch its database: any thread.
 */
int tap_open(const struct tap_request *request, char name[IFNAMSIZ], GError **error);
/* One more queue of what tap_open() has made with multi_queue; as that. */
int tap_open_queue(const char *name, GError **error);
