/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth-img bench: how long a number of equal requests takes. */
#include "image.h"

#include "aio/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bench;

struct slot {
	struct block_request request;
	struct iovec iov;
	struct bench *bench;
	bool busy;
};

struct bench {
	struct image_env env;
	struct block_node *node;
	uint64_t count, depth, size, step, offset, pattern, flush_interval;
	bool write, no_drain;
	struct slot *slots;
	uint64_t sent, finished, since_flush;
	unsigned active;
	bool flushing; /* with draining: nothing else is sent meanwhile */
	int failure;
};

static void slot_done(struct block_request *request, int result)
{
	struct slot *slot = (struct slot *)request;
	struct bench *b = slot->bench;
	slot->busy = false;
	b->active--;
	if (result < 0 && !b->failure)
		b->failure = result;
	if (request->op == BLOCK_FLUSH)
		b->flushing = false;
	else
		b->finished++;
}

static void send(struct bench *b, struct slot *slot, enum block_op op)
{
	slot->request = (struct block_request){.op = op, .done = slot_done};
	if (op != BLOCK_FLUSH) {
		slot->request.offset = b->offset;
		slot->request.length = b->size;
		slot->request.iov = &slot->iov;
		slot->request.iov_count = 1;
		b->offset = (b->offset + b->step) % block_size(b->node);
		if (b->offset + b->size > block_size(b->node))
			b->offset = 0;
		b->sent++;
		b->since_flush++;
	}
	slot->busy = true;
	b->active++;
	block_submit(b->node, &slot->request);
}

static void fill(struct bench *b)
{
	block_plug(b->node);
	for (uint64_t i = 0; i <= b->depth && !b->failure; i++) {
		struct slot *slot = &b->slots[i];
		bool flush_due = b->flush_interval && b->since_flush >= b->flush_interval;
		bool drained = b->no_drain || b->active == 0;
		if (slot->busy || b->flushing)
			continue;
		if (flush_due && drained) {
			b->since_flush = 0;
			b->flushing = !b->no_drain;
			send(b, slot, BLOCK_FLUSH);
		} else if ((!flush_due || b->no_drain) && b->sent < b->count && b->active < b->depth) {
			send(b, slot, b->write ? BLOCK_WRITE : BLOCK_READ);
		}
	}
	block_unplug(b->node);
}

static int measure(struct bench *b)
{
	printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, %" PRIu64 " in parallel (starting at "
	       "offset %" PRIu64 ", step size %" PRIu64 ")\n", b->count, b->write ? "write" : "read",
	       b->size, b->depth, b->offset, b->step);
	if (b->flush_interval)
		printf("Sending flush every %s%" PRIu64 " requests\n", "", b->flush_interval);
	b->slots = g_new0(struct slot, b->depth + 1);
	/* One buffer for all, as in qemu-img: nobody looks at what is read, all writes are alike, and with
	 * buffers of their own it would be the memory's speed that differs. */
	uint8_t *bytes = NULL;
	if (posix_memalign((void **)&bytes, 4096, b->size))
		return img_fail("not enough memory for a buffer of %" PRIu64 " bytes", b->size);
	memset(bytes, b->pattern, b->size);
	for (uint64_t i = 0; i <= b->depth; i++) {
		b->slots[i].bench = b;
		b->slots[i].iov = (struct iovec){bytes, b->size};
	}
	int64_t started = g_get_monotonic_time();
	while ((b->finished < b->count && !b->failure) || b->active) {
		fill(b);
		if (b->active)
			aio_loop_iterate(b->env.loop, -1);
	}
	int64_t took = g_get_monotonic_time() - started;
	free(bytes);
	g_free(b->slots);
	if (b->failure)
		return img_fail("Failed request: %s", g_strerror(-b->failure));
	printf("Run completed in %3.3f seconds.\n", took / 1e6);
	return EXIT_SUCCESS;
}

static bool number(const char *text, const char *what, uint64_t max, uint64_t *value)
{
	char *end;
	if (!text)
		return true;
	if (!g_ascii_isdigit(*text))
		return !img_fail("Invalid %s specified", what);
	*value = g_ascii_strtoull(text, &end, 0);
	return (!*end && *value <= max) || !img_fail("Invalid %s specified", what);
}

