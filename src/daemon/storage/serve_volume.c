/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls about one volume: each is a job, as even asking means to look at the file. */
#include "daemon/storage/storage.h"

#include "base/error.h"
#include "daemon/rpc/serve.h"

#include <string.h>
#include <sys/stat.h>

enum {
	CREATE_PREALLOC_METADATA = 1, CREATE_REFLINK = 2, CREATE_VALIDATE = 4,
	RESIZE_ALLOCATE = 1, RESIZE_DELTA = 2, RESIZE_SHRINK = 4,
	INFO_PHYSICAL = 1, WIPE_ZERO = 0,
};

/* One struct for all kinds: what they need is much the same. */
struct volume_job {
	struct storage_job base;
	char *name;
	bool building;              /* looked at while it is being made */
	uint32_t flags;
	uint64_t size;
	struct conf_volume *volume; /* copied, or wanted */
	struct conf_volume *source; /* of a copy */
	struct storage_pool *source_pool; /* a reference */
	char *source_name;
};

static void clear(struct storage_job *base)
{
	struct volume_job *job = (struct volume_job *)base;
	if (job->source_pool)
		storage_pool_unref(job->source_pool);
	conf_volume_free(job->volume);
	conf_volume_free(job->source);
	g_free(job->name);
	g_free(job->source_name);
}

/* The pool that a volume names; NULL with the call failed if there is none. */
static struct storage_pool *pool_of(struct rpc_call *call, const struct remote_storage_vol *wire)
{
	struct storage_pool *pool = storage_pool_by_name(rpc_call_daemon(call)->storage, wire->pool);
	GError *error = NULL;
	if (pool)
		return rpc_call_may(call, RPC_POOL, pool->name) ? pool : NULL;
	virt_error(&error, VIRT_FROM_STORAGE, VIRT_NO_STORAGE_POOL,
		   "no storage pool with matching name '%s'", wire->pool);
	rpc_call_fail(call, error);
	return NULL;
}

/* NULL with the call failed, or a job to submit. */
static struct volume_job *new_job(struct rpc_call *call, const struct remote_storage_vol *wire,
				  const struct storage_job_ops *ops)
{
	struct storage_pool *pool = pool_of(call, wire);
	if (!pool)
		return NULL;
	struct volume_job *job = storage_job_new(pool, call, ops);
	job->name = g_strdup(wire->name);
	return job;
}

static void reply_volume(struct storage_job *base, const struct conf_volume *conf)
{
	struct remote_storage_vol_create_xml_ret ret = {storage_volume_wire(base->pool, conf)};
	rpc_call_reply(base->call, &ret);
}

/* --- Looking -------------------------------------------------------------------------------- */

static bool begin_look(struct storage_job *base, GError **error)
{
	struct volume_job *job = (struct volume_job *)base;
	const struct storage_volume *volume = storage_volume_find(base->pool, job->name, error);
	if (!volume)
		return false;
	job->volume = conf_volume_copy(volume->conf);
	job->building = volume->building;
	return true;
}

/* Of a volume that is being made only its growth can be told from the file, if it is there yet. */
static void look_at_growth(struct conf_volume *volume)
{
	struct stat st;
	bool there = stat(volume->path, &st) == 0;
	volume->allocation = there ? st.st_blocks * UINT64_C(512) : 0;
	volume->physical = there ? st.st_size : 0;
}

static bool work_look(struct storage_job *base, GError **error)
{
	struct volume_job *job = (struct volume_job *)base;
	if (!job->building)
		return storage_look(job->volume->path, job->volume, error);
	look_at_growth(job->volume);
	return true;
}

/* What was seen is what is known from now on, unless somebody else knows better. */
static void keep(struct storage_job *base)
{
	const struct volume_job *job = (struct volume_job *)base;
	struct storage_pool *pool = base->pool;
	const struct storage_volume *volume = g_hash_table_lookup(pool->volumes, job->name);
	if (pool->live && volume && !storage_volume_is_newer(volume, base))
		storage_volume_set(pool, conf_volume_copy(job->volume));
}

static void done_info(struct storage_job *base)
{
	const struct volume_job *job = (struct volume_job *)base;
	const struct conf_volume *conf = job->volume;
	struct remote_storage_vol_get_info_ret ret = {
		conf->type, conf->capacity, job->flags & INFO_PHYSICAL ? conf->physical : conf->allocation};
	keep(base);
	rpc_call_reply(base->call, &ret);
}

