/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth-img convert: options, sources and target; copy.c moves the bytes. */
#include "convert.h"

#include "base/error.h"
#include "create.h"
#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct convert {
	struct image_env env;
	const char *format, *out_format, *cache, *src_cache, *backing, *backing_format;
	const char *sparse_text, *rate_text, *workers_text, *snapshot;
	GPtrArray *lists;
	bool compress, no_create, target_opts, target_zero, bitmaps, offload, any_order, salvage;
	bool skip_broken;
	char **names;
	unsigned name_count;
	const char *target_name;
	json_t *options;
	struct block_node **sources;
	struct block_node *target;
	struct copy copy;
	struct progress progress;
};

#define MAX_SPARSE (UINT64_C(16) << 20)

static bool read_numbers(struct convert *c)
{
	c->copy.sparse = 4096;
	c->copy.workers = 8;
	if (c->sparse_text) {
		if (!image_parse_size(c->sparse_text, &c->copy.sparse)) {
			img_fail("Invalid buffer size for sparse output specified. You may use k, M, G, T, P or "
				 "E suffixes for");
			img_fail("kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.");
			return false;
		}
		if (c->copy.sparse % 512 || c->copy.sparse > MAX_SPARSE)
			return !img_fail("Invalid buffer size for sparse output specified. Valid sizes are "
					 "multiples of 512 up to %" PRIu64 ". Select 0 to disable sparse "
					 "detection (fully allocates output).", MAX_SPARSE);
	}
	if (c->workers_text) {
		char *end;
		long n = strtol(c->workers_text, &end, 10);
		if (*end || n < 1 || n > 16)
			return !img_fail("Invalid number of coroutines. Allowed number of coroutines is between "
					 "1 and 16");
		c->copy.workers = n;
	}
	return !c->rate_text || img_size(c->rate_text, "rate limit", &c->copy.rate);
}

/* Combinations that make no sense, in the order in which qemu-img looks for them. */
static bool check_wishes(struct convert *c, bool has_options)
{
	if (c->compress && c->offload)
		return !img_fail("Cannot enable copy offloading when -c is used");
	if (c->offload && c->sparse_text)
		return !img_fail("Cannot enable copy offloading when -S is used");
	if (c->offload && c->salvage)
		return !img_fail("Cannot use copy offloading in salvaging mode");
	if (c->target_zero && !c->no_create)
		return !img_fail("--target-is-zero requires use of -n flag");
	if (c->target_opts && !c->no_create)
		return !img_fail("--target-image-opts requires use of -n flag");
	if (c->skip_broken && !c->bitmaps)
		return !img_fail("Use of --skip-broken-bitmaps requires --bitmaps");
	if (c->no_create && has_options)
		return !img_fail("-o has no effect when skipping image creation");
	if (!image_cache_valid(c->src_cache))
		return !img_fail("Invalid source cache option: %s", c->src_cache);
	if (!image_cache_valid(c->cache))
		return !img_fail("Invalid cache option: %s", c->cache);
	if (c->name_count > 1 && c->backing)
		return !img_fail("Having a backing file for the target makes no sense when concatenating multiple "
				 "input images");
	return true;
}

static bool open_sources(struct convert *c)
{
	c->sources = g_new0(struct block_node *, c->name_count);
	for (unsigned i = 0; i < c->name_count; i++) {
		c->sources[i] = image_open(&c->env, c->names[i], c->format, c->src_cache, 0);
		if (!c->sources[i])
			return false;
	}
	if (c->snapshot && c->name_count > 1 && !g_str_has_prefix(c->snapshot, "snapshot."))
		return !img_fail("No support for concatenating multiple snapshot");
	if (c->snapshot && !image_show_snapshot(c->sources[0], c->snapshot))
		return false;
	c->copy.sources = c->sources;
	c->copy.source_count = c->name_count;
	return true;
}

static uint64_t total_size(const struct convert *c)
{
	uint64_t total = 0;
	for (unsigned i = 0; i < c->name_count; i++)
		total += block_size(c->sources[i]);
	return total;
}

