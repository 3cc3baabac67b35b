/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QED images. The L1 table is in memory; L2 tables are read when needed and kept
 * (tables.h). Before the first change the header says "need check" on stable storage,
 * and a clean close takes that back: an image that was left by a crash is checked and repaired when
 * it is next opened for writing. The order of a write is data, L2 entry, L1 entry.
 */
#include "block/core/drivers.h"
#include "block/format/mapped.h"
#include "block/format/qed_layout.h"
#include "block/format/tables.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/core/options.h"

#include <errno.h>

struct qed_image {
	struct mapped mapped;
	struct qed_header header;
	uint64_t entries;     /* of each table */
	uint64_t table_bytes;
	uint64_t *l1;         /* as on disk: little-endian, as the cached tables */
	struct table_cache tables; /* L2 */
	uint64_t end;         /* where the next cluster goes */
};

static uint64_t l1_index(const struct qed_image *qed, uint64_t offset)
{
	return offset / qed->header.cluster_size / qed->entries;
}

static uint64_t l2_index(const struct qed_image *qed, uint64_t offset)
{
	return offset / qed->header.cluster_size % qed->entries;
}

static bool is_cluster(const struct qed_image *qed, uint64_t offset, uint64_t length)
{
	return offset % qed->header.cluster_size == 0 && offset &&
	       range_fits(offset, length, qed->end);
}

/* The table at `at`, borrowed until the next call. */
static int load_table(struct qed_image *qed, uint64_t at, uint64_t **table)
{
	void *bytes = NULL;
	int rc = is_cluster(qed, at, qed->table_bytes) ? table_cache_load(&qed->tables, at, &bytes) : -EIO;
	*table = bytes;
	return rc;
}

static int qed_map(struct mapped *image, uint64_t offset, uint64_t length, struct run *run)
{
	struct qed_image *qed = (struct qed_image *)image;
	uint64_t cluster = qed->header.cluster_size, inside = offset % cluster, *table;
	uint64_t at = le64_load(&qed->l1[l1_index(qed, offset)]);
	run->kind = RUN_ABSENT;
	run->length = (qed->entries - l2_index(qed, offset)) * cluster - inside;
	if (at == QED_ABSENT)
		return 0;
	int rc = load_table(qed, at, &table);
	if (rc < 0)
		return rc;
	uint64_t entry = le64_load(&table[l2_index(qed, offset)]);
	run->length = cluster - inside;
	if (entry == QED_ZERO)
		run->kind = RUN_ZERO;
	if (entry <= QED_ZERO)
		return 0;
	if (!is_cluster(qed, entry, cluster))
		return -EIO;
	run->kind = RUN_DATA;
	run->file = image->node.file;
	run->host = entry + inside;
	return 0;
}

static int write_header(struct qed_image *qed)
{
	uint8_t bytes[QED_HEADER_SIZE];
	qed_header_format(&qed->header, bytes);
	return block_pwrite(qed->mapped.node.file, 0, bytes, sizeof(bytes));
}

static int qed_begin_changes(struct mapped *image)
{
	struct qed_image *qed = (struct qed_image *)image;
	qed->header.features |= QED_NEED_CHECK;
	int rc = write_header(qed);
	return rc < 0 ? rc : block_flush(image->node.file);
}

static int take_room(struct qed_image *qed, uint64_t length, uint64_t *at)
{
	*at = qed->end;
	int rc = format_grow(qed->mapped.node.file, qed->end + length);
	if (rc == 0)
		qed->end += length;
	return rc;
}

static int qed_place(struct mapped *image, uint64_t offset, struct run *run)
{
	struct qed_image *qed = (struct qed_image *)image;
	return take_room(qed, qed->header.cluster_size, &run->host);
}

/* A new L2 table that holds one entry. */
static int add_table(struct qed_image *qed, uint64_t offset, uint64_t entry)
{
	uint64_t at, index = l1_index(qed, offset);
	uint64_t *table = g_try_malloc0(qed->table_bytes);
	if (!table)
		return -ENOMEM;
	le64_store(&table[l2_index(qed, offset)], entry);
	int rc = take_room(qed, qed->table_bytes, &at);
	if (rc == 0)
		rc = block_pwrite(qed->mapped.node.file, at, table, qed->table_bytes);
	uint64_t le = htole64(at);
	if (rc == 0)
		rc = block_pwrite(qed->mapped.node.file, qed->header.l1_offset + index * 8, &le, 8);
	if (rc < 0) {
		g_free(table);
		return rc;
	}
	qed->l1[index] = le;
	table_cache_add(&qed->tables, at, table);
	return 0;
}

