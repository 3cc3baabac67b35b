/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kinds of pools there are, and who wants to hear of pools. */
#include "daemon/storage/storage.h"

#include "daemon/rpc/serve.h"

#include <string.h>

enum { EVENT_NUMBERS = 2 };

/* --- Kinds ---------------------------------------------------------------------------------- */

/* Formats that a volume may have, or be shown with. */
static const char *const formats[] = {
	"none", "raw", "dir", "bochs", "cloop", "iso", "vpc", "vdi", "qcow2", "qed", "vmdk", "vhdx",
	"parallels",
};

static void write_volume_options(struct xml_writer *w)
{
	xml_open(w, "volOptions", NULL);
	xml_empty(w, "defaultFormat", "type", "raw", NULL);
	xml_open(w, "enum", "name", "targetFormatType", NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++)
		xml_leaf(w, "value", formats[i], NULL);
	xml_close(w, "enum");
	xml_close(w, "volOptions");
}

void serve_connect_get_storage_pool_capabilities(
	struct rpc_call *call, const struct remote_connect_get_storage_pool_capabilities_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	struct xml_writer w = xml_writer_new();
	xml_open(&w, "storagepoolCapabilities", NULL);
	for (unsigned i = 0; conf_pool_types[i]; i++) {
		bool supported = i == CONF_POOL_DIR;
		xml_open(&w, "pool", "type", conf_pool_types[i], "supported", supported ? "yes" : "no",
			 NULL);
		if (supported)
			write_volume_options(&w);
		xml_close(&w, "pool");
	}
	xml_close(&w, "storagepoolCapabilities");
	g_autofree char *xml = xml_writer_take(&w);
	rpc_call_reply(call, &(struct remote_connect_get_storage_pool_capabilities_ret){xml});
}

void serve_connect_find_storage_pool_sources(
	struct rpc_call *call, const struct remote_connect_find_storage_pool_sources_args *args)
{
	unsigned type = 0;
	GError *error = NULL;
	while (conf_pool_types[type] && strcmp(conf_pool_types[type], args->type) != 0)
		type++;
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	if (!conf_pool_types[type])
		virt_error(&error, VIRT_FROM_STORAGE, VIRT_INTERNAL, "unknown storage pool type %s",
			   args->type);
	else if (type == CONF_POOL_DIR)
		virt_error(&error, VIRT_FROM_STORAGE, VIRT_NO_SUPPORT,
			   "pool type 'dir' does not support source discovery");
	else
		virt_error(&error, VIRT_FROM_STORAGE, VIRT_INTERNAL,
			   "missing backend for pool type %u (%s): Berth has dir", type, args->type);
	rpc_call_fail(call, error);
}

/* --- Events --------------------------------------------------------------------------------- */

void serve_connect_storage_pool_event_register_any(
	struct rpc_call *call, const struct remote_connect_storage_pool_event_register_any_args *args)
{
	GError *error = NULL;
	if (args->event < 0 || args->event >= EVENT_NUMBERS) {
		virt_error(&error, VIRT_FROM_RPC, VIRT_INTERNAL, "unsupported storage pool event ID %d",
			   args->event);
		rpc_call_fail(call, error);
		return;
	}
	int id = rpc_event_register(call, RPC_EVENT_STORAGE_POOL, args->event,
				    args->pool ? args->pool->uuid : NULL);
	if (id >= 0)
		rpc_call_reply(call, &(struct remote_connect_storage_pool_event_register_any_ret){id});
}

void serve_connect_storage_pool_event_deregister_any(
	struct rpc_call *call, const struct remote_connect_storage_pool_event_deregister_any_args *args)
{
	GError *error = NULL;
	if (rpc_event_deregister(call, RPC_EVENT_STORAGE_POOL, args->callback)) {
		rpc_call_reply(call, NULL);
		return;
	}
	virt_error(&error, VIRT_FROM_RPC, VIRT_INTERNAL, "storage pool event callback %d not registered",
		   args->callback);
	rpc_call_fail(call, error);
}
