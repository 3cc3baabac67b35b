/* SPDX-License-Identifier: GPL-2.0-or-later */
/* XML of pools and volumes: what is accepted is written so that it is accepted again, unchanged. */
#include "conf/storage.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_pool(const char *text)
{
	g_autoptr(GError) error = NULL;
	auto_conf_pool pool = conf_pool_parse(text, &error);
	assert(!pool == !!error);
	if (!pool)
		return;
	g_autofree char *written = conf_pool_format(pool, NULL, NULL);
	auto_conf_pool again = conf_pool_parse(written, NULL);
	assert(again);
	g_autofree char *rewritten = conf_pool_format(again, NULL, NULL);
	assert(strcmp(again->name, pool->name) == 0 && strcmp(again->path, pool->path) == 0);
	assert(strcmp(written, rewritten) == 0);
	assert(*pool->path == '/' && !strstr(pool->path, "//"));
}

static void try_volume(const char *text)
{
	g_autoptr(GError) error = NULL;
	auto_conf_volume volume = conf_volume_parse(text, &error);
	assert(!volume == !!error);
	if (!volume)
		return;
	g_autofree char *written = conf_volume_format(volume);
	auto_conf_volume again = conf_volume_parse(written, NULL);
	assert(again);
	auto_conf_volume copy = conf_volume_copy(again);
	g_autofree char *rewritten = conf_volume_format(copy);
	assert(strcmp(again->name, volume->name) == 0 && again->capacity == volume->capacity);
	assert(g_strcmp0(again->backing.path, volume->backing.path) == 0);
	assert(strcmp(written, rewritten) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	try_pool(text);
	try_volume(text);
	return 0;
}
