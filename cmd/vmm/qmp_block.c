/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: disk images: what there is, what they have done, adding, removing, resizing, media. */
#include "vmm.h"

#include "base/error.h"
#include "block/core/dirty.h"
#include "block/core/driver.h"
#include "block/core/graph.h"
#include "block/core/image.h"
#include "dev/virtio/devices.h"
#include "qmp_args.h"
#include "qmp_limits.h"

#include <string.h>

/* The device that shows the disk to the guest, or NULL. */
static struct device *disk_user(struct vmm *vmm, const struct backend_disk *disk)
{
	if (!disk->node)
		return disk->tray ? machine_find_device(vmm->machine, disk->tray) : NULL;
	return backends_user(vmm->machine->devices, disk->node);
}

/* --- what there is ------------------------------------------------------------------------------------*/

/* ImageInfo of a node and, unless `flat`, of the backing files below it. */
static json_t *describe_image(struct block_node *node, bool flat)
{
	json_t *info = block_info(node, NULL);
	if (!info)
		return json_pack("{s:s, s:s, s:I}", "filename", block_filename(node), "format",
				 block_format_name(node), "virtual-size",
				 (json_int_t)block_size(node));
	if (block_backing(node) && !flat)
		json_object_set_new(info, "backing-image",
				    describe_image(block_below_filters(block_backing(node)), flat));
	return info;
}

/* Those with a name; NULL: there are none. */
static json_t *describe_bitmaps(const struct block_node *node)
{
	json_t *list = NULL;
	for (const struct block_dirty *dirty = node->dirty; dirty; dirty = dirty->next) {
		if (!dirty->name)
			continue;
		json_t *entry = json_pack(
			"{s:s, s:I, s:I, s:b, s:b, s:b}", "name", dirty->name, "granularity",
			(json_int_t)1 << dirty->shift, "count",
			(json_int_t)MIN(dirty->count << dirty->shift, node->size), "recording",
			(int)dirty->enabled, "busy", (int)(dirty->busy > 0), "persistent", (int)dirty->persistent);
		if (dirty->inconsistent)
			json_object_set_new(entry, "inconsistent", json_true());
		list = list ? list : json_array();
		json_array_append_new(list, entry);
	}
	return list;
}

/* BlockDeviceInfo; `root` (or NULL) is what a device has it by. */
static json_t *describe_node(struct block_node *node, const struct block_node *root, bool flat)
{
	int depth = 0;
	for (struct block_node *n = node; block_backing(n); n = block_below_filters(block_backing(n)))
		depth++;
	const char *name = block_node_name(node), *file = block_filename(node);
	json_t *info = json_pack(
		"{s:s, s:s, s:b, s:b, s:i, s:s, s:I, s:{s:b, s:b, s:b}, s:o}", "file", file ? file : "",
		"drv", node->driver->name, "ro", (int)(root ? root : node)->readonly, "encrypted",
		(int)block_is_encrypted(node), "backing_file_depth", depth, "detect_zeroes",
		node->detect_zeroes ? "on" : "off",
		"write_threshold", (json_int_t)node->write_threshold, "cache", "writeback",
		(int)!(node->writethrough || (root && root->writethrough)), "direct",
		(int)node->options.direct, "no-flush", (int)node->options.no_flush, "image",
		describe_image(node, flat));
	qmp_describe_limits(root, info);
	if (name)
		json_object_set_new(info, "node-name", json_string(name));
	if (block_backing_name(node))
		json_object_set_new(info, "backing_file", json_string(block_backing_name(node)));
	json_t *bitmaps = describe_bitmaps(node);
	if (bitmaps)
		json_object_set_new(info, "dirty-bitmaps", bitmaps);
	return info;
}

static json_t *run_query_named_nodes(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	json_t *list = json_array();
	const GPtrArray *nodes = block_graph_nodes(vmm->backends.graph);
	for (unsigned i = 0; i < nodes->len; i++)
		json_array_append_new(list, describe_node(nodes->pdata[i], NULL, arg_flag(args, "flat", false)));
	return list;
}

