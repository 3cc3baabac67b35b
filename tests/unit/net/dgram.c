/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets in datagrams: both ends of each kind of cable, and -netdev socket, which has other words. */
#include "base/fd.h"
#include "ends.h"

#include <glib/gstdio.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* "a=b,c=d" as the back end's arguments. */
static void open_end(struct end *end, struct aio_loop *loop, const char *type, const char *options,
		     GError **error)
{
	g_auto(GStrv) parts = g_strsplit(options, ",", -1);
	const char *keys[8] = {NULL}, *values[8] = {NULL};
	for (unsigned i = 0; parts[i]; i++) {
		char *equals = strchr(parts[i], '=');
		*equals = '\0';
		keys[i] = parts[i];
		values[i] = equals + 1;
	}
	end_open_with(end, loop, type, keys, values, error);
}

static void good_end(struct end *end, struct aio_loop *loop, const char *type, const char *options)
{
	g_autoptr(GError) error = NULL;
	open_end(end, loop, type, options, &error);
	g_assert_no_error(error);
}

/* A port of UDP that nobody has now. */
static unsigned free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	auto_fd fd = socket(AF_INET, SOCK_DGRAM, 0);
	g_assert_cmpint(bind(fd, (struct sockaddr *)&address, length), ==, 0);
	g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &length), ==, 0);
	return ntohs(address.sin_port);
}

/* Packets both ways; `own`: a sender hears itself. */
static void check_pair(struct aio_loop *loop, struct end *a, struct end *b, bool own)
{
	g_assert_true(send_bytes(a, 1514, 7));
	pump(loop, &b->count, 1);
	g_assert_cmpuint(b->lengths[0], ==, 1514);
	g_assert_cmpuint(b->last, ==, 7);
	g_assert_true(send_bytes(b, 60, 8));
	pump(loop, &a->count, own ? 2 : 1);
	g_assert_cmpuint(a->last, ==, 8);
	/* A guest without room gets it later. */
	unsigned before = b->count;
	b->room = false;
	g_assert_true(send_bytes(a, 100, 9));
	for (unsigned i = 0; i < 5; i++)
		aio_loop_iterate(loop, 10000000);
	g_assert_cmpuint(b->count, ==, before);
	b->room = true;
	b->net->ops->receive_ready(b->net, 0);
	for (unsigned i = 0; i < 500 && b->last != 9; i++)
		aio_loop_iterate(loop, 10000000);
	g_assert_cmpuint(b->last, ==, 9);
	/* Nor is one lost for which there turns out to be too little room. */
	before = b->count;
	b->little_room = true;
	g_assert_true(send_bytes(a, 500, 10));
	g_assert_true(send_bytes(a, 60, 11));
	for (unsigned i = 0; i < 5; i++)
		aio_loop_iterate(loop, 10000000);
	b->little_room = false;
	b->net->ops->receive_ready(b->net, 0);
	g_assert_cmpuint(b->count, >, before);
	pump(loop, &b->count, before + 2);
	/* A cable that is pulled out. */
	before = b->count;
	net_backend_set_link(a->net, false);
	g_assert_true(send_bytes(a, 60, 1));
	aio_loop_iterate(loop, 10000000);
	g_assert_cmpuint(b->count, ==, before);
	net_backend_free(a->net);
	net_backend_free(b->net);
}

static void test_udp(void)
{
	struct aio_loop *loop = aio_loop_new(NULL);
	struct end a, b;
	unsigned one = free_port(), two = free_port();
	static const char *const hosts[] = {"127.0.0.1", "::1"};
	for (unsigned i = 0; i < G_N_ELEMENTS(hosts); i++) {
		g_autofree char *here = g_strdup_printf(
			"local.type=inet,local.host=%s,local.port=%u,remote.type=inet,remote.host=%s,"
			"remote.port=%u", hosts[i], one, hosts[i], two);
		g_autofree char *there = g_strdup_printf("udp=%s%s%s:%u,localaddr=%s%s%s:%u", i ? "[" : "",
							 hosts[i], i ? "]" : "", one, i ? "[" : "", hosts[i],
							 i ? "]" : "", two);
		good_end(&a, loop, "dgram", here);
		/* Nobody is there yet: packets are lost, and the socket's error ends nothing. */
		g_assert_true(send_bytes(&a, 60, 1));
		g_assert_true(send_bytes(&a, 60, 1));
		aio_loop_iterate(loop, 1000000);
		good_end(&b, loop, "socket", there);
		check_pair(loop, &a, &b, false);
	}
	aio_loop_free(loop);
}

