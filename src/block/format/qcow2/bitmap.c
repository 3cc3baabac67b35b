/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent dirty bitmaps ("Bitmaps extension"). They are read when the image is opened and written
 * when it is closed or becomes read-only. Meanwhile the image says of each that it is in use: after a
 * crash it is not known what was written, and the bitmap is good for nothing but removal.
 *
 * Writing makes new copies of everything (clusters, tables, directory), flushes, and then lets the
 * header point to them; the old ones are given up after that.
 */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"
#include "block/core/dirty.h"

#include <errno.h>
#include <string.h>

#define ENTRY_FIXED    24
#define EXTENSION_SIZE 24
#define BITMAPS_MAX    65535
#define DIRECTORY_MAX  (UINT64_C(1) << 24)
/* Of all bitmaps together: what an image can make us hold in memory. */
#define MEMORY_MAX     (UINT64_C(512) << 20)

enum { FLAG_IN_USE = 1 << 0, FLAG_AUTO = 1 << 1, FLAG_EXTRA_COMPATIBLE = 1 << 2 };
enum { TYPE_DIRTY_TRACKING = 1 };
#define TABLE_ALL_ONES UINT64_C(1)

struct entry {
	uint64_t table;
	uint32_t table_size, flags;
	uint8_t type, shift;
	uint16_t name_size;
	uint32_t extra_size;
	const char *name; /* in the directory's bytes, without a 0 */
};

static bool bad(const struct qcow2_node *q, const char *what, GError **error)
{
	return error_set(error, BERTH_ERR_INVALID, "'%s' is no valid qcow2 image: %s",
			 q->node.file->filename, what);
}

/* --- the directory --------------------------------------------------------------------------------------*/

/* The entry at *at, which moves on. False: malformed. */
static bool next_entry(const uint8_t *b, uint64_t size, uint64_t *at, struct entry *e)
{
	if (size - *at < ENTRY_FIXED)
		return false;
	const uint8_t *p = b + *at;
	*e = (struct entry){be64_load(p), be32_load(p + 8), be32_load(p + 12), p[16], p[17],
			    be16_load(p + 18), be32_load(p + 20), NULL};
	uint64_t length = align_up(UINT64_C(24) + e->extra_size + e->name_size, 8);
	if (length > size - *at)
		return false;
	e->name = (const char *)p + ENTRY_FIXED + e->extra_size;
	*at += length;
	return true;
}

/* Where the directory is; false: there is none, or what there is does not count any more. */
static bool directory(const struct qcow2_node *q, uint32_t *count, uint64_t *offset, uint64_t *size)
{
	const struct qcow2_ext *ext = qcow2_extension_find(q, QCOW2_EXT_BITMAPS);
	if (!ext || ext->length < EXTENSION_SIZE || !(q->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS))
		return false;
	*count = be32_load(ext->data);
	*size = be64_load(ext->data + 8);
	*offset = be64_load(ext->data + 16);
	return *count > 0;
}

static uint8_t *read_directory(struct qcow2_node *q, uint32_t *count, uint64_t *size, GError **error)
{
	uint64_t offset;
	if (!directory(q, count, &offset, size))
		return NULL;
	if (*count > BITMAPS_MAX || *size > DIRECTORY_MAX || offset & (q->cluster_size - 1)) {
		bad(q, "its bitmap directory makes no sense", error);
		return NULL;
	}
	uint8_t *b = g_malloc(*size + 1);
	int rc = block_pread(q->node.file, offset, b, *size);
	if (rc == 0)
		return b;
	error_set_errno(error, -rc, "cannot read the bitmaps of '%s'", q->node.file->filename);
	g_free(b);
	return NULL;
}

static uint64_t bytes_of(const struct block_dirty *dirty)
{
	return (dirty->bits + 7) / 8;
}

/* Clusters that the bits of a bitmap take. */
static uint64_t clusters_of(const struct qcow2_node *q, const struct block_dirty *dirty)
{
	return (bytes_of(dirty) + q->cluster_size - 1) >> q->cluster_bits;
}

/* --- reading --------------------------------------------------------------------------------------------*/

