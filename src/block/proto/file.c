/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Regular files and block devices through io_uring: one ring per node, its completions watched by
 * the node's loop. Where io_uring is not to be had (old kernels, containers that forbid it), and
 * with aio=threads, the same operations run on a thread pool. With io_uring, what the page cache
 * can answer at once does not even go there.
 */
#include "block/proto/file.h"

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "block/core/drivers.h"
#include "block/core/options.h"
#include "block/proto/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

enum {
	NOW_BYTES = 1 << 20,        /* 80 us of copying: what waking a thread and being woken takes */
	SLOW_NS = 2 * 1000 * 1000,  /* a write that blocked, or was disturbed; it does not matter */
	SLOW_REST_NS = 1000 * 1000 * 1000,
	LARGE_WRITE = 32 << 10,
};

static struct file_node *file_of(struct block_node *node)
{
	return (struct file_node *)node;
}

/* --- one operation, from any thread --------------------------------------------------------------*/

/* Bytes behind the end of a file that is no multiple of a sector read as zeroes. */
static void zero_rest(const struct block_request *request, uint64_t done)
{
	for (unsigned i = 0; i < request->iov_count; i++) {
		size_t n = request->iov[i].iov_len;
		if (done < n)
			memset((char *)request->iov[i].iov_base + done, 0, n - done);
		done = done < n ? 0 : done - n;
	}
}

/* Finish a transfer that the kernel cut short after `done` bytes. */
int file_transfer_rest(struct file_node *file, const struct block_request *request, uint64_t done)
{
	uint64_t position = 0;
	for (unsigned i = 0; i < request->iov_count; i++) {
		uint8_t *base = request->iov[i].iov_base;
		size_t length = request->iov[i].iov_len;
		size_t skip = done > position ? MIN(done - position, length) : 0;
		while (skip < length) {
			off_t at = request->offset + position + skip;
			ssize_t n = request->op == BLOCK_READ
					    ? pread(file->fd, base + skip, length - skip, at)
					    : pwrite(file->fd, base + skip, length - skip, at);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return -errno;
			if (n == 0 && request->op == BLOCK_WRITE)
				return -ENOSPC;
			if (n == 0) {
				zero_rest(request, position + skip);
				return 0;
			}
			skip += n;
		}
		position += length;
	}
	return 0;
}

int file_allocate_mode(const struct block_request *request)
{
	const struct block_node *node = request->node;
	bool grows = request->op == BLOCK_WRITE_ZEROES &&
		     request->offset + request->length > node->size;
	if (request->op == BLOCK_DISCARD || (request->flags & BLOCK_REQ_MAY_UNMAP && !grows))
		return FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	return FALLOC_FL_ZERO_RANGE | (grows ? 0 : FALLOC_FL_KEEP_SIZE);
}

static int write_zero_bytes(struct file_node *file, uint64_t offset, uint64_t length)
{
	uint64_t chunk = MIN(length, UINT64_C(1) << 20);
	void *zeroes;
	if (posix_memalign(&zeroes, 4096, chunk))
		return -ENOMEM;
	memset(zeroes, 0, chunk);
	int rc = 0;
	while (length && rc == 0) {
		ssize_t n = pwrite(file->fd, zeroes, MIN(length, chunk), offset);
		if (n > 0) {
			offset += n;
			length -= n;
		} else if (n == 0 || errno != EINTR) {
			rc = n == 0 ? -ENOSPC : -errno;
		}
	}
	free(zeroes);
	return rc;
}

/* What to make of fallocate's answer; may fall back to writing. */
int file_allocate_result(struct file_node *file, const struct block_request *request, int result)
{
	bool unsupported = result == -EOPNOTSUPP || result == -ENODEV || result == -EINVAL;
	if (!unsupported)
		return result;
	if (request->op == BLOCK_DISCARD)
		return 0; /* a hint that this file system does not take */
	return write_zero_bytes(file, request->offset, request->length);
}

