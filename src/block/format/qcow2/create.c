/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making an image: header, refcounts and an empty L1 table are laid out at once and written. */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/core/drivers.h"
#include "block/core/object.h"
#include "block/core/options.h"

#include <errno.h>
#include <string.h>

const struct block_option qcow2_create_options[] = {
	{"backing_file", "str", "File name of a base image"},
	{"backing_fmt", "str", "Image format of the base image"},
	{"cluster_size", "size", "qcow2 cluster size"},
	{"compat", "str", "Compatibility level (v2 [0.10] or v3 [1.1])"},
	{"compression_type", "str", "Compression method used for image cluster compression"},
	{"data_file", "str", "File name of an external data file"},
	{"data_file_raw", "bool (on/off)", "The external data file must stay valid as a raw image"},
	{"encrypt.cipher-alg", "str", "Name of encryption cipher algorithm"},
	{"encrypt.cipher-mode", "str", "Name of encryption cipher mode"},
	{"encrypt.format", "str", "Encrypt the image, format choices: 'aes', 'luks'"},
	{"encrypt.hash-alg", "str", "Name of encryption hash algorithm"},
	{"encrypt.iter-time", "num", "Time to spend in PBKDF in milliseconds"},
	{"encrypt.ivgen-alg", "str", "Name of IV generator algorithm"},
	{"encrypt.ivgen-hash-alg", "str", "Name of IV generator hash algorithm"},
	{"encrypt.key-secret", "str", "ID of secret providing qcow AES key or LUKS passphrase"},
	{"encryption", "bool (on/off)",
	 "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)"},
	{"extended_l2", "bool (on/off)", "Extended L2 tables"},
	{"lazy_refcounts", "bool (on/off)", "Postpone refcount updates"},
	{"nocow", "bool (on/off)", "Turn off copy-on-write (valid only on btrfs)"},
	{"preallocation", "str", "Preallocation mode (allowed values: off, metadata, falloc, full)"},
	{"refcount_bits", "num", "Width of a reference count entry in bits"},
	{"size", "size", "Virtual disk size"},
	{NULL},
};

struct wishes {
	uint64_t size, cluster_size, refcount_bits;
	int compat, compression, preallocation;
	bool lazy, extended, data_file_raw;
	char *backing, *backing_format, *data_file;
	int crypt_method; /* QCOW2_CRYPT_... */
	struct luks_wishes luks;
};

static void wishes_clear(struct wishes *w)
{
	g_free(w->backing);
	g_free(w->backing_format);
	g_free(w->data_file);
	luks_wishes_clear(&w->luks);
}

/* "encrypt.format" and what belongs to it; "encryption=on" is QEMU's older name for aes. */
static bool take_encryption(json_t *options, struct wishes *w, GError **error)
{
	static const char *const names[] = {"aes", "luks", NULL};
	bool legacy = false;
	int format = -1;
	if (!block_take_bool(options, "encryption", &legacy, error) ||
	    !block_take_enum(options, "encrypt.format", names, &format, error))
		return false;
	w->crypt_method = format < 0 ? legacy ? QCOW2_CRYPT_AES : QCOW2_CRYPT_NONE : format + 1;
	if (w->crypt_method == QCOW2_CRYPT_LUKS)
		return crypto_take_wishes(options, "encrypt.", &w->luks, error);
	w->luks.secret = block_take_string(options, "encrypt.key-secret");
	if (w->crypt_method && !w->luks.secret)
		return error_set(error, BERTH_ERR_INVALID,
				 "Parameter 'encrypt.key-secret' is required for cipher");
	if (!w->crypt_method && w->luks.secret)
		return error_set(error, BERTH_ERR_INVALID, "Parameter 'encrypt.format' is missing");
	return true; /* what is left belongs to luks only, and is refused by name */
}

