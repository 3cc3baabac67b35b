/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Byte streams over a connection. A stream is known by the procedure and the serial of the call that
 * opened it. "Continue" packets carry data, an empty one ends a direction; "ok" finishes; "error"
 * aborts, and the other side confirms with "ok".
 */
#include "daemon/rpc/internal.h"

/* What libvirt's own peers send at most in one packet. */
enum { STREAM_PACKET = 262120 };

struct rpc_stream {
	struct rpc_client *client;
	struct remote_header header; /* as sent with each packet */
	const struct rpc_stream_ops *ops;
	void *opaque;
	bool full; /* the owner waits for drained() */
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

void rpc_stream_send_eof(struct rpc_stream *stream)
{
	send_packet(stream, REMOTE_CONTINUE, NULL, 0);
}

void rpc_stream_end(struct rpc_stream *stream, GError *error)
{
	struct rpc_client *client = stream->client;
	g_ptr_array_remove_fast(client->streams, stream);
	if (error)
		client_send_error(client, &stream->header, REMOTE_STREAM, error);
	else
		send_packet(stream, REMOTE_OK, NULL, 0);
	g_clear_error(&error);
	stream_free(stream);
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

void stream_message(struct rpc_client *client, const struct remote_header *header,
		    const uint8_t *payload, size_t length)
{
	/* What comes late, after we have closed it, is dropped. */
	struct rpc_stream *stream = find(client, header);
	if (!stream)
		return;
	if (header->type == REMOTE_HOLE) {
		GError *error = NULL;
		virt_error(&error, VIRT_FROM_STREAMS, VIRT_OPERATION_UNSUPPORTED,
			   "this stream has no holes");
		rpc_stream_end(stream, error);
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