/* A guest may give O_DIRECT a buffer at any address; the kernel wants it aligned. */
static bool needs_bounce(struct file_node *file, const struct block_request *request)
{
	uint32_t mask = file->node.limits.request_alignment - 1;
	if (!file->direct || (request->op != BLOCK_READ && request->op != BLOCK_WRITE))
		return false;
	if (request->offset & mask)
		return true;
	for (unsigned i = 0; i < request->iov_count; i++) {
		if (((uintptr_t)request->iov[i].iov_base | request->iov[i].iov_len) & mask)
			return true;
	}
	return false;
}

/* Into the first and the last block of `whole`, what the file holds around [offset, end). */
static int read_edges(struct file_node *file, struct block_request *whole, uint64_t offset,
		      uint64_t end)
{
	uint32_t block = file->node.limits.request_alignment;
	uint64_t last = whole->offset + whole->length - block;
	struct iovec iov = *whole->iov;
	struct block_request edge = {.op = BLOCK_READ, .offset = whole->offset, .length = block,
				     .iov = &iov, .iov_count = 1};
	int rc = 0;
	iov.iov_len = block;
	if (offset != whole->offset || (end != last + block && last == whole->offset))
		rc = file_transfer_rest(file, &edge, 0);
	edge.offset = last;
	iov.iov_base = (char *)iov.iov_base + (last - whole->offset);
	if (rc == 0 && end != last + block && last != whole->offset)
		rc = file_transfer_rest(file, &edge, 0);
	return rc;
}

/*
 * Through a buffer that O_DIRECT takes. What is no multiple of a block is widened; a write then
 * keeps the bytes around it, under a lock, since a neighbour may be doing the same.
 */
static int transfer_bounced(struct file_node *file, struct block_request *request)
{
	uint32_t block = file->node.limits.request_alignment;
	uint64_t start = align_down(request->offset, block), end = request->offset + request->length;
	uint64_t length = align_up(end, block) - start, skip = request->offset - start;
	bool widened = length != request->length, write = request->op == BLOCK_WRITE;
	void *buffer;
	if (posix_memalign(&buffer, MAX(4096, block), length))
		return -ENOMEM;
	struct iovec whole = {buffer, length};
	struct block_request bounced = *request;
	bounced.offset = start;
	bounced.length = length;
	bounced.iov = &whole;
	bounced.iov_count = 1;
	if (widened && write)
		g_mutex_lock(&file->widen_lock);
	int rc = widened && write ? read_edges(file, &bounced, request->offset, end) : 0;
	if (rc == 0 && write)
		block_iov_copy(request->iov, request->iov_count, 0, (char *)buffer + skip,
			       request->length, true);
	rc = rc < 0 ? rc : file_transfer_rest(file, &bounced, 0);
	if (widened && write)
		g_mutex_unlock(&file->widen_lock);
	if (rc == 0 && !write)
		block_iov_copy(request->iov, request->iov_count, 0, (char *)buffer + skip,
			       request->length, false);
	free(buffer);
	return rc;
}

int file_perform(struct file_node *file, struct block_request *request)
{
	int rc = 0;
	if (file_ahead_due(file, request))
		file_ahead_go(file, request);
	switch (request->op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		rc = needs_bounce(file, request) ? transfer_bounced(file, request)
						 : file_transfer_rest(file, request, 0);
		if (rc == 0 && request->flags & BLOCK_REQ_FUA)
			rc = fdatasync(file->fd) < 0 ? -errno : 0;
		return rc;
	case BLOCK_FLUSH:
		return fdatasync(file->fd) < 0 ? -errno : 0;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		if (fallocate(file->fd, file_allocate_mode(request), request->offset,
			      request->length) < 0)
			rc = -errno;
		rc = file_allocate_result(file, request, rc);
		if (rc == 0 && request->flags & BLOCK_REQ_FUA)
			rc = fdatasync(file->fd) < 0 ? -errno : 0;
		return rc;
	}
	return -ENOTSUP;
}

/*
 * Try a transfer on this thread, as long as it is a mere copy from or to the host's page cache: that
 * takes less time than handing it to another thread and being woken by it. Reads do not block
 * (RWF_NOWAIT). Few file systems have that for writes, so these are done on trust: one that took
 * long, because the host has too many dirty pages or the file system commits its journal, sends the
 * writes of the next second the long way. False: not done.
 */
