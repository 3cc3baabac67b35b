/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends.h"

#include "base/error.h"
#include "base/log.h"
#include "block/core/object.h"

#include <string.h>

static void net_free(void *net)
{
	net_backend_free(net);
}

static void stream_free(void *chr)
{
	chardev_free(chr);
}

static void memory_free(void *ram)
{
	ram_block_free(ram);
}

static void object_free(void *object)
{
	conf_item_free(object);
}

void backends_init(struct backends *b, struct aio_loop *loop)
{
	b->loop = loop;
	disks_init(b);
	iothreads_init(b);
	b->nets = g_ptr_array_new_with_free_func(net_free);
	b->chardevs = g_ptr_array_new_with_free_func(stream_free);
	b->objects = g_ptr_array_new_with_free_func(object_free);
	b->memories = g_ptr_array_new_with_free_func(memory_free);
	b->retired_memories = g_ptr_array_new_with_free_func(memory_free);
}

void backends_free_memory(struct backends *b)
{
	g_clear_pointer(&b->memories, g_ptr_array_unref);
	g_clear_pointer(&b->retired_memories, g_ptr_array_unref);
}

void backends_clear(struct backends *b)
{
	if (!b->disks)
		return;
	g_ptr_array_unref(b->nets);
	g_ptr_array_unref(b->iothreads);
	disks_clear(b);
	g_ptr_array_unref(b->chardevs);
	g_ptr_array_unref(b->objects);
}

/* --- looking up ----------------------------------------------------------------------------------- */

struct net_backend *backends_find_net(struct backends *b, const char *id)
{
	for (unsigned i = 0; i < b->nets->len; i++) {
		struct net_backend *net = b->nets->pdata[i];
		if (strcmp(net->id, id) == 0)
			return net;
	}
	return NULL;
}

struct chardev *backends_find_chardev(struct backends *b, const char *id)
{
	for (unsigned i = 0; i < b->chardevs->len; i++) {
		if (strcmp(chardev_id(b->chardevs->pdata[i]), id) == 0)
			return b->chardevs->pdata[i];
	}
	return NULL;
}

struct conf_item *backends_find_object(struct backends *b, const char *id)
{
	for (unsigned i = 0; i < b->objects->len; i++) {
		struct conf_item *object = b->objects->pdata[i];
		if (strcmp(object->id, id) == 0)
			return object;
	}
	return NULL;
}

struct ram_block *backends_find_memory(struct backends *b, const char *id)
{
	for (unsigned i = 0; i < b->memories->len; i++) {
		struct ram_block *ram = b->memories->pdata[i];
		if (strcmp(ram->name, id) == 0)
			return ram;
	}
	return NULL;
}

static const char *nearest_id(struct backends *b, enum property_type type, const char *id)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	const GPtrArray *list = type == PROPERTY_DRIVE  ? b->disks :
				type == PROPERTY_NETDEV ? b->nets :
				type == PROPERTY_MEMDEV ? b->memories :
							  b->chardevs;
	for (unsigned i = 0; i < list->len; i++) {
		void *item = list->pdata[i];
		g_ptr_array_add(names, type == PROPERTY_DRIVE  ? ((struct backend_disk *)item)->id :
				       type == PROPERTY_NETDEV ? ((struct net_backend *)item)->id :
				       type == PROPERTY_MEMDEV ? ((struct ram_block *)item)->name :
								 (char *)chardev_id(item));
	}
	g_ptr_array_add(names, NULL);
	return nearest_name(id, (const char *const *)names->pdata);
}

