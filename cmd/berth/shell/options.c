/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The values of a command's options. */
#include "shell.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct given_option *find(const struct cmd *cmd, const char *name)
{
	for (unsigned i = 0; i < cmd->given->len; i++) {
		const struct given_option *given = cmd->given->pdata[i];
		if (strcmp(given->def->name, name) == 0)
			return given;
	}
	return NULL;
}

bool opt_bool(const struct cmd *cmd, const char *name)
{
	return find(cmd, name) != NULL;
}

const char *opt_text(const struct cmd *cmd, const char *name)
{
	const struct given_option *given = find(cmd, name);
	return given ? given->text : NULL;
}

bool opt_string(struct shell *sh, const struct cmd *cmd, const char *name, const char **value)
{
	const struct given_option *given = find(cmd, name);
	*value = given ? given->text : NULL;
	if (*value && !**value && !(given->def->flags & OPTION_EMPTY))
		return shell_fail(sh, "Failed to get option '%s': Option argument is empty", name);
	return true;
}

bool parse_uint64(const char *text, uint64_t *value)
{
	char *end;
	if (strchr(text, '-'))
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return !errno && end != text && !*end;
}

bool parse_int64(const char *text, int64_t *value)
{
	char *end;
	errno = 0;
	*value = strtoll(text, &end, 10);
	return !errno && end != text && !*end;
}

static int malformed(struct shell *sh, const char *text, const char *name)
{
	shell_fail(sh, "Numeric value '%s' for <%s> option is malformed or out of range", text, name);
	return -1;
}

int opt_long(struct shell *sh, const struct cmd *cmd, const char *name, int64_t *value)
{
	const char *text = opt_text(cmd, name);
	int64_t number;
	if (!text)
		return 0;
	if (!parse_int64(text, &number))
		return malformed(sh, text, name);
	*value = number;
	return 1;
}

int opt_int(struct shell *sh, const struct cmd *cmd, const char *name, int32_t *value)
{
	int64_t number;
	int given = opt_long(sh, cmd, name, &number);
	if (given > 0 && (number < INT32_MIN || number > INT32_MAX))
		return malformed(sh, opt_text(cmd, name), name);
	if (given > 0)
		*value = number;
	return given;
}

int opt_ulong(struct shell *sh, const struct cmd *cmd, const char *name, uint64_t *value)
{
	const char *text = opt_text(cmd, name);
	uint64_t number;
	if (!text)
		return 0;
	if (!parse_uint64(text, &number))
		return malformed(sh, text, name);
	*value = number;
	return 1;
}

int opt_uint(struct shell *sh, const struct cmd *cmd, const char *name, uint32_t *value)
{
	uint64_t number;
	int given = opt_ulong(sh, cmd, name, &number);
	if (given > 0 && number > UINT32_MAX)
		return malformed(sh, opt_text(cmd, name), name);
	if (given > 0)
		*value = number;
	return given;
}

int opt_wrap(struct shell *sh, const struct cmd *cmd, const char *name, uint64_t *value)
{
	const char *text = opt_text(cmd, name);
	int64_t negative;
	if (text && strchr(text, '-')) {
		if (!parse_int64(text, &negative))
			return malformed(sh, text, name);
		*value = negative;
		return 1;
	}
	return opt_ulong(sh, cmd, name, value);
}

/* What a suffix multiplies by; 0: there is no such suffix. */
static uint64_t suffix_scale(const char *suffix)
{
	static const char letters[] = "kmgtpe";
	if (g_ascii_strcasecmp(suffix, "b") == 0 || g_ascii_strcasecmp(suffix, "byte") == 0 ||
	    g_ascii_strcasecmp(suffix, "bytes") == 0)
		return 1;
	const char *letter = *suffix ? strchr(letters, g_ascii_tolower(*suffix)) : NULL;
	if (!letter)
		return 0;
	const char *rest = suffix + 1;
	uint64_t base = !*rest || g_ascii_strcasecmp(rest, "ib") == 0 ? 1024 :
			g_ascii_strcasecmp(rest, "b") == 0		? 1000 : 0;
	uint64_t scale = base ? 1 : 0;
	for (int i = 0; i <= letter - letters; i++)
		scale *= base;
	return scale;
}

bool scale_number(const char *text, uint64_t scale, uint64_t max, uint64_t *value)
{
	char *end;
	if (strchr(text, '-'))
		return false;
	errno = 0;
	uint64_t number = strtoull(text, &end, 10);
	if (errno || end == text)
		return false;
	while (g_ascii_isspace(*end))
		end++;
	if (*end && !(scale = suffix_scale(end)))
		return false;
	if (number > max / scale)
		return false;
	*value = number * scale;
	return true;
}

int opt_scaled(struct shell *sh, const struct cmd *cmd, const char *name, uint64_t scale, uint64_t max,
	       uint64_t *value)
{
	const char *text = opt_text(cmd, name);
	if (!text)
		return 0;
	if (scale_number(text, scale, max, value))
		return 1;
	shell_fail(sh, "Scaled numeric value '%s' for <%s> option is malformed or out of range", text,
		   name);
	return -1;
}

GPtrArray *opt_rest(const struct cmd *cmd)
{
	GPtrArray *words = g_ptr_array_new();
	for (unsigned i = 0; i < cmd->given->len; i++) {
		const struct given_option *given = cmd->given->pdata[i];
		if (given->def->type == OPTION_REST)
			g_ptr_array_add(words, given->text);
	}
	return words;
}

bool opt_exclusive(struct shell *sh, const struct cmd *cmd, const char *first, const char *second)
{
	if (!opt_bool(cmd, first) || !opt_bool(cmd, second))
		return true;
	return shell_fail(sh, "Options --%s and --%s are mutually exclusive", first, second);
}

bool opt_require(struct shell *sh, const struct cmd *cmd, const char *first, const char *second)
{
	if (!opt_bool(cmd, first) || opt_bool(cmd, second))
		return true;
	return shell_fail(sh, "Option --%s is required by option --%s", second, first);
}

bool opt_affect(struct shell *sh, const struct cmd *cmd, uint32_t *flags, bool *any)
{
	bool live = opt_bool(cmd, "live"), config = opt_bool(cmd, "config");
	bool current = opt_bool(cmd, "current");
	if (!opt_exclusive(sh, cmd, "current", "live") || !opt_exclusive(sh, cmd, "current", "config"))
		return false;
	*flags |= (live ? 1 : 0) | (config ? 2 : 0);
	if (any)
		*any = live || config || current;
	return true;
}

uint32_t opt_flags(const struct cmd *cmd, const struct option_flag *table)
{
	uint32_t flags = 0;
	for (; table->name; table++) {
		if (opt_bool(cmd, table->name))
			flags |= table->bit;
	}
	return flags;
}
