/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disk images of the machine: -drive and -blockdev to nodes, and nodes by name. */
#include "backends.h"

#include "base/error.h"
#include "block/core/driver.h"
#include "block/core/graph.h"
#include "block/core/image.h"
#include "block/core/object.h"
#include "block/core/options.h"
#include "block/core/throttle.h"
#include "block/export/nbd_server.h"
#include "block/job/job.h"
#include "codec/json.h"
#include "dev/storage/ata.h"

#include <string.h>

static void disk_free(void *opaque)
{
	struct backend_disk *disk = opaque;
	block_close(disk->node);
	block_close(disk->named);
	conf_drive_free(disk->conf);
	g_free(disk->tray);
	g_free(disk->id);
	g_free(disk);
}

void disks_init(struct backends *b)
{
	b->graph = block_graph_new(b->loop);
	b->disks = g_ptr_array_new_with_free_func(disk_free);
	b->throttles = g_ptr_array_new_with_free_func((GDestroyNotify)throttle_group_put);
}

static json_t *object_dict(const struct conf_item *item)
{
	json_t *dict = json_object();
	for (unsigned i = 0; i < keyval_count(item->props); i++)
		json_object_set_new(dict, item->props->keys->pdata[i],
				    json_string(item->props->values->pdata[i]));
	return dict;
}

bool disks_add_object(struct backends *b, const struct conf_item *item, GError **error)
{
	json_t *dict = object_dict(item);
	bool good = block_object_add(b->graph, item->type, item->id, dict, error);
	json_decref(dict);
	return good;
}

bool disks_add_throttle(struct backends *b, const struct conf_item *item, GError **error)
{
	json_t *dict = object_dict(item);
	struct throttle_config config = {0};
	/* "limits.iops-total" as in QMP, or "x-iops-total" as QEMU's command line has it. */
	bool good = throttle_config_take(&config, dict, "limits.", error) &&
		    throttle_config_take(&config, dict, "x-", error) &&
		    block_refuse_rest(dict, "-object throttle-group", error);
	json_decref(dict);
	if (!good)
		return false;
	struct throttle_group *group = throttle_group_get(b->graph, item->id);
	throttle_group_set(group, &config);
	g_ptr_array_add(b->throttles, group);
	return true;
}

bool disks_remove_throttle(struct backends *b, const char *id)
{
	struct throttle_group *group = throttle_group_find(b->graph, id);
	unsigned place;
	if (!group || !g_ptr_array_find(b->throttles, group, &place))
		return true;
	return !throttle_group_is_shared(group) && g_ptr_array_remove_index(b->throttles, place);
}

void disks_remove(struct backends *b, struct backend_disk *disk)
{
	guint place;
	if (g_ptr_array_find(b->disks, disk, &place))
		disk_free(g_ptr_array_steal_index(b->disks, place));
}

void disks_clear(struct backends *b)
{
	block_jobs_free(b->jobs);
	nbd_server_free(b->nbd);
	g_ptr_array_unref(b->disks);
	g_ptr_array_unref(b->throttles);
	block_graph_free(b->graph);
	b->disks = NULL;
}

/* --- looking up ----------------------------------------------------------------------------------- */

struct backend_disk *backends_find_disk(struct backends *b, const char *id)
{
	for (unsigned i = 0; i < b->disks->len; i++) {
		struct backend_disk *disk = b->disks->pdata[i];
		if (strcmp(disk->id, id) == 0)
			return disk;
	}
	return NULL;
}

struct block_node *disks_image(const struct backend_disk *disk)
{
	return disk->node ? block_below_filters(disk->node) : NULL;
}

void disks_forget_errors(struct backends *b)
{
	for (unsigned i = 0; i < b->disks->len; i++) {
		const struct backend_disk *disk = b->disks->pdata[i];
		if (disk->node && block_io_status(disk->node) != BLOCK_IO_NONE)
			block_set_io_status(disk->node, BLOCK_IO_OK);
	}
}

struct block_node *disks_find_node(struct backends *b, const char *name, GError **error)
{
	struct backend_disk *disk = backends_find_disk(b, name);
	struct block_node *node = disk && !disk->named ? disks_image(disk)
						       : block_graph_find(b->graph, name);
	if (!node)
		error_set(error, BERTH_ERR_NOT_FOUND, "Cannot find device='%s' nor node-name='%s'", name,
			  name);
	return node;
}

