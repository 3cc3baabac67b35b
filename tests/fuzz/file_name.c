/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of images: json:, URLs of all protocols, nbd: and rbd:. A backing file's name is not ours. */
#include "block/core/options.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_autoptr(GError) error = NULL;
	json_t *dict = block_parse_filename(text, &error);
	assert(!dict == !!error);
	json_decref(dict);
	return 0;
}
