/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From version 3 to 2, which has no feature bits and no way to say that a cluster reads as zeroes:
 * such clusters become unallocated, or hold zeroes. The image is a good one of version 3 until its
 * header, which is written last, says 2.
 *
 * And the dirty bit that version 2 does not have: while counts change, such an image is one of
 * version 3, with an extension that says what it was, and whoever repairs it here makes it that again.
 * (Readers ignore extensions that they do not know.)
 */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>

struct expansion {
	struct qcow2_node *q;
	GHashTable *seen; /* L2 tables that are done: snapshots share them */
	uint64_t done, total;
	struct block_progress *progress;
};

/* Zeroes into the cluster at `host`, which the guest has at `guest`. */
static int fill_cluster(struct qcow2_node *q, uint64_t guest, uint64_t host)
{
	uint64_t unit = MIN(q->cluster_size, 65536);
	int rc = 0;
	for (uint64_t at = 0; at < q->cluster_size && rc == 0; at += unit) {
		struct iovec iov = {q->zeroes, unit};
		rc = qcow2_data_write(q, guest + at, host + at, &iov, 1, unit);
	}
	return rc;
}

/* A new cluster that counts as often as the L2 table that is going to point to it. */
static int new_cluster(struct qcow2_node *q, uint64_t table_count, uint64_t *host)
{
	int rc = qcow2_alloc_all(q, 1, host, NULL);
	for (uint64_t i = 1; i < table_count && rc == 0; i++)
		rc = qcow2_refcount_add(q, *host, q->cluster_size, 1);
	return rc;
}

/* What an entry that reads as zeroes becomes. */
static int expand_entry(struct qcow2_node *q, uint64_t guest, uint64_t table_count, uint64_t *entry)
{
	uint64_t host = *entry & QCOW2_OFFSET;
	if (!host && !q->node.backing) {
		*entry = 0;
		return 0;
	}
	uint64_t flag = *entry & QCOW2_COPIED;
	int rc = 0;
	if (!host) {
		rc = new_cluster(q, table_count, &host);
		flag = table_count == 1 ? QCOW2_COPIED : 0;
	}
	rc = rc < 0 ? rc : fill_cluster(q, guest, host);
	*entry = host | flag;
	return rc;
}

static int expand_page(struct qcow2_node *q, uint64_t offset, uint64_t guest, uint64_t table_count)
{
	for (uint64_t i = 0; i < q->page_size; i += 8, guest += q->cluster_size) {
		struct qcow2_page *page;
		int rc = qcow2_page_get(q, offset, QCOW2_PAGE_L2, &page);
		if (rc < 0)
			return rc;
		uint64_t entry = be64_load(page->data + i);
		if (entry & QCOW2_COMPRESSED || !(entry & QCOW2_ZERO))
			continue;
		rc = expand_entry(q, guest, table_count, &entry);
		rc = rc < 0 ? rc : qcow2_page_get(q, offset, QCOW2_PAGE_L2, &page);
		if (rc < 0)
			return rc;
		be64_store(page->data + i, entry);
		qcow2_page_dirty(q, page);
	}
	return 0;
}

