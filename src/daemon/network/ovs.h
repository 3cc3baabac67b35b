/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports of Open vSwitch's bridges: tap devices of guests, described in its database as libvirt describes
 * them, so that controllers (OVN, Neutron) find what they look for. A port outlives its device: it is
 * removed by ovs_sweep(). All calls wait for the database (ovsdb.h): ovs_queue.h has a thread for them.
 */
#pragma once

#include "conf/netdev.h"

struct ovs_port {
	const char *bridge, *device;
	const char *owner;       /* UUID of the guest, as text */
	const char *interfaceid; /* UUID by which a controller knows the port */
	const char *profileid;   /* NULL: none */
	const char *mac;         /* the guest's, as text */
	const struct conf_vlan *vlan;
};

/* Put the device into the bridge; a port of its name, wherever it is, is another's no more and goes. */
bool ovs_plug(const char *socket, const struct ovs_port *port, GError **error);
/* Is the device in the bridge already? */
bool ovs_is_plugged(const char *socket, const char *bridge, const char *device);
/* These tags from now on, instead of others. */
bool ovs_set_vlan(const char *socket, const char *device, const struct conf_vlan *vlan, GError **error);
/*
 * Exactly these limits from now on. The switch keeps them itself, as it takes queues away that it does not
 * know of. `floor` has no effect.
 */
bool ovs_set_bandwidth(const char *socket, const char *device, const char *owner,
		       const struct conf_bandwidth *bandwidth, GError **error);
/* Remove the owner's ports but for the devices in `keep`, which ends with NULL. */
void ovs_sweep(const char *socket, const char *owner, const char *const *keep);
