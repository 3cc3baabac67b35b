/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "elements.h"

#include "base/error.h"
#include "base/units.h"
#include "codec/xml.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Paths ------------------------------------------------------------------------------------ */

static xmlNode *child_number(xmlNode *parent, const char *name, unsigned number)
{
	xmlNode *child = xml_child(parent, name);
	for (unsigned i = 0; child && i < number; i++)
		child = xml_next(child, name);
	while (!child) {
		unsigned count = 0;
		xml_for_each(other, parent, name)
			count++;
		xmlNode *made = xmlNewChild(parent, NULL, BAD_CAST name, NULL);
		child = count == number ? made : NULL;
	}
	return child;
}

/* The child of that name whose attribute "name" is `value`. */
static xmlNode *child_named(xmlNode *parent, const char *name, const char *value)
{
	xml_for_each(child, parent, name) {
		g_autofree char *given = xml_attribute(child, "name");
		if (given && !strcmp(given, value))
			return child;
	}
	xmlNode *made = xmlNewChild(parent, NULL, BAD_CAST name, NULL);
	xmlSetProp(made, BAD_CAST "name", BAD_CAST value);
	return made;
}

/* A step is "name", "name[3]" or "name{value of its attribute name}". */
static xmlNode *step_into(xmlNode *parent, const char *step)
{
	const char *brace = strchr(step, '{');
	if (brace) {
		g_autofree char *element = g_strndup(step, brace - step);
		g_autofree char *value = g_strndup(brace + 1, strlen(brace) - 2);
		return child_named(parent, element, value);
	}
	const char *bracket = strchr(step, '[');
	g_autofree char *name = g_strndup(step, bracket ? (size_t)(bracket - step) : strlen(step));
	return child_number(parent, name, bracket ? strtoul(bracket + 1, NULL, 10) : 0);
}

xmlNode *element_at(xmlNode *root, const char *path)
{
	g_auto(GStrv) steps = g_strsplit(path, "/", -1);
	for (char **step = steps; *step; step++) {
		if (strcmp(*step, ".") != 0)
			root = step_into(root, *step);
	}
	return root;
}

void element_set(xmlNode *root, const char *path, const char *value)
{
	const char *at = strrchr(path, '@');
	if (!at) {
		xmlNode *node = element_at(root, path);
		xmlNodeSetContent(node, NULL);
		xmlNodeAddContent(node, BAD_CAST value);
		return;
	}
	g_autofree char *parent = at == path ? g_strdup(".") : g_strndup(path, at - path - 1);
	xmlSetProp(element_at(root, parent), BAD_CAST (at + 1), BAD_CAST value);
}

void element_remove(xmlNode *parent, const char *name)
{
	for (xmlNode *child; (child = xml_child(parent, name));) {
		xmlUnlinkNode(child);
		xmlFreeNode(child);
	}
}

static void remove_at(xmlNode *root, const char *path)
{
	const char *slash = strrchr(path, '/');
	g_autofree char *parent = slash ? g_strndup(path, slash - path) : g_strdup(".");
	element_remove(element_at(root, parent), slash ? slash + 1 : path);
}

/* --- Keys ------------------------------------------------------------------------------------- */

enum { MOST_NUMBERS = 3, HIGHEST_NUMBER = 1023 };

/* Does `key` match the name with its #? Its numbers go to `numbers`; none is 0. */
static bool matches(const char *name, const char *key, unsigned *numbers)
{
	unsigned count = 0;
	for (; *name; name++) {
		if (*name != '#') {
			if (*name != *key++)
				return false;
			continue;
		}
		char *end = (char *)key;
		unsigned long number = g_ascii_isdigit(*key) ? strtoul(key, &end, 10) : 0;
		if (number > HIGHEST_NUMBER || count == MOST_NUMBERS)
			return false;
		numbers[count++] = number;
		key = end;
	}
	return !*key;
}

static char *fill_numbers(const char *path, const unsigned *numbers)
{
	GString *out = g_string_new(NULL);
	for (; *path; path++) {
		if (*path == '#')
			g_string_append_printf(out, "[%u]", *numbers++);
		else
			g_string_append_c(out, *path);
	}
	return g_string_free(out, FALSE);
}

static const struct element_key *find_key(const struct element_key *const *tables, const char *key,
					  unsigned *numbers)
{
	for (; *tables; tables++) {
		for (const struct element_key *k = *tables; k->name; k++) {
			if (matches(k->name, key, numbers))
				return k;
		}
	}
	return NULL;
}

static bool unknown_key(const struct element_key *const *tables, const char *option, const char *key,
			GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	for (; *tables; tables++) {
		for (const struct element_key *k = *tables; k->name; k++)
			g_ptr_array_add(names, (void *)k->name);
	}
	g_ptr_array_add(names, NULL);
	const char *near = nearest_name(key, (const char *const *)names->pdata);
	return error_set(error, BERTH_ERR_INVALID, "--%s has no '%s'%s%s", option, key,
			 near ? ": did you mean " : "", near ? near : "");
}

