/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls that ask about secrets: answered from memory. */
#include "daemon/secret/secret.h"

#include "conf/domain.h"
#include "daemon/rpc/serve.h"

#include <string.h>

enum {
	LIST_EPHEMERAL = 1 << 0, LIST_NO_EPHEMERAL = 1 << 1, LIST_PRIVATE = 1 << 2,
	LIST_NO_PRIVATE = 1 << 3, LIST_ALL_FLAGS = (1 << 4) - 1,
};

static struct secrets *secrets_of(struct rpc_call *call)
{
	return rpc_call_daemon(call)->secrets;
}

/* --- Lists ---------------------------------------------------------------------------------- */

/* Borrowed secrets, in order of their UUIDs. */
static GPtrArray *select_secrets(struct rpc_call *call, uint32_t flags)
{
	GPtrArray *found = g_ptr_array_new();
	g_autoptr(GList) keys = g_list_sort(g_hash_table_get_keys(secrets_of(call)->by_uuid),
					    (GCompareFunc)strcmp);
	for (const GList *key = keys; key; key = key->next) {
		struct secret *secret = g_hash_table_lookup(secrets_of(call)->by_uuid, key->data);
		if (rpc_call_sees(call, RPC_SECRET, secret->conf->usage_id) &&
		    rpc_list_passes(flags, LIST_EPHEMERAL, LIST_NO_EPHEMERAL, secret->conf->ephemeral) &&
		    rpc_list_passes(flags, LIST_PRIVATE, LIST_NO_PRIVATE, secret->conf->is_private))
			g_ptr_array_add(found, secret);
	}
	return found;
}

void serve_connect_num_of_secrets(struct rpc_call *call)
{
	unsigned count = g_hash_table_size(secrets_of(call)->by_uuid);
	rpc_call_reply(call, &(struct remote_connect_num_of_secrets_ret){count});
}

void serve_connect_list_secrets(struct rpc_call *call,
				const struct remote_connect_list_secrets_args *args)
{
	g_autoptr(GPtrArray) found = select_secrets(call, 0);
	struct remote_connect_list_secrets_ret ret = {
		.uuids.count = MIN(found->len, (unsigned)MAX(args->maxuuids, 0))};
	ret.uuids.items = arena_alloc(rpc_call_arena(call), ret.uuids.count * sizeof(char *));
	for (unsigned i = 0; i < ret.uuids.count; i++)
		ret.uuids.items[i] = ((struct secret *)found->pdata[i])->uuid_text;
	rpc_call_reply(call, &ret);
}

void serve_connect_list_all_secrets(struct rpc_call *call,
				    const struct remote_connect_list_all_secrets_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, LIST_ALL_FLAGS))
		return;
	g_autoptr(GPtrArray) found = select_secrets(call, args->flags);
	struct remote_connect_list_all_secrets_ret ret = {.ret = found->len};
	if (args->need) {
		ret.secrets.count = found->len;
		ret.secrets.items = arena_alloc(rpc_call_arena(call),
						found->len * sizeof(*ret.secrets.items));
		for (unsigned i = 0; i < found->len; i++)
			ret.secrets.items[i] = secret_wire(((struct secret *)found->pdata[i])->conf);
	}
	rpc_call_reply(call, &ret);
}

/* --- One secret ----------------------------------------------------------------------------- */

static void reply_secret(struct rpc_call *call, const struct secret *secret, GError *error)
{
	if (!secret) {
		rpc_call_fail(call, error);
		return;
	}
	struct remote_secret_lookup_by_uuid_ret ret = {secret_wire(secret->conf)};
	rpc_call_reply(call, &ret);
}

void serve_secret_lookup_by_uuid(struct rpc_call *call,
				 const struct remote_secret_lookup_by_uuid_args *args)
{
	GError *error = NULL;
	const struct secret *secret =
		secret_by_uuid(secrets_of(call), args->uuid, &error);
	reply_secret(call, secret, error);
}

void serve_secret_lookup_by_usage(struct rpc_call *call,
				  const struct remote_secret_lookup_by_usage_args *args)
{
	GError *error = NULL;
	const struct secret *secret =
		secret_by_usage(secrets_of(call), args->usage_type, args->usage_id, &error);
	reply_secret(call, secret, error);
}

void serve_secret_get_xml_desc(struct rpc_call *call, const struct remote_secret_get_xml_desc_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	GError *error = NULL;
	const struct secret *secret = secret_by_uuid(secrets_of(call), args->secret.uuid, &error);
	if (!secret) {
		rpc_call_fail(call, error);
		return;
	}
	g_autofree char *xml = conf_secret_format(secret->conf);
	rpc_call_reply(call, &(struct remote_secret_get_xml_desc_ret){xml});
}

/* Only the daemon itself sees the value of a private one. */
void serve_secret_get_value(struct rpc_call *call, const struct remote_secret_get_value_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	GError *error = NULL;
	GBytes *value = NULL;
	const struct secret *secret = secret_by_uuid(secrets_of(call), args->secret.uuid, &error);
	if (secret && secret->conf->is_private)
		virt_error(&error, VIRT_FROM_SECRET, VIRT_INVALID_SECRET, "secret is private");
	else if (secret)
		value = secret_value(secret, &error);
	if (!value) {
		rpc_call_fail(call, error);
		return;
	}
	gsize length;
	struct remote_secret_get_value_ret ret;
	ret.value.items = (uint8_t *)g_bytes_get_data(value, &length);
	ret.value.count = length;
	rpc_call_reply(call, &ret);
}
