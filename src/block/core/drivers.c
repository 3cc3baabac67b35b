/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of all drivers, and what an image is by its first bytes. */
#include "block/core/drivers.h"

#include <string.h>

const struct block_driver *const block_drivers[] = {
	&block_file_driver, &block_host_device_driver, &block_host_cdrom_driver, /* protocols */
	&block_nbd_driver, &block_http_driver, &block_https_driver, &block_ftp_driver, &block_ftps_driver,
	&block_iscsi_driver, &block_nfs_driver, &block_rbd_driver, &block_ssh_driver,
	&block_raw_driver, &block_qcow2_driver, /* formats */
	&block_qed_driver, &block_vdi_driver, &block_vhdx_driver, &block_vmdk_driver, &block_vpc_driver,
	&block_bochs_driver, &block_cloop_driver, &block_dmg_driver, &block_parallels_driver,
	&block_luks_driver,
	&block_copy_on_read_driver, &block_fault_driver, &block_throttle_driver, /* filters */
	NULL,
};

const struct block_driver *block_driver_find(const char *name)
{
	for (unsigned i = 0; block_drivers[i]; i++)
		if (strcmp(block_drivers[i]->name, name) == 0)
			return block_drivers[i];
	return NULL;
}

const char *block_probe(const uint8_t *head, size_t length, const char *filename)
{
	const char *best = "raw";
	unsigned best_score = 0;
	for (unsigned i = 0; block_drivers[i]; i++) {
		const struct block_driver *driver = block_drivers[i];
		unsigned score = driver->probe ? driver->probe(head, length, filename) : 0;
		if (score > best_score) {
			best = driver->name;
			best_score = score;
		}
	}
	/* Formats that have a magic number but no driver are named, not taken for raw bytes. */
	static const struct {
		const char *format;
		size_t offset, length;
		const char *magic;
	} known[] = {
		{"qed", 0, 4, "QED\0"},           {"vmdk", 0, 4, "KDMV"},
		{"vmdk", 0, 4, "COWD"},           {"vmdk", 0, 21, "# Disk DescriptorFile"},
		{"vhdx", 0, 8, "vhdxfile"},       {"vpc", 0, 8, "conectix"},
		{"luks", 0, 6, "LUKS\xba\xbe"},   {"vdi", 0x40, 4, "\x7f\x10\xda\xbe"},
		{"parallels", 0, 16, "WithoutFreeSpace"},
	};
	for (unsigned i = 0; best_score == 0 && i < G_N_ELEMENTS(known); i++)
		if (known[i].offset + known[i].length <= length &&
		    memcmp(head + known[i].offset, known[i].magic, known[i].length) == 0)
			return known[i].format;
	return best;
}
