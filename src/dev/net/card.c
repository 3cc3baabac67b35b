/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dev/net/card.h"

#include "aio/loop.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/lock.h"
#include "vm/vm.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <zlib.h>

/* --- the loop ------------------------------------------------------------------------------------- */

static void transmit(struct net_card *card)
{
	card->out.budget = NET_CARD_SEGMENTS;
	card->ops->transmit(card);
}

/* What a kick asks for. */
static void work(struct net_card *card)
{
	transmit(card);
	card->backend->ops->receive_ready(card->backend, 0);
}

static void kicked(void *opaque, int fd, uint32_t events)
{
	uint64_t count;
	if (read(fd, &count, sizeof(count)) == sizeof(count))
		work(opaque);
}

/* The loop comes again, after others. */
static void come_again(struct net_card *card)
{
	uint64_t one = 1;
	ssize_t n = write(card->kick, &one, sizeof(one));
	/* The counter cannot overflow: the loop takes it to zero long before. */
	g_assert(n == sizeof(one) || errno == EAGAIN);
}

void net_card_kick(struct net_card *card)
{
	struct aio_loop *loop = card->backend->loop;
	if (!aio_loop_is_current(loop) && aio_loop_borrow(loop)) {
		work(card);
		aio_loop_return(loop);
		return;
	}
	come_again(card);
}

/* --- the back end's callbacks ----------------------------------------------------------------------- */

static bool can_receive(void *opaque, unsigned queue)
{
	struct net_card *card = opaque;
	LOCK_SCOPE(&card->lock);
	return card->started && card->ops->can_receive(card);
}

/* The packet behind `skip` bytes, in card->frame. 0: no wire has such packets. */
static size_t gather_frame(struct net_card *card, const struct iovec *iov, unsigned count, size_t skip)
{
	size_t length = 0;
	for (unsigned i = 0; i < count; i++) {
		size_t from = MIN(skip, iov[i].iov_len), part = iov[i].iov_len - from;
		skip -= from;
		if (part > NET_CARD_FRAME_MAX - length)
			return 0;
		memcpy(card->frame + length, (const uint8_t *)iov[i].iov_base + from, part);
		length += part;
	}
	return length;
}

static bool receive(void *opaque, unsigned queue, const struct iovec *iov, unsigned count)
{
	struct net_card *card = opaque;
	const uint8_t *frame = iov[0].iov_base;
	size_t length = iov[0].iov_len, skip = card->vnet ? NET_VNET_HEADER_SIZE : 0;
	if (count == 1 && length > skip && length - skip <= NET_CARD_FRAME_MAX) {
		frame += skip;
		length -= skip;
	} else {
		length = gather_frame(card, iov, count, skip);
		frame = card->frame;
	}
	if (!length)
		return true;
	LOCK_SCOPE(&card->lock);
	if (!card->started)
		return false;
	return !card->link_up || card->ops->receive(card, frame, length);
}

static void writable(void *opaque, unsigned queue)
{
	transmit(opaque);
}

static void link_changed(void *opaque, bool up)
{
	struct net_card *card = opaque;
	LOCK_SCOPE(&card->lock);
	if (card->link_up == up)
		return;
	card->link_up = up;
	card->ops->link_changed(card);
}

/* --- life ------------------------------------------------------------------------------------------ */

bool net_card_open(struct device *dev, GError **error)
{
	struct net_card *card = (struct net_card *)dev;
	card->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (card->kick < 0)
		return error_set_errno(error, errno, "%s: cannot make an eventfd", dev->class->name);
	return true;
}

static void connect_backend(void *opaque)
{
	struct net_card *card = opaque;
	const struct net_receiver receiver = {.can_receive = can_receive, .receive = receive,
					      .writable = writable, .link_changed = link_changed,
					      .opaque = card};
	card->watch = aio_watch_add(card->backend->loop, card->kick, POLLIN, kicked, card);
	card->backend->ops->set_receiver(card->backend, &receiver);
	card->link_up = card->backend->link_up;
}

static void disconnect_backend(void *opaque)
{
	struct net_card *card = opaque;
	card->backend->ops->set_receiver(card->backend, NULL);
	aio_watch_remove(card->watch);
	/* Here, as one that has begun on the loop would not be waited for from elsewhere. */
	card->ops->cancel_timers(card);
}

static void on_loop(struct net_card *card, void (*fn)(void *opaque))
{
	if (card->backend->loop == card->pci.dev.vm->loop)
		fn(card);
	else
		aio_loop_call(card->backend->loop, fn, card);
}

bool net_card_create(struct net_card *card, const struct net_card_ops *ops, GError **error)
{
	const char *name = card->pci.dev.class->name;
	if (!card->backend)
		return error_set(error, BERTH_ERR_INVALID,
				 "%s needs a network: give it netdev=ID of a -netdev", name);
	if (card->backend->vhost)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "%s: the network '%s' is served by vhost, which only virtio-net speaks: use "
				 "-device virtio-net-pci, or a -netdev without it", name,
				 card->backend->id ? card->backend->id : "");
	if (card->mac[0] & 1)
		return error_set(error, BERTH_ERR_INVALID, "mac is a multicast address");
	net_mac_complete(card->mac, card->backend);
	/* A tap's header is there or not; without offloads it says nothing. */
	const struct net_backend_ops *backend = card->backend->ops;
	card->vnet = backend->offloads && backend->offloads(card->backend) &&
		     backend->set_vnet(card->backend, true, 0);
	card->ops = ops;
	card->out.packet = g_malloc(NET_CARD_PACKET_ROOM);
	card->frame = g_malloc(NET_CARD_FRAME_MAX + NET_CARD_CRC);
	pthread_mutex_init(&card->lock, NULL);
	on_loop(card, connect_backend);
	card->created = true;
	return true;
}

