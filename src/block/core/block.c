/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes and requests: the checks that every driver relies on, accounting, opening and closing.
 */
#include "block/core/driver.h"

#include "base/bytes.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void block_node_init(struct block_node *node, const struct block_driver *driver,
		     const struct block_open_options *options, struct aio_loop *loop)
{
	node->driver = driver;
	node->node_name = g_strdup(options->node_name);
	node->filename = g_strdup(options->filename);
	node->format_name = "raw";
	node->loop = loop;
	node->readonly = options->readonly;
	node->writethrough = options->writethrough;
	node->no_flush = options->no_flush;
	node->discard = options->discard;
	node->detect_zeroes = options->detect_zeroes;
}

/* The file's format by its first bytes, or NULL with *error set if it cannot be read. */
static const char *probe(const char *filename, GError **error)
{
	uint8_t head[512];
	int fd = open(filename, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);
	int why = errno;
	if (fd >= 0)
		close(fd);
	if (n >= 0)
		return block_probe_format(head, n);
	const char *advice = why == EACCES  ? " (this user may not read it: chmod or chown it)"
			     : why == EISDIR ? " (it is a folder)" : "";
	error_set_errno(error, why, "cannot open the disk image '%s'%s", filename, advice);
	return NULL;
}

struct block_node *block_open(const struct block_open_options *options, struct aio_loop *loop,
			      GError **error)
{
	const char *format = options->format;
	if (!format && !(format = probe(options->filename, error)))
		return NULL;
	if (!g_str_equal(format, "raw") && !g_str_equal(format, "file") &&
	    !g_str_equal(format, "host_device")) {
		error_set(error, BERTH_ERR_NOT_SUPPORTED,
			  "'%s' has format %s, which is not supported yet: convert it with "
			  "qemu-img convert -O raw, or say format=raw if it is a raw image",
			  options->filename, format);
		return NULL;
	}

	struct block_open_options file = *options;
	if (options->snapshot)
		file.readonly = true;
	struct block_node *node = block_file_open(&file, loop, error);
	if (node && options->snapshot) {
		struct block_node *overlay = block_overlay_open(node, options, error);
		if (!overlay)
			block_close(node);
		return overlay;
	}
	return node;
}

void block_close(struct block_node *node)
{
	if (!node)
		return;
	block_drain(node);
	if (!node->readonly)
		block_flush_sync(node, NULL);
	g_free(node->node_name);
	g_free(node->filename);
	node->driver->close(node);
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
	return range_fits(request->offset, request->length, node->size) ? 0 : -EIO;
}

void block_submit(struct block_node *node, struct block_request *request)
{
	request->node = node;
	request->started_ns = aio_now_ns();
	node->in_flight++;

	int refused = check(node, request);
	bool nothing = (request->op == BLOCK_FLUSH && (node->no_flush || node->readonly)) ||
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
	node->driver->submit(node, request);
}

void block_complete(struct block_request *request, int result)
{
	struct block_node *node = request->node;
	struct block_stats *stats = &node->stats;
	stats->ops[request->op]++;
	if (result == 0)
		stats->bytes[request->op] += request->length;
	else
		stats->errors[request->op]++;
	stats->total_ns[request->op] += aio_now_ns() - request->started_ns;
	node->in_flight--;
	request->done(request, result);
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

void block_drain(struct block_node *node)
{
	while (node->in_flight)
		aio_loop_iterate(node->loop, -1);
}

struct sync_request {
	struct block_request request;
	bool finished;
	int result;
};

static void sync_done(struct block_request *request, int result)
{
	struct sync_request *sync = (struct sync_request *)request;
	sync->result = result;
	sync->finished = true;
}

static bool run_sync(struct block_node *node, enum block_op op, uint64_t offset, void *buffer,
		     uint64_t length, const char *what, GError **error)
{
	struct iovec iov = {buffer, length};
	struct sync_request sync = {
		.request = {.op = op, .offset = offset, .length = length, .iov = &iov,
			    .iov_count = buffer ? 1 : 0, .done = sync_done},
	};
	block_submit(node, &sync.request);
	while (!sync.finished)
		aio_loop_iterate(node->loop, -1);
	if (sync.result == 0)
		return true;
	return error_set_errno(error, -sync.result, "cannot %s '%s'", what, node->filename);
}

bool block_read_sync(struct block_node *node, uint64_t offset, void *buffer, uint64_t length,
		     GError **error)
{
	return run_sync(node, BLOCK_READ, offset, buffer, length, "read", error);
}

bool block_write_sync(struct block_node *node, uint64_t offset, const void *buffer, uint64_t length,
		      GError **error)
{
	return run_sync(node, BLOCK_WRITE, offset, (void *)buffer, length, "write", error);
}

bool block_flush_sync(struct block_node *node, GError **error)
{
	return run_sync(node, BLOCK_FLUSH, 0, NULL, 0, "flush", error);
}

bool block_resize(struct block_node *node, uint64_t size, GError **error)
{
	if (node->readonly || !node->driver->resize)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "'%s' cannot be resized: it is %s",
				 node->filename, node->readonly ? "read-only" : "not a file");
	block_drain(node);
	return node->driver->resize(node, size, error);
}

uint64_t block_size(const struct block_node *node)
{
	return node->size;
}

bool block_is_readonly(const struct block_node *node)
{
	return node->readonly;
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
