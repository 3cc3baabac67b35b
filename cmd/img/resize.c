/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth-img resize: change the size of the disk in an image. */
#include "image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "10M", "+10M" or "-10M" and the present size to the new one; -1 if it would be negative. */
static int64_t new_size(uint64_t old, uint64_t change, char sign)
{
	if (sign == '+')
		return old + change > INT64_MAX ? -1 : (int64_t)(old + change);
	if (sign == '-')
		return change > old ? -1 : (int64_t)(old - change);
	return change > INT64_MAX ? -1 : (int64_t)change;
}

/* New room behind `from`: "falloc" and "full" make it real. */
static bool preallocate(struct block_node *node, uint64_t from, const char *mode, GError **error)
{
	static const uint8_t zeroes[65536];
	uint64_t size = block_size(node);
	if (g_str_equal(mode, "off"))
		return true;
	for (uint64_t at = from; at < size; at += sizeof(zeroes)) {
		if (!block_write_sync(node, at, zeroes, MIN(sizeof(zeroes), size - at), error))
			return false;
	}
	return true;
}

static int resize(struct image_env *env, const char *name, const char *format, char sign,
		  uint64_t change, const char *mode, bool shrink)
{
	g_autoptr(GError) error = NULL;
	auto_node node = image_open(env, name, format, NULL, IMAGE_WRITE);
	if (!node)
		return EXIT_FAILURE;
	uint64_t old = block_size(node);
	int64_t size = new_size(old, change, sign);
	if (size <= 0)
		return img_fail("New image size must be positive");
	if ((uint64_t)size < old && !shrink) {
		img_fail("Use the --shrink option to perform a shrink operation.");
		img_warn("Shrinking an image will delete all data beyond the shrunken image's end. Before "
			 "performing such an operation, make sure there is no important data there.");
		return EXIT_FAILURE;
	}
	if ((uint64_t)size < old && !g_str_equal(mode, "off"))
		return img_fail("Preallocation can only be used for growing images");
	bool raw = g_str_equal(block_format_name(node), "raw");
	if (raw && g_str_equal(mode, "metadata"))
		return img_fail("Unsupported preallocation mode: metadata");
	if (!block_resize(node, size, &error) || !preallocate(node, old, mode, &error))
		return img_fail("%s", error->message);
	if (!env->quiet)
		printf("Image resized.\n");
	return EXIT_SUCCESS;
}

static int run(int argc, char **argv)
{
	static const char *const modes[] = {"off", "metadata", "falloc", "full", NULL};
	const char *format = NULL, *mode = "off";
	bool shrink = false;
	uint64_t change;
	auto_image_env env = {0};
	image_env_init(&env);
	const struct option_row rows[] = {
		{'f', NULL, OPTION_TEXT, &format, "FORMAT", "do not guess the image's format"},
		{0, "preallocation", OPTION_TEXT, &mode, "MODE", "off, metadata, falloc or full"},
		{0, "shrink", OPTION_FLAG, &shrink, NULL, "allow to cut data off"},
		IMAGE_QUIET_ROW(env), IMAGE_OBJECT_ROW(env), IMAGE_OPTS_ROW(env), IMAGE_END_ROW,
	};
	/* The size comes last and may begin with '-': it is no option. */
	if (argc < 3 && !(argc == 2 && (g_str_equal(argv[1], "-h") || g_str_equal(argv[1], "--help"))))
		return img_usage("Not enough arguments");
	const char *size = argc < 3 ? NULL : argv[--argc];
	int first = args_read(argc, argv, rows);
	if (first < 0)
		return img_args_status(argv[0], rows, first);
	if (!g_strv_contains(modes, mode))
		return img_fail("Invalid preallocation mode '%s'", mode);
	if (first != argc - 1)
		return img_usage("Expecting image file name and size");
	char sign = *size == '+' || *size == '-' ? *size : 0;
	if (!image_parse_size(size + (sign ? 1 : 0), &change))
		return img_fail("Parameter 'size' expects a non-negative number below 2^64\nOptional suffix k, "
				"M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, "
				"respectively.");
	if (!image_env_objects(&env))
		return EXIT_FAILURE;
	return resize(&env, argv[first], format, sign, change, mode, shrink);
}

const struct img_command resize_command = {
	"resize", "[--object objectdef] [--image-opts] [-f fmt] [--preallocation=prealloc] [-q] [--shrink] "
		  "filename [+ | -]size",
	"Change the size of the disk in an image", run,
};
