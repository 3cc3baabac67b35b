/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header cluster: fixed fields, extensions, the backing file's name. Also the corrupt mark. */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>

#define V2_LENGTH 72
#define V3_LENGTH 104
#define FULL_LENGTH 112 /* with the compression type, padded */
#define NAME_MAX_LENGTH 1023

static bool bad(const struct qcow2_node *q, GError **error, const char *what)
{
	return error_set(error, BERTH_ERR_INVALID, "'%s' is no valid qcow2 image: %s",
			 q->node.file->filename, what);
}

static void decode(struct qcow2_header *h, const uint8_t *b)
{
	*h = (struct qcow2_header){
		.version = be32_load(b + 4), .cluster_bits = be32_load(b + 20),
		.size = be64_load(b + 24), .crypt_method = be32_load(b + 32),
		.l1_size = be32_load(b + 36), .l1_offset = be64_load(b + 40),
		.reftable_offset = be64_load(b + 48), .reftable_clusters = be32_load(b + 56),
		.snapshot_count = be32_load(b + 60), .snapshots_offset = be64_load(b + 64),
		.refcount_order = 4, .header_length = V2_LENGTH,
	};
	if (h->version < 3)
		return;
	h->incompatible = be64_load(b + 72);
	h->compatible = be64_load(b + 80);
	h->autoclear = be64_load(b + 88);
	h->refcount_order = be32_load(b + 96);
	h->header_length = be32_load(b + 100);
	if (h->header_length > V3_LENGTH)
		h->compression = b[104];
}

/* Of unknown incompatible features, the names that the image gives them. */
static bool refuse_features(struct qcow2_node *q, uint64_t unknown, GError **error)
{
	GString *names = g_string_new(NULL);
	const struct qcow2_ext *table = qcow2_extension_find(q, QCOW2_EXT_FEATURES);
	for (unsigned bit = 0; bit < 64; bit++) {
		char name[47] = "";
		if (!(unknown >> bit & 1))
			continue;
		for (uint32_t at = 0; table && at + 48 <= table->length; at += 48)
			if (table->data[at] == 0 && table->data[at + 1] == bit)
				memcpy(name, table->data + at + 2, 46);
		if (!*name)
			g_snprintf(name, sizeof(name), "bit %u", bit);
		g_string_append_printf(names, "%s'%s'", names->len ? ", " : "", name);
	}
	error_set(error, BERTH_ERR_NOT_SUPPORTED,
		  "'%s' uses qcow2 features that are not supported: %s", q->node.file->filename,
		  names->str);
	g_string_free(names, true);
	return false;
}

static bool check_header(struct qcow2_node *q, GError **error)
{
	const struct qcow2_header *h = &q->header;
	uint64_t mask = (UINT64_C(1) << h->cluster_bits) - 1;
	if (h->version < 2 || h->version > 3)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s' is a qcow image of version %u; 2 and 3 are supported",
				 q->node.file->filename, h->version);
	if (h->cluster_bits < 9 || h->cluster_bits > 21)
		return bad(q, error, "the cluster size is not from 512 bytes to 2 MiB");
	if (h->version >= 3 && (h->header_length < V3_LENGTH || h->header_length > mask + 1))
		return bad(q, error, "the header's length is wrong");
	if (h->refcount_order > 6)
		return bad(q, error, "refcounts are wider than 64 bits");
	if (h->l1_offset & mask || h->reftable_offset & mask || h->snapshots_offset & mask)
		return bad(q, error, "a table is not aligned to clusters");
	if ((uint64_t)h->l1_size * 8 > QCOW2_L1_MAX)
		return bad(q, error, "the L1 table is too large");
	if (!h->reftable_clusters || (uint64_t)h->reftable_clusters << h->cluster_bits > QCOW2_REFTABLE_MAX)
		return bad(q, error, "the refcount table is missing or too large");
	if (h->snapshot_count > QCOW2_SNAPSHOTS_MAX)
		return bad(q, error, "there are too many snapshots");
	if (h->l1_offset > INT64_MAX / 2 || h->reftable_offset > INT64_MAX / 2 ||
	    h->snapshots_offset > INT64_MAX / 2 || h->size > INT64_MAX / 2)
		return bad(q, error, "an offset or the size is out of range");
	if (h->compression > 1)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s' has compression type %u; zlib and zstd are supported",
				 q->node.file->filename, h->compression);
	if ((h->compression != 0) != ((h->incompatible & QCOW2_INCOMPAT_COMPRESSION) != 0))
		return bad(q, error, "the compression type and its feature bit contradict each other");
	if (h->crypt_method > QCOW2_CRYPT_LUKS)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s' has encryption method %u; aes (1) and luks (2) are supported",
				 q->node.file->filename, h->crypt_method);
	if (h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2 && h->cluster_bits < 14)
		return bad(q, error, "extended L2 entries need clusters of at least 16 KiB");
	return true;
}

