/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP: disk images, networks, streams and objects of the host's side. */
#include "vmm.h"

#include "base/error.h"
#include "block/core/image.h"
#include "codec/json.h"
#include "dev/virtio/devices.h"

#include <string.h>

/* --- disks ------------------------------------------------------------------------------------------ */

/* The device that shows the disk to the guest, or NULL. */
static struct device *disk_user(struct vmm *vmm, const struct backend_disk *disk)
{
	if (!disk->node)
		return disk->tray ? machine_find_device(vmm->machine, disk->tray) : NULL;
	return backends_user(vmm->machine->devices, disk->node);
}

/* ImageInfo of a node and of the backing files below it. */
static json_t *describe_image(struct block_node *node)
{
	json_t *info = block_info(node, NULL);
	if (!info)
		return json_pack("{s:s, s:s, s:I}", "filename", block_filename(node), "format",
				 block_format_name(node), "virtual-size",
				 (json_int_t)block_size(node));
	if (block_backing(node))
		json_object_set_new(info, "backing-image", describe_image(block_backing(node)));
	return info;
}

static json_t *describe_medium(const struct backend_disk *disk)
{
	struct block_node *node = disk->node;
	const char *file = block_filename(node);
	int depth = 0;
	for (struct block_node *n = node; block_backing(n); n = block_backing(n))
		depth++;
	json_t *medium = json_pack("{s:s, s:s, s:s, s:b, s:b, s:i, s:{s:b, s:b, s:b}, s:o}",
			 "file", file, "node-name", disk->id, "drv", block_format_name(node), "ro",
			 (int)block_is_readonly(node), "encrypted", 0, "backing_file_depth", depth,
			 "cache", "writeback",
			 (int)(disk->conf->cache != CONF_CACHE_WRITETHROUGH &&
			       disk->conf->cache != CONF_CACHE_DIRECTSYNC),
			 "direct",
			 (int)(disk->conf->direct || disk->conf->cache == CONF_CACHE_NONE ||
			       disk->conf->cache == CONF_CACHE_DIRECTSYNC),
			 "no-flush",
			 (int)(disk->conf->no_flush || disk->conf->cache == CONF_CACHE_UNSAFE),
			 "image", describe_image(node));
	if (block_backing_name(node))
		json_object_set_new(medium, "backing_file", json_string(block_backing_name(node)));
	return medium;
}

static json_t *run_query_named_nodes(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	json_t *list = json_array();
	for (unsigned i = 0; i < vmm->backends.disks->len; i++) {
		const struct backend_disk *disk = vmm->backends.disks->pdata[i];
		if (disk->node)
			json_array_append_new(list, describe_medium(disk));
	}
	return list;
}

