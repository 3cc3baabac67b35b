/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a hostile guest writes to its agent's port, in pieces: the first byte is their length. */
#include "daemon/domain/agent_reply.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct agent_reply reply;
	size_t step = size ? data[0] + 1 : 1;
	agent_reply_init(&reply);
	for (size_t at = 1; at < size;) {
		const uint8_t *from = data + at;
		size_t left = MIN(step, size - at);
		at += left;
		json_t *object = NULL;
		g_autoptr(GError) error = NULL;
		while (agent_reply_next(&reply, &from, &left, &object, &error)) {
			assert(!object != !error && (!object || json_is_object(object)));
			json_decref(object);
			object = NULL;
			g_clear_error(&error);
		}
		assert(!left && !error && reply.line->len <= AGENT_REPLY_MAX);
	}
	agent_reply_clear(&reply);
	return 0;
}
