/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "native.h"

#include "../vmm/options.h"
#include "base/error.h"

#include <string.h>

/* The shell's "NAME=VALUE program", which libvirt's domxml-to-native writes. */
static bool is_variable(const char *word)
{
	return *word != '-' && *word != '/' && strchr(word, '=');
}

struct conf_vm *native_read(const char *const *words, GError **error)
{
	struct options options;
	struct conf_vm *vm = NULL;
	while (*words && is_variable(*words))
		words++;
	if (!*words || **words == '-') {
		error_set(error, BERTH_ERR_INVALID, "the command line does not begin with the program's name");
		return NULL;
	}
	options_init(&options);
	options.forbid_files = true;
	if (!options_parse(&options, words + 1, error))
		goto out;
	if (options.show == SHOW_NOTHING)
		vm = g_steal_pointer(&options.conf);
	else
		error_set(error, BERTH_ERR_INVALID, "the command line asks for help, and describes no machine");
out:
	options_clear(&options);
	return vm;
}
