/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of this room share. */
#pragma once

#include "codec/procedure.h"
#include "daemon/rpc/rpc.h"
#include "daemon/rpc/rules.h"
#include "daemon/rpc/wire.h"

struct rpc_server {
	struct daemon *daemon;
	struct rpc_limits limits;
	GPtrArray *listeners; /* struct listener */
	GPtrArray *clients;   /* struct rpc_client */
	struct rules *rules;  /* NULL: who is in may do everything */
	GPtrArray *events;    /* struct registration: event.c */
	int next_event_id;
	int64_t idle_since_ns; /* the last client left then */
	unsigned anonymous;   /* of the clients, those in a state before CLIENT_KNOWN */
	bool on_hold;         /* nobody can be accepted now */
	struct aio_timer keepalive;
};

enum client_state {
	CLIENT_SHAKES_HANDS,   /* TLS */
	CLIENT_AUTHENTICATES,  /* SASL */
	CLIENT_SWITCHES,       /* authenticated; its layer begins when the answer is out */
	CLIENT_KNOWN,
};

struct rpc_client {
	struct rpc_server *server;
	const struct rpc_door *door;
	enum client_state state;
	int fd;             /* of the wire; names the client in the log */
	struct wire wire;
	struct sasl_session *sasl;
	char *certificate;  /* distinguished name, NULL: none */
	char *user;         /* by SASL, NULL: none */
	struct caller caller;
	int64_t since_ns;
	double tokens;      /* calls that it may make now, if there is a rate */
	int64_t tokens_ns;  /* when they were counted */
	struct aio_timer refill;
	struct aio_watch *watch;
	GByteArray *in;     /* received, from in_at on not yet looked at */
	size_t in_at;
	GByteArray *out;    /* to send, from out_at on */
	size_t out_at;
	GPtrArray *calls;   /* open ones */
	GPtrArray *streams;
	bool readonly, opened, wants_keepalive;
	bool busy;          /* serving what came in: flush once at the end */
	bool dead;          /* closed; freed when the loop turns */
	bool ending;        /* said goodbye: close when all is sent */
	unsigned held;      /* streams whose owners cannot take more: it is not read from */
	unsigned unanswered_pings;
	unsigned registrations; /* for events */
};

struct rpc_call {
	struct rpc_client *client; /* NULL: gone */
	struct daemon *daemon;
	struct remote_header header;
	const struct remote_procedure_info *info;
	struct arena arena;
	int64_t started_ns;
	bool readonly;
	bool has_rules; /* the server's, when it began */
	bool checked;   /* a room has asked them */
};

/* server.c */
/* Take clients or not, by how many there are. */
void server_update_listeners(struct rpc_server *server);
/* Take none for a while, or again. */
void server_hold(struct rpc_server *server, bool hold);

/* client.c */
/* Takes `fd` and `tls`, which may be NULL. */
void client_new(struct rpc_server *server, const struct rpc_door *door, int fd,
		gnutls_session_t tls);
/* It is who it says: it may open its connection. */
void client_admit(struct rpc_client *client);
void client_close(struct rpc_client *client, const char *why);
void client_ping(struct rpc_client *client);
/* Queue a message; `type` and `body` may be NULL, otherwise `bytes` follow the header. */
void client_send(struct rpc_client *client, const struct remote_header *header,
		 const struct xdr_type *type, const void *body);
void client_send_bytes(struct rpc_client *client, const struct remote_header *header,
		       const uint8_t *bytes, size_t length);
void client_send_error(struct rpc_client *client, const struct remote_header *header,
		       enum remote_type type, const GError *error);
bool client_is_full(const struct rpc_client *client);
/* Streams and calls stop at the limit: so much more than that is events, which nothing else limits. */
bool client_is_flooded(const struct rpc_client *client);
/* After a call has ended or a queue is shorter: read on. */
void client_resume(struct rpc_client *client);

/* call.c */
void call_begin(struct rpc_client *client, const struct remote_header *header,
		const uint8_t *payload, size_t length);
void call_orphan(struct rpc_call *call);

/* access.c */
/* Find out who is at the other end of a Unix socket. */
void access_identify(struct rpc_client *client);
/* May the call be made, as far as can be said before it? */
bool access_check(struct rpc_client *client, const struct remote_procedure_info *info, GError **error);
/*
 * What of an answer the caller may have: `ret` itself, or a copy in the call's arena; NULL with *error if
 * nothing. `ret` may be NULL.
 */
const void *access_filter(struct rpc_call *call, const void *ret, GError **error);
/* May the client be told of the event? */
bool access_hears(struct rpc_client *client, const struct xdr_type *type, const void *body);

/* auth.c */
/* Is the procedure of the remote program one that a client calls to authenticate? */
bool auth_is_part(uint32_t procedure);

/* stream.c */
void stream_message(struct rpc_client *client, const struct remote_header *header,
		    const uint8_t *payload, size_t length);
void stream_drained(struct rpc_client *client);
void stream_close_all(struct rpc_client *client);

/* event.c */
void event_forget_client(struct rpc_client *client);
