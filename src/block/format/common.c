/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small things that every format's open, create and check need: see mapped.h. */
#include "block/format/mapped.h"

#include "base/bytes.h"
#include "base/error.h"

#include <inttypes.h>
#include <stdarg.h>

bool format_read(struct block_node *file, uint64_t offset, void *bytes, uint64_t length,
		 GError **error)
{
	if (!range_fits(offset, length, block_size(file)))
		return error_set(error, BERTH_ERR_INVALID,
				 "the image is cut off: %" PRIu64 " bytes at %" PRIu64
				 " lie behind the end of '%s'", length, offset, block_filename(file));
	int rc = block_pread(file, offset, bytes, length);
	return rc == 0 || error_set_errno(error, -rc, "cannot read '%s'", block_filename(file));
}

void *format_load(struct block_node *file, uint64_t offset, uint64_t length, const char *what,
		  GError **error)
{
	/* The check comes first: no table may ask for more memory than its file is long. */
	bool fits = range_fits(offset, length, block_size(file));
	g_autofree void *bytes = fits ? g_try_malloc(MAX(length, 1)) : NULL;
	if (fits && !bytes) {
		error_set(error, BERTH_ERR_IO, "not enough memory for the %s of '%s'", what,
			  block_filename(file));
		return NULL;
	}
	return format_read(file, offset, bytes, length, error) ? g_steal_pointer(&bytes) : NULL;
}

bool format_write(struct block_node *file, uint64_t offset, const void *bytes, uint64_t length,
		  GError **error)
{
	int rc = block_pwrite(file, offset, bytes, length);
	return rc == 0 || error_set_errno(error, -rc, "cannot write '%s'", block_filename(file));
}

bool format_grow_or_fail(struct block_node *file, uint64_t size, GError **error)
{
	return block_size(file) >= size || block_resize(file, size, error);
}

int format_grow(struct block_node *file, uint64_t size)
{
	g_autoptr(GError) error = NULL;
	if (format_grow_or_fail(file, size, &error))
		return 0;
	return -EIO;
}

int format_reserve(struct block_node *file, uint64_t size, uint64_t step, uint64_t *certain)
{
	if (size <= *certain)
		return 0;
	int rc = format_grow(file, align_up(size, step));
	if (rc < 0) /* a device ends where it ends */
		rc = format_grow(file, size);
	rc = rc < 0 ? rc : block_flush(file);
	if (rc == 0)
		*certain = block_size(file);
	return rc;
}

void format_check_error(struct block_check *check, const char *text, ...)
{
	va_list list;
	va_start(list, text);
	g_autofree char *line = g_strdup_vprintf(text, list);
	va_end(list);
	check->corruptions++;
	if (check->report)
		check->report(check->opaque, line);
}

void format_new_uuid(uint8_t bytes[16])
{
	for (unsigned i = 0; i < 16; i += 4)
		le32_store(bytes + i, g_random_int());
	bytes[7] = (bytes[7] & 0x0f) | 0x40; /* version 4: random */
	bytes[8] = (bytes[8] & 0x3f) | 0x80;
}
