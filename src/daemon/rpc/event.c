/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is told of what. */
#include "daemon/rpc/internal.h"

#include <limits.h>
#include <string.h>

/* virt-manager has some thirty; a client that watches 1,000 domains one by one some thousands. */
#define REGISTRATIONS_MAX 8192

struct registration {
	struct rpc_client *client;
	enum rpc_event_family family;
	int event, id;
	bool one_object;
	uint8_t uuid[16];
};

int rpc_event_register(struct rpc_call *call, enum rpc_event_family family, int event,
		       const uint8_t *uuid)
{
	struct rpc_server *server = call->daemon->server;
	if (call->client && call->client->registrations >= REGISTRATIONS_MAX) {
		GError *error = NULL;
		virt_error(&error, VIRT_FROM_RPC, VIRT_OPERATION_FAILED,
			   "this client has registered for events %d times, and no more are possible: register for "
			   "all objects at once, or deregister", REGISTRATIONS_MAX);
		rpc_call_fail(call, error);
		return -1;
	}
	int id = server->next_event_id;
	server->next_event_id = id == INT_MAX ? 0 : id + 1;
	if (!call->client)
		return id;
	call->client->registrations++;
	struct registration *entry = g_new0(struct registration, 1);
	entry->client = call->client;
	entry->family = family;
	entry->event = event;
	entry->id = id;
	entry->one_object = uuid != NULL;
	if (uuid)
		memcpy(entry->uuid, uuid, sizeof(entry->uuid));
	g_ptr_array_add(server->events, entry);
	return id;
}

static bool deregister(struct rpc_call *call, enum rpc_event_family family, bool by_id, int number)
{
	GPtrArray *events = call->daemon->server->events;
	for (unsigned i = 0; i < events->len; i++) {
		const struct registration *entry = events->pdata[i];
		if (entry->client != call->client || entry->family != family ||
		    (by_id ? entry->id : entry->event) != number)
			continue;
		g_ptr_array_remove_index(events, i);
		call->client->registrations--;
		return true;
	}
	return false;
}

bool rpc_event_deregister(struct rpc_call *call, enum rpc_event_family family, int id)
{
	return deregister(call, family, true, id);
}

bool rpc_event_deregister_number(struct rpc_call *call, enum rpc_event_family family, int event)
{
	return deregister(call, family, false, event);
}

void rpc_event_emit(struct rpc_server *server, enum rpc_event_family family, int event,
		    const uint8_t *uuid, enum remote_procedure procedure, const void *body,
		    int32_t *id)
{
	/* libvirt's own daemon numbers events from 1; clients do not look at it. */
	const struct remote_header header = {
		REMOTE_PROGRAM, REMOTE_VERSION, procedure, REMOTE_EVENT, 1, REMOTE_OK,
	};
	/* Backwards: sending may find the client gone, which takes its entries off the list. */
	for (unsigned i = server->events->len; i-- > 0;) {
		if (i >= server->events->len)
			continue;
		const struct registration *entry = server->events->pdata[i];
		if (entry->family != family || entry->event != event ||
		    (entry->one_object && memcmp(entry->uuid, uuid, sizeof(entry->uuid)) != 0))
			continue;
		if (!access_hears(entry->client, remote_procedures[procedure].args, body))
			continue;
		if (id)
			*id = entry->id;
		struct rpc_client *client = entry->client;
		client_send(client, &header, remote_procedures[procedure].args, body);
		if (client_is_flooded(client))
			client_close(client, "it does not take its events");
	}
}

void event_forget_client(struct rpc_client *client)
{
	GPtrArray *events = client->server->events;
	for (unsigned i = events->len; i-- > 0;) {
		if (((struct registration *)events->pdata[i])->client == client)
			g_ptr_array_remove_index(events, i);
	}
}
