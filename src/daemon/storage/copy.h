/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copying what is in one volume into a new one. On a thread of the room. */
#pragma once

#include "daemon/storage/storage.h"

/* make->wanted is there, empty; its blocks get what those of make->source read as. */
bool storage_copy(const struct storage_make *make, struct aio_loop *loop, GError **error);
/*
 * The file `to`, opened with `flags` too, shares the blocks of `from` until one of them is written,
 * on file systems that can do that. False: errno says why not.
 */
bool storage_share(const char *from, const char *to, int flags);
/* True, with *error set, if the work is to be given up. `cancel` may be NULL. */
bool storage_is_cancelled(const _Atomic bool *cancel, GError **error);
/* The bytes of the file are those of the disk. NULL: raw. */
bool storage_format_is_raw(const char *format);
