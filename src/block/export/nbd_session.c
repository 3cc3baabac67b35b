/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client in its transmission phase. One fiber reads requests and starts a fiber for each; these
 * answer in any order, one answer at a time on the wire. A client can hold no more of our memory
 * than NBD_SESSION_BYTES: the reader waits until there is room.
 */
#include "block/export/nbd_int.h"

#include "base/bytes.h"
#include "block/core/graph.h"
#include "block/core/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Shorter reads are not worth looking for holes. */
#define SPARSE_READ_MIN 32768
/* Extents in one answer to block status. */
#define EXTENTS_MAX 1024
#define CACHE_CHUNK (1 << 20)

struct nbd_request {
	struct nbd_session *session;
	uint16_t flags, command;
	uint64_t handle, offset;
	uint32_t length;
	uint8_t *data; /* what is written, or room for what is read */
	uint64_t held; /* counted in session->bytes */
};

/* --- answers ------------------------------------------------------------------------------------------*/

static bool send_parts(struct nbd_session *session, struct iovec *iov, unsigned count)
{
	FIBER_LOCK_SCOPE(&session->write_lock);
	return nbd_stream_writev(session->stream, iov, count);
}

static bool send_simple(const struct nbd_request *r, int result, const void *data, uint32_t length)
{
	uint8_t head[NBD_SIMPLE_SIZE];
	be32_store(head, NBD_SIMPLE_MAGIC);
	be32_store(head + 4, nbd_wire_error(result));
	be64_store(head + 8, r->handle);
	struct iovec iov[] = {{head, sizeof(head)}, {(void *)data, length}};
	return send_parts(r->session, iov, 2);
}

/* A chunk of `fixed` and `data`, one after the other. */
static bool send_chunk(const struct nbd_request *r, uint16_t type, bool last, const void *fixed,
		       uint32_t fixed_length, const void *data, uint32_t length)
{
	uint8_t head[NBD_STRUCTURED_SIZE];
	be32_store(head, NBD_STRUCTURED_MAGIC);
	be16_store(head + 4, last ? NBD_CHUNK_DONE : 0);
	be16_store(head + 6, type);
	be64_store(head + 8, r->handle);
	be32_store(head + 16, fixed_length + length);
	struct iovec iov[] = {{head, sizeof(head)}, {(void *)fixed, fixed_length},
			      {(void *)data, length}};
	return send_parts(r->session, iov, 3);
}

static bool send_result(const struct nbd_request *r, int result)
{
	bool structured = r->session->structured &&
			  (r->command == NBD_CMD_READ || r->command == NBD_CMD_BLOCK_STATUS);
	if (!structured)
		return send_simple(r, result, NULL, 0);
	uint8_t body[6] = {0};
	be32_store(body, nbd_wire_error(result));
	return result < 0 ? send_chunk(r, NBD_CHUNK_ERROR, true, body, sizeof(body), NULL, 0)
			  : send_chunk(r, NBD_CHUNK_NONE, true, NULL, 0, NULL, 0);
}

/* --- reading ------------------------------------------------------------------------------------------*/

static int read_range(const struct nbd_request *r, uint64_t at, uint64_t length)
{
	return block_pread(r->session->export->root, r->offset + at, r->data + at, length);
}

static bool send_data(const struct nbd_request *r, uint64_t at, uint64_t length, bool last)
{
	uint8_t offset[8];
	be64_store(offset, r->offset + at);
	return send_chunk(r, NBD_CHUNK_DATA, last, offset, sizeof(offset), r->data + at, length);
}

static bool send_hole(const struct nbd_request *r, uint64_t at, uint64_t length, bool last)
{
	uint8_t hole[12];
	be64_store(hole, r->offset + at);
	be32_store(hole + 8, length);
	return send_chunk(r, NBD_CHUNK_HOLE, last, hole, sizeof(hole), NULL, 0);
}

/* Holes are named instead of sent. */
static bool read_sparse(const struct nbd_request *r)
{
	for (uint64_t done = 0; done < r->length;) {
		struct block_extent extent;
		int rc = block_status_above(r->session->export->root, NULL, r->offset + done,
					    r->length - done, &extent, NULL);
		bool hole = rc == 0 && extent.flags & BLOCK_STATUS_ZERO;
		if (rc == 0 && !hole)
			rc = read_range(r, done, extent.length);
		if (rc < 0)
			return send_result(r, rc);
		bool last = done + extent.length >= r->length;
		if (!(hole ? send_hole : send_data)(r, done, extent.length, last))
			return false;
		done += extent.length;
	}
	return true;
}

