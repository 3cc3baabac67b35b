/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that a test machine seldom has, out of a sysfs that the test makes. */
#include "daemon/host/host.h"
#include "daemon/nodedev/nodedev.h"

#include <glib/gstdio.h>
#include <string.h>

static char *top;

static void put(const char *path, const char *text, gssize length)
{
	g_autofree char *file = g_build_filename(top, path, NULL), *folder = g_path_get_dirname(file);
	g_assert_cmpint(g_mkdir_with_parents(folder, 0700), ==, 0);
	g_assert_true(g_file_set_contents(file, text, length, NULL));
}

/* The files of a device: "name=text" words. */
static void device(const char *path, const char *const *files)
{
	for (; *files; files++) {
		g_auto(GStrv) parts = g_strsplit(*files, "=", 2);
		g_autofree char *file = g_build_filename(path, parts[0], NULL);
		put(file, parts[1], -1);
	}
}
#define DEVICE(path, ...) device(path, (const char *const[]){__VA_ARGS__, NULL})

/* A link below the top to another path below it. */
static void link_to(const char *path, const char *target)
{
	g_autofree char *file = g_build_filename(top, path, NULL), *folder = g_path_get_dirname(file);
	g_autofree char *to = g_build_filename(top, target, NULL);
	g_assert_cmpint(g_mkdir_with_parents(folder, 0700), ==, 0);
	g_assert_cmpint(symlink(to, file), ==, 0);
}

#define PORT "devices/pci0000:00/0000:00:1c.0"
#define CARD PORT "/0000:01:00.0"
#define FUNCTION PORT "/0000:01:10.0"
#define USB "devices/pci0000:00/0000:00:14.0/usb1"
#define SCSI "devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0"

/* A root port with a link of 8 GT/s and 4 lanes; a device with a ring of capabilities. */
static void make_pci(void)
{
	uint8_t config[256] = {[0x06] = 0x10, [0x0e] = 0x81, [0x34] = 0x40,
		[0x40] = 0x10, [0x42] = 0x42, [0x4c] = 0x43, [0x4d] = 0x00, [0x4f] = 0x05,
		[0x52] = 0x43, [0x53] = 0x00};
	DEVICE(PORT, "class=0x060400\n", "vendor=0x8086\n", "device=0x9d10\n", "numa_node=0\n");
	put(PORT "/config", (const char *)config, sizeof(config));
	link_to("bus/pci/devices/0000:00:1c.0", PORT);
	uint8_t ring[256] = {[0x06] = 0x10, [0x34] = 0x50, [0x50] = 0x05, [0x51] = 0x50};
	DEVICE(CARD, "class=0x020000\n", "vendor=0x8086\n", "device=0xfffe\n", "numa_node=-1\n",
	       "sriov_totalvfs=7\n");
	put(CARD "/config", (const char *)ring, sizeof(ring));
	DEVICE(FUNCTION, "class=0x020000\n", "vendor=0x8086\n", "device=0x154c\n");
	link_to("bus/pci/devices/0000:01:00.0", CARD);
	link_to("bus/pci/devices/0000:01:10.0", FUNCTION);
	link_to(CARD "/virtfn0", FUNCTION);
	link_to(FUNCTION "/physfn", CARD);
	link_to(CARD "/driver", "bus/pci/drivers/i40e");
	link_to(CARD "/iommu_group", "kernel/iommu_groups/7");
	link_to("kernel/iommu_groups/7/devices/0000:01:00.0", CARD);
}

static void make_usb_and_scsi(void)
{
	DEVICE(USB, "busnum=1\n", "devnum=2\n", "idProduct=0002\n", "idVendor=1d6b\n",
	       "product=xHCI & more\n", "uevent=DEVNAME=bus/usb/001/002\nDRIVER=usb\n");
	DEVICE(USB "/1-0:1.0", "bInterfaceNumber=00\n", "bInterfaceClass=0a\n");
	link_to("bus/usb/devices/usb1", USB);
	link_to("bus/usb/devices/1-0:1.0", USB "/1-0:1.0");
	DEVICE(SCSI, "type=5\n", "vendor=QEMU    \n", "model=DVD\n");
	DEVICE(SCSI "/block/sr0", "removable=1\n", "size=0\n", "queue/logical_block_size=2048\n",
	       "uevent=DEVNAME=sr0\n");
	link_to(SCSI "/block/sr0/device", SCSI);
	put(SCSI "/scsi_generic/sg0/dev", "21:0\n", -1);
	link_to("bus/scsi/devices/0:0:0:0", SCSI);
	link_to("bus/scsi/devices/target0:0:0", "devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0");
	link_to("bus/scsi/devices/host0", "devices/pci0000:00/0000:00:1f.2/ata1/host0");
	DEVICE("devices/pci0000:00/0000:00:1f.2/ata1/host0/fc_host/host0", "node_name=0x20000024ff3be5c8\n",
	       "port_name=0x21000024ff3be5c8\n");
	link_to("class/block/sr0", SCSI "/block/sr0");
	link_to("class/scsi_generic/sg0", SCSI "/scsi_generic/sg0");
	put("devices/virtual/block/loop0/size", "8\n", -1);
	link_to("class/block/loop0", "devices/virtual/block/loop0");
	put("devices/gpu/drm/card0/card0-VGA-1/status", "connected\n", -1);
	link_to("class/drm/card0", "devices/gpu/drm/card0");
	link_to("class/drm/card0-VGA-1", "devices/gpu/drm/card0/card0-VGA-1");
	link_to("class/drm/gone", "devices/nothing");
}