static bool transfer_now(struct file_node *file, struct block_request *request)
{
	bool read = request->op == BLOCK_READ;
	if (request->length > NOW_BYTES || request->flags & BLOCK_REQ_FUA ||
	    !(read ? file->reads_now : file->writes_now && request->op == BLOCK_WRITE))
		return false;
	if (read) {
		ssize_t n = preadv2(file->fd, request->iov, request->iov_count, request->offset,
				    RWF_NOWAIT);
		if (n < 0 && errno == EOPNOTSUPP)
			file->reads_now = false;
		return n >= 0 && (uint64_t)n == request->length;
	}
	if (request->started_ns < file->writes_slow_until)
		return false;
	ssize_t n = pwritev(file->fd, request->iov, request->iov_count, request->offset);
	int64_t now = aio_now_ns();
	if (now - request->started_ns > SLOW_NS)
		file->writes_slow_until = now + SLOW_REST_NS;
	/* The long way finds out what is wrong, or writes the rest. */
	return n >= 0 && (uint64_t)n == request->length;
}

/* --- the driver -----------------------------------------------------------------------------------*/

/*
 * ext4 and others have no way to write to the page cache without waiting, so the ring hands such a
 * write to a worker of the kernel, one a file at a time. For much data our own threads are twice as fast.
 */
static bool is_large_cached_write(const struct file_node *file, const struct block_request *request)
{
	return !file->direct && request->op == BLOCK_WRITE && request->length >= LARGE_WRITE;
}

static void file_submit(struct block_node *node, struct block_request *request)
{
	struct file_node *file = file_of(node);
	/* Rare shapes go to a thread, so that the fast path has no special cases. */
	bool rare = needs_bounce(file, request) || request->iov_count > IOV_MAX ||
		    file_ahead_due(file, request) ||
		    (request->op == BLOCK_WRITE_ZEROES && request->flags & BLOCK_REQ_FUA);
	if (file->uring && !rare && transfer_now(file, request))
		block_complete(request, 0);
	else if (file->uring && !rare && !is_large_cached_write(file, request))
		file_uring_submit(file, request);
	else
		file_pool_submit(file, request);
}

static void file_plug(struct block_node *node)
{
	file_of(node)->hold = true;
}

static void file_unplug(struct block_node *node)
{
	struct file_node *file = file_of(node);
	file->hold = false;
	if (file->uring)
		file_uring_flush(file);
}

static bool file_resize(struct block_node *node, uint64_t size, GError **error)
{
	if (file_of(node)->is_device)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED,
				 "'%s' is a block device: its size is the host's to change",
				 node->filename);
	if (ftruncate(file_of(node)->fd, size) < 0)
		return error_set_errno(error, errno, "cannot resize '%s'", node->filename);
	file_of(node)->ahead = 0;
	node->size = size;
	return true;
}

static void file_close(struct block_node *node)
{
	struct file_node *file = file_of(node);
	file_uring_destroy(file);
	file_pool_destroy(file);
	file_ahead_end(file);
	/* The kernel takes a ring apart later, and until then it may hold the file, and so its locks. */
	if (file->locked)
		file_unlock(file->fd);
	fd_clear(&file->fd);
}

/* --- opening --------------------------------------------------------------------------------------*/

static int open_file(const struct block_open_options *options, bool *readonly)
{
	int flags = O_CLOEXEC | (options->direct ? O_DIRECT : 0);
	int fd = open(options->filename, flags | (*readonly ? O_RDONLY : O_RDWR));
	bool refused = fd < 0 && (errno == EACCES || errno == EROFS || errno == EPERM);
	if (refused && options->auto_readonly && !*readonly) {
		*readonly = true;
		fd = open(options->filename, flags | O_RDONLY);
	}
	return fd;
}

