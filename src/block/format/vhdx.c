/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHDX images, dynamic and fixed. The block table is in memory; its changes go through the log
 * (vhdx_log.c), after the block's bytes are on stable storage.
 */
#include "block/format/vhdx.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/core/drivers.h"

#include <errno.h>

/* 64 TiB in blocks of 1 MiB: 512 MiB of table would be needed; most have some KiB. */
#define MAX_TABLE (UINT64_C(128) << 20)

static uint64_t entry_of(const struct vhdx_image *vhdx, uint64_t offset)
{
	uint64_t index = vhdx_entry_index(&vhdx->metadata, offset / vhdx->metadata.block_size);
	return le64_load(vhdx->table + index * 8);
}

static int vhdx_map(struct mapped *image, uint64_t offset, uint64_t length, struct run *run)
{
	struct vhdx_image *vhdx = (struct vhdx_image *)image;
	uint64_t entry = entry_of(vhdx, offset), inside = offset % image->unit;
	run->length = image->unit - inside;
	switch (vhdx_entry_state(entry)) {
	case VHDX_NOT_PRESENT:
	case VHDX_UNDEFINED:
	case VHDX_ZERO:
	case VHDX_UNMAPPED:
		run->kind = RUN_ZERO;
		return 0;
	case VHDX_FULL:
		run->kind = RUN_DATA;
		run->file = image->node.file;
		run->host = vhdx_entry_offset(entry) + inside;
		return 0;
	default: /* PARTIAL is for images with a parent */
		return -EIO;
	}
}

static int vhdx_place(struct mapped *image, uint64_t offset, struct run *run)
{
	struct vhdx_image *vhdx = (struct vhdx_image *)image;
	run->host = vhdx->end;
	int rc = format_grow(image->node.file, vhdx->end + image->unit);
	if (rc == 0)
		vhdx->end += image->unit;
	return rc;
}

static int vhdx_enter(struct mapped *image, uint64_t offset, const struct run *run)
{
	struct vhdx_image *vhdx = (struct vhdx_image *)image;
	uint64_t at = vhdx_entry_index(&vhdx->metadata, offset / image->unit) * 8;
	uint64_t sector = align_down(at, VHDX_LOG_SECTOR), old = le64_load(vhdx->table + at);
	le64_store(vhdx->table + at, run->host | VHDX_FULL);
	int rc = vhdx_log_write(vhdx, vhdx->regions.table.offset + sector, vhdx->table + sector);
	if (rc < 0)
		le64_store(vhdx->table + at, old);
	return rc;
}

int vhdx_write_header(struct vhdx_image *vhdx)
{
	uint8_t bytes[VHDX_HEADER_SIZE];
	struct block_node *file = vhdx->mapped.node.file;
	vhdx->header.sequence++;
	vhdx->current = !vhdx->current;
	vhdx_header_format(&vhdx->header, bytes);
	int rc = block_pwrite(file, vhdx->current ? VHDX_HEADER2 : VHDX_HEADER1, bytes, sizeof(bytes));
	return rc < 0 ? rc : block_flush(file);
}

static void new_guid(struct vhdx_guid *guid)
{
	format_new_uuid(guid->bytes);
}

/* Say in the header, before anything else, that contents change and that there is a log. */
static int vhdx_begin_changes(struct mapped *image)
{
	struct vhdx_image *vhdx = (struct vhdx_image *)image;
	new_guid(&vhdx->header.file_write);
	new_guid(&vhdx->header.data_write);
	new_guid(&vhdx->header.log);
	int rc = vhdx_write_header(vhdx);
	return rc < 0 ? rc : vhdx_write_header(vhdx); /* both copies, 2.2.2.1 */
}

static const struct mapped_ops vhdx_ops = {
	.map = vhdx_map,
	.place = vhdx_place,
	.enter = vhdx_enter,
	.begin_changes = vhdx_begin_changes,
};

/* --- opening --------------------------------------------------------------------------------------- */

static bool load_headers(struct vhdx_image *vhdx, GError **error)
{
	struct block_node *file = vhdx->mapped.node.file;
	uint8_t bytes[VHDX_HEADER_SIZE];
	struct vhdx_header headers[2] = {0};
	bool good[2];
	for (unsigned i = 0; i < 2; i++) {
		if (!format_read(file, i ? VHDX_HEADER2 : VHDX_HEADER1, bytes, sizeof(bytes), error))
			return false;
		good[i] = vhdx_header_parse(&headers[i], bytes);
	}
	if (!good[0] && !good[1])
		return error_set(error, BERTH_ERR_INVALID, "No valid VHDX header found");
	vhdx->current = !good[0] || (good[1] && headers[1].sequence > headers[0].sequence);
	vhdx->header = headers[vhdx->current];
	if (vhdx->header.log_length == 0 || vhdx->header.log_length % VHDX_MIB ||
	    vhdx->header.log_offset < VHDX_MIB || vhdx->header.log_offset % VHDX_MIB ||
	    !range_fits(vhdx->header.log_offset, vhdx->header.log_length, block_size(file)))
		return error_set(error, BERTH_ERR_INVALID, "the VHDX image's log lies outside of the file");
	return true;
}

static bool load_regions(struct vhdx_image *vhdx, GError **error)
{
	struct block_node *file = vhdx->mapped.node.file;
	g_autofree uint8_t *bytes = format_load(file, VHDX_REGIONS1, VHDX_TABLE_SIZE, "region table", error);
	if (!bytes)
		return false;
	if (vhdx_regions_parse(&vhdx->regions, bytes, block_size(file), NULL))
		return true;
	return format_read(file, VHDX_REGIONS2, bytes, VHDX_TABLE_SIZE, error) &&
	       vhdx_regions_parse(&vhdx->regions, bytes, block_size(file), error);
}

