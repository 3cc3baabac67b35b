/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMDK on disk: a text descriptor (a file of its own or inside the first extent), flat extents, and
 * sparse extents with a grain directory and grain tables of 32-bit sector numbers.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define VMDK_HEADER_SIZE   512
#define VMDK_GD_AT_END     UINT64_MAX /* stream-optimized: the header is repeated at the end */
#define VMDK_MAX_EXTENTS   4096
#define VMDK_MAX_DESCRIPTOR (UINT32_C(1) << 20)
#define VMDK_ZERO_GRAIN    UINT32_C(1) /* grain table entry, if the header's flag is set */
#define VMDK_MAX_DIRECTORY (UINT32_C(1) << 22) /* entries: 128 TiB with grains of 64 KiB */

enum vmdk_flags {
	VMDK_NEWLINE_TEST = 1 << 0,
	VMDK_REDUNDANT = 1 << 1,
	VMDK_ZEROED_GRAINS = 1 << 2,
	VMDK_COMPRESSED = 1 << 16,
	VMDK_MARKERS = 1 << 17,
};

/* All offsets and sizes in sectors of 512 bytes. */
struct vmdk_sparse {
	uint32_t version, flags;
	uint64_t capacity, grain, descriptor, descriptor_size;
	uint32_t table_entries;
	uint64_t redundant_directory, directory, overhead;
	uint32_t directory_entries; /* from capacity */
};

enum vmdk_extent_type { VMDK_FLAT, VMDK_SPARSE, VMDK_ZERO, VMDK_VMFS, VMDK_VMFS_SPARSE };

struct vmdk_extent_line {
	bool readonly;
	enum vmdk_extent_type type;
	uint64_t sectors, offset; /* sectors; offset of flat ones */
	char *name; /* NULL for ZERO */
};

struct vmdk_descriptor {
	uint32_t cid, parent_cid;
	char *create_type, *parent; /* parent: parentFileNameHint or NULL */
	GArray *extents; /* struct vmdk_extent_line */
};

/* A "KDMV" or (ESX) "COWD" header. */
bool vmdk_sparse_parse(struct vmdk_sparse *sparse, const uint8_t *bytes, GError **error);
void vmdk_sparse_format(const struct vmdk_sparse *sparse, uint8_t *bytes);

/* `text` need not be terminated. */
bool vmdk_descriptor_parse(struct vmdk_descriptor *descriptor, const char *text, uint64_t length,
			   GError **error);
void vmdk_descriptor_clear(struct vmdk_descriptor *descriptor);
const char *vmdk_extent_type_name(enum vmdk_extent_type type);

struct vmdk_describe {
	uint32_t cid, parent_cid;
	const char *create_type, *parent, *adapter, *hardware, *tools;
	const GArray *extents; /* struct vmdk_extent_line */
	uint64_t sectors;
};
/* The text of a descriptor. Free with g_free(). */
char *vmdk_descriptor_format(const struct vmdk_describe *describe);
