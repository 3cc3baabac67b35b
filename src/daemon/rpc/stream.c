/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Byte streams over a connection. A stream is known by the procedure and the serial of the call that
 * opened it. "Continue" packets carry data, an empty one ends a direction; "ok" finishes; "error"
 * aborts, and the other side confirms with "ok".
 */
#include "daemon/rpc/internal.h"

#include "base/bytes.h"

/* A hole's payload: its length and flags, none of which are defined. */
enum { HOLE_SIZE = 12 };

/* What libvirt's own peers send at most in one packet. */
enum { STREAM_PACKET = 262120 };

struct rpc_stream {
	struct rpc_client *client;
	struct remote_header header; /* as sent with each packet */
	const struct rpc_stream_ops *ops;
	void *opaque;
	bool full; /* the owner waits for drained() */
	bool held; /* the owner takes nothing now */
};

struct rpc_stream *rpc_stream_open(struct rpc_call *call, const struct rpc_stream_ops *ops,
				   void *opaque)
{
	if (!call->client)
		return NULL;
	struct rpc_stream *stream = g_new0(struct rpc_stream, 1);
	stream->client = call->client;
	stream->header = call->header;
	stream->header.type = REMOTE_STREAM;
	stream->ops = ops;
	stream->opaque = opaque;
	g_ptr_array_add(call->client->streams, stream);
	return stream;
}

static void stream_free(struct rpc_stream *stream)
{
	stream->client->held -= stream->held;
	stream->ops->closed(stream->opaque);
	g_free(stream);
}

static void send_packet(struct rpc_stream *stream, enum remote_status status, const uint8_t *data,
			size_t length)
{
	stream->header.status = status;
	client_send_bytes(stream->client, &stream->header, data, length);
}

bool rpc_stream_send(struct rpc_stream *stream, const uint8_t *data, size_t length)
{
	struct rpc_client *client = stream->client;
	while (length > 0) {
		size_t part = MIN(length, STREAM_PACKET);
		send_packet(stream, REMOTE_CONTINUE, data, part);
		if (client->dead)
			return false;
		data += part;
		length -= part;
	}
	stream->full = client_is_full(client);
	return !stream->full;
}

bool rpc_stream_send_hole(struct rpc_stream *stream, uint64_t length)
{
	uint8_t payload[HOLE_SIZE] = {0};
	be64_store(payload, length);
	struct remote_header header = stream->header;
	header.type = REMOTE_HOLE;
	header.status = REMOTE_CONTINUE;
	client_send_bytes(stream->client, &header, payload, sizeof(payload));
	if (stream->client->dead)
		return false;
	stream->full = client_is_full(stream->client);
	return !stream->full;
}

void rpc_stream_hold(struct rpc_stream *stream, bool hold)
{
	struct rpc_client *client = stream->client;
	if (stream->held == hold)
		return;
	stream->held = hold;
	client->held += hold ? 1 : -1;
	if (!hold)
		client_resume(client);
}

void rpc_stream_send_eof(struct rpc_stream *stream)
{
	send_packet(stream, REMOTE_CONTINUE, NULL, 0);
}

void rpc_stream_end(struct rpc_stream *stream, GError *error)
{
	struct rpc_client *client = stream->client;
	bool was_held = stream->held;
	client->held -= was_held;
	stream->held = false;
	g_ptr_array_remove_fast(client->streams, stream);
	if (error)
		client_send_error(client, &stream->header, REMOTE_STREAM, error);
	else
		send_packet(stream, REMOTE_OK, NULL, 0);
	g_clear_error(&error);
	stream_free(stream);
	if (was_held)
		client_resume(client);
}

static struct rpc_stream *find(struct rpc_client *client, const struct remote_header *header)
{
	for (unsigned i = 0; i < client->streams->len; i++) {
		struct rpc_stream *stream = client->streams->pdata[i];
		if (stream->header.procedure == header->procedure &&
		    stream->header.serial == header->serial)
			return stream;
	}
	return NULL;
}

static void take_hole(struct rpc_stream *stream, const uint8_t *payload, size_t length)
{
	GError *error = NULL;
	uint64_t hole = length == HOLE_SIZE ? be64_load(payload) : UINT64_MAX;
	if (!stream->ops->received_hole)
		virt_error(&error, VIRT_FROM_STREAMS, VIRT_OPERATION_UNSUPPORTED,
			   "this stream has no holes");
	else if (hole > INT64_MAX)
		virt_error(&error, VIRT_FROM_STREAMS, VIRT_RPC, "Unable to decode message payload");
	if (error)
		rpc_stream_end(stream, error);
	else
		stream->ops->received_hole(stream->opaque, hole);
}

void stream_message(struct rpc_client *client, const struct remote_header *header,
		    const uint8_t *payload, size_t length)
{
	/* What comes late, after we have closed it, is dropped. */
	struct rpc_stream *stream = find(client, header);
	if (!stream)
		return;
	if (header->type == REMOTE_HOLE) {
		take_hole(stream, payload, length);
	} else if (header->status == REMOTE_FAILED) {
		rpc_stream_end(stream, NULL);
	} else if (header->status == REMOTE_OK || length == 0) {
		if (stream->ops->finished)
			stream->ops->finished(stream->opaque);
		else
			rpc_stream_end(stream, NULL);
	} else if (stream->ops->received) {
		stream->ops->received(stream->opaque, payload, length);
	}
}

void stream_drained(struct rpc_client *client)
{
	/* Backwards: an owner may end its stream meanwhile. */
	for (unsigned i = client->streams->len; i-- > 0;) {
		struct rpc_stream *stream =
			i < client->streams->len ? client->streams->pdata[i] : NULL;
		if (!stream || !stream->full)
			continue;
		stream->full = false;
		if (stream->ops->drained)
			stream->ops->drained(stream->opaque);
	}
}

void stream_close_all(struct rpc_client *client)
{
	while (client->streams->len)
		stream_free(g_ptr_array_steal_index_fast(client->streams, 0));
}
