/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/domain/agent_reply.h"

#include "base/error.h"
#include "codec/json.h"

enum { DELIMITER = 0xff };

void agent_reply_init(struct agent_reply *reply)
{
	*reply = (struct agent_reply){.line = g_byte_array_new()};
}

void agent_reply_clear(struct agent_reply *reply)
{
	g_byte_array_unref(reply->line);
	reply->line = NULL;
}

/* At a line's end. False: it was empty. */
static bool take_line(struct agent_reply *reply, json_t **object, GError **error)
{
	bool skipped = reply->skipping;
	unsigned length = reply->line->len;
	reply->skipping = false;
	g_byte_array_set_size(reply->line, 0);
	if (skipped) {
		error_set(error, BERTH_ERR_INVALID, "a line of more than %zu bytes", AGENT_REPLY_MAX);
		return true;
	}
	/* The bytes stay where they are until something is appended. */
	json_t *value = length ? json_parse_text((const char *)reply->line->data, length, error) : NULL;
	if (value && !json_is_object(value)) {
		json_decref(value);
		value = NULL;
		error_set(error, BERTH_ERR_INVALID, "the answer is no JSON object");
	}
	*object = value;
	return length > 0;
}

bool agent_reply_next(struct agent_reply *reply, const uint8_t **data, size_t *length,
		      json_t **object, GError **error)
{
	while (*length) {
		uint8_t byte = *(*data)++;
		--*length;
		if (byte == DELIMITER) {
			reply->skipping = false;
			g_byte_array_set_size(reply->line, 0);
		} else if (byte == '\n') {
			if (take_line(reply, object, error))
				return true;
		} else if (byte != '\r' && !reply->skipping) {
			if (reply->line->len == AGENT_REPLY_MAX)
				reply->skipping = true;
			else
				g_byte_array_append(reply->line, &byte, 1);
		}
	}
	return false;
}
