/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "loader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return loader_fuzz_one(data, size, false);
}
