/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments of a QMP command, which the monitor has checked against its table. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

static inline const char *arg_text(const json_t *args, const char *name)
{
	return json_string_value(json_object_get(args, name));
}

static inline bool arg_flag(const json_t *args, const char *name, bool otherwise)
{
	const json_t *value = json_object_get(args, name);
	return value ? json_is_true(value) : otherwise;
}

static inline json_int_t arg_int(const json_t *args, const char *name, json_int_t otherwise)
{
	const json_t *value = json_object_get(args, name);
	return value ? json_integer_value(value) : otherwise;
}

/* Index into NULL-ended names, which are those of the table's type; `otherwise` if not given. */
static inline int arg_enum(const json_t *args, const char *name, const char *const *names,
			   int otherwise)
{
	const char *text = arg_text(args, name);
	for (int i = 0; text && names[i]; i++)
		if (strcmp(text, names[i]) == 0)
			return i;
	return otherwise;
}