static int expand_tables(struct expansion *e, const uint64_t *l1, uint32_t size)
{
	struct qcow2_node *q = e->q;
	for (uint32_t i = 0; i < size; i++) {
		uint64_t table = l1[i] & QCOW2_OFFSET, count;
		block_progress_report(e->progress, e->done++, e->total);
		if (!table || g_hash_table_contains(e->seen, &table))
			continue;
		g_hash_table_add(e->seen, g_memdup2(&table, sizeof(table)));
		int rc = table & (q->cluster_size - 1) ? qcow2_corrupt(q, "an L2 table is not aligned", table)
						      : qcow2_refcount_get(q, table >> q->cluster_bits, &count);
		uint64_t guest = (uint64_t)i << (q->l2_bits + q->cluster_bits);
		for (uint64_t at = 0; at < q->cluster_size && rc == 0; at += q->page_size)
			rc = expand_page(q, table + at, guest + (at / 8 << q->cluster_bits), count);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int expand_zeroes(struct qcow2_node *q, struct block_progress *progress)
{
	struct expansion e = {.q = q, .total = q->l1_size, .progress = progress,
			      .seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL)};
	for (unsigned i = 0; i < q->snapshots->len; i++)
		e.total += g_array_index(q->snapshots, struct qcow2_snapshot, i).l1_size;
	int rc = expand_tables(&e, q->l1, q->l1_size);
	for (unsigned i = 0; i < q->snapshots->len && rc == 0; i++) {
		const struct qcow2_snapshot *s = &g_array_index(q->snapshots, struct qcow2_snapshot, i);
		g_autofree uint64_t *l1 = qcow2_snapshot_l1(q, s, s->l1_size, &rc);
		rc = rc < 0 ? rc : expand_tables(&e, l1, s->l1_size);
	}
	g_hash_table_destroy(e.seen);
	/* On disk before a header that could not say what was there before. */
	return rc < 0 ? rc : qcow2_flush(q);
}

/* In the order and words of QEMU. */
static bool check_possible(const struct qcow2_node *q, GError **error)
{
	uint64_t features = q->header.incompatible & ~(uint64_t)QCOW2_INCOMPAT_DIRTY;
	if (q->external)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "Cannot downgrade an image with a data file");
	if (q->refcount_bits != 16)
		return error_set(error, BERTH_ERR_INVALID, "compat=0.10 requires refcount_bits=16");
	if (features)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "Cannot downgrade an image with incompatible features 0x%" G_GINT64_MODIFIER
				 "x set", features);
	for (unsigned i = 0; i < q->snapshots->len; i++) {
		const struct qcow2_snapshot *s = &g_array_index(q->snapshots, struct qcow2_snapshot, i);
		if (s->vm_state_size > UINT32_MAX || s->disk_size != q->header.size)
			return error_set(error, BERTH_ERR_NOT_SUPPORTED,
					 "Internal snapshots prevent downgrade of image");
	}
	return true;
}

bool qcow2_downgrade(struct qcow2_node *q, struct block_progress *progress, GError **error)
{
	if (!check_possible(q, error))
		return false;
	qcow2_freeze(q);
	struct qcow2_header before = q->header;
	int rc = expand_zeroes(q, progress);
	bool good = rc == 0 || error_set_errno(error, -rc, "cannot fill the clusters of '%s' that read as "
					       "zeroes", q->node.filename);
	if (good) {
		q->header.version = 2;
		q->header.header_length = 72;
		q->header.incompatible = q->header.compatible = q->header.autoclear = 0;
		q->lazy = false;
		qcow2_extension_set(q, QCOW2_EXT_WAS_V2, NULL, 0);
		good = qcow2_header_write(q, error);
	}
	if (!good)
		q->header = before;
	qcow2_thaw(q);
	return good;
}

/* --- the dirty bit ------------------------------------------------------------------------------------------*/

/* A header goes to the disk at one moment if it is no longer than this. */
#define SECTOR 512

static bool fits_a_sector(const struct qcow2_node *q)
{
	size_t length;
	g_autofree uint8_t *b = g_malloc0(q->cluster_size);
	qcow2_header_encode(q, b, &length);
	return length <= SECTOR;
}

static int change_version(struct qcow2_node *q, uint32_t version, uint64_t incompatible)
{
	struct qcow2_header before = q->header;
	q->header.version = version;
	q->header.incompatible = incompatible;
	qcow2_extension_set(q, QCOW2_EXT_WAS_V2, version == 3 ? "" : NULL, 0);
	/* The backing file's name moves: with a long one, a crash could leave half of the new header. */
	bool fits = fits_a_sector(q);
	if (fits && qcow2_header_write(q, NULL))
		return 0;
	q->header = before;
	qcow2_extension_set(q, QCOW2_EXT_WAS_V2, version == 2 ? "" : NULL, 0);
	return fits ? -EIO : 0;
}

int qcow2_dirty_begin(struct qcow2_node *q, bool *was_dirty)
{
	*was_dirty = q->header.incompatible & QCOW2_INCOMPAT_DIRTY;
	if (*was_dirty)
		return 0;
	/*
	 * Where that is not possible, counts that are too high after a crash, and flags that do not fit
	 * them, are harmless; but a check calls them errors.
	 */
	return q->header.version < 3 ? change_version(q, 3, QCOW2_INCOMPAT_DIRTY)
				     : qcow2_mark(q, q->header.incompatible | QCOW2_INCOMPAT_DIRTY);
}

int qcow2_dirty_end(struct qcow2_node *q, int rc, bool was_dirty)
{
	if (rc < 0 || was_dirty || !(q->header.incompatible & QCOW2_INCOMPAT_DIRTY))
		return rc;
	return qcow2_extension_find(q, QCOW2_EXT_WAS_V2)
		       ? change_version(q, 2, 0)
		       : qcow2_mark(q, q->header.incompatible & ~(uint64_t)QCOW2_INCOMPAT_DIRTY);
}
