/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening VMDK images: a file that is one sparse extent (with or without a descriptor inside), or a
 * descriptor that names other files, relative to itself.
 */
#include "block/format/vmdk.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "block/core/options.h"

#include <inttypes.h>

#define SECTOR UINT64_C(512)

static void clear_extent(struct vmdk_extent *extent)
{
	if (extent->directory)
		table_cache_clear(&extent->tables);
	g_free(extent->directory);
	g_free(extent->redundant);
}

/* What was reserved and not used. If it stays, it is only a hole at the end of the file. */
static void give_back(const struct vmdk_extent *extent)
{
	g_autoptr(GError) error = NULL;
	if (extent->directory && !extent->file->readonly && extent->certain > extent->end &&
	    !block_resize(extent->file, extent->end, &error))
		log_warning("%s", error->message);
}

void vmdk_close(struct block_node *node)
{
	struct vmdk_image *vmdk = (struct vmdk_image *)node;
	for (unsigned i = 0; vmdk->extents && i < vmdk->extents->len; i++) {
		give_back(&g_array_index(vmdk->extents, struct vmdk_extent, i));
		clear_extent(&g_array_index(vmdk->extents, struct vmdk_extent, i));
	}
	g_clear_pointer(&vmdk->extents, g_array_unref);
	g_clear_pointer(&vmdk->create_type, g_free);
}

static uint32_t *load_directory(struct vmdk_extent *extent, uint64_t sector, GError **error)
{
	uint64_t entries = extent->sparse.directory_entries;
	uint32_t *directory = format_load(extent->file, sector * SECTOR, entries * 4, "grain directory",
					  error);
	for (uint64_t i = 0; directory && i < entries; i++)
		directory[i] = le32_load(&directory[i]);
	return directory;
}

/* Stream-optimized images may have the final header three sectors before their end. */
static bool read_footer(struct vmdk_extent *extent, GError **error)
{
	uint8_t bytes[VMDK_HEADER_SIZE];
	uint64_t size = align_down(block_size(extent->file), SECTOR);
	struct vmdk_sparse footer;
	if (size < 1536)
		return error_set(error, BERTH_ERR_INVALID, "the VMDK image has no footer: it is cut off");
	if (!format_read(extent->file, size - 1024, bytes, sizeof(bytes), error) ||
	    !vmdk_sparse_parse(&footer, bytes, error))
		return false;
	if (footer.directory == VMDK_GD_AT_END || footer.capacity != extent->sparse.capacity ||
	    footer.grain != extent->sparse.grain)
		return error_set(error, BERTH_ERR_INVALID, "the VMDK image's footer contradicts its header");
	extent->sparse = footer;
	return true;
}

static bool open_sparse(struct vmdk_extent *extent, GError **error)
{
	uint8_t bytes[VMDK_HEADER_SIZE];
	struct vmdk_sparse *sparse = &extent->sparse;
	if (!format_read(extent->file, 0, bytes, sizeof(bytes), error) ||
	    !vmdk_sparse_parse(sparse, bytes, error) ||
	    (sparse->directory == VMDK_GD_AT_END && !read_footer(extent, error)))
		return false;
	if (sparse->directory > UINT32_MAX || sparse->redundant_directory > UINT32_MAX)
		return error_set(error, BERTH_ERR_INVALID, "the VMDK's grain directory lies out of reach");
	if (extent->length > sparse->capacity * SECTOR)
		return error_set(error, BERTH_ERR_INVALID, "a VMDK extent is shorter than its descriptor says");
	extent->directory = load_directory(extent, sparse->directory, error);
	if (!extent->directory)
		return false;
	table_cache_init(&extent->tables, extent->file, sparse->table_entries * UINT64_C(4));
	if (sparse->flags & VMDK_REDUNDANT && sparse->redundant_directory)
		extent->redundant = load_directory(extent, sparse->redundant_directory, error);
	extent->certain = block_size(extent->file);
	extent->end = align_up(extent->certain, SECTOR);
	return extent->redundant || !(sparse->flags & VMDK_REDUNDANT && sparse->redundant_directory);
}

static bool add_extent(struct vmdk_image *vmdk, struct vmdk_extent extent, GError **error)
{
	extent.start = vmdk->mapped.node.size;
	bool sparse = extent.type == VMDK_SPARSE || extent.type == VMDK_VMFS_SPARSE;
	if (sparse && !open_sparse(&extent, error)) {
		clear_extent(&extent);
		return false;
	}
	uint64_t grain = extent.sparse.grain * SECTOR;
	bool misfit = sparse && (vmdk->mapped.unit && vmdk->mapped.unit != grain);
	bool too_large = extent.length > (uint64_t)INT64_MAX - extent.start;
	bool cut = !sparse && extent.file && !extent.file->readonly &&
		   !range_fits(extent.flat_offset, extent.length, align_up(block_size(extent.file), SECTOR));
	if (misfit || too_large || cut || (sparse && extent.start % grain)) {
		clear_extent(&extent);
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "%s",
				 cut ? "a flat VMDK extent is cut off"
				     : "VMDK extents of different grain sizes are not supported");
	}
	if (sparse)
		vmdk->mapped.unit = grain;
	vmdk->mapped.only_coded |= sparse && extent.sparse.flags & VMDK_COMPRESSED;
	vmdk->mapped.node.size += extent.length;
	g_array_append_val(vmdk->extents, extent);
	return true;
}

