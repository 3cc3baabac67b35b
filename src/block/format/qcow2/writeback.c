/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one place that writes L2 tables, refcounts, the refcount table and the L1 table. See qcow2.h
 * for the order and why it is safe. What is written is a copy of one moment: requests go on and
 * change pages meanwhile, and their changes wait for the next round.
 */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512
/* Neighbouring pages go out as one write of at most this many bytes. */
#define RUN_MAX (1024 * 1024)

struct copy {
	uint64_t offset, length;
	uint8_t *data;
};

/* All that was dirty at one moment. */
struct moment {
	struct qcow2_page **pages; /* by kind, then by offset */
	unsigned page_count, refcount_pages;
	uint8_t *bytes;            /* of all pages, in the same order */
	GArray *tables[2];         /* struct copy: of the refcount table and of L1 */
	GArray *frees;
};

static int by_kind_and_offset(const void *a, const void *b)
{
	const struct qcow2_page *x = *(struct qcow2_page *const *)a, *y = *(struct qcow2_page *const *)b;
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void copy_pages(struct qcow2_node *q, struct moment *m)
{
	m->pages = g_new(struct qcow2_page *, q->dirty_count + 1);
	m->bytes = g_malloc(q->dirty_count * q->page_size + 1);
	for (struct qcow2_page *page = q->newest; page; page = page->older) {
		if (!page->dirty || page->loading)
			continue;
		/* With lazy refcounts, the dirty bit on disk stands for counts that are not. */
		m->pages[m->page_count++] = page;
		m->refcount_pages += page->kind == QCOW2_PAGE_REFCOUNT;
	}
	qsort(m->pages, m->page_count, sizeof(*m->pages), by_kind_and_offset);
	for (unsigned i = 0; i < m->page_count; i++) {
		memcpy(m->bytes + i * q->page_size, m->pages[i]->data, q->page_size);
		m->pages[i]->writing = true;
		qcow2_page_clean(q, m->pages[i]);
	}
}

static void copy_table(GArray *out, const uint64_t *table, uint64_t entries, uint64_t offset,
		       const uint8_t *dirty)
{
	uint64_t step = dirty ? SECTOR / 8 : entries;
	for (uint64_t at = 0; at < entries; at += step) {
		if (dirty && !dirty[at / (SECTOR / 8)])
			continue;
		uint64_t n = MIN(step, entries - at);
		struct copy copy = {offset + at * 8, n * 8, g_malloc(n * 8)};
		for (uint64_t i = 0; i < n; i++)
			be64_store(copy.data + i * 8, table[at + i]);
		g_array_append_val(out, copy);
	}
}

static void take_moment(struct qcow2_node *q, struct moment *m)
{
	copy_pages(q, m);
	m->tables[0] = g_array_new(false, false, sizeof(struct copy));
	m->tables[1] = g_array_new(false, false, sizeof(struct copy));
	if (q->reftable_changed)
		copy_table(m->tables[0], q->reftable, q->reftable_size, q->header.reftable_offset, NULL);
	if (q->l1_changed) {
		copy_table(m->tables[1], q->l1, q->l1_size, q->header.l1_offset, q->l1_dirty);
		memset(q->l1_dirty, 0, q->l1_size / (SECTOR / 8) + 1);
	}
	q->reftable_changed = q->l1_changed = false;
	m->frees = q->frees;
	q->frees = g_array_new(false, false, sizeof(struct qcow2_free));
}

static int write_pages(struct qcow2_node *q, struct moment *m, unsigned first, unsigned end)
{
	int rc = 0;
	block_plug(q->node.file);
	struct block_batch batch = {0};
	g_autofree struct block_batch_item *items = g_new0(struct block_batch_item, end - first + 1);
	g_autofree struct iovec *iovs = g_new0(struct iovec, end - first + 1);
	unsigned used = 0;
	for (unsigned i = first; i < end;) {
		unsigned n = 1;
		while (i + n < end && n * q->page_size < RUN_MAX &&
		       m->pages[i + n]->offset == m->pages[i]->offset + n * q->page_size)
			n++;
		iovs[used] = (struct iovec){m->bytes + i * q->page_size, n * q->page_size};
		items[used].request = (struct block_request){
			.op = BLOCK_WRITE, .offset = m->pages[i]->offset, .length = n * q->page_size,
			.iov = &iovs[used], .iov_count = 1};
		block_batch_add(&batch, &items[used], q->node.file);
		used++;
		i += n;
	}
	block_unplug(q->node.file);
	rc = block_batch_wait(&batch);
	q->unsynced |= used > 0;
	return rc;
}

static int write_table(struct qcow2_node *q, const GArray *copies)
{
	for (unsigned i = 0; i < copies->len; i++) {
		const struct copy *copy = &g_array_index(copies, struct copy, i);
		int rc = block_pwrite(q->node.file, copy->offset, copy->data, copy->length);
		if (rc < 0)
			return rc;
		q->unsynced = true;
	}
	return 0;
}

int qcow2_sync(struct qcow2_node *q)
{
	q->unsynced = false;
	int rc = q->external ? block_flush(q->data) : 0;
	if (rc == 0)
		rc = block_flush(q->node.file);
	q->unsynced |= rc < 0;
	return rc;
}

/* What is not on disk after a failure is dirty again. */
static void give_back(struct qcow2_node *q, struct moment *m)
{
	for (unsigned i = 0; i < m->page_count; i++)
		qcow2_page_dirty(q, m->pages[i]);
	q->reftable_changed |= m->tables[0]->len > 0;
	if (m->tables[1]->len) {
		q->l1_changed = true;
		memset(q->l1_dirty, 1, q->l1_size / (SECTOR / 8) + 1);
	}
	g_array_append_vals(q->frees, m->frees->data, m->frees->len);
}

static void clear_moment(struct moment *m)
{
	for (unsigned i = 0; i < m->page_count; i++)
		m->pages[i]->writing = false;
	for (unsigned t = 0; t < 2; t++) {
		for (unsigned i = 0; i < m->tables[t]->len; i++)
			g_free(g_array_index(m->tables[t], struct copy, i).data);
		g_array_free(m->tables[t], true);
	}
	g_array_free(m->frees, true);
	g_free(m->pages);
	g_free(m->bytes);
}

static int write_moment(struct qcow2_node *q, struct moment *m)
{
	bool links = m->page_count > m->refcount_pages || m->tables[1]->len;
	int rc = write_pages(q, m, 0, m->refcount_pages);
	if (rc == 0 && m->tables[0]->len) {
		rc = qcow2_sync(q);
		rc = rc < 0 ? rc : write_table(q, m->tables[0]);
	}
	/* Data and counts are on disk before anything points to them. */
	if (rc == 0 && links)
		rc = qcow2_sync(q);
	rc = rc < 0 ? rc : write_pages(q, m, m->refcount_pages, m->page_count);
	if (rc == 0 && m->tables[1]->len) {
		rc = qcow2_sync(q);
		rc = rc < 0 ? rc : write_table(q, m->tables[1]);
	}
	if (rc == 0 && m->frees->len && q->unsynced)
		rc = qcow2_sync(q);
	return rc;
}

/*
 * Nothing on disk points to these clusters now; count them down when no request uses them any
 * more. Not under another lock: it waits for requests.
 */
static int apply_frees(struct qcow2_node *q)
{
	FIBER_LOCK_SCOPE(&q->frees_lock);
	int result = 0;
	if (!q->freed->len)
		return 0;
	g_autoptr(GArray) frees = q->freed;
	q->freed = g_array_new(false, false, sizeof(struct qcow2_free));
	unsigned old = q->generation++ & 1;
	while (q->in_flight[old])
		fiber_queue_wait(&q->generation_ended);
	for (unsigned i = 0; i < frees->len; i++) {
		const struct qcow2_free *f = &g_array_index(frees, struct qcow2_free, i);
		int rc = qcow2_refcount_add(q, f->offset, f->clusters * q->cluster_size, -1);
		result = result < 0 ? result : rc;
	}
	return result;
}

int qcow2_writeback(struct qcow2_node *q)
{
	FIBER_LOCK_SCOPE(&q->writeback_lock);
	if (!q->dirty_count && !q->l1_changed && !q->reftable_changed && !q->frees->len)
		return 0;
	struct moment m = {0};
	take_moment(q, &m);
	int rc = write_moment(q, &m);
	if (rc < 0)
		give_back(q, &m);
	else
		g_array_append_vals(q->freed, m.frees->data, m.frees->len);
	clear_moment(&m);
	return rc;
}

int qcow2_flush(struct qcow2_node *q)
{
	int rc = qcow2_writeback(q);
	if (rc == 0 && q->freed->len)
		rc = apply_frees(q);
	return rc < 0 ? rc : qcow2_sync(q);
}
