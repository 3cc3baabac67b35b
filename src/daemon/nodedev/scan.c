/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kinds of devices there are, and which of them the machine has. */
#include "daemon/nodedev/nodedev.h"

#include "daemon/host/host.h"

#include <stdlib.h>
#include <string.h>

const char *const nodedev_cap_names[NODEDEV_CAPS] = {
	"system", "pci", "usb_device", "usb", "net", "scsi_host", "scsi_target", "scsi", "storage",
	"fc_host", "vports", "scsi_generic", "drm", "mdev_types", "mdev", "ccw", "css", "vdpa",
	"ap_card", "ap_queue", "ap_matrix", "vpd",
};

/* --- The computer --------------------------------------------------------------------------- */

/* What the firmware says of the board; nothing on machines without SMBIOS. */
static void write_system(struct xml_writer *w, const struct nodedev *dev, const struct host *host)
{
	static const char dmi[] = "/sys/class/dmi/id";
	static const char *const firmware[][2] = {
		{"vendor", "bios_vendor"}, {"version", "bios_version"}, {"release_date", "bios_date"}};
	static const char *const hardware[][2] = {
		{"vendor", "sys_vendor"}, {"version", "product_version"}, {"serial", "product_serial"}};
	g_autofree char *product = sysfs_text(dmi, "product_name");
	nodedev_leaf(w, "product", product);
	xml_open(w, "hardware", NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(hardware); i++) {
		g_autofree char *text = sysfs_text(dmi, hardware[i][1]);
		nodedev_leaf(w, hardware[i][0], text);
	}
	xml_leaf(w, "uuid", host->uuid, NULL);
	xml_close(w, "hardware");
	xml_open(w, "firmware", NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(firmware); i++) {
		g_autofree char *text = sysfs_text(dmi, firmware[i][1]);
		nodedev_leaf(w, firmware[i][0], text);
	}
	xml_close(w, "firmware");
}

/* --- USB ------------------------------------------------------------------------------------ */

/* "1-1" is a device, "1-1:1.0" one of its interfaces. */
static bool is_usb_interface(const char *path, const char *name)
{
	return strchr(name, ':');
}

static bool is_usb_device(const char *path, const char *name)
{
	return !is_usb_interface(path, name);
}

/* sysfs has these as hexadecimal digits without a prefix. */
static void write_usb_id(struct xml_writer *w, const struct nodedev *dev, const char *name,
			 const char *number, const char *words)
{
	g_autofree char *digits = sysfs_text(dev->path, number), *text = sysfs_text(dev->path, words);
	g_autofree char *id = g_strconcat("0x", digits ? digits : "0000", NULL);
	if (text)
		xml_leaf(w, name, text, "id", id, NULL);
	else
		xml_empty(w, name, "id", id, NULL);
}

static void write_usb_device(struct xml_writer *w, const struct nodedev *dev, const struct host *host)
{
	g_autofree char *bus = sysfs_text(dev->path, "busnum"), *number = sysfs_text(dev->path, "devnum");
	nodedev_leaf(w, "bus", bus);
	nodedev_leaf(w, "device", number);
	write_usb_id(w, dev, "product", "idProduct", "product");
	write_usb_id(w, dev, "vendor", "idVendor", "manufacturer");
}

static void write_usb(struct xml_writer *w, const struct nodedev *dev, const struct host *host)
{
	static const char *const fields[][2] = {
		{"number", "bInterfaceNumber"}, {"class", "bInterfaceClass"},
		{"subclass", "bInterfaceSubClass"}, {"protocol", "bInterfaceProtocol"}};
	for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++) {
		g_autofree char *digits = sysfs_text(dev->path, fields[i][1]);
		if (digits)
			nodedev_number(w, fields[i][0], g_ascii_strtoull(digits, NULL, 16));
	}
	g_autofree char *words = sysfs_text(dev->path, "interface");
	nodedev_leaf(w, "description", words);
}

