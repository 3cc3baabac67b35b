/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hostile parts of DMG images: property lists, resource forks, blocks of chunks, ADC streams. */
#include "block/format/dmg_layout.h"

#include <string.h>

#define OUT_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte says which part the rest is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dmg_trailer trailer = {.data_offset = 512, .sectors = 1000};
	g_autoptr(GArray) chunks = g_array_new(false, false, sizeof(struct dmg_chunk));
	g_autoptr(GError) error = NULL;
	uint8_t out[OUT_MAX];
	uint64_t end;
	bool good = false;
	if (!size)
		return 0;
	g_autofree uint8_t *rest = g_malloc(size);
	memcpy(rest, data + 1, size - 1);
	switch (data[0] % 5) {
	case 0:
		good = dmg_add_list(chunks, &trailer, (const char *)rest, size - 1, &error);
		break;
	case 1:
		good = dmg_add_fork(chunks, &trailer, rest, size - 1, &error);
		break;
	case 2:
		good = dmg_add_block(chunks, &trailer, rest, size - 1, &error);
		break;
	case 3:
		dmg_unpack_adc(rest, size - 1, out, sizeof(out) - size % 64);
		return 0;
	case 4:
		if (size > DMG_TRAILER_SIZE)
			dmg_decode_trailer(&trailer, rest);
		return 0;
	}
	if (good && !error)
		dmg_sort(chunks, &end, NULL);
	return 0;
}
