/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing an image as a whole: its size, its backing file, its options, emptying it. */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/core/options.h"

#include <errno.h>
#include <string.h>

static bool explain(const struct qcow2_node *q, int rc, const char *what, GError **error)
{
	return rc == 0 || error_set_errno(error, -rc, "cannot %s '%s'", what, q->node.filename);
}

/* --- size -------------------------------------------------------------------------------------------------*/

static int grow(struct qcow2_node *q, uint64_t size)
{
	unsigned shift = q->l2_bits + q->cluster_bits;
	uint64_t needed = (size + (UINT64_C(1) << shift) - 1) >> shift, old = q->node.size;
	int rc = 0;
	if (needed > q->l1_size) {
		uint64_t *table = g_new0(uint64_t, needed + 1);
		memcpy(table, q->l1, q->l1_size * sizeof(uint64_t));
		rc = qcow2_flush(q); /* the table on disk has all entries */
		rc = rc < 0 ? rc : qcow2_l1_replace(q, table, needed, q->header.size);
		if (rc < 0)
			g_free(table);
	}
	/* A longer backing file must not shine through where there was no disk before. */
	const struct block_node *backing = q->node.backing;
	q->node.size = size;
	if (rc == 0 && backing && backing->size > old)
		rc = qcow2_discard(q, old, MIN(size, backing->size) - old, true, true);
	rc = rc < 0 ? rc : qcow2_flush(q);
	q->header.size = rc < 0 ? old : size;
	q->node.size = q->header.size;
	if (rc == 0 && !qcow2_header_write(q, NULL))
		rc = -EIO;
	return rc < 0 ? rc : qcow2_flush(q);
}

static int shrink(struct qcow2_node *q, uint64_t size)
{
	/* First the size, so that a crash leaves clusters behind the end: leaks at most. */
	uint64_t old = q->header.size, from = align_up(size, q->cluster_size);
	int rc = qcow2_flush(q);
	q->header.size = size;
	if (rc == 0 && !qcow2_header_write(q, NULL))
		rc = -EIO;
	if (rc < 0) {
		q->header.size = old;
		return rc;
	}
	if (from < old) {
		struct block_node *backing = q->node.backing;
		q->node.backing = NULL; /* nothing is to be read there again: plain removal */
		rc = qcow2_discard(q, from, old - from, false, true);
		q->node.backing = backing;
	}
	q->node.size = size;
	return rc < 0 ? rc : qcow2_flush(q);
}

bool qcow2_resize(struct block_node *node, uint64_t size, GError **error)
{
	struct qcow2_node *q = qcow2_of(node);
	unsigned shift = q->l2_bits + q->cluster_bits;
	size = align_up(size, 512);
	if (q->snapshots->len && q->header.version < 3)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s' is of version 2 and has snapshots: it cannot be resized "
				 "(amend it to compat=1.1 first)", node->filename);
	if (((size + (UINT64_C(1) << shift) - 1) >> shift) * 8 > QCOW2_L1_MAX || size > INT64_MAX / 4)
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' cannot become that large with its cluster size", node->filename);
	qcow2_freeze(q);
	int rc = size > node->size ? grow(q, size) : size < node->size ? shrink(q, size) : 0;
	if (rc == 0 && q->external && node->data_file->size < size &&
	    q->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW)
		rc = block_resize(node->data_file, size, NULL) ? 0 : -EIO;
	qcow2_thaw(q);
	return explain(q, rc, "resize", error);
}

/* --- backing file -----------------------------------------------------------------------------------------*/

bool qcow2_change_backing(struct block_node *node, const char *file, const char *format,
			  GError **error)
{
	struct qcow2_node *q = qcow2_of(node);
	char *old_name = node->backing_name, *old_format = node->backing_format;
	node->backing_name = file && *file ? g_strdup(file) : NULL;
	node->backing_format = file && *file ? g_strdup(format) : NULL;
	qcow2_freeze(q);
	int rc = qcow2_flush(q);
	bool good = explain(q, rc, "flush", error) && qcow2_header_write(q, error);
	qcow2_thaw(q);
	g_free(good ? old_name : node->backing_name);
	g_free(good ? old_format : node->backing_format);
	if (!good) {
		node->backing_name = old_name;
		node->backing_format = old_format;
	}
	return good;
}

