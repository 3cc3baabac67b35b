/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/filter/write_both.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>

struct write_both {
	struct block_node node;
	struct block_node *target;
	struct block_dirty *dirty;
	struct block_claims *claims;
};

static bool goes_to_both(const struct block_request *r)
{
	return (r->op == BLOCK_WRITE || r->op == BLOCK_WRITE_ZEROES) && r->length;
}

/* Discarded bytes may read as anything, but as the same in both: they are to be copied. */
static int pass_on(struct write_both *both, const struct block_request *r)
{
	int rc = block_io(both->node.file, r->op, r->flags, r->offset, r->length, r->iov, r->iov_count);
	if (r->op == BLOCK_DISCARD && r->length)
		block_dirty_set(both->dirty, r->offset, r->length);
	return rc;
}

static int do_write(struct block_node *node, const struct block_request *r, void *bytes, unsigned flags)
{
	struct iovec iov = {bytes, r->length};
	return block_io(node, r->op, flags, r->offset, r->length, bytes ? &iov : NULL, bytes ? 1 : 0);
}

/*
 * Granules that are written as a whole need no copy any more. At the edges whatever was true stays true:
 * both have the same new bytes. A target that fails gets the bytes from the mirror, which also knows
 * what is to be done about it: to the guest it is no failure.
 */
static int write_claimed(struct write_both *both, const struct block_request *r, void *bytes)
{
	uint64_t granule = UINT64_C(1) << both->dirty->shift, size = both->node.size;
	uint64_t start = align_up(r->offset, granule), end = r->offset + r->length;
	end = end == size ? align_up(end, granule) : align_down(end, granule);
	int rc = do_write(both->node.file, r, bytes, r->flags);
	if (rc < 0 || do_write(both->target, r, bytes, r->flags & ~(unsigned)BLOCK_REQ_FUA) < 0)
		block_dirty_set(both->dirty, r->offset, r->length);
	else if (start < end)
		block_dirty_clear(both->dirty, start, end - start);
	return rc;
}

/* A guest may change its buffer while it is written: both get what it holds now. */
static int perform(struct block_node *node, struct block_request *r)
{
	struct write_both *both = (struct write_both *)node;
	if (!goes_to_both(r))
		return pass_on(both, r);
	void *bytes = NULL;
	if (r->op == BLOCK_WRITE) {
		if (posix_memalign(&bytes, 4096, r->length))
			return -ENOMEM;
		block_iov_copy(r->iov, r->iov_count, 0, bytes, r->length, true);
	}
	uint64_t granule = UINT64_C(1) << both->dirty->shift;
	uint64_t start = align_down(r->offset, granule);
	struct block_claim claim;
	block_claim_begin(both->claims, &claim, start, align_up(r->offset + r->length, granule) - start,
			  true);
	int rc = write_claimed(both, r, bytes);
	block_claim_end(both->claims, &claim);
	free(bytes);
	return rc;
}

static const struct block_driver write_both_driver = {
	.name = "mirror_top",
	.kind = BLOCK_FILTER,
	.transparent = true,
	.node_size = sizeof(struct write_both),
	.perform = perform,
};

struct block_node *block_write_both_new(struct block_graph *graph, struct block_node *child,
					struct block_node *target, struct block_dirty *dirty,
					struct block_claims *claims)
{
	struct block_node *node = block_filter_new(&write_both_driver, graph, child);
	struct write_both *both = (struct write_both *)node;
	both->target = target;
	both->dirty = dirty;
	both->claims = claims;
	return node;
}
