/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commit: the bytes of images [top .. base) of a chain go down into base, and the image above top
 * is put upon base. What is copied is not written by anybody, so one pass will do. (If nothing is
 * above top, guests write to it: then this is a mirror.)
 */
#include "block/job/commit.h"
#include "block/job/job_int.h"

#include "base/error.h"
#include "block/core/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES (UINT64_C(1) << 20)

struct commit {
	struct block_job job;
	struct block_node *top, *base, *overlay; /* borrowed: claimed */
	struct block_node *from;                 /* a root over top, of the job's own */
	char *backing_file;
	bool base_was_readonly;
};

static int copy_piece(struct commit *c, uint64_t offset, uint64_t length, bool zero, bool *write)
{
	*write = true;
	if (zero)
		return block_io(c->base, BLOCK_WRITE_ZEROES, BLOCK_REQ_MAY_UNMAP, offset, length, NULL,
				0);
	void *buffer;
	if (posix_memalign(&buffer, 4096, length))
		return -ENOMEM;
	int rc = block_pread(c->from, offset, buffer, length);
	*write = rc == 0;
	rc = rc < 0 ? rc : block_pwrite(c->base, offset, buffer, length);
	free(buffer);
	return rc;
}

/* One step from `offset` on: *length becomes how far it went. */
static int step(struct commit *c, uint64_t offset, uint64_t *length, bool *write, bool *copied)
{
	struct block_extent extent;
	*write = *copied = false;
	int rc = block_status_above(c->top, c->base, offset, *length, &extent, NULL);
	if (rc < 0)
		return rc;
	*copied = extent.flags & BLOCK_STATUS_ALLOCATED;
	bool zero = extent.flags & BLOCK_STATUS_ZERO;
	*length = *copied && !zero ? MIN(extent.length, PIECE_BYTES) : extent.length;
	return *copied ? copy_piece(c, offset, *length, zero, write) : 0;
}

static bool commit_run(struct block_job *job)
{
	struct commit *c = (struct commit *)job;
	uint64_t size = c->top->size;
	job->length = size;
	for (uint64_t at = 0; at < size;) {
		uint64_t length = MIN(size - at, UINT64_C(1) << 30);
		bool write, copied, skip = false;
		if (!block_job_check_point(job))
			return false;
		int rc = step(c, at, &length, &write, &copied);
		if (rc < 0 && !block_job_failed_io(job, write, rc, &skip))
			return false;
		if (rc < 0 && !skip)
			continue;
		at += length;
		job->offset = at;
		block_job_account(job, copied ? length : 0);
		if (!copied)
			fiber_pause(job->loop);
	}
	int rc = block_flush(c->base);
	return rc == 0 || error_set_errno(&job->error, -rc, "cannot flush '%s'", c->base->filename);
}

/* What an image above is to write down as its backing file: found from anywhere. */
char *block_job_backing_name(const struct block_node *base)
{
	bool plain = strcmp(block_below_filters((struct block_node *)base)->driver->name, "nbd") != 0 &&
		     !strstr(base->filename, ":");
	return plain ? g_canonicalize_filename(base->filename, NULL) : g_strdup(base->filename);
}

bool block_job_rewrite_backing(struct block_node *overlay, struct block_node *base,
			       const char *backing_file, GError **error)
{
	bool was_readonly = overlay->readonly;
	g_autofree char *name = backing_file ? g_strdup(backing_file)
				: base	     ? block_job_backing_name(base) : NULL;
	if (was_readonly && !block_set_readonly(overlay, false, error))
		return false;
	bool good = block_change_backing(overlay, name, base ? base->format_name : NULL, error) &&
		    block_flush_sync(overlay, error);
	if (was_readonly && !block_set_readonly(overlay, true, good ? error : NULL))
		return false;
	return good;
}

static bool commit_finish(struct block_job *job, bool success)
{
	struct commit *c = (struct commit *)job;
	struct block_graph *graph = job->jobs->graph;
	g_clear_pointer(&c->from, block_close);
	block_graph_hold(graph);
	bool good = success && block_job_rewrite_backing(c->overlay, c->base, c->backing_file,
							 &job->error);
	if (good)
		block_set_backing(c->overlay, c->base);
	if (c->base_was_readonly)
		block_set_readonly(c->base, true, NULL);
	block_graph_release(graph);
	return good;
}

static void commit_free(struct block_job *job)
{
	struct commit *c = (struct commit *)job;
	block_close(c->from);
	g_free(c->backing_file);
}

static const struct block_job_kind commit_kind = {
	.name = "commit",
	.size = sizeof(struct commit),
	.run = commit_run,
	.finish = commit_finish,
	.free = commit_free,
};

/* --- beginning ----------------------------------------------------------------------------------------*/

bool block_job_take_chain(struct block_job *job, struct block_node *top, struct block_node *base,
			  GError **error)
{
	bool was_readonly = base->readonly;
	for (struct block_node *n = top; n; n = block_below_filters(n->backing)) {
		if (!block_job_claim_node(job, n, error))
			return false;
		n = block_below_filters(n);
		if (n == base)
			break;
	}
	if (!block_set_readonly(base, false, error))
		return false;
	if (base->size >= top->size || block_resize(base, top->size, error))
		return true;
	if (was_readonly)
		block_set_readonly(base, true, NULL);
	return false;
}

static bool start_intermediate(struct block_jobs *jobs, const struct block_commit_options *o,
			       struct block_node *overlay, GError **error)
{
	struct commit *c = (struct commit *)block_job_new(jobs, &commit_kind, &o->job, error);
	if (!c)
		return false;
	c->top = o->top;
	c->base = o->base;
	c->overlay = overlay;
	c->backing_file = g_strdup(o->backing_file);
	c->base_was_readonly = o->base->readonly;
	if (!block_job_claim_node(&c->job, overlay, error) ||
	    !block_job_take_chain(&c->job, o->top, o->base, error)) {
		block_job_discard(&c->job);
		return false;
	}
	c->from = block_root_new(jobs->graph, block_ref(o->top));
	block_job_start(&c->job);
	return true;
}

bool block_commit_start(struct block_jobs *jobs, const struct block_commit_options *o, GError **error)
{
	if (o->top == o->base)
		return error_set(error, BERTH_ERR_INVALID,
				 "cannot commit an image into itself");
	if (!block_is_below(o->top, o->base))
		return error_set(error, BERTH_ERR_INVALID, "'%s' is not in this backing file chain",
				 o->base->filename);
	struct block_node *overlay = block_graph_overlay_of(jobs->graph, o->top);
	if (overlay)
		return start_intermediate(jobs, o, overlay, error);
	if (o->backing_file)
		return error_set(error, BERTH_ERR_INVALID,
				 "'backing-file' specified, but 'top' is the active layer");
	return block_commit_active_start(jobs, o, error);
}
