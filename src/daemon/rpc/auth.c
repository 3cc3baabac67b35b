/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls by which a client says who it is. Which of them it needs is said by its door. */
#include "daemon/rpc/internal.h"

#include "base/log.h"
#include "daemon/rpc/sasl.h"
#include "daemon/rpc/serve.h"

#include <arpa/inet.h>
#include <sys/socket.h>

enum { AUTH_NONE = 0, AUTH_SASL = 1 };

bool auth_is_part(uint32_t procedure)
{
	return procedure == REMOTE_AUTH_LIST || procedure == REMOTE_AUTH_SASL_INIT ||
	       procedure == REMOTE_AUTH_SASL_START || procedure == REMOTE_AUTH_SASL_STEP ||
	       procedure == REMOTE_AUTH_POLKIT;
}

void serve_auth_list(struct rpc_call *call)
{
	bool needed = call->client && call->client->state == CLIENT_AUTHENTICATES;
	int32_t type = needed ? AUTH_SASL : AUTH_NONE;
	struct remote_auth_list_ret ret = {.types = {1, &type}};
	rpc_call_reply(call, &ret);
}

/* "ADDRESS;PORT" as SASL wants it, or NULL if the socket has no such address. g_free(). */
static char *address_of(int fd, int (*name)(int, struct sockaddr *, socklen_t *))
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address;
	socklen_t size = sizeof(address);
	char text[INET6_ADDRSTRLEN];
	if (name(fd, &address.any, &size) < 0)
		return NULL;
	if (address.any.sa_family == AF_INET)
		return g_strdup_printf("%s;%u",
				       inet_ntop(AF_INET, &address.v4.sin_addr, text, sizeof(text)),
				       ntohs(address.v4.sin_port));
	if (address.any.sa_family == AF_INET6)
		return g_strdup_printf("%s;%u",
				       inet_ntop(AF_INET6, &address.v6.sin6_addr, text, sizeof(text)),
				       ntohs(address.v6.sin6_port));
	return NULL;
}

static struct sasl_session *begin(const struct rpc_client *client, GError **error)
{
	const struct wire *wire = &client->wire;
	g_autofree char *local = address_of(wire->fd, getsockname);
	g_autofree char *remote = address_of(wire->fd, getpeername);
	const struct sasl_settings settings = {
		.local = local, .remote = remote,
		.external_ssf = wire->tls ? gnutls_cipher_get_key_size(gnutls_cipher_get(wire->tls)) * 8
					  : 0,
		.min_ssf = client->door->remote && !wire->tls ? client->door->min_ssf : 0,
	};
	return sasl_session_new(&settings, error);
}

/* The client must be one that has yet to authenticate. */
static bool is_expected(struct rpc_call *call, GError **error)
{
	return (call->client && call->client->state == CLIENT_AUTHENTICATES) ||
	       virt_error(error, VIRT_FROM_RPC, VIRT_AUTH_FAILED,
			  "this client need not authenticate, or has done so");
}

/*
 * What the client is told of a failure is always the same: which part was wrong helps only those who
 * guess. The log has the cause.
 */
static void refuse(struct rpc_call *call, const char *cause)
{
	GError *error = NULL;
	log_warning("client %d does not authenticate: %s",
		    call->client ? call->client->fd : -1, cause);
	if (call->client)
		g_clear_pointer(&call->client->sasl, sasl_session_free);
	virt_error(&error, VIRT_FROM_RPC, VIRT_AUTH_FAILED, "authentication failed");
	rpc_call_fail(call, error);
}

void serve_auth_sasl_init(struct rpc_call *call)
{
	GError *error = NULL;
	g_autoptr(GError) cause = NULL;
	if (!is_expected(call, &error)) {
		rpc_call_fail(call, error);
		return;
	}
	struct rpc_client *client = call->client;
	sasl_session_free(client->sasl);
	client->sasl = begin(client, &cause);
	struct remote_auth_sasl_init_ret ret = {
		client->sasl ? (char *)sasl_session_mechanisms(client->sasl, &cause) : NULL};
	if (ret.mechlist)
		rpc_call_reply(call, &ret);
	else
		refuse(call, cause->message);
}

static bool is_user_allowed(const struct rpc_client *client, const char *user, GError **error)
{
	const char *const *pattern = client->door->users;
	bool allowed = !pattern;
	for (; pattern && *pattern && !allowed; pattern++)
		allowed = g_pattern_match_simple(*pattern, user);
	return allowed || error_set(error, BERTH_ERR_INVALID, "sasl_allowed_username_list has not '%s'",
				    user);
}

/* The exchange is over: may this user come in, and how does it go on? */
static bool finish(struct rpc_client *client, GError **error)
{
	const char *user = sasl_session_user(client->sasl, error);
	bool layer;
	if (!user || !is_user_allowed(client, user, error) ||
	    !sasl_session_layer(client->sasl, &layer, error))
		return false;
	client->user = g_strdup(user);
	log_debug("client %d is %s", client->fd, user);
	if (layer)
		client->state = CLIENT_SWITCHES;
	else
		client_admit(client);
	return true;
}

struct exchange {
	int32_t nil;
	uint32_t count;
	const int32_t *items;
};

/* XDR's "char" is a word for each byte. */
static uint8_t *to_bytes(struct rpc_call *call, const struct exchange *sent)
{
	if (sent->nil)
		return NULL;
	uint8_t *bytes = arena_alloc(rpc_call_arena(call), MAX(sent->count, 1));
	for (uint32_t i = 0; i < sent->count; i++)
		bytes[i] = sent->items[i];
	return bytes;
}

static int32_t *to_words(struct rpc_call *call, const char *bytes, unsigned count)
{
	int32_t *words = arena_alloc(rpc_call_arena(call), MAX(count, 1) * sizeof(*words));
	for (unsigned i = 0; i < count; i++)
		words[i] = (signed char)bytes[i];
	return words;
}

/* The results of start and step are the same; `ret` is that of either. */
static void advance(struct rpc_call *call, const char *mechanism, const struct exchange *sent)
{
	struct rpc_client *client = call->client;
	g_autoptr(GError) error = NULL;
	const char *reply = NULL;
	unsigned size = 0;
	bool complete = false;
	if (!is_expected(call, &error)) {
		rpc_call_fail(call, g_steal_pointer(&error));
		return;
	}
	if (!client->sasl) {
		refuse(call, "the exchange has not begun");
		return;
	}
	if (!sasl_session_step(client->sasl, mechanism, to_bytes(call, sent), sent->nil ? 0 : sent->count,
			       &reply, &size, &complete, &error)) {
		refuse(call, error->message);
		return;
	}
	int32_t *words = reply ? to_words(call, reply, size) : NULL;
	if (complete && !finish(client, &error)) {
		refuse(call, error->message);
		return;
	}
	struct remote_auth_sasl_step_ret ret = {complete, !reply, {reply ? size : 0, words}};
	rpc_call_reply(call, &ret);
}

G_STATIC_ASSERT(sizeof(struct remote_auth_sasl_start_ret) == sizeof(struct remote_auth_sasl_step_ret));

void serve_auth_sasl_start(struct rpc_call *call, const struct remote_auth_sasl_start_args *args)
{
	advance(call, args->mech, &(struct exchange){args->nil, args->data.count, args->data.items});
}

void serve_auth_sasl_step(struct rpc_call *call, const struct remote_auth_sasl_step_args *args)
{
	advance(call, NULL, &(struct exchange){args->nil, args->data.count, args->data.items});
}
