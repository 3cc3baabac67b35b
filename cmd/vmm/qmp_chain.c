/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: snapshots as overlays, and jobs that shorten chains: block-commit, block-stream. */
#include "qmp_jobs.h"

#include "base/error.h"
#include "block/core/driver.h"
#include "block/core/graph.h"
#include "block/core/image.h"
#include "qmp_args.h"

#include <string.h>

/* --- images -------------------------------------------------------------------------------------------*/

static bool make_image(struct vmm *vmm, const char *filename, const char *format, uint64_t size,
		       struct block_node *backing, GError **error)
{
	json_t *options = json_object();
	if (backing) {
		g_autofree char *path = strstr(block_filename(backing), ":")
						? g_strdup(block_filename(backing))
						: g_canonicalize_filename(block_filename(backing), NULL);
		json_object_set_new(options, "backing_file", json_string(path));
		json_object_set_new(options, "backing_fmt", json_string(block_format_name(backing)));
	}
	bool good = block_create(filename, format, size, options, vmm->loop, error);
	json_decref(options);
	return good;
}

struct block_node *qmp_new_image(struct vmm *vmm, const struct block_node *node,
				 const char *filename, const char *format, bool existing,
				 const char *node_name, struct block_node *backing, GError **error)
{
	g_autofree char *made_up = node_name ? NULL : disks_make_name(&vmm->backends);
	struct block_open_options options = disks_options_like(&vmm->backends, node);
	if (!format)
		format = block_format_name(node);
	if (node_name && block_graph_find(vmm->backends.graph, node_name))
		return (void *)qmp_error(error, QMP_ERROR_GENERIC,
					 "New overlay node-name already in use: %s", node_name);
	/* The guest writes on meanwhile, but the size must not be what another command changes. */
	if (!existing && !make_image(vmm, filename, format, node->size, backing, error))
		return NULL;
	options.filename = filename;
	options.format = format;
	options.node_name = node_name ? node_name : made_up;
	options.no_backing = true;
	return block_open(&options, vmm->loop, error);
}

/* --- snapshots ----------------------------------------------------------------------------------------*/

bool qmp_check_free(const struct block_node *node, GError **error)
{
	if (!node->job)
		return true;
	qmp_error(error, QMP_ERROR_GENERIC,
		  "Node '%s' is busy: block device is in use by block job: %s",
		  node->node_name ? node->node_name : node->filename, node->job);
	return false;
}

static void take_away(struct qmp_undo *undo)
{
	block_set_readonly(undo->node, undo->was_readonly, NULL);
	block_graph_replace(undo->vmm->backends.graph, undo->overlay, undo->node, NULL);
	block_set_backing(undo->overlay, NULL);
}

/* `overlay` comes over `node`: what guests write from now on goes there. */
static bool put_over(struct vmm *vmm, struct block_node *node, struct block_node *overlay,
		     struct qmp_undo *undo, GError **error)
{
	struct block_graph *graph = vmm->backends.graph;
	block_graph_hold(graph);
	bool good = block_flush_sync(node, error);
	if (good) {
		*undo = (struct qmp_undo){.run = take_away, .vmm = vmm, .node = block_ref(node),
					  .overlay = block_ref(overlay),
					  .was_readonly = node->readonly};
		block_set_backing(overlay, node);
		block_graph_replace(graph, node, overlay, NULL);
		/* Nobody writes to it any more; that it cannot be made read-only harms nothing. */
		block_set_readonly(node, true, NULL);
	}
	block_graph_release(graph);
	return good;
}

bool qmp_do_snapshot_sync(struct vmm *vmm, const json_t *args, struct qmp_undo *undo,
			  GError **error)
{
	const char *device = arg_text(args, "device"), *name = arg_text(args, "node-name");
	static const char *const modes[] = {"existing", "absolute-paths", NULL};
	bool existing = arg_enum(args, "mode", modes, 1) == 0;
	if (!device && !name) {
		qmp_error(error, QMP_ERROR_GENERIC, "Cannot find device='' nor node-name=''");
		return false;
	}
	struct block_node *node = disks_find_node(&vmm->backends, device ? device : name, error);
	const char *format = arg_text(args, "format");
	if (!node || !qmp_check_free(node, error))
		return false;
	struct block_node *overlay =
		qmp_new_image(vmm, node, arg_text(args, "snapshot-file"), format ? format : "qcow2",
			      existing, arg_text(args, "snapshot-node-name"), node, error);
	if (!overlay)
		return false;
	overlay->detect_zeroes = node->detect_zeroes;
	bool good = overlay->size >= node->size ||
		    (qmp_error(error, QMP_ERROR_GENERIC, "the overlay is smaller than the image"), false);
	good = good && put_over(vmm, node, overlay, undo, error);
	block_close(overlay); /* who uses it has references now */
	return good;
}

bool qmp_do_snapshot(struct vmm *vmm, const json_t *args, struct qmp_undo *undo, GError **error)
{
	const char *name = arg_text(args, "overlay");
	struct block_node *node = disks_find_node(&vmm->backends, arg_text(args, "node"), error);
	struct block_node *overlay = node ? block_graph_find(vmm->backends.graph, name) : NULL;
	if (node && !overlay)
		qmp_error(error, QMP_ERROR_GENERIC, "Cannot find device='%s' nor node-name='%s'", name,
			  name);
	if (!overlay || !qmp_check_free(node, error) || !qmp_check_free(overlay, error))
		return false;
	if (block_backing(overlay) || block_is_below(node, overlay) || block_is_below(overlay, node)) {
		qmp_error(error, QMP_ERROR_GENERIC, "The overlay already has a backing image");
		return false;
	}
	if (!overlay->driver->change_backing) {
		qmp_error(error, QMP_ERROR_GENERIC, "The overlay does not support backing images");
		return false;
	}
	return put_over(vmm, node, overlay, undo, error);
}

