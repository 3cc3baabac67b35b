/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives the block layer for tests in other languages: block-tool FORMAT FILE [KEY=VALUE...], then
 * one command per line on standard input, one answer line each. Bytes are made of a seed, so that a
 * script can say what was written without holding it.
 */
#include "base/units.h"
#include "block/core/image.h"
#include "block/core/options.h"
#include "aio/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Requests in flight at a time for the commands that go over a whole disk. */
#define DEPTH 8
#define CHUNK (1024 * 1024)

struct tool {
	struct aio_loop *loop;
	struct block_node *node;
	const char *format, *file;
};

static void die(const char *what, GError *error)
{
	printf("error %s: %s\n", what, error ? error->message : "failed");
	exit(1);
}

/* The byte at `offset` of what `seed` makes; tests/interop has the same in Python. */
static void fill(uint8_t *bytes, uint64_t length, uint64_t seed)
{
	uint32_t state = (uint32_t)(seed * 2654435761u + 12345);
	for (uint64_t i = 0; i < length; i++) {
		if (i % 16 == 0)
			state = state * 1664525u + 1013904223u;
		bytes[i] = state >> 24;
	}
}

struct one {
	struct block_request request;
	struct iovec iov;
	int result;
	bool done;
};

static void one_done(struct block_request *request, int result)
{
	struct one *one = (struct one *)request;
	one->result = result;
	one->done = true;
}

static void submit(struct tool *t, struct one *one, enum block_op op, unsigned flags,
		   uint64_t offset, uint8_t *bytes, uint64_t length)
{
	*one = (struct one){.iov = {bytes, length}};
	one->request = (struct block_request){.op = op, .flags = flags, .offset = offset,
					      .length = length, .iov = &one->iov,
					      .iov_count = bytes ? 1 : 0, .done = one_done};
	block_submit(t->node, &one->request);
}

static int finish(struct tool *t, struct one *one)
{
	while (!one->done)
		aio_loop_iterate(t->loop, -1);
	return one->result;
}

static int io(struct tool *t, enum block_op op, unsigned flags, uint64_t offset, uint8_t *bytes,
	      uint64_t length)
{
	struct one one;
	submit(t, &one, op, flags, offset, bytes, length);
	return finish(t, &one);
}

/* Copy the whole disk to or from a raw file. */
static int copy(struct tool *t, const char *path, bool out, unsigned flags)
{
	struct one ones[DEPTH];
	FILE *file = fopen(path, out ? "wb" : "rb");
	uint8_t *bytes = g_malloc(DEPTH * CHUNK);
	uint64_t size = block_size(t->node), offset = 0;
	int rc = file ? 0 : -1;
	while (offset < size && rc == 0) {
		unsigned n = 0;
		uint64_t start = offset;
		for (; n < DEPTH && offset < size; n++) {
			uint64_t length = MIN(CHUNK, size - offset);
			if (!out && fread(bytes + n * CHUNK, 1, length, file) != length)
				memset(bytes + n * CHUNK, 0, length);
			submit(t, &ones[n], out ? BLOCK_READ : BLOCK_WRITE, flags, offset,
			       bytes + n * CHUNK, length);
			offset += length;
		}
		for (unsigned i = 0; i < n; i++) {
			int r = finish(t, &ones[i]);
			rc = rc ? rc : r;
		}
		if (out && rc == 0 && fwrite(bytes, 1, offset - start, file) != offset - start)
			rc = -1;
	}
	if (file)
		fclose(file);
	g_free(bytes);
	return rc;
}

/* `count` random 4 KiB writes, `DEPTH` at a time; with `flush` one flush per that many. */
static int random_writes(struct tool *t, uint64_t count, uint64_t seed, uint64_t flush)
{
	struct one ones[DEPTH] = {0};
	GRand *rand = g_rand_new_with_seed(seed);
	uint64_t blocks = block_size(t->node) / 4096;
	uint8_t *bytes = g_malloc(4096 * DEPTH);
	int rc = 0;
	fill(bytes, 4096 * DEPTH, seed);
	for (uint64_t i = 0; i < count && rc == 0; i++) {
		unsigned slot = i % DEPTH;
		if (i >= DEPTH)
			rc = finish(t, &ones[slot]);
		uint64_t block = ((uint64_t)g_rand_int(rand) << 20 ^ g_rand_int(rand)) % blocks;
		submit(t, &ones[slot], BLOCK_WRITE, 0, block * 4096, bytes + slot * 4096, 4096);
		if (flush && i % flush == flush - 1)
			rc = io(t, BLOCK_FLUSH, 0, 0, NULL, 0);
	}
	for (unsigned i = 0; i < MIN(count, DEPTH); i++) {
		int r = finish(t, &ones[i]);
		rc = rc ? rc : r;
	}
	g_rand_free(rand);
	g_free(bytes);
	return rc;
}

static void report(void *opaque, const char *line)
{
	fprintf(stderr, "%s\n", line);
}

static void check(struct tool *t, unsigned fix)
{
	GError *error = NULL;
	struct block_check c = {.fix = fix, .report = report};
	if (!block_check(t->node, &c, &error))
		die("check", error);
	printf("ok corruptions=%d leaks=%d corruptions-fixed=%d leaks-fixed=%d allocated=%d "
	       "compressed=%d fragmented=%d end=%" G_GUINT64_FORMAT "\n", (int)c.corruptions,
	       (int)c.leaks, (int)c.corruptions_fixed, (int)c.leaks_fixed, (int)c.allocated_clusters,
	       (int)c.compressed_clusters, (int)c.fragmented_clusters, c.image_end_offset);
}

