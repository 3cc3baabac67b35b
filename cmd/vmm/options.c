/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "options.h"

#include "base/error.h"

#include <string.h>

const struct option_topic option_topics[] = {
	{"Machine", options_machine},
	{"Kernel, firmware and boot", options_boot},
	{"Disks", options_block},
	{"Network", options_network},
	{"Serial ports, consoles and monitors", options_stream},
	{"Display", options_display},
	{"Process", options_process},
	{"Help and diagnosis", options_debug},
	{"Not supported yet", options_missing},
	{NULL},
};

void options_init(struct options *o)
{
	*o = (struct options){.conf = conf_vm_new()};
}

void options_clear(struct options *o)
{
	conf_vm_free(o->conf);
	g_free(o->show_name);
	*o = (struct options){0};
}

bool options_set(char **target, const char *value)
{
	g_free(*target);
	*target = g_strdup(value);
	return true;
}

bool options_wants_help(struct options *o, const char *value, enum options_show show)
{
	static const char *const asks[] = {"help", "?", NULL};
	if (g_strv_contains(asks, value)) {
		o->show = show;
		return true;
	}
	const char *comma = strchr(value, ',');
	if (comma && g_strv_contains(asks, comma + 1)) {
		o->show = show;
		g_free(o->show_name);
		o->show_name = g_strndup(value, comma - value);
		return true;
	}
	return false;
}

static const struct option *find_option(const char *name)
{
	for (const struct option_topic *topic = option_topics; topic->title; topic++) {
		for (const struct option *option = topic->options; option->name; option++) {
			if (strcmp(option->name, name) == 0)
				return option;
		}
	}
	return NULL;
}

static bool set_unknown(const char *name, GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	for (const struct option_topic *topic = option_topics; topic->title; topic++) {
		for (const struct option *option = topic->options; option->name; option++)
			g_ptr_array_add(names, (void *)option->name);
	}
	g_ptr_array_add(names, NULL);
	const char *near = nearest_name(name, (const char *const *)names->pdata);
	return error_set(error, BERTH_ERR_INVALID, "there is no option -%s: %s%s%s", name,
			 near ? "did you mean -" : "see berth-vmm -help", near ? near : "",
			 near ? "?" : "");
}

static bool apply(struct options *o, const struct option *option, const char *value, GError **error)
{
	if (option->missing)
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "-%s is not supported yet: %s",
				 option->name, option->missing);
	return option->apply(o, value, error);
}

bool options_apply(struct options *o, const char *name, const char *value, GError **error)
{
	const struct option *option = find_option(name);
	return option ? apply(o, option, value, error) : set_unknown(name, error);
}

bool options_parse(struct options *o, const char *const *args, GError **error)
{
	for (; *args && o->show == SHOW_NOTHING; args++) {
		const char *name = *args;
		/* QEMU takes a bare word as the first hard disk. */
		if (name[0] != '-') {
			if (!options_apply(o, "hda", name, error))
				return false;
			continue;
		}
		name += name[1] == '-' ? 2 : 1;
		const struct option *option = find_option(name);
		if (!option)
			return set_unknown(name, error);
		const char *value = NULL;
		if (option->argument && !option->missing) {
			value = *++args;
			if (!value)
				return error_set(error, BERTH_ERR_INVALID,
						 "-%s needs an argument: -%s %s", name, name,
						 option->argument);
		}
		if (!apply(o, option, value, error))
			return false;
	}
	return true;
}

/* Fill `text` into lines of at most 79 columns that begin with 16 spaces. */
static void append_wrapped(GString *out, const char *text)
{
	enum { INDENT = 16, WIDTH = 79 };
	unsigned column = 0;
	while (*text) {
		size_t word = strcspn(text, " \n");
		if (column == 0 || column + 1 + word > WIDTH) {
			g_string_append_printf(out, "%s%*s", column ? "\n" : "", INDENT, "");
			column = INDENT;
		} else {
			g_string_append_c(out, ' ');
			column++;
		}
		g_string_append_len(out, text, word);
		column += word;
		text += word;
		if (*text == '\n') {
			g_string_append_c(out, '\n');
			column = 0;
		}
		text += *text != 0;
	}
	if (column)
		g_string_append_c(out, '\n');
}

static void append_missing(GString *out, const struct option *options)
{
	GString *names = g_string_new("Known, and refused with a reason:");
	for (; options->name; options++)
		g_string_append_printf(names, " -%s", options->name);
	append_wrapped(out, names->str);
	g_string_free(names, TRUE);
}

char *options_help(const char *program)
{
	GString *out = g_string_new(NULL);
	g_string_append_printf(
		out,
		"usage: %s [options] [disk_image]\n\n"
		"Runs one virtual machine. Options are QEMU's. A first machine, on this terminal:\n\n"
		"  %s -nographic -m 512 -kernel vmlinuz -initrd initrd.gz -append console=ttyS0\n"
		"  %s -nographic -m 2G -smp 2 -drive file=disk.img,format=raw,if=virtio\n\n"
		"Ctrl-a x ends it, Ctrl-a c switches to the monitor and back, Ctrl-a h helps.\n",
		program, program, program);
	for (const struct option_topic *topic = option_topics; topic->title; topic++) {
		g_string_append_printf(out, "\n%s:\n", topic->title);
		if (topic->options[0].missing) {
			append_missing(out, topic->options);
			continue;
		}
		for (const struct option *option = topic->options; option->name; option++) {
			g_string_append_printf(out, "-%s%s%s\n", option->name,
					       option->argument ? " " : "",
					       option->argument ? option->argument : "");
			append_wrapped(out, option->help);
		}
	}
	return g_string_free(out, FALSE);
}