void net_card_start(struct device *dev)
{
	struct net_card *card = (struct net_card *)dev;
	pthread_mutex_lock(&card->lock);
	card->started = true;
	pthread_mutex_unlock(&card->lock);
	net_card_kick(card);
}

void net_card_stop(struct device *dev)
{
	struct net_card *card = (struct net_card *)dev;
	/* Whoever uses guest memory does so under the lock. */
	LOCK_SCOPE(&card->lock);
	card->started = false;
}

void net_card_destroy(struct net_card *card)
{
	if (card->created) {
		on_loop(card, disconnect_backend);
		pthread_mutex_destroy(&card->lock);
		g_clear_pointer(&card->frame, g_free);
		g_clear_pointer(&card->out.packet, g_free);
	}
	pci_device_cleanup(&card->pci);
	if (card->kick > 0)
		fd_clear(&card->kick);
}

/* --- packets to send ------------------------------------------------------------------------------ */

void net_card_pack(struct net_card *card, uint8_t **packet, size_t length)
{
	struct net_card_out *out = &card->out;
	uint8_t *other = out->packet;
	g_assert(!out->pending);
	out->packet = *packet;
	out->length = length;
	out->pending = true;
	out->cutting = out->have_segment = false;
	*packet = other;
}

void net_card_put_checksum(struct net_card *card, size_t start, size_t at, size_t end)
{
	struct net_card_out *out = &card->out;
	uint8_t vnet[NET_VNET_HEADER_SIZE] = {0};
	if (at < start || at > UINT16_MAX)
		return;
	le16_store(vnet + VNET_CSUM_START, start);
	le16_store(vnet + VNET_CSUM_OFFSET, at - start);
	net_csum_complete(out->packet, MIN(end, out->length), vnet);
}

void net_card_put_tag(struct net_card *card, uint16_t type, uint16_t tag)
{
	struct net_card_out *out = &card->out;
	memmove(out->packet + 12 + NET_CARD_TAG, out->packet + 12, out->length - 12);
	be16_store(out->packet + 12, type);
	be16_store(out->packet + 14, tag);
	out->length += NET_CARD_TAG;
}

bool net_card_cut(struct net_card *card, bool ipv4, unsigned size)
{
	struct net_card_out *out = &card->out;
	uint8_t vnet[NET_VNET_HEADER_SIZE] = {0};
	/* Who takes packets of any size gets one segment, with all sums in it. */
	enum { WHOLE = 65000 };
	if (ipv4 && card->backend->ops->large_tcp4 && size && out->length < WHOLE)
		size = WHOLE;
	vnet[VNET_GSO_TYPE] = ipv4 ? VNET_GSO_TCPV4 : VNET_GSO_TCPV6;
	le16_store(vnet + VNET_GSO_SIZE, size);
	out->cutting = out->pending = net_gso_begin(&out->gso, out->packet, out->length, vnet);
	return out->pending;
}

/* A packet in two pieces, of which the second may be empty. */
static bool send_packet(struct net_card *card, const struct iovec *head, const struct iovec *rest)
{
	static const uint8_t empty[NET_VNET_HEADER_SIZE];
	const struct iovec iov[3] = {{(void *)empty, sizeof(empty)}, *head, rest ? *rest : (struct iovec){0}};
	unsigned skip = card->vnet ? 0 : 1, count = rest ? 3 : 2;
	return card->backend->ops->send(card->backend, 0, iov + skip, count - skip);
}

static bool send_segments(struct net_card *card)
{
	struct net_card_out *out = &card->out;
	while (out->have_segment || net_gso_next(&out->gso, &out->payload)) {
		const struct iovec iov[2] = {{out->gso.header, out->gso.header_length},
					     {(void *)out->payload, out->gso.segment_length}};
		out->have_segment = true;
		/* A driver that asks for segments of a byte must not hold up the loop. */
		if (!out->budget) {
			come_again(card);
			return false;
		}
		if (!send_packet(card, &iov[0], &iov[1]))
			return false;
		out->have_segment = false;
		out->budget--;
	}
	return true;
}

bool net_card_flush(struct net_card *card)
{
	struct net_card_out *out = &card->out;
	const struct iovec iov = {out->packet, out->length};
	if (out->pending)
		out->pending = !(out->cutting ? send_segments(card) : send_packet(card, &iov, NULL));
	return !out->pending;
}

/* --- the wire -------------------------------------------------------------------------------------- */

const uint8_t *net_card_wire_frame(struct net_card *card, const uint8_t *frame, size_t *length, bool crc)
{
	enum { LEAST = 60 };
	if (*length >= LEAST && !crc)
		return frame;
	if (frame != card->frame)
		memcpy(card->frame, frame, *length);
	if (*length < LEAST) {
		memset(card->frame + *length, 0, LEAST - *length);
		*length = LEAST;
	}
	if (crc) {
		le32_store(card->frame + *length, crc32(0, card->frame, *length));
		*length += NET_CARD_CRC;
	}
	return card->frame;
}

/* --- DMA ------------------------------------------------------------------------------------------- */

bool net_card_read(const struct net_card *card, uint64_t address, void *to, uint64_t length)
{
	return pci_dma_enabled(&card->pci) &&
	       space_dma_read(card->pci.dev.vm->memory, address, to, length);
}

bool net_card_write(const struct net_card *card, uint64_t address, const void *from, uint64_t length)
{
	return pci_dma_enabled(&card->pci) &&
	       space_dma_write(card->pci.dev.vm->memory, address, from, length);
}
