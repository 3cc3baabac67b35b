/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compressed loop images, version 2, read-only: behind a shell script of 128 bytes the block size and
 * number, then 64-bit offsets (all big-endian) of zlib streams, one more than blocks.
 */
#include "block/core/drivers.h"
#include "block/format/mapped.h"

#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>
#include <zlib.h>

enum { AT_BLOCK = 128, AT_COUNT = 132, AT_OFFSETS = 136 };
#define MAX_BLOCK  (UINT32_C(64) << 20)
#define MAX_BLOCKS (UINT32_C(1) << 26)

struct cloop_image {
	struct mapped mapped;
	uint64_t *offsets; /* host order; rising, inside the file */
	uint8_t *block;    /* the one that was read last */
	uint64_t held;     /* its number; UINT64_MAX: none */
	struct fiber_mutex reading;
};

static int cloop_map(struct mapped *image, uint64_t offset, uint64_t length, struct run *run)
{
	run->kind = RUN_CODED;
	run->length = image->unit - offset % image->unit;
	return 0;
}

static int load_block(struct cloop_image *cloop, uint64_t number)
{
	uint64_t at = cloop->offsets[number], packed_length = cloop->offsets[number + 1] - at;
	uLongf length = cloop->mapped.unit;
	if (cloop->held == number)
		return 0;
	cloop->held = UINT64_MAX;
	g_autofree uint8_t *packed = g_try_malloc(MAX(packed_length, 1));
	int rc = packed ? block_pread(cloop->mapped.node.file, at, packed, packed_length) : -ENOMEM;
	if (rc == 0 && (uncompress(cloop->block, &length, packed, packed_length) != Z_OK ||
			length != cloop->mapped.unit))
		rc = -EIO;
	if (rc == 0)
		cloop->held = number;
	return rc;
}

static int cloop_read(struct mapped *image, uint64_t offset, void *bytes, uint64_t length)
{
	struct cloop_image *cloop = (struct cloop_image *)image;
	FIBER_LOCK_SCOPE(&cloop->reading);
	int rc = load_block(cloop, offset / image->unit);
	if (rc == 0)
		memcpy(bytes, cloop->block + offset % image->unit, length);
	return rc;
}

static const struct mapped_ops cloop_ops = {.map = cloop_map, .read_coded = cloop_read};

static bool load_offsets(struct cloop_image *cloop, uint32_t block, uint32_t count, GError **error)
{
	struct block_node *file = cloop->mapped.node.file;
	cloop->offsets = format_load(file, AT_OFFSETS, (count + UINT64_C(1)) * 8, "offsets", error);
	for (uint32_t i = 0; cloop->offsets && i <= count; i++) {
		uint64_t offset = cloop->offsets[i] = be64_load(&cloop->offsets[i]);
		uint64_t before = i ? cloop->offsets[i - 1] : offset;
		/* zlib makes nothing longer than by a few bytes in a thousand. */
		if (offset < before || offset > block_size(file) || offset - before > 2 * (uint64_t)block)
			return error_set(error, BERTH_ERR_INVALID, "offsets not monotonically increasing at index "
					 "%u, image file is corrupt", i);
	}
	return cloop->offsets;
}

static void cloop_close(struct block_node *node)
{
	struct cloop_image *cloop = (struct cloop_image *)node;
	g_free(cloop->offsets);
	g_free(cloop->block);
}

static bool cloop_open(struct block_node *node, json_t *dict, GError **error)
{
	struct cloop_image *cloop = (struct cloop_image *)node;
	uint8_t bytes[8];
	node->file = block_open_child(node, dict, "file", NULL, error);
	if (!node->file || !format_read(node->file, AT_BLOCK, bytes, sizeof(bytes), error))
		return false;
	uint32_t block = be32_load(bytes), count = be32_load(bytes + 4);
	if (!node->readonly)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "cloop images can only be read: convert it, or open it read-only");
	if (block == 0 || block % 512 || block > MAX_BLOCK)
		return error_set(error, BERTH_ERR_INVALID, "block_size %u must be a multiple of 512 and 64 MB or "
				 "less", block);
	if (count > MAX_BLOCKS)
		return error_set(error, BERTH_ERR_INVALID, "image requires too many offsets, try increasing block "
				 "size");
	mapped_init(&cloop->mapped, &cloop_ops, (uint64_t)block * count, block);
	cloop->held = UINT64_MAX;
	cloop->block = g_try_malloc(block);
	if (cloop->block && load_offsets(cloop, block, count, error))
		return true;
	if (!cloop->block)
		error_set(error, BERTH_ERR_IO, "not enough memory for a block of a cloop image");
	cloop_close(node);
	return false;
}

static unsigned cloop_probe(const uint8_t *head, size_t length, const char *filename)
{
	static const char magic[] = "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 "
				    "/dev/cloop $1\n";
	return length >= sizeof(magic) - 1 && memcmp(head, magic, sizeof(magic) - 1) == 0 ? 100 : 0;
}

const struct block_driver block_cloop_driver = {
	.name = "cloop",
	.kind = BLOCK_FORMAT,
	.node_size = sizeof(struct cloop_image),
	.probe = cloop_probe,
	.open = cloop_open,
	.close = cloop_close,
	.perform = mapped_perform,
	.status = mapped_status,
	.info = mapped_plain_info,
};