static json_t *run_query_block(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	json_t *list = json_array();
	for (unsigned i = 0; i < vmm->backends.disks->len; i++) {
		const struct backend_disk *disk = vmm->backends.disks->pdata[i];
		const struct device *user = disk_user(vmm, disk);
		bool removable = disk->conf->media == CONF_MEDIA_CDROM;
		json_t *entry = json_pack("{s:s, s:b, s:b, s:s}", "device",
					  disk->conf->is_blockdev ? "" : disk->id, "locked", 0,
					  "removable", (int)removable, "type", "unknown");
		if (user && user->id)
			json_object_set_new(entry, "qdev", json_string(user->id));
		if (disk->node)
			json_object_set_new(entry, "inserted", describe_medium(disk));
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
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rd_bytes",
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
}

static json_t *run_query_blockstats(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	json_t *list = json_array();
	for (unsigned i = 0; i < vmm->backends.disks->len; i++) {
		const struct backend_disk *disk = vmm->backends.disks->pdata[i];
		if (!disk->node)
			continue;
		const struct device *user = disk_user(vmm, disk);
		json_t *entry = json_pack("{s:s, s:s, s:o}", "device",
					  disk->conf->is_blockdev ? "" : disk->id, "node-name",
					  disk->id, "stats", describe_stats(disk->node));
		if (user && user->id)
			json_object_set_new(entry, "qdev", json_string(user->id));
		json_array_append_new(list, entry);
	}
	return list;
}

static json_t *run_blockdev_add(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct keyval *kv = json_to_keyval(args, error);
	struct conf_drive *drive = kv ? conf_blockdev_from_keyval(kv, error) : NULL;
	if (!drive)
		return NULL;
	if (drive->file_node) {
		conf_drive_free(drive);
		return qmp_error(error, QMP_ERROR_GENERIC,
				 "write the file node inside, as in \"file\": {\"driver\": \"file\", "
				 "\"filename\": PATH}");
	}
	backends_add_disk(&vmm->backends, drive, NULL, error);
	return NULL;
}

static json_t *run_blockdev_del(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *name = json_string_value(json_object_get(args, "node-name"));
	struct backend_disk *disk = backends_find_disk(&vmm->backends, name);
	if (!disk || !disk->conf->is_blockdev)
		return qmp_error(error, QMP_ERROR_GENERIC, "Failed to find node with node-name='%s'",
				 name);
	if (disk_user(vmm, disk))
		return qmp_error(error, QMP_ERROR_GENERIC, "Node %s is in use", name);
	g_ptr_array_remove(vmm->backends.disks, disk);
	return NULL;
}

static json_t *run_block_resize(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const json_t *name = json_object_get(args, "device");
	if (!name)
		name = json_object_get(args, "node-name");
	if (!name)
		return qmp_error(error, QMP_ERROR_GENERIC, "Parameter 'node-name' is missing");
	struct backend_disk *disk = backends_find_disk(&vmm->backends, json_string_value(name));
	if (!disk || !disk->node)
		return qmp_error(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found",
				 json_string_value(name));
	struct device *user = disk_user(vmm, disk);
	uint64_t size = json_integer_value(json_object_get(args, "size"));
	vm_quiesce(vmm->vm);
	if (block_resize(disk->node, size, error) && user)
		virtio_blk_resized(user);
	vm_unquiesce(vmm->vm);
	return NULL;
}

/* A CD drive by the name of its drive ("device") or by its own ("id"). */
static struct backend_disk *find_tray(struct vmm *vmm, const json_t *args, struct device **dev,
				      GError **error)
{
	const char *drive = json_string_value(json_object_get(args, "device"));
	const char *id = json_string_value(json_object_get(args, "id"));
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
		backends_change_medium(&vmm->backends, disk, dev, NULL,
				       json_is_true(json_object_get(args, "force")), error);
	return NULL;
}

static json_t *run_change_medium(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct device *dev;
	struct backend_disk *disk = find_tray(vmm, args, &dev, error);
	if (!disk)
		return NULL;
	const char *format = json_string_value(json_object_get(args, "format"));
	struct conf_drive *conf = conf_drive_new();
	conf->id = g_strdup(disk->id);
	conf->file = g_strdup(json_string_value(json_object_get(args, "filename")));
	conf->format = g_strdup(format ? format : "raw");
	conf->media = CONF_MEDIA_CDROM;
	conf->readonly = CONF_SWITCH_ON;
	backends_change_medium(&vmm->backends, disk, dev, conf,
			       json_is_true(json_object_get(args, "force")), error);
	return NULL;
}

/* --- networks ----------------------------------------------------------------------------------------- */

static struct conf_item *item_from_json(enum conf_item_kind kind, const json_t *args, GError **error)
{
	struct keyval *kv = json_to_keyval(args, error);
	return kv ? conf_item_from_keyval(kind, kv, error) : NULL;
}

static json_t *run_netdev_add(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct conf_item *item = item_from_json(CONF_NETDEV, args, error);
	if (item)
		backends_add_net(&vmm->backends, item, error);
	conf_item_free(item);
	return NULL;
}

static json_t *run_netdev_del(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *id = json_string_value(json_object_get(args, "id"));
	struct net_backend *net = backends_find_net(&vmm->backends, id);
	if (!net)
		return qmp_error(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", id);
	if (backends_user(vmm->machine->devices, net))
		return qmp_error(error, QMP_ERROR_GENERIC,
				 "the network '%s' has a device: remove that first", id);
	g_ptr_array_remove(vmm->backends.nets, net);
	return NULL;
}

static json_t *run_set_link(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *name = json_string_value(json_object_get(args, "name"));
	const struct device *dev = machine_find_device(vmm->machine, name);
	for (unsigned i = 0; i < vmm->backends.nets->len; i++) {
		struct net_backend *net = vmm->backends.nets->pdata[i];
		if (strcmp(net->id, name) == 0 ||
		    (dev && backends_user(vmm->machine->devices, net) == dev)) {
			net_backend_set_link(net, json_is_true(json_object_get(args, "up")));
			return NULL;
		}
	}
	return qmp_error(error, QMP_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", name);
}

/* --- streams -------------------------------------------------------------------------------------------- */

static json_t *run_query_chardev(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	json_t *list = json_array();
	for (unsigned i = 0; i < vmm->backends.chardevs->len; i++) {
		const struct chardev *chr = vmm->backends.chardevs->pdata[i];
		json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "label", chardev_id(chr),
						      "filename", chardev_describe(chr),
						      "frontend-open", (int)chardev_is_open(chr)));
	}
	return list;
}

static json_t *run_query_chardev_backends(void *opaque, const json_t *args, GError **error)
{
	json_t *list = json_array();
	for (const struct chardev_type *type = chardev_types(); type->name; type++)
		json_array_append_new(list, json_pack("{s:s}", "name", type->name));
	return list;
}

/* {"type": T, "data": {...}} of QMP to the options of -chardev T. */
static bool chardev_props(const json_t *backend, struct keyval *props, GError **error)
{
	json_t *data = json_object_get(backend, "data");
	auto_keyval flat = data ? json_to_keyval(data, error) : keyval_new();
	if (!flat)
		return false;
	static const char *const renamed[][2] = {
		{"addr.data.path", "path"}, {"addr.data.host", "host"}, {"addr.data.port", "port"},
		{"out", "path"},	    {"device", "path"},
	};
	for (unsigned i = 0; i < keyval_count(flat); i++) {
		const char *key = flat->keys->pdata[i];
		if (strcmp(key, "addr.type") == 0)
			continue;
		for (unsigned r = 0; r < G_N_ELEMENTS(renamed); r++) {
			if (strcmp(key, renamed[r][0]) == 0)
				key = renamed[r][1];
		}
		keyval_add(props, key, flat->values->pdata[i]);
	}
	return true;
}

static json_t *run_chardev_add(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const json_t *backend = json_object_get(args, "backend");
	const char *type = json_string_value(json_object_get(backend, "type"));
	struct conf_item *item = conf_item_new(type, json_string_value(json_object_get(args, "id")));
	if (!conf_id_is_valid(item->id))
		error_set(error, BERTH_ERR_INVALID, "'%s' cannot be an id", item->id);
	else if (strcmp(type, "stdio") == 0)
		error_set(error, BERTH_ERR_NOT_SUPPORTED, "stdio is for the command line only");
	else if (chardev_props(backend, item->props, error))
		backends_add_chardev(&vmm->backends, item, error);
	conf_item_free(item);
	return NULL;
}

static json_t *run_chardev_remove(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *id = json_string_value(json_object_get(args, "id"));
	struct chardev *chr = backends_find_chardev(&vmm->backends, id);
	if (!chr)
		return qmp_error(error, QMP_ERROR_GENERIC, "Chardev '%s' not found", id);
	/* A stream has one user; if a place is free, there is none. */
	const struct chardev_user nobody = {.opaque = vmm};
	if (chardev_is_mux(chr) || !chardev_attach(chr, &nobody, NULL))
		return qmp_error(error, QMP_ERROR_GENERIC, "Chardev '%s' is busy", id);
	chardev_detach(chr, vmm);
	g_ptr_array_remove(vmm->backends.chardevs, chr);
	return NULL;
}

static json_t *run_ringbuf_read(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *id = json_string_value(json_object_get(args, "device"));
	json_int_t size = json_integer_value(json_object_get(args, "size"));
	struct chardev *chr = backends_find_chardev(&vmm->backends, id);
	g_autoptr(GBytes) bytes = chr ? chardev_ringbuf_read(chr, size) : NULL;
	if (!bytes)
		return qmp_error(error, QMP_ERROR_GENERIC, "'%s' is not a ring buffer", id);
	gsize length;
	const void *data = g_bytes_get_data(bytes, &length);
	const json_t *format = json_object_get(args, "format");
	if (format && strcmp(json_string_value(format), "base64") == 0) {
		g_autofree char *text = g_base64_encode(data, length);
		return json_string(text);
	}
	g_autofree char *text = g_utf8_make_valid(data ? data : "", length);
	return json_string(text);
}

/* --- objects --------------------------------------------------------------------------------------------- */

static json_t *run_object_add(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	struct conf_item *item = item_from_json(CONF_OBJECT, args, error);
	if (item)
		backends_add_object(&vmm->backends, item, error);
	conf_item_free(item);
	return NULL;
}

static bool has_random_user(struct vmm *vmm, const char *id)
{
	for (unsigned i = 0; i < vmm->machine->devices->len; i++) {
		g_autofree char *rng = device_get(vmm->machine->devices->pdata[i], "rng");
		if (rng && strcmp(rng, id) == 0)
			return true;
	}
	return false;
}

static json_t *run_object_del(void *opaque, const json_t *args, GError **error)
{
	struct vmm *vmm = opaque;
	const char *id = json_string_value(json_object_get(args, "id"));
	struct conf_item *object = backends_find_object(&vmm->backends, id);
	const char *ram = vmm->conf->machine.memory_backend;
	if (!object)
		return qmp_error(error, QMP_ERROR_GENERIC, "object '%s' not found", id);
	if (has_random_user(vmm, id) || (ram && strcmp(ram, id) == 0))
		return qmp_error(error, QMP_ERROR_GENERIC, "object '%s' is in use", id);
	g_ptr_array_remove(vmm->backends.objects, object);
	return NULL;
}

static const struct qmp_command commands[] = {
	{"query-named-block-nodes", "flat?:bool", "[BlockDeviceInfo]", run_query_named_nodes},
	{"query-block", NULL, "[BlockInfo]", run_query_block},
	{"query-blockstats", "query-nodes?:bool", "[BlockStats]", run_query_blockstats},
	{"blockdev-add", "driver:str node-name:str", NULL, run_blockdev_add, true},
	{"blockdev-del", "node-name:str", NULL, run_blockdev_del},
	{"block_resize", "device?:str node-name?:str size:size", NULL, run_block_resize},
	{"eject", "device?:str id?:str force?:bool", NULL, run_eject},
	{"blockdev-change-medium", "device?:str id?:str filename:str format?:str force?:bool", NULL,
	 run_change_medium},
	{"netdev_add", "type:str id:str", NULL, run_netdev_add, true},
	{"netdev_del", "id:str", NULL, run_netdev_del},
	{"set_link", "name:str up:bool", NULL, run_set_link},
	{"query-chardev", NULL, "[ChardevInfo]", run_query_chardev},
	{"query-chardev-backends", NULL, "[ChardevBackendInfo]", run_query_chardev_backends},
	{"chardev-add", "id:str backend:ChardevBackend", NULL, run_chardev_add},
	{"chardev-remove", "id:str", NULL, run_chardev_remove},
	{"ringbuf-read", "device:str size:size format?:DataFormat", "str", run_ringbuf_read},
	{"object-add", "qom-type:str id:str", NULL, run_object_add, true},
	{"object-del", "id:str", NULL, run_object_del},
	{NULL},
};

static const struct qmp_type types[] = {
	{"BlockInfo", "device:str qdev?:str type:str removable:bool locked:bool "
		      "inserted?:BlockDeviceInfo tray_open?:bool"},
	{"BlockDeviceInfo", "file:str node-name?:str ro:bool drv:str encrypted:bool "
			    "backing_file_depth:int cache:BlockdevCacheInfo image:ImageInfo"},
	{"BlockdevCacheInfo", "writeback:bool direct:bool no-flush:bool"},
	{"ImageInfo", "filename:str format:str dirty-flag?:bool virtual-size:size"},
	{"BlockStats", "device?:str qdev?:str node-name?:str stats:BlockDeviceStats"},
	{"BlockDeviceStats",
	 "rd_bytes:int wr_bytes:int rd_operations:int wr_operations:int flush_operations:int "
	 "unmap_operations:int rd_total_time_ns:int wr_total_time_ns:int flush_total_time_ns:int "
	 "failed_rd_operations:int failed_wr_operations:int failed_flush_operations:int"},
	{"ChardevInfo", "label:str filename:str frontend-open:bool"},
	{"ChardevBackendInfo", "name:str"},
	{"ChardevBackend", "type:str data?:any"},
	{"DataFormat", "=utf8 base64"},
	{NULL},
};

const struct qmp_table qmp_backend_table = {commands, types, NULL, NULL};
