/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All pools, by name and UUID; and how they come back when the daemon starts. A definition is kept
 * for ever; the mark of an active pool is its XML with the kernel's boot id, as an active pool is
 * still active for a new daemon, but not after the machine has started anew.
 */
#include "daemon/storage/watch.h"

#include "base/error.h"
#include "base/log.h"
#include "conf/domain.h"
#include "daemon/domain/store.h"

#include <string.h>
#include <unistd.h>

/* Of slow or dead file servers there may be many; more at once would be of no use to a local disk. */
enum { WORKERS = 4 };
/* How long the daemon's start waits for pools to be ready: clients come at once, and look. */
#define START_WAIT_NS (INT64_C(2) * 1000 * 1000 * 1000)

/* --- Pools ---------------------------------------------------------------------------------- */

static void volume_free(void *opaque)
{
	struct storage_volume *volume = opaque;
	conf_volume_free(volume->conf);
	g_free(volume);
}

struct storage_pool *storage_pool_add(struct storage *storage, const struct conf_pool *conf)
{
	struct storage_pool *pool = g_new0(struct storage_pool, 1);
	pool->all = storage;
	pool->references = 1;
	memcpy(pool->uuid, conf->uuid, sizeof(pool->uuid));
	conf_uuid_format(conf->uuid, pool->uuid_text);
	pool->name = g_strdup(conf->name);
	pool->first_path = g_strdup(conf->path);
	pool->volumes = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, volume_free);
	g_queue_init(&pool->queue);
	storage_watch_init(pool);
	g_hash_table_insert(storage->by_uuid, pool->uuid_text, pool);
	g_hash_table_insert(storage->by_name, pool->name, pool);
	return pool;
}

struct storage_pool *storage_pool_ref(struct storage_pool *pool)
{
	pool->references++;
	return pool;
}

void storage_pool_unref(struct storage_pool *pool)
{
	if (--pool->references)
		return;
	storage_watch_clear(pool);
	conf_pool_free(pool->definition);
	conf_pool_free(pool->live);
	g_hash_table_unref(pool->volumes);
	g_free(pool->first_path);
	g_free(pool->name);
	g_free(pool);
}

void storage_pool_remove(struct storage_pool *pool)
{
	g_hash_table_remove(pool->all->by_uuid, pool->uuid_text);
	g_hash_table_remove(pool->all->by_name, pool->name);
	pool->removed = true;
	storage_pool_unref(pool);
}

struct storage_pool *storage_pool_by_uuid(struct storage *storage, const uint8_t uuid[16])
{
	char text[37];
	conf_uuid_format(uuid, text);
	return g_hash_table_lookup(storage->by_uuid, text);
}

struct storage_pool *storage_pool_by_name(struct storage *storage, const char *name)
{
	return g_hash_table_lookup(storage->by_name, name);
}

struct storage_pool *storage_pool_find(struct rpc_call *call, const struct remote_storage_pool *wire)
{
	struct storage_pool *pool = storage_pool_by_uuid(rpc_call_daemon(call)->storage, wire->uuid);
	if (pool)
		return rpc_call_may(call, RPC_POOL, pool->name) ? pool : NULL;
	char text[37];
	conf_uuid_format(wire->uuid, text);
	GError *error = NULL;
	virt_error(&error, VIRT_FROM_STORAGE, VIRT_NO_STORAGE_POOL,
		   "no storage pool with matching uuid '%s' (%s)", text, wire->name);
	rpc_call_fail(call, error);
	return NULL;
}

const struct conf_pool *storage_pool_conf(const struct storage_pool *pool)
{
	return pool->live ? pool->live : pool->definition;
}

struct remote_storage_pool storage_pool_wire(const struct storage_pool *pool)
{
	struct remote_storage_pool wire = {.name = pool->name};
	memcpy(wire.uuid, pool->uuid, sizeof(wire.uuid));
	return wire;
}

bool storage_pool_check_active(const struct storage_pool *pool, GError **error)
{
	return pool->live || virt_error(error, VIRT_FROM_STORAGE, VIRT_OPERATION_INVALID,
					"storage pool '%s' is not active", pool->name);
}

