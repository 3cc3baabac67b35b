/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mirror: make a second image the same as one that is being written, then (if told) put it in its
 * place. And commit of the image that is in use, which is a mirror into an image below it.
 *
 * A dirty bitmap on the source says what is left to copy. Each piece: clear its bits, read, write;
 * a guest's write sets them again when it completes, so nothing is missed. Several pieces are under
 * way at once, none twice. When all was copied once and little is left the job is ready, and stays
 * so: what guests write then is copied soon after. (A guest that never rests leaves always something;
 * to wait for nothing would be to wait for ever.) The end holds the graph, copies the rest, and
 * switches.
 *
 * With write_blocking, a filter over the source (filter/write_both.h) writes to both at once, so that
 * what is left can only become less. Its writes and the pieces wait for each other where they overlap.
 * For that pieces go by no root: a guest's write that waits for a piece would keep a held graph waiting.
 */
#include "block/job/commit.h"
#include "block/job/job_int.h"

#include "base/bytes.h"
#include "base/error.h"
#include "block/core/dirty.h"
#include "block/core/image.h"
#include "block/filter/write_both.h"

#include <errno.h>
#include <stdlib.h>

#define PIECES_MAX   16
#define PIECE_BYTES  (1 << 20)
#define STATUS_STEP  (UINT64_C(1) << 30)
#define READY_IDLE_NS (INT64_C(50) * 1000 * 1000)
/* With no more than this left, guests may as well wait for the end. */
#define SWITCH_BYTES (UINT64_C(32) << 20)

struct mirror {
	struct block_job job;
	struct block_node *source, *target; /* roots of the job's own */
	struct block_node *from, *to; /* what pieces go by: the roots or, if there is a filter, the nodes */
	struct block_node *filter; /* or NULL */
	struct block_claims claims; /* of pieces and of the filter's writes */
	struct block_node *source_node, *target_node, *replaced, *base; /* borrowed: claimed */
	struct block_dirty *dirty;
	enum block_sync sync;
	bool commit, target_is_zero, unmap, base_was_readonly;
	unsigned pieces;
	struct fiber_queue piece_done;
	struct piece *first_piece;
	unsigned passes; /* how often the end of the image was reached */
	bool failed;
};

struct piece {
	struct mirror *mirror;
	uint64_t offset, length;
	struct piece *next;
};

/* --- pieces -------------------------------------------------------------------------------------------*/

static bool in_flight(const struct mirror *m, uint64_t start, uint64_t end)
{
	for (const struct piece *p = m->first_piece; p; p = p->next)
		if (p->offset < end && start < p->offset + p->length)
			return true;
	return false;
}

/* *write tells which side failed. */
static int copy_bytes(struct mirror *m, uint64_t offset, uint64_t length, bool *write)
{
	void *buffer;
	*write = false;
	if (posix_memalign(&buffer, 4096, length))
		return -ENOMEM;
	int rc = block_pread(m->from, offset, buffer, length);
	*write = rc == 0;
	rc = rc < 0 ? rc : block_pwrite(m->to, offset, buffer, length);
	free(buffer);
	return rc;
}

static int copy_piece(struct mirror *m, uint64_t offset, uint64_t length, bool *write)
{
	int rc = 0;
	for (uint64_t done = 0; done < length && rc == 0;) {
		struct block_extent extent;
		*write = false;
		rc = block_status_above(m->from, NULL, offset + done, length - done, &extent, NULL);
		if (rc < 0)
			break;
		if (extent.flags & BLOCK_STATUS_ZERO) {
			*write = true;
			rc = block_io(m->to, BLOCK_WRITE_ZEROES, m->unmap ? BLOCK_REQ_MAY_UNMAP : 0,
				      offset + done, extent.length, NULL, 0);
		} else {
			rc = copy_bytes(m, offset + done, extent.length, write);
		}
		done += extent.length;
	}
	return rc;
}

static void remove_piece(struct mirror *m, struct piece *piece)
{
	struct piece **place = &m->first_piece;
	while (*place != piece)
		place = &(*place)->next;
	*place = piece->next;
	m->pieces--;
}

