/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Owners of files that a VMM uses, remembered as libvirt does it, so that both can look after one file:
 * in extended attributes of the file, with a count of who uses it.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

/*
 * Give a file or block device to a user and group; with `remember` one more uses it, which
 * owner_take_back() undoes. Other kinds of files stay as they are. Fails if it is in use and belongs to
 * somebody else. It blocks.
 */
bool owner_give(const char *path, uid_t uid, gid_t gid, bool remember, GError **error);
/*
 * One less uses it, and the last gives it back to whom it belonged; if that is not known, to root. What
 * no longer belongs to `uid` and `gid` is left alone, and what is not there is no error. It blocks.
 */
bool owner_take_back(const char *path, uid_t uid, gid_t gid, GError **error);
