/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI devices: their names, what SR-IOV and the IOMMU make of them, and their links. */
#include "daemon/nodedev/nodedev.h"

#include "base/bytes.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Of configuration space (PCI 3.0, 6.1; PCI Express 4.0, 7.5.3). */
enum {
	CONFIG_STATUS = 0x06, CONFIG_HEADER_TYPE = 0x0e, CONFIG_CAPABILITIES = 0x34,
	STATUS_CAPABILITIES = 1 << 4, CAPABILITY_EXPRESS = 0x10,
	EXPRESS_FLAGS = 0x02, EXPRESS_LINK_CAPABILITIES = 0x0c, EXPRESS_LINK_STATUS = 0x12,
	EXPRESS_INTEGRATED_ENDPOINT = 9, EXPRESS_EVENT_COLLECTOR = 10,
	CONFIG_SIZE = 256,
};

struct address {
	unsigned domain, bus, slot, function;
};

static bool parse_address(const char *text, struct address *a)
{
	char end;
	return sscanf(text, "%x:%x:%x.%x%c", &a->domain, &a->bus, &a->slot, &a->function, &end) == 4;
}

static void write_address(struct xml_writer *w, const struct address *a)
{
	g_autofree char *domain = g_strdup_printf("0x%04x", a->domain);
	g_autofree char *bus = g_strdup_printf("0x%02x", a->bus);
	g_autofree char *slot = g_strdup_printf("0x%02x", a->slot);
	g_autofree char *function = g_strdup_printf("0x%x", a->function);
	xml_empty(w, "address", "domain", domain, "bus", bus, "slot", slot, "function", function, NULL);
}

/* --- Names ---------------------------------------------------------------------------------- */

/*
 * pci.ids: "8086  Intel Corporation" and, indented by one tab below it, "0d57  name". `*at` is moved
 * to behind the line that is found. NULL: there is none.
 */
static char *find_id(const char **at, const char *end, const char *indent, unsigned id)
{
	g_autofree char *key = g_strdup_printf("%s%04x  ", indent, id);
	size_t length = strlen(key), depth = strlen(indent);
	for (const char *line = *at; line < end;) {
		const char *newline = memchr(line, '\n', end - line);
		size_t size = (newline ? newline : end) - line;
		if (size > length && strncmp(line, key, length) == 0) {
			*at = line + size;
			return g_strndup(line + length, size - length);
		}
		/* The next vendor. */
		if (depth && size && *line != '\t' && *line != '#')
			return NULL;
		line += size + 1;
	}
	return NULL;
}

static void look_up(unsigned vendor, unsigned product, char **vendor_name, char **product_name)
{
	static const char *const files[] = {"/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"};
	GMappedFile *file = NULL;
	for (unsigned i = 0; !file && i < G_N_ELEMENTS(files); i++)
		file = g_mapped_file_new(files[i], FALSE, NULL);
	if (!file)
		return;
	const char *at = g_mapped_file_get_contents(file), *end = at + g_mapped_file_get_length(file);
	*vendor_name = find_id(&at, end, "", vendor);
	if (*vendor_name && at < end) {
		at++;
		*product_name = find_id(&at, end, "\t", product);
	}
	g_mapped_file_unref(file);
}

static void write_id(struct xml_writer *w, const char *name, unsigned id, const char *words)
{
	g_autofree char *text = g_strdup_printf("0x%04x", id);
	if (words)
		xml_leaf(w, name, words, "id", text, NULL);
	else
		xml_empty(w, name, "id", text, NULL);
}

/* --- SR-IOV and the IOMMU --------------------------------------------------------------------- */

static bool link_address(const struct nodedev *dev, const char *name, struct address *address)
{
	g_autofree char *target = sysfs_link_name(dev->path, name);
	return target && parse_address(target, address);
}

