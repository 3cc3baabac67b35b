/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hostile NBD servers. The input is all that the server says; the client opens, looks, reads, writes. */
#include "aio/loop.h"
#include "base/log.h"
#include "block/core/image.h"

#include <assert.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(struct block_node *node)
{
	static uint8_t bytes[65536];
	uint64_t size = block_size(node), length = MIN(size, sizeof(bytes));
	struct block_extent extent;
	if (block_status(node, 0, size, &extent) == 0)
		assert(size == 0 || (extent.length && extent.length <= size));
	block_read_sync(node, 0, bytes, length, NULL);
	block_read_sync(node, size - length, bytes, length, NULL);
	block_write_sync(node, 0, bytes, MIN(length, 1000), NULL);
	block_flush_sync(node, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	log_setup("fuzz", LOG_LEVEL_ERROR, stderr);
	int ends[2];
	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	assert(send(ends[0], data, MIN(size, 32768), MSG_NOSIGNAL) == (ssize_t)MIN(size, 32768));
	shutdown(ends[0], SHUT_WR);
	struct aio_loop *loop = aio_loop_new(NULL);
	g_autofree char *number = g_strdup_printf("%d", ends[1]);
	json_t *dict = json_pack("{s:s, s:s, s:s, s:{s:s, s:s}}", "driver", "nbd", "export", "e",
				 "read-only", "off", "server", "type", "fd", "str", number);
	const struct block_open_options options = {.dict = dict, .auto_readonly = true};
	struct block_node *node = block_open(&options, loop, NULL);
	if (node)
		use(node);
	block_close(node);
	json_decref(dict);
	aio_loop_free(loop);
	close(ends[0]);
	close(ends[1]);
	return 0;
}
