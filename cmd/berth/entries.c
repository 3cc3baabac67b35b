/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "entries.h"

char *entries_help(const GOptionEntry *entries)
{
	GString *text = g_string_new(NULL);
	for (const GOptionEntry *e = entries; e->long_name; e++) {
		g_autofree char *form = g_strdup_printf("--%s%s%s", e->long_name, e->arg_description ? " " : "",
							e->arg_description ? e->arg_description : "");
		g_string_append_printf(text, "  %-24s %s\n", form, e->description);
	}
	return g_string_free(text, FALSE);
}

bool entries_parse(struct shell *sh, const GOptionEntry *entries, int argc, char **argv,
		   const char *program)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GOptionContext) context = g_option_context_new("");
	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, &error))
		return shell_fail(sh, "%s", error->message);
	return argc == 1 || shell_fail(sh, "what is '%s'? see berth %s --help", argv[1], program);
}
