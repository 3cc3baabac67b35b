/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * berth-img commit: bring what an overlay holds into an image below it.
 *
 * The overlay is open for writing from the beginning, so that nobody else uses it, but its bytes are
 * read through a second, shared opening of the chain: the base must be open for writing too, and no
 * opening of a chain lets go of its backing files.
 */
#include "image.h"

#include <stdio.h>
#include <stdlib.h>

enum { CHUNK = 2 << 20 };

struct commit {
	struct image_env env;
	const char *name, *format, *cache, *base_name;
	uint64_t rate;
	bool keep; /* -d: do not empty the overlay */
	struct block_node *top, *chain, *base, *base_in_chain;
	char *base_path, *base_format;
	struct progress progress;
};

/* The node below the top that the person means. */
static bool find_base(struct commit *c)
{
	struct block_node *node = block_backing(c->chain);
	if (!node)
		return !img_fail("Image does not have a backing file");
	for (struct block_node *above = c->chain; node; above = node, node = block_backing(node)) {
		g_autofree char *path = block_backing_path(above);
		if (c->base_name && !g_str_equal(c->base_name, path) &&
		    !image_same_file(c->base_name, path))
			continue;
		c->base_in_chain = node;
		c->base_path = g_steal_pointer(&path);
		c->base_format = g_strdup(block_format_name(node));
		return true;
	}
	return !img_fail("Did not find '%s' in the backing chain of '%s'", c->base_name, c->name);
}

static bool open_all(struct commit *c)
{
	c->top = image_open(&c->env, c->name, c->format, c->cache, IMAGE_WRITE | IMAGE_NO_BACKING);
	if (!c->top)
		return false;
	c->chain = image_open(&c->env, c->name, c->format, c->cache, IMAGE_SHARED);
	if (!c->chain || !find_base(c))
		return false;
	c->base = image_open(&c->env, c->base_path, c->base_format, c->cache,
			     IMAGE_WRITE | IMAGE_PLAIN_NAME);
	return c->base;
}

static bool copy_range(struct commit *c, uint64_t offset, const struct block_extent *extent, void *bytes)
{
	g_autoptr(GError) error = NULL;
	int rc = 0;
	if (extent->flags & BLOCK_STATUS_ZERO) {
		rc = image_request(c->base, BLOCK_WRITE_ZEROES, BLOCK_REQ_MAY_UNMAP, offset, NULL,
				   extent->length);
	} else {
		if (!block_read_sync(c->chain, offset, bytes, extent->length, &error))
			return !img_fail("%s", error->message);
		rc = image_request(c->base, BLOCK_WRITE, 0, offset, bytes, extent->length);
	}
	return rc == 0 || !img_fail("error while writing at byte %" PRIu64 " of '%s': %s", offset,
				    c->base_path, g_strerror(-rc));
}

static bool copy_all(struct commit *c)
{
	g_autoptr(GError) error = NULL;
	g_autofree void *bytes = g_malloc(CHUNK);
	uint64_t size = block_size(c->chain);
	int64_t started = g_get_monotonic_time();
	if (block_size(c->base) < size && !block_resize(c->base, size, &error))
		return !img_fail("%s", error->message);
	for (uint64_t offset = 0; offset < size;) {
		struct block_extent extent = {0};
		int rc = block_status_above(c->chain, c->base_in_chain, offset,
					    MIN(size - offset, CHUNK), &extent, NULL);
		if (rc < 0)
			return !img_fail("error while reading block status at byte %" PRIu64 ": %s", offset,
					 g_strerror(-rc));
		if (extent.flags & BLOCK_STATUS_ALLOCATED && !copy_range(c, offset, &extent, bytes))
			return false;
		offset += extent.length;
		progress_update(&c->progress, offset * 100.0 / size);
		int64_t due = c->rate ? started + (int64_t)(offset * 1e6 / c->rate) : 0;
		if (due > g_get_monotonic_time())
			g_usleep(due - g_get_monotonic_time());
	}
	return block_flush_sync(c->base, &error) || !img_fail("%s", error->message);
}

static bool empty_top(struct commit *c)
{
	g_autoptr(GError) error = NULL;
	block_close(c->chain);
	c->chain = NULL;
	if (block_make_empty(c->top, &error))
		return true;
	return !img_fail("Could not empty %s: %s", c->name, error->message);
}

static int commit(struct commit *c)
{
	progress_start(&c->progress, c->env.progress && !c->env.quiet);
	bool ok = open_all(c) && copy_all(c);
	bool direct = ok && c->base_in_chain == block_backing(c->chain);
	/* With images in between, the overlay still differs from them. */
	if (ok && !c->keep && direct)
		ok = empty_top(c);
	block_close(c->base);
	block_close(c->chain);
	block_close(c->top);
	g_free(c->base_path);
	g_free(c->base_format);
	if (!ok)
		return EXIT_FAILURE;
	progress_end(&c->progress);
	if (!c->env.quiet)
		printf("Image committed.\n");
	return EXIT_SUCCESS;
}

static int run(int argc, char **argv)
{
	struct commit c = {0};
	const char *rate = NULL;
	auto_image_env env = {0};
	image_env_init(&env);
	const struct option_row rows[] = {
		{'f', NULL, OPTION_TEXT, &c.format, "FORMAT", "do not guess the image's format"},
		{'t', NULL, OPTION_TEXT, &c.cache, "CACHE", "cache mode for writing"},
		{'b', NULL, OPTION_TEXT, &c.base_name, "FILE", "commit down to this image of the chain"},
		{'d', NULL, OPTION_FLAG, &c.keep, NULL, "do not empty the image afterwards"},
		{'r', NULL, OPTION_TEXT, &rate, "RATE", "bytes per second"},
		IMAGE_QUIET_ROW(env), IMAGE_PROGRESS_ROW(env), IMAGE_OBJECT_ROW(env), IMAGE_OPTS_ROW(env),
		IMAGE_END_ROW,
	};
	int first = args_read(argc, argv, rows);
	if (first < 0)
		return img_args_status(argv[0], rows, first);
	if (rate && !img_size(rate, "rate limit", &c.rate))
		return EXIT_FAILURE;
	if (first != argc - 1)
		return img_usage("Expecting one image file name");
	if (!image_cache_valid(c.cache))
		return img_fail("Invalid cache option: %s", c.cache);
	if (!image_env_objects(&env))
		return EXIT_FAILURE;
	c.env = env;
	c.name = argv[first];
	return commit(&c);
}

const struct img_command commit_command = {
	"commit", "[--object objectdef] [--image-opts] [-q] [-f fmt] [-t cache] [-b base] [-r rate_limit] "
		  "[-d] [-p] filename",
	"Bring an overlay's data into its backing image", run,
};
