/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth-img create: a new image, and what create and convert share of making one. */
#include "create.h"
#include "target.h"

#include "base/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * "Formatting 'x', fmt=..." shows the options in QEMU's order, with the defaults that QEMU shows.
 * Formats that are not listed show what was given.
 */
static const struct shown {
	const char *format, *option, *preset;
} shown[] = {
	{"qcow2", "encryption"}, {"qcow2", "encrypt.format"}, {"qcow2", "encrypt.key-secret"},
	{"qcow2", "encrypt.cipher-alg"}, {"qcow2", "encrypt.cipher-mode"},
	{"qcow2", "encrypt.ivgen-alg"}, {"qcow2", "encrypt.ivgen-hash-alg"},
	{"qcow2", "encrypt.hash-alg"}, {"qcow2", "encrypt.iter-time"},
	{"qcow2", "cluster_size", "65536"}, {"qcow2", "extended_l2", "off"}, {"qcow2", "preallocation"},
	{"qcow2", "compression_type", "zlib"}, {"qcow2", "size"}, {"qcow2", "compat"},
	{"qcow2", "backing_file"}, {"qcow2", "backing_fmt"}, {"qcow2", "data_file"},
	{"qcow2", "data_file_raw"}, {"qcow2", "lazy_refcounts", "off"}, {"qcow2", "refcount_bits", "16"},
	{"vmdk", "size"}, {"vmdk", "adapter_type"}, {"vmdk", "backing_file"}, {"vmdk", "backing_fmt"},
	{"vmdk", "compat6", "off"}, {"vmdk", "hwversion", "undefined"}, {"vmdk", "toolsversion"},
	{"vmdk", "subformat"}, {"vmdk", "zeroed_grain"},
	{"vdi", "size"}, {"vdi", "static", "off"}, {"vdi", "preallocation"},
	{"vpc", "size"}, {"vpc", "subformat"}, {"vpc", "force_size"},
	{"vhdx", "size"}, {"vhdx", "log_size", "1048576"}, {"vhdx", "block_size", "0"},
	{"vhdx", "subformat"}, {"vhdx", "block_state_zero"},
	{"qed", "size"}, {"qed", "backing_file"}, {"qed", "backing_fmt"},
	{"qed", "cluster_size", "65536"}, {"qed", "table_size"},
	{"raw", "size"}, {"raw", "nocow"}, {"raw", "preallocation"}, {"raw", "extent_size_hint"},
	{"host_device", "size"}, {"luks", "size"}, {"luks", "key-secret"}, {"luks", "cipher-alg"}, {"luks", "cipher-mode"},
	{"luks", "ivgen-alg"}, {"luks", "ivgen-hash-alg"}, {"luks", "hash-alg"}, {"luks", "iter-time"},
};

static void print_option(const struct shown *row, const char *value, uint64_t size)
{
	uint64_t bytes;
	if (g_str_equal(row->option, "size"))
		printf(" size=%" PRIu64, size);
	else if (g_str_equal(row->option, "cluster_size") && value && image_parse_size(value, &bytes))
		printf(" cluster_size=%" PRIu64, bytes);
	else if (strstr(row->option, "_size") && value && image_parse_size(value, &bytes))
		printf(" %s=%" PRIu64, row->option, bytes);
	else if (value || row->preset)
		printf(" %s=%s", row->option, value ? value : row->preset);
}

static void print_formatting(const char *name, const char *format, const json_t *options, uint64_t size)
{
	printf("Formatting '%s', fmt=%s", name, format);
	for (unsigned i = 0; i < G_N_ELEMENTS(shown); i++) {
		if (g_str_equal(shown[i].format, format))
			print_option(&shown[i], image_option(options, shown[i].option), size);
	}
	printf("\n");
	fflush(stdout);
}

