/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every driver by name: one line here and one in drivers.c for each. */
#pragma once

#include "block/core/driver.h"

extern const struct block_driver block_file_driver, block_host_device_driver, block_host_cdrom_driver;
extern const struct block_driver block_nbd_driver;
extern const struct block_driver block_http_driver, block_https_driver, block_ftp_driver, block_ftps_driver;
extern const struct block_driver block_iscsi_driver, block_nfs_driver, block_rbd_driver, block_ssh_driver;
extern const struct block_driver block_raw_driver, block_qcow2_driver;
extern const struct block_driver block_qed_driver, block_vdi_driver, block_vhdx_driver,
	block_vmdk_driver, block_vpc_driver;
extern const struct block_driver block_bochs_driver, block_cloop_driver, block_dmg_driver,
	block_parallels_driver;
extern const struct block_driver block_luks_driver;

extern const struct block_driver block_copy_on_read_driver, block_fault_driver,
	block_throttle_driver;

/* What is below raw nodes: moves *offset to the same byte there. Other nodes are their own. */
struct block_node *block_raw_below(struct block_node *node, uint64_t *offset);

/* The name of the format of a file that begins with `head`; "raw" if nobody knows it. */
const char *block_probe(const uint8_t *head, size_t length, const char *filename);
