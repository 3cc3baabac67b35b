/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost-user (QEMU, docs/interop/vhost-user): another process serves the rings, such as a switch in user
 * space. A unix socket carries short messages; the first ones ask what the server can do, the others give
 * it the guest's memory, as descriptors to map, and the rings.
 *
 * Nothing that the server says is believed: an answer has one size, comes when it was asked for, and
 * within ANSWER_MS, for which the whole program waits. A server that does otherwise is hung up on. One
 * that is gone is no fault: the link is down until the next one connects, which must be able to do what
 * the guest was promised on account of the first.
 */
#include "aio/loop.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "chardev/chardev.h"
#include "net/internal.h"
#include "net/vhost.h"

#include <inttypes.h>
#include <string.h>

#define ANSWER_MS  5000
#define CONNECT_MS 15000 /* for the first server; below what a QMP client waits for an answer */
#define QUEUES_MAX 64
#define REGIONS_MAX 8    /* without the protocol feature for more */

enum request {
	GET_FEATURES = 1, SET_FEATURES = 2, SET_OWNER = 3, SET_MEM_TABLE = 5, SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9, SET_VRING_BASE = 10, GET_VRING_BASE = 11, SET_VRING_KICK = 12,
	SET_VRING_CALL = 13, GET_PROTOCOL_FEATURES = 15, SET_PROTOCOL_FEATURES = 16, GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,
};

/* Message header: request, flags, size of what follows; all in the host's byte order, x86's. */
#define HEADER       12
#define VERSION      1
#define VERSION_MASK 3
#define FLAG_REPLY   (1 << 2)
#define FLAG_NEED_REPLY (1 << 3)
#define ANSWER_SIZE  8 /* of every answer: a number, or a ring's index and state */

#define BIT(feature) (UINT64_C(1) << (feature))
enum { PROTOCOL_MQ = 0, PROTOCOL_REPLY_ACK = 3 };
enum { F_PROTOCOL_FEATURES = 30, F_VERSION_1 = 32 };
/*
 * virtio 1.2, 5.1.3 and 6: the features that are the server's to have: checksums and segments, guest
 * offloads that can change, MTU, merged buffers, indirect descriptors, event index, version 1.
 */
#define ASKED                                                                                      \
	(BIT(0) | BIT(1) | BIT(3) | BIT(7) | BIT(8) | BIT(9) | BIT(11) | BIT(12) | BIT(13) |       \
	 BIT(15) | BIT(28) | BIT(29) | BIT(F_VERSION_1))
/* Changes of these it could not be told: CTRL_GUEST_OFFLOADS. */
#define NEVER BIT(2)

struct vhost_user {
	struct net_backend net;
	struct net_receiver receiver;
	struct chardev *chr;
	unsigned pairs;
	bool promised;       /* `features` is what the device offers, on account of the first server */
	uint64_t features;   /* the server's, of ASKED */
	uint64_t protocol;   /* agreed on */
	bool has_protocol;
	bool ready;          /* a server is there and was asked */
	struct aio_deferred changed;
	/* The answer that is due, and what has come of it. */
	enum request asked;  /* 0: none */
	bool answered;
	uint8_t answer[HEADER + ANSWER_SIZE];
	size_t answer_length;
};

static struct vhost_user *user_of(struct net_backend *net)
{
	return (struct vhost_user *)net;
}

/* ---- Messages ---- */

/* Returns false always. */
static bool hang_up(struct vhost_user *user, GError **error, const char *why)
{
	error_set(error, BERTH_ERR_IO, "the vhost-user server on %s %s", chardev_describe(user->chr), why);
	chardev_hang_up(user->chr);
	return false;
}

static size_t can_read(void *opaque)
{
	const struct vhost_user *user = opaque;
	/* What comes unasked is read, too, and ends the connection. */
	return user->asked ? sizeof(user->answer) - user->answer_length : 1;
}

static void read_answer(void *opaque, const uint8_t *data, size_t length)
{
	struct vhost_user *user = opaque;
	if (!user->asked || length > sizeof(user->answer) - user->answer_length) {
		log_warning("the vhost-user server on %s spoke without being asked",
			    chardev_describe(user->chr));
		chardev_hang_up(user->chr);
		return;
	}
	memcpy(user->answer + user->answer_length, data, length);
	user->answer_length += length;
	user->answered = user->answer_length == sizeof(user->answer);
}

static bool send_message(struct vhost_user *user, enum request request, uint32_t flags, const void *payload,
			 size_t size, const int *fds, unsigned fd_count, GError **error)
{
	uint8_t message[HEADER + 8 + REGIONS_MAX * 32];
	g_assert(size <= sizeof(message) - HEADER);
	le32_store(message, request);
	le32_store(message + 4, VERSION | flags);
	le32_store(message + 8, size);
	if (size)
		memcpy(message + HEADER, payload, size);
	return chardev_send(user->chr, message, HEADER + size, fds, fd_count) ||
	       hang_up(user, error, "is gone or does not read");
}

