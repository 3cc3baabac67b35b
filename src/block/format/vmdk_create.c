/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making VMDK images: monolithic or split, sparse, flat or stream-optimized. */
#include "block/format/vmdk.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/core/options.h"

#include <inttypes.h>

#define SECTOR       UINT64_C(512)
#define GRAIN        UINT64_C(128) /* sectors: 64 KiB */
#define ENTRIES      UINT64_C(512)
#define SPLIT_EXTENT (UINT64_C(2) << 30)
#define DESCRIPTOR_SECTORS 20

enum subformat { MONOLITHIC_SPARSE, MONOLITHIC_FLAT, SPLIT_SPARSE, SPLIT_FLAT, STREAM };
static const char *const subformats[] = {"monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse",
					 "twoGbMaxExtentFlat", "streamOptimized", NULL};

struct plan {
	const struct block_create *create;
	int subformat;
	bool zeroed_grain;
	char *adapter, *hardware, *tools, *backing;
	uint32_t parent_cid;
	GArray *extents; /* struct vmdk_extent_line */
};

static void clear_plan(struct plan *plan)
{
	for (unsigned i = 0; i < plan->extents->len; i++)
		g_free(g_array_index(plan->extents, struct vmdk_extent_line, i).name);
	g_array_unref(plan->extents);
	g_free(plan->adapter);
	g_free(plan->hardware);
	g_free(plan->tools);
	g_free(plan->backing);
}

/* Directories and tables are written whole: every table exists, every grain is absent. */
static bool write_tables(struct block_node *file, const struct vmdk_sparse *sparse, GError **error)
{
	uint64_t directory_sectors = (sparse->directory_entries * UINT64_C(4) + 511) / SECTOR;
	uint64_t table_sectors = ENTRIES * 4 / SECTOR;
	uint64_t places[] = {sparse->redundant_directory, sparse->directory};
	for (unsigned which = 0; which < 2; which++) {
		g_autofree uint8_t *directory = g_malloc0(MAX(directory_sectors, 1) * SECTOR);
		uint64_t first = places[which] + directory_sectors;
		for (uint32_t i = 0; i < sparse->directory_entries; i++)
			le32_store(directory + UINT64_C(4) * i, first + i * table_sectors);
		if (!format_write(file, places[which] * SECTOR, directory, directory_sectors * SECTOR,
				  error))
			return false;
	}
	return format_grow_or_fail(file, sparse->overhead * SECTOR, error);
}

static bool write_sparse(const struct plan *plan, struct block_node *file, uint64_t sectors,
			 bool descriptor, GError **error)
{
	uint8_t bytes[VMDK_HEADER_SIZE];
	bool stream = plan->subformat == STREAM;
	uint64_t entries = (sectors + GRAIN * ENTRIES - 1) / (GRAIN * ENTRIES);
	uint64_t tables = (entries * 4 + 511) / SECTOR + entries * (ENTRIES * 4 / SECTOR);
	struct vmdk_sparse sparse = {
		.version = stream ? 3 : plan->zeroed_grain ? 2 : 1,
		.flags = VMDK_NEWLINE_TEST | VMDK_REDUNDANT |
			 (stream ? VMDK_COMPRESSED | VMDK_MARKERS : 0) |
			 (plan->zeroed_grain ? VMDK_ZEROED_GRAINS : 0),
		.capacity = sectors,
		.grain = GRAIN,
		.table_entries = ENTRIES,
		.directory_entries = entries,
		.descriptor = 1,
		.descriptor_size = DESCRIPTOR_SECTORS,
	};
	if (!descriptor)
		sparse.descriptor = sparse.descriptor_size = 0;
	sparse.redundant_directory = 1 + DESCRIPTOR_SECTORS;
	sparse.directory = sparse.redundant_directory + tables;
	sparse.overhead = align_up(sparse.directory + tables, GRAIN);
	vmdk_sparse_format(&sparse, bytes);
	return format_write(file, 0, bytes, sizeof(bytes), error) && write_tables(file, &sparse, error);
}

/* "d.vmdk" and 2 to "d-s002.vmdk", "d-f002.vmdk" or "d-flat.vmdk", with the folder or without. */
static char *extent_name(const struct plan *plan, unsigned number, bool with_folder)
{
	g_autofree char *folder = g_path_get_dirname(plan->create->filename);
	g_autofree char *base = g_path_get_basename(plan->create->filename);
	char *dot = strrchr(base, '.');
	const char *extension = dot ? dot + 1 : "vmdk";
	g_autofree char *stem = dot ? g_strndup(base, dot - base) : g_strdup(base);
	g_autofree char *name =
		plan->subformat == MONOLITHIC_FLAT
			? g_strdup_printf("%s-flat.%s", stem, extension)
			: g_strdup_printf("%s-%c%03u.%s", stem, plan->subformat == SPLIT_FLAT ? 'f' : 's',
					  number, extension);
	return with_folder ? g_build_filename(folder, name, NULL) : g_steal_pointer(&name);
}

static bool make_extent(struct plan *plan, unsigned number, uint64_t bytes, GError **error)
{
	bool flat = plan->subformat == MONOLITHIC_FLAT || plan->subformat == SPLIT_FLAT;
	g_autofree char *path = extent_name(plan, number, true);
	struct vmdk_extent_line line = {.type = flat ? VMDK_FLAT : VMDK_SPARSE, .sectors = bytes / SECTOR,
					.name = extent_name(plan, number, false)};
	g_array_append_val(plan->extents, line);
	struct block_node *file = block_create_file(plan->create, path, error);
	bool ok = file && (flat ? format_grow_or_fail(file, bytes, error)
				: write_sparse(plan, file, bytes / SECTOR, false, error));
	block_close(file);
	return ok;
}

