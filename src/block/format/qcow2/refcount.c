/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reference counts of host clusters, and finding free ones. */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>
#include <string.h>

#define OFFSET_MAX (UINT64_C(1) << 56)

uint64_t qcow2_refcount_load(const struct qcow2_node *q, const uint8_t *data, uint64_t index)
{
	switch (q->refcount_order) {
	case 3:
		return data[index];
	case 4:
		return be16_load(data + index * 2);
	case 5:
		return be32_load(data + index * 4);
	case 6:
		return be64_load(data + index * 8);
	default: { /* 1, 2 or 4 bits, from the least significant on */
		unsigned bits = q->refcount_bits, per_byte = 8 / bits;
		return data[index / per_byte] >> (index % per_byte * bits) & ((1 << bits) - 1);
	}
	}
}

void qcow2_refcount_store(const struct qcow2_node *q, uint8_t *data, uint64_t index, uint64_t value)
{
	switch (q->refcount_order) {
	case 3:
		data[index] = value;
		break;
	case 4:
		be16_store(data + index * 2, value);
		break;
	case 5:
		be32_store(data + index * 4, value);
		break;
	case 6:
		be64_store(data + index * 8, value);
		break;
	default: {
		unsigned bits = q->refcount_bits, per_byte = 8 / bits;
		unsigned shift = index % per_byte * bits, mask = ((1 << bits) - 1) << shift;
		data[index / per_byte] = (data[index / per_byte] & ~mask) | value << shift;
	}
	}
}

bool qcow2_reftable_load(struct qcow2_node *q, GError **error)
{
	const struct qcow2_header *h = &q->header;
	uint64_t bytes = (uint64_t)h->reftable_clusters << q->cluster_bits;
	q->reftable_size = bytes / 8;
	q->reftable = g_new0(uint64_t, q->reftable_size + 1);
	int rc = bytes ? block_pread(q->node.file, h->reftable_offset, q->reftable, bytes) : 0;
	for (uint64_t i = 0; i < q->reftable_size; i++) {
		uint64_t entry = be64toh(q->reftable[i]);
		q->reftable_reserved += (entry & QCOW2_RESERVED_REFTABLE) != 0;
		q->reftable[i] = entry & ~QCOW2_RESERVED_REFTABLE;
		if (q->reftable[i])
			q->reftable_used = i + 1;
	}
	return rc == 0 || error_set_errno(error, -rc, "cannot read the refcount table of '%s'",
					  q->node.file->filename);
}

/* The page and the index in it that hold a cluster's count; *page NULL: not covered, so 0. */
static int find_page(struct qcow2_node *q, uint64_t cluster, struct qcow2_page **page,
		     uint64_t *index)
{
	uint64_t block = cluster / q->block_entries, in_block = cluster % q->block_entries;
	uint64_t per_page = q->page_size * 8 >> q->refcount_order;
	*page = NULL;
	*index = in_block % per_page;
	if (block >= q->reftable_size || !q->reftable[block])
		return 0;
	if (q->reftable[block] & (q->cluster_size - 1))
		return qcow2_corrupt(q, "a refcount block is not aligned", q->reftable[block]);
	return qcow2_page_get(q, q->reftable[block] + in_block / per_page * q->page_size,
			      QCOW2_PAGE_REFCOUNT, page);
}

int qcow2_refcount_get(struct qcow2_node *q, uint64_t cluster, uint64_t *count)
{
	struct qcow2_page *page;
	uint64_t index;
	int rc = find_page(q, cluster, &page, &index);
	*count = rc == 0 && page ? qcow2_refcount_load(q, page->data, index) : 0;
	return rc;
}

static uint64_t count_max(const struct qcow2_node *q)
{
	return q->refcount_bits == 64 ? UINT64_MAX : (UINT64_C(1) << q->refcount_bits) - 1;
}

static bool meets(uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length)
{
	return a < b + b_length && b < a + a_length;
}

