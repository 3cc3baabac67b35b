/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls that ask what pools and volumes there are: answered from memory. */
#include "daemon/storage/storage.h"

#include "daemon/rpc/serve.h"

#include <string.h>

/* libvirt's flags come in pairs: neither or both of a pair means all; then a bit for each type. */
enum {
	LIST_INACTIVE = 1 << 0, LIST_ACTIVE = 1 << 1, LIST_PERSISTENT = 1 << 2, LIST_TRANSIENT = 1 << 3,
	LIST_AUTOSTART = 1 << 4, LIST_NO_AUTOSTART = 1 << 5, LIST_DIR = 1 << 6,
	LIST_ALL_FLAGS = (1 << 20) - 1, LIST_TYPES = LIST_ALL_FLAGS & ~(LIST_DIR - 1),
	XML_INACTIVE = 1,
};

/* --- Pools ---------------------------------------------------------------------------------- */

static bool matches(const struct storage_pool *pool, uint32_t flags)
{
	/* One that is being defined or created for the first time is not there yet. */
	return storage_pool_conf(pool) && rpc_list_passes(flags, LIST_ACTIVE, LIST_INACTIVE, pool->live) &&
	       rpc_list_passes(flags, LIST_PERSISTENT, LIST_TRANSIENT, pool->definition) &&
	       rpc_list_passes(flags, LIST_AUTOSTART, LIST_NO_AUTOSTART, pool->autostart) &&
	       (!(flags & LIST_TYPES) || flags & LIST_DIR);
}

static int compare_pools(const void *a, const void *b)
{
	return strcmp((*(struct storage_pool *const *)a)->name, (*(struct storage_pool *const *)b)->name);
}

/* Borrowed pools, by name. */
static GPtrArray *select_pools(struct rpc_call *call, uint32_t flags)
{
	GPtrArray *found = g_ptr_array_new();
	GHashTableIter iter;
	void *pool;
	g_hash_table_iter_init(&iter, rpc_call_daemon(call)->storage->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &pool)) {
		if (matches(pool, flags) &&
		    rpc_call_sees(call, RPC_POOL, ((struct storage_pool *)pool)->name))
			g_ptr_array_add(found, pool);
	}
	g_ptr_array_sort(found, compare_pools);
	return found;
}

static void reply_names(struct rpc_call *call, uint32_t flags, int max)
{
	g_autoptr(GPtrArray) found = select_pools(call, flags);
	struct remote_connect_list_storage_pools_ret ret = {
		.names.count = MIN(found->len, (unsigned)MAX(max, 0))};
	ret.names.items = arena_alloc(rpc_call_arena(call), ret.names.count * sizeof(char *));
	for (unsigned i = 0; i < ret.names.count; i++)
		ret.names.items[i] = ((struct storage_pool *)found->pdata[i])->name;
	rpc_call_reply(call, &ret);
}

static void reply_count(struct rpc_call *call, uint32_t flags)
{
	g_autoptr(GPtrArray) found = select_pools(call, flags);
	rpc_call_reply(call, &(struct remote_connect_num_of_storage_pools_ret){found->len});
}

void serve_connect_num_of_storage_pools(struct rpc_call *call)
{
	reply_count(call, LIST_ACTIVE);
}

void serve_connect_num_of_defined_storage_pools(struct rpc_call *call)
{
	reply_count(call, LIST_INACTIVE);
}

void serve_connect_list_storage_pools(struct rpc_call *call,
				      const struct remote_connect_list_storage_pools_args *args)
{
	reply_names(call, LIST_ACTIVE, args->maxnames);
}

void serve_connect_list_defined_storage_pools(
	struct rpc_call *call, const struct remote_connect_list_defined_storage_pools_args *args)
{
	reply_names(call, LIST_INACTIVE, args->maxnames);
}

void serve_connect_list_all_storage_pools(struct rpc_call *call,
					  const struct remote_connect_list_all_storage_pools_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, LIST_ALL_FLAGS))
		return;
	g_autoptr(GPtrArray) found = select_pools(call, args->flags);
	struct remote_connect_list_all_storage_pools_ret ret = {.ret = found->len};
	if (args->need) {
		ret.pools.count = found->len;
		ret.pools.items = arena_alloc(rpc_call_arena(call),
					      found->len * sizeof(*ret.pools.items));
		for (unsigned i = 0; i < found->len; i++)
			ret.pools.items[i] = storage_pool_wire(found->pdata[i]);
	}
	rpc_call_reply(call, &ret);
}

/* --- One pool ------------------------------------------------------------------------------- */

