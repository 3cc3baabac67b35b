/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing. Clusters that are ours alone are overwritten in place. Others are claimed, allocated,
 * written together with what must be copied around the new bytes, and linked when the data is in
 * the file. A new cluster in a part of the file that was never written holds zeroes already, so
 * without a backing file a small write to a new image costs just that write.
 */
#include "block/format/qcow2/qcow2.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

#define IOV_LOCAL 16
/* Clusters linked by one step: bounds the memory for what they held before. */
#define RUN_MAX 512

/* One step: what becomes of guest clusters first, first + 1... */
struct step {
	const struct iovec *iov;
	unsigned iov_count;
	uint64_t skip;           /* bytes of iov before `start` */
	uint64_t start, end;     /* guest bytes that are written */
	uint64_t first, count;   /* clusters */
	uint64_t host;           /* of cluster `first` */
	bool fresh;              /* the host clusters hold zeroes */
	bool reuse;              /* the host cluster was there already and is kept */
	uint64_t old[RUN_MAX], old_bitmap;
	uint64_t copy_start, copy_end; /* what is written with the copies around; whole subclusters */
};

/* Must the cluster get a new place (or its own one be linked anew) before [a, b) can be written? */
static bool needs_step(const struct qcow2_node *q, uint64_t entry, uint64_t bitmap, unsigned a,
		       unsigned b)
{
	for (unsigned i = a; i <= b; i++)
		if (qcow2_entry_type(q, entry, bitmap, i) != QCOW2_NORMAL)
			return true;
	return !(entry & QCOW2_COPIED);
}

static unsigned subcluster(const struct qcow2_node *q, uint64_t offset)
{
	return (offset & (q->cluster_size - 1)) / q->subcluster_size;
}

static bool has_own_host(const struct qcow2_node *q, uint64_t entry)
{
	return !(entry & QCOW2_COMPRESSED) && entry & QCOW2_COPIED &&
	       (entry & QCOW2_OFFSET || q->external);
}

/* How many clusters from step->first on need the same treatment; fills `old`. 0: none does. */
static int plan(struct qcow2_node *q, struct step *step, uint64_t limit)
{
	step->count = 0;
	step->reuse = false;
	for (uint64_t i = 0; i < limit; i++) {
		uint64_t entry, bitmap, cluster = step->first + i, base = cluster << q->cluster_bits;
		int rc = qcow2_entry_get(q, cluster, &entry, &bitmap);
		if (rc < 0)
			return rc;
		unsigned a = subcluster(q, MAX(step->start, base));
		unsigned b = subcluster(q, MIN(step->end, base + q->cluster_size) - 1);
		if (!needs_step(q, entry, bitmap, a, b))
			break;
		bool own = has_own_host(q, entry);
		if (i && own)
			break;
		step->old[i] = entry;
		step->old_bitmap = bitmap;
		step->count = i + 1;
		if (own) {
			step->reuse = true;
			step->host = entry & QCOW2_OFFSET;
			break;
		}
	}
	return 0;
}

static int place(struct qcow2_node *q, struct step *step)
{
	step->fresh = false;
	if (q->external) {
		step->host = step->first << q->cluster_bits;
		return 0;
	}
	if (step->reuse)
		return 0;
	return qcow2_alloc(q, step->count, &step->host, &step->count, &step->fresh);
}

/* Which bytes must be in the file before the clusters can be linked. */
static void plan_copy(const struct qcow2_node *q, struct step *step)
{
	uint64_t unit = q->subcluster_size;
	step->end = MIN(step->end, (step->first + step->count) << q->cluster_bits);
	/* A cluster that moves takes all of its content along. */
	bool moves = !step->reuse && step->old[0] & (QCOW2_OFFSET | QCOW2_COMPRESSED);
	bool last_moves = !step->reuse &&
			  step->old[step->count - 1] & (QCOW2_OFFSET | QCOW2_COMPRESSED);
	step->copy_start = align_down(step->start, moves ? q->cluster_size : unit);
	step->copy_end = align_up(step->end, last_moves ? q->cluster_size : unit);
}