static int set_entry(struct qed_image *qed, uint64_t offset, uint64_t entry)
{
	uint64_t at = le64_load(&qed->l1[l1_index(qed, offset)]), *table;
	if (at == QED_ABSENT)
		return add_table(qed, offset, entry);
	int rc = load_table(qed, at, &table);
	if (rc < 0)
		return rc;
	uint64_t le = htole64(entry), index = l2_index(qed, offset);
	rc = block_pwrite(qed->mapped.node.file, at + index * 8, &le, 8);
	if (rc == 0)
		table[index] = le;
	return rc;
}

static int qed_enter(struct mapped *image, uint64_t offset, const struct run *run)
{
	return set_entry((struct qed_image *)image, offset, run->host);
}

/* The cluster that lay there leaks until a check; QED has no place to note free ones. */
static int qed_zero_unit(struct mapped *image, uint64_t offset)
{
	return set_entry((struct qed_image *)image, offset, QED_ZERO);
}

static const struct mapped_ops qed_ops = {
	.map = qed_map,
	.place = qed_place,
	.enter = qed_enter,
	.zero_unit = qed_zero_unit,
	.begin_changes = qed_begin_changes,
};

static void qed_close(struct block_node *node)
{
	struct qed_image *qed = (struct qed_image *)node;
	/* On stable storage first, then clean: a crash in between only costs a check. */
	if (qed->mapped.changed && block_flush(node->file) == 0) {
		qed->header.features &= ~(uint64_t)QED_NEED_CHECK;
		write_header(qed);
	}
	table_cache_clear(&qed->tables);
	g_free(qed->l1);
}

static bool load_backing_name(struct qed_image *qed, GError **error)
{
	struct block_node *node = &qed->mapped.node;
	uint64_t length = qed->header.backing_length;
	if (!(qed->header.features & QED_BACKING))
		return true;
	node->backing_name = g_malloc0(length + 1);
	if (qed->header.features & QED_BACKING_RAW)
		node->backing_format = g_strdup("raw");
	return format_read(node->file, qed->header.backing_offset, node->backing_name, length, error);
}

static bool qed_check(struct block_node *node, struct block_check *check, GError **error);

/* What a crash left: forget entries that point nowhere, then say that the image is clean. */
static bool recover(struct qed_image *qed, GError **error)
{
	struct block_check check = {.fix = BLOCK_FIX_ERRORS};
	if (!qed_check(&qed->mapped.node, &check, error))
		return false;
	if (check.corruptions > check.corruptions_fixed)
		return error_set(error, BERTH_ERR_INVALID, "the QED image was not closed and cannot be "
							   "repaired");
	return true;
}

static bool qed_open(struct block_node *node, json_t *dict, GError **error)
{
	struct qed_image *qed = (struct qed_image *)node;
	uint8_t bytes[QED_HEADER_SIZE];
	node->file = block_open_child(node, dict, "file", NULL, error);
	if (!node->file || !format_read(node->file, 0, bytes, sizeof(bytes), error) ||
	    !qed_header_parse(&qed->header, bytes, block_size(node->file), error))
		return false;
	mapped_init(&qed->mapped, &qed_ops, qed->header.disk_size, qed->header.cluster_size);
	qed->entries = qed_table_entries(&qed->header);
	qed->table_bytes = qed->entries * 8;
	qed->end = align_up(block_size(node->file), qed->header.cluster_size);
	qed->l1 = format_load(node->file, qed->header.l1_offset, qed->table_bytes, "L1 table", error);
	if (!qed->l1 || !load_backing_name(qed, error)) {
		g_free(qed->l1);
		return false;
	}
	table_cache_init(&qed->tables, node->file, qed->table_bytes);
	bool dirty = qed->header.features & QED_NEED_CHECK;
	if (!dirty || node->readonly || node->options.check_later || recover(qed, error))
		return true;
	qed_close(node);
	return false;
}

