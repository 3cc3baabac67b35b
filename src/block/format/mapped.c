/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading and writing through a table of units: see mapped.h. */
#include "block/format/mapped.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A part of a request's memory; `iov` has room for all of the request's entries. */
struct part {
	struct iovec *iov;
	unsigned count;
};

static struct part part_of(const struct block_request *request, uint64_t skip, uint64_t length,
			   struct iovec *room)
{
	return (struct part){room,
			     block_iov_slice(request->iov, request->iov_count, skip, length, room)};
}

void mapped_init(struct mapped *image, const struct mapped_ops *ops, uint64_t size, uint64_t unit)
{
	image->ops = ops;
	image->unit = unit;
	image->node.size = size;
	image->node.limits = (struct block_limits){
		.request_alignment = 1, .logical_block = 512, .physical_block = 512,
		.max_transfer = UINT64_C(1) << 30, .discard_alignment = unit,
		.can_write_zeroes = true,
	};
}

/* From `offset` to the end of its unit, at most `length`. */
static uint64_t in_unit(const struct mapped *image, uint64_t offset, uint64_t length)
{
	return MIN(length, image->unit - offset % image->unit);
}

static int map_locked(struct mapped *image, uint64_t offset, uint64_t length, struct run *run)
{
	*run = (struct run){0};
	int rc = image->ops->map(image, offset, length, run);
	if (rc == 0 && run->length == 0)
		return -EIO;
	run->length = MIN(run->length, length);
	return rc;
}

/* --- reading -------------------------------------------------------------------------------------- */

static int read_backing(struct mapped *image, uint64_t offset, uint64_t length, struct part part)
{
	struct block_node *backing = image->node.backing;
	uint64_t have = backing ? block_size(backing) : 0;
	uint64_t there = offset < have ? MIN(length, have - offset) : 0;
	block_iov_zero(part.iov, part.count, there, length - there);
	if (!there)
		return 0;
	g_autofree struct iovec *room = g_new(struct iovec, part.count);
	unsigned count = block_iov_slice(part.iov, part.count, 0, there, room);
	return block_io(backing, BLOCK_READ, 0, offset, there, room, count);
}

static int read_coded(struct mapped *image, uint64_t offset, uint64_t length, struct part part)
{
	g_autofree void *bytes = g_try_malloc(length);
	int rc = bytes ? image->ops->read_coded(image, offset, bytes, length) : -ENOMEM;
	if (rc == 0)
		block_iov_copy(part.iov, part.count, 0, bytes, length, false);
	return rc;
}

static int read_run(struct mapped *image, const struct run *run, uint64_t offset, uint64_t length,
		    struct part part)
{
	switch (run->kind) {
	case RUN_DATA:
		return block_io(run->file, BLOCK_READ, 0, run->host, length, part.iov, part.count);
	case RUN_ZERO:
		block_iov_zero(part.iov, part.count, 0, length);
		return 0;
	case RUN_ABSENT:
		return read_backing(image, offset, length, part);
	case RUN_CODED:
		return read_coded(image, offset, length, part);
	}
	return -EIO;
}

static int read_some(struct mapped *image, uint64_t offset, uint64_t *length, struct part whole)
{
	struct run run;
	fiber_lock(&image->lock);
	int rc = map_locked(image, offset, *length, &run);
	fiber_unlock(&image->lock);
	if (rc < 0)
		return rc;
	*length = run.kind == RUN_CODED ? in_unit(image, offset, run.length) : run.length;
	g_autofree struct iovec *room = g_new(struct iovec, whole.count);
	struct part part = {room, block_iov_slice(whole.iov, whole.count, 0, *length, room)};
	return read_run(image, &run, offset, *length, part);
}

static int read_all(struct mapped *image, const struct block_request *request)
{
	g_autofree struct iovec *room = g_new(struct iovec, request->iov_count);
	uint64_t done = 0;
	int rc = 0;
	while (rc == 0 && done < request->length) {
		uint64_t n = request->length - done;
		rc = read_some(image, request->offset + done, &n, part_of(request, done, n, room));
		done += n;
	}
	return rc;
}

/* --- writing, under the lock where the table is concerned ------------------------------------------*/

