/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/filter/copy_before_write.h"

#include "base/bytes.h"
#include "block/core/claims.h"
#include "block/core/graph.h"

#include <errno.h>
#include <stdlib.h>

#define COPY_MAX (1 << 20)

struct before_write {
	struct block_node node;
	struct block_node *target;
	struct block_dirty *todo;
	struct block_claims claims;
	bool compress;
	int failed;
	uint64_t copied;
};

static struct before_write *filter_of(const struct block_node *node)
{
	return (struct before_write *)node;
}

static int copy_range(struct before_write *filter, uint64_t offset, uint64_t length)
{
	struct block_node *source = filter->node.file;
	struct block_extent extent;
	int rc = block_status_above(source, NULL, offset, length, &extent, NULL);
	if (rc == 0 && extent.flags & BLOCK_STATUS_ZERO && extent.length >= length)
		return block_io(filter->target, BLOCK_WRITE_ZEROES, BLOCK_REQ_MAY_UNMAP, offset, length,
				NULL, 0);
	void *buffer;
	if (posix_memalign(&buffer, 4096, length))
		return -ENOMEM;
	struct iovec iov = {buffer, length};
	rc = block_pread(source, offset, buffer, length);
	if (rc == 0)
		rc = block_io(filter->target, BLOCK_WRITE, filter->compress ? BLOCK_REQ_COMPRESSED : 0,
			      offset, length, &iov, 1);
	free(buffer);
	return rc;
}

/* The next run of clusters that are to be copied, at most COPY_MAX long. */
static bool next_run(const struct before_write *filter, uint64_t *offset, uint64_t end,
		     uint64_t *length)
{
	uint64_t cluster = UINT64_C(1) << filter->todo->shift, start;
	if (*offset >= end || !block_dirty_next(filter->todo, *offset, &start, length) || start >= end)
		return false;
	uint64_t run = align_up(block_dirty_run(filter->todo, start, end - start), cluster);
	*offset = start;
	*length = MIN(MIN(run, MAX(COPY_MAX, cluster)), filter->node.size - start);
	return true;
}

int block_snapshot_copy(struct block_node *node, uint64_t offset, uint64_t length)
{
	struct before_write *filter = filter_of(node);
	uint64_t end = MIN(offset + length, node->size), run;
	int rc = 0;
	while (rc == 0 && next_run(filter, &offset, end, &run)) {
		struct block_claim claim;
		block_claim_begin(&filter->claims, &claim, offset, run, true);
		/* While waiting, somebody else may have copied it, or a part. */
		uint64_t at = offset, again;
		if (next_run(filter, &at, offset + run, &again)) {
			again = MIN(again, offset + run - at);
			rc = copy_range(filter, at, again);
			if (rc == 0) {
				block_dirty_clear(filter->todo, at, again);
				filter->copied += again;
			}
		}
		block_claim_end(&filter->claims, &claim);
	}
	return rc;
}

static int perform(struct block_node *node, struct block_request *r)
{
	struct before_write *filter = filter_of(node);
	bool changes = r->op != BLOCK_READ && r->op != BLOCK_FLUSH;
	if (changes && !filter->failed) {
		int rc = block_snapshot_copy(node, r->offset, r->length);
		if (rc < 0 && !filter->failed)
			filter->failed = rc;
	}
	return block_io(node->file, r->op, r->flags, r->offset, r->length, r->iov, r->iov_count);
}

static const struct block_driver before_write_driver = {
	.name = "copy-before-write",
	.kind = BLOCK_FILTER,
	.transparent = true,
	.node_size = sizeof(struct before_write),
	.perform = perform,
};

struct block_node *block_snapshot_filter_new(struct block_graph *graph, struct block_node *child,
					     struct block_node *target, struct block_dirty *todo,
					     bool compress)
{
	struct block_node *node = block_filter_new(&before_write_driver, graph, child);
	struct before_write *filter = filter_of(node);
	filter->target = target;
	filter->todo = todo;
	filter->compress = compress;
	return node;
}

int block_snapshot_failed(const struct block_node *node)
{
	return filter_of(node)->failed;
}

uint64_t block_snapshot_copied(const struct block_node *node)
{
	return filter_of(node)->copied;
}