static int run(int argc, char **argv)
{
	const char *format = NULL, *cache = NULL, *count = NULL, *depth = NULL, *size = NULL, *step = NULL;
	const char *offset = NULL, *pattern = NULL, *interval = NULL, *aio = NULL;
	struct bench b = {.count = 75000, .depth = 64, .size = 4096};
	bool native = false;
	auto_image_env env = {0};
	image_env_init(&env);
	const struct option_row rows[] = {
		{'f', NULL, OPTION_TEXT, &format, "FORMAT", "do not guess the image's format"},
		{'c', NULL, OPTION_TEXT, &count, "N", "requests (default: 75000)"},
		{'d', NULL, OPTION_TEXT, &depth, "N", "requests at once (default: 64)"},
		{'s', NULL, OPTION_TEXT, &size, "SIZE", "of each request (default: 4k)"},
		{'S', NULL, OPTION_TEXT, &step, "SIZE", "from one request to the next (default: -s)"},
		{'o', NULL, OPTION_TEXT, &offset, "OFFSET", "of the first request"},
		{'w', NULL, OPTION_FLAG, &b.write, NULL, "write instead of read: destroys the contents"},
		{0, "pattern", OPTION_TEXT, &pattern, "BYTE", "what to write"},
		{0, "flush-interval", OPTION_TEXT, &interval, "N", "flush after this many writes"},
		{0, "no-drain", OPTION_FLAG, &b.no_drain, NULL, "go on while a flush runs"},
		{'t', NULL, OPTION_TEXT, &cache, "CACHE", "cache mode"},
		{'i', NULL, OPTION_TEXT, &aio, "AIO", "io_uring (default), threads, or native, which is io_uring too"},
		{'n', NULL, OPTION_FLAG, &native, NULL, "as -i native"},
		IMAGE_QUIET_ROW(env), IMAGE_OBJECT_ROW(env), IMAGE_OPTS_ROW(env), IMAGE_SHARE_ROW(env),
		IMAGE_END_ROW,
	};
	int first = args_read(argc, argv, rows);
	if (first < 0)
		return img_args_status(argv[0], rows, first);
	if (!number(count, "request count", INT32_MAX, &b.count) ||
	    !number(depth, "queue depth", 65536, &b.depth) ||
	    !number(pattern, "pattern byte", 255, &b.pattern) ||
	    !number(interval, "flush interval", INT32_MAX, &b.flush_interval) ||
	    (offset && !img_size(offset, "offset", &b.offset)) ||
	    (size && !img_size_in(size, "buffer size", 1, INT32_MAX, &b.size)) ||
	    (step && !img_size_in(step, "step size", 0, INT32_MAX, &b.step)))
		return EXIT_FAILURE;
	b.step = b.step ? b.step : b.size;
	b.depth = MAX(b.depth, 1);
	if (first != argc - 1)
		return img_usage("Expecting one image file name");
	if (!b.write && b.flush_interval)
		return img_fail("--flush-interval is only available in write tests");
	if (b.flush_interval && b.flush_interval < b.depth && !b.no_drain)
		return img_fail("Flush interval can't be smaller than depth");
	native |= g_strcmp0(aio, "native") == 0;
	env.threads = g_strcmp0(aio, "threads") == 0;
	if (aio && !env.threads && !native && !g_str_equal(aio, "io_uring"))
		return img_fail("Invalid aio option: %s", aio);
	if (!image_cache_valid(cache))
		return img_fail("Invalid cache mode");
	/* As in qemu-img, so that what is measured is the disk and not the page cache. */
	if (native && g_strcmp0(cache, "none") != 0 && g_strcmp0(cache, "off") != 0 &&
	    g_strcmp0(cache, "directsync") != 0)
		return img_fail("Could not open '%s': aio=native was specified, but it requires "
				"cache.direct=on, which was not specified.", argv[first]);
	if (b.write && env.force_share)
		return img_fail("Could not open '%s': force-share=on can only be used with read-only images",
				argv[first]);
	if (!image_env_objects(&env))
		return EXIT_FAILURE;
	auto_node node = image_open(&env, argv[first], format, cache, b.write ? IMAGE_WRITE : 0);
	if (!node)
		return EXIT_FAILURE;
	if (b.offset + b.size > block_size(node))
		return img_fail("the image is too small for a request of %" PRIu64 " bytes at %" PRIu64, b.size,
				b.offset);
	b.env = env;
	b.node = node;
	return measure(&b);
}

const struct img_command bench_command = {
	"bench", "[-c count] [-d depth] [-f fmt] [--flush-interval=flush_interval] [-i aio] [-n] "
		 "[--no-drain] [-o offset] [--pattern=pattern] [-q] [-s buffer_size] [-S step_size] "
		 "[-t cache] [-w] [-U] filename",
	"Measure how long requests to an image take", run,
};
