/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What snapshots and checkpoints share: how disks are named on the command line, and listings. */
#pragma once

#include "shell.h"

/* "a,b,,c" to a, "b,c": a doubled comma is one. g_strfreev() it. */
char **spec_split(const char *text);
/* After the first part, each begins with one of the keys, each key once. False: malformed. */
bool spec_values(char *const *parts, const char *const *keys, const char **values, unsigned count);
void spec_name(struct xml_writer *w, const char *name, const char *description);
/* Seconds since 1970 as listings show them; NULL for NULL or no number. g_free() it. */
char *spec_time(const char *seconds);
/* Draw structs whose first field is the name; `parent` gives the parent's name or NULL. */
void spec_tree(struct shell *sh, void *items, uint32_t count, size_t size,
	       char *(*parent)(struct shell *sh, void *item));
