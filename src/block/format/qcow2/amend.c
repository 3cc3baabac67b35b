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
	{"data_file", "str", "File name of an external data file"},
	{"data_file_raw", "bool (on/off)", "The external data file must stay valid as a raw image"},
	{"encrypt.iter-time", "num", "Time to spend in PBKDF in milliseconds"},
	{"encrypt.keyslot", "num", "Select a single keyslot to modify explicitly"},
	{"encrypt.new-secret", "str", "New secret to set in the matching keyslots. Empty string to erase"},
	{"encrypt.old-secret", "str", "Select all keyslots that match this password"},
	{"encrypt.state", "str", "Select new state of affected keyslots (active/inactive)"},
	{"lazy_refcounts", "bool (on/off)", "Postpone refcount updates"},
	{"refcount_bits", "num", "Width of a reference count entry in bits"},
	{"size", "size", "Virtual disk size"},
	{NULL},
};

/* What an image is to become; at first what it is. */
struct amendment {
	unsigned version;
	uint64_t size, refcount_bits;
	bool lazy, raw, has_refcount_bits, has_data_file, has_backing, has_keys;
	char *data_file, *backing_file, *backing_format;
};

static void amendment_clear(struct amendment *a)
{
	g_free(a->data_file);
	g_free(a->backing_file);
	g_free(a->backing_format);
}

static bool take_version(json_t *options, struct amendment *a, GError **error)
{
	g_autofree char *compat = block_take_string(options, "compat");
	if (!compat)
		return true;
	if (strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0)
		a->version = 2;
	else if (strcmp(compat, "1.1") == 0 || strcmp(compat, "v3") == 0)
		a->version = 3;
	else
		return error_set(error, BERTH_ERR_INVALID, "Unknown compatibility level %s", compat);
	return true;
}

/* Are there options of keys? They stay in `options`. */
static bool has_prefix(const json_t *options, const char *prefix)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)options, key, value)
		if (g_str_has_prefix(key, prefix))
			return true;
	return false;
}

static bool take_amendment(const struct qcow2_node *q, json_t *options, struct amendment *a,
			   GError **error)
{
	const struct qcow2_header *h = &q->header;
	*a = (struct amendment){
		.version = h->version, .size = q->node.size, .refcount_bits = q->refcount_bits,
		.lazy = h->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS,
		.raw = h->autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW,
		.has_refcount_bits = json_object_get(options, "refcount_bits"),
		.has_data_file = json_object_get(options, "data_file"),
		.has_backing = json_object_get(options, "backing_file") ||
			       json_object_get(options, "backing_fmt"),
		.has_keys = has_prefix(options, "encrypt."),
		.data_file = block_take_string(options, "data_file"),
		.backing_file = block_take_string(options, "backing_file"),
		.backing_format = block_take_string(options, "backing_fmt")};
	return take_version(options, a, error) && block_take_size(options, "size", &a->size, error) &&
	       block_take_bool(options, "lazy_refcounts", &a->lazy, error) &&
	       block_take_size(options, "refcount_bits", &a->refcount_bits, error) &&
	       block_take_bool(options, "data_file_raw", &a->raw, error);
}

/* What is wrong with the wishes themselves, in the words of QEMU. */
static bool check_amendment(const struct qcow2_node *q, const struct amendment *a, GError **error)
{
	bool was_raw = q->header.autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW;
	bool was_lazy = q->header.compatible & QCOW2_COMPAT_LAZY_REFCOUNTS;
	const char *why = NULL;
	if (a->has_keys && q->header.crypt_method != QCOW2_CRYPT_LUKS)
		why = q->header.crypt_method ? "Only LUKS encryption options can be amended"
					     : "Can't amend encryption options - encryption not present";
	else if (a->refcount_bits < 1 || a->refcount_bits > 64 || a->refcount_bits & (a->refcount_bits - 1))
		why = "Refcount width must be a power of two and may not exceed 64 bits";
	else if (a->has_data_file && !q->external)
		why = "data-file can only be set for images that use an external data file";
	else if (a->raw && !was_raw)
		why = "data-file-raw cannot be set on existing images";
	else if (a->has_refcount_bits && a->refcount_bits != q->refcount_bits && a->version < 3 &&
		 a->refcount_bits != 16)
		why = "Refcount widths other than 16 bits require compatibility level 1.1 or above (use "
		      "compat=1.1 or greater)";
	else if (a->has_backing && (g_strcmp0(a->backing_file, q->node.backing_name) != 0 ||
				    g_strcmp0(a->backing_format, q->node.backing_format) != 0))
		why = "Cannot amend the backing file\nYou can use 'berth-img rebase' instead.";
	else if (a->lazy && !was_lazy && a->version < 3)
		why = "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 "
		      "or greater)";
	else if (a->size % 512)
		why = "The new size must be a multiple of 512";
	return !why || error_set(error, BERTH_ERR_INVALID, "%s", why);
}

/* What is in the header only. */
static bool amend_header(struct qcow2_node *q, struct amendment *a, GError **error)
{
	struct qcow2_header before = q->header, *h = &q->header;
	bool upgrade = a->version > h->version;
	if (upgrade) {
		h->version = 3;
		h->header_length = 112;
	}
	if (h->version >= 3) {
		h->compatible &= ~(uint64_t)QCOW2_COMPAT_LAZY_REFCOUNTS;
		h->compatible |= a->lazy ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0;
	}
	if (!a->raw)
		h->autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_DATA_FILE_RAW;
	char *old_name = q->data_file_name;
	if (a->has_data_file)
		q->data_file_name = *a->data_file ? g_steal_pointer(&a->data_file) : NULL;
	if (before.version == h->version && before.compatible == h->compatible &&
	    before.autoclear == h->autoclear && !a->has_data_file)
		return true;
	bool good = qcow2_header_write(q, error);
	if (good && a->has_data_file)
		g_free(old_name);
	if (!good)
		q->header = before;
	if (!good && a->has_data_file) {
		g_free(q->data_file_name);
		q->data_file_name = old_name;
	}
	return good;
}

static bool amend_all(struct qcow2_node *q, struct amendment *a, json_t *options, bool force,
		      struct block_progress *progress, GError **error)
{
	/* Up first and down last: what lies between may need the newer version. */
	return amend_header(q, a, error) &&
	       (!a->has_keys ||
		crypto_volume_amend(&q->crypt, q->node.graph, options, "encrypt.", force, error)) &&
	       (a->refcount_bits == q->refcount_bits ||
		qcow2_set_refcount_width(q, __builtin_ctzll(a->refcount_bits), progress, error)) &&
	       (a->size == q->node.size || qcow2_resize(&q->node, a->size, error)) &&
	       (a->version == q->header.version || qcow2_downgrade(q, progress, error));
}

bool qcow2_amend(struct block_node *node, json_t *options, bool force, struct block_progress *progress,
		 GError **error)
{
	struct qcow2_node *q = qcow2_of(node);
	struct amendment a;
	bool good = take_amendment(q, options, &a, error) && check_amendment(q, &a, error) &&
		    amend_all(q, &a, options, force, progress, error);
	amendment_clear(&a);
	if (good)
		block_progress_report(progress, 1, 1);
	return good;
}
