/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What users may ask of an image: each call goes to the driver on a fiber, or is refused by name. */
#include "block/core/dirty.h"
#include "block/core/drivers.h"
#include "block/core/graph.h"
#include "block/core/options.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One call to a driver, so that it can run on a fiber. */
struct call {
	struct block_node *node, *base;
	bool (*run)(struct call *call);
	bool ok;
	GError **error;
	uint64_t offset, length, size;
	struct block_extent *extent;
	unsigned *depth;
	void *object;        /* what the operation fills or takes */
	const void *input;
	const char *text, *text2;
	json_t *options;
	int result;
};

static void run_call(void *opaque)
{
	struct call *call = opaque;
	call->ok = call->run(call);
}

static bool dispatch(struct block_node *node, struct call *call)
{
	call->node = node;
	fiber_run(node->loop, run_call, call);
	return call->ok;
}

static bool unsupported(const struct block_node *node, const char *what, GError **error)
{
	return error_set(error, BERTH_ERR_NOT_SUPPORTED, "'%s': format %s has no %s",
			 node->filename, node->format_name, what);
}

static bool check_writable(const struct block_node *node, GError **error)
{
	return !node->readonly ||
	       error_set(error, BERTH_ERR_INVALID, "'%s' is read-only", node->filename);
}

/* --- moving around ----------------------------------------------------------------------------------*/

struct block_node *block_backing(const struct block_node *node)
{
	return node->backing;
}

struct block_node *block_file(const struct block_node *node)
{
	return node->file;
}

const char *block_backing_name(const struct block_node *node)
{
	return node->backing_name;
}

const char *block_backing_format(const struct block_node *node)
{
	return node->backing_format;
}

const struct block_driver *block_node_driver(const struct block_node *node)
{
	return node->driver;
}

/* --- status -----------------------------------------------------------------------------------------*/

static bool run_status(struct call *call)
{
	struct block_node *node = call->node;
	struct block_extent *extent = call->extent;
	*extent = (struct block_extent){
		.flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED, .length = call->length};
	if (call->length && node->driver->status)
		call->result = node->driver->status(node, call->offset, call->length, extent);
	else if (call->length && node->driver->transparent && node->file)
		call->result = block_status(node->file, call->offset, call->length, extent);
	/* Where the file has a hole below what was there from the start, that is zeroes too. */
	struct block_extent below;
	if (call->result == 0 && extent->file && extent->file != node &&
	    extent->flags & BLOCK_STATUS_RECURSE &&
	    extent->host_offset < extent->file->size &&
	    block_status(extent->file, extent->host_offset, extent->length, &below) == 0) {
		extent->length = MIN(extent->length, below.length);
		extent->flags |= below.flags & BLOCK_STATUS_ZERO;
	}
	extent->flags &= ~(unsigned)BLOCK_STATUS_RECURSE;
	return true;
}

int block_status(struct block_node *node, uint64_t offset, uint64_t length,
		 struct block_extent *extent)
{
	uint64_t size = node->size;
	if (offset > size)
		return -EINVAL;
	struct call call = {.run = run_status, .offset = offset, .extent = extent,
			    .length = MIN(length, size - offset)};
	dispatch(node, &call);
	return call.result;
}

int block_status_above(struct block_node *node, struct block_node *base, uint64_t offset,
		       uint64_t length, struct block_extent *extent, unsigned *depth)
{
	unsigned level = 0;
	struct block_node *n = block_below_filters(node);
	for (;;) {
		int rc = block_status(n, offset, length, extent);
		if (rc < 0)
			return rc;
		length = extent->length;
		if (extent->flags & BLOCK_STATUS_ALLOCATED)
			break;
		struct block_node *next = block_below_filters(n->backing);
		if (!next || next == base) {
			if (!next)
				extent->flags |= BLOCK_STATUS_ZERO;
			break;
		}
		if (offset >= next->size) {
			/* Beyond the end of a shorter backing file there are zeroes, decided by it. */
			extent->flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED;
			break;
		}
		n = next;
		level++;
	}
	if (depth)
		*depth = level;
	return 0;
}

/* --- info, check, changes -----------------------------------------------------------------------------*/

static bool run_info(struct call *call)
{
	return call->node->driver->info(call->node, call->object, call->error);
}

