/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: showing disks of the running machine to NBD clients. */
#include "vmm.h"

#include "base/error.h"
#include "block/core/graph.h"
#include "block/core/image.h"
#include "block/core/object.h"
#include "block/export/nbd_server.h"
#include "block/nbd/tls.h"
#include "qmp_args.h"

#include <string.h>

static bool need_server(struct vmm *vmm, GError **error)
{
	if (vmm->backends.nbd)
		return true;
	qmp_error(error, QMP_ERROR_GENERIC, "NBD server not running");
	return false;
}

static json_t *run_start(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct nbd_address address = {0};
	json_int_t clients = arg_int(args, "max-connections", 0);
	struct nbd_server_options options = {.max_connections = clients};
	const char *creds = arg_text(args, "tls-creds");
	if (vmm->backends.nbd)
		return qmp_error(error, QMP_ERROR_GENERIC, "NBD server already running");
	if (clients < 0 || clients > INT32_MAX)
		return qmp_error(error, QMP_ERROR_GENERIC, "max-connections is not negative");
	if (creds && !(options.tls = block_object_take(vmm->backends.graph, creds, BLOCK_OBJECT_TLS, error)))
		return NULL;
	if (nbd_address_from_json(&address, json_object_get(args, "addr"), error))
		vmm->backends.nbd = nbd_server_new(&address, &options, vmm->loop, error);
	nbd_address_clear(&address);
	nbd_tls_creds_unref(options.tls);
	return NULL;
}

static void tell_deleted(struct vmm *vmm, const char *id)
{
	monitor_emit(vmm->monitor, "BLOCK_EXPORT_DELETED", json_pack("{s:s}", "id", id));
}

static json_t *run_stop(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	if (!need_server(vmm, error))
		return NULL;
	json_t *exports = nbd_server_describe(vmm->backends.nbd);
	nbd_server_free(vmm->backends.nbd);
	vmm->backends.nbd = NULL;
	for (size_t i = 0; i < json_array_size(exports); i++)
		tell_deleted(vmm, arg_text(json_array_get(exports, i), "id"));
	json_decref(exports);
	return NULL;
}

/* Names of bitmaps for the server, ended by NULL: strings, or {"node":..., "name":...}. */
static GPtrArray *bitmap_names(const json_t *list, const char *one)
{
	GPtrArray *names = g_ptr_array_new();
	if (one)
		g_ptr_array_add(names, (void *)one);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *entry = json_array_get(list, i);
		const char *name = json_is_string(entry) ? json_string_value(entry)
							 : arg_text(entry, "name");
		g_ptr_array_add(names, (void *)(name ? name : ""));
	}
	g_ptr_array_add(names, NULL);
	return names;
}

static void add(struct vmm *vmm, const char *node_name, struct nbd_export_options *options,
		const json_t *bitmaps, const char *bitmap, GError **error)
{
	struct block_node *node = disks_find_node(&vmm->backends, node_name, error);
	if (!node)
		return;
	g_autoptr(GPtrArray) names = bitmap_names(bitmaps, bitmap);
	options->bitmaps = (const char *const *)names->pdata;
	nbd_server_add(vmm->backends.nbd, vmm->backends.graph, node, options, error);
}

static json_t *run_export_add(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *node = arg_text(args, "node-name"), *name = arg_text(args, "name");
	struct nbd_export_options options = {
		.id = arg_text(args, "id"), .name = name ? name : node,
		.description = arg_text(args, "description"),
		.writable = arg_flag(args, "writable", false),
		.writethrough = arg_flag(args, "writethrough", false),
		.allocation_depth = arg_flag(args, "allocation-depth", false)};
	if (strcmp(arg_text(args, "type"), "nbd") != 0)
		return qmp_error(error, QMP_ERROR_GENERIC, "there are no exports of type '%s': use nbd",
				 arg_text(args, "type"));
	if (need_server(vmm, error))
		add(vmm, node, &options, json_object_get(args, "bitmaps"), NULL, error);
	return NULL;
}

/* The older form: one name is the id, the export's name, and the disk's unless there is another. */
static json_t *run_nbd_add(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *device = arg_text(args, "device"), *name = arg_text(args, "name");
	struct nbd_export_options options = {.id = name ? name : device, .name = name ? name : device,
					     .description = arg_text(args, "description"),
					     .writable = arg_flag(args, "writable", false)};
	if (need_server(vmm, error))
		add(vmm, device, &options, NULL, arg_text(args, "bitmap"), error);
	return NULL;
}

static void remove_export(struct vmm *vmm, const char *id, const json_t *args, GError **error)
{
	const char *mode = arg_text(args, "mode");
	g_autofree char *kept = g_strdup(id);
	if (need_server(vmm, error) &&
	    nbd_server_remove(vmm->backends.nbd, kept, mode && strcmp(mode, "hard") == 0, error))
		tell_deleted(vmm, kept);
}

static json_t *run_export_del(void *opaque, const json_t *args, GError **error)
{
	remove_export(opaque, arg_text(args, "id"), args, error);
	return NULL;
}

static json_t *run_nbd_remove(void *opaque, const json_t *args, GError **error)
{
	remove_export(opaque, arg_text(args, "name"), args, error);
	return NULL;
}

static json_t *run_query(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	return vmm->backends.nbd ? nbd_server_describe(vmm->backends.nbd) : json_array();
}

static const struct qmp_command commands[] = {
	{"nbd-server-start", "addr:any tls-creds?:str max-connections?:int", NULL, run_start},
	{"nbd-server-add", "device:str name?:str description?:str writable?:bool bitmap?:str", NULL,
	 run_nbd_add},
	{"nbd-server-remove", "name:str mode?:BlockExportRemoveMode", NULL, run_nbd_remove},
	{"nbd-server-stop", NULL, NULL, run_stop},
	{"block-export-add",
	 "type:str id:str node-name:str writable?:bool writethrough?:bool name?:str description?:str "
	 "allocation-depth?:bool bitmaps?:[any]", NULL, run_export_add},
	{"block-export-del", "id:str mode?:BlockExportRemoveMode", NULL, run_export_del},
	{"query-block-exports", NULL, "[BlockExportInfo]", run_query},
	{NULL},
};

static const struct qmp_type types[] = {
	{"BlockExportRemoveMode", "=safe hard"},
	{"BlockExportInfo", "id:str type:str node-name:str shutting-down:bool"},
	{NULL},
};

static const struct qmp_event events[] = {
	{"BLOCK_EXPORT_DELETED", "id:str"},
	{NULL},
};

const struct qmp_table qmp_export_table = {commands, types, events, NULL};
