/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Other refcount widths: all refcount blocks and their table are written anew behind the end of the
 * file, where nothing counts or points to them, until the header names both the new table and the
 * new width. The old ones are then freed as any cluster is: a crash leaves them as leaks.
 */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>

struct rebuild {
	struct qcow2_node *q;
	struct qcow2_node wide; /* only what qcow2_refcount_store() looks at */
	unsigned order;
	uint64_t first;         /* cluster of the new table; the blocks follow it */
	uint64_t entries;       /* in each block */
	GArray *needed;         /* bool for each block: does it count anything? */
	uint64_t table_clusters, blocks, total;
	struct block_progress *progress;
};

/* Is there anything in the old block that counts this cluster? If not, *cluster goes to its end. */
static bool skip_absent(const struct qcow2_node *q, uint64_t *cluster)
{
	uint64_t block = *cluster / q->block_entries;
	if (block < q->reftable_used && q->reftable[block])
		return false;
	*cluster = (block + 1) * q->block_entries;
	return true;
}

static void need(struct rebuild *r, uint64_t cluster)
{
	uint64_t block = cluster / r->entries;
	if (block >= r->needed->len)
		g_array_set_size(r->needed, block + 1);
	bool *needed = &g_array_index(r->needed, bool, block);
	r->blocks += !*needed;
	*needed = true;
}

/*
 * Which of the new blocks the present counts need, and where the used part of the file ends. -ERANGE:
 * the cluster's count needs more bits.
 */
static int look_at_counts(struct rebuild *r, uint64_t *cluster, uint64_t *count)
{
	struct qcow2_node *q = r->q;
	uint64_t bits = UINT64_C(1) << r->order, most = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
	r->first = (q->node.file->size + q->cluster_size - 1) >> q->cluster_bits;
	for (*cluster = 0; *cluster < q->reftable_used * q->block_entries;) {
		if (skip_absent(q, cluster))
			continue;
		int rc = qcow2_refcount_get(q, *cluster, count);
		if (rc < 0 || *count > most)
			return rc < 0 ? rc : -ERANGE;
		if (*count && *cluster / r->entries >= QCOW2_REFTABLE_MAX / 8)
			return -EFBIG;
		if (*count) {
			need(r, *cluster);
			r->first = MAX(r->first, *cluster + 1);
		}
		++*cluster;
	}
	return 0;
}

/* The new clusters count each other: until no more of them are needed. */
static int lay_out(struct rebuild *r)
{
	const struct qcow2_node *q = r->q;
	for (uint64_t before = UINT64_MAX; before != r->blocks + r->table_clusters;) {
		before = r->blocks + r->table_clusters;
		r->total = r->first + before;
		if (r->total / r->entries >= QCOW2_REFTABLE_MAX / 8)
			return -EFBIG;
		for (uint64_t cluster = r->first; cluster < r->total; cluster++)
			need(r, cluster);
		r->table_clusters = (r->needed->len * UINT64_C(8) + q->cluster_size - 1) >> q->cluster_bits;
	}
	return 0;
}

static int write_block(struct rebuild *r, uint64_t block, uint64_t place)
{
	struct qcow2_node *q = r->q;
	uint64_t start = block * r->entries;
	g_autofree uint8_t *b = g_malloc0(q->cluster_size);
	for (uint64_t cluster = start; cluster < MIN(start + r->entries, r->total);) {
		uint64_t count = 1;
		if (cluster < r->first && skip_absent(q, &cluster)) {
			cluster = MIN(cluster, r->first); /* the new clusters may be where no block was */
			continue;
		}
		int rc = cluster < r->first ? qcow2_refcount_get(q, cluster, &count) : 0;
		if (rc < 0)
			return rc;
		qcow2_refcount_store(&r->wide, b, cluster - start, count);
		cluster++;
	}
	return block_pwrite(q->node.file, place, b, q->cluster_size);
}

