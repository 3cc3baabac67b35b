/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VMDK structures after VMware's "Virtual Disk Format 5.0". */
#include "block/format/vmdk_layout.h"

#include "base/bytes.h"
#include "base/error.h"

#include <inttypes.h>
#include <stdio.h>

enum { /* KDMV */
	AT_VERSION = 4, AT_FLAGS = 8, AT_CAPACITY = 12, AT_GRAIN = 20, AT_DESCRIPTOR = 28,
	AT_DESCRIPTOR_SIZE = 36, AT_ENTRIES = 44, AT_REDUNDANT = 48, AT_DIRECTORY = 56, AT_OVERHEAD = 64,
	AT_NEWLINES = 73, AT_COMPRESSION = 77,
};
enum { /* COWD */
	AT_COW_FLAGS = 8, AT_COW_SECTORS = 12, AT_COW_GRAIN = 16, AT_COW_DIRECTORY = 20,
	AT_COW_ENTRIES = 24,
};
static const uint8_t newlines[4] = {'\n', ' ', '\r', '\n'};
static const char *const type_names[] = {"FLAT", "SPARSE", "ZERO", "VMFS", "VMFSSPARSE"};

const char *vmdk_extent_type_name(enum vmdk_extent_type type)
{
	return type_names[type];
}

static bool parse_cowd(struct vmdk_sparse *sparse, const uint8_t *bytes, GError **error)
{
	*sparse = (struct vmdk_sparse){
		.version = 1,
		.capacity = le32_load(bytes + AT_COW_SECTORS),
		.grain = le32_load(bytes + AT_COW_GRAIN),
		.directory = le32_load(bytes + AT_COW_DIRECTORY),
		.directory_entries = le32_load(bytes + AT_COW_ENTRIES),
		.table_entries = 4096,
	};
	uint64_t table_sectors = sparse->grain * sparse->table_entries;
	if (sparse->grain == 0 || sparse->grain > (1 << 20) ||
	    sparse->directory_entries > VMDK_MAX_DIRECTORY ||
	    sparse->directory_entries < (sparse->capacity + table_sectors - 1) / table_sectors)
		return error_set(error, BERTH_ERR_INVALID, "the VMDK (COWD) header's sizes are wrong");
	return true;
}

static bool check_sparse(struct vmdk_sparse *sparse, const uint8_t *bytes, GError **error)
{
	if (sparse->version < 1 || sparse->version > 3)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "Unsupported VMDK version %u",
				 sparse->version);
	if (sparse->flags & VMDK_NEWLINE_TEST && memcmp(bytes + AT_NEWLINES, newlines, 4) != 0)
		return error_set(error, BERTH_ERR_INVALID, "the VMDK file was damaged by a transfer in text "
							   "mode");
	if (sparse->grain == 0 || sparse->grain > (1 << 20) || sparse->grain & (sparse->grain - 1))
		return error_set(error, BERTH_ERR_INVALID, "Invalid granularity, image may be corrupt");
	if (sparse->table_entries == 0 || sparse->table_entries > 512)
		return error_set(error, BERTH_ERR_INVALID, "L2 table size too big");
	if (sparse->flags & VMDK_COMPRESSED && le16_load(bytes + AT_COMPRESSION) > 1)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "VMDK compression %u is not supported",
				 le16_load(bytes + AT_COMPRESSION));
	uint64_t table_sectors = sparse->grain * sparse->table_entries;
	uint64_t entries = sparse->capacity / table_sectors + (sparse->capacity % table_sectors != 0);
	if (entries > VMDK_MAX_DIRECTORY)
		return error_set(error, BERTH_ERR_INVALID, "L1 size too big");
	sparse->directory_entries = entries;
	return true;
}

