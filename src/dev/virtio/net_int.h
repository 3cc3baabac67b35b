/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the network device's files: net.c (features, life), net_rx.c, net_tx.c, net_ctrl.c. */
#pragma once

#include "dev/virtio/net.h"
#include "net/vhost.h"

enum {
	NET_F_CSUM = 0, NET_F_GUEST_CSUM = 1, NET_F_CTRL_GUEST_OFFLOADS = 2, NET_F_MTU = 3,
	NET_F_MAC = 5, NET_F_GUEST_TSO4 = 7, NET_F_GUEST_TSO6 = 8, NET_F_GUEST_ECN = 9,
	NET_F_HOST_TSO4 = 11, NET_F_HOST_TSO6 = 12, NET_F_HOST_ECN = 13, NET_F_MRG_RXBUF = 15,
	NET_F_STATUS = 16, NET_F_CTRL_VQ = 17, NET_F_CTRL_RX = 18, NET_F_CTRL_VLAN = 19,
	NET_F_CTRL_RX_EXTRA = 20, NET_F_GUEST_ANNOUNCE = 21, NET_F_MQ = 22,
	NET_F_CTRL_MAC_ADDR = 23, NET_F_SPEED_DUPLEX = 63,
};

#define NET_GUEST_OFFLOADS                                                                         \
	(VIRTIO_BIT(NET_F_GUEST_CSUM) | VIRTIO_BIT(NET_F_GUEST_TSO4) |                             \
	 VIRTIO_BIT(NET_F_GUEST_TSO6) | VIRTIO_BIT(NET_F_GUEST_ECN))

/* Queue numbers: 5.1.2. Pair p is 2p (receive) and 2p + 1 (transmit). */
static inline struct virtqueue *net_rx_queue(struct virtio_net *net, unsigned pair)
{
	return net->vdev.queues[2 * pair];
}

static inline struct virtqueue *net_tx_queue(struct virtio_net *net, unsigned pair)
{
	return net->vdev.queues[2 * pair + 1];
}

/* All on the back end's loop. */
bool net_rx_can_receive(void *opaque, unsigned pair);
bool net_rx_receive(void *opaque, unsigned pair, const struct iovec *iov, unsigned count);
void net_tx_kick(struct virtio_net *net, unsigned pair);
void net_tx_drop(struct virtio_net *net, unsigned pair);
void net_ctrl_kick(struct virtio_net *net, struct virtqueue *vq);
void net_filter_reset(struct virtio_net *net);
/* Does the guest want this packet? `frame` has at least 14 bytes, or 18 if it is tagged. */
bool net_filter_accepts(const struct virtio_net *net, const uint8_t *frame, size_t length);
/* Tell the back end which offloads and how many pairs the guest uses now. */
void net_agree(struct virtio_net *net);
/* net_vhost.c: after the queues were added, if the back end serves them. */
bool net_vhost_open(struct virtio_net *net, GError **error);
/* Begin or end what has become due. */
void net_vhost_update(struct virtio_net *net);
/* Queue n goes down. */
void net_vhost_drop(struct virtio_net *net, unsigned n);