static void describe_status(const struct backend_disk *disk, json_t *entry)
{
	static const char *const names[] = {[BLOCK_IO_OK] = "ok", [BLOCK_IO_FAILED] = "failed",
					    [BLOCK_IO_NO_SPACE] = "nospace"};
	enum block_io_status status = disk->node ? block_io_status(disk->node) : BLOCK_IO_NONE;
	if (status != BLOCK_IO_NONE)
		json_object_set_new(entry, "io-status", json_string(names[status]));
}

static json_t *run_query_block(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	json_t *list = json_array();
	for (unsigned i = 0; i < vmm->backends.disks->len; i++) {
		const struct backend_disk *disk = vmm->backends.disks->pdata[i];
		const struct device *user = disk_user(vmm, disk);
		bool removable = disk->conf->media == CONF_MEDIA_CDROM;
		if (disk->conf->is_blockdev && !user)
			continue; /* a node that no device has */
		json_t *entry = json_pack("{s:s, s:b, s:b, s:s}", "device",
					  disk->conf->is_blockdev ? "" : disk->id, "locked", 0,
					  "removable", (int)removable, "type", "unknown");
		if (user && user->id)
			json_object_set_new(entry, "qdev", json_string(user->id));
		/* After a commit a device may have an image that nobody has named. */
		if (disk->node) {
			block_graph_name(disks_image(disk));
			json_object_set_new(entry, "inserted",
					    describe_node(disks_image(disk), disk->node, false));
		}
		describe_status(disk, entry);
		if (removable)
			json_object_set_new(entry, "tray_open", json_false());
		json_array_append_new(list, entry);
	}
	return list;
}

static json_t *describe_stats(const struct block_node *node)
{
	struct block_stats s;
	block_get_stats(node, &s);
	json_t *stats = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rd_bytes",
			 (json_int_t)s.bytes[BLOCK_READ], "wr_bytes",
			 (json_int_t)s.bytes[BLOCK_WRITE], "rd_operations",
			 (json_int_t)s.ops[BLOCK_READ], "wr_operations",
			 (json_int_t)s.ops[BLOCK_WRITE], "flush_operations",
			 (json_int_t)s.ops[BLOCK_FLUSH], "unmap_operations",
			 (json_int_t)s.ops[BLOCK_DISCARD], "rd_total_time_ns",
			 (json_int_t)s.total_ns[BLOCK_READ], "wr_total_time_ns",
			 (json_int_t)s.total_ns[BLOCK_WRITE], "flush_total_time_ns",
			 (json_int_t)s.total_ns[BLOCK_FLUSH], "failed_rd_operations",
			 (json_int_t)s.errors[BLOCK_READ], "failed_wr_operations",
			 (json_int_t)s.errors[BLOCK_WRITE], "failed_flush_operations",
			 (json_int_t)s.errors[BLOCK_FLUSH]);
	json_object_set_new(stats, "unmap_bytes", json_integer(s.bytes[BLOCK_DISCARD]));
	json_object_set_new(stats, "unmap_total_time_ns", json_integer(s.total_ns[BLOCK_DISCARD]));
	json_object_set_new(stats, "failed_unmap_operations", json_integer(s.errors[BLOCK_DISCARD]));
	qmp_describe_histograms(node, stats);
	return stats;
}

/* As QEMU nests it: the node, in "parent" the file it lies on, in "backing" what it is based on. */
static json_t *describe_node_stats(struct block_node *node)
{
	json_t *entry = json_pack("{s:o}", "stats", describe_stats(node));
	if (block_node_name(node))
		json_object_set_new(entry, "node-name", json_string(block_node_name(node)));
	if (node->file)
		json_object_set_new(entry, "parent", describe_node_stats(node->file));
	if (node->backing)
		json_object_set_new(entry, "backing",
				    describe_node_stats(block_below_filters(node->backing)));
	return entry;
}