static bool run_read(const struct nbd_request *r)
{
	if (r->session->structured && r->length >= SPARSE_READ_MIN && !(r->flags & NBD_CMD_FLAG_DF))
		return read_sparse(r);
	int rc = r->length ? read_range(r, 0, r->length) : 0;
	if (!r->session->structured)
		return send_simple(r, rc, r->data, rc < 0 ? 0 : r->length);
	return rc < 0 || !r->length ? send_result(r, rc) : send_data(r, 0, r->length, true);
}

/* --- block status -------------------------------------------------------------------------------------*/

struct extents {
	uint8_t bytes[4 + EXTENTS_MAX * 8];
	unsigned count, max;
	uint64_t left;
};

/* False: the answer is full. Neighbours of the same kind become one. */
static bool add_extent(struct extents *list, uint64_t length, uint32_t flags)
{
	uint8_t *next = list->bytes + 4 + list->count * 8, *last = next - 8;
	length = MIN(length, list->left);
	if (list->count && be32_load(last + 4) == flags &&
	    be32_load(last) + length <= align_down(UINT32_MAX, 4096)) {
		be32_store(last, be32_load(last) + length);
	} else if (list->count == list->max) {
		return false;
	} else {
		be32_store(next, length);
		be32_store(next + 4, flags);
		list->count++;
	}
	list->left -= length;
	return list->left > 0;
}

static uint32_t allocation_flags(const struct block_extent *extent)
{
	return (extent->flags & BLOCK_STATUS_DATA ? 0 : NBD_STATE_HOLE) |
	       (extent->flags & BLOCK_STATUS_ZERO ? NBD_STATE_ZERO : 0);
}

static int collect_status(const struct nbd_request *r, struct extents *list, bool depths)
{
	uint64_t at = r->offset;
	for (;;) {
		struct block_extent extent;
		unsigned depth;
		int rc = block_status_above(r->session->export->root, NULL, at, list->left, &extent,
					    &depth);
		if (rc < 0)
			return rc;
		/* qemu:allocation-depth: 0 is "nowhere", 1 the image itself. */
		uint32_t flags = depths ? (extent.flags & BLOCK_STATUS_ALLOCATED ? depth + 1 : 0)
					: allocation_flags(&extent);
		at += extent.length;
		if (!extent.length || !add_extent(list, extent.length, flags))
			return 0;
	}
}

/* qemu:dirty-bitmap: 1 is dirty. */
static void collect_dirty(const struct nbd_request *r, struct extents *list,
			  const struct block_dirty *bitmap)
{
	uint64_t at = r->offset, length;
	do {
		length = block_dirty_run(bitmap, at, list->left);
		at += length;
	} while (add_extent(list, length, block_dirty_get(bitmap, at - length)));
}

static bool run_status(const struct nbd_request *r)
{
	g_autofree struct extents *list = g_new0(struct extents, 1);
	uint64_t contexts = r->session->contexts;
	for (unsigned context = 0; contexts >> context; context++) {
		if (!(contexts >> context & 1))
			continue;
		list->count = 0;
		list->max = r->flags & NBD_CMD_FLAG_REQ_ONE ? 1 : EXTENTS_MAX;
		list->left = r->length;
		int rc = 0;
		if (context >= NBD_CONTEXT_BITMAPS)
			collect_dirty(r, list,
				      r->session->export->bitmaps->pdata[context - NBD_CONTEXT_BITMAPS]);
		else
			rc = collect_status(r, list, context == NBD_CONTEXT_DEPTH);
		if (rc < 0)
			return send_result(r, rc);
		be32_store(list->bytes, context);
		bool last = !(contexts >> context >> 1);
		if (!send_chunk(r, NBD_CHUNK_STATUS, last, list->bytes, 4 + list->count * 8, NULL, 0))
			return false;
	}
	return true;
}

/* --- the others ---------------------------------------------------------------------------------------*/

static int warm_cache(const struct nbd_request *r)
{
	int rc = 0;
	g_autofree uint8_t *waste = g_malloc(CACHE_CHUNK);
	for (uint64_t done = 0; done < r->length && rc == 0; done += CACHE_CHUNK)
		rc = block_pread(r->session->export->root, r->offset + done, waste,
				 MIN(CACHE_CHUNK, r->length - done));
	return rc;
}

static int change(const struct nbd_request *r)
{
	struct block_node *root = r->session->export->root;
	unsigned flags = r->flags & NBD_CMD_FLAG_FUA ? BLOCK_REQ_FUA : 0;
	struct iovec iov = {r->data, r->length};
	int rc;
	switch (r->command) {
	case NBD_CMD_WRITE:
		return block_io(root, BLOCK_WRITE, flags, r->offset, r->length, &iov, 1);
	case NBD_CMD_WRITE_ZEROES:
		flags |= r->flags & NBD_CMD_FLAG_NO_HOLE ? 0 : BLOCK_REQ_MAY_UNMAP;
		return block_io(root, BLOCK_WRITE_ZEROES, flags, r->offset, r->length, NULL, 0);
	case NBD_CMD_TRIM:
		rc = block_io(root, BLOCK_DISCARD, 0, r->offset, r->length, NULL, 0);
		return rc == 0 && flags ? block_flush(root) : rc;
	case NBD_CMD_FLUSH:
		return block_flush(root);
	default:
		return warm_cache(r);
	}
}

