/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMDK's parts: extents and their tables (vmdk.c), opening (vmdk_open.c), making (vmdk_create.c). */
#pragma once

#include "block/format/mapped.h"
#include "block/format/tables.h"
#include "block/format/vmdk_layout.h"

struct vmdk_extent {
	enum vmdk_extent_type type;
	struct block_node *file; /* borrowed: node->file or one of node->extra; NULL: ZERO */
	uint64_t start, length;  /* bytes of the disk */
	uint64_t flat_offset;
	struct vmdk_sparse sparse;
	uint32_t *directory, *redundant; /* host order; sparse ones; redundant may be NULL */
	struct table_cache tables;
	uint64_t end;     /* where the next grain goes */
	uint64_t certain; /* how long the file is also after a power cut */
};

struct vmdk_image {
	struct mapped mapped;
	uint32_t cid, parent_cid;
	char *create_type;
	GArray *extents; /* struct vmdk_extent, in the order of the disk */
	uint64_t descriptor_offset, descriptor_length; /* in node->file */
};

extern const struct mapped_ops vmdk_ops;

bool vmdk_open(struct block_node *node, json_t *dict, GError **error);
void vmdk_close(struct block_node *node);
bool vmdk_create(const struct block_create *create, GError **error);
