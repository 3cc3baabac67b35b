/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU's key=value lists and their JSON form: what parses can be written and read again. */
#include "codec/keyval.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_autoptr(GError) error = NULL;
	auto_keyval kv = keyval_parse_any(text, "first", &error);
	assert(!kv == !!error);
	if (!kv)
		return 0;
	/* A JSON key may hold what no list item can. */
	if (*text == '{')
		return 0;
	g_autofree char *written = keyval_format(kv, NULL);
	auto_keyval again = keyval_parse(written, NULL, NULL);
	assert(again && keyval_count(again) == keyval_count(kv));
	return 0;
}