static json_t *run_snapshot_sync(void *opaque, const json_t *args, GError **error)
{
	return qmp_run_action(qmp_do_snapshot_sync, opaque, args, error);
}

static json_t *run_snapshot(void *opaque, const json_t *args, GError **error)
{
	return qmp_run_action(qmp_do_snapshot, opaque, args, error);
}

/* --- chains -------------------------------------------------------------------------------------------*/

/* An image of the chain, by its name as a node or as a file; NULL with *error set. */
static struct block_node *find_in_chain(struct vmm *vmm, struct block_node *top, const char *file,
					const char *node_name, GError **error)
{
	for (struct block_node *n = top; n; n = block_below_filters(n->backing)) {
		if (node_name && n->node_name && strcmp(n->node_name, node_name) == 0)
			return n;
		if (!file)
			continue;
		g_autofree char *a = g_canonicalize_filename(file, NULL);
		g_autofree char *b = g_canonicalize_filename(block_filename(n), NULL);
		struct block_node *above = block_graph_overlay_of(vmm->backends.graph, n);
		const char *noted = above && n != top ? block_backing_name(above) : NULL;
		if (strcmp(a, b) == 0 || (noted && strcmp(noted, file) == 0))
			return n;
	}
	return (void *)qmp_error(error, QMP_ERROR_GENERIC, "Can't find '%s' in the backing chain",
				 node_name ? node_name : file);
}

static json_t *run_commit(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *device = arg_text(args, "device");
	struct block_node *active = disks_find_node(&vmm->backends, device, error);
	struct block_commit_options o = {.top = active, .backing_file = arg_text(args, "backing-file")};
	const char *top = arg_text(args, "top"), *top_node = arg_text(args, "top-node");
	const char *base = arg_text(args, "base"), *base_node = arg_text(args, "base-node");
	if (!active || !qmp_job_options(args, device, &o.job, error))
		return NULL;
	if ((top && top_node) || (base && base_node))
		return qmp_error(error, QMP_ERROR_GENERIC,
				 "'%s' and '%s-node' are mutually exclusive", top ? "top" : "base",
				 top ? "top" : "base");
	o.job.on_source_error = o.job.on_target_error =
		arg_enum(args, "on-error", block_on_error_names, ON_ERROR_REPORT);
	if (top || top_node)
		o.top = find_in_chain(vmm, active, top, top_node, error);
	if (!o.top)
		return NULL;
	if (base || base_node)
		o.base = find_in_chain(vmm, o.top, base, base_node, error);
	else
		for (o.base = o.top; block_backing(o.base);)
			o.base = block_below_filters(block_backing(o.base));
	if (o.base)
		block_commit_start(qmp_jobs(vmm), &o, error);
	return NULL;
}

static json_t *run_stream(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *device = arg_text(args, "device");
	struct block_stream_options o = {.backing_file = arg_text(args, "backing-file")};
	const char *base = arg_text(args, "base"), *base_node = arg_text(args, "base-node");
	o.node = disks_find_node(&vmm->backends, device, error);
	if (!o.node || !qmp_job_options(args, device, &o.job, error))
		return NULL;
	if (base && base_node)
		return qmp_error(error, QMP_ERROR_GENERIC,
				 "'base' and 'base-node' cannot be specified at the same time");
	o.job.on_source_error = arg_enum(args, "on-error", block_on_error_names, ON_ERROR_REPORT);
	if (base || base_node)
		o.base = find_in_chain(vmm, o.node, base, base_node, error);
	if (o.base || (!base && !base_node))
		block_stream_start(qmp_jobs(vmm), &o, error);
	return NULL;
}

static json_t *run_change_backing(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct block_node *active = disks_find_node(&vmm->backends, arg_text(args, "device"), error);
	struct block_node *node =
		active ? find_in_chain(vmm, active, NULL, arg_text(args, "image-node-name"), error) : NULL;
	if (!node || !qmp_check_free(node, error))
		return NULL;
	bool was_readonly = node->readonly;
	const char *format = node->backing ? block_format_name(block_below_filters(node->backing)) : NULL;
	block_graph_hold(vmm->backends.graph);
	if (!was_readonly || block_set_readonly(node, false, error)) {
		block_change_backing(node, arg_text(args, "backing-file"), format, error);
		if (was_readonly)
			block_set_readonly(node, true, NULL);
	}
	block_graph_release(vmm->backends.graph);
	return NULL;
}

#define JOB_ARGS "job-id?:str device:str speed?:int on-error?:BlockdevOnError auto-finalize?:bool " \
		 "auto-dismiss?:bool backing-file?:str base?:str base-node?:str"

static const struct qmp_command commands[] = {
	{"blockdev-snapshot-sync", QMP_SNAPSHOT_SYNC_ARGS, NULL, run_snapshot_sync},
	{"blockdev-snapshot", "node:str overlay:str", NULL, run_snapshot},
	{"block-commit", JOB_ARGS " top?:str top-node?:str", NULL, run_commit},
	{"block-stream", JOB_ARGS, NULL, run_stream},
	{"change-backing-file", "device:str image-node-name:str backing-file:str", NULL,
	 run_change_backing},
	{NULL},
};

const struct qmp_table qmp_chain_table = {commands, NULL, NULL, NULL};