bool qcow2_overlaps(const struct qcow2_node *q, uint64_t offset, uint64_t length)
{
	const struct qcow2_header *h = &q->header;
	if (meets(offset, length, 0, q->cluster_size) ||
	    meets(offset, length, h->l1_offset, (uint64_t)q->l1_size * 8) ||
	    meets(offset, length, h->reftable_offset, q->reftable_size * 8) ||
	    meets(offset, length, q->crypt.offset, q->crypt.length))
		return true;
	for (uint32_t i = 0; i < q->l1_size; i++)
		if (q->l1[i] && meets(offset, length, q->l1[i] & QCOW2_OFFSET, q->cluster_size))
			return true;
	for (uint64_t i = 0; i < q->reftable_used; i++)
		if (q->reftable[i] && meets(offset, length, q->reftable[i], q->cluster_size))
			return true;
	return false;
}

/* A refcount block for clusters that had none: it is the first of the clusters that it counts. */
static int new_block(struct qcow2_node *q, uint64_t block)
{
	uint64_t first = block * q->block_entries, offset = first << q->cluster_bits;
	struct qcow2_page *page = NULL;
	if (qcow2_overlaps(q, offset, q->cluster_size))
		return qcow2_corrupt(q, "metadata in use is not counted", offset);
	int rc = 0;
	if (offset >= OFFSET_MAX)
		return -EFBIG;
	for (uint64_t at = q->cluster_size; at > 0 && rc == 0; at -= q->page_size)
		rc = qcow2_page_new(q, offset + at - q->page_size, QCOW2_PAGE_REFCOUNT, &page);
	if (rc < 0)
		return rc;
	/* The last one made is the first page of the block, where the block counts itself. */
	qcow2_refcount_store(q, page->data, 0, 1);
	q->reftable[block] = offset;
	q->reftable_used = MAX(q->reftable_used, block + 1);
	q->reftable_changed = true;
	q->zero_from = MAX(q->zero_from, offset + q->cluster_size);
	return 0;
}

/*
 * A larger refcount table, behind everything that the present one can count, together with the
 * blocks that count it. Written and flushed before the header points to it.
 */
static int grow_reftable(struct qcow2_node *q, uint64_t needed)
{
	uint64_t old_size = q->reftable_size, old_offset = q->header.reftable_offset;
	uint64_t old_clusters = q->header.reftable_clusters;
	uint64_t per_cluster = q->cluster_size / 8;
	uint64_t size = align_up(MAX(needed + needed / 2, old_size + 1), per_cluster);
	uint64_t first = old_size * q->block_entries, clusters, blocks = 1;
	for (;;) {
		clusters = size / per_cluster;
		blocks = (clusters + blocks + q->block_entries - 1) / q->block_entries;
		if (old_size + blocks <= size &&
		    blocks * q->block_entries >= clusters + blocks)
			break;
		size += per_cluster;
	}
	if (size * 8 > QCOW2_REFTABLE_MAX || (first + clusters + blocks) << q->cluster_bits > OFFSET_MAX)
		return -EFBIG;
	int rc = qcow2_writeback(q);
	if (rc < 0)
		return rc;
	uint64_t *table = g_new0(uint64_t, size + 1);
	memcpy(table, q->reftable, old_size * 8);
	uint64_t block_offset = first << q->cluster_bits;
	g_autofree uint8_t *bytes = g_malloc0((blocks + clusters) << q->cluster_bits);
	for (uint64_t i = 0; i < blocks; i++)
		table[old_size + i] = block_offset + (i << q->cluster_bits);
	for (uint64_t i = 0; i < blocks + clusters; i++)
		qcow2_refcount_store(q, bytes + (i / q->block_entries << q->cluster_bits),
				     i % q->block_entries, 1);
	for (uint64_t i = 0; i < size; i++)
		be64_store(bytes + (blocks << q->cluster_bits) + i * 8, table[i]);
	rc = block_pwrite(q->node.file, block_offset, bytes, (blocks + clusters) << q->cluster_bits);
	rc = rc < 0 ? rc : qcow2_sync(q);
	struct qcow2_header before = q->header;
	q->header.reftable_offset = block_offset + (blocks << q->cluster_bits);
	q->header.reftable_clusters = clusters;
	if (rc < 0 || !qcow2_header_write(q, NULL)) {
		q->header = before;
		g_free(table);
		return rc < 0 ? rc : -EIO;
	}
	g_free(q->reftable);
	q->reftable = table;
	q->reftable_size = size;
	q->reftable_used = old_size + blocks;
	qcow2_pages_drop(q, block_offset, (blocks + clusters) << q->cluster_bits);
	q->zero_from = MAX(q->zero_from, block_offset + ((blocks + clusters) << q->cluster_bits));
	qcow2_free_later(q, old_offset, old_clusters << q->cluster_bits);
	return 0;
}

