/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One connection: cuts what comes in into messages and queues what goes out. A message is a word
 * with its whole length, six words of header, and a payload. A length that cannot be ends the
 * connection, as there is no way to find the next message.
 */
#include "daemon/rpc/internal.h"

#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/rpc/sasl.h"
#include "daemon/rpc/tls.h"

#include <poll.h>

enum {
	READS_PER_TURN = 4,
	KEEPALIVE_PING = 1,
	KEEPALIVE_PONG = 2,
	/* What authentication may need: libvirt's limit of SASL data, each byte of which is a word. */
	MAX_ANONYMOUS_MESSAGE = 65536 * 4 + 1024,
};

/* --- Life ----------------------------------------------------------------------------------- */

static void client_free(void *opaque)
{
	struct rpc_client *client = opaque;
	wire_clear(&client->wire);
	sasl_session_free(client->sasl);
	g_free(client->certificate);
	g_free(client->user);
	g_free(client->caller.groups);
	g_byte_array_unref(client->in);
	g_byte_array_unref(client->out);
	g_ptr_array_unref(client->calls);
	g_ptr_array_unref(client->streams);
	g_free(client);
}

void client_close(struct rpc_client *client, const char *why)
{
	if (client->dead)
		return;
	client->dead = true;
	log_debug("client %d is gone: %s", client->fd, why);
	g_ptr_array_remove_fast(client->server->clients, client);
	client->server->idle_since_ns = aio_now_ns();
	if (client->state != CLIENT_KNOWN) {
		client->server->anonymous--;
		server_update_listeners(client->server);
	}
	event_forget_client(client);
	stream_close_all(client);
	for (unsigned i = 0; i < client->calls->len; i++)
		call_orphan(client->calls->pdata[i]);
	aio_timer_cancel(&client->refill);
	aio_watch_remove(client->watch);
	fd_clear(&client->wire.fd);
	server_hold(client->server, false);
	/* Callers further up still hold the pointer. */
	aio_loop_post(client->server->daemon->loop, client_free, client);
}

/* --- Sending -------------------------------------------------------------------------------- */

bool client_is_full(const struct rpc_client *client)
{
	return client->out->len - client->out_at > client->server->limits.queued;
}

bool client_is_flooded(const struct rpc_client *client)
{
	return client->out->len - client->out_at > 2 * client->server->limits.queued;
}

/* Is there a reason not to take its messages now? */
static bool must_wait(const struct rpc_client *client)
{
	return client->calls->len >= client->server->limits.calls || client->held ||
	       client->state == CLIENT_SWITCHES || aio_timer_is_armed(&client->refill) ||
	       client_is_full(client);
}

/* Count a call against the rate; without any left, the client waits until there is one again. */
static void spend_token(struct rpc_client *client)
{
	unsigned rate = client->server->limits.rate;
	if (!rate)
		return;
	int64_t now = aio_now_ns();
	double fresh = (double)(now - client->tokens_ns) * rate / 1e9;
	client->tokens = MIN(client->tokens + fresh, rate) - 1;
	client->tokens_ns = now;
	if (client->tokens < 1)
		aio_timer_arm(&client->refill, now + (int64_t)((1 - client->tokens) * 1e9 / rate) + 1);
}

static void update_interest(struct rpc_client *client)
{
	uint32_t events = 0;
	if (client->out_at < client->out->len)
		events |= POLLOUT;
	if (!must_wait(client))
		events |= POLLIN;
	aio_watch_modify(client->watch, events);
}

/* The answer that ended authentication is out; what comes now is sealed, in both directions. */
static bool switch_to_layer(struct rpc_client *client)
{
	/* A client that goes on before it has the answer sends what its layer should have sealed. */
	if (client->in_at < client->in->len) {
		client_close(client, "it did not wait for the end of its authentication");
		return false;
	}
	client->wire.layer = client->sasl;
	client_admit(client);
	return true;
}

static void flush(struct rpc_client *client)
{
	g_autoptr(GError) error = NULL;
	while (client->out_at < client->out->len) {
		ssize_t n = wire_write(&client->wire, client->out->data + client->out_at,
				       client->out->len - client->out_at, &error);
		if (n == 0)
			break;
		if (n < 0) {
			client_close(client, error->message);
			return;
		}
		client->out_at += n;
	}
	if (client->out_at == client->out->len) {
		g_byte_array_set_size(client->out, 0);
		client->out_at = 0;
		if (client->state == CLIENT_SWITCHES && !switch_to_layer(client))
			return;
		if (client->ending) {
			client_close(client, "it said goodbye");
			return;
		}
	} else if (client->out_at > client->server->limits.queued / 2) {
		g_byte_array_remove_range(client->out, 0, client->out_at);
		client->out_at = 0;
	}
	update_interest(client);
}

