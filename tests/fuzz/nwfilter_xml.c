/* SPDX-License-Identifier: GPL-2.0-or-later */
/* XML of filters and bindings: what is accepted is written so that it is accepted again, unchanged. */
#include "conf/nwfilter.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_filter(const char *text)
{
	g_autoptr(GError) error = NULL;
	auto_conf_nwfilter filter = conf_nwfilter_parse(text, &error);
	assert(!filter == !!error);
	if (!filter)
		return;
	g_autofree char *written = conf_nwfilter_format(filter);
	auto_conf_nwfilter again = conf_nwfilter_parse(written, NULL);
	assert(again);
	g_autofree char *rewritten = conf_nwfilter_format(again);
	assert(strcmp(written, rewritten) == 0);
}

static void try_binding(const char *text)
{
	g_autoptr(GError) error = NULL;
	auto_conf_nwfilter_binding binding = conf_nwfilter_binding_parse(text, &error);
	assert(!binding == !!error);
	if (!binding)
		return;
	g_autofree char *written = conf_nwfilter_binding_format(binding);
	auto_conf_nwfilter_binding again = conf_nwfilter_binding_parse(written, NULL);
	assert(again);
	g_autofree char *rewritten = conf_nwfilter_binding_format(again);
	assert(strcmp(written, rewritten) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	try_filter(text);
	try_binding(text);
	return 0;
}