/* 1, 0, or -1 for what is no switch. */
static int read_switch(const char *value)
{
	static const char *const on[] = {"on", "yes", "true", "1", NULL};
	static const char *const off[] = {"off", "no", "false", "0", NULL};
	return g_strv_contains(on, value) ? 1 : g_strv_contains(off, value) ? 0 : -1;
}

static bool set_switch(xmlNode *element, enum key_kind kind, const char *path, const char *value,
		       GError **error)
{
	int on = read_switch(value);
	if (on < 0)
		return error_set(error, BERTH_ERR_INVALID, "'%s' is neither yes nor no", value);
	if (kind == KEY_ONOFF)
		element_set(element, path, on ? "on" : "off");
	else if (kind == KEY_YESNO)
		element_set(element, path, on ? "yes" : "no");
	else if (on)
		element_at(element, path);
	else
		remove_at(element, path);
	return true;
}

static bool set_mib(xmlNode *element, const char *path, const char *value, GError **error)
{
	uint64_t mib;
	if (!units_parse_number(value, 1, UINT64_C(1) << 34, &mib, error))
		return false;
	g_autofree char *kib = g_strdup_printf("%" PRIu64, mib << 10);
	element_set(element, path, kib);
	return true;
}

static bool set_address(xmlNode *element, const char *path, const char *value, GError **error)
{
	const char *colon = strrchr(value, ':');
	g_auto(GStrv) paths = g_strsplit(path, " ", 2);
	if (!colon)
		return error_set(error, BERTH_ERR_INVALID, "'%s' is no HOST:PORT", value);
	g_autofree char *host = g_strndup(value, colon - value);
	element_set(element, paths[0], host);
	element_set(element, paths[1], colon + 1);
	return true;
}

bool element_apply(xmlNode *element, const struct element_key *const *tables, const char *option,
		   const char *key, const char *value, GError **error)
{
	unsigned numbers[MOST_NUMBERS];
	bool good = true;
	const struct element_key *found = find_key(tables, key, numbers);
	if (!found)
		return unknown_key(tables, option, key, error);
	g_autofree char *path = fill_numbers(found->path, numbers);
	if (found->kind == KEY_TEXT)
		element_set(element, path, value);
	else if (found->kind == KEY_MIB)
		good = set_mib(element, path, value, error);
	else if (found->kind == KEY_ADDRESS)
		good = set_address(element, path, value, error);
	else
		good = set_switch(element, found->kind, path, value, error);
	if (!good)
		g_prefix_error(error, "--%s %s: ", option, key);
	return good;
}

/* --- Options ---------------------------------------------------------------------------------- */

struct keyval *element_parse(const char *text, const char *implied, GError **error)
{
	auto_keyval kv = keyval_parse(text, implied, error);
	struct keyval *joined = kv ? keyval_new() : NULL;
	for (unsigned k = 0; joined && k < keyval_count(kv); k++) {
		const char *key = kv->keys->pdata[k];
		if (k > 0 && kv->bare->data[k] && strspn(key, "0123456789-^") == strlen(key)) {
			char **last = (char **)&joined->values->pdata[keyval_count(joined) - 1];
			char *longer = g_strdup_printf("%s,%s", *last, key);
			g_free(*last);
			*last = longer;
		} else {
			keyval_add(joined, key, kv->values->pdata[k]);
			joined->bare->data[keyval_count(joined) - 1] = kv->bare->data[k];
		}
	}
	return joined;
}

/* "/source,target" of an option with a second word: its key is not "target" but that one. */
static void name_second(const struct element_option *option, struct keyval *kv)
{
	if (!option->second || keyval_count(kv) < 2 || !kv->bare->data[1])
		return;
	char *value = kv->keys->pdata[1];
	g_free(kv->values->pdata[1]);
	kv->values->pdata[1] = value;
	kv->keys->pdata[1] = g_strdup(option->second);
}

static xmlNode *make_element(xmlNode *domain, const struct element_option *option)
{
	const char *slash = strrchr(option->path, '/');
	if (!option->many)
		return element_at(domain, option->path);
	g_autofree char *parent = slash ? g_strndup(option->path, slash - option->path) : g_strdup(".");
	return xmlNewChild(element_at(domain, parent), NULL, BAD_CAST (slash ? slash + 1 : option->path), NULL);
}

static bool apply_all(xmlNode *element, const struct element_option *option, const struct keyval *kv,
		      GError **error)
{
	for (unsigned k = 0; k < keyval_count(kv); k++) {
		if (!element_apply(element, option->keys, option->name, kv->keys->pdata[k],
				   kv->values->pdata[k], error))
			return false;
	}
	return true;
}

bool element_option_apply(xmlNode *domain, const struct element_option *option, const char *text,
			  GError **error)
{
	if (option->many && !strcmp(text, "none"))
		return true;
	if (option->standard && !strcmp(text, "default"))
		text = option->standard;
	auto_keyval kv = element_parse(text, option->implied, error);
	auto_keyval before = kv ? keyval_parse(option->before ? option->before : "", NULL, error) : NULL;
	if (!before) {
		g_prefix_error(error, "--%s: ", option->name);
		return false;
	}
	name_second(option, kv);
	xmlNode *element = make_element(domain, option);
	return apply_all(element, option, before, error) && apply_all(element, option, kv, error);
}