/* --- check ---------------------------------------------------------------------------------------- */

struct walk {
	struct qed_image *qed;
	struct block_check *check;
	uint8_t *used; /* a bit for each cluster of the file */
	uint64_t clusters, last;
	bool fix;
};

/* Note `count` clusters as used; false if they lie outside or are used already. */
static bool use(struct walk *walk, uint64_t offset, uint64_t count)
{
	uint64_t first = offset / walk->qed->header.cluster_size;
	if (!is_cluster(walk->qed, offset, count * walk->qed->header.cluster_size))
		return false;
	for (uint64_t i = first; i < first + count; i++) {
		if (walk->used[i / 8] >> (i % 8) & 1)
			return false;
		walk->used[i / 8] |= 1 << (i % 8);
	}
	return true;
}

/* Clear a wrong entry at `at` in the file and in memory, if that was asked for. */
static int drop_entry(struct walk *walk, uint64_t *entry, uint64_t at)
{
	walk->check->corruptions++;
	if (!walk->fix)
		return 0;
	*entry = 0;
	int rc = block_pwrite(walk->qed->mapped.node.file, at, entry, 8);
	walk->check->corruptions_fixed += rc == 0;
	return rc;
}

static int walk_table(struct walk *walk, uint64_t table_at)
{
	struct qed_image *qed = walk->qed;
	uint64_t *table;
	int rc = load_table(qed, table_at, &table);
	for (uint64_t i = 0; rc == 0 && i < qed->entries; i++) {
		uint64_t entry = le64_load(&table[i]);
		if (entry <= QED_ZERO)
			continue;
		if (!use(walk, entry, 1)) {
			rc = drop_entry(walk, &table[i], table_at + i * 8);
			continue;
		}
		walk->check->allocated_clusters++;
		walk->check->fragmented_clusters += walk->last && entry != walk->last;
		walk->last = entry + qed->header.cluster_size;
	}
	return rc;
}

static int walk_all(struct walk *walk)
{
	struct qed_image *qed = walk->qed;
	use(walk, qed->header.l1_offset, qed->header.table_size);
	int rc = 0;
	for (uint64_t i = 0; rc == 0 && i < qed->entries; i++) {
		uint64_t at = le64_load(&qed->l1[i]);
		if (at == QED_ABSENT)
			continue;
		if (use(walk, at, qed->header.table_size))
			rc = walk_table(walk, at);
		else
			rc = drop_entry(walk, &qed->l1[i], qed->header.l1_offset + i * 8);
	}
	return rc;
}

static bool qed_check(struct block_node *node, struct block_check *check, GError **error)
{
	struct qed_image *qed = (struct qed_image *)node;
	uint64_t cluster = qed->header.cluster_size;
	struct walk walk = {.qed = qed, .check = check, .clusters = qed->end / cluster,
			    .fix = check->fix & BLOCK_FIX_ERRORS};
	g_autofree uint8_t *used = walk.used = g_try_malloc0(walk.clusters / 8 + 1);
	if (!used)
		return error_set(error, BERTH_ERR_IO, "not enough memory to check a QED image");
	for (uint64_t i = 0; i < qed->header.header_size && i < walk.clusters; i++)
		used[i / 8] |= 1 << (i % 8);
	check->total_clusters = (node->size + cluster - 1) / cluster;
	int rc = walk_all(&walk);
	if (rc < 0)
		return error_set_errno(error, -rc, "cannot check the tables of a QED image");
	for (uint64_t i = 0; i < walk.clusters; i++)
		check->leaks += !(used[i / 8] >> (i % 8) & 1);
	if (walk.fix && check->corruptions == check->corruptions_fixed &&
	    qed->header.features & QED_NEED_CHECK) {
		qed->header.features &= ~(uint64_t)QED_NEED_CHECK;
		rc = block_flush(node->file);
		if (rc == 0)
			rc = write_header(qed);
		if (rc < 0)
			return error_set_errno(error, -rc, "cannot mark the QED image as clean");
	}
	return true;
}

