/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parallels images, read-only: a header of 64 bytes, a table of 32-bit places of clusters, clusters.
 * The newer magic counts places in clusters, the older in sectors.
 */
#include "block/core/drivers.h"
#include "block/format/mapped.h"

#include "base/bytes.h"
#include "base/error.h"

enum {
	AT_VERSION = 16, AT_CLUSTER = 28, AT_ENTRIES = 32, AT_SECTORS = 36,
	HEADER_SIZE = 64,
};
/* With clusters of 1 MiB, 64 TiB; bounds what a table can take of memory: 256 MiB. */
#define MAX_ENTRIES (UINT32_C(1) << 26)

struct parallels_image {
	struct mapped mapped;
	uint32_t *table; /* host order */
	uint32_t entries;
	uint64_t multiplier; /* bytes for each unit of a table entry */
};

static bool is_old(const uint8_t *bytes)
{
	return memcmp(bytes, "WithoutFreeSpace", 16) == 0;
}

static bool is_new(const uint8_t *bytes)
{
	return memcmp(bytes, "WithouFreSpacExt", 16) == 0;
}

static int parallels_map(struct mapped *image, uint64_t offset, uint64_t length, struct run *run)
{
	struct parallels_image *parallels = (struct parallels_image *)image;
	uint64_t index = offset / image->unit, inside = offset % image->unit;
	uint32_t entry = index < parallels->entries ? parallels->table[index] : 0;
	run->length = image->unit - inside;
	run->kind = entry ? RUN_DATA : RUN_ABSENT;
	run->file = image->node.file;
	run->host = entry * parallels->multiplier + inside;
	return 0;
}

static const struct mapped_ops parallels_ops = {.map = parallels_map};

static bool parse_header(struct parallels_image *parallels, const uint8_t *bytes, GError **error)
{
	uint64_t cluster = le32_load(bytes + AT_CLUSTER) * UINT64_C(512);
	uint64_t sectors = le64_load(bytes + AT_SECTORS);
	if (!is_old(bytes) && !is_new(bytes))
		return error_set(error, BERTH_ERR_INVALID, "Image not in Parallels format");
	if (le32_load(bytes + AT_VERSION) != 2)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "Parallels version %u is not supported",
				 le32_load(bytes + AT_VERSION));
	if (is_old(bytes))
		sectors &= UINT32_MAX;
	parallels->entries = le32_load(bytes + AT_ENTRIES);
	parallels->multiplier = is_old(bytes) ? 512 : cluster;
	if (cluster == 0 || cluster > (UINT64_C(1) << 30))
		return error_set(error, BERTH_ERR_INVALID, "Invalid image: Zero or too large sectors per track");
	if (parallels->entries > MAX_ENTRIES)
		return error_set(error, BERTH_ERR_INVALID, "Catalog too large");
	if (sectors > (uint64_t)INT64_MAX / 512)
		return error_set(error, BERTH_ERR_INVALID, "the Parallels image's disk size is wrong");
	mapped_init(&parallels->mapped, &parallels_ops, sectors * 512, cluster);
	return true;
}

static bool parallels_open(struct block_node *node, json_t *dict, GError **error)
{
	struct parallels_image *parallels = (struct parallels_image *)node;
	uint8_t bytes[HEADER_SIZE];
	node->file = block_open_child(node, dict, "file", NULL, error);
	if (!node->file || !format_read(node->file, 0, bytes, sizeof(bytes), error) ||
	    !parse_header(parallels, bytes, error))
		return false;
	if (!node->readonly)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "Parallels images can only be read: convert it, or open it read-only");
	parallels->table = format_load(node->file, HEADER_SIZE, parallels->entries * UINT64_C(4),
				       "cluster table", error);
	for (uint32_t i = 0; parallels->table && i < parallels->entries; i++)
		parallels->table[i] = le32_load(&parallels->table[i]);
	return parallels->table;
}

static void parallels_close(struct block_node *node)
{
	g_free(((struct parallels_image *)node)->table);
}

static unsigned parallels_probe(const uint8_t *head, size_t length, const char *filename)
{
	return length >= HEADER_SIZE && (is_old(head) || is_new(head)) &&
	       le32_load(head + AT_VERSION) == 2 ? 100 : 0;
}

const struct block_driver block_parallels_driver = {
	.name = "parallels",
	.kind = BLOCK_FORMAT,
	.node_size = sizeof(struct parallels_image),
	.probe = parallels_probe,
	.open = parallels_open,
	.close = parallels_close,
	.perform = mapped_perform,
	.status = mapped_status,
	.info = mapped_plain_info,
};
