/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compressed clusters: raw deflate or zstd, on threads, so that several requests use several
 * processors. Compressors are large; finished ones are kept for the next cluster.
 */
#include "block/format/qcow2/qcow2.h"

#include "aio/pool.h"

#include <errno.h>
#include <libdeflate.h>
#include <unistd.h>
#include <zstd.h>

/* As zlib's default; the time goes into the search for matches. */
#define DEFLATE_LEVEL 6
#define KEEP_MAX      16

struct worker {
	struct libdeflate_compressor *deflate;
	struct libdeflate_decompressor *inflate;
	ZSTD_CCtx *zstd;
	ZSTD_DCtx *unzstd;
	struct worker *next;
};

struct qcow2_codec {
	struct aio_pool *pool;
	struct worker *idle;
	unsigned idle_count;
};

struct qcow2_codec *qcow2_codec_new(void)
{
	struct qcow2_codec *codec = g_new0(struct qcow2_codec, 1);
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	codec->pool = aio_pool_new(CLAMP(processors, 1, 16));
	return codec;
}

static void free_worker(struct worker *worker)
{
	libdeflate_free_compressor(worker->deflate);
	libdeflate_free_decompressor(worker->inflate);
	ZSTD_freeCCtx(worker->zstd);
	ZSTD_freeDCtx(worker->unzstd);
	g_free(worker);
}

void qcow2_codec_free(struct qcow2_codec *codec)
{
	if (!codec)
		return;
	aio_pool_free(codec->pool);
	while (codec->idle) {
		struct worker *worker = codec->idle;
		codec->idle = worker->next;
		free_worker(worker);
	}
	g_free(codec);
}

struct work {
	struct worker *worker;
	const uint8_t *in;
	uint8_t *out;
	uint64_t in_length, out_length;
	bool zstd, compress;
	int result;
};

static void compress_deflate(struct work *work)
{
	struct worker *w = work->worker;
	if (!w->deflate)
		w->deflate = libdeflate_alloc_compressor(DEFLATE_LEVEL);
	work->out_length = w->deflate ? libdeflate_deflate_compress(w->deflate, work->in,
								    work->in_length, work->out,
								    work->out_length)
				      : 0;
	work->result = w->deflate ? 0 : -ENOMEM;
}

static void decompress_deflate(struct work *work)
{
	struct worker *w = work->worker;
	if (!w->inflate)
		w->inflate = libdeflate_alloc_decompressor();
	if (!w->inflate)
		work->result = -ENOMEM;
	else if (libdeflate_deflate_decompress(w->inflate, work->in, work->in_length, work->out,
					       work->out_length, NULL) != LIBDEFLATE_SUCCESS)
		work->result = -EIO;
}

static void compress_zstd(struct work *work)
{
	struct worker *w = work->worker;
	if (!w->zstd)
		w->zstd = ZSTD_createCCtx();
	size_t n = w->zstd ? ZSTD_compress2(w->zstd, work->out, work->out_length, work->in,
					    work->in_length)
			   : 0;
	work->out_length = ZSTD_isError(n) ? 0 : n;
	work->result = w->zstd ? 0 : -ENOMEM;
}

/* The compressed length is known in sectors only, so the frame's end must be found on the way. */
static void decompress_zstd(struct work *work)
{
	struct worker *w = work->worker;
	if (!w->unzstd)
		w->unzstd = ZSTD_createDCtx();
	if (!w->unzstd) {
		work->result = -ENOMEM;
		return;
	}
	ZSTD_DCtx_reset(w->unzstd, ZSTD_reset_session_only);
	ZSTD_inBuffer in = {work->in, work->in_length, 0};
	ZSTD_outBuffer out = {work->out, work->out_length, 0};
	while (out.pos < out.size) {
		size_t before = in.pos + out.pos;
		size_t n = ZSTD_decompressStream(w->unzstd, &out, &in);
		if (ZSTD_isError(n) || in.pos + out.pos == before) {
			work->result = -EIO;
			return;
		}
	}
}

static void do_work(void *opaque)
{
	struct work *work = opaque;
	if (work->compress)
		(work->zstd ? compress_zstd : compress_deflate)(work);
	else
		(work->zstd ? decompress_zstd : decompress_deflate)(work);
}

static int run_work(struct qcow2_node *q, struct work *work)
{
	struct qcow2_codec *codec = q->codec;
	struct worker *worker = codec->idle;
	if (worker) {
		codec->idle = worker->next;
		codec->idle_count--;
	} else {
		worker = g_new0(struct worker, 1);
	}
	work->worker = worker;
	work->zstd = q->header.compression == 1;
	fiber_on_pool(codec->pool, q->node.loop, do_work, work);
	if (codec->idle_count == KEEP_MAX) {
		free_worker(worker);
	} else {
		worker->next = codec->idle;
		codec->idle = worker;
		codec->idle_count++;
	}
	return work->result;
}

int qcow2_compress(struct qcow2_node *q, const uint8_t *cluster, uint8_t *out, uint64_t *length)
{
	struct work work = {.compress = true, .in = cluster, .in_length = q->cluster_size,
			    .out = out, .out_length = q->cluster_size - 1};
	int rc = run_work(q, &work);
	*length = work.out_length;
	return rc;
}

int qcow2_decompress(struct qcow2_node *q, const uint8_t *in, uint64_t in_length, uint8_t *cluster)
{
	struct work work = {.in = in, .in_length = in_length, .out = cluster,
			    .out_length = q->cluster_size};
	return run_work(q, &work);
}
