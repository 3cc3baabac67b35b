/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What there is to say about an image, in the words of QEMU's ImageInfo. */
#include "block/format/qcow2/qcow2.h"

static json_t *describe_snapshots(const struct qcow2_node *q)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < q->snapshots->len; i++) {
		const struct qcow2_snapshot *s = &g_array_index(q->snapshots, struct qcow2_snapshot, i);
		json_t *one = json_pack(
			"{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "id", s->id, "name", s->name,
			"vm-state-size", (json_int_t)s->vm_state_size, "date-sec",
			(json_int_t)s->date_sec, "date-nsec", (json_int_t)s->date_nsec, "vm-clock-sec",
			(json_int_t)(s->vm_clock_ns / 1000000000), "vm-clock-nsec",
			(json_int_t)(s->vm_clock_ns % 1000000000));
		if (s->icount != UINT64_MAX)
			json_object_set_new(one, "icount", json_integer(s->icount));
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *describe_format(const struct qcow2_node *q)
{
	const struct qcow2_header *h = &q->header;
	json_t *data = json_pack("{s:s, s:s, s:i}", "compat", h->version == 2 ? "0.10" : "1.1",
				 "compression-type", h->compression ? "zstd" : "zlib",
				 "refcount-bits", (int)q->refcount_bits);
	if (h->version >= 3) {
		json_object_set_new(data, "lazy-refcounts",
				    json_boolean(h->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS));
		json_object_set_new(data, "corrupt",
				    json_boolean(h->incompatible & QCOW2_INCOMPAT_CORRUPT));
		json_object_set_new(data, "extended-l2", json_boolean(q->extended));
	}
	if (h->crypt_method)
		json_object_set_new(data, "encrypt", qcow2_crypt_describe(q));
	json_t *bitmaps = qcow2_bitmaps_describe(q);
	if (json_array_size(bitmaps))
		json_object_set(data, "bitmaps", bitmaps);
	json_decref(bitmaps);
	if (q->external) {
		if (q->data_file_name)
			json_object_set_new(data, "data-file", json_string(q->data_file_name));
		json_object_set_new(data, "data-file-raw",
				    json_boolean(h->autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW));
	}
	return json_pack("{s:s, s:o}", "type", "qcow2", "data", data);
}

bool qcow2_info(struct block_node *node, json_t *info, GError **error)
{
	struct qcow2_node *q = qcow2_of(node);
	json_object_set_new(info, "cluster-size", json_integer(q->cluster_size));
	json_object_set_new(info, "dirty-flag",
			    json_boolean(q->header.incompatible & QCOW2_INCOMPAT_DIRTY));
	if (q->snapshots->len)
		json_object_set_new(info, "snapshots", describe_snapshots(q));
	json_object_set_new(info, "format-specific", describe_format(q));
	return true;
}

/* Refcount blocks share the cache, but a guest's reads need none, and its writes few. */
void qcow2_cache_bound(const struct block_node *node, struct block_cache_bound *bound)
{
	const struct qcow2_node *q = (const struct qcow2_node *)node;
	bound->bytes = (uint64_t)q->page_limit * q->page_size;
	bound->covers = bound->bytes / q->entry_size * q->cluster_size;
}
