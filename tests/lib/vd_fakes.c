/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vd_fakes.h"

#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>
#include <string.h>

/* ---- Disk ---- */

void fake_block_init(struct block_node *node, uint64_t size)
{
	*node = (struct block_node){.size = size, .data = g_malloc0(size)};
	node->limits = (struct block_limits){.request_alignment = 1, .logical_block = 512,
					     .physical_block = 512, .can_discard = true,
					     .can_write_zeroes = true, .discard_alignment = 512};
}

void fake_block_free(struct block_node *node)
{
	g_free(node->data);
}

static int perform(struct block_node *node, struct block_request *r)
{
	uint64_t at = r->offset;
	if (node->fail) {
		int error = node->fail;
		node->fail = 0;
		return error;
	}
	node->fua += !!(r->flags & BLOCK_REQ_FUA);
	if (r->op == BLOCK_FLUSH) {
		node->flushes++;
		return 0;
	}
	g_assert(range_fits(r->offset, r->length, node->size));
	g_assert(r->op == BLOCK_READ || !node->readonly);
	if (r->op >= BLOCK_DISCARD) {
		memset(node->data + at, 0, r->length);
		return 0;
	}
	uint64_t total = 0;
	for (unsigned i = 0; i < r->iov_count; i++) {
		total += r->iov[i].iov_len;
		g_assert(total <= r->length);
		if (r->op == BLOCK_READ)
			memcpy(r->iov[i].iov_base, node->data + at, r->iov[i].iov_len);
		else
			memcpy(node->data + at, r->iov[i].iov_base, r->iov[i].iov_len);
		at += r->iov[i].iov_len;
	}
	g_assert(total == r->length);
	return 0;
}

void block_submit(struct block_node *node, struct block_request *request)
{
	node->requests++;
	request->node = node;
	if (!node->defer) {
		request->done(request, perform(node, request));
		return;
	}
	request->next = node->waiting;
	node->waiting = request;
}

void fake_block_finish(struct block_node *node)
{
	while (node->waiting) {
		struct block_request *request = node->waiting;
		node->waiting = request->next;
		request->done(request, perform(node, request));
	}
}

void block_plug(struct block_node *node)
{
}

void block_unplug(struct block_node *node)
{
}

void block_drain(struct block_node *node)
{
	fake_block_finish(node);
}

bool block_is_idle(struct block_node *node)
{
	return !node->waiting;
}

void block_leave_loop(struct block_node *root)
{
	g_assert(block_is_idle(root));
}

void block_enter_loop(struct block_node *root, struct aio_loop *loop)
{
	root->loop = loop;
}

uint64_t block_size(const struct block_node *node)
{
	return node->size;
}

void block_set_io_status(struct block_node *node, enum block_io_status status)
{
	node->io_status = status;
}

void block_set_io_failed(struct block_node *node, int result)
{
	node->io_status = result == -ENOSPC ? BLOCK_IO_NO_SPACE : BLOCK_IO_FAILED;
}

bool block_is_readonly(const struct block_node *node)
{
	return node->readonly;
}

const struct block_limits *block_limits(const struct block_node *node)
{
	return &node->limits;
}

const char *block_node_name(const struct block_node *node)
{
	return "fake";
}

/* ---- Network ---- */

static struct fake_net *fake(struct net_backend *net)
{
	return (struct fake_net *)net;
}

static unsigned net_queues(struct net_backend *net)
{
	return 4;
}

static void net_set_receiver(struct net_backend *net, const struct net_receiver *receiver)
{
	fake(net)->has_receiver = receiver != NULL;
	if (receiver)
		fake(net)->receiver = *receiver;
}

