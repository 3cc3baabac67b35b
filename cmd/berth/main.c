/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "berth.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct subcommand *const subcommands[] = {&run_command, &validate_command};

int berth_fail(const GError *error)
{
	fprintf(stderr, "berth: %s\n", error->message);
	return EXIT_FAILURE;
}

static const struct subcommand *find(const char *name)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(subcommands); i++) {
		if (strcmp(subcommands[i]->name, name) == 0)
			return subcommands[i];
	}
	return NULL;
}

static int fail_unknown(const char *name)
{
	const char *names[G_N_ELEMENTS(subcommands) + 3] = {"help", "version"};
	for (unsigned i = 0; i < G_N_ELEMENTS(subcommands); i++)
		names[i + 2] = subcommands[i]->name;
	const char *near = nearest_name(name, names);
	fprintf(stderr, "berth: there is no command '%s'%s%s%s\n", name,
		near ? ": did you mean '" : ": see berth help", near ? near : "", near ? "'?" : "");
	return EXIT_FAILURE;
}

static void print_overview(void)
{
	printf("usage: berth COMMAND [arguments]\n\n"
	       "Runs virtual machines, with KVM or without it.\n\n");
	for (unsigned i = 0; i < G_N_ELEMENTS(subcommands); i++)
		printf("  berth %-10s %s\n", subcommands[i]->name, subcommands[i]->summary);
	printf("  berth %-10s %s\n  berth %-10s %s\n", "help", "explain a command: berth help run",
	       "version", "show the version");
	printf("\nA first machine, from a disk image with a Linux system on it:\n\n"
	       "  berth run disk.img\n\n"
	       "Its console is on this terminal. Ctrl-a x ends it, Ctrl-a c switches to the\n"
	       "monitor and back, Ctrl-a h helps. berth validate tells what this host can do.\n");
}

static int print_help(const char *name)
{
	const struct subcommand *command = name ? find(name) : NULL;
	if (name && !command)
		return fail_unknown(name);
	if (!command) {
		print_overview();
		return EXIT_SUCCESS;
	}
	printf("usage: berth %s %s\n\n%s.\n\n", command->name, command->usage, command->summary);
	if (command == &run_command) {
		g_autofree char *options = wishes_help();
		fputs(options, stdout);
	}
	printf("%s", command->text);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static const char *const help[] = {"help", "--help", "-help", "-h", NULL};
	static const char *const version[] = {"version", "--version", "-version", "-V", NULL};
	if (argc < 2) {
		print_overview();
		return EXIT_FAILURE;
	}
	if (g_strv_contains(help, argv[1]))
		return print_help(argc > 2 ? argv[2] : NULL);
	if (g_strv_contains(version, argv[1])) {
		printf("berth " BERTH_VERSION "\n");
		return EXIT_SUCCESS;
	}
	const struct subcommand *command = find(argv[1]);
	if (!command)
		return fail_unknown(argv[1]);
	if (argc > 2 && g_strv_contains(help + 1, argv[2]))
		return print_help(argv[1]);
	return command->run(argc - 1, argv + 1);
}