char *disks_make_name(struct backends *b)
{
	return g_strdup_printf("#block%u", ++b->names);
}

struct block_open_options disks_options_like(struct backends *b, const struct block_node *node)
{
	struct block_open_options options = node->options;
	options.filename = options.format = options.node_name = NULL;
	options.dict = NULL;
	options.graph = b->graph;
	options.readonly = options.auto_readonly = options.no_backing = options.anonymous = false;
	options.writethrough = options.snapshot = false;
	options.detect_zeroes = node->detect_zeroes;
	options.discard = node->discard;
	return options;
}

/* --- opening --------------------------------------------------------------------------------------- */

#define THROTTLING "throttling."

/* throttling.* of a -drive. */
static bool apply_throttling(struct backend_disk *disk, GError **error)
{
	json_t *dict = json_object();
	const struct keyval *options = disk->conf->node_options;
	for (unsigned i = 0; i < keyval_count(options); i++)
		if (g_str_has_prefix(options->keys->pdata[i], THROTTLING))
			json_object_set_new(dict, options->keys->pdata[i],
					    json_string(options->values->pdata[i]));
	struct throttle_config config = {0};
	g_autofree char *group = block_take_string(dict, THROTTLING "group");
	bool good = throttle_config_take(&config, dict, THROTTLING, error) &&
		    block_refuse_rest(dict, "-drive", error) &&
		    (!throttle_config_any(&config) ||
		     block_root_set_throttle(disk->node, group ? group : disk->id, &config, error));
	json_decref(dict);
	return good;
}

static bool is_file_driver(const char *driver)
{
	static const char *const names[] = {"file", "host_device", "host_cdrom", NULL};
	return g_strv_contains(names, driver);
}

static void apply_cache(const struct conf_drive *conf, struct block_open_options *options)
{
	options->direct = conf->direct || conf->cache == CONF_CACHE_NONE ||
			  conf->cache == CONF_CACHE_DIRECTSYNC;
	options->writethrough = conf->cache == CONF_CACHE_WRITETHROUGH ||
				conf->cache == CONF_CACHE_DIRECTSYNC;
	options->no_flush = conf->no_flush || conf->cache == CONF_CACHE_UNSAFE;
}

/* Text options to a dictionary: "backing": null, and "backing=" as QEMU takes it, is no backing file. */
static void add_options(json_t *flat, const struct keyval *options)
{
	for (unsigned i = 0; i < keyval_count(options); i++) {
		const char *key = options->keys->pdata[i], *text = options->values->pdata[i];
		if (g_str_has_prefix(key, THROTTLING))
			continue; /* of the root, not of the image */
		bool none = strcmp(key, "backing") == 0 && !*text;
		json_object_set_new(flat, key, none ? json_null() : json_string(text));
	}
}

/* The dictionary of a -drive with options that only its drivers know. */
static json_t *drive_dict(const struct conf_drive *conf, const char *format, GError **error)
{
	json_t *bytes = conf->file ? block_parse_filename(conf->file, error) : json_object();
	if (!bytes)
		return NULL;
	json_t *flat = json_object();
	if (format)
		json_object_set_new(flat, "driver", json_string(format));
	const char *key;
	json_t *value;
	json_object_foreach(bytes, key, value)
	{
		g_autofree char *below = g_strconcat("file.", key, NULL);
		json_object_set(flat, below, value);
	}
	json_decref(bytes);
	add_options(flat, conf->node_options);
	json_t *dict = block_unflatten(flat, error);
	json_decref(flat);
	return dict;
}

static struct block_node *open_drive(struct backends *b, const struct conf_drive *conf,
				     GError **error)
{
	if (conf->aio == CONF_AIO_NATIVE && !(conf->cache == CONF_CACHE_NONE || conf->direct ||
					      conf->cache == CONF_CACHE_DIRECTSYNC)) {
		error_set(error, BERTH_ERR_INVALID,
			  "-drive %s: aio=native needs cache=none: add it, or use aio=io_uring",
			  conf->id);
		return NULL;
	}
	struct block_open_options options = {
		.filename = conf->file,
		.format = conf->format && is_file_driver(conf->format) ? "raw" : conf->format,
		.node_name = conf->id,
		.graph = b->graph,
		.readonly = conf->readonly == CONF_SWITCH_ON,
		.auto_readonly = conf->auto_readonly == CONF_SWITCH_ON,
		.discard = conf->discard == CONF_DISCARD_UNMAP,
		.detect_zeroes = conf->detect_zeroes != 0,
		.snapshot = conf->snapshot == CONF_SWITCH_ON,
		.no_lock = conf->locking == CONF_SWITCH_OFF,
		.aio = conf->aio == CONF_AIO_THREADS ? BLOCK_AIO_THREADS : BLOCK_AIO_URING,
	};
	apply_cache(conf, &options);
	if (!keyval_count(conf->node_options))
		return block_open(&options, b->loop, error);
	json_t *dict = drive_dict(conf, options.format, error);
	options.dict = dict;
	struct block_node *node = dict ? block_open(&options, b->loop, error) : NULL;
	json_decref(dict);
	return node;
}