static int write_all(struct rebuild *r)
{
	struct qcow2_node *q = r->q;
	uint64_t bytes = r->table_clusters << q->cluster_bits;
	uint64_t place = (r->first + r->table_clusters) << q->cluster_bits;
	g_autofree uint8_t *table = g_malloc0(bytes);
	int rc = 0;
	for (uint64_t i = 0; i < r->needed->len && rc == 0; i++) {
		if (!g_array_index(r->needed, bool, i))
			continue;
		be64_store(table + i * 8, place);
		rc = write_block(r, i, place);
		place += q->cluster_size;
		block_progress_report(r->progress, i, r->needed->len);
	}
	rc = rc < 0 ? rc : block_pwrite(q->node.file, r->first << q->cluster_bits, table, bytes);
	return rc < 0 ? rc : qcow2_sync(q);
}

/* The header says it; now memory does, and what is not used any more is given up. */
static bool switch_over(struct rebuild *r, GError **error)
{
	struct qcow2_node *q = r->q;
	struct qcow2_header before = q->header;
	q->header.refcount_order = r->order;
	q->header.reftable_offset = r->first << q->cluster_bits;
	q->header.reftable_clusters = r->table_clusters;
	if (!qcow2_header_write(q, error)) {
		q->header = before;
		return false;
	}
	g_autofree uint64_t *old = q->reftable;
	uint64_t old_used = q->reftable_used;
	for (uint64_t i = 0; i < old_used; i++)
		if (old[i])
			qcow2_pages_drop(q, old[i], q->cluster_size);
	q->reftable = NULL;
	q->refcount_order = r->order;
	q->refcount_bits = 1u << r->order;
	q->block_entries = r->entries;
	q->reftable_used = 0;
	q->zero_from = MAX(q->zero_from, r->total << q->cluster_bits);
	if (!qcow2_reftable_load(q, error))
		return false;
	for (uint64_t i = 0; i < old_used; i++)
		if (old[i])
			qcow2_free_later(q, old[i], q->cluster_size);
	qcow2_free_later(q, before.reftable_offset, (uint64_t)before.reftable_clusters << q->cluster_bits);
	int rc = qcow2_flush(q);
	rc = rc < 0 ? rc : qcow2_flush(q); /* the counts of what became free */
	return rc == 0 || error_set_errno(error, -rc, "cannot free the old refcounts of '%s'",
					  q->node.filename);
}

static bool rebuild(struct rebuild *r, GError **error)
{
	struct qcow2_node *q = r->q;
	uint64_t cluster = 0, count = 0;
	int rc = qcow2_flush(q);
	rc = rc < 0 ? rc : qcow2_flush(q);
	rc = rc < 0 ? rc : look_at_counts(r, &cluster, &count);
	if (rc == -ERANGE)
		return error_set(error, BERTH_ERR_INVALID,
				 "Cannot decrease refcount entry width to %u bits: Cluster at offset 0x%"
				 G_GINT64_MODIFIER "x has a refcount of %" G_GUINT64_FORMAT, 1u << r->order,
				 cluster << q->cluster_bits, count);
	rc = rc < 0 ? rc : lay_out(r);
	if (rc == -EFBIG)
		return error_set(error, BERTH_ERR_INVALID, "'%s' is too large for refcounts of %u bits",
				 q->node.filename, 1u << r->order);
	rc = rc < 0 ? rc : write_all(r);
	if (rc < 0)
		return error_set_errno(error, -rc, "cannot write new refcounts of '%s'", q->node.filename);
	return switch_over(r, error);
}

bool qcow2_set_refcount_width(struct qcow2_node *q, unsigned order, struct block_progress *progress,
			      GError **error)
{
	struct rebuild r = {.q = q, .order = order, .progress = progress,
			    .entries = q->cluster_size * 8 >> order,
			    .needed = g_array_new(false, true, sizeof(bool)),
			    .wide = {.refcount_order = order, .refcount_bits = 1u << order}};
	qcow2_freeze(q);
	bool good = rebuild(&r, error);
	qcow2_thaw(q);
	g_array_free(r.needed, true);
	return good;
}