bool block_cache_bound(const struct block_node *node, struct block_cache_bound *bound)
{
	if (!node->driver->cache_bound)
		return false;
	node->driver->cache_bound(node, bound);
	return true;
}

json_t *block_info(struct block_node *node, GError **error)
{
	struct stat st;
	json_t *info = json_pack("{s:s, s:I, s:s, s:b}", "filename",
				 node->filename ? node->filename : "", "virtual-size",
				 (json_int_t)node->size, "format", node->format_name, "dirty-flag", 0);
	if (node->filename && stat(node->filename, &st) == 0)
		json_object_set_new(info, "actual-size", json_integer(st.st_blocks * INT64_C(512)));
	if (node->encrypted)
		json_object_set_new(info, "encrypted", json_true());
	if (node->backing_name) {
		g_autofree char *full = block_backing_path(node);
		json_object_set_new(info, "backing-filename", json_string(node->backing_name));
		json_object_set_new(info, "full-backing-filename", json_string(full));
	}
	if (node->backing_format)
		json_object_set_new(info, "backing-filename-format",
				    json_string(node->backing_format));
	struct call call = {.run = run_info, .object = info, .error = error};
	if (node->driver->info && !dispatch(node, &call)) {
		json_decref(info);
		return NULL;
	}
	return info;
}

static bool run_check(struct call *call)
{
	return call->node->driver->check(call->node, call->object, call->error);
}

bool block_check(struct block_node *node, struct block_check *check, GError **error)
{
	if (!node->driver->check)
		return unsupported(node, "check", error);
	struct call call = {.run = run_check, .object = check, .error = error};
	return (!check->fix || check_writable(node, error)) && dispatch(node, &call);
}

static bool run_amend(struct call *call)
{
	return call->node->driver->amend(call->node, call->options, call->size, call->object, call->error) &&
	       block_refuse_rest(call->options, call->node->format_name, call->error);
}

void block_progress_report(const struct block_progress *progress, uint64_t done, uint64_t total)
{
	if (progress && progress->report)
		progress->report(progress->opaque, done, total);
}

bool block_amend(struct block_node *node, const json_t *options, bool force,
		 struct block_progress *progress, GError **error)
{
	if (!node->driver->amend)
		return unsupported(node, "options that can be amended", error);
	struct call call = {.run = run_amend, .object = progress, .error = error, .size = force,
			    .options = json_deep_copy(options)};
	bool ok = check_writable(node, error) && dispatch(node, &call);
	json_decref(call.options);
	return ok;
}

static bool run_change_backing(struct call *call)
{
	return call->node->driver->change_backing(call->node, call->text, call->text2, call->error);
}

bool block_change_backing(struct block_node *node, const char *file, const char *format,
			  GError **error)
{
	if (!node->driver->change_backing)
		return unsupported(node, "backing files", error);
	struct call call = {.run = run_change_backing, .text = file, .text2 = format, .error = error};
	return check_writable(node, error) && dispatch(node, &call);
}

static bool run_make_empty(struct call *call)
{
	return call->node->driver->make_empty(call->node, call->error);
}

bool block_make_empty(struct block_node *node, GError **error)
{
	if (!node->driver->make_empty)
		return unsupported(node, "way to empty it", error);
	struct call call = {.run = run_make_empty, .error = error};
	return check_writable(node, error) && dispatch(node, &call);
}

static bool run_resize(struct call *call)
{
	return call->node->driver->resize(call->node, call->size, call->error);
}

bool block_resize(struct block_node *node, uint64_t size, GError **error)
{
	if (!node->readonly && node->driver->transparent && !node->driver->resize) {
		bool resized = block_resize(node->file, size, error);
		node->size = node->file->size;
		return resized;
	}
	if (node->readonly || !node->driver->resize)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "'%s' cannot be resized: it is %s",
				 node->filename, node->readonly ? "read-only" : "not a file");
	block_drain(node);
	struct call call = {.run = run_resize, .size = size, .error = error};
	bool good = dispatch(node, &call);
	block_dirty_resize_all(node);
	if (node->graph)
		block_graph_refresh(node->graph);
	return good;
}

