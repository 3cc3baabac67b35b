/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VHDX structures after [MS-VHDX], section 2. */
#include "block/format/vhdx_layout.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/format/mapped.h"

enum { /* header, 2.2.2 */
	AT_SUM = 4, AT_SEQUENCE = 8, AT_FILE_WRITE = 16, AT_DATA_WRITE = 32, AT_LOG_GUID = 48,
	AT_LOG_VERSION = 64, AT_VERSION = 66, AT_LOG_LENGTH = 68, AT_LOG_OFFSET = 72,
};
enum { REGION_AT_COUNT = 8, REGION_FIRST = 16, REGION_SIZE = 32, REGION_MAX = 2047 };
enum { META_AT_COUNT = 10, META_FIRST = 32, META_SIZE = 32, META_MAX = 2047 };

static const struct vhdx_guid guid_table = {{0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64,
					     0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08}};
static const struct vhdx_guid guid_metadata = {{0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8,
						0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e}};
/* Metadata items, 2.6.2: what is known of the disk. */
enum item { ITEM_FILE, ITEM_SIZE, ITEM_ID, ITEM_LOGICAL, ITEM_PHYSICAL, ITEM_PARENT, ITEM_COUNT };
static const struct {
	struct vhdx_guid guid;
	uint32_t offset, length, flags; /* as we write them */
} items[ITEM_COUNT] = {
	{{{0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b}},
	 0, 8, 4},
	{{{0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8}},
	 8, 8, 6},
	{{{0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46}},
	 16, 16, 6},
	{{{0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f}},
	 32, 4, 6},
	{{{0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56}},
	 36, 4, 6},
	{{{0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c}},
	 0, 0, 0},
};

uint32_t vhdx_crc(uint32_t crc, const void *bytes, size_t length)
{
	const uint8_t *p = bytes;
	crc = ~crc;
	while (length--) {
		crc ^= *p++;
		for (unsigned i = 0; i < 8; i++)
			crc = crc >> 1 ^ (UINT32_C(0x82f63b78) & -(crc & 1));
	}
	return ~crc;
}

/* CRC over `length` bytes with the sum at byte 4 counted as zeroes. */
static uint32_t sum_of(const uint8_t *bytes, size_t length)
{
	static const uint8_t zeroes[4];
	uint32_t crc = vhdx_crc(0, bytes, AT_SUM);
	crc = vhdx_crc(crc, zeroes, sizeof(zeroes));
	return vhdx_crc(crc, bytes + 8, length - 8);
}

static void put_sum(uint8_t *bytes, size_t length)
{
	le32_store(bytes + AT_SUM, sum_of(bytes, length));
}

bool vhdx_header_parse(struct vhdx_header *header, const uint8_t *bytes)
{
	if (memcmp(bytes, "head", 4) != 0 || le32_load(bytes + AT_SUM) != sum_of(bytes, VHDX_HEADER_SIZE))
		return false;
	*header = (struct vhdx_header){
		.sequence = le64_load(bytes + AT_SEQUENCE),
		.log_length = le32_load(bytes + AT_LOG_LENGTH),
		.log_offset = le64_load(bytes + AT_LOG_OFFSET),
	};
	memcpy(&header->file_write, bytes + AT_FILE_WRITE, 16);
	memcpy(&header->data_write, bytes + AT_DATA_WRITE, 16);
	memcpy(&header->log, bytes + AT_LOG_GUID, 16);
	return le16_load(bytes + AT_VERSION) == 1 && le16_load(bytes + AT_LOG_VERSION) == 0;
}

void vhdx_header_format(const struct vhdx_header *header, uint8_t *bytes)
{
	memset(bytes, 0, VHDX_HEADER_SIZE);
	memcpy(bytes, "head", 4);
	le64_store(bytes + AT_SEQUENCE, header->sequence);
	memcpy(bytes + AT_FILE_WRITE, &header->file_write, 16);
	memcpy(bytes + AT_DATA_WRITE, &header->data_write, 16);
	memcpy(bytes + AT_LOG_GUID, &header->log, 16);
	le16_store(bytes + AT_VERSION, 1);
	le32_store(bytes + AT_LOG_LENGTH, header->log_length);
	le64_store(bytes + AT_LOG_OFFSET, header->log_offset);
	put_sum(bytes, VHDX_HEADER_SIZE);
}

bool vhdx_regions_parse(struct vhdx_regions *regions, const uint8_t *bytes, uint64_t file_size,
			GError **error)
{
	uint32_t count = le32_load(bytes + REGION_AT_COUNT);
	*regions = (struct vhdx_regions){0};
	if (memcmp(bytes, "regi", 4) != 0 || le32_load(bytes + AT_SUM) != sum_of(bytes, VHDX_TABLE_SIZE) ||
	    count > REGION_MAX)
		return error_set(error, BERTH_ERR_INVALID, "the VHDX image's region table is damaged");
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *entry = bytes + REGION_FIRST + i * REGION_SIZE;
		struct vhdx_region region = {le64_load(entry + 16), le32_load(entry + 24)};
		bool table = memcmp(entry, &guid_table, 16) == 0;
		bool metadata = memcmp(entry, &guid_metadata, 16) == 0;
		struct vhdx_region *known = table ? &regions->table : &regions->metadata;
		if (!table && !metadata && le32_load(entry + 28) & 1)
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "the VHDX image needs a region that is not known");
		if (!table && !metadata)
			continue;
		if (known->length || region.offset < VHDX_MIB || region.offset % VHDX_MIB ||
		    region.length == 0 || !range_fits(region.offset, region.length, file_size))
			return error_set(error, BERTH_ERR_INVALID,
					 "a region of the VHDX image lies outside of the file");
		*known = region;
	}
	return (regions->table.length && regions->metadata.length) ||
	       error_set(error, BERTH_ERR_INVALID, "the VHDX image has no block table or no metadata");
}

