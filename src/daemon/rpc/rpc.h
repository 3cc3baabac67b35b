/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the RPC layer gives to the rooms that serve calls.
 *
 * A room defines `void serve_NAME(struct rpc_call *call, const struct remote_NAME_args *args)` for
 * each line of schema/remote.rpc that names it (prototypes: daemon/rpc/serve.h). The function must
 * end the call exactly once, then or later, with rpc_call_reply() or rpc_call_fail(); it must not
 * block. `args` and what is allocated from rpc_call_arena() live until then. Many calls of a client
 * may be open at a time, and they may end in any order; a client that goes away meanwhile is no
 * concern of the room.
 *
 * Everything here belongs to the thread of the daemon's loop.
 */
#pragma once

#include "codec/remote.h"
#include "daemon/daemon.h"
#include "daemon/rpc/error.h"

struct rpc_call;
struct rpc_client;
struct rpc_server;
struct rpc_stream;

/* --- Calls ---------------------------------------------------------------------------------- */

struct daemon *rpc_call_daemon(const struct rpc_call *call);
struct arena *rpc_call_arena(struct rpc_call *call);
/*
 * For calls of which only some arguments are not for everybody: rpc_call_may_show() for a flag that
 * asks for secrets. They fail the call and return false on a connection that may only read.
 */
bool rpc_call_needs_write(struct rpc_call *call);
bool rpc_call_may_show(struct rpc_call *call, bool secrets);
/* Kinds of objects that access rules tell apart. */
enum rpc_kind {
	RPC_HOST, RPC_DOMAIN, RPC_POOL, RPC_NETWORK, RPC_NWFILTER, RPC_NODEDEV, RPC_SECRET,
	RPC_INTERFACE,
};
/*
 * Do the access rules let the caller do to the object what the call does? Otherwise the call has failed.
 * `name` is the object's own, not what the client said that it is.
 */
bool rpc_call_may(struct rpc_call *call, enum rpc_kind kind, const char *name);
/* May the caller read the object? For lists and counts of objects; the call goes on. */
bool rpc_call_sees(struct rpc_call *call, enum rpc_kind kind, const char *name);
/* End the call; `ret` is its struct remote_NAME_ret, or NULL if it has none. */
void rpc_call_reply(struct rpc_call *call, const void *ret);
/* End the call with an error, which is freed. */
void rpc_call_fail(struct rpc_call *call, GError *error);
/* Fails the call and returns false if `flags` has others than `allowed`. */
bool rpc_call_check_flags(struct rpc_call *call, uint32_t flags, uint32_t allowed);
/* The flags of lists come in pairs: neither or both of a pair means all. */
static inline bool rpc_list_passes(uint32_t flags, uint32_t yes, uint32_t no, bool is)
{
	return !(flags & (yes | no)) || flags & (is ? yes : no);
}

/* --- Streams -------------------------------------------------------------------------------- */

/*
 * A byte stream that runs beside a call's answer: consoles, volumes. Open it before ending the call.
 * The owner's functions are called until `closed`, which is the last and after which the stream is
 * gone. NULL functions are allowed but for `closed`.
 */
struct rpc_stream_ops {
	void (*received)(void *opaque, const uint8_t *data, size_t length);
	/* So many zero bytes, which were not sent. NULL: the stream has no holes. */
	void (*received_hole)(void *opaque, uint64_t length);
	/* The client will send no more, and waits for the answer: rpc_stream_end(). */
	void (*finished)(void *opaque);
	/* Room to send again after rpc_stream_send() said that it is full. */
	void (*drained)(void *opaque);
	/* The client aborted it or is gone, or the owner ended it. */
	void (*closed)(void *opaque);
};
struct rpc_stream *rpc_stream_open(struct rpc_call *call, const struct rpc_stream_ops *ops,
				   void *opaque);