static json_t *run_query_blockstats(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	json_t *list = json_array();
	if (arg_flag(args, "query-nodes", false)) {
		const GPtrArray *nodes = block_graph_nodes(vmm->backends.graph);
		for (unsigned i = 0; i < nodes->len; i++)
			json_array_append_new(list, describe_node_stats(nodes->pdata[i]));
		return list;
	}
	for (unsigned i = 0; i < vmm->backends.disks->len; i++) {
		const struct backend_disk *disk = vmm->backends.disks->pdata[i];
		const struct device *user = disk_user(vmm, disk);
		if (!disk->node || (disk->conf->is_blockdev && !user))
			continue;
		json_t *entry = describe_node_stats(disks_image(disk));
		json_object_set_new(entry, "stats", describe_stats(disk->node));
		json_object_set_new(entry, "device",
				    json_string(disk->conf->is_blockdev ? "" : disk->id));
		if (user && user->id)
			json_object_set_new(entry, "qdev", json_string(user->id));
		json_array_append_new(list, entry);
	}
	return list;
}

/* --- nodes ----------------------------------------------------------------------------------------------*/

static json_t *run_blockdev_add(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	backends_add_node(&vmm->backends, args, error);
	return NULL;
}

static json_t *run_blockdev_del(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *name = arg_text(args, "node-name");
	struct backend_disk *disk = backends_find_disk(&vmm->backends, name);
	bool used = disk && disk_user(vmm, disk);
	if (!disk || !disk->conf->is_blockdev || (used && !disk->named))
		return qmp_error(error, QMP_ERROR_GENERIC, "Failed to find node with node-name='%s'",
				 name);
	/* Its own two references: by name, and (as long as it is there) by the root. */
	bool there = disk->named && disks_image(disk) == block_below_filters(disk->named);
	if (disk->named && ((used && there) || disk->named->references > 1u + there || disk->named->job))
		return qmp_error(error, QMP_ERROR_GENERIC, "Node %s is in use", name);
	/* A job may have given the device another image: that stays. */
	if (used)
		g_clear_pointer(&disk->named, block_close);
	else
		disks_remove(&vmm->backends, disk);
	return NULL;
}

/* Only what can change while the image is open: whether it can be written. */
static bool reopen_one(struct vmm *vmm, const json_t *options, GError **error)
{
	const char *name = arg_text(options, "node-name");
	struct block_node *node = name ? block_graph_find(vmm->backends.graph, name) : NULL;
	const char *driver = arg_text(options, "driver");
	if (!node)
		return qmp_error(error, QMP_ERROR_GENERIC, "Failed to find node with node-name='%s'",
				 name ? name : ""), false;
	if (driver && strcmp(driver, node->driver->name) != 0)
		return qmp_error(error, QMP_ERROR_GENERIC, "Cannot change the option 'driver'"), false;
	if (node->job)
		return qmp_error(error, QMP_ERROR_GENERIC, "Node '%s' is busy: %s", name, node->job), false;
	const char *key;
	json_t *value;
	static const char *const known[] = {"node-name", "driver", "file", "backing", "read-only",
					    "cache", "discard", "auto-read-only", NULL};
	json_object_foreach((json_t *)options, key, value)
		if (!g_strv_contains(known, key))
			return qmp_error(error, QMP_ERROR_GENERIC, "Cannot change the option '%s'", key),
			       false;
	const json_t *backing = json_object_get(options, "backing");
	struct block_node *base = json_is_string(backing)
					  ? block_graph_find(vmm->backends.graph, json_string_value(backing))
					  : NULL;
	if (json_is_string(backing) && (!base || block_is_below(base, node)))
		return qmp_error(error, QMP_ERROR_GENERIC, "'%s' cannot be the backing file of '%s'",
				 json_string_value(backing), name), false;
	if (json_is_object(backing))
		return qmp_error(error, QMP_ERROR_GENERIC, "backing is a node's name or null"), false;
	block_graph_hold(vmm->backends.graph);
	bool good = block_set_readonly(node, arg_flag(options, "read-only", false), error);
	if (good && backing && block_below_filters(node->backing) != base)
		block_set_backing(node, base);
	block_graph_release(vmm->backends.graph);
	return good;
}