void vhdx_regions_format(const struct vhdx_regions *regions, uint8_t *bytes)
{
	const struct vhdx_region *all[] = {&regions->table, &regions->metadata};
	const struct vhdx_guid *guids[] = {&guid_table, &guid_metadata};
	memset(bytes, 0, VHDX_TABLE_SIZE);
	memcpy(bytes, "regi", 4);
	le32_store(bytes + REGION_AT_COUNT, 2);
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *entry = bytes + REGION_FIRST + i * REGION_SIZE;
		memcpy(entry, guids[i], 16);
		le64_store(entry + 16, all[i]->offset);
		le32_store(entry + 24, all[i]->length);
		le32_store(entry + 28, 1);
	}
	put_sum(bytes, VHDX_TABLE_SIZE);
}

static bool check_metadata(const struct vhdx_metadata *m, unsigned seen, GError **error)
{
	unsigned needed = 1 << ITEM_FILE | 1 << ITEM_SIZE | 1 << ITEM_LOGICAL | 1 << ITEM_PHYSICAL;
	if ((seen & needed) != needed)
		return error_set(error, BERTH_ERR_INVALID, "the VHDX image lacks metadata");
	if (m->has_parent)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "differencing VHDX images are not supported: merge it into its parent");
	if (m->logical_sector != 512 && m->logical_sector != 4096)
		return error_set(error, BERTH_ERR_INVALID, "VHDX logical sector size %u", m->logical_sector);
	if (m->block_size < VHDX_MIB || m->block_size > 256 * VHDX_MIB ||
	    m->block_size & (m->block_size - 1))
		return error_set(error, BERTH_ERR_INVALID, "VHDX block size %u", m->block_size);
	if (m->disk_size > VHDX_MAX_SIZE || m->disk_size % m->logical_sector)
		return error_set(error, BERTH_ERR_INVALID, "the VHDX image's disk size is wrong");
	return true;
}

bool vhdx_metadata_parse(struct vhdx_metadata *metadata, const uint8_t *bytes, uint32_t length,
			 GError **error)
{
	unsigned seen = 0;
	*metadata = (struct vhdx_metadata){0};
	if (length < VHDX_TABLE_SIZE || memcmp(bytes, "metadata", 8) != 0 ||
	    le16_load(bytes + META_AT_COUNT) > META_MAX)
		return error_set(error, BERTH_ERR_INVALID, "the VHDX image's metadata table is damaged");
	for (unsigned i = 0; i < le16_load(bytes + META_AT_COUNT); i++) {
		const uint8_t *entry = bytes + META_FIRST + i * META_SIZE;
		uint32_t offset = le32_load(entry + 16), flags = le32_load(entry + 24);
		unsigned item = 0;
		while (item < ITEM_COUNT && memcmp(entry, &items[item].guid, 16) != 0)
			item++;
		if (item == ITEM_COUNT && flags & 4)
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "the VHDX image needs metadata that is not known");
		if (item == ITEM_COUNT)
			continue;
		if (!range_fits(offset, 16, length))
			return error_set(error, BERTH_ERR_INVALID,
					 "an item of the VHDX image's metadata lies outside of its region");
		const uint8_t *value = bytes + offset;
		seen |= 1u << item;
		if (item == ITEM_FILE) {
			metadata->block_size = le32_load(value);
			metadata->leave_allocated = value[4] & 1;
			metadata->has_parent = value[4] & 2;
		} else if (item == ITEM_SIZE) {
			metadata->disk_size = le64_load(value);
		} else if (item == ITEM_LOGICAL) {
			metadata->logical_sector = le32_load(value);
		} else if (item == ITEM_PHYSICAL) {
			metadata->physical_sector = le32_load(value);
		}
	}
	return check_metadata(metadata, seen, error);
}

void vhdx_metadata_format(const struct vhdx_metadata *metadata, uint8_t *bytes)
{
	memset(bytes, 0, VHDX_METADATA_USED);
	memcpy(bytes, "metadata", 8);
	le16_store(bytes + META_AT_COUNT, ITEM_PARENT);
	for (unsigned i = 0; i < ITEM_PARENT; i++) {
		uint8_t *entry = bytes + META_FIRST + i * META_SIZE;
		memcpy(entry, &items[i].guid, 16);
		le32_store(entry + 16, VHDX_TABLE_SIZE + items[i].offset);
		le32_store(entry + 20, items[i].length);
		le32_store(entry + 24, items[i].flags);
	}
	uint8_t *values = bytes + VHDX_TABLE_SIZE;
	le32_store(values, metadata->block_size);
	le32_store(values + 4, metadata->leave_allocated);
	le64_store(values + items[ITEM_SIZE].offset, metadata->disk_size);
	format_new_uuid(values + items[ITEM_ID].offset);
	le32_store(values + items[ITEM_LOGICAL].offset, metadata->logical_sector);
	le32_store(values + items[ITEM_PHYSICAL].offset, metadata->physical_sector);
}

uint64_t vhdx_chunk_ratio(const struct vhdx_metadata *metadata)
{
	return (UINT64_C(1) << 23) * metadata->logical_sector / metadata->block_size;
}

uint64_t vhdx_entry_index(const struct vhdx_metadata *metadata, uint64_t block)
{
	return block + block / vhdx_chunk_ratio(metadata);
}

uint64_t vhdx_entry_count(const struct vhdx_metadata *metadata)
{
	uint64_t blocks = (metadata->disk_size + metadata->block_size - 1) / metadata->block_size;
	return blocks ? vhdx_entry_index(metadata, blocks - 1) + 1 : 0;
}
