/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets from the guest, virtio 1.2 section 5.1.6.2. With a back end that takes the virtio header
 * they go out as they are; else the header is taken off here, a missing checksum is computed and a
 * large packet is cut up, unless the back end takes it whole. When the back end is full the packet,
 * or the rest of it, waits.
 */
#include "dev/virtio/net_int.h"

#include "base/bytes.h"

#include <string.h>

#define ETHERNET_MIN 14

/* Send the segments of tx->gso. False: the back end is full, the rest waits. */
static bool send_segments(struct virtio_net *net, struct net_tx *tx, unsigned pair)
{
	struct net_backend *backend = net->backend;
	for (;;) {
		if (!tx->have_segment && !net_gso_next(&tx->gso, &tx->payload))
			break;
		struct iovec iov[2] = {
			{tx->gso.header, tx->gso.header_length},
			{(void *)tx->payload, tx->gso.segment_length},
		};
		tx->have_segment = true;
		if (!backend->ops->send(backend, pair, iov, 2))
			return false;
		tx->have_segment = false;
	}
	tx->cutting = false;
	return true;
}

/* A packet that needs work on it: into one piece, then a checksum or segments. */
static bool send_worked(struct virtio_net *net, struct net_tx *tx, unsigned pair,
			const uint8_t vnet[NET_VNET_HEADER_SIZE])
{
	struct net_backend *backend = net->backend;
	uint64_t length = tx->chain->out_bytes - NET_VNET_HEADER_SIZE;
	/* What cannot be is dropped, as a card drops it; it is not the ring that is broken. */
	if (length > NET_PACKET_MAX)
		return true;
	virtq_read(tx->chain, NET_VNET_HEADER_SIZE, tx->flat, length);
	unsigned type = vnet[VNET_GSO_TYPE] & ~VNET_GSO_ECN;
	bool whole = type == VNET_GSO_TCPV4 && backend->ops->large_tcp4 &&
		     vnet[VNET_FLAGS] & VNET_F_NEEDS_CSUM;
	if (type != VNET_GSO_NONE && !whole) {
		if (!net_gso_begin(&tx->gso, tx->flat, length, vnet))
			return true;
		tx->cutting = true;
		return send_segments(net, tx, pair);
	}
	if (!net_csum_complete(tx->flat, length, vnet))
		return true;
	struct iovec iov = {tx->flat, length};
	return backend->ops->send(backend, pair, &iov, 1);
}

/* Send tx->chain. False: the back end is full. */
static bool send_chain(struct virtio_net *net, struct net_tx *tx, unsigned pair)
{
	struct net_backend *backend = net->backend;
	struct virtq_chain *chain = tx->chain;
	if (tx->cutting)
		return send_segments(net, tx, pair);
	if (chain->out_bytes < NET_VNET_HEADER_SIZE + ETHERNET_MIN ||
	    !atomic_load_explicit(&net->link_up, memory_order_relaxed))
		return true;
	if (net->vnet)
		return backend->ops->send(backend, pair, chain->out, chain->out_count);

	uint8_t vnet[NET_VNET_HEADER_SIZE];
	virtq_read(chain, 0, vnet, sizeof(vnet));
	if (vnet[VNET_FLAGS] & VNET_F_NEEDS_CSUM ||
	    (vnet[VNET_GSO_TYPE] & ~VNET_GSO_ECN) != VNET_GSO_NONE)
		return send_worked(net, tx, pair, vnet);

	/* Take the header off in place; it is put back if the packet has to wait. */
	struct iovec *iov = chain->out;
	unsigned count = chain->out_count;
	size_t skip = sizeof(vnet);
	while (skip >= iov->iov_len) {
		skip -= iov->iov_len;
		iov++;
		count--;
	}
	iov->iov_base = (uint8_t *)iov->iov_base + skip;
	iov->iov_len -= skip;
	bool taken = backend->ops->send(backend, pair, iov, count);
	iov->iov_base = (uint8_t *)iov->iov_base - skip;
	iov->iov_len += skip;
	return taken;
}

void net_tx_kick(struct virtio_net *net, unsigned pair)
{
	struct net_tx *tx = &net->tx[pair];
	struct virtqueue *vq = net_tx_queue(net, pair);
	unsigned budget = 2 * virtq_size(vq);
	if (!virtq_ready(vq))
		return;
	do {
		virtq_disable_kicks(vq);
		while (budget && (tx->chain || (tx->chain = virtq_pop(vq)))) {
			if (!send_chain(net, tx, pair)) {
				/* Kicks stay off: writable() comes back here. */
				virtq_notify(vq);
				return;
			}
			virtq_push(vq, tx->chain, 0);
			tx->chain = NULL;
			budget--;
		}
		if (!budget) {
			virtq_kick_later(vq);
			break;
		}
	} while (virtq_enable_kicks(vq));
	virtq_notify(vq);
}

void net_tx_drop(struct virtio_net *net, unsigned pair)
{
	struct net_tx *tx = &net->tx[pair];
	if (tx->chain)
		virtq_drop(net_tx_queue(net, pair), tx->chain);
	tx->chain = NULL;
	tx->cutting = tx->have_segment = false;
}
