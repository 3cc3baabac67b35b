/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening and closing nodes: from a dictionary to a graph. A dictionary without a driver is probed;
 * children inherit what the parent was told about caching and rights.
 */
#include "block/core/dirty.h"
#include "block/core/drivers.h"
#include "block/core/histogram.h"
#include "block/core/options.h"

#include "base/error.h"
#include "base/log.h"

#include <string.h>

#define PROBE_SIZE 2048
/* A chain longer than this is a loop or an attack: it would only exhaust memory. */
#define DEPTH_MAX 500

/* --- closing ----------------------------------------------------------------------------------------*/

void block_node_free(struct block_node *node)
{
	struct block_node *children[] = {node->file, node->backing, node->data_file};
	for (unsigned i = 0; i < G_N_ELEMENTS(children); i++)
		block_close(children[i]);
	for (unsigned i = 0; node->extra && i < node->extra->len; i++)
		block_close(node->extra->pdata[i]);
	if (node->extra)
		g_ptr_array_free(node->extra, true);
	while (node->free_forwards) {
		void *forward = node->free_forwards;
		node->free_forwards = block_forward_next(forward);
		g_free(forward);
	}
	block_dirty_free_all(node);
	block_histograms_free(node);
	block_graph_leave(node->graph, node);
	g_free(node->node_name);
	g_free(node->filename);
	g_free(node->backing_name);
	g_free(node->backing_format);
	g_free(node);
}

static void close_body(void *opaque)
{
	struct block_node *node = opaque;
	block_drain(node);
	if (!node->readonly)
		block_flush(node);
	/*
	 * A completion of the very node may be what resumed us, and who walks over all nodes may stand on it: they
	 * must not lose their object.
	 */
	do {
		fiber_pause(node->loop);
	} while (node->references);
	if (node->driver->close)
		node->driver->close(node);
	block_node_free(node);
}

void block_close(struct block_node *node)
{
	if (!node || --node->references || node->closing)
		return;
	node->closing = true;
	fiber_run_fresh(node->loop, close_body, node);
}

struct block_node *block_ref(struct block_node *node)
{
	node->references++;
	return node;
}

/* --- opening ----------------------------------------------------------------------------------------*/

struct open_call {
	json_t *dict; /* consumed; a string is a reference */
	struct block_open_options options;
	struct aio_loop *loop;
	unsigned depth;
	struct block_node *result;
	GError **error;
};

static struct block_node *open_dict(struct aio_loop *loop, json_t *dict,
				    const struct block_open_options *options, unsigned depth,
				    GError **error);

static bool take_cache(json_t *dict, struct block_open_options *options, GError **error)
{
	json_t *cache = json_object_get(dict, "cache");
	if (!json_is_object(cache))
		return true;
	if (!block_take_bool(cache, "direct", &options->direct, error) ||
	    !block_take_bool(cache, "no-flush", &options->no_flush, error) ||
	    !block_refuse_rest(cache, "cache", error))
		return false;
	json_object_del(dict, "cache");
	return true;
}

/* The options that every node has. */
static bool take_common(json_t *dict, struct block_open_options *options, GError **error)
{
	static const char *const discards[] = {"ignore", "off", "unmap", "on", NULL};
	static const char *const zeroes[] = {"off", "on", "unmap", NULL};
	int discard = options->discard ? 2 : 0, detect = options->detect_zeroes;
	if (!take_cache(dict, options, error) ||
	    !block_take_bool(dict, "read-only", &options->readonly, error) ||
	    !block_take_bool(dict, "auto-read-only", &options->auto_readonly, error) ||
	    !block_take_bool(dict, "force-share", &options->force_share, error) ||
	    !block_take_enum(dict, "discard", discards, &discard, error) ||
	    !block_take_enum(dict, "detect-zeroes", zeroes, &detect, error))
		return false;
	options->discard = discard >= 2;
	options->detect_zeroes = detect != 0;
	return true;
}

static struct block_open_options inherit(const struct block_node *parent, bool backing)
{
	struct block_open_options options = parent->options;
	options.node_name = NULL;
	options.writethrough = options.detect_zeroes = false;
	options.readonly = parent->readonly;
	options.no_backing = options.check_later = false;
	if (backing) {
		options.readonly = true;
		options.discard = false;
	} else if (parent->driver->kind == BLOCK_FORMAT && parent->driver != &block_raw_driver) {
		options.discard = true; /* the format decides what it gives back */
	}
	return options;
}

/*
 * What a format lies on is a protocol: options without a driver, {"filename": NAME}, are those of
 * the protocol that NAME speaks of and never of an image to probe. Takes `dict`; NULL: error.
 */
