/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kernel and initrd files, read piece by piece. */
#include "machine/loader/loader_int.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

struct loader_source *loader_source_open(const char *path, const char *what, GError **error)
{
	struct stat st;
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		error_set_errno(error, errno, "cannot open the %s '%s'", what, path);
		return NULL;
	}
	if (fstat(fd, &st) < 0) {
		error_set_errno(error, errno, "cannot examine the %s '%s'", what, path);
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		error_set(error, BERTH_ERR_INVALID, "the %s '%s' is not a regular file", what, path);
		return NULL;
	}
	if (st.st_size == 0) {
		error_set(error, BERTH_ERR_INVALID, "the %s '%s' is empty", what, path);
		return NULL;
	}
	struct loader_source *source = g_new0(struct loader_source, 1);
	source->name = g_strdup(path);
	source->fd = fd_steal(&fd);
	source->size = (uint64_t)st.st_size;
	return source;
}

struct loader_source *loader_source_memory(const char *name, uint8_t *bytes, uint64_t size)
{
	struct loader_source *source = g_new0(struct loader_source, 1);
	source->name = g_strdup(name);
	source->fd = -1;
	source->bytes = bytes;
	source->size = size;
	return source;
}

void loader_source_free(struct loader_source *source)
{
	if (!source)
		return;
	fd_clear(&source->fd);
	g_free(source->bytes);
	g_free(source->name);
	g_free(source);
}

bool loader_source_read(const struct loader_source *source, uint64_t offset, void *buffer,
			uint64_t length, GError **error)
{
	if (!range_fits(offset, length, source->size))
		return error_set(error, BERTH_ERR_INVALID,
				 "'%s' is truncated or damaged: it refers to bytes up to %" PRIu64
				 " but has %" PRIu64 "; copy or install it again",
				 source->name, offset + length, source->size);
	if (source->fd < 0) {
		memcpy(buffer, source->bytes + offset, length);
		return true;
	}
	while (length) {
		ssize_t n = pread(source->fd, buffer, length, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_errno(error, errno, "cannot read '%s'", source->name);
		if (n == 0)
			return error_set(error, BERTH_ERR_IO, "'%s' became shorter while it was read",
					 source->name);
		buffer = (uint8_t *)buffer + n;
		offset += (uint64_t)n;
		length -= (uint64_t)n;
	}
	return true;
}

GBytes *loader_source_bytes(const struct loader_source *source, uint64_t offset, uint64_t length,
			    GError **error)
{
	if (!range_fits(offset, length, source->size)) {
		loader_source_read(source, offset, NULL, length, error);
		return NULL;
	}
	g_autofree uint8_t *bytes = g_try_malloc(length);
	if (!bytes && length) {
		error_set(error, BERTH_ERR_IO, "no memory for the %" PRIu64 " bytes of '%s'", length,
			  source->name);
		return NULL;
	}
	if (!loader_source_read(source, offset, bytes, length, error))
		return NULL;
	return g_bytes_new_take(g_steal_pointer(&bytes), length);
}
