/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The qcow2 driver: opening, closing, and where requests enter. */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/core/drivers.h"
#include "block/core/options.h"

#include <errno.h>
#include <string.h>

static unsigned qcow2_probe(const uint8_t *head, size_t length, const char *filename)
{
	return length >= 8 && be32_load(head) == QCOW2_MAGIC && be32_load(head + 4) >= 2 ? 100 : 0;
}

void qcow2_freeze(struct qcow2_node *q)
{
	while (q->frozen)
		fiber_queue_wait(&q->gate);
	q->frozen = true;
	while (q->active)
		fiber_queue_wait(&q->idle);
}

void qcow2_thaw(struct qcow2_node *q)
{
	q->frozen = false;
	fiber_queue_wake_all(&q->gate);
}

static int do_request(struct qcow2_node *q, struct block_request *r)
{
	int rc = -ENOTSUP;
	switch (r->op) {
	case BLOCK_READ:
		return qcow2_read(q, r->offset, r->length, r->iov, r->iov_count);
	case BLOCK_WRITE:
		rc = r->flags & BLOCK_REQ_COMPRESSED ? qcow2_write_compressed(q, r) : qcow2_write(q, r);
		break;
	case BLOCK_FLUSH:
		return qcow2_flush(q);
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		rc = qcow2_discard(q, r->offset, r->length, r->op == BLOCK_WRITE_ZEROES,
				   r->flags & BLOCK_REQ_MAY_UNMAP);
		break;
	}
	return rc == 0 && r->flags & BLOCK_REQ_FUA ? qcow2_flush(q) : rc;
}

static int qcow2_perform(struct block_node *node, struct block_request *request)
{
	struct qcow2_node *q = qcow2_of(node);
	while (q->frozen)
		fiber_queue_wait(&q->gate);
	q->active++;
	int rc = do_request(q, request);
	if (--q->active == 0)
		fiber_queue_wake_all(&q->idle);
	return rc;
}

static int qcow2_status(struct block_node *node, uint64_t offset, uint64_t length,
			struct block_extent *extent)
{
	struct qcow2_node *q = qcow2_of(node);
	struct qcow2_mapping map;
	int rc = qcow2_map(q, offset, length, &map);
	if (rc < 0)
		return rc;
	*extent = (struct block_extent){.length = map.length};
	switch (map.type) {
	case QCOW2_NORMAL:
		extent->flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET |
				BLOCK_STATUS_RECURSE;
		break;
	case QCOW2_PACKED:
		extent->flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_COMPRESSED;
		break;
	case QCOW2_ZERO_ALLOC:
		extent->flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET;
		break;
	case QCOW2_ZERO_PLAIN:
		extent->flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED;
		break;
	case QCOW2_UNALLOCATED:
		extent->flags = node->backing ? 0 : BLOCK_STATUS_ZERO;
		break;
	}
	/* What lies there is not what is read here. */
	if (q->header.crypt_method)
		extent->flags &= ~(unsigned)(BLOCK_STATUS_OFFSET | BLOCK_STATUS_RECURSE);
	if (extent->flags & BLOCK_STATUS_OFFSET) {
		extent->host_offset = map.host;
		extent->file = q->data;
	}
	return 0;
}

static void free_memory(struct qcow2_node *q)
{
	if (q->pages) {
		qcow2_pages_free(q);
		g_hash_table_destroy(q->pages);
	}
	qcow2_snapshots_free(q);
	qcow2_extensions_free(q);
	qcow2_codec_free(q->codec);
	crypto_volume_clear(&q->crypt);
	g_clear_pointer(&q->frees, g_array_unref);
	g_clear_pointer(&q->freed, g_array_unref);
	g_free(q->l1);
	g_free(q->l1_dirty);
	g_free(q->reftable);
	g_free(q->zeroes);
	g_free(q->data_file_name);
	g_free(q->bitmaps_error);
}

static void qcow2_close(struct block_node *node)
{
	struct qcow2_node *q = qcow2_of(node);
	if (!node->readonly && !q->corrupt && q->bitmaps_loaded)
		qcow2_bitmaps_store(q);
	/* The core has flushed; counting down what that freed is one more round. */
	for (unsigned round = 0; round < 2 && !node->readonly && !q->corrupt; round++)
		qcow2_flush(q);
	free_memory(q);
}

