/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/args.h"

#include "base/error.h"
#include "base/units.h"

bool args_check(const struct args *args, const char *const *allowed, GError **error)
{
	for (const char *const *key = args->keys; key && *key; key++) {
		if (g_strv_contains(allowed, *key))
			continue;
		const char *near = nearest_name(*key, allowed);
		return error_set(error, BERTH_ERR_INVALID, "%s has no option '%s'%s%s%s",
				 args->what, *key, near ? ": did you mean '" : "", near ? near : "",
				 near ? "'?" : "");
	}
	return true;
}

const char *args_string(const struct args *args, const char *key)
{
	const char *found = NULL;
	for (unsigned i = 0; args->keys && args->keys[i]; i++) {
		if (g_str_equal(args->keys[i], key))
			found = args->values[i];
	}
	return found;
}

const char *args_required(const struct args *args, const char *key, GError **error)
{
	const char *value = args_string(args, key);
	if (value && *value)
		return value;
	error_set(error, BERTH_ERR_INVALID, "%s needs %s=", args->what, key);
	return NULL;
}

bool args_bool(const struct args *args, const char *key, bool *value, GError **error)
{
	const char *text = args_string(args, key);
	if (!text || units_parse_bool(text, value, error))
		return true;
	g_prefix_error(error, "%s, %s=: ", args->what, key);
	return false;
}

bool args_number(const struct args *args, const char *key, uint64_t min, uint64_t max,
		 uint64_t *value, GError **error)
{
	const char *text = args_string(args, key);
	if (!text || units_parse_number(text, min, max, value, error))
		return true;
	g_prefix_error(error, "%s, %s=: ", args->what, key);
	return false;
}
