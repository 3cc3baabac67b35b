/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Back ends for virtio devices under test: a disk in memory, a network that is an array, a stream. */
#pragma once

#include "block/core/block.h"
#include "chardev/chardev.h"
#include "dev/core/device.h"
#include "net/net.h"

struct block_node {
	uint8_t *data;
	uint64_t size;
	bool readonly;
	bool defer;                  /* requests wait for fake_block_finish() */
	int fail;                    /* -errno for the next request, once */
	enum block_io_status io_status;
	unsigned requests, flushes, fua;
	struct block_request *waiting;
	struct block_limits limits;
	struct aio_loop *loop; /* where it has been moved to; or NULL */
};
void fake_block_init(struct block_node *node, uint64_t size);
void fake_block_free(struct block_node *node);
void fake_block_finish(struct block_node *node);

#define FAKE_PACKETS 128
#define FAKE_PACKET_MAX 70000

struct fake_net {
	struct net_backend net;
	struct net_receiver receiver;
	bool has_receiver;
	uint32_t offloads;           /* 0: no header */
	uint32_t agreed;
	unsigned room;               /* packets that send() still takes; UINT_MAX: any */
	unsigned sent, ready;
	size_t sizes[FAKE_PACKETS];  /* of the first ones */
	uint8_t *packets[FAKE_PACKETS];
};
void fake_net_init(struct fake_net *net, struct aio_loop *loop, uint32_t offloads);
void fake_net_free(struct fake_net *net);

struct chardev {
	struct chardev_user user;
	bool open;
	size_t room;                 /* bytes that chardev_write() still takes */
	GString *out, *in;           /* written by the device; waits for it */
};
void fake_chardev_init(struct chardev *chr);
void fake_chardev_free(struct chardev *chr);
void fake_chardev_feed(struct chardev *chr, const char *text);

/* Resolves "disk", "net" and "chr" to these. */
struct fakes {
	struct block_node *block;
	struct fake_net *net;
	struct chardev *chr;
};
struct device_resolver fakes_resolver(struct fakes *fakes);