/* Bits in the file are those of a little-endian number, as ours are in memory. */
static void take_bits(struct block_dirty *dirty, uint64_t byte, const uint8_t *b, uint64_t length)
{
	for (uint64_t i = 0; i < length; i++)
		for (unsigned bit = 0; b[i] >> bit; bit++)
			if (b[i] >> bit & 1)
				block_dirty_set(dirty, ((byte + i) * 8 + bit) << dirty->shift, 1);
}

static int load_bits(struct qcow2_node *q, struct block_dirty *dirty, const struct entry *e)
{
	g_autofree uint64_t *table = g_new0(uint64_t, e->table_size + 1);
	g_autofree uint8_t *b = g_malloc(q->cluster_size);
	int rc = block_pread(q->node.file, e->table, table, e->table_size * UINT64_C(8));
	for (uint32_t i = 0; rc == 0 && i < e->table_size; i++) {
		uint64_t value = be64toh(table[i]), offset = value & QCOW2_OFFSET;
		uint64_t first = (uint64_t)i << q->cluster_bits;
		uint64_t length = MIN(q->cluster_size, bytes_of(dirty) - first);
		if (offset & (q->cluster_size - 1))
			return -EINVAL;
		if (offset) {
			rc = block_pread(q->node.file, offset, b, length);
			if (rc == 0)
				take_bits(dirty, first, b, length);
		} else if (value & TABLE_ALL_ONES) {
			block_dirty_set(dirty, first * 8 << dirty->shift, length * 8 << dirty->shift);
		}
	}
	return rc;
}

static bool check_entry(const struct qcow2_node *q, const struct entry *e, GError **error)
{
	if (e->type != TYPE_DIRTY_TRACKING || e->shift < BLOCK_DIRTY_SHIFT_MIN ||
	    e->shift > BLOCK_DIRTY_SHIFT_MAX || e->name_size == 0 ||
	    e->name_size > BLOCK_DIRTY_NAME_MAX || memchr(e->name, 0, e->name_size))
		return bad(q, "a bitmap's entry makes no sense", error);
	if (e->extra_size && !(e->flags & FLAG_EXTRA_COMPATIBLE))
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s' has a bitmap with data of an unknown kind",
				 q->node.file->filename);
	return true;
}

static bool load_one(struct qcow2_node *q, const struct entry *e, uint64_t *memory, GError **error)
{
	g_autofree char *name = g_strndup(e->name, e->name_size);
	if (!check_entry(q, e, error))
		return false;
	*memory += q->header.size >> e->shift >> 3;
	if (block_dirty_find(&q->node, name) || *memory > MEMORY_MAX)
		return bad(q, *memory > MEMORY_MAX ? "its bitmaps are too large"
						   : "two bitmaps have one name", error);
	struct block_dirty *dirty = block_dirty_new(&q->node, name, e->shift);
	dirty->persistent = true;
	dirty->enabled = e->flags & FLAG_AUTO;
	dirty->readonly = q->node.readonly;
	dirty->inconsistent = e->flags & FLAG_IN_USE;
	if (dirty->inconsistent)
		return true;
	if (e->table_size != clusters_of(q, dirty) || e->table & (q->cluster_size - 1))
		return bad(q, "a bitmap's table makes no sense", error);
	int rc = load_bits(q, dirty, e);
	return rc == 0 || error_set_errno(error, -rc, "cannot read the bitmap '%s' of '%s'", name,
					  q->node.file->filename);
}

bool qcow2_bitmaps_load(struct qcow2_node *q, GError **error)
{
	uint32_t count;
	uint64_t size, at = 0, memory = 0;
	if (qcow2_extension_find(q, QCOW2_EXT_BITMAPS) &&
	    !(q->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS))
		log_warning("'%s': a program that knows no bitmaps has written to the image; its bitmaps "
			    "are worthless and ignored", q->node.file->filename);
	g_autoptr(GError) cause = NULL;
	g_autofree uint8_t *b = read_directory(q, &count, &size, &cause);
	for (uint32_t i = 0; b && !cause && i < count; i++) {
		struct entry e;
		if (!next_entry(b, size, &at, &e))
			bad(q, "its bitmap directory makes no sense", &cause);
		else
			load_one(q, &e, &memory, &cause);
	}
	q->bitmaps_loaded = !cause;
	if (cause)
		g_propagate_error(error, g_steal_pointer(&cause));
	return q->bitmaps_loaded;
}

