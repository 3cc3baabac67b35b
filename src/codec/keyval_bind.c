/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists to structs and back, by tables of fields. */
#include "codec/keyval.h"

#include "base/error.h"
#include "base/units.h"

#include <inttypes.h>
#include <string.h>

static const struct keyval_field *find_field(const struct keyval_field *fields, const char *name)
{
	for (; fields->name; fields++) {
		if (strcmp(fields->name, name) == 0)
			return fields;
	}
	return NULL;
}

static bool set_unknown(const struct keyval_field *fields, const char *what, const char *key,
			GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	for (const struct keyval_field *f = fields; f->name; f++) {
		if (f->type != KEYVAL_REFUSED)
			g_ptr_array_add(names, (void *)f->name);
	}
	g_ptr_array_add(names, NULL);
	const char *near = nearest_name(key, (const char *const *)names->pdata);
	if (near)
		return error_set(error, BERTH_ERR_INVALID,
				 "%s has no property '%s': did you mean '%s'?", what, key, near);
	g_autofree char *all = g_strjoinv(", ", (char **)names->pdata);
	return error_set(error, BERTH_ERR_INVALID, "%s has no property '%s': it has %s", what, key,
			 all);
}

static bool set_enum(const struct keyval_field *field, int *target, const char *value,
		     GError **error)
{
	for (int i = 0; field->names[i]; i++) {
		if (field->names[i][0] && strcmp(field->names[i], value) == 0) {
			*target = i;
			return true;
		}
	}
	/* Index 0 with an empty name stands for "not given". */
	const char *const *named = field->names[0][0] ? field->names : field->names + 1;
	g_autofree char *all = g_strjoinv(", ", (char **)named);
	return error_set(error, BERTH_ERR_INVALID, "'%s' is not one of %s", value, all);
}

static bool set_field(const struct keyval_field *field, void *target, const char *value,
		      GError **error)
{
	void *at = (char *)target + field->offset;
	uint64_t number;
	bool on;
	switch (field->type) {
	case KEYVAL_STRING:
		g_free(*(char **)at);
		*(char **)at = g_strdup(value);
		return true;
	case KEYVAL_BOOL:
		return units_parse_bool(value, at, error);
	case KEYVAL_SWITCH:
		if (strcmp(value, "auto") == 0) {
			*(enum conf_switch *)at = CONF_SWITCH_AUTO;
			return true;
		}
		if (!units_parse_bool(value, &on, error))
			return false;
		*(enum conf_switch *)at = on ? CONF_SWITCH_ON : CONF_SWITCH_OFF;
		return true;
	case KEYVAL_UINT:
		if (!units_parse_number(value, field->min, field->max, &number, error))
			return false;
		*(unsigned *)at = number;
		return true;
	case KEYVAL_SIZE:
		return units_parse_size(value, field->min ? field->min : 1, at, error);
	case KEYVAL_ENUM:
		return set_enum(field, at, value, error);
	case KEYVAL_OFF:
		if (strcmp(value, "auto") == 0)
			return true;
		if (!units_parse_bool(value, &on, error))
			return false;
		if (!on)
			return true;
		G_GNUC_FALLTHROUGH;
	case KEYVAL_REFUSED:
		return error_set(error, BERTH_ERR_NOT_SUPPORTED, "it is not supported%s%s",
				 field->help ? ": " : "", field->help ? field->help : "");
	}
	g_assert_not_reached();
}

bool keyval_bind(const struct keyval *kv, const struct keyval_field *fields, void *target,
		 const char *what, struct keyval *rest, GError **error)
{
	for (unsigned i = 0; i < kv->keys->len; i++) {
		const char *key = kv->keys->pdata[i], *value = kv->values->pdata[i];
		const struct keyval_field *field = find_field(fields, key);
		if (!field && kv->bare->data[i] && strncmp(key, "no", 2) == 0) {
			field = find_field(fields, key + 2);
			value = "off";
		}
		if (!field && rest) {
			keyval_add(rest, key, value);
			continue;
		}
		if (!field)
			return set_unknown(fields, what, key, error);
		if (!set_field(field, target, value, error)) {
			g_prefix_error(error, "%s: %s: ", what, field->name);
			return false;
		}
	}
	return true;
}

/* A second spelling of a field that `fields` has before `f`. */
static bool is_alias(const struct keyval_field *fields, const struct keyval_field *f)
{
	for (; fields < f; fields++) {
		if (fields->type == f->type && fields->offset == f->offset)
			return true;
	}
	return false;
}

void keyval_unbind(struct keyval *kv, const struct keyval_field *fields, const void *target)
{
	for (const struct keyval_field *f = fields; f->name; f++) {
		if (is_alias(fields, f))
			continue;
		const void *at = (const char *)target + f->offset;
		g_autofree char *text = NULL;
		switch (f->type) {
		case KEYVAL_STRING:
			text = g_strdup(*(char *const *)at);
			break;
		case KEYVAL_BOOL:
			text = *(const bool *)at ? g_strdup("on") : NULL;
			break;
		case KEYVAL_SWITCH:
			if (*(const enum conf_switch *)at != CONF_SWITCH_AUTO)
				text = g_strdup(*(const enum conf_switch *)at == CONF_SWITCH_ON ?
							"on" :
							"off");
			break;
		case KEYVAL_UINT:
			if (*(const unsigned *)at)
				text = g_strdup_printf("%u", *(const unsigned *)at);
			break;
		case KEYVAL_SIZE: {
			uint64_t size = *(const uint64_t *)at;
			if (size)
				text = size % MIB ? g_strdup_printf("%" PRIu64 "b", size) :
						    g_strdup_printf("%" PRIu64 "M", size / MIB);
			break;
		}
		case KEYVAL_ENUM:
			if (*(const int *)at)
				text = g_strdup(f->names[*(const int *)at]);
			break;
		case KEYVAL_OFF:
		case KEYVAL_REFUSED:
			break;
		}
		if (text)
			keyval_add(kv, f->name, text);
	}
}

void keyval_clear(const struct keyval_field *fields, void *target)
{
	for (const struct keyval_field *f = fields; f->name; f++) {
		if (f->type == KEYVAL_STRING)
			g_clear_pointer((char **)((char *)target + f->offset), g_free);
	}
}
