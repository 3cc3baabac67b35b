/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth-img check: look for damage in an image's tables, and repair it. */
#include "image.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>

enum { STATUS_CORRUPT = 2, STATUS_LEAKS = 3, STATUS_UNSUPPORTED = 63 };

static void say(void *opaque, const char *line)
{
	fprintf(stderr, "%s\n", line);
}

static void print_human(const struct block_check *check)
{
	if (!(check->corruptions || check->leaks || check->check_errors)) {
		printf("No errors were found on the image.\n");
	} else {
		if (check->corruptions)
			printf("\n%" PRIu64 " errors were found on the image.\n"
			       "Data may be corrupted, or further writes to the image may corrupt it.\n",
			       check->corruptions);
		if (check->leaks)
			printf("\n%" PRIu64 " leaked clusters were found on the image.\n"
			       "This means waste of disk space, but no harm to data.\n", check->leaks);
		if (check->check_errors)
			printf("\n%" PRIu64 " internal errors have occurred during the check.\n",
			       check->check_errors);
	}
	if (check->total_clusters && check->allocated_clusters)
		printf("%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed "
		       "clusters\n", check->allocated_clusters, check->total_clusters,
		       check->allocated_clusters * 100.0 / check->total_clusters,
		       check->fragmented_clusters * 100.0 / check->allocated_clusters,
		       check->compressed_clusters * 100.0 / check->allocated_clusters);
	if (check->image_end_offset)
		printf("Image end offset: %" PRIu64 "\n", check->image_end_offset);
}

static void put(json_t *object, const char *key, uint64_t value)
{
	if (value)
		json_object_set_new(object, key, json_integer(value));
}

static void print_json(const struct block_check *check, const char *name, const char *format)
{
	json_t *object = json_object();
	json_object_set_new(object, "filename", json_string(name));
	json_object_set_new(object, "format", json_string(format));
	json_object_set_new(object, "check-errors", json_integer(check->check_errors));
	put(object, "image-end-offset", check->image_end_offset);
	put(object, "corruptions", check->corruptions);
	put(object, "leaks", check->leaks);
	put(object, "corruptions-fixed", check->corruptions_fixed);
	put(object, "leaks-fixed", check->leaks_fixed);
	put(object, "total-clusters", check->total_clusters);
	put(object, "allocated-clusters", check->allocated_clusters);
	put(object, "fragmented-clusters", check->fragmented_clusters);
	put(object, "compressed-clusters", check->compressed_clusters);
	output_json(object);
	json_decref(object);
}

/* After repairs, look again: what is left is what counts. */
static bool check_again(struct block_node *node, struct block_check *check, bool verbose,
			GError **error)
{
	uint64_t leaks = check->leaks_fixed, corruptions = check->corruptions_fixed;
	if (!leaks && !corruptions)
		return true;
	if (verbose)
		printf("The following inconsistencies were found and repaired:\n\n"
		       "    %" PRIu64 " leaked clusters\n    %" PRIu64 " corruptions\n\n"
		       "Double checking the fixed image now...\n", leaks, corruptions);
	*check = (struct block_check){.report = check->report};
	if (!block_check(node, check, error))
		return false;
	check->leaks_fixed = leaks;
	check->corruptions_fixed = corruptions;
	return true;
}

static int check_image(struct image_env *env, const char *name, const char *format,
		       const char *cache, unsigned fix, enum output_format kind)
{
	g_autoptr(GError) error = NULL;
	struct block_check check = {.fix = fix, .report = say};
	auto_node node = image_open(env, name, format, cache,
				    IMAGE_FOR_CHECK | IMAGE_LOCKED | (fix ? IMAGE_WRITE : 0));
	if (!node)
		return EXIT_FAILURE;
	bool ok = block_check(node, &check, &error);
	if (!ok && g_error_matches(error, BERTH_ERROR, BERTH_ERR_NOT_SUPPORTED) && !fix) {
		img_fail("This image format does not support checks");
		return STATUS_UNSUPPORTED;
	}
	if (ok)
		ok = check_again(node, &check, !env->quiet && kind == OUTPUT_HUMAN, &error);
	if (!ok)
		return img_fail("Check failed: %s", error->message);
	if (kind == OUTPUT_JSON)
		print_json(&check, name, block_format_name(node));
	else if (!env->quiet)
		print_human(&check);
	if (check.check_errors)
		return EXIT_FAILURE;
	return check.corruptions ? STATUS_CORRUPT : check.leaks ? STATUS_LEAKS : EXIT_SUCCESS;
}

static int run(int argc, char **argv)
{
	const char *format = NULL, *output = NULL, *repair = NULL, *cache = NULL;
	enum output_format kind;
	auto_image_env env = {0};
	image_env_init(&env);
	const struct option_row rows[] = {
		{'f', "format", OPTION_TEXT, &format, "FORMAT", "do not guess the image's format"},
		{'r', "repair", OPTION_TEXT, &repair, "leaks|all",
		 "repair lost clusters only, or everything (an image without a backup: copy it first)"},
		{0, "output", OPTION_TEXT, &output, "human|json", "how to print"},
		{'T', NULL, OPTION_TEXT, &cache, "CACHE", "cache mode for reading"},
		IMAGE_QUIET_ROW(env), IMAGE_OBJECT_ROW(env), IMAGE_OPTS_ROW(env), IMAGE_SHARE_ROW(env),
		IMAGE_END_ROW,
	};
	int first = args_read(argc, argv, rows);
	if (first < 0)
		return img_args_status(argv[0], rows, first);
	unsigned fix = 0;
	if (repair && g_str_equal(repair, "leaks"))
		fix = BLOCK_FIX_LEAKS;
	else if (repair && g_str_equal(repair, "all"))
		fix = BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS;
	else if (repair)
		return img_usage("Unknown option value for -r (expecting 'leaks' or 'all'): %s", repair);
	if (first != argc - 1)
		return img_usage("Expecting one image file name");
	if (!output_parse(output, &kind) || !image_env_objects(&env))
		return EXIT_FAILURE;
	if (!image_cache_valid(cache))
		return img_fail("Invalid source cache option: %s", cache);
	return check_image(&env, argv[first], format, cache, fix, kind);
}

const struct img_command check_command = {
	"check", "[--object objectdef] [--image-opts] [-q] [-f fmt] [--output=ofmt] [-r [leaks | all]] "
		 "[-T src_cache] [-U] filename",
	"Look for damage in an image, and repair it", run,
};
