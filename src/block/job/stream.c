/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stream: an image gets what it has only from the backing files above `base`, and is then put upon
 * base (or stands alone). A filter over it keeps guests' writes and these copies apart.
 */
#include "block/job/job_int.h"

#include "base/error.h"
#include "block/core/image.h"
#include "block/filter/copy_on_read.h"

#define PIECE_BYTES (UINT64_C(1) << 20)

struct stream {
	struct block_job job;
	struct block_node *node, *base; /* borrowed: claimed */
	struct block_node *filter;      /* over node; a reference of the job's own */
	char *backing_file;
	bool was_readonly;
};

static bool stream_run(struct block_job *job)
{
	struct stream *s = (struct stream *)job;
	uint64_t size = s->node->size;
	job->length = size;
	for (uint64_t at = 0; at < size;) {
		uint64_t length = MIN(size - at, PIECE_BYTES), copied = 0;
		bool skip = false;
		if (!block_job_check_point(job))
			return false;
		int rc = block_copy_up(s->filter, s->base, at, length, &copied);
		/* Source and target are one chain; what can run out of room is the image. */
		if (rc < 0 && !block_job_failed_io(job, false, rc, &skip))
			return false;
		if (rc < 0 && !skip)
			continue;
		at += length;
		job->offset = at;
		block_job_account(job, copied);
		if (!copied && at % (64 * PIECE_BYTES) == 0)
			fiber_pause(job->loop);
	}
	int rc = block_flush(s->node);
	return rc == 0 || error_set_errno(&job->error, -rc, "cannot flush '%s'", s->node->filename);
}

static bool stream_finish(struct block_job *job, bool success)
{
	struct stream *s = (struct stream *)job;
	struct block_graph *graph = job->jobs->graph;
	block_graph_hold(graph);
	bool good = success;
	if (good)
		good = block_job_rewrite_backing(s->node, s->base, s->base ? s->backing_file : NULL,
						 &job->error);
	if (good)
		block_set_backing(s->node, s->base);
	block_graph_replace(graph, s->filter, s->node, s->filter);
	if (s->was_readonly)
		block_set_readonly(s->node, true, NULL);
	block_graph_release(graph);
	g_clear_pointer(&s->filter, block_close);
	return good;
}

static void stream_free(struct block_job *job)
{
	struct stream *s = (struct stream *)job;
	block_close(s->filter);
	g_free(s->backing_file);
}

static const struct block_job_kind stream_kind = {
	.name = "stream",
	.size = sizeof(struct stream),
	.run = stream_run,
	.finish = stream_finish,
	.free = stream_free,
};

bool block_stream_start(struct block_jobs *jobs, const struct block_stream_options *o, GError **error)
{
	if (o->base && (o->base == o->node || !block_is_below(o->node, o->base)))
		return error_set(error, BERTH_ERR_INVALID,
				 "Can't find '%s' in the backing chain", o->base->filename);
	struct stream *s = (struct stream *)block_job_new(jobs, &stream_kind, &o->job, error);
	if (!s)
		return false;
	s->node = o->node;
	s->base = o->base;
	s->backing_file = g_strdup(o->backing_file);
	s->was_readonly = o->node->readonly;
	bool good = block_job_claim_node(&s->job, o->node, error);
	for (struct block_node *n = block_below_filters(o->node->backing); good && n && n != o->base;
	     n = block_below_filters(n->backing))
		good = block_job_claim_node(&s->job, n, error);
	if (!good || (s->was_readonly && !block_set_readonly(o->node, false, error))) {
		block_job_discard(&s->job);
		return false;
	}
	block_graph_hold(jobs->graph);
	s->filter = block_copy_up_new(jobs->graph, block_ref(o->node));
	block_graph_replace(jobs->graph, o->node, s->filter, NULL);
	block_graph_release(jobs->graph);
	block_job_start(&s->job);
	return true;
}
