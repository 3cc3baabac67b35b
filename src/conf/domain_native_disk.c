/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <disk> of a device and its image: -drive, or -blockdev with the file in it or as a node of its own. */
#include "conf/domain_native.h"

#include "base/error.h"
#include "base/units.h"

#include <stdio.h>
#include <string.h>

/* What is said of an image, whichever option says it. */
struct image {
	char *format, *protocol, *file;
	struct keyval *options; /* of the protocol, without "file." */
	const char *cache, *io, *discard;
	bool readonly, direct, no_flush;
};

static void image_clear(struct image *image)
{
	g_free(image->format);
	g_free(image->protocol);
	g_free(image->file);
	keyval_free(image->options);
}

static const char *const caches[] = {NULL, "writeback", "none", "writethrough", "directsync", "unsafe"};
static const char *const ios[] = {NULL, "threads", "native", "io_uring"};
static const char *const discards[] = {NULL, "unmap", "ignore"};

static const char *known_word(const char *const *words, unsigned count, const char *word)
{
	for (unsigned i = 1; i < count; i++) {
		if (g_strcmp0(words[i], word) == 0)
			return words[i];
	}
	return NULL;
}

/* Keys that begin with `prefix` go from `from` to `to`, without it. */
static void move_keys(struct keyval *from, const char *prefix, struct keyval *to)
{
	for (unsigned i = 0; i < keyval_count(from);) {
		const char *key = from->keys->pdata[i];
		if (!g_str_has_prefix(key, prefix)) {
			i++;
			continue;
		}
		g_autofree char *name = g_strdup(key), *value = keyval_take(from, name);
		keyval_add(to, name + strlen(prefix), value);
	}
}

static bool take_cache(struct image *image, struct keyval *options, GError **error)
{
	bool direct, no_flush;
	if (!native_take_switch(options, "cache.direct", false, &direct, error) ||
	    !native_take_switch(options, "cache.no-flush", false, &no_flush, error))
		return false;
	image->direct |= direct;
	image->no_flush |= no_flush;
	return true;
}

/* The node below: how bytes are read; *file of what has one. */
static bool read_bytes(struct image *image, GError **error)
{
	struct keyval *options = image->options;
	bool ignored;
	g_autofree char *aio = keyval_take(options, "aio"), *discard = keyval_take(options, "discard");
	g_autofree char *file = keyval_take(options, "filename");
	image->protocol = keyval_take(options, "driver");
	if (aio && !(image->io = known_word(ios, G_N_ELEMENTS(ios), aio)))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "aio=%s: there is threads, native, io_uring", aio);
	if (discard && !image->discard)
		image->discard = known_word(discards, G_N_ELEMENTS(discards), discard);
	if (file)
		image->file = g_steal_pointer(&file);
	return take_cache(image, options, error) &&
	       native_take_switch(options, "auto-read-only", false, &ignored, error) &&
	       native_take_switch(options, "read-only", false, &ignored, error);
}

static bool read_blockdev(struct native *n, const struct conf_drive *drive, struct image *image, GError **error)
{
	auto_keyval options = keyval_copy(drive->node_options);
	g_autofree char *below = keyval_take(options, "file"), *discard = keyval_take(options, "discard");
	g_autofree char *what = g_strdup_printf("-blockdev %s", drive->format);
	image->format = g_strdup(drive->format);
	if (discard && !(image->discard = known_word(discards, G_N_ELEMENTS(discards), discard)))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "%s: discard=%s: there is unmap, ignore", what,
				 discard);
	if (!native_take_switch(options, "read-only", false, &image->readonly, error) ||
	    !take_cache(image, options, error))
		return false;
	const struct conf_drive *node = below ? native_take_drive(n, below, error) : NULL;
	if (below && !node)
		return false;
	if (node) {
		keyval_free(image->options);
		image->options = keyval_copy(node->node_options);
		keyval_add(image->options, "driver", node->format);
	} else {
		move_keys(options, "file.", image->options);
	}
	return read_bytes(image, error) && native_all_read(options, what, error);
}

static bool read_drive(const struct conf_drive *drive, struct image *image, GError **error)
{
	const struct {
		bool given;
		const char *name;
	} refused[] = {
		{drive->snapshot == CONF_SWITCH_ON, "snapshot"}, {drive->detect_zeroes, "detect-zeroes"},
		{drive->werror, "werror"}, {drive->rerror, "rerror"}, {drive->locking, "file.locking"},
		{drive->auto_readonly, "auto-read-only"},
	};
	for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
		if (refused[i].given)
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "-drive: '%s' has no place in a domain's XML: leave it out",
					 refused[i].name);
	}
	auto_keyval options = keyval_copy(drive->node_options);
	image->format = g_strdup(drive->format ? drive->format : "raw");
	image->readonly = drive->readonly == CONF_SWITCH_ON;
	move_keys(options, "file.", image->options);
	if (!read_bytes(image, error))
		return false;
	if (drive->file) {
		g_free(image->file);
		image->file = g_strdup(drive->file);
	}
	image->cache = caches[drive->cache];
	image->io = drive->aio ? ios[drive->aio] : image->io;
	image->discard = discards[drive->discard];
	image->direct |= drive->direct;
	image->no_flush |= drive->no_flush;
	return native_all_read(options, "-drive", error);
}

/* --- The element ------------------------------------------------------------------------------ */

