/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VMDK images at work: which extent, which grain. A grain's entry is written to both copies of its
 * table, the redundant one first, so that a crash between the two leaves the used one as it was.
 */
#include "block/core/drivers.h"
#include "block/format/vmdk.h"

#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>
#include <sys/stat.h>
#include <zlib.h>

#define SECTOR      UINT64_C(512)
#define MARKER_SIZE 12 /* u64 sector of the disk, u32 length */
#define RESERVE     (1 << 20) /* bytes by which a file grows: a flush for 16 grains */

static struct vmdk_extent *extent_at(struct vmdk_image *vmdk, uint64_t offset)
{
	unsigned low = 0, high = vmdk->extents->len;
	while (high - low > 1) {
		unsigned middle = (low + high) / 2;
		if (g_array_index(vmdk->extents, struct vmdk_extent, middle).start <= offset)
			low = middle;
		else
			high = middle;
	}
	return &g_array_index(vmdk->extents, struct vmdk_extent, low);
}

static uint64_t grain_bytes(const struct vmdk_extent *extent)
{
	return extent->sparse.grain * SECTOR;
}

/* The indexes of a byte of the extent in the directory and in its table. */
static void indexes(const struct vmdk_extent *extent, uint64_t inside, uint32_t *directory,
		    uint32_t *table)
{
	uint64_t grain = inside / grain_bytes(extent);
	*directory = grain / extent->sparse.table_entries;
	*table = grain % extent->sparse.table_entries;
}

/* The sector where a grain lies; 0 absent, VMDK_ZERO_GRAIN if such grains exist here. */
static int find_grain(struct vmdk_extent *extent, uint64_t inside, uint32_t *sector)
{
	uint32_t directory, index;
	void *table;
	indexes(extent, inside, &directory, &index);
	*sector = 0;
	if (extent->directory[directory] == 0)
		return 0;
	int rc = table_cache_load(&extent->tables, extent->directory[directory] * SECTOR, &table);
	if (rc == 0)
		*sector = le32_load((uint32_t *)table + index);
	return rc;
}

static int vmdk_map(struct mapped *image, uint64_t offset, uint64_t length, struct run *run)
{
	struct vmdk_extent *extent = extent_at((struct vmdk_image *)image, offset);
	uint64_t inside = offset - extent->start;
	uint32_t sector;
	run->file = extent->file;
	run->length = extent->length - inside;
	if (!extent->directory) {
		run->kind = extent->file ? RUN_DATA : RUN_ZERO;
		run->flat = extent->file;
		run->host = extent->flat_offset + inside;
		return 0;
	}
	int rc = find_grain(extent, inside, &sector);
	uint64_t in_grain = inside % grain_bytes(extent);
	bool zero = sector == VMDK_ZERO_GRAIN && extent->sparse.flags & VMDK_ZEROED_GRAINS;
	run->length = MIN(run->length, grain_bytes(extent) - in_grain);
	run->kind = sector == 0 ? RUN_ABSENT
		    : zero	  ? RUN_ZERO
		    : extent->sparse.flags & VMDK_COMPRESSED ? RUN_CODED : RUN_DATA;
	run->host = sector * SECTOR + in_grain;
	return rc;
}

/* --- compressed grains ---------------------------------------------------------------------------- */

/* Inflate `packed` to exactly `length` bytes; a shorter grain ends in zeroes. */
static int inflate_grain(const uint8_t *packed, uint32_t packed_length, uint8_t *bytes, uLongf length)
{
	uLongf n = length;
	if (uncompress(bytes, &n, packed, packed_length) != Z_OK)
		return -EIO;
	memset(bytes + n, 0, length - n);
	return 0;
}