static bool net_send(struct net_backend *net, unsigned queue, const struct iovec *iov,
		     unsigned count)
{
	struct fake_net *f = fake(net);
	if (!f->room)
		return false;
	if (f->room != UINT_MAX)
		f->room--;
	size_t size = 0;
	for (unsigned i = 0; i < count; i++)
		size += iov[i].iov_len;
	if (f->sent < FAKE_PACKETS && size <= FAKE_PACKET_MAX) {
		uint8_t *packet = g_realloc(f->packets[f->sent], MAX(size, 1));
		f->packets[f->sent] = packet;
		f->sizes[f->sent] = size;
		for (unsigned i = 0; i < count; i++) {
			memcpy(packet, iov[i].iov_base, iov[i].iov_len);
			packet += iov[i].iov_len;
		}
		f->sent++;
	}
	return true;
}

static void net_receive_ready(struct net_backend *net, unsigned queue)
{
	fake(net)->ready++;
}

static uint32_t net_offloads(struct net_backend *net)
{
	return fake(net)->offloads;
}

static bool net_set_vnet(struct net_backend *net, bool header, uint32_t offloads)
{
	fake(net)->agreed = offloads;
	return true;
}

static const struct net_receiver *net_receiver(struct net_backend *net)
{
	return &fake(net)->receiver;
}

static const struct net_backend_ops fake_net_ops = {
	.type = "fake", .queues = net_queues, .set_receiver = net_set_receiver, .receiver = net_receiver,
	.send = net_send,
	.receive_ready = net_receive_ready, .offloads = net_offloads, .set_vnet = net_set_vnet,
};

void fake_net_init(struct fake_net *net, struct aio_loop *loop, uint32_t offloads)
{
	*net = (struct fake_net){.net = {.ops = &fake_net_ops, .id = (char *)"net", .loop = loop,
					 .link_up = true},
				 .offloads = offloads, .room = UINT_MAX};
}

void fake_net_free(struct fake_net *net)
{
	for (unsigned i = 0; i < FAKE_PACKETS; i++)
		g_free(net->packets[i]);
}

/* ---- Stream ---- */

void fake_chardev_init(struct chardev *chr)
{
	*chr = (struct chardev){.open = true, .room = SIZE_MAX, .out = g_string_new(NULL),
				.in = g_string_new(NULL)};
}

void fake_chardev_free(struct chardev *chr)
{
	g_string_free(chr->out, TRUE);
	g_string_free(chr->in, TRUE);
}

bool chardev_attach(struct chardev *chr, const struct chardev_user *user, GError **error)
{
	chr->user = *user;
	return true;
}

void chardev_detach(struct chardev *chr, void *opaque)
{
	chr->user = (struct chardev_user){0};
}

void chardev_accept_input(struct chardev *chr)
{
	while (chr->in->len && chr->user.can_read) {
		size_t room = MIN(chr->user.can_read(chr->user.opaque), chr->in->len);
		if (!room)
			return;
		g_autofree char *bytes = g_memdup2(chr->in->str, room);
		g_string_erase(chr->in, 0, room);
		chr->user.read(chr->user.opaque, (const uint8_t *)bytes, room);
	}
}

void fake_chardev_feed(struct chardev *chr, const char *text)
{
	g_string_append(chr->in, text);
	chardev_accept_input(chr);
}

size_t chardev_write(struct chardev *chr, const void *data, size_t length)
{
	length = MIN(length, chr->room);
	if (chr->room != SIZE_MAX)
		chr->room -= length;
	if (chr->out->len < 1 << 20)
		g_string_append_len(chr->out, data, length);
	return length;
}

bool chardev_is_open(const struct chardev *chr)
{
	return chr->open;
}

/* ---- Names ---- */

static void *find(void *opaque, enum property_type type, const char *id, GError **error)
{
	struct fakes *fakes = opaque;
	switch (type) {
	case PROPERTY_DRIVE:
		return fakes->block;
	case PROPERTY_NETDEV:
		return fakes->net;
	case PROPERTY_CHARDEV:
		return fakes->chr;
	default:
		error_set(error, BERTH_ERR_NOT_FOUND, "no '%s' here", id);
		return NULL;
	}
}

struct device_resolver fakes_resolver(struct fakes *fakes)
{
	return (struct device_resolver){find, fakes};
}