/* Room for the header; returns where it begins. */
static unsigned begin_message(struct rpc_client *client)
{
	unsigned start = client->out->len;
	g_byte_array_set_size(client->out, start + REMOTE_HEADER_SIZE);
	return start;
}

static void end_message(struct rpc_client *client, unsigned start,
			const struct remote_header *header)
{
	remote_header_write(client->out->data + start, client->out->len - start, header);
	if (!client->busy && !client->dead)
		flush(client);
}

void client_send(struct rpc_client *client, const struct remote_header *header,
		 const struct xdr_type *type, const void *body)
{
	g_autoptr(GError) error = NULL;
	unsigned start = begin_message(client);
	bool good = !type || xdr_encode(type, body, client->out, &error);
	if (good && client->out->len - start > REMOTE_MAX_MESSAGE)
		good = error_set(&error, BERTH_ERR_INTERNAL, "the answer is larger than 32 MiB");
	if (good) {
		end_message(client, start, header);
		return;
	}
	g_byte_array_set_size(client->out, start);
	if (header->type == REMOTE_EVENT)
		log_error("an event was not sent: %s", error->message);
	else
		client_send_error(client, header, header->type, error);
}

void client_send_bytes(struct rpc_client *client, const struct remote_header *header,
		       const uint8_t *bytes, size_t length)
{
	unsigned start = begin_message(client);
	if (length)
		g_byte_array_append(client->out, bytes, length);
	end_message(client, start, header);
}

void client_send_error(struct rpc_client *client, const struct remote_header *header,
		       enum remote_type type, const GError *error)
{
	struct remote_header answer = *header;
	answer.type = type;
	answer.status = REMOTE_FAILED;
	struct arena arena = {NULL};
	struct remote_error wire;
	virt_error_to_wire(error, &arena, &wire);
	client_send(client, &answer, &remote_error_type, &wire);
	arena_clear(&arena);
}

/* --- Keepalive ------------------------------------------------------------------------------ */

static void send_keepalive(struct rpc_client *client, uint32_t what)
{
	const struct remote_header header = {
		KEEPALIVE_PROGRAM, REMOTE_VERSION, what, REMOTE_EVENT, 0, REMOTE_OK,
	};
	client_send_bytes(client, &header, NULL, 0);
}

void client_ping(struct rpc_client *client)
{
	/* The answer of one that is held may be in what we do not read. */
	if (!client->wants_keepalive || client->held || aio_timer_is_armed(&client->refill))
		return;
	if (client->unanswered_pings >= client->server->limits.keepalive_misses) {
		client_close(client, "it does not answer keepalive pings");
		return;
	}
	client->unanswered_pings++;
	send_keepalive(client, KEEPALIVE_PING);
}

/* --- Receiving ------------------------------------------------------------------------------ */

static void refuse_program(struct rpc_client *client, const struct remote_header *header)
{
	if (header->type != REMOTE_CALL && header->type != REMOTE_CALL_FDS)
		return;
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_RPC, VIRT_RPC,
		   "Cannot find program %u version %u", header->program, header->version);
	client_send_error(client, header, REMOTE_REPLY, error);
	g_error_free(error);
}

static void take_message(struct rpc_client *client, const struct remote_header *header,
			 const uint8_t *payload, size_t length)
{
	client->unanswered_pings = 0;
	if (header->program == KEEPALIVE_PROGRAM) {
		if (header->procedure == KEEPALIVE_PING)
			send_keepalive(client, KEEPALIVE_PONG);
	} else if ((header->program != REMOTE_PROGRAM && header->program != QEMU_PROGRAM) ||
		   header->version != REMOTE_VERSION) {
		refuse_program(client, header);
	} else if (header->type == REMOTE_CALL) {
		spend_token(client);
		call_begin(client, header, payload, length);
	} else if (header->type == REMOTE_STREAM || header->type == REMOTE_HOLE) {
		stream_message(client, header, payload, length);
	} else {
		client_close(client, "it sent a message of a type that is not a client's");
	}
}

static uint32_t max_message(const struct rpc_client *client)
{
	return client->state == CLIENT_KNOWN ? REMOTE_MAX_MESSAGE : MAX_ANONYMOUS_MESSAGE;
}