/* Does the guest see zeroes in a part of a cluster with this entry? */
static bool reads_zero(const struct qcow2_node *q, uint64_t entry, uint64_t bitmap, uint64_t offset)
{
	enum qcow2_type type = qcow2_entry_type(q, entry, bitmap, subcluster(q, offset));
	bool backed = q->node.backing && offset < q->node.backing->size;
	return type == QCOW2_ZERO_PLAIN || type == QCOW2_ZERO_ALLOC ||
	       (type == QCOW2_UNALLOCATED && !backed);
}

/* The bytes around the new ones: NULL in *bytes if the file holds them already. */
static int fetch_edge(struct qcow2_node *q, const struct step *step, uint64_t from, uint64_t to,
		      uint64_t entry, uint8_t **bytes)
{
	*bytes = NULL;
	if (from == to)
		return 0;
	/* Only a whole simple cluster is judged at once; with subclusters, from the first on. */
	bool zero = q->extended ? false : reads_zero(q, entry, 0, from);
	if (q->extended && !(entry & (QCOW2_OFFSET | QCOW2_COMPRESSED)) && !q->node.backing)
		zero = true;
	/* Zeroes of an encrypted image are zeroes in the file only by chance. */
	if (zero && step->fresh && !q->header.crypt_method)
		return 0;
	*bytes = g_malloc0(to - from);
	uint64_t size = q->node.size, have = from < size ? MIN(to, size) - from : 0;
	struct iovec iov = {*bytes, have};
	return zero || !have ? 0 : qcow2_read(q, from, have, &iov, 1);
}

static int write_data(struct qcow2_node *q, const struct step *step, uint8_t *head, uint8_t *tail)
{
	struct iovec local[IOV_LOCAL + 2];
	g_autofree struct iovec *many =
		step->iov_count > IOV_LOCAL ? g_new(struct iovec, step->iov_count + 2) : NULL;
	struct iovec *iov = many ? many : local;
	unsigned n = 0;
	uint64_t from = head ? step->copy_start : step->start, to = tail ? step->copy_end : step->end;
	if (head)
		iov[n++] = (struct iovec){head, step->start - step->copy_start};
	n += block_iov_slice(step->iov, step->iov_count, step->skip, step->end - step->start, iov + n);
	if (tail)
		iov[n++] = (struct iovec){tail, step->copy_end - step->end};
	uint64_t host = step->host + (from - (step->first << q->cluster_bits));
	if (!q->external && qcow2_overlaps(q, host, to - from))
		return qcow2_corrupt(q, "a data cluster is also metadata", host);
	return qcow2_data_write(q, from, host, iov, n, to - from);
}

/* The allocation bits of the subclusters in [copy_start, copy_end) of one cluster. */
static uint64_t written_bits(const struct qcow2_node *q, const struct step *step, uint64_t cluster)
{
	uint64_t base = cluster << q->cluster_bits;
	unsigned a = subcluster(q, MAX(step->copy_start, base));
	unsigned b = subcluster(q, MIN(step->copy_end, base + q->cluster_size) - 1);
	return (UINT64_C(2) << b) - (UINT64_C(1) << a);
}

static int link_clusters(struct qcow2_node *q, const struct step *step)
{
	for (uint64_t i = 0; i < step->count; i++) {
		uint64_t cluster = step->first + i, bitmap = 0;
		uint64_t entry = (step->host + (i << q->cluster_bits)) | QCOW2_COPIED;
		if (q->extended) {
			uint64_t bits = written_bits(q, step, cluster);
			bool keeps = step->reuse || !(step->old[i] & (QCOW2_OFFSET | QCOW2_COMPRESSED));
			bitmap = keeps && (step->reuse || i == 0 || i == step->count - 1)
					 ? step->old_bitmap : 0;
			if (!step->reuse)
				bitmap &= UINT64_C(0xffffffff00000000); /* no host, no data */
			bitmap = (bitmap | bits) & ~(bits << 32);
		}
		int rc = qcow2_entry_set(q, cluster, entry, bitmap);
		if (rc < 0)
			return rc;
		if (!step->reuse)
			qcow2_entry_release(q, step->old[i]);
	}
	return 0;
}