static bool send_number(struct vhost_user *user, enum request request, uint64_t value, GError **error)
{
	uint8_t payload[8];
	le64_store(payload, value);
	return send_message(user, request, 0, payload, sizeof(payload), NULL, 0, error);
}

/* A ring's index and a number. */
static bool send_state(struct vhost_user *user, enum request request, unsigned index, uint32_t value,
		       GError **error)
{
	uint8_t payload[8];
	le32_store(payload, index);
	le32_store(payload + 4, value);
	return send_message(user, request, 0, payload, sizeof(payload), NULL, 0, error);
}

static bool send_eventfd(struct vhost_user *user, enum request request, unsigned index, int fd,
			 GError **error)
{
	uint8_t payload[8];
	le64_store(payload, index);
	return send_message(user, request, 0, payload, sizeof(payload), &fd, 1, error);
}

/* The 8 bytes that the server answers to `request`, which was sent. */
static bool await_answer(struct vhost_user *user, enum request request, uint8_t answer[ANSWER_SIZE],
			 GError **error)
{
	int64_t deadline = aio_now_ns() + ANSWER_MS * INT64_C(1000000), left = ANSWER_MS;
	user->asked = request;
	user->answered = false;
	user->answer_length = 0;
	while (!user->answered && chardev_is_open(user->chr) && left > 0) {
		chardev_wait(user->chr, left);
		left = (deadline - aio_now_ns()) / 1000000;
	}
	user->asked = 0;
	if (!user->answered)
		return hang_up(user, error, left > 0 ? "is gone" : "does not answer");
	if (le32_load(user->answer) != request ||
	    (le32_load(user->answer + 4) & (VERSION_MASK | FLAG_REPLY)) != (VERSION | FLAG_REPLY) ||
	    le32_load(user->answer + 8) != ANSWER_SIZE)
		return hang_up(user, error, "answers something else");
	memcpy(answer, user->answer + HEADER, ANSWER_SIZE);
	return true;
}

static bool ask_number(struct vhost_user *user, enum request request, uint64_t *value, GError **error)
{
	uint8_t answer[ANSWER_SIZE];
	if (!send_message(user, request, 0, NULL, 0, NULL, 0, error) ||
	    !await_answer(user, request, answer, error))
		return false;
	*value = le64_load(answer);
	return true;
}

/* ---- What the server can do ---- */

static bool agree_on_protocol(struct vhost_user *user, GError **error)
{
	uint64_t offered = 0, queues = 1;
	user->protocol = 0;
	if (user->has_protocol) {
		if (!ask_number(user, GET_PROTOCOL_FEATURES, &offered, error))
			return false;
		user->protocol = offered & (BIT(PROTOCOL_MQ) | BIT(PROTOCOL_REPLY_ACK));
		if (!send_number(user, SET_PROTOCOL_FEATURES, user->protocol, error))
			return false;
	}
	if (user->protocol & BIT(PROTOCOL_MQ) && !ask_number(user, GET_QUEUE_NUM, &queues, error))
		return false;
	if (queues >= user->pairs)
		return true;
	error_set(error, BERTH_ERR_NOT_SUPPORTED,
		  "the vhost-user server on %s has %" PRIu64 " queue pairs, not queues=%u",
		  chardev_describe(user->chr), queues, user->pairs);
	chardev_hang_up(user->chr);
	return false;
}

static bool greet(struct vhost_user *user, GError **error)
{
	uint64_t features;
	if (!ask_number(user, GET_FEATURES, &features, error))
		return false;
	user->has_protocol = features & BIT(F_PROTOCOL_FEATURES);
	features &= ASKED;
	if (!(features & BIT(F_VERSION_1)))
		return hang_up(user, error, "is older than virtio 1");
	if (user->promised && user->features & ~features)
		return hang_up(user, error, "lacks features of the one before, which the guest may use");
	if (!agree_on_protocol(user, error) ||
	    !send_message(user, SET_OWNER, 0, NULL, 0, NULL, 0, error))
		return false;
	if (!user->promised)
		user->features = features;
	user->promised = user->ready = true;
	return true;
}

/* The server came or went. */
static void connection_changed(void *opaque)
{
	struct vhost_user *user = opaque;
	g_autoptr(GError) error = NULL;
	if (!user->ready && chardev_is_open(user->chr) && !greet(user, &error))
		log_warning("%s: %s", user->net.id, error->message);
	if (user->receiver.link_changed)
		user->receiver.link_changed(user->receiver.opaque, user->net.link_up);
}

