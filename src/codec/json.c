/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "codec/json.h"

#include "base/error.h"
#include "codec/keyval.h"

#include <string.h>

/* jansson recurses; its own limit is 2048 levels. Ours is checked first, without recursion. */
static bool depth_is_bounded(const char *text, size_t length)
{
	unsigned depth = 0;
	bool in_string = false;
	for (size_t i = 0; i < length; i++) {
		char c = text[i];
		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
			depth++;
		else if (!in_string && (c == '}' || c == ']') && depth > 0)
			depth--;
		if (depth > JSON_MAX_DEPTH)
			return false;
	}
	return true;
}

json_t *json_parse_text(const char *text, size_t length, GError **error)
{
	if (length > JSON_MAX_SIZE || !depth_is_bounded(text, length)) {
		error_set(error, BERTH_ERR_INVALID,
			  "JSON text is too large: at most %d levels and 16 MiB", JSON_MAX_DEPTH);
		return NULL;
	}
	json_error_t where;
	json_t *value = json_loadb(text, length, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &where);
	if (!value)
		error_set(error, BERTH_ERR_INVALID, "JSON parse error, column %d: %s", where.column,
			  where.text);
	return value;
}

static bool flatten(struct keyval *kv, const char *prefix, const json_t *value, GError **error);

static bool flatten_member(struct keyval *kv, const char *prefix, const char *key,
			   const json_t *value, GError **error)
{
	if (!key[0] || strpbrk(key, "=,"))
		return error_set(error, BERTH_ERR_INVALID, "'%s' cannot be the name of a property",
				 key);
	g_autofree char *name = prefix ? g_strdup_printf("%s.%s", prefix, key) : g_strdup(key);
	return flatten(kv, name, value, error);
}

static bool flatten(struct keyval *kv, const char *prefix, const json_t *value, GError **error)
{
	g_autofree char *text = NULL;
	const char *key;
	json_t *member;
	size_t i;
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		json_object_foreach((json_t *)value, key, member) {
			if (!flatten_member(kv, prefix, key, member, error))
				return false;
		}
		return true;
	case JSON_ARRAY:
		json_array_foreach(value, i, member) {
			g_autofree char *index = g_strdup_printf("%zu", i);
			if (!flatten_member(kv, prefix, index, member, error))
				return false;
		}
		return true;
	case JSON_STRING:
		keyval_add(kv, prefix, json_string_value(value));
		return true;
	case JSON_INTEGER:
		text = g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
		break;
	case JSON_REAL:
		text = g_strdup_printf("%.17g", json_real_value(value));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		text = g_strdup(json_is_true(value) ? "on" : "off");
		break;
	case JSON_NULL:
		return error_set(error, BERTH_ERR_INVALID, "'%s' is null: leave it out instead",
				 prefix);
	}
	keyval_add(kv, prefix, text);
	return true;
}

struct keyval *json_to_keyval(const json_t *object, GError **error)
{
	if (!json_is_object(object)) {
		error_set(error, BERTH_ERR_INVALID, "the JSON form must be an object: {...}");
		return NULL;
	}
	struct keyval *kv = keyval_new();
	if (!flatten(kv, NULL, object, error))
		g_clear_pointer(&kv, keyval_free);
	return kv;
}