/* Under the claim. The number of clusters done is step->count; 0: none needed it. */
static int do_step(struct qcow2_node *q, struct step *step, uint64_t limit)
{
	/* With subclusters every cluster has a bitmap of its own to remember: one at a time. */
	int rc = plan(q, step, q->extended ? 1 : limit);
	if (rc < 0 || !step->count)
		return rc;
	rc = place(q, step);
	if (rc < 0)
		return rc;
	plan_copy(q, step);
	uint8_t *head = NULL, *tail = NULL;
	rc = fetch_edge(q, step, step->copy_start, step->start, step->old[0], &head);
	rc = rc < 0 ? rc : fetch_edge(q, step, step->end, step->copy_end,
				      step->old[step->count - 1], &tail);
	rc = rc < 0 ? rc : write_data(q, step, head, tail);
	g_free(head);
	g_free(tail);
	if (rc < 0 && !step->reuse && !q->external)
		qcow2_free_later(q, step->host, step->count << q->cluster_bits);
	return rc < 0 ? rc : link_clusters(q, step);
}

/* Write what begins at offset and needs new clusters; *done is how many bytes that was. */
static int write_new(struct qcow2_node *q, struct step *step, uint64_t offset, uint64_t length,
		     uint64_t *done)
{
	uint64_t first = offset >> q->cluster_bits;
	uint64_t end = ((offset + length - 1) >> q->cluster_bits) + 1;
	uint64_t limit = MIN(end - first, RUN_MAX);
	struct qcow2_claim claim = {.first = first, .end = first + limit};
	qcow2_claim(q, &claim);
	step->first = first;
	step->start = offset;
	step->end = MIN(offset + length, (first + limit) << q->cluster_bits);
	int rc = do_step(q, step, limit);
	*done = step->count ? step->end - offset : 0;
	qcow2_unclaim(q, &claim);
	return rc;
}

static int write_in_place(struct qcow2_node *q, uint64_t offset, const struct qcow2_mapping *map,
			  const struct iovec *iov, unsigned iov_count, uint64_t skip)
{
	struct iovec local[IOV_LOCAL];
	g_autofree struct iovec *many = iov_count > IOV_LOCAL ? g_new(struct iovec, iov_count) : NULL;
	struct iovec *part = many ? many : local;
	unsigned n = block_iov_slice(iov, iov_count, skip, map->length, part);
	if (!q->external && qcow2_overlaps(q, map->host, map->length))
		return qcow2_corrupt(q, "a data cluster is also metadata", map->host);
	return qcow2_data_write(q, offset, map->host, part, n, map->length);
}

int qcow2_write_sectors(struct qcow2_node *q, uint64_t offset, uint64_t length,
			const struct iovec *iov, unsigned iov_count)
{
	struct step *step = NULL;
	int rc = 0;
	for (uint64_t done = 0, n; done < length && rc == 0; done += n) {
		struct qcow2_mapping map;
		unsigned generation = qcow2_io_begin(q);
		rc = qcow2_map(q, offset + done, length - done, &map);
		n = map.length;
		bool in_place = rc == 0 && map.type == QCOW2_NORMAL && map.copied;
		if (in_place)
			rc = write_in_place(q, offset + done, &map, iov, iov_count, done);
		qcow2_io_end(q, generation);
		if (in_place || rc < 0)
			continue;
		if (!step)
			step = g_new(struct step, 1);
		step->iov = iov;
		step->iov_count = iov_count;
		step->skip = done;
		rc = write_new(q, step, offset + done, length - done, &n);
	}
	g_free(step);
	return rc;
}

static int write_range(struct qcow2_node *q, uint64_t offset, uint64_t length,
		       const struct iovec *iov, unsigned iov_count)
{
	return (q->header.crypt_method ? qcow2_crypt_write : qcow2_write_sectors)(q, offset, length, iov,
										  iov_count);
}

int qcow2_write(struct qcow2_node *q, struct block_request *request)
{
	if (q->corrupt)
		return -EIO;
	return write_range(q, request->offset, request->length, request->iov, request->iov_count);
}

