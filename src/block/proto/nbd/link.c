/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A connection in its transmission phase. Each request has a fiber that sends it and waits; one
 * fiber reads all replies, puts data where the request wants it, and wakes the one it is for.
 */
#include "block/proto/nbd/nbd.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

/* An error message of a server is skipped; a longer one is a broken server. */
#define ERROR_CHUNK_MAX (NBD_STRING_MAX + 64)

static struct nbd_call *find_call(const struct nbd_link *link, uint64_t handle)
{
	struct nbd_call *call = link->calls[handle % NBD_LINK_CALLS];
	return call && call->handle == handle ? call : NULL;
}

static void finish_call(struct nbd_link *link, struct nbd_call *call)
{
	link->calls[call->handle % NBD_LINK_CALLS] = NULL;
	link->busy--;
	call->finished = true;
	struct fiber *waiter = call->waiter;
	call->waiter = NULL;
	fiber_queue_wake_one(&link->slot_free);
	if (waiter)
		fiber_resume(waiter);
}

static bool read_simple(struct nbd_link *link)
{
	uint8_t head[NBD_SIMPLE_SIZE - 4];
	if (!nbd_stream_read(link->stream, head, sizeof(head)))
		return false;
	struct nbd_call *call = find_call(link, be64_load(head + 4));
	if (!call)
		return false;
	bool data = call->command == NBD_CMD_READ;
	/* "Structured replies": once agreed, reads and block status are answered by these alone. */
	if (link->info.structured && (data || call->command == NBD_CMD_BLOCK_STATUS))
		return false;
	call->result = nbd_errno(be32_load(head));
	if (data && call->result == 0 &&
	    !nbd_stream_readv(link->stream, call->iov, call->iov_count, call->skip, call->length))
		return false;
	finish_call(link, call);
	return true;
}

/* A chunk's offset and length must lie in what was asked for, and no byte come twice too often. */
static bool chunk_fits(struct nbd_call *call, uint64_t offset, uint64_t length)
{
	if (call->command != NBD_CMD_READ || offset < call->offset || !length ||
	    !range_fits(offset - call->offset, length, call->length) ||
	    length > call->length - call->received)
		return false;
	call->received += length;
	return true;
}

static bool read_data(struct nbd_link *link, struct nbd_call *call, uint32_t length)
{
	uint8_t head[8];
	if (length <= sizeof(head) || !nbd_stream_read(link->stream, head, sizeof(head)))
		return false;
	uint64_t offset = be64_load(head);
	length -= sizeof(head);
	return chunk_fits(call, offset, length) &&
	       nbd_stream_readv(link->stream, call->iov, call->iov_count,
				call->skip + (offset - call->offset), length);
}

static bool read_hole(struct nbd_link *link, struct nbd_call *call, uint32_t length)
{
	uint8_t body[12];
	if (length != sizeof(body) || !nbd_stream_read(link->stream, body, sizeof(body)))
		return false;
	uint64_t offset = be64_load(body);
	if (!chunk_fits(call, offset, be32_load(body + 8)))
		return false;
	block_iov_zero(call->iov, call->iov_count, call->skip + (offset - call->offset),
		       be32_load(body + 8));
	return true;
}

/* Only the first extent is of use: more were not asked for. */
static bool read_status(struct nbd_link *link, struct nbd_call *call, uint32_t length)
{
	uint8_t body[12];
	if (call->command != NBD_CMD_BLOCK_STATUS || length < sizeof(body) || (length - 4) % 8 ||
	    !nbd_stream_read(link->stream, body, sizeof(body)) ||
	    !nbd_stream_skip(link->stream, length - sizeof(body)))
		return false;
	if (be32_load(body) != link->info.context_id)
		return true;
	call->status_length = be32_load(body + 4);
	call->status_flags = be32_load(body + 8);
	call->has_status = call->status_length != 0;
	return call->has_status;
}

static bool read_error(struct nbd_link *link, struct nbd_call *call, uint32_t length)
{
	uint8_t body[6];
	if (length < sizeof(body) || length > ERROR_CHUNK_MAX ||
	    !nbd_stream_read(link->stream, body, sizeof(body)) ||
	    !nbd_stream_skip(link->stream, length - sizeof(body)))
		return false;
	int result = nbd_errno(be32_load(body));
	if (call->result == 0)
		call->result = result ? result : -EIO;
	return true;
}

static bool read_chunk_body(struct nbd_link *link, struct nbd_call *call, uint16_t type,
			    uint32_t length)
{
	switch (type) {
	case NBD_CHUNK_NONE: return length == 0;
	case NBD_CHUNK_DATA: return read_data(link, call, length);
	case NBD_CHUNK_HOLE: return read_hole(link, call, length);
	case NBD_CHUNK_STATUS: return read_status(link, call, length);
	default: return type & NBD_CHUNK_IS_ERROR && read_error(link, call, length);
	}
}

