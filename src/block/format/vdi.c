/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VDI images: the whole map is in memory (4 bytes for each MiB of disk). A new block goes behind the
 * last one; its bytes are written first, then the header's count and the map's entry, so that an
 * interrupted write leaves at worst a block that nothing names.
 */
#include "block/core/drivers.h"
#include "block/format/mapped.h"
#include "block/format/vdi_layout.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/core/options.h"

#include <errno.h>

#define AT_ALLOCATED 0x184
#define NEAR         65536

struct vdi_image {
	struct mapped mapped;
	struct vdi_header header;
	uint8_t head[VDI_HEADER_SIZE];
	uint32_t *map;    /* host order */
	uint64_t certain; /* how long the file is also after a power cut */
};

static uint64_t host_of(const struct vdi_image *vdi, uint32_t block)
{
	return vdi->header.data_offset + (uint64_t)block * VDI_BLOCK_SIZE;
}

static int vdi_map(struct mapped *image, uint64_t offset, uint64_t length, struct run *run)
{
	struct vdi_image *vdi = (struct vdi_image *)image;
	uint32_t entry = vdi->map[offset / VDI_BLOCK_SIZE];
	run->length = VDI_BLOCK_SIZE - offset % VDI_BLOCK_SIZE;
	/* VDI without a parent: what was never written reads as zeroes by definition. */
	run->kind = entry >= VDI_ZERO ? RUN_ZERO : RUN_DATA;
	run->file = image->node.file;
	run->flat = vdi->header.fixed;
	run->host = entry >= VDI_ZERO ? 0 : host_of(vdi, entry) + offset % VDI_BLOCK_SIZE;
	return 0;
}

static int vdi_place(struct mapped *image, uint64_t offset, struct run *run)
{
	struct vdi_image *vdi = (struct vdi_image *)image;
	if (vdi->header.allocated >= vdi->header.blocks)
		return -EIO; /* the header's count is wrong: check says where */
	run->host = host_of(vdi, vdi->header.allocated);
	/* The flush keeps the entries in order too: with the last but one lost, a block would be missing
	 * among those that are counted. */
	return format_reserve(image->node.file, run->host + VDI_BLOCK_SIZE, 1, &vdi->certain);
}

/*
 * The header's count and the map's entry in one write where they lie near to each other, so that
 * only a power failure can part them; else count first, and load_map() puts right what a crash left.
 */
static int write_count_and_entry(struct vdi_image *vdi, uint32_t index)
{
	struct block_node *file = vdi->mapped.node.file;
	uint64_t entry_at = vdi->header.map_offset + UINT64_C(4) * index;
	uint8_t bytes[4];
	if (entry_at - AT_ALLOCATED <= NEAR && vdi->header.map_offset == VDI_HEADER_SIZE) {
		uint64_t length = entry_at + 4 - AT_ALLOCATED, map_at = VDI_HEADER_SIZE - AT_ALLOCATED;
		g_autofree uint8_t *both = g_malloc(length);
		memcpy(both, vdi->head + AT_ALLOCATED, map_at);
		le32_store(both, vdi->header.allocated);
		for (uint32_t i = 0; i <= index; i++)
			le32_store(both + map_at + UINT64_C(4) * i, vdi->map[i]);
		return block_pwrite(file, AT_ALLOCATED, both, length);
	}
	le32_store(bytes, vdi->header.allocated);
	int rc = block_pwrite(file, AT_ALLOCATED, bytes, sizeof(bytes));
	le32_store(bytes, vdi->map[index]);
	return rc < 0 ? rc : block_pwrite(file, entry_at, bytes, sizeof(bytes));
}

static int vdi_enter(struct mapped *image, uint64_t offset, const struct run *run)
{
	struct vdi_image *vdi = (struct vdi_image *)image;
	uint32_t index = offset / VDI_BLOCK_SIZE, old = vdi->map[index];
	vdi->map[index] = (run->host - vdi->header.data_offset) / VDI_BLOCK_SIZE;
	vdi->header.allocated = vdi->map[index] + 1;
	int rc = write_count_and_entry(vdi, index);
	if (rc < 0)
		vdi->map[index] = old; /* the block is lost until a repair; nothing names it */
	return rc;
}

static const struct mapped_ops vdi_ops = {
	.map = vdi_map,
	.place = vdi_place,
	.enter = vdi_enter,
};

static void vdi_close(struct block_node *node)
{
	g_free(((struct vdi_image *)node)->map);
}

