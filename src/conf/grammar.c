/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/grammar.h"

#include "base/error.h"

#include <string.h>

bool conf_grammar_error(GError **error, int code, const xmlNode *node, const char *format,
			va_list args)
{
	g_autofree char *text = g_strdup_vprintf(format, args);
	return error_set(error, code, "line %ld, element '%s': %s", xmlGetLineNo(node), node->name,
			 text);
}

static bool refuse(GError **error, const xmlNode *node, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
static bool refuse(GError **error, const xmlNode *node, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	conf_grammar_error(error, BERTH_ERR_NOT_SUPPORTED, node, format, args);
	va_end(args);
	return false;
}

/* What follows the path in a row of the table, or NULL if the row is another path's. */
static const char *match(const char *row, const char *path)
{
	for (; *row && *row != ' '; row++) {
		if (*row == '*') {
			path += strcspn(path, "/");
			continue;
		}
		if (*row != *path)
			return NULL;
		path++;
	}
	return *path ? NULL : row;
}

/* The words after the path, or NULL if the path is not in the table. */
static const char *find(const struct conf_grammar *grammar, const char *path)
{
	for (size_t i = 0; i < grammar->row_count; i++) {
		const char *words = match(grammar->rows[i], path);
		if (words)
			return words;
	}
	return NULL;
}

static bool has_word(const char *words, const char *word)
{
	size_t length = strlen(word);
	for (const char *at = words; (at = strstr(at, word)); at += length) {
		if (at > words && at[-1] == ' ' && (at[length] == ' ' || !at[length]))
			return true;
	}
	return false;
}

static bool check_values(const struct conf_grammar *grammar, const xmlNode *node, const char *path,
			 GError **error)
{
	for (size_t i = 0; i < grammar->only_count; i++) {
		const struct conf_only_value *only = &grammar->only[i];
		if (strcmp(only->path, path))
			continue;
		g_autofree char *value = xml_attribute(node, only->attribute);
		if (value && strcmp(value, only->value) != 0)
			return refuse(error, node, "Berth does not support %s='%s', only '%s'",
				      only->attribute, value, only->value);
	}
	return true;
}

/* ": use ..." for an element that is refused, or "". */
static char *advice_for(const struct conf_grammar *grammar, const char *path)
{
	for (const struct conf_advice *advice = grammar->advice; advice && advice->path; advice++) {
		if (strcmp(advice->path, path) == 0)
			return g_strconcat(": ", advice->text, NULL);
	}
	return g_strdup("");
}

static bool check(const struct conf_grammar *grammar, const xmlNode *node, const char *parent,
		  GError **error)
{
	g_autofree char *path = *parent ? g_strconcat(parent, "/", node->name, NULL)
					: g_strdup((const char *)node->name);
	const char *words = find(grammar, path);
	if (!words) {
		g_autofree char *advice = advice_for(grammar, path);
		return refuse(error, node, "Berth does not support <%s> in <%s>%s", node->name,
			      !*parent			? "a document"
			      : strrchr(parent, '/') ? strrchr(parent, '/') + 1
						     : parent, advice);
	}
	if (has_word(words, "*"))
		return true;
	for (const xmlAttr *attribute = node->properties; attribute; attribute = attribute->next) {
		if (!has_word(words, (const char *)attribute->name))
			return refuse(error, node, "Berth does not support the attribute '%s'",
				      attribute->name);
	}
	if (!check_values(grammar, node, path, error))
		return false;
	xml_for_each(child, node, NULL) {
		if (!check(grammar, child, path, error))
			return false;
	}
	return true;
}

bool conf_grammar_check(const struct conf_grammar *grammar, const xmlNode *root, GError **error)
{
	return check(grammar, root, "", error);
}

bool conf_grammar_check_part(const struct conf_grammar *grammar, const xmlNode *node, const char *parent,
			     GError **error)
{
	return check(grammar, node, parent, error);
}