static bool read_structured(struct nbd_link *link)
{
	uint8_t head[NBD_STRUCTURED_SIZE - 4];
	if (!link->info.structured || !nbd_stream_read(link->stream, head, sizeof(head)))
		return false;
	uint16_t flags = be16_load(head), type = be16_load(head + 2);
	struct nbd_call *call = find_call(link, be64_load(head + 4));
	if (!call || !read_chunk_body(link, call, type, be32_load(head + 12)))
		return false;
	if (!(flags & NBD_CHUNK_DONE))
		return type != NBD_CHUNK_NONE;
	if (call->result == 0 && call->command == NBD_CMD_READ && call->received != call->length)
		call->result = -EIO;
	if (call->result == 0 && call->command == NBD_CMD_BLOCK_STATUS && !call->has_status)
		call->result = -EIO;
	finish_call(link, call);
	return true;
}

static bool read_reply(struct nbd_link *link)
{
	uint8_t magic[4];
	if (!nbd_stream_read(link->stream, magic, sizeof(magic)))
		return false;
	if (be32_load(magic) == NBD_SIMPLE_MAGIC)
		return read_simple(link);
	return be32_load(magic) == NBD_STRUCTURED_MAGIC && read_structured(link);
}

static void read_replies(void *opaque)
{
	struct nbd_link *link = opaque;
	while (read_reply(link)) {
	}
	link->dead = true;
	nbd_stream_shutdown(link->stream);
	for (unsigned i = 0; i < NBD_LINK_CALLS; i++) {
		struct nbd_call *call = link->calls[i];
		if (!call)
			continue;
		call->result = -EPIPE;
		finish_call(link, call);
	}
	fiber_queue_wake_all(&link->slot_free);
	/* The stream's own callback may be on the stack below: it must not lose the stream. */
	fiber_pause(link->loop);
	link->reading = false;
	fiber_queue_wake_all(&link->reader_ended);
}

struct nbd_link *nbd_link_new(struct nbd_stream *stream, const struct nbd_export_info *info,
			      struct aio_loop *loop)
{
	struct nbd_link *link = g_new0(struct nbd_link, 1);
	link->stream = stream;
	link->loop = loop;
	link->info = *info;
	link->reading = true;
	fiber_start(read_replies, link);
	return link;
}

static void encode(const struct nbd_call *call, uint8_t *head)
{
	be32_store(head, NBD_REQUEST_MAGIC);
	be16_store(head + 4, call->flags);
	be16_store(head + 6, call->command);
	be64_store(head + 8, call->handle);
	be64_store(head + 16, call->offset);
	be32_store(head + 24, call->length);
}

static bool send_call(struct nbd_link *link, const struct nbd_call *call)
{
	uint8_t head[NBD_REQUEST_SIZE];
	g_autofree struct iovec *iov = g_new(struct iovec, call->iov_count + 1);
	unsigned count = 1;
	encode(call, head);
	iov[0] = (struct iovec){head, sizeof(head)};
	if (call->command == NBD_CMD_WRITE)
		count += block_iov_slice(call->iov, call->iov_count, call->skip, call->length, iov + 1);
	FIBER_LOCK_SCOPE(&link->write_lock);
	return !link->dead && nbd_stream_writev(link->stream, iov, count);
}

static bool take_slot(struct nbd_link *link, struct nbd_call *call)
{
	while (!link->dead && link->busy == NBD_LINK_CALLS)
		fiber_queue_wait(&link->slot_free);
	if (link->dead)
		return false;
	while (link->calls[link->next_handle % NBD_LINK_CALLS])
		link->next_handle++;
	call->handle = link->next_handle++;
	link->calls[call->handle % NBD_LINK_CALLS] = call;
	link->busy++;
	return true;
}

int nbd_link_call(struct nbd_link *link, struct nbd_call *call)
{
	if (!take_slot(link, call))
		return -EPIPE;
	/* A request cut short on the wire cannot be followed by another: the reader ends all. */
	if (!send_call(link, call))
		nbd_stream_shutdown(link->stream);
	if (!call->finished) {
		call->waiter = fiber_self();
		fiber_yield();
	}
	return call->result;
}

void nbd_link_free(struct nbd_link *link)
{
	if (!link)
		return;
	if (!link->dead) {
		struct nbd_call bye = {.command = NBD_CMD_DISC};
		send_call(link, &bye);
	}
	nbd_stream_shutdown(link->stream);
	while (link->reading)
		fiber_queue_wait(&link->reader_ended);
	nbd_stream_free(link->stream);
	g_free(link);
}
