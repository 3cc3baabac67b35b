/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD client's parts: names and the driver (nbd.c), a connection's handshake (handshake.c), and
 * its requests and replies (link.c). What the server sends is not trusted: lengths, offsets and
 * handles are checked against what was asked.
 */
#pragma once

#include "block/core/driver.h"
#include "block/nbd/address.h"
#include "block/nbd/stream.h"
#include "block/nbd/wire.h"

#define NBD_LINK_CALLS 32
#define NBD_LINKS_MAX  16

/* What the handshake found out about an export. */
struct nbd_export_info {
	uint64_t size;
	uint16_t flags;
	uint32_t min_block, max_block; /* 0: the server did not say */
	bool structured;
	bool has_context; /* of block status: base:allocation or the one asked for */
	uint32_t context_id;
};

struct nbd_wish {
	const char *export, *context; /* context: of block status */
	bool want_structured;
	struct nbd_tls_creds *tls; /* or NULL */
	const char *hostname;      /* in its certificate */
};
/* On a fiber. The stream is the caller's, also on failure. */
bool nbd_handshake(struct nbd_stream *stream, const struct nbd_wish *wish,
		   struct nbd_export_info *info, GError **error);

/* One request on the wire. */
struct nbd_call {
	uint16_t command, flags;
	uint64_t offset;
	uint32_t length;
	const struct iovec *iov; /* for reads and writes: [skip, skip + length) of it */
	unsigned iov_count;
	uint64_t skip;
	/* The answer. */
	int result;
	uint32_t status_length, status_flags; /* of the first extent */
	bool has_status;
	/* While it is under way. */
	struct fiber *waiter;
	uint64_t handle;
	uint64_t received; /* bytes of data and holes so far */
	bool finished;
};

struct nbd_link {
	struct nbd_stream *stream;
	struct aio_loop *loop;
	struct nbd_export_info info;
	struct nbd_call *calls[NBD_LINK_CALLS];
	uint64_t next_handle;
	unsigned busy;
	bool dead, reading;
	struct fiber_mutex write_lock;
	struct fiber_queue slot_free, reader_ended;
};

/* Takes the stream, on which the handshake is over. */
struct nbd_link *nbd_link_new(struct nbd_stream *stream, const struct nbd_export_info *info,
			      struct aio_loop *loop);
/* On a fiber: say good-bye, wait until nothing of it runs, free. */
void nbd_link_free(struct nbd_link *link);
/* On a fiber. 0 or -errno; -EPIPE: the connection is lost. */
int nbd_link_call(struct nbd_link *link, struct nbd_call *call);
