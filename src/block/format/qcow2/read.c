/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading: what is mapped from the file, what is not from the backing file or as zeroes. */
#include "block/format/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

#define IOV_LOCAL 16

unsigned qcow2_io_begin(struct qcow2_node *q)
{
	unsigned generation = q->generation & 1;
	q->in_flight[generation]++;
	return generation;
}

void qcow2_io_end(struct qcow2_node *q, unsigned generation)
{
	if (--q->in_flight[generation] == 0)
		fiber_queue_wake_all(&q->generation_ended);
}

/* The part [skip, skip + length) of the memory, read from `node` at `offset`. */
static int read_part(struct block_node *node, uint64_t offset, const struct iovec *iov,
		     unsigned iov_count, uint64_t skip, uint64_t length)
{
	struct iovec local[IOV_LOCAL];
	g_autofree struct iovec *many = iov_count > IOV_LOCAL ? g_new(struct iovec, iov_count) : NULL;
	struct iovec *part = many ? many : local;
	unsigned n = block_iov_slice(iov, iov_count, skip, length, part);
	return block_io(node, BLOCK_READ, 0, offset, length, part, n);
}

static int read_backing(struct qcow2_node *q, uint64_t offset, const struct iovec *iov,
			unsigned iov_count, uint64_t skip, uint64_t length)
{
	struct block_node *backing = q->node.backing;
	uint64_t have = backing && backing->size > offset ? MIN(backing->size - offset, length) : 0;
	if (have < length)
		block_iov_zero(iov, iov_count, skip + have, length - have);
	return have ? read_part(backing, offset, iov, iov_count, skip, have) : 0;
}

static int read_packed(struct qcow2_node *q, uint64_t entry, uint64_t inside,
		       const struct iovec *iov, unsigned iov_count, uint64_t skip, uint64_t length)
{
	uint64_t offset, bytes;
	qcow2_packed_range(q, entry, &offset, &bytes);
	if (q->external)
		return qcow2_corrupt(q, "there is a compressed cluster beside an external data file",
				     offset);
	g_autofree uint8_t *in = g_malloc(bytes);
	g_autofree uint8_t *cluster = g_malloc(q->cluster_size);
	int rc = block_pread(q->node.file, offset, in, bytes);
	rc = rc < 0 ? rc : qcow2_decompress(q, in, bytes, cluster);
	if (rc == 0)
		block_iov_copy(iov, iov_count, skip, cluster + inside, length, false);
	return rc;
}

static int read_mapped(struct qcow2_node *q, uint64_t offset, const struct qcow2_mapping *map,
		       const struct iovec *iov, unsigned iov_count, uint64_t skip)
{
	switch (map->type) {
	case QCOW2_NORMAL:
		if (q->header.crypt_method)
			return qcow2_crypt_read(q, offset, map->host, iov, iov_count, skip, map->length);
		return read_part(q->data, map->host, iov, iov_count, skip, map->length);
	case QCOW2_PACKED:
		return read_packed(q, map->host, offset & (q->cluster_size - 1), iov, iov_count, skip,
				   map->length);
	case QCOW2_UNALLOCATED:
		return read_backing(q, offset, iov, iov_count, skip, map->length);
	case QCOW2_ZERO_PLAIN:
	case QCOW2_ZERO_ALLOC:
		block_iov_zero(iov, iov_count, skip, map->length);
		return 0;
	}
	return -EIO;
}

int qcow2_read(struct qcow2_node *q, uint64_t offset, uint64_t length, const struct iovec *iov,
	       unsigned iov_count)
{
	int rc = 0;
	for (uint64_t done = 0; done < length && rc == 0;) {
		struct qcow2_mapping map;
		unsigned generation = qcow2_io_begin(q);
		rc = qcow2_map(q, offset + done, length - done, &map);
		rc = rc < 0 ? rc : read_mapped(q, offset + done, &map, iov, iov_count, done);
		qcow2_io_end(q, generation);
		done += map.length;
	}
	return rc;
}