static void map(struct tool *t)
{
	for (uint64_t at = 0; at < block_size(t->node);) {
		struct block_extent extent;
		unsigned depth;
		int rc = block_status_above(t->node, NULL, at, block_size(t->node) - at, &extent, &depth);
		if (rc < 0)
			break;
		printf("%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %u %u\n", at, extent.length, depth,
		       extent.flags);
		at += extent.length;
	}
	printf("ok\n");
}

static void answer(bool good, const char *what, GError *error)
{
	if (!good)
		die(what, error);
	printf("ok\n");
}

static void snapshot(struct tool *t, const char *action, const char *name)
{
	GError *error = NULL;
	struct block_snapshot wish = {.name = (char *)name, .date_sec = 1700000000};
	bool good = strcmp(action, "create") == 0  ? block_snapshot_create(t->node, &wish, &error)
		    : strcmp(action, "apply") == 0 ? block_snapshot_apply(t->node, name, &error)
						   : block_snapshot_delete(t->node, name, &error);
	answer(good, "snapshot", error);
}

/* Commands with numbers: op offset length [seed]. */
static bool transfer(struct tool *t, const char *op, uint64_t offset, uint64_t length, uint64_t seed)
{
	int rc;
	g_autofree uint8_t *bytes = g_malloc0(length + 1);
	if (strcmp(op, "write") == 0 || strcmp(op, "writec") == 0) {
		fill(bytes, length, seed);
		rc = io(t, BLOCK_WRITE, op[5] ? BLOCK_REQ_COMPRESSED : 0, offset, bytes, length);
	} else if (strcmp(op, "zero") == 0 || strcmp(op, "unmap") == 0) {
		rc = io(t, BLOCK_WRITE_ZEROES, op[0] == 'u' ? BLOCK_REQ_MAY_UNMAP : 0, offset, NULL, length);
	} else if (strcmp(op, "discard") == 0) {
		rc = io(t, BLOCK_DISCARD, 0, offset, NULL, length);
	} else if (strcmp(op, "random") == 0) {
		rc = random_writes(t, offset, seed, length);
	} else {
		return false;
	}
	if (rc < 0)
		printf("error %s: %s\n", op, g_strerror(-rc));
	else
		printf("ok\n");
	return true;
}

static void run(struct tool *t, char *line)
{
	GError *error = NULL;
	g_auto(GStrv) w = g_strsplit(line, " ", 5);
	unsigned n = g_strv_length(w);
	uint64_t a = n > 1 ? g_ascii_strtoull(w[1], NULL, 0) : 0;
	uint64_t b = n > 2 ? g_ascii_strtoull(w[2], NULL, 0) : 0;
	if (n >= 3 && transfer(t, w[0], a, b, n > 3 ? g_ascii_strtoull(w[3], NULL, 0) : 0))
		return;
	if (strcmp(w[0], "flush") == 0)
		answer(block_flush_sync(t->node, &error), "flush", error);
	else if (strcmp(w[0], "resize") == 0)
		answer(block_resize(t->node, a, &error), "resize", error);
	else if (strcmp(w[0], "snapshot") == 0 && n == 3)
		snapshot(t, w[1], w[2]);
	else if (strcmp(w[0], "check") == 0)
		check(t, a);
	else if (strcmp(w[0], "map") == 0)
		map(t);
	else if (strcmp(w[0], "empty") == 0)
		answer(block_make_empty(t->node, &error), "empty", error);
	else if (strcmp(w[0], "export") == 0 && n == 2)
		answer(copy(t, w[1], true, 0) == 0, "export", NULL);
	else if (strcmp(w[0], "import") == 0 && n >= 2)
		answer(copy(t, w[1], false, n > 2 ? BLOCK_REQ_COMPRESSED : 0) == 0, "import", NULL);
	else if (strcmp(w[0], "info") == 0) {
		json_t *info = block_info(t->node, &error);
		g_autofree char *text = info ? json_dumps(info, JSON_COMPACT) : NULL;
		printf("%s\n", text ? text : error->message);
		json_decref(info);
	} else
		die(line, NULL);
}

static json_t *options_of(int argc, char **argv)
{
	json_t *options = json_object();
	for (int i = 0; i < argc; i++) {
		g_auto(GStrv) pair = g_strsplit(argv[i], "=", 2);
		json_object_set_new(options, pair[0], json_string(pair[1]));
	}
	return options;
}

/* block-tool create FORMAT FILE KEY=VALUE... | block-tool open FORMAT FILE [ro] [repair] */
int main(int argc, char **argv)
{
	GError *error = NULL;
	char line[4096];
	if (argc < 4)
		return 2;
	struct tool t = {.loop = aio_loop_new(&error), .format = argv[2], .file = argv[3]};
	if (strcmp(argv[1], "create") == 0) {
		json_t *options = options_of(argc - 4, argv + 4);
		bool good = block_create(t.file, t.format, UINT64_MAX, options, t.loop, &error);
		json_decref(options);
		answer(good, "create", error);
		aio_loop_free(t.loop);
		return 0;
	}
	struct block_open_options open = {.filename = t.file, .format = t.format, .discard = true};
	for (int i = 4; i < argc; i++) {
		open.readonly |= strcmp(argv[i], "ro") == 0;
		open.check_later |= strcmp(argv[i], "repair") == 0;
		open.direct |= strcmp(argv[i], "direct") == 0;
	}
	t.node = block_open(&open, t.loop, &error);
	if (!t.node)
		die("open", error);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		run(&t, line);
	}
	block_close(t.node);
	aio_loop_free(t.loop);
	return 0;
}