static bool load_map(struct vdi_image *vdi, GError **error)
{
	struct block_node *node = &vdi->mapped.node;
	uint32_t last = 0;
	vdi->map = format_load(node->file, vdi->header.map_offset, UINT64_C(4) * vdi->header.blocks,
			       "block map", error);
	for (uint32_t i = 0; vdi->map && i < vdi->header.blocks; i++) {
		vdi->map[i] = le32_load(&vdi->map[i]);
		if (vdi->map[i] < vdi->header.blocks)
			last = MAX(last, vdi->map[i] + 1);
	}
	/* A crash may have left the count too high or too low: a writer goes on behind the last block. */
	if (!node->readonly && !node->options.check_later)
		vdi->header.allocated = last;
	return vdi->map;
}

static bool vdi_open(struct block_node *node, json_t *dict, GError **error)
{
	struct vdi_image *vdi = (struct vdi_image *)node;
	node->file = block_open_child(node, dict, "file", NULL, error);
	if (!node->file || !format_read(node->file, 0, vdi->head, sizeof(vdi->head), error) ||
	    !vdi_header_parse(&vdi->header, vdi->head, block_size(node->file), error))
		return false;
	vdi->certain = block_size(node->file);
	mapped_init(&vdi->mapped, &vdi_ops, vdi->header.disk_size, VDI_BLOCK_SIZE);
	return load_map(vdi, error);
}

/* Blocks that lie outside of what is allocated, or that two entries name. */
static bool vdi_check(struct block_node *node, struct block_check *check, GError **error)
{
	struct vdi_image *vdi = (struct vdi_image *)node;
	uint32_t blocks = vdi->header.blocks, found = 0;
	if (check->fix)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "VDI images cannot be repaired, only checked: leave out -r");
	g_autofree uint32_t *owner = g_try_new(uint32_t, MAX(blocks, 1));
	if (!owner)
		return error_set(error, BERTH_ERR_IO, "not enough memory to check a VDI image");
	memset(owner, 0xff, sizeof(*owner) * blocks);
	for (uint32_t i = 0; i < blocks; i++) {
		uint32_t entry = vdi->map[i];
		if (entry >= VDI_ZERO)
			continue;
		if (entry >= blocks) {
			format_check_error(check, "ERROR: block index %u out of range, is %u", i, entry);
			continue;
		}
		found++;
		if (owner[entry] != VDI_ABSENT)
			format_check_error(check, "ERROR: block index %u also used by %u", entry, i);
		owner[entry] = i;
	}
	if (found != vdi->header.allocated)
		format_check_error(check, "ERROR: allocated blocks mismatch, is %u, should be %u", found,
				   vdi->header.allocated);
	return true;
}

static bool vdi_create(const struct block_create *create, GError **error)
{
	struct vdi_header header;
	uint8_t bytes[VDI_HEADER_SIZE];
	bool fixed = false;
	if (!block_take_bool(create->options, "static", &fixed, error) ||
	    !vdi_header_plan(&header, create->size, fixed, error))
		return false;
	vdi_header_format(&header, bytes);
	uint64_t map_bytes = header.data_offset - header.map_offset;
	g_autofree uint8_t *map = g_malloc0(MAX(map_bytes, 1));
	for (uint32_t i = 0; i < header.blocks; i++)
		le32_store(map + UINT64_C(4) * i, fixed ? i : VDI_ABSENT);
	uint64_t end = header.data_offset + (fixed ? (uint64_t)header.blocks * VDI_BLOCK_SIZE : 0);
	return format_write(create->file, 0, bytes, sizeof(bytes), error) &&
	       format_write(create->file, header.map_offset, map, map_bytes, error) &&
	       format_grow_or_fail(create->file, end, error);
}

static bool vdi_info(struct block_node *node, json_t *info, GError **error)
{
	json_object_set_new(info, "cluster-size", json_integer(VDI_BLOCK_SIZE));
	return true;
}

static unsigned vdi_probe(const uint8_t *head, size_t length, const char *filename)
{
	return length >= 0x44 && le32_load(head + 0x40) == UINT32_C(0xbeda107f) ? 100 : 0;
}

static const struct block_option vdi_options[] = {
	{"size", "size", "Virtual disk size"},
	{"static", "bool", "VDI static (pre-allocated) image"},
	{0},
};

const struct block_driver block_vdi_driver = {
	.name = "vdi",
	.kind = BLOCK_FORMAT,
	.node_size = sizeof(struct vdi_image),
	.probe = vdi_probe,
	.open = vdi_open,
	.close = vdi_close,
	.perform = mapped_perform,
	.status = mapped_status,
	.info = vdi_info,
	.check = vdi_check,
	.create_options = vdi_options,
	.create = vdi_create,
};
