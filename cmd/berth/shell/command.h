/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of commands, made from schema/berth.commands, and a command line that was parsed by it. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct shell;
struct cmd;

enum option_type { OPTION_SWITCH, OPTION_DATA, OPTION_STRING, OPTION_NUMBER, OPTION_REST, OPTION_ALIAS };
enum { OPTION_REQUIRED = 1, OPTION_NAMED = 2, OPTION_EMPTY = 4 };

struct command_option {
	const char *name;
	enum option_type type;
	unsigned flags;
	const char *help;
	const char *alias, *value; /* of OPTION_ALIAS: the other name, and the value that it means */
};
struct command {
	const char *name, *summary;
	unsigned group;
	bool offline; /* needs no connection */
	const struct command_option *options; /* ended by a NULL name */
	bool (*run)(struct shell *sh, const struct cmd *cmd);
	const char *alias_of; /* or NULL */
};
struct command_group {
	const char *keyword, *title;
};
extern const struct command commands[];          /* ended by a NULL name */
extern const struct command_group command_groups[]; /* likewise */

const struct command *command_find(const char *name);

/* One command with its options, as typed. */
struct cmd {
	const struct command *def;
	GPtrArray *given; /* struct given_option */
};
struct given_option {
	const struct command_option *def;
	char *text; /* NULL for a switch */
};
void cmd_free(struct cmd *cmd);

/*
 * Parse a line of commands with ; between them, or one command in words. Returns struct cmd's, or
 * NULL after an error was printed.
 */
GPtrArray *command_parse_line(struct shell *sh, const char *line);
GPtrArray *command_parse_words(struct shell *sh, int count, char **words);

/* --- Options ---------------------------------------------------------------------------------- */

bool opt_bool(const struct cmd *cmd, const char *name);
/* Borrowed; NULL if not given. */
const char *opt_text(const struct cmd *cmd, const char *name);
/* As opt_text(), but an empty text is an error (printed) unless the option allows it. */
bool opt_string(struct shell *sh, const struct cmd *cmd, const char *name, const char **value);
/*
 * 1: given, *value is set; 0: not given, *value is left alone; -1: no number, an error was printed.
 * opt_wrap() takes negative numbers for unsigned ones, as C does.
 */
int opt_int(struct shell *sh, const struct cmd *cmd, const char *name, int32_t *value);
int opt_uint(struct shell *sh, const struct cmd *cmd, const char *name, uint32_t *value);
int opt_long(struct shell *sh, const struct cmd *cmd, const char *name, int64_t *value);
int opt_ulong(struct shell *sh, const struct cmd *cmd, const char *name, uint64_t *value);
int opt_wrap(struct shell *sh, const struct cmd *cmd, const char *name, uint64_t *value);
/* A size with a unit; `scale` counts if there is none. */
int opt_scaled(struct shell *sh, const struct cmd *cmd, const char *name, uint64_t scale, uint64_t max,
	       uint64_t *value);
/* The words of OPTION_REST; free the array itself with g_ptr_array_unref(). */
GPtrArray *opt_rest(const struct cmd *cmd);
/* Exclusive switches: false after an error if both are given. */
bool opt_exclusive(struct shell *sh, const struct cmd *cmd, const char *first, const char *second);
/* `first` needs `second`. */
bool opt_require(struct shell *sh, const struct cmd *cmd, const char *first, const char *second);

/*
 * The usual three: --live 1, --config 2, --current alone 0. False after an error.
 * *any tells whether any was given.
 */
bool opt_affect(struct shell *sh, const struct cmd *cmd, uint32_t *flags, bool *any);

/* libvirt's integer with a suffix (k, KB, KiB, M, ...). False: malformed or above `max`. */
bool scale_number(const char *text, uint64_t scale, uint64_t max, uint64_t *value);
bool parse_uint64(const char *text, uint64_t *value);
bool parse_int64(const char *text, int64_t *value);

/* The bits of those switches in the table (ended by a NULL name) that are given. */
struct option_flag {
	const char *name;
	uint32_t bit;
};
uint32_t opt_flags(const struct cmd *cmd, const struct option_flag *table);