bool storage_pool_check_idle(const struct storage_pool *pool, GError **error)
{
	return !pool->background || virt_error(error, VIRT_FROM_STORAGE, VIRT_INTERNAL,
					       "pool '%s' has asynchronous jobs running.", pool->name);
}

/* --- Volumes -------------------------------------------------------------------------------- */

struct remote_storage_vol storage_volume_wire(const struct storage_pool *pool,
					      const struct conf_volume *conf)
{
	return (struct remote_storage_vol){.pool = pool->name, .name = conf->name, .key = conf->path};
}

struct storage_volume *storage_volume_find(struct storage_pool *pool, const char *name, GError **error)
{
	if (!storage_pool_check_active(pool, error))
		return NULL;
	struct storage_volume *volume = g_hash_table_lookup(pool->volumes, name);
	if (!volume)
		virt_error(error, VIRT_FROM_STORAGE, VIRT_NO_STORAGE_VOL,
			   "no storage vol with matching name '%s'", name);
	return volume;
}

bool storage_volume_check_made(const struct storage_volume *volume, GError **error)
{
	return !volume->building ||
	       virt_error(error, VIRT_FROM_STORAGE, VIRT_OPERATION_INVALID,
			  "volume '%s' is still being allocated.", volume->conf->name);
}

bool storage_volume_check_free(const struct storage_volume *volume, GError **error)
{
	return storage_volume_check_made(volume, error) &&
	       (!volume->users || virt_error(error, VIRT_FROM_STORAGE, VIRT_OPERATION_INVALID,
					     "volume '%s' is still in use.", volume->conf->name));
}

bool storage_volume_is_newer(const struct storage_volume *volume, const struct storage_job *job)
{
	return volume->building || volume->users || volume->known_ns >= job->began_ns;
}

void storage_volume_set(struct storage_pool *pool, struct conf_volume *conf)
{
	struct storage_volume *volume = g_new0(struct storage_volume, 1);
	const struct storage_volume *old = g_hash_table_lookup(pool->volumes, conf->name);
	if (old) {
		volume->building = old->building;
		volume->users = old->users;
	}
	volume->conf = conf;
	volume->known_ns = aio_now_ns();
	/* The key is the new one's: the old is freed. */
	g_hash_table_replace(pool->volumes, conf->name, volume);
}

/* --- Events --------------------------------------------------------------------------------- */

void storage_emit(struct storage_pool *pool, enum storage_event event)
{
	enum { LIFECYCLE = 0 };
	struct rpc_server *server = pool->all->daemon->server;
	struct remote_storage_pool_event_lifecycle_args body = {
		.pool = storage_pool_wire(pool), .event = event};
	if (server)
		rpc_event_emit(server, RPC_EVENT_STORAGE_POOL, LIFECYCLE, pool->uuid,
			       REMOTE_STORAGE_POOL_EVENT_LIFECYCLE, &body, &body.callback);
}

void storage_emit_refresh(struct storage_pool *pool)
{
	enum { REFRESH = 1 };
	struct rpc_server *server = pool->all->daemon->server;
	struct remote_storage_pool_event_refresh_args body = {.pool = storage_pool_wire(pool)};
	if (server)
		rpc_event_emit(server, RPC_EVENT_STORAGE_POOL, REFRESH, pool->uuid,
			       REMOTE_STORAGE_POOL_EVENT_REFRESH, &body, &body.callback);
}

/* --- Start of the daemon -------------------------------------------------------------------- */

static struct conf_pool *load(const char *path, const char *text)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *content = NULL;
	struct conf_pool *conf = NULL;
	if (!text && g_file_get_contents(path, &content, NULL, &error))
		text = content;
	if (text)
		conf = conf_pool_parse(text, &error);
	if (!conf)
		log_warning("'%s' is left alone: %s", path, error->message);
	return conf;
}

