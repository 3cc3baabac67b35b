/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes and requests: the checks that every driver relies on, accounting, and waiting for requests
 * on fibers and on plain stacks.
 */
#include "block/core/dirty.h"
#include "block/core/driver.h"
#include "block/core/histogram.h"

#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>
#include <string.h>

void block_node_init(struct block_node *node, const struct block_driver *driver,
		     const struct block_open_options *options, struct aio_loop *loop)
{
	node->driver = driver;
	node->node_name = g_strdup(options->node_name);
	node->format_name = driver->name;
	node->loop = loop;
	node->readonly = options->readonly;
	node->writethrough = options->writethrough;
	node->no_flush = options->no_flush;
	node->discard = options->discard;
	node->detect_zeroes = options->detect_zeroes;
	node->graph = options->graph;
	node->options = *options;
	node->options.filename = node->options.format = node->options.node_name = NULL;
	node->options.dict = NULL;
	node->options.snapshot = false;
	node->references = 1;
	block_graph_enter(node->graph, node);
}

static bool all_zero(const struct block_request *request)
{
	for (unsigned i = 0; i < request->iov_count; i++) {
		const uint8_t *p = request->iov[i].iov_base;
		size_t n = request->iov[i].iov_len;
		if (n && (p[0] || memcmp(p, p + 1, n - 1)))
			return false;
	}
	return true;
}

/* What must be refused before a driver sees it: 0 or -errno. */
static int check(const struct block_node *node, const struct block_request *request)
{
	if (request->op == BLOCK_FLUSH)
		return 0;
	if (request->op != BLOCK_READ && node->readonly)
		return -EROFS;
	if (request->flags & BLOCK_REQ_COMPRESSED && node->driver->kind == BLOCK_PROTOCOL)
		return -ENOTSUP;
	uint64_t limit = node->growable ? INT64_MAX : node->size;
	return range_fits(request->offset, request->length, limit) ? 0 : -EIO;
}

/* A request to a driver with straight-line code runs on a fiber of its own. */
static void perform(void *opaque)
{
	struct block_request *request = opaque;
	block_complete(request, request->node->driver->perform(request->node, request));
}

static void check_threshold(struct block_node *node, const struct block_request *request)
{
	uint64_t end = request->offset + request->length, threshold = node->write_threshold;
	if (end <= threshold)
		return;
	node->write_threshold = 0;
	node->threshold_passed(node, end - threshold);
}

void block_submit(struct block_node *node, struct block_request *request)
{
	request->node = node;
	request->started_ns = aio_now_ns();
	node->in_flight++;

	int refused = check(node, request);
	bool nothing = (request->op == BLOCK_FLUSH &&
			(node->readonly || (node->no_flush && node->driver->kind == BLOCK_PROTOCOL))) ||
		       (request->op == BLOCK_DISCARD && !node->discard) ||
		       (request->op != BLOCK_FLUSH && request->length == 0);
	if (refused || nothing) {
		block_complete(request, refused);
		return;
	}
	if (node->writethrough && request->op == BLOCK_WRITE)
		request->flags |= BLOCK_REQ_FUA;
	if (node->no_flush)
		request->flags &= ~BLOCK_REQ_FUA;
	if (request->op == BLOCK_WRITE_ZEROES && !node->discard)
		request->flags &= ~BLOCK_REQ_MAY_UNMAP;
	if (request->op == BLOCK_WRITE && node->detect_zeroes && all_zero(request)) {
		request->op = BLOCK_WRITE_ZEROES;
		request->flags |= node->discard ? BLOCK_REQ_MAY_UNMAP : 0;
	}
	if (node->write_threshold && request->op == BLOCK_WRITE)
		check_threshold(node, request);
	if (node->driver->submit)
		node->driver->submit(node, request);
	else
		fiber_start(perform, request);
}

void block_complete(struct block_request *request, int result)
{
	struct block_node *node = request->node;
	struct block_stats *stats = &node->stats;
	stats->ops[request->op]++;
	if (result == 0)
		stats->bytes[request->op] += request->length;
	if (result == 0 && node->growable &&
	    (request->op == BLOCK_WRITE || request->op == BLOCK_WRITE_ZEROES))
		node->size = MAX(node->size, request->offset + request->length);
	if (result != 0)
		stats->errors[request->op]++;
	/* A write that failed may have changed bytes all the same. */
	if (node->dirty && request->op != BLOCK_READ && request->op != BLOCK_FLUSH)
		block_dirty_mark(node, request->offset, request->length);
	int64_t took = aio_now_ns() - request->started_ns;
	stats->total_ns[request->op] += took;
	if (node->histograms && result == 0)
		block_histogram_add(node, request->op, took);
	node->in_flight--;
	request->done(request, result);
}

struct block_forward {
	struct block_request request;
	struct block_request *original;
	struct block_node *parent;
	struct block_forward *next_free;
};

static void forward_done(struct block_request *request, int result)
{
	struct block_forward *forward = (struct block_forward *)request;
	struct block_request *original = forward->original;
	forward->next_free = forward->parent->free_forwards;
	forward->parent->free_forwards = forward;
	block_complete(original, result);
}

struct block_forward *block_forward_next(struct block_forward *forward)
{
	return forward->next_free;
}