static void set_geometry(struct qcow2_node *q)
{
	const struct qcow2_header *h = &q->header;
	q->cluster_bits = h->cluster_bits;
	q->cluster_size = UINT64_C(1) << h->cluster_bits;
	q->extended = h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2;
	q->external = h->incompatible & QCOW2_INCOMPAT_DATA_FILE;
	q->lazy = h->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS;
	q->entry_size = q->extended ? 16 : 8;
	q->l2_bits = q->cluster_bits - (q->extended ? 4 : 3);
	q->subcluster_size = q->extended ? q->cluster_size / 32 : q->cluster_size;
	q->refcount_order = h->refcount_order;
	q->refcount_bits = 1 << h->refcount_order;
	q->block_entries = q->cluster_size * 8 >> h->refcount_order;
	q->page_size = MIN(q->cluster_size, 4096);
	q->frees = g_array_new(false, false, sizeof(struct qcow2_free));
	q->freed = g_array_new(false, false, sizeof(struct qcow2_free));
	q->pages = g_hash_table_new(g_int64_hash, g_int64_equal);
	q->zeroes = g_malloc0(MIN(q->cluster_size, 65536));
	q->codec = qcow2_codec_new();
}

static bool load_l1(struct qcow2_node *q, GError **error)
{
	const struct qcow2_header *h = &q->header;
	uint64_t needed = (h->size + (UINT64_C(1) << (q->l2_bits + q->cluster_bits)) - 1) >>
			  (q->l2_bits + q->cluster_bits);
	if (needed > h->l1_size)
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' is no valid qcow2 image: its L1 table is too small for its size",
				 q->node.file->filename);
	q->l1_size = h->l1_size;
	q->l1 = g_new0(uint64_t, h->l1_size + 1);
	q->l1_dirty = g_malloc0(h->l1_size / 64 + 1);
	int rc = h->l1_size ? block_pread(q->node.file, h->l1_offset, q->l1, h->l1_size * UINT64_C(8))
			    : 0;
	for (uint32_t i = 0; i < h->l1_size; i++)
		q->l1[i] = be64toh(q->l1[i]);
	return rc == 0 || error_set_errno(error, -rc, "cannot read the L1 table of '%s'",
					  q->node.file->filename);
}

/*
 * Tables of all kinds share one cache, so QEMU's two names for its size mean the same here. QEMU's
 * other tuning options have no counterpart and are refused as unknown.
 */
static bool take_options(struct qcow2_node *q, json_t *dict, GError **error)
{
	uint64_t cache = QCOW2_CACHE_DEFAULT;
	if (!block_take_size(dict, "cache-size", &cache, error) ||
	    !block_take_size(dict, "l2-cache-size", &cache, error) ||
	    !block_take_bool(dict, "lazy-refcounts", &q->lazy, error))
		return false;
	q->page_limit = MAX(cache / q->page_size, 64);
	return true;
}

static bool open_data_file(struct qcow2_node *q, json_t *dict, GError **error)
{
	struct block_node *node = &q->node;
	q->data = node->file;
	if (!q->external)
		return true;
	g_autofree char *path =
		q->data_file_name ? block_path_combine(node->file->filename, q->data_file_name) : NULL;
	node->data_file = block_open_child(node, dict, "data-file", path, error);
	q->data = node->data_file;
	return q->data != NULL;
}

/* What an image that is to be written needs first. */
static bool prepare_writing(struct qcow2_node *q, GError **error)
{
	struct qcow2_header *h = &q->header;
	if (h->incompatible & QCOW2_INCOMPAT_CORRUPT)
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' is marked corrupt: repair it with berth-img check -r all, or "
				 "open it read-only",
				 q->node.file->filename);
	if (h->incompatible & QCOW2_INCOMPAT_DIRTY) {
		/* Lazy refcounts and a crash: the counts are to be made anew. */
		struct block_check check = {.fix = BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS};
		if (!qcow2_check(&q->node, &check, error))
			return false;
	}
	/* Bits that stand for what we do not keep up to date. */
	uint64_t keep = QCOW2_AUTOCLEAR_DATA_FILE_RAW | QCOW2_AUTOCLEAR_BITMAPS;
	bool stale = qcow2_extension_find(q, QCOW2_EXT_BITMAPS) &&
		     !(h->autoclear & QCOW2_AUTOCLEAR_BITMAPS);
	if (stale)
		qcow2_extension_set(q, QCOW2_EXT_BITMAPS, NULL, 0);
	/* It was repaired by somebody else, and may have become of version 3 for good. */
	bool was_v2 = qcow2_extension_find(q, QCOW2_EXT_WAS_V2);
	if (was_v2)
		qcow2_extension_set(q, QCOW2_EXT_WAS_V2, NULL, 0);
	if (h->autoclear & ~keep || stale || was_v2) {
		h->autoclear &= keep;
		if (!qcow2_header_write(q, error))
			return false;
	}
	return qcow2_bitmaps_begin(q, error);
}

