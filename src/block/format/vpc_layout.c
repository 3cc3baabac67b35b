/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VHD structures after Microsoft's "Virtual Hard Disk Image Format Specification", 1.0. */
#include "block/format/vpc_layout.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/format/mapped.h"

#include <inttypes.h>
#include <time.h>

enum { /* footer */
	AT_FEATURES = 8, AT_VERSION = 12, AT_HEADER = 16, AT_TIME = 24, AT_CREATOR = 28,
	AT_CREATOR_VERSION = 32, AT_CREATOR_OS = 36, AT_ORIGINAL = 40, AT_CURRENT = 48,
	AT_GEOMETRY = 56, AT_TYPE = 60, AT_SUM = 64, AT_ID = 68,
};
enum { /* dynamic header */
	AT_NEXT = 8, AT_TABLE = 16, AT_HEADER_VERSION = 24, AT_ENTRIES = 28, AT_BLOCK_SIZE = 32,
	AT_HEADER_SUM = 36,
};
#define VERSION  UINT32_C(0x00010000)
#define YEAR2000 946684800 /* seconds from 1970 to the format's epoch */

struct vpc_geometry vpc_geometry_of(uint64_t sectors)
{
	uint32_t per_track, heads, tracks;
	sectors = MIN(sectors, VPC_CHS_MAX);
	if (sectors >= UINT64_C(65535) * 16 * 63) {
		per_track = 255;
		heads = 16;
		tracks = sectors / per_track;
	} else {
		per_track = 17;
		tracks = sectors / per_track;
		heads = MAX((tracks + 1023) / 1024, 4);
		if (tracks >= heads * 1024 || heads > 16) {
			per_track = 31;
			heads = 16;
			tracks = sectors / per_track;
		}
		if (tracks >= heads * 1024) {
			per_track = 63;
			heads = 16;
			tracks = sectors / per_track;
		}
	}
	return (struct vpc_geometry){tracks / heads, heads, per_track};
}

uint64_t vpc_geometry_sectors(struct vpc_geometry geometry)
{
	return (uint64_t)geometry.cylinders * geometry.heads * geometry.sectors;
}

uint64_t vpc_footer_disk_size(const struct vpc_footer *footer)
{
	/* Hyper-V, disk2vhd, qemu-img with force_size, XenServer, XenConverter. */
	static const char by_size[][4] = {
		{'w', 'i', 'n', ' '}, {'d', '2', 'v', ' '}, {'q', 'e', 'm', '2'}, {'t', 'a', 'p', 0},
		{'C', 'X', 'S', 0},
	};
	uint64_t sectors = vpc_geometry_sectors(footer->geometry);
	bool size_rules = sectors == VPC_CHS_MAX;
	for (unsigned i = 0; i < G_N_ELEMENTS(by_size); i++)
		size_rules |= memcmp(footer->creator, by_size[i], 4) == 0;
	return size_rules ? align_down(footer->current_size, 512) : sectors * 512;
}

/* One's complement of the sum of all bytes but the sum's own. */
static uint32_t checksum(const uint8_t *bytes, unsigned length, unsigned at)
{
	uint32_t sum = 0;
	for (unsigned i = 0; i < length; i++)
		sum += i >= at && i < at + 4 ? 0 : bytes[i];
	return ~sum;
}

bool vpc_footer_parse(struct vpc_footer *footer, const uint8_t *bytes, GError **error)
{
	if (memcmp(bytes, "conectix", 8) != 0)
		return error_set(error, BERTH_ERR_INVALID, "invalid VPC image");
	if (be32_load(bytes + AT_SUM) != checksum(bytes, VPC_FOOTER_SIZE, AT_SUM))
		return error_set(error, BERTH_ERR_INVALID,
				 "the VHD footer's checksum is wrong: the image is damaged");
	*footer = (struct vpc_footer){
		.type = be32_load(bytes + AT_TYPE),
		.header_offset = be64_load(bytes + AT_HEADER),
		.current_size = be64_load(bytes + AT_CURRENT),
		.geometry = {be16_load(bytes + AT_GEOMETRY), bytes[AT_GEOMETRY + 2],
			     bytes[AT_GEOMETRY + 3]},
	};
	memcpy(footer->creator, bytes + AT_CREATOR, 4);
	if (footer->type == VPC_DIFFERENCING)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "differencing VHD images are not supported: merge it into its parent");
	if (footer->type != VPC_FIXED && footer->type != VPC_DYNAMIC)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "VHD type %u is not supported",
				 footer->type);
	if (footer->current_size > (VPC_MAX_SECTORS + 1) * 512 && footer->type == VPC_DYNAMIC)
		return error_set(error, BERTH_ERR_INVALID, "VHD image is larger than the format allows");
	return true;
}