static void stream_event(void *opaque, enum chardev_event event)
{
	struct vhost_user *user = opaque;
	if (event != CHARDEV_OPENED && event != CHARDEV_CLOSED)
		return;
	/* It may be in the middle of a conversation, or of the device's. */
	user->ready = false;
	aio_defer(user->net.loop, &user->changed);
}

/* ---- Rings ---- */

static uint64_t vhost_user_lacks(struct net_backend *net)
{
	return (ASKED & ~user_of(net)->features) | NEVER;
}

static bool vhost_user_ready(struct net_backend *net)
{
	return user_of(net)->ready;
}

static bool send_memory(struct vhost_user *user, const struct vhost_region *regions, unsigned count,
			GError **error)
{
	uint8_t table[8 + REGIONS_MAX * 32] = {0}, answer[ANSWER_SIZE];
	int fds[REGIONS_MAX];
	bool acknowledged = user->protocol & BIT(PROTOCOL_REPLY_ACK);
	if (count > REGIONS_MAX)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "guest memory in %u parts is too many for vhost-user: at most %u", count,
				 REGIONS_MAX);
	le32_store(table, count);
	for (unsigned i = 0; i < count; i++) {
		uint8_t *at = table + 8 + 32 * i;
		le64_store(at, regions[i].guest);
		le64_store(at + 8, regions[i].size);
		le64_store(at + 16, (uintptr_t)regions[i].host);
		le64_store(at + 24, regions[i].fd_offset);
		fds[i] = regions[i].fd;
	}
	if (!send_message(user, SET_MEM_TABLE, acknowledged ? FLAG_NEED_REPLY : 0, table, 8 + 32 * count, fds,
			  count, error))
		return false;
	if (!acknowledged)
		return true;
	return await_answer(user, SET_MEM_TABLE, answer, error) &&
	       (!le64_load(answer) || hang_up(user, error, "cannot map the guest's memory"));
}

static bool vhost_user_prepare(struct net_backend *net, uint64_t features, const struct vhost_region *regions,
			       unsigned count, GError **error)
{
	struct vhost_user *user = user_of(net);
	uint64_t accepted = (features & ASKED) | (user->has_protocol ? BIT(F_PROTOCOL_FEATURES) : 0);
	return send_number(user, SET_FEATURES, accepted, error) && send_memory(user, regions, count, error);
}

static bool vhost_user_start_ring(struct net_backend *net, const struct vhost_ring *ring, GError **error)
{
	struct vhost_user *user = user_of(net);
	uint8_t address[40] = {0};
	le32_store(address, ring->index);
	le64_store(address + 8, (uintptr_t)ring->desc);
	le64_store(address + 16, (uintptr_t)ring->used);
	le64_store(address + 24, (uintptr_t)ring->avail);
	return send_state(user, SET_VRING_NUM, ring->index, ring->size, error) &&
	       send_state(user, SET_VRING_BASE, ring->index, ring->base, error) &&
	       send_message(user, SET_VRING_ADDR, 0, address, sizeof(address), NULL, 0, error) &&
	       send_eventfd(user, SET_VRING_CALL, ring->index, ring->call, error) &&
	       send_eventfd(user, SET_VRING_KICK, ring->index, ring->kick, error) &&
	       /* Without protocol features the doorbell has begun it. */
	       (!user->has_protocol || send_state(user, SET_VRING_ENABLE, ring->index, 1, error));
}

static bool vhost_user_stop_ring(struct net_backend *net, unsigned index, uint16_t *base)
{
	struct vhost_user *user = user_of(net);
	uint8_t answer[ANSWER_SIZE];
	g_autoptr(GError) error = NULL;
	if (!user->ready)
		return false;
	if ((user->has_protocol && !send_state(user, SET_VRING_ENABLE, index, 0, &error)) ||
	    !send_state(user, GET_VRING_BASE, index, 0, &error) ||
	    !await_answer(user, GET_VRING_BASE, answer, &error) ||
	    (le32_load(answer) != index && !hang_up(user, &error, "answers for another ring"))) {
		log_warning("%s: %s", net->id, error->message);
		return false;
	}
	*base = le32_load(answer + 4);
	return true;
}

static const struct vhost_ops vhost_user_ops = {
	.shared_memory = true,
	.regions_max = REGIONS_MAX,
	.lacks = vhost_user_lacks,
	.ready = vhost_user_ready,
	.prepare = vhost_user_prepare,
	.start_ring = vhost_user_start_ring,
	.stop_ring = vhost_user_stop_ring,
};

/* ---- The back end ---- */

