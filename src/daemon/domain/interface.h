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
/* Of a running domain's card: the filter and the limits that `next` says in the place of those of `old`. */
bool interface_update(struct domain *dom, const struct conf_domain_nic *old,
		      const struct conf_domain_nic *next, GError **error);
/* Of all networks' ports and filters of the domain only those of its live document stay. */
void interface_release(struct domain *dom);
/* A domain of a former daemon: its ports are known again, and its taps where they belong. */
void interface_restore(struct domain *dom);
/* A network is up, perhaps with a new bridge: running domains' cards are plugged into it again. */
void interface_network_is_up(struct daemon *daemon, const char *network);