/* --- zeroes and discard ---------------------------------------------------------------------------------*/

static int write_zero_bytes(struct qcow2_node *q, uint64_t offset, uint64_t length)
{
	uint64_t unit = MIN(q->cluster_size, 65536);
	int rc = 0;
	for (uint64_t done = 0; done < length && rc == 0;) {
		uint64_t n = MIN(unit, length - done);
		struct iovec iov = {q->zeroes, n};
		struct qcow2_mapping map;
		rc = qcow2_map(q, offset + done, n, &map);
		bool zero = map.type == QCOW2_ZERO_PLAIN || map.type == QCOW2_ZERO_ALLOC ||
			    (map.type == QCOW2_UNALLOCATED && !q->node.backing);
		if (rc == 0 && zero)
			n = map.length;
		else if (rc == 0)
			rc = write_range(q, offset + done, n, &iov, 1);
		done += n;
	}
	return rc;
}

/* One claimed cluster: its new entry, or -ENOTSUP if that cannot be expressed. */
static int clear_cluster(struct qcow2_node *q, uint64_t cluster, bool zero, bool unmap)
{
	uint64_t entry, bitmap, fresh_entry = 0, fresh_bitmap = 0;
	int rc = qcow2_entry_get(q, cluster, &entry, &bitmap);
	if (rc < 0)
		return rc;
	bool empty = !(entry & ~QCOW2_COPIED) && !bitmap;
	bool backed = q->node.backing && (cluster << q->cluster_bits) < q->node.backing->size;
	if ((empty && (!backed || !zero)) || (!zero && q->external))
		return 0;
	if (backed || q->external) {
		if (q->header.version < 3)
			return zero ? -ENOTSUP : 0;
		fresh_entry = q->extended ? 0 : QCOW2_ZERO;
		fresh_bitmap = q->extended ? UINT64_C(0xffffffff00000000) : 0;
	}
	bool keep = zero && !unmap && has_own_host(q, entry) && q->header.version >= 3;
	if (keep) {
		fresh_entry = (entry & (QCOW2_OFFSET | QCOW2_COPIED)) | (q->extended ? 0 : QCOW2_ZERO);
		fresh_bitmap = q->extended ? UINT64_C(0xffffffff00000000) : 0;
	}
	if (fresh_entry == entry && fresh_bitmap == bitmap)
		return 0;
	rc = qcow2_entry_set(q, cluster, fresh_entry, fresh_bitmap);
	if (rc == 0 && !keep)
		qcow2_entry_release(q, entry);
	return rc;
}

static int clear_clusters(struct qcow2_node *q, uint64_t first, uint64_t end, bool zero, bool unmap)
{
	int rc = 0;
	struct block_claim sectors;
	block_claim_begin(&q->crypt_claims, &sectors, first << q->cluster_bits,
			  (end - first) << q->cluster_bits, false);
	while (first < end && rc == 0) {
		uint64_t stop = MIN(end, first + RUN_MAX);
		/* Whole tables that are not there need no visit. */
		struct qcow2_mapping map;
		rc = qcow2_map(q, first << q->cluster_bits, (end - first) << q->cluster_bits, &map);
		if (rc == 0 && map.type == QCOW2_UNALLOCATED && (!zero || !q->node.backing) &&
		    map.length >= q->cluster_size) {
			first += map.length >> q->cluster_bits;
			continue;
		}
		struct qcow2_claim claim = {.first = first, .end = stop};
		qcow2_claim(q, &claim);
		for (; first < stop && rc == 0; first++)
			rc = clear_cluster(q, first, zero, unmap);
		qcow2_unclaim(q, &claim);
	}
	block_claim_end(&q->crypt_claims, &sectors);
	return rc;
}

