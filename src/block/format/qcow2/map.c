/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a guest's cluster to a host's: the L1 and L2 tables, and who is changing which part. */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

/* The places of a cluster's entry. */
static void split(const struct qcow2_node *q, uint64_t cluster, uint64_t *l1_index, uint64_t *inside)
{
	*l1_index = cluster >> q->l2_bits;
	*inside = (cluster & ((UINT64_C(1) << q->l2_bits) - 1)) * q->entry_size;
}

/* The table's offset, 0 if there is none, or -EIO in *rc. */
static uint64_t table_offset(struct qcow2_node *q, uint64_t l1_index, int *rc)
{
	uint64_t entry = l1_index < q->l1_size ? q->l1[l1_index] : 0;
	uint64_t offset = entry & QCOW2_OFFSET;
	*rc = 0;
	if (offset & (q->cluster_size - 1))
		*rc = qcow2_corrupt(q, "an L2 table is not aligned", offset);
	return offset;
}

static int get_page(struct qcow2_node *q, uint64_t table, uint64_t inside, struct qcow2_page **page)
{
	return qcow2_page_get(q, table + align_down(inside, q->page_size), QCOW2_PAGE_L2, page);
}

static void load(const struct qcow2_node *q, const struct qcow2_page *page, uint64_t inside,
		 uint64_t *entry, uint64_t *bitmap)
{
	const uint8_t *at = page->data + (inside & (q->page_size - 1));
	*entry = be64_load(at);
	*bitmap = q->extended ? be64_load(at + 8) : 0;
}

int qcow2_entry_get(struct qcow2_node *q, uint64_t cluster, uint64_t *entry, uint64_t *bitmap)
{
	uint64_t l1_index, inside;
	struct qcow2_page *page;
	int rc;
	split(q, cluster, &l1_index, &inside);
	uint64_t table = table_offset(q, l1_index, &rc);
	*entry = *bitmap = 0;
	if (rc < 0 || !table)
		return rc;
	rc = get_page(q, table, inside, &page);
	if (rc == 0)
		load(q, page, inside, entry, bitmap);
	return rc;
}

enum qcow2_type qcow2_entry_type(const struct qcow2_node *q, uint64_t entry, uint64_t bitmap,
				 unsigned subcluster)
{
	bool host = entry & QCOW2_OFFSET || (q->external && entry & QCOW2_COPIED);
	if (entry & QCOW2_COMPRESSED)
		return QCOW2_PACKED;
	if (q->extended) {
		if (bitmap >> (32 + subcluster) & 1)
			return host ? QCOW2_ZERO_ALLOC : QCOW2_ZERO_PLAIN;
		return host && bitmap >> subcluster & 1 ? QCOW2_NORMAL : QCOW2_UNALLOCATED;
	}
	if (entry & QCOW2_ZERO && q->header.version >= 3)
		return host ? QCOW2_ZERO_ALLOC : QCOW2_ZERO_PLAIN;
	return host ? QCOW2_NORMAL : QCOW2_UNALLOCATED;
}

void qcow2_packed_range(const struct qcow2_node *q, uint64_t entry, uint64_t *offset,
			uint64_t *length)
{
	unsigned bits = 62 - (q->cluster_bits - 8);
	*offset = entry & ((UINT64_C(1) << bits) - 1);
	uint64_t sectors = (entry & (QCOW2_COMPRESSED - 1)) >> bits;
	*length = (sectors + 1) * 512 - (*offset & 511);
}

/* How the subcluster at `offset` is mapped; host is its first byte. */
static int describe(struct qcow2_node *q, uint64_t offset, uint64_t entry, uint64_t bitmap,
		    struct qcow2_mapping *map)
{
	uint64_t inside = offset & (q->cluster_size - 1);
	map->type = qcow2_entry_type(q, entry, bitmap, inside / q->subcluster_size);
	map->copied = entry & QCOW2_COPIED;
	map->host = 0;
	if (map->type == QCOW2_PACKED) {
		map->host = entry;
		return 0;
	}
	uint64_t host = entry & QCOW2_OFFSET;
	if (host & (q->cluster_size - 1))
		return qcow2_corrupt(q, "a data cluster is not aligned", host);
	if (q->external && host != align_down(offset, q->cluster_size) && host)
		return qcow2_corrupt(q, "a cluster of the external data file is out of place", host);
	if (host || q->external)
		map->host = host + inside;
	return 0;
}

