/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listings: columns as wide as their widest cell on the terminal, or a list of JSON objects. */
#include "shell.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

struct table {
	unsigned columns;
	GPtrArray *cells; /* char *; the first row are the titles */
};

static void add(struct table *table, const char *text)
{
	g_ptr_array_add(table->cells, g_strdup(text));
}

struct table *table_new(const char *first, ...)
{
	struct table *table = g_new0(struct table, 1);
	table->cells = g_ptr_array_new_with_free_func(g_free);
	va_list args;
	va_start(args, first);
	for (const char *text = first; text; text = va_arg(args, const char *))
		add(table, text);
	va_end(args);
	table->columns = table->cells->len;
	return table;
}

void table_row(struct table *table, ...)
{
	va_list args;
	va_start(args, table);
	for (const char *text; (text = va_arg(args, const char *));)
		add(table, text);
	va_end(args);
	g_assert(table->cells->len % table->columns == 0);
}

void table_free(struct table *table)
{
	g_ptr_array_unref(table->cells);
	g_free(table);
}

/* Bytes that would move the cursor or that the locale does not know become \xNN. */
static char *printable(const char *text, unsigned *width)
{
	GString *out = g_string_new(NULL);
	mbstate_t state = {0};
	*width = 0;
	for (const char *p = text; *p;) {
		wchar_t wide;
		size_t length = mbrtowc(&wide, p, MB_CUR_MAX, &state);
		bool bad = length == (size_t)-1 || length == (size_t)-2;
		if (bad) {
			memset(&state, 0, sizeof(state));
			length = 1;
		}
		bool hex = g_ascii_iscntrl(*p) || (*p == '\\' && p[1] == 'x') ||
			   (bad ? !g_ascii_isprint(*p) : !iswprint(wide));
		for (size_t i = 0; hex && i < length; i++) {
			g_string_append_printf(out, "\\x%02x", (uint8_t)p[i]);
			*width += 4;
		}
		if (!hex) {
			g_string_append_len(out, p, length);
			*width += bad ? 1 : g_unichar_iszerowidth(wide) ? 0 :
				  g_unichar_iswide(wide)		? 2 : 1;
		}
		p += length;
	}
	return g_string_free(out, FALSE);
}

static void print_row(const struct table *table, unsigned row, char **texts, const unsigned *widths,
		      const unsigned *widest)
{
	for (unsigned c = 0; c < table->columns; c++) {
		unsigned i = row * table->columns + c;
		int gap = c + 1 < table->columns ? widest[c] - widths[i] + 2 : 0;
		printf(" %s%*s", texts[i], gap, "");
	}
	putchar('\n');
}

static void print_text(const struct shell *sh, const struct table *table)
{
	unsigned count = table->cells->len, rows = count / table->columns;
	g_auto(GStrv) texts = g_new0(char *, count + 1);
	g_autofree unsigned *widths = g_new0(unsigned, count), *widest = g_new0(unsigned, table->columns);
	unsigned first = sh->quiet ? table->columns : 0;
	for (unsigned i = 0; i < count; i++) {
		texts[i] = printable(table->cells->pdata[i], &widths[i]);
		unsigned *column = &widest[i % table->columns];
		if (i >= first)
			*column = MAX(*column, widths[i]);
	}
	unsigned rule = 0;
	for (unsigned c = 0; c < table->columns; c++)
		rule += widest[c] + 3;
	for (unsigned row = sh->quiet ? 1 : 0; row < rows; row++) {
		print_row(table, row, texts, widths, widest);
		for (unsigned i = 0; row == 0 && i < rule; i++)
			putchar('-');
		if (row == 0)
			putchar('\n');
	}
	fflush(stdout);
}

/* "Mac Address" becomes mac_address: names that programs can use. */
static char *json_key(const char *title)
{
	g_autofree char *lower = g_ascii_strdown(title, -1);
	return g_strdup(g_strdelimit(g_strstrip(lower), " -", '_'));
}

static void print_json(const struct table *table)
{
	json_t *list = json_array();
	for (unsigned i = table->columns; i < table->cells->len; i += table->columns) {
		json_t *object = json_object();
		for (unsigned c = 0; c < table->columns; c++) {
			g_autofree char *key = json_key(table->cells->pdata[c]);
			g_autofree char *value = g_utf8_make_valid(table->cells->pdata[i + c], -1);
			json_object_set_new(object, key, json_string(value));
		}
		json_array_append_new(list, object);
	}
	json_dumpf(list, stdout, JSON_INDENT(2));
	putchar('\n');
	fflush(stdout);
	json_decref(list);
}

void table_print(const struct shell *sh, struct table *table)
{
	if (sh->json)
		print_json(table);
	else
		print_text(sh, table);
	table_free(table);
}

void table_print_words(const struct shell *sh, struct table *table)
{
	if (sh->json)
		print_json(table);
	for (unsigned i = table->columns; !sh->json && i < table->cells->len; i++)
		printf("%s%c", (char *)table->cells->pdata[i], (i + 1) % table->columns ? ' ' : '\n');
	fflush(stdout);
	table_free(table);
}

/* --- Trees ------------------------------------------------------------------------------------ */

struct tree {
	unsigned count;
	char *const *names;
	const int *parents;
	GString *indent;
};

static int last_child(const struct tree *tree, int node)
{
	int last = -1;
	for (unsigned i = 0; i < tree->count; i++) {
		if (tree->parents[i] == node)
			last = i;
	}
	return last;
}

/* `last`: there is no sibling below. A trunk leads to each child; an empty line ends a branch. */
static void print_node(const struct tree *tree, int node, bool root, bool last)
{
	GString *indent = tree->indent;
	shell_print("%s%s%s\n", indent->str, root ? "" : "+- ", tree->names[node]);
	if (!root)
		g_string_append(indent, last ? "  " : "| ");
	int last_below = last_child(tree, node);
	if (last_below >= 0)
		shell_print("%s  |\n", indent->str);
	g_string_append(indent, "  ");
	for (int i = 0; i <= last_below; i++) {
		if (tree->parents[i] == node)
			print_node(tree, i, false, i == last_below);
	}
	g_string_truncate(indent, indent->len - 2);
	if (last_below < 0 && last)
		shell_print("%s\n", indent->str);
	if (!root)
		g_string_truncate(indent, indent->len - 2);
}

void tree_print(unsigned count, char *const *names, const int *parents)
{
	struct tree tree = {count, names, parents, g_string_new(NULL)};
	for (unsigned i = 0; i < count; i++) {
		if (parents[i] < 0)
			print_node(&tree, i, true, true);
	}
	g_string_free(tree.indent, TRUE);
}

/* --- Names ------------------------------------------------------------------------------------ */

int compare_names(const void *a, const void *b)
{
	return g_ascii_strcasecmp(*(char *const *)a, *(char *const *)b);
}

const char *yes_no(bool value)
{
	return value ? "yes" : "no";
}
