/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A checkpoint's XML: what is accepted is written so that it is accepted again, and means the same. */
#include "conf/checkpoint.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_autoptr(GError) error = NULL;
	struct conf_checkpoint *checkpoint = conf_checkpoint_parse(text, false, &error);
	assert(!checkpoint == !!error);
	if (!checkpoint)
		return 0;
	g_autofree char *written = conf_checkpoint_format(checkpoint, true);
	struct conf_checkpoint *again = conf_checkpoint_parse(written, true, NULL);
	assert(again && strcmp(again->moment.name, checkpoint->moment.name) == 0);
	assert(again->disks->len == checkpoint->disks->len);
	for (unsigned i = 0; i < again->disks->len; i++) {
		const struct conf_checkpoint_disk *a = again->disks->pdata[i], *b = checkpoint->disks->pdata[i];
		assert(a->excluded == b->excluded && g_strcmp0(a->bitmap, b->bitmap) == 0);
	}
	conf_checkpoint_free(again);
	conf_checkpoint_free(checkpoint);
	return 0;
}
