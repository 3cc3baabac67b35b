/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The server's parts: listening and exports (nbd_server.c), options (nbd_options.c), requests
 * (nbd_session.c). */
#pragma once

#include "block/core/dirty.h"
#include "block/core/driver.h"
#include "block/export/nbd_server.h"
#include "block/nbd/stream.h"
#include "block/nbd/wire.h"

/* Of one client: requests at the same time, and bytes of theirs that we hold. */
#define NBD_SESSION_REQUESTS 64
#define NBD_SESSION_BYTES    (64 << 20)

/* Contexts of block status; bitmaps follow from NBD_CONTEXT_BITMAPS on. */
enum { NBD_CONTEXT_ALLOCATION, NBD_CONTEXT_DEPTH, NBD_CONTEXT_BITMAPS, NBD_CONTEXTS_MAX = 64 };

struct nbd_export {
	char *id, *name, *description;
	struct block_node *root;
	bool writable, allocation_depth;
	GPtrArray *bitmaps; /* struct block_dirty, each marked busy */
	unsigned sessions;
};

struct nbd_session {
	struct nbd_server *server;
	struct nbd_stream *stream;
	struct aio_loop *loop;
	struct nbd_export *export; /* NULL: still in the handshake */
	struct nbd_export *asked;  /* the answer about it is being sent */
	bool no_zeroes, structured, secure;
	uint64_t contexts;         /* a bit for each that was agreed on */
	char *contexts_of;         /* the export's name that they are for */
	unsigned requests;
	uint64_t bytes;
	struct fiber_mutex write_lock;
	struct fiber_queue room;
};

struct nbd_server {
	struct aio_loop *loop;
	struct nbd_server_options options;
	struct nbd_address address;
	int fd;
	struct aio_watch *watch;
	GPtrArray *exports;  /* struct nbd_export */
	GPtrArray *sessions; /* struct nbd_session */
	struct fiber_queue session_ended;
};

struct nbd_export *nbd_server_find(const struct nbd_server *server, const char *name);
uint16_t nbd_export_flags(const struct nbd_session *session, const struct nbd_export *export);
/* "base:allocation" and the like of this export; NULL: there is no such number. g_free(). */
char *nbd_context_name(const struct nbd_export *export, unsigned context);

/* On a fiber. False: hang up. True: session->export is set and requests follow. */
bool nbd_options_run(struct nbd_session *session);
/* On a fiber, until the client goes; requests under way have then ended. */
void nbd_requests_run(struct nbd_session *session);
