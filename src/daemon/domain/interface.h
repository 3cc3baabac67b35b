/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's end of a domain's network cards: where they are plugged in, and the tap device that the
 * VMM is given as an open descriptor.
 */
#pragma once

#include "daemon/domain/domain.h"

/*
 * Before the VMM is told of the card: make its host's end and note in `nic` and its document what has
 * become of it. What the VMM needs is appended to `fds` (int), whose they are: nic->fds of a tap or a
 * socket, and then nic->vhost_fds of /dev/vhost-net.
 */
bool interface_open(struct domain *dom, struct conf_domain_nic *nic, GArray *fds, GError **error);
/* What interface_open() appends to; closes what is in it. */
GArray *interface_fds_new(void);
/* The same for all cards. NULL with *error set. */
GArray *interface_open_all(struct domain *dom, GError **error);
/*
 * What interface_open() and interface_update() began is done (passt, Open vSwitch's ports), perhaps at
 * once; or `done` is called with the first error, which it borrows. One at a time waits. The domain's end
 * ends the wait, with an error.
 */
void interface_await(struct domain *dom, void (*done)(void *opaque, const GError *error), void *opaque);
/* At the domain's end in the daemon: nobody is told. */
void interface_forget(struct domain *dom);
/* Of a running domain's card: the filter and the limits that `next` says in the place of those of `old`. */
bool interface_update(struct domain *dom, const struct conf_domain_nic *old,
		      const struct conf_domain_nic *next, GError **error);
/* What interface_update() has begun for cards of `next` is undone. False: there is nothing to wait for. */
bool interface_take_back(struct domain *dom, const struct conf_domain *next);
/* Of all networks' ports and filters of the domain only those of its live document stay. */
void interface_release(struct domain *dom);
/* A domain of a former daemon: its ports are known again, and its taps where they belong. */
void interface_restore(struct domain *dom);
/* A network is up, perhaps with a new bridge: running domains' cards are plugged into it again. */
void interface_network_is_up(struct daemon *daemon, const char *network);
