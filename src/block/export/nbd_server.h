/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An NBD server: images by name for clients on a socket. berth-img serve and the monitor's
 * nbd-server-start use it. One thread, the loop's; each client has fibers of its own.
 */
#pragma once

#include "block/core/block.h"
#include "block/nbd/address.h"

struct nbd_server;
struct nbd_tls_creds;

struct nbd_server_options {
	unsigned max_connections; /* 0: any number */
	struct nbd_tls_creds *tls; /* borrowed; clients must use TLS then. NULL: in the clear */
	/* A client has gone; `clients` are left. May be NULL. */
	void (*client_gone)(void *opaque, unsigned clients);
	void *opaque;
};

/* Listens. `loop` is that of the images. NULL with *error set. */
struct nbd_server *nbd_server_new(const struct nbd_address *address,
				  const struct nbd_server_options *options, struct aio_loop *loop,
				  GError **error);
/* Hangs up on all clients and waits for their requests. Main thread. */
void nbd_server_free(struct nbd_server *server);

struct nbd_export_options {
	const char *id, *name, *description; /* name: what clients ask for; description may be NULL */
	bool writable, writethrough, allocation_depth;
	const char *const *bitmaps; /* names, ended by NULL; NULL: none */
};
/* `node` is borrowed: the export has a root of its own over it, in `graph` (or NULL). */
bool nbd_server_add(struct nbd_server *server, struct block_graph *graph, struct block_node *node,
		    const struct nbd_export_options *options, GError **error);
/* By id. `hard`: hang up on its clients; else an export in use is an error. */
bool nbd_server_remove(struct nbd_server *server, const char *id, bool hard, GError **error);
/* BlockExportInfo of each. Free with json_decref(). */
json_t *nbd_server_describe(const struct nbd_server *server);
