/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of src/client share. */
#pragma once

#include "client/client.h"
#include "client/transport.h"

struct message {
	struct remote_header header;
	uint8_t *payload;
	size_t size;
};
void message_free(struct message *message);

struct client {
	struct transport *transport;
	struct client_uri *uri;
	struct arena arena;       /* of the results of calls */
	uint32_t serial;          /* of the last call */
	GHashTable *replies;      /* serial to struct message, NULL while it is awaited */
	GQueue events;            /* struct message */
	struct message *event;    /* the one that was handed out */
	struct arena event_arena; /* and what it holds */
	struct client_stream *stream;
	GByteArray *input;        /* received, not yet a whole message */
	int ping_ms;              /* between pings; -1: none */
	unsigned unanswered, ping_limit; /* of our pings */
	GArray *fds;              /* for the next call */
	bool opened, dead;
	int8_t features[64];      /* 0 unknown, 1 yes, -1 no */
};

/* client.c: a client of this stream, which it owns with the URI. Nothing is said yet. */
struct client *client_new(struct client_uri *uri, struct transport *transport);

/* message.c: send one message; `payload` follows the header. */
bool client_send(struct client *client, const struct remote_header *header, const void *payload,
		 size_t size, GError **error);
/*
 * Take in one message and put it where it belongs. Returns 1, 0 if none came in `timeout_ms` or a
 * signal came, -1 with *error when the connection is lost.
 */
int client_pump(struct client *client, int timeout_ms, GError **error);
/* Set *error from the body of a failed reply. Returns false always. */
bool client_set_error(const uint8_t *payload, size_t size, GError **error);
/* stream.c */
void client_stream_take(struct client_stream *stream, struct message *message);
uint32_t client_stream_serial(const struct client_stream *stream);