static bool take_wishes(json_t *options, struct wishes *w, GError **error)
{
	static const char *const compats[] = {"0.10", "v2", "1.1", "v3", NULL};
	static const char *const compressions[] = {"zlib", "zstd", NULL};
	static const char *const modes[] = {"off", "metadata", "falloc", "full", NULL};
	w->cluster_size = 65536;
	w->refcount_bits = 16;
	w->compat = 3;
	w->backing = block_take_string(options, "backing_file");
	w->backing_format = block_take_string(options, "backing_fmt");
	w->data_file = block_take_string(options, "data_file");
	return take_encryption(options, w, error) &&
	       block_take_size(options, "cluster_size", &w->cluster_size, error) &&
	       block_take_size(options, "refcount_bits", &w->refcount_bits, error) &&
	       block_take_enum(options, "compat", compats, &w->compat, error) &&
	       block_take_enum(options, "compression_type", compressions, &w->compression, error) &&
	       block_take_enum(options, "preallocation", modes, &w->preallocation, error) &&
	       block_take_bool(options, "lazy_refcounts", &w->lazy, error) &&
	       block_take_bool(options, "extended_l2", &w->extended, error) &&
	       block_take_bool(options, "data_file_raw", &w->data_file_raw, error);
}

/* What only newer images have, in QEMU's words. NULL: nothing of it is wished. */
static const char *needs_version3(const struct wishes *w)
{
	return w->refcount_bits != 16 ? "Different refcount widths than 16 bits require compatibility level 1.1 or "
					"above (use version=v3 or greater)"
	       : w->lazy ? "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 "
			   "or greater)"
	       : w->extended ? "Extended L2 entries are only supported with compatibility level 1.1 and above (use "
			       "version=v3 or greater)"
	       : w->compression ? "Non-zlib compression type is only supported with compatibility level 1.1 and "
				  "above (use version=v3 or greater)"
	       : w->data_file ? "External data files are only supported with compatibility level 1.1 and above (use "
				"version=v3 or greater)"
	       : w->preallocation && w->crypt_method
		       ? "preallocation of an encrypted image needs compat=1.1: older images cannot say that clusters "
			 "that are there read as zeroes"
		       : NULL;
}

static bool check_wishes(const struct wishes *w, GError **error)
{
	const char *why = w->compat < 2 ? needs_version3(w) : NULL;
	if (w->cluster_size < 512 || w->cluster_size > 2 << 20 || w->cluster_size & (w->cluster_size - 1))
		why = "Cluster size must be a power of two between 512 and 2048k";
	else if (w->refcount_bits < 1 || w->refcount_bits > 64 || w->refcount_bits & (w->refcount_bits - 1))
		why = "Refcount width must be a power of two and may not exceed 64 bits";
	else if (!why && w->extended && w->cluster_size < 16384)
		why = "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes";
	else if (w->data_file_raw && !w->data_file)
		why = "data-file-raw requires data-file";
	else if (w->data_file_raw && w->backing)
		why = "Backing file and data-file-raw cannot be used at the same time";
	else if (w->backing_format && !w->backing)
		why = "Backing format cannot be used without backing file";
	else if (w->preallocation > 1 && w->backing && !w->extended)
		why = "Backing file and preallocation can only be used at the same time if extended_l2 is on";
	return !why || error_set(error, BERTH_ERR_INVALID, "%s", why);
}

/* Where the parts of an empty image lie: header, refcount table, refcount blocks, L1, LUKS header. */
struct layout {
	uint64_t table_clusters, blocks, l1_clusters, luks_clusters, total;
};

static void lay_out(const struct qcow2_node *q, uint32_t l1_size, struct layout *l)
{
	l->table_clusters = l->blocks = 1;
	l->l1_clusters = MAX(1, ((uint64_t)l1_size * 8 + q->cluster_size - 1) >> q->cluster_bits);
	for (;;) {
		l->total = 1 + l->table_clusters + l->blocks + l->l1_clusters + l->luks_clusters;
		uint64_t blocks = (l->total + q->block_entries - 1) / q->block_entries;
		uint64_t tables = (blocks * 8 + q->cluster_size - 1) >> q->cluster_bits;
		if (blocks <= l->blocks && tables <= l->table_clusters)
			return;
		l->blocks = MAX(l->blocks, blocks);
		l->table_clusters = MAX(l->table_clusters, tables);
	}
}

