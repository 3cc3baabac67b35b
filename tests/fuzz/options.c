/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * berth-vmm's command line: one argument per line of the input. What parses can be completed or is
 * refused with a message, and what is completed can be written and parsed again.
 */
#include "options.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct conf_board board = {
	.default_nic = "virtio-net-pci",
	.default_disk = "ide-hd",
	.default_cdrom = "ide-cd",
	.virtio_suffix = "pci",
	.has_cdrom = true,
};

static void check_again(const struct conf_vm *conf)
{
	struct options again;
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) args = conf_vm_format(conf);
	options_init(&again);
	again.forbid_files = true;
	if (!options_parse(&again, (const char *const *)args->pdata, &error)) {
		fprintf(stderr, "not read again: %s\n", error->message);
		abort();
	}
	options_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_auto(GStrv) args = g_strsplit(text, "\n", -1);
	g_autoptr(GError) error = NULL;
	struct options options;
	options_init(&options);
	options.forbid_files = true;
	bool good = options_parse(&options, (const char *const *)args, &error);
	assert(good == !error);
	if (good && options.show == SHOW_NOTHING) {
		good = conf_vm_complete(options.conf, &board, &error);
		assert(good == !error);
		if (good)
			check_again(options.conf);
	}
	options_clear(&options);
	return 0;
}
