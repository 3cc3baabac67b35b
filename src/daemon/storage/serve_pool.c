/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls that change pools: each is a job. */
#include "daemon/storage/life.h"

#include "base/error.h"
#include "daemon/domain/store.h"
#include "daemon/rpc/serve.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
	DEFINE_VALIDATE = 1,
	CREATE_WITH_BUILD = 1, CREATE_OVERWRITE = 2, CREATE_NO_OVERWRITE = 4, CREATE_VALIDATE = 8,
	BUILD_NO_OVERWRITE = 4, BUILD_OVERWRITE = 8,
};

/* --- Which pool ------------------------------------------------------------------------------ */

/* Two pools over one folder would each believe that its volumes are its own. */
static const struct storage_pool *pool_with_path(const struct storage *storage, const char *path,
						 const struct storage_pool *except)
{
	GHashTableIter iter;
	void *value;
	g_hash_table_iter_init(&iter, storage->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct storage_pool *pool = value;
		const char *const paths[] = {pool->first_path, pool->live ? pool->live->path : NULL,
					     pool->definition ? pool->definition->path : NULL};
		for (unsigned i = 0; pool != except && i < G_N_ELEMENTS(paths); i++) {
			if (g_strcmp0(paths[i], path) == 0)
				return pool;
		}
	}
	return NULL;
}

/* The pool of this name and UUID, a new one, or NULL with the call failed. */
static struct storage_pool *find_or_add(struct rpc_call *call, const struct conf_pool *conf)
{
	struct storage *storage = rpc_call_daemon(call)->storage;
	struct storage_pool *named = storage_pool_by_name(storage, conf->name);
	struct storage_pool *pool = storage_pool_by_uuid(storage, conf->uuid);
	const struct storage_pool *rival = pool_with_path(storage, conf->path, pool);
	GError *error = NULL;
	if (!rpc_call_may(call, RPC_POOL, conf->name))
		return NULL;
	if (named && named != pool)
		virt_error(&error, VIRT_FROM_STORAGE, VIRT_OPERATION_FAILED,
			   "pool '%s' already exists with uuid %s", named->name, named->uuid_text);
	else if (pool && strcmp(pool->name, conf->name) != 0)
		virt_error(&error, VIRT_FROM_STORAGE, VIRT_OPERATION_FAILED,
			   "pool '%s' is already defined with uuid %s", pool->name, pool->uuid_text);
	else if (rival)
		virt_error(&error, VIRT_FROM_STORAGE, VIRT_OPERATION_FAILED,
			   "Storage source conflict with pool: '%s'", rival->name);
	else
		return pool ? pool : storage_pool_add(storage, conf);
	rpc_call_fail(call, error);
	return NULL;
}

static struct conf_pool *parse(struct rpc_call *call, const char *xml)
{
	GError *error = NULL;
	struct conf_pool *conf = conf_pool_parse(xml, &error);
	if (!conf)
		storage_fail_xml(call, error);
	return conf;
}

/* --- Small changes, which write a file ------------------------------------------------------- */

struct change_job {
	struct storage_job base;
	struct conf_pool *conf;   /* define; delete: the definition */
	char *path, *text;        /* what to write; NULL text: to remove */
	char *also;               /* to remove, too */
	bool autostart;
};

static void clear_change(struct storage_job *base)
{
	struct change_job *job = (struct change_job *)base;
	conf_pool_free(job->conf);
	g_free(job->path);
	g_free(job->text);
	g_free(job->also);
}

static bool work_change(struct storage_job *base, GError **error)
{
	const struct change_job *job = (struct change_job *)base;
	return store_write_now(job->path, job->text, error) &&
	       (!job->also || store_write_now(job->also, NULL, error));
}

static bool begin_define(struct storage_job *base, GError **error)
{
	struct change_job *job = (struct change_job *)base;
	job->path = storage_file_definition(base->pool);
	job->text = conf_pool_format(job->conf, NULL, NULL);
	return true;
}

