/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands of the shell itself. */
#include "table.h"

#include "shell.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

bool cmd_cd(struct shell *sh, const struct cmd *cmd)
{
	if (!sh->interactive)
		return shell_fail(sh, "cd: command valid only in interactive mode");
	const char *folder = opt_text(cmd, "dir");
	if (!folder)
		folder = g_get_home_dir();
	return chdir(folder) == 0 || shell_fail(sh, "cd: %s: %s", g_strerror(errno), folder);
}

bool cmd_pwd(struct shell *sh, const struct cmd *cmd)
{
	g_autofree char *folder = g_get_current_dir();
	shell_print("%s\n", folder);
	return true;
}

static char *quote_if_needed(const char *text)
{
	bool safe = *text;
	for (const char *p = text; *p; p++)
		safe &= g_ascii_isalnum(*p) || strchr("-_./:=@%+,", *p) != NULL;
	return safe ? g_strdup(text) : g_shell_quote(text);
}

bool cmd_echo(struct shell *sh, const struct cmd *cmd)
{
	bool split = opt_bool(cmd, "split");
	if (!opt_exclusive(sh, cmd, "shell", "xml") || !opt_exclusive(sh, cmd, "shell", "split") ||
	    !opt_exclusive(sh, cmd, "xml", "split"))
		return false;
	g_autoptr(GPtrArray) words = opt_rest(cmd);
	g_autoptr(GString) text = g_string_new(NULL);
	for (unsigned i = 0; i < words->len; i++) {
		const char *word = words->pdata[i];
		g_autofree char *quoted = opt_bool(cmd, "xml") ? g_markup_escape_text(word, -1) :
					  opt_bool(cmd, "shell") ? quote_if_needed(word) : g_strdup(word);
		g_auto(GStrv) pieces = g_strsplit(quoted, split ? "," : "\1", 0);
		for (char **piece = pieces; *piece; piece++)
			g_string_append_printf(text, "%s%s", *piece, split ? "\n" : "");
		g_string_append_c(text, ' ');
	}
	while (text->len && text->str[text->len - 1] == ' ')
		g_string_truncate(text, text->len - 1);
	if (text->len && opt_bool(cmd, "err"))
		shell_fail(sh, "%s", text->str);
	else
		shell_print("%s", text->str);
	return true;
}

bool cmd_quit(struct shell *sh, const struct cmd *cmd)
{
	sh->quit = true;
	return true;
}

bool cmd_exit(struct shell *sh, const struct cmd *cmd)
{
	return cmd_quit(sh, cmd);
}

bool cmd_connect(struct shell *sh, const struct cmd *cmd)
{
	return shell_connect(sh, opt_text(cmd, "name"), opt_bool(cmd, "readonly"), true);
}