static void write_functions(struct xml_writer *w, const struct nodedev *dev)
{
	struct address address;
	uint64_t most;
	if (link_address(dev, "physfn", &address)) {
		xml_open(w, "capability", "type", "phys_function", NULL);
		write_address(w, &address);
		xml_close(w, "capability");
	}
	if (!sysfs_number(dev->path, "sriov_totalvfs", &most) || !most)
		return;
	g_autofree char *count = g_strdup_printf("%" G_GUINT64_FORMAT, most);
	if (!link_address(dev, "virtfn0", &address)) {
		xml_empty(w, "capability", "type", "virt_functions", "maxCount", count, NULL);
		return;
	}
	xml_open(w, "capability", "type", "virt_functions", "maxCount", count, NULL);
	for (unsigned i = 0; i < most; i++) {
		g_autofree char *name = g_strdup_printf("virtfn%u", i);
		if (!link_address(dev, name, &address))
			break;
		write_address(w, &address);
	}
	xml_close(w, "capability");
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void write_group(struct xml_writer *w, const struct nodedev *dev)
{
	g_autofree char *number = sysfs_link_name(dev->path, "iommu_group");
	g_autofree char *folder = g_build_filename(dev->path, "iommu_group", "devices", NULL);
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	const char *name;
	if (!number || !dir)
		return;
	while ((name = g_dir_read_name(dir)))
		g_ptr_array_add(names, g_strdup(name));
	g_ptr_array_sort(names, compare_names);
	xml_open(w, "iommuGroup", "number", number, NULL);
	for (unsigned i = 0; i < names->len; i++) {
		struct address address;
		if (parse_address(names->pdata[i], &address))
			write_address(w, &address);
	}
	xml_close(w, "iommuGroup");
}

/* --- PCI Express ---------------------------------------------------------------------------- */

/* Where the capability begins, or 0. The list is the device's: it may be a ring. */
static unsigned find_express(const uint8_t *config, size_t size)
{
	if (size <= CONFIG_CAPABILITIES || !(config[CONFIG_STATUS] & STATUS_CAPABILITIES))
		return 0;
	unsigned at = config[CONFIG_CAPABILITIES] & ~3U;
	for (unsigned steps = 0; at && steps < CONFIG_SIZE / 4; steps++) {
		if (at + EXPRESS_LINK_STATUS + 2 > size)
			return 0;
		if (config[at] == CAPABILITY_EXPRESS)
			return at;
		at = config[at + 1] & ~3U;
	}
	return 0;
}

static void write_link(struct xml_writer *w, const char *validity, const char *port, unsigned speed,
		       unsigned width)
{
	static const char *const speeds[] = {NULL, "2.5", "5", "8", "16"};
	g_autofree char *lanes = g_strdup_printf("%u", width);
	xml_empty(w, "link", "validity", validity, "port", port, "speed",
		  speed < G_N_ELEMENTS(speeds) ? speeds[speed] : NULL, "width", lanes, NULL);
}

/* A host bridge may have the extended configuration space of PCI Express without the capability. */
static void write_express(struct xml_writer *w, const char *file, const uint8_t *config, size_t size)
{
	struct stat status;
	unsigned at = find_express(config, size);
	if (!at && (stat(file, &status) < 0 || status.st_size <= CONFIG_SIZE))
		return;
	unsigned kind = at ? config[at + EXPRESS_FLAGS] >> 4 : EXPRESS_INTEGRATED_ENDPOINT;
	if (kind == EXPRESS_INTEGRATED_ENDPOINT || kind == EXPRESS_EVENT_COLLECTOR) {
		xml_empty(w, "pci-express", NULL);
		return;
	}
	uint32_t can = le32_load(config + at + EXPRESS_LINK_CAPABILITIES);
	uint16_t is = le16_load(config + at + EXPRESS_LINK_STATUS);
	g_autofree char *port = g_strdup_printf("%u", can >> 24);
	xml_open(w, "pci-express", NULL);
	write_link(w, "cap", port, can & 15, can >> 4 & 63);
	write_link(w, "sta", NULL, is & 15, is >> 4 & 63);
	xml_close(w, "pci-express");
}

/* --- The whole ------------------------------------------------------------------------------ */

static void write_place(struct xml_writer *w, const struct nodedev *dev)
{
	g_autofree char *name = g_path_get_basename(dev->path);
	struct address a;
	if (!parse_address(name, &a))
		return;
	nodedev_number(w, "domain", a.domain);
	nodedev_number(w, "bus", a.bus);
	nodedev_number(w, "slot", a.slot);
	nodedev_number(w, "function", a.function);
}

void nodedev_write_pci(struct xml_writer *w, const struct nodedev *dev, const struct host *host)
{
	enum { HEADER_BRIDGE = 1, HEADER_CARDBUS = 2 };
	uint64_t class = 0, vendor = 0, product = 0;
	g_autofree char *vendor_name = NULL, *product_name = NULL, *config = NULL;
	g_autofree char *file = g_build_filename(dev->path, "config", NULL);
	g_autofree char *node = sysfs_text(dev->path, "numa_node");
	gsize size = 0;
	sysfs_number(dev->path, "class", &class);
	sysfs_number(dev->path, "vendor", &vendor);
	sysfs_number(dev->path, "device", &product);
	g_autofree char *class_text = g_strdup_printf("0x%06x", (unsigned)class);
	xml_leaf(w, "class", class_text, NULL);
	write_place(w, dev);
	look_up(vendor, product, &vendor_name, &product_name);
	write_id(w, "product", product, product_name);
	write_id(w, "vendor", vendor, vendor_name);
	write_functions(w, dev);
	g_file_get_contents(file, &config, &size, NULL);
	unsigned header = size > CONFIG_HEADER_TYPE ? config[CONFIG_HEADER_TYPE] & 0x7f : 0;
	if (header == HEADER_BRIDGE || header == HEADER_CARDBUS)
		xml_empty(w, "capability", "type",
			  header == HEADER_BRIDGE ? "pci-bridge" : "cardbus-bridge", NULL);
	write_group(w, dev);
	if (node && *node != '-')
		xml_empty(w, "numa", "node", node, NULL);
	write_express(w, file, (const uint8_t *)config, size);
}
