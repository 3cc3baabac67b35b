/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Socket device, virtio 1.2 section 5.10. The host's side is unix sockets, so that no privilege and
 * no kernel support is needed: for a connection from the guest to port P of CID 2 the device
 * connects to UDS-PATH_P; who wants to reach port P in the guest connects to UDS-PATH and writes
 * "CONNECT P\n", and is answered "OK <port>\n".
 */
#pragma once

#include "aio/loop.h"
#include "dev/virtio/virtio.h"

#define VSOCK_BUCKETS         256
#define VSOCK_CONNECTIONS_MAX 1024
#define VSOCK_HEADER          44
#define VSOCK_RESETS_MAX      64

struct vsock_connection;

/* A connection that never was, or is no more, and of which the driver must hear. */
struct vsock_reset {
	uint32_t guest_port, host_port;
};

struct virtio_vsock {
	struct virtio_device vdev;
	/* Properties. */
	uint64_t guest_cid;
	char *uds_path;

	/* All on the main loop. */
	struct virtqueue *rx, *tx, *events;
	int listener;
	struct aio_watch *listener_watch;
	struct vsock_connection *buckets[VSOCK_BUCKETS];
	struct vsock_connection *waiting, **waiting_tail; /* have something for the driver */
	unsigned connections;
	uint32_t next_port;      /* for connections from the host */
	struct vsock_reset resets[VSOCK_RESETS_MAX];
	unsigned reset_first, reset_count;
	bool tx_stalled;         /* the driver must take resets before it may say more */
	bool rx_starved;         /* no buffers: descriptors are not watched for reading */
};

#define VIRTIO_VSOCK_PROPERTIES(struct_, field_)                                                   \
	VIRTIO_PROPERTIES(struct_, field_.vdev),                                                   \
	PROPERTY(struct_, field_.guest_cid, "guest-cid", PROPERTY_U64, "3",                        \
		 "the guest's address, at least 3"),                                               \
	PROPERTY(struct_, field_.uds_path, "uds-path", PROPERTY_STRING, NULL,                      \
		 "unix socket for connections to the guest")

extern const struct virtio_type virtio_vsock_type;