static void *resolve(void *opaque, enum property_type type, const char *id, GError **error)
{
	struct backends *b = opaque;
	void *found = NULL;
	const char *option = "-drive or -blockdev";
	if (type == PROPERTY_DRIVE) {
		struct backend_disk *disk = backends_find_disk(b, id);
		if (disk && !disk->node) {
			error_set(error, BERTH_ERR_INVALID,
				  "the drive '%s' has no medium: give it file=PATH", id);
			return NULL;
		}
		found = disk ? disk->node : NULL;
	} else if (type == PROPERTY_NETDEV) {
		option = "-netdev";
		found = backends_find_net(b, id);
	} else if (type == PROPERTY_CHARDEV) {
		option = "-chardev";
		found = backends_find_chardev(b, id);
	} else if (type == PROPERTY_MEMDEV) {
		option = "-object memory-backend-*";
		found = backends_find_memory(b, id);
	}
	if (!found) {
		const char *near = nearest_id(b, type, id);
		error_set(error, BERTH_ERR_NOT_FOUND, "there is no %s with id '%s'%s%s%s", option,
			  id, near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
	}
	return found;
}

struct device_resolver backends_resolver(struct backends *b)
{
	return (struct device_resolver){resolve, b};
}

/* --- who uses what --------------------------------------------------------------------------------- */

struct device *backends_user(const GPtrArray *devices, const void *backend)
{
	for (unsigned i = 0; i < devices->len; i++) {
		struct device *dev = devices->pdata[i];
		for (const struct property *p = dev->class->properties; p && p->name; p++) {
			bool reference = p->type == PROPERTY_DRIVE || p->type == PROPERTY_NETDEV ||
					 p->type == PROPERTY_CHARDEV || p->type == PROPERTY_MEMDEV;
			if (reference && *(void **)((char *)dev + p->offset) == backend)
				return dev;
		}
	}
	return NULL;
}

/* --- networks, streams, objects ------------------------------------------------------------------- */

static struct chardev *find_stream(void *opaque, const char *id, GError **error)
{
	return resolve(opaque, PROPERTY_CHARDEV, id, error);
}

bool backends_add_net(struct backends *b, const struct conf_item *item, GError **error)
{
	if (backends_find_net(b, item->id))
		return error_set(error, BERTH_ERR_INVALID,
				 "there is a network '%s' already: rename one", item->id);
	const struct net_host host = {b->loop, find_stream, b};
	struct net_backend *net = net_backend_new(
		item->type, item->id, (const char *const *)item->props->keys->pdata,
		(const char *const *)item->props->values->pdata, &host, error);
	if (net)
		g_ptr_array_add(b->nets, net);
	return net != NULL;
}

/* Take a new stream in; there is one standard input, so one stream on it. */
static bool keep_stream(struct backends *b, struct chardev *chr, GError **error)
{
	const char *what = chardev_describe(chr);
	for (unsigned i = 0; strcmp(what, "stdio") == 0 && i < b->chardevs->len; i++) {
		if (strcmp(chardev_describe(b->chardevs->pdata[i]), what) == 0) {
			chardev_free(chr);
			return error_set(error, BERTH_ERR_INVALID,
					 "stdio can serve one stream: use mon:stdio to share it");
		}
	}
	/* Tools look for this sentence to find the terminal. */
	if (g_str_has_prefix(what, "pty:"))
		log_info("char device redirected to %s (label %s)", what + 4, chardev_id(chr));
	g_ptr_array_add(b->chardevs, chr);
	return true;
}

bool backends_add_chardev(struct backends *b, const struct conf_item *item, GError **error)
{
	if (backends_find_chardev(b, item->id))
		return error_set(error, BERTH_ERR_INVALID,
				 "there is a stream '%s' already: rename one", item->id);
	struct chardev *chr = chardev_new(item->type, item->id,
					  (const char *const *)item->props->keys->pdata,
					  (const char *const *)item->props->values->pdata, b->loop,
					  error);
	return chr && keep_stream(b, chr, error);
}

bool backends_open_stream(struct backends *b, const char *spec, const char *id,
			  struct chardev **chr, GError **error)
{
	*chr = NULL;
	if (strcmp(spec, "none") == 0)
		return true;
	if (g_str_has_prefix(spec, "chardev:")) {
		*chr = resolve(b, PROPERTY_CHARDEV, spec + strlen("chardev:"), error);
		return *chr != NULL;
	}
	struct chardev *made = chardev_new_from_spec(spec, id, b->loop, error);
	if (!made || !keep_stream(b, made, error))
		return false;
	*chr = made;
	return true;
}

static const char *const object_help[] = {
	"rng-random", "randomness of the host: filename=/dev/urandom or /dev/random",
	"rng-builtin", "randomness of the host",
	"memory-backend-ram", "guest RAM, for memory-backend= of -machine or memdev= of a device: size=, prealloc=, "
	"prealloc-threads=, share=",
	"memory-backend-memfd", "the same, and hugetlb=on, hugetlbsize=, reserve=off (they are not set aside)",
	"secret", "a password: data= or file=, format=raw or base64",
	"tls-creds-x509", "certificates for NBD: dir=, endpoint=client or server, verify-peer=",
	"tls-creds-psk", "pre-shared keys for NBD: dir=, endpoint=, username=",
	"iothread", "a thread that serves disks: iothread= of virtio-blk",
	"throttle-group", "limits for -blockdev throttle: limits.bps-total=, limits.iops-read=...",
	"memory-backend-file", "the same in a file or hugetlbfs folder: mem-path=",
	NULL,
};

const char *const *backends_object_help(void)
{
	return object_help;
}

static bool check_random(const struct conf_item *item, GError **error)
{
	for (unsigned i = 0; i < keyval_count(item->props); i++) {
		const char *key = item->props->keys->pdata[i], *value = item->props->values->pdata[i];
		if (strcmp(item->type, "rng-random") != 0 || strcmp(key, "filename") != 0)
			return error_set(error, BERTH_ERR_INVALID, "-object %s has no property '%s'",
					 item->type, key);
		if (strcmp(value, "/dev/urandom") != 0 && strcmp(value, "/dev/random") != 0)
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "-object %s: filename=%s is not supported: use /dev/urandom",
					 item->type, value);
	}
	return true;
}