static struct block_node *open_node(struct backends *b, const json_t *dict, GError **error)
{
	const struct block_open_options options = {.dict = dict, .graph = b->graph};
	struct block_node *node = block_open(&options, b->loop, error);
	if (!node)
		g_prefix_error(error, "block node '%s': ",
			       json_string_value(json_object_get(dict, "node-name")));
	return node;
}

/* --- adding ----------------------------------------------------------------------------------------- */

/* Takes all that it is given. */
static struct backend_disk *keep_disk(struct backends *b, struct conf_drive *conf, struct block_node *node)
{
	struct backend_disk *disk = g_new0(struct backend_disk, 1);
	disk->id = g_strdup(conf->id);
	disk->node = node ? block_root_new(b->graph, node) : NULL;
	disk->named = conf->is_blockdev ? block_ref(node) : NULL;
	disk->conf = conf;
	g_ptr_array_add(b->disks, disk);
	return disk;
}

static bool is_new_id(struct backends *b, const char *id, GError **error)
{
	return !backends_find_disk(b, id) ||
	       error_set(error, BERTH_ERR_INVALID, "there is a drive '%s' already: rename one", id);
}

bool backends_add_node(struct backends *b, const json_t *dict, GError **error)
{
	const char *id = json_string_value(json_object_get(dict, "node-name"));
	const char *driver = json_string_value(json_object_get(dict, "driver"));
	struct block_node *node = is_new_id(b, id, error) ? open_node(b, dict, error) : NULL;
	if (!node)
		return false;
	struct conf_drive *conf = conf_drive_new();
	conf->is_blockdev = true;
	conf->id = g_strdup(id);
	conf->format = g_strdup(driver);
	keep_disk(b, conf, node);
	return true;
}

static bool add_blockdev(struct backends *b, const struct conf_drive *conf, GError **error)
{
	json_t *flat = json_pack("{s:s, s:s}", "driver", conf->format, "node-name", conf->id);
	add_options(flat, conf->node_options);
	json_t *dict = block_unflatten(flat, error);
	bool good = dict && backends_add_node(b, dict, error);
	json_decref(flat);
	json_decref(dict);
	return good;
}

bool backends_add_disk(struct backends *b, struct conf_drive *conf, GError **error)
{
	bool good = is_new_id(b, conf->id, error);
	if (conf->is_blockdev) {
		good = good && add_blockdev(b, conf, error);
		conf_drive_free(conf);
		return good;
	}
	struct block_node *node = NULL;
	bool medium = conf->file || keyval_get(conf->node_options, "file.driver");
	if (good && !medium && conf->media != CONF_MEDIA_CDROM)
		good = error_set(error, BERTH_ERR_INVALID, "-drive %s: a disk needs file=PATH", conf->id);
	if (good && medium)
		good = (node = open_drive(b, conf, error));
	if (good) {
		struct backend_disk *disk = keep_disk(b, conf, node);
		return !node || conf->is_blockdev || apply_throttling(disk, error);
	}
	conf_drive_free(conf);
	return false;
}

bool backends_change_medium(struct backends *b, struct backend_disk *disk, struct device *dev,
			    struct conf_drive *conf, bool force, GError **error)
{
	struct block_node *image = conf ? open_drive(b, conf, error) : NULL;
	struct block_node *node = image ? block_root_new(b->graph, image) : NULL;
	if ((conf && !node) || !ide_cd_change_medium(dev, node, force, error)) {
		block_close(node);
		conf_drive_free(conf);
		return false;
	}
	block_close(disk->node);
	disk->node = node;
	g_free(disk->tray);
	disk->tray = node ? NULL : g_strdup(dev->id);
	if (conf) {
		conf_drive_free(disk->conf);
		disk->conf = conf;
	}
	return true;
}
