/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A backup's XML: what is accepted is written, for the daemon's own file, so that it is accepted again. */
#include "conf/backup.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_autoptr(GError) error = NULL;
	struct conf_backup *backup = conf_backup_parse(text, false, &error);
	assert(!backup == !!error);
	if (!backup)
		return 0;
	g_autofree char *written = conf_backup_format(backup, true);
	struct conf_backup *again = conf_backup_parse(written, true, NULL);
	assert(again && again->pull == backup->pull && again->tls == backup->tls);
	assert(again->disks->len == backup->disks->len && !again->socket == !backup->socket);
	for (unsigned i = 0; i < again->disks->len; i++) {
		const struct conf_backup_disk *a = again->disks->pdata[i], *b = backup->disks->pdata[i];
		assert(a->excluded == b->excluded && a->full == b->full && a->block == b->block);
		assert(!a->file == !b->file && !a->incremental == !b->incremental);
	}
	conf_backup_free(again);
	conf_backup_free(backup);
	return 0;
}