static int read_grain(struct vmdk_extent *extent, uint32_t sector, uint8_t *grain)
{
	bool markers = extent->sparse.flags & VMDK_MARKERS;
	uint64_t at = sector * SECTOR;
	uint32_t length = grain_bytes(extent);
	uint8_t marker[MARKER_SIZE];
	if (markers) {
		int rc = block_pread(extent->file, at, marker, sizeof(marker));
		if (rc < 0)
			return rc;
		length = le32_load(marker + 8);
		at += MARKER_SIZE;
	}
	/* Deflate never makes a grain much longer than it was. */
	if (length == 0 || length > 2 * grain_bytes(extent) ||
	    !range_fits(at, markers ? length : 1, block_size(extent->file)))
		return -EIO;
	length = MIN(length, block_size(extent->file) - at);
	g_autofree uint8_t *packed = g_malloc(length);
	int rc = block_pread(extent->file, at, packed, length);
	return rc < 0 ? rc : inflate_grain(packed, length, grain, grain_bytes(extent));
}

static int vmdk_read_coded(struct mapped *image, uint64_t offset, void *bytes, uint64_t length)
{
	struct vmdk_extent *extent = extent_at((struct vmdk_image *)image, offset);
	uint64_t inside = offset - extent->start, in_grain = inside % grain_bytes(extent);
	g_autofree uint8_t *grain = g_malloc(grain_bytes(extent));
	uint32_t sector;
	int rc = find_grain(extent, inside, &sector);
	if (rc == 0)
		rc = read_grain(extent, sector, grain);
	if (rc == 0)
		memcpy(bytes, grain + in_grain, length);
	return rc;
}

/* --- writing --------------------------------------------------------------------------------------- */

static int write_entry(struct vmdk_extent *extent, const uint32_t *directory, uint32_t directory_index,
		       uint32_t index, uint32_t sector)
{
	uint8_t le[4];
	le32_store(le, sector);
	if (!directory || directory[directory_index] == 0)
		return 0;
	return block_pwrite(extent->file, directory[directory_index] * SECTOR + index * UINT64_C(4), le, 4);
}

static int set_grain(struct vmdk_extent *extent, uint64_t inside, uint32_t sector)
{
	uint32_t directory, index;
	void *table;
	indexes(extent, inside, &directory, &index);
	if (extent->directory[directory] == 0)
		return -ENOTSUP; /* tables are made with the image; nobody leaves them out */
	int rc = table_cache_load(&extent->tables, extent->directory[directory] * SECTOR, &table);
	if (rc == 0)
		rc = write_entry(extent, extent->redundant, directory, index, sector);
	if (rc == 0)
		rc = write_entry(extent, extent->directory, directory, index, sector);
	if (rc == 0)
		le32_store((uint32_t *)table + index, sector);
	return rc;
}

static int vmdk_place(struct mapped *image, uint64_t offset, struct run *run)
{
	struct vmdk_extent *extent = extent_at((struct vmdk_image *)image, offset);
	if (!extent->directory)
		return -EROFS; /* a ZERO extent */
	run->file = extent->file;
	run->host = align_up(extent->end, grain_bytes(extent));
	if (run->host / SECTOR > UINT32_MAX)
		return -EFBIG;
	int rc = format_reserve(extent->file, run->host + grain_bytes(extent), RESERVE, &extent->certain);
	if (rc == 0)
		extent->end = run->host + grain_bytes(extent);
	return rc;
}

static int vmdk_enter(struct mapped *image, uint64_t offset, const struct run *run)
{
	struct vmdk_extent *extent = extent_at((struct vmdk_image *)image, offset);
	return set_grain(extent, offset - extent->start, run->host / SECTOR);
}

static int vmdk_zero_unit(struct mapped *image, uint64_t offset)
{
	struct vmdk_extent *extent = extent_at((struct vmdk_image *)image, offset);
	static const uint8_t zeroes[65536];
	if (extent->directory && extent->sparse.flags & VMDK_ZEROED_GRAINS)
		return set_grain(extent, offset - extent->start, VMDK_ZERO_GRAIN);
	/* Without zeroed grains, zeroes are bytes. */
	struct run run = {0};
	int rc = vmdk_map(image, offset, image->unit, &run);
	uint64_t n = MIN(image->unit, image->node.size - offset);
	if (rc == 0 && run.kind != RUN_DATA) {
		rc = vmdk_place(image, offset, &run);
		return rc == 0 ? vmdk_enter(image, offset, &run) : rc; /* new room is zeroes */
	}
	for (uint64_t at = 0; rc == 0 && at < n; at += sizeof(zeroes))
		rc = block_pwrite(run.file, run.host + at, zeroes, MIN(sizeof(zeroes), n - at));
	return rc;
}

