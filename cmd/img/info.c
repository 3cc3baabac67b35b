/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth-img info: what an image is, alone or with its backing chain. */
#include "image.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char *text_of(const json_t *info, const char *key)
{
	return json_string_value(json_object_get(info, key));
}

static uint64_t number_of(const json_t *info, const char *key)
{
	return json_integer_value(json_object_get(info, key));
}

void snapshot_table_print(const json_t *snapshots)
{
	printf("Snapshot list:\n%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK",
	       "ICOUNT");
	for (size_t i = 0; i < json_array_size(snapshots); i++) {
		const json_t *one = json_array_get(snapshots, i);
		g_autofree char *size = output_size(number_of(one, "vm-state-size"));
		uint64_t clock = number_of(one, "vm-clock-sec");
		time_t date = number_of(one, "date-sec");
		const json_t *icount = json_object_get(one, "icount");
		g_autofree char *count = icount ? g_strdup_printf("%" PRIu64, number_of(one, "icount"))
						: g_strdup("--");
		struct tm tm;
		char when[64], ran[64];
		localtime_r(&date, &tm);
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
		snprintf(ran, sizeof(ran), "%02u:%02u:%02u.%03u", (unsigned)(clock / 3600),
			 (unsigned)(clock / 60 % 60), (unsigned)(clock % 60),
			 (unsigned)(number_of(one, "vm-clock-nsec") / 1000000));
		printf("%-9s %-16s %8s%20s%13s%11s\n", text_of(one, "id"), text_of(one, "name"), size,
		       when, ran, count);
	}
}

static void print_backing(const json_t *info)
{
	const char *name = text_of(info, "backing-filename"), *full = text_of(info, "full-backing-filename");
	const char *format = text_of(info, "backing-filename-format");
	if (!name)
		return;
	printf("backing file: %s", name);
	if (!full)
		printf(" (cannot determine actual path)");
	else if (!g_str_equal(name, full))
		printf(" (actual path: %s)", full);
	printf("\n");
	if (format)
		printf("backing file format: %s\n", format);
}

static void print_human(const json_t *info)
{
	uint64_t size = number_of(info, "virtual-size");
	g_autofree char *shown = output_size(size);
	const json_t *actual = json_object_get(info, "actual-size");
	g_autofree char *disk = actual ? output_size(number_of(info, "actual-size"))
				       : g_strdup("unavailable");
	printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRIu64 " bytes)\ndisk size: %s\n",
	       text_of(info, "filename"), text_of(info, "format"), shown, size, disk);
	if (json_is_true(json_object_get(info, "encrypted")))
		printf("encrypted: yes\n");
	if (json_object_get(info, "cluster-size"))
		printf("cluster_size: %" PRIu64 "\n", number_of(info, "cluster-size"));
	if (json_is_true(json_object_get(info, "dirty-flag")))
		printf("cleanly shut down: no\n");
	print_backing(info);
	if (json_array_size(json_object_get(info, "snapshots")))
		snapshot_table_print(json_object_get(info, "snapshots"));
	const json_t *specific = json_object_get(json_object_get(info, "format-specific"), "data");
	if (json_object_size(specific)) {
		printf("Format specific information:\n");
		output_human(specific, 1);
	}
}

/* What the tables may take of memory once the image is in use, however large it is. */
static void print_cache(struct block_node *node)
{
	struct block_cache_bound bound;
	if (!block_cache_bound(node, &bound)) {
		printf("cache: this is told of qcow2 images, not of '%s'\n", block_format_name(node));
		return;
	}
	g_autofree char *bytes = output_size(bound.bytes), *covers = output_size(bound.covers);
	printf("cache: at most %s of tables in memory, enough for %s of the disk (option cache-size)\n",
	       bytes, covers);
}

/* The infos of `name` and, if asked for, of all that is below it; NULL after a complaint. */
static json_t *collect(struct image_env *env, const char *name, const char *format, bool chain,
		       bool cache)
{
	json_t *list = json_array();
	g_autofree char *next = g_strdup(name), *next_format = g_strdup(format);
	unsigned flags = 0;
	while (next) {
		g_autoptr(GError) error = NULL;
		auto_node node = image_open(env, next, next_format, NULL,
					    IMAGE_NO_BACKING | IMAGE_FOR_CHECK | IMAGE_LOCKED | flags);
		json_t *info = node ? block_info(node, &error) : NULL;
		if (!info) {
			if (error)
				img_fail("Could not get information of '%s': %s", next, error->message);
			json_decref(list);
			return NULL;
		}
		if (cache)
			print_cache(node);
		json_object_set_new(info, "filename",
				    json_string(block_filename(node) ? block_filename(node) : next));
		json_array_append_new(list, info);
		g_free(next);
		g_free(next_format);
		next = chain ? block_backing_path(node) : NULL;
		next_format = g_strdup(block_backing_format(node));
		flags = IMAGE_PLAIN_NAME;
		if (json_array_size(list) > 1000) {
			img_fail("Backing file '%s' creates an infinite loop.", next);
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static int run(int argc, char **argv)
{
	const char *format = NULL, *output = NULL;
	bool chain = false, cache = false;
	enum output_format kind;
	auto_image_env env = {0};
	image_env_init(&env);
	const struct option_row rows[] = {
		{'f', "format", OPTION_TEXT, &format, "FORMAT", "do not guess the image's format"},
		{0, "output", OPTION_TEXT, &output, "human|json", "how to print"},
		{0, "backing-chain", OPTION_FLAG, &chain, NULL, "show the backing images too"},
		{0, "cache", OPTION_FLAG, &cache, NULL, "say first how much memory its tables may take"},
		IMAGE_OBJECT_ROW(env), IMAGE_OPTS_ROW(env), IMAGE_SHARE_ROW(env), IMAGE_END_ROW,
	};
	int first = args_read(argc, argv, rows);
	if (first < 0)
		return img_args_status(argv[0], rows, first);
	if (first != argc - 1)
		return img_usage("Expecting one image file name");
	if (!output_parse(output, &kind) || !image_env_objects(&env))
		return EXIT_FAILURE;
	if (cache && kind == OUTPUT_JSON)
		return img_usage("--cache is for people: leave out --output=json");
	json_t *list = collect(&env, argv[first], format, chain, cache);
	if (!list)
		return EXIT_FAILURE;
	for (size_t i = 0; kind == OUTPUT_HUMAN && i < json_array_size(list); i++) {
		printf("%s", i ? "\n" : "");
		print_human(json_array_get(list, i));
	}
	if (kind == OUTPUT_JSON)
		output_json(chain ? list : json_array_get(list, 0));
	json_decref(list);
	return EXIT_SUCCESS;
}

const struct img_command info_command = {
	"info", "[--object objectdef] [--image-opts] [-f fmt] [--output=ofmt] [--backing-chain] [-U] "
		"filename",
	"Show what an image is: format, sizes, backing file, snapshots", run,
};
