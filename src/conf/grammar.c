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

/* Rows by their path: of those whose path is plain; the others are few. */
struct index {
	GHashTable *plain;  /* path -> number of the row, from 1 */
	GArray *patterns;   /* unsigned: numbers of the others, from 0 */
};

static struct index *make_index(const struct conf_grammar *grammar)
{
	struct index *index = g_new0(struct index, 1);
	index->plain = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	index->patterns = g_array_new(FALSE, FALSE, sizeof(unsigned));
	for (unsigned i = 0; i < grammar->row_count; i++) {
		g_autofree char *path = g_strndup(grammar->rows[i], strcspn(grammar->rows[i], " "));
		if (strchr(path, '*'))
			g_array_append_val(index->patterns, i);
		else if (!g_hash_table_contains(index->plain, path))
			g_hash_table_insert(index->plain, g_steal_pointer(&path), GUINT_TO_POINTER(i + 1));
	}
	return index;
}

/* Computed from a constant table, once: not state. */
static const struct index *index_of(const struct conf_grammar *grammar)
{
	if (g_once_init_enter(grammar->index))
		g_once_init_leave(grammar->index, (gsize)make_index(grammar));
	return (const struct index *)*grammar->index;
}

/* As find() below, by the index: the first row of the table counts. */
static const char *look_up(const struct conf_grammar *grammar, const char *path)
{
	const struct index *index = index_of(grammar);
	unsigned plain = GPOINTER_TO_UINT(g_hash_table_lookup(index->plain, path));
	for (unsigned i = 0; i < index->patterns->len; i++) {
		unsigned row = g_array_index(index->patterns, unsigned, i);
		const char *words = plain && plain <= row ? NULL : match(grammar->rows[row], path);
		if (words)
			return words;
	}
	return plain ? match(grammar->rows[plain - 1], path) : NULL;
}

/* The words after the path, or NULL if the path is not in the table. */
static const char *find(const struct conf_grammar *grammar, const char *path)
{
	if (grammar->index)
		return look_up(grammar, path);
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

/* ": use ..." for an element or attribute that is refused, or "". */
static char *advice_for(const struct conf_grammar *grammar, const char *path)
{
	for (const struct conf_advice *advice = grammar->advice; advice && advice->path; advice++) {
		if (strcmp(advice->path, path) == 0)
			return g_strconcat(": ", advice->text, NULL);
	}
	return g_strdup("");
}

/* `path` is the way to the node's parent, and unless there is an error the same again afterwards. */
static bool check(const struct conf_grammar *grammar, const xmlNode *node, GString *path, GError **error)
{
	size_t length = path->len;
	if (length)
		g_string_append_c(path, '/');
	g_string_append(path, (const char *)node->name);
	const char *words = find(grammar, path->str);
	if (!words) {
		g_autofree char *advice = advice_for(grammar, path->str);
		g_string_truncate(path, length);
		return refuse(error, node, "Berth does not support <%s> in <%s>%s", node->name,
			      !length			  ? "a document"
			      : strrchr(path->str, '/') ? strrchr(path->str, '/') + 1
							  : path->str, advice);
	}
	if (has_word(words, "*")) {
		g_string_truncate(path, length);
		return true;
	}
	for (const xmlAttr *attribute = node->properties; attribute; attribute = attribute->next) {
		if (has_word(words, (const char *)attribute->name))
			continue;
		g_autofree char *which = g_strconcat(path->str, "/@", attribute->name, NULL);
		g_autofree char *advice = advice_for(grammar, which);
		return refuse(error, node, "Berth does not support the attribute '%s'%s", attribute->name,
			      advice);
	}
	if (!check_values(grammar, node, path->str, error))
		return false;
	xml_for_each(child, node, NULL) {
		if (!check(grammar, child, path, error))
			return false;
	}
	g_string_truncate(path, length);
	return true;
}

bool conf_grammar_check(const struct conf_grammar *grammar, const xmlNode *root, GError **error)
{
	return conf_grammar_check_part(grammar, root, "", error);
}

bool conf_grammar_check_part(const struct conf_grammar *grammar, const xmlNode *node, const char *parent,
			     GError **error)
{
	g_autoptr(GString) path = g_string_new(parent);
	return check(grammar, node, path, error);
}
