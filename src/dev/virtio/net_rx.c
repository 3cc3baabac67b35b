/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets to the guest, virtio 1.2 section 5.1.6.3 and 5.1.6.4. A packet goes into one chain, or
 * with MRG_RXBUF over as many as it needs; those become visible to the driver all at once. If there
 * is no room the chains go back and the back end waits until the driver has added some.
 */
#include "dev/virtio/net_int.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <string.h>

/* A read position in the packet's vector. */
struct cursor {
	const struct iovec *iov;
	unsigned count;
	size_t offset;
};

static size_t cursor_copy(struct cursor *from, uint8_t *to, size_t length)
{
	size_t done = 0;
	while (done < length && from->count) {
		size_t take = MIN(length - done, from->iov->iov_len - from->offset);
		memcpy(to + done, (const uint8_t *)from->iov->iov_base + from->offset, take);
		done += take;
		from->offset += take;
		if (from->offset == from->iov->iov_len) {
			from->iov++;
			from->count--;
			from->offset = 0;
		}
	}
	return done;
}

static size_t iov_total(const struct iovec *iov, unsigned count)
{
	size_t total = 0;
	for (unsigned i = 0; i < count; i++)
		total += iov[i].iov_len;
	return total;
}

bool net_rx_can_receive(void *opaque, unsigned pair)
{
	struct virtio_net *net = opaque;
	if (pair >= net->current_pairs || !virtq_ready(net_rx_queue(net, pair)))
		return false;
	/* Doorbells on receive queues are asked for only here, when there is nothing to fill. */
	struct virtqueue *vq = net_rx_queue(net, pair);
	virtq_disable_kicks(vq);
	return virtq_available(vq) || virtq_enable_kicks(vq);
}

/* Copy up to `length` bytes into a chain, from `skip` bytes into it. */
static size_t fill_chain(struct virtq_chain *chain, size_t skip, struct cursor *from, size_t length)
{
	size_t done = 0;
	for (unsigned i = 0; i < chain->in_count && done < length; i++) {
		size_t room = chain->in[i].iov_len;
		if (skip >= room) {
			skip -= room;
			continue;
		}
		size_t take = MIN(room - skip, length - done);
		done += cursor_copy(from, (uint8_t *)chain->in[i].iov_base + skip, take);
		skip = 0;
	}
	return done;
}

/* Pop chains with room for `need` bytes in all. 0: there are not enough, or the queue broke. */
static unsigned pop_room(struct virtio_net *net, struct virtqueue *vq, size_t need)
{
	bool mergeable = virtio_has(&net->vdev, NET_F_MRG_RXBUF);
	unsigned count = 0;
	size_t room = 0;
	while (room < need && (!count || mergeable)) {
		struct virtq_chain *chain = virtq_pop(vq);
		if (!chain)
			break;
		/* 5.1.6.3.1: a buffer holds at least the header. */
		if (chain->in_bytes < NET_VNET_HEADER_SIZE) {
			virtio_broken(&net->vdev, "receive buffer of %" PRIu64 " bytes",
				      chain->in_bytes);
			virtq_drop(vq, chain);
			break;
		}
		net->rx_chains[count++] = chain;
		room += chain->in_bytes;
	}
	if (room >= need)
		return count;
	if (!mergeable && count && virtq_ready(vq))
		return count; /* too small for this packet: the caller drops it */
	while (count) {
		if (virtq_ready(vq))
			virtq_unpop(vq, net->rx_chains[--count]);
		else
			virtq_drop(vq, net->rx_chains[--count]);
	}
	return 0;
}

static void put_packet(struct virtio_net *net, struct virtqueue *vq, unsigned count,
		       const uint8_t vnet[NET_VNET_HEADER_SIZE], struct cursor *from, size_t length)
{
	uint8_t header[NET_VNET_HEADER_SIZE];
	memcpy(header, vnet, sizeof(header));
	le16_store(header + VNET_NUM_BUFFERS, count);
	virtq_write(net->rx_chains[0], 0, header, sizeof(header));
	size_t done = 0;
	for (unsigned i = 0; i < count; i++) {
		size_t skip = i ? 0 : sizeof(header);
		size_t filled = fill_chain(net->rx_chains[i], skip, from, length - done);
		net->rx_written[i] = skip + filled;
		done += filled;
	}
	virtq_push_batch(vq, net->rx_chains, net->rx_written, count);
	virtq_notify(vq);
}

bool net_rx_receive(void *opaque, unsigned pair, const struct iovec *iov, unsigned count)
{
	struct virtio_net *net = opaque;
	/* A queue that the driver has not enabled gets no packets; neither does a link that is down. */
	if (pair >= net->current_pairs || !virtio_is_up(&net->vdev) ||
	    !atomic_load_explicit(&net->link_up, memory_order_relaxed))
		return true;
	struct virtqueue *vq = net_rx_queue(net, pair);
	if (!virtq_ready(vq))
		return false;

	struct cursor cursor = {.iov = iov, .count = count};
	uint8_t vnet[NET_VNET_HEADER_SIZE] = {0};
	size_t length = iov_total(iov, count);
	if (net->vnet) {
		if (cursor_copy(&cursor, vnet, sizeof(vnet)) < sizeof(vnet))
			return true;
		length -= sizeof(vnet);
	} else if (net->guest_offloads & VIRTIO_BIT(NET_F_GUEST_CSUM)) {
		/* It came over no wire: what the back end computed, the guest need not check. */
		vnet[VNET_FLAGS] = VNET_F_DATA_VALID;
	}

	uint8_t frame[18];
	struct cursor peek = cursor;
	size_t peeked = cursor_copy(&peek, frame, sizeof(frame));
	if (!net_filter_accepts(net, frame, peeked))
		return true;

	size_t need = length + sizeof(vnet);
	unsigned chains = pop_room(net, vq, need);
	if (!chains) {
		/* The driver may have added some before it could see that we want to hear of it. */
		virtq_enable_kicks(vq);
		chains = pop_room(net, vq, need);
		if (!chains)
			return false;
		virtq_disable_kicks(vq);
	}
	if (chains == 1 && net->rx_chains[0]->in_bytes < need) {
		virtq_unpop(vq, net->rx_chains[0]);
		return true;
	}
	put_packet(net, vq, chains, vnet, &cursor, length);
	return true;
}
