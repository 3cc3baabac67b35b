/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages of L2 tables and refcount blocks, least recently used out first. A page is 4 KiB (or a
 * cluster if that is less), so that a random write touches little. The number of pages is bounded;
 * when all are dirty, a write-back makes them clean.
 */
#include "block/format/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

static void unlink_page(struct qcow2_node *q, struct qcow2_page *page)
{
	*(page->newer ? &page->newer->older : &q->newest) = page->older;
	*(page->older ? &page->older->newer : &q->oldest) = page->newer;
}

static void link_newest(struct qcow2_node *q, struct qcow2_page *page)
{
	page->newer = NULL;
	page->older = q->newest;
	*(q->newest ? &q->newest->newer : &q->oldest) = page;
	q->newest = page;
}

static void free_page(struct qcow2_node *q, struct qcow2_page *page)
{
	unlink_page(q, page);
	if (page->dirty)
		q->dirty_count--;
	q->page_count--;
	g_hash_table_remove(q->pages, &page->offset);
	g_free(page->data);
	g_free(page);
}

/* Make room for one more page. May wait. */
static int make_room(struct qcow2_node *q)
{
	while (q->page_count >= q->page_limit) {
		struct qcow2_page *page = q->oldest;
		while (page && (page->dirty || page->loading || page->writing))
			page = page->newer;
		if (page) {
			free_page(q, page);
			continue;
		}
		/* The writer may itself need a page: let it go over the limit. */
		if (q->writeback_lock.locked)
			return 0;
		int rc = qcow2_writeback(q);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static struct qcow2_page *add_page(struct qcow2_node *q, uint64_t offset, enum qcow2_kind kind)
{
	struct qcow2_page *page = g_new0(struct qcow2_page, 1);
	page->offset = offset;
	page->kind = kind;
	page->data = g_malloc(q->page_size);
	g_hash_table_insert(q->pages, &page->offset, page);
	link_newest(q, page);
	q->page_count++;
	return page;
}

int qcow2_page_get(struct qcow2_node *q, uint64_t offset, enum qcow2_kind kind,
		   struct qcow2_page **result)
{
	for (;;) {
		struct qcow2_page *page = g_hash_table_lookup(q->pages, &offset);
		if (page && page->loading) {
			fiber_queue_wait(&page->loaded);
			continue;
		}
		if (page) {
			if (page != q->newest) {
				unlink_page(q, page);
				link_newest(q, page);
			}
			page->kind = kind;
			*result = page;
			return 0;
		}
		int rc = make_room(q);
		if (rc < 0)
			return rc;
		if (g_hash_table_lookup(q->pages, &offset))
			continue;
		page = add_page(q, offset, kind);
		page->loading = true;
		rc = block_pread(q->node.file, offset, page->data, q->page_size);
		page->loading = false;
		struct fiber_queue waiters = page->loaded;
		page->loaded = (struct fiber_queue){NULL, NULL};
		if (rc < 0)
			free_page(q, page);
		else
			page->writing = true; /* keep it while the others run */
		fiber_queue_wake_all(&waiters);
		if (rc < 0)
			return rc;
		page->writing = false;
		*result = page;
		return 0;
	}
}

int qcow2_page_new(struct qcow2_node *q, uint64_t offset, enum qcow2_kind kind,
		   struct qcow2_page **result)
{
	int rc = make_room(q);
	if (rc < 0)
		return rc;
	struct qcow2_page *page = g_hash_table_lookup(q->pages, &offset);
	while (page && page->loading) {
		fiber_queue_wait(&page->loaded);
		page = g_hash_table_lookup(q->pages, &offset);
	}
	if (!page)
		page = add_page(q, offset, kind);
	page->kind = kind;
	memset(page->data, 0, q->page_size);
	qcow2_page_dirty(q, page);
	*result = page;
	return 0;
}

void qcow2_page_dirty(struct qcow2_node *q, struct qcow2_page *page)
{
	q->dirty_count += !page->dirty;
	page->dirty = true;
}

void qcow2_page_clean(struct qcow2_node *q, struct qcow2_page *page)
{
	q->dirty_count -= page->dirty;
	page->dirty = false;
}

void qcow2_pages_drop(struct qcow2_node *q, uint64_t offset, uint64_t length)
{
	for (uint64_t at = offset; at < offset + length; at += q->page_size) {
		struct qcow2_page *page = g_hash_table_lookup(q->pages, &at);
		if (page && !page->loading && !page->writing)
			free_page(q, page);
		else if (page && !page->loading)
			qcow2_page_clean(q, page);
	}
}

void qcow2_pages_free(struct qcow2_node *q)
{
	while (q->newest)
		free_page(q, q->newest);
}
