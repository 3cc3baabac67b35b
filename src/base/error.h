/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors: GLib's rule. A fallible function returns bool, a pointer or an int and takes
 * `GError **error` last; it is untouched on success. Each layer adds context with
 * g_prefix_error(); the top prints one line that a person can act on.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

enum berth_error {
	BERTH_ERR_INVALID,       /* the caller's or the person's input is wrong */
	BERTH_ERR_NOT_FOUND,     /* a named thing does not exist */
	BERTH_ERR_NOT_SUPPORTED, /* understood, but Berth or this host cannot do it */
	BERTH_ERR_BUSY,          /* in use or in the wrong state; may work later */
	BERTH_ERR_IO,            /* the host's kernel refused; errno is in the text */
	BERTH_ERR_INTERNAL,      /* a bug of ours, reported instead of asserted */
};

#define BERTH_ERROR (berth_error_quark())
GQuark berth_error_quark(void);

/* Set *error to BERTH_ERR_IO with "<text>: <strerror(errnum)>". Returns false always. */
bool error_set_errno(GError **error, int errnum, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Set *error with the given code. Returns false always, so that `return error_set(...)` reads well. */
bool error_set(GError **error, enum berth_error code, const char *format, ...) G_GNUC_PRINTF(3, 4);

/*
 * Of the NULL-terminated `names`, the one nearest to `wrong` by edit distance, or NULL if none is
 * near enough to be what the person meant. The result is borrowed from `names`.
 */
const char *nearest_name(const char *wrong, const char *const *names);
