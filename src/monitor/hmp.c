/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's commands: splitting a line, finding the command, help. */
#include "internal.h"

#include "base/error.h"

#include <string.h>

void hmp_printf(struct hmp_call *call, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_string_append_vprintf(call->out, format, args);
	va_end(args);
}

json_t *hmp_qmp(struct hmp_call *call, const char *command, json_t *args)
{
	g_autoptr(GError) error = NULL;
	json_t *result = monitor_execute(call->server, command, args, &error);
	json_decref(args);
	if (!result)
		hmp_printf(call, "Error: %s\n", error->message);
	return result;
}

/* Words separated by blanks; "..." keeps blanks, and \ takes the next character as it is. */
static char **split(const char *line)
{
	GPtrArray *words = g_ptr_array_new();
	const char *p = line;
	while (*(p += strspn(p, " \t"))) {
		GString *word = g_string_new(NULL);
		bool quoted = false;
		for (; *p && (quoted || !strchr(" \t", *p)); p++) {
			if (*p == '\\' && p[1])
				g_string_append_c(word, *++p);
			else if (*p == '"')
				quoted = !quoted;
			else
				g_string_append_c(word, *p);
		}
		g_ptr_array_add(words, g_string_free(word, FALSE));
	}
	g_ptr_array_add(words, NULL);
	return (char **)g_ptr_array_free(words, FALSE);
}

/* 0: no match; otherwise how many words the command's name takes. */
static unsigned match(const struct hmp_command *command, char **words)
{
	if (command->alias && strcmp(command->alias, words[0]) == 0)
		return 1;
	const char *space = strchr(command->name, ' ');
	if (!space)
		return strcmp(command->name, words[0]) == 0;
	size_t first = space - command->name;
	bool same = strlen(words[0]) == first && strncmp(words[0], command->name, first) == 0;
	return same && words[1] && strcmp(words[1], space + 1) == 0 ? 2 : 0;
}

static const struct hmp_command *find(const struct monitor_server *server, char **words,
				      unsigned *used, void **opaque)
{
	for (unsigned i = 0; i < server->hmp->len; i++) {
		const struct hmp_set *set = &g_array_index(server->hmp, struct hmp_set, i);
		for (const struct hmp_command *c = set->commands; c->name; c++) {
			*used = match(c, words);
			if (*used) {
				*opaque = set->opaque;
				return c;
			}
		}
	}
	return NULL;
}

static void print_unknown(struct hmp_call *call, char **words)
{
	bool info = strcmp(words[0], "info") == 0;
	g_autofree char *typed = info && words[1] ? g_strdup_printf("info %s", words[1]) :
						    g_strdup(words[0]);
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	for (unsigned i = 0; i < call->server->hmp->len; i++) {
		const struct hmp_set *set = &g_array_index(call->server->hmp, struct hmp_set, i);
		for (const struct hmp_command *c = set->commands; c->name; c++)
			g_ptr_array_add(names, (void *)c->name);
	}
	g_ptr_array_add(names, NULL);
	const char *near = nearest_name(typed, (const char *const *)names->pdata);
	hmp_printf(call, "unknown command: '%s'%s%s%s\n", typed, near ? ": did you mean '" : "",
		   near ? near : "", near ? "'?" : "; type 'help' for a list");
}

static void print_help_row(struct hmp_call *call, const struct hmp_command *c)
{
	hmp_printf(call, "%s%s%s%s%s -- %s\n", c->name, c->alias ? "|" : "",
		   c->alias ? c->alias : "", c->params ? " " : "", c->params ? c->params : "",
		   c->help);
}

/* help, help NAME, info, help info */
static void print_help(struct hmp_call *call, const char *topic)
{
	bool found = false, info = topic && strcmp(topic, "info") == 0;
	if (!topic)
		hmp_printf(call, "help|? [cmd] -- show this list, or how to use a command\n"
				 "info [subcommand] -- show information; 'info' alone lists what\n");
	for (unsigned i = 0; i < call->server->hmp->len; i++) {
		const struct hmp_set *set = &g_array_index(call->server->hmp, struct hmp_set, i);
		for (const struct hmp_command *c = set->commands; c->name; c++) {
			bool is_info = g_str_has_prefix(c->name, "info ");
			if (topic ? (info ? is_info :
					    strcmp(c->name, topic) == 0 ||
						    (c->alias && strcmp(c->alias, topic) == 0)) :
				    !is_info) {
				print_help_row(call, c);
				found = true;
			}
		}
	}
	if (!found)
		hmp_printf(call, "there is no command '%s'\n", topic);
}

static void run_guarded(struct hmp_call *call, const struct hmp_command *command, void *opaque)
{
	monitor_before(call->server);
	command->run(opaque, call);
	monitor_after(call->server);
}

static void run_words(struct hmp_call *call, char **words, const char *line)
{
	unsigned used;
	void *opaque;
	if (!words[0])
		return;
	if (strcmp(words[0], "help") == 0 || strcmp(words[0], "?") == 0) {
		print_help(call, words[1]);
		return;
	}
	if (strcmp(words[0], "info") == 0 && !words[1]) {
		print_help(call, "info");
		return;
	}
	const struct hmp_command *command = find(call->server, words, &used, &opaque);
	if (!command) {
		print_unknown(call, words);
		return;
	}
	call->words = words + used;
	call->count = g_strv_length(call->words);
	call->rest = line;
	for (unsigned i = 0; i < used; i++) {
		call->rest += strspn(call->rest, " \t");
		call->rest += strcspn(call->rest, " \t");
	}
	call->rest += strspn(call->rest, " \t");
	bool any = command->max == 0 && command->params;
	if (call->count < command->min || (!any && call->count > command->max))
		hmp_printf(call, "%s: wrong number of arguments\nusage: %s %s\n", command->name,
			   command->name, command->params ? command->params : "");
	else
		run_guarded(call, command, opaque);
}

char *monitor_execute_human(struct monitor_server *server, const char *line)
{
	struct hmp_call call = {.server = server, .out = g_string_new(NULL)};
	g_auto(GStrv) words = split(line);
	run_words(&call, words, line);
	return g_string_free(call.out, FALSE);
}
