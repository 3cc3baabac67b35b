/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/client.h"

#include "base/bytes.h"
#include "client/calls.h"
#include "client/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum {
	OPEN_READONLY = 1,
	/* libvirt's clients ask every 5 s and give up after the sixth silence. */
	PING_INTERVAL_MS = 5000,
	PING_LIMIT = 6,
	AUTH_NONE = 0,
	AUTH_POLKIT = 2,
	QEMU_EVENT = 6,
};

G_DEFINE_QUARK(client-error, client_error)

/* --- Opening and closing ---------------------------------------------------------------------- */

static bool authenticate(struct client *client, GError **error)
{
	struct remote_auth_list_ret list;
	if (!call_auth_list(client, &list, error))
		return false;
	bool polkit = false;
	for (uint32_t i = 0; i < list.types.count; i++) {
		if (list.types.items[i] == AUTH_NONE)
			return true;
		polkit |= list.types.items[i] == AUTH_POLKIT;
	}
	struct remote_auth_polkit_ret done;
	if (polkit)
		return call_auth_polkit(client, &done, error);
	if (list.types.count == 0)
		return true;
	g_set_error(error, CLIENT_ERROR, CLIENT_AUTH_FAILED,
		    "authentication failed: the server wants SASL, which is not supported");
	return false;
}

static bool open_name(struct client *client, bool readonly, GError **error)
{
	const struct remote_connect_open_args args = {client->uri->name,
						      readonly ? OPEN_READONLY : 0};
	client->opened = authenticate(client, error) && call_connect_open(client, &args, error);
	return client->opened;
}

struct client *client_new(struct client_uri *uri, struct transport *transport)
{
	struct client *client = g_new0(struct client, 1);
	client->uri = uri;
	client->input = g_byte_array_new();
	client->fds = g_array_new(FALSE, FALSE, sizeof(int));
	client->replies = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)message_free);
	g_queue_init(&client->events);
	client->transport = transport;
	client->ping_ms = PING_INTERVAL_MS;
	client->ping_limit = PING_LIMIT;
	return client;
}

struct client *client_open(const struct client_options *options, GError **error)
{
	g_autofree char *text = options->uri && *options->uri ? g_strdup(options->uri) :
								client_default_uri(options->readonly);
	struct client_uri *uri = client_uri_parse(text, error);
	if (!uri)
		return NULL;
	struct client *client = client_new(uri, NULL);
	if (options->keepalive_interval)
		client->ping_ms = options->keepalive_interval > 0 ? options->keepalive_interval * 1000 : -1;
	if (options->keepalive_count)
		client->ping_limit = MAX(options->keepalive_count, 0);
	client->transport = transport_open(uri, options->readonly, options->daemon, error);
	if (client->transport && open_name(client, options->readonly, error))
		return client;
	client_close(client);
	return NULL;
}

void client_close(struct client *client)
{
	if (!client)
		return;
	/* The daemon sees the socket close all the same: an answer to the goodbye changes nothing. */
	if (client->opened && !client->dead)
		call_connect_close(client, NULL);
	transport_free(client->transport);
	client_uri_free(client->uri);
	arena_clear(&client->arena);
	arena_clear(&client->event_arena);
	g_hash_table_unref(client->replies);
	message_free(client->event);
	g_queue_clear_full(&client->events, (GDestroyNotify)message_free);
	g_byte_array_free(client->input, TRUE);
	g_array_unref(client->fds);
	g_free(client);
}

const char *client_uri(const struct client *client)
{
	return client->uri->name;
}

const char *client_host(const struct client *client)
{
	return client->uri->host;
}

bool client_is_alive(const struct client *client)
{
	return !client->dead;
}

int client_fd(const struct client *client)
{
	return client->transport->fd;
}

bool client_has(struct client *client, int feature)
{
	g_assert(feature >= 0 && (size_t)feature < G_N_ELEMENTS(client->features));
	int8_t *known = &client->features[feature];
	if (!*known) {
		const struct remote_connect_supports_feature_args args = {feature};
		struct remote_connect_supports_feature_ret ret = {0};
		bool good = call_connect_supports_feature(client, &args, &ret, NULL);
		*known = good && ret.supported ? 1 : -1;
	}
	return *known > 0;
}

/* --- Calls ------------------------------------------------------------------------------------ */

struct watch {
	int interval_ms; /* -1: nobody watches */
	client_tick_fn *tick;
	void *opaque;
};

static struct message *wait_reply(struct client *client, uint32_t serial, const struct watch *watch,
				  GError **error)
{
	gpointer key = GUINT_TO_POINTER(serial), message = NULL;
	gint64 last = g_get_monotonic_time();
	while (!(message = g_hash_table_lookup(client->replies, key))) {
		int got = client_pump(client, watch->interval_ms, error);
		if (got < 0)
			break;
		gint64 now = g_get_monotonic_time();
		if (watch->tick && (got == 0 || now - last >= watch->interval_ms * 1000)) {
			last = now;
			watch->tick(watch->opaque);
		}
	}
	g_hash_table_steal(client->replies, key);
	return message;
}

static bool read_reply(struct client *client, const struct message *reply,
		       const struct xdr_type *type, void *ret, GError **error)
{
	if (reply->header.status != REMOTE_OK)
		return client_set_error(reply->payload, reply->size, error);
	g_autoptr(GError) why = NULL;
	if (!type || xdr_decode(type, reply->payload, reply->size, ret, &client->arena, &why))
		return true;
	g_set_error(error, CLIENT_ERROR, CLIENT_RPC, "Unable to decode message payload: %s",
		    why->message);
	return false;
}