/* A unit as it reads now, whatever run it is. */
static int read_unit_locked(struct mapped *image, uint64_t start, void *bytes, uint64_t length)
{
	uint64_t done = 0;
	int rc = 0;
	while (rc == 0 && done < length) {
		struct run run;
		rc = map_locked(image, start + done, length - done, &run);
		if (rc < 0)
			return rc;
		struct iovec iov = {(uint8_t *)bytes + done, run.length};
		rc = read_run(image, &run, start + done, run.length, (struct part){&iov, 1});
		done += run.length;
	}
	return rc;
}

/* The unit at `start` with the request's bytes put in at `offset`. Free with free(). */
static int merge_unit(struct mapped *image, uint64_t start, uint64_t offset, uint64_t length,
		      struct part part, uint8_t **merged, uint64_t *merged_length)
{
	uint64_t n = MIN(image->unit, image->node.size - start);
	uint8_t *unit = malloc(n);
	if (!unit)
		return -ENOMEM;
	int rc = n == length ? 0 : read_unit_locked(image, start, unit, n);
	if (rc < 0) {
		free(unit);
		return rc;
	}
	if (part.iov)
		block_iov_copy(part.iov, part.count, 0, unit + (offset - start), length, true);
	else
		memset(unit + (offset - start), 0, length);
	*merged = unit;
	*merged_length = n;
	return 0;
}

/* Give the unit at `start` a place and write there. */
static int write_new_unit(struct mapped *image, uint64_t offset, uint64_t length, struct part part,
			  bool was_absent)
{
	uint64_t start = offset - offset % image->unit, merged_length = 0;
	struct run place = {.file = image->node.file};
	uint8_t *merged = NULL;
	int rc = image->ops->place(image, start, &place);
	if (rc < 0)
		return rc;
	if (was_absent && image->node.backing) {
		rc = merge_unit(image, start, offset, length, part, &merged, &merged_length);
		if (rc == 0)
			rc = block_pwrite(place.file, place.host, merged, merged_length);
		free(merged);
	} else {
		rc = block_io(place.file, BLOCK_WRITE, 0, place.host + (offset - start), length,
			      part.iov, part.count);
	}
	return rc < 0 ? rc : image->ops->enter(image, start, &place);
}

static int write_coded_locked(struct mapped *image, uint64_t offset, uint64_t length,
			      struct part part)
{
	uint64_t start = offset - offset % image->unit, merged_length;
	uint8_t *merged;
	int rc = merge_unit(image, start, offset, length, part, &merged, &merged_length);
	if (rc < 0)
		return rc;
	rc = image->ops->write_coded(image, start, merged, merged_length);
	free(merged);
	return rc;
}

static int begin_changes_locked(struct mapped *image)
{
	if (image->changed || !image->ops->begin_changes)
		return 0;
	int rc = image->ops->begin_changes(image);
	image->changed = rc == 0;
	return rc;
}

/* Writes a first part of the range; *length is how much it was. */
static int write_some(struct mapped *image, uint64_t offset, uint64_t *length,
		      const struct block_request *request, struct iovec *room, bool coded)
{
	FIBER_LOCK_SCOPE(&image->lock);
	struct run run;
	uint64_t skip = offset - request->offset;
	int rc = begin_changes_locked(image);
	if (rc == 0)
		rc = map_locked(image, offset, *length, &run);
	if (rc < 0)
		return rc;
	*length = run.kind == RUN_DATA && !coded ? run.length : in_unit(image, offset, *length);
	struct part part = part_of(request, skip, *length, room);
	if (coded)
		return write_coded_locked(image, offset, *length, part);
	if (run.kind == RUN_DATA)
		return block_io(run.file, BLOCK_WRITE, 0, run.host, *length, part.iov, part.count);
	if (run.kind == RUN_CODED)
		return -ENOTSUP;
	return write_new_unit(image, offset, *length, part, run.kind == RUN_ABSENT);
}

static int write_all(struct mapped *image, const struct block_request *request)
{
	bool coded = image->only_coded || request->flags & BLOCK_REQ_COMPRESSED;
	g_autofree struct iovec *room = g_new(struct iovec, request->iov_count);
	uint64_t done = 0;
	int rc = !image->ops->place ? -EROFS : coded && !image->ops->write_coded ? -ENOTSUP : 0;
	while (rc == 0 && done < request->length) {
		uint64_t n = request->length - done;
		rc = write_some(image, request->offset + done, &n, request, room, coded);
		done += n;
	}
	return rc;
}