/* The -o and -B that the target's format takes. */
static bool check_target_format(struct convert *c)
{
	g_autoptr(GError) error = NULL;
	const char *key;
	json_t *value;
	if (!image_format_known(c->out_format))
		return !img_fail("Unknown file format '%s'", c->out_format);
	g_autofree char *help = block_create_help(c->out_format, &error);
	if (!help)
		return !img_fail("Format driver '%s' does not support image creation", c->out_format);
	json_object_foreach(c->options, key, value) {
		if (!create_option_check(help, NULL, key, json_string_value(value)))
			return false;
	}
	if (c->backing) {
		if (!create_option_known(help, "backing_file"))
			return !img_fail("Backing file not supported for file format '%s'", c->out_format);
		json_object_set_new(c->options, "backing_file", json_string(c->backing));
	}
	if (c->backing_format)
		json_object_set_new(c->options, "backing_fmt", json_string(c->backing_format));
	if (image_option(c->options, "backing_file") && !image_option(c->options, "backing_fmt"))
		return !img_fail("Use of backing file requires explicit backing format");
	bool can_compress = g_str_equal(c->out_format, "qcow2") || g_str_equal(c->out_format, "vmdk") ||
			    g_str_equal(c->out_format, "qcow");
	if (c->compress && !can_compress)
		return !img_fail("Compression not supported for this file format");
	if (c->compress && (image_option(c->options, "encrypt.format") ||
			    g_strcmp0(image_option(c->options, "encryption"), "on") == 0))
		return !img_fail("Compression and encryption not supported at the same time");
	if (c->bitmaps && !g_str_equal(block_format_name(c->sources[0]), "qcow2"))
		return !img_fail("Source lacks bitmap support");
	if (c->bitmaps && !g_str_equal(c->out_format, "qcow2"))
		return !img_fail("Format driver '%s' does not support bitmaps", c->out_format);
	return true;
}

static bool create_target(struct convert *c)
{
	g_autoptr(GError) error = NULL;
	uint64_t size = total_size(c);
	const char *given = image_option(c->options, "size");
	if (given && !image_parse_size(given, &size))
		return !img_fail("Invalid parameter 'size'");
	if (size < total_size(c))
		return !img_fail("-o size=%s: output file is smaller than input file", given);
	json_object_del(c->options, "size");
	for (unsigned i = 0; i < c->name_count; i++) {
		if (image_same_file(c->names[i], c->target_name))
			return !img_fail("%s: error while converting %s: Failed to get \"write\" lock\nIs another "
					 "process using the image [%s]?", c->target_name, c->out_format,
					 c->target_name);
	}
	return target_create(&c->env, c->target_name, c->out_format, size, c->options, &error) ||
	       !img_fail("%s: error while converting %s: %s", c->target_name, c->out_format, error->message);
}

/* What the target's own description says about how it wants to be written. */
static bool learn_target(struct convert *c)
{
	g_autoptr(GError) error = NULL;
	json_t *info = block_info(c->target, &error);
	if (!info)
		return !img_fail("could not get block driver info: %s", error->message);
	json_t *data = json_object_get(json_object_get(info, "format-specific"), "data");
	json_t *extent = json_array_get(json_object_get(data, "extents"), 0);
	c->copy.cluster = json_integer_value(json_object_get(info, "cluster-size"));
	c->copy.compressed = c->compress || json_is_true(json_object_get(extent, "compressed"));
	json_decref(info);
	if (c->copy.compressed && (c->copy.cluster == 0 || c->copy.cluster > COPY_CHUNK))
		return !img_fail("invalid cluster size");
	return true;
}

/* The name that opens what was made: with the secret that it was made with, if there is one. */
static char *target_name(const struct convert *c)
{
	const char *plain = image_option(c->options, "key-secret");
	const char *nested = image_option(c->options, "encrypt.key-secret");
	if ((!plain && !nested) || c->target_opts)
		return g_strdup(c->target_name);
	json_t *dict = json_pack("{s:s, s:{s:s, s:s}}", "driver", c->out_format, "file", "driver", "file",
				 "filename", c->target_name);
	json_object_set_new(dict, plain ? "key-secret" : "encrypt.key-secret",
			    json_string(plain ? plain : nested));
	char *text = json_dumps(dict, JSON_COMPACT);
	char *name = g_strconcat("json:", text, NULL);
	free(text);
	json_decref(dict);
	return name;
}