bool qcow2_make_empty(struct block_node *node, GError **error)
{
	struct qcow2_node *q = qcow2_of(node);
	qcow2_freeze(q);
	struct block_node *backing = node->backing;
	node->backing = NULL; /* so that clusters become unallocated, not zero */
	int rc = qcow2_discard(q, 0, node->size, false, true);
	node->backing = backing;
	rc = rc < 0 ? rc : qcow2_flush(q);
	rc = rc < 0 ? rc : qcow2_flush(q); /* the counts of what became free */
	qcow2_thaw(q);
	return explain(q, rc, "empty", error);
}

/* --- options ----------------------------------------------------------------------------------------------*/

const struct block_option qcow2_amend_options[] = {
	{"backing_file", "str", "File name of a base image"},
	{"backing_fmt", "str", "Image format of the base image"},
	{"compat", "str", "Compatibility level (v2 [0.10] or v3 [1.1])"},
	{"data_file_raw", "bool (on/off)", "The external data file must stay valid as a raw image"},
	{"lazy_refcounts", "bool (on/off)", "Postpone refcount updates"},
	{"size", "size", "Virtual disk size"},
	{NULL},
};

static bool set_version(struct qcow2_node *q, unsigned version, GError **error)
{
	struct qcow2_header *h = &q->header;
	if (version == h->version)
		return true;
	if (version == 2)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s': going back to compat=0.10 is not supported: convert the image",
				 q->node.filename);
	h->version = 3;
	h->header_length = 112;
	return true;
}

bool qcow2_amend(struct block_node *node, json_t *options, struct block_progress *progress,
		 GError **error)
{
	static const char *const compats[] = {"0.10", "v2", "1.1", "v3", NULL};
	struct qcow2_node *q = qcow2_of(node);
	uint64_t size = node->size;
	int compat = q->header.version == 2 ? 0 : 2;
	bool lazy = q->header.compatible & QCOW2_COMPAT_LAZY_REFCOUNTS;
	bool has_file = json_object_get(options, "backing_file");
	g_autofree char *file = block_take_string(options, "backing_file");
	g_autofree char *format = block_take_string(options, "backing_fmt");
	bool raw = q->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW, wish = raw;
	if (!block_take_size(options, "size", &size, error) ||
	    !block_take_enum(options, "compat", compats, &compat, error) ||
	    !block_take_bool(options, "lazy_refcounts", &lazy, error) ||
	    !block_take_bool(options, "data_file_raw", &wish, error) ||
	    !block_refuse_rest(options, "amending qcow2", error))
		return false;
	if (wish && !raw)
		return error_set(error, BERTH_ERR_INVALID, "data-file-raw cannot be set on existing "
				 "images");
	struct qcow2_header before = q->header;
	bool good = set_version(q, compat < 2 ? 2 : 3, error);
	if (good && lazy && q->header.version < 3)
		good = error_set(error, BERTH_ERR_INVALID,
				 "lazy_refcounts needs compat=1.1 or greater");
	if (good) {
		q->header.compatible = lazy ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0;
		if (!wish)
			q->header.autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_DATA_FILE_RAW;
		good = qcow2_header_write(q, error);
	}
	if (!good) {
		q->header = before;
		return false;
	}
	if ((has_file || format) &&
	    !qcow2_change_backing(node, has_file ? file : node->backing_name,
				  format ? format : node->backing_format, error))
		return false;
	if (size != node->size && !qcow2_resize(node, size, error))
		return false;
	if (progress && progress->report)
		progress->report(progress->opaque, 1, 1);
	return true;
}
