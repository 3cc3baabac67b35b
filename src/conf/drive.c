/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disk images: -drive and -blockdev. */
#include "conf/device.h"

#include "base/error.h"
#include "base/units.h"

#include <string.h>

#define FIELD(member) offsetof(struct conf_drive, member)

static const char *const interfaces[] = {"", "none", "ide", "virtio", "pflash", NULL};
static const char *const medias[] = {"disk", "cdrom", NULL};
static const char *const caches[] = {"",	     "writeback",  "none", "writethrough",
				     "directsync", "unsafe",     NULL};
static const char *const aios[] = {"", "threads", "native", "io_uring", NULL};
static const char *const discards[] = {"", "unmap", "ignore", "on", "off", NULL};
static const char *const zeroes[] = {"off", "on", "unmap", NULL};
static const char *const on_errors[] = {"", "report", "ignore", "stop", "enospc", NULL};

#define NOT_YET "that image feature comes later"

static const struct keyval_field drive_fields[] = {
	{"file", KEYVAL_STRING, FIELD(file)},
	{"if", KEYVAL_ENUM, FIELD(interface), .names = interfaces},
	{"id", KEYVAL_STRING, FIELD(id)},
	{"format", KEYVAL_STRING, FIELD(format)},
	{"media", KEYVAL_ENUM, FIELD(media), .names = medias},
	{"cache", KEYVAL_ENUM, FIELD(cache), .names = caches},
	{"aio", KEYVAL_ENUM, FIELD(aio), .names = aios},
	{"readonly", KEYVAL_SWITCH, FIELD(readonly)},
	{"snapshot", KEYVAL_SWITCH, FIELD(snapshot)},
	{"discard", KEYVAL_ENUM, FIELD(discard), .names = discards},
	{"detect-zeroes", KEYVAL_ENUM, FIELD(detect_zeroes), .names = zeroes},
	{"index", KEYVAL_STRING, FIELD(index)},
	{"bus", KEYVAL_STRING, FIELD(bus)},
	{"unit", KEYVAL_STRING, FIELD(unit)},
	{"serial", KEYVAL_REFUSED, .help = "give it to the device: -device virtio-blk-pci,serial=TEXT"},
	{"werror", KEYVAL_ENUM, FIELD(werror), .names = on_errors},
	{"rerror", KEYVAL_ENUM, FIELD(rerror), .names = on_errors},
	{"read-only", KEYVAL_SWITCH, FIELD(readonly)},
	{"auto-read-only", KEYVAL_SWITCH, FIELD(auto_readonly)},
	{"driver", KEYVAL_STRING, FIELD(format)},
	{"file.filename", KEYVAL_STRING, FIELD(file)},
	{"file.locking", KEYVAL_SWITCH, FIELD(locking)},
	{"cache.direct", KEYVAL_BOOL, FIELD(direct)},
	{"cache.no-flush", KEYVAL_BOOL, FIELD(no_flush)},
	{"copy-on-read", KEYVAL_OFF, .help = NOT_YET},
	{NULL},
};

/* Everything else is the block layer's to understand, or to refuse by name. */
static const struct keyval_field blockdev_fields[] = {
	{"driver", KEYVAL_STRING, FIELD(format)},
	{"node-name", KEYVAL_STRING, FIELD(id)},
	{NULL},
};

struct conf_drive *conf_drive_new(void)
{
	struct conf_drive *drive = g_new0(struct conf_drive, 1);
	drive->node_options = keyval_new();
	return drive;
}

void conf_drive_free(struct conf_drive *drive)
{
	if (!drive)
		return;
	keyval_clear(drive_fields, drive);
	keyval_free(drive->node_options);
	g_free(drive);
}

struct conf_drive *conf_drive_copy(const struct conf_drive *drive)
{
	struct conf_drive *copy = g_memdup2(drive, sizeof(*drive));
	copy->id = g_strdup(drive->id);
	copy->file = g_strdup(drive->file);
	copy->format = g_strdup(drive->format);
	copy->index = g_strdup(drive->index);
	copy->bus = g_strdup(drive->bus);
	copy->unit = g_strdup(drive->unit);
	copy->node_options = keyval_copy(drive->node_options);
	return copy;
}

static void normalize_discard(struct conf_drive *drive)
{
	if (drive->discard > CONF_DISCARD_IGNORE)
		drive->discard -= 2; /* on is unmap, off is ignore */
}