static bool open_target(struct convert *c)
{
	g_autofree char *name = target_name(c);
	unsigned flags = IMAGE_WRITE | IMAGE_UNMAP |
			 (c->target_opts ? IMAGE_OPTS_NAME : IMAGE_PLAIN_NAME);
	c->target = image_open(&c->env, name, c->target_opts ? NULL : c->out_format,
			       c->cache ? c->cache : "unsafe", flags);
	if (!c->target)
		return false;
	target_opened(c->target);
	if (!learn_target(c))
		return false;
	uint64_t size = block_size(c->target);
	if (c->no_create && size < total_size(c))
		return !img_fail("output file is smaller than input file");
	return true;
}

static bool copy_bitmap(struct convert *c, const json_t *bitmap)
{
	g_autoptr(GError) error = NULL;
	const char *name = json_string_value(json_object_get(bitmap, "name"));
	bool enabled = false, in_use = false;
	const json_t *flags = json_object_get(bitmap, "flags");
	for (size_t i = 0; i < json_array_size(flags); i++) {
		enabled |= g_str_equal(json_string_value(json_array_get(flags, i)), "auto");
		in_use |= g_str_equal(json_string_value(json_array_get(flags, i)), "in-use");
	}
	if (in_use && c->skip_broken) {
		img_warn("Skipping inconsistent bitmap '%s'", name);
		return true;
	}
	if (in_use)
		return !img_fail("Cannot copy inconsistent bitmap '%s'\nTry --skip-broken-bitmaps, or use "
				 "'qemu-img bitmap --remove'", name);
	struct block_bitmap_op add = {.action = BLOCK_BITMAP_ADD, .name = name,
				      .granularity = json_integer_value(
					      json_object_get(bitmap, "granularity"))};
	struct block_bitmap_op merge = {.action = BLOCK_BITMAP_MERGE, .name = name,
					.source = c->sources[0], .source_name = name};
	struct block_bitmap_op disable = {.action = BLOCK_BITMAP_DISABLE, .name = name};
	if (block_bitmap(c->target, &add, &error) && block_bitmap(c->target, &disable, &error) &&
	    block_bitmap(c->target, &merge, &error)) {
		disable.action = BLOCK_BITMAP_ENABLE;
		if (!enabled || block_bitmap(c->target, &disable, &error))
			return true;
	}
	return !img_fail("Failed to populate bitmap %s: %s", name, error->message);
}

static bool copy_bitmaps(struct convert *c)
{
	g_autoptr(GError) error = NULL;
	json_t *info = block_info(c->sources[0], &error);
	json_t *data = json_object_get(json_object_get(info, "format-specific"), "data");
	json_t *bitmaps = json_object_get(data, "bitmaps");
	bool ok = true;
	for (size_t i = 0; ok && i < json_array_size(bitmaps); i++)
		ok = copy_bitmap(c, json_array_get(bitmaps, i));
	json_decref(info);
	return ok;
}

static bool copy_all(struct convert *c)
{
	g_autoptr(GError) error = NULL;
	struct copy *copy = &c->copy;
	copy->target = c->target;
	copy->any_order = c->any_order || copy->compressed;
	copy->salvage = c->salvage;
	copy->offload = c->offload;
	copy->quiet = c->env.quiet;
	copy->target_backing = block_backing(c->target) != NULL;
	copy->target_is_zero = ((!c->no_create && block_fresh_is_zero(c->target)) || c->target_zero) &&
			       !copy->target_backing;
	copy->progress = &c->progress;
	if (!copy_run(copy, c->env.loop))
		return false;
	if (c->bitmaps && !copy_bitmaps(c))
		return false;
	if (!block_flush_sync(c->target, &error))
		return !img_fail("error while flushing '%s': %s", c->target_name, error->message);
	return true;
}

static bool convert(struct convert *c, bool has_options)
{
	progress_start(&c->progress, c->env.progress && !c->env.quiet);
	bool ok = check_wishes(c, has_options) && image_env_objects(&c->env) && open_sources(c) &&
		  (c->target_opts || check_target_format(c)) && (c->no_create || create_target(c)) &&
		  open_target(c) && copy_all(c);
	for (unsigned i = 0; c->sources && i < c->name_count; i++)
		block_close(c->sources[i]);
	g_free(c->sources);
	block_close(c->target);
	if (ok) {
		target_keep();
		progress_end(&c->progress);
	} else {
		target_remove(&c->env);
	}
	return ok;
}

/* argv behind the options: sources, then the target. */
static bool take_names(struct convert *c, int argc, char **argv, int first)
{
	if (argc - first < 2)
		return !img_fail("Must specify image file name");
	c->names = argv + first;
	c->name_count = argc - first - 1;
	c->target_name = argv[argc - 1];
	return true;
}

