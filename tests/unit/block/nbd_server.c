/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The NBD server and clients that stop to listen: nobody waits for them. */
#include "aio/loop.h"
#include "aio/net.h"
#include "base/bytes.h"
#include "block/core/image.h"
#include "block/export/nbd_server.h"
#include "block/nbd/wire.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	IMAGE_SIZE = 4 << 20,
	/* More than a socket takes while nobody reads. */
	ANSWER_SIZE = 2 << 20,
	INFO_REQUESTS = 900, /* their answers, too */
	/* Seconds until a test that hangs is ended: less than the server gives a handshake. */
	PATIENCE = 20,
};

struct fixture {
	struct aio_loop *loop;
	struct block_graph *graph;
	struct block_node *node;
	struct nbd_server *server;
	char image[64], socket[64];
	int client;
	bool gone;
};

static void client_gone(void *opaque, unsigned clients)
{
	((struct fixture *)opaque)->gone = true;
}

static void setup(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	alarm(PATIENCE);
	f->loop = aio_loop_new(NULL);
	f->graph = block_graph_new(f->loop);
	g_snprintf(f->image, sizeof(f->image), "/tmp/berth-nbd-server-%d.raw", getpid());
	g_snprintf(f->socket, sizeof(f->socket), "/tmp/berth-nbd-server-%d.sock", getpid());
	block_create(f->image, "raw", IMAGE_SIZE, NULL, f->loop, &error);
	g_assert_no_error(error);
	const struct block_open_options open = {.filename = f->image, .format = "raw",
						.graph = f->graph};
	f->node = block_open(&open, f->loop, &error);
	g_assert_no_error(error);
	const struct nbd_address address = {.type = NBD_UNIX, .path = f->socket};
	const struct nbd_server_options options = {.client_gone = client_gone, .opaque = f};
	f->server = nbd_server_new(&address, &options, f->loop, &error);
	g_assert_no_error(error);
	const struct nbd_export_options export = {.id = "e", .name = "e"};
	nbd_server_add(f->server, f->graph, f->node, &export, &error);
	g_assert_no_error(error);
	f->client = net_connect_unix(f->socket, &error);
	g_assert_no_error(error);
}

static void teardown(struct fixture *f, gconstpointer data)
{
	nbd_server_free(f->server);
	block_close(f->node);
	block_graph_free(f->graph);
	aio_loop_free(f->loop);
	close(f->client);
	unlink(f->image);
	alarm(0);
}

static void say(struct fixture *f, const void *bytes, size_t length)
{
	g_assert_cmpint(send(f->client, bytes, length, MSG_NOSIGNAL), ==, length);
}

static unsigned put_option(uint8_t *at, uint32_t number, const void *data, uint32_t length)
{
	be64_store(at, NBD_OPTION_MAGIC);
	be32_store(at + 8, number);
	be32_store(at + 12, length);
	memcpy(at + 16, data, length);
	return 16 + length;
}

/* Let the server come as far as it can with what was said. */
static void settle(struct fixture *f)
{
	for (unsigned i = 0; i < 50; i++)
		aio_loop_iterate(f->loop, 2 * 1000 * 1000);
}

static void test_gone_before_the_answer(struct fixture *f, gconstpointer data)
{
	uint8_t flags[4] = {0}, option[32], request[NBD_REQUEST_SIZE] = {0};
	say(f, flags, sizeof(flags));
	say(f, option, put_option(option, NBD_OPT_EXPORT_NAME, "e", 1));
	be32_store(request, NBD_REQUEST_MAGIC);
	be16_store(request + 6, NBD_CMD_READ);
	be32_store(request + 24, ANSWER_SIZE);
	say(f, request, sizeof(request));
	settle(f);
	g_assert_false(f->gone);
	shutdown(f->client, SHUT_WR);
	while (!f->gone)
		aio_loop_iterate(f->loop, -1);
}

static void test_removal_while_asked(struct fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	static const uint8_t flags[4] = {0, 0, 0, NBD_HANDSHAKE_FIXED};
	static const uint8_t about[] = {0, 0, 0, 1, 'e', 0, 0}; /* the export "e", with no wishes */
	uint8_t options[INFO_REQUESTS * 32];
	unsigned length = 0;
	/* Nobody reads the answers, so one of them is under way when the socket is full. */
	for (unsigned i = 0; i < INFO_REQUESTS; i++)
		length += put_option(options + length, NBD_OPT_INFO, about, sizeof(about));
	say(f, flags, sizeof(flags));
	say(f, options, length);
	settle(f);
	g_assert_false(nbd_server_remove(f->server, "e", false, &error));
	g_assert_nonnull(strstr(error->message, "still in use"));
	g_clear_error(&error);
	g_assert_true(nbd_server_remove(f->server, "e", true, &error));
	g_assert_no_error(error);
	g_assert_true(f->gone);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add("/nbd-server/gone-before-the-answer", struct fixture, NULL, setup,
		   test_gone_before_the_answer, teardown);
	g_test_add("/nbd-server/removal-while-asked", struct fixture, NULL, setup,
		   test_removal_while_asked, teardown);
	return g_test_run();
}