static bool load_metadata(struct vhdx_image *vhdx, GError **error)
{
	/* Items lie in the first MiB; a longer region is room. */
	uint32_t length = MIN(vhdx->regions.metadata.length, VHDX_MIB);
	g_autofree uint8_t *bytes = format_load(vhdx->mapped.node.file, vhdx->regions.metadata.offset, length,
						"metadata", error);
	return bytes && vhdx_metadata_parse(&vhdx->metadata, bytes, length, error);
}

/* Every block must lie in the file, and the next one goes behind the last. */
static bool look_at_table(struct vhdx_image *vhdx, GError **error)
{
	uint64_t size = block_size(vhdx->mapped.node.file);
	vhdx->end = align_up(size, VHDX_MIB);
	for (uint64_t at = 0; at < vhdx->metadata.disk_size; at += vhdx->metadata.block_size) {
		uint64_t entry = entry_of(vhdx, at), offset = vhdx_entry_offset(entry);
		uint64_t used = MIN(vhdx->metadata.block_size, vhdx->metadata.disk_size - at);
		if (vhdx_entry_state(entry) == VHDX_FULL &&
		    (offset < VHDX_MIB || !range_fits(offset, used, size)))
			return error_set(error, BERTH_ERR_INVALID,
					 "a block of the VHDX image lies outside of the file");
	}
	return true;
}

static bool load_table(struct vhdx_image *vhdx, GError **error)
{
	uint64_t needed = vhdx_entry_count(&vhdx->metadata) * 8;
	vhdx->table_bytes = align_up(MAX(needed, 1), VHDX_LOG_SECTOR);
	if (needed > vhdx->regions.table.length || needed > MAX_TABLE)
		return error_set(error, BERTH_ERR_INVALID, "the VHDX image's block table is too %s",
				 needed > MAX_TABLE ? "long" : "short");
	vhdx->table = format_load(vhdx->mapped.node.file, vhdx->regions.table.offset, vhdx->table_bytes,
				  "block table", error);
	return vhdx->table && look_at_table(vhdx, error);
}

static bool vhdx_open(struct block_node *node, json_t *dict, GError **error)
{
	struct vhdx_image *vhdx = (struct vhdx_image *)node;
	node->file = block_open_child(node, dict, "file", NULL, error);
	if (!node->file || !load_headers(vhdx, error))
		return false;
	bool writable = !node->readonly && !node->file->readonly;
	if (!vhdx_log_replay(vhdx, writable, error) || !load_regions(vhdx, error) ||
	    !load_metadata(vhdx, error) || !load_table(vhdx, error)) {
		g_clear_pointer(&vhdx->table, g_free);
		return false;
	}
	mapped_init(&vhdx->mapped, &vhdx_ops, vhdx->metadata.disk_size, vhdx->metadata.block_size);
	node->limits.logical_block = vhdx->metadata.logical_sector;
	return true;
}

static void vhdx_close(struct block_node *node)
{
	struct vhdx_image *vhdx = (struct vhdx_image *)node;
	if (vhdx->mapped.changed && block_flush(node->file) == 0) {
		vhdx->header.log = (struct vhdx_guid){0};
		if (vhdx_write_header(vhdx) == 0)
			vhdx_write_header(vhdx);
	}
	g_free(vhdx->table);
}

static bool vhdx_info(struct block_node *node, json_t *info, GError **error)
{
	json_object_set_new(info, "cluster-size", json_integer(((struct mapped *)node)->unit));
	return true;
}

/* Opening has checked the table and replayed the log: whoever is here has a sound image. */
static bool vhdx_check(struct block_node *node, struct block_check *check, GError **error)
{
	struct vhdx_image *vhdx = (struct vhdx_image *)node;
	g_autoptr(GHashTable) seen = g_hash_table_new(g_direct_hash, g_direct_equal);
	for (uint64_t at = 0; at < node->size; at += vhdx->metadata.block_size) {
		uint64_t entry = entry_of(vhdx, at);
		gpointer mib = GSIZE_TO_POINTER(vhdx_entry_offset(entry) / VHDX_MIB);
		if (vhdx_entry_state(entry) == VHDX_FULL && !g_hash_table_add(seen, mib))
			format_check_error(check, "ERROR: two blocks lie at MiB %" G_GUINT64_FORMAT,
					   vhdx_entry_offset(entry) / VHDX_MIB);
		if (vhdx_entry_state(entry) == VHDX_PARTIAL)
			format_check_error(check, "ERROR: a block is said to lie partly in a parent");
	}
	return true;
}

static unsigned vhdx_probe(const uint8_t *head, size_t length, const char *filename)
{
	return length >= 8 && memcmp(head, "vhdxfile", 8) == 0 ? 100 : 0;
}

const struct block_driver block_vhdx_driver = {
	.name = "vhdx",
	.kind = BLOCK_FORMAT,
	.node_size = sizeof(struct vhdx_image),
	.probe = vhdx_probe,
	.open = vhdx_open,
	.close = vhdx_close,
	.perform = mapped_perform,
	.status = mapped_status,
	.info = vhdx_info,
	.check = vhdx_check,
	.create_options = vhdx_options,
	.create = vhdx_create,
};
