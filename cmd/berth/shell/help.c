/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What commands there are and what their options mean. */
#include "table.h"

#include "shell.h"

#include "../berth.h"

#include <string.h>

static void print_group(unsigned group)
{
	for (const struct command *c = commands; c->name; c++) {
		if (c->group == group && !c->alias_of)
			shell_print("    %-30s %s\n", c->name, c->summary);
	}
}

void help_overview(const char *program)
{
	shell_print("\n%s [options]... [<command_string>]\n%s [options]... <command> [args...]\n\n"
		    "  options:\n"
		    "    -c | --connect=URI      connect to the daemon at this URI\n"
		    "    -d | --debug=NUM        tell more [0-4]\n"
		    "    -e | --escape <char>    leave the console with this character\n"
		    "    -h | --help             this help\n"
		    "    -k | --keepalive-interval=NUM\n"
		    "                            seconds between pings, 0 for none\n"
		    "    -K | --keepalive-count=NUM\n"
		    "                            how many may stay unanswered\n"
		    "    -l | --log=FILE         write errors to a file too\n"
		    "    -o | --output=FORM      listings as table or json\n"
		    "    -q | --quiet            print less\n"
		    "    -r | --readonly         look, do not change\n"
		    "    -t | --timing           print how long commands took\n"
		    "    -v | --version          the version\n\n"
		    "  machines and their making:\n\n",
		    program, program);
	berth_print_programs();
	shell_print("\n  commands:\n\n");
	for (unsigned g = 0; command_groups[g].keyword; g++) {
		shell_print(" %s (help keyword '%s')\n", command_groups[g].title,
			    command_groups[g].keyword);
		print_group(g);
		shell_print("\n");
	}
	shell_print("\n  (help <group> lists the commands of a group, help <command> explains one)\n\n");
}

static void print_synopsis(const struct command *command)
{
	bool before = false; /* an option that takes a word without its name */
	shell_print("    %s", command->name);
	for (const struct command_option *o = command->options; o->name; o++) {
		bool required = o->flags & OPTION_REQUIRED;
		const char *format = "";
		switch (o->type) {
		case OPTION_SWITCH:
			format = " [--%s]";
			break;
		case OPTION_NUMBER:
			format = required ? " <%s>" : " [--%s <number>]";
			break;
		case OPTION_STRING:
			format = " [--%s <string>]";
			break;
		case OPTION_DATA:
			format = " <%s>";
			break;
		case OPTION_REST:
			format = before ? (required ? " {[--%s] <string>}..." : " [[--%s] <string>]...") :
					  (required ? " <%s>..." : " [<%s>]...");
			break;
		case OPTION_ALIAS:
			continue;
		}
		g_autofree char *text = g_strdup(format);
		char **parts = g_strsplit(text, "%s", 2);
		shell_print("%s%s%s", parts[0], o->name, parts[1]);
		g_strfreev(parts);
		before |= o->type != OPTION_SWITCH && !(o->flags & OPTION_NAMED);
	}
	shell_print("\n");
}

static char *option_form(const struct command_option *o, bool before)
{
	switch (o->type) {
	case OPTION_SWITCH:
		return g_strdup_printf("--%s", o->name);
	case OPTION_NUMBER:
		return g_strdup_printf(o->flags & OPTION_REQUIRED ? "[--%s] <number>" : "--%s <number>",
				       o->name);
	case OPTION_STRING:
		return g_strdup_printf("--%s <string>", o->name);
	case OPTION_REST:
		return g_strdup_printf(before ? "[--%s] <string>" : "<%s>", o->name);
	default:
		return g_strdup_printf("[--%s] <string>", o->name);
	}
}

static void print_command(const struct command *command)
{
	shell_print("  NAME\n    %s - %s\n\n  SYNOPSIS\n", command->name, command->summary);
	print_synopsis(command);
	bool before = false;
	if (command->options->name)
		shell_print("\n  OPTIONS\n");
	for (const struct command_option *o = command->options; o->name; o++) {
		if (o->type == OPTION_ALIAS)
			continue;
		g_autofree char *form = option_form(o, before);
		shell_print("    %-15s  %s\n", form, o->help);
		before |= o->type != OPTION_SWITCH && !(o->flags & OPTION_NAMED);
	}
	shell_print("\n");
}

static void print_all(void)
{
	shell_print("Programs of their own (berth NAME --help):\n\n");
	berth_print_programs();
	shell_print("\nGrouped commands:\n\n");
	for (unsigned g = 0; command_groups[g].keyword; g++) {
		shell_print(" %s (help keyword '%s'):\n", command_groups[g].title,
			    command_groups[g].keyword);
		print_group(g);
		shell_print("\n");
	}
}

bool cmd_help(struct shell *sh, const struct cmd *cmd)
{
	const char *name = opt_text(cmd, "command");
	if (!name) {
		print_all();
		return true;
	}
	const struct command *command = command_find(name);
	if (command) {
		print_command(command->alias_of ? command_find(command->alias_of) : command);
		return true;
	}
	for (unsigned g = 0; command_groups[g].keyword; g++) {
		const struct command_group *group = &command_groups[g];
		if (strcmp(group->keyword, name) && strcmp(group->title, name))
			continue;
		shell_print(" %s (help keyword '%s'):\n", group->title, group->keyword);
		print_group(g);
		return true;
	}
	return berth_help_program(name) ||
	       shell_fail(sh, "command or command group '%s' doesn't exist", name);
}
