/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of the programs that drive a daemon: a GLib table, read and explained alike. */
#pragma once

#include "shell/shell.h"

/* A line of help for each option. Free with g_free(). */
char *entries_help(const GOptionEntry *entries);
/* Read argv by the table; false after an error was printed. `program` is for the message. */
bool entries_parse(struct shell *sh, const GOptionEntry *entries, int argc, char **argv,
		   const char *program);