static json_t *as_protocol(json_t *dict, GError **error)
{
	const char *filename = json_string_value(json_object_get(dict, "filename"));
	if (!filename || json_object_get(dict, "driver"))
		return dict;
	json_t *named = block_parse_filename(filename, error);
	json_object_del(dict, "filename");
	if (named)
		json_object_update_missing(named, dict);
	json_decref(dict);
	return named;
}

struct block_node *block_open_child(struct block_node *parent, json_t *dict, const char *key,
				    const char *fallback_name, GError **error)
{
	if (strcmp(key, "file") == 0 && parent->file)
		return parent->file; /* opened to probe it */
	json_t *child = json_object_get(dict, key);
	if (child) {
		json_incref(child);
		json_object_del(dict, key);
		child = as_protocol(child, error);
	} else if (fallback_name) {
		child = block_parse_filename(fallback_name, error);
	} else {
		error_set(error, BERTH_ERR_INVALID, "driver '%s' needs %s: a node or its options",
			  parent->driver->name, key);
	}
	if (!child)
		return NULL;
	struct block_open_options options = inherit(parent, false);
	struct block_node *node =
		open_dict(parent->loop, child, &options, parent->chain_depth, error);
	if (node && parent->driver->kind == BLOCK_FORMAT)
		node->growable = node->driver->kind == BLOCK_PROTOCOL;
	return node;
}

char *block_backing_path(const struct block_node *node)
{
	if (!node->backing_name)
		return NULL;
	return block_path_combine(node->filename ? node->filename : "", node->backing_name);
}

static bool open_backing(struct block_node *node, json_t *dict, GError **error)
{
	json_t *backing = json_object_get(dict, "backing");
	bool none = backing && json_is_null(backing);
	if (backing && !none)
		json_incref(backing);
	else
		backing = NULL;
	json_object_del(dict, "backing");
	if (none || node->options.no_backing || (!backing && !node->backing_name))
		return json_decref(backing), true;

	struct block_open_options options = inherit(node, true);
	g_autofree char *path = backing ? NULL : block_backing_path(node);
	if (path) {
		options.filename = path;
		options.format = node->backing_format;
		options.anonymous = true; /* what the image names is private to its chain */
		struct block_open_options named = options;
		backing = block_parse_filename(path, error);
		if (backing && !g_str_has_prefix(path, "json:"))
			backing = json_pack("{s:o}", "file", backing);
		if (backing && named.format && !json_object_get(backing, "driver"))
			json_object_set_new(backing, "driver", json_string(named.format));
	}
	if (backing)
		node->backing = open_dict(node->loop, backing, &options, node->chain_depth + 1, error);
	if (!node->backing)
		g_prefix_error(error, "'%s': its backing file cannot be opened: ", node->filename);
	return node->backing != NULL;
}

/* Without "driver", the first bytes of the file say what it is. Opens the file child. */
static const struct block_driver *probe_driver(struct block_node *file, bool writable,
					       GError **error)
{
	uint8_t head[PROBE_SIZE] = {0};
	size_t length = MIN(PROBE_SIZE, file->size);
	if (!block_read_sync(file, 0, head, length, error))
		return NULL;
	const char *format = block_probe(head, length, file->filename);
	const struct block_driver *driver = block_driver_find(format);
	if (!driver)
		error_set(error, BERTH_ERR_NOT_SUPPORTED,
			  "'%s' has format %s, which is not supported yet: convert it with "
			  "qemu-img convert -O raw, or say format=raw if it is a raw image",
			  file->filename, format);
	else if (driver == &block_raw_driver && writable)
		log_warning("'%s': no image format was given and the content was taken for raw; "
			    "since a guest can change what is probed, writes that would make it "
			    "look like another format are refused. Give format=raw to lift that",
			    file->filename);
	return driver;
}

/* Find the driver of `dict`, opening the file child into *file if it must be looked into. */
static const struct block_driver *choose_driver(struct open_call *call, struct block_node **file,
						bool *probed)
{
	g_autofree char *name = block_take_string(call->dict, "driver");
	if (name) {
		const struct block_driver *driver = block_driver_find(name);
		if (!driver)
			error_set(call->error, BERTH_ERR_NOT_SUPPORTED,
				  "there is no block driver '%s'; berth-img --help lists them", name);
		return driver;
	}
	json_t *child = json_incref(json_object_get(call->dict, "file"));
	bool given = child;
	if (given) {
		json_object_del(call->dict, "file");
		child = as_protocol(child, call->error);
	}
	g_autofree char *filename = given ? NULL : block_take_string(call->dict, "filename");
	if (filename)
		child = block_parse_filename(filename, call->error);
	if (!child) {
		if (!filename && !given)
			error_set(call->error, BERTH_ERR_INVALID, "an image needs driver=, file= "
				  "or filename=");
		return NULL;
	}
	struct block_open_options options = call->options;
	options.node_name = NULL;
	options.writethrough = options.detect_zeroes = false;
	*file = open_dict(call->loop, child, &options, call->depth, call->error);
	*probed = true;
	return *file ? probe_driver(*file, !options.readonly, call->error) : NULL;
}

