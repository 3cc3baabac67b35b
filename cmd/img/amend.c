/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth-img amend: change an image's format options in place. */
#include "create.h"

#include <stdio.h>
#include <stdlib.h>

static void report(void *opaque, uint64_t done, uint64_t total)
{
	progress_update(opaque, total ? done * 100.0 / total : 100);
}

static bool options_known(const char *help, const char *format, const json_t *options)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)options, key, value) {
		g_autofree char *create_text = block_create_help(format, NULL);
		if (create_option_known(help, key))
			continue;
		bool at_creation = create_text && create_option_known(create_text, key);
		img_fail("Invalid parameter '%s'%s", key,
			 at_creation ? "\nThis option is only supported for image creation" : "");
		return false;
	}
	return true;
}

static int amend(struct image_env *env, const char *name, const char *format, const char *cache,
		 const json_t *options, bool help, bool force)
{
	g_autoptr(GError) error = NULL;
	auto_node node = name ? image_open(env, name, format, cache, IMAGE_WRITE) : NULL;
	if (name && !node)
		return EXIT_FAILURE;
	const char *kind = node ? block_format_name(node) : format;
	g_autofree char *text = block_amend_help(kind, &error);
	if (!text)
		return img_fail("Format driver '%s' does not support option amendment", kind);
	if (help) {
		printf("%s", text);
		return EXIT_SUCCESS;
	}
	if (!options_known(text, kind, options))
		return EXIT_FAILURE;
	struct progress bar;
	struct block_progress progress = {report, &bar};
	progress_start(&bar, env->progress && !env->quiet);
	if (!block_amend(node, options, force, &progress, &error))
		return img_fail("%s", error->message);
	progress_end(&bar);
	return EXIT_SUCCESS;
}

static int run(int argc, char **argv)
{
	const char *format = NULL, *cache = NULL;
	bool force = false, help;
	json_t *options = NULL;
	g_autoptr(GPtrArray) lists = g_ptr_array_new();
	auto_image_env env = {0};
	image_env_init(&env);
	const struct option_row rows[] = {
		{'f', NULL, OPTION_TEXT, &format, "FORMAT", "do not guess the image's format"},
		{'o', NULL, OPTION_LIST, &lists, "OPTIONS", "as NAME=VALUE,...; -o help lists them"},
		{'t', NULL, OPTION_TEXT, &cache, "CACHE", "cache mode for writing"},
		{0, "force", OPTION_FLAG, &force, NULL, "do it even if it may lose the last key"},
		IMAGE_QUIET_ROW(env), IMAGE_PROGRESS_ROW(env), IMAGE_OBJECT_ROW(env), IMAGE_OPTS_ROW(env),
		IMAGE_END_ROW,
	};
	int first = args_read(argc, argv, rows);
	if (first < 0)
		return img_args_status(argv[0], rows, first);
	if (!lists->len)
		return img_usage("Must specify options (-o)");
	if (!image_parse_options(lists, &options, &help))
		return EXIT_FAILURE;
	const char *name = first == argc - 1 ? argv[first] : NULL;
	int status = EXIT_FAILURE;
	if (!name && !(help && format))
		img_fail("Expecting one image file name");
	else if (!image_cache_valid(cache))
		img_fail("Invalid cache option: %s", cache);
	else if (image_env_objects(&env))
		status = amend(&env, name, format, cache, options, help, force);
	json_decref(options);
	return status;
}

const struct img_command amend_command = {
	"amend", "[--object objectdef] [--image-opts] [-p] [-q] [-f fmt] [-t cache] [--force] -o options "
		 "filename",
	"Change an image's format options", run,
};