/* Returns false if the client reads too slowly: wait for drained() before sending more. */
bool rpc_stream_send(struct rpc_stream *stream, const uint8_t *data, size_t length);
/* So many zero bytes; only to a client that has asked for holes. As rpc_stream_send(). */
bool rpc_stream_send_hole(struct rpc_stream *stream, uint64_t length);
/*
 * The owner cannot take more now: nothing is read from the client until it can. Ends with the
 * stream.
 */
void rpc_stream_hold(struct rpc_stream *stream, bool hold);
/* No more data comes from us; the client will finish. */
void rpc_stream_send_eof(struct rpc_stream *stream);
/* Answer `finished`, or end with an error (freed). closed() is called before this returns. */
void rpc_stream_end(struct rpc_stream *stream, GError *error);

/* --- Events --------------------------------------------------------------------------------- */

/*
 * Who wants to hear of what. `family` keeps the event numbers of domains, networks... apart, and
 * `uuid` (16 bytes, or NULL for all) limits it to one object.
 */
enum rpc_event_family {
	RPC_EVENT_DOMAIN, RPC_EVENT_DOMAIN_LEGACY, RPC_EVENT_STORAGE_POOL, RPC_EVENT_SECRET,
	RPC_EVENT_NODE_DEVICE, RPC_EVENT_NETWORK,
};
/*
 * The callback's id, unique among all clients; or -1 with the call failed: a client has as many as one
 * may have, for every event looks at all of them.
 */
int rpc_event_register(struct rpc_call *call, enum rpc_event_family family, int event,
		       const uint8_t *uuid);
/* By id; false if the client has no such registration. */
bool rpc_event_deregister(struct rpc_call *call, enum rpc_event_family family, int id);
/* By number, for the legacy family, which knows no ids. */
bool rpc_event_deregister_number(struct rpc_call *call, enum rpc_event_family family, int event);
/*
 * Send the message `procedure` to all that are registered. `id` is where in `body` the callback's
 * id goes, or NULL.
 */
void rpc_event_emit(struct rpc_server *server, enum rpc_event_family family, int event,
		    const uint8_t *uuid, enum remote_procedure procedure, const void *body,
		    int32_t *id);

/* --- The server ----------------------------------------------------------------------------- */

struct rpc_limits {
	unsigned clients;       /* at a time; more are turned away */
	unsigned anonymous;     /* that have not said who they are; more wait */
	unsigned anonymous_s;   /* until one that has not said it is closed */
	unsigned calls;         /* open calls of one client, before it is not read from */
	unsigned rate;          /* calls a second of one client, likewise; 0: any */
	size_t queued;          /* bytes waiting to be sent to one client, likewise */
	unsigned keepalive_s;   /* between pings to clients that want them */
	unsigned keepalive_misses;
};
extern const struct rpc_limits rpc_default_limits;

struct rpc_server *rpc_server_new(struct daemon *daemon, const struct rpc_limits *limits);
struct rules;
/* From now on calls are checked by `rules`, which are taken: rules.h. */
void rpc_server_set_rules(struct rpc_server *server, struct rules *rules);
/* Closes all clients. */
void rpc_server_free(struct rpc_server *server);

/* Where clients come in, and what they must show there. */
struct rpc_door {
	const char *name;         /* for the log: "unix", "tcp", "tls" */
	bool readonly;
	bool sasl;                /* they must authenticate */
	bool remote;              /* others can listen: without TLS a SASL layer must encrypt */
	unsigned min_ssf;         /* with at least so many bits */
	struct tls_server *tls;   /* NULL: no TLS */
	const char *const *users; /* patterns of the names of SASL that may come in; NULL: all */
};
/* Serve who connects to the listening socket `fd`, which is taken. `door` outlives the server. */
void rpc_server_listen(struct rpc_server *server, int fd, const struct rpc_door *door);
/* How long there has been no client; 0 while there is one. */
int64_t rpc_server_idle_ns(const struct rpc_server *server);