static json_t *run_blockdev_reopen(void *opaque, const json_t *args, GError **error)
{
	const json_t *list = json_object_get(args, "options");
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!reopen_one(opaque, json_array_get(list, i), error))
			break;
	return NULL;
}

static json_t *run_block_resize(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct backends *b = &vmm->backends;
	const char *name = arg_text(args, "device") ? arg_text(args, "device")
						    : arg_text(args, "node-name");
	if (!name)
		return qmp_error(error, QMP_ERROR_GENERIC, "Parameter 'node-name' is missing");
	struct block_node *node = disks_find_node(b, name, NULL);
	if (!node)
		return qmp_error(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", name);
	if (node->job)
		return qmp_error(error, QMP_ERROR_GENERIC, "Node '%s' is busy: block device is in use by "
				 "block job: %s", name, node->job);
	vm_quiesce(vmm->vm);
	block_graph_hold(b->graph);
	bool resized = block_resize(node, arg_int(args, "size", 0), error);
	block_graph_release(b->graph);
	for (unsigned i = 0; resized && i < b->disks->len; i++) {
		const struct backend_disk *disk = b->disks->pdata[i];
		struct device *user = disk->node && disks_image(disk) == node ? disk_user(vmm, disk) : NULL;
		if (user)
			virtio_blk_resized(user);
	}
	vm_unquiesce(vmm->vm);
	return NULL;
}

static void threshold_passed(struct block_node *node, uint64_t excess)
{
	struct vmm *vmm = node->threshold_opaque;
	monitor_emit(vmm->monitor, "BLOCK_WRITE_THRESHOLD",
		     json_pack("{s:s, s:I, s:I}", "node-name",
			       node->node_name ? node->node_name : "", "amount-exceeded",
			       (json_int_t)excess, "write-threshold",
			       (json_int_t)node->threshold_was));
}

static json_t *run_set_threshold(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *name = arg_text(args, "node-name");
	struct block_node *node = block_graph_find(vmm->backends.graph, name);
	if (!node)
		return qmp_error(error, QMP_ERROR_GENERIC, "Device '%s' not found", name);
	node->threshold_passed = threshold_passed;
	node->threshold_opaque = vmm;
	node->write_threshold = node->threshold_was = arg_int(args, "write-threshold", 0);
	return NULL;
}

/* --- media ----------------------------------------------------------------------------------------------*/

/* A CD drive by the name of its drive ("device") or by its own ("id"). */
static struct backend_disk *find_tray(struct vmm *vmm, const json_t *args, struct device **dev,
				      GError **error)
{
	const char *drive = arg_text(args, "device"), *id = arg_text(args, "id");
	if (!drive && !id)
		return (void *)qmp_error(error, QMP_ERROR_GENERIC, "Parameter 'id' is missing");
	for (unsigned i = 0; i < vmm->backends.disks->len; i++) {
		struct backend_disk *disk = vmm->backends.disks->pdata[i];
		*dev = disk_user(vmm, disk);
		if (*dev && ((drive && strcmp(disk->id, drive) == 0) ||
			     (id && (*dev)->id && strcmp((*dev)->id, id) == 0)))
			return disk;
	}
	return (void *)qmp_error(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found",
				 id ? id : drive);
}

static json_t *run_eject(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct device *dev;
	struct backend_disk *disk = find_tray(vmm, args, &dev, error);
	if (disk)
		backends_change_medium(&vmm->backends, disk, dev, NULL, arg_flag(args, "force", false),
				       error);
	return NULL;
}

static json_t *run_change_medium(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct device *dev;
	struct backend_disk *disk = find_tray(vmm, args, &dev, error);
	if (!disk)
		return NULL;
	const char *format = arg_text(args, "format");
	struct conf_drive *conf = conf_drive_new();
	conf->id = g_strdup(disk->id);
	conf->file = g_strdup(arg_text(args, "filename"));
	conf->format = g_strdup(format ? format : "raw");
	conf->media = CONF_MEDIA_CDROM;
	conf->readonly = CONF_SWITCH_ON;
	backends_change_medium(&vmm->backends, disk, dev, conf, arg_flag(args, "force", false), error);
	return NULL;
}

static const struct qmp_command commands[] = {
	{"query-named-block-nodes", "flat?:bool", "[BlockDeviceInfo]", run_query_named_nodes},
	{"query-block", NULL, "[BlockInfo]", run_query_block},
	{"query-blockstats", "query-nodes?:bool", "[BlockStats]", run_query_blockstats},
	{"blockdev-add", "driver:str node-name:str", NULL, run_blockdev_add, true},
	{"blockdev-del", "node-name:str", NULL, run_blockdev_del},
	{"blockdev-reopen", "options:[any]", NULL, run_blockdev_reopen},
	{"block_resize", "device?:str node-name?:str size:size", NULL, run_block_resize},
	{"block-set-write-threshold", "node-name:str write-threshold:size", NULL, run_set_threshold},
	{"eject", "device?:str id?:str force?:bool", NULL, run_eject},
	{"blockdev-change-medium", "device?:str id?:str filename:str format?:str force?:bool", NULL,
	 run_change_medium},
	{NULL},
};

static const struct qmp_type types[] = {
	{"BlockInfo", "device:str qdev?:str type:str removable:bool locked:bool "
		      "inserted?:BlockDeviceInfo tray_open?:bool io-status?:str"},
	{"BlockDeviceInfo", "file:str node-name?:str ro:bool drv:str encrypted:bool detect_zeroes:str "
			    "write_threshold:int backing_file?:str backing_file_depth:int "
			    "bps:int bps_rd:int bps_wr:int iops:int iops_rd:int iops_wr:int "
			    "bps_max?:int bps_rd_max?:int bps_wr_max?:int iops_max?:int "
			    "iops_rd_max?:int iops_wr_max?:int bps_max_length?:int "
			    "bps_rd_max_length?:int bps_wr_max_length?:int iops_max_length?:int "
			    "iops_rd_max_length?:int iops_wr_max_length?:int iops_size?:int group?:str "
			    "cache:BlockdevCacheInfo image:ImageInfo dirty-bitmaps?:[BlockDirtyInfo]"},
	{"BlockDirtyInfo", "name?:str count:int granularity:int recording:bool busy:bool persistent:bool "
			   "inconsistent?:bool"},
	{"BlockdevCacheInfo", "writeback:bool direct:bool no-flush:bool"},
	{"ImageInfo", "filename:str format:str dirty-flag?:bool virtual-size:size"},
	{"BlockStats", "device?:str qdev?:str node-name?:str stats:BlockDeviceStats "
		       "parent?:BlockStats backing?:BlockStats"},
	{"BlockDeviceStats",
	 "rd_bytes:int wr_bytes:int rd_operations:int wr_operations:int flush_operations:int "
	 "unmap_operations:int rd_total_time_ns:int wr_total_time_ns:int flush_total_time_ns:int "
	 "unmap_bytes:int unmap_total_time_ns:int failed_unmap_operations:int "
	 "failed_rd_operations:int failed_wr_operations:int failed_flush_operations:int "
	 "rd_latency_histogram?:BlockLatencyHistogramInfo "
	 "wr_latency_histogram?:BlockLatencyHistogramInfo "
	 "flush_latency_histogram?:BlockLatencyHistogramInfo"},
	{NULL},
};

static const struct qmp_event events[] = {
	{"BLOCK_WRITE_THRESHOLD", "node-name:str amount-exceeded:int write-threshold:int"},
	{NULL},
};

const struct qmp_table qmp_block_table = {commands, types, events, NULL};