int qcow2_map(struct qcow2_node *q, uint64_t offset, uint64_t length, struct qcow2_mapping *map)
{
	uint64_t cluster = offset >> q->cluster_bits, l1_index, inside, entry, bitmap;
	struct qcow2_page *page = NULL;
	int rc;
	split(q, cluster, &l1_index, &inside);
	uint64_t table = table_offset(q, l1_index, &rc);
	if (rc < 0)
		return rc;
	if (!table) {
		uint64_t end = (l1_index + 1) << (q->l2_bits + q->cluster_bits);
		*map = (struct qcow2_mapping){.type = QCOW2_UNALLOCATED,
					      .length = MIN(length, end - offset)};
		return 0;
	}
	rc = get_page(q, table, inside, &page);
	if (rc < 0)
		return rc;
	load(q, page, inside, &entry, &bitmap);
	rc = describe(q, offset, entry, bitmap, map);
	uint64_t unit = map->type == QCOW2_PACKED ? q->cluster_size : q->subcluster_size;
	uint64_t end = align_down(offset, unit) + unit;
	/* As far as it goes on in the same way, within the page at hand. */
	while (rc == 0 && end < offset + length && map->type != QCOW2_PACKED) {
		struct qcow2_mapping next;
		if (!(end & (q->cluster_size - 1))) {
			inside += q->entry_size;
			if (!(inside & (q->page_size - 1)) || inside >= q->cluster_size)
				break;
			load(q, page, inside, &entry, &bitmap);
		}
		if (describe(q, end, entry, bitmap, &next) < 0 || next.type != map->type ||
		    next.copied != map->copied || next.type == QCOW2_PACKED)
			break;
		bool host = map->type == QCOW2_NORMAL || map->type == QCOW2_ZERO_ALLOC;
		if (host && next.host != map->host + (end - offset))
			break;
		end += q->subcluster_size;
	}
	map->length = MIN(length, end - offset);
	return rc;
}

void qcow2_l1_dirty(struct qcow2_node *q, uint64_t index)
{
	q->l1_dirty[index / 64] = 1;
	q->l1_changed = true;
}

/* Copy the old table's pages, or zeroes, into the new one's. */
static int copy_table(struct qcow2_node *q, uint64_t from, uint64_t to, bool fresh)
{
	g_autofree uint8_t *bytes = g_malloc(q->page_size);
	for (uint64_t at = 0; at < q->cluster_size; at += q->page_size) {
		struct qcow2_page *page;
		int rc = 0;
		if (from) {
			rc = qcow2_page_get(q, from + at, QCOW2_PAGE_L2, &page);
			if (rc == 0)
				memcpy(bytes, page->data, q->page_size);
		} else if (fresh) {
			return 0; /* the file holds zeroes there */
		}
		rc = rc < 0 ? rc : qcow2_page_new(q, to + at, QCOW2_PAGE_L2, &page);
		if (rc < 0)
			return rc;
		if (from)
			memcpy(page->data, bytes, q->page_size);
	}
	return 0;
}

/* A table that only the active L1 table uses. */
static int writable_table(struct qcow2_node *q, uint64_t l1_index, uint64_t *table)
{
	int rc;
	*table = table_offset(q, l1_index, &rc);
	if (rc < 0 || (*table && q->l1[l1_index] & QCOW2_COPIED))
		return rc;
	FIBER_LOCK_SCOPE(&q->l2_lock);
	uint64_t old = table_offset(q, l1_index, &rc), offset;
	bool fresh;
	if (rc < 0 || (old && q->l1[l1_index] & QCOW2_COPIED)) {
		*table = old;
		return rc;
	}
	rc = qcow2_alloc_all(q, 1, &offset, &fresh);
	rc = rc < 0 ? rc : copy_table(q, old, offset, fresh);
	if (rc < 0)
		return rc;
	q->l1[l1_index] = offset | QCOW2_COPIED;
	qcow2_l1_dirty(q, l1_index);
	if (old)
		qcow2_free_later(q, old, q->cluster_size);
	*table = offset;
	return 0;
}

int qcow2_entry_set(struct qcow2_node *q, uint64_t cluster, uint64_t entry, uint64_t bitmap)
{
	uint64_t l1_index, inside, table;
	struct qcow2_page *page;
	split(q, cluster, &l1_index, &inside);
	if (l1_index >= q->l1_size)
		return -EIO;
	do {
		int rc = writable_table(q, l1_index, &table);
		rc = rc < 0 ? rc : get_page(q, table, inside, &page);
		if (rc < 0)
			return rc;
	} while ((q->l1[l1_index] & QCOW2_OFFSET) != table);
	uint8_t *at = page->data + (inside & (q->page_size - 1));
	be64_store(at, entry);
	if (q->extended)
		be64_store(at + 8, bitmap);
	qcow2_page_dirty(q, page);
	return 0;
}

void qcow2_entry_release(struct qcow2_node *q, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_OFFSET, length = q->cluster_size;
	if (entry & QCOW2_COMPRESSED)
		qcow2_packed_range(q, entry, &offset, &length);
	else if (q->external)
		return;
	if (offset)
		qcow2_free_later(q, offset, length);
}

/* --- claims -------------------------------------------------------------------------------------------*/

static struct qcow2_claim *find_claim(const struct qcow2_node *q, uint64_t first, uint64_t end)
{
	struct qcow2_claim *c = q->claims;
	while (c && !(c->first < end && first < c->end))
		c = c->next;
	return c;
}

bool qcow2_claimed(const struct qcow2_node *q, uint64_t first, uint64_t end)
{
	return find_claim(q, first, end) != NULL;
}

void qcow2_claim(struct qcow2_node *q, struct qcow2_claim *claim)
{
	struct qcow2_claim *other;
	while ((other = find_claim(q, claim->first, claim->end)))
		fiber_queue_wait(&other->waiters);
	claim->next = q->claims;
	q->claims = claim;
}

void qcow2_unclaim(struct qcow2_node *q, struct qcow2_claim *claim)
{
	struct qcow2_claim **at = &q->claims;
	while (*at != claim)
		at = &(*at)->next;
	*at = claim->next;
	fiber_queue_wake_all(&claim->waiters);
}
