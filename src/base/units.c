/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/units.h"

#include "base/error.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The power of 1024 that a suffix letter stands for, or -1. */
static int suffix_power(char c)
{
	static const char letters[] = "bkmgtpe";
	const char *at = c ? strchr(letters, tolower((unsigned char)c)) : NULL;
	return at ? (int)(at - letters) : -1;
}

bool units_parse_size(const char *text, uint64_t default_unit, uint64_t *bytes, GError **error)
{
	const char *p = text;
	uint64_t whole = 0;
	long double fraction = 0, place = 0.1L;
	bool digits = false;

	for (; isdigit((unsigned char)*p); p++, digits = true) {
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, *p - '0', &whole))
			goto too_large;
	}
	if (*p == '.') {
		for (p++; isdigit((unsigned char)*p); p++, digits = true, place /= 10)
			fraction += (*p - '0') * place;
	}
	if (!digits)
		goto bad;

	uint64_t unit = default_unit;
	if (*p) {
		int power = suffix_power(*p++);
		if (power < 0)
			goto bad;
		unit = UINT64_C(1) << (10 * power);
		if (power && (g_ascii_strcasecmp(p, "b") == 0 || g_ascii_strcasecmp(p, "ib") == 0))
			p += strlen(p);
		if (*p)
			goto bad;
	}

	uint64_t total;
	if (__builtin_mul_overflow(whole, unit, &total) ||
	    __builtin_add_overflow(total, (uint64_t)(fraction * unit), &total) || total > INT64_MAX)
		goto too_large;
	*bytes = total;
	return true;
bad:
	return error_set(error, BERTH_ERR_INVALID,
			 "'%s' is not a size: write a number and a unit, as in 512M or 20G", text);
too_large:
	return error_set(error, BERTH_ERR_INVALID, "the size '%s' is larger than 8 EiB", text);
}

bool units_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *value,
			GError **error)
{
	char *end;
	errno = 0;
	unsigned long long v = isdigit((unsigned char)*text) ? strtoull(text, &end, 0) : 0;
	if (!isdigit((unsigned char)*text) || *end)
		return error_set(error, BERTH_ERR_INVALID, "'%s' is not a number", text);
	if (errno || v < min || v > max)
		return error_set(error, BERTH_ERR_INVALID,
				 "%s is out of range: it can be from %" PRIu64 " to %" PRIu64, text,
				 min, max);
	*value = v;
	return true;
}

bool units_parse_bool(const char *text, bool *value, GError **error)
{
	static const char *const yes[] = {"on", "yes", "true", "y", "1", NULL};
	static const char *const no[] = {"off", "no", "false", "n", "0", NULL};
	if (g_strv_contains(yes, text))
		*value = true;
	else if (g_strv_contains(no, text))
		*value = false;
	else
		return error_set(error, BERTH_ERR_INVALID, "'%s' is neither on nor off", text);
	return true;
}

char *units_format_size(uint64_t bytes)
{
	static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double v = bytes;
	unsigned i = 0;
	while (v >= 1000 && i + 1 < G_N_ELEMENTS(names)) {
		v /= 1024;
		i++;
	}
	return g_strdup_printf("%.3g %s", v, names[i]);
}
