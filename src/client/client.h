/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client of libvirt's remote protocol: one connection, synchronous calls, events and streams. The
 * typed calls of client/calls.h are made from schema/remote.rpc; they all go through client_call().
 *
 * While a call waits, the connection answers the daemon's keepalive pings and sends its own: a
 * daemon that leaves six in a row unanswered is taken for dead. Events that come meanwhile are kept in order.
 *
 * A client belongs to one thread. Errors are CLIENT_ERROR with libvirt's number as code and
 * libvirt's text as message; what the daemon says arrives word by word.
 */
#pragma once

#include "codec/procedure.h"

struct client;
struct client_stream;

#define CLIENT_ERROR (client_error_quark())
GQuark client_error_quark(void);

/* Of libvirt's error numbers, those that a client looks at or makes itself. */
enum client_code {
	CLIENT_INTERNAL = 1, CLIENT_NO_SUPPORT = 3, CLIENT_NO_CONNECT = 5, CLIENT_INVALID_CONN = 6,
	CLIENT_INVALID_ARG = 8, CLIENT_OPERATION_FAILED = 9, CLIENT_SYSTEM = 38, CLIENT_RPC = 39,
	CLIENT_NO_DOMAIN = 42, CLIENT_AUTH_FAILED = 45, CLIENT_OPERATION_INVALID = 55,
	CLIENT_NO_DOMAIN_SNAPSHOT = 72, CLIENT_NO_DOMAIN_METADATA = 80, CLIENT_UNSUPPORTED = 84,
	CLIENT_NO_DOMAIN_CHECKPOINT = 103,
};

struct client_options {
	const char *uri; /* NULL or "": as client_default_uri() says */
	bool readonly;
	/* Of the daemon that is started for a session; NULL: found beside this program or in PATH. */
	const char *daemon;
	/* Seconds between pings while a call waits, and how many may stay unanswered; 0: 5 and 6.
	 * Negative: no pings, and none. */
	int keepalive_interval, keepalive_count;
};

/*
 * BERTH_URI, LIBVIRT_DEFAULT_URI, or where a daemon is: qemu:///system if its socket exists, else
 * qemu:///session. Free with g_free().
 */
char *client_default_uri(bool readonly);

/*
 * Connect, authenticate and open. NULL: *error says why. Supported are DRIVER[+TRANSPORT]://
 * [USER@][HOST][:PORT]/PATH[?PARAMETERS] with the transports unix, tcp, tls, ssh and ext; for the
 * user's own session a berthd is started if none answers.
 */
struct client *client_open(const struct client_options *options, GError **error);
/* Says goodbye if the connection still stands; NULL is allowed. */
void client_close(struct client *client);
/* As the daemon understands it, without transport and host; borrowed. */
const char *client_uri(const struct client *client);
/* The host part of the URI, or NULL; borrowed. */
const char *client_host(const struct client *client);
bool client_is_alive(const struct client *client);
/* Does the daemon have this feature (CONNECT_SUPPORTS_FEATURE)? Asked once. */
bool client_has(struct client *client, int feature);

/*
 * One call: `args` and `ret` are the structs that the schema makes for the procedure, NULL if it
 * has none. Strings and lists in *ret live until client_release().
 */
bool client_call(struct client *client, enum remote_procedure procedure, const void *args, void *ret,
		 GError **error);
/* As client_call(), of any program, with the descriptions given. */
bool client_call_program(struct client *client, uint32_t program, uint32_t procedure,
			 const struct xdr_type *args_type, const void *args,
			 const struct xdr_type *ret_type, void *ret, GError **error);
/*
 * As client_call(), for calls that take long: `tick` is called about every `interval_ms` and after a
 * signal while the daemon works. It may make calls of its own.
 */
typedef void client_tick_fn(void *opaque);
bool client_call_watched(struct client *client, enum remote_procedure procedure, const void *args,
			 void *ret, int interval_ms, client_tick_fn *tick, void *opaque, GError **error);
/*
 * Send copies of these descriptors along with the next call, which must be one that takes some.
 * Fails if the transport is no unix socket. 0 descriptors: nothing.
 */
bool client_pass_fds(struct client *client, const int *fds, unsigned count, GError **error);
/* Free what the calls so far have returned. */
void client_release(struct client *client);
/* Memory that lives as long as the results of calls. */
struct arena *client_arena(struct client *client);

/* --- Events ----------------------------------------------------------------------------------- */

struct client_event {
	uint32_t program, procedure;
	const void *args; /* the struct of the procedure; until the next event */
};
/*
 * Wait up to `timeout_ms` (-1: without end) for the next event. Returns 1 with *event set, 0 after
 * the time or when a signal came, -1 with *error if the connection is lost.
 */
int client_next_event(struct client *client, int timeout_ms, struct client_event *event,
		      GError **error);
/* Readable when something comes; for programs that wait for other things too. */
int client_fd(const struct client *client);

/* --- Streams ---------------------------------------------------------------------------------- */

/*
 * The stream that the last call (of a procedure that opens one) has opened. One at a time. Free
 * with client_stream_free(), which aborts it if it is not finished.
 */
struct client_stream *client_stream_new(struct client *client, enum remote_procedure procedure);
void client_stream_free(struct client_stream *stream);
bool client_stream_send(struct client_stream *stream, const void *bytes, size_t size, GError **error);
bool client_stream_send_hole(struct client_stream *stream, int64_t length, GError **error);
/*
 * The next piece: its bytes (*bytes, until the next call) or a hole (*bytes NULL). Returns 1, 0 at
 * the end of the stream, -1 with *error, or -2 if nothing came within `timeout_ms`.
 */
int client_stream_receive(struct client_stream *stream, int timeout_ms, const uint8_t **bytes,
			  int64_t *size, GError **error);
/* Tell the daemon that all is done and wait until it agrees. */
bool client_stream_finish(struct client_stream *stream, GError **error);