/* --- SCSI ----------------------------------------------------------------------------------- */

static bool is_scsi_host(const char *path, const char *name)
{
	return g_str_has_prefix(name, "host");
}

static bool is_scsi_target(const char *path, const char *name)
{
	return g_str_has_prefix(name, "target");
}

static bool is_scsi_device(const char *path, const char *name)
{
	return g_ascii_isdigit(*name);
}

static void write_scsi_host(struct xml_writer *w, const struct nodedev *dev, const struct host *host)
{
	g_autofree char *name = g_path_get_basename(dev->path);
	g_autofree char *class = g_build_filename(dev->path, "scsi_host", name, NULL);
	uint64_t unique;
	nodedev_leaf(w, "host", name + strlen("host"));
	if (sysfs_number(class, "unique_id", &unique))
		nodedev_number(w, "unique_id", unique);
}

static void write_scsi_target(struct xml_writer *w, const struct nodedev *dev, const struct host *host)
{
	g_autofree char *name = g_path_get_basename(dev->path);
	xml_leaf(w, "target", name, NULL);
}

/* Host, bus, target and unit are the name; the type is the SCSI standard's peripheral device type. */
static void write_scsi(struct xml_writer *w, const struct nodedev *dev, const struct host *host)
{
	static const char *const parts[] = {"host", "bus", "target", "lun"};
	static const char *const types[] = {
		"disk", "tape", "printer", "processor", "worm", "cdrom", "scanner", "mod", "changer",
		NULL, NULL, NULL, "raid", NULL, "rbc"};
	g_autofree char *name = g_path_get_basename(dev->path);
	g_auto(GStrv) numbers = g_strsplit(name, ":", G_N_ELEMENTS(parts));
	for (unsigned i = 0; i < G_N_ELEMENTS(parts) && numbers[i]; i++)
		xml_leaf(w, parts[i], numbers[i], NULL);
	uint64_t type;
	if (sysfs_number(dev->path, "type", &type) && type < G_N_ELEMENTS(types))
		nodedev_leaf(w, "type", types[type]);
}

static void write_scsi_generic(struct xml_writer *w, const struct nodedev *dev, const struct host *host)
{
	g_autofree char *name = g_path_get_basename(dev->path), *node = g_strconcat("/dev/", name, NULL);
	xml_leaf(w, "char", node, NULL);
}

/* --- Graphics ------------------------------------------------------------------------------- */

/* Connectors are in the same folder: "card0-HDMI-A-1". */
static bool is_drm(const char *path, const char *name)
{
	return (g_str_has_prefix(name, "card") || g_str_has_prefix(name, "render") ||
		g_str_has_prefix(name, "control")) && !strchr(name, '-');
}

static void write_drm(struct xml_writer *w, const struct nodedev *dev, const struct host *host)
{
	g_autofree char *name = g_path_get_basename(dev->path);
	xml_leaf(w, "type", g_str_has_prefix(name, "card") ? "primary"
		 : g_str_has_prefix(name, "render") ? "render" : "control", NULL);
}

/* --- All kinds ------------------------------------------------------------------------------ */

static char *mac_suffix(const char *path)
{
	return sysfs_text(path, "address");
}