static void fill_header(struct qcow2_node *q, const struct wishes *w)
{
	struct qcow2_header *h = &q->header;
	h->version = w->compat < 2 ? 2 : 3;
	h->cluster_bits = __builtin_ctzll(w->cluster_size);
	h->refcount_order = __builtin_ctzll(w->refcount_bits);
	h->size = w->size;
	h->compression = w->compression;
	h->crypt_method = w->crypt_method;
	h->incompatible = (w->compression ? QCOW2_INCOMPAT_COMPRESSION : 0) |
			  (w->extended ? QCOW2_INCOMPAT_EXTENDED_L2 : 0) |
			  (w->data_file ? QCOW2_INCOMPAT_DATA_FILE : 0);
	h->compatible = w->lazy ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0;
	h->autoclear = w->data_file_raw ? QCOW2_AUTOCLEAR_DATA_FILE_RAW : 0;
	q->node.backing_name = w->backing;
	q->node.backing_format = w->backing_format;
	q->data_file_name = w->data_file;
	q->cluster_bits = h->cluster_bits;
	q->cluster_size = w->cluster_size;
	q->refcount_order = h->refcount_order;
	q->refcount_bits = w->refcount_bits;
	q->block_entries = q->cluster_size * 8 >> h->refcount_order;
	q->l2_bits = h->cluster_bits - (w->extended ? 4 : 3);
}

/* The names of features, for programs that do not know them. */
static void add_feature_names(struct qcow2_node *q)
{
	static const struct {
		uint8_t type, bit;
		const char *name;
	} features[] = {
		{0, 0, "dirty bit"}, {0, 1, "corrupt bit"}, {0, 2, "external data file"},
		{0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
		{2, 0, "bitmaps"}, {2, 1, "raw external data"},
	};
	uint8_t table[G_N_ELEMENTS(features) * 48] = {0};
	for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
		table[i * 48] = features[i].type;
		table[i * 48 + 1] = features[i].bit;
		memcpy(table + i * 48 + 2, features[i].name, strlen(features[i].name));
	}
	if (q->header.version >= 3 && q->header.cluster_bits >= 12)
		qcow2_extension_set(q, QCOW2_EXT_FEATURES, table, sizeof(table));
}

/* The extension that says where the LUKS header is. */
static void point_to_luks(struct qcow2_node *q, const struct wishes *w, const struct layout *l)
{
	uint8_t pointer[16];
	if (w->crypt_method != QCOW2_CRYPT_LUKS)
		return;
	be64_store(pointer, (l->total - l->luks_clusters) << q->cluster_bits);
	be64_store(pointer + 8, luks_payload_bytes(&w->luks));
	qcow2_extension_set(q, QCOW2_EXT_CRYPTO, pointer, sizeof(pointer));
}

static uint64_t luks_clusters(const struct qcow2_node *q, const struct wishes *w)
{
	return w->crypt_method == QCOW2_CRYPT_LUKS
		       ? (luks_payload_bytes(&w->luks) + q->cluster_size - 1) >> q->cluster_bits : 0;
}