static const struct host host = {.uuid = "3d1219c7-c4c5-404a-aa1f-6d2a48adfda4"};

/* Its XML has all of the words. */
static void expect(GHashTable *all, const char *name, const char *const *words)
{
	const struct nodedev *dev = g_hash_table_lookup(all, name);
	g_assert_nonnull(dev);
	g_autofree char *xml = nodedev_format(dev, &host);
	for (; *words; words++) {
		if (!strstr(xml, *words))
			g_error("'%s' is not in:\n%s", *words, xml);
	}
}
#define EXPECT(name, ...) expect(all, name, (const char *const[]){__VA_ARGS__, NULL})

static void test_pci(void)
{
	g_autoptr(GHashTable) all = nodedev_scan(top);
	EXPECT("pci_0000_00_1c_0", "<parent>computer</parent>", "<capability type='pci-bridge'/>",
	       "<numa node='0'/>", "<link validity='cap' port='5' speed='8' width='4'/>",
	       "<link validity='sta' speed='8' width='4'/>");
	EXPECT("pci_0000_01_00_0", "<parent>pci_0000_00_1c_0</parent>",
	       "<driver>\n    <name>i40e</name>\n  </driver>", "<product id='0xfffe'/>",
	       "<capability type='virt_functions' maxCount='7'>\n"
	       "      <address domain='0x0000' bus='0x01' slot='0x10' function='0x0'/>",
	       "<iommuGroup number='7'>");
	EXPECT("pci_0000_01_10_0", "<capability type='phys_function'>\n"
	       "      <address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>");
}

static void test_others(void)
{
	g_autoptr(GHashTable) all = nodedev_scan(top);
	EXPECT("usb_usb1", "<devnode type='dev'>/dev/bus/usb/001/002</devnode>", "<bus>1</bus>",
	       "<product id='0x0002'>xHCI &amp; more</product>", "<vendor id='0x1d6b'/>");
	EXPECT("usb_1_0_1_0", "<parent>usb_usb1</parent>", "<capability type='usb'>", "<class>10</class>");
	EXPECT("scsi_host0", "<host>0</host>");
	EXPECT("scsi_target0_0_0", "<parent>scsi_host0</parent>", "<target>target0:0:0</target>");
	EXPECT("scsi_0_0_0_0", "<parent>scsi_target0_0_0</parent>", "<lun>0</lun>", "<type>cdrom</type>");
	EXPECT("scsi_generic_sg0", "<parent>scsi_0_0_0_0</parent>", "<char>/dev/sg0</char>");
	EXPECT("block_sr0", "<parent>scsi_0_0_0_0</parent>", "<drive_type>cdrom</drive_type>",
	       "<vendor>QEMU</vendor>", "<media_available>0</media_available>");
	EXPECT("drm_card0", "<type>primary</type>");
	EXPECT("computer", "<uuid>3d1219c7-c4c5-404a-aa1f-6d2a48adfda4</uuid>");
	/* The loop device, the connector and the broken link are none. */
	g_assert_cmpuint(g_hash_table_size(all), ==, 12);
}

/* A Fibre Channel port is found by both of its names, however they are written. */
static void test_wwn(void)
{
	struct nodedevs devs = {.by_name = nodedev_scan(top)};
	const struct nodedev *dev = nodedev_find_wwn(&devs, "20000024FF3BE5C8", "0x21000024ff3be5c8");
	g_assert_nonnull(dev);
	g_assert_cmpstr(dev->name, ==, "scsi_host0");
	g_assert_null(nodedev_find_wwn(&devs, "21000024ff3be5c8", "20000024ff3be5c8"));
	g_assert_null(nodedev_find_wwn(&devs, "", ""));
	g_hash_table_unref(devs.by_name);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	top = g_dir_make_tmp("sysfs-XXXXXX", NULL);
	make_pci();
	make_usb_and_scsi();
	g_test_add_func("/nodedev/pci", test_pci);
	g_test_add_func("/nodedev/others", test_others);
	g_test_add_func("/nodedev/wwn", test_wwn);
	int status = g_test_run();
	const char *argv_rm[] = {"rm", "-rf", top, NULL};
	g_spawn_sync(NULL, (char **)argv_rm, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
	g_free(top);
	return status;
}
