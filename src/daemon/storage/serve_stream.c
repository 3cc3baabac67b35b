/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Upload and download: a volume's bytes as a stream. The file is opened by a job; from then on a
 * piece at a time is read or written on a thread while the loop sends or collects the next ones. A
 * client that sends faster than the disk writes is held up; one that reads slowly holds up us.
 */
#include "daemon/storage/storage.h"

#include "base/error.h"
#include "base/fd.h"
#include "daemon/rpc/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { STREAM_SPARSE = 1, PIECE = 1 << 20, MAX_WAITING = 8 << 20 };

/* Bytes, or a hole if there are none. */
struct piece {
	GBytes *bytes;
	uint64_t hole;
};

struct transfer {
	struct storage_pool *pool; /* a reference */
	bool upload, sparse;
	char *name;
	struct conf_volume *volume;
	int fd;
	uint64_t offset, left;   /* where the next piece begins; what may still come */

	struct aio_job job;      /* a piece, or the end */
	struct rpc_stream *stream; /* NULL: gone */
	bool running, ending, finished;
	GError *error;
	GQueue waiting;          /* upload: struct piece */
	size_t waiting_bytes;
	struct piece piece;      /* the one under way */
	bool at_end;             /* download: all is sent */
};

static void run(struct transfer *transfer);

/* --- The end -------------------------------------------------------------------------------- */

static void piece_clear(struct piece *piece)
{
	g_clear_pointer(&piece->bytes, g_bytes_unref);
}

static void piece_free(void *piece)
{
	piece_clear(piece);
	g_free(piece);
}

static void transfer_free(struct transfer *transfer)
{
	if (!transfer)
		return;
	g_queue_clear_full(&transfer->waiting, piece_free);
	piece_clear(&transfer->piece);
	fd_clear(&transfer->fd);
	conf_volume_free(transfer->volume);
	g_clear_error(&transfer->error);
	storage_pool_unref(transfer->pool);
	g_free(transfer->name);
	g_free(transfer);
}

/* The stream is over and nothing runs: on the loop. */
static void release(struct transfer *transfer)
{
	struct storage_volume *volume = g_hash_table_lookup(transfer->pool->volumes, transfer->name);
	volume->users--;
	transfer->pool->background--;
	transfer_free(transfer);
}

static void on_closed(void *opaque)
{
	struct transfer *transfer = opaque;
	transfer->stream = NULL;
	if (!transfer->running)
		run(transfer);
}

/* The last piece is done: see what has become of the volume. */
static void work_end(void *opaque)
{
	struct transfer *transfer = opaque;
	fd_clear(&transfer->fd);
	if (!transfer->upload)
		return;
	g_autoptr(GError) error = NULL;
	if (!storage_look(transfer->volume->path, transfer->volume, &error) && !transfer->error)
		transfer->error = g_steal_pointer(&error);
}

static void done_end(void *opaque)
{
	struct transfer *transfer = opaque;
	struct rpc_stream *stream = g_steal_pointer(&transfer->stream);
	if (transfer->upload && !transfer->error) {
		storage_volume_set(transfer->pool, conf_volume_copy(transfer->volume));
		storage_emit_refresh(transfer->pool);
	}
	/* closed() finds that we know. */
	if (stream)
		rpc_stream_end(stream, g_steal_pointer(&transfer->error));
	release(transfer);
}

static void end(struct transfer *transfer)
{
	transfer->ending = transfer->running = true;
	transfer->job.work = work_end;
	transfer->job.done = done_end;
	aio_pool_submit(transfer->pool->all->workers, &transfer->job);
}

static void fail(struct transfer *transfer, const char *what, int code)
{
	virt_error(&transfer->error, VIRT_FROM_STREAMS, VIRT_SYSTEM_ERROR, "%s: %s", what,
		   g_strerror(code));
}

/* --- Upload --------------------------------------------------------------------------------- */

