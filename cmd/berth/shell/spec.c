/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "spec.h"

#include <string.h>

char **spec_split(const char *text)
{
	g_autoptr(GStrvBuilder) parts = g_strv_builder_new();
	g_autoptr(GString) part = g_string_new(NULL);
	for (const char *p = text;; p++) {
		if (*p == ',' && p[1] == ',') {
			g_string_append_c(part, *p++);
		} else if (*p && *p != ',') {
			g_string_append_c(part, *p);
		} else {
			g_strv_builder_add(parts, part->str);
			g_string_truncate(part, 0);
			if (!*p)
				return g_strv_builder_end(parts);
		}
	}
}

bool spec_values(char *const *parts, const char *const *keys, const char **values, unsigned count)
{
	for (char *const *part = parts + 1; parts[0] && *part; part++) {
		unsigned i = 0;
		while (i < count && (values[i] || !g_str_has_prefix(*part, keys[i])))
			i++;
		if (i == count)
			return false;
		values[i] = *part + strlen(keys[i]);
	}
	return parts[0] && *parts[0];
}

void spec_name(struct xml_writer *w, const char *name, const char *description)
{
	if (name)
		xml_leaf(w, "name", name, NULL);
	if (description)
		xml_leaf(w, "description", description, NULL);
}

char *spec_time(const char *seconds)
{
	int64_t number;
	if (!seconds || !parse_int64(seconds, &number))
		return NULL;
	g_autoptr(GDateTime) then = g_date_time_new_from_unix_local(number);
	return then ? g_date_time_format(then, "%Y-%m-%d %H:%M:%S %z") : NULL;
}

void spec_tree(struct shell *sh, void *items, uint32_t count, size_t size,
	       char *(*parent)(struct shell *sh, void *item))
{
	g_autofree char **names = g_new0(char *, count + 1);
	g_autofree int *parents = g_new0(int, count + 1);
	for (uint32_t i = 0; i < count; i++)
		names[i] = *(char **)((uint8_t *)items + i * size);
	for (uint32_t i = 0; i < count; i++) {
		const char *name = parent(sh, (uint8_t *)items + i * size);
		parents[i] = -1;
		for (uint32_t p = 0; name && p < count; p++) {
			if (strcmp(names[p], name) == 0)
				parents[i] = p;
		}
	}
	shell_forget_error(sh);
	tree_print(count, names, parents);
}
