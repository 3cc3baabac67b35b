/* SPDX-License-Identifier: GPL-2.0-or-later */
/* XML of a CPU that is to be compared. */
#include "conf/cpu.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *)data, size);
	g_autoptr(GError) error = NULL;
	struct conf_cpu *cpu = conf_cpu_parse(text, &error);
	assert(!cpu == !!error);
	for (unsigned i = 0; cpu && i < cpu->features->len; i++)
		assert(*g_array_index(cpu->features, struct conf_cpu_feature, i).name);
	conf_cpu_free(cpu);
	return 0;
}
