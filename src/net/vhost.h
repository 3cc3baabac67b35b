/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rings of a network device, served by somebody else than this program: the kernel (vhost-net,
 * net/vhost_net.c) or another process (vhost-user, net/vhost_user.c). Packets then do not come through
 * send() and the receiver; the device only tells the server where the rings are.
 *
 * All on the back end's loop. A ring has the number of its queue: pair p has 2p (receive) and 2p + 1.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct net_backend;

/* A part of the guest's memory. `fd` is -1 if only this process has it. */
struct vhost_region {
	uint64_t guest, size;
	void *host;
	int fd;
	uint64_t fd_offset;
};

/* A split ring, in our address space; what the server translates by the regions. */
struct vhost_ring {
	unsigned index, size;
	uint16_t base;     /* next entry of the available ring */
	void *desc, *avail, *used;
	int kick, call;    /* eventfds, borrowed */
};

struct vhost_ops {
	bool shared_memory; /* the server is a process of its own: regions need descriptors */
	unsigned regions_max; /* how many it can be given */
	/* Of virtio's feature bits those that the server is asked about and does not have. */
	uint64_t (*lacks)(struct net_backend *net);
	/* Is the server there? link_changed() of the receiver tells when that changes. */
	bool (*ready)(struct net_backend *net);
	/* Before the first ring begins: what the driver has accepted, and its memory. No ring runs. */
	bool (*prepare)(struct net_backend *net, uint64_t features, const struct vhost_region *regions,
			unsigned count, GError **error);
	bool (*start_ring)(struct net_backend *net, const struct vhost_ring *ring, GError **error);
	/*
	 * Returns when the server touches the ring no more. False: it was lost before it could say in
	 * *base where another is to go on.
	 */
	bool (*stop_ring)(struct net_backend *net, unsigned index, uint16_t *base);
};