/* --- create, change ------------------------------------------------------------------------------ */

/* Write the header with the backing file's name behind it. */
static bool write_with_backing(struct block_node *file, struct qed_header *header, const char *backing,
			       const char *format, GError **error)
{
	uint64_t room = (uint64_t)header->cluster_size * header->header_size;
	uint64_t length = backing && *backing ? strlen(backing) : 0;
	if (length >= 1024)
		return error_set(error, BERTH_ERR_INVALID, "backing file name too long");
	g_autofree uint8_t *bytes = g_malloc0(room);
	header->features &= ~(uint64_t)(QED_BACKING | QED_BACKING_RAW);
	header->backing_offset = length ? QED_HEADER_SIZE : 0;
	header->backing_length = length;
	if (length)
		header->features |= QED_BACKING;
	if (length && format && g_str_equal(format, "raw"))
		header->features |= QED_BACKING_RAW;
	qed_header_format(header, bytes);
	if (length)
		memcpy(bytes + QED_HEADER_SIZE, backing, length);
	return format_write(file, 0, bytes, room, error);
}

static bool qed_create(const struct block_create *create, GError **error)
{
	uint64_t cluster = 65536, table = 4;
	g_autofree char *backing = block_take_string(create->options, "backing_file");
	g_autofree char *format = block_take_string(create->options, "backing_fmt");
	if (!block_take_size(create->options, "cluster_size", &cluster, error) ||
	    !block_take_size(create->options, "table_size", &table, error))
		return false;
	struct qed_header header = {
		.cluster_size = MIN(cluster, UINT32_MAX),
		.table_size = MIN(table, UINT32_MAX),
		.header_size = 1,
		.l1_offset = cluster,
		.disk_size = align_up(create->size, 512),
	};
	return qed_header_check(&header, error) &&
	       format_grow_or_fail(create->file, cluster * (1 + table), error) &&
	       write_with_backing(create->file, &header, backing, format, error);
}

static bool qed_info(struct block_node *node, json_t *info, GError **error)
{
	struct qed_image *qed = (struct qed_image *)node;
	bool dirty = qed->header.features & QED_NEED_CHECK && !qed->mapped.changed;
	json_object_set_new(info, "cluster-size", json_integer(qed->header.cluster_size));
	json_object_set_new(info, "dirty-flag", json_boolean(dirty));
	return true;
}

static bool qed_resize(struct block_node *node, uint64_t size, GError **error)
{
	struct qed_image *qed = (struct qed_image *)node;
	struct qed_header header = qed->header;
	header.disk_size = align_up(size, 512);
	if (size < node->size)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "Shrinking images is currently not supported");
	if (!qed_header_check(&header, error))
		return false;
	qed->header.disk_size = header.disk_size;
	int rc = write_header(qed);
	if (rc < 0)
		return error_set_errno(error, -rc, "Failed to update the image size");
	node->size = header.disk_size;
	return true;
}

static bool qed_change_backing(struct block_node *node, const char *file, const char *format,
			       GError **error)
{
	struct qed_image *qed = (struct qed_image *)node;
	return write_with_backing(node->file, &qed->header, file, format, error);
}

static unsigned qed_probe(const uint8_t *head, size_t length, const char *filename)
{
	return length >= QED_HEADER_SIZE && memcmp(head, "QED", 4) == 0 ? 100 : 0;
}

static const struct block_option qed_options[] = {
	{"backing_file", "str", "File name of a base image"},
	{"backing_fmt", "str", "Image format of the base image"},
	{"cluster_size", "size", "Cluster size (in bytes)"},
	{"size", "size", "Virtual disk size"},
	{"table_size", "size", "L1/L2 table size (in clusters)"},
	{0},
};

const struct block_driver block_qed_driver = {
	.name = "qed",
	.kind = BLOCK_FORMAT,
	.node_size = sizeof(struct qed_image),
	.probe = qed_probe,
	.open = qed_open,
	.close = qed_close,
	.perform = mapped_perform,
	.status = mapped_status,
	.resize = qed_resize,
	.info = qed_info,
	.check = qed_check,
	.change_backing = qed_change_backing,
	.create_options = qed_options,
	.create = qed_create,
};
