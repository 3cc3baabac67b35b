/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole messages: framing, keepalive, and who gets what. */
#include "client/internal.h"

#include "base/bytes.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum {
	KEEPALIVE_PING = 1,
	KEEPALIVE_PONG = 2,
};

void message_free(struct message *message)
{
	if (!message)
		return;
	g_free(message->payload);
	g_free(message);
}

static bool lose(struct client *client, GError **error, const char *why)
{
	client->dead = true;
	g_set_error(error, CLIENT_ERROR, CLIENT_RPC, "%s", why);
	return false;
}

bool client_send(struct client *client, const struct remote_header *header, const void *payload,
		 size_t size, GError **error)
{
	if (client->dead)
		return lose(client, error, "internal error: client socket is closed");
	g_autofree uint8_t *bytes = g_malloc(REMOTE_HEADER_SIZE + size);
	remote_header_write(bytes, REMOTE_HEADER_SIZE + size, header);
	if (size)
		memcpy(bytes + REMOTE_HEADER_SIZE, payload, size);
	if (transport_write(client->transport, bytes, REMOTE_HEADER_SIZE + size))
		return true;
	g_autofree char *why = g_strdup_printf("Cannot write data: %s", g_strerror(errno));
	return lose(client, error, why);
}

static bool send_keepalive(struct client *client, uint32_t procedure, GError **error)
{
	const struct remote_header header = {KEEPALIVE_PROGRAM, REMOTE_VERSION, procedure,
					     REMOTE_EVENT, 0, REMOTE_OK};
	return client_send(client, &header, NULL, 0, error);
}

/* Cut a whole message from the input; NULL if there is none yet. */
static struct message *cut(struct client *client, GError **error)
{
	GByteArray *input = client->input;
	if (input->len < REMOTE_HEADER_SIZE)
		return NULL;
	struct message *message = g_new0(struct message, 1);
	uint32_t length;
	remote_header_read(input->data, &length, &message->header);
	if (length < REMOTE_HEADER_SIZE || length > REMOTE_MAX_MESSAGE + 4) {
		lose(client, error, "packet of impossible length received from server");
	} else if (input->len >= length) {
		message->size = length - REMOTE_HEADER_SIZE;
		message->payload = g_memdup2(input->data + REMOTE_HEADER_SIZE, message->size);
		g_byte_array_remove_range(input, 0, length);
		return message;
	}
	message_free(message);
	return NULL;
}

/* Returns as client_pump(), 1 meaning that there is more input. */
static int receive(struct client *client, int timeout_ms, GError **error)
{
	struct pollfd poller = {client->transport->fd, POLLIN, 0};
	int ready = transport_pending(client->transport) ? 1 : poll(&poller, 1, timeout_ms);
	if (ready == 0 || (ready < 0 && errno == EINTR))
		return 0;
	uint8_t bytes[65536];
	ssize_t count = transport_read(client->transport, bytes, sizeof(bytes));
	if (count < 0 && (errno == EINTR || errno == EAGAIN))
		return 1;
	if (count > 0) {
		g_byte_array_append(client->input, bytes, count);
		return 1;
	}
	g_autofree char *why = count < 0 ?
		g_strdup_printf("Cannot recv data: %s", g_strerror(errno)) :
		g_strdup("End of file while reading data: Input/output error");
	lose(client, error, why);
	return -1;
}

static bool route(struct client *client, struct message *message, GError **error)
{
	const struct remote_header *header = &message->header;
	bool good = true;
	if (header->program == KEEPALIVE_PROGRAM) {
		client->unanswered = 0;
		good = header->procedure != KEEPALIVE_PING ||
		       send_keepalive(client, KEEPALIVE_PONG, error);
	} else if (header->type == REMOTE_EVENT) {
		g_queue_push_tail(&client->events, g_steal_pointer(&message));
	} else if ((header->type == REMOTE_REPLY || header->type == REMOTE_REPLY_FDS) &&
		   g_hash_table_contains(client->replies, GUINT_TO_POINTER(header->serial))) {
		gpointer serial = GUINT_TO_POINTER(header->serial);
		g_hash_table_insert(client->replies, serial, g_steal_pointer(&message));
	} else if ((header->type == REMOTE_STREAM || header->type == REMOTE_HOLE) &&
		   client->stream && client_stream_serial(client->stream) == header->serial) {
		client_stream_take(client->stream, g_steal_pointer(&message));
	}
	/* Else it is late data of a stream that is closed: dropped, as the protocol allows. */
	message_free(message);
	return good;
}

/* Nothing came for a while: is the daemon alive? Only one that is open answers. */
static bool ask_alive(struct client *client, GError **error)
{
	if (!client->opened)
		return true;
	if (++client->unanswered > client->ping_limit)
		return lose(client, error,
			    "internal error: connection closed due to keepalive timeout");
	return send_keepalive(client, KEEPALIVE_PING, error);
}

int client_pump(struct client *client, int timeout_ms, GError **error)
{
	if (client->dead) {
		lose(client, error, "internal error: client socket is closed");
		return -1;
	}
	for (;;) {
		struct message *message = cut(client, error);
		if (message)
			return route(client, message, error) ? 1 : -1;
		if (client->dead)
			return -1;
		int ping_ms = client->ping_ms;
		bool long_wait = ping_ms > 0 && (timeout_ms < 0 || timeout_ms > ping_ms);
		gint64 started = g_get_monotonic_time();
		int got = receive(client, long_wait ? ping_ms : timeout_ms, error);
		if (got < 0)
			return -1;
		int waited = (g_get_monotonic_time() - started) / 1000;
		if (got == 0 && (!long_wait || waited < ping_ms))
			return 0;
		if (got == 0 && !ask_alive(client, error))
			return -1;
		if (timeout_ms > 0)
			timeout_ms = MAX(timeout_ms - waited, 0);
	}
}

bool client_set_error(const uint8_t *payload, size_t size, GError **error)
{
	struct arena arena = {NULL};
	struct remote_error wire;
	if (xdr_decode(&remote_error_type, payload, size, &wire, &arena, NULL))
		g_set_error_literal(error, CLIENT_ERROR, wire.code,
				    wire.message ? wire.message : "Unknown error");
	else
		g_set_error(error, CLIENT_ERROR, CLIENT_RPC, "Unable to decode error message");
	arena_clear(&arena);
	return false;
}
