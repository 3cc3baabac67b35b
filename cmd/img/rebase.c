/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * berth-img rebase: give an image another backing file. Safe mode first copies into the image what
 * the old and the new one differ in, so that its contents stay; -u only rewrites the name.
 */
#include "image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 2 << 20, STEP = 65536 };

struct rebase {
	struct image_env env;
	const char *name, *format, *cache, *src_cache, *backing, *backing_format;
	bool unsafe;
	struct block_node *node, *new_backing;
	struct progress progress;
};

static bool same(const uint8_t *old, const uint8_t *new, uint64_t at, uint64_t n)
{
	return memcmp(old + at, new + at, n) == 0;
}

/* Write into the image where the two backing chains differ. */
static bool keep_range(struct rebase *r, uint64_t offset, uint64_t length, uint8_t *old, uint8_t *new)
{
	g_autoptr(GError) error = NULL;
	if (!block_read_sync(r->node, offset, old, length, &error))
		return !img_fail("error while reading from old backing file: %s", error->message);
	if (!r->new_backing)
		memset(new, 0, length);
	else if (!image_read_padded(r->new_backing, offset, new, length, &error))
		return !img_fail("error while reading from new backing file: %s", error->message);
	for (uint64_t at = 0, n; at < length; at += n) {
		n = MIN(STEP, length - at);
		if (same(old, new, at, n))
			continue;
		uint64_t end = at + n;
		while (end < length && !same(old, new, end, MIN(STEP, length - end)))
			end += MIN(STEP, length - end);
		n = end - at;
		int rc = image_is_zero(old + at, n)
				 ? image_request(r->node, BLOCK_WRITE_ZEROES, 0, offset + at, NULL, n)
				 : image_request(r->node, BLOCK_WRITE, 0, offset + at, old + at, n);
		if (rc < 0)
			return !img_fail("Error while writing to COW image: %s", g_strerror(-rc));
	}
	return true;
}

static bool keep_contents(struct rebase *r)
{
	g_autofree uint8_t *old = g_malloc(CHUNK), *new = g_malloc(CHUNK);
	uint64_t size = block_size(r->node);
	for (uint64_t offset = 0; offset < size;) {
		struct block_extent extent = {0};
		int rc = block_status(r->node, offset, MIN(CHUNK, size - offset), &extent);
		if (rc < 0)
			return !img_fail("error while reading image metadata: %s", g_strerror(-rc));
		if (!(extent.flags & BLOCK_STATUS_ALLOCATED) &&
		    !keep_range(r, offset, extent.length, old, new))
			return false;
		offset += extent.length;
		progress_update(&r->progress, offset * 100.0 / size);
	}
	return true;
}

static bool open_new_backing(struct rebase *r)
{
	g_autoptr(GError) error = NULL;
	if (!r->backing || !*r->backing)
		return true;
	g_autofree char *path = block_path_combine(r->name, r->backing);
	r->new_backing = image_try_open(&r->env, path, r->backing_format, r->src_cache,
					IMAGE_PLAIN_NAME | IMAGE_SHARED, &error);
	return r->new_backing ||
	       !img_fail("Could not open new backing file '%s': %s", r->backing, error->message);
}

static bool change_name(struct rebase *r)
{
	g_autoptr(GError) error = NULL;
	const char *name = r->backing && *r->backing ? r->backing : NULL;
	if (name && !r->backing_format)
		return !img_fail("Could not change the backing file to '%s': backing format must be specified",
				 name);
	if (block_change_backing(r->node, name, name ? r->backing_format : NULL, &error))
		return true;
	return !img_fail("Could not change the backing file to '%s': %s", name ? name : "",
			 error->message);
}

static int rebase(struct rebase *r)
{
	progress_start(&r->progress, r->env.progress && !r->env.quiet);
	r->node = image_open(&r->env, r->name, r->format, r->cache,
			     IMAGE_WRITE | (r->unsafe ? IMAGE_NO_BACKING : 0));
	bool ok = r->node;
	if (ok && r->backing_format && !image_format_known(r->backing_format))
		ok = !img_fail("Invalid format name: '%s'", r->backing_format);
	if (ok && !r->unsafe)
		ok = open_new_backing(r) && keep_contents(r);
	ok = ok && change_name(r);
	block_close(r->new_backing);
	block_close(r->node);
	if (ok)
		progress_end(&r->progress);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(int argc, char **argv)
{
	struct rebase r = {0};
	auto_image_env env = {0};
	image_env_init(&env);
	const struct option_row rows[] = {
		{'f', NULL, OPTION_TEXT, &r.format, "FORMAT", "do not guess the image's format"},
		{'b', NULL, OPTION_TEXT, &r.backing, "FILE", "the new backing file; '' for none"},
		{'F', NULL, OPTION_TEXT, &r.backing_format, "FORMAT", "of the new backing file"},
		{'u', NULL, OPTION_FLAG, &r.unsafe, NULL, "only change the name: contents must agree"},
		{'t', NULL, OPTION_TEXT, &r.cache, "CACHE", "cache mode for writing"},
		{'T', NULL, OPTION_TEXT, &r.src_cache, "CACHE", "cache mode for reading"},
		IMAGE_QUIET_ROW(env), IMAGE_PROGRESS_ROW(env), IMAGE_OBJECT_ROW(env), IMAGE_OPTS_ROW(env),
		IMAGE_SHARE_ROW(env), IMAGE_END_ROW,
	};
	int first = args_read(argc, argv, rows);
	if (first < 0)
		return img_args_status(argv[0], rows, first);
	if (first != argc - 1)
		return img_usage("Expecting one image file name");
	if (!r.unsafe && !r.backing)
		return img_usage("Must specify backing file (-b) or use unsafe mode (-u)");
	if (!image_cache_valid(r.cache))
		return img_fail("Invalid cache option: %s", r.cache);
	if (!image_cache_valid(r.src_cache))
		return img_fail("Invalid source cache option: %s", r.src_cache);
	if (!image_env_objects(&env))
		return EXIT_FAILURE;
	r.env = env;
	r.name = argv[first];
	return rebase(&r);
}

const struct img_command rebase_command = {
	"rebase", "[--object objectdef] [--image-opts] [-U] [-q] [-f fmt] [-t cache] [-T src_cache] [-p] "
		  "[-u] -b backing_file [-F backing_fmt] filename",
	"Give an image another backing file", run,
};
