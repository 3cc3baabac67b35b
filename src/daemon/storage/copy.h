/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copying what is in one volume into a new one. On a thread of the room. */
#pragma once

#include "daemon/storage/storage.h"

/* make->wanted is there, empty; its blocks get what those of make->source read as. */
bool storage_copy(const struct storage_make *make, struct aio_loop *loop, GError **error);
/* True, with *error set, if the work is to be given up. `cancel` may be NULL. */
bool storage_is_cancelled(const _Atomic bool *cancel, GError **error);
/* The bytes of the file are those of the disk. NULL: raw. */
bool storage_format_is_raw(const char *format);
