/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile NBD clients. The input is what a client sends: flags, options, requests. The server has a
 * small writable image, must answer or hang up, and be able to end.
 */
#include "aio/loop.h"
#include "aio/net.h"
#include "base/log.h"
#include "block/core/image.h"
#include "block/export/nbd_server.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IMAGE_SIZE (1 << 20)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Made once; a fuzzer is one process with one job. */
static struct {
	struct aio_loop *loop;
	struct block_graph *graph;
	struct block_node *node;
	struct nbd_server *server;
	char socket[64];
	bool gone;
} fuzz;

static void client_gone(void *opaque, unsigned clients)
{
	fuzz.gone = true;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[64];
	log_setup("fuzz", LOG_LEVEL_ERROR, stderr);
	fuzz.loop = aio_loop_new(NULL);
	fuzz.graph = block_graph_new(fuzz.loop);
	g_snprintf(path, sizeof(path), "/dev/shm/berth-fuzz-%d.qcow2", getpid());
	g_snprintf(fuzz.socket, sizeof(fuzz.socket), "/tmp/berth-fuzz-%d.sock", getpid());
	assert(block_create(path, "qcow2", IMAGE_SIZE, NULL, fuzz.loop, NULL));
	const struct block_open_options options = {.filename = path, .format = "qcow2",
						   .graph = fuzz.graph, .no_flush = true,
						   .discard = true, .aio = BLOCK_AIO_THREADS};
	fuzz.node = block_open(&options, fuzz.loop, NULL);
	assert(fuzz.node);
	unlink(path);
	const struct nbd_address address = {.type = NBD_UNIX, .path = fuzz.socket};
	const struct nbd_server_options server = {.client_gone = client_gone};
	fuzz.server = nbd_server_new(&address, &server, fuzz.loop, NULL);
	assert(fuzz.server);
	const struct nbd_export_options export = {.id = "e", .name = "e", .description = "text",
						  .writable = true, .allocation_depth = true};
	assert(nbd_server_add(fuzz.server, fuzz.graph, fuzz.node, &export, NULL));
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A client that writes more than the kernel takes at once would block: we are one thread. */
	size = MIN(size, 32768);
	int fd = net_connect_unix(fuzz.socket, NULL);
	assert(fd >= 0);
	fuzz.gone = false;
	assert(send(fd, data, size, MSG_NOSIGNAL) == (ssize_t)size);
	shutdown(fd, SHUT_WR);
	while (!fuzz.gone) {
		char waste[65536];
		aio_loop_iterate(fuzz.loop, 1000 * 1000);
		while (recv(fd, waste, sizeof(waste), MSG_DONTWAIT) > 0) {
		}
	}
	close(fd);
	return 0;
}