static void test_unix(void)
{
	struct aio_loop *loop = aio_loop_new(NULL);
	struct end a, b;
	g_autofree char *folder = g_dir_make_tmp("berth-test-XXXXXX", NULL);
	g_autofree char *one = g_strdup_printf("local.type=unix,local.path=%s/a,remote.type=unix,"
					       "remote.path=%s/b", folder, folder);
	g_autofree char *two = g_strdup_printf("local.type=unix,local.path=%s/b,remote.type=unix,"
					       "remote.path=%s/a", folder, folder);
	g_autoptr(GError) error = NULL;
	good_end(&a, loop, "dgram", one);
	g_assert_true(send_bytes(&a, 60, 1));
	good_end(&b, loop, "dgram", two);
	struct end rival;
	open_end(&rival, loop, "dgram", two, &error);
	g_assert_null(rival.net);
	g_assert_nonnull(strstr(error->message, "cannot receive datagrams at"));
	/* A peer that is behind holds the sender up, and nothing is lost. */
	unsigned sent = 0;
	b.room = false;
	while (send_bytes(&a, 60, 2)) {
		g_assert_cmpuint(++sent, <, 10000);
		aio_loop_iterate(loop, 0);
	}
	pump(loop, &a.writable, 1);
	b.room = true;
	b.net->ops->receive_ready(b.net, 0);
	pump(loop, &b.count, sent);
	a.count = b.count = 0;
	check_pair(loop, &a, &b, false);
	/* Nothing of it stays. */
	g_assert_cmpint(g_rmdir(folder), ==, 0);
	aio_loop_free(loop);
}

static void test_group(void)
{
	struct aio_loop *loop = aio_loop_new(NULL);
	struct end a, b;
	unsigned port = free_port();
	g_autofree char *one = g_strdup_printf("mcast=239.193.7.9:%u,localaddr=127.0.0.1", port);
	g_autofree char *two = g_strdup_printf("remote.type=inet,remote.host=239.193.7.9,remote.port=%u,"
					       "local.type=inet,local.host=127.0.0.1", port);
	good_end(&a, loop, "socket", one);
	good_end(&b, loop, "dgram", two);
	check_pair(loop, &a, &b, true);
	aio_loop_free(loop);
}

static void test_fd(void)
{
	struct aio_loop *loop = aio_loop_new(NULL);
	struct end a, b;
	int fds[2];
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), ==, 0);
	g_autofree char *one = g_strdup_printf("local.type=fd,local.str=%d", fds[0]);
	g_autofree char *two = g_strdup_printf("fd=%d", fds[1]);
	good_end(&a, loop, "dgram", one);
	good_end(&b, loop, "socket", two);
	check_pair(loop, &a, &b, false);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
	g_autofree char *three = g_strdup_printf("fd=%d", fds[0]), *four = g_strdup_printf("fd=%d", fds[1]);
	good_end(&a, loop, "socket", three);
	good_end(&b, loop, "socket", four);
	check_pair(loop, &a, &b, false);
	aio_loop_free(loop);
}

static void test_streams(void)
{
	struct aio_loop *loop = aio_loop_new(NULL);
	struct end a, b;
	unsigned port = free_port();
	g_autofree char *one = g_strdup_printf("listen=127.0.0.1:%u", port);
	g_autofree char *two = g_strdup_printf("connect=127.0.0.1:%u", port);
	good_end(&a, loop, "socket", one);
	good_end(&b, loop, "socket", two);
	aio_loop_iterate(loop, 1000000000);
	check_pair(loop, &a, &b, false);
	aio_loop_free(loop);
}

static void test_refused(void)
{
	struct aio_loop *loop = aio_loop_new(NULL);
	static const struct {
		const char *type, *options, *words;
	} cases[] = {
		{"dgram", "remote.type=inet,remote.host=127.0.0.1,remote.port=5", "local.type= is inet, unix or fd"},
		{"dgram", "local.type=inet,local.host=127.0.0.1", "local.port= is missing"},
		{"dgram", "local.type=unix", "local.path= is missing"},
		{"dgram", "local.type=unix,local.path=/x,remote.type=inet", "remote.type=unix"},
		{"dgram", "local.type=inet,local.port=5,remote.type=inet", "remote.host="},
		{"dgram", "local.type=fd,local.str=0x", "is not the number of an open datagram socket"},
		{"dgram", "remote.type=inet,remote.host=239.1.1.1", "remote.port= is missing"},
		{"dgram", "local.type=pigeon,local.path=/x", "local.type= is inet, unix or fd"},
		{"dgram", "local.kind=unix,local.type=unix", "local.kind"},
		{"socket", "listen=127.0.0.1:5,connect=127.0.0.1:6", "give one of"},
		{"socket", "localaddr=127.0.0.1:6", "give one of"},
		{"socket", "connect=127.0.0.1", "must be HOST:PORT"},
		{"socket", "udp=127.0.0.1:5", "needs localaddr="},
		{"socket", "listen=127.0.0.1:5,localaddr=127.0.0.1", "localaddr= is for"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		struct end end;
		open_end(&end, loop, cases[i].type, cases[i].options, &error);
		g_assert_null(end.net);
		g_assert_nonnull(error);
		if (!strstr(error->message, cases[i].words))
			g_error("%s: %s", cases[i].options, error->message);
	}
	aio_loop_free(loop);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/net/dgram/udp", test_udp);
	g_test_add_func("/net/dgram/unix", test_unix);
	g_test_add_func("/net/dgram/group", test_group);
	g_test_add_func("/net/dgram/fd", test_fd);
	g_test_add_func("/net/dgram/streams", test_streams);
	g_test_add_func("/net/dgram/refused", test_refused);
	return g_test_run();
}
