/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth-img bitmap: persistent dirty bitmaps. */
#include "image.h"

#include <stdlib.h>
#include <string.h>

struct wish {
	const char *format, *source_file, *source_format, *granularity;
	GPtrArray *actions; /* char *: "add", "merge=NAME", in order */
	bool added;
};

static bool one(struct block_node *node, struct block_node *source, const char *bitmap,
		const char *action, uint32_t granularity)
{
	static const char *const names[] = {"add", "remove", "clear", "enable", "disable", "merge"};
	g_autoptr(GError) error = NULL;
	struct block_bitmap_op op = {.name = bitmap, .granularity = granularity, .source = source};
	const char *equals = strchr(action, '=');
	g_autofree char *name = equals ? g_strndup(action, equals - action) : g_strdup(action);
	unsigned i = 0;
	while (!g_str_equal(names[i], name))
		i++;
	op.action = i;
	op.source_name = equals ? equals + 1 : NULL;
	if (block_bitmap(node, &op, &error))
		return true;
	img_fail("Operation %s on bitmap %s failed: %s", name, bitmap, error->message);
	return false;
}

static int change(struct image_env *env, const struct wish *wish, const char *name,
		  const char *bitmap, uint32_t granularity)
{
	auto_node node = image_open(env, name, wish->format, NULL, IMAGE_WRITE);
	if (!node)
		return EXIT_FAILURE;
	auto_node source = wish->source_file ? image_open(env, wish->source_file, wish->source_format, NULL,
							  IMAGE_PLAIN_NAME)
					     : block_ref(node);
	if (!source)
		return EXIT_FAILURE;
	for (unsigned i = 0; i < wish->actions->len; i++) {
		if (!one(node, source, bitmap, wish->actions->pdata[i], granularity))
			return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

static bool has(const struct wish *wish, const char *prefix)
{
	for (unsigned i = 0; i < wish->actions->len; i++) {
		if (g_str_has_prefix(wish->actions->pdata[i], prefix))
			return true;
	}
	return false;
}

static int run(int argc, char **argv)
{
	g_autoptr(GPtrArray) actions = g_ptr_array_new_with_free_func(g_free);
	struct wish wish = {.actions = actions};
	uint64_t granularity = 0;
	auto_image_env env = {0};
	image_env_init(&env);
	const struct option_row rows[] = {
		{0, "add", OPTION_EVENT, &actions, NULL, "make the bitmap, recording from now on"},
		{0, "remove", OPTION_EVENT, &actions, NULL, "delete the bitmap"},
		{0, "clear", OPTION_EVENT, &actions, NULL, "forget what it has recorded"},
		{0, "enable", OPTION_EVENT, &actions, NULL, "record from the next use on"},
		{0, "disable", OPTION_EVENT, &actions, NULL, "stop recording"},
		{0, "merge", OPTION_EVENT, &actions, "BITMAP", "add what BITMAP has recorded"},
		{'g', "granularity", OPTION_TEXT, &wish.granularity, "SIZE", "with --add: bytes for each bit"},
		{'b', "source-file", OPTION_TEXT, &wish.source_file, "FILE", "with --merge: where BITMAP is"},
		{'F', "source-format", OPTION_TEXT, &wish.source_format, "FORMAT", "of that file"},
		{'f', NULL, OPTION_TEXT, &wish.format, "FORMAT", "do not guess the image's format"},
		IMAGE_OBJECT_ROW(env), IMAGE_OPTS_ROW(env), IMAGE_END_ROW,
	};
	int first = args_read(argc, argv, rows);
	if (first < 0)
		return img_args_status(argv[0], rows, first);
	if (wish.granularity && !img_size(wish.granularity, "granularity", &granularity))
		return EXIT_FAILURE;
	if (argc - first != 2)
		return actions->len ? img_fail("Expecting filename and bitmap name")
				    : img_fail("Need at least one of --add, --remove, --clear, --enable, "
					       "--disable, or --merge");
	if (!actions->len)
		return img_fail("Need at least one of --add, --remove, --clear, --enable, --disable, or "
				"--merge");
	if (wish.granularity && !has(&wish, "add"))
		return img_fail("granularity only supported with --add");
	if (wish.source_format && !wish.source_file)
		return img_fail("-F only supported with -b");
	if (wish.source_file && !has(&wish, "merge"))
		return img_fail("Merge bitmap source file only supported with --merge");
	if (granularity > (UINT64_C(1) << 31))
		return img_fail("Granularity must be less than 4 GiB");
	if (!image_env_objects(&env))
		return EXIT_FAILURE;
	return change(&env, &wish, argv[first], argv[first + 1], granularity);
}

const struct img_command bitmap_command = {
	"bitmap", "(--merge SOURCE | --add | --remove | --clear | --enable | --disable)... [-b source_file "
		  "[-F source_fmt]] [-g granularity] [--object objectdef] [--image-opts | -f fmt] filename "
		  "bitmap",
	"Make, change and delete persistent dirty bitmaps", run,
};
