/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a line or words to commands with their options, by the table. */
#include "shell.h"

#include <string.h>

enum token { TOKEN_ERROR, TOKEN_WORD, TOKEN_NEXT_COMMAND, TOKEN_END };

struct parser {
	struct shell *sh;
	const char *at;      /* of a line; NULL: words */
	char **words, **end;
};

const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++) {
		if (strcmp(c->name, name) == 0)
			return c;
	}
	return NULL;
}

static void given_free(void *data)
{
	struct given_option *given = data;
	g_free(given->text);
	g_free(given);
}

static struct cmd *cmd_new(const struct command *def)
{
	struct cmd *cmd = g_new0(struct cmd, 1);
	cmd->def = def;
	cmd->given = g_ptr_array_new_with_free_func(given_free);
	return cmd;
}

void cmd_free(struct cmd *cmd)
{
	if (!cmd)
		return;
	g_ptr_array_unref(cmd->given);
	g_free(cmd);
}

/* Quotes and backslashes as in a shell; a comment is the end of a command. */
static enum token next_in_line(struct parser *parser, char **word)
{
	const char *p = parser->at;
	while (*p == ' ' || *p == '\t' || (*p == '\\' && p[1] == '\n'))
		p += *p == '\\' ? 2 : 1;
	if (*p == '#')
		p += strcspn(p, "\n");
	parser->at = p;
	if (!*p)
		return TOKEN_END;
	if (*p == ';' || *p == '\n') {
		parser->at++;
		return TOKEN_NEXT_COMMAND;
	}
	g_autoptr(GString) text = g_string_new(NULL);
	char quote = '\0';
	for (; *p && (quote || !strchr(" \t;\n", *p)); p++) {
		if ((*p == '\'' || *p == '"') && (!quote || quote == *p)) {
			quote = quote ? '\0' : *p;
			continue;
		}
		if (*p == '\\' && quote != '\'' && *++p == '\n')
			continue;
		if (!*p) {
			shell_fail(parser->sh, "dangling \\");
			return TOKEN_ERROR;
		}
		g_string_append_c(text, *p);
	}
	if (quote == '"') {
		shell_fail(parser->sh, "missing \"");
		return TOKEN_ERROR;
	}
	parser->at = p;
	*word = g_strdup(text->str);
	return TOKEN_WORD;
}

static enum token next(struct parser *parser, char **word)
{
	*word = NULL;
	if (parser->at)
		return next_in_line(parser, word);
	if (parser->words == parser->end)
		return TOKEN_END;
	*word = g_strdup(*parser->words++);
	return TOKEN_WORD;
}

static bool is_given(const struct cmd *cmd, const struct command_option *def)
{
	for (unsigned i = 0; i < cmd->given->len; i++) {
		if (((struct given_option *)cmd->given->pdata[i])->def == def)
			return true;
	}
	return false;
}

static void give(struct cmd *cmd, const struct command_option *def, char *text)
{
	struct given_option *given = g_new0(struct given_option, 1);
	given->def = def;
	given->text = text;
	g_ptr_array_add(cmd->given, given);
}

static const struct command_option *find_option(const struct command *def, const char *name)
{
	for (const struct command_option *o = def->options; o->name; o++) {
		if (strcmp(o->name, name) == 0)
			return o;
	}
	return NULL;
}

/* The option that a name means, its alias resolved; `*value` is what follows "=". */
static const struct command_option *named_option(struct parser *parser, struct cmd *cmd,
						 const char *name, char **value)
{
	const struct command_option *o = find_option(cmd->def, name);
	if (o && o->type == OPTION_ALIAS) {
		if (o->value && *value) {
			shell_fail(parser->sh, "invalid '=' after option --%s", o->name);
			return NULL;
		}
		if (o->value)
			*value = g_strdup(o->value);
		o = find_option(cmd->def, o->alias);
	}
	if (!o)
		shell_fail(parser->sh, "command '%s' doesn't support option --%s", cmd->def->name, name);
	else if (o->type != OPTION_REST && is_given(cmd, o))
		shell_fail(parser->sh, "option --%s already seen", o->name);
	else
		return o;
	return NULL;
}

