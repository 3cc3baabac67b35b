/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks and CD drives of the host. */
#include "daemon/nodedev/nodedev.h"

#include <string.h>

enum { SECTOR = 512, SCSI_CDROM = 5 };

/* Whole ones that are hardware: loop devices, device mapper's and RAM disks have no device. */
bool nodedev_is_storage(const char *path, const char *name)
{
	g_autofree char *partition = g_build_filename(path, "partition", NULL);
	g_autofree char *device = g_build_filename(path, "device", NULL);
	return !g_file_test(partition, G_FILE_TEST_EXISTS) && g_file_test(device, G_FILE_TEST_EXISTS);
}

char *nodedev_storage_serial(const char *path)
{
	g_autofree char *serial = udev_property(path, "ID_SERIAL");
	if (!serial)
		serial = sysfs_text(path, "serial");
	return serial && *serial ? g_steal_pointer(&serial) : NULL;
}

static bool is_cdrom(const char *path)
{
	uint64_t type;
	g_autofree char *udev = udev_property(path, "ID_TYPE");
	return udev ? strcmp(udev, "cd") == 0
		    : sysfs_number(path, "device/type", &type) && type == SCSI_CDROM;
}

static void write_size(struct xml_writer *w, const char *name, uint64_t sectors, uint64_t block)
{
	nodedev_number(w, name, sectors * SECTOR);
	if (block) {
		nodedev_number(w, "logical_block_size", block);
		nodedev_number(w, "num_blocks", sectors * SECTOR / block);
	}
}

void nodedev_write_storage(struct xml_writer *w, const struct nodedev *dev, const struct host *host)
{
	g_autofree char *name = g_path_get_basename(dev->path), *node = g_strconcat("/dev/", name, NULL);
	g_autofree char *bus = udev_property(dev->path, "ID_BUS");
	g_autofree char *model = sysfs_text(dev->path, "device/model");
	g_autofree char *vendor = sysfs_text(dev->path, "device/vendor");
	g_autofree char *serial = nodedev_storage_serial(dev->path);
	uint64_t sectors = 0, block = 0, removable = 0;
	sysfs_number(dev->path, "size", &sectors);
	sysfs_number(dev->path, "queue/logical_block_size", &block);
	sysfs_number(dev->path, "removable", &removable);
	xml_leaf(w, "block", node, NULL);
	nodedev_leaf(w, "bus", bus);
	xml_leaf(w, "drive_type", is_cdrom(dev->path) ? "cdrom" : "disk", NULL);
	nodedev_leaf(w, "model", model);
	nodedev_leaf(w, "vendor", vendor);
	nodedev_leaf(w, "serial", serial);
	if (!removable) {
		write_size(w, "size", sectors, block);
		return;
	}
	xml_open(w, "capability", "type", "removable", NULL);
	xml_leaf(w, "media_available", sectors ? "1" : "0", NULL);
	write_size(w, "media_size", sectors, sectors ? block : 0);
	xml_close(w, "capability");
}