static bool refuse_interface(const char *name, GError **error)
{
	static const char *const others[] = {"scsi", "floppy", "sd", "mtd", "xen", NULL};
	if (!name || !g_strv_contains(others, name))
		return false;
	error_set(error, BERTH_ERR_NOT_SUPPORTED,
		  "-drive: if=%s is not supported yet: use if=virtio or if=ide", name);
	return true;
}

/*
 * Keys that no field has belong to the image's driver if they look like it: those of children, and
 * those that qcow2 and luks have. The driver refuses what it does not know. Anything else is a mistake here.
 */
static bool bind(struct keyval *kv, const struct keyval_field *fields, struct conf_drive *drive,
		 const char *option, GError **error)
{
	static const char *const prefixes[] = {
		"file.", "backing", "data-file", "l2-cache-", "refcount-cache-", "cache-size",
		"cache-clean-interval", "lazy-refcounts", "throttling.", "pass-discard-", "offset", "size", "encrypt.", "key-secret",
		NULL};
	auto_keyval own = keyval_new();
	for (unsigned i = 0; i < keyval_count(kv); i++) {
		const char *key = kv->keys->pdata[i];
		bool field = false, image = false;
		for (const struct keyval_field *f = fields; f->name && !field; f++)
			field = strcmp(f->name, key) == 0;
		for (unsigned p = 0; prefixes[p] && !image; p++)
			image = g_str_has_prefix(key, prefixes[p]);
		keyval_add(image && !field ? drive->node_options : own, key, kv->values->pdata[i]);
	}
	return keyval_bind(own, fields, drive, option, NULL, error);
}

struct conf_drive *conf_drive_parse(const char *text, GError **error)
{
	struct keyval *kv = keyval_parse(text, NULL, error);
	if (!kv) {
		g_prefix_error(error, "-drive: ");
		return NULL;
	}
	struct conf_drive *drive = conf_drive_new();
	uint64_t number;
	bool good = !refuse_interface(keyval_get(kv, "if"), error) &&
		    bind(kv, drive_fields, drive, "-drive", error);
	keyval_free(kv);
	const char *const places[] = {drive->index, drive->bus, drive->unit};
	for (unsigned i = 0; good && i < G_N_ELEMENTS(places); i++) {
		if (places[i] && !units_parse_number(places[i], 0, 31, &number, error)) {
			g_prefix_error(error, "-drive: index, bus or unit: ");
			good = false;
		}
	}
	if (good && drive->id && !conf_id_is_valid(drive->id))
		good = error_set(error, BERTH_ERR_INVALID,
				 "-drive: '%s' cannot be an id: use letters, digits, '-', '.' and "
				 "'_', beginning with a letter",
				 drive->id);
	normalize_discard(drive);
	if (good)
		return drive;
	conf_drive_free(drive);
	return NULL;
}

struct conf_drive *conf_blockdev_from_keyval(struct keyval *kv, GError **error)
{
	struct conf_drive *drive = conf_drive_new();
	drive->is_blockdev = true;
	drive->interface = CONF_IF_NONE;
	bool good = keyval_bind(kv, blockdev_fields, drive, "-blockdev", drive->node_options, error);
	keyval_free(kv);
	if (good && (!drive->format || !drive->id))
		good = error_set(error, BERTH_ERR_INVALID,
				 "-blockdev needs driver=DRIVER and node-name=NAME");
	if (good)
		return drive;
	conf_drive_free(drive);
	return NULL;
}

struct conf_drive *conf_blockdev_parse(const char *text, GError **error)
{
	struct keyval *kv = keyval_parse_any(text, "driver", error);
	if (!kv) {
		g_prefix_error(error, "-blockdev: ");
		return NULL;
	}
	return conf_blockdev_from_keyval(kv, error);
}

char *conf_drive_format(const struct conf_drive *drive)
{
	auto_keyval kv = keyval_new();
	keyval_unbind(kv, drive->is_blockdev ? blockdev_fields : drive_fields, drive);
	for (unsigned i = 0; i < keyval_count(drive->node_options); i++)
		keyval_add(kv, drive->node_options->keys->pdata[i],
			   drive->node_options->values->pdata[i]);
	return keyval_format(kv, drive->is_blockdev ? "driver" : NULL);
}
