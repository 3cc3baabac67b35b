/* SPDX-License-Identifier: GPL-2.0-or-later */
/* XML of secrets: what is accepted is written so that it is accepted again, unchanged. */
#include "conf/secret.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_autoptr(GError) error = NULL;
	struct conf_secret *secret = conf_secret_parse(text, &error);
	assert(!secret == !!error);
	if (!secret)
		return 0;
	g_autofree char *written = conf_secret_format(secret);
	struct conf_secret *again = conf_secret_parse(written, NULL);
	assert(again && again->usage == secret->usage);
	assert(strcmp(again->usage_id, secret->usage_id) == 0);
	g_autofree char *rewritten = conf_secret_format(again);
	assert(strcmp(written, rewritten) == 0);
	conf_secret_free(again);
	conf_secret_free(secret);
	return 0;
}
