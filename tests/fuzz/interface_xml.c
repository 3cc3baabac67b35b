/* SPDX-License-Identifier: GPL-2.0-or-later */
/* XML of the host's interfaces: what is accepted is written so that it is accepted again, unchanged. */
#include "conf/interface.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = g_strndup((const char *)data, size);
	auto_conf_interface conf = conf_interface_parse(text, &error);
	assert(!conf == !!error);
	if (!conf)
		return 0;
	g_autofree char *written = conf_interface_format(conf);
	auto_conf_interface again = conf_interface_parse(written, NULL);
	assert(again);
	g_autofree char *rewritten = conf_interface_format(again);
	assert(strcmp(written, rewritten) == 0);
	return 0;
}