static void piece_run(void *opaque)
{
	struct piece *piece = opaque;
	struct mirror *m = piece->mirror;
	bool write;
	struct block_claim claim;
	block_claim_begin(&m->claims, &claim, piece->offset, piece->length, true);
	int rc = copy_piece(m, piece->offset, piece->length, &write);
	block_claim_end(&m->claims, &claim);
	if (rc < 0) {
		block_dirty_set(m->dirty, piece->offset, piece->length);
		if (!m->failed && !block_job_failed_io(&m->job, write, rc, NULL))
			m->failed = true;
	} else {
		m->job.offset += piece->length;
	}
	remove_piece(m, piece);
	g_free(piece);
	fiber_queue_wake_all(&m->piece_done);
}

/*
 * Begin with the next dirty piece behind `*at`, round the end once. Its length: it may have ended by now; 0:
 * there is nothing to begin with.
 */
static uint64_t start_piece(struct mirror *m, uint64_t *at)
{
	uint64_t start, length, size = m->source->size;
	for (unsigned round = 0; round < 2; round++, *at = 0, m->passes++) {
		while (block_dirty_next(m->dirty, *at, &start, &length)) {
			length = MIN(block_dirty_run(m->dirty, start, size - start),
				     MAX(PIECE_BYTES, UINT64_C(1) << m->dirty->shift));
			*at = start + length;
			if (in_flight(m, start, start + length))
				continue;
			struct piece *piece = g_new0(struct piece, 1);
			*piece = (struct piece){m, start, length, m->first_piece};
			m->first_piece = piece;
			m->pieces++;
			block_dirty_clear(m->dirty, start, length);
			fiber_start(piece_run, piece);
			return length;
		}
	}
	return 0;
}

static void wait_for_pieces(struct mirror *m, unsigned at_most)
{
	while (m->pieces > at_most)
		fiber_queue_wait(&m->piece_done);
}

static uint64_t bytes_left(const struct mirror *m)
{
	return m->dirty->count << m->dirty->shift;
}

/* --- the job ------------------------------------------------------------------------------------------*/

/* Mark what the target must get from the source at first. */
static bool scan(struct mirror *m)
{
	uint64_t size = m->source->size;
	for (uint64_t at = 0; at < size;) {
		struct block_extent extent;
		int rc = block_status_above(m->source, m->base, at, MIN(size - at, STATUS_STEP), &extent,
					    NULL);
		if (rc < 0) {
			if (!block_job_failed_io(&m->job, false, rc, NULL))
				return false;
			continue;
		}
		bool wanted = m->base ? extent.flags & BLOCK_STATUS_ALLOCATED
				      : !(extent.flags & BLOCK_STATUS_ZERO) || !m->target_is_zero;
		if (wanted)
			block_dirty_set(m->dirty, at, extent.length);
		at += extent.length;
		fiber_pause(m->job.loop);
		if (!block_job_check_point(&m->job))
			return false;
	}
	return true;
}

static void update_length(struct mirror *m)
{
	uint64_t under_way = 0;
	for (const struct piece *p = m->first_piece; p; p = p->next)
		under_way += p->length;
	m->job.length = m->job.offset + under_way + bytes_left(m);
}

static bool copy_round(struct mirror *m, uint64_t *at)
{
	bool any = false;
	while (m->pieces < PIECES_MAX && !m->failed && m->dirty->count) {
		uint64_t begun = start_piece(m, at);
		if (!begun)
			break;
		any = true;
		update_length(m);
		block_job_account(&m->job, begun);
		if (m->job.user_paused || m->job.cancelled)
			break;
	}
	return any;
}

static bool may_end(const struct mirror *m)
{
	return m->job.complete_asked || m->job.stop_asked;
}

/* The moment has come to say so, or to end: a target that loses what it was sent is no mirror. */
static bool become_ready(struct mirror *m)
{
	int rc = block_flush(m->target);
	if (rc < 0)
		return block_job_failed_io(&m->job, true, rc, NULL);
	block_job_set_ready(&m->job);
	return true;
}

