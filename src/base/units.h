/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes as people write them: "512M", "20G", "1.5T". */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/*
 * Parse a non-negative size: digits, optionally with a fraction, then one of b k m g t p e in either
 * case, optionally followed by "B" or "iB". Without a suffix the number counts `default_unit` bytes.
 * Fails with BERTH_ERR_INVALID on anything else and on overflow of 63 bits.
 */
bool units_parse_size(const char *text, uint64_t default_unit, uint64_t *bytes, GError **error);

/* Parse an unsigned number (decimal, or hexadecimal with 0x) that must lie in [min, max]. */
bool units_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *value,
			GError **error);

/* Parse on/off, yes/no, true/false, y/n, 1/0. */
bool units_parse_bool(const char *text, bool *value, GError **error);

/* "1.5 GiB": at most three significant digits. Free with g_free(). */
char *units_format_size(uint64_t bytes);
