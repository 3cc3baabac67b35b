/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * key=value arguments of a back end, as parallel NULL-terminated arrays, read by name. The last of
 * several equal keys counts, as in QEMU.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct args {
	const char *what; /* for messages: "-netdev user" */
	const char *const *keys, *const *values;
};

/* Fails, with the nearest valid name, if a key is not among the NULL-terminated `allowed`. */
bool args_check(const struct args *args, const char *const *allowed, GError **error);
/* The value, borrowed, or NULL if it is not given. */
const char *args_string(const struct args *args, const char *key);
/* As args_string(), but an error if it is not given or empty. */
const char *args_required(const struct args *args, const char *key, GError **error);
/* Leave *value alone if the key is not given. A bad value gives an error naming the key. */
bool args_bool(const struct args *args, const char *key, bool *value, GError **error);
bool args_number(const struct args *args, const char *key, uint64_t min, uint64_t max,
		 uint64_t *value, GError **error);