static const char *cache_word(const struct image *image, bool through)
{
	if (image->cache)
		return image->cache;
	if (image->no_flush)
		return "unsafe";
	return image->direct ? (through ? "directsync" : "none") : through ? "writethrough" : NULL;
}

/* vda for 0, vdaa for 26; free with g_free(). */
static char *target_name(const char *prefix, unsigned index)
{
	char letters[8], *at = letters + sizeof(letters);
	*--at = 0;
	for (unsigned left = index + 1; left; left = (left - 1) / 26)
		*--at = 'a' + (left - 1) % 26;
	return g_strconcat(prefix, at, NULL);
}

/* The number in the daemon's own id for a disk, which it takes from the target's name. */
static bool read_index(const char *id, unsigned *index)
{
	int end = 0;
	return id && sscanf(id, "virtio-disk%3u%n", index, &end) == 1 && !id[end];
}

/* A disk that comes later will want this name. */
static bool is_reserved(const struct native *n, unsigned index)
{
	const GPtrArray *devices = n->vm->items[CONF_DEVICE];
	for (unsigned i = 0; i < devices->len; i++) {
		unsigned other;
		if (read_index(((const struct conf_item *)devices->pdata[i])->id, &other) && other == index)
			return true;
	}
	return false;
}

static char *choose_target(struct native *n, const char *id, bool sata, unsigned port)
{
	unsigned index = 0;
	if (sata)
		return target_name("sd", port);
	bool own = read_index(id, &index);
	for (index = own ? index : 0;; index++) {
		g_autofree char *name = target_name("vd", index);
		if (!g_hash_table_contains(n->targets, name) && (own || !is_reserved(n, index)))
			return g_steal_pointer(&name);
		own = false;
	}
}

static bool read_port(const struct conf_item *item, unsigned *port, GError **error)
{
	uint64_t number;
	if (!item->bus || !g_str_has_prefix(item->bus, "ide.") ||
	    !units_parse_number(item->bus + strlen("ide."), 0, 5, &number, NULL))
		return error_set(error, BERTH_ERR_INVALID, "-device %s: say its port: bus=ide.0 to ide.5",
				 item->type);
	*port = number;
	return true;
}

static bool add_source(struct native *n, xmlNode *disk, struct image *image, GError **error)
{
	const char *protocol = image->protocol ? image->protocol : "file";
	const char *tls = keyval_get(image->options, "tls-creds");
	/* Which certificates those are is the daemon's to say. */
	if (tls && !native_take_item(n, CONF_OBJECT, tls, error))
		return false;
	bool block = strcmp(protocol, "host_device") == 0, file = block || strcmp(protocol, "file") == 0;
	xmlSetProp(disk, (const xmlChar *)"type", (const xmlChar *)(block ? "block" : file ? "file" : "network"));
	if (!file && !native_source(disk, protocol, image->options, error))
		return false;
	if (file && image->file)
		native_add(disk, "source", NULL, block ? "dev" : "file", image->file, NULL);
	g_autofree char *what = g_strdup_printf("driver '%s'", protocol);
	return native_all_read(image->options, what, error);
}

static bool describe(struct native *n, struct native_device *dev, const struct image *image, xmlNode *disk,
		     GError **error)
{
	const char *type = dev->item->type;
	bool sata = g_str_has_prefix(type, "ide-"), cdrom = strcmp(type, "ide-cd") == 0, cached, shared;
	unsigned port = 0;
	if (sata && !read_port(dev->item, &port, error))
		return false;
	if (!native_take_switch(dev->props, "write-cache", true, &cached, error) ||
	    !native_take_switch(dev->props, "share-rw", false, &shared, error))
		return false;
	g_autofree char *target = choose_target(n, dev->item->id, sata, port);
	g_autofree char *serial = keyval_take(dev->props, "serial");
	xmlSetProp(disk, (const xmlChar *)"device", (const xmlChar *)(cdrom ? "cdrom" : "disk"));
	native_add(disk, "driver", NULL, "name", "qemu", "type", image->format, "cache", cache_word(image, !cached),
		   "io", image->io, "discard", image->discard, NULL);
	native_add(disk, "target", NULL, "dev", target, "bus", sata ? "sata" : "virtio", NULL);
	if (image->readonly || cdrom)
		native_add(disk, "readonly", NULL, NULL);
	if (shared)
		native_add(disk, "shareable", NULL, NULL);
	if (serial)
		native_add(disk, "serial", serial, NULL);
	if (sata)
		native_set_number(native_add(disk, "address", NULL, "type", "drive", "controller", "0", "bus", "0",
					     "target", "0", NULL), "unit", port);
	g_hash_table_add(n->targets, g_steal_pointer(&target));
	return true;
}

bool native_disk(struct native *n, struct native_device *dev, xmlNode **node)
{
	g_autofree char *id = keyval_take(dev->props, "drive");
	struct image image = {.options = keyval_new()};
	const struct conf_drive *drive = native_take_drive(n, id, dev->error);
	bool good = drive && (drive->is_blockdev ? read_blockdev(n, drive, &image, dev->error)
						 : read_drive(drive, &image, dev->error));
	if (good) {
		*node = native_add(n->devices, "disk", NULL, NULL);
		good = add_source(n, *node, &image, dev->error) && describe(n, dev, &image, *node, dev->error);
	}
	image_clear(&image);
	return good;
}
