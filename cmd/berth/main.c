/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The program: a subcommand of its own, or the shell of libvirt's commands. */
#include "berth.h"

#include "base/error.h"
#include "shell/shell.h"

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct subcommand *const subcommands[] = {
	&run_command, &install_command, &clone_command, &top_command, &validate_command,
};

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

void berth_print_programs(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(subcommands); i++)
		printf("    %-30s %s\n", subcommands[i]->name, subcommands[i]->summary);
	fflush(stdout);
}

bool berth_help_program(const char *name)
{
	const struct subcommand *command = find(name);
	if (!command)
		return false;
	printf("usage: berth %s %s\n\n%s.\n\n", command->name, command->usage, command->summary);
	if (command->options) {
		g_autofree char *options = command->options();
		fputs(options, stdout);
	}
	printf("%s", command->text);
	fflush(stdout);
	return true;
}

/* --- Options before the command ---------------------------------------------------------------- */

static const struct option long_options[] = {
	{"connect", required_argument, NULL, 'c'}, {"debug", required_argument, NULL, 'd'},
	{"escape", required_argument, NULL, 'e'},  {"help", no_argument, NULL, 'h'},
	{"keepalive-interval", required_argument, NULL, 'k'},
	{"keepalive-count", required_argument, NULL, 'K'},
	{"log", required_argument, NULL, 'l'},	   {"output", required_argument, NULL, 'o'},
	{"quiet", no_argument, NULL, 'q'},	   {"readonly", no_argument, NULL, 'r'},
	{"timing", no_argument, NULL, 't'},	   {"version", optional_argument, NULL, 'v'},
	{NULL},
};

static bool set_escape(struct shell *sh, const char *text)
{
	bool control = text[0] == '^' && text[1] && !text[2] &&
		       ((text[1] >= 'a' && text[1] <= 'z') || (text[1] >= '@' && text[1] <= '_'));
	bool plain = text[0] && text[0] != '^' && !text[1];
	sh->escape = text;
	return control || plain || shell_fail(sh, "Invalid string '%s' for escape sequence", text);
}

static bool set_debug(struct shell *sh, const char *text)
{
	int64_t level;
	if (!parse_int64(text, &level))
		return shell_fail(sh, "option -d takes a numeric argument");
	if (level < 0 || level > 4)
		shell_fail(sh, "ignoring debug level %d out of range [%d-%d]", (int)level, 0, 4);
	else
		sh->debug = level;
	return true;
}

static bool set_keepalive(struct shell *sh, const char *text, char option, int *value)
{
	int64_t number;
	if (!parse_int64(text, &number) || number > INT32_MAX / 1000)
		return shell_fail(sh, "Invalid value for option -%c", option);
	if (number < 0)
		return shell_fail(sh, "option -%c requires a positive integer argument", option);
	/* 0 is no interval, or no patience. */
	*value = number ? (int)number : -1;
	return true;
}

static bool set_output(struct shell *sh, const char *form)
{
	sh->json = strcmp(form, "json") == 0;
	return sh->json || strcmp(form, "table") == 0 ||
	       shell_fail(sh, "there is no form of output '%s': it is table or json", form);
}

static bool open_log(struct shell *sh, const char *path)
{
	sh->log = fopen(path, "ae");
	return sh->log || shell_fail(sh, "cannot open the log '%s': %s", path, g_strerror(errno));
}

