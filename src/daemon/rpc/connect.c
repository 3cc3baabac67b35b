/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls that open and close a connection, and what it can do. */
#include "daemon/rpc/internal.h"

#include "daemon/rpc/serve.h"

#include <string.h>

enum {
	OPEN_READONLY = 1,
	FEATURE_TYPED_PARAM_STRING = 9,
	FEATURE_KEEPALIVE = 10,
	FEATURE_EVENT_CALLBACK = 14,
	FEATURE_CLOSE_CALLBACK = 15,
	FEATURE_NETWORK_UPDATE_ORDER = 16, /* the command stands before the section */
};

/* Clients strip the transport: "qemu:///system" is what is left, or "" to let us choose. */
static bool is_our_uri(const char *name, const char *ours)
{
	return !name || !*name || strcmp(name, ours) == 0;
}

void serve_connect_open(struct rpc_call *call, const struct remote_connect_open_args *args)
{
	GError *error = NULL;
	const char *uri = call->daemon->uri;
	if (!call->client)
		rpc_call_reply(call, NULL);
	else if (call->client->opened)
		rpc_call_fail(call, g_error_new(BERTH_ERROR, BERTH_ERR_INTERNAL,
						"connection is already open"));
	else if (!is_our_uri(args->name, uri)) {
		virt_error(&error, VIRT_FROM_NONE, VIRT_NO_CONNECT, "%s: this daemon serves %s",
			   args->name, uri);
		rpc_call_fail(call, error);
	} else {
		call->client->opened = true;
		call->client->readonly |= args->flags & OPEN_READONLY;
		rpc_call_reply(call, NULL);
	}
}

void serve_connect_close(struct rpc_call *call)
{
	/* The answer must be out before the socket is closed. */
	if (call->client)
		call->client->ending = true;
	rpc_call_reply(call, NULL);
}

void serve_connect_supports_feature(struct rpc_call *call,
				    const struct remote_connect_supports_feature_args *args)
{
	struct remote_connect_supports_feature_ret ret = {0};
	switch (args->feature) {
	case FEATURE_KEEPALIVE:
		if (call->client)
			call->client->wants_keepalive = true;
		ret.supported = 1;
		break;
	case FEATURE_TYPED_PARAM_STRING:
	case FEATURE_EVENT_CALLBACK:
	case FEATURE_CLOSE_CALLBACK:
	case FEATURE_NETWORK_UPDATE_ORDER:
		ret.supported = 1;
		break;
	}
	rpc_call_reply(call, &ret);
}

/*
 * The message is about a hypervisor's connection that the daemon loses. Ours are to one VMM each, so
 * that there is never such a message; the client sees by itself when its own connection ends.
 */
void serve_connect_register_close_callback(struct rpc_call *call)
{
	rpc_call_reply(call, NULL);
}

void serve_connect_unregister_close_callback(struct rpc_call *call)
{
	rpc_call_reply(call, NULL);
}
