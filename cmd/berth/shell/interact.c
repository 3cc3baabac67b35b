/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands from a terminal: a prompt, history and completion by libedit. */
#include "shell.h"

#include <editline/readline.h>
#include <stdlib.h>
#include <string.h>

enum { HISTORY_LIMIT = 500 };

/* libedit's callbacks take no pointer of ours. */
static struct shell *completing;

static char *history_path(void)
{
	g_autofree char *folder = g_build_filename(g_get_user_cache_dir(), "berth", NULL);
	if (g_mkdir_with_parents(folder, 0700) < 0)
		return NULL;
	return g_build_filename(folder, "history", NULL);
}

static char *next_match(const char *const *names, unsigned *at, const char *text)
{
	for (const char *name; (name = names[*at]);) {
		(*at)++;
		if (g_str_has_prefix(name, text))
			return strdup(name);
	}
	return NULL;
}

static char *complete_command(const char *text, int state)
{
	static unsigned at;
	if (!state)
		at = 0;
	for (; commands[at].name;) {
		const char *name = commands[at++].name;
		if (g_str_has_prefix(name, text))
			return strdup(name);
	}
	return NULL;
}

static GPtrArray *words_of_options(const struct command *command)
{
	GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
	for (const struct command_option *o = command->options; o->name; o++) {
		if (o->type != OPTION_ALIAS)
			g_ptr_array_add(words, g_strdup_printf("--%s", o->name));
	}
	g_ptr_array_add(words, g_strdup("--help"));
	return words;
}

/* The objects that the command's first option names. */
static GPtrArray *words_of_objects(struct shell *sh, const struct command *command)
{
	GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
	const char *kind = command->options->name ? command->options->name : "";
	struct remote_connect_list_all_domains_ret domains;
	struct remote_connect_list_all_networks_ret networks;
	struct remote_connect_list_all_storage_pools_ret pools;
	if (!sh->client || !client_is_alive(sh->client))
		return words;
	if (!strcmp(kind, "domain") && GET(sh, connect_list_all_domains, &domains, 1, 0)) {
		for (uint32_t i = 0; i < domains.domains.count; i++)
			g_ptr_array_add(words, g_strdup(domains.domains.items[i].name));
	} else if (!strcmp(kind, "network") && GET(sh, connect_list_all_networks, &networks, 1, 0)) {
		for (uint32_t i = 0; i < networks.nets.count; i++)
			g_ptr_array_add(words, g_strdup(networks.nets.items[i].name));
	} else if (!strcmp(kind, "pool") && GET(sh, connect_list_all_storage_pools, &pools, 1, 0)) {
		for (uint32_t i = 0; i < pools.pools.count; i++)
			g_ptr_array_add(words, g_strdup(pools.pools.items[i].name));
	}
	shell_forget_error(sh);
	return words;
}

/* The words that may stand here. */
static GPtrArray *candidates(const char *text)
{
	const char *line = rl_line_buffer;
	const char *separator = strrchr(line, ';');
	g_autofree char *last = g_strdup(separator ? separator + 1 : line);
	g_auto(GStrv) typed = g_strsplit_set(g_strchug(last), " ", 2);
	const struct command *command = command_find(typed[0] ? typed[0] : "");
	GPtrArray *words = !command ? g_ptr_array_new_with_free_func(g_free) :
			   text[0] == '-' ? words_of_options(command) :
					    words_of_objects(completing, command);
	g_ptr_array_add(words, NULL);
	return words;
}

static char *complete_word(const char *text, int state)
{
	static GPtrArray *words;
	static unsigned at;
	if (!state) {
		g_clear_pointer(&words, g_ptr_array_unref);
		words = candidates(text);
		at = 0;
	}
	return next_match((const char *const *)words->pdata, &at, text);
}

static char **complete(const char *text, int start, int end)
{
	g_autofree char *before = g_strndup(rl_line_buffer, start);
	char *separator = strrchr(before, ';');
	g_autofree char *head = g_strdup(separator ? separator + 1 : before);
	bool first = !*g_strstrip(head);
	return rl_completion_matches(text, first ? complete_command : complete_word);
}

static void run_line(struct shell *sh, const char *line)
{
	GPtrArray *cmds = command_parse_line(sh, line);
	if (!cmds)
		return;
	shell_run(sh, cmds);
	g_ptr_array_unref(cmds);
}

bool shell_interact(struct shell *sh)
{
	g_autofree char *history = history_path();
	sh->interactive = true;
	completing = sh;
	rl_readline_name = "berth";
	rl_attempted_completion_function = complete;
	using_history();
	stifle_history(HISTORY_LIMIT);
	if (history)
		read_history(history);
	shell_extra(sh, "Welcome to berth, which runs virtual machines.\n\n"
			"Type:  'help' for help with commands\n"
			"       'quit' to quit\n\n");
	while (!sh->quit) {
		char *line = readline(sh->readonly ? "berth > " : "berth # ");
		if (!line) {
			shell_print("\n");
			break;
		}
		if (*line)
			add_history(line);
		run_line(sh, line);
		free(line);
	}
	if (history)
		write_history(history);
	return true;
}