/* Options that the file below a format takes, not the format: shown where it is known. */
static bool is_of_file(const char *format, const char *line)
{
	return g_str_has_prefix(line, "  nocow=") ||
	       (g_str_equal(format, "raw") && g_str_has_prefix(line, "  preallocation="));
}

int create_help(const char *format, bool with_file)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = block_create_help(format, &error);
	if (!text)
		return img_fail("%s", error->message);
	if (with_file) {
		printf("%s", text);
		return EXIT_SUCCESS;
	}
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	printf("Supported %s options:\n", format);
	for (char **line = lines + 1; *line && **line; line++)
		if (!is_of_file(format, *line))
			printf("%s\n", *line);
	printf("\nThe protocol level may support further options.\n"
	       "Specify the target filename to include those options.\n");
	return EXIT_SUCCESS;
}

/* The new image's size from its backing image; UINT64_MAX if there is none. */
static bool size_from_backing(struct image_env *env, const char *name, const char *backing,
			      const char *backing_format, uint64_t *size)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = block_path_combine(name, backing);
	auto_node node = image_try_open(env, path, backing_format, NULL,
					IMAGE_PLAIN_NAME | IMAGE_LOCKED, &error);
	if (!node) {
		img_fail("%s: %s\nCould not open backing image.", name, error->message);
		return false;
	}
	if (!backing_format) {
		img_fail("%s: Backing file specified without backing format\nDetected format of %s.", name,
			 block_format_name(node));
		return false;
	}
	if (*size == UINT64_MAX)
		*size = block_size(node);
	return true;
}

static int create(struct image_env *env, const char *name, const char *format, json_t *options,
		  uint64_t size, bool unsafe)
{
	g_autoptr(GError) error = NULL;
	const char *backing = image_option(options, "backing_file");
	const char *backing_format = image_option(options, "backing_fmt");
	const char *size_option = image_option(options, "size");
	if (size_option && size == UINT64_MAX && !image_parse_size(size_option, &size))
		return img_fail("%s: Parameter 'size' expects a non-negative number below 2^64\nOptional "
				"suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand "
				"exabytes, respectively.", name);
	json_object_del(options, "size");
	if (backing && *backing && unsafe && !backing_format)
		return img_fail("%s: Backing file specified without backing format", name);
	if (backing && *backing && !unsafe &&
	    !size_from_backing(env, name, backing, backing_format, &size))
		return EXIT_FAILURE;
	if (size == UINT64_MAX)
		return img_fail("%s: Image creation needs a size parameter", name);
	if (!env->quiet)
		print_formatting(name, format, options, size);
	if (g_str_equal(format, "qcow2") && backing_format && !backing)
		return img_fail("%s: Backing format cannot be used without backing file", name);
	if (target_create(env, name, format, size, options, &error)) {
		target_keep();
		return EXIT_SUCCESS;
	}
	/* Scripts look for qemu-img's "Could not create". */
	bool plain = g_str_has_prefix(error->message, "cannot create ");
	return img_fail("%s: %s%s", name, plain ? "Could not create " : "",
			error->message + (plain ? strlen("cannot create ") : 0));
}

/* What can be said to be wrong before anything is touched. */
static bool check_options(const char *name, const char *format, json_t *options, const char *backing,
			  const char *backing_format)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *help = NULL;
	if (!image_format_known(format)) {
		img_fail("%s: Unknown file format '%s'", name, format);
		return false;
	}
	help = block_create_help(format, &error);
	if (!help) {
		img_fail("%s: Format driver '%s' does not support image creation", name, format);
		return false;
	}
	const char *key;
	json_t *value;
	json_object_foreach(options, key, value) {
		if (!create_option_check(help, name, key, json_string_value(value)))
			return false;
	}
	if ((backing || backing_format) && !create_option_known(help, "backing_file")) {
		img_fail("%s: %s not supported for file format '%s'", name,
			 backing ? "Backing file" : "Backing format", format);
		return false;
	}
	if (backing)
		json_object_set_new(options, "backing_file", json_string(backing));
	if (backing_format)
		json_object_set_new(options, "backing_fmt", json_string(backing_format));
	return true;
}