/* Returns -1 to go on, or the exit status. */
static int take_option(struct shell *sh, int option, const char *program)
{
	switch (option) {
	case 'c':
		g_free(sh->uri);
		sh->uri = g_strdup(optarg);
		return -1;
	case 'd':
		return set_debug(sh, optarg) ? -1 : EXIT_FAILURE;
	case 'e':
		return set_escape(sh, optarg) ? -1 : EXIT_FAILURE;
	case 'k':
		return set_keepalive(sh, optarg, 'k', &sh->keepalive_interval) ? -1 : EXIT_FAILURE;
	case 'K':
		return set_keepalive(sh, optarg, 'K', &sh->keepalive_count) ? -1 : EXIT_FAILURE;
	case 'l':
		return open_log(sh, optarg) ? -1 : EXIT_FAILURE;
	case 'o':
		return set_output(sh, optarg) ? -1 : EXIT_FAILURE;
	case 'q':
		sh->quiet = true;
		return -1;
	case 'r':
		sh->readonly = true;
		return -1;
	case 't':
		sh->timing = true;
		return -1;
	case 'h':
		help_overview(program);
		return EXIT_SUCCESS;
	case 'v':
	case 'V':
		printf("berth " BERTH_VERSION "\n");
		return EXIT_SUCCESS;
	case ':':
		shell_fail(sh, "option '-%c' requires an argument", optopt);
		return EXIT_FAILURE;
	default:
		return EXIT_FAILURE;
	}
}

static bool run_commands(struct shell *sh, int argc, char **argv)
{
	if (!argc)
		return (!sh->uri || shell_connect(sh, NULL, false, false)) && shell_interact(sh);
	GPtrArray *cmds = argc == 1 ? command_parse_line(sh, argv[0]) :
				      command_parse_words(sh, argc, argv);
	if (!cmds)
		return false;
	/* A URI that was given must work, whatever the command is. */
	bool good = !sh->uri || shell_connect(sh, NULL, false, false);
	good = good && shell_run(sh, cmds);
	g_ptr_array_unref(cmds);
	return good;
}

static int run_shell(struct shell *sh, int argc, char **argv)
{
	int option;
	opterr = 0;
	/* "+": options of a command are not ours. */
	while ((option = getopt_long(argc, argv, "+:c:d:e:hk:K:l:o:qrtvV", long_options, NULL)) != -1) {
		int status = take_option(sh, option, "berth");
		if (status < 0)
			continue;
		if (option == '?' && optopt)
			shell_fail(sh, "unsupported option '-%c'. See --help.", optopt);
		else if (option == '?')
			shell_fail(sh, "unsupported option '%s'. See --help.", argv[optind - 1]);
		return status;
	}
	bool good = run_commands(sh, argc - optind, argv + optind);
	shell_report(sh);
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The name that was probably meant, or NULL: `word` is a command, or like none. */
static const char *suggest(const char *word)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	if (command_find(word) || strpbrk(word, " ;"))
		return NULL;
	for (unsigned i = 0; i < G_N_ELEMENTS(subcommands); i++)
		g_ptr_array_add(names, (void *)subcommands[i]->name);
	for (const struct command *command = commands; command->name; command++)
		g_ptr_array_add(names, (void *)command->name);
	g_ptr_array_add(names, NULL);
	return nearest_name(word, (const char *const *)names->pdata);
}

int main(int argc, char **argv)
{
	setlocale(LC_ALL, "");
	signal(SIGPIPE, SIG_IGN);
	const struct subcommand *command = argc > 1 ? find(argv[1]) : NULL;
	if (command && argc > 2 && (!strcmp(argv[2], "--help") || !strcmp(argv[2], "-h")))
		return berth_help_program(argv[1]) ? EXIT_SUCCESS : EXIT_FAILURE;
	if (command)
		return command->run(argc - 1, argv + 1);
	const char *meant = argc > 1 && *argv[1] != '-' ? suggest(argv[1]) : NULL;
	if (meant) {
		fprintf(stderr, "berth: unknown command '%s': did you mean '%s'?\n", argv[1], meant);
		return EXIT_FAILURE;
	}
	struct shell sh = {.escape = "^]"};
	int status = run_shell(&sh, argc, argv);
	client_close(sh.client);
	g_clear_error(&sh.error);
	g_free(sh.uri);
	if (sh.log)
		fclose(sh.log);
	return status;
}