static void keep_extension(struct qcow2_node *q, uint32_t magic, const uint8_t *data,
			   uint32_t length)
{
	struct qcow2_ext ext = {magic, length, g_memdup2(data, length)};
	g_array_append_val(q->extensions, ext);
}

static bool read_extensions(struct qcow2_node *q, const uint8_t *b, uint64_t at, uint64_t end,
			    GError **error)
{
	while (at + 8 <= end) {
		uint32_t magic = be32_load(b + at), length = be32_load(b + at + 4);
		at += 8;
		if (magic == QCOW2_EXT_END)
			return true;
		if (length > end - at)
			return bad(q, error, "a header extension reaches beyond the header");
		const char *text = (const char *)b + at;
		if (magic == QCOW2_EXT_BACKING_FORMAT)
			q->node.backing_format = g_strndup(text, length);
		else if (magic == QCOW2_EXT_DATA_FILE)
			q->data_file_name = g_strndup(text, length);
		else
			keep_extension(q, magic, b + at, length);
		at = align_up(at + length, 8);
	}
	return true;
}

static bool read_backing_name(struct qcow2_node *q, const uint8_t *b, uint64_t cluster,
			      GError **error)
{
	uint64_t offset = be64_load(b + 8);
	uint32_t length = be32_load(b + 16);
	if (!offset)
		return true;
	if (length > NAME_MAX_LENGTH || !range_fits(offset, length, cluster))
		return bad(q, error, "the backing file's name is too long");
	q->node.backing_name = g_strndup((const char *)b + offset, length);
	if (!*q->node.backing_name)
		g_clear_pointer(&q->node.backing_name, g_free);
	return true;
}

bool qcow2_header_read(struct qcow2_node *q, GError **error)
{
	uint8_t head[FULL_LENGTH] = {0};
	struct block_node *file = q->node.file;
	q->extensions = g_array_new(false, false, sizeof(struct qcow2_ext));
	int rc = block_pread(file, 0, head, sizeof(head));
	if (rc < 0)
		return error_set_errno(error, -rc, "cannot read '%s'", file->filename);
	if (be32_load(head) != QCOW2_MAGIC)
		return bad(q, error, "it does not begin like one");
	decode(&q->header, head);
	if (q->header.cluster_bits > 21 || !check_header(q, error))
		return q->header.cluster_bits > 21 ? bad(q, error, "the cluster size is wrong") : false;
	uint64_t cluster = UINT64_C(1) << q->header.cluster_bits;
	g_autofree uint8_t *b = g_malloc(MAX(cluster, FULL_LENGTH));
	rc = block_pread(file, 0, b, cluster);
	if (rc < 0)
		return error_set_errno(error, -rc, "cannot read '%s'", file->filename);
	uint64_t name = be64_load(b + 8), end = name && name < cluster ? name : cluster;
	if (!read_extensions(q, b, q->header.header_length, end, error) ||
	    !read_backing_name(q, b, cluster, error))
		return false;
	uint64_t unknown = q->header.incompatible & ~(uint64_t)QCOW2_INCOMPAT_KNOWN;
	return !unknown || refuse_features(q, unknown, error);
}

const struct qcow2_ext *qcow2_extension_find(const struct qcow2_node *q, uint32_t magic)
{
	for (unsigned i = 0; i < q->extensions->len; i++) {
		const struct qcow2_ext *ext = &g_array_index(q->extensions, struct qcow2_ext, i);
		if (ext->magic == magic)
			return ext;
	}
	return NULL;
}

void qcow2_extension_set(struct qcow2_node *q, uint32_t magic, const void *data, uint32_t length)
{
	for (unsigned i = 0; i < q->extensions->len; i++) {
		struct qcow2_ext *ext = &g_array_index(q->extensions, struct qcow2_ext, i);
		if (ext->magic == magic) {
			g_free(ext->data);
			g_array_remove_index(q->extensions, i);
			break;
		}
	}
	if (data)
		keep_extension(q, magic, data, length);
}

void qcow2_extensions_free(struct qcow2_node *q)
{
	for (unsigned i = 0; q->extensions && i < q->extensions->len; i++)
		g_free(g_array_index(q->extensions, struct qcow2_ext, i).data);
	g_clear_pointer(&q->extensions, g_array_unref);
}

