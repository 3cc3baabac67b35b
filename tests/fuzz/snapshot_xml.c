/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A snapshot's XML: what is accepted is written so that it is accepted again, and means the same. */
#include "conf/snapshot.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_autoptr(GError) error = NULL;
	struct conf_snapshot *snapshot = conf_snapshot_parse(text, &error);
	assert(!snapshot == !!error);
	if (!snapshot)
		return 0;
	g_autofree char *written = conf_snapshot_format(snapshot);
	struct conf_snapshot *again = conf_snapshot_parse(written, NULL);
	assert(again && strcmp(again->moment.name, snapshot->moment.name) == 0);
	assert(again->disks->len == snapshot->disks->len && again->memory == snapshot->memory);
	conf_snapshot_free(again);
	conf_snapshot_free(snapshot);
	return 0;
}
