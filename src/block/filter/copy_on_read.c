/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block/filter/copy_on_read.h"

#include "base/error.h"
#include "block/core/claims.h"
#include "block/core/drivers.h"
#include "block/core/graph.h"

#include <errno.h>
#include <stdlib.h>

#define COPY_MAX (1 << 20)

struct copy_on_read {
	struct block_node node;
	struct block_claims claims;
	bool on_read; /* what guests read is copied */
};

static struct copy_on_read *filter_of(struct block_node *node)
{
	return (struct copy_on_read *)node;
}

/* One piece that the image does not have; the claim is held. */
static int copy_piece(struct block_node *image, uint64_t offset, uint64_t length)
{
	void *buffer;
	if (posix_memalign(&buffer, 4096, length))
		return -ENOMEM;
	int rc = block_pread(image, offset, buffer, length);
	rc = rc < 0 ? rc : block_pwrite(image, offset, buffer, length);
	free(buffer);
	return rc;
}

/* Is [offset, ...) to be copied? *length becomes how far the answer reaches. */
static int look(struct block_node *image, struct block_node *base, uint64_t offset,
		uint64_t *length, bool *wanted)
{
	struct block_extent extent;
	int rc = block_status(image, offset, *length, &extent);
	*wanted = false;
	if (rc == 0 && !(extent.flags & BLOCK_STATUS_ALLOCATED) && image->backing) {
		struct block_node *backing = block_below_filters(image->backing);
		if (backing == base)
			return *length = extent.length, 0;
		if (offset >= backing->size) {
			/* Behind a shorter backing file are zeroes, unless `base` is longer. */
			*wanted = base && base->size > offset;
			return *length = extent.length, 0;
		}
		rc = block_status_above(backing, base, offset, extent.length, &extent, NULL);
		*wanted = rc == 0 && extent.flags & BLOCK_STATUS_ALLOCATED;
	}
	*length = extent.length;
	return rc;
}

int block_copy_up(struct block_node *node, struct block_node *base, uint64_t offset,
		  uint64_t length, uint64_t *copied)
{
	struct copy_on_read *filter = filter_of(node);
	struct block_node *image = block_below_filters(node);
	int rc = 0;
	while (length && rc == 0) {
		struct block_claim claim;
		uint64_t n = MIN(length, COPY_MAX);
		bool wanted;
		block_claim_begin(&filter->claims, &claim, offset, n, true);
		rc = look(image, base, offset, &n, &wanted);
		if (rc == 0 && wanted)
			rc = copy_piece(image, offset, n);
		block_claim_end(&filter->claims, &claim);
		if (rc == 0 && wanted)
			*copied += n;
		offset += n;
		length -= MIN(n, length);
	}
	return rc;
}

static int perform(struct block_node *node, struct block_request *r)
{
	struct copy_on_read *filter = filter_of(node);
	struct block_claim claim;
	uint64_t copied = 0;
	if (r->op == BLOCK_READ && filter->on_read) {
		/* A copy that fails must not make a read fail. */
		block_copy_up(node, NULL, r->offset, r->length, &copied);
	}
	if (r->op == BLOCK_READ || r->op == BLOCK_FLUSH)
		return block_io(node->file, r->op, r->flags, r->offset, r->length, r->iov, r->iov_count);
	block_claim_begin(&filter->claims, &claim, r->offset, r->length, false);
	int rc = block_io(node->file, r->op, r->flags, r->offset, r->length, r->iov, r->iov_count);
	block_claim_end(&filter->claims, &claim);
	return rc;
}

static bool copy_on_read_open(struct block_node *node, json_t *dict, GError **error)
{
	bool wanted_readonly = node->readonly;
	if (!block_filter_open(node, dict, error))
		return false;
	if (node->file->readonly && !wanted_readonly)
		return error_set(error, BERTH_ERR_INVALID,
				 "copy-on-read over '%s': it is read-only, so nothing can be copied to "
				 "it", node->file->filename);
	filter_of(node)->on_read = !node->readonly;
	return true;
}

const struct block_driver block_copy_on_read_driver = {
	.name = "copy-on-read",
	.kind = BLOCK_FILTER,
	.transparent = true,
	.node_size = sizeof(struct copy_on_read),
	.open = copy_on_read_open,
	.perform = perform,
};

struct block_node *block_copy_up_new(struct block_graph *graph, struct block_node *child)
{
	return block_filter_new(&block_copy_on_read_driver, graph, child);
}
