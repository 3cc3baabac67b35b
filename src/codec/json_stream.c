/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cutting a byte stream into JSON values: brackets and strings are all that need be known. */
#include "codec/json.h"

#include "base/error.h"

#include <string.h>

void json_stream_init(struct json_stream *stream)
{
	*stream = (struct json_stream){.text = g_string_new(NULL)};
}

void json_stream_clear(struct json_stream *stream)
{
	if (stream->text)
		g_string_free(stream->text, TRUE);
	*stream = (struct json_stream){0};
}

static void restart(struct json_stream *stream)
{
	/* A large command's buffer is not kept for the small ones that follow. */
	if (stream->text->allocated_len > 64 * 1024) {
		g_string_free(stream->text, TRUE);
		stream->text = g_string_new(NULL);
	}
	g_string_truncate(stream->text, 0);
	stream->depth = 0;
	stream->quote = 0;
	stream->escaped = stream->scalar = false;
}

static void take_string_byte(struct json_stream *stream, char c)
{
	if (stream->escaped) {
		stream->escaped = false;
		/* \' is valid in QEMU's dialect only. */
		if (c == '\'')
			g_string_truncate(stream->text, stream->text->len - 1);
	} else if (c == '\\') {
		stream->escaped = true;
	} else if (c == stream->quote) {
		stream->quote = 0;
		c = '"';
	} else if (c == '"') {
		g_string_append_c(stream->text, '\\');
	}
	g_string_append_c(stream->text, c);
}

/* True when `c` completes the value. */
static bool take_byte(struct json_stream *stream, char c)
{
	if (stream->quote) {
		take_string_byte(stream, c);
		return !stream->quote && stream->depth == 0;
	}
	switch (c) {
	case ' ':
	case '\t':
	case '\r':
	case '\n':
		if (stream->scalar && stream->depth == 0)
			return true;
		if (stream->text->len > 0)
			g_string_append_c(stream->text, ' ');
		return false;
	case '{':
	case '[':
		stream->depth++;
		break;
	case '}':
	case ']':
		g_string_append_c(stream->text, c);
		if (stream->depth > 0)
			stream->depth--;
		return stream->depth == 0;
	case '\'':
	case '"':
		stream->quote = c;
		c = '"';
		break;
	default:
		stream->scalar = stream->depth == 0;
	}
	g_string_append_c(stream->text, c);
	return false;
}

bool json_stream_next(struct json_stream *stream, const char **data, size_t *length, json_t **value,
		      GError **error)
{
	while (*length > 0) {
		char c = *(*data)++;
		(*length)--;
		if (stream->resync) {
			stream->resync = c != '\n';
			continue;
		}
		/*
		 * 0xff cannot occur in UTF-8; clients (the guest agent's and QMP's) send it to make
		 * the other side forget a half-sent value.
		 */
		if ((unsigned char)c == 0xff) {
			restart(stream);
			continue;
		}
		bool complete = take_byte(stream, c);
		if (stream->depth > JSON_MAX_DEPTH || stream->text->len > JSON_MAX_SIZE) {
			restart(stream);
			stream->resync = c != '\n';
			*value = NULL;
			error_set(error, BERTH_ERR_INVALID,
				  "JSON text is too large: at most %d levels and 16 MiB",
				  JSON_MAX_DEPTH);
			return true;
		}
		if (!complete)
			continue;
		*value = json_parse_text(stream->text->str, stream->text->len, error);
		restart(stream);
		return true;
	}
	return false;
}
