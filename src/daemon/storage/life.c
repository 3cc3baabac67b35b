/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting and refreshing pools, and the files that outlive the daemon. */
#include "daemon/storage/watch.h"

#include "base/error.h"
#include "daemon/domain/store.h"

#include <unistd.h>

/* --- Files ---------------------------------------------------------------------------------- */

char *storage_file_definition(const struct storage_pool *pool)
{
	return store_path(pool->all->daemon, STORAGE_DEFINED_FOLDER, pool->uuid_text, ".xml");
}

char *storage_file_autostart(const struct storage_pool *pool)
{
	return store_path(pool->all->daemon, STORAGE_AUTOSTART, pool->uuid_text, "");
}

char *storage_file_active(const struct storage_pool *pool)
{
	return store_path(pool->all->daemon, STORAGE_ACTIVE, pool->uuid_text, ".xml");
}

char *storage_file_active_text(const struct conf_pool *conf)
{
	g_autofree char *mark = store_boot_mark(), *xml = conf_pool_format(conf, NULL, NULL);
	return g_strconcat(mark, xml, NULL);
}

bool storage_file_is_of_this_boot(const char *text)
{
	g_autofree char *mark = store_boot_mark();
	return g_str_has_prefix(text, mark);
}

/* --- What is in the folder ------------------------------------------------------------------- */

struct start_job {
	struct storage_job base;
	struct conf_pool *conf; /* the pool is active with it afterwards */
	bool build;
	bool resumes;           /* a pool of a former daemon: nothing is told */
	bool returns_pool;      /* the answer of the call is the pool */
	char *mark;
	struct storage_watching watching;
	struct storage_scan scan;
};

static void take_scan(struct storage_job *base, struct storage_scan *scan)
{
	struct storage_pool *pool = base->pool;
	GHashTableIter iter;
	void *volume;
	g_hash_table_iter_init(&iter, pool->volumes);
	while (g_hash_table_iter_next(&iter, NULL, &volume)) {
		if (!storage_volume_is_newer(volume, base))
			g_hash_table_iter_remove(&iter);
	}
	for (unsigned i = 0; i < scan->volumes->len; i++) {
		const struct conf_volume *conf = scan->volumes->pdata[i];
		if (!g_hash_table_contains(pool->volumes, conf->name))
			storage_volume_set(pool, g_steal_pointer(&scan->volumes->pdata[i]));
	}
	pool->permissions = scan->permissions;
}

/* --- Starting ------------------------------------------------------------------------------- */

static bool begin_start(struct storage_job *base, GError **error)
{
	struct start_job *job = (struct start_job *)base;
	struct storage_pool *pool = base->pool;
	if (pool->live)
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_OPERATION_INVALID,
				  "storage pool '%s' is already active", pool->name);
	if (!job->conf && !pool->definition)
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_OPERATION_INVALID,
				  "storage pool '%s' is not defined", pool->name);
	if (!job->conf)
		job->conf = conf_pool_copy(pool->definition);
	job->mark = storage_file_active(pool);
	job->watching.descriptor = -1;
	base->folder = g_strdup(job->conf->path);
	return true;
}

static bool work_start(struct storage_job *base, GError **error)
{
	struct start_job *job = (struct start_job *)base;
	g_autofree char *text = storage_file_active_text(job->conf);
	if (job->build && !storage_build(job->conf, error))
		return false;
	job->watching = storage_watch_begin(base->pool->all->watcher, job->conf->path);
	return storage_scan(job->conf->path, &job->scan, error) &&
	       store_write_now(job->mark, text, error);
}

static void done_start(struct storage_job *base)
{
	struct start_job *job = (struct start_job *)base;
	struct storage_pool *pool = base->pool;
	pool->live = g_steal_pointer(&job->conf);
	g_clear_pointer(&pool->first_path, g_free);
	pool->usage = base->usage;
	take_scan(base, &job->scan);
	storage_watch_start(pool, job->watching);
	if (!job->resumes)
		storage_emit(pool, STORAGE_STARTED);
	struct remote_storage_pool_create_xml_ret ret = {storage_pool_wire(pool)};
	if (base->call)
		rpc_call_reply(base->call, job->returns_pool ? &ret : NULL);
}

