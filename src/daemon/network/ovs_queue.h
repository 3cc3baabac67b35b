/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of Open vSwitch's ports beside the daemon's loop: its database may take seconds to answer, or
 * never do. They happen one after the other, in the order in which they are put here, on a thread of their
 * own. All functions: on the loop's thread.
 */
#pragma once

#include "daemon/daemon.h"
#include "daemon/network/ovs.h"

struct ovs_queue *ovs_queue_new(struct daemon *daemon);
/* Waits for what is under way. NULL is fine. */
void ovs_queue_free(struct ovs_queue *queue);

/* As ovs_plug(); `if_missing`: if it is in the bridge already, it stays as it is. All is copied. */
void ovs_queue_plug(struct ovs_queue *queue, const struct ovs_port *port, bool if_missing);
void ovs_queue_vlan(struct ovs_queue *queue, const char *owner, const char *device,
		    const struct conf_vlan *vlan);
void ovs_queue_bandwidth(struct ovs_queue *queue, const char *owner, const char *device,
			 const struct conf_bandwidth *bandwidth);
void ovs_queue_sweep(struct ovs_queue *queue, const char *owner, const char *const *keep);

/*
 * `done` is called when all of the owner's changes are made, perhaps at once; or with the error, which it
 * borrows, of the first that failed. One at a time waits for an owner.
 */
typedef void ovs_done_fn(void *opaque, const GError *error);
void ovs_queue_await(struct ovs_queue *queue, const char *owner, ovs_done_fn *done, void *opaque);
/*
 * Nobody is going to wait for what the owner has put here so far: it happens, and failures are in the log.
 * Who waits now is told that this is over.
 */
void ovs_queue_detach(struct ovs_queue *queue, const char *owner);
/* Nobody is going to wait for it, unless somebody does so now. */
void ovs_queue_leave(struct ovs_queue *queue, const char *owner);
/* As ovs_queue_detach(), but who waits is told nothing. */
void ovs_queue_forget(struct ovs_queue *queue, const char *owner);