/* Serve what is complete in `in`. */
static void take_messages(struct rpc_client *client)
{
	while (!client->dead && !client->ending && !must_wait(client)) {
		const uint8_t *at = client->in->data + client->in_at;
		size_t left = client->in->len - client->in_at;
		if (left < 4)
			break;
		uint32_t length = be32_load(at);
		if (length < REMOTE_HEADER_SIZE || length - 4 > max_message(client)) {
			client_close(client, "it sent a message of an impossible length");
			return;
		}
		if (left < length)
			break;
		struct remote_header header;
		remote_header_read(at, &length, &header);
		client->in_at += length;
		take_message(client, &header, at + REMOTE_HEADER_SIZE, length - REMOTE_HEADER_SIZE);
	}
	if (client->in_at) {
		g_byte_array_remove_range(client->in, 0, client->in_at);
		client->in_at = 0;
	}
}

/* Read once. Returns false if there is nothing more now. */
static bool read_some(struct rpc_client *client)
{
	g_autoptr(GError) error = NULL;
	enum wire_result result = wire_read(&client->wire, client->in, &error);
	if (result == WIRE_CLOSED)
		client_close(client, error ? error->message : "it closed the connection");
	return result == WIRE_MORE;
}

/* End of a section in which `busy` kept the output together. */
static void leave(struct rpc_client *client)
{
	client->busy = false;
	if (!client->dead)
		flush(client);
}

/* After the handshake libvirt's daemons say with one byte that they accept the client. */
static void shake_hands(struct rpc_client *client)
{
	static const uint8_t accepted = 1;
	g_autoptr(GError) error = NULL;
	int rc = wire_handshake(&client->wire, &error);
	if (rc == 0) {
		aio_watch_modify(client->watch, wire_handshake_events(&client->wire));
	} else if (rc < 0 || !tls_server_check(client->door->tls, client->wire.tls,
					       &client->certificate, &error)) {
		log_warning("client %d may not come in: %s", client->fd, error->message);
		client_close(client, error->message);
	} else {
		if (client->certificate)
			log_debug("client %d is %s", client->fd, client->certificate);
		if (client->door->sasl)
			client->state = CLIENT_AUTHENTICATES;
		else
			client_admit(client);
		g_byte_array_append(client->out, &accepted, 1);
		flush(client);
	}
}

static void on_ready(void *opaque, int fd, uint32_t events)
{
	struct rpc_client *client = opaque;
	if (client->state == CLIENT_SHAKES_HANDS) {
		shake_hands(client);
		return;
	}
	client->busy = true;
	if (events & (POLLIN | POLLHUP | POLLERR)) {
		for (unsigned i = 0; i < READS_PER_TURN && !client->dead; i++) {
			bool more = read_some(client);
			if (!client->dead)
				take_messages(client);
			if (!more)
				break;
		}
	}
	leave(client);
	if (events & POLLOUT)
		client_resume(client);
}

void client_resume(struct rpc_client *client)
{
	if (client->dead || client->busy)
		return;
	client->busy = true;
	take_messages(client);
	if (!client->dead && !client_is_full(client))
		stream_drained(client);
	leave(client);
}

static void on_refill(void *opaque)
{
	client_resume(opaque);
}

void client_admit(struct rpc_client *client)
{
	client->server->anonymous--;
	client->state = CLIENT_KNOWN;
	server_update_listeners(client->server);
}

void client_new(struct rpc_server *server, const struct rpc_door *door, int fd,
		gnutls_session_t tls)
{
	struct rpc_client *client = g_new0(struct rpc_client, 1);
	client->server = server;
	client->door = door;
	client->fd = fd;
	client->readonly = door->readonly;
	client->since_ns = client->tokens_ns = aio_now_ns();
	client->tokens = server->limits.rate;
	wire_init(&client->wire, fd, tls);
	aio_timer_init(&client->refill, server->daemon->loop, on_refill, client);
	client->in = g_byte_array_new();
	client->out = g_byte_array_new();
	client->calls = g_ptr_array_new();
	client->streams = g_ptr_array_new();
	client->watch = aio_watch_add(server->daemon->loop, fd, POLLIN, on_ready, client);
	g_ptr_array_add(server->clients, client);
	if (server->rules)
		access_identify(client);
	server->anonymous++;
	client->state = tls ? CLIENT_SHAKES_HANDS : CLIENT_AUTHENTICATES;
	if (!tls && !door->sasl)
		client_admit(client);
	server_update_listeners(server);
	log_debug("client %d connected by %s%s", fd, door->name, door->readonly ? " (read-only)" : "");
}
