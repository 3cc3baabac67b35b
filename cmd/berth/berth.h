/* SPDX-License-Identifier: GPL-2.0-or-later */
/* berth: the person's command. A table of subcommands; each has its file. */
#pragma once

#include "conf/vm.h"

struct subcommand {
	const char *name;
	const char *usage;   /* after the name: "[IMAGE] [options]" */
	const char *summary; /* one line */
	const char *text;    /* what `berth help NAME` teaches below the usage */
	char *(*options)(void); /* a line of help for each option; free with g_free() */
	/* argv[0] is the subcommand's name. Returns the exit status; prints its errors. */
	int (*run)(int argc, char **argv);
};
extern const struct subcommand run_command, validate_command, install_command, clone_command,
	top_command;
/* One line for each subcommand. */
void berth_print_programs(void);
/* What `berth help NAME` prints for a subcommand; false: there is none of that name. */
bool berth_help_program(const char *name);

/* --- run: wishes to a model -------------------------------------------------------------------- */

struct wishes {
	char *image, *name, *cpu, *kernel, *initrd, *append, *network, *accel, *firmware, *display;
	char *memory, *cpus, *machine;
	GPtrArray *disks, *cdroms, *forwards, *shares; /* char * */
	bool snapshot, dry_run, help;
	char **rest; /* after "--": for berth-vmm as they are; borrowed */
};
void wishes_init(struct wishes *wishes);
void wishes_clear(struct wishes *wishes);
bool wishes_parse(struct wishes *wishes, int argc, char **argv, GError **error);
/* One line of help for each option. Free with g_free(). */
char *wishes_help(void);

/* What berth-vmm is to run. `host_memory` (bytes) and `host_cpus` bound the defaults. */
struct conf_vm *wishes_to_conf(const struct wishes *wishes, uint64_t host_memory,
			       unsigned host_cpus, GError **error);

/* What a file is, by its first bytes. */
enum image_kind { IMAGE_RAW, IMAGE_KERNEL, IMAGE_ISO, IMAGE_OTHER };
/* *format is the name of an IMAGE_OTHER. */
bool image_detect(const char *path, enum image_kind *kind, const char **format, GError **error);

/* Prints "berth: <message>". Returns 1. */
int berth_fail(const GError *error);
