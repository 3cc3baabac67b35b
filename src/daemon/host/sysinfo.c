/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the machine's firmware says of it (SMBIOS), as the kernel shows it in sysfs. */
#include "daemon/host/host.h"

#include <string.h>

/* The files of /sys/class/dmi/id and libvirt's names for them. */
static const struct sysinfo_block {
	const char *element;
	struct {
		const char *name, *file;
	} entries[8];
} blocks[] = {
	{"bios", {{"vendor", "bios_vendor"}, {"version", "bios_version"}, {"date", "bios_date"},
		  {"release", "bios_release"}}},
	{"system", {{"manufacturer", "sys_vendor"}, {"product", "product_name"},
		    {"version", "product_version"}, {"serial", "product_serial"},
		    {"uuid", "product_uuid"}, {"sku", "product_sku"}, {"family", "product_family"}}},
	{"baseBoard", {{"manufacturer", "board_vendor"}, {"product", "board_name"},
		       {"version", "board_version"}, {"serial", "board_serial"},
		       {"asset", "board_asset_tag"}}},
	{"chassis", {{"manufacturer", "chassis_vendor"}, {"version", "chassis_version"},
		     {"serial", "chassis_serial"}, {"asset", "chassis_asset_tag"}}},
};

/* Some files are for root only, and some are empty. */
static bool write_block(struct xml_writer *w, const char *folder, const struct sysinfo_block *block)
{
	bool is_open = false;
	for (unsigned i = 0; i < G_N_ELEMENTS(block->entries) && block->entries[i].name; i++) {
		g_autofree char *path = g_build_filename(folder, block->entries[i].file, NULL);
		g_autofree char *text = NULL;
		if (!g_file_get_contents(path, &text, NULL, NULL) || !*g_strstrip(text))
			continue;
		if (!is_open)
			xml_open(w, block->element, NULL);
		is_open = true;
		xml_leaf(w, "entry", text, "name", block->entries[i].name, NULL);
	}
	if (is_open)
		xml_close(w, block->element);
	return is_open;
}

char *host_sysinfo_xml(const char *folder)
{
	struct xml_writer w = xml_writer_new();
	bool any = false;
	xml_open(&w, "sysinfo", "type", "smbios", NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(blocks); i++)
		any |= write_block(&w, folder, &blocks[i]);
	xml_close(&w, "sysinfo");
	g_autofree char *text = xml_writer_take(&w);
	return any ? g_steal_pointer(&text) : NULL;
}
