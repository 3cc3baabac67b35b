/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The packet interface between a network device and its back end (user-mode NAT, tap, ...).
 *
 * Threads: a back end has a loop; send() and the receiver's callbacks happen on that loop's thread.
 * A device whose queue runs elsewhere posts to it.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

struct aio_loop;
struct chardev;
struct net_backend;
struct vhost_ops;

/* virtio 1.2, 5.1.6: precedes each packet when the back end was told to use it. */
#define NET_VNET_HEADER_SIZE 12

enum net_offload {
	NET_OFFLOAD_CSUM = 1 << 0, NET_OFFLOAD_TSO4 = 1 << 1, NET_OFFLOAD_TSO6 = 1 << 2,
	NET_OFFLOAD_ECN = 1 << 3, NET_OFFLOAD_UFO = 1 << 4, NET_OFFLOAD_USO = 1 << 5,
};

/* The device's side. */
struct net_receiver {
	/* Room for a packet now? If not, the back end waits for net_receive_ready(). */
	bool (*can_receive)(void *opaque, unsigned queue);
	/* Takes the packet whole, or returns false if there was no room (it may then be dropped). */
	bool (*receive)(void *opaque, unsigned queue, const struct iovec *iov, unsigned count);
	/* send() would take packets again after it returned false. */
	void (*writable)(void *opaque, unsigned queue);
	/* The cable, or who serves the rings, came or went. May be NULL. */
	void (*link_changed)(void *opaque, bool up);
	void *opaque;
};

struct net_backend_ops {
	const char *type;  /* -netdev TYPE */
	/* Without the header: takes TCP over IPv4 in packets of any size, with complete checksums. */
	bool large_tcp4;
	unsigned (*queues)(struct net_backend *net);
	void (*set_receiver)(struct net_backend *net, const struct net_receiver *receiver);
	/* The back end's copy of that. */
	const struct net_receiver *(*receiver)(struct net_backend *net);
	/* Packet from the guest. True: taken. False: full now; the receiver's writable() follows. */
	bool (*send)(struct net_backend *net, unsigned queue, const struct iovec *iov, unsigned count);
	/* The device has room again. */
	void (*receive_ready)(struct net_backend *net, unsigned queue);
	/* What header and offloads the back end can take and give; NULL: none, no header. */
	uint32_t (*offloads)(struct net_backend *net);
	/* Agree on packets that carry a 12-byte virtio-net header, and on these offloads. */
	bool (*set_vnet)(struct net_backend *net, bool header, uint32_t offloads);
	/* The device uses only its first `count` queues: packets come only to these. May be NULL. */
	void (*set_queues)(struct net_backend *net, unsigned count);
	void (*start)(struct net_backend *net);
	void (*stop)(struct net_backend *net);
	void (*free)(struct net_backend *net);
	/* One line for `info network`. Free with g_free(). */
	char *(*describe)(struct net_backend *net);
};

struct net_backend {
	const struct net_backend_ops *ops;
	const struct vhost_ops *vhost; /* net/vhost.h; NULL: packets go by send() and the receiver */
	void *vhost_opaque;
	char *id;
	struct aio_loop *loop;
	bool link_up;
};

/* An address for a card that was given none (all zeros): stable for the same id, in QEMU's range. */
static inline void net_mac_complete(uint8_t mac[6], const struct net_backend *net)
{
	static const uint8_t none[6];
	if (memcmp(mac, none, 6))
		return;
	uint32_t hash = g_str_hash(net->id ? net->id : "");
	memcpy(mac, (const uint8_t[6]){0x52, 0x54, 0x00, hash >> 16, hash >> 8, hash}, 6);
}

/* What a back end may need of the program that it is in. */
struct net_host {
	struct aio_loop *loop;
	/* The stream with that id, borrowed, or NULL with *error set. NULL: there are no streams. */
	struct chardev *(*find_chardev)(void *opaque, const char *id, GError **error);
	void *opaque;
};

/* One key=value list as in -netdev TYPE,id=..,k=v. `keys` and `values` are parallel, NULL-ended. */
struct net_backend *net_backend_new(const char *type, const char *id, const char *const *keys,
				    const char *const *values, const struct net_host *host,
				    GError **error);
void net_backend_free(struct net_backend *net);
/* Pull or plug in the cable: packets stop, and the device tells the guest. On the loop's thread. */
void net_backend_set_link(struct net_backend *net, bool up);
/* NULL-terminated, with one line of help each: -netdev help. */
struct net_type { const char *name, *help; };
const struct net_type *net_types(void);