static bool write_empty(struct qcow2_node *q, const struct wishes *w, const char *filename,
			GError **error)
{
	struct qcow2_header *h = &q->header;
	struct layout l = {.luks_clusters = luks_clusters(q, w)};
	unsigned shift = q->l2_bits + q->cluster_bits;
	uint64_t l1_size = (h->size + (UINT64_C(1) << shift) - 1) >> shift;
	if (l1_size * 8 > QCOW2_L1_MAX)
		return error_set(error, BERTH_ERR_INVALID,
				 "The image size is too large for file format 'qcow2' (try using a larger "
				 "cluster size)");
	h->l1_size = l1_size;
	lay_out(q, l1_size, &l);
	point_to_luks(q, w, &l);
	h->reftable_offset = q->cluster_size;
	h->reftable_clusters = l.table_clusters;
	uint64_t blocks_at = (1 + l.table_clusters) << q->cluster_bits;
	h->l1_offset = blocks_at + (l.blocks << q->cluster_bits);
	/* The L1 table is zeroes, which a hole gives. */
	uint64_t bytes = (1 + l.table_clusters + l.blocks) << q->cluster_bits;
	g_autofree uint8_t *b = g_malloc0(bytes);
	size_t length;
	qcow2_header_encode(q, b, &length);
	if (length > q->cluster_size)
		return error_set(error, BERTH_ERR_INVALID, "'%s': the backing file's name is too long "
				 "for this cluster size", filename);
	for (uint64_t i = 0; i < l.blocks; i++)
		be64_store(b + q->cluster_size + i * 8, blocks_at + (i << q->cluster_bits));
	for (uint64_t i = 0; i < l.total; i++)
		qcow2_refcount_store(q, b + blocks_at + (i / q->block_entries << q->cluster_bits),
				     i % q->block_entries, 1);
	int rc = block_pwrite(q->node.file, 0, b, bytes);
	if (rc == 0)
		rc = block_io(q->node.file, BLOCK_WRITE_ZEROES, 0, h->l1_offset,
			      l.l1_clusters << q->cluster_bits, NULL, 0);
	rc = rc < 0 ? rc : block_flush(q->node.file);
	return rc == 0 || error_set_errno(error, -rc, "cannot write '%s'", filename);
}

/* Give every cluster its place: all L2 tables are written, the data is a hole or allocated. */
static bool preallocate(const struct block_create *create, int mode, GError **error)
{
	const struct block_open_options options = {.filename = create->filename, .format = "qcow2",
						   .no_backing = true, .no_lock = true,
						   .locked = true, .legacy_aes = true};
	struct block_node *node = block_open(&options, create->loop, error);
	if (!node)
		return false;
	struct qcow2_node *q = qcow2_of(node);
	uint64_t clusters = (q->header.size + q->cluster_size - 1) >> q->cluster_bits;
	/* Within the file zeroes can be a hole, behind its end they take room. */
	uint64_t end = q->external ? q->header.size : q->data->size + (clusters << q->cluster_bits);
	if (mode == 1 && end > q->data->size && !block_resize(q->data, end, error)) {
		block_close(node);
		return false;
	}
	int rc = 0;
	for (uint64_t at = 0; at < clusters && rc == 0;) {
		uint64_t offset = at << q->cluster_bits, got = clusters - at;
		bool fresh;
		if (!q->external)
			rc = qcow2_alloc(q, MIN(got, 4096), &offset, &got, &fresh);
		uint64_t bytes = got << q->cluster_bits;
		if (rc == 0)
			rc = block_io(q->data, BLOCK_WRITE_ZEROES, mode == 1 ? BLOCK_REQ_MAY_UNMAP : 0,
				      offset, bytes, NULL, 0);
		/* Zeroes in the file decrypt to noise: these clusters are marked as zeroes. */
		uint64_t zero = q->header.crypt_method && !q->extended ? QCOW2_ZERO : 0;
		uint64_t bitmap = q->header.crypt_method ? UINT64_C(0xffffffff00000000) : UINT32_MAX;
		for (uint64_t i = 0; i < got && rc == 0; i++)
			rc = qcow2_entry_set(q, at + i, (offset + (i << q->cluster_bits)) | QCOW2_COPIED |
					     zero, bitmap);
		at += got;
	}
	rc = rc < 0 ? rc : qcow2_flush(q);
	if (rc < 0)
		error_set_errno(error, -rc, "cannot preallocate '%s'", create->filename);
	block_close(node);
	return rc == 0;
}

/* The LUKS header, where the image points, or for aes a look whether the secret is there at all. */
static bool write_key(struct qcow2_node *q, const struct block_create *create, const struct wishes *w,
		      GError **error)
{
	const struct qcow2_ext *ext = qcow2_extension_find(q, QCOW2_EXT_CRYPTO);
	if (w->crypt_method == QCOW2_CRYPT_LUKS) {
		/* A last byte makes the file as long as the header says. */
		uint64_t offset = be64_load(ext->data);
		uint64_t end = offset + align_up(be64_load(ext->data + 8), q->cluster_size);
		return block_write_sync(create->file, end - 1, "", 1, error) &&
		       crypto_volume_format(create->file, offset, &w->luks, create->graph, error) &&
		       block_flush_sync(create->file, error);
	}
	GBytes *password = w->crypt_method ? block_object_take(create->graph, w->luks.secret,
							       BLOCK_OBJECT_SECRET, error) : NULL;
	bool good = password || !w->crypt_method;
	if (password)
		g_bytes_unref(password);
	return good;
}

