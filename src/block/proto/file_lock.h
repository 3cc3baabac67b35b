/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Image locks, compatible with QEMU's: open-file-description locks on single bytes. Byte 100 + N is
 * held (shared) by who uses permission N, byte 200 + N by who does not let others use it; a user
 * looks whether the opposite byte is held by somebody else (QEMU documentation, "image locking").
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Locks live as long as the open file description of `fd`. `filename` is for the message. */
bool file_lock(int fd, bool writable, const char *filename, GError **error);
/* Give up all of them: before another descriptor of the same file takes its own. */
void file_unlock(int fd);
