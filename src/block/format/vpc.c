/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHD images, fixed and dynamic. The table is in memory (4 bytes for each block, 2 MiB as a rule).
 * A dynamic image ends with a copy of its footer: a new block takes the footer's place, and the
 * footer is written behind it before the table names the block.
 */
#include "block/core/drivers.h"
#include "block/format/mapped.h"
#include "block/format/vpc_layout.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/core/options.h"

#include <errno.h>

struct vpc_image {
	struct mapped mapped;
	struct vpc_header header;
	uint8_t footer[VPC_FOOTER_SIZE];
	uint32_t *table; /* sector numbers; NULL: fixed */
	uint64_t end;    /* where the footer is and the next block goes */
	uint64_t certain; /* how long the file is also after a power cut */
	uint64_t bitmap; /* bytes of each block's sector bitmap */
};

static int vpc_map(struct mapped *image, uint64_t offset, uint64_t length, struct run *run)
{
	struct vpc_image *vpc = (struct vpc_image *)image;
	run->file = image->node.file;
	run->kind = RUN_DATA;
	run->host = offset;
	run->length = image->node.size - offset;
	run->flat = !vpc->table;
	if (run->flat)
		return 0;
	uint64_t inside = offset % image->unit;
	uint32_t sector = vpc->table[offset / image->unit];
	run->length = image->unit - inside;
	run->kind = sector == VPC_ABSENT ? RUN_ZERO : RUN_DATA;
	run->host = UINT64_C(512) * sector + vpc->bitmap + inside;
	return 0;
}

static int vpc_place(struct mapped *image, uint64_t offset, struct run *run)
{
	struct vpc_image *vpc = (struct vpc_image *)image;
	if (vpc->end / 512 >= VPC_ABSENT)
		return -EFBIG;
	g_autofree uint8_t *ones = g_malloc(vpc->bitmap);
	memset(ones, 0xff, vpc->bitmap);
	run->host = vpc->end + vpc->bitmap;
	uint64_t new_end = run->host + image->unit;
	/* The footer is the file's last bytes, so that it cannot grow by more at a time. */
	int rc = format_reserve(image->node.file, new_end + VPC_FOOTER_SIZE, 1, &vpc->certain);
	if (rc == 0)
		rc = block_pwrite(image->node.file, new_end, vpc->footer, VPC_FOOTER_SIZE);
	/* The bitmap covers the old footer's bytes, or the first 512 data bytes would not be zero. */
	return rc < 0 ? rc : block_pwrite(image->node.file, vpc->end, ones, vpc->bitmap);
}

static int vpc_enter(struct mapped *image, uint64_t offset, const struct run *run)
{
	struct vpc_image *vpc = (struct vpc_image *)image;
	uint32_t index = offset / image->unit;
	uint8_t bytes[4];
	be32_store(bytes, vpc->end / 512);
	int rc = block_pwrite(image->node.file, vpc->header.table_offset + UINT64_C(4) * index, bytes,
			     sizeof(bytes));
	if (rc == 0) {
		vpc->table[index] = vpc->end / 512;
		vpc->end = run->host + image->unit;
	}
	return rc;
}

static const struct mapped_ops vpc_ops = {
	.map = vpc_map,
	.place = vpc_place,
	.enter = vpc_enter,
};

static void vpc_close(struct block_node *node)
{
	g_free(((struct vpc_image *)node)->table);
}

/* The first copy of a dynamic image's footer, or else the one at the end. */
static bool find_footer(struct block_node *file, uint8_t *bytes, struct vpc_footer *footer,
			GError **error)
{
	if (!format_read(file, 0, bytes, VPC_FOOTER_SIZE, error))
		return false;
	if (memcmp(bytes, "conectix", 8) == 0)
		return vpc_footer_parse(footer, bytes, error);
	uint64_t size = align_down(block_size(file), 512);
	return format_read(file, size - VPC_FOOTER_SIZE, bytes, VPC_FOOTER_SIZE, error) &&
	       vpc_footer_parse(footer, bytes, error);
}

/* Behind the table and behind every block: where the next block goes. */
static bool load_table(struct vpc_image *vpc, GError **error)
{
	struct block_node *file = vpc->mapped.node.file;
	uint64_t length = UINT64_C(4) * vpc->header.entries;
	vpc->table = format_load(file, vpc->header.table_offset, length, "block table", error);
	if (!vpc->table)
		return false;
	vpc->end = align_up(vpc->header.table_offset + length, 512);
	for (uint32_t i = 0; i < vpc->header.entries; i++) {
		vpc->table[i] = be32_load(&vpc->table[i]);
		if (vpc->table[i] == VPC_ABSENT)
			continue;
		uint64_t end = UINT64_C(512) * vpc->table[i] + vpc->bitmap + vpc->mapped.unit;
		vpc->end = MAX(vpc->end, end);
	}
	if (vpc->end > align_up(block_size(file), 512))
		return error_set(error, BERTH_ERR_INVALID,
				 "a block of the VHD image lies behind the end of the file");
	return true;
}

