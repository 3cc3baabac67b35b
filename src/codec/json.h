/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON on top of jansson: parsing with limits and with our errors, and cutting a byte stream (a QMP
 * connection) into values. What comes in is hostile: size and depth are bounded before any parser
 * sees the text.
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct keyval;

#define JSON_MAX_DEPTH 256
#define JSON_MAX_SIZE  ((size_t)16 << 20)

/* One value of any type. Free with json_decref(). */
json_t *json_parse_text(const char *text, size_t length, GError **error);

/* An object to a list with dotted keys; true and false become on and off. */
struct keyval *json_to_keyval(const json_t *object, GError **error);

/*
 * Cuts a stream of bytes into top-level values. Like QEMU's, the lexer accepts strings in single
 * quotes and turns them into standard ones.
 */
struct json_stream {
	GString *text;   /* of the value that is being received */
	unsigned depth;
	char quote;      /* inside a string: ' or " */
	bool escaped;    /* after a backslash */
	bool scalar;     /* a number or word outside any bracket */
	bool resync;     /* dropping input until the next newline, after an error */
};

void json_stream_init(struct json_stream *stream);
void json_stream_clear(struct json_stream *stream);
/*
 * Take bytes from *data until a value is complete. Returns true with *value set (free with
 * json_decref()), or with *error set for a malformed one, having advanced *data and *length past
 * it; false when all input is used up.
 */
bool json_stream_next(struct json_stream *stream, const char **data, size_t *length,
		      json_t **value, GError **error);