/* Append one grain behind a marker; stream-optimized images are written once, front to back. */
static int vmdk_write_coded(struct mapped *image, uint64_t offset, const void *bytes, uint64_t length)
{
	struct vmdk_extent *extent = extent_at((struct vmdk_image *)image, offset);
	uint64_t inside = offset - extent->start, grain = grain_bytes(extent);
	uint32_t sector;
	if (!extent->directory || !(extent->sparse.flags & VMDK_COMPRESSED))
		return -ENOTSUP;
	int rc = find_grain(extent, inside, &sector);
	if (rc < 0 || sector)
		return rc < 0 ? rc : -EIO;
	uLongf packed_length = compressBound(grain);
	uint64_t room = align_up(MARKER_SIZE + packed_length, SECTOR);
	g_autofree uint8_t *whole = g_malloc0(grain), *packed = g_malloc0(room);
	memcpy(whole, bytes, length);
	if (compress(packed + MARKER_SIZE, &packed_length, whole, grain) != Z_OK)
		return -EIO;
	le64_store(packed, inside / SECTOR);
	le32_store(packed + 8, packed_length);
	uint64_t used = align_up(MARKER_SIZE + packed_length, SECTOR), at = align_up(extent->end, SECTOR);
	if (at / SECTOR > UINT32_MAX)
		return -EFBIG;
	memset(packed + MARKER_SIZE + packed_length, 0, used - MARKER_SIZE - packed_length);
	rc = block_pwrite(extent->file, at, packed, used);
	if (rc == 0)
		rc = set_grain(extent, inside, at / SECTOR);
	if (rc == 0)
		extent->end = at + used;
	return rc;
}

/* The content id says that the contents have changed: snapshots and other programs compare it. */
static int vmdk_begin_changes(struct mapped *image)
{
	struct vmdk_image *vmdk = (struct vmdk_image *)image;
	g_autofree char *text = g_malloc0(vmdk->descriptor_length + 1);
	int rc = block_pread(image->node.file, vmdk->descriptor_offset, text, vmdk->descriptor_length);
	char *cid = rc == 0 ? strstr(text, "\nCID=") : NULL;
	if (rc < 0 || !cid || strlen(cid) < 13)
		return rc;
	char digits[9];
	vmdk->cid = g_random_int_range(1, INT32_MAX);
	g_snprintf(digits, sizeof(digits), "%08x", vmdk->cid);
	return block_pwrite(image->node.file, vmdk->descriptor_offset + (cid + 5 - text), digits, 8);
}

const struct mapped_ops vmdk_ops = {
	.map = vmdk_map,
	.read_coded = vmdk_read_coded,
	.place = vmdk_place,
	.enter = vmdk_enter,
	.zero_unit = vmdk_zero_unit,
	.begin_changes = vmdk_begin_changes,
	.write_coded = vmdk_write_coded,
};

/* --- the driver ------------------------------------------------------------------------------------ */

static json_t *extent_info(const struct vmdk_extent *extent, bool embedded)
{
	json_t *info = json_object();
	bool sparse = extent->directory;
	const char *filename = extent->file ? block_filename(extent->file) : "";
	json_object_set_new(info, "filename", json_string(filename));
	json_object_set_new(info, "format",
			    json_string(embedded ? "" : vmdk_extent_type_name(extent->type)));
	json_object_set_new(info, "virtual-size", json_integer(extent->length));
	if (sparse)
		json_object_set_new(info, "cluster-size", json_integer(grain_bytes(extent)));
	if (sparse && extent->sparse.flags & VMDK_COMPRESSED)
		json_object_set_new(info, "compressed", json_true());
	return info;
}

