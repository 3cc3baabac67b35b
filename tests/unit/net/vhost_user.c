/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vhost-user with a server of the test's: what it is told, and what becomes of one that misbehaves. */
#include "net/vhost.h"

#include "aio/loop.h"
#include "aio/net.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "chardev/chardev.h"
#include "net/net.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum {
	GET_FEATURES = 1, SET_FEATURES = 2, SET_OWNER = 3, SET_MEM_TABLE = 5, SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9, SET_VRING_BASE = 10, GET_VRING_BASE = 11, SET_VRING_KICK = 12,
	SET_VRING_CALL = 13, GET_PROTOCOL_FEATURES = 15, SET_PROTOCOL_FEATURES = 16, GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,
};
#define MRG_RXBUF (UINT64_C(1) << 15)
#define PROTOCOL  (UINT64_C(1) << 30)
#define VERSION_1 (UINT64_C(1) << 32)

struct env {
	char *folder, *path;
	struct aio_loop *loop;
	struct chardev *chr;
	struct net_backend *net;
	int listener, server;
	bool up;
};

static struct chardev *find_chardev(void *opaque, const char *id, GError **error)
{
	g_assert_cmpstr(id, ==, "c");
	return ((struct env *)opaque)->chr;
}

static void link_changed(void *opaque, bool up)
{
	struct env *e = opaque;
	e->up = e->net->vhost->ready(e->net);
}

static void env_open(struct env *e)
{
	g_autoptr(GError) error = NULL;
	const char *const keys[] = {"path", NULL};
	*e = (struct env){.folder = g_dir_make_tmp("berth-test-XXXXXX", NULL), .loop = aio_loop_new(NULL)};
	e->path = g_build_filename(e->folder, "server", NULL);
	e->listener = net_listen_unix(e->path, NULL);
	const char *const values[] = {e->path, NULL};
	e->chr = chardev_new("socket", "c", keys, values, e->loop, &error);
	g_assert_no_error(error);
	e->server = accept(e->listener, NULL, NULL);
	g_assert_cmpint(e->server, >=, 0);
}

static void env_close(struct env *e)
{
	net_backend_free(e->net);
	chardev_free(e->chr);
	aio_loop_free(e->loop);
	fd_clear(&e->server);
	fd_clear(&e->listener);
	g_unlink(e->path);
	g_rmdir(e->folder);
	g_free(e->path);
	g_free(e->folder);
}

/* Answers wait in the socket until they are asked for. */
static void put(struct env *e, uint32_t request, uint32_t flags, uint32_t size, uint64_t value)
{
	uint8_t message[20];
	le32_store(message, request);
	le32_store(message + 4, flags);
	le32_store(message + 8, size);
	le64_store(message + 12, value);
	g_assert_cmpint(write(e->server, message, sizeof(message)), ==, sizeof(message));
}

static void answer(struct env *e, uint32_t request, uint64_t value)
{
	put(e, request, 5, 8, value);
}

static void create(struct env *e, const char *queues, GError **error)
{
	const char *const keys[] = {"chardev", "queues", NULL}, *const values[] = {"c", queues, NULL};
	const struct net_host host = {e->loop, find_chardev, e};
	const struct net_receiver receiver = {.link_changed = link_changed, .opaque = e};
	e->net = net_backend_new("vhost-user", "n", keys, values, &host, error);
	if (e->net)
		e->net->ops->set_receiver(e->net, &receiver);
}

/* The next message at the server: its payload's size; what descriptors came. */
static size_t take(struct env *e, uint32_t request, uint8_t payload[512], int *fd)
{
	uint8_t header[12];
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 8)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {header, sizeof(header)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	g_assert_cmpint(recvmsg(e->server, &message, 0), ==, sizeof(header));
	g_assert_cmpuint(le32_load(header), ==, request);
	uint32_t size = le32_load(header + 8);
	g_assert_cmpuint(size, <=, 512);
	g_assert_cmpint(size ? read(e->server, payload, size) : 0, ==, size);
	const struct cmsghdr *found = CMSG_FIRSTHDR(&message);
	g_assert_true((fd != NULL) == (found != NULL));
	if (fd)
		memcpy(fd, CMSG_DATA(found), sizeof(*fd));
	return size;
}