static bool mirror_loop(struct mirror *m)
{
	uint64_t at = 0;
	while (!m->failed) {
		if (!block_job_check_point(&m->job))
			return false;
		bool began = copy_round(m, &at);
		update_length(m);
		bool close = (m->passes || !m->dirty->count) &&
			     m->job.length - m->job.offset <= SWITCH_BYTES;
		if (close && !m->job.ready && !become_ready(m))
			return false;
		if (close && m->job.ready && may_end(m))
			return true;
		if (m->pieces)
			wait_for_pieces(m, m->pieces - 1);
		else if (!began && !m->dirty->count && !may_end(m))
			block_job_idle(&m->job, READY_IDLE_NS);
	}
	return false;
}

static bool mirror_run(struct block_job *job)
{
	struct mirror *m = (struct mirror *)job;
	bool good = (m->sync == SYNC_NONE || scan(m)) && mirror_loop(m);
	wait_for_pieces(m, 0);
	return good && !m->failed;
}

/* --- the end ------------------------------------------------------------------------------------------*/

/* What guests wrote last; nobody writes now. Roots are held, so this goes below them. */
static bool copy_rest(struct mirror *m)
{
	uint64_t start, length;
	m->from = m->source_node;
	m->to = m->target_node;
	bool good = true;
	while (good && block_dirty_next(m->dirty, 0, &start, &length)) {
		bool write;
		int rc = copy_piece(m, start, length, &write);
		if (rc < 0) {
			good = error_set_errno(&m->job.error, -rc, "the last bytes could not be copied");
			break;
		}
		block_dirty_clear(m->dirty, start, length);
		m->job.offset += length;
		update_length(m);
	}
	int rc = good ? block_flush(m->to) : 0;
	if (rc < 0)
		good = error_set_errno(&m->job.error, -rc, "the target could not be flushed");
	return good;
}

/* The target takes the source's place. */
static bool switch_over(struct mirror *m)
{
	struct block_graph *graph = m->job.jobs->graph;
	struct block_node *source = block_below_filters(m->source_node);
	if (!m->commit && m->base && !m->target_node->backing)
		block_set_backing(m->target_node, source->backing);
	m->target_node->detect_zeroes |= source->detect_zeroes;
	block_graph_replace(graph, m->replaced, m->target_node, m->source);
	return true;
}

static bool mirror_finish(struct block_job *job, bool success)
{
	struct mirror *m = (struct mirror *)job;
	struct block_graph *graph = job->jobs->graph;
	block_graph_hold(graph);
	if (m->filter)
		block_graph_replace(graph, m->filter, m->source_node, m->filter);
	g_clear_pointer(&m->filter, block_close);
	bool good = success && copy_rest(m);
	/* The roots of the job are in nobody's way. */
	block_dirty_free(m->dirty);
	m->dirty = NULL;
	bool switched = good && job->complete_asked && switch_over(m);
	if (m->commit && !switched && m->base_was_readonly)
		block_set_readonly(m->target_node, true, NULL);
	block_graph_release(graph);
	g_clear_pointer(&m->source, block_close);
	g_clear_pointer(&m->target, block_close);
	return good;
}

static void mirror_free(struct block_job *job)
{
	struct mirror *m = (struct mirror *)job;
	block_close(m->filter);
	block_dirty_free(m->dirty);
	block_close(m->source);
	block_close(m->target);
}

static const struct block_job_kind mirror_kind = {
	.name = "mirror",
	.size = sizeof(struct mirror),
	.can_complete = true,
	.run = mirror_run,
	.finish = mirror_finish,
	.free = mirror_free,
};
static const struct block_job_kind active_commit_kind = {
	.name = "commit",
	.size = sizeof(struct mirror),
	.can_complete = true,
	.run = mirror_run,
	.finish = mirror_finish,
	.free = mirror_free,
};

/* --- beginning ----------------------------------------------------------------------------------------*/

static unsigned granularity_shift(uint32_t granularity)
{
	return granularity ? __builtin_ctz(granularity) : BLOCK_DIRTY_SHIFT_DEFAULT;
}