static unsigned vhost_user_queues(struct net_backend *net)
{
	return user_of(net)->pairs;
}

static void vhost_user_set_receiver(struct net_backend *net, const struct net_receiver *receiver)
{
	struct vhost_user *user = user_of(net);
	user->receiver = receiver ? *receiver : (struct net_receiver){0};
}

static const struct net_receiver *vhost_user_receiver(struct net_backend *net)
{
	return &user_of(net)->receiver;
}

/* Packets do not come through here: a device that cannot hand over its rings has no link. */
static bool vhost_user_send(struct net_backend *net, unsigned queue, const struct iovec *iov, unsigned count)
{
	return true;
}

static void vhost_user_receive_ready(struct net_backend *net, unsigned queue)
{
}

static uint32_t vhost_user_offloads(struct net_backend *net)
{
	return NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN;
}

/* The features say it all. */
static bool vhost_user_set_vnet(struct net_backend *net, bool header, uint32_t offloads)
{
	return header;
}

static void vhost_user_free(struct net_backend *net)
{
	struct vhost_user *user = user_of(net);
	if (user->chr)
		chardev_detach(user->chr, user);
	aio_defer_cancel(net->loop, &user->changed);
	g_free(user);
}

static char *vhost_user_describe(struct net_backend *net)
{
	const struct vhost_user *user = user_of(net);
	return g_strdup_printf("vhost-user on %s, %u queue%s, %s", chardev_describe(user->chr), user->pairs,
			       user->pairs == 1 ? "" : "s", user->ready ? "connected" : "no server");
}

static const struct net_backend_ops vhost_user_net_ops = {
	.type = "vhost-user",
	.queues = vhost_user_queues,
	.set_receiver = vhost_user_set_receiver,
	.receiver = vhost_user_receiver,
	.send = vhost_user_send,
	.receive_ready = vhost_user_receive_ready,
	.offloads = vhost_user_offloads,
	.set_vnet = vhost_user_set_vnet,
	.free = vhost_user_free,
	.describe = vhost_user_describe,
};

/* What the device may offer depends on the server, so the first one must be there by now. */
static bool meet_server(struct vhost_user *user, GError **error)
{
	const char *address = chardev_describe(user->chr);
	if (!chardev_is_open(user->chr)) {
		log_info("waiting for a vhost-user server to connect to %s", address);
		chardev_wait(user->chr, CONNECT_MS);
	}
	if (!chardev_is_open(user->chr))
		return error_set(error, BERTH_ERR_IO,
				 "there is no vhost-user server on %s, nor did one connect in %d seconds",
				 address, CONNECT_MS / 1000);
	return greet(user, error);
}

static bool open_stream(struct vhost_user *user, const struct args *args, const struct net_host *host,
			GError **error)
{
	const struct chardev_user stream_user = {
		.can_read = can_read, .read = read_answer, .event = stream_event, .opaque = user};
	const char *id = args_required(args, "chardev", error);
	struct chardev *chr = NULL;
	if (!id)
		return false;
	if (host->find_chardev)
		chr = host->find_chardev(host->opaque, id, error);
	else
		error_set(error, BERTH_ERR_NOT_FOUND, "%s: there are no streams here", args->what);
	if (!chr)
		return false;
	if (!g_str_has_prefix(chardev_describe(chr), "unix:"))
		return error_set(error, BERTH_ERR_INVALID,
				 "%s: '%s' is no unix socket: -chardev socket,id=%s,path=...", args->what, id,
				 id);
	if (!chardev_attach(chr, &stream_user, error))
		return false;
	user->chr = chr;
	return true;
}

static struct net_backend *vhost_user_create(const struct args *args, const struct net_host *host,
					     GError **error)
{
	struct vhost_user *user = g_new0(struct vhost_user, 1);
	uint64_t pairs = 1;
	bool force = true;
	user->net.ops = &vhost_user_net_ops;
	user->net.vhost = &vhost_user_ops;
	user->net.loop = host->loop;
	user->changed = (struct aio_deferred){.fn = connection_changed, .opaque = user};
	if (args_number(args, "queues", 1, QUEUES_MAX, &pairs, error) &&
	    args_bool(args, "vhostforce", &force, error)) {
		user->pairs = pairs;
		if (open_stream(user, args, host, error) && meet_server(user, error))
			return &user->net;
	}
	vhost_user_free(&user->net);
	return NULL;
}

static const char *const vhost_user_options[] = {"chardev", "queues", "vhostforce", NULL};

const struct net_kind net_kind_vhost_user = {
	.type = "vhost-user",
	.help = "a switch in another process, on the unix socket of a -chardev; needs shared memory",
	.options = vhost_user_options,
	.create = vhost_user_create,
};
