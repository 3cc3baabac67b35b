/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What create, convert and dd share of making an image. */
#pragma once

#include "image.h"

/*
 * Print "-o help" of a format; with_file: also what the file below it takes. Returns the exit status.
 */
int create_help(const char *format, bool with_file);
/* Is the option known and its value of its type? Prints a complaint, behind "NAME: " if `name`. */
bool create_option_check(const char *help, const char *name, const char *option, const char *value);
/* Is `option` in the text that block_create_help() gave? */
bool create_option_known(const char *help, const char *option);