static const struct storage_job_ops info_ops = {
	.size = sizeof(struct volume_job), .begin = begin_look, .work = work_look, .done = done_info,
	.clear = clear,
};

void serve_storage_vol_get_info(struct rpc_call *call, const struct remote_storage_vol_get_info_args *args)
{
	struct volume_job *job = new_job(call, &args->vol, &info_ops);
	if (job)
		storage_submit(job);
}

void serve_storage_vol_get_info_flags(struct rpc_call *call,
				      const struct remote_storage_vol_get_info_flags_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, INFO_PHYSICAL))
		return;
	struct volume_job *job = new_job(call, &args->vol, &info_ops);
	if (!job)
		return;
	job->flags = args->flags;
	storage_submit(job);
}

static void done_xml(struct storage_job *base)
{
	g_autofree char *xml = conf_volume_format(((struct volume_job *)base)->volume);
	keep(base);
	rpc_call_reply(base->call, &(struct remote_storage_vol_get_xml_desc_ret){xml});
}

static const struct storage_job_ops xml_ops = {
	.size = sizeof(struct volume_job), .begin = begin_look, .work = work_look, .done = done_xml,
	.clear = clear,
};

void serve_storage_vol_get_xml_desc(struct rpc_call *call,
				    const struct remote_storage_vol_get_xml_desc_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	struct volume_job *job = new_job(call, &args->vol, &xml_ops);
	if (job)
		storage_submit(job);
}

void serve_storage_vol_get_path(struct rpc_call *call, const struct remote_storage_vol_get_path_args *args)
{
	struct storage_pool *pool = pool_of(call, &args->vol);
	GError *error = NULL;
	if (!pool)
		return;
	const struct storage_volume *volume = storage_volume_find(pool, args->vol.name, &error);
	if (volume)
		rpc_call_reply(call, &(struct remote_storage_vol_get_path_ret){volume->conf->path});
	else
		rpc_call_fail(call, error);
}

/* --- Making --------------------------------------------------------------------------------- */

static bool check_new(struct storage_pool *pool, const struct conf_volume *wanted, bool copies,
		      GError **error)
{
	const char *name = wanted->name;
	bool exists = g_hash_table_contains(pool->volumes, name);
	if (!storage_pool_check_active(pool, error))
		return false;
	if (exists && copies)
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_INTERNAL,
				  "storage volume name '%s' already in use.", name);
	if (exists)
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_STORAGE_VOL_EXIST, "'%s' exists already",
				  name);
	if (strchr(name, '/'))
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_OPERATION_INVALID,
				  "volume name '%s' cannot contain '/'", name);
	return true;
}

static struct storage_volume *find_source(struct volume_job *job, GError **error)
{
	struct storage_volume *source = storage_volume_find(job->source_pool, job->source_name, error);
	return source && storage_volume_check_made(source, error) ? source : NULL;
}

/* The volume can be seen from now on, and its growth be watched. */
static bool begin_make(struct storage_job *base, GError **error)
{
	struct volume_job *job = (struct volume_job *)base;
	struct storage_pool *pool = base->pool;
	struct conf_volume *wanted = job->volume;
	if (!check_new(pool, wanted, job->source_pool, error))
		return false;
	if (job->source_pool) {
		struct storage_volume *source = find_source(job, error);
		if (!source)
			return false;
		job->source = conf_volume_copy(source->conf);
		wanted->capacity = MAX(wanted->capacity, job->source->capacity);
		source->users++;
		job->source_pool->background++;
	}
	g_free(wanted->path);
	wanted->path = g_build_filename(pool->live->path, wanted->name, NULL);
	base->folder = g_strdup(pool->live->path);
	storage_volume_set(pool, conf_volume_copy(wanted));
	((struct storage_volume *)g_hash_table_lookup(pool->volumes, wanted->name))->building = true;
	return true;
}

static bool work_make(struct storage_job *base, GError **error)
{
	struct volume_job *job = (struct volume_job *)base;
	const struct storage_make make = {
		.wanted = job->volume, .source = job->source, .cancel = &base->pool->all->ending,
		.preallocate_metadata = job->flags & CREATE_PREALLOC_METADATA,
		.reflink = job->flags & CREATE_REFLINK,
	};
	return storage_make(&make, error) && storage_look(job->volume->path, job->volume, error);
}

static void release_source(struct volume_job *job)
{
	if (!job->source)
		return;
	struct storage_volume *source = g_hash_table_lookup(job->source_pool->volumes, job->source_name);
	source->users--;
	job->source_pool->background--;
}

