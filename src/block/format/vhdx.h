/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VHDX's parts: the table at work (vhdx.c), the log (vhdx_log.c), making images (vhdx_create.c). */
#pragma once

#include "block/format/mapped.h"
#include "block/format/vhdx_layout.h"

struct vhdx_image {
	struct mapped mapped;
	struct vhdx_header header;
	unsigned current; /* which of the two headers is in force */
	struct vhdx_regions regions;
	struct vhdx_metadata metadata;
	uint8_t *table;       /* as on disk, a multiple of VHDX_LOG_SECTOR */
	uint64_t table_bytes;
	uint64_t end;         /* where the next block goes */
	uint64_t log_sequence;
	uint32_t log_position;
};

/* Write the header with the next sequence number over the older one, and flush. */
int vhdx_write_header(struct vhdx_image *vhdx);
/* Bring what the log holds into the file. The image must be writable if the log holds anything. */
bool vhdx_log_replay(struct vhdx_image *vhdx, bool writable, GError **error);
/* Replace one 4 KiB sector of the file through the log: after a crash it is the old or the new. */
int vhdx_log_write(struct vhdx_image *vhdx, uint64_t offset, const uint8_t *sector);
bool vhdx_create(const struct block_create *create, GError **error);
extern const struct block_option vhdx_options[];