uint64_t qcow2_bitmaps_measure(const struct block_node *source, uint64_t cluster)
{
	uint64_t total = 0, directory = 0;
	for (const struct block_dirty *d = source->dirty; d; d = d->next) {
		if (!d->persistent || d->inconsistent)
			continue;
		uint64_t data = align_up((d->bits + 7) / 8, cluster);
		total += data + align_up(data / cluster * 8, cluster);
		directory += align_up(ENTRY_FIXED + strlen(d->name), 8);
	}
	return total + align_up(directory, cluster);
}

json_t *qcow2_bitmaps_describe(const struct qcow2_node *q)
{
	json_t *list = json_array();
	for (const struct block_dirty *d = q->node.dirty; d; d = d->next) {
		if (!d->persistent)
			continue;
		json_t *flags = json_array();
		if (d->inconsistent || !q->node.readonly)
			json_array_append_new(flags, json_string("in-use"));
		if (d->enabled)
			json_array_append_new(flags, json_string("auto"));
		json_array_append_new(list, json_pack("{s:o, s:s, s:I}", "flags", flags, "name", d->name,
						      "granularity", (json_int_t)1 << d->shift));
	}
	return list;
}

/* --- writing --------------------------------------------------------------------------------------------*/

static uint32_t flags_of(const struct block_dirty *dirty, bool in_use)
{
	return (in_use || dirty->inconsistent ? FLAG_IN_USE : 0) | (dirty->enabled ? FLAG_AUTO : 0);
}

bool qcow2_bitmaps_begin(struct qcow2_node *q, GError **error)
{
	uint32_t count;
	uint64_t size, offset, at = 0;
	for (struct block_dirty *d = q->node.dirty; d; d = d->next)
		d->readonly &= !d->persistent;
	if (!directory(q, &count, &offset, &size))
		return true;
	g_autofree uint8_t *b = read_directory(q, &count, &size, error);
	if (!b)
		return false;
	for (uint32_t i = 0; i < count && at < size; i++) {
		struct entry e;
		uint64_t start = at;
		if (!next_entry(b, size, &at, &e))
			break;
		be32_store(b + start + 12, e.flags | FLAG_IN_USE);
	}
	int rc = block_pwrite(q->node.file, offset, b, size);
	rc = rc < 0 ? rc : qcow2_sync(q);
	return rc == 0 || error_set_errno(error, -rc, "cannot mark the bitmaps of '%s' as in use",
					  q->node.file->filename);
}

/* One cluster of bits; *value is what the table says of it. */
static int store_cluster(struct qcow2_node *q, const struct block_dirty *dirty, uint64_t index,
			 uint64_t *value)
{
	uint64_t first = index << q->cluster_bits, length = MIN(q->cluster_size, bytes_of(dirty) - first);
	g_autofree uint8_t *b = g_malloc0(q->cluster_size);
	for (uint64_t i = 0; i < length; i += 8) {
		uint64_t word = dirty->words[(first + i) / 8];
		le_store(b + i, word, MIN(8, length - i));
	}
	*value = 0;
	if (b[0] == 0 && memcmp(b, b + 1, q->cluster_size - 1) == 0)
		return 0;
	uint64_t offset;
	int rc = qcow2_alloc_all(q, 1, &offset, NULL);
	rc = rc < 0 ? rc : block_pwrite(q->node.file, offset, b, q->cluster_size);
	*value = offset;
	return rc;
}

/* Clusters and table of a bitmap; an inconsistent one gets an empty table. */
static int store_table(struct qcow2_node *q, const struct block_dirty *dirty, struct entry *e)
{
	e->table_size = clusters_of(q, dirty);
	uint64_t bytes = e->table_size * UINT64_C(8);
	g_autofree uint64_t *table = g_new0(uint64_t, e->table_size + 1);
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && !dirty->inconsistent && i < e->table_size; i++) {
		uint64_t value;
		rc = store_cluster(q, dirty, i, &value);
		table[i] = htobe64(value);
	}
	if (rc == 0)
		rc = qcow2_alloc_all(q, (bytes + q->cluster_size - 1) >> q->cluster_bits, &e->table, NULL);
	return rc < 0 ? rc : block_pwrite(q->node.file, e->table, table, bytes);
}