static bool open_tables(struct qcow2_node *q, json_t *dict, GError **error)
{
	struct block_node *node = &q->node;
	if (!take_options(q, dict, error) || !open_data_file(q, dict, error) ||
	    !qcow2_crypt_open(q, dict, error) || !load_l1(q, error) ||
	    !qcow2_reftable_load(q, error) || !qcow2_snapshots_load(q, error))
		return false;
	node->size = q->header.size;
	node->limits = (struct block_limits){
		.request_alignment = 1, .logical_block = 512, .physical_block = 512,
		.max_transfer = UINT64_C(1) << 30, .discard_alignment = q->cluster_size,
		.can_discard = node->discard, .can_write_zeroes = true};
	bool regular = strcmp(node->file->driver->name, "file") == 0;
	node->file->loose_end = true;
	q->zero_from = regular ? align_up(node->file->size, q->cluster_size) : UINT64_MAX;
	q->corrupt = q->header.incompatible & QCOW2_INCOMPAT_CORRUPT;
	if (node->file->readonly)
		node->readonly = true;
	if (node->options.check_later) {
		/* What is wrong with them is for the check to say. */
		g_autoptr(GError) wrong = NULL;
		if (node->readonly && !qcow2_bitmaps_load(q, &wrong))
			q->bitmaps_error = g_strdup(wrong->message);
		return true;
	}
	return qcow2_bitmaps_load(q, error) && (node->readonly || prepare_writing(q, error));
}

static bool qcow2_set_readonly(struct block_node *node, bool readonly, GError **error)
{
	struct qcow2_node *q = qcow2_of(node);
	if (!readonly)
		return prepare_writing(q, error);
	int rc = qcow2_bitmaps_store(q);
	/* The core has flushed; counting down what that freed is one more round. */
	rc = rc < 0 ? rc : qcow2_flush(q);
	rc = rc < 0 ? rc : qcow2_flush(q);
	return rc == 0 || error_set_errno(error, -rc, "cannot flush '%s'", node->filename);
}

static bool qcow2_open(struct block_node *node, json_t *dict, GError **error)
{
	struct qcow2_node *q = qcow2_of(node);
	node->file = block_open_child(node, dict, "file", NULL, error);
	if (!node->file)
		return false;
	bool good = qcow2_header_read(q, error);
	if (good) {
		set_geometry(q);
		good = open_tables(q, dict, error);
	}
	if (!good)
		free_memory(q);
	return good;
}

const struct block_driver block_qcow2_driver = {
	.name = "qcow2",
	.kind = BLOCK_FORMAT,
	.moves = true,
	.node_size = sizeof(struct qcow2_node),
	.probe = qcow2_probe,
	.open = qcow2_open,
	.close = qcow2_close,
	.perform = qcow2_perform,
	.status = qcow2_status,
	.resize = qcow2_resize,
	.set_readonly = qcow2_set_readonly,
	.info = qcow2_info,
	.cache_bound = qcow2_cache_bound,
	.check = qcow2_check,
	.amend = qcow2_amend,
	.change_backing = qcow2_change_backing,
	.make_empty = qcow2_make_empty,
	.snapshot_create = qcow2_snapshot_create,
	.snapshot_apply = qcow2_snapshot_apply,
	.snapshot_delete = qcow2_snapshot_delete,
	.snapshot_view = qcow2_snapshot_view,
	.snapshot_list = qcow2_snapshot_list,
	.can_keep_bitmaps = qcow2_bitmap_can_keep,
	.create_options = qcow2_create_options,
	.amend_options = qcow2_amend_options,
	.create = qcow2_create,
	.measure = qcow2_measure,
};
