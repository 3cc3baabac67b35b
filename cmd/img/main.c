/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth-img: qemu-img's commands, options, output and exit statuses over Berth's block layer. */
#include "img.h"

#include "base/error.h"
#include "base/log.h"
#include "image.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *program = "berth-img";

static void complain(const char *prefix, const char *format, va_list list)
{
	g_autofree char *text = g_strdup_vprintf(format, list);
	fflush(stdout);
	fprintf(stderr, "%s: %s%s\n", program, prefix, text);
}

int img_fail(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	complain("", format, list);
	va_end(list);
	return EXIT_FAILURE;
}

void img_warn(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	complain("warning: ", format, list);
	va_end(list);
}

int img_usage(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	complain("", format, list);
	va_end(list);
	fprintf(stderr, "Try '%s --help' for more information\n", program);
	return EXIT_FAILURE;
}

static void print_version(void)
{
	/* Tools look for "qemu-img version X.Y" to learn which options they may use. */
	printf("%s version 7.2.0 (Berth " BERTH_VERSION ")\n"
	       "Does what qemu-img 7.2 does; berth-img COMMAND --help explains a command.\n",
	       g_str_equal(program, "berth-img") ? "berth-img" : "qemu-img");
}

static const char explanations[] =
	"Names: a path; json:{...}; with --image-opts driver=FORMAT,file.filename=PATH.\n"
	"Sizes: a number and k, M, G, T, P or E (1024 each). Cache modes (-t, -T): none, writeback,\n"
	"writethrough, directsync, unsafe. -o help lists a format's options. -p shows progress (SIGUSR1\n"
	"prints it once), -q is quiet, -U opens images that another process uses.\n"
	"Exit status: 0 done, 1 failed. check: 2 corruptions, 3 leaks only, 63 no checks for this format.\n"
	"compare: 0 same, 1 different, 2 and above for errors.\n";

static void print_help(void)
{
	print_version();
	printf("usage: %s [standard options] command [command options]\n"
	       "Berth's disk image utility\n\n"
	       "    '-h', '--help'       display this help and exit\n"
	       "    '-V', '--version'    output version information and exit\n\n"
	       "Command syntax:\n", program);
	for (unsigned i = 0; img_commands[i]; i++)
		printf("  %s %s\n", img_commands[i]->name, img_commands[i]->usage);
	printf("\n%s\nSupported formats:", explanations);
	for (const char *const *name = image_format_names(); *name; name++)
		printf(" %s", *name);
	printf("\n");
}

int img_args_status(const char *command, const struct option_row *rows, int result)
{
	if (result == -1)
		return EXIT_FAILURE;
	for (unsigned i = 0; img_commands[i]; i++) {
		if (g_str_equal(img_commands[i]->name, command))
			printf("usage: %s %s %s\n\n%s.\n\n", program, command, img_commands[i]->usage,
			       img_commands[i]->summary);
	}
	args_help(rows);
	printf("\n%s", explanations);
	return EXIT_SUCCESS;
}

/* A number with a unit, but of more than 64 bits. */
static bool is_too_large(const char *text)
{
	static const char units[] = "kMGTPE";
	char *end;
	double value = g_ascii_isdigit(*text) ? g_ascii_strtod(text, &end) : 0;
	const char *unit = value > 0 && *end ? strchr(units, *end) : NULL;
	for (const char *u = units; unit && u <= unit; u++)
		value *= 1024;
	return value >= 0x1p63 && (!*end || (unit && !end[1]));
}

bool img_size_in(const char *text, const char *what, uint64_t min, uint64_t max, uint64_t *bytes)
{
	if (is_too_large(text)) {
		*bytes = UINT64_MAX; /* out of every range */
	} else if (!image_parse_size(text, bytes)) {
		img_fail("Invalid %s specified. You may use k, M, G, T, P or E suffixes for", what);
		img_fail("kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.");
		return false;
	}
	if (*bytes >= min && *bytes <= max)
		return true;
	if (max == INT64_MAX && *bytes < min)
		img_fail("Invalid %s specified. Must be >= %" PRIu64 ".", what, min);
	else
		img_fail("Invalid %s specified. Must be between %" PRIu64 " and %" PRIu64 ".", what, min,
			 max);
	return false;
}

bool img_size(const char *text, const char *what, uint64_t *bytes)
{
	return img_size_in(text, what, 0, INT64_MAX, bytes);
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	program = slash ? slash + 1 : argv[0];
	log_setup(program, LOG_LEVEL_WARNING, stderr);
	if (argc < 2)
		return img_usage("Not enough arguments");
	if (g_str_equal(argv[1], "-h") || g_str_equal(argv[1], "--help")) {
		print_help();
		return EXIT_SUCCESS;
	}
	if (g_str_equal(argv[1], "-V") || g_str_equal(argv[1], "--version")) {
		print_version();
		return EXIT_SUCCESS;
	}
	if (argv[1][0] == '-')
		return img_usage("unrecognized option '%s'", argv[1]);
	for (unsigned i = 0; img_commands[i]; i++) {
		if (g_str_equal(img_commands[i]->name, argv[1]))
			return img_commands[i]->run(argc - 1, argv + 1);
	}
	return img_usage("Command not found: %s", argv[1]);
}
