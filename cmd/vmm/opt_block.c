/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options: disks and shared folders. */
#include "options.h"

#include "base/error.h"

#include <string.h>

static bool add_drive(struct options *o, struct conf_drive *drive)
{
	if (drive)
		g_ptr_array_add(o->conf->drives, drive);
	return drive != NULL;
}

static bool apply_drive(struct options *o, const char *value, GError **error)
{
	return add_drive(o, conf_drive_parse(value, error));
}

static bool apply_blockdev(struct options *o, const char *value, GError **error)
{
	return add_drive(o, conf_blockdev_parse(value, error));
}

static bool add_indexed(struct options *o, const char *file, const char *index, int media)
{
	struct conf_drive *drive = conf_drive_new();
	drive->file = g_strdup(file);
	drive->index = g_strdup(index);
	drive->media = media;
	return add_drive(o, drive);
}

static bool apply_hda(struct options *o, const char *value, GError **error)
{
	return add_indexed(o, value, "0", CONF_MEDIA_DISK);
}

static bool apply_hdb(struct options *o, const char *value, GError **error)
{
	return add_indexed(o, value, "1", CONF_MEDIA_DISK);
}

static bool apply_hdc(struct options *o, const char *value, GError **error)
{
	return add_indexed(o, value, "2", CONF_MEDIA_DISK);
}

static bool apply_hdd(struct options *o, const char *value, GError **error)
{
	return add_indexed(o, value, "3", CONF_MEDIA_DISK);
}

static bool apply_cdrom(struct options *o, const char *value, GError **error)
{
	return add_indexed(o, value, "2", CONF_MEDIA_CDROM);
}

static bool apply_snapshot(struct options *o, const char *value, GError **error)
{
	return o->conf->snapshot = true;
}

static bool apply_fsdev(struct options *o, const char *value, GError **error)
{
	struct conf_item *item = conf_item_parse(CONF_FSDEV, value, error);
	if (item)
		g_ptr_array_add(o->conf->items[CONF_FSDEV], item);
	return item != NULL;
}

/* -virtfs is an -fsdev and the device that shows it to the guest. */
static bool apply_virtfs(struct options *o, const char *value, GError **error)
{
	struct keyval *kv = keyval_parse(value, "fsdriver", error);
	if (!kv) {
		g_prefix_error(error, "-virtfs: ");
		return false;
	}
	g_autofree char *tag = keyval_take(kv, "mount_tag");
	if (!tag) {
		keyval_free(kv);
		return error_set(error, BERTH_ERR_INVALID,
				 "-virtfs needs mount_tag=NAME: what the guest mounts");
	}
	if (!keyval_get(kv, "id"))
		keyval_add(kv, "id", tag);
	struct conf_item *fsdev = conf_item_from_keyval(CONF_FSDEV, kv, error);
	if (!fsdev)
		return false;
	g_ptr_array_add(o->conf->items[CONF_FSDEV], fsdev);
	struct conf_item *device = conf_item_new("virtio-9p-pci", NULL);
	keyval_add(device->props, "fsdev", fsdev->id);
	keyval_add(device->props, "mount_tag", tag);
	g_ptr_array_add(o->conf->items[CONF_DEVICE], device);
	return true;
}

const struct option options_block[] = {
	{"drive",
	 "file=FILE[,if=virtio|ide|none|pflash][,format=raw|qcow2|...][,media=disk|cdrom][,id=ID]"
	 "[,index=N][,cache=MODE][,aio=io_uring|threads|native][,readonly=on|off]"
	 "[,snapshot=on|off][,discard=unmap|ignore]",
	 "A disk. if=virtio is the fast one; if=none leaves the device to -device ...,drive=ID. "
	 "cache is writeback (default), none, writethrough, directsync or unsafe. Write a comma "
	 "in a file name twice.",
	 apply_drive},
	{"blockdev", "DRIVER,node-name=NAME[,PROPERTY=VALUE...]",
	 "A disk image without a device: a format (raw, qcow2, vmdk...) on a file; file, "
	 "host_device, nbd, http, https, ftp, ftps, ssh, iscsi, nfs or rbd by themselves. Options of children are file.KEY and backing.KEY. JSON works "
	 "too.",
	 apply_blockdev},
	{"hda", "FILE", "Hard disk 0; -hdb, -hdc and -hdd are 1 to 3.", apply_hda},
	{"hdb", "FILE", "Hard disk 1.", apply_hdb},
	{"hdc", "FILE", "Hard disk 2.", apply_hdc},
	{"hdd", "FILE", "Hard disk 3.", apply_hdd},
	{"cdrom", "FILE", "CD-ROM image.", apply_cdrom},
	{"snapshot", NULL, "Throw away what the guest writes to disks when the machine ends.",
	 apply_snapshot},
	{"fsdev", "local,id=ID,path=FOLDER,security_model=none[,readonly=on]",
	 "A folder for -device virtio-9p-pci,fsdev=ID,mount_tag=TAG.", apply_fsdev},
	{"virtfs", "local,path=FOLDER,mount_tag=TAG,security_model=none[,readonly=on]",
	 "Share a folder; in the guest: mount -t 9p -o trans=virtio TAG /mnt.", apply_virtfs},
	{NULL},
};