static uint64_t take_number(struct env *e, uint32_t request)
{
	uint8_t payload[512];
	g_assert_cmpuint(take(e, request, payload, NULL), ==, 8);
	return le64_load(payload);
}

static void take_ring(struct env *e, const struct vhost_ring *ring)
{
	uint8_t payload[512];
	int fd;
	uint64_t index = ring->index;
	g_assert_cmphex(take_number(e, SET_VRING_NUM), ==, index | (uint64_t)ring->size << 32);
	g_assert_cmphex(take_number(e, SET_VRING_BASE), ==, index | (uint64_t)ring->base << 32);
	g_assert_cmpuint(take(e, SET_VRING_ADDR, payload, NULL), ==, 40);
	g_assert_cmphex(le64_load(payload), ==, index);
	g_assert_cmphex(le64_load(payload + 8), ==, (uintptr_t)ring->desc);
	g_assert_cmphex(le64_load(payload + 16), ==, (uintptr_t)ring->used);
	g_assert_cmphex(le64_load(payload + 24), ==, (uintptr_t)ring->avail);
	for (unsigned i = 0; i < 2; i++) {
		take(e, i ? SET_VRING_KICK : SET_VRING_CALL, payload, &fd);
		g_assert_cmphex(le64_load(payload), ==, index);
		close(fd);
	}
	g_assert_cmphex(take_number(e, SET_VRING_ENABLE), ==, index | UINT64_C(1) << 32);
}

static void test_conversation(void)
{
	struct env e;
	uint8_t payload[512];
	int fd, memory = memfd_create("test", 0), bell = eventfd(0, 0);
	uint16_t base = 0;
	g_autoptr(GError) error = NULL;
	env_open(&e);
	answer(&e, GET_FEATURES, VERSION_1 | PROTOCOL | MRG_RXBUF);
	answer(&e, GET_PROTOCOL_FEATURES, ~UINT64_C(0));
	answer(&e, GET_QUEUE_NUM, 4);
	create(&e, "2", &error);
	g_assert_no_error(error);
	const struct vhost_ops *vhost = e.net->vhost;
	g_assert_cmpuint(e.net->ops->queues(e.net), ==, 2);
	g_assert_true(vhost->ready(e.net));
	uint64_t lacks = vhost->lacks(e.net);
	g_assert_cmphex(lacks & (VERSION_1 | MRG_RXBUF), ==, 0);
	g_assert_cmphex(lacks & 7, ==, 7); /* checksums both ways, changes of offloads */
	take(&e, GET_FEATURES, payload, NULL);
	take(&e, GET_PROTOCOL_FEATURES, payload, NULL);
	g_assert_cmphex(take_number(&e, SET_PROTOCOL_FEATURES), ==, 9); /* queues, acknowledgements */
	take(&e, GET_QUEUE_NUM, payload, NULL);
	take(&e, SET_OWNER, payload, NULL);

	const struct vhost_region region = {.guest = 0x1000, .size = 0x2000, .host = &e, .fd = memory,
					    .fd_offset = 0x3000};
	const struct vhost_ring ring = {.index = 3, .size = 64, .base = 9, .desc = &e, .avail = payload,
					.used = &base, .kick = bell, .call = bell};
	answer(&e, SET_MEM_TABLE, 0);
	g_assert_true(vhost->prepare(e.net, VERSION_1 | 1 << 5, &region, 1, &error));
	g_assert_cmphex(take_number(&e, SET_FEATURES), ==, VERSION_1 | PROTOCOL);
	g_assert_cmpuint(take(&e, SET_MEM_TABLE, payload, &fd), ==, 40);
	close(fd);
	g_assert_cmpuint(le32_load(payload), ==, 1);
	g_assert_cmphex(le64_load(payload + 8), ==, 0x1000);
	g_assert_cmphex(le64_load(payload + 16), ==, 0x2000);
	g_assert_cmphex(le64_load(payload + 24), ==, (uintptr_t)&e);
	g_assert_cmphex(le64_load(payload + 32), ==, 0x3000);
	g_assert_true(vhost->start_ring(e.net, &ring, &error));
	take_ring(&e, &ring);
	answer(&e, GET_VRING_BASE, 3 | UINT64_C(77) << 32);
	g_assert_true(vhost->stop_ring(e.net, 3, &base));
	g_assert_cmpuint(base, ==, 77);
	take(&e, SET_VRING_ENABLE, payload, NULL);
	take(&e, GET_VRING_BASE, payload, NULL);

	/* Too much memory; then a server that answers for another ring is hung up on. */
	struct vhost_region many[9] = {region};
	g_assert_false(vhost->prepare(e.net, VERSION_1, many, 9, &error));
	g_assert_nonnull(strstr(error->message, "9 parts"));
	answer(&e, GET_VRING_BASE, 2);
	g_assert_false(vhost->stop_ring(e.net, 3, &base));
	g_assert_false(vhost->ready(e.net));
	e.up = true;
	aio_loop_iterate(e.loop, 1000000);
	g_assert_false(e.up);
	close(memory);
	close(bell);
	env_close(&e);
}

