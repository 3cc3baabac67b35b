/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth-img dd: copy a part of an image, with dd's operands. */
#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct operands {
	const char *input, *output;
	uint64_t block, count, skip;
	bool has_count;
};

static bool take_operand(struct operands *operands, const char *text)
{
	const char *equals = strchr(text, '=');
	g_autofree char *name = equals ? g_strndup(text, equals - text) : g_strdup(text);
	const char *value = equals ? equals + 1 : NULL;
	if (value && g_str_equal(name, "if")) {
		operands->input = value;
		return true;
	}
	if (value && g_str_equal(name, "of")) {
		operands->output = value;
		return true;
	}
	if (value && g_str_equal(name, "bs"))
		return img_size_in(value, "bs", 1, INT32_MAX, &operands->block);
	if (value && g_str_equal(name, "count")) {
		operands->has_count = true;
		return img_size(value, "count", &operands->count);
	}
	if (value && g_str_equal(name, "skip"))
		return img_size(value, "skip", &operands->skip);
	img_fail("unrecognized operand %s", name);
	return false;
}

static bool copy(struct block_node *from, struct block_node *to, uint64_t start, uint64_t end,
		 uint64_t block)
{
	/* Large steps are as good as small ones: only the result counts. */
	uint64_t step = MAX(block, 1 << 20) / block * block;
	g_autofree uint8_t *bytes = g_malloc(step);
	for (uint64_t at = start; at < end && !target_interrupted(); at += step) {
		g_autoptr(GError) error = NULL;
		uint64_t n = MIN(step, end - at);
		if (!block_read_sync(from, at, bytes, n, &error)) {
			img_fail("error while reading from input image file: %s", error->message);
			return false;
		}
		if (!image_is_zero(bytes, n) && !block_write_sync(to, at - start, bytes, n, &error)) {
			img_fail("error while writing to output image file: %s", error->message);
			return false;
		}
	}
	return !target_interrupted();
}

static int dd(struct image_env *env, const struct operands *operands, const char *format,
	      const char *out_format)
{
	g_autoptr(GError) error = NULL;
	auto_node from = image_open(env, operands->input, format, NULL, 0);
	if (!from)
		return EXIT_FAILURE;
	uint64_t size = block_size(from);
	if (operands->has_count && operands->count <= INT64_MAX / operands->block)
		size = MIN(size, operands->count * operands->block);
	bool overflow = operands->skip && operands->block > INT64_MAX / operands->skip;
	uint64_t start = overflow ? UINT64_MAX : operands->skip * operands->block;
	if (start > size)
		img_fail("%s: cannot skip to specified offset", operands->input);
	uint64_t length = start > size ? 0 : size - start;
	json_t *options = json_object();
	bool made = target_create(env, operands->output, out_format, length, options, &error);
	json_decref(options);
	if (!made)
		return img_fail("%s: error while creating output image of type '%s': %s", operands->output,
				out_format, error->message);
	struct block_node *to = image_open(env, operands->output, out_format, NULL,
					   IMAGE_WRITE | IMAGE_PLAIN_NAME);
	if (to)
		target_opened(to);
	bool good = to && copy(from, to, start, start > size ? start : size, operands->block);
	block_close(to);
	if (good)
		target_keep();
	else
		target_remove(env);
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(int argc, char **argv)
{
	const char *format = NULL, *out_format = "raw";
	struct operands operands = {.block = 512};
	auto_image_env env = {0};
	image_env_init(&env);
	const struct option_row rows[] = {
		{'f', NULL, OPTION_TEXT, &format, "FORMAT", "of the input"},
		{'O', NULL, OPTION_TEXT, &out_format, "FORMAT", "of the output (default: raw)"},
		IMAGE_OBJECT_ROW(env), IMAGE_OPTS_ROW(env), IMAGE_SHARE_ROW(env), IMAGE_END_ROW,
	};
	int first = args_read(argc, argv, rows);
	if (first < 0)
		return img_args_status(argv[0], rows, first);
	for (int i = first; i < argc; i++) {
		if (!take_operand(&operands, argv[i]))
			return EXIT_FAILURE;
	}
	if (!operands.input || !operands.output)
		return img_fail("Must specify both input and output files");
	if (!image_format_known(out_format))
		return img_fail("Unknown file format '%s'", out_format);
	return image_env_objects(&env) ? dd(&env, &operands, format, out_format) : EXIT_FAILURE;
}

const struct img_command dd_command = {
	"dd", "[--image-opts] [-U] [-f fmt] [-O output_fmt] [bs=block_size] [count=blocks] [skip=blocks] "
	      "if=input of=output",
	"Copy a part of an image", run,
};