static void explain_open(const struct block_open_options *options, int why, GError **error)
{
	const char *advice = why == EACCES ? " (this user may not read and write it; readonly=on is "
					     "enough for reading)"
			     : why == EROFS ? " (the file system is read-only: use readonly=on)"
			     : why == ENOENT ? " (qemu-img create -f raw FILE SIZE or truncate -s SIZE "
					       "FILE makes one)"
			     : why == EINVAL && options->direct
				     ? " (this file system has no O_DIRECT: use another cache mode)" : "";
	error_set_errno(error, why, "cannot open the disk image '%s'%s", options->filename, advice);
}

/*
 * A new descriptor takes the place of the old one, whose lock is given up first: it is of the same
 * process, but locks are the descriptors'.
 */
static bool file_set_readonly(struct block_node *node, bool readonly, GError **error)
{
	struct file_node *file = file_of(node);
	struct block_open_options options = node->options;
	options.filename = node->filename;
	options.auto_readonly = false;
	file_ahead_end(file);
	auto_fd fd = open_file(&options, &readonly);
	if (fd < 0) {
		explain_open(&options, errno, error);
		return false;
	}
	if (file->locked) {
		file_unlock(file->fd);
		if (!file_lock(fd, !readonly, node->filename, error)) {
			file_lock(file->fd, readonly, node->filename, NULL);
			return false;
		}
	}
	int old = file->fd;
	file->fd = fd_steal(&fd);
	close(old);
	return true;
}

/* The smallest unit that O_DIRECT takes here. */
static uint32_t find_alignment(struct file_node *file)
{
	int sector = 0;
	if (file->is_device && ioctl(file->fd, BLKSSZGET, &sector) == 0 && sector > 0)
		return sector;
	if (!file->direct)
		return 1;
	/* statx's STATX_DIOALIGN is younger than Debian 12's kernel: try instead. */
	for (uint32_t size = 512; size < 4096; size *= 2) {
		void *buffer;
		if (posix_memalign(&buffer, size, size))
			break;
		ssize_t n = pread(file->fd, buffer, size, 0);
		free(buffer);
		if (n >= 0)
			return size;
	}
	return 4096;
}

static bool measure(struct file_node *file, GError **error)
{
	struct block_node *node = &file->node;
	struct stat st;
	if (fstat(file->fd, &st) < 0)
		return error_set_errno(error, errno, "cannot look at '%s'", node->filename);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' is neither a file nor a block device", node->filename);
	file->is_device = S_ISBLK(st.st_mode);
	uint64_t size = st.st_size;
	if (file->is_device && ioctl(file->fd, BLKGETSIZE64, &size) < 0)
		return error_set_errno(error, errno, "cannot find the size of '%s'", node->filename);

	node->size = align_up(size, 512);
	node->limits.request_alignment = find_alignment(file);
	node->limits.logical_block = MAX(512, file->is_device ? node->limits.request_alignment : 512);
	if (file->direct && node->limits.request_alignment > 512)
		node->limits.logical_block = node->limits.request_alignment;
	node->limits.physical_block = node->limits.logical_block;
	node->limits.max_transfer = UINT64_C(1) << 30;
	node->limits.can_discard = node->discard;
	node->limits.can_write_zeroes = true;
	return true;
}

static const char *const aio_names[] = {"io_uring", "threads", "native", NULL};

/* Keys of our own; the rest is the core's. */
static bool take_options(struct block_open_options *options, json_t *dict, GError **error)
{
	static const char *const lockings[] = {"auto", "on", "off", NULL};
	int aio = options->aio == BLOCK_AIO_THREADS, locking = options->no_lock ? 2 : 0;
	if (!block_take_enum(dict, "aio", aio_names, &aio, error) ||
	    !block_take_enum(dict, "locking", lockings, &locking, error))
		return false;
	options->aio = aio == 1 ? BLOCK_AIO_THREADS : BLOCK_AIO_URING;
	options->no_lock = locking == 2 || options->force_share;
	return true;
}

