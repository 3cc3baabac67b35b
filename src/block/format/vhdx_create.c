/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making VHDX images. */
#include "block/format/vhdx.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/core/options.h"

const struct block_option vhdx_options[] = {
	{"block_size", "size", "Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image size."},
	{"block_state_zero", "bool", "Force use of payload blocks of type 'ZERO'. Non-standard, but default.  "
				     "Do not set to 'off' when using 'qemu-img convert' with "
				     "subformat=dynamic."},
	{"log_size", "size", "Log size; min 1MB."},
	{"size", "size", "Virtual disk size; max of 64TB."},
	{"subformat", "str", "VHDX format type, can be either 'dynamic' or 'fixed'. Default is 'dynamic'."},
	{0},
};

struct plan {
	struct vhdx_header header;
	struct vhdx_regions regions;
	struct vhdx_metadata metadata;
	int fixed;
	bool zero_state;
};

/* As large as keeps tables small: the steps that qemu-img takes. */
static uint64_t block_size_for(uint64_t size)
{
	uint64_t mib = size > (UINT64_C(32) << 40) ? 64 : size > (UINT64_C(100) << 30) ? 32
		       : size > (UINT64_C(1) << 30) ? 16 : 8;
	return mib * VHDX_MIB;
}

static bool make_plan(struct plan *plan, const struct block_create *create, GError **error)
{
	static const char *const names[] = {"dynamic", "fixed", NULL};
	uint64_t log_size = VHDX_MIB, block = 0, size = align_up(create->size, 512);
	plan->zero_state = true;
	if (!block_take_enum(create->options, "subformat", names, &plan->fixed, error) ||
	    !block_take_bool(create->options, "block_state_zero", &plan->zero_state, error) ||
	    !block_take_size(create->options, "block_size", &block, error) ||
	    !block_take_size(create->options, "log_size", &log_size, error))
		return false;
	block = block ? block : block_size_for(size);
	if (size > VHDX_MAX_SIZE)
		return error_set(error, BERTH_ERR_INVALID, "Image size too large; max of 64TB");
	if (log_size < VHDX_MIB || log_size % VHDX_MIB || log_size > UINT32_MAX)
		return error_set(error, BERTH_ERR_INVALID, "Log size must be a multiple of 1 MB");
	if (block < VHDX_MIB || block > 256 * VHDX_MIB || block & (block - 1))
		return error_set(error, BERTH_ERR_INVALID,
				 "Block size must be a power of two, 1 MB to 256 MB");
	plan->metadata = (struct vhdx_metadata){.block_size = block, .logical_sector = 512,
						.physical_sector = 512, .disk_size = size,
						.leave_allocated = plan->fixed};
	plan->header = (struct vhdx_header){.sequence = 1, .log_offset = VHDX_MIB, .log_length = log_size};
	plan->regions.table.offset = VHDX_MIB + log_size;
	plan->regions.table.length = align_up(MAX(vhdx_entry_count(&plan->metadata) * 8, 1), VHDX_MIB);
	plan->regions.metadata.offset = plan->regions.table.offset + plan->regions.table.length;
	plan->regions.metadata.length = VHDX_MIB;
	format_new_uuid(plan->header.file_write.bytes);
	format_new_uuid(plan->header.data_write.bytes);
	return true;
}

static bool write_table(const struct plan *plan, struct block_node *file, GError **error)
{
	const struct vhdx_metadata *metadata = &plan->metadata;
	uint64_t length = vhdx_entry_count(metadata) * 8, number = 0;
	/* Blocks begin at a multiple of their size, as qemu-img has them. */
	uint64_t first = align_up(plan->regions.metadata.offset + VHDX_MIB, metadata->block_size);
	g_autofree uint8_t *table = g_malloc0(MAX(length, 1));
	for (uint64_t at = 0; at < metadata->disk_size; at += metadata->block_size, number++) {
		uint64_t entry = plan->fixed	     ? (first + number * metadata->block_size) | VHDX_FULL
				 : plan->zero_state ? VHDX_ZERO : VHDX_NOT_PRESENT;
		le64_store(table + vhdx_entry_index(metadata, number) * 8, entry);
	}
	uint64_t end = plan->fixed ? first + number * metadata->block_size : first;
	return format_write(file, plan->regions.table.offset, table, length, error) &&
	       format_grow_or_fail(file, end, error);
}

bool vhdx_create(const struct block_create *create, GError **error)
{
	static const uint8_t identifier[] = {'v', 'h', 'd', 'x', 'f', 'i', 'l', 'e', 'B', 0, 'e', 0, 'r', 0,
					     't', 0, 'h', 0};
	struct plan plan = {0};
	if (!make_plan(&plan, create, error))
		return false;
	g_autofree uint8_t *bytes = g_malloc0(VHDX_METADATA_USED);
	if (!format_write(create->file, 0, identifier, sizeof(identifier), error))
		return false;
	for (unsigned i = 0; i < 2; i++) {
		plan.header.sequence += i;
		vhdx_header_format(&plan.header, bytes);
		if (!format_write(create->file, i ? VHDX_HEADER2 : VHDX_HEADER1, bytes, VHDX_HEADER_SIZE,
				  error))
			return false;
	}
	vhdx_regions_format(&plan.regions, bytes);
	if (!format_write(create->file, VHDX_REGIONS1, bytes, VHDX_TABLE_SIZE, error) ||
	    !format_write(create->file, VHDX_REGIONS2, bytes, VHDX_TABLE_SIZE, error))
		return false;
	vhdx_metadata_format(&plan.metadata, bytes);
	/* The regions must lie inside the file before anybody opens it. */
	return format_grow_or_fail(create->file, plan.regions.metadata.offset + VHDX_MIB, error) &&
	       format_write(create->file, plan.regions.metadata.offset, bytes, VHDX_METADATA_USED, error) &&
	       write_table(&plan, create->file, error);
}