static void done_define(struct storage_job *base)
{
	struct change_job *job = (struct change_job *)base;
	struct storage_pool *pool = base->pool;
	conf_pool_free(pool->definition);
	pool->definition = g_steal_pointer(&job->conf);
	g_clear_pointer(&pool->first_path, g_free);
	storage_emit(pool, STORAGE_DEFINED);
	struct remote_storage_pool_define_xml_ret ret = {storage_pool_wire(pool)};
	rpc_call_reply(base->call, &ret);
}

static void undo_define(struct storage_job *base)
{
	if (!base->pool->definition && !base->pool->live)
		storage_pool_remove(base->pool);
}

static const struct storage_job_ops define_ops = {
	.size = sizeof(struct change_job), .queued = true, .begin = begin_define, .work = work_change,
	.done = done_define, .undo = undo_define, .clear = clear_change,
};

/* Names and values are always checked, so that validation asks for nothing more. */
void serve_storage_pool_define_xml(struct rpc_call *call,
				   const struct remote_storage_pool_define_xml_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, DEFINE_VALIDATE))
		return;
	auto_conf_pool conf = parse(call, args->xml);
	struct storage_pool *pool = conf ? find_or_add(call, conf) : NULL;
	if (!pool)
		return;
	struct change_job *job = storage_job_new(pool, call, &define_ops);
	job->conf = g_steal_pointer(&conf);
	storage_submit(job);
}

static bool check_stopped(const struct storage_pool *pool, GError **error)
{
	return !pool->live || virt_error(error, VIRT_FROM_STORAGE, VIRT_OPERATION_INVALID,
					 "storage pool '%s' is still active", pool->name);
}

static bool begin_undefine(struct storage_job *base, GError **error)
{
	struct change_job *job = (struct change_job *)base;
	job->path = storage_file_autostart(base->pool);
	job->also = storage_file_definition(base->pool);
	return check_stopped(base->pool, error);
}

static void done_undefine(struct storage_job *base)
{
	storage_emit(base->pool, STORAGE_UNDEFINED);
	storage_pool_remove(base->pool);
	rpc_call_reply(base->call, NULL);
}

static const struct storage_job_ops undefine_ops = {
	.size = sizeof(struct change_job), .queued = true, .begin = begin_undefine, .work = work_change,
	.done = done_undefine, .clear = clear_change,
};

void serve_storage_pool_undefine(struct rpc_call *call,
				 const struct remote_storage_pool_undefine_args *args)
{
	struct storage_pool *pool = storage_pool_find(call, &args->pool);
	if (pool)
		storage_submit(storage_job_new(pool, call, &undefine_ops));
}

static bool begin_autostart(struct storage_job *base, GError **error)
{
	struct change_job *job = (struct change_job *)base;
	if (!base->pool->definition)
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_INTERNAL, "pool has no config file");
	job->path = storage_file_autostart(base->pool);
	job->text = job->autostart ? g_strdup("") : NULL;
	return true;
}

static void done_autostart(struct storage_job *base)
{
	base->pool->autostart = ((struct change_job *)base)->autostart;
	rpc_call_reply(base->call, NULL);
}

static const struct storage_job_ops autostart_ops = {
	.size = sizeof(struct change_job), .queued = true, .begin = begin_autostart, .work = work_change,
	.done = done_autostart, .clear = clear_change,
};

void serve_storage_pool_set_autostart(struct rpc_call *call,
				      const struct remote_storage_pool_set_autostart_args *args)
{
	struct storage_pool *pool = storage_pool_find(call, &args->pool);
	if (!pool)
		return;
	struct change_job *job = storage_job_new(pool, call, &autostart_ops);
	job->autostart = args->autostart;
	storage_submit(job);
}

static bool begin_destroy(struct storage_job *base, GError **error)
{
	struct change_job *job = (struct change_job *)base;
	job->path = storage_file_active(base->pool);
	return storage_pool_check_active(base->pool, error) &&
	       storage_pool_check_idle(base->pool, error);
}

static void done_destroy(struct storage_job *base)
{
	storage_pool_stop(base->pool);
	rpc_call_reply(base->call, NULL);
}

static const struct storage_job_ops destroy_ops = {
	.size = sizeof(struct change_job), .queued = true, .begin = begin_destroy, .work = work_change,
	.done = done_destroy, .clear = clear_change,
};

