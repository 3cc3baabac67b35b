/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network filters of guests: what a guest may send and receive, where it meets the host.
 *
 * Definitions are kept in the state folder, the stock ones are made at the first start. A binding
 * puts a filter on a port, which is the host's end of a guest's link (a tap device). It becomes a
 * table of nftables of the netdev family: a chain at the port's ingress sees what the guest sends
 * before anybody else on the host does, one at its egress what the guest is sent. So it does not
 * matter whether the port is in a bridge, a switch or alone, and other ports pay nothing.
 *
 * All on the thread of the daemon's loop.
 */
#pragma once

#include "conf/nwfilter.h"
#include "daemon/daemon.h"

struct filters;

/*
 * Loads definitions, and puts bindings that an earlier daemon made into effect again, as far as their
 * ports are still there.
 */
struct filters *filters_new(struct daemon *daemon, GError **error);
/* After the last client is gone: wait for changes that are being written. NULL is fine. */
void filters_finish(struct filters *filters);
/* Bindings stay in effect. NULL is fine. */
void filters_free(struct filters *filters);

/*
 * Put a filter on a port before the guest's first packet: the device must be there, and should not be
 * up yet. In effect when this returns true. `binding` is taken in both cases. Fails if there is no
 * such filter, a variable has no value, or the port has a binding already.
 */
bool filter_instantiate(struct daemon *daemon, struct conf_nwfilter_binding *binding, GError **error);
/*
 * Another filter, or other parameters, in the place of what is on the port; or the first one. On failure
 * the old one stays. `binding` is taken in both cases.
 */
bool filter_replace(struct daemon *daemon, struct conf_nwfilter_binding *binding, GError **error);
/* After the guest's last packet. No binding is fine. The device may be gone already. */
void filter_remove(struct daemon *daemon, const char *port);
/* The same for all ports of a domain but those named in `ports`, which ends with NULL. */
void filter_keep(struct daemon *daemon, const char *owner_uuid, const char *const *ports);
