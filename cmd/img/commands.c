/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The subcommands, in the order of --help. */
#include "img.h"

extern const struct img_command amend_command, bench_command, bitmap_command, check_command,
	commit_command, compare_command, convert_command, create_command, dd_command, info_command,
	map_command, measure_command, rebase_command, resize_command, serve_command, snapshot_command;

const struct img_command *const img_commands[] = {
	&amend_command,	 &bench_command,    &bitmap_command,  &check_command,  &commit_command,
	&compare_command, &convert_command, &create_command,  &dd_command,     &info_command,
	&map_command,	 &measure_command,  &snapshot_command, &rebase_command, &resize_command,
	&serve_command,
	NULL,
};