static bool vmdk_info(struct block_node *node, json_t *info, GError **error)
{
	struct vmdk_image *vmdk = (struct vmdk_image *)node;
	json_t *data = json_object(), *extents = json_array();
	bool sparse = false;
	int64_t actual = json_integer_value(json_object_get(info, "actual-size"));
	for (unsigned i = 0; i < vmdk->extents->len; i++) {
		struct stat st;
		const struct vmdk_extent *extent = &g_array_index(vmdk->extents, struct vmdk_extent, i);
		json_array_append_new(extents, extent_info(extent, extent->file == node->file));
		sparse |= extent->directory != NULL;
		if (extent->file && extent->file != node->file &&
		    stat(block_filename(extent->file), &st) == 0)
			actual += st.st_blocks * INT64_C(512);
	}
	json_object_set_new(info, "actual-size", json_integer(actual));
	json_object_set_new(data, "cid", json_integer(vmdk->cid));
	json_object_set_new(data, "parent-cid", json_integer(vmdk->parent_cid));
	json_object_set_new(data, "create-type", json_string(vmdk->create_type));
	json_object_set_new(data, "extents", extents);
	json_object_set_new(info, "format-specific",
			    json_pack("{s:s, s:o}", "type", "vmdk", "data", data));
	if (sparse)
		json_object_set_new(info, "cluster-size", json_integer(vmdk->mapped.unit));
	return true;
}

/* Every grain that a table names must lie inside its file. */
static bool vmdk_check(struct block_node *node, struct block_check *check, GError **error)
{
	struct vmdk_image *vmdk = (struct vmdk_image *)node;
	if (check->fix)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "VMDK images cannot be repaired, only checked: leave out -r");
	for (uint64_t at = 0; at < node->size;) {
		struct run run = {0};
		int rc = vmdk_map(&vmdk->mapped, at, node->size - at, &run);
		if (rc < 0) {
			format_check_error(check, "ERROR: could not read the table for byte %" G_GUINT64_FORMAT,
					   at);
			run.length = MIN(vmdk->mapped.unit, node->size - at);
		} else if (run.kind == RUN_DATA &&
			   !range_fits(run.host, run.length, block_size(run.file))) {
			format_check_error(check, "ERROR: cannot find bytes %" G_GUINT64_FORMAT
					   " behind the end of '%s'", at, block_filename(run.file));
		}
		at += run.length;
	}
	return true;
}

static unsigned vmdk_probe(const uint8_t *head, size_t length, const char *filename)
{
	static const char text[] = "# Disk DescriptorFile";
	if (length >= 4 && (memcmp(head, "KDMV", 4) == 0 || memcmp(head, "COWD", 4) == 0))
		return 100;
	return length >= sizeof(text) - 1 && memcmp(head, text, sizeof(text) - 1) == 0 ? 100 : 0;
}

static const struct block_option vmdk_options[] = {
	{"adapter_type", "str",
	 "Virtual adapter type, can be one of ide (default), lsilogic, buslogic or legacyESX"},
	{"backing_file", "str", "File name of a base image"},
	{"backing_fmt", "str", "Must be 'vmdk' if present"},
	{"compat6", "bool", "VMDK version 6 image"},
	{"hwversion", "str", "VMDK hardware version"},
	{"size", "size", "Virtual disk size"},
	{"subformat", "str",
	 "VMDK flat extent format, can be one of {monolithicSparse (default) | monolithicFlat | "
	 "twoGbMaxExtentSparse | twoGbMaxExtentFlat | streamOptimized} "},
	{"toolsversion", "str", "VMware guest tools version"},
	{"zeroed_grain", "bool", "Enable efficient zero writes using the zeroed-grain GTE feature"},
	{0},
};

const struct block_driver block_vmdk_driver = {
	.name = "vmdk",
	.kind = BLOCK_FORMAT,
	.node_size = sizeof(struct vmdk_image),
	.probe = vmdk_probe,
	.open = vmdk_open,
	.close = vmdk_close,
	.perform = mapped_perform,
	.status = mapped_status,
	.info = vmdk_info,
	.check = vmdk_check,
	.create_options = vmdk_options,
	.create_bare = true,
	.create = vmdk_create,
};
