/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A command line, as domxml-from-native gets it from a client. What is understood is a domain whose own
 * command line is understood again and says the same.
 */
#include "native.h"

#include "conf/domain_native.h"
#include "daemon/domain/domain.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct daemon daemon_now = {.vmm = "/usr/bin/berth-vmm", .nbd_tls_dir = "/pki"};

static char *document_of(const char *const *words)
{
	g_autoptr(GError) error = NULL;
	struct conf_vm *vm = native_read(words, &error);
	assert(!vm == !!error);
	char *xml = vm ? conf_domain_from_vm(vm, &error) : NULL;
	assert(!xml == !!error);
	conf_vm_free(vm);
	return xml;
}

/* NULL: a domain that has no command line, as one with secrets. */
static GPtrArray *arguments_of(const char *xml)
{
	struct conf_domain *conf = conf_domain_parse(xml, true, NULL);
	assert(conf);
	GPtrArray *args = vmm_arguments(&daemon_now, conf, "/run/berth", NULL, NULL);
	conf_domain_free(conf);
	return args;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_auto(GStrv) words = NULL;
	if (!g_shell_parse_argv(text, NULL, &words, NULL))
		return 0;
	g_autofree char *first = document_of((const char *const *)words);
	g_autoptr(GPtrArray) args = first ? arguments_of(first) : NULL;
	if (!args)
		return 0;
	g_autofree char *second = document_of((const char *const *)args->pdata);
	assert(second);
	g_autoptr(GPtrArray) again = arguments_of(second);
	assert(again && again->len == args->len);
	for (unsigned i = 0; i + 1 < args->len; i++)
		assert(strcmp(args->pdata[i], again->pdata[i]) == 0);
	return 0;
}
