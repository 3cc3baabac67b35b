/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth-img: a table of subcommands; each has its file. */
#pragma once

#include "args.h"
#include "output.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct img_command {
	const char *name;
	const char *usage;   /* after the name, as qemu-img --help has it */
	const char *summary; /* one line */
	/* argv[0] is the subcommand's name. Returns the exit status; prints its errors. */
	int (*run)(int argc, char **argv);
};
extern const struct img_command *const img_commands[]; /* ended by NULL */

/* "PROGRAM: text" on stderr. Returns 1, the exit status of most failures. */
int img_fail(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* As img_fail(), and where to find help. */
int img_usage(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* A warning or hint in the same form. */
void img_warn(const char *format, ...) G_GNUC_PRINTF(1, 2);
/* The exit status when args_read() did not return an operand's index. */
int img_args_status(const char *command, const struct option_row *rows, int result);

/* A size as in "10M"; complains about `what` ("image size") as qemu-img does. */
bool img_size(const char *text, const char *what, uint64_t *bytes);
/* In [min, max]; the same with a range. */
bool img_size_in(const char *text, const char *what, uint64_t min, uint64_t max, uint64_t *bytes);

/* --- shared output (info.c) ------------------------------------------------------------------------ */

/* The table of snapshot -l and info, from objects as in ImageInfo's "snapshots". */
void snapshot_table_print(const json_t *snapshots);