static void done_make(struct storage_job *base)
{
	struct volume_job *job = (struct volume_job *)base;
	release_source(job);
	((struct storage_volume *)g_hash_table_lookup(base->pool->volumes, job->name))->building = false;
	storage_volume_set(base->pool, conf_volume_copy(job->volume));
	reply_volume(base, job->volume);
}

static void undo_make(struct storage_job *base)
{
	struct volume_job *job = (struct volume_job *)base;
	release_source(job);
	g_hash_table_remove(base->pool->volumes, job->name);
}

static const struct storage_job_ops make_ops = {
	.size = sizeof(struct volume_job), .queued = true, .background = true, .begin = begin_make,
	.work = work_make, .done = done_make, .undo = undo_make, .clear = clear,
};

/* NULL with the call failed, or a job to submit. */
static struct volume_job *new_make(struct rpc_call *call, const struct remote_storage_pool *wire,
				   const char *xml, uint32_t flags)
{
	GError *error = NULL;
	struct storage_pool *pool = storage_pool_find(call, wire);
	auto_conf_volume wanted = pool ? conf_volume_parse(xml, &error) : NULL;
	if (error)
		storage_fail_xml(call, error);
	if (!wanted)
		return NULL;
	struct volume_job *job = storage_job_new(pool, call, &make_ops);
	job->volume = g_steal_pointer(&wanted);
	job->name = g_strdup(job->volume->name);
	job->flags = flags;
	return job;
}

/* Names and values are always checked, so that validation asks for nothing more. */
void serve_storage_vol_create_xml(struct rpc_call *call,
				  const struct remote_storage_vol_create_xml_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, CREATE_PREALLOC_METADATA | CREATE_VALIDATE))
		return;
	struct volume_job *job = new_make(call, &args->pool, args->xml, args->flags);
	if (job)
		storage_submit(job);
}

void serve_storage_vol_create_xml_from(struct rpc_call *call,
				       const struct remote_storage_vol_create_xml_from_args *args)
{
	if (!rpc_call_check_flags(call, args->flags,
				  CREATE_PREALLOC_METADATA | CREATE_REFLINK | CREATE_VALIDATE))
		return;
	struct storage_pool *source = pool_of(call, &args->clonevol);
	struct volume_job *job = source ? new_make(call, &args->pool, args->xml, args->flags) : NULL;
	if (!job)
		return;
	job->source_pool = storage_pool_ref(source);
	job->source_name = g_strdup(args->clonevol.name);
	storage_submit(job);
}

/* --- Deleting ------------------------------------------------------------------------------- */

static bool begin_alone(struct storage_job *base, GError **error)
{
	struct volume_job *job = (struct volume_job *)base;
	const struct storage_volume *volume = storage_volume_find(base->pool, job->name, error);
	if (!volume || !storage_volume_check_free(volume, error))
		return false;
	job->volume = conf_volume_copy(volume->conf);
	base->folder = g_strdup(base->pool->live->path);
	return true;
}

static bool work_delete(struct storage_job *base, GError **error)
{
	return storage_delete(((struct volume_job *)base)->volume, error);
}

static void done_delete(struct storage_job *base)
{
	g_hash_table_remove(base->pool->volumes, ((struct volume_job *)base)->name);
	rpc_call_reply(base->call, NULL);
}

static const struct storage_job_ops delete_ops = {
	.size = sizeof(struct volume_job), .queued = true, .begin = begin_alone, .work = work_delete,
	.done = done_delete, .clear = clear,
};

void serve_storage_vol_delete(struct rpc_call *call, const struct remote_storage_vol_delete_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, 0))
		return;
	struct volume_job *job = new_job(call, &args->vol, &delete_ops);
	if (job)
		storage_submit(job);
}

/* --- Changing: beside the queue, as it may take long ----------------------------------------- */

static bool begin_change(struct storage_job *base, GError **error)
{
	struct volume_job *job = (struct volume_job *)base;
	if (!begin_alone(base, error))
		return false;
	((struct storage_volume *)g_hash_table_lookup(base->pool->volumes, job->name))->users++;
	return true;
}

static void end_change(struct storage_job *base)
{
	struct volume_job *job = (struct volume_job *)base;
	((struct storage_volume *)g_hash_table_lookup(base->pool->volumes, job->name))->users--;
}

static void done_change(struct storage_job *base)
{
	end_change(base);
	storage_volume_set(base->pool, conf_volume_copy(((struct volume_job *)base)->volume));
	rpc_call_reply(base->call, NULL);
}