bool client_pass_fds(struct client *client, const int *fds, unsigned count, GError **error)
{
	enum { FEATURE_FDS = 8 };
	if (count && (strcmp(client->uri->transport, "unix") || !client_has(client, FEATURE_FDS))) {
		g_set_error(error, CLIENT_ERROR, CLIENT_UNSUPPORTED,
			    "Operation not supported: this connection passes no file descriptors");
		return false;
	}
	if (count)
		g_array_append_vals(client->fds, fds, count);
	return true;
}

/* The message begins with their number; each follows it with a byte of its own. */
static bool send_fds(struct client *client, GError **error)
{
	for (unsigned i = 0; i < client->fds->len; i++) {
		char byte = 0;
		struct iovec piece = {&byte, 1};
		union {
			char bytes[CMSG_SPACE(sizeof(int))];
			struct cmsghdr align;
		} control = {{0}};
		struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes,
					 .msg_controllen = sizeof(control.bytes)};
		struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(rights), &g_array_index(client->fds, int, i), sizeof(int));
		if (sendmsg(client_fd(client), &message, MSG_NOSIGNAL) != 1) {
			g_set_error(error, CLIENT_ERROR, CLIENT_SYSTEM, "Failed to send file descriptor: %s",
				    g_strerror(errno));
			return false;
		}
	}
	g_array_set_size(client->fds, 0);
	return true;
}

static bool call(struct client *client, uint32_t program, uint32_t procedure,
		 const struct xdr_type *args_type, const void *args, const struct xdr_type *ret_type,
		 void *ret, const struct watch *watch, GError **error)
{
	g_autoptr(GByteArray) payload = g_byte_array_new();
	g_autoptr(GError) why = NULL;
	uint8_t fds[4];
	be32_store(fds, client->fds->len);
	if (client->fds->len)
		g_byte_array_append(payload, fds, sizeof(fds));
	if (args_type && !xdr_encode(args_type, args, payload, &why)) {
		g_set_error(error, CLIENT_ERROR, CLIENT_RPC, "Unable to encode message payload: %s",
			    why->message);
		return false;
	}
	uint32_t serial = ++client->serial;
	g_hash_table_insert(client->replies, GUINT_TO_POINTER(serial), NULL);
	const struct remote_header header = {program, REMOTE_VERSION, procedure,
					     client->fds->len ? REMOTE_CALL_FDS : REMOTE_CALL,
					     serial, REMOTE_OK};
	if (!client_send(client, &header, payload->data, payload->len, error) || !send_fds(client, error))
		return false;
	struct message *reply = wait_reply(client, serial, watch, error);
	bool good = reply && read_reply(client, reply, ret_type, ret, error);
	message_free(reply);
	return good;
}

bool client_call_program(struct client *client, uint32_t program, uint32_t procedure,
			 const struct xdr_type *args_type, const void *args,
			 const struct xdr_type *ret_type, void *ret, GError **error)
{
	const struct watch nobody = {.interval_ms = -1};
	return call(client, program, procedure, args_type, args, ret_type, ret, &nobody, error);
}

bool client_call_watched(struct client *client, enum remote_procedure procedure, const void *args,
			 void *ret, int interval_ms, client_tick_fn *tick, void *opaque, GError **error)
{
	const struct remote_procedure_info *info = &remote_procedures[procedure];
	const struct watch watch = {interval_ms, tick, opaque};
	return call(client, REMOTE_PROGRAM, procedure, info->args, args, info->ret, ret, &watch, error);
}

bool client_call(struct client *client, enum remote_procedure procedure, const void *args, void *ret,
		 GError **error)
{
	const struct remote_procedure_info *info = &remote_procedures[procedure];
	return client_call_program(client, REMOTE_PROGRAM, procedure, info->args, args, info->ret, ret,
				   error);
}

void client_release(struct client *client)
{
	arena_clear(&client->arena);
}

struct arena *client_arena(struct client *client)
{
	return &client->arena;
}

/* --- Events ----------------------------------------------------------------------------------- */

static const struct xdr_type *event_type(const struct remote_header *header)
{
	if (header->program == QEMU_PROGRAM)
		return header->procedure == QEMU_EVENT ? &remote_qemu_event_type : NULL;
	return header->procedure < remote_procedure_count ? remote_procedures[header->procedure].args :
							    NULL;
}

/* False: an event that this version does not know, or that cannot be read. */
static bool decode_event(struct client *client, struct client_event *event)
{
	const struct message *message = client->event;
	const struct xdr_type *type = event_type(&message->header);
	arena_clear(&client->event_arena);
	event->program = message->header.program;
	event->procedure = message->header.procedure;
	event->args = NULL;
	if (!type)
		return message->size == 0;
	void *args = arena_alloc(&client->event_arena, type->size);
	event->args = args;
	return xdr_decode(type, message->payload, message->size, args, &client->event_arena, NULL);
}

int client_next_event(struct client *client, int timeout_ms, struct client_event *event,
		      GError **error)
{
	gint64 end = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
	for (;;) {
		message_free(client->event);
		client->event = g_queue_pop_head(&client->events);
		if (client->event && decode_event(client, event))
			return 1;
		if (client->event)
			continue;
		int left = timeout_ms < 0 ? -1 : MAX(0, (end - g_get_monotonic_time()) / 1000);
		int got = client_pump(client, left, error);
		if (got <= 0)
			return got;
	}
}
