/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A subcommand's options as data: one table gives what getopt_long() needs, where the values go and
 * what --help teaches. Complaints are worded as qemu-img words them, because scripts read them.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

enum option_kind {
	OPTION_FLAG,  /* bool */
	OPTION_TEXT,  /* const char *; the last one counts */
	OPTION_LIST,  /* GPtrArray of const char *, in order */
	OPTION_EVENT, /* like LIST, but "NAME" or "NAME=VALUE" in the order across several options */
};

struct option_row {
	char letter;      /* or 0 */
	const char *name; /* long, or NULL */
	enum option_kind kind;
	void *target;
	const char *value; /* its name in help; NULL: takes none */
	const char *help;
};

/*
 * Reads argv (argv[0] is the subcommand). Returns the index of the first operand, -1 after printing a
 * complaint, or -2 if help is asked for. argv is permuted.
 */
int args_read(int argc, char **argv, const struct option_row *rows);
void args_help(const struct option_row *rows);
