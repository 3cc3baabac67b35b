/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/error.h"

#include <string.h>

GQuark berth_error_quark(void)
{
	return g_quark_from_static_string("berth-error");
}

bool error_set_errno(GError **error, int errnum, const char *format, ...)
{
	if (!error)
		return false;
	va_list args;
	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, BERTH_ERROR, BERTH_ERR_IO, "%s: %s", text, g_strerror(errnum));
	return false;
}

bool error_set(GError **error, enum berth_error code, const char *format, ...)
{
	if (!error)
		return false;
	va_list args;
	va_start(args, format);
	*error = g_error_new_valist(BERTH_ERROR, code, format, args);
	va_end(args);
	return false;
}

/* Levenshtein distance by the two-row method. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t lb = strlen(b);
	g_autofree size_t *row = g_new(size_t, lb + 1);
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t diagonal = row[0];
		row[0] = i + 1;
		for (size_t j = 0; j < lb; j++) {
			size_t replace = diagonal + (a[i] != b[j]);
			diagonal = row[j + 1];
			row[j + 1] = MIN(MIN(row[j] + 1, row[j + 1] + 1), replace);
		}
	}
	return row[lb];
}

const char *nearest_name(const char *wrong, const char *const *names)
{
	const char *best = NULL;
	size_t best_distance = strlen(wrong) / 3 + 2;
	for (; *names; names++) {
		size_t distance = edit_distance(wrong, *names);
		if (distance < best_distance) {
			best_distance = distance;
			best = *names;
		}
	}
	return best;
}
