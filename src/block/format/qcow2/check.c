/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Check and repair: count all references from the header down, and compare with the refcounts.
 * Memory is in proportion to the file, and nothing is visited twice, however the image points.
 */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define CHUNK 4096

struct checker {
	struct qcow2_node *q;
	struct block_check *result;
	GHashTable *chunks;   /* of CHUNK counts each, by cluster / CHUNK */
	uint64_t clusters;    /* of the file; references behind are errors */
	uint64_t highest;     /* last cluster referenced, + 1 */
	uint64_t next_offset; /* where the next data cluster would be if nothing were fragmented */
};

static void G_GNUC_PRINTF(2, 3) report(struct checker *c, const char *format, ...)
{
	va_list args;
	if (!c->result->report)
		return;
	va_start(args, format);
	g_autofree char *line = g_strdup_vprintf(format, args);
	va_end(args);
	c->result->report(c->result->opaque, line);
}

static uint32_t *count_of(struct checker *c, uint64_t cluster, bool make)
{
	uint64_t key = cluster / CHUNK;
	struct {
		uint64_t key;
		uint32_t counts[CHUNK];
	} *chunk = g_hash_table_lookup(c->chunks, &key);
	if (!chunk && make) {
		chunk = g_malloc0(sizeof(*chunk));
		chunk->key = key;
		g_hash_table_insert(c->chunks, &chunk->key, chunk);
	}
	return chunk ? &chunk->counts[cluster % CHUNK] : NULL;
}

static uint32_t references(struct checker *c, uint64_t cluster)
{
	const uint32_t *count = count_of(c, cluster, false);
	return count ? *count : 0;
}

/* One more reference to each cluster of a range. */
static void refer(struct checker *c, uint64_t offset, uint64_t length)
{
	struct qcow2_node *q = c->q;
	if (!length)
		return;
	uint64_t first = offset >> q->cluster_bits, last = (offset + length - 1) >> q->cluster_bits;
	for (uint64_t i = first; i <= last; i++) {
		/* The last clusters may not have been written yet: the file may be one shorter. */
		if (i > c->clusters) {
			report(c, "ERROR: counting reference for region exceeding the end of the file by "
				  "one cluster or more: offset 0x%" G_GINT64_MODIFIER "x size 0x%"
				  G_GINT64_MODIFIER "x", offset, length);
			c->result->corruptions++;
			return;
		}
		++*count_of(c, i, true);
		c->highest = MAX(c->highest, i + 1);
	}
}

/* Bits that the format has no meaning for: whoever set them meant something that we do not know. */
static void check_reserved(struct checker *c, const char *table, uint64_t entry, uint64_t reserved)
{
	if (!(entry & reserved))
		return;
	report(c, "ERROR found %s entry with reserved bits set: %" G_GINT64_MODIFIER "x", table, entry);
	c->result->corruptions++;
}

static void refer_entry(struct checker *c, uint64_t entry, bool active)
{
	struct qcow2_node *q = c->q;
	uint64_t offset = entry & QCOW2_OFFSET, length;
	if (entry & QCOW2_COMPRESSED) {
		qcow2_packed_range(q, entry, &offset, &length);
		refer(c, align_down(offset, 512), align_up((offset & 511) + length, 512));
		if (active) {
			c->result->allocated_clusters++;
			c->result->compressed_clusters++;
			c->result->fragmented_clusters++;
		}
		return;
	}
	check_reserved(c, "L2", entry, QCOW2_RESERVED_L2 | (q->extended ? QCOW2_ZERO : 0));
	if (!offset && !(q->external && entry & QCOW2_COPIED))
		return;
	if (active) {
		c->result->allocated_clusters++;
		if (c->next_offset && offset != c->next_offset)
			c->result->fragmented_clusters++;
		c->next_offset = offset + q->cluster_size;
	}
	if (q->external)
		return;
	if (offset & (q->cluster_size - 1)) {
		report(c, "ERROR offset=%" G_GINT64_MODIFIER "x: Cluster is not properly aligned; L2 "
			  "entry corrupted.", offset);
		c->result->corruptions++;
		return;
	}
	refer(c, offset, q->cluster_size);
}

