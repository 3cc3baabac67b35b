/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VDI's header: bytes to values and back, with every check that a stranger's file needs. */
#include "block/format/vdi_layout.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/format/mapped.h"

#include <inttypes.h>

enum {
	AT_SIGNATURE = 0x40, AT_VERSION = 0x44, AT_HEADER_SIZE = 0x48, AT_TYPE = 0x4c,
	AT_MAP = 0x154, AT_DATA = 0x158, AT_SECTOR = 0x168, AT_DISK_SIZE = 0x170, AT_BLOCK = 0x178,
	AT_EXTRA = 0x17c, AT_BLOCKS = 0x180, AT_ALLOCATED = 0x184, AT_ID = 0x188, AT_SNAPSHOT = 0x198,
	AT_LINK = 0x1a8, AT_PARENT = 0x1b8,
};
#define SIGNATURE UINT32_C(0xbeda107f)
#define VERSION   UINT32_C(0x00010001)
enum { TYPE_DYNAMIC = 1, TYPE_STATIC = 2 };

static bool refuse(GError **error, const char *what, uint64_t value)
{
	return error_set(error, BERTH_ERR_NOT_SUPPORTED, "unsupported VDI image (%s %" G_GUINT64_FORMAT
			 ")", what, value);
}

static bool no_uuid(const uint8_t *bytes)
{
	return le64_load(bytes) == 0 && le64_load(bytes + 8) == 0;
}

bool vdi_header_parse(struct vdi_header *header, const uint8_t *bytes, uint64_t file_size,
		      GError **error)
{
	uint32_t type = le32_load(bytes + AT_TYPE);
	*header = (struct vdi_header){
		.fixed = type == TYPE_STATIC,
		.map_offset = le32_load(bytes + AT_MAP),
		.data_offset = le32_load(bytes + AT_DATA),
		.blocks = le32_load(bytes + AT_BLOCKS),
		.allocated = le32_load(bytes + AT_ALLOCATED),
		/* Old tools wrote sizes that are no multiple of a sector. */
		.disk_size = le64_load(bytes + AT_DISK_SIZE),
	};
	if (le32_load(bytes + AT_SIGNATURE) != SIGNATURE)
		return error_set(error, BERTH_ERR_INVALID, "Image not in VDI format (bad signature %08x)",
				 le32_load(bytes + AT_SIGNATURE));
	if (le32_load(bytes + AT_VERSION) != VERSION)
		return refuse(error, "version", le32_load(bytes + AT_VERSION));
	if (type != TYPE_DYNAMIC && type != TYPE_STATIC)
		return refuse(error, "type", type);
	if (header->map_offset % 512 || header->map_offset < VDI_HEADER_SIZE)
		return refuse(error, "unaligned block map offset", header->map_offset);
	if (header->data_offset % 512)
		return refuse(error, "unaligned data offset", header->data_offset);
	if (le32_load(bytes + AT_SECTOR) != 512)
		return refuse(error, "sector size", le32_load(bytes + AT_SECTOR));
	if (le32_load(bytes + AT_BLOCK) != VDI_BLOCK_SIZE)
		return refuse(error, "block size", le32_load(bytes + AT_BLOCK));
	if (header->blocks > VDI_MAX_BLOCKS)
		return refuse(error, "too many blocks:", header->blocks);
	if (header->disk_size > (uint64_t)header->blocks * VDI_BLOCK_SIZE)
		return refuse(error, "disk size larger than its blocks:", header->disk_size);
	header->disk_size = align_up(header->disk_size, 512);
	if (header->allocated > header->blocks)
		return refuse(error, "more allocated blocks than blocks:", header->allocated);
	if (!no_uuid(bytes + AT_LINK) || !no_uuid(bytes + AT_PARENT))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "unsupported VDI image (differencing: it has a parent)");
	if (!range_fits(header->map_offset, (uint64_t)header->blocks * 4, file_size))
		return error_set(error, BERTH_ERR_INVALID, "VDI image is cut off inside its block map");
	return true;
}

void vdi_header_format(const struct vdi_header *header, uint8_t *bytes)
{
	static const char text[] = "<<< Berth VM Virtual Disk Image >>>\n";
	memset(bytes, 0, VDI_HEADER_SIZE);
	memcpy(bytes, text, sizeof(text) - 1);
	le32_store(bytes + AT_SIGNATURE, SIGNATURE);
	le32_store(bytes + AT_VERSION, VERSION);
	le32_store(bytes + AT_HEADER_SIZE, 0x180);
	le32_store(bytes + AT_TYPE, header->fixed ? TYPE_STATIC : TYPE_DYNAMIC);
	le32_store(bytes + AT_MAP, header->map_offset);
	le32_store(bytes + AT_DATA, header->data_offset);
	le32_store(bytes + AT_SECTOR, 512);
	le64_store(bytes + AT_DISK_SIZE, header->disk_size);
	le32_store(bytes + AT_BLOCK, VDI_BLOCK_SIZE);
	le32_store(bytes + AT_EXTRA, 0);
	le32_store(bytes + AT_BLOCKS, header->blocks);
	le32_store(bytes + AT_ALLOCATED, header->allocated);
	format_new_uuid(bytes + AT_ID);
	format_new_uuid(bytes + AT_SNAPSHOT);
}

bool vdi_header_plan(struct vdi_header *header, uint64_t disk_size, bool fixed, GError **error)
{
	uint64_t blocks = disk_size / VDI_BLOCK_SIZE + (disk_size % VDI_BLOCK_SIZE != 0);
	if (blocks > VDI_MAX_BLOCKS)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "Unsupported VDI image size (size is 0x%" PRIx64 ", max supported is 0x%"
				 PRIx64 ")", disk_size, (uint64_t)VDI_MAX_BLOCKS * VDI_BLOCK_SIZE);
	*header = (struct vdi_header){
		.fixed = fixed,
		.map_offset = VDI_HEADER_SIZE,
		.data_offset = VDI_HEADER_SIZE + align_up(blocks * 4, 512),
		.blocks = blocks,
		.allocated = fixed ? blocks : 0,
		.disk_size = disk_size,
	};
	return true;
}