static bool file_open(struct block_node *node, json_t *dict, GError **error)
{
	struct file_node *file = file_of(node);
	struct block_open_options options = node->options;
	g_autofree char *filename = block_take_string(dict, "filename");
	if (!filename)
		return error_set(error, BERTH_ERR_INVALID,
				 "driver '%s' needs filename=PATH", node->driver->name);
	if (!take_options(&options, dict, error))
		return false;
	options.filename = filename;
	g_free(node->filename);
	node->filename = g_strdup(filename);
	file->fd = open_file(&options, &node->readonly);
	if (file->fd < 0) {
		explain_open(&options, errno, error);
		return false;
	}
	file->direct = options.direct;
	file->locked = !options.no_lock;
	if (!measure(file, error) ||
	    (file->locked && !file_lock(file->fd, !node->readonly, filename, error))) {
		fd_clear(&file->fd);
		return false;
	}
	if (options.aio == BLOCK_AIO_URING)
		file_uring_create(file);
	file->reads_now = !file->direct;
	file->writes_now = !file->direct && !file->is_device;
	return true;
}

/* Whether [offset, ...) is data or a hole, as the file system knows it. */
static int file_status(struct block_node *node, uint64_t offset, uint64_t length,
		       struct block_extent *extent)
{
	int fd = file_of(node)->fd;
	*extent = (struct block_extent){
		.flags = BLOCK_STATUS_DATA | BLOCK_STATUS_OFFSET | BLOCK_STATUS_ALLOCATED,
		.length = length, .host_offset = offset, .file = node};
	off_t data = lseek(fd, offset, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		return 0; /* a device, or a file system that cannot say */
	if (data < 0 || data > offset) {
		extent->flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_OFFSET | BLOCK_STATUS_ALLOCATED;
		extent->length = data < 0 ? length : MIN(length, data - offset);
		return 0;
	}
	off_t hole = lseek(fd, offset, SEEK_HOLE);
	if (hole > offset)
		extent->length = MIN(length, hole - offset);
	return 0;
}

static bool file_create(const struct block_create *create, GError **error)
{
	static const char *const modes[] = {"off", "metadata", "falloc", "full", NULL};
	int mode = 0;
	bool nocow = false;
	uint64_t hint = 0;
	if (!block_take_enum(create->options, "preallocation", modes, &mode, error) ||
	    !block_take_bool(create->options, "nocow", &nocow, error) ||
	    !block_take_size(create->options, "extent_size_hint", &hint, error))
		return false;
	if (mode == 1)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "Unsupported preallocation mode: metadata");
	auto_fd fd = open(create->filename, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return error_set_errno(error, errno, "cannot create '%s'", create->filename);
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return true; /* a device is there already */
	if (!file_lock(fd, true, create->filename, error))
		return false;
	if (ftruncate(fd, create->size) < 0)
		return error_set_errno(error, errno, "cannot give '%s' its size", create->filename);
	if (mode >= 2 && create->size && fallocate(fd, 0, 0, create->size) < 0)
		return error_set_errno(error, errno, "cannot allocate '%s'", create->filename);
	return true;
}

static const struct block_option file_options[] = {
	{"nocow", "bool", "Turn off copy-on-write (valid only on btrfs)"},
	{"preallocation", "str", "Preallocation mode (allowed values: off, falloc, full)"},
	{NULL},
};

/* The pool's threads answer to the loop that a request came on. */
static void file_leave_loop(struct block_node *node)
{
	file_uring_leave((struct file_node *)node);
}

static void file_enter_loop(struct block_node *node)
{
	file_uring_enter((struct file_node *)node);
}

#define FILE_OPERATIONS                                                                            \
	.kind = BLOCK_PROTOCOL, .node_size = sizeof(struct file_node), .open = file_open,          \
	.close = file_close, .submit = file_submit, .plug = file_plug, .unplug = file_unplug,      \
	.moves = true, .leave_loop = file_leave_loop, .enter_loop = file_enter_loop,               \
	.status = file_status, .resize = file_resize, .set_readonly = file_set_readonly,           \
	.create_bare = true, .create = file_create,                                                \
	.create_options = file_options

const struct block_driver block_file_driver = {.name = "file", .prefix = "file", FILE_OPERATIONS};
const struct block_driver block_host_device_driver = {.name = "host_device", FILE_OPERATIONS};
const struct block_driver block_host_cdrom_driver = {.name = "host_cdrom", FILE_OPERATIONS};
