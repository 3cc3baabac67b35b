/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The copying machine: workers are fibers that share a cursor. A worker asks what lies at the
 * cursor, takes a chunk of one kind, reads it, looks for zeroes and writes the rest. Writes start in
 * the order of the disk, so that the target's file is laid out in sequence, while reads of later
 * chunks go on; compressed chunks are written as they come, because compressing is the work.
 */
#include "convert.h"
#include "target.h"

#include "aio/loop.h"
#include "aio/pool.h"
#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum kind { KIND_DATA, KIND_ZERO, KIND_SKIP };

struct chunk {
	enum kind kind;
	uint64_t offset, length; /* of the whole disk */
	struct block_node *source;
	uint64_t source_offset;
	struct block_node *file; /* holds the data as it is, at file_offset; or NULL */
	uint64_t file_offset;
};

static void fail(struct copy *copy, const char *what, uint64_t offset, const char *why)
{
	if (!copy->failure)
		copy->failure = g_strdup_printf("error while %s at byte %" PRIu64 ": %s", what, offset, why);
}

static void fail_error(struct copy *copy, const char *what, uint64_t offset, GError *error)
{
	/* The reason is what scripts look at: the part behind the last colon is errno's text. */
	const char *colon = strrchr(error->message, ':');
	fail(copy, what, offset, colon ? colon + 2 : error->message);
}

/* --- what to do next ------------------------------------------------------------------------------ */

static struct block_node *source_at(struct copy *copy, uint64_t offset, uint64_t *inside)
{
	for (unsigned i = 0; i < copy->source_count; i++) {
		uint64_t size = block_size(copy->sources[i]);
		if (offset < size) {
			*inside = offset;
			return copy->sources[i];
		}
		offset -= size;
	}
	return NULL;
}

static bool look(struct copy *copy, struct chunk *chunk)
{
	struct block_extent extent = {0};
	struct block_node *base = copy->target_backing ? block_backing(chunk->source) : NULL;
	uint64_t most = block_size(chunk->source) - chunk->source_offset;
	int rc = block_status_above(chunk->source, base, chunk->source_offset, most, &extent, NULL);
	if (rc < 0 && copy->salvage) {
		extent = (struct block_extent){.flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED,
					       .length = MIN(most, 65536)};
		rc = 0;
	}
	if (rc < 0) {
		fail(copy, "reading block status", chunk->offset, g_strerror(-rc));
		return false;
	}
	bool allocated = extent.flags & BLOCK_STATUS_ALLOCATED;
	bool zero = extent.flags & BLOCK_STATUS_ZERO || !allocated;
	chunk->length = extent.length;
	chunk->kind = copy->target_backing && !allocated ? KIND_SKIP
		      : zero && copy->sparse		 ? KIND_ZERO
							 : KIND_DATA;
	chunk->file = extent.flags & BLOCK_STATUS_OFFSET ? extent.file : NULL;
	chunk->file_offset = extent.host_offset;
	/* Compressing needs whole clusters, whose first byte decides only for the run that it is in. */
	if (copy->compressed && chunk->kind != KIND_DATA) {
		uint64_t whole = align_down(chunk->length, copy->cluster);
		if (whole == 0 && chunk->length < most)
			chunk->kind = KIND_DATA;
		else if (whole)
			chunk->length = whole;
	}
	if (chunk->kind == KIND_DATA)
		chunk->length = MIN(copy->compressed ? MIN(align_up(chunk->length, copy->cluster), most)
						     : chunk->length,
				    copy->compressed ? COPY_CHUNK : COPY_CACHED);
	return true;
}

/* Take the next chunk; false at the end or after a failure. */
static bool take(struct copy *copy, struct chunk *chunk)
{
	FIBER_LOCK_SCOPE(&copy->cursor_lock);
	if (target_interrupted() && !copy->failure)
		copy->failure = g_strdup("interrupted: removing what was copied");
	if (copy->failure || copy->cursor >= copy->total)
		return false;
	*chunk = (struct chunk){.offset = copy->cursor};
	chunk->source = source_at(copy, copy->cursor, &chunk->source_offset);
	if (!look(copy, chunk))
		return false;
	copy->cursor += chunk->length;
	return true;
}

/* --- one chunk ------------------------------------------------------------------------------------ */

/* Sector by sector; what cannot be read becomes zeroes, and the person is told. */
static void read_salvage(struct copy *copy, const struct chunk *chunk, uint8_t *bytes)
{
	for (uint64_t at = 0; at < chunk->length; at += 512) {
		g_autoptr(GError) error = NULL;
		uint64_t n = MIN(512, chunk->length - at);
		if (block_read_sync(chunk->source, chunk->source_offset + at, bytes + at, n, &error))
			continue;
		memset(bytes + at, 0, n);
		if (!copy->quiet)
			img_warn("error while reading offset %" PRIu64 ": %s", chunk->offset + at,
				 error->message);
	}
}

static bool read_chunk(struct copy *copy, const struct chunk *chunk, uint8_t *bytes)
{
	g_autoptr(GError) error = NULL;
	if (block_read_sync(chunk->source, chunk->source_offset, bytes, chunk->length, &error))
		return true;
	if (copy->salvage) {
		read_salvage(copy, chunk, bytes);
		return true;
	}
	fail_error(copy, "reading", chunk->offset, error);
	return false;
}

static bool submit(struct copy *copy, enum block_op op, unsigned flags, uint64_t offset, void *bytes,
		   uint64_t length)
{
	int rc = image_request(copy->target, op, flags, offset, bytes, length);
	if (rc < 0)
		fail(copy, "writing", offset, g_strerror(-rc));
	return rc == 0;
}