static void load_definition(struct storage *storage, const char *path)
{
	struct conf_pool *conf = load(path, NULL);
	if (!conf)
		return;
	if (storage_pool_by_name(storage, conf->name) || storage_pool_by_uuid(storage, conf->uuid)) {
		log_warning("'%s' is left alone: there is a pool '%s' already", path, conf->name);
		conf_pool_free(conf);
		return;
	}
	struct storage_pool *pool = storage_pool_add(storage, conf);
	pool->definition = conf;
	g_clear_pointer(&pool->first_path, g_free);
	g_autofree char *mark = storage_file_autostart(pool);
	pool->autostart = g_file_test(mark, G_FILE_TEST_EXISTS);
}

/* A pool that was active when the last daemon ended. */
static void load_active(struct storage *storage, const char *path)
{
	g_autofree char *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, NULL) || !storage_file_is_of_this_boot(text)) {
		unlink(path);
		return;
	}
	struct conf_pool *conf = load(path, text);
	if (!conf)
		return;
	struct storage_pool *pool = storage_pool_by_uuid(storage, conf->uuid);
	if (!pool && !storage_pool_by_name(storage, conf->name))
		pool = storage_pool_add(storage, conf);
	if (pool)
		storage_resume(pool, conf);
	else
		log_warning("'%s' is left alone: there is a pool '%s' already", path, conf->name);
	conf_pool_free(conf);
}

static bool is_busy(struct storage *storage)
{
	GHashTableIter iter;
	void *pool;
	g_hash_table_iter_init(&iter, storage->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &pool)) {
		const struct storage_pool *one = pool;
		if (one->queue.length || one->background)
			return true;
	}
	return false;
}

static void start_all(struct storage *storage)
{
	g_autoptr(GPtrArray) active = store_list(storage->daemon, STORAGE_ACTIVE, ".xml");
	for (unsigned i = 0; i < active->len; i++)
		load_active(storage, active->pdata[i]);
	g_autoptr(GList) pools = g_hash_table_get_values(storage->by_uuid);
	for (GList *link = pools; link; link = link->next) {
		struct storage_pool *pool = link->data;
		if (pool->autostart && !pool->queue.length)
			storage_start(pool, NULL, false);
	}
	int64_t deadline = aio_now_ns() + START_WAIT_NS, left;
	while (is_busy(storage) && (left = deadline - aio_now_ns()) > 0)
		aio_loop_iterate(storage->daemon->loop, left);
}

struct storage *storage_new(struct daemon *daemon, GError **error)
{
	static const char *const folders[] = {STORAGE_DEFINED_FOLDER, STORAGE_AUTOSTART, STORAGE_ACTIVE,
					      NULL};
	if (!store_make_folders(daemon, folders, error))
		return NULL;
	struct storage *storage = g_new0(struct storage, 1);
	storage->daemon = daemon;
	storage->workers = aio_pool_new(WORKERS);
	storage->by_uuid = g_hash_table_new(g_str_hash, g_str_equal);
	storage->by_name = g_hash_table_new(g_str_hash, g_str_equal);
	storage->watcher = storage_watcher_new(storage);
	g_autoptr(GPtrArray) definitions = store_list(daemon, STORAGE_DEFINED_FOLDER, ".xml");
	for (unsigned i = 0; i < definitions->len; i++)
		load_definition(storage, definitions->pdata[i]);
	start_all(storage);
	return storage;
}

void storage_free(struct storage *storage)
{
	if (!storage)
		return;
	storage->ending = true;
	while (is_busy(storage))
		aio_loop_iterate(storage->daemon->loop, -1);
	aio_pool_free(storage->workers);
	/* The ends of what only looked, which were posted. */
	aio_loop_iterate(storage->daemon->loop, 0);
	GHashTableIter iter;
	void *pool;
	g_hash_table_iter_init(&iter, storage->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &pool))
		storage_pool_unref(pool);
	storage_watcher_free(storage->watcher);
	g_hash_table_unref(storage->by_uuid);
	g_hash_table_unref(storage->by_name);
	g_free(storage);
}