/* `what` is the end of libvirt's sentence. */
static void reply_pool(struct rpc_call *call, const struct storage_pool *pool, const char *what,
		       const char *value)
{
	GError *error = NULL;
	if (pool) {
		struct remote_storage_pool_lookup_by_name_ret ret = {storage_pool_wire(pool)};
		rpc_call_reply(call, &ret);
		return;
	}
	virt_error(&error, VIRT_FROM_STORAGE, VIRT_NO_STORAGE_POOL, "no storage pool with matching %s '%s'",
		   what, value);
	rpc_call_fail(call, error);
}

void serve_storage_pool_lookup_by_name(struct rpc_call *call,
				       const struct remote_storage_pool_lookup_by_name_args *args)
{
	reply_pool(call, storage_pool_by_name(rpc_call_daemon(call)->storage, args->name), "name",
		   args->name);
}

void serve_storage_pool_lookup_by_uuid(struct rpc_call *call,
				       const struct remote_storage_pool_lookup_by_uuid_args *args)
{
	struct remote_storage_pool asked = {.name = ""};
	memcpy(asked.uuid, args->uuid, sizeof(asked.uuid));
	struct storage_pool *pool = storage_pool_find(call, &asked);
	if (pool)
		reply_pool(call, pool, NULL, NULL);
}

void serve_storage_pool_lookup_by_volume(struct rpc_call *call,
					 const struct remote_storage_pool_lookup_by_volume_args *args)
{
	struct storage_pool *pool = storage_pool_by_name(rpc_call_daemon(call)->storage, args->vol.pool);
	if (!pool || rpc_call_may(call, RPC_POOL, pool->name))
		reply_pool(call, pool, "name", args->vol.pool);
}

void serve_storage_pool_lookup_by_target_path(
	struct rpc_call *call, const struct remote_storage_pool_lookup_by_target_path_args *args)
{
	g_autoptr(GPtrArray) active = select_pools(call, LIST_ACTIVE);
	const struct storage_pool *found = NULL;
	for (unsigned i = 0; !found && i < active->len; i++) {
		const struct storage_pool *pool = active->pdata[i];
		if (strcmp(pool->live->path, args->path) == 0)
			found = pool;
	}
	reply_pool(call, found, "target path", args->path);
}

void serve_storage_pool_get_info(struct rpc_call *call,
				 const struct remote_storage_pool_get_info_args *args)
{
	const struct storage_pool *pool = storage_pool_find(call, &args->pool);
	if (!pool)
		return;
	struct remote_storage_pool_get_info_ret ret = {.state = STORAGE_INACTIVE};
	if (pool->live)
		ret = (struct remote_storage_pool_get_info_ret){
			STORAGE_RUNNING, pool->usage.capacity, pool->usage.allocation,
			pool->usage.available};
	rpc_call_reply(call, &ret);
}

void serve_storage_pool_get_xml_desc(struct rpc_call *call,
				     const struct remote_storage_pool_get_xml_desc_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, XML_INACTIVE))
		return;
	const struct storage_pool *pool = storage_pool_find(call, &args->pool);
	if (!pool)
		return;
	bool wants_definition = args->flags & XML_INACTIVE && pool->definition;
	bool live = pool->live && !wants_definition;
	const struct conf_pool *conf = live ? pool->live : pool->definition;
	if (!conf) {
		reply_pool(call, NULL, "name", pool->name);
		return;
	}
	g_autofree char *xml = conf_pool_format(conf, live ? &pool->usage : NULL,
						live ? &pool->permissions : NULL);
	rpc_call_reply(call, &(struct remote_storage_pool_get_xml_desc_ret){xml});
}

void serve_storage_pool_get_autostart(struct rpc_call *call,
				      const struct remote_storage_pool_get_autostart_args *args)
{
	const struct storage_pool *pool = storage_pool_find(call, &args->pool);
	if (pool)
		rpc_call_reply(call, &(struct remote_storage_pool_get_autostart_ret){pool->autostart});
}

void serve_storage_pool_is_active(struct rpc_call *call,
				  const struct remote_storage_pool_is_active_args *args)
{
	const struct storage_pool *pool = storage_pool_find(call, &args->pool);
	if (pool)
		rpc_call_reply(call, &(struct remote_storage_pool_is_active_ret){pool->live != NULL});
}

void serve_storage_pool_is_persistent(struct rpc_call *call,
				      const struct remote_storage_pool_is_persistent_args *args)
{
	const struct storage_pool *pool = storage_pool_find(call, &args->pool);
	if (pool)
		rpc_call_reply(call, &(struct remote_storage_pool_is_persistent_ret){
					     pool->definition != NULL});
}

/* --- Volumes -------------------------------------------------------------------------------- */

static int compare_volumes(const void *a, const void *b)
{
	return strcmp((*(const struct conf_volume *const *)a)->name,
		      (*(const struct conf_volume *const *)b)->name);
}

