/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A call from its message to its answer. */
#include "daemon/rpc/internal.h"

#include "base/log.h"
#include "daemon/rpc/dispatch.h"
#include "daemon/rpc/qemu.h"

static void call_free(struct rpc_call *call)
{
	arena_clear(&call->arena);
	g_free(call);
}

void call_orphan(struct rpc_call *call)
{
	call->client = NULL;
}

/* NULL: the program has no such procedure. */
static const struct remote_procedure_info *find_procedure(const struct remote_header *header)
{
	uint32_t number = header->procedure;
	if (header->program == QEMU_PROGRAM) {
		const struct qemu_procedure *procedure = qemu_procedure(number);
		return procedure ? &procedure->info : NULL;
	}
	return number < remote_procedure_count && remote_procedures[number].name
		       ? &remote_procedures[number] : NULL;
}

/* Why a call is not even tried, or true. */
static bool is_allowed(struct rpc_client *client, const struct remote_procedure_info *info,
		       uint32_t number, GError **error)
{
	if (!info || info->right == RIGHT_EVENT)
		return virt_error(error, VIRT_FROM_RPC, VIRT_RPC, "unknown procedure: %u", number);
	if (client->state != CLIENT_KNOWN && !auth_is_part(number))
		return virt_error(error, VIRT_FROM_RPC, VIRT_RPC, "authentication required");
	if (info->right != RIGHT_NONE && !client->opened)
		return virt_error(error, VIRT_FROM_RPC, VIRT_INTERNAL, "connection not open");
	if (info->right == RIGHT_WRITE && client->readonly)
		return virt_error_readonly(error, info->name, false);
	if (!info->served)
		return virt_error_unserved(error, info->name);
	return access_check(client, info, error);
}

/* The decoded arguments, or NULL with *error if they are bad. */
static const void *decode_args(struct rpc_call *call, const uint8_t *payload, size_t length,
			       GError **error)
{
	static const char nothing[1];
	const struct xdr_type *type = call->info->args;
	if (!type)
		return nothing;
	void *args = arena_alloc(&call->arena, type->size);
	g_autoptr(GError) cause = NULL;
	if (!xdr_decode(type, payload, length, args, &call->arena, &cause)) {
		virt_error(error, VIRT_FROM_RPC, VIRT_RPC, "Unable to decode message payload: %s",
			   cause->message);
		return NULL;
	}
	return args;
}

void call_begin(struct rpc_client *client, const struct remote_header *header,
		const uint8_t *payload, size_t length)
{
	GError *error = NULL;
	const struct remote_procedure_info *info = find_procedure(header);
	if (!is_allowed(client, info, header->procedure, &error)) {
		log_debug("client %d: procedure %u is refused: %s", client->fd, header->procedure,
			  error->message);
		client_send_error(client, header, REMOTE_REPLY, error);
		g_error_free(error);
		return;
	}
	struct rpc_call *call = g_new0(struct rpc_call, 1);
	call->client = client;
	call->daemon = client->server->daemon;
	call->header = *header;
	call->info = info;
	call->readonly = client->readonly;
	call->has_rules = client->server->rules != NULL;
	call->started_ns = aio_now_ns();
	g_ptr_array_add(client->calls, call);
	const void *args = decode_args(call, payload, length, &error);
	if (!args)
		rpc_call_fail(call, error);
	else if (header->program == QEMU_PROGRAM)
		qemu_procedure(header->procedure)->serve(call, args);
	else
		rpc_dispatch[header->procedure](call, args);
}

struct daemon *rpc_call_daemon(const struct rpc_call *call)
{
	return call->daemon;
}

struct arena *rpc_call_arena(struct rpc_call *call)
{
	return &call->arena;
}

static bool refuse_readonly(struct rpc_call *call, bool secrets)
{
	GError *error = NULL;
	virt_error_readonly(&error, call->info->name, secrets);
	rpc_call_fail(call, error);
	return false;
}

bool rpc_call_needs_write(struct rpc_call *call)
{
	return !call->readonly || refuse_readonly(call, false);
}

bool rpc_call_may_show(struct rpc_call *call, bool secrets)
{
	return !secrets || !call->readonly || refuse_readonly(call, true);
}

/* A line for each call: who, what, how long, and how it ended. */
static void log_call(const struct rpc_call *call, const char *result)
{
	if (!log_is_on(LOG_LEVEL_DEBUG))
		return;
	long long taken_us = (aio_now_ns() - call->started_ns) / 1000;
	char serial[16], latency[24], client[16];
	g_snprintf(serial, sizeof(serial), "%u", call->header.serial);
	g_snprintf(latency, sizeof(latency), "%lld", taken_us);
	g_snprintf(client, sizeof(client), "%d", call->client ? call->client->fd : -1);
	const struct log_field fields[] = {
		{"BERTH_PROCEDURE", call->info->name}, {"BERTH_CLIENT", client},
		{"BERTH_SERIAL", serial}, {"BERTH_LATENCY_US", latency}, {"BERTH_RESULT", result},
	};
	log_fields(LOG_LEVEL_DEBUG, fields, G_N_ELEMENTS(fields), "%s serial %s: %s in %s us",
		   call->info->name, serial, result, latency);
}

/* Log it, take it off the client's list, free it, and read on if the list was full. */
static void call_end(struct rpc_call *call, const char *result)
{
	log_call(call, result);
	struct rpc_client *client = call->client;
	if (client) {
		bool was_full = client->calls->len >= client->server->limits.calls;
		g_ptr_array_remove_fast(client->calls, call);
		if (was_full)
			client_resume(client);
	}
	call_free(call);
}

void rpc_call_reply(struct rpc_call *call, const void *ret)
{
	const struct xdr_type *type = call->info->ret;
	g_assert(!type == !ret);
	GError *error = NULL;
	ret = access_filter(call, ret, &error);
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	struct remote_header header = call->header;
	header.type = REMOTE_REPLY;
	header.status = REMOTE_OK;
	if (call->client)
		client_send(call->client, &header, type, ret);
	call_end(call, "done");
}

void rpc_call_fail(struct rpc_call *call, GError *error)
{
	if (call->client)
		client_send_error(call->client, &call->header, REMOTE_REPLY, error);
	call_end(call, error->message);
	g_error_free(error);
}

bool rpc_call_check_flags(struct rpc_call *call, uint32_t flags, uint32_t allowed)
{
	if (!(flags & ~allowed))
		return true;
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_QEMU, VIRT_INVALID_ARG, "unsupported flags (0x%x) in function %s",
		   flags & ~allowed, call->info->name);
	rpc_call_fail(call, error);
	return false;
}
