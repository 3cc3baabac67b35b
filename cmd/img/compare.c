/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth-img compare: do two images hold the same bytes? */
#include "image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_SAME, STATUS_DIFFERENT, STATUS_OPEN, STATUS_BLOCK_STATUS, STATUS_READ };
enum { CHUNK = 2 << 20 };

struct compare {
	struct image_env env;
	const char *names[2];
	struct block_node *nodes[2];
	uint8_t *bytes[2];
	bool strict;
	struct progress progress;
	uint64_t total, done;
};

static int say(struct compare *c, int status, const char *format, ...) G_GNUC_PRINTF(3, 4);
static int say(struct compare *c, int status, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	g_autofree char *text = g_strdup_vprintf(format, list);
	va_end(list);
	if (!c->env.quiet)
		printf("%s\n", text);
	return status;
}

static int mismatch(struct compare *c, uint64_t offset)
{
	return say(c, STATUS_DIFFERENT, "Content mismatch at offset %" PRIu64 "!", offset);
}

/* Both in [offset, offset + length), at most CHUNK. */
static int compare_data(struct compare *c, uint64_t offset, uint64_t length)
{
	for (unsigned i = 0; i < 2; i++) {
		g_autoptr(GError) error = NULL;
		if (image_read_padded(c->nodes[i], offset, c->bytes[i], length, &error))
			continue;
		img_fail("Error while reading offset %" PRIu64 " of %s: %s", offset, c->names[i],
			 error->message);
		return STATUS_READ;
	}
	if (memcmp(c->bytes[0], c->bytes[1], length) == 0)
		return STATUS_SAME;
	uint64_t at = 0;
	while (c->bytes[0][at] == c->bytes[1][at])
		at++;
	return mismatch(c, offset + at / 512 * 512);
}

/* `node` must hold zeroes only. */
static int compare_zero(struct compare *c, unsigned which, uint64_t offset, uint64_t length)
{
	g_autoptr(GError) error = NULL;
	if (!image_read_padded(c->nodes[which], offset, c->bytes[which], length, &error)) {
		img_fail("Error while reading offset %" PRIu64 " of %s: %s", offset, c->names[which],
			 error->message);
		return STATUS_READ;
	}
	if (image_is_zero(c->bytes[which], length))
		return STATUS_SAME;
	uint64_t at = 0;
	while (c->bytes[which][at] == 0)
		at++;
	return mismatch(c, offset + at / 512 * 512);
}

struct side {
	bool zero;
	unsigned flags; /* without what is about places */
	uint64_t length;
};

static bool look(struct compare *c, unsigned which, uint64_t offset, uint64_t length, struct side *side)
{
	uint64_t size = block_size(c->nodes[which]);
	g_autoptr(GError) error = NULL;
	struct block_extent extent = {0};
	unsigned depth = 0;
	if (offset >= size) {
		*side = (struct side){true, 0, length};
		return true;
	}
	if (!image_chain_status(c->nodes[which], offset, MIN(length, size - offset), &extent, &depth,
				&error)) {
		img_fail("Sector allocation test failed for %s: %s", c->names[which], error->message);
		return false;
	}
	*side = (struct side){
		.zero = extent.flags & BLOCK_STATUS_ZERO || !(extent.flags & BLOCK_STATUS_ALLOCATED),
		.flags = extent.flags & (BLOCK_STATUS_DATA | BLOCK_STATUS_ZERO |
					 BLOCK_STATUS_ALLOCATED),
		.length = extent.length,
	};
	return true;
}

static int compare_from(struct compare *c, uint64_t offset, uint64_t *length)
{
	struct side a, b;
	if (!look(c, 0, offset, c->total - offset, &a) || !look(c, 1, offset, a.length, &b))
		return STATUS_BLOCK_STATUS;
	*length = MIN(a.length, b.length);
	if (c->strict && a.flags != b.flags)
		return say(c, STATUS_DIFFERENT, "Strict mode: Offset %" PRIu64 " block status mismatch!",
			   offset);
	if (a.zero && b.zero)
		return STATUS_SAME;
	*length = MIN(*length, CHUNK);
	if (a.zero || b.zero)
		return compare_zero(c, a.zero ? 1 : 0, offset, *length);
	return compare_data(c, offset, *length);
}

static int compare_all(struct compare *c)
{
	uint64_t a = block_size(c->nodes[0]), b = block_size(c->nodes[1]);
	if (a != b && c->strict)
		return say(c, STATUS_DIFFERENT, "Strict mode: Image size mismatch!");
	c->total = MAX(a, b);
	for (uint64_t offset = 0, n; offset < c->total; offset += n) {
		int status = compare_from(c, offset, &n);
		/* What only the longer one has may be zeroes; the warning below says that it is longer. */
		if (status != STATUS_SAME)
			return status;
		progress_update(&c->progress, (offset + n) * 100.0 / c->total);
	}
	if (a != b)
		say(c, STATUS_SAME, "Warning: Image size mismatch!");
	return say(c, STATUS_SAME, "Images are identical.");
}

static int run(int argc, char **argv)
{
	const char *formats[2] = {NULL, NULL}, *cache = NULL;
	struct compare c = {0};
	auto_image_env env = {0};
	image_env_init(&env);
	const struct option_row rows[] = {
		{'f', "a-format", OPTION_TEXT, &formats[0], "FORMAT", "of the first image"},
		{'F', "b-format", OPTION_TEXT, &formats[1], "FORMAT", "of the second image"},
		{'T', NULL, OPTION_TEXT, &cache, "CACHE", "cache mode for reading"},
		{'s', "strict", OPTION_FLAG, &c.strict, NULL, "sizes and allocation must agree too"},
		IMAGE_QUIET_ROW(env), IMAGE_PROGRESS_ROW(env), IMAGE_OBJECT_ROW(env), IMAGE_OPTS_ROW(env),
		IMAGE_SHARE_ROW(env), IMAGE_END_ROW,
	};
	int first = args_read(argc, argv, rows);
	if (first < 0)
		return img_args_status(argv[0], rows, first);
	if (argc - first != 2)
		return img_usage("Expecting two image file names");
	if (!image_cache_valid(cache)) {
		img_fail("Invalid source cache option: %s", cache);
		return STATUS_OPEN;
	}
	if (!image_env_objects(&env))
		return STATUS_OPEN;
	auto_node a = image_open(&env, argv[first], formats[0], cache, 0);
	if (!a)
		return STATUS_OPEN;
	auto_node b = image_open(&env, argv[first + 1], formats[1], cache, IMAGE_SHARED);
	if (!b)
		return STATUS_OPEN;
	c.env = env;
	for (unsigned i = 0; i < 2; i++) {
		c.names[i] = argv[first + i];
		c.nodes[i] = i ? b : a;
		c.bytes[i] = g_malloc(CHUNK);
	}
	progress_start(&c.progress, env.progress && !env.quiet);
	int status = compare_all(&c);
	progress_end(&c.progress);
	g_free(c.bytes[0]);
	g_free(c.bytes[1]);
	return status;
}

const struct img_command compare_command = {
	"compare", "[--object objectdef] [--image-opts] [-f fmt] [-F fmt] [-T src_cache] [-p] [-q] [-s] "
		   "[-U] filename1 filename2",
	"Compare the contents of two images", run,
};
