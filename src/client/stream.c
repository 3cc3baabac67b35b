/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stream: what comes in waits in a queue; what goes out is cut into pieces that peers take. */
#include "client/internal.h"

#include "base/bytes.h"

enum {
	PIECE = 262120, /* the most that libvirt's peers put into one message */
	HOLE_SIZE = 12, /* hyper length, flags */
};

struct client_stream {
	struct client *client;
	uint32_t procedure, serial;
	GQueue queue;            /* struct message */
	struct message *current; /* whose bytes were handed out */
	bool ended;              /* the daemon has said its last word */
};

struct client_stream *client_stream_new(struct client *client, enum remote_procedure procedure)
{
	g_assert(!client->stream);
	struct client_stream *stream = g_new0(struct client_stream, 1);
	*stream = (struct client_stream){.client = client, .procedure = procedure,
					 .serial = client->serial};
	g_queue_init(&stream->queue);
	client->stream = stream;
	return stream;
}

uint32_t client_stream_serial(const struct client_stream *stream)
{
	return stream->serial;
}

void client_stream_take(struct client_stream *stream, struct message *message)
{
	g_queue_push_tail(&stream->queue, message);
}

static bool send_piece(struct client_stream *stream, enum remote_type type,
		       enum remote_status status, const void *bytes, size_t size, GError **error)
{
	const struct remote_header header = {REMOTE_PROGRAM, REMOTE_VERSION, stream->procedure, type,
					     stream->serial, status};
	return client_send(stream->client, &header, bytes, size, error);
}

/* The daemon may have given up in the middle of an upload. */
static bool look_for_error(struct client_stream *stream, GError **error)
{
	int got = client_pump(stream->client, 0, error);
	if (got < 0)
		return false;
	const struct message *message = g_queue_peek_head(&stream->queue);
	if (!message || message->header.status != REMOTE_FAILED)
		return true;
	stream->ended = true;
	return client_set_error(message->payload, message->size, error);
}

bool client_stream_send(struct client_stream *stream, const void *bytes, size_t size, GError **error)
{
	const uint8_t *at = bytes;
	while (size) {
		size_t now = MIN(size, PIECE);
		if (!look_for_error(stream, error) ||
		    !send_piece(stream, REMOTE_STREAM, REMOTE_CONTINUE, at, now, error))
			return false;
		at += now;
		size -= now;
	}
	return true;
}

bool client_stream_send_hole(struct client_stream *stream, int64_t length, GError **error)
{
	uint8_t payload[HOLE_SIZE] = {0};
	be64_store(payload, length);
	return look_for_error(stream, error) &&
	       send_piece(stream, REMOTE_HOLE, REMOTE_CONTINUE, payload, sizeof(payload), error);
}

static int hand_out(struct client_stream *stream, const uint8_t **bytes, int64_t *size,
		    GError **error)
{
	const struct message *message = stream->current;
	const struct remote_header *header = &message->header;
	*bytes = message->payload;
	*size = message->size;
	if (header->status == REMOTE_FAILED) {
		stream->ended = true;
		client_set_error(message->payload, message->size, error);
		return -1;
	}
	if (header->type == REMOTE_HOLE && message->size == HOLE_SIZE) {
		*bytes = NULL;
		*size = be64_load(message->payload);
		return 1;
	}
	/* An empty piece is the end of what comes; "ok" is the end of the stream. */
	stream->ended |= header->status == REMOTE_OK;
	return message->size && header->status == REMOTE_CONTINUE ? 1 : 0;
}

int client_stream_receive(struct client_stream *stream, int timeout_ms, const uint8_t **bytes,
			  int64_t *size, GError **error)
{
	while (g_queue_is_empty(&stream->queue)) {
		int got = client_pump(stream->client, timeout_ms, error);
		if (got <= 0)
			return got < 0 ? -1 : -2;
	}
	message_free(stream->current);
	stream->current = g_queue_pop_head(&stream->queue);
	return hand_out(stream, bytes, size, error);
}

/* Read until the daemon's last word. */
static bool drain(struct client_stream *stream, GError **error)
{
	const uint8_t *bytes;
	int64_t size;
	while (!stream->ended) {
		int got = client_stream_receive(stream, -1, &bytes, &size, error);
		if (got == -1)
			return false;
	}
	return true;
}

bool client_stream_finish(struct client_stream *stream, GError **error)
{
	return send_piece(stream, REMOTE_STREAM, REMOTE_OK, NULL, 0, error) && drain(stream, error);
}

void client_stream_free(struct client_stream *stream)
{
	if (!stream)
		return;
	/* An abort is best effort: if the connection is lost, so is the stream. What is still under way
	 * is dropped as late data. */
	if (!stream->ended && !stream->client->dead)
		send_piece(stream, REMOTE_STREAM, REMOTE_FAILED, NULL, 0, NULL);
	stream->client->stream = NULL;
	message_free(stream->current);
	g_queue_clear_full(&stream->queue, (GDestroyNotify)message_free);
	g_free(stream);
}
