/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's end of a packet back end, for tests: it counts what arrives. */
#pragma once

#include "aio/loop.h"
#include "net/net.h"

#define PACKETS 4

struct end {
	struct net_backend *net;
	bool room, little_room; /* little: for no packet that is there now */
	unsigned count, writable;
	size_t lengths[PACKETS];
	uint8_t last;
};

static inline bool can_receive(void *opaque, unsigned queue)
{
	return ((struct end *)opaque)->room;
}

static inline bool receive(void *opaque, unsigned queue, const struct iovec *iov, unsigned count)
{
	struct end *end = opaque;
	g_assert_cmpuint(count, ==, 1);
	if (end->little_room)
		return false;
	if (end->count < PACKETS)
		end->lengths[end->count] = iov->iov_len;
	end->count++;
	end->last = ((const uint8_t *)iov->iov_base)[iov->iov_len - 1];
	return true;
}

static inline void writable(void *opaque, unsigned queue)
{
	((struct end *)opaque)->writable++;
}

/* `keys` and `values` as for net_backend_new(); end->net is NULL with *error set if it fails. */
static inline void end_open_with(struct end *end, struct aio_loop *loop, const char *type,
				 const char *const *keys, const char *const *values, GError **error)
{
	const struct net_host host = {.loop = loop};
	const struct net_receiver receiver = {
		.can_receive = can_receive, .receive = receive, .writable = writable, .opaque = end};
	*end = (struct end){.net = net_backend_new(type, "n", keys, values, &host, error), .room = true};
	if (end->net)
		end->net->ops->set_receiver(end->net, &receiver);
}

static inline bool send_bytes(struct end *end, size_t length, uint8_t last)
{
	g_autofree uint8_t *bytes = g_malloc0(length);
	bytes[length - 1] = last;
	/* In two pieces, as from a guest's ring. */
	struct iovec iov[2] = {{bytes, length / 2}, {bytes + length / 2, length - length / 2}};
	return end->net->ops->send(end->net, 0, iov, 2);
}

static inline void pump(struct aio_loop *loop, const unsigned *count, unsigned wanted)
{
	for (unsigned i = 0; i < 500 && *count < wanted; i++)
		aio_loop_iterate(loop, 10000000);
	g_assert_cmpuint(*count, ==, wanted);
}