/* Borrowed struct conf_volume, by name; NULL with the call failed if the pool is not active. */
static GPtrArray *select_volumes(struct rpc_call *call, const struct remote_storage_pool *wire,
				 struct storage_pool **pool)
{
	*pool = storage_pool_find(call, wire);
	GError *error = NULL;
	if (!*pool)
		return NULL;
	if (!storage_pool_check_active(*pool, &error)) {
		rpc_call_fail(call, error);
		return NULL;
	}
	GPtrArray *found = g_ptr_array_new();
	GHashTableIter iter;
	void *volume;
	g_hash_table_iter_init(&iter, (*pool)->volumes);
	while (g_hash_table_iter_next(&iter, NULL, &volume))
		g_ptr_array_add(found, ((struct storage_volume *)volume)->conf);
	g_ptr_array_sort(found, compare_volumes);
	return found;
}

void serve_storage_pool_num_of_volumes(struct rpc_call *call,
				       const struct remote_storage_pool_num_of_volumes_args *args)
{
	struct storage_pool *pool;
	g_autoptr(GPtrArray) found = select_volumes(call, &args->pool, &pool);
	if (found)
		rpc_call_reply(call, &(struct remote_storage_pool_num_of_volumes_ret){found->len});
}

void serve_storage_pool_list_volumes(struct rpc_call *call,
				     const struct remote_storage_pool_list_volumes_args *args)
{
	struct storage_pool *pool;
	g_autoptr(GPtrArray) found = select_volumes(call, &args->pool, &pool);
	if (!found)
		return;
	struct remote_storage_pool_list_volumes_ret ret = {
		.names.count = MIN(found->len, (unsigned)MAX(args->maxnames, 0))};
	ret.names.items = arena_alloc(rpc_call_arena(call), ret.names.count * sizeof(char *));
	for (unsigned i = 0; i < ret.names.count; i++)
		ret.names.items[i] = ((struct conf_volume *)found->pdata[i])->name;
	rpc_call_reply(call, &ret);
}

void serve_storage_pool_list_all_volumes(struct rpc_call *call,
					 const struct remote_storage_pool_list_all_volumes_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	struct storage_pool *pool;
	g_autoptr(GPtrArray) found = select_volumes(call, &args->pool, &pool);
	if (!found)
		return;
	struct remote_storage_pool_list_all_volumes_ret ret = {.ret = found->len};
	if (args->need) {
		ret.vols.count = found->len;
		ret.vols.items = arena_alloc(rpc_call_arena(call), found->len * sizeof(*ret.vols.items));
		for (unsigned i = 0; i < found->len; i++)
			ret.vols.items[i] = storage_volume_wire(pool, found->pdata[i]);
	}
	rpc_call_reply(call, &ret);
}

static void reply_volume(struct rpc_call *call, const struct storage_pool *pool,
			 const struct storage_volume *volume)
{
	struct remote_storage_vol_lookup_by_name_ret ret = {storage_volume_wire(pool, volume->conf)};
	rpc_call_reply(call, &ret);
}

void serve_storage_vol_lookup_by_name(struct rpc_call *call,
				      const struct remote_storage_vol_lookup_by_name_args *args)
{
	GError *error = NULL;
	struct storage_pool *pool = storage_pool_find(call, &args->pool);
	if (!pool)
		return;
	const struct storage_volume *volume = storage_volume_find(pool, args->name, &error);
	if (volume)
		reply_volume(call, pool, volume);
	else
		rpc_call_fail(call, error);
}

/* A volume's path is its key. `what` is the end of libvirt's sentence. */
static void lookup_path(struct rpc_call *call, const char *path, const char *what)
{
	g_autoptr(GPtrArray) active = select_pools(call, LIST_ACTIVE);
	g_autofree char *clean = *path == '/' ? g_canonicalize_filename(path, NULL) : g_strdup(path);
	g_autofree char *folder = g_path_get_dirname(clean), *name = g_path_get_basename(clean);
	for (unsigned i = 0; i < active->len; i++) {
		struct storage_pool *pool = active->pdata[i];
		const struct storage_volume *volume = strcmp(pool->live->path, folder) == 0
			? g_hash_table_lookup(pool->volumes, name) : NULL;
		if (volume) {
			reply_volume(call, pool, volume);
			return;
		}
	}
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_STORAGE, VIRT_NO_STORAGE_VOL, "no storage vol with matching %s", what);
	rpc_call_fail(call, error);
}

void serve_storage_vol_lookup_by_key(struct rpc_call *call,
				     const struct remote_storage_vol_lookup_by_key_args *args)
{
	g_autofree char *what = g_strdup_printf("key %s", args->key);
	lookup_path(call, args->key, what);
}

void serve_storage_vol_lookup_by_path(struct rpc_call *call,
				      const struct remote_storage_vol_lookup_by_path_args *args)
{
	g_autofree char *what = g_strdup_printf("path '%s'", args->path);
	lookup_path(call, args->path, what);
}
