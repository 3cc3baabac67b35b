/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images of disks as the VMM wants to hear of them; their devices are in device_args.h. */
#pragma once

#include "conf/domain.h"

#include <jansson.h>

/* The name of a disk's topmost block node; free with g_free(). */
char *disk_node_name(const struct conf_domain_disk *disk);
/* What -blockdev and blockdev-add take; of virtio disks only. The caller owns it. */
json_t *disk_blockdev(const struct conf_domain_disk *disk);
/*
 * What -drive takes, for SATA disks and CD drives: a drive keeps its name when the medium changes, which a
 * block node does not, and its cache mode says whether writes are written through, which these devices
 * have no property for. Free with g_free().
 */
char *disk_drive(const struct conf_domain_disk *disk);
