/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The user-mode network answers a guest's ARP, and its options are checked. */
#include "aio/loop.h"
#include "aio/net.h"
#include "base/error.h"
#include "net/net.h"

#include <string.h>
#include <unistd.h>

struct guest {
	uint8_t packet[2048];
	size_t length;
	unsigned count;
	bool room;
};

static bool guest_can_receive(void *opaque, unsigned queue)
{
	return ((struct guest *)opaque)->room;
}

static bool guest_receive(void *opaque, unsigned queue, const struct iovec *iov, unsigned count)
{
	struct guest *guest = opaque;
	guest->length = 0;
	for (unsigned i = 0; i < count; i++) {
		memcpy(guest->packet + guest->length, iov[i].iov_base, iov[i].iov_len);
		guest->length += iov[i].iov_len;
	}
	guest->count++;
	return true;
}

/* Who has 10.0.2.2? Tell 10.0.2.15. */
static const uint8_t arp_request[42] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 6,
	0, 1, 8, 0, 6, 4, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 10, 0, 2, 15,
	0, 0, 0, 0, 0, 0, 10, 0, 2, 2,
};

static bool is_arp_reply(const struct guest *guest)
{
	return guest->length >= 42 && guest->packet[12] == 8 && guest->packet[13] == 6 &&
	       guest->packet[21] == 2;
}

static void test_arp(void)
{
	struct aio_loop *loop = aio_loop_new(NULL);
	g_autoptr(GError) error = NULL;
	const struct net_host host = {.loop = loop};
	struct net_backend *net = net_backend_new("user", "n0", NULL, NULL, &host, &error);
	g_assert_no_error(error);
	struct guest guest = {.room = false};
	const struct net_receiver receiver = {.can_receive = guest_can_receive,
					      .receive = guest_receive, .opaque = &guest};
	net->ops->set_receiver(net, &receiver);
	net->ops->start(net);
	/* In two pieces, to a guest that has no room at first: the answer waits for it. */
	struct iovec iov[2] = {{(void *)arp_request, 14}, {(void *)(arp_request + 14), 28}};
	g_assert_true(net->ops->send(net, 0, iov, 2));
	for (unsigned i = 0; i < 5; i++)
		aio_loop_iterate(loop, 1000000);
	g_assert_cmpuint(guest.count, ==, 0);
	guest.room = true;
	net->ops->receive_ready(net, 0);
	while (!is_arp_reply(&guest))
		aio_loop_iterate(loop, 10000000);
	g_autofree char *text = net->ops->describe(net);
	g_assert_nonnull(strstr(text, "10.0.2.15"));
	net_backend_free(net);
	aio_loop_free(loop);
}

static struct net_backend *with(struct aio_loop *loop, const char *key, const char *value,
				GError **error)
{
	const char *keys[] = {key, NULL}, *values[] = {value, NULL};
	return net_backend_new("user", "n0", keys, values, &(struct net_host){.loop = loop}, error);
}

static void test_forward(void)
{
	struct aio_loop *loop = aio_loop_new(NULL);
	g_autoptr(GError) error = NULL;
	struct net_backend *net = NULL;
	unsigned port;
	/* Any free port will do; another program may have the first ones. */
	for (port = 34567; !net && port < 34600; port++) {
		g_autofree char *forward = g_strdup_printf("tcp:127.0.0.1:%u-:22", port);
		net = with(loop, "hostfwd", forward, NULL);
	}
	g_assert_nonnull(net);
	g_autofree char *taken = g_strdup_printf("tcp:127.0.0.1:%u-:22", port - 1);
	g_assert_null(with(loop, "hostfwd", taken, &error));
	g_assert_nonnull(strstr(error->message, "cannot listen"));
	g_autofree char *number = g_strdup_printf("%u", port - 1);
	int fd = net_connect_tcp("127.0.0.1", number, NULL);
	g_assert_cmpint(fd, >=, 0);
	close(fd);
	net_backend_free(net);
	aio_loop_free(loop);
}

static void test_bad_options(void)
{
	static const char *const bad[][2] = {
		{"net", "10.0.2.0/99"}, {"net", "x"}, {"host", "192.168.1.1"}, {"dns", "bad"},
		{"hostfwd", "tcp:22"}, {"hostfwd", "tcp:x:22-:22"}, {"hostfwd", "tcp::99999-:22"},
		{"guestfwd", "tcp:10.0.2.100:80"}, {"hostfwdd", "x"}, {"restrict", "maybe"},
		{"ipv6-prefix", "10.0.0.1"},
	};
	struct aio_loop *loop = aio_loop_new(NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_null(with(loop, bad[i][0], bad[i][1], &error));
		g_assert_nonnull(error);
		g_assert_null(strchr(error->message, '\n'));
	}
	g_autoptr(GError) error = NULL;
	g_assert_null(net_backend_new("l2tpv3", "n", NULL, NULL, &(struct net_host){.loop = loop}, &error));
	g_assert_error(error, BERTH_ERROR, BERTH_ERR_NOT_SUPPORTED);
	aio_loop_free(loop);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/net/user/arp", test_arp);
	g_test_add_func("/net/user/forward", test_forward);
	g_test_add_func("/net/user/bad-options", test_bad_options);
	return g_test_run();
}