static int read_arguments(struct convert *c, int argc, char **argv)
{
	const struct option_row rows[] = {
		{'f', "source-format", OPTION_TEXT, &c->format, "FORMAT", "of the sources"},
		{'O', "target-format", OPTION_TEXT, &c->out_format, "FORMAT",
		 "of the target (default: raw)"},
		{'o', NULL, OPTION_LIST, &c->lists, "OPTIONS", "of the target; -o help lists them"},
		{'B', "backing", OPTION_TEXT, &c->backing, "FILE",
		 "make the target an overlay of FILE: only what differs is stored"},
		{'F', "backing-format", OPTION_TEXT, &c->backing_format, "FORMAT", "of FILE"},
		{'c', NULL, OPTION_FLAG, &c->compress, NULL, "compress the target"},
		{'n', NULL, OPTION_FLAG, &c->no_create, NULL, "the target exists: only fill it"},
		{'C', NULL, OPTION_FLAG, &c->offload, NULL, "let the kernel copy what is in files as it is (it may share it)"},
		{'S', NULL, OPTION_TEXT, &c->sparse_text, "SIZE",
		 "zero runs this long are not stored (default: 4k; 0: store everything)"},
		{'l', "snapshot", OPTION_TEXT, &c->snapshot, "SNAPSHOT", "convert an internal snapshot"},
		{'m', "num-coroutines", OPTION_TEXT, &c->workers_text, "N", "chunks at once (1 to 16)"},
		{'W', NULL, OPTION_FLAG, &c->any_order, NULL, "write in any order"},
		{'r', "rate-limit", OPTION_TEXT, &c->rate_text, "RATE", "bytes per second"},
		{'t', "cache", OPTION_TEXT, &c->cache, "CACHE", "of the target (default: unsafe)"},
		{'T', "src-cache", OPTION_TEXT, &c->src_cache, "CACHE", "of the sources"},
		{0, "target-image-opts", OPTION_FLAG, &c->target_opts, NULL,
		 "the target's name is options"},
		{0, "target-is-zero", OPTION_FLAG, &c->target_zero, NULL,
		 "with -n: the target reads as zeroes already"},
		{0, "bitmaps", OPTION_FLAG, &c->bitmaps, NULL, "copy persistent dirty bitmaps"},
		{0, "skip-broken-bitmaps", OPTION_FLAG, &c->skip_broken, NULL,
		 "leave out bitmaps that were in use at a crash"},
		{0, "salvage", OPTION_FLAG, &c->salvage, NULL, "go on after read errors, with zeroes"},
		IMAGE_QUIET_ROW(c->env), IMAGE_PROGRESS_ROW(c->env), IMAGE_OBJECT_ROW(c->env),
		IMAGE_OPTS_ROW(c->env), IMAGE_SHARE_ROW(c->env), IMAGE_END_ROW,
	};
	int first = args_read(argc, argv, rows);
	if (first < 0)
		return img_args_status(argv[0], rows, first);
	bool help = false;
	if (!image_parse_options(c->lists, &c->options, &help) || !read_numbers(c))
		return EXIT_FAILURE;
	if (help)
		return create_help(c->out_format, argc - first > 1);
	if (!take_names(c, argc, argv, first))
		return EXIT_FAILURE;
	return convert(c, json_object_size(c->options)) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(int argc, char **argv)
{
	struct convert c = {.out_format = "raw", .lists = g_ptr_array_new()};
	image_env_init(&c.env);
	int status = read_arguments(&c, argc, argv);
	json_decref(c.options);
	g_ptr_array_unref(c.lists);
	image_env_clear(&c.env);
	return status;
}

const struct img_command convert_command = {
	"convert", "[--object objectdef] [--image-opts] [--target-image-opts] [--target-is-zero] "
		   "[--bitmaps] [-U] [-C] [-c] [-p] [-q] [-n] [-f fmt] [-t cache] [-T src_cache] "
		   "[-O output_fmt] [-B backing_file [-F backing_fmt]] [-o options] [-l snapshot_param] "
		   "[-S sparse_size] [-r rate_limit] [-m num_coroutines] [-W] [--salvage] filename "
		   "[filename2 [...]] output_filename",
	"Copy images into another format", run,
};