/* From here on guests write to both. The job's own root stays below the filter. */
static void add_filter(struct mirror *m)
{
	struct block_graph *graph = m->job.jobs->graph;
	block_graph_hold(graph);
	m->dirty->enabled = false; /* the filter knows better */
	m->filter = block_write_both_new(graph, block_ref(m->source_node), m->target_node, m->dirty,
					 &m->claims);
	block_graph_replace(graph, m->source_node, m->filter, m->filter);
	block_graph_release(graph);
}

static void begin(struct mirror *m, unsigned shift, bool write_blocking)
{
	struct block_graph *graph = m->job.jobs->graph;
	m->dirty = block_dirty_new(m->source_node, NULL, shift);
	if (write_blocking)
		add_filter(m);
	m->source = block_root_new(graph, block_ref(m->source_node));
	m->target = block_root_new(graph, block_ref(m->target_node));
	m->from = write_blocking ? m->source_node : m->source;
	m->to = write_blocking ? m->target_node : m->target;
	block_job_start(&m->job);
}

static bool find_replaced(struct mirror *m, const char *name, GError **error)
{
	m->replaced = m->source_node;
	if (!name)
		return true;
	m->replaced = block_graph_find(m->job.jobs->graph, name);
	return m->replaced || error_set(error, BERTH_ERR_NOT_FOUND, "Failed to find node with "
					"node-name='%s'", name);
}

static bool check_mirror(const struct block_mirror_options *o, GError **error)
{
	if (block_is_below(o->source, o->target) || block_is_below(o->target, o->source))
		return error_set(error, BERTH_ERR_INVALID, "Can't mirror node into itself");
	if (!block_job_check_target(o->source, o->target, error))
		return false;
	if (o->sync > SYNC_NONE)
		return error_set(error, BERTH_ERR_INVALID, "Sync mode '%s' not supported",
				 block_sync_names[o->sync]);
	if (o->granularity && (o->granularity < 512 || o->granularity > 64 << 20 ||
			       o->granularity & (o->granularity - 1)))
		return error_set(error, BERTH_ERR_INVALID,
				 "granularity is a power of two from 512 bytes to 64 MiB");
	return true;
}

bool block_mirror_start(struct block_jobs *jobs, const struct block_mirror_options *o,
			GError **error)
{
	if (!check_mirror(o, error))
		return false;
	struct mirror *m = (struct mirror *)block_job_new(jobs, &mirror_kind, &o->job, error);
	if (!m)
		return false;
	struct block_node *backing = block_below_filters(o->source)->backing;
	m->source_node = o->source;
	m->target_node = o->target;
	m->sync = o->sync == SYNC_TOP && !backing ? SYNC_FULL : o->sync;
	m->base = m->sync == SYNC_FULL ? NULL : block_below_filters(backing);
	m->target_is_zero = o->target_is_zero;
	m->unmap = o->unmap;
	if (!find_replaced(m, o->replaces, error) ||
	    !block_job_claim_node(&m->job, m->source_node, error) ||
	    !block_job_claim_node(&m->job, m->target_node, error)) {
		block_job_discard(&m->job);
		return false;
	}
	begin(m, granularity_shift(o->granularity), o->write_blocking);
	return true;
}

/* The bytes of the image in use go into `base`, which then takes its place. */
bool block_commit_active_start(struct block_jobs *jobs, const struct block_commit_options *o,
			       GError **error)
{
	struct mirror *m = (struct mirror *)block_job_new(jobs, &active_commit_kind, &o->job, error);
	if (!m)
		return false;
	m->source_node = o->top;
	m->target_node = m->base = o->base;
	m->replaced = o->top;
	m->sync = SYNC_TOP;
	m->commit = m->unmap = true;
	m->base_was_readonly = o->base->readonly;
	if (!block_job_take_chain(&m->job, o->top, o->base, error)) {
		block_job_discard(&m->job);
		return false;
	}
	begin(m, BLOCK_DIRTY_SHIFT_DEFAULT, false);
	return true;
}