/* What comes unasked ends the connection, too. */
static void test_unasked(void)
{
	struct env e;
	g_autoptr(GError) error = NULL;
	env_open(&e);
	answer(&e, GET_FEATURES, VERSION_1);
	create(&e, "1", &error);
	g_assert_no_error(error);
	answer(&e, GET_FEATURES, VERSION_1);
	e.up = true;
	for (unsigned i = 0; i < 100 && e.up; i++)
		aio_loop_iterate(e.loop, 100000000);
	g_assert_false(e.up);
	env_close(&e);
}

static void refused(void (*talk)(struct env *e), const char *words)
{
	struct env e;
	g_autoptr(GError) error = NULL;
	env_open(&e);
	talk(&e);
	shutdown(e.server, SHUT_WR);
	create(&e, "2", &error);
	g_assert_null(e.net);
	g_assert_nonnull(error);
	if (!strstr(error->message, words))
		g_error("'%s' does not say '%s'", error->message, words);
	env_close(&e);
}

static void say_nothing(struct env *e)
{
}

static void say_half(struct env *e)
{
	g_assert_cmpint(write(e->server, "\1\0\0\0\5\0", 6), ==, 6);
}

static void say_other_request(struct env *e)
{
	answer(e, GET_QUEUE_NUM, VERSION_1);
}

static void say_other_version(struct env *e)
{
	put(e, GET_FEATURES, 6, 8, VERSION_1);
}

static void say_other_size(struct env *e)
{
	put(e, GET_FEATURES, 5, 0xfffffff0, VERSION_1);
}

static void say_legacy(struct env *e)
{
	answer(e, GET_FEATURES, PROTOCOL);
}

static void say_few_queues(struct env *e)
{
	answer(e, GET_FEATURES, VERSION_1 | PROTOCOL);
	answer(e, GET_PROTOCOL_FEATURES, 1);
	answer(e, GET_QUEUE_NUM, 1);
}

static void test_refusals(void)
{
	refused(say_nothing, "is gone");
	refused(say_half, "is gone");
	refused(say_other_request, "something else");
	refused(say_other_version, "something else");
	refused(say_other_size, "something else");
	refused(say_legacy, "older than virtio 1");
	refused(say_few_queues, "1 queue pairs, not queues=2");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/net/vhost-user/conversation", test_conversation);
	g_test_add_func("/net/vhost-user/unasked", test_unasked);
	g_test_add_func("/net/vhost-user/refusals", test_refusals);
	return g_test_run();
}
