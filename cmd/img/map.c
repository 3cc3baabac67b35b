/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth-img map: which bytes of an image lie where, down its backing chain. */
#include "image.h"

#include <stdio.h>
#include <stdlib.h>

struct entry {
	uint64_t start;
	struct block_extent extent;
	unsigned depth;
};

static void print_human(const struct entry *entry, bool *opaque_seen)
{
	const struct block_extent *extent = &entry->extent;
	if (!(extent->flags & BLOCK_STATUS_DATA) || extent->flags & BLOCK_STATUS_ZERO)
		return;
	if (!(extent->flags & BLOCK_STATUS_OFFSET)) {
		*opaque_seen = true;
		return;
	}
	printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", entry->start, extent->length,
	       extent->host_offset, extent->file ? block_filename(extent->file) : "");
}

static void print_json(const struct entry *entry, bool first)
{
	const struct block_extent *extent = &entry->extent;
	bool zero = extent->flags & BLOCK_STATUS_ZERO || !(extent->flags & BLOCK_STATUS_ALLOCATED);
	printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"depth\": %u, \"present\": %s, "
	       "\"zero\": %s, \"data\": %s", first ? "[" : ",\n", entry->start, extent->length,
	       entry->depth, extent->flags & BLOCK_STATUS_ALLOCATED ? "true" : "false",
	       zero ? "true" : "false", extent->flags & BLOCK_STATUS_DATA ? "true" : "false");
	if (extent->flags & BLOCK_STATUS_OFFSET)
		printf(", \"offset\": %" PRIu64, extent->host_offset);
	printf("}");
}

static int map(struct block_node *node, uint64_t start, uint64_t end, enum output_format kind)
{
	bool opaque = false, first = true;
	if (kind == OUTPUT_HUMAN)
		printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
	while (start < end) {
		g_autoptr(GError) error = NULL;
		struct entry entry = {.start = start};
		if (!image_chain_status(node, start, end - start, &entry.extent, &entry.depth, &error))
			return img_fail("Failed to read image metadata: %s", error->message);
		if (kind == OUTPUT_JSON)
			print_json(&entry, first);
		else
			print_human(&entry, &opaque);
		first = false;
		start += entry.extent.length;
	}
	if (kind == OUTPUT_JSON)
		printf("%s]\n", first ? "[" : "");
	return opaque ? img_fail("File contains external, encrypted or compressed clusters.")
		      : EXIT_SUCCESS;
}

static int run(int argc, char **argv)
{
	const char *format = NULL, *output = NULL, *from = NULL, *limit = NULL;
	uint64_t start = 0, length = INT64_MAX;
	enum output_format kind;
	auto_image_env env = {0};
	image_env_init(&env);
	const struct option_row rows[] = {
		{'f', "format", OPTION_TEXT, &format, "FORMAT", "do not guess the image's format"},
		{0, "output", OPTION_TEXT, &output, "human|json", "how to print"},
		{'s', "start-offset", OPTION_TEXT, &from, "OFFSET", "where to begin"},
		{'l', "max-length", OPTION_TEXT, &limit, "LENGTH", "how far to go"},
		IMAGE_OBJECT_ROW(env), IMAGE_OPTS_ROW(env), IMAGE_SHARE_ROW(env), IMAGE_END_ROW,
	};
	int first = args_read(argc, argv, rows);
	if (first < 0)
		return img_args_status(argv[0], rows, first);
	if ((from && !img_size(from, "start offset", &start)) ||
	    (limit && !img_size(limit, "max length", &length)))
		return EXIT_FAILURE;
	if (first != argc - 1)
		return img_usage("Expecting one image file name");
	if (!output_parse(output, &kind) || !image_env_objects(&env))
		return EXIT_FAILURE;
	auto_node node = image_open(&env, argv[first], format, NULL, 0);
	if (!node)
		return EXIT_FAILURE;
	uint64_t size = block_size(node);
	return map(node, start, start < size ? start + MIN(length, size - start) : start, kind);
}

const struct img_command map_command = {
	"map", "[--object objectdef] [--image-opts] [-f fmt] [--start-offset=offset] [--max-length=len] "
	       "[--output=ofmt] [-U] filename",
	"Show which parts of an image hold data, and where", run,
};