static bool run_set_readonly(struct call *call)
{
	return call->node->driver->set_readonly(call->node, call->size, call->error);
}

static bool set_one_readonly(struct block_node *node, bool readonly, GError **error)
{
	struct call call = {.run = run_set_readonly, .size = readonly, .error = error};
	if (node->driver->transparent)
		return node->readonly = readonly, true;
	if (!node->driver->set_readonly)
		return unsupported(node, "way to become writable while it is open", error);
	block_drain(node);
	bool was = node->readonly;
	if (!readonly)
		node->readonly = false; /* it may have something to write before it is ready */
	if (!dispatch(node, &call)) {
		node->readonly = was;
		return false;
	}
	node->readonly = node->options.readonly = readonly;
	return true;
}

bool block_set_readonly(struct block_node *node, bool readonly, GError **error)
{
	struct block_node *below[] = {node->file, node->data_file};
	if (node->readonly == readonly)
		return true;
	if (readonly && !block_flush_sync(node, error))
		return false;
	for (unsigned i = 0; !readonly && i < G_N_ELEMENTS(below); i++)
		if (below[i] && !block_set_readonly(below[i], false, error))
			return false;
	if (!set_one_readonly(node, readonly, error))
		return false;
	for (unsigned i = 0; readonly && i < G_N_ELEMENTS(below); i++)
		if (below[i] && !block_set_readonly(below[i], true, error))
			return false;
	return true;
}

/* --- snapshots ----------------------------------------------------------------------------------------*/

void block_snapshot_free(struct block_snapshot *snapshot)
{
	g_free(snapshot->id);
	g_free(snapshot->name);
	g_free(snapshot);
}

static bool run_snapshot_list(struct call *call)
{
	return call->node->driver->snapshot_list(call->node, call->object, call->error);
}

GPtrArray *block_snapshot_list(struct block_node *node, GError **error)
{
	GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)block_snapshot_free);
	struct call call = {.run = run_snapshot_list, .object = list, .error = error};
	if (node->driver->snapshot_list && !dispatch(node, &call))
		g_clear_pointer(&list, g_ptr_array_unref);
	return list;
}

static bool run_snapshot_create(struct call *call)
{
	return call->node->driver->snapshot_create(call->node, call->input, call->error);
}

static bool run_snapshot_apply(struct call *call)
{
	return call->node->driver->snapshot_apply(call->node, call->text, call->error);
}

static bool run_snapshot_delete(struct call *call)
{
	return call->node->driver->snapshot_delete(call->node, call->text, call->error);
}

static bool snapshot_call(struct block_node *node, struct call *call)
{
	if (!node->driver->snapshot_create)
		return unsupported(node, "internal snapshots", call->error);
	return check_writable(node, call->error) && dispatch(node, call);
}

bool block_snapshot_create(struct block_node *node, const struct block_snapshot *snapshot,
			   GError **error)
{
	struct call call = {.run = run_snapshot_create, .input = snapshot, .error = error};
	return snapshot_call(node, &call);
}

bool block_snapshot_apply(struct block_node *node, const char *name_or_id, GError **error)
{
	struct call call = {.run = run_snapshot_apply, .text = name_or_id, .error = error};
	return snapshot_call(node, &call);
}

bool block_snapshot_delete(struct block_node *node, const char *name_or_id, GError **error)
{
	struct call call = {.run = run_snapshot_delete, .text = name_or_id, .error = error};
	return snapshot_call(node, &call);
}

static bool run_snapshot_view(struct call *call)
{
	return call->node->driver->snapshot_view(call->node, call->text, call->text2, call->error);
}

bool block_snapshot_view(struct block_node *node, const char *id, const char *name, GError **error)
{
	if (!node->driver->snapshot_view)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "Block format '%s' used by device '' does not support temporarily loading "
				 "internal snapshots", node->format_name);
	struct call call = {.run = run_snapshot_view, .text = id, .text2 = name, .error = error};
	return dispatch(node, &call);
}

GPtrArray *block_extent_files(const struct block_node *node)
{
	GPtrArray *names = g_ptr_array_new();
	for (unsigned i = 0; node->extra && i < node->extra->len; i++)
		g_ptr_array_add(names, ((struct block_node *)node->extra->pdata[i])->filename);
	return names;
}