static void adopt_file(struct block_node *node, struct block_node *file)
{
	if (!file)
		return;
	node->file = file;
	file->growable = node->driver->kind == BLOCK_FORMAT && file->driver->kind == BLOCK_PROTOCOL;
	file->discard |= node->driver != &block_raw_driver;
	file->limits.can_discard = file->discard;
}

static bool finish_open(struct open_call *call, struct block_node *node)
{
	if (!node->driver->open(node, call->dict, call->error))
		return false;
	if (!node->filename && node->file)
		node->filename = g_strdup(node->file->filename);
	if (node->file && node->file->readonly)
		node->readonly = true;
	if (open_backing(node, call->dict, call->error) &&
	    block_refuse_rest(call->dict, node->driver->name, call->error))
		return true;
	if (node->driver->close)
		node->driver->close(node);
	return false;
}

static void open_body(void *opaque)
{
	struct open_call *call = opaque;
	if (json_is_string(call->dict)) {
		const char *name = json_string_value(call->dict);
		call->result = call->options.anonymous ? NULL
						       : block_graph_find(call->options.graph, name);
		if (call->result)
			block_ref(call->result);
		else
			error_set(call->error, BERTH_ERR_NOT_FOUND, "there is no block node '%s'", name);
		return;
	}
	if (!json_is_object(call->dict) || call->depth > DEPTH_MAX) {
		error_set(call->error, BERTH_ERR_INVALID,
			  call->depth > DEPTH_MAX ? "the chain of backing files is longer than %d: "
						    "is there a loop in it?"
						  : "a node is an object of options, %d",
			  DEPTH_MAX);
		return;
	}
	g_autofree char *name = block_take_string(call->dict, "node-name");
	if (name)
		call->options.node_name = name;
	struct block_node *file = NULL;
	bool probed = false;
	if (!take_common(call->dict, &call->options, call->error))
		return;
	const struct block_driver *driver = choose_driver(call, &file, &probed);
	if (!driver) {
		block_close(file);
		return;
	}
	struct block_node *node = g_malloc0(driver->node_size);
	block_node_init(node, driver, &call->options, call->loop);
	node->chain_depth = call->depth;
	node->probed = probed;
	adopt_file(node, file);
	if (block_graph_add(node, call->error) && finish_open(call, node))
		call->result = node;
	else
		block_node_free(node);
}

/* Takes `dict`. Each level has a stack of its own, since chains may be long. */
static struct block_node *open_dict(struct aio_loop *loop, json_t *dict,
				    const struct block_open_options *options, unsigned depth,
				    GError **error)
{
	struct open_call call = {.dict = json_is_object(dict) ? json_deep_copy(dict)
							       : json_incref(dict),
				 .options = *options, .loop = loop, .depth = depth, .error = error};
	json_decref(dict);
	fiber_run_fresh(loop, open_body, &call);
	json_decref(call.dict);
	return call.result;
}

/* From filename and format to a dictionary. */
static json_t *dict_of_name(const struct block_open_options *options, GError **error)
{
	json_t *dict = block_parse_filename(options->filename, error);
	if (!dict)
		return NULL;
	bool is_json = g_str_has_prefix(options->filename, "json:");
	const struct block_driver *format =
		options->format ? block_driver_find(options->format) : NULL;
	if (options->format && !format) {
		json_decref(dict);
		error_set(error, BERTH_ERR_NOT_SUPPORTED, "unknown image format '%s' for '%s'",
			  options->format, options->filename);
		return NULL;
	}
	if (is_json && (json_object_get(dict, "driver") || !format))
		return dict;
	if (format && format->kind == BLOCK_PROTOCOL)
		json_object_set_new(dict, "driver", json_string(format->name));
	else
		dict = json_pack("{s:o}", "file", dict);
	if (format && format->kind != BLOCK_PROTOCOL)
		json_object_set_new(dict, "driver", json_string(format->name));
	return dict;
}

struct block_node *block_open(const struct block_open_options *options, struct aio_loop *loop,
			      GError **error)
{
	json_t *dict = options->dict ? json_deep_copy(options->dict) : dict_of_name(options, error);
	if (!dict)
		return NULL;
	struct block_open_options base = *options;
	base.readonly |= options->snapshot;
	struct block_node *node = open_dict(loop, dict, &base, 0, error);
	if (node && options->snapshot) {
		struct block_node *overlay = block_overlay_open(node, options, error);
		if (!overlay)
			block_close(node);
		return overlay;
	}
	return node;
}
