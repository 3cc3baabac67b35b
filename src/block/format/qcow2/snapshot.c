/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots: a second L1 table shares the tree, every part of which is counted once more.
 * All of it runs with requests held off. The order on disk: counts up, then the table of snapshots,
 * then the header; counts down come last.
 */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>
#include <string.h>

#define ENTRY_FIXED 40
#define EXTRA_KNOWN 24
#define EXTRA_MAX   1024
#define TABLE_MAX   (64 * 1024 * 1024)

static void clear_snapshot(void *data)
{
	struct qcow2_snapshot *s = data;
	g_free(s->extra);
	g_free(s->id);
	g_free(s->name);
}

void qcow2_snapshots_free(struct qcow2_node *q)
{
	g_clear_pointer(&q->snapshots, g_array_unref);
}

static bool load_one(struct qcow2_node *q, uint64_t *at, GError **error)
{
	uint8_t fixed[ENTRY_FIXED], known[EXTRA_KNOWN] = {0};
	struct block_node *file = q->node.file;
	struct qcow2_snapshot s = {0};
	int rc = block_pread(file, *at, fixed, sizeof(fixed));
	if (rc < 0)
		return error_set_errno(error, -rc, "cannot read the snapshots of '%s'", file->filename);
	s.l1_offset = be64_load(fixed);
	s.l1_size = be32_load(fixed + 8);
	uint16_t id_length = be16_load(fixed + 12), name_length = be16_load(fixed + 14);
	s.date_sec = be32_load(fixed + 16);
	s.date_nsec = be32_load(fixed + 20);
	s.vm_clock_ns = be64_load(fixed + 24);
	uint32_t extra = be32_load(fixed + 36);
	s.vm_state_size = be32_load(fixed + 32);
	if (extra > EXTRA_MAX || s.l1_size * UINT64_C(8) > QCOW2_L1_MAX ||
	    s.l1_offset & (q->cluster_size - 1) || s.l1_offset > INT64_MAX / 2)
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' is no valid qcow2 image: a snapshot's entry makes no sense",
				 file->filename);
	g_autofree uint8_t *rest = g_malloc(extra + id_length + name_length + 1);
	rc = block_pread(file, *at + ENTRY_FIXED, rest, extra + id_length + name_length);
	if (rc < 0)
		return error_set_errno(error, -rc, "cannot read the snapshots of '%s'", file->filename);
	memcpy(known, rest, MIN(extra, sizeof(known)));
	if (extra >= 8)
		s.vm_state_size = be64_load(known);
	s.disk_size = extra >= 16 ? be64_load(known + 8) : q->header.size;
	s.icount = extra >= 24 ? be64_load(known + 16) : UINT64_MAX;
	if (extra > EXTRA_KNOWN) {
		s.extra_size = extra - EXTRA_KNOWN;
		s.extra = g_memdup2(rest + EXTRA_KNOWN, s.extra_size);
	}
	s.id = g_strndup((char *)rest + extra, id_length);
	s.name = g_strndup((char *)rest + extra + id_length, name_length);
	g_array_append_val(q->snapshots, s);
	*at = align_up(*at + ENTRY_FIXED + extra + id_length + name_length, 8);
	return true;
}

bool qcow2_snapshots_load(struct qcow2_node *q, GError **error)
{
	uint64_t start = q->header.snapshots_offset, at = start;
	q->snapshots = g_array_new(false, false, sizeof(struct qcow2_snapshot));
	g_array_set_clear_func(q->snapshots, clear_snapshot);
	for (uint32_t i = 0; i < q->header.snapshot_count; i++) {
		if (!load_one(q, &at, error))
			return false;
		if (at - start > TABLE_MAX)
			return error_set(error, BERTH_ERR_INVALID,
					 "'%s' is no valid qcow2 image: its snapshot table is too large",
					 q->node.file->filename);
	}
	q->snapshot_table_size = at - start;
	return true;
}