static int refer_l2(struct checker *c, uint64_t table, bool active)
{
	struct qcow2_node *q = c->q;
	g_autofree uint8_t *b = g_malloc(q->cluster_size);
	int rc = block_pread(q->node.file, table, b, q->cluster_size);
	c->next_offset = 0;
	for (uint64_t i = 0; rc == 0 && i < q->cluster_size; i += q->entry_size) {
		uint64_t entry = be64_load(b + i);
		if (entry)
			refer_entry(c, entry, active);
	}
	return rc;
}

static int refer_l1(struct checker *c, const uint64_t *l1, uint32_t size, bool active)
{
	struct qcow2_node *q = c->q;
	g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	for (uint32_t i = 0; i < size; i++) {
		uint64_t table = l1[i] & QCOW2_OFFSET;
		check_reserved(c, "L1", l1[i], QCOW2_RESERVED_L1);
		if (!table)
			continue;
		bool twice = g_hash_table_contains(seen, &table);
		if (twice || table & (q->cluster_size - 1) ||
		    table >> q->cluster_bits > c->clusters) {
			report(c, "ERROR l2_offset=%" G_GINT64_MODIFIER "x: Table is %s; L1 entry "
				  "corrupted", table, twice ? "used twice" :
				  table & (q->cluster_size - 1) ? "not cluster aligned" :
				  "behind the end of the file");
			c->result->corruptions++;
			continue;
		}
		g_hash_table_add(seen, g_memdup2(&table, sizeof(table)));
		refer(c, table, q->cluster_size);
		int rc = refer_l2(c, table, active);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int refer_snapshots(struct checker *c)
{
	struct qcow2_node *q = c->q;
	refer(c, q->header.snapshots_offset, q->snapshot_table_size);
	for (unsigned i = 0; i < q->snapshots->len; i++) {
		const struct qcow2_snapshot *s = &g_array_index(q->snapshots, struct qcow2_snapshot, i);
		g_autofree uint64_t *l1 = g_new0(uint64_t, s->l1_size + 1);
		refer(c, s->l1_offset, s->l1_size * UINT64_C(8));
		int rc = block_pread(q->node.file, s->l1_offset, l1, s->l1_size * UINT64_C(8));
		for (uint32_t n = 0; n < s->l1_size; n++)
			l1[n] = be64toh(l1[n]);
		rc = rc < 0 ? rc : refer_l1(c, l1, s->l1_size, false);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The bitmap directory, the tables it names, and their clusters. */
static int refer_bitmaps(struct checker *c)
{
	struct qcow2_node *q = c->q;
	const struct qcow2_ext *ext = qcow2_extension_find(q, QCOW2_EXT_BITMAPS);
	/* Without the bit they do not count any more. */
	if (!ext || ext->length < 24 || !(q->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	uint64_t size = be64_load(ext->data + 8), offset = be64_load(ext->data + 16);
	if (q->bitmaps_error) {
		report(c, "ERROR bitmaps: %s", q->bitmaps_error);
		c->result->corruptions++;
	}
	if (size > 1024 * 65536)
		return -EINVAL;
	g_autofree uint8_t *b = g_malloc(size + 1);
	refer(c, offset, size);
	int rc = block_pread(q->node.file, offset, b, size);
	for (uint64_t at = 0; rc == 0 && at + 24 <= size;) {
		uint64_t table = be64_load(b + at), entries = be32_load(b + at + 8);
		if (entries > 4 << 20)
			return -EINVAL;
		g_autofree uint64_t *t = g_new0(uint64_t, entries + 1);
		refer(c, table, entries * 8);
		rc = block_pread(q->node.file, table, t, entries * 8);
		for (uint64_t i = 0; rc == 0 && i < entries; i++)
			if (be64toh(t[i]) & QCOW2_OFFSET)
				refer(c, be64toh(t[i]) & QCOW2_OFFSET, q->cluster_size);
		at += align_up(24 + be16_load(b + at + 18) + be32_load(b + at + 20), 8);
	}
	return rc;
}

/* --- refcount blocks --------------------------------------------------------------------------------------*/

/* Whatever was meant by these bits, they are no part of an offset; written anew, the table has none. */
static void check_reftable_reserved(struct checker *c)
{
	struct qcow2_node *q = c->q;
	if (!q->reftable_reserved)
		return;
	report(c, "ERROR entries of the refcount table with reserved bits set: %" G_GUINT64_FORMAT,
	       q->reftable_reserved);
	c->result->corruptions += q->reftable_reserved;
	if (c->result->fix & BLOCK_FIX_ERRORS) {
		c->result->corruptions_fixed += q->reftable_reserved;
		q->reftable_reserved = 0;
		q->reftable_changed = true;
	}
}

/* Refcount blocks that cannot be: forgotten when repairing, so that new ones replace them. */
static void refer_blocks(struct checker *c)
{
	struct qcow2_node *q = c->q;
	for (uint64_t i = 0; i < q->reftable_used; i++) {
		uint64_t offset = q->reftable[i], cluster = offset >> q->cluster_bits;
		if (!offset)
			continue;
		bool bad = offset & (q->cluster_size - 1) || cluster > c->clusters ||
			   references(c, cluster);
		if (!bad) {
			refer(c, offset, q->cluster_size);
			continue;
		}
		report(c, "ERROR refcount block %" G_GUINT64_FORMAT " is %s", i,
		       offset & (q->cluster_size - 1) ? "not cluster aligned; refcount table entry "
							"corrupted"
		       : cluster > c->clusters ? "outside image" : "used twice or is also something "
								   "else");
		c->result->corruptions++;
		if (c->result->fix & BLOCK_FIX_ERRORS) {
			q->reftable[i] = 0;
			q->reftable_changed = true;
			c->result->corruptions_fixed++;
		}
	}
}

/* A new block at the file's end for counts that have none. */
static int append_block(struct checker *c, uint64_t block)
{
	struct qcow2_node *q = c->q;
	uint64_t cluster = MAX(c->highest, c->clusters) + 1;
	struct qcow2_page *page;
	if (block >= q->reftable_size)
		return -EFBIG;
	uint64_t offset = cluster << q->cluster_bits;
	int rc = 0;
	for (uint64_t at = 0; at < q->cluster_size && rc == 0; at += q->page_size)
		rc = qcow2_page_new(q, offset + at, QCOW2_PAGE_REFCOUNT, &page);
	if (rc < 0)
		return rc;
	q->reftable[block] = offset;
	q->reftable_used = MAX(q->reftable_used, block + 1);
	q->reftable_changed = true;
	c->clusters = cluster;
	refer(c, offset, q->cluster_size);
	return 0;
}

static int set_count(struct checker *c, uint64_t cluster, uint64_t count)
{
	struct qcow2_node *q = c->q;
	uint64_t block = cluster / q->block_entries;
	if (block >= q->reftable_size || !q->reftable[block]) {
		int rc = append_block(c, block);
		if (rc < 0)
			return rc;
	}
	return qcow2_refcount_set(q, cluster, count);
}

static int compare(struct checker *c, uint64_t cluster)
{
	struct block_check *r = c->result;
	uint64_t count, wanted = references(c, cluster);
	int rc = qcow2_refcount_get(c->q, cluster, &count);
	if (rc < 0)
		return rc;
	if (count)
		r->image_end_offset = MAX(r->image_end_offset, (cluster + 1) << c->q->cluster_bits);
	if (count == wanted)
		return 0;
	bool leak = count > wanted;
	bool fix = r->fix & (leak ? BLOCK_FIX_LEAKS : BLOCK_FIX_ERRORS);
	report(c, "%s cluster %" G_GUINT64_FORMAT " refcount=%" G_GUINT64_FORMAT " reference=%"
	       G_GUINT64_FORMAT, fix ? "Repairing" : leak ? "Leaked" : "ERROR", cluster, count, wanted);
	*(leak ? &r->leaks : &r->corruptions) += 1;
	if (fix) {
		rc = set_count(c, cluster, wanted);
		if (rc == 0)
			*(leak ? &r->leaks_fixed : &r->corruptions_fixed) += 1;
	}
	return rc;
}

static int compare_all(struct checker *c)
{
	struct qcow2_node *q = c->q;
	/* Blocks that repair appends raise `highest`: they are compared too. */
	for (uint64_t block = 0; block < MAX(q->reftable_used, (c->highest + q->block_entries - 1) /
								       q->block_entries); block++) {
		uint64_t first = block * q->block_entries, end = first + q->block_entries;
		bool counted = block < q->reftable_used && q->reftable[block];
		if (!counted)
			end = MIN(end, c->highest);
		for (uint64_t cluster = first; cluster < end; cluster++) {
			int rc = compare(c, cluster);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

/* --- flags ------------------------------------------------------------------------------------------------*/

static int check_flag(struct checker *c, uint64_t entry, const char *table, bool *wrong)
{
	uint64_t count;
	int rc = qcow2_refcount_get(c->q, (entry & QCOW2_OFFSET) >> c->q->cluster_bits, &count);
	*wrong = rc == 0 && (count == 1) != !!(entry & QCOW2_COPIED);
	if (*wrong) {
		bool fix = c->result->fix & BLOCK_FIX_ERRORS;
		report(c, "%s OFLAG_COPIED %s cluster: entry=%" G_GINT64_MODIFIER "x refcount=%"
		       G_GUINT64_FORMAT, fix ? "Repairing" : "ERROR", table, entry, count);
		c->result->corruptions++;
		c->result->corruptions_fixed += fix;
	}
	return rc;
}

static int check_flags(struct checker *c)
{
	struct qcow2_node *q = c->q;
	bool wrong, any = false;
	g_autofree uint8_t *b = g_malloc(q->cluster_size);
	for (uint32_t i = 0; i < q->l1_size; i++) {
		uint64_t table = q->l1[i] & QCOW2_OFFSET;
		if (!table || table & (q->cluster_size - 1) || table >> q->cluster_bits > c->clusters)
			continue;
		int rc = check_flag(c, q->l1[i], "L2", &wrong);
		any |= wrong;
		rc = rc < 0 ? rc : block_pread(q->node.file, table, b, q->cluster_size);
		for (uint64_t at = 0; rc == 0 && !q->external && at < q->cluster_size;
		     at += q->entry_size) {
			uint64_t entry = be64_load(b + at);
			if (entry & QCOW2_COMPRESSED || !(entry & QCOW2_OFFSET))
				continue;
			rc = check_flag(c, entry, "data", &wrong);
			any |= wrong;
		}
		if (rc < 0)
			return rc;
	}
	return any && c->result->fix & BLOCK_FIX_ERRORS ? qcow2_update_flags(q) : 0;
}

static int run(struct checker *c)
{
	struct qcow2_node *q = c->q;
	int rc = q->node.readonly ? 0 : qcow2_flush(q);
	if (rc < 0)
		return rc;
	c->clusters = (q->node.file->size + q->cluster_size - 1) >> q->cluster_bits;
	c->result->total_clusters = (q->header.size + q->cluster_size - 1) >> q->cluster_bits;
	refer(c, 0, q->cluster_size);
	refer(c, q->header.l1_offset, q->l1_size * UINT64_C(8));
	refer(c, q->crypt.offset, q->crypt.length);
	rc = refer_l1(c, q->l1, q->l1_size, true);
	rc = rc < 0 ? rc : refer_snapshots(c);
	rc = rc < 0 ? rc : refer_bitmaps(c);
	if (rc < 0)
		return rc;
	refer(c, q->header.reftable_offset, q->reftable_size * 8);
	check_reftable_reserved(c);
	refer_blocks(c);
	rc = compare_all(c);
	return rc < 0 ? rc : check_flags(c);
}

bool qcow2_check(struct block_node *node, struct block_check *check, GError **error)
{
	struct qcow2_node *q = qcow2_of(node);
	struct checker c = {.q = q, .result = check,
			    .chunks = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free)};
	bool was_corrupt = q->corrupt;
	qcow2_freeze(q);
	q->corrupt = false;
	int rc = run(&c);
	g_hash_table_destroy(c.chunks);
	if (rc == 0 && check->fix)
		rc = qcow2_flush(q);
	bool clean = rc == 0 && check->fix & BLOCK_FIX_ERRORS &&
		     check->corruptions == check->corruptions_fixed;
	uint64_t marks = QCOW2_INCOMPAT_CORRUPT | QCOW2_INCOMPAT_DIRTY;
	if (clean && q->header.incompatible & marks)
		rc = qcow2_mark(q, q->header.incompatible & ~marks);
	q->corrupt = was_corrupt && !clean;
	qcow2_thaw(q);
	if (rc < 0)
		check->check_errors++;
	if (rc == 0 && clean && qcow2_extension_find(q, QCOW2_EXT_WAS_V2))
		return qcow2_downgrade(q, NULL, error);
	return rc == 0 || error_set_errno(error, -rc, "cannot check '%s'", node->filename);
}