static bool open_extent_file(struct vmdk_image *vmdk, const struct vmdk_extent_line *line,
			     struct vmdk_extent *extent, json_t *dict, GError **error)
{
	struct block_node *node = &vmdk->mapped.node;
	if (line->type == VMDK_ZERO)
		return true;
	g_autofree char *key = g_strdup_printf("extents.%u", vmdk->extents->len);
	g_autofree char *path = block_path_combine(node->file->filename, line->name);
	extent->file = block_open_child(node, dict, key, path, error);
	if (!extent->file)
		return false;
	if (!node->extra)
		node->extra = g_ptr_array_new();
	g_ptr_array_add(node->extra, extent->file);
	return true;
}

/* Take from the descriptor what the image is; its extents only if they are files of their own. */
static bool apply_descriptor(struct vmdk_image *vmdk, struct vmdk_descriptor *descriptor, bool embedded,
			     json_t *dict, GError **error)
{
	struct block_node *node = &vmdk->mapped.node;
	vmdk->cid = descriptor->cid;
	vmdk->parent_cid = descriptor->parent_cid;
	vmdk->create_type = g_strdup(descriptor->create_type);
	if (descriptor->parent && descriptor->parent_cid != UINT32_MAX) {
		node->backing_name = g_strdup(descriptor->parent);
		node->backing_format = g_strdup("vmdk");
	}
	for (unsigned i = 0; !embedded && i < descriptor->extents->len; i++) {
		const struct vmdk_extent_line *line =
			&g_array_index(descriptor->extents, struct vmdk_extent_line, i);
		struct vmdk_extent extent = {.type = line->type, .length = line->sectors * SECTOR,
					     .flat_offset = line->offset * SECTOR};
		if (!open_extent_file(vmdk, line, &extent, dict, error) ||
		    !add_extent(vmdk, extent, error))
			return false;
	}
	return true;
}

static bool read_descriptor(struct vmdk_image *vmdk, uint64_t offset, uint64_t length, bool embedded,
			    json_t *dict, GError **error)
{
	struct vmdk_descriptor descriptor;
	if (length > VMDK_MAX_DESCRIPTOR)
		return error_set(error, BERTH_ERR_INVALID, "the VMDK descriptor is larger than 1 MiB");
	g_autofree char *text = format_load(vmdk->mapped.node.file, offset, length, "descriptor", error);
	if (!text || !vmdk_descriptor_parse(&descriptor, text, length, error))
		return false;
	vmdk->descriptor_offset = offset;
	vmdk->descriptor_length = length;
	bool ok = apply_descriptor(vmdk, &descriptor, embedded, dict, error);
	vmdk_descriptor_clear(&descriptor);
	return ok;
}

/* One file that is a sparse extent itself. */
static bool open_monolithic(struct vmdk_image *vmdk, const uint8_t *head, json_t *dict, GError **error)
{
	struct block_node *node = &vmdk->mapped.node;
	struct vmdk_sparse sparse;
	if (!vmdk_sparse_parse(&sparse, head, error))
		return false;
	if (sparse.capacity > (uint64_t)INT64_MAX / SECTOR ||
	    sparse.descriptor > UINT32_MAX || sparse.descriptor_size > UINT32_MAX)
		return error_set(error, BERTH_ERR_INVALID, "the VMDK header's sizes are wrong");
	struct vmdk_extent extent = {.type = VMDK_SPARSE, .file = node->file,
				     .length = sparse.capacity * SECTOR};
	bool described = sparse.descriptor && sparse.descriptor_size;
	if (described && !read_descriptor(vmdk, sparse.descriptor * SECTOR,
					  sparse.descriptor_size * SECTOR, true, dict, error))
		return false;
	if (!described)
		vmdk->create_type = g_strdup(memcmp(head, "COWD", 4) ? "monolithicSparse" : "vmfsSparse");
	return add_extent(vmdk, extent, error);
}

bool vmdk_open(struct block_node *node, json_t *dict, GError **error)
{
	struct vmdk_image *vmdk = (struct vmdk_image *)node;
	uint8_t head[VMDK_HEADER_SIZE] = {0};
	node->file = block_open_child(node, dict, "file", NULL, error);
	if (!node->file)
		return false;
	uint64_t size = block_size(node->file);
	if (!format_read(node->file, 0, head, MIN(size, sizeof(head)), error))
		return false;
	vmdk->extents = g_array_new(FALSE, FALSE, sizeof(struct vmdk_extent));
	vmdk->parent_cid = UINT32_MAX;
	node->size = 0;
	bool sparse = memcmp(head, "KDMV", 4) == 0 || memcmp(head, "COWD", 4) == 0;
	bool ok = sparse ? open_monolithic(vmdk, head, dict, error)
			 : read_descriptor(vmdk, 0, size, false, dict, error);
	if (!ok) {
		vmdk_close(node);
		return false;
	}
	bool only_coded = vmdk->mapped.only_coded;
	mapped_init(&vmdk->mapped, &vmdk_ops, node->size, vmdk->mapped.unit ? vmdk->mapped.unit : 65536);
	vmdk->mapped.only_coded = only_coded;
	return true;
}