static bool create_data_file(const struct block_create *create, const struct wishes *w,
			     GError **error)
{
	g_autofree char *path = block_path_combine(create->filename, w->data_file);
	return block_create(path, "file", w->data_file_raw ? w->size : 0, NULL, create->loop, error);
}

bool qcow2_create(const struct block_create *create, GError **error)
{
	struct wishes w = {.size = align_up(create->size, 512)};
	struct qcow2_node q = {.node = {.file = create->file}};
	bool good = take_wishes(create->options, &w, error) && check_wishes(&w, error) &&
		    block_refuse_rest(create->options, "qcow2", error);
	if (good && w.data_file)
		good = create_data_file(create, &w, error);
	if (good) {
		q.extensions = g_array_new(false, false, sizeof(struct qcow2_ext));
		fill_header(&q, &w);
		add_feature_names(&q);
		good = write_empty(&q, &w, create->filename, error) && write_key(&q, create, &w, error) &&
		       (!w.preallocation || preallocate(create, w.preallocation, error));
		qcow2_extensions_free(&q);
	}
	wishes_clear(&w);
	return good;
}

/* --- measure ----------------------------------------------------------------------------------------------*/

/* What an image with this many data clusters takes: QEMU counts the same way. */
static uint64_t image_bytes(const struct qcow2_node *q, uint64_t size, uint64_t data)
{
	uint64_t cs = q->cluster_size, per_l2 = UINT64_C(1) << q->l2_bits;
	uint64_t clusters = (size + cs - 1) / cs;
	uint64_t l2 = (clusters + per_l2 - 1) / per_l2, l1 = align_up(l2 * 8, cs);
	uint64_t meta = cs + l1 + l2 * cs, blocks = 0, tables = 0, before;
	do {
		before = blocks;
		uint64_t all = (meta + data) / cs + blocks + tables;
		blocks = (all + q->block_entries - 1) / q->block_entries;
		tables = (blocks * 8 + cs - 1) / cs;
	} while (blocks != before);
	return meta + data + (blocks + tables) * cs;
}

bool qcow2_measure(struct block_node *source, uint64_t size, json_t *options,
		   struct block_measure *measure, GError **error)
{
	struct wishes w = {.size = align_up(size, 512)};
	struct qcow2_node q = {0};
	if (!take_wishes(options, &w, error) || !check_wishes(&w, error)) {
		wishes_clear(&w);
		return false;
	}
	fill_header(&q, &w);
	uint64_t data = 0, mask = q.cluster_size - 1, last = UINT64_MAX;
	bool whole = !source && w.preallocation >= 2;
	for (uint64_t at = 0; source && at < size;) {
		struct block_extent extent;
		int rc = block_status_above(source, NULL, at, size - at, &extent, NULL);
		if (rc < 0) {
			wishes_clear(&w);
			return error_set_errno(error, -rc, "cannot look at '%s'", source->filename);
		}
		uint64_t first = at & ~mask, end = align_up(at + extent.length, q.cluster_size);
		if (extent.flags & BLOCK_STATUS_DATA) {
			data += end - first - (first == last ? q.cluster_size : 0);
			last = end - q.cluster_size;
		}
		at += extent.length;
	}
	uint64_t all = align_up(w.size, q.cluster_size);
	measure->fully_allocated = image_bytes(&q, w.size, all) + (luks_clusters(&q, &w) << q.cluster_bits);
	measure->required = measure->fully_allocated - (whole ? 0 : all - data);
	measure->has_bitmaps = q.header.version >= 3 && source &&
			       source->driver == &block_qcow2_driver && qcow2_of(source)->header.version >= 3;
	if (measure->has_bitmaps)
		measure->bitmaps = qcow2_bitmaps_measure(source, q.cluster_size);
	wishes_clear(&w);
	return true;
}
