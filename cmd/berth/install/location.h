/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where an installer's files are, but for folders. Their libraries are loaded when they are used. */
#pragma once

#include "install.h"

#include <stdio.h>

/* iso_image.c: an ISO 9660 image with Rock Ridge or Joliet names. NULL after an error. */
struct iso_image;
struct iso_image *iso_image_open(const char *path, GError **error);
/* Write what the file has to `out`. BERTH_ERR_NOT_FOUND: there is none of that name. */
bool iso_image_copy(struct iso_image *image, const char *file, FILE *out, GError **error);
/* NULL is allowed. */
void iso_image_close(struct iso_image *image);

/*
 * url.c: write what a http, https or ftp server answers to `out`; with `progress` on a terminal's
 * standard error. BERTH_ERR_NOT_FOUND: the server has no such file.
 */
bool url_fetch(const char *url, FILE *out, bool progress, GError **error);