static size_t put_extension(uint8_t *b, uint64_t limit, size_t at, uint32_t magic, const void *data,
			    uint32_t length)
{
	size_t end = at + 8 + align_up(length, 8);
	if (end > limit)
		return end; /* the caller sees that it does not fit */
	be32_store(b + at, magic);
	be32_store(b + at + 4, length);
	if (length)
		memcpy(b + at + 8, data, length);
	return end;
}

/* `bytes` is one zeroed cluster. *length is more than a cluster if it does not fit. */
void qcow2_header_encode(const struct qcow2_node *q, uint8_t *b, size_t *length)
{
	const struct qcow2_header *h = &q->header;
	const char *name = q->node.backing_name, *format = q->node.backing_format;
	uint64_t limit = UINT64_C(1) << h->cluster_bits;
	be32_store(b, QCOW2_MAGIC);
	be32_store(b + 4, h->version);
	be32_store(b + 20, h->cluster_bits);
	be64_store(b + 24, h->size);
	be32_store(b + 32, h->crypt_method);
	be32_store(b + 36, h->l1_size);
	be64_store(b + 40, h->l1_offset);
	be64_store(b + 48, h->reftable_offset);
	be32_store(b + 56, h->reftable_clusters);
	be32_store(b + 60, h->snapshot_count);
	be64_store(b + 64, h->snapshots_offset);
	size_t at = V2_LENGTH;
	if (h->version >= 3) {
		be64_store(b + 72, h->incompatible);
		be64_store(b + 80, h->compatible);
		be64_store(b + 88, h->autoclear);
		be32_store(b + 96, h->refcount_order);
		be32_store(b + 100, FULL_LENGTH);
		b[104] = h->compression;
		at = FULL_LENGTH;
	}
	if (format)
		at = put_extension(b, limit, at, QCOW2_EXT_BACKING_FORMAT, format, strlen(format));
	if (q->data_file_name)
		at = put_extension(b, limit, at, QCOW2_EXT_DATA_FILE, q->data_file_name,
				   strlen(q->data_file_name));
	for (unsigned i = 0; at <= limit && i < q->extensions->len; i++) {
		const struct qcow2_ext *ext = &g_array_index(q->extensions, struct qcow2_ext, i);
		at = put_extension(b, limit, at, ext->magic, ext->data, ext->length);
	}
	if (at <= limit)
		at = put_extension(b, limit, at, QCOW2_EXT_END, NULL, 0);
	size_t name_length = name ? strlen(name) : 0;
	if (name && at + name_length <= limit) {
		be64_store(b + 8, at);
		be32_store(b + 16, name_length);
		memcpy(b + at, name, name_length);
	}
	*length = at + name_length;
}

bool qcow2_header_write(struct qcow2_node *q, GError **error)
{
	uint64_t cluster = UINT64_C(1) << q->header.cluster_bits;
	g_autofree uint8_t *b = g_malloc0(cluster);
	size_t length;
	qcow2_header_encode(q, b, &length);
	if (length > cluster || (q->node.backing_name && strlen(q->node.backing_name) > NAME_MAX_LENGTH))
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s': the backing file's name does not fit into the header: use a "
				 "shorter one",
				 q->node.file->filename);
	int rc = block_pwrite(q->node.file, 0, b, cluster);
	rc = rc < 0 ? rc : qcow2_sync(q);
	return rc == 0 || error_set_errno(error, -rc, "cannot write the header of '%s'",
					  q->node.file->filename);
}

int qcow2_mark(struct qcow2_node *q, uint64_t incompatible)
{
	uint8_t bytes[8];
	q->header.incompatible = incompatible;
	be64_store(bytes, incompatible);
	int rc = block_pwrite(q->node.file, 72, bytes, sizeof(bytes));
	return rc < 0 ? rc : qcow2_sync(q);
}

int qcow2_corrupt(struct qcow2_node *q, const char *what, uint64_t offset)
{
	if (q->corrupt)
		return -EIO;
	q->corrupt = true;
	log_warning("'%s' is corrupt: %s (offset 0x%" G_GINT64_MODIFIER "x)%s", q->node.file->filename,
		    what, offset, q->node.readonly ? "" : "; it is not written any more: repair it "
							  "with berth-img check -r all");
	if (!q->node.readonly && q->header.version >= 3)
		qcow2_mark(q, q->header.incompatible | QCOW2_INCOMPAT_CORRUPT);
	return -EIO;
}
