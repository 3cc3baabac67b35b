/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Option tables on top of getopt_long(): see args.h. */
#include "args.h"

#include "img.h"

#include <getopt.h>
#include <stdio.h>

enum { HELP = 'h', LONG_BASE = 256 };

static void store(const struct option_row *row, const char *value)
{
	switch (row->kind) {
	case OPTION_FLAG:
		*(bool *)row->target = true;
		break;
	case OPTION_TEXT:
		*(const char **)row->target = value;
		break;
	case OPTION_LIST:
		g_ptr_array_add(*(GPtrArray **)row->target, (void *)value);
		break;
	case OPTION_EVENT:
		g_ptr_array_add(*(GPtrArray **)row->target,
				value ? g_strdup_printf("%s=%s", row->name, value)
				      : g_strdup(row->name));
		break;
	}
}

int args_read(int argc, char **argv, const struct option_row *rows)
{
	GString *letters = g_string_new(":h");
	g_autofree struct option *options = g_new0(struct option, 64);
	unsigned count = 0;
	int result = 0, c;
	for (unsigned i = 0; rows[i].target; i++) {
		if (rows[i].letter)
			g_string_append_printf(letters, "%c%s", rows[i].letter,
					       rows[i].value ? ":" : "");
		if (rows[i].name)
			options[count++] = (struct option){rows[i].name, rows[i].value ? 1 : 0, NULL,
							   LONG_BASE + i};
	}
	options[count] = (struct option){"help", 0, NULL, HELP};
	optind = 0;
	while (result == 0 && (c = getopt_long(argc, argv, letters->str, options, NULL)) != -1) {
		const struct option_row *row = NULL;
		for (unsigned i = 0; rows[i].target && !row; i++)
			row = c == LONG_BASE + (int)i || (rows[i].letter && c == rows[i].letter)
				      ? &rows[i] : NULL;
		if (row)
			store(row, row->value ? optarg : NULL);
		else if (c == HELP)
			result = -2;
		else if (c == ':')
			result = img_usage("missing argument for option '%s'", argv[optind - 1]);
		else
			result = img_usage("unrecognized option '%s'", argv[optind - 1]);
	}
	g_string_free(letters, TRUE);
	return result == 0 ? optind : result == -2 ? -2 : -1;
}

void args_help(const struct option_row *rows)
{
	for (unsigned i = 0; rows[i].target; i++) {
		const struct option_row *row = &rows[i];
		g_autofree char *letter = row->letter ? g_strdup_printf("-%c", row->letter) : g_strdup("");
		printf("  %s%s%s%s%s%s\n        %s\n", letter, row->letter && row->name ? ", " : "",
		       row->name ? "--" : "", row->name ? row->name : "", row->value ? " " : "",
		       row->value ? row->value : "", row->help);
	}
}