static const struct nodedev_kind computer = {.cap = NODEDEV_SYSTEM, .write = write_system};
static const struct nodedev_kind kinds[] = {
	{NODEDEV_PCI, "bus/pci/devices", "pci", NULL, NULL, nodedev_write_pci},
	{NODEDEV_USB_DEVICE, "bus/usb/devices", "usb", is_usb_device, NULL, write_usb_device},
	{NODEDEV_USB, "bus/usb/devices", "usb", is_usb_interface, NULL, write_usb},
	{NODEDEV_NET, "class/net", "net", NULL, mac_suffix, nodedev_write_net},
	{NODEDEV_SCSI_HOST, "bus/scsi/devices", "scsi", is_scsi_host, NULL, write_scsi_host},
	{NODEDEV_SCSI_TARGET, "bus/scsi/devices", "scsi", is_scsi_target, NULL, write_scsi_target},
	{NODEDEV_SCSI, "bus/scsi/devices", "scsi", is_scsi_device, NULL, write_scsi},
	{NODEDEV_SCSI_GENERIC, "class/scsi_generic", "scsi_generic", NULL, NULL, write_scsi_generic},
	{NODEDEV_STORAGE, "class/block", "block", nodedev_is_storage, nodedev_storage_serial,
	 nodedev_write_storage},
	{NODEDEV_DRM, "class/drm", "drm", is_drm, NULL, write_drm},
};

/* --- Finding them --------------------------------------------------------------------------- */

/* "pci_0000_00_01_0": what is no letter or digit becomes a line. */
static char *device_name(const struct nodedev_kind *kind, const char *path, const char *entry)
{
	g_autofree char *suffix = kind->suffix ? kind->suffix(path) : NULL;
	char *name = suffix ? g_strdup_printf("%s_%s_%s", kind->subsystem, entry, suffix)
			    : g_strdup_printf("%s_%s", kind->subsystem, entry);
	for (char *c = name; *c; c++) {
		if (!g_ascii_isalnum(*c))
			*c = '_';
	}
	return name;
}

static void device_free(void *opaque)
{
	struct nodedev *dev = opaque;
	g_free(dev->name);
	g_free(dev->path);
	g_free(dev->parent);
	g_free(dev);
}

static void take(GHashTable *all, const struct nodedev_kind *kind, const char *folder, const char *entry)
{
	g_autofree char *link = g_build_filename(folder, entry, NULL);
	char *path = realpath(link, NULL);
	/* Gone meanwhile, or no device but a file. */
	if (!path || !g_file_test(path, G_FILE_TEST_IS_DIR) || (kind->is_one && !kind->is_one(path, entry))) {
		free(path);
		return;
	}
	struct nodedev *dev = g_new0(struct nodedev, 1);
	dev->path = g_strdup(path);
	dev->name = device_name(kind, path, entry);
	dev->kind = kind;
	g_hash_table_replace(all, dev->name, dev);
	free(path);
}

/* The nearest device above it, or the computer. */
static void find_parents(GHashTable *all)
{
	g_autoptr(GHashTable) by_path = g_hash_table_new(g_str_hash, g_str_equal);
	GHashTableIter iter;
	void *entry;
	g_hash_table_iter_init(&iter, all);
	while (g_hash_table_iter_next(&iter, NULL, &entry)) {
		struct nodedev *dev = entry;
		if (dev->path)
			g_hash_table_insert(by_path, dev->path, dev);
	}
	g_hash_table_iter_init(&iter, all);
	while (g_hash_table_iter_next(&iter, NULL, &entry)) {
		struct nodedev *dev = entry;
		g_autofree char *above = g_strdup(dev->path ? dev->path : "");
		const struct nodedev *parent = NULL;
		for (char *slash; !parent && (slash = strrchr(above, '/')) && slash > above;) {
			*slash = '\0';
			parent = g_hash_table_lookup(by_path, above);
		}
		if (dev->path)
			dev->parent = g_strdup(parent ? parent->name : "computer");
	}
}

GHashTable *nodedev_scan(const char *sysfs)
{
	GHashTable *all = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, device_free);
	struct nodedev *root = g_new0(struct nodedev, 1);
	root->name = g_strdup("computer");
	root->kind = &computer;
	g_hash_table_insert(all, root->name, root);
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
		g_autofree char *folder = g_build_filename(sysfs, kinds[i].folder, NULL);
		g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
		const char *entry;
		while (dir && (entry = g_dir_read_name(dir)))
			take(all, &kinds[i], folder, entry);
	}
	find_parents(all);
	return all;
}