bool backends_add_object(struct backends *b, const struct conf_item *item, GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	for (unsigned i = 0; object_help[i]; i += 2)
		g_ptr_array_add(names, (void *)object_help[i]);
	g_ptr_array_add(names, NULL);
	const char *const *types = (const char *const *)names->pdata;
	if (!g_strv_contains(types, item->type)) {
		const char *near = nearest_name(item->type, types);
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "-object: there is no type '%s'%s%s%s", item->type,
				 near ? ": did you mean '" : "; see -object help", near ? near : "",
				 near ? "'?" : "");
	}
	if (g_str_has_prefix(item->type, "rng-") && !check_random(item, error))
		return false;
	if (backends_find_object(b, item->id))
		return error_set(error, BERTH_ERR_INVALID,
				 "there is an object '%s' already: rename one", item->id);
	if (block_object_type_known(item->type) && !disks_add_object(b, item, error))
		return false;
	if (strcmp(item->type, "throttle-group") == 0 && !disks_add_throttle(b, item, error))
		return false;
	if (strcmp(item->type, "iothread") == 0 && !iothreads_add(b, item, error))
		return false;
	struct conf_item *copy = conf_item_new(item->type, item->id);
	keyval_free(copy->props);
	copy->props = keyval_copy(item->props);
	g_ptr_array_add(b->objects, copy);
	return true;
}

bool backends_open(struct backends *b, const struct conf_vm *conf, GError **error)
{
	typedef bool add_fn(struct backends *b, const struct conf_item *item, GError **error);
	static const struct {
		enum conf_item_kind kind;
		add_fn *add;
	} order[] = {{CONF_OBJECT, backends_add_object},
		     {CONF_CHARDEV, backends_add_chardev},
		     {CONF_NETDEV, backends_add_net}};
	for (unsigned k = 0; k < G_N_ELEMENTS(order); k++) {
		const GPtrArray *items = conf->items[order[k].kind];
		for (unsigned i = 0; i < items->len; i++) {
			if (!order[k].add(b, items->pdata[i], error))
				return false;
		}
	}
	for (unsigned i = 0; i < conf->drives->len; i++) {
		if (!backends_add_disk(b, conf_drive_copy(conf->drives->pdata[i]), error))
			return false;
	}
	return true;
}