static bool answer(const struct nbd_request *r)
{
	switch (r->command) {
	case NBD_CMD_READ:
		return run_read(r);
	case NBD_CMD_BLOCK_STATUS:
		return run_status(r);
	default:
		return send_result(r, change(r));
	}
}

/* What must be refused before anything is done: 0 or -errno. */
static int check(const struct nbd_request *r)
{
	static const uint16_t allowed[] = {
		[NBD_CMD_READ] = NBD_CMD_FLAG_DF, [NBD_CMD_WRITE] = NBD_CMD_FLAG_FUA,
		[NBD_CMD_FLUSH] = 0, [NBD_CMD_TRIM] = NBD_CMD_FLAG_FUA, [NBD_CMD_CACHE] = 0,
		[NBD_CMD_WRITE_ZEROES] = NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE,
		[NBD_CMD_BLOCK_STATUS] = NBD_CMD_FLAG_REQ_ONE,
	};
	const struct nbd_session *session = r->session;
	bool changes = r->command == NBD_CMD_WRITE || r->command == NBD_CMD_TRIM ||
		       r->command == NBD_CMD_WRITE_ZEROES;
	if (r->command >= G_N_ELEMENTS(allowed) || r->command == NBD_CMD_DISC ||
	    r->flags & ~(allowed[r->command] | NBD_CMD_FLAG_FUA))
		return -EINVAL;
	if (changes && !session->export->writable)
		return -EPERM;
	if (r->command == NBD_CMD_FLUSH)
		return 0;
	if (r->command == NBD_CMD_READ && r->length > NBD_PAYLOAD_MAX)
		return -EINVAL;
	if (r->command == NBD_CMD_BLOCK_STATUS && (!session->contexts || !r->length))
		return -EINVAL;
	if (!range_fits(r->offset, r->length, block_size(session->export->root)))
		return changes && r->command != NBD_CMD_TRIM ? -ENOSPC : -EINVAL;
	return 0;
}

static void request_run(void *opaque)
{
	struct nbd_request *r = opaque;
	struct nbd_session *session = r->session;
	int refused = check(r);
	if (!(refused < 0 ? send_result(r, refused) : answer(r)))
		nbd_stream_shutdown(session->stream);
	session->requests--;
	session->bytes -= r->held;
	free(r->data);
	g_free(r);
	fiber_queue_wake_all(&session->room);
}

/* Reserve memory for the request, and read what it writes. False: hang up. */
static bool take_payload(struct nbd_request *r)
{
	struct nbd_session *session = r->session;
	bool write = r->command == NBD_CMD_WRITE;
	if (write && r->length > NBD_PAYLOAD_MAX)
		return false; /* nobody knows where the next request would begin */
	if (!write && (r->command != NBD_CMD_READ || r->length > NBD_PAYLOAD_MAX))
		return true;
	r->held = r->length;
	while (session->bytes && session->bytes + r->held > NBD_SESSION_BYTES)
		fiber_queue_wait(&session->room);
	session->bytes += r->held;
	/* As O_DIRECT wants it. */
	if (posix_memalign((void **)&r->data, 4096, MAX(r->length, 1)))
		return false;
	return !write || nbd_stream_read(session->stream, r->data, r->length);
}

static bool read_request(struct nbd_session *session)
{
	uint8_t head[NBD_REQUEST_SIZE];
	if (!nbd_stream_read(session->stream, head, sizeof(head)) ||
	    be32_load(head) != NBD_REQUEST_MAGIC || be16_load(head + 6) == NBD_CMD_DISC)
		return false;
	struct nbd_request *r = g_new0(struct nbd_request, 1);
	*r = (struct nbd_request){.session = session, .flags = be16_load(head + 4),
				  .command = be16_load(head + 6), .handle = be64_load(head + 8),
				  .offset = be64_load(head + 16), .length = be32_load(head + 24)};
	bool good = take_payload(r);
	if (good) {
		session->requests++;
		fiber_start(request_run, r);
	} else {
		session->bytes -= r->held;
		free(r->data);
		g_free(r);
	}
	return good;
}

void nbd_requests_run(struct nbd_session *session)
{
	while (read_request(session)) {
		while (session->requests >= NBD_SESSION_REQUESTS)
			fiber_queue_wait(&session->room);
	}
	/* Who waits to write an answer to a client that is gone must not wait for ever: this ends it at
	 * once, so that there may be nothing left to wait for. */
	nbd_stream_shutdown(session->stream);
	while (session->requests)
		fiber_queue_wait(&session->room);
}