void block_forward(struct block_node *child, struct block_request *request, uint64_t shift)
{
	struct block_node *parent = request->node;
	struct block_forward *forward = parent->free_forwards;
	if (forward)
		parent->free_forwards = forward->next_free;
	else
		forward = g_new0(struct block_forward, 1);
	forward->original = request;
	forward->parent = parent;
	forward->request = *request;
	forward->request.offset += shift;
	forward->request.done = forward_done;
	block_submit(child, &forward->request);
}

void block_plug(struct block_node *node)
{
	if (node->plugged++ == 0 && node->driver->plug)
		node->driver->plug(node);
}

void block_unplug(struct block_node *node)
{
	if (--node->plugged == 0 && node->driver->unplug)
		node->driver->unplug(node);
}

static void hurry(struct block_node *node, bool on)
{
	for (; node; node = node->driver->transparent ? node->file : NULL)
		if (node->driver->hurry)
			node->driver->hurry(node, on);
}

void block_drain(struct block_node *node)
{
	if (!node->in_flight)
		return;
	hurry(node, true);
	while (node->in_flight) {
		if (fiber_self())
			fiber_pause(node->loop);
		else
			aio_loop_iterate(node->loop, -1);
	}
	hurry(node, false);
}

struct sync_request {
	struct block_request request;
	struct fiber *waiter;
	bool finished;
	int result;
};

static void sync_done(struct block_request *request, int result)
{
	struct sync_request *sync = (struct sync_request *)request;
	sync->result = result;
	sync->finished = true;
	if (sync->waiter)
		fiber_resume(sync->waiter);
}

int block_io(struct block_node *node, enum block_op op, unsigned flags, uint64_t offset,
	     uint64_t length, struct iovec *iov, unsigned iov_count)
{
	struct sync_request sync = {
		.request = {.op = op, .flags = flags, .offset = offset, .length = length, .iov = iov,
			    .iov_count = iov_count, .done = sync_done},
	};
	block_submit(node, &sync.request);
	if (!sync.finished && fiber_self()) {
		sync.waiter = fiber_self();
		fiber_yield();
	}
	while (!sync.finished)
		aio_loop_iterate(node->loop, -1);
	return sync.result;
}

int block_pread(struct block_node *node, uint64_t offset, void *buffer, uint64_t length)
{
	struct iovec iov = {buffer, length};
	return block_io(node, BLOCK_READ, 0, offset, length, &iov, 1);
}

int block_pwrite(struct block_node *node, uint64_t offset, const void *buffer, uint64_t length)
{
	struct iovec iov = {(void *)buffer, length};
	return block_io(node, BLOCK_WRITE, 0, offset, length, &iov, 1);
}

int block_flush(struct block_node *node)
{
	return block_io(node, BLOCK_FLUSH, 0, 0, 0, NULL, 0);
}

static void batch_done(struct block_request *request, int result)
{
	struct block_batch *batch = ((struct block_batch_item *)request)->batch;
	batch->pending--;
	if (result && !batch->result)
		batch->result = result;
	if (!batch->pending && batch->waiter)
		fiber_resume(batch->waiter);
}

void block_batch_add(struct block_batch *batch, struct block_batch_item *item,
		     struct block_node *node)
{
	item->batch = batch;
	item->request.done = batch_done;
	batch->pending++;
	block_submit(node, &item->request);
}

int block_batch_wait(struct block_batch *batch)
{
	if (batch->pending) {
		batch->waiter = fiber_self();
		fiber_yield();
		batch->waiter = NULL;
	}
	return batch->result;
}

static bool explain(const struct block_node *node, int result, const char *what, GError **error)
{
	return result == 0 ||
	       error_set_errno(error, -result, "cannot %s '%s'", what, node->filename);
}

bool block_read_sync(struct block_node *node, uint64_t offset, void *buffer, uint64_t length,
		     GError **error)
{
	return explain(node, block_pread(node, offset, buffer, length), "read", error);
}

bool block_write_sync(struct block_node *node, uint64_t offset, const void *buffer, uint64_t length,
		      GError **error)
{
	return explain(node, block_pwrite(node, offset, buffer, length), "write", error);
}

bool block_flush_sync(struct block_node *node, GError **error)
{
	return explain(node, block_flush(node), "flush", error);
}

uint64_t block_size(const struct block_node *node)
{
	return node->size;
}

bool block_is_encrypted(const struct block_node *node)
{
	return node->encrypted;
}

bool block_is_readonly(const struct block_node *node)
{
	return node->readonly;
}

enum block_io_status block_io_status(const struct block_node *node)
{
	return atomic_load(&node->io_status);
}

void block_set_io_status(struct block_node *node, enum block_io_status status)
{
	atomic_store(&node->io_status, status);
}

void block_set_io_failed(struct block_node *node, int result)
{
	int ok = BLOCK_IO_OK;
	atomic_compare_exchange_strong(&node->io_status, &ok,
				       result == -ENOSPC ? BLOCK_IO_NO_SPACE : BLOCK_IO_FAILED);
}

const struct block_limits *block_limits(const struct block_node *node)
{
	return &node->limits;
}

const char *block_node_name(const struct block_node *node)
{
	return node->node_name;
}

const char *block_filename(const struct block_node *node)
{
	return node->filename;
}

const char *block_format_name(const struct block_node *node)
{
	return node->format_name;
}

void block_get_stats(const struct block_node *node, struct block_stats *stats)
{
	*stats = node->stats;
}
