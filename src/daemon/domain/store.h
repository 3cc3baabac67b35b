/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files below the daemon's state folder, for all rooms that keep something there. */
#pragma once

#include "daemon/daemon.h"

/* The folders that a room keeps its files in; `names` ends with NULL. Half-written files are removed. */
bool store_make_folders(const struct daemon *daemon, const char *const *names, GError **error);
/* A path below the state folder: "domains/UUID.xml". Free with g_free(). */
char *store_path(const struct daemon *daemon, const char *folder, const char *name,
		 const char *suffix);
/* Remove a folder and the files in it; what cannot be removed is in the log. */
void store_remove_folder(const char *path);
/* Paths (char *) of what is in a folder, in order of their names. `suffix` "" takes all. */
GPtrArray *store_list(const struct daemon *daemon, const char *folder, const char *suffix);

/*
 * Write durably (temporary file, fsync, rename, fsync of the folder) or, if `text` is NULL, remove
 * durably; on a thread of the pool. `done` is called on the loop with an error that it borrows.
 */
typedef void store_done_fn(void *opaque, const GError *error);
void store_write(struct daemon *daemon, const char *path, const char *text, store_done_fn *done,
		 void *opaque);
/* The same at once, for work that is on a thread of its own already: it blocks. Any thread. */
bool store_write_now(const char *path, const char *text, GError **error);
/*
 * The first line of a file that says that something is active, which means nothing after the machine
 * has started anew: an XML comment with the kernel's boot id. Free with g_free().
 */
char *store_boot_mark(void);