static bool take_named(struct parser *parser, struct cmd *cmd, const char *word)
{
	g_auto(GStrv) parts = g_strsplit(word + 2, "=", 2);
	g_autofree char *value = g_strdup(parts[1]);
	if (strcmp(cmd->def->name, "help") == 0 && !find_option(cmd->def, parts[0]))
		return true;
	const struct command_option *o = named_option(parser, cmd, parts[0], &value);
	if (!o)
		return false;
	if (o->type == OPTION_SWITCH) {
		if (value)
			return shell_fail(parser->sh, "invalid '=' after option --%s", o->name);
		give(cmd, o, NULL);
		return true;
	}
	if (!value) {
		enum token token = next(parser, &value);
		if (token == TOKEN_ERROR)
			return false;
		if (token != TOKEN_WORD)
			return shell_fail(parser->sh, "expected syntax: --%s <%s>", o->name,
					  o->type == OPTION_NUMBER ? "number" : "string");
	}
	give(cmd, o, g_steal_pointer(&value));
	return true;
}

/* A word without a name is for the first option that wants one. */
static bool take_word(struct parser *parser, struct cmd *cmd, const char *word)
{
	for (const struct command_option *o = cmd->def->options; o->name; o++) {
		bool takes = o->type != OPTION_SWITCH && o->type != OPTION_ALIAS &&
			     !(o->flags & OPTION_NAMED);
		if (takes && (o->type == OPTION_REST || !is_given(cmd, o))) {
			give(cmd, o, g_strdup(word));
			return true;
		}
	}
	return strcmp(cmd->def->name, "help") == 0 ||
	       shell_fail(parser->sh, "unexpected data '%s'", word);
}

static bool check_required(struct parser *parser, const struct cmd *cmd)
{
	bool good = true;
	for (const struct command_option *o = cmd->def->options; o->name; o++) {
		if (!(o->flags & OPTION_REQUIRED) || is_given(cmd, o))
			continue;
		bool positional = o->type == OPTION_DATA || o->type == OPTION_REST;
		good = shell_fail(parser->sh,
				  positional ? "command '%s' requires <%s> option" :
					       "command '%s' requires --%s option",
				  cmd->def->name, o->name);
	}
	return good;
}

/* "COMMAND --help" is "help COMMAND", whatever else was typed. */
static struct cmd *make_help(struct cmd *cmd)
{
	struct cmd *help = cmd_new(command_find("help"));
	give(help, help->def->options, g_strdup(cmd->def->name));
	cmd_free(cmd);
	return help;
}

static struct cmd *start_command(struct parser *parser, const char *word)
{
	const struct command *def = command_find(word);
	if (!def) {
		shell_fail(parser->sh, "unknown command: '%s'", word);
		return NULL;
	}
	return cmd_new(def->alias_of ? command_find(def->alias_of) : def);
}

/* One command up to its end. False after an error; *cmd NULL for an empty one. */
static bool parse_command(struct parser *parser, struct cmd **result, enum token *last)
{
	struct cmd *cmd = NULL;
	bool only_words = false, help = false;
	for (;;) {
		g_autofree char *word = NULL;
		*last = next(parser, &word);
		bool good = *last != TOKEN_ERROR;
		if (*last == TOKEN_WORD) {
			bool dashes = g_str_has_prefix(word, "--") && !only_words;
			if (!cmd)
				good = (cmd = start_command(parser, word)) != NULL;
			else if (dashes && !word[2])
				only_words = true;
			else if (dashes && strcmp(word, "--help") == 0)
				help = true;
			else if (dashes && g_ascii_isalnum(word[2]))
				good = take_named(parser, cmd, word);
			else
				good = take_word(parser, cmd, word);
		} else if (good && cmd && help) {
			cmd = make_help(cmd);
		} else if (good && cmd) {
			good = check_required(parser, cmd);
		}
		if (!good) {
			cmd_free(cmd);
			return false;
		}
		if (*last != TOKEN_WORD)
			break;
	}
	*result = cmd;
	return true;
}

static GPtrArray *parse(struct parser *parser)
{
	GPtrArray *cmds = g_ptr_array_new_with_free_func((GDestroyNotify)cmd_free);
	enum token last;
	do {
		struct cmd *cmd = NULL;
		if (!parse_command(parser, &cmd, &last)) {
			g_ptr_array_unref(cmds);
			return NULL;
		}
		if (cmd)
			g_ptr_array_add(cmds, cmd);
	} while (last != TOKEN_END);
	return cmds;
}

GPtrArray *command_parse_line(struct shell *sh, const char *line)
{
	struct parser parser = {.sh = sh, .at = line};
	return parse(&parser);
}

GPtrArray *command_parse_words(struct shell *sh, int count, char **words)
{
	struct parser parser = {.sh = sh, .words = words, .end = words + count};
	return parse(&parser);
}
