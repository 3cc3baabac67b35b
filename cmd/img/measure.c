/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth-img measure: how large a file a conversion would make. */
#include "image.h"

#include <stdio.h>
#include <stdlib.h>

static void print(const struct block_measure *measure, enum output_format kind)
{
	if (kind == OUTPUT_HUMAN) {
		printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n",
		       measure->required, measure->fully_allocated);
		if (measure->has_bitmaps)
			printf("bitmaps size: %" PRIu64 "\n", measure->bitmaps);
		return;
	}
	json_t *object = json_object();
	json_object_set_new(object, "required", json_integer(measure->required));
	json_object_set_new(object, "fully-allocated", json_integer(measure->fully_allocated));
	if (measure->has_bitmaps)
		json_object_set_new(object, "bitmaps", json_integer(measure->bitmaps));
	output_json(object);
	json_decref(object);
}

static int run(int argc, char **argv)
{
	const char *format = NULL, *target = "raw", *output = NULL, *size_text = NULL, *snapshot = NULL;
	uint64_t size = 0;
	enum output_format kind;
	g_autoptr(GPtrArray) lists = g_ptr_array_new();
	auto_image_env env = {0};
	image_env_init(&env);
	const struct option_row rows[] = {
		{'f', "format", OPTION_TEXT, &format, "FORMAT", "do not guess the image's format"},
		{'O', NULL, OPTION_TEXT, &target, "FORMAT", "the format to convert to (default: raw)"},
		{'o', NULL, OPTION_LIST, &lists, "OPTIONS", "options of that format, as for create"},
		{0, "output", OPTION_TEXT, &output, "human|json", "how to print"},
		{0, "size", OPTION_TEXT, &size_text, "SIZE", "of an image that does not exist yet"},
		{'l', NULL, OPTION_TEXT, &snapshot, "SNAPSHOT", "measure an internal snapshot"},
		IMAGE_OBJECT_ROW(env), IMAGE_OPTS_ROW(env), IMAGE_SHARE_ROW(env), IMAGE_END_ROW,
	};
	int first = args_read(argc, argv, rows);
	if (first < 0)
		return img_args_status(argv[0], rows, first);
	if (!output_parse(output, &kind) || (size_text && !img_size(size_text, "image size", &size)))
		return EXIT_FAILURE;
	if (argc - first > 1)
		return img_usage("At most one filename argument is allowed.");
	if (argc == first && (env.image_opts || format || snapshot))
		return img_fail("--image-opts, -f, and -l require a filename argument.");
	if (argc == first && !size_text)
		return img_fail("Either --size N or one filename must be specified.");
	if (argc > first && size_text)
		return img_fail("--size N cannot be used together with a filename.");
	if (!image_format_known(target))
		return img_fail("Unknown file format '%s'", target);

	g_autoptr(GError) error = NULL;
	json_t *options = NULL;
	bool help;
	if (!image_env_objects(&env) || !image_parse_options(lists, &options, &help))
		return EXIT_FAILURE;
	auto_node node = argc > first ? image_open(&env, argv[first], format, NULL, 0) : NULL;
	struct block_measure measure = {0};
	bool ok = (argc == first || node) && (!snapshot || !node || image_show_snapshot(node, snapshot)) &&
		  block_measure(target, node, size, options, env.loop, &measure, &error);
	json_decref(options);
	if (error)
		return img_fail("%s", error->message);
	if (ok)
		print(&measure, kind);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

const struct img_command measure_command = {
	"measure", "[--output=ofmt] [-O output_fmt] [-o options] [--size N | [--object objectdef] "
		   "[--image-opts] [-f fmt] [-l snapshot_param] filename]",
	"Show how large a file a new or converted image needs", run,
};