bool vmdk_sparse_parse(struct vmdk_sparse *sparse, const uint8_t *bytes, GError **error)
{
	if (memcmp(bytes, "COWD", 4) == 0)
		return parse_cowd(sparse, bytes, error);
	if (memcmp(bytes, "KDMV", 4) != 0)
		return error_set(error, BERTH_ERR_INVALID, "not a VMDK sparse extent");
	*sparse = (struct vmdk_sparse){
		.version = le32_load(bytes + AT_VERSION),
		.flags = le32_load(bytes + AT_FLAGS),
		.capacity = le64_load(bytes + AT_CAPACITY),
		.grain = le64_load(bytes + AT_GRAIN),
		.descriptor = le64_load(bytes + AT_DESCRIPTOR),
		.descriptor_size = le64_load(bytes + AT_DESCRIPTOR_SIZE),
		.table_entries = le32_load(bytes + AT_ENTRIES),
		.redundant_directory = le64_load(bytes + AT_REDUNDANT),
		.directory = le64_load(bytes + AT_DIRECTORY),
		.overhead = le64_load(bytes + AT_OVERHEAD),
	};
	return check_sparse(sparse, bytes, error);
}

void vmdk_sparse_format(const struct vmdk_sparse *sparse, uint8_t *bytes)
{
	memset(bytes, 0, VMDK_HEADER_SIZE);
	memcpy(bytes, "KDMV", 4);
	le32_store(bytes + AT_VERSION, sparse->version);
	le32_store(bytes + AT_FLAGS, sparse->flags);
	le64_store(bytes + AT_CAPACITY, sparse->capacity);
	le64_store(bytes + AT_GRAIN, sparse->grain);
	le64_store(bytes + AT_DESCRIPTOR, sparse->descriptor);
	le64_store(bytes + AT_DESCRIPTOR_SIZE, sparse->descriptor_size);
	le32_store(bytes + AT_ENTRIES, sparse->table_entries);
	le64_store(bytes + AT_REDUNDANT, sparse->redundant_directory);
	le64_store(bytes + AT_DIRECTORY, sparse->directory);
	le64_store(bytes + AT_OVERHEAD, sparse->overhead);
	memcpy(bytes + AT_NEWLINES, newlines, 4);
	le16_store(bytes + AT_COMPRESSION, sparse->flags & VMDK_COMPRESSED ? 1 : 0);
}

/* --- descriptor ----------------------------------------------------------------------------------- */

/* "RW 20480 SPARSE "a.vmdk" 0": true if the line is an extent's. *wrong says that it is a bad one. */
static bool parse_extent(struct vmdk_descriptor *descriptor, const char *line, bool *wrong)
{
	char access[16], type[16], name[512] = "";
	uint64_t sectors, offset = 0;
	int n = sscanf(line, "%15s %" SCNu64 " %15s \"%511[^\"]\" %" SCNu64, access, &sectors, type, name,
		       &offset);
	bool readonly = g_str_equal(access, "RDONLY");
	if (n < 3 || !(readonly || g_str_equal(access, "RW") || g_str_equal(access, "NOACCESS")))
		return false;
	struct vmdk_extent_line extent = {.readonly = readonly, .sectors = sectors, .offset = offset};
	unsigned i = 0;
	while (i < G_N_ELEMENTS(type_names) && !g_str_equal(type, type_names[i]))
		i++;
	bool flat = i == VMDK_FLAT || i == VMDK_VMFS;
	*wrong = i == G_N_ELEMENTS(type_names) || (i == VMDK_ZERO ? n != 3 : n < 4) ||
		 (i == VMDK_FLAT && n != 5) || sectors == 0 || sectors > (uint64_t)INT64_MAX / 512 ||
		 (flat && offset > (uint64_t)INT64_MAX / 512) ||
		 g_str_equal(access, "NOACCESS") || descriptor->extents->len >= VMDK_MAX_EXTENTS;
	if (*wrong)
		return true;
	extent.type = i;
	extent.name = i == VMDK_ZERO ? NULL : g_strdup(name);
	g_array_append_val(descriptor->extents, extent);
	return true;
}

static char *unquoted(const char *text)
{
	g_autofree char *value = g_strstrip(g_strdup(text));
	size_t n = strlen(value);
	return n >= 2 && value[0] == '"' && value[n - 1] == '"' ? g_strndup(value + 1, n - 2)
								 : g_strdup(value);
}