static bool make_extents(struct plan *plan, uint64_t size, GError **error)
{
	bool split = plan->subformat == SPLIT_SPARSE || plan->subformat == SPLIT_FLAT;
	uint64_t most = split ? SPLIT_EXTENT : MAX(size, SECTOR);
	unsigned number = 1;
	for (uint64_t done = 0; done < size; done += MIN(most, size - done)) {
		if (!make_extent(plan, number++, MIN(most, size - done), error))
			return false;
	}
	return true;
}

static bool write_descriptor(struct plan *plan, struct block_node *file, uint64_t size, bool embedded,
			     GError **error)
{
	struct vmdk_describe describe = {
		.cid = g_random_int_range(1, INT32_MAX),
		.parent_cid = plan->parent_cid,
		.parent = plan->backing,
		.create_type = subformats[plan->subformat],
		.adapter = plan->adapter,
		.hardware = plan->hardware,
		.tools = plan->tools,
		.extents = plan->extents,
		.sectors = size / SECTOR,
	};
	g_autofree char *text = vmdk_descriptor_format(&describe);
	uint64_t length = strlen(text);
	if (embedded && length > DESCRIPTOR_SECTORS * SECTOR)
		return error_set(error, BERTH_ERR_INVALID, "the VMDK descriptor is too long: use shorter names");
	return format_write(file, embedded ? SECTOR : 0, text, length, error);
}

static bool make_image(struct plan *plan, uint64_t size, GError **error)
{
	bool embedded = plan->subformat == MONOLITHIC_SPARSE || plan->subformat == STREAM;
	struct block_node *given = plan->create->file;
	if (given && !embedded)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "the extents of subformat %s are files of "
				 "their own: use berth-img create", subformats[plan->subformat]);
	struct block_node *file = given ? block_ref(given)
					: block_create_file(plan->create, plan->create->filename, error);
	if (!file)
		return false;
	bool ok;
	if (embedded) {
		struct vmdk_extent_line line = {
			.type = VMDK_SPARSE, .sectors = size / SECTOR,
			.name = g_path_get_basename(plan->create->filename),
		};
		g_array_append_val(plan->extents, line);
		ok = write_sparse(plan, file, size / SECTOR, true, error);
	} else {
		ok = make_extents(plan, size, error);
	}
	ok = ok && write_descriptor(plan, file, size, embedded, error);
	block_close(file);
	return ok;
}

/* The parent's content id, which the overlay must name. */
static bool look_at_parent(struct plan *plan, GError **error)
{
	g_autofree char *path = block_path_combine(plan->create->filename, plan->backing);
	struct block_open_options options = {.filename = path, .format = "vmdk", .readonly = true};
	struct block_node *parent = block_open(&options, plan->create->loop, error);
	if (parent)
		plan->parent_cid = ((struct vmdk_image *)parent)->cid;
	block_close(parent);
	return parent;
}

static bool take_options(struct plan *plan, GError **error)
{
	static const char *const adapters[] = {"ide", "buslogic", "lsilogic", "legacyESX", NULL};
	json_t *options = plan->create->options;
	bool compat6 = false;
	g_autofree char *format = block_take_string(options, "backing_fmt");
	if (!block_take_enum(options, "subformat", subformats, &plan->subformat, error) ||
	    !block_take_bool(options, "zeroed_grain", &plan->zeroed_grain, error) ||
	    !block_take_bool(options, "compat6", &compat6, error))
		return false;
	plan->adapter = block_take_string(options, "adapter_type");
	plan->hardware = block_take_string(options, "hwversion");
	plan->tools = block_take_string(options, "toolsversion");
	plan->backing = block_take_string(options, "backing_file");
	plan->adapter = plan->adapter ? plan->adapter : g_strdup("ide");
	plan->tools = plan->tools ? plan->tools : g_strdup("2147483647");
	if (compat6 && plan->hardware && !g_str_equal(plan->hardware, "undefined"))
		return error_set(error, BERTH_ERR_INVALID, "compat6 cannot be enabled with hwversion set");
	if (!plan->hardware || g_str_equal(plan->hardware, "undefined")) {
		g_free(plan->hardware);
		plan->hardware = g_strdup(compat6 ? "6" : "4");
	}
	if (!g_strv_contains(adapters, plan->adapter))
		return error_set(error, BERTH_ERR_INVALID, "Unknown adapter type: %s", plan->adapter);
	bool flat = plan->subformat == MONOLITHIC_FLAT || plan->subformat == SPLIT_FLAT;
	if (plan->backing && flat)
		return error_set(error, BERTH_ERR_INVALID, "Flat image can't have backing file");
	if (flat && plan->zeroed_grain)
		return error_set(error, BERTH_ERR_INVALID, "Flat image can't enable zeroed grain");
	if (plan->backing && format && !g_str_equal(format, "vmdk"))
		return error_set(error, BERTH_ERR_INVALID, "backing_file must be a vmdk image");
	return !plan->backing || look_at_parent(plan, error);
}

bool vmdk_create(const struct block_create *create, GError **error)
{
	struct plan plan = {.create = create, .parent_cid = UINT32_MAX};
	plan.extents = g_array_new(FALSE, FALSE, sizeof(struct vmdk_extent_line));
	bool ok = take_options(&plan, error);
	uint64_t size = align_up(create->size, SECTOR);
	if (ok && size > GRAIN * SECTOR * ENTRIES * VMDK_MAX_DIRECTORY)
		ok = error_set(error, BERTH_ERR_INVALID, "a VMDK image cannot be that large");
	ok = ok && make_image(&plan, size, error);
	clear_plan(&plan);
	return ok;
}