int qcow2_discard(struct qcow2_node *q, uint64_t offset, uint64_t length, bool zero, bool unmap)
{
	uint64_t end = offset + length, size = q->node.size;
	uint64_t first = (offset + q->cluster_size - 1) >> q->cluster_bits;
	/* The disk's last cluster may be cut off by its end: all of it counts. */
	uint64_t last = end == size ? (end + q->cluster_size - 1) >> q->cluster_bits
				    : end >> q->cluster_bits;
	if (q->corrupt)
		return -EIO;
	if (zero && q->external) {
		int rc = block_io(q->data, BLOCK_WRITE_ZEROES, unmap ? BLOCK_REQ_MAY_UNMAP : 0, offset,
				  length, NULL, 0);
		if (rc < 0)
			return rc;
	}
	if (first >= last)
		return zero ? write_zero_bytes(q, offset, length) : 0;
	int rc = clear_clusters(q, first, last, zero, unmap);
	if (rc == -ENOTSUP)
		return write_zero_bytes(q, offset, length);
	uint64_t head = (first << q->cluster_bits) - offset;
	if (rc == 0 && zero && head)
		rc = write_zero_bytes(q, offset, head);
	uint64_t tail = last << q->cluster_bits;
	if (rc == 0 && zero && tail < end)
		rc = write_zero_bytes(q, tail, end - tail);
	return rc;
}

/* --- compressed writes ------------------------------------------------------------------------------------*/

static int link_packed(struct qcow2_node *q, uint64_t cluster, const uint8_t *bytes, uint64_t length)
{
	struct qcow2_claim claim = {.first = cluster, .end = cluster + 1};
	uint64_t offset, entry, bitmap;
	qcow2_claim(q, &claim);
	int rc = qcow2_alloc_bytes(q, length, &offset);
	rc = rc < 0 ? rc : block_pwrite(q->node.file, offset, bytes, length);
	rc = rc < 0 ? rc : qcow2_entry_get(q, cluster, &entry, &bitmap);
	if (rc == 0) {
		uint64_t sectors = ((offset + length - 1) >> 9) - (offset >> 9);
		rc = qcow2_entry_set(q, cluster, offset | QCOW2_COMPRESSED |
				     sectors << (62 - (q->cluster_bits - 8)), 0);
	}
	if (rc == 0)
		qcow2_entry_release(q, entry);
	qcow2_unclaim(q, &claim);
	return rc;
}

struct pack {
	struct qcow2_node *q;
	struct block_request *request;
	uint64_t done;       /* bytes given to some worker */
	unsigned workers;
	struct fiber *waiter;
	int result;
};

static int pack_cluster(struct qcow2_node *q, struct block_request *request, uint64_t skip)
{
	uint64_t n = MIN(q->cluster_size, request->length - skip), length;
	g_autofree uint8_t *in = g_malloc0(q->cluster_size);
	g_autofree uint8_t *out = g_malloc(q->cluster_size);
	block_iov_copy(request->iov, request->iov_count, skip, in, n, true);
	int rc = qcow2_compress(q, in, out, &length);
	if (rc < 0)
		return rc;
	if (length)
		return link_packed(q, (request->offset + skip) >> q->cluster_bits, out, length);
	struct iovec iov = {in, n};
	return write_range(q, request->offset + skip, n, &iov, 1);
}

static void pack_worker(void *opaque)
{
	struct pack *pack = opaque;
	while (pack->done < pack->request->length && !pack->result) {
		uint64_t at = pack->done;
		pack->done += pack->q->cluster_size;
		int rc = pack_cluster(pack->q, pack->request, at);
		if (rc < 0)
			pack->result = rc;
	}
	if (--pack->workers == 0 && pack->waiter)
		fiber_resume(pack->waiter);
}

int qcow2_write_compressed(struct qcow2_node *q, struct block_request *request)
{
	uint64_t mask = q->cluster_size - 1, end = request->offset + request->length;
	if (q->external || q->header.crypt_method)
		return -ENOTSUP;
	if (q->corrupt)
		return -EIO;
	if (request->offset & mask || (end & mask && end != q->node.size))
		return -EINVAL;
	struct pack pack = {.q = q, .request = request, .workers = 1};
	for (unsigned i = 0; i < 8 && pack.done < request->length; i++) {
		pack.workers++;
		fiber_start(pack_worker, &pack);
	}
	if (--pack.workers) {
		pack.waiter = fiber_self();
		fiber_yield();
	}
	return pack.result;
}