static bool check_resize(struct volume_job *job, GError **error)
{
	const struct conf_volume *conf = job->volume;
	uint64_t available = job->base.pool->usage.available;
	if (job->size < conf->allocation)
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_INVALID_ARG,
				  "can't shrink capacity below existing allocation");
	if (job->size < conf->capacity && !(job->flags & RESIZE_SHRINK))
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_INVALID_ARG,
				  "Can't shrink capacity below current capacity unless shrink flag explicitly "
				  "specified");
	if (job->size > conf->capacity && job->size - conf->capacity > available)
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_OPERATION_FAILED,
				  "Not enough space left in storage pool");
	return true;
}

static bool begin_resize(struct storage_job *base, GError **error)
{
	struct volume_job *job = (struct volume_job *)base;
	const struct storage_volume *volume = storage_volume_find(base->pool, job->name, error);
	if (!volume)
		return false;
	uint64_t now = volume->conf->capacity;
	if (job->flags & RESIZE_DELTA && job->flags & RESIZE_SHRINK)
		job->size = now - MIN(job->size, now);
	else if (job->flags & RESIZE_DELTA)
		job->size = job->size > INT64_MAX - now ? INT64_MAX : now + job->size;
	if (volume->conf->type != CONF_VOLUME_FILE)
		return virt_error(error, VIRT_FROM_STORAGE, VIRT_OPERATION_UNSUPPORTED,
				  "volume '%s' is no file and has no size of its own", job->name);
	if (!begin_change(base, error))
		return false;
	if (check_resize(job, error))
		return true;
	end_change(base);
	return false;
}

static bool work_resize(struct storage_job *base, GError **error)
{
	struct volume_job *job = (struct volume_job *)base;
	return storage_resize(job->volume, job->size, job->flags & RESIZE_ALLOCATE, error) &&
	       storage_look(job->volume->path, job->volume, error);
}

static const struct storage_job_ops resize_ops = {
	.size = sizeof(struct volume_job), .queued = true, .background = true, .begin = begin_resize,
	.work = work_resize, .done = done_change, .undo = end_change, .clear = clear,
};

void serve_storage_vol_resize(struct rpc_call *call, const struct remote_storage_vol_resize_args *args)
{
	if (!rpc_call_check_flags(call, args->flags, RESIZE_ALLOCATE | RESIZE_DELTA | RESIZE_SHRINK))
		return;
	struct volume_job *job = new_job(call, &args->vol, &resize_ops);
	if (!job)
		return;
	job->flags = args->flags;
	job->size = MIN(args->capacity, INT64_MAX);
	storage_submit(job);
}

static bool work_wipe(struct storage_job *base, GError **error)
{
	struct volume_job *job = (struct volume_job *)base;
	return storage_wipe(job->volume, &base->pool->all->ending, error) &&
	       storage_look(job->volume->path, job->volume, error);
}

static const struct storage_job_ops wipe_ops = {
	.size = sizeof(struct volume_job), .queued = true, .background = true, .begin = begin_change,
	.work = work_wipe, .done = done_change, .undo = end_change, .clear = clear,
};

static void wipe(struct rpc_call *call, const struct remote_storage_vol *wire, uint32_t flags)
{
	if (!rpc_call_check_flags(call, flags, 0))
		return;
	struct volume_job *job = new_job(call, wire, &wipe_ops);
	if (job)
		storage_submit(job);
}

void serve_storage_vol_wipe(struct rpc_call *call, const struct remote_storage_vol_wipe_args *args)
{
	wipe(call, &args->vol, args->flags);
}

void serve_storage_vol_wipe_pattern(struct rpc_call *call,
				    const struct remote_storage_vol_wipe_pattern_args *args)
{
	static const char *const names[] = {
		"zero", "nnsa", "dod", "bsi", "gutmann", "schneier", "pfitzner7", "pfitzner33", "random",
		"trim",
	};
	GError *error = NULL;
	if (args->algorithm == WIPE_ZERO) {
		wipe(call, &args->vol, args->flags);
		return;
	}
	if (args->algorithm < G_N_ELEMENTS(names))
		virt_error(&error, VIRT_FROM_STORAGE, VIRT_ARGUMENT_UNSUPPORTED,
			   "'%s' algorithm not supported", names[args->algorithm]);
	else
		virt_error(&error, VIRT_FROM_STORAGE, VIRT_INVALID_ARG, "wiping algorithm %u not supported",
			   args->algorithm);
	rpc_call_fail(call, error);
}
