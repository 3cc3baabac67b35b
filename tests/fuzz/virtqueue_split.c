/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The split ring under a device that copies and holds chains. */
#include "virtio_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_virtqueue("off", data, size);
	return 0;
}
