/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A node's io_uring. What is submitted goes to the kernel at the end of what the loop does now, in one
 * call however many requests that are; the sender of a plugged batch gives it away at once. When many are
 * under way, a few wait for company. Requests that find the ring full wait in a list and go in as
 * completions make room, in order.
 */
#include "block/proto/file.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <unistd.h>

enum { RING_ENTRIES = 128, BUSY = 16, BATCH = 16 };

struct file_uring {
	struct io_uring ring;
	struct aio_watch *watch;
	struct aio_deferred flush;
	unsigned in_kernel; /* also bounded, so that the completion ring cannot overflow */
	unsigned slow;      /* of these, what is no transfer and may take long */
	struct block_request *waiting, **waiting_end;
};

static void prepare(struct file_node *file, struct io_uring_sqe *sqe, struct block_request *request)
{
	switch (request->op) {
	case BLOCK_READ:
		io_uring_prep_readv(sqe, file->fd, request->iov, request->iov_count, request->offset);
		break;
	case BLOCK_WRITE:
		io_uring_prep_writev(sqe, file->fd, request->iov, request->iov_count, request->offset);
		if (request->flags & BLOCK_REQ_FUA)
			sqe->rw_flags = RWF_DSYNC;
		break;
	case BLOCK_FLUSH:
		io_uring_prep_fsync(sqe, file->fd, IORING_FSYNC_DATASYNC);
		break;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		io_uring_prep_fallocate(sqe, file->fd, file_allocate_mode(request), request->offset,
					request->length);
		break;
	}
	io_uring_sqe_set_data(sqe, request);
}

static bool is_transfer(const struct block_request *request)
{
	return request->op == BLOCK_READ || request->op == BLOCK_WRITE;
}

/* True if it went into the ring. */
static bool enqueue(struct file_node *file, struct block_request *request)
{
	struct file_uring *uring = file->uring;
	struct io_uring_sqe *sqe =
		uring->in_kernel < RING_ENTRIES ? io_uring_get_sqe(&uring->ring) : NULL;
	if (!sqe)
		return false;
	prepare(file, sqe, request);
	uring->in_kernel++;
	uring->slow += !is_transfer(request);
	return true;
}

/*
 * With BUSY transfers under way the disk has enough to do, and a few more of them go together with the
 * next ones: each submission rings the disk's doorbell, which on a virtual disk is an exit to the host,
 * and who sends one request at a time is answered one at a time. Every completion decides anew, so
 * that nothing waits for long; where one of them might be long in coming, nothing waits.
 */
static bool can_wait(const struct file_uring *uring)
{
	unsigned ready = io_uring_sq_ready(&uring->ring);
	return !uring->slow && ready < BATCH && uring->in_kernel >= BUSY + ready;
}

static void flush(void *opaque)
{
	struct file_node *file = opaque;
	int rc;
	if (can_wait(file->uring))
		return;
	do {
		rc = io_uring_submit(&file->uring->ring);
	} while (rc == -EINTR || rc == -EAGAIN || rc == -EBUSY);
	/* What was not taken stays in the ring and goes with the next submission. */
}

void file_uring_flush(struct file_node *file)
{
	aio_defer_cancel(file->node.loop, &file->uring->flush);
	flush(file);
}

void file_uring_submit(struct file_node *file, struct block_request *request)
{
	struct file_uring *uring = file->uring;
	if (uring->waiting || !enqueue(file, request)) {
		request->next = NULL;
		*uring->waiting_end = request;
		uring->waiting_end = &request->next;
		return;
	}
	if (!file->hold)
		aio_defer(file->node.loop, &uring->flush);
}

static void enqueue_waiting(struct file_node *file)
{
	struct file_uring *uring = file->uring;
	while (uring->waiting && enqueue(file, uring->waiting)) {
		uring->waiting = uring->waiting->next;
		aio_defer(file->node.loop, &uring->flush);
	}
	if (!uring->waiting)
		uring->waiting_end = &uring->waiting;
}

static int finish_short(struct file_node *file, struct block_request *request, uint64_t done)
{
	int rc = file_transfer_rest(file, request, done);
	if (rc == 0 && request->flags & BLOCK_REQ_FUA)
		rc = fdatasync(file->fd) < 0 ? -errno : 0;
	return rc;
}

static void finish(struct file_node *file, struct block_request *request, int result)
{
	/* The thread that submitted it (a vCPU) has ended. */
	if (result == -ECANCELED) {
		block_complete(request, file_perform(file, request));
		return;
	}
	switch (request->op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		if (result == -EINTR || result == -EAGAIN)
			result = 0; /* nothing moved: do all of it */
		if (result >= 0 && result < request->length)
			result = finish_short(file, request, result);
		else if (result > 0)
			result = 0;
		break;
	case BLOCK_FLUSH:
		break;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		result = file_allocate_result(file, request, result);
		break;
	}
	block_complete(request, result);
}

static void ring_ready(void *opaque, int fd, uint32_t events)
{
	struct file_node *file = opaque;
	struct file_uring *uring = file->uring;
	struct io_uring_cqe *cqe;
	while (io_uring_peek_cqe(&uring->ring, &cqe) == 0) {
		struct block_request *request = io_uring_cqe_get_data(cqe);
		int result = cqe->res;
		io_uring_cqe_seen(&uring->ring, cqe);
		uring->in_kernel--;
		uring->slow -= !is_transfer(request);
		finish(file, request, result);
	}
	enqueue_waiting(file);
	if (!file->hold)
		aio_defer(file->node.loop, &uring->flush);
}

void file_uring_create(struct file_node *file)
{
	struct file_uring *uring = g_new0(struct file_uring, 1);
	if (io_uring_queue_init(RING_ENTRIES, &uring->ring, 0) < 0) {
		g_free(uring);
		return;
	}
	uring->waiting_end = &uring->waiting;
	uring->flush = (struct aio_deferred){.fn = flush, .opaque = file};
	file->uring = uring;
	file_uring_enter(file);
}

void file_uring_leave(struct file_node *file)
{
	if (!file->uring)
		return;
	g_assert(!file->uring->in_kernel && !file->uring->waiting);
	aio_defer_cancel(file->node.loop, &file->uring->flush);
	aio_watch_remove(g_steal_pointer(&file->uring->watch));
}

void file_uring_enter(struct file_node *file)
{
	if (file->uring)
		file->uring->watch = aio_watch_add(file->node.loop, file->uring->ring.ring_fd, POLLIN, ring_ready,
						   file);
}

void file_uring_destroy(struct file_node *file)
{
	if (!file->uring)
		return;
	file_uring_leave(file);
	io_uring_queue_exit(&file->uring->ring);
	g_free(file->uring);
	file->uring = NULL;
}