static bool parse_line(struct vmdk_descriptor *descriptor, char *line)
{
	bool wrong = false;
	g_strstrip(line);
	if (*line == '#' || !*line || parse_extent(descriptor, line, &wrong))
		return !wrong;
	char *equals = strchr(line, '=');
	if (!equals)
		return true;
	*equals = 0;
	const char *key = g_strchomp(line);
	g_autofree char *value = unquoted(equals + 1);
	char **text = !g_ascii_strcasecmp(key, "createType")	      ? &descriptor->create_type
		      : !g_ascii_strcasecmp(key, "parentFileNameHint") ? &descriptor->parent : NULL;
	if (text && !*text)
		*text = g_steal_pointer(&value);
	else if (!g_ascii_strcasecmp(key, "CID"))
		descriptor->cid = g_ascii_strtoull(value, NULL, 16);
	else if (!g_ascii_strcasecmp(key, "parentCID"))
		descriptor->parent_cid = g_ascii_strtoull(value, NULL, 16);
	return true;
}

bool vmdk_descriptor_parse(struct vmdk_descriptor *descriptor, const char *text, uint64_t length,
			   GError **error)
{
	*descriptor = (struct vmdk_descriptor){.parent_cid = UINT32_MAX};
	descriptor->extents = g_array_new(FALSE, FALSE, sizeof(struct vmdk_extent_line));
	g_autofree char *copy = g_strndup(text, length);
	g_auto(GStrv) lines = g_strsplit(copy, "\n", -1);
	for (char **line = lines; *line; line++) {
		g_autofree char *shown = g_strdup(*line);
		if (parse_line(descriptor, *line))
			continue;
		error_set(error, BERTH_ERR_INVALID, "Invalid extent line: %.100s", g_strstrip(shown));
		vmdk_descriptor_clear(descriptor);
		return false;
	}
	if (descriptor->create_type && descriptor->extents->len)
		return true;
	error_set(error, BERTH_ERR_INVALID, "invalid VMDK image descriptor (no %s)",
		  descriptor->create_type ? "extents" : "createType");
	vmdk_descriptor_clear(descriptor);
	return false;
}

void vmdk_descriptor_clear(struct vmdk_descriptor *descriptor)
{
	for (unsigned i = 0; descriptor->extents && i < descriptor->extents->len; i++)
		g_free(g_array_index(descriptor->extents, struct vmdk_extent_line, i).name);
	g_clear_pointer(&descriptor->extents, g_array_unref);
	g_clear_pointer(&descriptor->create_type, g_free);
	g_clear_pointer(&descriptor->parent, g_free);
}

char *vmdk_descriptor_format(const struct vmdk_describe *describe)
{
	GString *text = g_string_new("# Disk DescriptorFile\nversion=1\n");
	unsigned heads = g_str_equal(describe->adapter, "ide") ? 16 : 255;
	g_string_append_printf(text, "CID=%08x\nparentCID=%08x\ncreateType=\"%s\"\n", describe->cid,
			       describe->parent_cid, describe->create_type);
	if (describe->parent)
		g_string_append_printf(text, "parentFileNameHint=\"%s\"\n", describe->parent);
	g_string_append(text, "\n# Extent description\n");
	for (unsigned i = 0; i < describe->extents->len; i++) {
		const struct vmdk_extent_line *extent =
			&g_array_index(describe->extents, struct vmdk_extent_line, i);
		g_string_append_printf(text, "RW %" PRIu64 " %s \"%s\"%s\n", extent->sectors,
				       type_names[extent->type], extent->name,
				       extent->type == VMDK_FLAT ? " 0" : "");
	}
	g_string_append_printf(text,
			       "\n# The Disk Data Base\n#DDB\n\n"
			       "ddb.virtualHWVersion = \"%s\"\n"
			       "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
			       "ddb.geometry.heads = \"%u\"\n"
			       "ddb.geometry.sectors = \"63\"\n"
			       "ddb.adapterType = \"%s\"\n"
			       "ddb.toolsVersion = \"%s\"\n",
			       describe->hardware, describe->sectors / (63 * heads), heads,
			       describe->adapter, describe->tools);
	return g_string_free(text, FALSE);
}
