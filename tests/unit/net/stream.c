/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets on a stream socket: two back ends, a peer that cuts packets anywhere, a hostile one. */
#include "aio/net.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "ends.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>

struct env {
	char *folder, *path;
	struct aio_loop *loop;
};

static void env_open(struct env *e)
{
	*e = (struct env){.folder = g_dir_make_tmp("berth-test-XXXXXX", NULL), .loop = aio_loop_new(NULL)};
	e->path = g_build_filename(e->folder, "s", NULL);
}

static void env_close(struct env *e)
{
	aio_loop_free(e->loop);
	g_unlink(e->path);
	g_assert_cmpint(g_rmdir(e->folder), ==, 0);
	g_free(e->path);
	g_free(e->folder);
}

static void end_open(struct end *end, struct env *e, const char *option, const char *value, GError **error)
{
	const char *const keys[] = {"addr.type", "addr.path", option, NULL};
	const char *const values[] = {"unix", e->path, value, NULL};
	end_open_with(end, e->loop, "stream", keys, values, error);
}

static void test_pair(void)
{
	struct env e;
	struct end server, client;
	g_autoptr(GError) error = NULL;
	env_open(&e);
	end_open(&server, &e, "server", "on", &error);
	g_assert_no_error(error);
	g_assert_true(send_bytes(&server, 60, 1)); /* to nobody */
	end_open(&client, &e, "server", "off", &error);
	g_assert_no_error(error);
	aio_loop_iterate(e.loop, 1000000000);
	g_assert_true(send_bytes(&client, 1514, 7));
	g_assert_true(send_bytes(&client, 65549, 8));
	pump(e.loop, &server.count, 2);
	g_assert_cmpuint(server.lengths[0], ==, 1514);
	g_assert_cmpuint(server.lengths[1], ==, 65549);
	g_assert_cmpuint(server.last, ==, 8);
	g_assert_true(send_bytes(&server, 42, 9));
	pump(e.loop, &client.count, 1);
	g_assert_cmpuint(client.lengths[0], ==, 42);

	/* A guest without room holds the sender up, and loses nothing. */
	server.room = false;
	unsigned sent = 0;
	while (send_bytes(&client, 60000, 10)) {
		g_assert_cmpuint(++sent, <, 10000);
		aio_loop_iterate(e.loop, 0);
	}
	server.room = true;
	server.net->ops->receive_ready(server.net, 0);
	pump(e.loop, &server.count, 2 + sent);
	g_assert_cmpuint(client.writable, ==, 1);
	/* A cable that is pulled out. */
	net_backend_set_link(client.net, false);
	g_assert_true(send_bytes(&client, 60, 1));
	aio_loop_iterate(e.loop, 1000000);
	g_assert_cmpuint(server.count, ==, 2 + sent);
	net_backend_free(client.net);
	net_backend_free(server.net);
	env_close(&e);
}

/* Packets that arrive a byte at a time; then one that is too long, and the server takes the next peer. */
static void test_pieces(void)
{
	struct env e;
	struct end server;
	const uint8_t bytes[] = {0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 2, 4, 5}, huge[] = {0, 1, 1, 0}, none[4] = {0};
	const uint8_t *const bad[] = {huge, none};
	env_open(&e);
	end_open(&server, &e, "server", "on", NULL);
	for (unsigned round = 0; round < G_N_ELEMENTS(bad); round++) {
		auto_fd peer = net_connect_unix(e.path, NULL);
		for (unsigned i = 0; i < sizeof(bytes); i++) {
			g_assert_cmpint(write(peer, bytes + i, 1), ==, 1);
			aio_loop_iterate(e.loop, i ? 1000000000 : 1000000);
		}
		pump(e.loop, &server.count, 2 * round + 2);
		g_assert_cmpuint(server.last, ==, 5);
		g_assert_cmpint(write(peer, bad[round], 4), ==, 4);
		char end;
		fcntl(peer, F_SETFL, O_NONBLOCK);
		for (unsigned i = 0; i < 500 && read(peer, &end, 1) != 0; i++)
			aio_loop_iterate(e.loop, 10000000);
		g_assert_cmpint(read(peer, &end, 1), ==, 0);
	}
	g_assert_cmpuint(server.lengths[0], ==, 3);
	g_assert_cmpuint(server.lengths[1], ==, 2);
	net_backend_free(server.net);
	env_close(&e);
}

static void test_reconnect(void)
{
	struct env e;
	struct end server, client;
	g_autoptr(GError) error = NULL;
	env_open(&e);
	end_open(&client, &e, "server", "off", &error);
	g_assert_null(client.net);
	g_assert_nonnull(error);
	end_open(&client, &e, "reconnect", "1", NULL);
	g_assert_nonnull(client.net);
	end_open(&server, &e, "server", "on", NULL);
	for (unsigned i = 0; i < 500 && !server.count; i++) {
		send_bytes(&client, 60, 3);
		aio_loop_iterate(e.loop, 10000000);
	}
	g_assert_cmpuint(server.count, >, 0);
	net_backend_free(client.net);
	net_backend_free(server.net);
	env_close(&e);
}

/* A peer that goes while both sides are held up: nothing can be done, and nothing is tried for ever. */
static void test_gone(void)
{
	struct env e;
	struct end server;
	const uint8_t packet[] = {0, 0, 0, 1, 5};
	char byte;
	env_open(&e);
	end_open(&server, &e, "server", "on", NULL);
	int peer = net_connect_unix(e.path, NULL);
	server.room = false;
	g_assert_cmpint(write(peer, packet, sizeof(packet)), ==, sizeof(packet));
	aio_loop_iterate(e.loop, 1000000000);
	for (unsigned sent = 0; send_bytes(&server, 60000, 1); sent++) {
		g_assert_cmpuint(sent, <, 10000);
		aio_loop_iterate(e.loop, 0);
	}
	g_assert_cmpint(read(peer, &byte, 1), ==, 1);
	close(peer);
	pump(e.loop, &server.writable, 1);
	int64_t begin = aio_now_ns();
	aio_loop_iterate(e.loop, 100000000);
	g_assert_cmpint(aio_now_ns() - begin, >=, 50000000);
	server.room = true;
	server.net->ops->receive_ready(server.net, 0);
	pump(e.loop, &server.count, 1);
	net_backend_free(server.net);
	env_close(&e);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/net/stream/pair", test_pair);
	g_test_add_func("/net/stream/pieces", test_pieces);
	g_test_add_func("/net/stream/reconnect", test_reconnect);
	g_test_add_func("/net/stream/gone", test_gone);
	return g_test_run();
}
