/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest agent sends, cut into JSON objects. The guest is hostile: a line is bounded before any
 * parser sees it. The agent's protocol is one object a line; the byte 0xFF, which is in no JSON text,
 * begins the answer to guest-sync-delimited and makes void whatever came before it.
 */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* libvirt's limit. */
#define AGENT_REPLY_MAX ((size_t)10 << 20)

struct agent_reply {
	GByteArray *line; /* so far */
	bool skipping;    /* too long a line, up to its end */
};

void agent_reply_init(struct agent_reply *reply);
void agent_reply_clear(struct agent_reply *reply);
/*
 * Take bytes from *data until a line is complete. True with *object set (free with json_decref()), or
 * with *error set for a line that is no JSON object or is too long, having moved *data and *length past
 * it; false when all input is used up.
 */
bool agent_reply_next(struct agent_reply *reply, const uint8_t **data, size_t *length,
		      json_t **object, GError **error);