static bool write_zeroes(struct copy *copy, uint64_t offset, uint64_t length)
{
	if (copy->target_is_zero && !copy->target_backing)
		return true;
	/* In steps, so that the answer to Ctrl-C and the progress do not wait for a whole disk. */
	for (uint64_t n; length; offset += n, length -= n) {
		n = MIN(length, UINT64_C(1) << 30);
		if (!submit(copy, BLOCK_WRITE_ZEROES, BLOCK_REQ_MAY_UNMAP, offset, NULL, n))
			return false;
	}
	return true;
}

/* How far the bytes from `at` are all zero or all not, in steps of `step`. */
static uint64_t run_length(const uint8_t *bytes, uint64_t at, uint64_t length, uint64_t step, bool *zero)
{
	uint64_t end = at + MIN(step, length - at);
	*zero = image_is_zero(bytes + at, end - at);
	while (end < length && image_is_zero(bytes + end, MIN(step, length - end)) == *zero)
		end += MIN(step, length - end);
	return end - at;
}

static bool write_data(struct copy *copy, const struct chunk *chunk, uint8_t *bytes)
{
	uint64_t step = copy->compressed ? copy->cluster : copy->sparse;
	uint64_t at = 0;
	while (at < chunk->length) {
		bool zero = false;
		uint64_t n = step && copy->sparse ? run_length(bytes, at, chunk->length, step, &zero)
						  : chunk->length - at;
		/* One cluster each, so that several threads compress. */
		if (copy->compressed && !zero)
			n = MIN(n, copy->cluster);
		bool ok = zero ? write_zeroes(copy, chunk->offset + at, n)
			       : submit(copy, BLOCK_WRITE, copy->compressed ? BLOCK_REQ_COMPRESSED : 0,
					chunk->offset + at, bytes + at, n);
		if (!ok)
			return false;
		at += n;
	}
	return true;
}

static void await_turn(struct copy *copy, uint64_t offset)
{
	while (!copy->any_order && copy->next_write != offset && !copy->failure)
		fiber_queue_wait(&copy->turn);
}

static void pass_turn(struct copy *copy, const struct chunk *chunk)
{
	copy->next_write = chunk->offset + chunk->length;
	fiber_queue_wake_all(&copy->turn);
}

static void keep_rate(struct copy *copy)
{
	if (!copy->rate)
		return;
	int64_t due = copy->started_us + (int64_t)((double)copy->done * 1e6 / copy->rate);
	int64_t now;
	/* Nothing else waits in this process; in pieces, so that Ctrl-C need not wait. */
	while ((now = g_get_monotonic_time()) < due && !target_interrupted())
		g_usleep(MIN(due - now, 100 * 1000));
}

/* The chunk, by the kernel. False: to be copied here, or there was a failure. */
static bool offload(struct copy *copy, const struct chunk *chunk)
{
	if (!copy->offload || chunk->kind != KIND_DATA || !chunk->file)
		return false;
	int rc = block_copy_range(chunk->file, chunk->file_offset, copy->target, chunk->offset,
				  chunk->length, copy->pool);
	if (rc == -ENOTSUP)
		copy->offload = false;
	else if (rc < 0)
		fail(copy, "writing", chunk->offset, g_strerror(-rc));
	return rc == 0;
}

static bool do_chunk(struct copy *copy, const struct chunk *chunk, uint8_t *bytes)
{
	if (offload(copy, chunk)) {
		await_turn(copy, chunk->offset);
		pass_turn(copy, chunk);
		return true;
	}
	if (copy->failure)
		return false;
	bool ok = chunk->kind != KIND_DATA || read_chunk(copy, chunk, bytes);
	await_turn(copy, chunk->offset);
	if (ok && chunk->kind == KIND_DATA)
		ok = write_data(copy, chunk, bytes);
	else if (ok && chunk->kind == KIND_ZERO)
		ok = write_zeroes(copy, chunk->offset, chunk->length);
	pass_turn(copy, chunk);
	return ok;
}

static void worker(void *opaque)
{
	struct copy *copy = opaque;
	struct chunk chunk;
	void *bytes = NULL;
	if (posix_memalign(&bytes, 4096, COPY_CHUNK))
		fail(copy, "starting", 0, g_strerror(ENOMEM));
	while (bytes && take(copy, &chunk) && do_chunk(copy, &chunk, bytes)) {
		copy->done += chunk.length;
		progress_update(copy->progress, copy->total ? copy->done * 100.0 / copy->total : 100);
		keep_rate(copy);
	}
	free(bytes);
	copy->active--;
	if (copy->failure)
		fiber_queue_wake_all(&copy->turn);
}

bool copy_run(struct copy *copy, struct aio_loop *loop)
{
	copy->total = copy->cursor = copy->done = copy->next_write = 0;
	copy->started_us = g_get_monotonic_time();
	for (unsigned i = 0; i < copy->source_count; i++)
		copy->total += block_size(copy->sources[i]);
	if (copy->offload)
		copy->pool = aio_pool_new(copy->workers);
	copy->active = copy->workers;
	for (unsigned i = 0; i < copy->workers; i++)
		fiber_start(worker, copy);
	while (copy->active)
		aio_loop_iterate(loop, -1);
	if (copy->pool)
		g_clear_pointer(&copy->pool, aio_pool_free);
	if (!copy->failure)
		return true;
	img_fail("%s", copy->failure);
	g_clear_pointer(&copy->failure, g_free);
	return false;
}