/* A pool that is only there to be active goes; a pool of a former daemon stays down. */
static void undo_start(struct storage_job *base)
{
	const struct start_job *job = (struct start_job *)base;
	unlink(job->mark);
	storage_watch_cancel(base->pool->all->watcher, job->watching);
	if (!base->pool->definition)
		storage_pool_remove(base->pool);
}

static void clear_scan(struct storage_scan *scan)
{
	if (scan->volumes)
		g_ptr_array_unref(scan->volumes);
}

static void clear_start(struct storage_job *base)
{
	struct start_job *job = (struct start_job *)base;
	conf_pool_free(job->conf);
	g_free(job->mark);
	clear_scan(&job->scan);
}

static const struct storage_job_ops start_ops = {
	.size = sizeof(struct start_job), .queued = true, .begin = begin_start, .work = work_start,
	.done = done_start, .undo = undo_start, .clear = clear_start,
};

void storage_start(struct storage_pool *pool, struct rpc_call *call, bool build)
{
	struct start_job *job = storage_job_new(pool, call, &start_ops);
	job->build = build;
	storage_submit(job);
}

void storage_resume(struct storage_pool *pool, const struct conf_pool *conf)
{
	struct start_job *job = storage_job_new(pool, NULL, &start_ops);
	job->conf = conf_pool_copy(conf);
	job->resumes = true;
	storage_submit(job);
}

void storage_create(struct storage_pool *pool, struct rpc_call *call, struct conf_pool *conf, bool build)
{
	struct start_job *job = storage_job_new(pool, call, &start_ops);
	job->conf = conf;
	job->build = build;
	job->returns_pool = true;
	storage_submit(job);
}

/* --- Refreshing ----------------------------------------------------------------------------- */

struct refresh_job {
	struct storage_job base;
	char *mark;
	struct storage_scan scan;
};

static bool begin_refresh(struct storage_job *base, GError **error)
{
	struct refresh_job *job = (struct refresh_job *)base;
	if (!storage_pool_check_active(base->pool, error))
		return false;
	base->folder = g_strdup(base->pool->live->path);
	job->mark = storage_file_active(base->pool);
	return true;
}

static bool work_refresh(struct storage_job *base, GError **error)
{
	return storage_scan(base->folder, &((struct refresh_job *)base)->scan, error);
}

static void done_refresh(struct storage_job *base)
{
	struct refresh_job *job = (struct refresh_job *)base;
	take_scan(base, &job->scan);
	storage_emit_refresh(base->pool);
	if (base->call)
		rpc_call_reply(base->call, NULL);
}

/* As libvirt: a pool whose folder cannot be read is stopped. */
static void undo_refresh(struct storage_job *base)
{
	if (base->pool->background)
		return;
	unlink(((struct refresh_job *)base)->mark);
	storage_pool_stop(base->pool);
}

static void clear_refresh(struct storage_job *base)
{
	struct refresh_job *job = (struct refresh_job *)base;
	g_free(job->mark);
	clear_scan(&job->scan);
}

static const struct storage_job_ops refresh_ops = {
	.size = sizeof(struct refresh_job), .queued = true, .begin = begin_refresh, .work = work_refresh,
	.done = done_refresh, .undo = undo_refresh, .clear = clear_refresh,
};

void storage_refresh(struct storage_pool *pool, struct rpc_call *call)
{
	storage_submit(storage_job_new(pool, call, &refresh_ops));
}

void storage_pool_stop(struct storage_pool *pool)
{
	g_clear_pointer(&pool->live, conf_pool_free);
	storage_watch_stop(pool);
	g_hash_table_remove_all(pool->volumes);
	storage_emit(pool, STORAGE_STOPPED);
	if (!pool->definition)
		storage_pool_remove(pool);
}