static GByteArray *encode_table(const struct qcow2_node *q)
{
	GByteArray *table = g_byte_array_new();
	static const uint8_t padding[8] = {0};
	for (unsigned i = 0; i < q->snapshots->len; i++) {
		const struct qcow2_snapshot *s = &g_array_index(q->snapshots, struct qcow2_snapshot, i);
		uint8_t b[ENTRY_FIXED + EXTRA_KNOWN] = {0};
		be64_store(b, s->l1_offset);
		be32_store(b + 8, s->l1_size);
		be16_store(b + 12, strlen(s->id));
		be16_store(b + 14, strlen(s->name));
		be32_store(b + 16, s->date_sec);
		be32_store(b + 20, s->date_nsec);
		be64_store(b + 24, s->vm_clock_ns);
		be32_store(b + 32, s->vm_state_size > UINT32_MAX ? 0 : s->vm_state_size);
		be32_store(b + 36, EXTRA_KNOWN + s->extra_size);
		be64_store(b + 40, s->vm_state_size);
		be64_store(b + 48, s->disk_size);
		be64_store(b + 56, s->icount);
		g_byte_array_append(table, b, sizeof(b));
		if (s->extra_size)
			g_byte_array_append(table, s->extra, s->extra_size);
		g_byte_array_append(table, (const uint8_t *)s->id, strlen(s->id));
		g_byte_array_append(table, (const uint8_t *)s->name, strlen(s->name));
		g_byte_array_append(table, padding, align_up(table->len, 8) - table->len);
	}
	return table;
}

/* Put the table in memory on disk in a new place, and make the header point there. */
static int write_table(struct qcow2_node *q)
{
	g_autoptr(GByteArray) table = encode_table(q);
	struct qcow2_header before = q->header;
	uint64_t old_size = q->snapshot_table_size, offset = 0;
	int rc = 0;
	if (table->len) {
		rc = qcow2_alloc_all(q, (table->len + q->cluster_size - 1) >> q->cluster_bits, &offset,
				     NULL);
		rc = rc < 0 ? rc : block_pwrite(q->node.file, offset, table->data, table->len);
	}
	rc = rc < 0 ? rc : qcow2_flush(q);
	if (rc < 0)
		return rc;
	q->header.snapshots_offset = offset;
	q->header.snapshot_count = q->snapshots->len;
	if (!qcow2_header_write(q, NULL)) {
		q->header = before;
		return -EIO;
	}
	q->snapshot_table_size = table->len;
	qcow2_free_later(q, before.snapshots_offset, old_size);
	return 0;
}

/* --- counting a tree --------------------------------------------------------------------------------------*/

static int count_entry(struct qcow2_node *q, uint64_t entry, int delta)
{
	uint64_t offset = entry & QCOW2_OFFSET, length = q->cluster_size;
	if (entry & QCOW2_COMPRESSED)
		qcow2_packed_range(q, entry, &offset, &length);
	else if (q->external)
		return 0;
	return offset ? qcow2_refcount_add(q, offset, length, delta) : 0;
}