/* What is wrong with a value for an option of this type ("bool (on/off)", "size", "num"...), or NULL. */
static const char *wrong_value(const char *type, const char *value)
{
	bool on;
	uint64_t number;
	if (g_str_has_prefix(type, "bool") && !units_parse_bool(value, &on, NULL))
		return "expects 'on' or 'off'";
	if (g_str_has_prefix(type, "size>") && !image_parse_size(value, &number))
		return "expects a non-negative number below 2^64\nOptional suffix k, M, G, T, P or E means kilo-, "
		       "mega-, giga-, tera-, peta-\nand exabytes, respectively.";
	if (g_str_has_prefix(type, "num>") && !g_ascii_string_to_unsigned(value, 10, 0, UINT64_MAX, NULL, NULL))
		return "expects a number";
	return NULL;
}

bool create_option_check(const char *help, const char *name, const char *option, const char *value)
{
	g_autofree char *line = g_strdup_printf("\n  %s=<", option);
	const char *at = strstr(help, line), *colon = name ? ": " : "";
	if (!at)
		return !img_fail("%s%sInvalid parameter '%s'", name ? name : "", colon, option);
	const char *wrong = value ? wrong_value(at + strlen(line), value) : NULL;
	return !wrong || !img_fail("%s%sParameter '%s' %s", name ? name : "", colon, option, wrong);
}

bool create_option_known(const char *help, const char *option)
{
	g_autofree char *line = g_strdup_printf("\n  %s=", option);
	return strstr(help, line) != NULL;
}

static int run(int argc, char **argv)
{
	const char *format = "raw", *backing = NULL, *backing_format = NULL;
	bool unsafe = false, help;
	uint64_t size = UINT64_MAX;
	json_t *options = NULL;
	g_autoptr(GPtrArray) lists = g_ptr_array_new();
	auto_image_env env = {0};
	image_env_init(&env);
	const struct option_row rows[] = {
		{'f', NULL, OPTION_TEXT, &format, "FORMAT", "of the new image (default: raw)"},
		{'b', NULL, OPTION_TEXT, &backing, "FILE", "read from FILE what was not written yet"},
		{'F', NULL, OPTION_TEXT, &backing_format, "FORMAT", "of the backing file"},
		{'o', NULL, OPTION_LIST, &lists, "OPTIONS", "as NAME=VALUE,...; -o help lists them"},
		{'u', NULL, OPTION_FLAG, &unsafe, NULL, "do not look at the backing file; needs a size"},
		IMAGE_QUIET_ROW(env), IMAGE_OBJECT_ROW(env), IMAGE_END_ROW,
	};
	int first = args_read(argc, argv, rows);
	if (first < 0)
		return img_args_status(argv[0], rows, first);
	if (!image_parse_options(lists, &options, &help))
		return EXIT_FAILURE;
	int status = EXIT_FAILURE;
	if (help)
		status = create_help(format, first < argc);
	else if (first >= argc)
		img_usage("Expecting image file name");
	else if (argc - first > 2)
		img_usage("Unexpected argument: %s", argv[first + 2]);
	else if (first + 1 < argc && image_option(options, "size"))
		img_fail("%s: The image size must be specified only once", argv[first]);
	else if ((first + 1 >= argc || img_size(argv[first + 1], "image size", &size)) &&
		 image_env_objects(&env) &&
		 check_options(argv[first], format, options, backing, backing_format))
		status = create(&env, argv[first], format, options, size, unsafe);
	json_decref(options);
	return status;
}

const struct img_command create_command = {
	"create", "[--object objectdef] [-q] [-f fmt] [-b backing_file [-F backing_fmt]] [-u] "
		  "[-o options] filename [size]",
	"Make a new image", run,
};