static void put_entry(GByteArray *out, const struct block_dirty *dirty, const struct entry *e)
{
	uint8_t fixed[ENTRY_FIXED];
	static const uint8_t padding[8];
	be64_store(fixed, e->table);
	be32_store(fixed + 8, e->table_size);
	be32_store(fixed + 12, flags_of(dirty, false));
	fixed[16] = TYPE_DIRTY_TRACKING;
	fixed[17] = dirty->shift;
	be16_store(fixed + 18, strlen(dirty->name));
	be32_store(fixed + 20, 0);
	g_byte_array_append(out, fixed, sizeof(fixed));
	g_byte_array_append(out, (const uint8_t *)dirty->name, strlen(dirty->name));
	g_byte_array_append(out, padding, align_up(out->len, 8) - out->len);
}

/* Everything that the directory `b` names, and itself. */
static int give_up(struct qcow2_node *q, const uint8_t *b, uint32_t count, uint64_t offset,
		   uint64_t size)
{
	uint64_t at = 0;
	struct entry e;
	for (uint32_t i = 0; i < count && next_entry(b, size, &at, &e); i++) {
		if (e.table & (q->cluster_size - 1) || e.table_size > QCOW2_L1_MAX)
			continue;
		g_autofree uint64_t *table = g_new0(uint64_t, e.table_size + 1);
		int rc = block_pread(q->node.file, e.table, table, e.table_size * UINT64_C(8));
		if (rc < 0)
			return rc;
		for (uint32_t n = 0; n < e.table_size; n++)
			if (be64toh(table[n]) & QCOW2_OFFSET)
				qcow2_free_later(q, be64toh(table[n]) & QCOW2_OFFSET, q->cluster_size);
		qcow2_free_later(q, e.table, e.table_size * UINT64_C(8));
	}
	qcow2_free_later(q, offset, size);
	return 0;
}

/* Make the header point to the new directory. */
static int publish(struct qcow2_node *q, GByteArray *out, uint32_t count)
{
	uint8_t ext[EXTENSION_SIZE] = {0};
	uint64_t offset = 0;
	int rc = 0;
	if (count) {
		rc = qcow2_alloc_all(q, (out->len + q->cluster_size - 1) >> q->cluster_bits, &offset, NULL);
		rc = rc < 0 ? rc : block_pwrite(q->node.file, offset, out->data, out->len);
	}
	rc = rc < 0 ? rc : qcow2_flush(q);
	if (rc < 0)
		return rc;
	be32_store(ext, count);
	be64_store(ext + 8, out->len);
	be64_store(ext + 16, offset);
	qcow2_extension_set(q, QCOW2_EXT_BITMAPS, count ? ext : NULL, count ? sizeof(ext) : 0);
	q->header.autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_BITMAPS;
	q->header.autoclear |= count ? QCOW2_AUTOCLEAR_BITMAPS : 0;
	return qcow2_header_write(q, NULL) ? 0 : -EIO;
}

int qcow2_bitmaps_store(struct qcow2_node *q)
{
	uint32_t old_count = 0, count = 0;
	uint64_t old_offset = 0, old_size = 0;
	g_autoptr(GByteArray) out = g_byte_array_new();
	bool had = directory(q, &old_count, &old_offset, &old_size);
	g_autofree uint8_t *old = had ? read_directory(q, &old_count, &old_size, NULL) : NULL;
	int rc = 0;
	for (const struct block_dirty *d = q->node.dirty; rc == 0 && d; d = d->next) {
		struct entry e = {0};
		if (!d->persistent)
			continue;
		rc = store_table(q, d, &e);
		put_entry(out, d, &e);
		count++;
	}
	if (rc == 0 && (count || had))
		rc = publish(q, out, count);
	if (rc == 0 && old)
		rc = give_up(q, old, old_count, old_offset, old_size);
	if (rc < 0)
		log_error("'%s': its bitmaps could not be written: %s", q->node.file->filename,
			  g_strerror(-rc));
	for (struct block_dirty *d = q->node.dirty; d; d = d->next)
		d->readonly |= d->persistent;
	return rc;
}

bool qcow2_bitmap_can_keep(struct block_node *node, GError **error)
{
	struct qcow2_node *q = qcow2_of(node);
	return q->header.version >= 3 ||
	       error_set(error, BERTH_ERR_NOT_SUPPORTED,
			 "'%s' is of qcow2 version 2, which has no persistent bitmaps", node->filename);
}