/* Make the count of `cluster` settable. Under alloc_lock. *made: it was used up by a new block. */
static int cover(struct qcow2_node *q, uint64_t cluster, bool *made)
{
	uint64_t block = cluster / q->block_entries;
	*made = false;
	if (block >= q->reftable_size) {
		int rc = grow_reftable(q, block + 1);
		if (rc < 0)
			return rc;
	}
	if (q->reftable[block])
		return 0;
	*made = true;
	return new_block(q, block);
}

int qcow2_refcount_set(struct qcow2_node *q, uint64_t cluster, uint64_t count)
{
	struct qcow2_page *page;
	uint64_t index;
	bool made;
	if (count > count_max(q))
		return -EINVAL;
	int rc = cover(q, cluster, &made);
	rc = rc < 0 ? rc : find_page(q, cluster, &page, &index);
	if (rc < 0)
		return rc;
	qcow2_refcount_store(q, page->data, index, count);
	qcow2_page_dirty(q, page);
	if (count == 0)
		q->free_hint = MIN(q->free_hint, cluster);
	return 0;
}

static int add_one(struct qcow2_node *q, uint64_t cluster, int delta)
{
	struct qcow2_page *page;
	uint64_t index;
	int rc = find_page(q, cluster, &page, &index);
	if (rc < 0)
		return rc;
	uint64_t count = page ? qcow2_refcount_load(q, page->data, index) : 0;
	if (delta < 0 && count == 0)
		return qcow2_corrupt(q, "a cluster in use has refcount 0", cluster << q->cluster_bits);
	if (delta > 0 && count == count_max(q))
		return -ERANGE;
	if (!page)
		return qcow2_refcount_set(q, cluster, count + delta);
	qcow2_refcount_store(q, page->data, index, count + delta);
	qcow2_page_dirty(q, page);
	if (count + delta == 0) {
		q->free_hint = MIN(q->free_hint, cluster);
		if (q->compressed_at >> q->cluster_bits == cluster)
			q->compressed_at = 0;
		/* Its pages, if it held metadata, are of no use any more. */
		qcow2_pages_drop(q, cluster << q->cluster_bits, q->cluster_size);
	}
	return 0;
}

/* Give the space of a cluster that nobody counts any more back to the host. */
static void release_host(struct qcow2_node *q, uint64_t cluster)
{
	uint64_t count;
	if (qcow2_refcount_get(q, cluster, &count) == 0 && count == 0 && q->node.discard)
		block_io(q->node.file, BLOCK_DISCARD, 0, cluster << q->cluster_bits,
			 q->cluster_size, NULL, 0); /* a hint: failure costs space only */
}

int qcow2_refcount_add(struct qcow2_node *q, uint64_t offset, uint64_t length, int delta)
{
	if (length == 0)
		return 0;
	FIBER_LOCK_SCOPE(&q->alloc_lock);
	uint64_t first = offset >> q->cluster_bits, last = (offset + length - 1) >> q->cluster_bits;
	for (uint64_t cluster = first; cluster <= last; cluster++) {
		int rc = add_one(q, cluster, delta);
		if (rc < 0)
			return rc;
		if (delta < 0)
			release_host(q, cluster);
	}
	return 0;
}