static bool open_dynamic(struct vpc_image *vpc, const struct vpc_footer *footer, uint64_t size,
			 GError **error)
{
	uint8_t bytes[VPC_HEADER_SIZE];
	struct block_node *file = vpc->mapped.node.file;
	if (!format_read(file, footer->header_offset, bytes, sizeof(bytes), error) ||
	    !vpc_header_parse(&vpc->header, bytes, size, block_size(file), error))
		return false;
	vpc->bitmap = align_up((vpc->header.block_size / 512 + 7) / 8, 512);
	vpc->certain = block_size(file);
	mapped_init(&vpc->mapped, &vpc_ops, size, vpc->header.block_size);
	if (load_table(vpc, error))
		return true;
	g_clear_pointer(&vpc->table, g_free);
	return false;
}

static bool vpc_open(struct block_node *node, json_t *dict, GError **error)
{
	struct vpc_image *vpc = (struct vpc_image *)node;
	struct vpc_footer footer;
	node->file = block_open_child(node, dict, "file", NULL, error);
	if (!node->file || !find_footer(node->file, vpc->footer, &footer, error))
		return false;
	uint64_t size = vpc_footer_disk_size(&footer);
	if (footer.type == VPC_DYNAMIC)
		return open_dynamic(vpc, &footer, size, error);
	mapped_init(&vpc->mapped, &vpc_ops, size, 1 << 20);
	return size <= block_size(node->file) ||
	       error_set(error, BERTH_ERR_INVALID, "VHD image is cut off");
}

/* A geometry that holds at least `sectors`. */
static struct vpc_geometry geometry_for(uint64_t sectors)
{
	struct vpc_geometry geometry = vpc_geometry_of(sectors);
	for (uint64_t more = 1; vpc_geometry_sectors(geometry) < sectors && more < 65536; more++)
		geometry = vpc_geometry_of(sectors + more);
	return geometry;
}

static bool plan(struct vpc_footer *footer, uint64_t size, bool force_size, GError **error)
{
	uint64_t sectors = align_up(size, 512) / 512;
	memcpy(footer->creator, force_size ? "qem2" : "qemu", 4);
	footer->geometry = geometry_for(sectors);
	if (sectors > VPC_MAX_SECTORS)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "Disk size is too large, max size is 2040 "
				 "GiB");
	bool exact = force_size || vpc_geometry_sectors(footer->geometry) == VPC_CHS_MAX;
	footer->current_size = exact ? sectors * 512 : vpc_geometry_sectors(footer->geometry) * 512;
	return true;
}

static bool create_dynamic(struct block_node *file, const struct vpc_footer *footer, GError **error)
{
	uint8_t bytes[VPC_FOOTER_SIZE + VPC_HEADER_SIZE];
	struct vpc_header header = {.table_offset = 1536, .block_size = 2 << 20};
	header.entries = (footer->current_size + header.block_size - 1) / header.block_size;
	uint64_t table_size = align_up(UINT64_C(4) * header.entries, 512);
	g_autofree uint8_t *table = g_malloc(MAX(table_size, 1));
	memset(table, 0xff, table_size);
	vpc_footer_format(footer, bytes);
	vpc_header_format(&header, bytes + VPC_FOOTER_SIZE);
	return format_write(file, 0, bytes, sizeof(bytes), error) &&
	       format_write(file, header.table_offset, table, table_size, error) &&
	       format_write(file, header.table_offset + table_size, bytes, VPC_FOOTER_SIZE, error);
}

static bool vpc_create(const struct block_create *create, GError **error)
{
	static const char *const names[] = {"dynamic", "fixed", NULL};
	uint8_t bytes[VPC_FOOTER_SIZE];
	struct vpc_footer footer = {0};
	int subformat = 0;
	bool force_size = false;
	if (!block_take_enum(create->options, "subformat", names, &subformat, error) ||
	    !block_take_bool(create->options, "force_size", &force_size, error) ||
	    !plan(&footer, create->size, force_size, error))
		return false;
	footer.type = subformat ? VPC_FIXED : VPC_DYNAMIC;
	footer.header_offset = subformat ? UINT64_MAX : VPC_FOOTER_SIZE;
	if (!subformat)
		return create_dynamic(create->file, &footer, error);
	vpc_footer_format(&footer, bytes);
	return format_grow_or_fail(create->file, footer.current_size, error) &&
	       format_write(create->file, footer.current_size, bytes, sizeof(bytes), error);
}

static bool vpc_info(struct block_node *node, json_t *info, GError **error)
{
	struct vpc_image *vpc = (struct vpc_image *)node;
	if (vpc->table)
		json_object_set_new(info, "cluster-size", json_integer(vpc->mapped.unit));
	return true;
}

static unsigned vpc_probe(const uint8_t *head, size_t length, const char *filename)
{
	return length >= 8 && memcmp(head, "conectix", 8) == 0 ? 100 : 0;
}

static const struct block_option vpc_options[] = {
	{"force_size", "bool", "Force disk size calculation to use the actual size specified, rather "
			       "than using the nearest CHS-based calculation"},
	{"size", "size", "Virtual disk size"},
	{"subformat", "str", "Type of virtual hard disk format. Supported formats are {dynamic "
			     "(default) | fixed} "},
	{0},
};

const struct block_driver block_vpc_driver = {
	.name = "vpc",
	.kind = BLOCK_FORMAT,
	.node_size = sizeof(struct vpc_image),
	.probe = vpc_probe,
	.open = vpc_open,
	.close = vpc_close,
	.perform = mapped_perform,
	.status = mapped_status,
	.info = vpc_info,
	.create_options = vpc_options,
	.create = vpc_create,
};
