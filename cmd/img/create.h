/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What create, convert and dd share of making an image. */
#pragma once

#include "image.h"

/* Print "-o help" of a format. Returns the exit status. */
int create_help(const char *format);
/* Is `option` in the text that block_create_help() gave? */
bool create_option_known(const char *help, const char *option);
