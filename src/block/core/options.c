/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names and dictionaries of nodes. */
#include "block/core/options.h"

#include "base/error.h"
#include "base/units.h"
#include "block/core/driver.h"
#include "codec/json.h"
#include "codec/keyval.h"

#include <string.h>

/* The protocol that `filename` begins with ("nbd" of "nbd://host"), or NULL for a plain path. */
static char *protocol_of(const char *filename)
{
	const char *colon = strchr(filename, ':');
	size_t name = strcspn(filename, "/");
	if (!colon || colon == filename || colon - filename > name)
		return NULL;
	return g_strndup(filename, colon - filename);
}

static const struct block_driver *driver_of_protocol(const char *protocol)
{
	for (unsigned i = 0; block_drivers[i]; i++) {
		const char *prefix = block_drivers[i]->prefix;
		size_t length = prefix ? strlen(prefix) : 0;
		if (prefix && g_str_has_prefix(protocol, prefix) &&
		    (!protocol[length] || protocol[length] == '+'))
			return block_drivers[i];
	}
	return NULL;
}

json_t *block_parse_filename(const char *filename, GError **error)
{
	/* Names travel as JSON, which is UTF-8. A backing file's comes from an image. */
	if (!g_utf8_validate(filename, -1, NULL)) {
		g_autofree char *shown = g_utf8_make_valid(filename, -1);
		error_set(error, BERTH_ERR_NOT_SUPPORTED,
			  "the name '%s' is no UTF-8: rename the file, or make a link to it", shown);
		return NULL;
	}
	if (g_str_has_prefix(filename, "json:")) {
		json_t *flat = json_parse_text(filename + 5, strlen(filename + 5), error);
		if (flat && !json_is_object(flat)) {
			json_decref(flat);
			error_set(error, BERTH_ERR_INVALID,
				  "'%.40s': json: is followed by an object: json:{\"driver\":...}",
				  filename);
			return NULL;
		}
		json_t *dict = flat ? block_unflatten(flat, error) : NULL;
		json_decref(flat);
		return dict;
	}
	g_autofree char *protocol = protocol_of(filename);
	if (protocol && strcmp(protocol, "file") == 0)
		filename += strlen("file:");
	if (!protocol || strcmp(protocol, "file") == 0)
		return json_pack("{s:s, s:s}", "driver", "file", "filename", filename);
	const struct block_driver *driver = driver_of_protocol(protocol);
	if (!driver) {
		error_set(error, BERTH_ERR_NOT_SUPPORTED,
			  "'%s': there is no protocol '%s'; write ./NAME for a file with a colon",
			  filename, protocol);
		return NULL;
	}
	json_t *dict = json_pack("{s:s}", "driver", driver->name);
	if (driver->parse_filename && !driver->parse_filename(filename, dict, error)) {
		json_decref(dict);
		return NULL;
	}
	return dict;
}

/* Put `value` at the path `key` ("a.b.c") below `dict`. */
static bool insert(json_t *dict, const char *key, json_t *value, GError **error)
{
	g_auto(GStrv) parts = g_strsplit(key, ".", 64);
	for (unsigned i = 0; parts[i + 1]; i++) {
		json_t *next = json_object_get(dict, parts[i]);
		if (!next) {
			next = json_object();
			json_object_set_new(dict, parts[i], next);
		}
		if (!json_is_object(next))
			return error_set(error, BERTH_ERR_INVALID,
					 "'%s' is given both as a value and with keys below it",
					 parts[i]);
		dict = next;
	}
	json_object_set(dict, parts[g_strv_length(parts) - 1], value);
	return true;
}

json_t *block_unflatten(const json_t *flat, GError **error)
{
	json_t *dict = json_object();
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)flat, key, value)
	{
		json_t *inner = json_is_object(value) ? block_unflatten(value, error)
						      : json_incref(value);
		bool good = inner && *key && insert(dict, key, inner, error);
		json_decref(inner);
		if (!good) {
			if (error && !*error)
				error_set(error, BERTH_ERR_INVALID, "an option has no name");
			json_decref(dict);
			return NULL;
		}
	}
	return dict;
}

json_t *block_parse_image_opts(const char *text, GError **error)
{
	auto_keyval kv = keyval_parse_any(text, NULL, error);
	if (!kv)
		return NULL;
	json_t *flat = json_object();
	for (unsigned i = 0; i < keyval_count(kv); i++)
		json_object_set_new(flat, kv->keys->pdata[i], json_string(kv->values->pdata[i]));
	json_t *dict = block_unflatten(flat, error);
	json_decref(flat);
	return dict;
}

char *block_path_combine(const char *base, const char *name)
{
	g_autofree char *protocol = protocol_of(name);
	const char *slash = strrchr(base, '/');
	if (name[0] == '/' || protocol || g_str_has_prefix(base, "json:") || !slash)
		return g_strdup(name);
	return g_strdup_printf("%.*s%s", (int)(slash + 1 - base), base, name);
}

char *block_take_string(json_t *dict, const char *key)
{
	json_t *value = json_object_get(dict, key);
	char *text = NULL;
	if (json_is_string(value))
		text = g_strdup(json_string_value(value));
	else if (json_is_integer(value))
		text = g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_boolean(value))
		text = g_strdup(json_is_true(value) ? "on" : "off");
	if (text)
		json_object_del(dict, key);
	return text;
}

bool block_take_bool(json_t *dict, const char *key, bool *value, GError **error)
{
	g_autofree char *text = block_take_string(dict, key);
	return !text || units_parse_bool(text, value, NULL) ||
	       error_set(error, BERTH_ERR_INVALID, "Parameter '%s' expects 'on' or 'off'", key);
}

bool block_take_size(json_t *dict, const char *key, uint64_t *value, GError **error)
{
	g_autofree char *text = block_take_string(dict, key);
	if (!text || units_parse_size(text, 1, value, error))
		return true;
	g_prefix_error(error, "%s: ", key);
	return false;
}

bool block_take_enum(json_t *dict, const char *key, const char *const *names, int *value,
		     GError **error)
{
	g_autofree char *text = block_take_string(dict, key);
	if (!text)
		return true;
	for (int i = 0; names[i]; i++) {
		if (strcmp(text, names[i]) == 0) {
			*value = i;
			return true;
		}
	}
	/* QEMU's words, which scripts know; -o help and the manual list the values. */
	return error_set(error, BERTH_ERR_INVALID, "Parameter '%s' does not accept value '%s'", key, text);
}

bool block_refuse_rest(json_t *dict, const char *what, GError **error)
{
	void *first = json_object_iter(dict);
	return !first || error_set(error, BERTH_ERR_INVALID, "%s has no option '%s'", what,
				   json_object_iter_key(first));
}
