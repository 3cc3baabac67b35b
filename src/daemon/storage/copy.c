/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The copy goes from the front to the end, in the chunks that the source has. What reads as zeroes
 * is not stored in a target that reads as zeroes by itself; if both are overlays of one backing
 * file, neither is what the source has from there.
 */
#include "daemon/storage/copy.h"

#include "base/error.h"
#include "base/fd.h"
#include "block/core/image.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

enum { CHUNK = 256 * 1024 };

struct copy {
	struct block_node *source, *target;
	bool same_backing; /* what the source has not of its own, the target has too */
	bool target_is_zero;
	const _Atomic bool *cancel;
	uint8_t *buffer;
};

static bool is_same_file(const char *a, const char *b)
{
	struct stat one, other;
	return a && b && stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev &&
	       one.st_ino == other.st_ino;
}

static bool write_zeroes(struct copy *copy, uint64_t at, uint64_t length, GError **error)
{
	memset(copy->buffer, 0, MIN(length, CHUNK));
	for (uint64_t n; length; at += n, length -= n) {
		n = MIN(length, CHUNK);
		/* The node turns these into zero clusters and holes: detect_zeroes. */
		if (storage_is_cancelled(copy->cancel, error) ||
		    !block_write_sync(copy->target, at, copy->buffer, n, error))
			return false;
	}
	return true;
}

static bool copy_data(struct copy *copy, uint64_t at, uint64_t length, GError **error)
{
	for (uint64_t n; length; at += n, length -= n) {
		n = MIN(length, CHUNK);
		if (storage_is_cancelled(copy->cancel, error) ||
		    !block_read_sync(copy->source, at, copy->buffer, n, error) ||
		    !block_write_sync(copy->target, at, copy->buffer, n, error))
			return false;
	}
	return true;
}

static bool copy_all(struct copy *copy, GError **error)
{
	struct block_node *base = copy->same_backing ? block_backing(copy->source) : NULL;
	uint64_t size = block_size(copy->source);
	struct block_extent extent;
	if (size > block_size(copy->target))
		return error_set(error, BERTH_ERR_BUSY, "'%s' has grown since its pool was refreshed",
				 block_filename(copy->source));
	for (uint64_t at = 0; at < size; at += extent.length) {
		int rc = block_status_above(copy->source, base, at, size - at, &extent, NULL);
		if (rc < 0)
			return error_set_errno(error, -rc, "cannot read where '%s' has data",
					       block_filename(copy->source));
		bool own = extent.flags & BLOCK_STATUS_ALLOCATED;
		bool zero = extent.flags & BLOCK_STATUS_ZERO || !own;
		bool good = true;
		if (zero && (own || !copy->same_backing) && !copy->target_is_zero)
			good = write_zeroes(copy, at, extent.length, error);
		else if (!zero)
			good = copy_data(copy, at, extent.length, error);
		if (!good)
			return false;
	}
	/* A larger target shows its backing file behind the source's end. */
	uint64_t rest = block_size(copy->target) - size;
	return (copy->target_is_zero || copy->same_backing || write_zeroes(copy, size, rest, error)) &&
	       block_flush_sync(copy->target, error);
}

bool storage_share(const char *from, const char *to, int flags)
{
	auto_fd source = open(from, O_RDONLY | O_CLOEXEC);
	auto_fd target = open(to, O_WRONLY | flags | O_CLOEXEC, 0600);
	return source >= 0 && target >= 0 && ioctl(target, FICLONE, source) == 0;
}

/* Files of the same bytes need no copying where they can share them. */
static bool try_sharing(const struct storage_make *make, const struct copy *copy)
{
	return storage_format_is_raw(make->source->format) && storage_format_is_raw(make->wanted->format) &&
	       block_size(copy->source) == block_size(copy->target) &&
	       storage_share(make->source->path, make->wanted->path, 0);
}

bool storage_copy(const struct storage_make *make, struct aio_loop *loop, GError **error)
{
	const struct conf_volume *from = make->source, *to = make->wanted;
	const struct block_open_options read = {.filename = from->path, .readonly = true,
						.format = storage_format_is_raw(from->format) ? "raw"
											      : from->format};
	const struct block_open_options write = {.filename = to->path, .discard = true, .detect_zeroes = true,
						 .format = storage_format_is_raw(to->format) ? "raw"
											     : to->format};
	struct copy copy = {.cancel = make->cancel};
	bool good = false;
	copy.source = block_open(&read, loop, error);
	copy.target = copy.source ? block_open(&write, loop, error) : NULL;
	if (copy.target) {
		g_autofree char *ours = block_backing_path(copy.target);
		g_autofree char *theirs = block_backing_path(copy.source);
		copy.same_backing = is_same_file(ours, theirs);
		copy.target_is_zero = !ours && block_fresh_is_zero(copy.target);
		copy.buffer = g_malloc(CHUNK);
		good = try_sharing(make, &copy) ? block_flush_sync(copy.target, error)
						: copy_all(&copy, error);
		g_free(copy.buffer);
	}
	block_close(copy.target);
	block_close(copy.source);
	return good;
}
