/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2, versions 2 and 3, after "Qcow2 image file format" (QEMU's docs/interop/qcow2). The parts:
 * header.c, cache.c (metadata in memory), refcount.c (which clusters are in use), map.c (where a
 * guest's cluster is), write.c and read.c (requests), and the operations on whole images.
 *
 * All of it runs on fibers of the node's loop: memory changes atomically between two waits.
 *
 * Crash safety is an order of writes, kept in one place (writeback.c). Requests change metadata in
 * memory only; a write-back takes all changes of one moment and puts them on disk in this order,
 * with a disk flush between: refcounts up - refcount table - L2 - L1 - refcounts down. So whatever
 * is pointed to is counted and holds its data, at every moment; a crash leaves at most leaks.
 * Clusters that become free are reused only after that order is through (pending frees), and after
 * requests that might still use them have ended (generations).
 */
#pragma once

#include "aio/pool.h"
#include "block/core/claims.h"
#include "block/core/driver.h"
#include "block/crypto/volume.h"

#define QCOW2_MAGIC UINT32_C(0x514649fb)

#define QCOW2_COPIED     (UINT64_C(1) << 63) /* refcount is exactly 1 */
#define QCOW2_COMPRESSED (UINT64_C(1) << 62)
#define QCOW2_ZERO       (UINT64_C(1) << 0)
#define QCOW2_OFFSET     UINT64_C(0x00fffffffffffe00)
#define QCOW2_RESERVED_REFTABLE UINT64_C(511)
#define QCOW2_RESERVED_L1 (~(QCOW2_COPIED | QCOW2_OFFSET))
#define QCOW2_RESERVED_L2 (QCOW2_RESERVED_L1 & ~(QCOW2_COMPRESSED | QCOW2_ZERO))

enum {
	QCOW2_INCOMPAT_DIRTY = 1 << 0, QCOW2_INCOMPAT_CORRUPT = 1 << 1,
	QCOW2_INCOMPAT_DATA_FILE = 1 << 2, QCOW2_INCOMPAT_COMPRESSION = 1 << 3,
	QCOW2_INCOMPAT_EXTENDED_L2 = 1 << 4, QCOW2_INCOMPAT_KNOWN = 0x1f,
	QCOW2_COMPAT_LAZY_REFCOUNTS = 1 << 0,
	QCOW2_AUTOCLEAR_BITMAPS = 1 << 0, QCOW2_AUTOCLEAR_DATA_FILE_RAW = 1 << 1,
};
enum {
	QCOW2_EXT_END = 0, QCOW2_EXT_BACKING_FORMAT = 0xe2792aca, QCOW2_EXT_FEATURES = 0x6803f857,
	QCOW2_EXT_CRYPTO = 0x0537be77, QCOW2_EXT_BITMAPS = 0x23852875, QCOW2_EXT_DATA_FILE = 0x44415441,
	QCOW2_EXT_WAS_V2 = 0x42767732, /* ours: see downgrade.c */
};

enum { QCOW2_CRYPT_NONE, QCOW2_CRYPT_AES, QCOW2_CRYPT_LUKS };
#define QCOW2_CRYPT_THREADS 4

/* Bounds on what an image can make us hold in memory; QEMU has the same. */
#define QCOW2_L1_MAX        (32 * 1024 * 1024)
#define QCOW2_REFTABLE_MAX  (8 * 1024 * 1024)
#define QCOW2_SNAPSHOTS_MAX 65536
#define QCOW2_CACHE_DEFAULT (32 * 1024 * 1024)

struct qcow2_ext {
	uint32_t magic, length;
	uint8_t *data;
};

struct qcow2_header {
	uint32_t version, cluster_bits, crypt_method, l1_size, reftable_clusters, snapshot_count;
	uint32_t refcount_order, header_length;
	uint64_t size, l1_offset, reftable_offset, snapshots_offset;
	uint64_t incompatible, compatible, autoclear;
	uint8_t compression; /* 0 zlib, 1 zstd */
};

enum qcow2_kind { QCOW2_PAGE_REFCOUNT, QCOW2_PAGE_L2 };

struct qcow2_page {
	uint64_t offset; /* in the file; the key */
	uint8_t *data;   /* q->page_size bytes */
	enum qcow2_kind kind;
	bool dirty, loading, writing;
	struct qcow2_page *newer, *older; /* by last use */
	struct fiber_queue loaded;
};

struct qcow2_free {
	uint64_t offset, clusters;
};

/* A range of guest clusters whose mapping some request is changing. */
struct qcow2_claim {
	uint64_t first, end;
	struct qcow2_claim *next;
	struct fiber_queue waiters;
};

struct qcow2_snapshot {
	uint64_t l1_offset, vm_state_size, disk_size, icount, vm_clock_ns;
	uint32_t l1_size, date_sec, date_nsec, extra_size;
	uint8_t *extra; /* unknown bytes after the known ones, kept */
	char *id, *name;
};

struct qcow2_codec;

struct qcow2_node {
	struct block_node node;
	struct block_node *data; /* node.file, or the external data file */
	struct qcow2_header header;
	GArray *extensions;      /* of struct qcow2_ext: what we do not interpret, kept */
	char *data_file_name;
	uint64_t cluster_size;
	unsigned cluster_bits, l2_bits, refcount_bits, refcount_order, entry_size;
	uint64_t subcluster_size; /* == cluster_size without extended L2 */
	uint64_t block_entries;   /* refcounts in a refcount block */
	uint64_t page_size;
	bool extended, external, lazy;

	uint64_t *l1; /* host byte order */
	uint32_t l1_size;
	uint8_t *l1_dirty; /* a byte for each 512 bytes of the table */
	uint64_t *reftable;
	uint64_t reftable_size, reftable_used; /* entries; all behind `used` are 0 */
	uint64_t reftable_reserved;            /* entries that had reserved bits when it was read */
	bool l1_changed, reftable_changed;

	GHashTable *pages;
	struct qcow2_page *newest, *oldest;
	unsigned page_count, page_limit, dirty_count;

	uint64_t free_hint;   /* cluster index: nothing below is free, except what comes back */
	uint64_t zero_from;   /* the file was never written at or behind this offset */
	uint64_t compressed_at; /* where the next compressed bytes go; 0: a new cluster */
	struct fiber_mutex alloc_lock, l2_lock, writeback_lock;
	struct qcow2_claim *claims;
	GArray *frees;        /* of struct qcow2_free: to be freed after the next write-back */
	GArray *freed;        /* written back, to be counted down */
	struct fiber_mutex frees_lock;
	bool unsynced;        /* something was written since the last flush of the file */
	unsigned generation, in_flight[2];
	struct fiber_queue generation_ended;

	/* Whole-image operations run alone. */
	unsigned active;
	bool frozen;
	struct fiber_queue gate, idle;

	GArray *snapshots; /* of struct qcow2_snapshot */
	uint64_t snapshot_table_size;
	struct qcow2_codec *codec;
	struct crypto_volume crypt;       /* crypt.cipher: NULL if locked, or not encrypted */
	struct block_claims crypt_claims; /* writes to parts of sectors run alone */
	uint8_t *zeroes; /* one cluster, or 64 KiB if that is less */
	bool dirty_marked, corrupt;
	bool bitmaps_loaded; /* so they are to be written back */
	char *bitmaps_error; /* of an image opened to be checked; or NULL */
};

static inline struct qcow2_node *qcow2_of(struct block_node *node)
{
	return (struct qcow2_node *)node;
}

/* --- header.c: on disk and back ---------------------------------------------------------------------*/
bool qcow2_header_read(struct qcow2_node *q, GError **error);
/* Rewrite the whole header cluster from memory, and flush. */
bool qcow2_header_write(struct qcow2_node *q, GError **error);
void qcow2_header_encode(const struct qcow2_node *q, uint8_t *bytes, size_t *length);
int qcow2_mark(struct qcow2_node *q, uint64_t incompatible);
void qcow2_extensions_free(struct qcow2_node *q);
const struct qcow2_ext *qcow2_extension_find(const struct qcow2_node *q, uint32_t magic);
void qcow2_extension_set(struct qcow2_node *q, uint32_t magic, const void *data, uint32_t length);
/* The image contradicts itself at `offset`: mark it, say so, and give -EIO. */
int qcow2_corrupt(struct qcow2_node *q, const char *what, uint64_t offset);

/* --- cache.c: pages of L2 tables and refcount blocks. Valid until the fiber next waits. -----------------*/
int qcow2_page_get(struct qcow2_node *q, uint64_t offset, enum qcow2_kind kind,
		   struct qcow2_page **page);
/* A page whose content on disk does not matter: zeroes, dirty. Replaces one that is there. */
int qcow2_page_new(struct qcow2_node *q, uint64_t offset, enum qcow2_kind kind,
		   struct qcow2_page **page);
void qcow2_page_dirty(struct qcow2_node *q, struct qcow2_page *page);
void qcow2_page_clean(struct qcow2_node *q, struct qcow2_page *page);
/* Forget pages in a range that is given up. */
void qcow2_pages_drop(struct qcow2_node *q, uint64_t offset, uint64_t length);
void qcow2_pages_free(struct qcow2_node *q);

/* --- writeback.c ----------------------------------------------------------------------------------------*/
/* Put all metadata of this moment on disk in a safe order. 0 or -errno. */
int qcow2_writeback(struct qcow2_node *q);
/* The same and flush: everything that has completed is durable. */
int qcow2_flush(struct qcow2_node *q);
int qcow2_sync(struct qcow2_node *q);

/* --- refcount.c -----------------------------------------------------------------------------------------*/
int qcow2_refcount_get(struct qcow2_node *q, uint64_t cluster, uint64_t *count);
/* Change the count of each cluster that [offset, offset + length) touches. */
int qcow2_refcount_add(struct qcow2_node *q, uint64_t offset, uint64_t length, int delta);
int qcow2_refcount_set(struct qcow2_node *q, uint64_t cluster, uint64_t count);
/* Up to `wanted` contiguous clusters; *got may be less. Counts become 1. */
int qcow2_alloc(struct qcow2_node *q, uint64_t wanted, uint64_t *offset, uint64_t *got, bool *fresh);
/* All of `clusters`, contiguous. *fresh (may be NULL): the file holds zeroes there. */
int qcow2_alloc_all(struct qcow2_node *q, uint64_t clusters, uint64_t *offset, bool *fresh);
/* Would a write there destroy metadata? Corrupt images point everywhere. */
bool qcow2_overlaps(const struct qcow2_node *q, uint64_t offset, uint64_t length);
int qcow2_alloc_bytes(struct qcow2_node *q, uint64_t bytes, uint64_t *offset);
/* After the next write-back, count these clusters down. */
void qcow2_free_later(struct qcow2_node *q, uint64_t offset, uint64_t length);
bool qcow2_reftable_load(struct qcow2_node *q, GError **error);
uint64_t qcow2_refcount_load(const struct qcow2_node *q, const uint8_t *data, uint64_t index);
void qcow2_refcount_store(const struct qcow2_node *q, uint8_t *data, uint64_t index,
			  uint64_t value);

/* --- map.c ----------------------------------------------------------------------------------------------*/
enum qcow2_type { QCOW2_UNALLOCATED, QCOW2_ZERO_PLAIN, QCOW2_ZERO_ALLOC, QCOW2_NORMAL, QCOW2_PACKED };
struct qcow2_mapping {
	enum qcow2_type type;
	bool copied;
	uint64_t host;   /* of the first byte asked for; for QCOW2_PACKED the L2 entry */
	uint64_t length; /* bytes of the same kind that follow each other in the file */
};
int qcow2_map(struct qcow2_node *q, uint64_t offset, uint64_t length, struct qcow2_mapping *map);
/* The L2 entry (and bitmap) of a guest cluster, 0 if there is no table. */
int qcow2_entry_get(struct qcow2_node *q, uint64_t cluster, uint64_t *entry, uint64_t *bitmap);
/* Make the L2 table writable if need be and set the entry. The old cluster is the caller's. */
int qcow2_entry_set(struct qcow2_node *q, uint64_t cluster, uint64_t entry, uint64_t bitmap);
enum qcow2_type qcow2_entry_type(const struct qcow2_node *q, uint64_t entry, uint64_t bitmap,
				 unsigned subcluster);
/* The clusters that an entry holds are not needed by it any more. */
void qcow2_entry_release(struct qcow2_node *q, uint64_t entry);
void qcow2_packed_range(const struct qcow2_node *q, uint64_t entry, uint64_t *offset,
			uint64_t *length);
void qcow2_l1_dirty(struct qcow2_node *q, uint64_t index);
/* Reserve guest clusters [first, end) while their mapping changes; waits for others. */
void qcow2_claim(struct qcow2_node *q, struct qcow2_claim *claim);
void qcow2_unclaim(struct qcow2_node *q, struct qcow2_claim *claim);
bool qcow2_claimed(const struct qcow2_node *q, uint64_t first, uint64_t end);

/* --- requests -------------------------------------------------------------------------------------------*/
int qcow2_read(struct qcow2_node *q, uint64_t offset, uint64_t length, const struct iovec *iov,
	       unsigned iov_count);
int qcow2_write(struct qcow2_node *q, struct block_request *request);
/* The same for whole sectors of memory, below what qcow2_crypt_write() does. */
int qcow2_write_sectors(struct qcow2_node *q, uint64_t offset, uint64_t length,
			const struct iovec *iov, unsigned iov_count);
int qcow2_write_compressed(struct qcow2_node *q, struct block_request *request);
/* Zero, or give up as a hint; `unmap`: zeroes need not keep their space. */
int qcow2_discard(struct qcow2_node *q, uint64_t offset, uint64_t length, bool zero, bool unmap);
/* Requests that use host clusters are counted, so that these are not reused under them. */
unsigned qcow2_io_begin(struct qcow2_node *q);
void qcow2_io_end(struct qcow2_node *q, unsigned generation);
/* Run alone. */
void qcow2_freeze(struct qcow2_node *q);
void qcow2_thaw(struct qcow2_node *q);

/* --- crypt.c --------------------------------------------------------------------------------------------*/
/* Takes "encrypt" out of `dict`. */
bool qcow2_crypt_open(struct qcow2_node *q, json_t *dict, GError **error);
bool qcow2_crypt_locked(const struct qcow2_node *q);
const char *qcow2_crypt_name(const struct qcow2_node *q);
json_t *qcow2_crypt_describe(const struct qcow2_node *q);
/* Guest bytes that lie encrypted at `host` of the data file. */
int qcow2_crypt_read(struct qcow2_node *q, uint64_t guest, uint64_t host, const struct iovec *iov,
		     unsigned iov_count, uint64_t skip, uint64_t length);
/* Write to the data file, encrypted (then only whole sectors) or as it is. */
int qcow2_data_write(struct qcow2_node *q, uint64_t guest, uint64_t host, struct iovec *iov,
		     unsigned iov_count, uint64_t length);
/* A write that may begin and end within sectors. */
int qcow2_crypt_write(struct qcow2_node *q, uint64_t offset, uint64_t length, const struct iovec *iov,
		      unsigned iov_count);

/* --- compress.c -----------------------------------------------------------------------------------------*/
struct qcow2_codec *qcow2_codec_new(void);
void qcow2_codec_free(struct qcow2_codec *codec);
/* One cluster on a thread: *length is 0 if it does not get smaller than a cluster. */
int qcow2_compress(struct qcow2_node *q, const uint8_t *cluster, uint8_t *out, uint64_t *length);
int qcow2_decompress(struct qcow2_node *q, const uint8_t *in, uint64_t in_length, uint8_t *cluster);

/* --- bitmap.c -------------------------------------------------------------------------------------------*/
bool qcow2_bitmaps_load(struct qcow2_node *q, GError **error);
/* The image is going to be written: what it holds of bitmaps is out of date from now on. */
bool qcow2_bitmaps_begin(struct qcow2_node *q, GError **error);
/* Write them back. 0 or -errno, which is logged. */
int qcow2_bitmaps_store(struct qcow2_node *q);
/* Bytes that the persistent bitmaps of `source` would take in an image with such clusters. */
uint64_t qcow2_bitmaps_measure(const struct block_node *source, uint64_t cluster);
json_t *qcow2_bitmaps_describe(const struct qcow2_node *q);
bool qcow2_bitmap_can_keep(struct block_node *node, GError **error);

/* --- downgrade.c ----------------------------------------------------------------------------------------*/
/* Counts and flags change from here on: until the end, whoever opens the image repairs it first. */
int qcow2_dirty_begin(struct qcow2_node *q, bool *was_dirty);
/* `rc` is the change's result, and after a failure the mark stays. Returns it, or what else went wrong. */
int qcow2_dirty_end(struct qcow2_node *q, int rc, bool was_dirty);

/* --- operations on images (snapshot.c, check.c, create.c, amend.c, info.c) ----------------------------------*/
bool qcow2_snapshots_load(struct qcow2_node *q, GError **error);
void qcow2_snapshots_free(struct qcow2_node *q);
bool qcow2_snapshot_create(struct block_node *node, const struct block_snapshot *snapshot,
			   GError **error);
bool qcow2_snapshot_apply(struct block_node *node, const char *name_or_id, GError **error);
bool qcow2_snapshot_delete(struct block_node *node, const char *name_or_id, GError **error);
bool qcow2_snapshot_view(struct block_node *node, const char *id, const char *name, GError **error);
bool qcow2_snapshot_list(struct block_node *node, GPtrArray *list, GError **error);
/* The L1 table of a snapshot, host byte order, `entries` long at least; NULL with *rc set. */
uint64_t *qcow2_snapshot_l1(struct qcow2_node *q, const struct qcow2_snapshot *snapshot, uint32_t entries,
			    int *rc);
bool qcow2_check(struct block_node *node, struct block_check *check, GError **error);
bool qcow2_create(const struct block_create *create, GError **error);
bool qcow2_measure(struct block_node *source, uint64_t size, json_t *options,
		   struct block_measure *measure, GError **error);
extern const struct block_option qcow2_create_options[], qcow2_amend_options[];
bool qcow2_amend(struct block_node *node, json_t *options, bool force,
		 struct block_progress *progress, GError **error);
/* downgrade.c: to version 2. refcount_width.c: to refcounts of 1 << order bits. */
bool qcow2_downgrade(struct qcow2_node *q, struct block_progress *progress, GError **error);
bool qcow2_set_refcount_width(struct qcow2_node *q, unsigned order, struct block_progress *progress,
			      GError **error);
bool qcow2_resize(struct block_node *node, uint64_t size, GError **error);
bool qcow2_change_backing(struct block_node *node, const char *file, const char *format,
			  GError **error);
bool qcow2_make_empty(struct block_node *node, GError **error);
bool qcow2_info(struct block_node *node, json_t *info, GError **error);
void qcow2_cache_bound(const struct block_node *node, struct block_cache_bound *bound);
/* Replace the L1 table by one of `entries` (grown or from a snapshot). */
int qcow2_l1_replace(struct qcow2_node *q, uint64_t *table, uint32_t entries, uint64_t size);
int qcow2_update_flags(struct qcow2_node *q);
int qcow2_l1_write_table(struct qcow2_node *q, const uint64_t *table, uint32_t entries,
			 uint64_t *offset);
