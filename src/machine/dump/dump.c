/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is to be dumped, and the way into the file. */
#include "machine/dump/dump_int.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/units.h"
#include "vm/space.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

/* Writes of that size, and aligned to that, please any disk. */
enum { BLOCK_ALIGN = 4096 };
#define BLOCK_SIZE (1 * MIB)

/* --- What ----------------------------------------------------------------------------------- */

struct collector {
	GArray *ranges;
	uint64_t begin, end;
};

static void collect(void *opaque, const struct space_range *range)
{
	struct collector *c = opaque;
	uint64_t base = MAX(range->base, c->begin), end = MIN(range->base + range->size, c->end);
	if (!range->ram || base >= end)
		return;
	const uint8_t *host = range->ram->host + range->ram_offset + (base - range->base);
	struct dump_range *last =
		c->ranges->len ? &g_array_index(c->ranges, struct dump_range, c->ranges->len - 1) : NULL;
	if (last && last->base + last->size == base && last->host + last->size == host) {
		last->size += end - base;
		return;
	}
	struct dump_range next = {base, end - base, host};
	g_array_append_val(c->ranges, next);
}

struct dump *dump_new(struct space *memory, int fd, enum dump_format format, uint64_t begin,
		      uint64_t length, GError **error)
{
	struct dump *dump = g_new0(struct dump, 1);
	dump->format = format;
	dump->ranges = g_array_new(FALSE, FALSE, sizeof(struct dump_range));
	dump->notes = g_byte_array_new();
	dump->out = (struct dump_output){.fd = fd, .block = aligned_alloc(BLOCK_ALIGN, BLOCK_SIZE)};
	struct collector collector = {
		dump->ranges, begin, length && length <= UINT64_MAX - begin ? begin + length : UINT64_MAX};
	space_for_each(memory, collect, &collector);
	for (unsigned i = 0; i < dump->ranges->len; i++)
		dump->total += g_array_index(dump->ranges, struct dump_range, i).size;
	if (dump->total)
		return dump;
	error_set(error, BERTH_ERR_INVALID, "there is no memory at 0x%" G_GINT64_MODIFIER "x", begin);
	dump_free(dump);
	return NULL;
}

void dump_free(struct dump *dump)
{
	if (!dump)
		return;
	fd_clear(&dump->out.fd);
	free(dump->out.block);
	g_array_unref(dump->ranges);
	g_byte_array_unref(dump->notes);
	g_free(dump);
}

bool dump_write(struct dump *dump, GError **error)
{
	bool good = dump->format == DUMP_ELF ? dump_write_elf(dump, error) : dump_write_kdump(dump, error);
	return good && dump_flush(dump, error);
}

/* --- How far -------------------------------------------------------------------------------- */

void dump_cancel(struct dump *dump)
{
	atomic_store(&dump->cancelled, true);
}

uint64_t dump_total(const struct dump *dump)
{
	return dump->total;
}

uint64_t dump_done(const struct dump *dump)
{
	return atomic_load(&dump->done);
}

bool dump_progress(struct dump *dump, uint64_t bytes, GError **error)
{
	atomic_fetch_add(&dump->done, bytes);
	return !atomic_load(&dump->cancelled) || error_set(error, BERTH_ERR_BUSY, "the dump was cancelled");
}

/* --- The file ------------------------------------------------------------------------------- */

static bool write_block(struct dump_output *out, GError **error)
{
	for (size_t at = 0; at < out->used;) {
		ssize_t written = write(out->fd, out->block + at, out->used - at);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return error_set_errno(error, errno, "cannot write the dump");
		at += written;
	}
	out->used = 0;
	return true;
}

bool dump_put(struct dump *dump, const void *bytes, size_t length, GError **error)
{
	struct dump_output *out = &dump->out;
	const uint8_t *from = bytes;
	while (length > 0) {
		size_t piece = MIN(length, BLOCK_SIZE - out->used);
		memcpy(out->block + out->used, from, piece);
		out->used += piece;
		from += piece;
		length -= piece;
		if (out->used == BLOCK_SIZE && !write_block(out, error))
			return false;
	}
	return true;
}

bool dump_flush(struct dump *dump, GError **error)
{
	struct dump_output *out = &dump->out;
	int flags = fcntl(out->fd, F_GETFL);
	/* The rest is no whole block. */
	if (flags >= 0 && flags & O_DIRECT && fcntl(out->fd, F_SETFL, flags & ~O_DIRECT) < 0)
		return error_set_errno(error, errno, "cannot write the dump");
	return write_block(out, error);
}
