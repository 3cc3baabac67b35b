/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/keyval.h"

#include "base/error.h"
#include "codec/json.h"

#include <string.h>

struct keyval *keyval_new(void)
{
	struct keyval *kv = g_new(struct keyval, 1);
	kv->keys = g_ptr_array_new_null_terminated(4, g_free, TRUE);
	kv->values = g_ptr_array_new_null_terminated(4, g_free, TRUE);
	kv->bare = g_byte_array_new();
	return kv;
}

void keyval_free(struct keyval *kv)
{
	if (!kv)
		return;
	g_ptr_array_unref(kv->keys);
	g_ptr_array_unref(kv->values);
	g_byte_array_unref(kv->bare);
	g_free(kv);
}

unsigned keyval_count(const struct keyval *kv)
{
	return kv->keys->len;
}

static void keyval_append(struct keyval *kv, char *key, char *value, uint8_t bare)
{
	g_ptr_array_add(kv->keys, key);
	g_ptr_array_add(kv->values, value);
	g_byte_array_append(kv->bare, &bare, 1);
}

void keyval_add(struct keyval *kv, const char *key, const char *value)
{
	keyval_append(kv, g_strdup(key), g_strdup(value), 0);
}

const char *keyval_get(const struct keyval *kv, const char *key)
{
	for (unsigned i = kv->keys->len; i-- > 0;) {
		if (strcmp(kv->keys->pdata[i], key) == 0)
			return kv->values->pdata[i];
	}
	return NULL;
}

char *keyval_take(struct keyval *kv, const char *key)
{
	char *last = NULL;
	for (unsigned i = kv->keys->len; i-- > 0;) {
		if (strcmp(kv->keys->pdata[i], key) != 0)
			continue;
		if (!last)
			last = g_strdup(kv->values->pdata[i]);
		g_ptr_array_remove_index(kv->keys, i);
		g_ptr_array_remove_index(kv->values, i);
		g_byte_array_remove_index(kv->bare, i);
	}
	return last;
}

void keyval_set(struct keyval *kv, const char *key, const char *value)
{
	g_free(keyval_take(kv, key));
	keyval_add(kv, key, value);
}

struct keyval *keyval_copy(const struct keyval *kv)
{
	struct keyval *copy = keyval_new();
	for (unsigned i = 0; i < kv->keys->len; i++)
		keyval_append(copy, g_strdup(kv->keys->pdata[i]), g_strdup(kv->values->pdata[i]),
			      kv->bare->data[i]);
	return copy;
}

/* The value at *p up to a single comma or the end; *p is left on that. */
static char *take_value(const char **p)
{
	GString *value = g_string_new(NULL);
	const char *at = *p;
	while (*at) {
		size_t run = strcspn(at, ",");
		g_string_append_len(value, at, run);
		at += run;
		if (at[0] != ',' || at[1] != ',')
			break;
		g_string_append_c(value, ',');
		at += 2;
	}
	*p = at;
	return g_string_free(value, FALSE);
}

struct keyval *keyval_parse(const char *text, const char *implied, GError **error)
{
	if (strlen(text) > KEYVAL_MAX_LENGTH) {
		error_set(error, BERTH_ERR_INVALID, "the list is longer than 1 MiB");
		return NULL;
	}
	auto_keyval kv = keyval_new();
	for (const char *p = text; *p;) {
		size_t name = strcspn(p, "=,");
		bool first = p == text;
		if (first && implied && p[name] != '=') {
			keyval_append(kv, g_strdup(implied), take_value(&p), 0);
		} else if (name == 0) {
			error_set(error, BERTH_ERR_INVALID,
				  "'%.40s' has a value without a name: write NAME=VALUE", text);
			return NULL;
		} else if (p[name] == '=') {
			char *key = g_strndup(p, name);
			p += name + 1;
			keyval_append(kv, key, take_value(&p), 0);
		} else {
			keyval_append(kv, g_strndup(p, name), g_strdup("on"), 1);
			p += name;
		}
		if (*p == ',')
			p++;
	}
	struct keyval *done = kv;
	kv = NULL;
	return done;
}

struct keyval *keyval_parse_any(const char *text, const char *implied, GError **error)
{
	if (text[0] != '{')
		return keyval_parse(text, implied, error);
	json_t *json = json_parse_text(text, strlen(text), error);
	if (!json)
		return NULL;
	struct keyval *kv = json_to_keyval(json, error);
	json_decref(json);
	return kv;
}

char *keyval_format(const struct keyval *kv, const char *implied)
{
	GString *text = g_string_new(NULL);
	for (unsigned i = 0; i < kv->keys->len; i++) {
		const char *key = kv->keys->pdata[i], *value = kv->values->pdata[i];
		if (i > 0)
			g_string_append_c(text, ',');
		/* A value with "=" in it would look like a key with one. */
		bool bare = i == 0 && implied && strcmp(key, implied) == 0 && value[0] &&
			    !strchr(value, '=');
		if (!bare)
			g_string_append_printf(text, "%s=", key);
		for (const char *p = value; *p; p++) {
			g_string_append_c(text, *p);
			if (*p == ',')
				g_string_append_c(text, ',');
		}
	}
	return g_string_free(text, FALSE);
}
