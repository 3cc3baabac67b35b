/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bochs' growing images ("redolog"), read-only: a catalog says which extent holds a piece of the
 * disk; an extent is a bitmap of its sectors, then the sectors.
 */
#include "block/core/drivers.h"
#include "block/format/mapped.h"

#include "base/bytes.h"
#include "base/error.h"

enum {
	AT_TYPE = 32, AT_SUBTYPE = 48, AT_VERSION = 64, AT_HEADER = 68, AT_CATALOG = 72, AT_BITMAP = 76,
	AT_EXTENT = 80, AT_DISK_V1 = 84, AT_DISK = 88, HEADER_SIZE = 512,
};
#define VERSION_1   UINT32_C(0x00010000)
#define VERSION_2   UINT32_C(0x00020000)
#define ABSENT      UINT32_C(0xffffffff)
#define MAX_CATALOG (UINT32_C(1) << 20) /* entries: 4 MiB of memory */

struct bochs_image {
	struct mapped mapped;
	uint32_t *catalog; /* host order */
	uint32_t entries;
	uint64_t data_offset, bitmap_bytes, extent_bytes;
	uint8_t *bits; /* the bitmap of the extent that was asked for last */
	uint64_t held; /* where it lies; 0: none */
};

static int load_bits(struct bochs_image *bochs, uint64_t start)
{
	if (bochs->held == start)
		return 0;
	bochs->held = 0;
	int rc = block_pread(bochs->mapped.node.file, start, bochs->bits,
			     (bochs->extent_bytes / 512 + 7) / 8);
	if (rc == 0)
		bochs->held = start;
	return rc;
}

/* One sector at a time is what the bitmap says; status and reads merge them. */
static int bochs_map(struct mapped *image, uint64_t offset, uint64_t length, struct run *run)
{
	struct bochs_image *bochs = (struct bochs_image *)image;
	uint64_t extent = offset / bochs->extent_bytes, inside = offset % bochs->extent_bytes;
	uint64_t sector = inside / 512;
	run->kind = RUN_ZERO;
	run->length = bochs->extent_bytes - inside;
	if (extent >= bochs->entries || bochs->catalog[extent] == ABSENT)
		return 0;
	uint64_t start = bochs->data_offset +
			 bochs->catalog[extent] * (bochs->bitmap_bytes + bochs->extent_bytes);
	int rc = load_bits(bochs, start);
	run->length = 512 - offset % 512;
	if (rc < 0 || !(bochs->bits[sector / 8] >> (sector % 8) & 1))
		return rc;
	run->kind = RUN_DATA;
	run->file = image->node.file;
	run->host = start + bochs->bitmap_bytes + inside;
	return 0;
}

static const struct mapped_ops bochs_ops = {.map = bochs_map};

static bool is_bochs(const uint8_t *bytes)
{
	uint32_t version = le32_load(bytes + AT_VERSION);
	return memcmp(bytes, "Bochs Virtual HD Image", 23) == 0 && memcmp(bytes + AT_TYPE, "Redolog", 8) == 0 &&
	       memcmp(bytes + AT_SUBTYPE, "Growing", 8) == 0 && (version == VERSION_1 || version == VERSION_2);
}

static bool parse_header(struct bochs_image *bochs, const uint8_t *bytes, GError **error)
{
	if (!is_bochs(bytes))
		return error_set(error, BERTH_ERR_INVALID, "Image not in Bochs format");
	bool first = le32_load(bytes + AT_VERSION) == VERSION_1;
	uint64_t size = le64_load(bytes + (first ? AT_DISK_V1 : AT_DISK));
	uint32_t header = le32_load(bytes + AT_HEADER);
	bochs->entries = le32_load(bytes + AT_CATALOG);
	bochs->extent_bytes = le32_load(bytes + AT_EXTENT);
	uint64_t bitmap = le32_load(bytes + AT_BITMAP);
	bochs->bitmap_bytes = align_up(bitmap, 512);
	bochs->data_offset = header + bochs->entries * UINT64_C(4);
	if (bochs->entries > MAX_CATALOG)
		return error_set(error, BERTH_ERR_INVALID, "Catalog size is too large");
	if (bochs->extent_bytes < 512 || bochs->extent_bytes & (bochs->extent_bytes - 1))
		return error_set(error, BERTH_ERR_INVALID, "Extent size must be at least 512 and a power of two");
	if (bitmap * 8 < bochs->extent_bytes / 512)
		return error_set(error, BERTH_ERR_INVALID, "the Bochs image's bitmaps are too short");
	if (size > INT64_MAX || bochs->entries < size / bochs->extent_bytes + !!(size % bochs->extent_bytes))
		return error_set(error, BERTH_ERR_INVALID, "Catalog size is too small for this disk size");
	mapped_init(&bochs->mapped, &bochs_ops, align_down(size, 512), 512);
	return true;
}

static bool bochs_open(struct block_node *node, json_t *dict, GError **error)
{
	struct bochs_image *bochs = (struct bochs_image *)node;
	uint8_t bytes[HEADER_SIZE];
	node->file = block_open_child(node, dict, "file", NULL, error);
	if (!node->file || !format_read(node->file, 0, bytes, sizeof(bytes), error) ||
	    !parse_header(bochs, bytes, error))
		return false;
	if (!node->readonly)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "Bochs images can only be read: convert it, or open it read-only");
	bochs->catalog = format_load(node->file, le32_load(bytes + AT_HEADER), bochs->entries * UINT64_C(4),
				     "catalog", error);
	for (uint32_t i = 0; bochs->catalog && i < bochs->entries; i++)
		bochs->catalog[i] = le32_load(&bochs->catalog[i]);
	if (bochs->catalog)
		bochs->bits = g_malloc((bochs->extent_bytes / 512 + 7) / 8);
	return bochs->catalog;
}

static void bochs_close(struct block_node *node)
{
	g_free(((struct bochs_image *)node)->catalog);
	g_free(((struct bochs_image *)node)->bits);
}

static unsigned bochs_probe(const uint8_t *head, size_t length, const char *filename)
{
	return length >= HEADER_SIZE && is_bochs(head) ? 100 : 0;
}

const struct block_driver block_bochs_driver = {
	.name = "bochs",
	.kind = BLOCK_FORMAT,
	.node_size = sizeof(struct bochs_image),
	.probe = bochs_probe,
	.open = bochs_open,
	.close = bochs_close,
	.perform = mapped_perform,
	.status = mapped_status,
	.info = mapped_plain_info,
};
