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
	uint64_t table_clusters, blocks, entries, total;
	struct block_progress *progress;
};

static int find_end(struct qcow2_node *q, uint64_t *end)
{
	*end = (q->node.file->size + q->cluster_size - 1) >> q->cluster_bits;
	for (uint64_t i = q->reftable_used; i-- > 0;) {
		if (!q->reftable[i])
			continue;
		for (uint64_t n = q->block_entries; n-- > 0;) {
			uint64_t count, cluster = i * q->block_entries + n;
			int rc = qcow2_refcount_get(q, cluster, &count);
			if (rc < 0)
				return rc;
			if (count || cluster < *end) {
				*end = MAX(*end, cluster + 1);
				return 0;
			}
		}
	}
	return 0;
}

/* The first cluster whose count needs more bits: -ERANGE. */
static int check_counts(const struct rebuild *r, uint64_t *cluster, uint64_t *count)
{
	uint64_t bits = UINT64_C(1) << r->order, most = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
	for (*cluster = 0; *cluster < r->first; ++*cluster) {
		int rc = qcow2_refcount_get(r->q, *cluster, count);
		if (rc < 0 || *count > most)
			return rc < 0 ? rc : -ERANGE;
	}
	return 0;
}

static void lay_out(struct rebuild *r)
{
	const struct qcow2_node *q = r->q;
	r->entries = q->cluster_size * 8 >> r->order;
	r->blocks = r->table_clusters = 0;
	for (uint64_t before = UINT64_MAX; before != r->blocks + r->table_clusters;) {
		before = r->blocks + r->table_clusters;
		r->total = r->first + before;
		r->blocks = (r->total + r->entries - 1) / r->entries;
		r->table_clusters = (r->blocks * 8 + q->cluster_size - 1) >> q->cluster_bits;
	}
}

static int write_block(struct rebuild *r, uint64_t block)
{
	struct qcow2_node *q = r->q;
	g_autofree uint8_t *b = g_malloc0(q->cluster_size);
	for (uint64_t i = 0; i < r->entries; i++) {
		uint64_t cluster = block * r->entries + i, count = 1;
		if (cluster >= r->total)
			break;
		int rc = cluster < r->first ? qcow2_refcount_get(q, cluster, &count) : 0;
		if (rc < 0)
			return rc;
		qcow2_refcount_store(&r->wide, b, i, count);
	}
	return block_pwrite(q->node.file, (r->first + r->table_clusters + block) << q->cluster_bits, b,
			    q->cluster_size);
}

static int write_all(struct rebuild *r)
{
	struct qcow2_node *q = r->q;
	uint64_t bytes = r->table_clusters << q->cluster_bits;
	g_autofree uint8_t *table = g_malloc0(bytes);
	int rc = 0;
	for (uint64_t i = 0; i < r->blocks && rc == 0; i++) {
		be64_store(table + i * 8, (r->first + r->table_clusters + i) << q->cluster_bits);
		rc = write_block(r, i);
		block_progress_report(r->progress, i, r->blocks);
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
	rc = rc < 0 ? rc : find_end(q, &r->first);
	rc = rc < 0 ? rc : check_counts(r, &cluster, &count);
	if (rc == -ERANGE)
		return error_set(error, BERTH_ERR_INVALID,
				 "Cannot decrease refcount entry width to %u bits: Cluster at offset 0x%"
				 G_GINT64_MODIFIER "x has a refcount of %" G_GUINT64_FORMAT, 1u << r->order,
				 cluster << q->cluster_bits, count);
	lay_out(r);
	if (r->table_clusters << q->cluster_bits > QCOW2_REFTABLE_MAX)
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
			    .wide = {.refcount_order = order, .refcount_bits = 1u << order}};
	qcow2_freeze(q);
	bool good = rebuild(&r, error);
	qcow2_thaw(q);
	return good;
}
