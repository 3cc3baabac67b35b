/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines of VMMs, which the daemon only knows how to write. */
#pragma once

#include "conf/vm.h"

/*
 * What the words of a command line say, of which the first is the program. No file that they name is
 * opened. NULL with *error set; free with conf_vm_free().
 */
struct conf_vm *native_read(const char *const *words, GError **error);