/* Is the cluster free? Under alloc_lock. Makes it countable; a new block may take it. */
static int is_free(struct qcow2_node *q, uint64_t cluster, bool *free)
{
	bool made;
	uint64_t count = 0;
	int rc = cover(q, cluster, &made);
	rc = rc < 0 || made ? rc : qcow2_refcount_get(q, cluster, &count);
	*free = rc == 0 && !made && count == 0;
	return rc;
}

static int find_run(struct qcow2_node *q, uint64_t wanted, bool all, uint64_t *first, uint64_t *got)
{
	uint64_t run = 0, cluster = q->free_hint, limit = OFFSET_MAX >> q->cluster_bits;
	bool hint_moves = true;
	for (; cluster < limit && run < wanted; cluster++) {
		bool free;
		int rc = is_free(q, cluster, &free);
		if (rc < 0)
			return rc;
		if (free) {
			*first = run++ ? *first : cluster;
			continue;
		}
		if (run && !all)
			break;
		if (run)
			hint_moves = false;
		run = 0;
	}
	*got = run;
	if (run < wanted && (all || !run))
		return -EFBIG;
	if (hint_moves)
		q->free_hint = *first + run;
	return 0;
}

static int allocate(struct qcow2_node *q, uint64_t wanted, bool all, uint64_t *offset, uint64_t *got,
		    bool *fresh)
{
	FIBER_LOCK_SCOPE(&q->alloc_lock);
	uint64_t first = 0;
	int rc = find_run(q, wanted, all, &first, got);
	for (uint64_t i = 0; rc == 0 && i < *got; i++)
		rc = qcow2_refcount_set(q, first + i, 1);
	*offset = first << q->cluster_bits;
	*fresh = *offset >= q->zero_from;
	q->zero_from = MAX(q->zero_from, (first + *got) << q->cluster_bits);
	if (rc == 0 && qcow2_overlaps(q, *offset, *got << q->cluster_bits))
		return qcow2_corrupt(q, "metadata in use is not counted", *offset);
	return rc;
}

int qcow2_alloc(struct qcow2_node *q, uint64_t wanted, uint64_t *offset, uint64_t *got, bool *fresh)
{
	return allocate(q, wanted, false, offset, got, fresh);
}

int qcow2_alloc_all(struct qcow2_node *q, uint64_t clusters, uint64_t *offset, bool *fresh)
{
	uint64_t got;
	bool unused;
	return allocate(q, clusters, true, offset, &got, fresh ? fresh : &unused);
}

/*
 * Compressed clusters are packed: one begins where the last one ended, and the host cluster that
 * both are in is counted once for each. `bytes` is at most a cluster.
 */
int qcow2_alloc_bytes(struct qcow2_node *q, uint64_t bytes, uint64_t *offset)
{
	uint64_t at = q->compressed_at, left = at ? q->cluster_size - (at & (q->cluster_size - 1)) : 0;
	uint64_t fresh = 0;
	q->compressed_at = 0; /* nobody else continues there while we wait */
	if (left && qcow2_refcount_add(q, at, 1, 1) < 0)
		left = 0; /* the count is at its maximum */
	if (bytes > left) {
		int rc = qcow2_alloc_all(q, 1, &fresh, NULL);
		if (rc < 0 || !left || fresh != at + left) {
			if (left)
				qcow2_free_later(q, at, 1);
			at = fresh;
		}
		if (rc < 0)
			return rc;
	}
	*offset = at;
	q->compressed_at = (at + bytes) & (q->cluster_size - 1) ? at + bytes : 0;
	return 0;
}

void qcow2_free_later(struct qcow2_node *q, uint64_t offset, uint64_t length)
{
	uint64_t first = offset >> q->cluster_bits;
	uint64_t end = (offset + length + q->cluster_size - 1) >> q->cluster_bits;
	struct qcow2_free f = {first << q->cluster_bits, end - first};
	if (length)
		g_array_append_val(q->frees, f);
}
