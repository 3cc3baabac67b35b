/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain's XML: what is accepted is written so that it is accepted again, and means the same. */
#include "conf/domain.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_autoptr(GError) error = NULL;
	struct conf_domain *conf = conf_domain_parse(text, false, &error);
	assert(!conf == !!error);
	if (!conf)
		return 0;
	g_autofree char *written = conf_domain_format(conf, 7);
	struct conf_domain *again = conf_domain_parse(written, false, NULL);
	assert(again);
	assert(strcmp(again->name, conf->name) == 0);
	assert(memcmp(again->uuid, conf->uuid, sizeof(conf->uuid)) == 0);
	assert(again->memory_kib == conf->memory_kib && again->vcpus == conf->vcpus);
	assert(again->disks->len == conf->disks->len && again->nics->len == conf->nics->len);
	conf_domain_free(again);
	conf_domain_free(conf);
	return 0;
}
