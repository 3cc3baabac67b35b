/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line: tables of options, one per topic, each row with its argument, its help and a
 * function that writes what it says into the VM model. Parsing opens nothing and prints nothing.
 */
#pragma once

#include "conf/vm.h"

/* What to print instead of running. */
enum options_show {
	SHOW_NOTHING, SHOW_HELP, SHOW_VERSION, SHOW_MACHINES, SHOW_MACHINE_PROPERTIES, SHOW_ACCELS,
	SHOW_CPUS, SHOW_DEVICES, SHOW_NETDEVS, SHOW_CHARDEVS, SHOW_OBJECTS, SHOW_LOG_ITEMS,
};

struct options {
	struct conf_vm *conf;
	enum options_show show;
	char *show_name;    /* the device of -device NAME,help */
	bool forbid_files;  /* refuse -readconfig: for fuzzing */
};

struct option {
	const char *name;     /* without the dash */
	const char *argument; /* as help shows it, or NULL if it takes none */
	const char *help;
	bool (*apply)(struct options *o, const char *value, GError **error);
	const char *missing;  /* not NULL: understood, but this is why it is refused */
};

struct option_topic {
	const char *title;
	const struct option *options; /* ended by name == NULL */
};
/* Ended by title == NULL. */
extern const struct option_topic option_topics[];

extern const struct option options_machine[], options_boot[], options_block[], options_network[],
	options_stream[], options_display[], options_process[], options_debug[], options_missing[];

void options_init(struct options *o);
void options_clear(struct options *o);
/* `args` without argv[0], NULL-terminated. Stops at the first request to show something. */
bool options_parse(struct options *o, const char *const *args, GError **error);
/* One option by name, without dash. */
bool options_apply(struct options *o, const char *name, const char *value, GError **error);
/* -readconfig: the file's text. */
bool options_read_config(struct options *o, const char *text, const char *path, GError **error);

/* Is `value` a request for help? If so, note it. `show` with the part before ",help" if any. */
bool options_wants_help(struct options *o, const char *value, enum options_show show);
/* What -d takes. */
struct log_item {
	const char *name;
	unsigned trace; /* enum conf_trace, or 0: log lines below warnings */
	const char *help;
};
extern const struct log_item options_log_items[]; /* ended by name == NULL */
/* A copy of `value` replaces *target. Returns true. */
bool options_set(char **target, const char *value);
/* The text of -help. Free with g_free(). */
char *options_help(const char *program);