void vpc_footer_format(const struct vpc_footer *footer, uint8_t *bytes)
{
	memset(bytes, 0, VPC_FOOTER_SIZE);
	memcpy(bytes, "conectix", 8);
	be32_store(bytes + AT_FEATURES, 2); /* the specification's reserved bit */
	be32_store(bytes + AT_VERSION, VERSION);
	be64_store(bytes + AT_HEADER, footer->header_offset);
	be32_store(bytes + AT_TIME, time(NULL) - YEAR2000);
	memcpy(bytes + AT_CREATOR, footer->creator, 4);
	be32_store(bytes + AT_CREATOR_VERSION, 0x00050003);
	memcpy(bytes + AT_CREATOR_OS, "Wi2k", 4);
	be64_store(bytes + AT_ORIGINAL, footer->current_size);
	be64_store(bytes + AT_CURRENT, footer->current_size);
	be16_store(bytes + AT_GEOMETRY, footer->geometry.cylinders);
	bytes[AT_GEOMETRY + 2] = footer->geometry.heads;
	bytes[AT_GEOMETRY + 3] = footer->geometry.sectors;
	be32_store(bytes + AT_TYPE, footer->type);
	format_new_uuid(bytes + AT_ID);
	be32_store(bytes + AT_SUM, checksum(bytes, VPC_FOOTER_SIZE, AT_SUM));
}

bool vpc_header_parse(struct vpc_header *header, const uint8_t *bytes, uint64_t disk_size,
		      uint64_t file_size, GError **error)
{
	if (memcmp(bytes, "cxsparse", 8) != 0)
		return error_set(error, BERTH_ERR_INVALID, "the VHD's dynamic header has no 'cxsparse'");
	if (be32_load(bytes + AT_HEADER_SUM) != checksum(bytes, VPC_HEADER_SIZE, AT_HEADER_SUM))
		return error_set(error, BERTH_ERR_INVALID,
				 "the checksum of the VHD's dynamic header is wrong");
	*header = (struct vpc_header){
		.table_offset = be64_load(bytes + AT_TABLE),
		.entries = be32_load(bytes + AT_ENTRIES),
		.block_size = be32_load(bytes + AT_BLOCK_SIZE),
	};
	uint32_t size = header->block_size;
	if (size < 512 || (size & (size - 1)) || size > (1u << 30))
		return error_set(error, BERTH_ERR_INVALID, "Invalid block size %u", size);
	if ((uint64_t)header->entries * size < disk_size)
		return error_set(error, BERTH_ERR_INVALID,
				 "Page table too small: %u blocks of %u bytes for a disk of %" PRIu64,
				 header->entries, size, disk_size);
	header->entries = disk_size / size + (disk_size % size != 0); /* what lies behind is unused */
	if (header->entries > VPC_MAX_ENTRIES)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "%u blocks of %u bytes are too many",
				 header->entries, size);
	if (!range_fits(header->table_offset, UINT64_C(4) * header->entries, file_size))
		return error_set(error, BERTH_ERR_INVALID, "VHD image is cut off inside its table");
	return true;
}

void vpc_header_format(const struct vpc_header *header, uint8_t *bytes)
{
	memset(bytes, 0, VPC_HEADER_SIZE);
	memcpy(bytes, "cxsparse", 8);
	be64_store(bytes + AT_NEXT, UINT64_MAX);
	be64_store(bytes + AT_TABLE, header->table_offset);
	be32_store(bytes + AT_HEADER_VERSION, VERSION);
	be32_store(bytes + AT_ENTRIES, header->entries);
	be32_store(bytes + AT_BLOCK_SIZE, header->block_size);
	be32_store(bytes + AT_HEADER_SUM, checksum(bytes, VPC_HEADER_SIZE, AT_HEADER_SUM));
}
