/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How an image is named, in one place: a node is a dictionary, as in -blockdev. A plain path,
 * "PROTOCOL:...", "json:{...}", --image-opts and dotted keys all become one. Values may be typed
 * (JSON) or text (key=value); the takers below accept both, and remove the key, so that what
 * nobody knew can be refused.
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* {"driver": "file", "filename": ...} or what the protocol makes of it. NULL with *error set. */
json_t *block_parse_filename(const char *filename, GError **error);
/* "driver=qcow2,file.filename=x" (--image-opts) or JSON. */
json_t *block_parse_image_opts(const char *text, GError **error);
/* {"a.b": 1} becomes {"a": {"b": 1}}. */
json_t *block_unflatten(const json_t *flat, GError **error);
/* The path of `name` as seen from the image `base`: backing files are relative to their image. */
char *block_path_combine(const char *base, const char *name);

/* NULL: not there. g_free(). */
char *block_take_string(json_t *dict, const char *key);
/* False with *error set if it is there and makes no sense; *value unchanged if it is not. */
bool block_take_bool(json_t *dict, const char *key, bool *value, GError **error);
bool block_take_size(json_t *dict, const char *key, uint64_t *value, GError **error);
/* Index into `names`; *value unchanged if the key is not there. */
bool block_take_enum(json_t *dict, const char *key, const char *const *names, int *value,
		     GError **error);
/* An error that names the first key left, or true if there is none. */
bool block_refuse_rest(json_t *dict, const char *what, GError **error);
