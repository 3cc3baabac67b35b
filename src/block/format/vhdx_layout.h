/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHDX on disk (Microsoft's [MS-VHDX]): two headers, two region tables, a log, metadata items and a
 * block allocation table. All little-endian; structures carry CRC-32C.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define VHDX_HEADER_SIZE   4096
#define VHDX_HEADER1       UINT64_C(0x10000)
#define VHDX_HEADER2       UINT64_C(0x20000)
#define VHDX_REGIONS1      UINT64_C(0x30000)
#define VHDX_REGIONS2      UINT64_C(0x40000)
#define VHDX_TABLE_SIZE    65536 /* region table, metadata table */
#define VHDX_LOG_SECTOR    4096
#define VHDX_MIB           (UINT64_C(1) << 20)
#define VHDX_MAX_SIZE      (UINT64_C(64) << 40)

struct vhdx_guid {
	uint8_t bytes[16];
};

struct vhdx_header {
	uint64_t sequence, log_offset;
	struct vhdx_guid file_write, data_write, log;
	uint32_t log_length;
};

struct vhdx_region {
	uint64_t offset;
	uint32_t length;
};

struct vhdx_regions {
	struct vhdx_region table, metadata; /* the block allocation table, the metadata */
};

struct vhdx_metadata {
	uint32_t block_size, logical_sector, physical_sector;
	uint64_t disk_size;
	bool has_parent, leave_allocated;
};

enum vhdx_state {
	VHDX_NOT_PRESENT, VHDX_UNDEFINED, VHDX_ZERO, VHDX_UNMAPPED, VHDX_FULL = 6, VHDX_PARTIAL = 7,
};

/* Block allocation table entries: state in bits 0 to 2, MiB number in bits 20 to 63. */
static inline enum vhdx_state vhdx_entry_state(uint64_t entry)
{
	return entry & 7;
}
static inline uint64_t vhdx_entry_offset(uint64_t entry)
{
	return entry & ~(VHDX_MIB - 1);
}

uint32_t vhdx_crc(uint32_t crc, const void *bytes, size_t length);

/* False: not a valid header (no reason to fail, the other one may be). */
bool vhdx_header_parse(struct vhdx_header *header, const uint8_t *bytes);
void vhdx_header_format(const struct vhdx_header *header, uint8_t *bytes);
/* `bytes` are VHDX_TABLE_SIZE. */
bool vhdx_regions_parse(struct vhdx_regions *regions, const uint8_t *bytes, uint64_t file_size,
			GError **error);
void vhdx_regions_format(const struct vhdx_regions *regions, uint8_t *bytes);
/* `bytes` are the whole metadata region. */
bool vhdx_metadata_parse(struct vhdx_metadata *metadata, const uint8_t *bytes, uint32_t length,
			 GError **error);
/* Writes VHDX_TABLE_SIZE and some: the first VHDX_METADATA_USED bytes of the region. */
#define VHDX_METADATA_USED (VHDX_TABLE_SIZE + 64)
void vhdx_metadata_format(const struct vhdx_metadata *metadata, uint8_t *bytes);

/* How many blocks share one bitmap block: every such number of entries one more lies between. */
uint64_t vhdx_chunk_ratio(const struct vhdx_metadata *metadata);
/* The place of a block's entry in the table, and how many entries a table has. */
uint64_t vhdx_entry_index(const struct vhdx_metadata *metadata, uint64_t block);
uint64_t vhdx_entry_count(const struct vhdx_metadata *metadata);

/* --- log ------------------------------------------------------------------------------------------- */

struct vhdx_log_entry {
	uint64_t sequence, flushed_size, last_size;
	uint32_t length, tail, descriptors;
	struct vhdx_guid guid;
};
struct vhdx_log_descriptor {
	bool zero;
	uint64_t offset, length; /* length: VHDX_LOG_SECTOR for data */
	uint32_t trailing;
	uint64_t leading;
};

/* The header of an entry; its CRC is over the whole entry and not checked here. */
bool vhdx_log_entry_parse(struct vhdx_log_entry *entry, const uint8_t *bytes, uint32_t log_length);
/* A whole entry of entry->length bytes, one after the other: CRC, descriptors, data sectors. */
bool vhdx_log_entry_valid(const struct vhdx_log_entry *entry, const uint8_t *bytes);
void vhdx_log_descriptor_parse(struct vhdx_log_descriptor *descriptor, const uint8_t *bytes);
/* One entry that replaces one sector: two log sectors in `bytes`. */
void vhdx_log_entry_format(const struct vhdx_log_entry *entry, uint64_t offset, const uint8_t *sector,
			   uint8_t *bytes);
/* The data sector number `index` of an entry with its ends put back, into `sector`. */
void vhdx_log_restore(const struct vhdx_log_entry *entry, const uint8_t *bytes, unsigned index,
		      const struct vhdx_log_descriptor *descriptor, uint8_t *sector);