/* One unit's part. Nothing is stored where zeroes are read already. */
static int zero_some(struct mapped *image, uint64_t offset, uint64_t length)
{
	FIBER_LOCK_SCOPE(&image->lock);
	struct run run;
	int rc = begin_changes_locked(image);
	if (rc == 0)
		rc = map_locked(image, offset, length, &run);
	if (rc < 0)
		return rc;
	bool whole = offset % image->unit == 0 &&
		     (length == image->unit || offset + length == image->node.size);
	if (run.kind == RUN_ZERO || (run.kind == RUN_ABSENT && !image->node.backing))
		return 0;
	if (whole && image->ops->zero_unit)
		return image->ops->zero_unit(image, offset);
	if (run.kind == RUN_DATA)
		return block_io(run.file, BLOCK_WRITE_ZEROES, 0, run.host, MIN(run.length, length), NULL,
				0);
	if (image->only_coded)
		return write_coded_locked(image, offset, length, (struct part){0});
	if (run.kind == RUN_CODED)
		return -ENOTSUP;
	g_autofree void *zeroes = g_try_malloc0(length);
	struct iovec iov = {zeroes, length};
	return zeroes ? write_new_unit(image, offset, length, (struct part){&iov, 1}, true) : -ENOMEM;
}

static int zero_all(struct mapped *image, uint64_t offset, uint64_t length)
{
	int rc = image->ops->place ? 0 : -EROFS;
	while (rc == 0 && length) {
		uint64_t n = in_unit(image, offset, length);
		rc = zero_some(image, offset, n);
		offset += n;
		length -= n;
	}
	return rc;
}

static int flush_all(struct mapped *image)
{
	int rc = block_flush(image->node.file);
	for (unsigned i = 0; rc == 0 && image->node.extra && i < image->node.extra->len; i++)
		rc = block_flush(image->node.extra->pdata[i]);
	return rc;
}

int mapped_perform(struct block_node *node, struct block_request *request)
{
	struct mapped *image = (struct mapped *)node;
	int rc = 0;
	switch (request->op) {
	case BLOCK_READ:
		return read_all(image, request);
	case BLOCK_WRITE:
		rc = write_all(image, request);
		break;
	case BLOCK_WRITE_ZEROES:
		rc = zero_all(image, request->offset, request->length);
		break;
	case BLOCK_DISCARD:
		return 0; /* a hint that these formats have no use for */
	case BLOCK_FLUSH:
		return flush_all(image);
	}
	return rc == 0 && request->flags & BLOCK_REQ_FUA ? flush_all(image) : rc;
}

/* --- status ----------------------------------------------------------------------------------------*/

/* Does `next`, `length` bytes behind `run`'s start, go on where it ends? */
static bool continues(const struct run *run, const struct run *next, uint64_t length)
{
	return next->kind == run->kind &&
	       (run->kind != RUN_DATA || (next->file == run->file && next->host == run->host + length));
}

bool mapped_plain_info(struct block_node *node, json_t *info, GError **error)
{
	json_object_del(info, "dirty-flag");
	return true;
}

int mapped_status(struct block_node *node, uint64_t offset, uint64_t length,
		  struct block_extent *extent)
{
	static const unsigned flags[] = {
		[RUN_DATA] = BLOCK_STATUS_DATA | BLOCK_STATUS_OFFSET | BLOCK_STATUS_ALLOCATED,
		[RUN_ZERO] = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED,
		[RUN_ABSENT] = 0,
		[RUN_CODED] = BLOCK_STATUS_DATA | BLOCK_STATUS_COMPRESSED | BLOCK_STATUS_ALLOCATED,
	};
	struct mapped *image = (struct mapped *)node;
	FIBER_LOCK_SCOPE(&image->lock);
	struct run run, next;
	int rc = map_locked(image, offset, length, &run);
	if (rc < 0)
		return rc;
	while (run.length < length &&
	       map_locked(image, offset + run.length, length - run.length, &next) == 0 &&
	       continues(&run, &next, run.length))
		run.length += next.length;
	*extent = (struct block_extent){flags[run.kind], run.length, run.host,
					run.kind == RUN_DATA ? run.file : NULL};
	if (run.flat)
		extent->flags |= BLOCK_STATUS_RECURSE;
	return 0;
}