void serve_storage_pool_destroy(struct rpc_call *call,
				const struct remote_storage_pool_destroy_args *args)
{
	struct storage_pool *pool = storage_pool_find(call, &args->pool);
	if (pool)
		storage_submit(storage_job_new(pool, call, &destroy_ops));
}

/* --- Building and deleting the folder --------------------------------------------------------- */

static bool begin_folder(struct storage_job *base, GError **error)
{
	if (!check_stopped(base->pool, error))
		return false;
	((struct change_job *)base)->conf = conf_pool_copy(base->pool->definition);
	return true;
}

static bool work_build(struct storage_job *base, GError **error)
{
	return storage_build(((struct change_job *)base)->conf, error);
}

static void done_build(struct storage_job *base)
{
	storage_emit(base->pool, STORAGE_CREATED);
	rpc_call_reply(base->call, NULL);
}

static const struct storage_job_ops build_ops = {
	.size = sizeof(struct change_job), .queued = true, .begin = begin_folder, .work = work_build,
	.done = done_build, .clear = clear_change,
};

/* Only what is on a device can be formatted, or must not be. */
static bool check_build(struct rpc_call *call, const char *name, bool formats)
{
	GError *error = NULL;
	if (!formats)
		return true;
	virt_error(&error, VIRT_FROM_STORAGE, VIRT_OPERATION_INVALID,
		   "No source device specified when formatting pool '%s'", name);
	rpc_call_fail(call, error);
	return false;
}

void serve_storage_pool_build(struct rpc_call *call, const struct remote_storage_pool_build_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, BUILD_OVERWRITE | BUILD_NO_OVERWRITE))
		return;
	struct storage_pool *pool = storage_pool_find(call, &args->pool);
	if (pool && check_build(call, pool->name, args->flags))
		storage_submit(storage_job_new(pool, call, &build_ops));
}

static bool work_delete(struct storage_job *base, GError **error)
{
	const char *path = ((struct change_job *)base)->conf->path;
	return rmdir(path) == 0 || error_set_errno(error, errno, "failed to remove pool '%s'", path);
}

static void done_delete(struct storage_job *base)
{
	storage_emit(base->pool, STORAGE_DELETED);
	rpc_call_reply(base->call, NULL);
}

static const struct storage_job_ops delete_ops = {
	.size = sizeof(struct change_job), .queued = true, .begin = begin_folder, .work = work_delete,
	.done = done_delete, .clear = clear_change,
};

void serve_storage_pool_delete(struct rpc_call *call, const struct remote_storage_pool_delete_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	struct storage_pool *pool = storage_pool_find(call, &args->pool);
	if (pool)
		storage_submit(storage_job_new(pool, call, &delete_ops));
}

/* --- Starting --------------------------------------------------------------------------------- */

void serve_storage_pool_create_xml(struct rpc_call *call,
				   const struct remote_storage_pool_create_xml_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, CREATE_WITH_BUILD | CREATE_OVERWRITE |
							     CREATE_NO_OVERWRITE | CREATE_VALIDATE))
		return;
	auto_conf_pool conf = parse(call, args->xml);
	if (!conf || !check_build(call, conf->name, args->flags & (CREATE_OVERWRITE | CREATE_NO_OVERWRITE)))
		return;
	struct storage_pool *pool = find_or_add(call, conf);
	if (pool)
		storage_create(pool, call, g_steal_pointer(&conf), args->flags & CREATE_WITH_BUILD);
}

void serve_storage_pool_create(struct rpc_call *call, const struct remote_storage_pool_create_args *args)
{
	if (!rpc_call_check_flags(call, args->flags,
				  CREATE_WITH_BUILD | CREATE_OVERWRITE | CREATE_NO_OVERWRITE))
		return;
	struct storage_pool *pool = storage_pool_find(call, &args->pool);
	if (pool && check_build(call, pool->name, args->flags & (CREATE_OVERWRITE | CREATE_NO_OVERWRITE)))
		storage_start(pool, call, args->flags & CREATE_WITH_BUILD);
}

void serve_storage_pool_refresh(struct rpc_call *call,
				const struct remote_storage_pool_refresh_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	struct storage_pool *pool = storage_pool_find(call, &args->pool);
	if (pool)
		storage_refresh(pool, call);
}