static int count_l2(struct qcow2_node *q, uint64_t table, int delta)
{
	g_autofree uint8_t *copy = g_malloc(q->page_size);
	for (uint64_t at = 0; at < q->cluster_size; at += q->page_size) {
		struct qcow2_page *page;
		int rc = qcow2_page_get(q, table + at, QCOW2_PAGE_L2, &page);
		if (rc < 0)
			return rc;
		memcpy(copy, page->data, q->page_size);
		for (uint64_t i = 0; i < q->page_size && rc == 0; i += q->entry_size)
			if (be64_load(copy + i))
				rc = count_entry(q, be64_load(copy + i), delta);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Everything below an L1 table once more or once less. */
static int count_tree(struct qcow2_node *q, const uint64_t *l1, uint32_t size, int delta)
{
	for (uint32_t i = 0; i < size; i++) {
		uint64_t table = l1[i] & QCOW2_OFFSET;
		if (!table)
			continue;
		if (table & (q->cluster_size - 1))
			return qcow2_corrupt(q, "an L2 table is not aligned", table);
		int rc = count_l2(q, table, delta);
		rc = rc < 0 ? rc : qcow2_refcount_add(q, table, q->cluster_size, delta);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int flag_of(struct qcow2_node *q, uint64_t offset, uint64_t *flag)
{
	uint64_t count = 0;
	int rc = qcow2_refcount_get(q, offset >> q->cluster_bits, &count);
	*flag = count == 1 ? QCOW2_COPIED : 0;
	return rc;
}

static int flag_page(struct qcow2_node *q, uint64_t offset)
{
	for (uint64_t i = 0; i < q->page_size; i += q->entry_size) {
		struct qcow2_page *page;
		uint64_t flag;
		int rc = qcow2_page_get(q, offset, QCOW2_PAGE_L2, &page);
		if (rc < 0)
			return rc;
		uint64_t entry = be64_load(page->data + i);
		if (entry & QCOW2_COMPRESSED || !(entry & QCOW2_OFFSET) || q->external)
			continue;
		rc = flag_of(q, entry & QCOW2_OFFSET, &flag);
		if (rc < 0)
			return rc;
		if ((entry & QCOW2_COPIED) == flag)
			continue;
		rc = qcow2_page_get(q, offset, QCOW2_PAGE_L2, &page);
		if (rc < 0)
			return rc;
		be64_store(page->data + i, (entry & ~QCOW2_COPIED) | flag);
		qcow2_page_dirty(q, page);
	}
	return 0;
}

/* Set COPIED in the active tree where the count is 1, clear it elsewhere. */
int qcow2_update_flags(struct qcow2_node *q)
{
	for (uint32_t i = 0; i < q->l1_size; i++) {
		uint64_t table = q->l1[i] & QCOW2_OFFSET, flag;
		if (!table)
			continue;
		int rc = flag_of(q, table, &flag);
		if (rc == 0 && (q->l1[i] & QCOW2_COPIED) != flag) {
			q->l1[i] = (q->l1[i] & ~QCOW2_COPIED) | flag;
			qcow2_l1_dirty(q, i);
		}
		for (uint64_t at = 0; at < q->cluster_size && rc == 0; at += q->page_size)
			rc = flag_page(q, table + at);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int qcow2_l1_write_table(struct qcow2_node *q, const uint64_t *table, uint32_t entries,
			 uint64_t *offset)
{
	uint64_t bytes = MAX(entries, 1) * UINT64_C(8);
	g_autofree uint64_t *b = g_malloc0(bytes);
	for (uint32_t i = 0; i < entries; i++)
		b[i] = htobe64(table[i]);
	int rc = qcow2_alloc_all(q, (bytes + q->cluster_size - 1) >> q->cluster_bits, offset, NULL);
	return rc < 0 ? rc : block_pwrite(q->node.file, *offset, b, bytes);
}

int qcow2_l1_replace(struct qcow2_node *q, uint64_t *table, uint32_t entries, uint64_t size)
{
	struct qcow2_header before = q->header;
	uint64_t offset;
	int rc = qcow2_l1_write_table(q, table, entries, &offset);
	rc = rc < 0 ? rc : qcow2_flush(q);
	if (rc < 0)
		return rc;
	q->header.l1_offset = offset;
	q->header.l1_size = entries;
	q->header.size = size;
	if (!qcow2_header_write(q, NULL)) {
		q->header = before;
		return -EIO;
	}
	qcow2_free_later(q, before.l1_offset, MAX(q->l1_size, 1) * UINT64_C(8));
	g_free(q->l1);
	g_free(q->l1_dirty);
	q->l1 = table;
	q->l1_size = entries;
	q->l1_dirty = g_malloc0(entries / 64 + 1);
	q->node.size = size;
	return 0;
}

/* Do `change` with requests held off. */
static int make_change(struct qcow2_node *q, int (*change)(struct qcow2_node *q, const void *what),
		       const void *what)
{
	bool was_dirty;
	qcow2_freeze(q);
	int rc = qcow2_dirty_begin(q, &was_dirty);
	rc = rc < 0 ? rc : change(q, what);
	rc = qcow2_dirty_end(q, rc, was_dirty);
	qcow2_thaw(q);
	return rc;
}

/* --- operations -------------------------------------------------------------------------------------------*/

static int find(const struct qcow2_node *q, const char *name_or_id)
{
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < q->snapshots->len; i++) {
			const struct qcow2_snapshot *s =
				&g_array_index(q->snapshots, struct qcow2_snapshot, i);
			if (strcmp(pass ? s->name : s->id, name_or_id) == 0)
				return i;
		}
	}
	return -1;
}

static bool missing(const struct qcow2_node *q, const char *name, GError **error)
{
	return error_set(error, BERTH_ERR_NOT_FOUND, "'%s' has no snapshot '%s'", q->node.filename, name);
}

static bool explain(const struct qcow2_node *q, int rc, const char *what, GError **error)
{
	return rc == 0 ||
	       error_set_errno(error, -rc, "cannot %s a snapshot of '%s'", what, q->node.filename);
}

bool qcow2_snapshot_list(struct block_node *node, GPtrArray *list, GError **error)
{
	struct qcow2_node *q = qcow2_of(node);
	for (unsigned i = 0; i < q->snapshots->len; i++) {
		const struct qcow2_snapshot *s = &g_array_index(q->snapshots, struct qcow2_snapshot, i);
		struct block_snapshot *out = g_new0(struct block_snapshot, 1);
		*out = (struct block_snapshot){
			.id = g_strdup(s->id), .name = g_strdup(s->name),
			.vm_state_size = s->vm_state_size, .date_sec = s->date_sec,
			.date_nsec = s->date_nsec, .vm_clock_ns = s->vm_clock_ns,
			.icount = s->icount, .disk_size = s->disk_size};
		g_ptr_array_add(list, out);
	}
	return true;
}

static char *next_id(const struct qcow2_node *q)
{
	uint64_t highest = 0;
	for (unsigned i = 0; i < q->snapshots->len; i++)
		highest = MAX(highest, g_ascii_strtoull(g_array_index(q->snapshots, struct qcow2_snapshot,
								     i).id, NULL, 10));
	return g_strdup_printf("%" G_GUINT64_FORMAT, highest + 1);
}

static int create(struct qcow2_node *q, const void *what)
{
	const struct block_snapshot *wish = what;
	struct qcow2_snapshot s = {
		.l1_size = q->l1_size, .disk_size = q->header.size,
		.vm_state_size = wish->vm_state_size, .date_sec = wish->date_sec,
		.date_nsec = wish->date_nsec, .vm_clock_ns = wish->vm_clock_ns,
		.icount = wish->icount ? wish->icount : UINT64_MAX};
	int rc = qcow2_flush(q);
	rc = rc < 0 ? rc : count_tree(q, q->l1, q->l1_size, 1);
	rc = rc < 0 ? rc : qcow2_update_flags(q);
	rc = rc < 0 ? rc : qcow2_l1_write_table(q, q->l1, q->l1_size, &s.l1_offset);
	if (rc < 0)
		return rc;
	s.id = wish->id ? g_strdup(wish->id) : next_id(q);
	s.name = g_strdup(wish->name ? wish->name : "");
	g_array_append_val(q->snapshots, s);
	rc = write_table(q);
	if (rc < 0)
		g_array_remove_index(q->snapshots, q->snapshots->len - 1);
	return rc < 0 ? rc : qcow2_flush(q);
}

bool qcow2_snapshot_create(struct block_node *node, const struct block_snapshot *snapshot,
			   GError **error)
{
	struct qcow2_node *q = qcow2_of(node);
	if (q->external)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s' has an external data file: it cannot have snapshots",
				 node->filename);
	if (snapshot->id && find(q, snapshot->id) >= 0)
		return error_set(error, BERTH_ERR_INVALID, "'%s' has a snapshot '%s' already",
				 node->filename, snapshot->id);
	return explain(q, make_change(q, create, snapshot), "create", error);
}

uint64_t *qcow2_snapshot_l1(struct qcow2_node *q, const struct qcow2_snapshot *s, uint32_t entries,
			    int *rc)
{
	uint64_t *table = g_new0(uint64_t, MAX(entries, s->l1_size) + 1);
	*rc = s->l1_size ? block_pread(q->node.file, s->l1_offset, table, s->l1_size * UINT64_C(8)) : 0;
	for (uint32_t i = 0; i < s->l1_size; i++)
		table[i] = be64toh(table[i]) & ~QCOW2_COPIED;
	if (*rc < 0)
		g_clear_pointer(&table, g_free);
	return table;
}

static int apply(struct qcow2_node *q, const void *index)
{
	const struct qcow2_snapshot *s =
		&g_array_index(q->snapshots, struct qcow2_snapshot, *(const int *)index);
	int rc;
	unsigned shift = q->l2_bits + q->cluster_bits;
	uint32_t entries = MAX(s->l1_size, (s->disk_size + (UINT64_C(1) << shift) - 1) >> shift);
	uint64_t *table = qcow2_snapshot_l1(q, s, entries, &rc);
	rc = rc < 0 ? rc : qcow2_flush(q);
	rc = rc < 0 ? rc : count_tree(q, table, s->l1_size, 1);
	g_autofree uint64_t *old = g_memdup2(q->l1, (q->l1_size + 1) * sizeof(uint64_t));
	uint32_t old_size = q->l1_size;
	if (rc == 0)
		rc = qcow2_l1_replace(q, table, entries, s->disk_size);
	if (rc < 0) {
		g_free(table);
		return rc;
	}
	rc = count_tree(q, old, old_size, -1);
	rc = rc < 0 ? rc : qcow2_update_flags(q);
	return rc < 0 ? rc : qcow2_flush(q);
}

bool qcow2_snapshot_apply(struct block_node *node, const char *name_or_id, GError **error)
{
	struct qcow2_node *q = qcow2_of(node);
	int index = find(q, name_or_id);
	return index < 0 ? missing(q, name_or_id, error)
			 : explain(q, make_change(q, apply, &index), "apply", error);
}

static int delete(struct qcow2_node *q, const void *what)
{
	int rc, index = *(const int *)what;
	struct qcow2_snapshot s = g_array_index(q->snapshots, struct qcow2_snapshot, index);
	g_autofree uint64_t *table = qcow2_snapshot_l1(q, &s, s.l1_size, &rc);
	if (rc < 0)
		return rc;
	g_array_remove_index(q->snapshots, index);
	rc = write_table(q);
	rc = rc < 0 ? rc : count_tree(q, table, s.l1_size, -1);
	if (rc == 0)
		qcow2_free_later(q, s.l1_offset, MAX(s.l1_size, 1) * UINT64_C(8));
	rc = rc < 0 ? rc : qcow2_update_flags(q);
	return rc < 0 ? rc : qcow2_flush(q);
}

bool qcow2_snapshot_delete(struct block_node *node, const char *name_or_id, GError **error)
{
	struct qcow2_node *q = qcow2_of(node);
	int index = find(q, name_or_id);
	return index < 0 ? missing(q, name_or_id, error)
			 : explain(q, make_change(q, delete, &index), "delete", error);
}

/* Nothing is written while it is shown, so that flags and counts need not fit the table. */
bool qcow2_snapshot_view(struct block_node *node, const char *id, const char *name, GError **error)
{
	struct qcow2_node *q = qcow2_of(node);
	const struct qcow2_snapshot *found = NULL;
	int rc;
	for (unsigned i = 0; i < q->snapshots->len && !found; i++) {
		const struct qcow2_snapshot *s = &g_array_index(q->snapshots, struct qcow2_snapshot, i);
		if ((!id || strcmp(s->id, id) == 0) && (!name || strcmp(s->name, name) == 0))
			found = s;
	}
	if (!found)
		return error_set(error, BERTH_ERR_NOT_FOUND, "Can't find snapshot");
	if (!node->readonly)
		return error_set(error, BERTH_ERR_INVALID, "'%s' is writable: a snapshot is only shown of an "
				 "image that is open read-only", node->filename);
	uint64_t *table = qcow2_snapshot_l1(q, found, found->l1_size, &rc);
	if (rc < 0)
		return explain(q, rc, "load", error);
	g_free(q->l1);
	q->l1 = table;
	q->l1_size = found->l1_size;
	/* As in qemu-img, the disk keeps its size; but nothing of a larger snapshot is cut off. */
	node->size = MAX(node->size, found->disk_size);
	return true;
}