/* So many bytes read as zeroes from now on; a file that is shorter becomes longer. */
static bool make_hole(int fd, uint64_t offset, uint64_t length)
{
	struct stat st;
	if (fstat(fd, &st) < 0 || (S_ISREG(st.st_mode) && (uint64_t)st.st_size < offset + length &&
				   ftruncate(fd, offset + length) < 0))
		return false;
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	return length == 0 || fallocate(fd, mode, offset, length) == 0;
}

static bool write_bytes(struct transfer *transfer)
{
	size_t left;
	const uint8_t *at = g_bytes_get_data(transfer->piece.bytes, &left);
	while (left > 0) {
		ssize_t n = pwrite(transfer->fd, at, left, transfer->offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		at += n;
		left -= n;
		transfer->offset += n;
	}
	return true;
}

static void work_write(void *opaque)
{
	struct transfer *transfer = opaque;
	uint64_t hole = transfer->piece.hole;
	bool good = transfer->piece.bytes ? write_bytes(transfer)
					  : make_hole(transfer->fd, transfer->offset, hole);
	if (!good)
		fail(transfer, "cannot write to stream", errno);
	transfer->offset += transfer->piece.bytes ? 0 : hole;
}

/* More than was announced has no room. */
static bool take_room(struct transfer *transfer, uint64_t length)
{
	if (transfer->error || transfer->ending)
		return false;
	if (length <= transfer->left) {
		transfer->left -= transfer->left == UINT64_MAX ? 0 : length;
		return true;
	}
	fail(transfer, "cannot write to stream", ENOSPC);
	return false;
}

static void take(struct transfer *transfer, struct piece piece, size_t bytes)
{
	g_queue_push_tail(&transfer->waiting, g_memdup2(&piece, sizeof(piece)));
	transfer->waiting_bytes += bytes;
	if (transfer->waiting_bytes > MAX_WAITING)
		rpc_stream_hold(transfer->stream, true);
}

static void on_received(void *opaque, const uint8_t *data, size_t length)
{
	struct transfer *transfer = opaque;
	if (take_room(transfer, length))
		take(transfer, (struct piece){.bytes = g_bytes_new(data, length)}, length);
	if (!transfer->running)
		run(transfer);
}

static void on_hole(void *opaque, uint64_t length)
{
	struct transfer *transfer = opaque;
	if (transfer->sparse && transfer->offset > INT64_MAX - length)
		fail(transfer, "cannot write to stream", EFBIG);
	else if (!transfer->sparse && !transfer->error)
		virt_error(&transfer->error, VIRT_FROM_STREAMS, VIRT_OPERATION_UNSUPPORTED,
			   "this stream has no holes");
	else if (take_room(transfer, length))
		take(transfer, (struct piece){.hole = length}, 0);
	if (!transfer->running)
		run(transfer);
}

static void on_finished(void *opaque)
{
	struct transfer *transfer = opaque;
	transfer->finished = true;
	if (!transfer->running)
		run(transfer);
}

/* --- Download ------------------------------------------------------------------------------- */

/* How much of the file from the offset on is a hole; 0: data, or nothing at all. */
static uint64_t hole_at(const struct transfer *transfer)
{
	struct stat st;
	off_t data = lseek(transfer->fd, transfer->offset, SEEK_DATA);
	if (data >= 0)
		return data - transfer->offset;
	/* No data any more: a hole up to the end, which block devices do not have. */
	bool hole = errno == ENXIO && fstat(transfer->fd, &st) == 0 && S_ISREG(st.st_mode);
	return hole && (uint64_t)st.st_size > transfer->offset ? st.st_size - transfer->offset : 0;
}

static size_t data_length(const struct transfer *transfer)
{
	off_t hole = transfer->sparse ? lseek(transfer->fd, transfer->offset, SEEK_HOLE) : -1;
	uint64_t data = hole > (off_t)transfer->offset ? hole - transfer->offset : PIECE;
	return MIN(MIN(data, PIECE), transfer->left);
}

static void work_read(void *opaque)
{
	struct transfer *transfer = opaque;
	uint64_t hole = transfer->sparse ? MIN(hole_at(transfer), transfer->left) : 0;
	transfer->piece.hole = hole;
	if (hole)
		return;
	size_t length = data_length(transfer);
	uint8_t *buffer = g_malloc(MAX(length, 1));
	ssize_t n;
	do
		n = pread(transfer->fd, buffer, length, transfer->offset);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		fail(transfer, "cannot read from stream", errno);
	else if (n > 0)
		transfer->piece.bytes = g_bytes_new_take(g_steal_pointer(&buffer), n);
	g_free(buffer);
}

/* Returns false if the client reads too slowly. */
static bool send_piece(struct transfer *transfer)
{
	struct piece piece = transfer->piece;
	transfer->piece = (struct piece){NULL, 0};
	size_t length = piece.bytes ? g_bytes_get_size(piece.bytes) : piece.hole;
	bool more = true;
	transfer->offset += length;
	transfer->left -= transfer->left == UINT64_MAX ? 0 : length;
	if (piece.bytes)
		more = rpc_stream_send(transfer->stream, g_bytes_get_data(piece.bytes, NULL), length);
	else if (piece.hole)
		more = rpc_stream_send_hole(transfer->stream, piece.hole);
	transfer->at_end = length == 0;
	piece_clear(&piece);
	return more;
}

static void on_drained(void *opaque)
{
	struct transfer *transfer = opaque;
	if (!transfer->running && !transfer->at_end)
		run(transfer);
}

/* --- Both ----------------------------------------------------------------------------------- */

static void done_piece(void *opaque)
{
	struct transfer *transfer = opaque;
	transfer->running = false;
	if (transfer->upload) {
		piece_clear(&transfer->piece);
		run(transfer);
		return;
	}
	bool more = true;
	if (transfer->stream && !transfer->error) {
		/* Sending may find the client gone, which closes the stream and ends all. */
		transfer->running = true;
		more = send_piece(transfer);
		transfer->running = false;
		if (transfer->stream && transfer->at_end)
			rpc_stream_send_eof(transfer->stream);
	}
	if (more || !transfer->stream || transfer->error)
		run(transfer);
}

/* Do what is to be done next; nothing runs now. The transfer may be gone afterwards. */
static void run(struct transfer *transfer)
{
	struct piece *piece = NULL;
	if (transfer->ending)
		return;
	bool over = !transfer->stream || transfer->error || transfer->pool->all->ending;
	if (!over && transfer->upload)
		piece = g_queue_pop_head(&transfer->waiting);
	if (over || (transfer->upload && !piece && transfer->finished) ||
	    (!transfer->upload && transfer->finished)) {
		end(transfer);
		return;
	}
	if (transfer->upload ? !piece : transfer->at_end)
		return;
	if (piece) {
		transfer->piece = *piece;
		transfer->waiting_bytes -= piece->bytes ? g_bytes_get_size(piece->bytes) : 0;
		g_free(piece);
	}
	transfer->running = true;
	transfer->job.work = transfer->upload ? work_write : work_read;
	transfer->job.done = done_piece;
	aio_pool_submit(transfer->pool->all->workers, &transfer->job);
	if (transfer->upload && transfer->waiting_bytes <= MAX_WAITING)
		rpc_stream_hold(transfer->stream, false);
}

/* --- The beginning -------------------------------------------------------------------------- */

static const struct rpc_stream_ops stream_ops = {
	.received = on_received, .received_hole = on_hole, .finished = on_finished,
	.drained = on_drained, .closed = on_closed,
};

struct open_job {
	struct storage_job base;
	struct transfer *transfer; /* the stream takes it */
};

static bool begin_open(struct storage_job *base, GError **error)
{
	struct transfer *transfer = ((struct open_job *)base)->transfer;
	struct storage_volume *volume = storage_volume_find(base->pool, transfer->name, error);
	/* As libvirt: what others do to a volume does not keep it from being read. */
	if (!volume || (transfer->upload ? !storage_volume_check_free(volume, error)
					 : !storage_volume_check_made(volume, error)))
		return false;
	transfer->volume = conf_volume_copy(volume->conf);
	volume->users++;
	return true;
}

static bool work_open(struct storage_job *base, GError **error)
{
	struct transfer *transfer = ((struct open_job *)base)->transfer;
	const char *path = transfer->volume->path;
	struct stat st;
	transfer->fd = open(path, (transfer->upload ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_CLOEXEC);
	if (transfer->fd < 0 || fstat(transfer->fd, &st) < 0)
		return error_set_errno(error, errno, "Unable to open stream for '%s'", path);
	if (S_ISDIR(st.st_mode))
		return error_set_errno(error, EISDIR, "Unable to open stream for '%s'", path);
	return !transfer->upload || storage_check_unused(path, error);
}

static void done_open(struct storage_job *base)
{
	struct transfer *transfer = g_steal_pointer(&((struct open_job *)base)->transfer);
	transfer->pool->background++;
	transfer->job.opaque = transfer;
	transfer->job.loop = transfer->pool->all->daemon->loop;
	transfer->stream = rpc_stream_open(base->call, &stream_ops, transfer);
	/* The answer may find the client gone, which closes the stream. */
	transfer->running = true;
	rpc_call_reply(base->call, NULL);
	transfer->running = false;
	run(transfer);
}

static void undo_open(struct storage_job *base)
{
	const struct transfer *transfer = ((struct open_job *)base)->transfer;
	struct storage_volume *volume = g_hash_table_lookup(base->pool->volumes, transfer->name);
	volume->users--;
}

static void clear_open(struct storage_job *base)
{
	transfer_free(((struct open_job *)base)->transfer);
}

static const struct storage_job_ops open_ops = {
	.size = sizeof(struct open_job), .queued = true, .background = true, .begin = begin_open,
	.work = work_open, .done = done_open, .undo = undo_open, .clear = clear_open,
};

/* `length` 0: to the end of what there is. */
static void start(struct rpc_call *call, const struct remote_storage_vol *wire, uint64_t offset,
		  uint64_t length, uint32_t flags, bool upload)
{
	GError *error = NULL;
	if (!rpc_call_check_flags(call, flags, STREAM_SPARSE))
		return;
	struct storage_pool *pool = storage_pool_by_name(rpc_call_daemon(call)->storage, wire->pool);
	if (!pool)
		virt_error(&error, VIRT_FROM_STORAGE, VIRT_NO_STORAGE_POOL,
			   "no storage pool with matching name '%s'", wire->pool);
	else if (offset > INT64_MAX || length > INT64_MAX - offset)
		virt_error(&error, VIRT_FROM_STORAGE, VIRT_INVALID_ARG,
			   "a volume has no byte %" G_GUINT64_FORMAT, offset);
	if (error) {
		rpc_call_fail(call, error);
		return;
	}
	if (!rpc_call_may(call, RPC_POOL, pool->name))
		return;
	struct transfer *transfer = g_new0(struct transfer, 1);
	transfer->pool = storage_pool_ref(pool);
	transfer->name = g_strdup(wire->name);
	transfer->fd = -1;
	transfer->upload = upload;
	transfer->sparse = flags & STREAM_SPARSE;
	transfer->offset = offset;
	transfer->left = length ? length : UINT64_MAX;
	g_queue_init(&transfer->waiting);
	struct open_job *job = storage_job_new(pool, call, &open_ops);
	job->transfer = transfer;
	storage_submit(job);
}

void serve_storage_vol_upload(struct rpc_call *call, const struct remote_storage_vol_upload_args *args)
{
	start(call, &args->vol, args->offset, args->length, args->flags, true);
}

void serve_storage_vol_download(struct rpc_call *call, const struct remote_storage_vol_download_args *args)
{
	start(call, &args->vol, args->offset, args->length, args->flags, false);
}
